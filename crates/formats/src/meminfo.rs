//! `/proc/meminfo`: how much memory a machine has and could give.
//!
//! Owns: the lines that the project shows. Must not know: which machine they are from.

use model::{Bytes, Reading, Why};

use crate::scan;

/// The figures; each missing for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryInformation {
    /// `MemTotal`.
    pub total: Reading<Bytes>,
    /// `MemAvailable`; kernels before 3.14 do not have it.
    pub available: Reading<Bytes>,
    /// `SwapFree`.
    pub swap_free: Reading<Bytes>,
}

/// Reads the file. A line that occurs twice counts as it stands first.
pub fn parse(bytes: &[u8]) -> MemoryInformation {
    let absent = Reading::Missing(Why::NotOffered);
    let mut found = MemoryInformation { total: absent, available: absent, swap_free: absent };
    for line in scan::lines(bytes) {
        let Some((name, value)) = scan::split_at_byte(line, b':') else { continue };
        let slot = match name {
            b"MemTotal" => &mut found.total,
            b"MemAvailable" => &mut found.available,
            b"SwapFree" => &mut found.swap_free,
            _ => continue,
        };
        if *slot == absent {
            *slot = scan::kibibytes(value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, total: Reading<u64>, available: Reading<u64>, swap_free: Reading<u64>) {
        let kib = |reading: Reading<u64>| reading.map(Bytes::from_kib);
        let expected = MemoryInformation { total: kib(total), available: kib(available), swap_free: kib(swap_free) };
        assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
    }

    #[test]
    fn figures_are_found_by_their_names() {
        let text = "MemTotal:       24642136 kB\nMemFree:        10000000 kB\nMemAvailable:   20000000 kB\nSwapTotal:  4 kB\nSwapFree:  3 kB\n";
        check(text, Reading::Known(24_642_136), Reading::Known(20_000_000), Reading::Known(3));
    }

    #[test]
    fn what_is_absent_is_missing_and_never_zero() {
        let absent = Reading::Missing(Why::NotOffered);
        check("", absent, absent, absent);
        check("MemTotal: 5 kB\n", Reading::Known(5), absent, absent);
        check("MemTotal: 5 k", Reading::Missing(Why::Malformed), absent, absent);
        check("MemTotal 5 kB\nMemTotals: 7 kB", absent, absent, absent);
    }

    #[test]
    fn the_first_of_two_counts() {
        let absent = Reading::Missing(Why::NotOffered);
        check("SwapFree: 1 kB\nSwapFree: 2 kB", absent, absent, Reading::Known(1));
    }

    #[test]
    fn names_are_whole_and_the_first_counts() {
        let absent = Reading::Missing(Why::NotOffered);
        let malformed = Reading::Missing(Why::Malformed);
        check("MemTotal: 5 kB\nMemTotal: 6 kB\n", Reading::Known(5), absent, absent);
        check("MemTotal: x kB\nMemTotal: 6 kB\n", malformed, absent, absent);
        check("MemTotalX: 5 kB\nXMemTotal: 5 kB\nmemtotal: 5 kB\n", absent, absent, absent);
        check("SwapFree: 0 kB\nMemAvailable: 7\n", absent, malformed, Reading::Known(0));
    }
}
