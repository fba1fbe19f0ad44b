//! Durations as people write them.
//!
//! Owns: the only formatter of durations. Must not know: where a duration comes from.

use std::fmt;
use std::time::Duration;

/// A duration, written with two units at most: `0.25 s`, `12.3 s`, `4 min 05 s`, `3 h 20 min`, `12 d 4 h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&written(self.0))
    }
}

/// The unit grows with the duration; seconds are said as long as a person would count them.
fn written(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let whole = seconds.round() as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    // Three digits tell durations apart that matter; the limits are where rounding would give a fourth.
    match whole {
        _ if duration.is_zero() => "0 s".to_owned(),
        _ if seconds < 0.000_999_5 => format!("{:.0} µs", seconds * 1e6),
        _ if seconds < 0.009_995 => format!("{:.2} ms", seconds * 1e3),
        _ if seconds < 0.099_95 => format!("{:.1} ms", seconds * 1e3),
        _ if seconds < 9.995 => format!("{seconds:.2} s"),
        _ if seconds < 59.95 => format!("{seconds:.1} s"),
        _ if minutes < 60 => format!("{minutes} min {:02} s", whole % 60),
        _ if hours < 48 => format!("{hours} h {:02} min", minutes % 60),
        _ if days < 1000 => format!("{days} d {} h", hours % 24),
        _ => format!("{:.0} years", seconds / (365.25 * 86_400.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seconds: f64, text: &str) {
        assert_eq!(Span(Duration::from_secs_f64(seconds)).to_string(), text);
    }

    #[test]
    fn short_times_keep_three_digits() {
        check(0.0, "0 s");
        check(0.000_001, "1 µs");
        check(0.000_999, "999 µs");
        check(0.001_5, "1.50 ms");
        check(0.0521, "52.1 ms");
        check(0.25, "0.25 s");
        check(9.99, "9.99 s");
        check(12.34, "12.3 s");
        check(59.9, "59.9 s");
    }

    #[test]
    fn long_times_take_two_units() {
        check(59.97, "1 min 00 s");
        check(245.0, "4 min 05 s");
        check(12_000.0, "3 h 20 min");
        check(86_400.0 * 12.0 + 4.0 * 3600.0, "12 d 4 h");
        check(86_400.0 * 365.25 * 40.0, "40 years");
        check(1e12, "31688 years");
    }

    #[test]
    fn a_width_is_kept() {
        assert_eq!(format!("[{:>8}]", Span(Duration::from_secs(5))), "[  5.00 s]");
    }
}
