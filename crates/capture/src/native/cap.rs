//! How much memory the records of an attach may take.
//!
//! Owns: the default, what is left for what, and the refusal where it cannot be enough. Must not know: what the records mean.
//!
//! All that the agent writes counts: lines of blocks, stacks and their frames, records and counters of threads, the ring of events;
//! and so do the tables that leakline writes for it. The agent itself knows three limits, of numbers of things, which are set
//! anew at each reading so that what is there and what may still come stay within the cap together.

use model::{Bytes, Reading};
use wire::{COUNTERS_BYTES, Control, Event, LINE_BYTES, LINES_MAX, STACKS_MAX, THREADS_MAX, regions};

/// Parts of what is available, and of what a control group may still take, that are taken where nobody names a cap.
const SHARE_OF_AVAILABLE: u64 = 8;
const SHARE_OF_GROUP: u64 = 4;
/// No default is smaller: the ring of events alone takes half of it.
const DEFAULT_MIN: u64 = 8 << 20;
/// What must be left when all tables are written.
const ROOM_MIN: u64 = 1 << 20;
/// The part of the room that is kept for stacks and threads: hundreds of threads may all allocate in the first milliseconds, long
/// before the limits are set again.
const RESERVE_SHARE: u64 = 4;
/// In auto mode a sample is recorded from here on: so much of the cap is left.
const SAMPLED_FROM: u64 = 4;

/// A cap and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cap {
    pub(crate) bytes: Bytes,
    /// What the control group of the target may still take, where that is why.
    pub(crate) group: Option<Bytes>,
}

/// What is in use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) occupied: u64,
    lines: u32,
    stacks: u32,
    records: u32,
    /// Part of the ring of events that nobody wrote yet, or since it was given back.
    ring: u64,
    depth: u32,
}

/// How many of each there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) lines: u32,
    pub(crate) stacks: u32,
    pub(crate) records: u32,
}

impl Cap {
    /// The cap that is asked for, or a part of what there is; why none can be given, where a control group is nearly full.
    pub(crate) fn choose(
        wanted: Option<Bytes>,
        available: Reading<Bytes>,
        group: Reading<Bytes>,
    ) -> Result<Self, String> {
        if let Some(bytes) = wanted {
            return Ok(Self { bytes, group: None });
        }
        let share = available.known().map_or(u64::MAX, |bytes| bytes.0 / SHARE_OF_AVAILABLE).max(DEFAULT_MIN);
        let Some(left) = group.known().filter(|left| left.0 / SHARE_OF_GROUP < share) else {
            return Ok(Self { bytes: Bytes(share), group: None });
        };
        if left.0 < 2 * DEFAULT_MIN {
            let needed = Bytes(2 * DEFAULT_MIN);
            return Err(format!("its control group may take only {left} more; needed: {needed}"));
        }
        Ok(Self { bytes: Bytes((left.0 / SHARE_OF_GROUP).max(DEFAULT_MIN)), group: Some(left) })
    }

    /// Why it is what it is, where the reader must know.
    pub(crate) fn remark(self) -> Option<String> {
        let left = self.group?;
        Some(format!("its control group may take only {left} more: at most {} are used for records", self.bytes))
    }

    /// What there may be of each thing. `stacks_max` is what the user allows.
    pub(crate) fn limits(self, used: Used, stacks_max: u32) -> Limits {
        let room = self.room(used);
        let reserve = room / RESERVE_SHARE;
        // Every thread that meets a stack counts for it.
        let stack = 16 + 8 * u64::from(used.depth) + COUNTERS_BYTES * u64::from(used.records.max(1));
        let record = regions::RECORD_BYTES + COUNTERS_BYTES * u64::from(used.stacks);
        let plus = |now: u32, bytes: u64, each: u64, most: u32| {
            let more = u32::try_from(bytes / each).unwrap_or(u32::MAX);
            now.saturating_add(more).min(most)
        };
        let limits = Limits {
            lines: plus(used.lines, room - reserve, LINE_BYTES, LINES_MAX),
            stacks: plus(used.stacks, reserve / 2, stack, stacks_max.min(STACKS_MAX as u32)),
            records: plus(used.records, reserve / 2, record, THREADS_MAX as u32),
        };
        debug_assert!(limits.lines <= LINES_MAX && limits.records <= THREADS_MAX as u32, "tables are no longer");
        limits
    }

    /// Whether what is left is so little that a sample must do.
    pub(crate) fn is_short(self, used: Used) -> bool {
        self.room(used) < self.bytes.0 / SAMPLED_FROM
    }

    /// Why this cannot be enough, once all tables are written.
    pub(crate) fn refusal(self, used: Used) -> Option<String> {
        let needed = Bytes(used.occupied + used.ring + ROOM_MIN);
        let found = format!("its tables of code and events take {}", Bytes(used.occupied + used.ring));
        (needed > self.bytes)
            .then(|| format!("{found} of the {} that records may take; needed: {needed} (--max-memory)", self.bytes))
    }

    /// What the tables of code that is loaded later may take: half of what is left, since blocks need the rest.
    pub(crate) fn room_for_code(self, used: Used) -> u64 {
        self.room(used) / 2
    }

    fn room(self, used: Used) -> u64 {
        self.bytes.0.saturating_sub(used.occupied).saturating_sub(used.ring)
    }
}

impl Used {
    /// What the shared memory says; it is the target's to write, and limits stay limits whatever stands there.
    /// `unwritten` says how many events that still are to be written.
    pub(crate) fn of(control: &Control, occupied: u64, unwritten: u64) -> Self {
        use std::sync::atomic::Ordering::Relaxed;
        Self {
            occupied,
            lines: control.blocks.lines.load(Relaxed).saturating_add(control.blocks.cells.load(Relaxed)),
            stacks: control.stacks.ids.load(Relaxed),
            records: control.threads.records.load(Relaxed),
            ring: unwritten * size_of::<Event>() as u64,
            depth: control.depth.load(Relaxed),
        }
    }
}

impl Limits {
    /// Before anything is known.
    pub(crate) const NONE: Self = Self { lines: 0, stacks: 0, records: 0 };

    /// Whether something was left out that would have found room without the cap: blocks, stacks or threads.
    pub(crate) fn explains(self, unrecorded: u64, stacks_max: u32) -> bool {
        let is_lower = self.lines < LINES_MAX || self.records < THREADS_MAX as u32 || self.stacks < stacks_max;
        unrecorded > 0 && is_lower
    }

    /// Tells the agent.
    pub(crate) fn set(self, control: &Control) {
        use std::sync::atomic::Ordering::Relaxed;
        control.lines_max.store(self.lines, Relaxed);
        control.stacks_max.store(self.stacks, Relaxed);
        control.records_max.store(self.records, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use model::Why;

    use super::*;

    const MIB: u64 = 1 << 20;
    const NONE: Reading<Bytes> = Reading::Missing(Why::NotRecorded);

    fn mib(number: u64) -> Reading<Bytes> {
        Reading::Known(Bytes(number * MIB))
    }

    #[track_caller]
    fn check(wanted: Option<u64>, available: Reading<Bytes>, group: Reading<Bytes>, expected: &str) {
        let found = match Cap::choose(wanted.map(|number| Bytes(number * MIB)), available, group) {
            Ok(cap) => format!("{}{}", cap.bytes, if cap.group.is_some() { " by group" } else { "" }),
            Err(why) => why,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn the_default_is_a_part_of_what_there_is() {
        check(None, mib(16_384), NONE, "2.00 GiB");
        check(None, mib(16_384), mib(1024), "256.0 MiB by group");
        check(None, mib(800), mib(1024), "100.0 MiB");
        check(None, mib(16), NONE, "8.00 MiB");
        check(None, mib(16_384), mib(17), "8.00 MiB by group");
        check(None, mib(16_384), mib(15), "its control group may take only 15.0 MiB more; needed: 16.0 MiB");
    }

    #[test]
    fn what_is_asked_for_is_taken_whatever_is_left() {
        check(Some(64), mib(16), mib(11), "64.0 MiB");
    }

    fn used(occupied_mib: u64, lines: u32, stacks: u32, records: u32) -> Used {
        Used { occupied: occupied_mib * MIB, lines, stacks, records, ring: 0, depth: 64 }
    }

    #[test]
    fn what_is_there_and_what_may_come_stay_below_the_cap() {
        for (cap, used) in
            [(64, used(4, 100, 10, 1)), (64, used(60, 900_000, 5000, 20)), (8, used(7, 1, 1, 1)), (8, used(9, 5, 5, 5))]
        {
            let limits = Cap { bytes: Bytes(cap * MIB), group: None }.limits(used, 16_384);
            let records = u64::from(limits.records - used.records) * regions::RECORD_BYTES;
            let lines = u64::from(limits.lines - used.lines) * LINE_BYTES;
            let stacks = u64::from(limits.stacks - used.stacks) * (16 + 8 * 64 + COUNTERS_BYTES);
            let sum = used.occupied + lines + records + stacks;
            assert!(sum <= (cap * MIB).max(used.occupied), "{limits:?}: {sum}");
        }
    }

    #[test]
    fn without_need_the_tables_are_as_long_as_they_can_be() {
        let limits = Cap { bytes: Bytes(1 << 46), group: None }.limits(used(4, 100, 10, 1), 16_384);
        assert_eq!((limits.lines, limits.stacks), (LINES_MAX, 16_384));
        assert!(!limits.explains(0, 16_384));
        let full = Cap { bytes: Bytes(8 * MIB), group: None }.limits(used(8, 100, 10, 1), 16_384);
        assert_eq!(full, Limits { lines: 100, stacks: 10, records: 1 });
        assert!(full.explains(1, 16_384) && !full.explains(0, 16_384));
    }

    #[test]
    fn hundreds_of_threads_that_come_at_once_find_room() {
        let limits = Cap { bytes: Bytes(1024 * MIB), group: None }.limits(used(4, 0, 1, 0), 16_384);
        assert!(limits.records >= 500, "{limits:?}");
    }

    #[test]
    fn a_cap_below_the_tables_is_refused_with_what_is_needed() {
        let cap = Cap { bytes: Bytes(8 * MIB), group: None };
        assert_eq!(cap.refusal(used(7, 0, 1, 0)), None);
        assert_eq!(
            cap.refusal(used(8, 0, 1, 0)).unwrap_or_default(),
            "its tables of code and events take 8.00 MiB of the 8.00 MiB that records may take; needed: 9.00 MiB (--max-memory)"
        );
        assert!(cap.is_short(used(7, 0, 1, 0)) && !cap.is_short(used(5, 0, 1, 0)));
    }

    #[test]
    fn a_small_group_is_said() {
        let cap = Cap::choose(None, NONE, mib(40)).expect("enough");
        let said = "its control group may take only 40.0 MiB more: at most 10.0 MiB are used for records";
        assert_eq!(cap.remark().as_deref(), Some(said));
        assert_eq!(Cap { bytes: Bytes(1), group: None }.remark(), None);
    }
}
