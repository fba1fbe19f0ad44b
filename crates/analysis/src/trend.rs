//! Robust statistics of a short series.
//!
//! Owns: Theil–Sen slope with Sen's interval, Mann–Kendall significance. Must not know: what the series measures.
//!
//! Both come from the same pairs of points. The slope is the median of the slopes of all pairs, which a third of outliers
//! cannot move; its interval takes those ranks of the sorted slopes that the variance of Mann and Kendall's S allows
//! (Sen 1968, section 4). Significance alone accuses half of all healthy processes (memory is correlated in time, which
//! the test does not know), so that it is one condition of several, see `growth::judge`.

use std::time::Duration;

use crate::limits::{JUDGED_MAX, POINTS_MIN};
use crate::series::{Height, Point};

/// Standard normal quantile of a two-sided interval of 95 %.
const QUANTILE_95: f64 = 1.959_964;
const SECONDS_PER_HOUR: f64 = 3600.0;

/// Change per hour in bytes, and the interval (95 %) in which it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The estimate; negative where it shrinks.
    pub per_hour: i64,
    /// Lower end of the interval.
    pub low: i64,
    /// Upper end of the interval.
    pub high: i64,
}

/// The trend of a series; slopes in units per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trend {
    pub(crate) slope: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// How many standard deviations Mann and Kendall's S lies from zero; positive where it rises.
    pub(crate) score: f64,
}

impl Trend {
    pub(crate) fn rate(&self) -> Rate {
        // A float beyond the range is cut at it by `as`, which is what is wanted of a rate that no machine can have.
        let per_hour = |slope: f64| (slope * SECONDS_PER_HOUR).round() as i64;
        Rate { per_hour: per_hour(self.slope), low: per_hour(self.low), high: per_hour(self.high) }
    }
}

/// The trend of a series; none where it has too few points. A series with more points than are needed is thinned evenly.
pub(crate) fn trend<T: Height>(points: &[Point<T>]) -> Option<Trend> {
    if points.len() < POINTS_MIN {
        return None;
    }
    let step = points.len().div_ceil(JUDGED_MAX);
    // Counted from the end, so that the newest point always takes part.
    let values: Vec<(f64, f64)> =
        points.iter().rev().step_by(step).map(|point| (point.at.as_secs_f64(), point.value.height() as f64)).collect();
    debug_assert!(values.len() <= JUDGED_MAX, "pairs grow with the square");
    let (mut slopes, sum) = pairs(&values);
    if slopes.is_empty() {
        return None;
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let deviation = variance(&values).sqrt();
    let (low, high) = interval(&slopes, deviation);
    debug_assert!(sum.abs() <= slopes.len() as f64, "each pair counts once at most");
    Some(Trend { slope: median(&slopes), low, high, score: score(sum, deviation) })
}

/// The median of sorted values.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    if sorted.len().is_multiple_of(2) { f64::midpoint(at(middle.wrapping_sub(1)), at(middle)) } else { at(middle) }
}

/// Median distance of the points from a line of this slope.
pub(crate) fn residual<T: Height>(points: &[Point<T>], slope: f64) -> f64 {
    let origin = points.first().map_or(Duration::ZERO, |point| point.at);
    let mut offsets: Vec<f64> = points
        .iter()
        .map(|point| point.value.height() as f64 - slope * point.at.saturating_sub(origin).as_secs_f64())
        .collect();
    offsets.sort_unstable_by(f64::total_cmp);
    // Around their own middle and not around the first point, which is as noisy as any other.
    let centre = median(&offsets);
    let mut distances: Vec<f64> = offsets.iter().map(|offset| (offset - centre).abs()).collect();
    distances.sort_unstable_by(f64::total_cmp);
    median(&distances)
}

/// Slopes of all pairs, and S: pairs that rise less pairs that fall. Points of one moment have no slope between them; series have
/// none such, but whoever brings them must not get a division by zero.
fn pairs(values: &[(f64, f64)]) -> (Vec<f64>, f64) {
    let mut slopes = Vec::with_capacity(values.len() * values.len().saturating_sub(1) / 2);
    let mut sum = 0i64;
    for (index, (at, value)) in values.iter().enumerate() {
        for (other_at, other_value) in values.iter().skip(index + 1) {
            let time = at - other_at;
            let change = value - other_value;
            if time != 0.0 {
                slopes.push(change / time);
                sum += i64::from(change * time > 0.0) - i64::from(change * time < 0.0);
            }
        }
    }
    (slopes, sum as f64)
}

/// Variance of S without a trend, corrected for equal values: a heap that grows in pages has many.
fn variance(values: &[(f64, f64)]) -> f64 {
    let spread = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let mut heights: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    heights.sort_unstable_by(f64::total_cmp);
    let ties: f64 = heights.chunk_by(|a, b| a.total_cmp(b).is_eq()).map(|equal| spread(equal.len() as f64)).sum();
    // Rounding may leave a little less than nothing where all values are equal.
    ((spread(values.len() as f64) - ties) / 18.0).max(0.0)
}

/// The ends of the interval are two of the slopes themselves: those whose ranks are as far from the middle as S may be by
/// chance. With few points the ranks leave the list, and the outermost slopes are all that can be said.
fn interval(sorted: &[f64], deviation: f64) -> (f64, f64) {
    let count = sorted.len() as f64;
    let reach = QUANTILE_95 * deviation;
    let last = sorted.len() - 1;
    let low = ((count - reach) / 2.0).floor().max(0.0) as usize;
    let high = ((f64::midpoint(count, reach)).ceil() as usize).min(last);
    let at = |index: usize| sorted.get(index.min(last)).copied().unwrap_or_default();
    debug_assert!(at(low) <= at(high), "the interval has its ends in order");
    (at(low), at(high))
}

/// S in standard deviations, moved towards zero by one since it is a whole number (the usual continuity correction).
fn score(sum: f64, deviation: f64) -> f64 {
    if deviation == 0.0 || sum == 0.0 { 0.0 } else { (sum - sum.signum()) / deviation }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: impl IntoIterator<Item = u64>) -> Vec<Point<u64>> {
        (0..).zip(values).map(|(second, value)| Point { at: Duration::from_secs(second), value }).collect()
    }

    /// One value a second; slope and interval per second, and the score with one digit.
    #[track_caller]
    fn check(values: &str, expected: &str) {
        let values = values.split_whitespace().map(|value| value.parse().unwrap());
        let found = trend(&points(values))
            .map_or("none".to_owned(), |t| format!("{:.2} [{:.2}, {:.2}] z {:.1}", t.slope, t.low, t.high, t.score));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_has_its_own_slope() {
        check("10 20 30 40 50 60", "10.00 [10.00, 10.00] z 2.6");
        check("60 50 40 30 20 10", "-10.00 [-10.00, -10.00] z -2.6");
        check("7 7 7 7 7 7", "0.00 [0.00, 0.00] z 0.0");
        check("10 20 30 40 50", "none");
    }

    #[test]
    fn an_outlier_does_not_move_the_slope() {
        check("10 20 30 900 50 60 70 80 90 100", "10.00 [10.00, 10.00] z 2.9");
    }

    #[test]
    fn the_interval_of_noise_contains_zero() {
        check("5 9 3 8 4 7 6 5 9 4", "0.00 [-0.67, 0.75] z -0.1");
    }

    /// Example of Gilbert, Statistical Methods for Environmental Pollution Monitoring (1987), 16.4: S and the variance with ties.
    #[test]
    fn ties_shrink_the_variance() {
        let values: Vec<(f64, f64)> =
            [10, 22, 21, 30, 22, 30, 40, 40].iter().zip(0..).map(|(v, t)| (f64::from(t), f64::from(*v))).collect();
        // n = 8: 8·7·21 = 1176; three pairs of equals take 2·1·9 = 18 each; (1176 − 54) / 18.
        assert!((variance(&values) - 1122.0 / 18.0).abs() < 1e-9);
    }

    #[test]
    fn the_distance_from_a_line() {
        assert!(residual(&points([0, 10, 20, 30]), 10.0) < 1e-9);
        assert!((residual(&points([0, 12, 18, 32, 38]), 10.0) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_long_series_is_judged_by_few_points_and_by_its_newest() {
        let mut long: Vec<Point<u64>> = points((0..1000).map(|second| second * 3));
        assert_eq!(trend(&long).map(|trend| trend.slope), Some(3.0));
        long.truncate(7);
        assert!(trend(&long).is_some());
    }

    #[test]
    fn rates_are_per_hour_and_never_overflow() {
        let rate = Trend { slope: 10.0, low: -1.0, high: 1e300, score: 0.0 }.rate();
        assert_eq!(rate, Rate { per_hour: 36_000, low: -3600, high: i64::MAX });
    }

    /// The slope against a version that is too simple to be wrong: every pair, sorted, the middle one.
    #[test]
    fn the_slope_is_the_median_of_all_pairs() {
        let mut state = 1u64;
        for round in 0..200 {
            let values: Vec<u64> = (0..6 + round % 40)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    state >> 50
                })
                .collect();
            let mut slopes = Vec::new();
            for i in 0..values.len() {
                for j in i + 1..values.len() {
                    slopes.push((values[j] as f64 - values[i] as f64) / (j - i) as f64);
                }
            }
            slopes.sort_by(f64::total_cmp);
            let found = trend(&points(values)).unwrap();
            assert!((found.slope - median(&slopes)).abs() < 1e-9);
            assert!(found.low <= found.slope && found.slope <= found.high);
        }
    }
}
