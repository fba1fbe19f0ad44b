//! One live block, as it stands in the table of live blocks.
//!
//! Owns: how place, size, stack and birth are packed into two words. Must not know: where the slot lies.

/// Sizes from here on are stored as this one; no machine of today allocates 128 GiB in one block.
pub const BLOCK_SIZE_MAX: u64 = (1 << 37) - 1;

/// Binary logarithm of the bytes of a span: the part of the target's addresses whose blocks share a bucket.
pub const SPAN_SHIFT: u32 = 16;

/// First word of a slot whose block was taken out: free, but whoever searches must look further.
pub const SLOT_LEFT: u64 = 1 << 14;
/// First word of a slot that somebody is filling.
pub const SLOT_CLAIMED: u64 = 1 << 15;

const KEY_BITS: u32 = 16;
const STACK_BITS: u32 = 24;
const SIZE_LOW_BITS: u32 = 64 - KEY_BITS - STACK_BITS;
const SIZE_HIGH_BITS: u32 = 37 - SIZE_LOW_BITS;
/// Births are kept in units of so many ticks (2 µs), modulo 2^57 ticks: more than a year.
const BIRTH_SHIFT: u32 = 12;
const BIRTH_BITS: u32 = 45;
const BIRTH_MASK: u64 = (1 << BIRTH_BITS) - 1;
/// The highest bits of the second word.
const RATE_SHIFT: u32 = BIRTH_BITS + SIZE_HIGH_BITS;
const RATE_BITS: u32 = 64 - RATE_SHIFT;

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
        (address >> 2) as u16 & ((1 << (SPAN_SHIFT - 2)) - 1) | 1
    }

    /// The block at an address, born at a tick, recorded for itself (rate 0) or sampled at a rate.
    #[inline]
    pub const fn new(address: u64, size: u64, stack: u32, tick: u64, rate: u32) -> Self {
        let size = if size > BLOCK_SIZE_MAX { BLOCK_SIZE_MAX } else { size };
        let offset = address & ((1 << SPAN_SHIFT) - 8);
        Self { offset, size, stack, birth: (tick >> BIRTH_SHIFT & BIRTH_MASK) << BIRTH_SHIFT, rate }
    }

    /// The two words; the first is odd.
    #[inline]
    pub const fn pack(self) -> [u64; 2] {
        let stack = self.stack as u64 & ((1 << STACK_BITS) - 1);
        let first = Self::key(self.offset) as u64 | stack << KEY_BITS | self.size << (KEY_BITS + STACK_BITS);
        let size_high = self.size >> SIZE_LOW_BITS & ((1 << SIZE_HIGH_BITS) - 1);
        let birth = self.birth >> BIRTH_SHIFT & BIRTH_MASK;
        [first, birth | size_high << BIRTH_BITS | (self.rate as u64) << RATE_SHIFT]
    }

    /// The block, or none where the first word says that there is none.
    #[inline]
    pub const fn unpack(words: [u64; 2]) -> Option<Self> {
        if words[0] & 1 == 0 { None } else { Some(Self::of_slot(words)) }
    }

    /// The block of a slot that is known to hold one.
    #[inline]
    pub const fn of_slot(words: [u64; 2]) -> Self {
        let size_high = words[1] >> BIRTH_BITS & ((1 << SIZE_HIGH_BITS) - 1);
        Self {
            offset: (words[0] & ((1 << (SPAN_SHIFT - 2)) - 2)) << 2,
            size: words[0] >> (KEY_BITS + STACK_BITS) | size_high << SIZE_LOW_BITS,
            stack: (words[0] >> KEY_BITS) as u32 & ((1 << STACK_BITS) - 1),
            birth: (words[1] & BIRTH_MASK) << BIRTH_SHIFT,
            rate: (words[1] >> RATE_SHIFT) as u32,
        }
    }

    /// Its age at a tick, in ticks. Births may lie a little ahead of a tick that was read elsewhere.
    #[inline]
    pub const fn age(self, tick: u64) -> u64 {
        let units = (tick >> BIRTH_SHIFT).wrapping_sub(self.birth >> BIRTH_SHIFT) & BIRTH_MASK;
        if units > BIRTH_MASK / 2 { 0 } else { units << BIRTH_SHIFT }
    }
}

const _: () = assert!(SPAN_SHIFT - 2 <= 14, "a key leaves the marks of free slots alone");
const _: () = assert!(crate::RATE_MAX < 1 << RATE_BITS, "a rate fits its bits");

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: u64, size: u64, stack: u32, tick: u64, rate: u32) {
        let block = Block::new(address, size, stack, tick, rate);
        assert_eq!(Block::unpack(block.pack()), Some(block));
        assert_eq!((block.offset, block.size, block.stack, block.rate), (address & 0xfff8, size, stack, rate));
        assert!(block.age(tick) < 1 << BIRTH_SHIFT, "born now");
        assert_eq!(block.pack()[0] as u16, Block::key(address));
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        check(0, 0, 0, 0, 0);
        check(0x7fff_ffff_fff8, 1, 1, u64::MAX, 19);
        check(0x5555_0001_0010, BLOCK_SIZE_MAX, (1 << STACK_BITS) - 1, 1 << 20, crate::RATE_MAX);
        assert_eq!(Block::unpack([0, 7]), None);
        assert_eq!(Block::unpack([SLOT_LEFT, 7]), None);
        assert_eq!(Block::unpack([SLOT_CLAIMED, 7]), None);
    }

    #[test]
    fn a_larger_size_is_stored_as_the_largest() {
        assert_eq!(Block::new(8, u64::MAX, 5, 6, 0).size, BLOCK_SIZE_MAX);
    }

    #[test]
    fn blocks_of_a_span_have_different_keys_and_marks_are_none() {
        let keys: std::collections::BTreeSet<u16> =
            (0..1 << 13).map(|i| Block::key(0x7000_0000_0000 + i * 8)).collect();
        assert_eq!(keys.len(), 1 << 13);
        assert!(keys.iter().all(|key| key & 1 == 1 && u64::from(*key) < SLOT_LEFT));
    }

    #[test]
    fn ages_survive_the_wrap_of_the_clock_and_are_never_negative() {
        let tick = 1 << 57;
        let block = Block::new(8, 1, 1, tick - (1 << 20), 0);
        assert_eq!(block.age(tick + (1 << 20)), 1 << 21);
        assert_eq!(block.age(tick - (1 << 21)), 0, "seen by a clock that is behind");
    }
}
