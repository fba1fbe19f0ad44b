//! One live block of a small size, as it stands in a cell: in one word, with little more than what its place does not say.
//!
//! Owns: how that is packed. Must not know: where the cell lies.

use crate::block::{Block, Moment, SPAN_SHIFT, Slot};
use crate::bucket::CELL_LOW;

/// A block in one word: odd, then what its place does not say of its address, then stack, size and birth. Zero where there is none.
///
/// A block belongs to the cell that its place in the span says, and no other that is admitted does, see
/// [`crate::Bucket::admits`]; so whoever searches looks at one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell(u64);

/// From the bits of an address to those of the word.
const LOW_SHIFT: u32 = 2;
const STACK_AT: u32 = 3;
const STACK_BITS: u32 = 16;
const SIZE_AT: u32 = STACK_AT + STACK_BITS;
const SIZE_BITS: u32 = 13;
const BIRTH_AT: u32 = SIZE_AT + SIZE_BITS;
/// Births are kept in units of so many ticks: 3 ms, which is less than threads look at the clock; modulo 2^55 ticks: months.
const BIRTH_SHIFT: u32 = 23;
/// A birth may lie so many units ahead of a moment that was read elsewhere.
const AHEAD_MAX: u32 = 1 << 12;

impl Cell {
    /// Blocks of so many bytes and more have no room in a cell.
    pub const SIZE_END: u64 = 1 << SIZE_BITS;

    /// The block at an address, which is recorded for itself and of less than [`Self::SIZE_END`] bytes.
    #[inline]
    pub const fn new(address: u64, size: u64, stack: u32, birth: Moment) -> Self {
        debug_assert!(size < Self::SIZE_END, "the caller looked");
        let stack = stack as u64 & ((1 << STACK_BITS) - 1);
        Self(Self::key(address) | stack << STACK_AT | size << SIZE_AT | (units(birth) as u64) << BIRTH_AT)
    }

    /// The same block as in a slot, if it has room here.
    pub fn of(address: u64, slot: Slot) -> Option<Self> {
        let block = slot.unpack().filter(|block| block.rate == 0 && block.size < Self::SIZE_END)?;
        Some(Self::new(address, block.size, block.stack, Moment::new(block.birth)))
    }

    /// From the word of a cell.
    #[inline]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// As a word.
    #[inline]
    pub const fn word(self) -> u64 {
        self.0
    }

    #[inline]
    const fn key(address: u64) -> u64 {
        (address & CELL_LOW) >> LOW_SHIFT | 1
    }

    /// Whether there is the block at an address, one of those that belong here.
    #[inline]
    pub const fn holds(self, address: u64) -> bool {
        self.0 & (CELL_LOW >> LOW_SHIFT | 1) == Self::key(address)
    }

    /// Whether there is a block.
    #[inline]
    pub const fn is_block(self) -> bool {
        self.0 & 1 != 0
    }

    /// The bits of its address that its place does not tell.
    #[inline]
    pub const fn low(self) -> u64 {
        self.0 << LOW_SHIFT & CELL_LOW
    }

    /// The stack of a block.
    #[inline]
    pub const fn stack(self) -> u32 {
        (self.0 >> STACK_AT) as u32 & ((1 << STACK_BITS) - 1)
    }

    /// Its size.
    #[inline]
    pub const fn size(self) -> u64 {
        self.0 >> SIZE_AT & (Self::SIZE_END - 1)
    }

    /// Its age at a moment, in ticks.
    #[inline]
    pub const fn age(self, now: Moment) -> u64 {
        (self.age_units(now) as u64) << BIRTH_SHIFT
    }

    #[inline]
    const fn age_units(self, now: Moment) -> u32 {
        let age = units(now).wrapping_sub((self.0 >> BIRTH_AT) as u32);
        if age > u32::MAX - AHEAD_MAX { 0 } else { age }
    }

    /// The block, which begins at this place of its span. A moment is needed since of its birth only the lower bits are known; which one it
    /// is, is of no account. A birth before all time, which only a word has that was overwritten, is zero.
    pub const fn unpack(self, offset: u64, now: Moment) -> Block {
        let ahead = units(now).wrapping_sub((self.0 >> BIRTH_AT) as u32);
        let ahead = if ahead > u32::MAX - AHEAD_MAX { ahead.wrapping_neg() as u64 } else { 0 };
        let birth = ((now.ticks() >> BIRTH_SHIFT) + ahead).saturating_sub(self.age_units(now) as u64);
        let offset = offset & ((1 << SPAN_SHIFT) - 8);
        Block { offset, size: self.size(), stack: self.stack(), birth: birth << BIRTH_SHIFT, rate: 0 }
    }
}

/// The lowest bits of a time in the units that are kept.
#[inline]
const fn units(moment: Moment) -> u32 {
    (moment.ticks() >> BIRTH_SHIFT) as u32
}

const _: () = assert!(BIRTH_AT == 32, "births have the upper half");
const _: () = assert!(crate::STACKS_MAX <= 1 << STACK_BITS, "a stack fits its bits");

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: u64 = 1 << BIRTH_SHIFT;

    #[track_caller]
    fn check(address: u64, size: u64, stack: u32, ticks: u64) {
        let cell = Cell::new(address, size, stack, Moment::new(ticks));
        assert_eq!(Cell::from_word(cell.word()), cell);
        assert!(cell.is_block() && cell.holds(address) && !cell.holds(address ^ 8) && !cell.holds(address ^ 16));
        assert_eq!((cell.size(), cell.stack(), cell.low()), (size, stack, address & 0x18));
        for later in [0, 1, 5, 1 << 30] {
            let now = Moment::new(ticks + later * UNIT);
            assert_eq!(cell.age(now), later * UNIT);
            let block = cell.unpack(address, now);
            assert_eq!((block.offset, block.birth), (address & ((1 << SPAN_SHIFT) - 8), ticks / UNIT * UNIT));
            assert_eq!(Cell::of(address, block.pack()), Some(cell), "it is what a slot says");
        }
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        check(0x5555_0000_0000, 0, 0, 0);
        check(0x7fff_ffff_fff8, Cell::SIZE_END - 1, 65_535, (1 << 55) - 1);
        check(0x5555_0000_0010, 100, 77, 1 << 57);
        check(0x5555_0000_0048, 1, 1, (1 << 55) * 3 + 12_345);
    }

    #[test]
    fn what_has_no_room_has_none() {
        let moment = Moment::new(1 << 40);
        let of = |size, rate| Cell::of(16, Block::new(16, size, 3, moment, rate).pack());
        assert!(of(Cell::SIZE_END - 1, 0).is_some());
        assert_eq!([of(Cell::SIZE_END, 0), of(8, 19), Cell::of(16, Slot::NONE)], [None; 3]);
        assert!(!Cell::from_word(0).is_block() && !Cell::from_word(0).holds(0));
    }

    #[test]
    fn a_word_that_was_overwritten_has_a_birth_of_zero() {
        let block = Cell::from_word(u64::MAX).unpack(u64::MAX, Moment::new(1 << 40));
        assert_eq!((block.birth, block.offset), (0, (1 << SPAN_SHIFT) - 8));
    }

    /// Another thread may have read the clock later: such a block is new, and its birth is known all the same.
    #[test]
    fn a_birth_ahead_of_the_clock_is_an_age_of_zero() {
        let cell = Cell::new(32, 8, 1, Moment::new(7 * UNIT + (1 << 55)));
        for units in [1, 7] {
            let now = Moment::new(units * UNIT + (1 << 55));
            assert_eq!((cell.age(now), cell.unpack(32, now).birth), (0, 7 * UNIT + (1 << 55)));
        }
    }
}
