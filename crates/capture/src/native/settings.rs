//! What leakline wrote into the control page, kept where the target cannot reach it.
//!
//! Owns: noticing that a stray write of the target changed a setting, and putting it back. Must not know: what the settings
//! mean.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use wire::Control;

/// A field of the control page that only leakline writes.
enum Field<'a> {
    Short(&'a AtomicU32),
    Long(&'a AtomicU64),
}

const FIELDS: usize = 15;

/// The settings as they were written.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    written: [u64; FIELDS],
}

impl Settings {
    /// The settings of a page that the target has not seen yet.
    pub(crate) fn of(control: &Control) -> Self {
        Self { written: fields(control).map(|field| field.load()) }
    }

    /// Puts back what is no longer as it was written, and says how many settings that were.
    pub(crate) fn mend(&self, control: &Control) -> u64 {
        let changed = fields(control).into_iter().zip(self.written).filter(|(field, written)| field.load() != *written);
        changed.map(|(field, written)| field.store(written)).count() as u64
    }
}

fn fields(control: &Control) -> [Field<'_>; FIELDS] {
    use Field::{Long, Short};
    [
        Long(&control.magic),
        Short(&control.version),
        Short(&control.depth),
        Short(&control.stacks_max),
        Short(&control.lines_max),
        Short(&control.records_max),
        Short(&control.granule_shift),
        Short(&control.has_crc32),
        Long(&control.main_stack_low),
        Long(&control.main_stack_high),
        Long(&control.code_at),
        Long(&control.code_len),
        Long(&control.shared_at),
        Long(&control.shared_len),
        Short(&control.process),
    ]
}

impl Field<'_> {
    fn load(&self) -> u64 {
        match self {
            Self::Short(field) => u64::from(field.load(Relaxed)),
            Self::Long(field) => field.load(Relaxed),
        }
    }

    fn store(&self, value: u64) {
        match self {
            Self::Short(field) => field.store(value as u32, Relaxed),
            Self::Long(field) => field.store(value, Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_was_overwritten_is_noticed_and_put_back() {
        let control = Control::default();
        control.lines_max.store(7, Relaxed);
        control.shared_len.store(1 << 40, Relaxed);
        let settings = Settings::of(&control);
        assert_eq!(settings.mend(&control), 0, "nothing happened yet");
        control.lines_max.store(u32::MAX, Relaxed);
        control.shared_len.store(3, Relaxed);
        control.stacks.ids.store(9, Relaxed);
        assert_eq!(settings.mend(&control), 2, "cursors are the agent's to change");
        assert_eq!((control.lines_max.load(Relaxed), control.shared_len.load(Relaxed)), (7, 1 << 40));
        assert_eq!(settings.mend(&control), 0);
    }
}
