//! Times at which nothing was recorded.
//!
//! Owns: what counts as a gap. Must not know: why a recorder paused; events may say it.

use std::time::Duration;

use model::Event;

use crate::recording::{Recording, to_ns};

/// A step this many times the usual one is a gap.
const STEPS: u64 = 3;

/// A time between two beats at which nothing was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Wall time of the beat before it, in nanoseconds.
    pub from_ns: u64,
    /// Wall time of the beat after it. The clock may have jumped: it can even be earlier.
    pub to_ns: u64,
    /// Its length by the boot clock; over a reboot by the wall clock.
    pub length: Duration,
    /// What is known of it.
    pub kind: GapKind,
}

/// What is known of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapKind {
    /// The same run of the recorder took no sample: the machine was suspended, or too busy.
    Pause,
    /// The recorder was stopped or killed, and another was started later.
    Restart,
    /// The machine was started anew.
    Reboot,
    /// Beats were recorded but are damaged.
    Damaged,
}

/// The end of a segment, to compare the next one with.
struct End {
    boot_id: std::sync::Arc<str>,
    time: (u64, u64),
    step_us: u64,
}

impl Recording {
    /// All gaps, in the order in which they were recorded.
    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut end: Option<End> = None;
        for segment in self.segments.iter().filter(|segment| segment.meta.beats > 0) {
            let read = self.read(segment, |sealed, damage| (sealed.times(damage), sealed.events(damage)));
            let Some(((boot_id, times), events)) = read else { continue };
            let (Some(first), Some(last)) = (times.first(), times.last()) else { continue };
            let started =
                events.iter().any(|(beat, event)| *beat == 0 && matches!(event, Event::RecorderStarted { .. }));
            let is_damaged = segment.meta.damage.blocks > 0;
            let step_us = usual_step(&times).or(end.as_ref().map(|end| end.step_us)).unwrap_or(u64::MAX);
            if let Some(end) = &end {
                let kind = match (*end.boot_id == *boot_id, started) {
                    (false, _) => GapKind::Reboot,
                    (true, true) => GapKind::Restart,
                    (true, false) if is_damaged => GapKind::Damaged,
                    (true, false) => GapKind::Pause,
                };
                // A segment of a single beat has no step of its own.
                gaps.extend(gap(end.time, *first, end.step_us.min(step_us), kind));
            }
            let kind = if is_damaged { GapKind::Damaged } else { GapKind::Pause };
            gaps.extend(times.windows(2).filter_map(|pair| gap(pair[0], pair[1], step_us, kind)));
            end = Some(End { boot_id, time: *last, step_us });
        }
        gaps
    }
}

/// The gap between two beats, if it is one. A reboot always is.
fn gap(from: (u64, u64), to: (u64, u64), step_us: u64, kind: GapKind) -> Option<Gap> {
    let length_us = if kind == GapKind::Reboot { to.0.saturating_sub(from.0) } else { to.1.saturating_sub(from.1) };
    let is_gap = kind == GapKind::Reboot || length_us > step_us.saturating_mul(STEPS);
    let length = Duration::from_micros(length_us);
    is_gap.then(|| Gap { from_ns: to_ns(from.0), to_ns: to_ns(to.0), length, kind })
}

/// The median step between beats on the boot clock; none where there are fewer than two.
fn usual_step(times: &[(u64, u64)]) -> Option<u64> {
    let mut steps: Vec<u64> = times.windows(2).map(|pair| pair[1].1.saturating_sub(pair[0].1)).collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(boot_us: &[u64], wanted: &[(usize, u64)]) {
        let times: Vec<(u64, u64)> = boot_us.iter().map(|boot| (boot + 1000, *boot)).collect();
        let step = usual_step(&times).unwrap();
        let pairs = times.windows(2).enumerate();
        let found: Vec<(usize, u64)> = pairs
            .filter_map(|(at, pair)| Some((at, gap(pair[0], pair[1], step, GapKind::Pause)?.length.as_micros() as u64)))
            .collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_gap_is_much_longer_than_the_usual_step() {
        check(&[0, 5, 10, 15, 20], &[]);
        check(&[0, 5, 10, 25, 30], &[]);
        check(&[0, 5, 10, 26, 31], &[(2, 16)]);
        check(&[0, 5, 10, 1000, 1005, 5, 10], &[(2, 990)]);
    }

    #[test]
    fn a_reboot_is_always_a_gap() {
        let found = gap((100, 90), (101, 3), u64::MAX, GapKind::Reboot).unwrap();
        assert_eq!(found.length, Duration::from_micros(1));
        assert_eq!(usual_step(&[(1, 1)]), None);
    }
}
