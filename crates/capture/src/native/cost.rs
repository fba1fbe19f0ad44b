//! What the hooks cost the target, from the calls that its threads timed.
//!
//! Owns: the cost of a call, and the share of the target's processor time. Must not know: what is done about it.

use std::time::Duration;

use wire::ThreadFigures;

use super::read::{calls, figure};
use super::ticks::Ticks;
use crate::sys::process;

/// What no clock inside a hook can see of a call that passes: the jump to it, its stub, its return. In nanoseconds; with it the hooks say
/// of themselves what is measured from outside (5.5 for 5 to 7 ns a pair, at 5 and 30 frames).
const AROUND: f64 = 1.0;
/// What a free takes in nanoseconds that passes since its block cannot be in the sample.
const FREE_PASSED: f64 = 1.0;
/// What [`AROUND`] is for a call that is recorded. Less than nothing: between two readings of the clock nothing overlaps with what comes
/// before and after, and a call that is timed takes the longer way through its hook (31 and 28 ns more a call at 5 and 30 frames
/// than were measured from outside).
const AROUND_RECORDED: f64 = -28.0;
/// A share is measured over at least so much time, ...
const WINDOW: Duration = Duration::from_millis(900);
/// ... and the first one over so much: a cost far beyond the limit is not to last.
const FIRST_WINDOW: Duration = Duration::from_millis(400);
/// Where one of so many calls that allocate unwinds its stack, or more, the stacks of the target are still new.
const KNOWN_MIN: u64 = 64;
/// With so many timed calls in a window it matters little that a few of them met new pages, or lost the processor.
const TIMED_MANY: u64 = 1024;
/// With fewer timed calls in the window, those of the whole session say what a call costs.
const TIMED_MIN: u64 = 16;

/// Timed calls, as in [`wire::TimedCalls`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Timed {
    calls: u64,
    ticks: u64,
    readings: u64,
}

/// The work of all hooks until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Calls that allocated, and calls that freed.
    calls: [u64; 2],
    exact: [Timed; 2],
    sampled: [Timed; 2],
    /// Blocks that were sampled, each of them timed.
    samples: Timed,
    /// Stacks that were unwound.
    unwound: u64,
}

/// A share of the target's processor time, between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shares {
    /// What the hooks took.
    pub(crate) now: f64,
    /// What they take, or would take, if every block is recorded; none before that was ever measured.
    pub(crate) exact: Option<f64>,
    /// The same as a share of one processor rather than of what the target used of it.
    pub(crate) exact_of_processor: f64,
    /// Stacks were mostly known, and many calls timed: it goes on like this.
    pub(crate) is_settled: bool,
}

/// Relates work to time, window by window.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Nanoseconds that one reading of the clock takes.
    reading: f64,
    begin: Option<Moment>,
    /// How long the window is.
    window: Duration,
    /// Nanoseconds of a call that allocates and of one that frees, as last measured while every block was recorded.
    exact: Option<[f64; 2]>,
}

/// The state of things when a window began.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Duration,
    used: Duration,
    work: Work,
}

impl Work {
    /// Adds the figures of one thread.
    pub(crate) fn add(&mut self, words: &[u64]) {
        let timed = |at: usize| {
            let word = |i: usize| words.get(at / 8 + i).copied().unwrap_or(0);
            Timed { calls: word(0), ticks: word(1), readings: word(2) }
        };
        let pair = |at: usize| [timed(at), timed(at + size_of::<wire::TimedCalls>())];
        let samples = Timed {
            calls: figure!(words, samples),
            ticks: figure!(words, sample_ticks),
            readings: figure!(words, sample_readings),
        };
        let thread = Self {
            calls: calls(words),
            exact: pair(core::mem::offset_of!(ThreadFigures, exact)),
            sampled: pair(core::mem::offset_of!(ThreadFigures, sampled)),
            samples,
            unwound: figure!(words, stacks_unwound),
        };
        *self = self.with(&thread, u64::saturating_add);
    }

    /// Field by field.
    fn with(&self, other: &Self, each: impl Fn(u64, u64) -> u64 + Copy) -> Self {
        let timed = |one: Timed, other: Timed| Timed {
            calls: each(one.calls, other.calls),
            ticks: each(one.ticks, other.ticks),
            readings: each(one.readings, other.readings),
        };
        let pair = |one: [Timed; 2], other: [Timed; 2]| [timed(one[0], other[0]), timed(one[1], other[1])];
        Self {
            calls: [each(self.calls[0], other.calls[0]), each(self.calls[1], other.calls[1])],
            exact: pair(self.exact, other.exact),
            sampled: pair(self.sampled, other.sampled),
            samples: timed(self.samples, other.samples),
            unwound: each(self.unwound, other.unwound),
        }
    }
}

impl Timed {
    /// Nanoseconds of all of them, without the readings of the clock.
    fn nanoseconds(self, ticks: &Ticks, reading: f64) -> f64 {
        let all = ticks.duration(self.ticks).as_nanos() as f64;
        (all - self.readings as f64 * reading).max(0.0)
    }
}

impl Meter {
    /// A meter that has measured nothing yet.
    pub(crate) fn new(ticks: &Ticks) -> Self {
        let reading = (0..64).map(|_| reading()).min().unwrap_or(0);
        Self { reading: ticks.duration(reading).as_nanos() as f64, begin: None, window: WINDOW, exact: None }
    }

    /// The hooks begin, in a target that has used so much processor time until now.
    pub(crate) fn start(&mut self, used: Duration) {
        self.begin = Some(Moment { at: Duration::ZERO, used, work: Work::default() });
        self.window = FIRST_WINDOW;
    }

    /// Begins anew: what the window holds belongs to another mode.
    pub(crate) fn restart(&mut self) {
        self.begin = None;
    }

    /// Takes what is known at a moment: the processor time used by the target, and the work of the hooks, all in one mode since
    /// the last restart. Gives the shares once a window is full.
    pub(crate) fn beat(
        &mut self,
        at: Duration,
        used: Duration,
        work: Work,
        exact: bool,
        ticks: &Ticks,
    ) -> Option<Shares> {
        let now = Moment { at, used, work };
        let Some(begin) = self.begin else {
            self.begin = Some(now);
            return None;
        };
        if at.saturating_sub(begin.at) < self.window {
            return None;
        }
        (self.begin, self.window) = (Some(now), WINDOW);
        let window = work.with(&begin.work, u64::saturating_sub);
        let used = used.saturating_sub(begin.used).as_nanos() as f64;
        let elapsed = at.saturating_sub(begin.at).as_nanos() as f64;
        let costs = self.costs(&window, &work, exact, ticks);
        if exact {
            self.exact = Some(costs);
        }
        let samples = if exact { 0.0 } else { window.samples.nanoseconds(ticks, self.reading) };
        // While blocks are sampled only those frees are counted that look for their block.
        let passed = if exact { 0.0 } else { window.calls[0] as f64 * FREE_PASSED };
        let spent = spent_at(window.calls, costs) + samples + passed;
        let share = |spent: f64, own: f64| if spent > 0.0 { (spent / (spent + own).max(1.0)).min(1.0) } else { 0.0 };
        // The target cannot have used less than the hooks took of it; both are measured.
        let own = (used - spent).max(0.0);
        // Where frees were not counted, there are about as many as allocations.
        let calls = if exact { window.calls } else { [window.calls[0]; 2] };
        let exact = self.exact.map(|costs| spent_at(calls, costs));
        Some(Shares {
            now: share(spent, own),
            exact: exact.map(|spent| share(spent, own)),
            exact_of_processor: exact.map_or(0.0, |spent| spent / elapsed.max(1.0)),
            is_settled: window.unwound < window.calls[0] / KNOWN_MIN && window.exact[0].calls >= TIMED_MANY,
        })
    }

    /// Nanoseconds of a call of each kind: by the window, or by all calls until now where it holds too few.
    fn costs(&self, window: &Work, all: &Work, exact: bool, ticks: &Ticks) -> [f64; 2] {
        [0, 1].map(|kind| {
            let of = |work: &Work| if exact { work.exact[kind] } else { work.sampled[kind] };
            let timed = if of(window).calls >= TIMED_MIN { of(window) } else { of(all) };
            let around = if exact { AROUND_RECORDED } else { AROUND };
            let cost = timed.nanoseconds(ticks, self.reading) / timed.calls.max(1) as f64 + around;
            // Nothing was timed yet, or the clock is coarse.
            cost.max(AROUND)
        })
    }
}

/// Nanoseconds of so many calls of each kind.
fn spent_at(calls: [u64; 2], costs: [f64; 2]) -> f64 {
    calls.iter().zip(costs).map(|(calls, cost)| *calls as f64 * cost).sum()
}

/// Ticks between two readings of the clock, one after the other.
fn reading() -> u64 {
    let before = process::ticks();
    process::ticks().saturating_sub(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that has run for a while, so that its rate is known.
    fn ticks() -> Ticks {
        Ticks::begin()
    }

    fn meter(reading: f64) -> Meter {
        Meter { reading, begin: None, window: WINDOW, exact: None }
    }

    /// Work of so many calls of each kind, of which every hundredth took so many nanoseconds.
    fn work(ticks: &Ticks, calls: u64, nanoseconds: u64, exact: bool) -> Work {
        let timed = Timed {
            calls: calls / 100,
            ticks: ticks.ticks(Duration::from_nanos(calls / 100 * nanoseconds)),
            readings: 0,
        };
        let none = [Timed::default(); 2];
        let (exact, sampled) = if exact { ([timed; 2], none) } else { (none, [timed; 2]) };
        Work { calls: [calls; 2], exact, sampled, samples: Timed::default(), unwound: 0 }
    }

    #[track_caller]
    fn check(share: f64, expected: f64) {
        assert!((share / expected - 1.0).abs() < 0.05, "{share}, not {expected}");
    }

    #[test]
    fn a_share_is_work_over_processor_time() {
        let (ticks, mut meter) = (ticks(), meter(0.0));
        let second = Duration::from_secs(1);
        assert_eq!(meter.beat(second, second, work(&ticks, 0, 0, true), true, &ticks), None);
        // A million pairs of 2 x (78 - 28) ns are a tenth of a second.
        let shares = meter.beat(2 * second, 2 * second, work(&ticks, 1_000_000, 78, true), true, &ticks).unwrap();
        check(shares.now, 0.1);
        check(shares.exact.unwrap(), 0.1);
        check(shares.exact_of_processor, 0.1);
    }

    #[test]
    fn what_exact_would_cost_is_known_from_when_it_was() {
        let (ticks, mut meter) = (ticks(), meter(0.0));
        let second = Duration::from_secs(1);
        let before = work(&ticks, 1_000_000, 78, true);
        meter.beat(Duration::ZERO, Duration::ZERO, Work::default(), true, &ticks);
        meter.beat(second, second, before, true, &ticks).unwrap();
        meter.restart();
        assert_eq!(meter.beat(second, second, before, false, &ticks), None);
        let after = before.with(&work(&ticks, 2_000_000, 1, false), u64::saturating_add);
        let shares = meter.beat(2 * second, 2 * second, after, false, &ticks).unwrap();
        // Two million pairs of 2 x 2 ns, and 1 ns for each free that passed, are 10 ms of a second; recorded, they would be 0.2 s beside the other 0.99 s.
        check(shares.now, 0.01);
        check(shares.exact.unwrap(), 0.2 / 1.19);
    }

    #[test]
    fn readings_of_the_clock_are_no_work() {
        let ticks = ticks();
        let timed = Timed { calls: 10, ticks: ticks.ticks(Duration::from_micros(1)), readings: 20 };
        check(timed.nanoseconds(&ticks, 30.0), 400.0);
        assert!(timed.nanoseconds(&ticks, 60.0).abs() < 1e-9, "never less than nothing");
    }

    #[test]
    fn a_target_without_calls_pays_nothing() {
        let (ticks, mut meter) = (ticks(), meter(10.0));
        meter.beat(Duration::ZERO, Duration::ZERO, Work::default(), true, &ticks);
        let shares = meter.beat(Duration::from_secs(1), Duration::ZERO, Work::default(), true, &ticks).unwrap();
        assert!(shares.now.abs() < 1e-9);
    }

    #[test]
    fn a_target_that_hardly_runs_pays_little_of_a_processor() {
        let (ticks, mut meter) = (ticks(), meter(0.0));
        meter.beat(Duration::ZERO, Duration::ZERO, Work::default(), true, &ticks);
        // 2,000 pairs of 2 x (78 - 28) ns are 0.2 ms, and 40 % of the half millisecond that was used in ten seconds.
        let (ten, used) = (Duration::from_secs(10), Duration::from_micros(500));
        let shares = meter.beat(ten, used, work(&ticks, 2_000, 78, true), true, &ticks).unwrap();
        check(shares.exact.unwrap(), 0.4);
        check(shares.exact_of_processor, 0.000_02);
    }

    #[test]
    fn a_reading_takes_time() {
        let ticks = ticks();
        let meter = Meter::new(&ticks);
        assert!((0.0..1000.0).contains(&meter.reading), "{} ns", meter.reading);
    }

    /// From the begin of the hooks on, at these milliseconds, of 200,000 calls each time so many that unwound: whether it has settled, where
    /// a share is known.
    #[track_caller]
    fn check_windows(beats: &[(u64, u64)], expected: &[Option<bool>]) {
        let (ticks, mut meter) = (ticks(), meter(0.0));
        meter.start(Duration::ZERO);
        let mut unwound = 0;
        let found: Vec<_> = (1..)
            .zip(beats)
            .map(|(calls, (at, new))| {
                unwound += new;
                let (at, work) =
                    (Duration::from_millis(*at), Work { unwound, ..work(&ticks, calls * 200_000, 78, true) });
                meter.beat(at, at, work, true, &ticks).map(|shares| shares.is_settled)
            })
            .collect();
        assert_eq!(found, expected, "{beats:?}");
    }

    #[test]
    fn the_first_window_is_short_and_says_whether_stacks_are_new() {
        check_windows(&[(300, 0), (500, 10), (1000, 10), (1500, 10)], &[None, Some(true), None, Some(true)]);
        check_windows(&[(500, 5_000), (1500, 10)], &[Some(false), Some(true)]);
        let (ticks, mut meter) = (ticks(), meter(0.0));
        meter.start(Duration::ZERO);
        let half = Duration::from_millis(500);
        let shares = meter.beat(half, half, work(&ticks, 50_000, 78, true), true, &ticks).unwrap();
        assert!(!shares.is_settled, "too few were timed");
    }
}
