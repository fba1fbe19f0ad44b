//! Small steps that all parsers take: lines, fields and numbers in bytes.
//!
//! Owns: the steps. Must not know: any format.

use model::{Bytes, Reading, Why};

/// The lines of a text, without their ends; a last line without an end counts as a line.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        // The end of the last line begins no further one; the kernel ends every line.
        if rest.is_empty() {
            return None;
        }
        let (line, after) = split_at_byte(rest, b'\n').unwrap_or((rest, &[]));
        rest = after;
        Some(line)
    })
}

/// What stands before and after the first `byte`; none where it does not occur.
pub(crate) fn split_at_byte(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|candidate| *candidate == byte)?;
    let (before, after) = bytes.split_at(at);
    let after = after.get(1..)?;
    debug_assert_eq!(before.len() + 1 + after.len(), bytes.len(), "nothing but the byte is left out");
    Some((before, after))
}

/// The fields of a line, separated by any number of spaces and tabs.
pub(crate) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|field| !field.is_empty())
}

/// A decimal number that fills the whole field and fits. Signs and blanks are refused, which `str::parse` would take or need UTF-8 for;
/// a number that is too large is none, never a wrapped one.
pub(crate) fn decimal(field: &[u8]) -> Option<u64> {
    number(field, 10)
}

/// A hexadecimal number without prefix that fills the whole field and fits.
pub(crate) fn hexadecimal(field: &[u8]) -> Option<u64> {
    number(field, 16)
}

/// A figure such as `1234 kB`. The kernel writes no other unit, so that another one means another format.
pub(crate) fn kibibytes(value: &[u8]) -> Reading<Bytes> {
    let mut parts = fields(value);
    let number = parts.next().and_then(decimal);
    match (number, parts.next(), parts.next()) {
        (Some(kib), Some(b"kB"), None) => Reading::Known(Bytes::from_kib(kib)),
        _ => Reading::Missing(Why::Malformed),
    }
}

fn number(field: &[u8], radix: u32) -> Option<u64> {
    debug_assert!((2..=16).contains(&radix), "only the radices that procfs uses");
    if field.is_empty() {
        return None;
    }
    field.iter().try_fold(0u64, |sum, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        sum.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))
    })
}

/// Random bytes for tests: half of them drawn from the alphabet of procfs, so that parsers get further than their
/// first check. The generator is fixed, so that a failure can be repeated.
#[cfg(test)]
pub(crate) fn noise(seed: u64, alphabet: &[u8]) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let length = (next() % 300) as usize;
    (0..length)
        .map(|_| {
            let word = next();
            if word.is_multiple_of(2) { (word >> 8) as u8 } else { alphabet[(word >> 16) as usize % alphabet.len()] }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: &str, ten: Option<u64>, sixteen: Option<u64>) {
        assert_eq!(decimal(field.as_bytes()), ten, "{field} as decimal");
        assert_eq!(hexadecimal(field.as_bytes()), sixteen, "{field} as hexadecimal");
    }

    #[test]
    fn a_number_fills_its_field() {
        check("0", Some(0), Some(0));
        check("12", Some(12), Some(0x12));
        check("ff", None, Some(255));
        check("", None, None);
        check("-1", None, None);
        check("1 ", None, None);
        check("+1", None, None);
    }

    #[test]
    fn a_number_that_does_not_fit_is_none() {
        check("18446744073709551615", Some(u64::MAX), None);
        check("18446744073709551616", None, None);
        check("ffffffffffffffff", None, Some(u64::MAX));
        check("10000000000000000", Some(10_000_000_000_000_000), None);
    }

    #[test]
    fn lines_and_fields_keep_what_they_separate() {
        let text = b"a b\n\n\tc  d";
        let found: Vec<Vec<&[u8]>> = lines(text).map(|line| fields(line).collect()).collect();
        assert_eq!(found, [vec![&b"a"[..], b"b"], vec![], vec![b"c", b"d"]]);
    }

    #[test]
    fn a_figure_needs_its_unit() {
        assert_eq!(kibibytes(b"  12 kB"), Reading::Known(Bytes(12 * 1024)));
        for text in ["12", "12 MB", "kB", "", "12 kB kB", "99999999999999999999 kB"] {
            assert_eq!(kibibytes(text.as_bytes()), Reading::Missing(Why::Malformed), "{text:?}");
        }
    }
}
