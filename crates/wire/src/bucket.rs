//! Where the blocks of one span are: a run of lines, and whom it belongs to.
//!
//! Owns: how that is packed into one word, and which line a block belongs to. Must not know: what is in the lines.

use core::sync::atomic::{AtomicU32, AtomicU64};

use crate::block::SPAN_SHIFT;

/// Slots of one line, which is one cache line.
pub const LINE_SLOTS: usize = 4;
/// Lines that there can be: 64 GiB of them.
pub const LINES_MAX: u32 = 1 << FIRST_BITS;
/// A block lies at most so many lines behind its own.
const LINES_PROBED: u32 = 8;

const FIRST_BITS: u32 = 30;
const LEN_BITS: u32 = SPAN_SHIFT - 4;
const OWNER_BITS: u32 = 12;
const OWNER_AT: u32 = FIRST_BITS;
const MORE: u64 = 1 << (OWNER_AT + OWNER_BITS);
/// The highest bits, which are had by one shift.
const LEN_AT: u32 = 64 - LEN_BITS;

/// A run of lines. As a word it is never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket(u64);

impl Bucket {
    /// Greatest number of lines: so many that blocks of 8 bytes all find a slot in their own.
    pub const LINES_MAX: u32 = 1 << (SPAN_SHIFT - 5);
    /// Owner of a bucket that every thread may put blocks into.
    pub const SHARED: u32 = 0;

    /// `lines` lines from `first` on. Only `owner` (number of a thread's record plus one) puts blocks into them.
    #[inline]
    pub const fn new(first: u32, lines: u32, owner: u32) -> Self {
        debug_assert!(first < LINES_MAX && lines > 0 && lines <= Self::LINES_MAX && owner < 1 << OWNER_BITS);
        Self(first as u64 | (owner as u64) << OWNER_AT | (lines as u64) << LEN_AT)
    }

    /// From a word of the table; none where nothing of the span was ever recorded.
    #[inline]
    pub const fn from_word(word: u64) -> Option<Self> {
        if word == 0 { None } else { Some(Self(word)) }
    }

    /// As a word of the table.
    #[inline]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// The same, with a note that the span has further buckets.
    #[inline]
    #[must_use]
    pub const fn with_more(self) -> Self {
        Self(self.0 | MORE)
    }

    /// Whether the span has further buckets.
    #[inline]
    pub const fn has_more(self) -> bool {
        self.0 & MORE != 0
    }

    /// Whose it is.
    #[inline]
    pub const fn owner(self) -> u32 {
        (self.0 >> OWNER_AT) as u32 & ((1 << OWNER_BITS) - 1)
    }

    /// Whether it is the only bucket of its span, and belongs to this one.
    #[inline]
    pub const fn is_only_and_of(self, owner: u32) -> bool {
        const { assert!(MORE >> OWNER_AT == 1 << OWNER_BITS, "both are had by one shift") };
        (self.0 >> OWNER_AT) as u32 & ((1 << (OWNER_BITS + 1)) - 1) == owner
    }

    /// How many lines it has.
    #[inline]
    pub const fn lines(self) -> u32 {
        (self.0 >> LEN_AT) as u32
    }

    /// Which of its lines a block belongs to: in the order of addresses, so that neighbours share cache lines.
    #[inline]
    pub const fn home(self, address: u64) -> u32 {
        (((address & ((1 << SPAN_SHIFT) - 1)) * self.lines() as u64) >> SPAN_SHIFT) as u32
    }

    /// Number of a line of it, counted from the first line of all. For any word at all less than
    /// `LINES_MAX + 2 * Bucket::LINES_MAX`, which is what the file has room for.
    #[inline]
    pub const fn line(self, at: u32) -> u32 {
        (self.0 as u32 & (LINES_MAX - 1)) + at
    }

    /// Number of the line that is `step` lines behind a block's own; behind the last comes the first.
    #[inline]
    pub const fn probe(self, address: u64, step: u32) -> u32 {
        let (at, lines) = (self.home(address) + step, self.lines());
        self.line(if at < lines { at } else { (at - lines) % if lines == 0 { 1 } else { lines } })
    }

    /// How many lines there are to look at for one block.
    #[inline]
    pub const fn probes(self) -> u32 {
        if self.lines() < LINES_PROBED { self.lines() } else { LINES_PROBED }
    }
}

/// A further bucket of a span.
#[derive(Debug, Default)]
#[repr(C)]
pub struct FurtherBucket {
    /// [`Bucket`].
    pub bucket: AtomicU64,
    /// Number of the next one; zero ends the chain.
    pub next: AtomicU32,
    /// Fills the entry.
    pub pad: AtomicU32,
}

const _: () = assert!(size_of::<FurtherBucket>() == 16, "further buckets are indexed by shifting");
const _: () = assert!(Bucket::LINES_MAX < 1 << LEN_BITS, "the number of lines fits its bits");
const _: () =
    assert!(2 * Bucket::LINES_MAX >= 1 << LEN_BITS, "any number of lines there ends within the room behind the last");
const _: () = assert!(crate::THREADS_MAX < 1 << OWNER_BITS, "the owner fits its bits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        for (first, lines, owner) in [(0, 1, 0), (LINES_MAX - 1, Bucket::LINES_MAX, 2048), (77, 46, 1)] {
            let bucket = Bucket::new(first, lines, owner);
            for bucket in [bucket, bucket.with_more()] {
                assert_eq!(Bucket::from_word(bucket.word()), Some(bucket));
                assert_eq!((bucket.line(0), bucket.lines(), bucket.owner()), (first, lines, owner));
            }
            assert!(!bucket.has_more() && bucket.with_more().has_more());
            assert!(bucket.is_only_and_of(owner) && !bucket.is_only_and_of(owner ^ 1));
            assert!(!bucket.with_more().is_only_and_of(owner));
        }
        assert_eq!(Bucket::from_word(0), None);
    }

    #[test]
    fn every_block_has_its_line_and_neighbours_share_it() {
        let bucket = Bucket::new(100, 46, 1);
        let homes: std::vec::Vec<u32> =
            (0..1 << (SPAN_SHIFT - 3)).map(|i| bucket.home(0x7000_0000_0000 + i * 8)).collect();
        assert!(homes.is_sorted() && homes.first() == Some(&0) && homes.last() == Some(&45));
        let last = (1 << SPAN_SHIFT) - 8;
        assert_eq!(bucket.probe(last, 0), 145);
        assert_eq!(bucket.probe(last, 1), 100, "behind the last comes the first");
        assert_eq!(Bucket::new(5, 3, 1).probes(), 3);
    }

    /// The table may be overwritten by its target: whatever stands there must not lead out of the file.
    #[test]
    fn no_word_leads_out_of_the_file() {
        let end = LINES_MAX + 2 * Bucket::LINES_MAX;
        let mut word = u64::MAX;
        for _ in 0..10_000 {
            let bucket = Bucket::from_word(word | 1).unwrap();
            assert!((0..LINES_PROBED).all(|step| bucket.probe(!word, step) < end));
            word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(7) ^ 0x1234;
        }
        for lines in [0, 1, 2, (1 << LEN_BITS) - 1] {
            let bucket = Bucket::from_word(u64::from(LINES_MAX - 1) | lines << LEN_AT).unwrap();
            assert!((0..LINES_PROBED).all(|step| bucket.probe((1 << SPAN_SHIFT) - 8, step) < end));
        }
    }
}
