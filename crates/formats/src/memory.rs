//! The memory files of a control group, of both versions.
//!
//! Owns: limits, usage and the part of it that can be dropped. Must not know: where the group is mounted.

use model::{Bytes, Reading, Why};

use crate::scan;

/// Version 1 writes "no limit" as the largest number of pages, which depends on the page size; no machine has as much.
const NO_LIMIT_MIN: u64 = 1 << 60;

/// A limit (`memory.max`, `memory.limit_in_bytes`): the bytes, or nothing where there is none.
pub fn limit(bytes: &[u8]) -> Reading<Option<Bytes>> {
    match bytes.trim_ascii() {
        b"max" => Reading::Known(None),
        number => amount(number).map(|limit| (limit.0 < NO_LIMIT_MIN).then_some(limit)),
    }
}

/// A usage (`memory.current`, `memory.usage_in_bytes`).
pub fn usage(bytes: &[u8]) -> Reading<Bytes> {
    amount(bytes.trim_ascii())
}

/// What the kernel drops before it kills: inactive file pages, from `memory.stat`. In version 1 the line with `total_` in
/// front counts the groups below too, as the usage does.
pub fn reclaimable(bytes: &[u8], unified: bool) -> Reading<Bytes> {
    let name: &[u8] = if unified { b"inactive_file" } else { b"total_inactive_file" };
    // By the whole name: `inactive_file` is also the end of `total_inactive_file`.
    let value = scan::lines(bytes).find_map(|line| {
        let (found, value) = scan::split_at_byte(line, b' ')?;
        (found == name).then_some(value)
    });
    value.map_or(Reading::Missing(Why::NotOffered), |value| amount(value.trim_ascii()))
}

fn amount(field: &[u8]) -> Reading<Bytes> {
    Reading::from_option(scan::decimal(field).map(Bytes), Why::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Reading<Option<Bytes>>) {
        assert_eq!(limit(text.as_bytes()), expected, "{text:?}");
    }

    #[test]
    fn no_limit_is_not_a_large_limit() {
        check("max\n", Reading::Known(None));
        check("9223372036854771712\n", Reading::Known(None));
        check("104857600\n", Reading::Known(Some(Bytes(104_857_600))));
        check("0\n", Reading::Known(Some(Bytes(0))));
        for text in ["", "-1\n", "max 1"] {
            check(text, Reading::Missing(Why::Malformed));
        }
    }

    #[test]
    fn usage_and_what_can_be_dropped() {
        let stat = b"anon 7\ninactive_file 40\nactive_file 50\ntotal_inactive_file 90\n";
        assert_eq!(usage(b"12\n"), Reading::Known(Bytes(12)));
        assert_eq!(reclaimable(stat, true), Reading::Known(Bytes(40)));
        assert_eq!(reclaimable(stat, false), Reading::Known(Bytes(90)));
        assert_eq!(reclaimable(b"anon 7\n", true), Reading::Missing(Why::NotOffered));
        assert_eq!(reclaimable(b"inactive_file x", true), Reading::Missing(Why::Malformed));
    }
}
