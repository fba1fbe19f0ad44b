//! One live block, as it stands in the shadow of the heap.
//!
//! Owns: how size, stack and birth are packed into two words. Must not know: where the entry lies.

/// Sizes from here on are stored as this one; no machine of today allocates 128 GiB in one block.
pub const BLOCK_SIZE_MAX: u64 = (1 << 37) - 1;

const STACK_BITS: u32 = 24;

/// A live block. The two words are written birth first; a first word of zero means that there is no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Bits 3 and 4 of the address, which the granule does not tell.
    pub low: u64,
    /// Requested size in bytes, at most [`BLOCK_SIZE_MAX`].
    pub size: u64,
    /// Stack that allocated it.
    pub stack: u32,
    /// Time stamp counter at its birth.
    pub birth: u64,
}

impl Block {
    /// The two words; the first is never zero.
    #[inline]
    pub const fn pack(self) -> [u64; 2] {
        let size = if self.size > BLOCK_SIZE_MAX { BLOCK_SIZE_MAX } else { self.size };
        let stack = self.stack as u64 & ((1 << STACK_BITS) - 1);
        [1 | (self.low & 0b11) << 1 | stack << 3 | size << (3 + STACK_BITS), self.birth]
    }

    /// The block, or none where the first word says that there is none.
    #[inline]
    pub const fn unpack(words: [u64; 2]) -> Option<Self> {
        if words[0] & 1 == 0 {
            return None;
        }
        Some(Self {
            low: words[0] >> 1 & 0b11,
            size: words[0] >> (3 + STACK_BITS),
            stack: (words[0] >> 3) as u32 & ((1 << STACK_BITS) - 1),
            birth: words[1],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(block: Block) {
        assert_eq!(Block::unpack(block.pack()), Some(block));
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        check(Block { low: 0, size: 0, stack: 0, birth: 0 });
        check(Block { low: 3, size: 1, stack: 1, birth: u64::MAX });
        check(Block { low: 2, size: BLOCK_SIZE_MAX, stack: (1 << STACK_BITS) - 1, birth: 1 });
        assert_eq!(Block::unpack([0, 7]), None);
    }

    #[test]
    fn a_larger_size_is_stored_as_the_largest() {
        let block = Block { low: 0, size: u64::MAX, stack: 5, birth: 6 };
        assert_eq!(Block::unpack(block.pack()), Some(Block { size: BLOCK_SIZE_MAX, ..block }));
    }
}
