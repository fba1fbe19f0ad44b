//! One live block of a small size, as it stands in a cell: in one word, with little more than what its place does not say.
//!
//! Owns: how that is packed. Must not know: where the cell lies.

use crate::block::{Block, Moment, SPAN_SHIFT, Slot};

/// A block in one word: first a byte that tells the block from others that may lie in the same cell, then stack, size and birth. Zero where
/// there is none.
///
/// That byte is odd where there is a block, and has the bits of its address that its place may not tell. In most cells only one block can be, see
/// [`crate::Bucket::admits`]; so whoever searches looks at one word. A wide cell is of all blocks that begin in its granule: one of them lies there,
/// the others in the next cells or elsewhere. The two bits that are left say which of these it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell(u64);

/// In the first byte: that there is a block.
const BLOCK: u64 = 1;
/// In the first byte: how the block lies there, or how the cell was left.
const HOW_AT: u32 = 1;
const HOW: u64 = 3 << HOW_AT;
/// The block lies in the cell that it belongs to, and others that belong there may lie elsewhere. Of a cell without a block: others may.
const CROWDED: u64 = 1 << HOW_AT;
/// The block lies one cell behind the one that it belongs to; one more, two behind.
const BEHIND: u64 = 1 << HOW_AT;
const STACK_AT: u32 = 8;
const STACK_BITS: u32 = 16;
const SIZE_AT: u32 = STACK_AT + STACK_BITS;
const SIZE_BITS: u32 = 13;
const BIRTH_AT: u32 = SIZE_AT + SIZE_BITS;
const BIRTH_BITS: u32 = 64 - BIRTH_AT;
/// Births are kept in units of so many ticks: some 10 ms; modulo 2^52 ticks: weeks.
const BIRTH_SHIFT: u32 = 25;
/// A birth may lie so many units ahead of a moment that was read elsewhere.
const AHEAD_MAX: u64 = 1 << 10;

impl Cell {
    /// The word of a wide cell without a block, to which blocks belong that may lie elsewhere.
    pub const LEFT: Self = Self(CROWDED);
    /// The bits of addresses below this one stand in the cell; the lowest three are zero.
    pub const LOW_END: u64 = 1 << 8;
    /// Blocks of so many bytes and more have no room in a cell.
    pub const SIZE_END: u64 = 1 << SIZE_BITS;

    /// The block at an address, which is recorded for itself and of less than [`Self::SIZE_END`] bytes, in the cell that it belongs to.
    #[inline]
    pub const fn new(address: u64, size: u64, stack: u32, birth: Moment) -> Self {
        let stack = stack & ((1 << STACK_BITS) - 1);
        Self::at_birth(address & !7, size, stack, Self::births_at(birth))
    }

    /// The same of an address that is a multiple of 8, with the birth as [`Self::births_at`] gives it.
    #[inline]
    pub const fn at_birth(address: u64, size: u64, stack: u32, births: u64) -> Self {
        debug_assert!(size < Self::SIZE_END && stack < 1 << STACK_BITS, "the caller looked");
        Self((address as u8 as u64 | BLOCK) | (stack as u64) << STACK_AT | size << SIZE_AT | births)
    }

    /// The bits of a word that are the same in all cells of blocks that were born at a moment.
    #[inline]
    pub const fn births_at(moment: Moment) -> u64 {
        units(moment) << BIRTH_AT
    }

    /// The same where it lies so many cells behind.
    #[inline]
    #[must_use]
    pub const fn behind(self, step: u32) -> Self {
        debug_assert!(self.0 & HOW == 0 && step <= crate::Bucket::STEPS_MAX, "once, and not too far");
        Self(if step == 0 { self.0 } else { self.0 | (BEHIND + ((step as u64) << HOW_AT)) })
    }

    /// The same with a note that others which belong to its cell may lie elsewhere. What lies behind its own cell needs none: a cell that it leaves
    /// [tells so](Self::LEFT) anyhow.
    #[inline]
    #[must_use]
    pub const fn crowded(self) -> Self {
        Self(if self.is_block() && self.0 & HOW != 0 { self.0 } else { self.0 | CROWDED })
    }

    /// The word from which those of cells are taken away for the ages of their blocks at a moment.
    #[inline]
    pub const fn ages_at(moment: Moment) -> u64 {
        // With all below the birth set there is nothing to borrow.
        Self::births_at(moment) | ((1 << BIRTH_AT) - 1)
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
    const fn key(address: u64) -> u8 {
        (address & (Self::LOW_END - 8) | BLOCK) as u8
    }

    /// Whether there is the block at an address, one of those that belong here, and no other that does lies elsewhere. Of an address that is no
    /// multiple of 8, which hardly any block has, it is not known.
    #[inline]
    pub const fn holds(self, address: u64) -> bool {
        (self.0 ^ address) as u8 == BLOCK as u8
    }

    /// Whether there is the block at an address, which belongs so many cells before this one.
    #[inline]
    pub const fn holds_behind(self, address: u64, step: u32) -> bool {
        self.0 as u8 & !(HOW as u8) == Self::key(address) && self.step() == step
    }

    /// Whether there is a block.
    #[inline]
    pub const fn is_block(self) -> bool {
        self.0 & 1 != 0
    }

    /// The bits of its address that its place may not tell.
    #[inline]
    pub const fn low(self) -> u64 {
        self.0 & (Self::LOW_END - 8)
    }

    /// How many cells its block lies behind the one that it belongs to.
    #[inline]
    pub const fn step(self) -> u32 {
        ((self.0 & HOW) >> HOW_AT).saturating_sub(1) as u32
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
        self.age_units(now) << BIRTH_SHIFT
    }

    /// The same, where [`Self::ages_at`] says what the moment is; none where it was born after it.
    #[inline]
    pub const fn age_at(self, ages: u64) -> Option<u64> {
        let units = ages.wrapping_sub(self.0) >> BIRTH_AT;
        if units >= (1 << BIRTH_BITS) - AHEAD_MAX { None } else { Some(units << BIRTH_SHIFT) }
    }

    #[inline]
    const fn age_units(self, now: Moment) -> u64 {
        let age = self.units_until(now);
        if age >= (1 << BIRTH_BITS) - AHEAD_MAX { 0 } else { age }
    }

    /// From the birth to a moment, as far as is known: modulo all units that there are.
    #[inline]
    const fn units_until(self, now: Moment) -> u64 {
        Self::ages_at(now).wrapping_sub(self.0) >> BIRTH_AT
    }

    /// The block, which begins at this place of its span. A moment is needed since of its birth only the lower bits are known; which one it
    /// is, is of no account. A birth before all time, which only a word has that was overwritten, is zero.
    pub const fn unpack(self, offset: u64, now: Moment) -> Block {
        let age = self.units_until(now);
        let ahead = if age >= (1 << BIRTH_BITS) - AHEAD_MAX { (1 << BIRTH_BITS) - age } else { 0 };
        let birth = (units(now) + ahead).saturating_sub(self.age_units(now));
        let offset = offset & ((1 << SPAN_SHIFT) - 8);
        Block { offset, size: self.size(), stack: self.stack(), birth: birth << BIRTH_SHIFT, rate: 0 }
    }
}

/// A time in the units that are kept.
#[inline]
const fn units(moment: Moment) -> u64 {
    moment.ticks() >> BIRTH_SHIFT
}

const _: () = assert!(LOW_IS_A_BYTE && STACK_AT == u8::BITS, "what tells blocks apart is compared as a byte");
const LOW_IS_A_BYTE: bool = Cell::LOW_END == 1 << u8::BITS;
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
        assert_eq!((cell.size(), cell.stack(), cell.low(), cell.step()), (size, stack, address & 0xf8, 0));
        for later in [0, 1, 5, (1 << BIRTH_BITS) - AHEAD_MAX - 1] {
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
        check(0x7fff_ffff_fff8, Cell::SIZE_END - 1, 65_535, (1 << 52) - 1);
        check(0x5555_0000_0010, 100, 77, 1 << 57);
        check(0x5555_0000_0048, 1, 1, (1 << 52) * 3 + 12_345);
    }

    #[test]
    fn how_a_block_lies_in_a_wide_cell_changes_nothing_else_of_it() {
        let (address, now) = (0x5555_0000_00e8, Moment::new(99 * UNIT));
        let cell = Cell::new(address, 100, 7, Moment::new(5 * UNIT));
        for (other, step) in [(cell, 0), (cell.crowded(), 0), (cell.behind(1), 1), (cell.behind(2), 2)] {
            assert_eq!((other.step(), other.low(), other.is_block()), (step, 0xe8, true));
            assert_eq!(other.unpack(address, now), cell.unpack(address, now));
            assert!((0..3).all(|step| other.holds_behind(address, step) == (step == other.step())));
            assert!((3..8).all(|bit| (0..3).all(|step| !other.holds_behind(address ^ 1 << bit, step))));
            assert_eq!(other.holds(address), other == cell, "not where others may lie elsewhere");
        }
        let crowded = [cell.behind(1), cell.behind(2), cell.crowded(), Cell::LEFT];
        assert_eq!(crowded.map(Cell::crowded), crowded);
        assert_eq!(Cell::from_word(0).crowded(), Cell::LEFT);
        assert!(!Cell::LEFT.is_block() && !Cell::LEFT.holds(0) && Cell::LEFT.word() != 0);
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
        let cell = Cell::new(32, 8, 1, Moment::new(7 * UNIT + (1 << 52)));
        for units in [1, 7] {
            let now = Moment::new(units * UNIT + (1 << 52));
            assert_eq!((cell.age(now), cell.unpack(32, now).birth), (0, 7 * UNIT + (1 << 52)));
        }
    }
}
