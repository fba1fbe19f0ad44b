//! Which parts of the target's memory hold recorded blocks, so that the free of one that is not recorded finds that out by one reading.
//!
//! Owns: what a mark says, and where it lies. Must not know: who sets it.
//!
//! While blocks are sampled hardly any is recorded, but nearly every place in a heap was held by a sampled block at some time:
//! a mark therefore counts them. Another bit says that there are large ones, so that nobody looks for those where the others are found and makes
//! pages of the table by looking. A part where a block was recorded while every one was keeps a mark of its own, until leakline takes it
//! away.

use crate::layout::{ADDRESS_BITS, regions};

/// Binary logarithm of the bytes that share a mark. At a rate of 512 KiB one part in 32 holds a sampled block, and so many frees look in vain; marks for
/// smaller parts would take more memory than all else that is kept of large blocks.
pub const MARK_SHIFT: u32 = 14;
/// The bits of a mark that count the sampled blocks that begin in its part. A count that got so far stays there.
pub const MARK_COUNT_MAX: u8 = 0x3f;
/// There may be [large](crate::is_large) blocks that were recorded while every block was.
pub const MARK_LARGE: u8 = 0x40;
/// There may be others that were.
pub const MARK_EXACT: u8 = 0x80;

/// The offset of the mark of a block in the file.
#[inline]
pub const fn mark_at(address: u64) -> u64 {
    regions::MARKS.at + ((address & ((1 << ADDRESS_BITS) - 1)) >> MARK_SHIFT)
}

const _: () = assert!(regions::MARKS.at < 1 << 31, "an instruction reaches the marks from the beginning of the file");
