//! The troughs of a series that rises and falls.
//!
//! Owns: finding teeth. Must not know: what a tooth means.

use crate::limits::TOOTH_SHARE;
use crate::series::Point;

/// The lowest point of each tooth that is complete: after a fall and before the next rise, both by a material share of the range.
/// The start of a series is no trough, since nobody knows whether it fell before.
pub(super) fn troughs(points: &[Point<u64>]) -> Vec<Point<u64>> {
    let (low, high) = range(points);
    let tooth = ((high - low) as f64 * TOOTH_SHARE).max(1.0) as u64;
    let mut troughs = Vec::new();
    let Some(&start) = points.first() else { return troughs };
    // The extreme since the last turn: the peak while it rises, the trough while it falls.
    let (mut extreme, mut falling) = (start, false);
    for &point in points {
        if falling {
            if point.value < extreme.value {
                extreme = point;
            } else if point.value - extreme.value >= tooth {
                troughs.push(extreme);
                (extreme, falling) = (point, false);
            }
        } else if point.value > extreme.value {
            extreme = point;
        } else if extreme.value - point.value >= tooth {
            (extreme, falling) = (point, true);
        }
    }
    debug_assert!(troughs.is_sorted_by(|a, b| a.at < b.at), "troughs are in order of time");
    troughs
}

/// The lowest and the highest value; zero for an empty series.
pub(super) fn range(points: &[Point<u64>]) -> (u64, u64) {
    let values = || points.iter().map(|point| point.value);
    (values().min().unwrap_or(0), values().max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[track_caller]
    fn check(values: &str, expected: &[u64]) {
        let points: Vec<Point<u64>> = (0..)
            .zip(values.split_whitespace())
            .map(|(second, value)| Point { at: Duration::from_secs(second), value: value.parse().unwrap() })
            .collect();
        let found: Vec<u64> = troughs(&points).iter().map(|point| point.value).collect();
        assert_eq!(found, expected, "{values}");
    }

    #[test]
    fn each_tooth_has_one_trough() {
        check("100 140 101 139 100 141 101 140", &[101, 100, 101]);
        check("100 140 110 150 121 160 133 171", &[110, 121, 133]);
        check("140 120 100 110 130 141 120 90 100 140", &[100, 90]);
    }

    #[test]
    fn what_is_no_tooth_has_none() {
        check("", &[]);
        check("5", &[]);
        check("1 2 3 4 5 6", &[]);
        check("6 5 4 3 2 1", &[]);
        check("100 200 300 290 400 395 500", &[]); // small against the whole
        check("100 200 100", &[]); // not complete
    }
}
