//! `/proc/pressure/*` and `memory.pressure`: how long tasks waited for want of something.
//!
//! Owns: the two lines. Must not know: what is wanted, or how much waiting is too much.

use model::{Reading, Why};

use crate::scan;

/// Names of the figures of both lines, in the order of [`Pressure::figures`].
pub const NAMES: [&str; 8] =
    ["some.avg10", "some.avg60", "some.avg300", "some.total", "full.avg10", "full.avg60", "full.avg300", "full.total"];

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// Averages in hundredths of a percent, totals in microseconds, in the order of [`NAMES`].
    pub figures: [Reading<u64>; NAMES.len()],
}

/// Reads the file. Kernels before 5.13 have no line `full` for the processor.
pub fn parse(bytes: &[u8]) -> Pressure {
    let mut figures = [Reading::Missing(Why::NotOffered); NAMES.len()];
    for line in scan::lines(bytes) {
        let mut fields = scan::fields(line);
        let Some(kind) = fields.next() else { continue };
        for field in fields {
            let Some((key, value)) = scan::split_at_byte(field, b'=') else { continue };
            let named = |name: &str| {
                let (of, what) = name.split_once('.').unwrap_or((name, ""));
                of.as_bytes() == kind && what.as_bytes() == key
            };
            let slot = NAMES.iter().position(|name| named(name)).and_then(|index| figures.get_mut(index));
            // Keys that a later kernel adds are none of these and change nothing.
            if let Some(slot) = slot {
                *slot = self::value(value);
            }
        }
    }
    Pressure { figures }
}

/// A whole number stays itself; one with two decimals becomes hundredths.
fn value(field: &[u8]) -> Reading<u64> {
    Reading::from_option(hundredths(field).or_else(|| scan::decimal(field)), Why::Malformed)
}

/// A number with exactly two decimals, times 100.
pub(crate) fn hundredths(field: &[u8]) -> Option<u64> {
    let (whole, decimals) = scan::split_at_byte(field, b'.')?;
    let decimals = if decimals.len() == 2 { scan::decimal(decimals)? } else { return None };
    scan::decimal(whole)?.checked_mul(100)?.checked_add(decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures as numbers, `-` where absent, `!` where malformed.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let one = |figure: &Reading<u64>| match figure {
            Reading::Known(value) => value.to_string(),
            Reading::Missing(Why::Malformed) => "!".to_owned(),
            Reading::Missing(_) => "-".to_owned(),
        };
        let found: Vec<String> = parse(text.as_bytes()).figures.iter().map(one).collect();
        assert_eq!(found.join(" "), expected, "{text:?}");
    }

    #[test]
    fn averages_are_hundredths_and_totals_microseconds() {
        check(
            "some avg10=1.50 avg60=0.07 avg300=12.00 total=123456\nfull avg10=0.00 avg60=0.01 avg300=100.00 total=9\n",
            "150 7 1200 123456 0 1 10000 9",
        );
        check("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", "0 0 0 0 - - - -");
    }

    #[test]
    fn what_is_absent_or_malformed_is_missing() {
        check("", "- - - - - - - -");
        check("some avg10=x avg60=1.5 avg300= total\nother avg10=1.00\n", "! ! ! - - - - -");
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        let known = |seed| {
            parse(&scan::noise(seed, b"some avg10=0.total\n")).figures.iter().any(|figure| figure.known().is_some())
        };
        assert!((0..10_000).filter(|seed| known(*seed)).count() < 10_000, "noise is mostly no figure");
    }

    #[track_caller]
    fn check_hundredths(field: &str, expected: Option<u64>) {
        assert_eq!(hundredths(field.as_bytes()), expected, "{field:?}");
    }

    #[test]
    fn hundredths_have_two_decimals_and_fit() {
        check_hundredths("0.00", Some(0));
        check_hundredths("1.05", Some(105));
        check_hundredths("184467440737095516.15", Some(u64::MAX));
        check_hundredths("184467440737095516.16", None);
        check_hundredths("184467440737095517.00", None);
        check_hundredths("1.5", None);
        check_hundredths("1.500", None);
        check_hundredths("1", None);
        check_hundredths(".50", None);
        check_hundredths("-1.50", None);
        check_hundredths("1.-5", None);
    }

    #[test]
    fn figures_keep_their_place_in_any_order() {
        check("full total=8 avg10=0.05\nsome total=4 avg300=0.03 avg60=0.02 avg10=0.01\n", "1 2 3 4 5 - - 8");
        check("some avg10=0.01 avg10=0.02\n", "2 - - - - - - -");
        check("some avg20=0.01 Avg10=0.01\nSome avg10=0.01\n", "- - - - - - - -");
        check("\n\nsome\tavg10=0.01", "1 - - - - - - -");
    }
}
