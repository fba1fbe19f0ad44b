//! What is remembered of one site between snapshots.
//!
//! Owns: its history and what was already told of it. Must not know: other sites.

use std::time::Duration;

use model::{Kind, Mode, Reading, SiteCounts, Tally, Why};

use super::SiteEvent;
use crate::limits::{
    LATE_FREES_MIN, LATE_SHARE_MIN, NEW_MAXIMUM_SHARE, POINTS_MIN, SCORE_MIN, SITE_POINTS_MAX, TOLD_PAUSE_MAX,
    TOLD_PAUSE_MIN, UNCLEAR_SHARE,
};
use crate::series::{Height, Point, Series};
use crate::trend::{Trend, trend};

/// Bytes of a site at one moment, or the number of its descriptors.
#[derive(Clone, Copy, Debug)]
struct Level {
    expired: u64,
    live: u64,
    /// Variance of all that ever came to `expired` or left it again. Between two moments it grows by the variance of the difference
    /// of their levels: what stayed is in both and adds nothing.
    passed: f64,
    /// The rate of sampling, zero where every block was recorded: of what was allocated at less than that nothing may be known.
    rate: u64,
}

/// What can be said of the last third of a site's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// It set a new maximum of expired bytes.
    Rising,
    /// It did not.
    Level,
    /// Its figures are estimated from too few samples to tell.
    Unclear,
}

/// The past of a site of which a block ever expired.
#[derive(Debug)]
pub(super) struct Past {
    levels: Series<Level>,
    /// Blocks that ever expired, and late frees, as they were told last.
    told_expired: Option<Told>,
    told_late: Option<Told>,
    stop_told: bool,
    /// Whether it makes no more events.
    pub(super) demoted: bool,
    allocations: u64,
    /// When it was last seen to have allocated.
    pub(super) allocated_at: Duration,
    /// When a late free of it was first seen.
    pub(super) first_late: Option<Duration>,
}

/// What was told last of a count that grows.
#[derive(Clone, Copy, Debug)]
struct Told {
    count: u64,
    at: Duration,
    /// When it was told for the first time.
    first: Duration,
}

impl Told {
    const fn first(count: u64, at: Duration) -> Self {
        Self { count, at, first: at }
    }

    /// Whether it should be told again: there is twice as much, or twice the time has gone by. A leak of hours is then some dozen
    /// lines, and the first of them still come at once.
    fn is_due(&self, count: u64, at: Duration) -> bool {
        let pause = self.at.saturating_sub(self.first).clamp(TOLD_PAUSE_MIN, TOLD_PAUSE_MAX);
        count > self.count && (count >= 2 * self.count || at.saturating_sub(self.at) >= pause)
    }
}

impl Height for Level {
    fn height(&self) -> u64 {
        self.expired
    }
}

impl Past {
    pub(super) const fn new() -> Self {
        Self {
            levels: Series::new(SITE_POINTS_MAX),
            told_expired: None,
            told_late: None,
            stop_told: false,
            demoted: false,
            allocations: 0,
            allocated_at: Duration::ZERO,
            first_late: None,
        }
    }

    /// Takes the counts of the next snapshot and tells what happened.
    pub(super) fn add(
        &mut self,
        at: Duration,
        counts: &SiteCounts,
        (mode, stop_after): (Mode, Option<u64>),
        events: &mut Vec<SiteEvent>,
    ) {
        let rate = match mode {
            Mode::Sampled { rate } if counts.kind() == Kind::Heap => rate.0,
            Mode::Sampled { .. } | Mode::Exact => 0,
        };
        let passed = (ever_expired(counts).variance.bytes as f64) + (counts.freed_late.variance.bytes as f64);
        let level = Level { expired: counts.expired.weight(), live: counts.live.weight(), passed, rate };
        self.levels.push(at, level);
        if counts.allocated.count != self.allocations {
            self.allocations = counts.allocated.count;
            self.allocated_at = at;
        }
        if counts.freed_late.count > 0 && self.first_late.is_none() {
            self.first_late = Some(at);
        }
        self.tell_expiry(at, counts, events);
        self.tell_late(at, counts, events);
        self.tell_stop(at, counts, stop_after, events);
    }

    /// Growth of its live bytes.
    pub(super) fn growth(&self) -> Option<Trend> {
        let live = |point: &Point<Level>| Point { at: point.at, value: point.value.live };
        let live: Vec<Point<u64>> = self.levels.points().iter().map(live).collect();
        trend(&live)
    }

    /// Where the last third of its history begins; none where the history is too short to have one.
    pub(super) fn last_third(&self) -> Option<Duration> {
        let points = self.levels.points();
        let start = points.len() - points.len() / 3;
        points.get(start).filter(|_| points.len() >= POINTS_MIN).map(|point| point.at)
    }

    /// Whether the last third of its history set a new maximum of expired bytes. Of estimates the rise must be more than
    /// their error, and "level" is only said where a rise worth the name would have shown.
    pub(super) fn course(&self) -> Course {
        let points = self.levels.points();
        let (before, last) = points.split_at(points.len() - points.len() / 3);
        // How long the last part is, as a share of the first: steady growth adds so much, with so much of its variance.
        let more = match (points.first(), before.last(), points.last()) {
            (Some(first), Some(split), Some(end)) if split.at > first.at => {
                end.at.saturating_sub(split.at).as_secs_f64() / split.at.saturating_sub(first.at).as_secs_f64()
            }
            _ => 0.0,
        };
        let most = |points: &[Point<Level>]| points.iter().map(|point| point.value).max_by_key(|level| level.expired);
        let none = Level { expired: 0, live: 0, passed: 0.0, rate: 0 };
        let rate = points.last().map_or(0, |point| point.value.rate);
        let (before, last) = (most(before).unwrap_or(none), most(last).unwrap_or(none));
        let error = SCORE_MIN * (last.passed - before.passed).max(0.0).sqrt();
        // Blocks that were counted one by one have no variance; those that would have come since the mode changed have that of a sample.
        let passed = before.passed.max(before.expired as f64 * rate as f64);
        let error_of_growth = SCORE_MIN * (passed * more).sqrt();
        let (before, last) = (before.expired as f64, last.expired as f64);
        match () {
            () if last > before * (1.0 + NEW_MAXIMUM_SHARE) + error => Course::Rising,
            () if error > before * UNCLEAR_SHARE || error_of_growth > before * more => Course::Unclear,
            () => Course::Level,
        }
    }

    fn tell_expiry(&mut self, at: Duration, counts: &SiteCounts, events: &mut Vec<SiteEvent>) {
        let (stack, expired, ever) = (counts.stack, counts.expired, ever_expired(counts).count);
        match &mut self.told_expired {
            None => {
                self.told_expired = Some(Told::first(ever, at));
                events.push(SiteEvent::FirstExpiry { at, stack, expired });
            }
            Some(told) if told.is_due(ever, at) && !self.demoted => {
                events.push(SiteEvent::Again { at, stack, more: ever - told.count, expired });
                (told.count, told.at) = (ever, at);
            }
            Some(_) => {}
        }
    }

    fn tell_late(&mut self, at: Duration, counts: &SiteCounts, events: &mut Vec<SiteEvent>) {
        let (stack, late) = (counts.stack, counts.freed_late);
        let demotes = late.count_least() >= LATE_FREES_MIN && frees_most(counts);
        let is_due = self.told_late.map_or(late.count > 0, |told| told.is_due(late.count, at) || demotes);
        if self.demoted || !is_due {
            return;
        }
        let told = self.told_late.get_or_insert(Told::first(0, at));
        if late.count > told.count {
            let longest = Reading::from_option(counts.freed_late_longest, Why::NotRecorded);
            events.push(SiteEvent::FreedLate { at, stack, kind: late.kind, count: late.count - told.count, longest });
            (told.count, told.at) = (late.count, at);
        }
        if demotes {
            self.demoted = true;
            events.push(SiteEvent::Demoted { at, stack, freed_late: late, ever_expired: ever_expired(counts) });
        }
    }

    fn tell_stop(&mut self, at: Duration, counts: &SiteCounts, stop_after: Option<u64>, events: &mut Vec<SiteEvent>) {
        if !self.stop_told && stop_after.is_some_and(|most| counts.expired.count_least() >= most) {
            self.stop_told = true;
            events.push(SiteEvent::StopReached { at, stack: counts.stack, expired: counts.expired });
        }
    }
}

/// Blocks that ever expired: those that still live and those that were freed afterwards.
pub(super) fn ever_expired(counts: &SiteCounts) -> Tally {
    counts.expired.plus(counts.freed_late)
}

/// Whether it frees most of what expires.
pub(super) fn frees_most(counts: &SiteCounts) -> bool {
    let late = counts.freed_late.count;
    late > 0 && late as f64 >= LATE_SHARE_MIN * ever_expired(counts).count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Bytes, StackId, Variance};

    fn counts(expired: u64, late: u64) -> SiteCounts {
        let tally = |count| Tally::exact(count, Bytes(count));
        SiteCounts {
            stack: StackId(1),
            allocated: tally(100),
            freed: tally(late),
            live: tally(100 - late),
            expired: tally(expired),
            freed_late: tally(late),
            freed_late_longest: None,
            lifetimes: None,
            oldest_live: None,
            contents: Vec::new(),
        }
    }

    fn past(all: impl Iterator<Item = SiteCounts>) -> Past {
        let mut past = Past::new();
        for (second, counts) in (0..).zip(all) {
            past.add(Duration::from_secs(second), &counts, (Mode::Exact, None), &mut Vec::new());
        }
        past
    }

    /// Expired counts, one a second: whether the last third set a new maximum, and when it begins.
    #[track_caller]
    fn check(expired: &[u64], rising: bool, third: Option<u64>) {
        let past = past(expired.iter().map(|expired| counts(*expired, 0)));
        assert_eq!(past.course() == Course::Rising, rising, "{expired:?}");
        assert_ne!(past.course(), Course::Unclear, "what is counted is clear");
        assert_eq!(past.last_third(), third.map(Duration::from_secs), "{expired:?}");
    }

    /// Numbers of samples, one a second, as `expired/freed late`; each sample stands for 100 bytes.
    #[track_caller]
    fn check_sampled(samples: &str, expected: Course) {
        let estimate = |text: &str| {
            let samples: u64 = text.parse().unwrap();
            let variance = Variance { blocks: u128::from(samples) * 9_900, bytes: u128::from(samples) * 9_900 };
            Tally { variance, ..Tally::exact(samples * 100, Bytes(samples * 100)) }
        };
        let one = |word: &str| {
            let (expired, late) = word.split_once('/').unwrap_or((word, "0"));
            SiteCounts { expired: estimate(expired), freed_late: estimate(late), ..counts(0, 0) }
        };
        assert_eq!(past(samples.split(' ').map(one)).course(), expected, "{samples}");
    }

    #[test]
    fn an_estimate_rises_when_the_rise_exceeds_its_error() {
        check_sampled("1 2 3 4 5 6", Course::Unclear);
        check_sampled("10 20 30 40 50 60", Course::Rising);
        // A full cache of some hundred samples, of which each look sees others: 60 went and 62 came.
        check_sampled("100 103 99 101/10 104/40 106/60", Course::Unclear);
        check_sampled("10000 10030 9990 10010/100 10040/200 10060/300", Course::Level);
        check_sampled("200 200 200 200 200 200", Course::Level);
        check_sampled("200 200 200 200 203 203", Course::Level);
        // With so few, none in the last third may be chance.
        check_sampled("2 4 6 8 8 8", Course::Unclear);
        check_sampled("5 10 15 20 20 20", Course::Level);
    }

    #[test]
    fn the_last_third_rises_or_has_levelled_off() {
        check(&[1, 2, 3, 4, 5, 6], true, Some(4));
        check(&[1, 2, 3, 50, 50, 50], false, Some(4));
        check(&[50, 50, 50, 50, 51, 51], false, Some(4)); // two in a hundred more are no new maximum
        check(&[50, 50, 50, 50, 51, 52], true, Some(4));
        check(&[1, 2, 3], true, None);
    }

    #[test]
    fn most_means_at_least_half_and_at_least_one() {
        let cases = [(0, 0, false), (5, 0, false), (5, 4, false), (5, 5, true), (0, 1, true)];
        for (expired, late, expected) in cases {
            assert_eq!(frees_most(&counts(expired, late)), expected, "{late} of {}", expired + late);
        }
    }

    /// Counts that grow by one in each half second: at which seconds something is told of them.
    #[test]
    fn what_keeps_coming_is_told_at_ever_longer_intervals() {
        let mut past = Past::new();
        let mut told = Vec::new();
        for half in 0..7200 {
            let (at, mut events) = (Duration::from_millis(500 * half), Vec::new());
            past.add(at, &counts(half + 1, 0), (Mode::Exact, None), &mut events);
            told.extend(events.iter().map(|_| at.as_secs_f64()));
        }
        assert!(told.starts_with(&[0.0, 0.5, 1.5, 3.0, 6.0, 12.0]), "{told:?}");
        assert!(told.len() < 24, "an hour of two expiries a second in {} lines", told.len());
        let longest = told.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        assert!(longest <= TOLD_PAUSE_MAX.as_secs_f64() + 1.0, "it is never silent for long: {longest}");
    }

    #[test]
    fn a_burst_is_told_at_once_and_nothing_is_left_out_of_the_sum() {
        let mut past = Past::new();
        let mut sum = 0;
        for (milliseconds, expired) in [(0, 10), (100, 11), (200, 300), (300, 301), (5000, 302)] {
            let mut events = Vec::new();
            past.add(Duration::from_millis(milliseconds), &counts(expired, 0), (Mode::Exact, None), &mut events);
            for event in events {
                let SiteEvent::Again { more, .. } = event else { continue };
                sum += more;
            }
        }
        assert_eq!(sum, 292);
    }
}
