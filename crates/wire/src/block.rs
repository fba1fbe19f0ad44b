//! One live block, as it stands in the table of live blocks.
//!
//! Owns: how place, size, stack and birth are packed into two words. Must not know: where the slot lies.

/// Sizes from here on are stored as this one; no machine of today allocates a TiB in one block.
pub const BLOCK_SIZE_MAX: u64 = (1 << (LARGE_LOW_BITS + SIZE_HIGH_BITS)) - 1;

/// Blocks of so many bytes lie so far apart that those of a larger part of the addresses share their lines.
pub const LARGE_MIN: u64 = crate::Cell::SIZE_END;
/// Binary logarithm of the bytes of that part.
pub const LARGE_SHIFT: u32 = LARGE_ALIGNMENT + LARGE_KEY_BITS + LARGE_MORE_BITS;

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
/// The second word: rate, then what the size has beyond its low bits, whether the block is large, then the birth.
const RATE_BITS: u32 = 6;
const SIZE_HIGH_BITS: u32 = 11;
const IS_LARGE: u64 = 1 << (RATE_BITS + SIZE_HIGH_BITS);
const BIRTH_AT: u32 = RATE_BITS + SIZE_HIGH_BITS + 1;
/// Births are kept in units of so many ticks (2 µs), modulo 2^58 ticks: years.
const BIRTH_SHIFT: u32 = 12;
/// All bits of the second word below the birth. None is set for nearly all blocks, which are small and not sampled.
const RARE_MASK: u64 = (1 << BIRTH_AT) - 1;

/// The first word of a large block: its key, which is odd, and its stack as that of any other; then more of its address, and the rest of
/// the bits for its size.
const LARGE_ALIGNMENT: u32 = 4;
const LARGE_KEY_BITS: u32 = KEY_BITS - 1;
const LARGE_MORE_BITS: u32 = 3;
const LARGE_MORE_AT: u32 = KEY_BITS + STACK_BITS;
const LARGE_LOW_BITS: u32 = SIZE_LOW_BITS - LARGE_MORE_BITS;
const LARGE_KEY: u64 = ((1 << LARGE_MORE_BITS) - 1) << LARGE_MORE_AT | ((1 << KEY_BITS) - 1);

/// Whether a block is kept as a large one.
#[inline]
pub const fn is_large(address: u64, size: u64) -> bool {
    size >= LARGE_MIN && address & ((1 << LARGE_ALIGNMENT) - 1) == 0
}

/// A live block. The second word is written before the first; a first word that is even means that there is no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it begins in its span, a multiple of 8; a large one, in the part of the addresses that shares lines.
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

    /// A block that is recorded for itself and whose size is below 4 GiB: all of it stands in the first word.
    #[inline]
    pub const fn small(address: u64, size: u64, stack: u32, birth: Moment) -> Self {
        let stack = stack as u64 & ((1 << STACK_BITS) - 1);
        let first = Block::key(address) as u64 | stack << KEY_BITS | size << (KEY_BITS + STACK_BITS);
        Self { first, second: birth.0 }
    }

    /// A block that [is large](is_large).
    pub const fn large(address: u64, block: Block) -> Self {
        let low = block.size & ((1 << LARGE_LOW_BITS) - 1);
        let high = block.size >> LARGE_LOW_BITS & ((1 << SIZE_HIGH_BITS) - 1);
        let first =
            (block.stack as u64 & ((1 << STACK_BITS) - 1)) << KEY_BITS | low << (LARGE_MORE_AT + LARGE_MORE_BITS);
        let birth = Moment::new(block.birth).0;
        Self {
            first: first | Self::large_key(address),
            second: birth | IS_LARGE | high << RATE_BITS | block.rate as u64,
        }
    }

    /// The bits of the first word that no other large block of the same part of the addresses has.
    const fn large_key(address: u64) -> u64 {
        let low = address >> LARGE_ALIGNMENT & ((1 << LARGE_KEY_BITS) - 1);
        let more = address >> (LARGE_ALIGNMENT + LARGE_KEY_BITS) & ((1 << LARGE_MORE_BITS) - 1);
        low << 1 | 1 | more << LARGE_MORE_AT
    }

    /// Whether a first word, of a slot for large blocks, is that of the one at an address.
    pub const fn is_first_of_large(first: u64, address: u64) -> bool {
        first & LARGE_KEY == Self::large_key(address)
    }

    const fn large_block(self) -> Block {
        let low = self.first >> (LARGE_MORE_AT + LARGE_MORE_BITS);
        let high = self.second >> RATE_BITS & ((1 << SIZE_HIGH_BITS) - 1);
        let place = (self.first & ((1 << KEY_BITS) - 1)) >> 1;
        let more = self.first >> LARGE_MORE_AT & ((1 << LARGE_MORE_BITS) - 1);
        Block {
            offset: (place | more << LARGE_KEY_BITS) << LARGE_ALIGNMENT,
            size: low | high << LARGE_LOW_BITS,
            stack: self.stack(),
            birth: Moment(self.second & !RARE_MASK).ticks(),
            rate: self.second as u32 & ((1 << RATE_BITS) - 1),
        }
    }

    /// Whether there is a block.
    #[inline]
    pub const fn is_block(self) -> bool {
        self.first & 1 != 0
    }

    /// Whether the block is recorded for itself, and neither large nor of a size that does not stand in the first word.
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
        if self.second & IS_LARGE != 0 {
            return self.large_block();
        }
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
        assert_eq!(slot.is_small(), rate == 0 && size < 1 << 32);
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
    fn what_is_packed_of_a_large_block_comes_out_again() {
        let sizes = [LARGE_MIN, 1 << 29, (1 << 32) + 12_345, BLOCK_SIZE_MAX];
        let addresses = [0, 0x10, (1 << LARGE_SHIFT) - 0x10, 0x5555_0123_4560, 0x7fff_ffff_fff0];
        for (size, address) in sizes.into_iter().flat_map(|size| addresses.map(|address| (size, address))) {
            for (stack, rate) in [(0, 0), (65_535, 19)] {
                assert!(is_large(address, size) && !is_large(address + 8, size) && !is_large(address, LARGE_MIN - 1));
                let block = Block::new(address, size, stack, Moment::new(1 << 50), rate);
                let slot = Slot::large(address, block);
                let offset = address & ((1 << LARGE_SHIFT) - 1);
                assert_eq!(slot.unpack(), Some(Block { offset, ..block }));
                assert!(!slot.is_small() && slot.age(Moment::new((1 << 50) + (1 << 20))) == 1 << 20);
                assert!(Slot::is_first_of_large(slot.first, address));
                let others = (LARGE_ALIGNMENT..LARGE_SHIFT).map(|bit| address ^ 1 << bit);
                assert!(others.into_iter().all(|other| !Slot::is_first_of_large(slot.first, other)));
            }
        }
        assert!([0, SLOT_LEFT, SLOT_CLAIMED].iter().all(|first| !Slot::is_first_of_large(*first, 0)));
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
        let tick = 1 << 58;
        for rate in [0, crate::RATE_MAX] {
            let slot = Block::new(8, 1 << 35, 1, Moment::new(tick - (1 << 20)), rate).pack();
            assert_eq!(slot.age(Moment::new(tick + (1 << 20))), 1 << 21);
            assert_eq!(slot.age(Moment::new(tick - (1 << 20))), 0);
            assert_eq!(slot.age(Moment::new(tick - (1 << 21))), 0, "seen by a clock that is behind");
        }
    }
}
