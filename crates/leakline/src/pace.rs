//! Whether sampling keeps its beat.
//!
//! Owns: the judgement and its hysteresis. Must not know: a clock; it is told how many beats were skipped.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::PACE_BEATS;

/// A change for the worse or the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The beat is not kept any more; this is the one that is.
    Lost(Duration),
    /// It is kept again.
    Regained,
}

/// The beats of late.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    every: Duration,
    /// How many beats were skipped before each of the last ones.
    skipped: VecDeque<u64>,
    skipped_before: u64,
    is_lost: bool,
}

impl Pace {
    /// A pace that is kept until it is not.
    pub(crate) fn new(every: Duration) -> Self {
        debug_assert!(!every.is_zero(), "there is no such beat");
        Self { every, skipped: VecDeque::with_capacity(PACE_BEATS), skipped_before: 0, is_lost: false }
    }

    /// A beat was made; so many were skipped since the start.
    pub(crate) fn beat(&mut self, skipped: u64) -> Option<Change> {
        debug_assert!(skipped >= self.skipped_before, "skipped beats do not come back");
        if self.skipped.len() == PACE_BEATS {
            self.skipped.pop_front();
        }
        self.skipped.push_back(skipped - self.skipped_before);
        self.skipped_before = skipped;
        let late: u64 = self.skipped.iter().sum();
        // A quarter of the beats: one slow sample among many is no overload. Only when all were kept is it over.
        if !self.is_lost && late * 4 > PACE_BEATS as u64 {
            self.is_lost = true;
            return Some(Change::Lost(self.kept()));
        }
        if self.is_lost && late == 0 && self.skipped.len() == PACE_BEATS {
            self.is_lost = false;
            return Some(Change::Regained);
        }
        None
    }

    /// The beat that is kept, as a mean over the last ones.
    pub(crate) fn kept(&self) -> Duration {
        let (beats, late) = (self.skipped.len().max(1) as u64, self.skipped.iter().sum::<u64>());
        self.every.mul_f64((beats + late) as f64 / beats as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beats with so many skipped before each, one word each; `.` where nothing changes, `!` lost, `+` regained.
    #[track_caller]
    fn check(skips: &str, wanted: &str) -> Pace {
        let mut pace = Pace::new(Duration::from_secs(1));
        let mut total = 0;
        let mut step = |digit: char| {
            total += u64::from(digit.to_digit(10).expect("a digit"));
            match pace.beat(total) {
                None => '.',
                Some(Change::Lost(_)) => '!',
                Some(Change::Regained) => '+',
            }
        };
        assert_eq!(skips.chars().map(&mut step).collect::<String>(), wanted);
        pace
    }

    #[test]
    fn one_slow_sample_is_no_overload() {
        check("0030000000000000", "................");
    }

    #[test]
    fn overload_is_said_once_and_so_is_its_end() {
        let lost = check("1111", "...!");
        assert_eq!(lost.kept(), Duration::from_secs(2));
        check("11110000000000001000000000000", "...!...........+.............");
    }

    #[test]
    fn it_does_not_flap() {
        check("5000000000010000000000001000000", "!......................+.......");
    }

    #[test]
    fn the_kept_beat_is_the_mean() {
        assert_eq!(Pace::new(Duration::from_secs(5)).kept(), Duration::from_secs(5));
        assert_eq!(check("3", ".").kept(), Duration::from_secs(4));
    }
}
