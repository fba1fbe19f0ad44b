//! A bounded series over time that thins itself.
//!
//! Owns: points and their thinning. Must not know: what they measure, or what a trend is.
//!
//! Of the points that are merged the *lowest* survives: a leak raises the floor of a series, while its peaks belong to
//! whatever works for a moment. A thinned series is therefore the lower envelope of the whole one.

use std::time::Duration;

/// One point: when, and what was measured then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point<T> {
    pub(crate) at: Duration,
    pub(crate) value: T,
}

/// What can be put into a series: something with a height.
pub(crate) trait Height: Copy {
    /// By which the lower of two points is found.
    fn height(&self) -> u64;
}

impl Height for u64 {
    fn height(&self) -> u64 {
        *self
    }
}

/// A series with at most so many points as it was made for; the newest point is always kept as it is.
#[derive(Clone, Debug)]
pub(crate) struct Series<T> {
    points: Vec<Point<T>>,
    points_max: usize,
    /// How many samples one point stands for, a power of two; the last point may still be short of them.
    stride: u32,
    /// Samples that the last point stands for until now.
    pending: u32,
    /// The lowest of the pending samples.
    lowest: Option<Point<T>>,
}

impl<T: Height> Series<T> {
    pub(crate) const fn new(points_max: usize) -> Self {
        assert!(points_max >= 4 && points_max.is_multiple_of(2), "thinning merges pairs");
        Self { points: Vec::new(), points_max, stride: 1, pending: 0, lowest: None }
    }

    /// Appends a sample; returns how many samples were merged away by it. A sample that is not later than the last is
    /// left out (a clock that stands still makes no slope).
    pub(crate) fn push(&mut self, at: Duration, value: T) -> u64 {
        if self.points.last().is_some_and(|last| last.at >= at) {
            return 0;
        }
        let sample = Point { at, value };
        let mut merged = self.settle(sample);
        if self.points.len() == self.points_max {
            merged += self.thin();
        }
        self.points.push(sample);
        debug_assert!(self.points.len() <= self.points_max, "a series stays within its bound");
        merged
    }

    pub(crate) fn points(&self) -> &[Point<T>] {
        &self.points
    }

    pub(crate) fn span(&self) -> Duration {
        match (self.points.first(), self.points.last()) {
            (Some(first), Some(last)) => last.at.saturating_sub(first.at),
            _ => Duration::ZERO,
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.points_max);
    }

    /// Makes room for a sample: either the last point is complete, or the sample takes its place and the lower of
    /// both is remembered until the point is complete.
    fn settle(&mut self, sample: Point<T>) -> u64 {
        if self.pending > 0 && self.pending < self.stride {
            let last = self.points.pop();
            self.lowest = lower(self.lowest, last);
            self.pending += 1;
            debug_assert!(sample.at > self.lowest.map_or(Duration::ZERO, |point| point.at), "time goes on");
            return 1;
        }
        if self.pending > 0 && self.stride > 1 {
            // The last point is complete: it becomes the lowest of all that it stands for.
            let last = self.points.pop();
            self.points.extend(lower(self.lowest.take(), last));
        }
        self.pending = 1;
        0
    }

    fn thin(&mut self) -> u64 {
        let before = self.points.len();
        let pairs = self.points.chunks(2);
        self.points = pairs.filter_map(|pair| lower(pair.first().copied(), pair.get(1).copied())).collect();
        // Each point now stands for twice as many samples; the next ones are gathered until they are as many.
        self.stride = self.stride.saturating_mul(2);
        debug_assert!(self.stride.is_power_of_two() || self.stride == u32::MAX, "points are merged in pairs");
        (before - self.points.len()) as u64
    }
}

/// Each point with the one after it.
pub(crate) fn steps<T>(points: &[Point<T>]) -> impl Iterator<Item = (&Point<T>, &Point<T>)> {
    points.iter().zip(points.iter().skip(1))
}

fn lower<T: Height>(one: Option<Point<T>>, other: Option<Point<T>>) -> Option<Point<T>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.value.height() < one.value.height() { other } else { one }),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes one value a second and writes the points as `second:value`.
    fn pushed(points_max: usize, values: impl IntoIterator<Item = u64>) -> (Series<u64>, String) {
        let mut series = Series::new(points_max);
        for (second, value) in (0..).zip(values) {
            series.push(Duration::from_secs(second), value);
        }
        let text: Vec<String> =
            series.points().iter().map(|point| format!("{}:{}", point.at.as_secs(), point.value)).collect();
        let text = text.join(" ");
        (series, text)
    }

    #[track_caller]
    fn check(points_max: usize, values: &[u64], expected: &str) {
        assert_eq!(pushed(points_max, values.iter().copied()).1, expected);
    }

    #[test]
    fn a_series_that_fits_is_kept_whole() {
        check(4, &[], "");
        check(4, &[5, 3, 4], "0:5 1:3 2:4");
    }

    #[test]
    fn a_full_series_keeps_the_lowest_of_each_pair() {
        check(4, &[5, 3, 4, 6, 7], "1:3 2:4 4:7");
        check(4, &[5, 3, 4, 6, 9, 8], "1:3 2:4 5:8"); // the newest stands as it is
        check(4, &[5, 3, 4, 6, 7, 9, 10], "1:3 2:4 4:7 6:10"); // until its pair is complete
    }

    #[test]
    fn a_rising_series_stays_rising_and_bounded_for_ever() {
        let (series, _) = pushed(8, 0..100_000);
        let points = series.points();
        assert!(points.len() <= 8 && points.is_sorted_by(|a, b| a.at < b.at && a.value < b.value));
        assert_eq!(points.last().map(|point| point.value), Some(99_999));
        assert!(points[0].value == 0, "the oldest is kept");
        assert_eq!(series.span(), Duration::from_secs(99_999));
    }

    #[test]
    fn the_troughs_of_a_long_sawtooth_survive() {
        let (series, _) = pushed(16, (0..1000).map(|second| 100 + (second * 7) % 40));
        let lowest = series.points()[..series.points().len() - 1].iter().map(|point| point.value).max();
        assert!(lowest.is_some_and(|value| value < 110), "{lowest:?}");
    }

    #[test]
    fn every_sample_is_either_kept_or_counted() {
        let mut series = Series::new(6);
        let mut merged = 0;
        for second in 0..500 {
            merged += series.push(Duration::from_secs(second), second % 5);
        }
        assert_eq!(merged + series.points().len() as u64, 500);
    }

    #[test]
    fn time_that_stands_still_makes_no_point() {
        let mut series = Series::new(4);
        series.push(Duration::from_secs(1), 1);
        series.push(Duration::from_secs(1), 2);
        series.push(Duration::ZERO, 3);
        assert_eq!(series.points().len(), 1);
        series.clear();
        assert!(series.points().is_empty());
    }
}
