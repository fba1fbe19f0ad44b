//! When to record every block and when a sample.
//!
//! Owns: the rule, with its patience. Must not know: how a share is measured, or how the mode is set.

use std::time::Duration;

/// Right after the attach stacks are unwound for the first time, and the pages of the tables are made: what that costs is no measure of
/// what follows, unless most stacks are known already and many calls were timed.
const WARM_UP: Duration = Duration::from_secs(2);
/// So many measurements in a row above the limit end the exact mode ...
const OVER: u32 = 2;
/// ... and a single one that is so many times above it.
const FAR_OVER: f64 = 3.0;
/// What is less than this share of one processor is no reason to sample, whatever share of a target it is that hardly runs. A
/// server that wakes 2,000 times a second for three calls of the allocator each pays 9 to 30 % of the little that it uses, since
/// its caches are cold, and 0.3 to 0.8 % of a processor: to sample it saves nobody anything, and finds its leak a minute later.
const NEGLIGIBLE: f64 = 0.01;
/// Exact mode must be expected to cost less than this share of the limit, ...
const WELL_INSIDE: f64 = 0.5;
/// ... in so many measurements in a row, before it is tried again.
const UNDER: u32 = 3;
/// Shortest time in sampled mode; twice as long each time that exact mode did not last, ...
const STAY: Duration = Duration::from_secs(5);
/// ... up to this ...
const STAY_MAX: Duration = Duration::from_secs(80);
/// ... unless it lasted so long.
const LASTING: Duration = Duration::from_secs(30);

/// Chooses between the modes by what exact mode costs, or would cost.
#[derive(Debug)]
pub(crate) struct Governor {
    max: f64,
    /// Measurements in a row that speak for the other mode.
    against: u32,
    /// When the mode in use began, and how long sampled mode stays at least.
    since: Duration,
    stay: Duration,
}

/// What exact mode costs, or would cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// A share of the target's processor time.
    pub(crate) share: f64,
    /// The same as a share of a whole processor.
    pub(crate) of_processor: f64,
    /// Stacks are mostly known, and many calls were timed.
    pub(crate) is_settled: bool,
}

impl Governor {
    /// A governor that keeps the cost below this share of the target's processor time. It begins with exact mode.
    pub(crate) fn new(max: f64) -> Self {
        Self { max, against: 0, since: Duration::ZERO, stay: STAY }
    }

    /// Whether to change the mode, now that exact mode costs, or would cost, so much.
    pub(crate) fn changes(&mut self, at: Duration, is_exact: bool, cost: Cost) -> bool {
        let share = if cost.of_processor < NEGLIGIBLE { 0.0 } else { cost.share };
        let in_use = at.saturating_sub(self.since);
        let counts = cost.is_settled || at >= WARM_UP;
        let speaks_against = if is_exact { counts && share > self.max } else { share < self.max * WELL_INSIDE };
        self.against = if speaks_against { self.against + 1 } else { 0 };
        let changes = if is_exact {
            let far = share > self.max * FAR_OVER;
            self.against >= OVER || (far && counts)
        } else {
            in_use >= self.stay && self.against >= UNDER
        };
        if !changes {
            return false;
        }
        if is_exact && self.since > Duration::ZERO {
            self.stay = if in_use >= LASTING { STAY } else { (self.stay * 2).min(STAY_MAX) };
        }
        self.against = 0;
        self.since = at;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(share: f64, of_processor: f64) -> Cost {
        Cost { share, of_processor, is_settled: true }
    }

    /// What exact mode costs in percent, second by second, at a limit of 5 %, with `new` stacks or old ones: the mode after each, `e` or `s`.
    #[track_caller]
    fn check(costs: &str, expected: &str) {
        let mut governor = Governor::new(0.05);
        let mut is_exact = true;
        let modes = (1..).zip(costs.split_whitespace()).map(|(second, cost)| {
            let (cost, is_settled) = cost.strip_suffix("new").map_or((cost, true), |cost| (cost, false));
            let share = cost.parse::<f64>().unwrap() / 100.0;
            let cost = Cost { is_settled, ..settled(share, share) };
            if governor.changes(Duration::from_secs(second), is_exact, cost) {
                is_exact = !is_exact;
            }
            if is_exact { 'e' } else { 's' }
        });
        assert_eq!(modes.collect::<String>(), expected);
    }

    #[test]
    fn what_stays_inside_stays_exact() {
        check("1 4 4.9 2 5 5", "eeeeee");
        check("6 4 6 4 6 4", "eeeeee");
    }

    #[test]
    fn a_target_that_hardly_runs_is_not_sampled() {
        let mut governor = Governor::new(0.05);
        for second in 1..10 {
            assert!(!governor.changes(Duration::from_secs(second), true, settled(0.9, 0.009_9)), "second {second}");
        }
        assert!(governor.changes(Duration::from_secs(10), true, settled(0.9, 0.01)));
    }

    #[test]
    fn what_goes_beyond_is_sampled() {
        check("1 6 6 6", "eess");
        check("1 1 40 40", "eess");
    }

    #[test]
    fn the_first_second_decides_only_what_is_clear() {
        check("90new 4 4", "eee");
        check("90new 90new", "es");
        check("9new 9new 9 9", "eess");
        check("14 4 4", "eee");
        check("16 16 16", "sss");
    }

    #[test]
    fn exact_mode_comes_back_when_it_is_well_inside() {
        check("1 40 4 4 4 4 4 4 4 4", "esssssssss");
        check("1 40 2 2 2 2 2 2", "esssssee");
        check("1 40 2 2 2 2 9 2 2 2", "esssssssse");
    }

    #[test]
    fn a_target_that_goes_up_and_down_is_tried_less_and_less_often() {
        let mut governor = Governor::new(0.05);
        let (mut is_exact, mut changes) = (true, Vec::new());
        for second in 1..200 {
            // Cheap whenever it is sampled: estimates can be wrong.
            let share = if is_exact { 0.2 } else { 0.01 };
            if governor.changes(Duration::from_secs(second), is_exact, settled(share, share)) {
                is_exact = !is_exact;
                changes.push(second);
            }
        }
        assert_eq!(changes, [1, 6, 7, 17, 18, 38, 39, 79, 80, 160, 161]);
    }
}
