//! Numbers and texts as bytes.
//!
//! Owns: variable-length integers, zigzag, texts with their length. Must not know: what they mean.

use model::escaped;

/// The bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Appends a number in seven-bit groups, lowest first.
pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a text with its length.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Small numbers of both signs as small numbers without one.
pub(crate) const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// The reverse of [`zigzag`].
pub(crate) const fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Takes numbers and texts off the front of bytes that nobody vouches for.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[cfg(test)]
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let group = u64::from(byte & 0x7f);
            if shift == 63 && group > 1 {
                return Err(Malformed);
            }
            number |= group << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    /// A number that must be below a limit.
    pub(crate) fn below(&mut self, limit: u32) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).ok().filter(|number| *number < limit).ok_or(Malformed)
    }

    /// So many bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Bytes with their length before them.
    pub(crate) fn sized(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        self.bytes(length)
    }

    /// A text. It was escaped when it was recorded; it is escaped again, since whoever changed the file need not have done so.
    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        self.sized().map(escaped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(number: u64, length: usize) {
        let mut out = Vec::new();
        put_number(&mut out, number);
        assert_eq!(out.len(), length);
        assert_eq!(Reader::new(&out).number(), Ok(number));
        assert_eq!(Reader::new(&out[..length - 1]).number(), Err(Malformed));
        assert_eq!(unzigzag(zigzag(number as i64)), number as i64);
    }

    #[test]
    fn numbers_take_as_many_bytes_as_they_need() {
        check(0, 1);
        check(127, 1);
        check(128, 2);
        check(1 << 35, 6);
        check(u64::MAX, 10);
        check(i64::MIN as u64, 10);
    }

    #[test]
    fn small_numbers_of_both_signs_are_small() {
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
    }

    #[test]
    fn false_numbers_and_texts_are_refused() {
        assert_eq!(Reader::new(&[0xff; 11]).number(), Err(Malformed));
        assert_eq!(Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2]).number(), Err(Malformed));
        assert_eq!(Reader::new(&[3, b'a', b'b']).text(), Err(Malformed));
        assert_eq!(Reader::new(&[7]).below(7), Err(Malformed));
    }

    #[test]
    fn a_text_that_controls_a_terminal_is_escaped_again() {
        assert_eq!(Reader::new(b"\x05a\x1b[3b").text().as_deref(), Ok("a\\x1b[3b"));
        assert_eq!(Reader::new(b"\x05a\\x1b").text().as_deref(), Ok("a\\x1b"));
    }
}
