//! The judgement of one series of memory.
//!
//! Owns: the conditions, their order and their reasons. Must not know: whose series it is, or which kind of memory.
//!
//! Growth is only said where all speak for it: enough samples, material, significant, not one step, not ending, not noise.
//! Each condition alone is known to accuse healthy processes (Mann–Kendall alone: more than half of them).

use std::time::Duration;

use model::{Reading, Why};

use super::teeth::{range, troughs};
use super::verdict::GrowthVerdict;
use super::words::{amount, span};
use crate::limits::{
    DOUBT_AMOUNT, DOUBT_NOISE, DOUBT_SAMPLES, DOUBT_TROUGHS, HALF_POINTS_MIN, HALVES_RATIO, MATERIAL_HOUR,
    MATERIAL_MIN, MATERIAL_SHARE, NOISE_TIMES, POINTS_MIN, SCORE_MIN, SLOWED_RATIO, SPAN_MIN, STEP_SHARE, TEETH_MIN,
    TROUGHS_MIN,
};
use crate::series::{Point, steps};
use crate::trend::{Rate, Trend, residual, trend};

const HOUR: f64 = 3600.0;

/// What a series comes to.
#[derive(Clone, Debug)]
pub(super) struct Judgement {
    pub(super) verdict: GrowthVerdict,
    pub(super) rate: Reading<Rate>,
    pub(super) confidence: Reading<f64>,
    pub(super) reasons: Vec<String>,
}

/// The figures that all conditions look at, computed once.
struct Facts<'a> {
    points: &'a [Point<u64>],
    window: Duration,
    low: u64,
    high: u64,
    /// Growth that counts in this window and at this size.
    material: u64,
}

/// Judges a series in bytes.
pub(super) fn judge(points: &[Point<u64>]) -> Judgement {
    let facts = Facts::of(points);
    if points.len() < POINTS_MIN || facts.window < SPAN_MIN {
        return too_short(&facts);
    }
    // Most processes of a machine are flat: this look at the range spares them the pairs.
    if facts.high - facts.low < facts.material {
        return flat(&facts);
    }
    let floor = troughs(points);
    if floor.len() >= TEETH_MIN {
        return by_troughs(&facts, &floor);
    }
    match trend(points) {
        Some(trend) if trend.score >= SCORE_MIN && trend.low > 0.0 => rising(&facts, trend),
        Some(trend) if trend.score <= -SCORE_MIN && trend.high < 0.0 => shrinking(&facts, trend),
        Some(trend) => no_trend(&facts, trend),
        None => too_short(&facts),
    }
}

impl<'a> Facts<'a> {
    fn of(points: &'a [Point<u64>]) -> Self {
        let (low, high) = range(points);
        let window = match (points.first(), points.last()) {
            (Some(first), Some(last)) => last.at.saturating_sub(first.at),
            _ => Duration::ZERO,
        };
        let by_time = (MATERIAL_HOUR as f64 * (window.as_secs_f64() / HOUR).min(1.0)) as u64;
        let material = MATERIAL_MIN.max(by_time).max(high / MATERIAL_SHARE);
        Self { points, window, low, high, material }
    }

    fn seconds(&self) -> f64 {
        self.window.as_secs_f64()
    }

    /// Last less first.
    fn net(&self) -> f64 {
        let value = |point: Option<&Point<u64>>| point.map_or(0.0, |point| point.value as f64);
        value(self.points.last()) - value(self.points.first())
    }

    fn largest_increment(&self) -> f64 {
        let increments = steps(self.points).map(|(before, after)| after.value.saturating_sub(before.value));
        increments.max().unwrap_or(0) as f64
    }

    /// Whether the last third of the window set a new maximum.
    fn still_rising(&self) -> bool {
        let (before, last) = self.points.split_at(self.points.len() - self.points.len() / 3);
        range(last).1 > range(before).1
    }

    /// Slopes of the first and of the second half.
    fn halves(&self) -> (f64, f64) {
        let (first, second) = self.points.split_at(self.points.len() / 2);
        (slope(first), slope(second))
    }

    fn enough_for_halves(&self) -> bool {
        self.points.len() >= 2 * HALF_POINTS_MIN
    }
}

/// The slope of a part: robust where it has enough points, else from its ends.
fn slope(points: &[Point<u64>]) -> f64 {
    let ends = || match (points.first(), points.last()) {
        (Some(first), Some(last)) if last.at > first.at => {
            (last.value as f64 - first.value as f64) / last.at.saturating_sub(first.at).as_secs_f64()
        }
        _ => 0.0,
    };
    trend(points).map_or_else(ends, |trend| trend.slope)
}

fn too_short(facts: &Facts<'_>) -> Judgement {
    let reason = format!(
        "{} samples over {} are too few to tell: {POINTS_MIN} over {} are needed",
        facts.points.len(),
        span(facts.window),
        span(SPAN_MIN)
    );
    let missing = Why::TooShort;
    Judgement {
        verdict: GrowthVerdict::TooShort,
        rate: Reading::Missing(missing),
        confidence: Reading::Missing(missing),
        reasons: vec![reason],
    }
}

/// The rate of a flat series is bounded by its range; the pairs are not worth it.
fn flat(facts: &Facts<'_>) -> Judgement {
    let reach = (facts.high - facts.low) as f64 / facts.seconds();
    let slope = facts.net() / facts.seconds();
    let reason = format!(
        "moved by {} in {}, less than the {} that would count",
        amount((facts.high - facts.low) as f64),
        span(facts.window),
        amount(facts.material as f64)
    );
    verdict(GrowthVerdict::Steady, Trend { slope, low: -reach, high: reach, score: 0.0 }, 0.0, vec![reason])
}

fn verdict(verdict: GrowthVerdict, trend: Trend, confidence: f64, reasons: Vec<String>) -> Judgement {
    debug_assert!((0.0..=1.0).contains(&confidence), "confidence is a share");
    debug_assert!(trend.low <= trend.slope && trend.slope <= trend.high, "an estimate lies in its interval");
    Judgement { verdict, rate: Reading::Known(trend.rate()), confidence: Reading::Known(confidence), reasons }
}

fn shrinking(facts: &Facts<'_>, trend: Trend) -> Judgement {
    let reason = format!("fell by {} in {}", amount(-trend.slope * facts.seconds()), span(facts.window));
    verdict(GrowthVerdict::Shrinking, trend, 0.0, vec![reason])
}

/// It moved materially, but not as a trend: one step, growth that ended early, or noise.
fn no_trend(facts: &Facts<'_>, trend: Trend) -> Judgement {
    let net = facts.net();
    if net >= facts.material as f64 {
        if facts.largest_increment() > STEP_SHARE * net {
            return stepped(facts, trend, net);
        }
        if !facts.still_rising() {
            return plateaued(facts, trend, net, "its last third set no new maximum".to_owned());
        }
    }
    let moved = amount((facts.high - facts.low) as f64);
    let reason = format!("moved within {moved} in {}, up and down: no trend is significant", span(facts.window));
    verdict(GrowthVerdict::Steady, trend, 0.0, vec![reason])
}

/// `grown` is what it grew by: more than nothing, or no share of it could be said.
fn stepped(facts: &Facts<'_>, trend: Trend, grown: f64) -> Judgement {
    debug_assert!(grown > 0.0, "a step is part of growth");
    let share = facts.largest_increment() / grown * 100.0;
    let reason =
        format!("{share:.0} % of its growth of {} came between two samples: a step, not a trend", amount(grown));
    verdict(GrowthVerdict::Stepped, trend, 0.0, vec![reason])
}

fn plateaued(facts: &Facts<'_>, trend: Trend, grown: f64, because: String) -> Judgement {
    debug_assert!(facts.points.len() >= POINTS_MIN, "a plateau needs something before it");
    let reason = format!("grew by {}, but growth is ending", amount(grown));
    verdict(GrowthVerdict::Plateaued, trend, 0.0, vec![reason, because])
}

/// It rises significantly: every other explanation is tried before it is called growth.
fn rising(facts: &Facts<'_>, trend: Trend) -> Judgement {
    let growth = trend.slope * facts.seconds();
    if growth < facts.material as f64 {
        let needed = amount(facts.material as f64);
        let reason =
            format!("its trend of {} in {} is below the {needed} that would count", amount(growth), span(facts.window));
        return verdict(GrowthVerdict::Steady, trend, 0.0, vec![reason]);
    }
    // Where the first sample was a peak (a process that starts frees what it read), last less first says nothing, or less than
    // nothing: the slope, which one sample cannot move, knows what the growth is.
    let grown = facts.net().max(growth);
    if facts.largest_increment() > STEP_SHARE * grown {
        return stepped(facts, trend, grown);
    }
    let (first, second) = facts.halves();
    let slowed = second < SLOWED_RATIO * trend.slope || (facts.enough_for_halves() && second < HALVES_RATIO * first);
    if slowed {
        let share = (second / trend.slope * 100.0).max(0.0);
        return plateaued(
            facts,
            trend,
            grown,
            format!("its second half grew at {share:.0} % of the rate of the whole"),
        );
    }
    if !facts.still_rising() {
        return plateaued(facts, trend, grown, "its last third set no new maximum".to_owned());
    }
    let noise = residual(facts.points, trend.slope);
    if growth < NOISE_TIMES * noise {
        let reason = format!("its growth of {} drowns in noise of {}", amount(growth), amount(noise));
        return verdict(GrowthVerdict::Steady, trend, 0.0, vec![reason]);
    }
    growing(facts, trend, growth, noise)
}

fn growing(facts: &Facts<'_>, trend: Trend, growth: f64, noise: f64) -> Judgement {
    let count = facts.points.len();
    let up = steps(facts.points).filter(|(before, after)| after.value > before.value).count();
    let mut reasons = vec![
        format!("for: grew by {} in {}, up in {up} of {} steps", amount(growth), span(facts.window), count - 1),
        format!("for: the chance that this is no trend is below 1 % (Mann–Kendall z = {:.1})", trend.score),
        format!(
            "for: it grows on; the last third set a new maximum, and no step is more than {:.0} % of it",
            facts.largest_increment() / facts.net().max(1.0) * 100.0
        ),
    ];
    if facts.window < Duration::from_secs(60) {
        reasons.push(format!("against: {} are a short window; a warm-up looks the same", span(facts.window)));
    }
    if growth < facts.high as f64 / 100.0 {
        reasons.push("against: the growth is less than 1 % of its size".to_owned());
    }
    let doubt = DOUBT_SAMPLES / count as f64
        + DOUBT_AMOUNT * facts.material as f64 / growth
        + DOUBT_NOISE * (noise * NOISE_TIMES / growth).min(1.0);
    verdict(GrowthVerdict::Growing, trend, (1.0 - doubt).clamp(0.0, 1.0), reasons)
}

/// Judges a sawtooth by its floor: what is left after each garbage collection.
fn by_troughs(facts: &Facts<'_>, floor: &[Point<u64>]) -> Judgement {
    let slopes: Vec<f64> = steps(floor).map(|(before, after)| per_second(before, after)).collect();
    let seconds = floor_window(floor).as_secs_f64();
    let risen = floor_rise(floor);
    let low = slopes.iter().copied().fold(f64::INFINITY, f64::min);
    let high = slopes.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let by_ends = Trend { slope: if seconds > 0.0 { risen / seconds } else { 0.0 }, low, high, score: 0.0 };
    let trend = trend(floor).unwrap_or(by_ends);
    let largest = steps(floor).map(|(before, after)| after.value.saturating_sub(before.value)).max();
    let one_step = largest.unwrap_or(0) as f64 > STEP_SHARE * risen;
    let rising = if floor.len() >= POINTS_MIN { trend.score >= SCORE_MIN && trend.low > 0.0 } else { low > 0.0 };
    if floor.len() >= TROUGHS_MIN && rising && !one_step && risen >= facts.material as f64 {
        let reasons = vec![
            format!("for: it rises and falls, but its {} troughs rise, by {} in all", floor.len(), amount(risen)),
            "against: a heap that is still being filled may collect its garbage late".to_owned(),
        ];
        let confidence = 1.0 - DOUBT_TROUGHS / floor.len() as f64;
        return verdict(GrowthVerdict::Growing, trend, confidence, reasons);
    }
    let because = match floor.len() {
        few if few < TROUGHS_MIN => format!("its {few} troughs are too few to tell whether they rise"),
        count if !rising => format!("its {count} troughs do not rise"),
        count if one_step => format!("its {count} troughs rose in one step"),
        count => format!("its {count} troughs rose by {}, less than would count", amount(risen)),
    };
    let reason = format!("rises and falls by up to {}, and {because}", amount((facts.high - facts.low) as f64));
    verdict(GrowthVerdict::Sawtooth, trend, 0.0, vec![reason])
}

fn per_second(before: &Point<u64>, after: &Point<u64>) -> f64 {
    let seconds = after.at.saturating_sub(before.at).as_secs_f64();
    if seconds > 0.0 { (after.value as f64 - before.value as f64) / seconds } else { 0.0 }
}

fn floor_window(floor: &[Point<u64>]) -> Duration {
    match (floor.first(), floor.last()) {
        (Some(first), Some(last)) => last.at.saturating_sub(first.at),
        _ => Duration::ZERO,
    }
}

fn floor_rise(floor: &[Point<u64>]) -> f64 {
    match (floor.first(), floor.last()) {
        (Some(first), Some(last)) => last.value as f64 - first.value as f64,
        _ => 0.0,
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
