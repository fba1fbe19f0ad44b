//! Where the blocks of one span are: a run of lines, or of cells, and whom it belongs to.
//!
//! Owns: how that is packed into one word, and which line or cell a block belongs to. Must not know: what is in them.

use core::sync::atomic::{AtomicU32, AtomicU64};

use crate::block::SPAN_SHIFT;
use crate::cell::Cell;

/// Slots of one line, which is one cache line.
pub const LINE_SLOTS: usize = 4;
/// Cells in the room of one line.
pub const LINE_CELLS: u32 = 8;
/// Lines that there can be, and as many again in whose room there are cells: 16 GiB of each.
pub const LINES_MAX: u32 = 1 << (31 - LINE_CELLS.trailing_zeros());
/// A block lies at most so many lines behind its own.
const LINES_PROBED: u32 = 8;

/// The lowest bits, as an instruction takes them that shifts: binary logarithm of the granule of cells.
const SHIFT: u64 = 31;
/// Whether there are cells.
const CELLS: u64 = 1 << 5;
/// Set where several blocks may begin in the granule of a cell.
const WIDE: u64 = 1 << 6;
/// Of cells that are not wide.
const LEAST_AT: u32 = 8;
const LEAST_BITS: u32 = 5;
/// Set where cells are for 16 bytes and more: blocks in them begin at multiples of 16.
const COARSE_AT: u32 = LEAST_AT + LEAST_BITS;
/// Of lines.
const LEN_AT: u32 = 8;
const LEN_BITS: u32 = SPAN_SHIFT - 2;
/// The highest bits of the lower half.
const OWNER_AT: u32 = 32 - OWNER_BITS;
const OWNER_BITS: u32 = 12;
/// The upper half: the number of the first cell, or of as many as there would be before the first line.
const FIRST_AT: u32 = 32;
/// What of an address is its place in the span.
const IN_SPAN: u64 = (1 << SPAN_SHIFT) - 1;

/// A run of lines or of cells. As a word it is never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket(u64);

impl Bucket {
    /// Binary logarithm of the smallest granule of wide cells, and of the largest: what of an address is below that stands in the cell.
    pub const WIDE_SHIFT_MIN: u32 = 6;
    /// See [`Self::WIDE_SHIFT_MIN`].
    pub const WIDE_SHIFT_MAX: u32 = 8;
    /// How many cells a block in wide ones may lie behind its own.
    pub const STEPS_MAX: u32 = 2;
    /// Greatest number of lines: so many that blocks of 8 bytes all find a slot in their own.
    pub const LINES_MAX: u32 = 1 << (SPAN_SHIFT - 5);
    /// The bit of a word that [notes](Self::with_more) that the span has further buckets.
    pub const MORE: u64 = 1 << 7;
    /// Owner of a bucket that every thread may put blocks into.
    pub const SHARED: u32 = 0;
    /// So many lines are behind the last, for what a word that was overwritten may lead to.
    pub const LINES_BEHIND: u32 = 1 << LEN_BITS;

    /// `lines` lines from `first` on. Only `owner` (number of a thread's record plus one) puts blocks into them.
    #[inline]
    pub const fn new(first: u32, lines: u32, owner: u32) -> Self {
        debug_assert!(first < LINES_MAX && lines > 0 && lines <= Self::LINES_MAX && owner < 1 << OWNER_BITS);
        Self(Self::first(first) | (owner as u64) << OWNER_AT | (lines as u64) << LEN_AT)
    }

    /// Cells for granules of `1 << shift` bytes, in the room of `Self::lines_of_cells(shift)` lines from the one on that is `first` behind the
    /// first with cells. Every thread may put blocks of at least `least` bytes into them.
    #[inline]
    pub const fn new_cells(first: u32, shift: u32, least: u64) -> Self {
        debug_assert!(first < LINES_MAX && shift >= 3 && shift <= 5 && least < 1 << LEAST_BITS);
        let coarse = (shift > 3) as u64;
        Self(Self::first(first | LINES_MAX) | CELLS | shift as u64 | least << LEAST_AT | coarse << COARSE_AT)
    }

    /// Wide cells: for granules of `1 << shift` bytes, in which several blocks may begin, in the room of `Self::lines_of_cells(shift)` lines as
    /// above. Only `owner` (number of a thread's record plus one) puts blocks into them.
    #[inline]
    pub const fn new_wide(first: u32, shift: u32, owner: u32) -> Self {
        debug_assert!(first < LINES_MAX && owner > 0 && owner < 1 << OWNER_BITS);
        debug_assert!(shift >= Self::WIDE_SHIFT_MIN && shift <= Self::WIDE_SHIFT_MAX);
        Self(Self::first(first | LINES_MAX) | CELLS | WIDE | shift as u64 | (owner as u64) << OWNER_AT)
    }

    const fn first(line: u32) -> u64 {
        ((line * LINE_CELLS) as u64) << FIRST_AT
    }

    /// The room that cells for granules of `1 << shift` bytes take.
    #[inline]
    pub const fn lines_of_cells(shift: u32) -> u32 {
        (1 << (SPAN_SHIFT - shift)) / LINE_CELLS
    }

    /// From a word of the table; none where nothing of the span was ever recorded.
    #[inline]
    pub const fn from_word(word: u64) -> Option<Self> {
        if word == 0 { None } else { Some(Self(word)) }
    }

    /// From a word of the table which may be that of no bucket: then it [is none](Self::is_any) and has no cells.
    #[inline]
    pub const fn from_any_word(word: u64) -> Self {
        Self(word)
    }

    /// Whether it is one.
    #[inline]
    pub const fn is_any(self) -> bool {
        self.0 != 0
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
        Self(self.0 | Self::MORE)
    }

    /// Whether it is made of cells.
    #[inline]
    pub const fn has_cells(self) -> bool {
        self.0 & CELLS != 0
    }

    /// Whether its cells are wide.
    #[inline]
    pub const fn is_wide(self) -> bool {
        self.0 & WIDE != 0
    }

    /// Whether a block may lie in a cell of this bucket, if they are not wide: if all that do are admitted and none overlaps another, no two of them have the
    /// same cell. For those that begin at multiples of 16 or are as large as a granule that is so; `least` says what else the allocator
    /// promises.
    #[inline]
    pub const fn admits(self, address: u64, size: u64) -> bool {
        address & self.0 >> (COARSE_AT - 3) & 8 == 0 && size >= self.0 >> LEAST_AT & ((1 << LEAST_BITS) - 1)
    }

    /// Whether the span has further buckets.
    #[inline]
    pub const fn has_more(self) -> bool {
        self.0 & Self::MORE != 0
    }

    /// Whose it is.
    #[inline]
    pub const fn owner(self) -> u32 {
        (self.0 >> OWNER_AT) as u32 & ((1 << OWNER_BITS) - 1)
    }

    /// Whether it is the only bucket of its span, and belongs to this one.
    #[inline]
    pub const fn is_only_and_of(self, owner: u32) -> bool {
        debug_assert!(!self.has_cells(), "cells belong to nobody");
        !self.has_more() && self.owner() == owner
    }

    /// How many lines it has, or cells.
    #[inline]
    pub const fn places(self) -> u32 {
        if self.has_cells() {
            (1 << SPAN_SHIFT) >> (self.0 & SHIFT)
        } else {
            (self.0 >> LEN_AT) as u32 & ((1 << LEN_BITS) - 1)
        }
    }

    /// How many lines it takes.
    #[inline]
    pub const fn lines(self) -> u32 {
        if self.has_cells() { self.places() / LINE_CELLS } else { self.places() }
    }

    /// Binary logarithm of the granule of its cells.
    #[inline]
    pub const fn shift(self) -> u32 {
        (self.0 & SHIFT) as u32
    }

    /// Which of its lines or cells a block belongs to: in the order of addresses, so that neighbours share cache lines.
    #[inline]
    pub const fn home(self, address: u64) -> u32 {
        if self.has_cells() {
            (address & IN_SPAN) as u32 >> self.shift()
        } else {
            (((address & IN_SPAN) * self.places() as u64) >> SPAN_SHIFT) as u32
        }
    }

    /// Number of a line of it, counted from the first line of all. For any word at all less than
    /// `2 * LINES_MAX + Bucket::LINES_BEHIND`, which is what the file has room for.
    #[inline]
    pub const fn line(self, at: u32) -> u32 {
        (self.0 >> FIRST_AT) as u32 / LINE_CELLS + at
    }

    /// Number of the cell that a block belongs to, counted from the first line of all.
    #[inline]
    pub const fn cell(self, address: u64) -> u64 {
        (self.0 >> FIRST_AT) + ((address & IN_SPAN) as u32 >> self.shift()) as u64
    }

    /// Number of the cell that is `step` behind the one that a block belongs to; behind the last comes the first.
    #[inline]
    pub const fn cell_behind(self, address: u64, step: u32) -> u64 {
        (self.0 >> FIRST_AT) + self.place_behind(self.home(address), step) as u64
    }

    /// The place that is so many behind one of this bucket.
    #[inline]
    const fn place_behind(self, at: u32, step: u32) -> u32 {
        let (at, places) = (at + step, self.places());
        if at < places { at } else { (at - places) % if places == 0 { 1 } else { places } }
    }

    /// Where in its span the block of a cell begins. `None` where the word was overwritten: no cells have such a length.
    #[inline]
    pub const fn offset(self, at: u32, cell: Cell) -> Option<u64> {
        let (places, granule) = (self.places(), 1 << self.shift());
        if !self.has_cells() || granule < 8 || at >= places {
            return None;
        }
        let step = if self.is_wide() { cell.step() % places } else { 0 };
        let home = (at + places - step) % places;
        Some(home as u64 * granule + (cell.low() & (granule - 1)))
    }

    /// Number of the line that is `step` lines behind a block's own; behind the last comes the first.
    #[inline]
    pub const fn probe(self, address: u64, step: u32) -> u32 {
        self.line(self.place_behind(self.home(address), step))
    }

    /// How many lines there are to look at for one block.
    #[inline]
    pub const fn probes(self) -> u32 {
        if self.places() < LINES_PROBED { self.places() } else { LINES_PROBED }
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
const _: () = assert!(LEN_AT + LEN_BITS <= OWNER_AT && COARSE_AT < OWNER_AT, "bits are used once");
const _: () = assert!(1 << SPAN_SHIFT <= Bucket::LINES_BEHIND * LINE_CELLS, "cells of a byte would have room behind");
const _: () =
    assert!(1_u64 << Bucket::WIDE_SHIFT_MAX <= Cell::LOW_END, "what the place does not tell stands in the cell");
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
            assert!(!bucket.has_more() && bucket.with_more().has_more() && !bucket.has_cells());
            assert!(bucket.is_only_and_of(owner) && !bucket.is_only_and_of(owner ^ 1));
            assert!(!bucket.with_more().is_only_and_of(owner));
        }
        assert_eq!(Bucket::from_word(0), None);
    }

    #[test]
    fn cells_lie_behind_all_lines_and_each_granule_has_its_own() {
        for (shift, least) in [(3, 0), (4, 0), (5, 0), (5, 17)] {
            let bucket = Bucket::new_cells(LINES_MAX - 1, shift, least).with_more();
            assert!(bucket.has_cells() && bucket.has_more());
            assert_eq!((bucket.owner(), bucket.line(0)), (Bucket::SHARED, 2 * LINES_MAX - 1));
            assert_eq!(bucket.lines(), Bucket::lines_of_cells(shift));
            for address in (0..1 << SPAN_SHIFT).step_by(8) {
                assert_eq!(u64::from(bucket.home(address)), address >> shift);
                let offset = bucket.offset(bucket.home(address), cell(address));
                assert_eq!(offset, Some(address), "{address:#x} at {shift}");
                assert_eq!(bucket.cell(address), (2 * u64::from(LINES_MAX) - 1) * 8 + (address >> shift));
            }
            assert_eq!(bucket.offset(bucket.places(), cell(0)), None);
        }
    }

    #[test]
    fn a_block_in_a_wide_cell_has_its_address_wherever_it_was_put() {
        for shift in Bucket::WIDE_SHIFT_MIN..=Bucket::WIDE_SHIFT_MAX {
            let bucket = Bucket::new_wide(77, shift, 2048).with_more();
            assert!(bucket.has_cells() && bucket.is_wide() && bucket.has_more());
            assert_eq!((bucket.owner(), bucket.line(0)), (2048, LINES_MAX + 77));
            let first = u64::from(LINES_MAX + 77) * u64::from(LINE_CELLS);
            for address in (0..1 << SPAN_SHIFT).step_by(8) {
                assert_eq!(u64::from(bucket.home(address)), address >> shift);
                for step in 0..=Bucket::STEPS_MAX {
                    let place = bucket.cell_behind(address, step) - first;
                    assert!(place < u64::from(bucket.places()));
                    let offset = bucket.offset(place as u32, cell(address).behind(step));
                    assert_eq!(offset, Some(address), "{address:#x} at {shift}, {step} behind");
                }
            }
        }
        assert!(!Bucket::new_cells(0, 5, 17).is_wide() && !Bucket::new(0, 1, 1).is_wide());
    }

    fn cell(address: u64) -> Cell {
        Cell::new(address, 1, 1, crate::Moment::new(1 << 40))
    }

    /// Whatever lies side by side: of those that are admitted no two have the same cell.
    #[test]
    fn no_two_blocks_that_are_admitted_have_the_same_cell() {
        for (shift, least) in [(3, 0), (4, 0), (5, 17)] {
            let bucket = Bucket::new_cells(0, shift, least);
            for (low, high, size) in
                (0..64).flat_map(|low| (low + 1..64).map(move |high| (low * 8, high * 8, high - low)))
            {
                let both = bucket.admits(low, size * 8) && bucket.admits(high, 8192);
                assert!(!both || bucket.home(low) != bucket.home(high), "{low} and {high} at {shift}");
            }
        }
        // Of glibc, whose blocks lie at least 32 bytes apart, whatever their size.
        assert!(Bucket::new_cells(0, 5, 0).admits(16, 0) && !Bucket::new_cells(0, 5, 17).admits(16, 16));
        assert!(!Bucket::new_cells(0, 4, 0).admits(8, 100) && Bucket::new_cells(0, 3, 0).admits(8, 1));
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
        let end = 2 * LINES_MAX + Bucket::LINES_BEHIND;
        let check = |word: u64, address: u64| {
            let bucket = Bucket::from_word(word).unwrap();
            assert!(bucket.has_cells() || (0..LINES_PROBED).all(|step| bucket.probe(address, step) < end));
            assert!(bucket.lines() <= Bucket::LINES_BEHIND);
            assert!(bucket.cell(address) < u64::from(end) * u64::from(LINE_CELLS));
            assert!((0..=Bucket::STEPS_MAX).all(|step| bucket.cell_behind(address, step) < u64::from(end) * 8));
            let offset = bucket.offset(address as u32 % 2048, Cell::from_word(word));
            assert!(offset.is_none_or(|offset| offset < 1 << SPAN_SHIFT));
        };
        let mut word = u64::MAX;
        for _ in 0..10_000 {
            check(word | 1, !word);
            word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(7) ^ 0x1234;
        }
        for low in [0, 1, 2, (1 << LEN_BITS) - 1].map(|lines| lines << LEN_AT).into_iter().chain(CELLS..CELLS + 32) {
            check(u64::MAX << FIRST_AT | low, (1 << SPAN_SHIFT) - 8);
        }
    }
}
