//! A history as a line of bars.
//!
//! Owns: its scale. Must not know: where the history comes from.

use std::time::Duration;

use model::Bytes;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A range below this part of the greatest figure is noise. A flat line would otherwise look like a mountain range, since
/// some pages come and go in every process.
const NOISE: u64 = 200;

/// At most `width` bars, one a stretch of time, scaled between the least and the greatest figure.
pub(super) fn spark(history: &[(Duration, Bytes)], width: usize) -> String {
    let stretch = history.len().div_ceil(width.max(1)).max(1);
    // The last figure of a stretch stands for it, so that the last bar is the figure of now.
    let figures = history.chunks(stretch).filter_map(|points| points.last()).map(|(_, bytes)| bytes.0);
    let figures: Vec<u64> = figures.collect();
    debug_assert!(figures.len() <= width.max(1), "the history is wider than its column");
    let least = figures.iter().copied().min().unwrap_or(0);
    let greatest = figures.iter().copied().max().unwrap_or(0);
    debug_assert!(least <= greatest, "a range has its ends in order");
    let range = (greatest - least).max(greatest / NOISE).max(1);
    figures.iter().map(|figure| bar(figure - least, range)).collect()
}

/// The bar of a figure above the least one.
fn bar(above: u64, range: u64) -> char {
    debug_assert!(above <= range, "a figure outside of the range");
    // 128 bits: figures may be as large as the address space, and seven times that does not fit.
    let step = u128::from(above) * (BARS.len() as u128 - 1) / u128::from(range);
    BARS[step as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(figures: &[u64], width: usize, expected: &str) {
        let history: Vec<_> = figures.iter().map(|figure| (Duration::ZERO, Bytes(*figure))).collect();
        assert_eq!(spark(&history, width), expected);
    }

    #[test]
    fn the_least_is_at_the_bottom_and_the_greatest_at_the_top() {
        check(&[0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█");
        check(&[7, 0, 7], 8, "█▁█");
        check(&[0, u64::MAX], 8, "▁█");
    }

    #[test]
    fn a_flat_line_stays_at_the_bottom() {
        check(&[5, 5, 5], 8, "▁▁▁");
        check(&[10_000, 10_001, 10_000], 8, "▁▁▁");
        check(&[0, 0], 8, "▁▁");
        check(&[], 8, "");
    }

    #[test]
    fn a_long_history_ends_with_the_figure_of_now() {
        check(&[0, 0, 0, 7, 0, 7], 3, "▁██");
        check(&[0, 0, 0, 0, 7], 3, "▁▁█");
        check(&[0, 7], 1, "▁");
        check(&[0, 7], 0, "▁");
    }
}
