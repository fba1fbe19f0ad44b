//! The history of one process, and its judgement.
//!
//! Owns: which kinds of memory are judged, and what else matters than their series. Must not know: other processes.

use std::sync::Arc;
use std::time::Duration;

use model::{Bytes, Identity, MemorySample, Reading, Why};

use super::judge::{Judgement, judge};
use super::words::{amount, span};
use super::{Exhaustion, Growth, GrowthVerdict, MemoryKind};
use crate::Rate;
use crate::limits::{KIND_MIN, MATERIAL_MIN, POINTS_MAX, RECENT_POINTS, WARM_UP};
use crate::series::{Height, Point, Series};

const KIB: u64 = 1024;

/// How sure growth of shared memory is against growth of private memory: a page counts for a process as soon as it
/// touches it, whoever made it, so that a pool of shared buffers that is visited page by page looks like growth.
const SHARED_CONFIDENCE: f64 = 0.6;
/// The doubt about growth of a process that started while it was watched: it may be filling its caches. It is whole at
/// first and then falls as the age rises, since a program that still grows evenly after an hour is not starting up. A doubt
/// that stayed would keep each service that was restarted under a recorder from ever being called a leak.
const BORN_DOUBT: f64 = 0.2;
const BORN_DOUBT_WHOLE: Duration = Duration::from_secs(300);
/// A smaller doubt is not worth a sentence.
const BORN_DOUBT_SAID: f64 = 0.02;

/// The kinds of memory of one sample in KiB: a quarter of the size of four `Bytes`, up to 4 TiB each, times 120 points, times
/// thousands of processes.
#[derive(Clone, Copy, Debug)]
struct Kinds {
    anon: u32,
    swap: u32,
    shmem: u32,
    file: u32,
}

const _: () = assert!(size_of::<Kinds>() == 16, "histories are counted by this size in limits.rs");

/// What is kept of one process.
#[derive(Debug)]
pub(super) struct History {
    /// The beat of its last sample.
    pub(super) seen: u64,
    /// What its group may still take.
    pub(super) room: Reading<Bytes>,
    identity: Arc<Identity>,
    memory: MemorySample,
    series: Series<Kinds>,
    /// Whether its start was seen.
    born: bool,
}

impl Height for Kinds {
    fn height(&self) -> u64 {
        u64::from(self.anon) + u64::from(self.swap)
    }
}

impl Kinds {
    fn of(memory: &MemorySample) -> Option<Self> {
        let kib = |reading: Reading<Bytes>| Some(u32::try_from(reading.known()?.0 / KIB).unwrap_or(u32::MAX));
        Some(Self {
            anon: kib(memory.anon)?,
            swap: kib(memory.swap)?,
            shmem: kib(memory.shmem)?,
            file: kib(memory.file)?,
        })
    }

    fn private(&self) -> u64 {
        self.height() * KIB
    }

    fn shared(&self) -> u64 {
        u64::from(self.shmem) * KIB
    }
}

impl History {
    pub(super) const fn new(identity: Arc<Identity>, memory: MemorySample, born: bool) -> Self {
        let room = Reading::Missing(Why::NotRecorded);
        Self { seen: 0, room, identity, memory, series: Series::new(POINTS_MAX), born }
    }

    /// Takes a sample; returns whether its figures were there, and how many samples were merged away.
    pub(super) fn add(
        &mut self,
        beat: u64,
        at: Duration,
        identity: &Arc<Identity>,
        memory: MemorySample,
    ) -> (bool, u64) {
        self.seen = beat;
        if executed(&self.identity, identity) {
            self.series.clear();
            self.born = true;
        }
        debug_assert_eq!(self.identity.key, identity.key, "a history is of one process");
        self.identity = identity.clone();
        self.memory = memory;
        match Kinds::of(&memory) {
            Some(kinds) => (true, self.series.push(at, kinds)),
            None => (false, 0),
        }
    }

    pub(super) fn judged(&self, memory_available: Reading<Bytes>) -> Growth {
        let points = self.settled();
        // A second judgement doubles the work, and nearly no process has shared memory that moves.
        let shared_grows = growth_of(points, |kinds| u64::from(kinds.shmem)) * KIB as i64 >= MATERIAL_MIN as i64;
        let private = judge(&series_of(points, Kinds::private));
        let settled = matches!(private.verdict, GrowthVerdict::Growing | GrowthVerdict::TooShort);
        let (mut judgement, shared) = if shared_grows && !settled {
            preferred(private, judge(&series_of(points, Kinds::shared)))
        } else {
            (private, false)
        };
        self.weigh(&mut judgement, points, shared);
        let kind = kind(points, judgement.verdict, shared);
        let exhaustion = exhaustion(&judgement, memory_available, self.room);
        Growth {
            identity: self.identity.clone(),
            memory: self.memory,
            verdict: judgement.verdict,
            kind,
            per_hour: judgement.rate,
            recent_per_hour: recent(self.series.points()),
            confidence: judgement.confidence,
            exhaustion,
            reasons: judgement.reasons,
            history: self.series.points().iter().map(|point| (point.at, Bytes(point.value.private()))).collect(),
        }
    }

    /// The points without the warm-up, where it was seen.
    fn settled(&self) -> &[Point<Kinds>] {
        let points = self.series.points();
        let Some(first) = points.first().filter(|_| self.born) else { return points };
        let start = points.partition_point(|point| point.at < first.at + WARM_UP);
        points.get(start..).unwrap_or_default()
    }

    /// Adds what the series itself cannot know.
    fn weigh(&self, judgement: &mut Judgement, points: &[Point<Kinds>], shared: bool) {
        if judgement.verdict == GrowthVerdict::TooShort && Kinds::of(&self.memory).is_none() {
            judgement.reasons = vec!["its memory by kind cannot be read".to_owned()];
        }
        let file = growth_of(points, |kinds| u64::from(kinds.file));
        if file > growth_of(points, Kinds::height).max(0) && file as u64 * KIB >= MATERIAL_MIN {
            let bytes = amount((file as u64 * KIB) as f64);
            judgement
                .reasons
                .push(format!("mapped files in RAM grew by {bytes}: the kernel drops them when it needs room"));
        }
        if judgement.verdict != GrowthVerdict::Growing {
            return;
        }
        if self.born {
            let age = self.series.span();
            let doubt = born_doubt(age);
            if doubt >= BORN_DOUBT_SAID {
                let age = span(age);
                judgement.reasons.push(format!("against: it started {age} ago and may still be warming up"));
            }
            judgement.confidence = judgement.confidence.map(|confidence| confidence * (1.0 - doubt));
        }
        if shared {
            let reason = "against: shared memory counts for whoever touches it; another process may have made it";
            judgement.reasons.push(reason.to_owned());
            judgement.confidence = judgement.confidence.map(|confidence| confidence * SHARED_CONFIDENCE);
        }
    }
}

/// How much less sure growth is of a process of this age, as a share.
fn born_doubt(age: Duration) -> f64 {
    let fresh = BORN_DOUBT_WHOLE.as_secs_f64() / age.as_secs_f64().max(BORN_DOUBT_WHOLE.as_secs_f64());
    debug_assert!((0.0..=1.0).contains(&fresh), "a doubt only ever fades");
    BORN_DOUBT * fresh
}

/// An `exec` changes name and arguments; a process that only renames itself keeps its arguments (or the reverse).
fn executed(before: &Arc<Identity>, after: &Arc<Identity>) -> bool {
    !Arc::ptr_eq(before, after) && before.command != after.command && before.arguments != after.arguments
}

fn series_of(points: &[Point<Kinds>], bytes: impl Fn(&Kinds) -> u64) -> Vec<Point<u64>> {
    points.iter().map(|point| Point { at: point.at, value: bytes(&point.value) }).collect()
}

/// Last less first, in KiB.
fn growth_of(points: &[Point<Kinds>], kib: impl Fn(&Kinds) -> u64) -> i64 {
    match (points.first(), points.last()) {
        (Some(first), Some(last)) => kib(&last.value) as i64 - kib(&first.value) as i64,
        _ => 0,
    }
}

/// Shared memory is only worth a word where it grows.
fn preferred(private: Judgement, shared: Judgement) -> (Judgement, bool) {
    if shared.verdict == GrowthVerdict::Growing { (shared, true) } else { (private, false) }
}

fn kind(points: &[Point<Kinds>], verdict: GrowthVerdict, shared: bool) -> Option<MemoryKind> {
    let private = [
        (growth_of(points, |kinds| u64::from(kinds.anon)), MemoryKind::Anon),
        (growth_of(points, |kinds| u64::from(kinds.swap)), MemoryKind::Swap),
    ];
    let others = [
        (growth_of(points, |kinds| u64::from(kinds.shmem)), MemoryKind::Shmem),
        (growth_of(points, |kinds| u64::from(kinds.file)), MemoryKind::File),
    ];
    // Where private memory was judged, only a kind of it may be named, or "growing: file" would blame the page cache.
    let judged_private = verdict == GrowthVerdict::Growing && !shared;
    if verdict == GrowthVerdict::Growing && shared {
        return Some(MemoryKind::Shmem);
    }
    let others = others.into_iter().filter(|_| !judged_private);
    let most = private.into_iter().chain(others).max_by_key(|(growth, _)| *growth);
    most.filter(|(growth, _)| *growth * KIB as i64 >= KIND_MIN as i64).map(|(_, kind)| kind)
}

/// Growth over the last few samples, from the ends: cheap, and as nervous as a live view should be.
fn recent(points: &[Point<Kinds>]) -> Reading<i64> {
    let start = points.len().saturating_sub(RECENT_POINTS);
    let points = points.get(start..).unwrap_or_default();
    match (points.first(), points.last()) {
        (Some(first), Some(last)) if last.at > first.at => {
            let seconds = last.at.saturating_sub(first.at).as_secs_f64();
            let growth = growth_of(points, Kinds::height) as f64 * KIB as f64;
            Reading::Known((growth / seconds * 3600.0).round() as i64)
        }
        _ => Reading::Missing(Why::TooShort),
    }
}

fn exhaustion(judgement: &Judgement, machine: Reading<Bytes>, group: Reading<Bytes>) -> Reading<Exhaustion> {
    let Reading::Known(rate) = judgement.rate else { return Reading::Missing(Why::TooShort) };
    // A rate that is no growth (a step, a sawtooth) does not go on, and an end that is foretold from it would frighten people.
    if judgement.verdict != GrowthVerdict::Growing {
        return Reading::Missing(Why::NotRecorded);
    }
    let room = match (machine, group) {
        (Reading::Known(machine), Reading::Known(group)) => Reading::Known(machine.min(group)),
        (Reading::Missing(_), Reading::Known(group)) => Reading::Known(group),
        (machine, Reading::Missing(_)) => machine,
    };
    room.map(|room| until_full(room, rate))
}

fn until_full(room: Bytes, rate: Rate) -> Exhaustion {
    let after = |per_hour: i64| {
        let hours = room.0 as f64 / per_hour as f64;
        (per_hour > 0).then(|| Duration::try_from_secs_f64(hours * 3600.0).unwrap_or(Duration::MAX))
    };
    debug_assert!(rate.low <= rate.per_hour && rate.per_hour <= rate.high, "an estimate lies in its interval");
    let estimate = after(rate.per_hour).unwrap_or(Duration::MAX);
    let found = Exhaustion { after: estimate, soonest: after(rate.high).unwrap_or(estimate), latest: after(rate.low) };
    debug_assert!(found.soonest <= found.after, "the faster it grows, the sooner it ends");
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room in bytes and a rate an hour, against seconds: estimate, soonest, latest.
    #[track_caller]
    fn check(room: u64, rate: [i64; 3], expected: (u64, u64, Option<u64>)) {
        let [low, per_hour, high] = rate;
        let found = until_full(Bytes(room), Rate { per_hour, low, high });
        let latest = found.latest.map(|latest| latest.as_secs());
        assert_eq!((found.after.as_secs(), found.soonest.as_secs(), latest), expected);
    }

    #[test]
    fn the_interval_of_the_rate_becomes_that_of_the_end() {
        check(3600, [1800, 3600, 7200], (3600, 1800, Some(7200)));
        check(0, [1, 2, 3], (0, 0, Some(0)));
        check(3600, [0, 3600, 7200], (3600, 1800, None));
        check(3600, [-5, 3600, 7200], (3600, 1800, None));
        check(u64::MAX, [1, 1, 1], (u64::MAX, u64::MAX, Some(u64::MAX)));
    }

    fn kinds(anon: u32, swap: u32, shmem: u32, file: u32) -> Kinds {
        Kinds { anon, swap, shmem, file }
    }

    fn points(samples: &[Kinds]) -> Vec<Point<Kinds>> {
        (0..).zip(samples).map(|(second, value)| Point { at: Duration::from_secs(second), value: *value }).collect()
    }

    #[track_caller]
    fn check_kind(last: Kinds, verdict: GrowthVerdict, shared: bool, expected: Option<MemoryKind>) {
        let points = points(&[kinds(1000, 1000, 1000, 1000), last]);
        assert_eq!(kind(&points, verdict, shared), expected);
    }

    #[test]
    fn the_kind_is_what_grew_most_of_what_was_judged() {
        let last = kinds(1100, 1200, 1300, 1400);
        check_kind(last, GrowthVerdict::Steady, false, Some(MemoryKind::File));
        check_kind(last, GrowthVerdict::Growing, false, Some(MemoryKind::Swap));
        check_kind(last, GrowthVerdict::Growing, true, Some(MemoryKind::Shmem));
        check_kind(kinds(1063, 900, 1000, 1000), GrowthVerdict::Steady, false, None);
        check_kind(kinds(1064, 900, 1000, 1000), GrowthVerdict::Steady, false, Some(MemoryKind::Anon));
    }

    #[test]
    fn the_recent_rate_looks_at_the_last_points_only() {
        assert_eq!(recent(&points(&[kinds(1, 0, 0, 0)])), Reading::Missing(Why::TooShort));
        let flat_then_rising: Vec<Kinds> =
            (0..40).map(|t| kinds(if t < 30 { 100 } else { 100 + 10 * (t - 30) }, 0, 0, 0)).collect();
        assert_eq!(recent(&points(&flat_then_rising)), Reading::Known(10 * 1024 * 3600));
        assert_eq!(recent(&points(&[kinds(9, 0, 0, 0), kinds(8, 0, 7, 7)])), Reading::Known(-1024 * 3600));
    }

    #[test]
    fn the_doubt_about_a_young_process_fades() {
        for (seconds, doubt) in [(0, 0.2), (300, 0.2), (600, 0.1), (3000, 0.02), (86_400, 0.2 / 288.0)] {
            let found = born_doubt(Duration::from_secs(seconds));
            assert!((found - doubt).abs() < 1e-9, "{found} after {seconds} s");
        }
    }

    #[test]
    fn figures_beyond_the_range_are_cut_at_it() {
        let known = Reading::Known(Bytes(u64::MAX));
        let threads = Reading::Known(1);
        let memory = MemorySample { anon: known, file: known, shmem: known, swap: known, page_tables: known, threads };
        let found = Kinds::of(&memory);
        assert_eq!(found.map(|kinds| (kinds.anon, kinds.height())), Some((u32::MAX, 2 * u64::from(u32::MAX))));
        assert!(Kinds::of(&MemorySample { swap: Reading::Missing(Why::ProcessGone), ..memory }).is_none());
    }
}
