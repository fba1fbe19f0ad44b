//! Scales: where a value stands on an axis, and which round values are marked.
//!
//! Owns: ticks and their labels. Must not know: what is drawn.

use std::time::Duration;

use model::Bytes;

use crate::metrics::Unit;
use crate::{Span, WallTime};

/// From values to places between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

/// A marked value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    /// Between 0 and 1.
    pub(crate) place: f64,
    pub(crate) label: String,
}

/// An axis that begins above this share of its end begins there and not at zero: a small growth of a large process
/// would otherwise be a flat line.
const ZOOM_FROM: f64 = 0.6;

/// Steps between marked moments, in seconds.
const TIME_STEPS: [u64; 21] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
    2_592_000,
];

const _: () = {
    let mut index = 1;
    while index < TIME_STEPS.len() {
        assert!(TIME_STEPS[index - 1] < TIME_STEPS[index], "the first step that is wide enough is the narrowest");
        index += 1;
    }
};

impl Scale {
    /// A scale for values of this unit in this range.
    pub(crate) fn of_values((least, greatest): (f64, f64), unit: Unit, log: bool) -> Self {
        // A logarithm has no zero; everything below the least that can be told apart is at the bottom.
        if log {
            let low = least.max(resolution(unit));
            return Self { low, high: greatest.max(low * 2.0), log };
        }
        // Zero stays in sight unless the change would vanish beside it. What does not change at all has no growth to be seen: closer marks would all have the same label.
        let is_zoomed = least > greatest * ZOOM_FROM && least > 0.0 && greatest > least;
        // A tenth below, or the least value would lie on the axis and look like zero.
        let low = if is_zoomed { least - (greatest - least) * 0.1 } else { 0.0 };
        // A twentieth above, so that the curve does not run along the edge; the other two keep a scale of one value (or of nothing
        // but zeros) from having no length, by which every place is divided.
        let room = ((greatest - low) * 0.05).max(greatest.abs() * 1e-6).max(1e-9);
        Self { low: low.max(0.0), high: greatest + room, log }
    }

    /// A scale for moments.
    pub(crate) fn of_time(from: WallTime, to: WallTime) -> Self {
        let low = from.unix_seconds();
        Self { low, high: to.unix_seconds().max(low + 1.0), log: false }
    }

    /// The values at both ends.
    pub(crate) const fn ends(self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// The place of a value; outside of 0 to 1 where the value is outside of the scale.
    pub(crate) fn place(self, value: f64) -> f64 {
        debug_assert!(self.high > self.low, "a scale has a length");
        if self.log {
            return (value.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        }
        (value - self.low) / (self.high - self.low)
    }

    /// Round values with their labels, about `wanted` of them.
    pub(crate) fn ticks(self, unit: Unit, wanted: usize) -> Vec<Tick> {
        let values = if self.log { self.powers(wanted) } else { self.multiples(unit, wanted) };
        let tick = |value: f64| Tick { place: self.place(value), label: label(value, unit) };
        values.into_iter().map(tick).collect()
    }

    /// Round moments with their labels.
    pub(crate) fn time_ticks(self, wanted: usize) -> Vec<Tick> {
        let least = (self.high - self.low) / wanted.max(1) as f64;
        let step = TIME_STEPS.into_iter().find(|step| *step as f64 >= least).unwrap_or(TIME_STEPS[20]);
        let first = (self.low / step as f64).ceil() as u64 * step;
        let seconds = (first..).step_by(step as usize).take_while(|second| *second as f64 <= self.high);
        let tick = |second: u64| Tick { place: self.place(second as f64), label: time_label(second, step) };
        // A recording may span any time that a clock can say, and the longest step is a month.
        seconds.take(4 * wanted).map(tick).collect()
    }

    fn multiples(self, unit: Unit, wanted: usize) -> Vec<f64> {
        let least = (self.high - self.low) / wanted.max(1) as f64;
        let step = match unit {
            // Powers of two alone are round on both sides of a unit: 512 MiB, 1 GiB, 1.50 GiB.
            Unit::Bytes | Unit::BytesPerHour => 2_f64.powf(least.max(1.0).log2().ceil()),
            // There is no half of a thing.
            Unit::Count | Unit::Blocks | Unit::Identifier => decimal(least.max(1.0)),
            Unit::Seconds | Unit::CountPerHour | Unit::Share | Unit::Text => decimal(least),
        };
        let step = step.max(f64::MIN_POSITIVE);
        let first = (self.low / step).ceil();
        // Steps are at least a quarter as wide as wanted; the bound holds where the arithmetic of huge values does not.
        let count = ((self.high / step).floor() - first).clamp(0.0, 4.0 * wanted as f64) as usize;
        (0..=count).map(|index| (first + index as f64) * step).collect()
    }

    fn powers(self, wanted: usize) -> Vec<f64> {
        let (first, last) = (self.low.log2().ceil(), self.high.log2().floor());
        let step = ((last - first) / wanted.max(1) as f64).ceil().max(1.0);
        // The greatest number of bytes is 2^64.
        let count = ((last - first) / step).clamp(0.0, 64.0) as usize;
        (0..=count).map(|index| 2_f64.powf(first + index as f64 * step)).collect()
    }
}

/// The least value that is told from nothing: the kernel gives shares in hundredths of a percent, and times are kept in
/// milliseconds. Shares are never above one, so that with the one of all others the whole chart would be its lower edge.
const fn resolution(unit: Unit) -> f64 {
    match unit {
        Unit::Share => 1e-4,
        Unit::Seconds => 1e-3,
        Unit::Bytes
        | Unit::BytesPerHour
        | Unit::Count
        | Unit::CountPerHour
        | Unit::Blocks
        | Unit::Identifier
        | Unit::Text => 1.0,
    }
}

/// The least of 1, 2, 5, 10, 20, … that is no less.
fn decimal(least: f64) -> f64 {
    let decade = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|factor| factor * decade).into_iter().find(|step| *step >= least).unwrap_or(least)
}

/// A value as it stands beside an axis or in a legend.
pub(crate) fn label(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Bytes | Unit::BytesPerHour => {
            Bytes(value.max(0.0).round() as u64).to_string().replace(".00 ", " ").replace(".0 ", " ")
        }
        Unit::Share => format!("{} %", rounded(value * 100.0)),
        Unit::Seconds => Span(Duration::try_from_secs_f64(value.max(0.0)).unwrap_or(Duration::MAX)).to_string(),
        Unit::Count | Unit::CountPerHour | Unit::Blocks | Unit::Identifier | Unit::Text => rounded(value),
    }
}

fn rounded(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The date where a step is a day or longer or a day begins, else the time.
fn time_label(second: u64, step: u64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let civil = WallTime(second.saturating_mul(1_000_000_000)).civil();
    let month = MONTHS.get(civil.month as usize - 1).copied().unwrap_or("?");
    if civil.second == 0 && step >= 600 {
        return format!("{} {month}", civil.day);
    }
    let time = civil.time();
    if step < 60 { time } else { time[..5].to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(range: (f64, f64), log: bool, unit: Unit, expected: &str) {
        let ticks = Scale::of_values(range, unit, log).ticks(unit, 5);
        let labels: Vec<&str> = ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels.join(", "), expected);
        assert!(ticks.iter().all(|tick| (0.0..=1.0).contains(&tick.place)), "{ticks:?}");
    }

    #[test]
    fn values_have_round_ticks() {
        const MIB: f64 = 1_048_576.0;
        check((0.0, 100.0), false, Unit::Count, "0, 50, 100");
        check((0.0, 9.0), false, Unit::Count, "0, 2, 4, 6, 8");
        check((0.0, 0.3), false, Unit::Share, "0 %, 10 %, 20 %, 30 %");
        check((0.0, 900.0 * MIB), false, Unit::Bytes, "0 B, 256 MiB, 512 MiB, 768 MiB");
        check((0.0, 4.0 * 1024.0 * MIB), false, Unit::Bytes, "0 B, 1 GiB, 2 GiB, 3 GiB, 4 GiB");
        check((0.0, 1800.0 * MIB), false, Unit::Bytes, "0 B, 512 MiB, 1 GiB, 1.50 GiB");
        check((1.0, 1024.0), true, Unit::Bytes, "1 B, 4 B, 16 B, 64 B, 256 B, 1 KiB");
        check((0.0, 0.0), true, Unit::Count, "1, 2");
    }

    #[test]
    fn shares_can_be_told_apart_on_a_logarithmic_scale() {
        let scale = Scale::of_values((0.0, 0.5), Unit::Share, true);
        assert!(scale.place(0.0) <= 0.0 && scale.place(0.001) < scale.place(0.1) && scale.place(0.5) > 0.99);
        check((0.0, 0.5), true, Unit::Share, "0.01 %, 0.1 %, 0.78 %, 6.25 %, 50 %");
    }

    #[test]
    fn a_small_growth_of_a_large_value_can_be_seen() {
        check((900.0, 1000.0), false, Unit::Count, "900, 950, 1000");
        let scale = Scale::of_values((900.0, 1000.0), Unit::Count, false);
        assert!(scale.place(900.0) < 0.2 && scale.place(1000.0) > 0.8);
    }

    #[test]
    fn what_does_not_change_has_marks_that_differ() {
        check((5.0, 5.0), false, Unit::Count, "0, 2, 4");
        check((1.0, 1.0), false, Unit::Count, "0, 1");
        check((5.0, 6.0), false, Unit::Count, "5, 6");
    }

    #[track_caller]
    fn check_time(from: u64, to: u64, expected: &str) {
        const START: u64 = 1_795_219_200; // 2026-11-21 00:00:00
        let wall = |second: u64| WallTime((START + second) * 1_000_000_000);
        let ticks = Scale::of_time(wall(from), wall(to)).time_ticks(5);
        let labels: Vec<&str> = ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels.join(", "), expected);
    }

    #[test]
    fn moments_have_round_ticks() {
        check_time(3, 63, "00:00:15, 00:00:30, 00:00:45, 00:01:00");
        check_time(0, 3600, "21 Nov, 00:15, 00:30, 00:45, 01:00");
        check_time(0, 2 * 86_400, "21 Nov, 12:00, 22 Nov, 12:00, 23 Nov");
        check_time(0, 0, "00:00:00, 00:00:01");
    }

    #[test]
    fn no_range_breaks_a_scale() {
        for range in [(0.0, 1e300), (f64::MAX, f64::MAX), (0.0, 1e-300), (1e18, 1.000_001e18)] {
            for log in [false, true] {
                for unit in [Unit::Bytes, Unit::Share, Unit::Seconds] {
                    let ticks = Scale::of_values(range, unit, log).ticks(unit, 6);
                    assert!(ticks.len() <= 65, "{range:?}: {}", ticks.len());
                }
            }
        }
        assert!(Scale::of_time(WallTime(0), WallTime(u64::MAX)).time_ticks(6).len() <= 24);
    }
}
