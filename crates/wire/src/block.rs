//! One live block, as it stands in the table of live blocks.
//!
//! Owns: how place, size, stack and birth are packed into two words. Must not know: where the slot lies.

/// Sizes from here on are stored as this one; no machine of today allocates a TiB in one block.
pub const BLOCK_SIZE_MAX: u64 = (1 << (SIZE_LOW_BITS + SIZE_HIGH_BITS)) - 1;

/// Binary logarithm of the bytes of a span: the part of the target's addresses whose blocks share a bucket. In larger ones allocators that keep sizes
/// apart have blocks of several sizes, for which no bucket is right.
pub const SPAN_SHIFT: u32 = 14;

/// First word of a slot whose block was taken out: free, but whoever searches must look further.
pub const SLOT_LEFT: u64 = 2;
/// First word of a slot that somebody is filling.
pub const SLOT_CLAIMED: u64 = 4;

const KEY_BITS: u32 = 16;
const STACK_BITS: u32 = 16;
const SIZE_LOW_BITS: u32 = 64 - KEY_BITS - STACK_BITS;
/// The second word: rate, then what the size has beyond its low bits, then the birth.
const RATE_BITS: u32 = 6;
const SIZE_HIGH_BITS: u32 = 8;
const BIRTH_AT: u32 = RATE_BITS + SIZE_HIGH_BITS;
/// Births are kept in units of so many ticks (2 µs), modulo 2^62 ticks: decades.
const BIRTH_SHIFT: u32 = 12;
/// All bits of the second word below the birth. None is set for nearly all blocks, which are small and not sampled.
const RARE_MASK: u64 = (1 << BIRTH_AT) - 1;

/// A live block. The second word is written before the first; a first word that is even means that there is no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it begins in its span, a multiple of 8.
    pub offset: u64,
    /// Requested size in bytes, at most [`BLOCK_SIZE_MAX`].
    pub size: u64,
    /// Stack that allocated it.
    pub stack: u32,
    /// Time stamp counter at its birth, in the precision that is kept.
    pub birth: u64,
    /// How it was recorded: 0 for every block, or the rate at which it was sampled, see [`crate::weigh`].
    pub rate: u32,
}

impl Block {
    /// The lowest bits of the first word: odd, and no other block of the span has the same.
    #[inline]
    pub const fn key(address: u64) -> u16 {
        address as u16 & ((1 << SPAN_SHIFT) - 1) | 1
    }

    /// The block at an address, born at a moment, recorded for itself (rate 0) or sampled at a rate.
    #[inline]
    pub const fn new(address: u64, size: u64, stack: u32, birth: Moment, rate: u32) -> Self {
        let size = if size > BLOCK_SIZE_MAX { BLOCK_SIZE_MAX } else { size };
        let offset = address & ((1 << SPAN_SHIFT) - 8);
        Self { offset, size, stack, birth: birth.ticks(), rate }
    }

    /// The two words; the first is odd.
    #[inline]
    pub const fn pack(self) -> Slot {
        let Slot { first, second } = Slot::small(self.offset, self.size, self.stack, Moment::new(self.birth));
        let size_high = self.size >> SIZE_LOW_BITS & ((1 << SIZE_HIGH_BITS) - 1);
        Slot { first, second: second | size_high << RATE_BITS | self.rate as u64 }
    }

    /// See [`Slot::age`].
    #[inline]
    pub const fn age(self, now: Moment) -> u64 {
        self.pack().age(now)
    }
}

/// The two words of a slot of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Odd where there is a block.
    pub first: u64,
    /// Written before the first.
    pub second: u64,
}

impl Slot {
    /// No block.
    pub const NONE: Self = Self { first: 0, second: 0 };

    /// A block that is recorded for itself and whose size [is small](Self::is_small_size).
    #[inline]
    pub const fn small(address: u64, size: u64, stack: u32, birth: Moment) -> Self {
        let stack = stack as u64 & ((1 << STACK_BITS) - 1);
        let first = Block::key(address) as u64 | stack << KEY_BITS | size << (KEY_BITS + STACK_BITS);
        Self { first, second: birth.0 }
    }

    /// Whether all of a size stands in the first word.
    #[inline]
    pub const fn is_small_size(size: u64) -> bool {
        size >> SIZE_LOW_BITS == 0
    }

    /// Whether there is a block.
    #[inline]
    pub const fn is_block(self) -> bool {
        self.first & 1 != 0
    }

    /// Whether the block is recorded for itself and of a small size.
    #[inline]
    pub const fn is_small(self) -> bool {
        self.second & RARE_MASK == 0
    }

    /// The stack of a block.
    #[inline]
    pub const fn stack(self) -> u32 {
        (self.first >> KEY_BITS) as u32 & ((1 << STACK_BITS) - 1)
    }

    /// The size of a small block.
    #[inline]
    pub const fn small_size(self) -> u64 {
        self.first >> (KEY_BITS + STACK_BITS)
    }

    /// The age of a block at a moment, in ticks. Births may lie a little ahead of a moment that was read elsewhere.
    #[inline]
    pub const fn age(self, now: Moment) -> u64 {
        Self { first: self.first, second: self.second & !RARE_MASK }.small_age(now)
    }

    /// The same, of a block that [is small](Self::is_small).
    #[inline]
    pub const fn small_age(self, now: Moment) -> u64 {
        let age = now.0.wrapping_sub(self.second);
        if age.cast_signed() < 0 { 0 } else { age >> (BIRTH_AT - BIRTH_SHIFT) }
    }

    /// The block, or none.
    #[inline]
    pub const fn unpack(self) -> Option<Block> {
        if self.is_block() { Some(self.block()) } else { None }
    }

    /// The block of a slot that is known to hold one.
    #[inline]
    pub const fn block(self) -> Block {
        let size_high = self.second >> RATE_BITS & ((1 << SIZE_HIGH_BITS) - 1);
        Block {
            offset: self.first & ((1 << SPAN_SHIFT) - 8),
            size: self.small_size() | size_high << SIZE_LOW_BITS,
            stack: self.stack(),
            birth: Moment(self.second & !RARE_MASK).ticks(),
            rate: self.second as u32 & ((1 << RATE_BITS) - 1),
        }
    }
}

/// A time in the precision that is kept, as it stands in the second word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(u64);

impl Moment {
    /// The moment of a reading of the time stamp counter.
    #[inline]
    pub const fn new(ticks: u64) -> Self {
        Self(ticks << (BIRTH_AT - BIRTH_SHIFT) & !RARE_MASK)
    }

    /// From a word that [`Self::word`] gave.
    #[inline]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// As a word.
    #[inline]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// In ticks.
    #[inline]
    pub const fn ticks(self) -> u64 {
        self.0 >> (BIRTH_AT - BIRTH_SHIFT)
    }
}

const _: () = assert!(SPAN_SHIFT <= KEY_BITS, "a key is what tells addresses of a span apart, and odd");
const _: () = assert!(SLOT_LEFT < 8 && SLOT_CLAIMED < 8, "no offset of a block looks like the word of a free slot");
const _: () = assert!(crate::RATE_MAX < 1 << RATE_BITS, "a rate fits its bits");
const _: () = assert!(crate::STACKS_MAX <= 1 << STACK_BITS, "a stack fits its bits");

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: u64, size: u64, stack: u32, tick: u64, rate: u32) {
        let block = Block::new(address, size, stack, Moment::new(tick), rate);
        let slot = block.pack();
        assert_eq!(slot.unpack(), Some(block));
        assert_eq!(
            (block.offset, block.size, block.stack, block.rate),
            (address & ((1 << SPAN_SHIFT) - 8), size, stack, rate)
        );
        assert_eq!(slot.age(Moment::new(tick)), 0, "born now");
        assert_eq!(slot.first as u16, Block::key(address));
        assert_eq!(slot.is_small(), rate == 0 && Slot::is_small_size(size));
        if slot.is_small() {
            assert_eq!(slot, Slot::small(address, size, stack, Moment::new(tick)));
            assert_eq!((slot.stack(), slot.small_size()), (stack, size));
        }
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        check(0, 0, 0, 0, 0);
        check(0x7fff_ffff_fff8, 1, 1, u64::MAX, 19);
        check(0x7fff_ffff_fff8, u64::from(u32::MAX), 65_535, u64::MAX, 0);
        check(0x7fff_ffff_fff8, 1 << 32, 65_535, u64::MAX, 0);
        check(0x5555_0001_0010, BLOCK_SIZE_MAX, (1 << STACK_BITS) - 1, 1 << 20, crate::RATE_MAX);
        for first in [0, SLOT_LEFT, SLOT_CLAIMED] {
            assert_eq!(Slot { first, second: 7 }.unpack(), None);
        }
    }

    #[test]
    fn a_larger_size_is_stored_as_the_largest() {
        assert_eq!(Block::new(8, u64::MAX, 5, Moment::new(6), 0).size, BLOCK_SIZE_MAX);
    }

    #[test]
    fn blocks_of_a_span_have_different_keys_and_marks_are_none() {
        let blocks = 1 << (SPAN_SHIFT - 3);
        let keys: std::collections::BTreeSet<u16> = (0..blocks).map(|i| Block::key(0x7000_0000_0000 + i * 8)).collect();
        assert_eq!(keys.len(), blocks as usize);
        assert!(keys.iter().all(|key| key & 1 == 1));
    }

    #[test]
    fn ages_survive_the_wrap_of_the_clock_and_are_never_negative() {
        let tick = 1 << 62;
        for rate in [0, crate::RATE_MAX] {
            let slot = Block::new(8, 1 << 35, 1, Moment::new(tick - (1 << 20)), rate).pack();
            assert_eq!(slot.age(Moment::new(tick + (1 << 20))), 1 << 21);
            assert_eq!(slot.age(Moment::new(tick - (1 << 20))), 0);
            assert_eq!(slot.age(Moment::new(tick - (1 << 21))), 0, "seen by a clock that is behind");
        }
    }
}
