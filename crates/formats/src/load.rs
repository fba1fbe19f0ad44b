//! `/proc/loadavg`, `/proc/uptime` and `/proc/sys/fs/file-nr`: single lines about the whole machine.
//!
//! Owns: the lines. Must not know: which machine they are from.

use crate::pressure::hundredths;
use crate::scan;

/// What `/proc/loadavg` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Averages over 1, 5 and 15 minutes, in hundredths.
    pub averages: [u64; 3],
    /// Tasks that run.
    pub running: u64,
    /// All tasks.
    pub total: u64,
}

/// Reads `0.31 3.43 3.04 8/128 22765`.
pub fn parse(bytes: &[u8]) -> Option<Load> {
    let mut fields = scan::fields(bytes.trim_ascii_end());
    let mut average = || hundredths(fields.next()?);
    let averages = [average()?, average()?, average()?];
    let (running, total) = scan::split_at_byte(fields.next()?, b'/')?;
    Some(Load { averages, running: scan::decimal(running)?, total: scan::decimal(total)? })
}

/// Milliseconds since boot, from `/proc/uptime`, which counts hundredths of a second.
pub fn uptime_ms(bytes: &[u8]) -> Option<u64> {
    hundredths(scan::fields(bytes).next()?)?.checked_mul(10)
}

/// Descriptors in use and their limit, from `/proc/sys/fs/file-nr`: allocated, allocated but free (always 0), limit.
pub fn descriptors(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut numbers = scan::fields(bytes.trim_ascii_end()).map(scan::decimal);
    let (allocated, free, limit) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some((allocated.checked_sub(free)?, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<([u64; 3], u64, u64)>) {
        assert_eq!(parse(text.as_bytes()).map(|load| (load.averages, load.running, load.total)), expected, "{text:?}");
    }

    #[test]
    fn a_line_of_load() {
        check("6.31 3.43 0.04 8/128 22765\n", Some(([631, 343, 4], 8, 128)));
        for text in ["", "1 2 3 4/5", "1.00 2.00 3.00", "1.00 2.00 3.00 4-5 6", "a.00 2.00 3.00 4/5 6"] {
            check(text, None);
        }
    }

    #[test]
    fn uptime_and_descriptors() {
        assert_eq!(uptime_ms(b"350735.47 234388.90\n"), Some(350_735_470));
        assert_eq!(uptime_ms(b"x"), None);
        assert_eq!(descriptors(b"726\t0\t2466170\n"), Some((726, 2_466_170)));
        assert_eq!(descriptors(b"1\t2\t3\n"), None);
        assert_eq!(descriptors(b"1\t0\n"), None);
    }

    #[test]
    fn numbers_of_the_machine_need_all_their_parts() {
        check("0.00 0.00 0.00 0/1 0", Some(([0; 3], 0, 1)));
        check("1.00 2.00 3.00 4/5", Some(([100, 200, 300], 4, 5)));
        for text in ["1.00 2.00 3.00 /5 6", "1.00 2.00 3.00 4/ 6", "1.0 2.00 3.00 4/5 6", "1.00 2.00 -3.00 4/5 6"] {
            check(text, None);
        }
        for (text, expected) in [("0.01 9.9", Some(10)), ("0.1 9.9", None), ("", None), ("18446744073709551.62", None)]
        {
            assert_eq!(uptime_ms(text.as_bytes()), expected, "{text:?}");
        }
        for (text, expected) in [("5 5 9", Some((0, 9))), ("5 0 x", None), ("x 0 5", None), ("5 0 9 1", Some((5, 9)))] {
            assert_eq!(descriptors(text.as_bytes()), expected, "{text:?}");
        }
    }
}
