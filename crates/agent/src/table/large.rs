//! Large blocks: so few for the addresses they take that a bucket of their own for each span would cost more than all else.
//!
//! Owns: the chains of buckets of larger parts of the addresses. Must not know: spans.
//!
//! The buckets belong to nobody: slots are claimed by an atomic exchange, which is little beside what an allocator does for such blocks.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed};

use wire::{ADDRESS_BITS, Block, Bucket, LARGE_SHIFT, LINE_SLOTS, SPAN_SHIFT, Slot, regions};

use super::{LAST, Line, chain, chained, claim_in, empty, line, new_bucket};
use crate::record::Thread;
use crate::shared::Shared;

/// Lines of a bucket that are looked at for one block.
const LINES_PROBED: u32 = 8;

fn first(shared: Shared, address: u64) -> &'static AtomicU32 {
    let part = (address & ((1 << ADDRESS_BITS) - 1)) >> LARGE_SHIFT;
    shared.at(regions::LARGE.at + part * 4)
}

/// The lines of a bucket in which a block may be, in the order in which they are filled.
fn lines_of(shared: Shared, bucket: Bucket, address: u64) -> impl Iterator<Item = &'static Line> {
    let lines = bucket.lines().max(1);
    let home = (address >> SPAN_SHIFT) as u32 % lines;
    (0..lines.min(LINES_PROBED)).map(move |step| line(shared, bucket.line((home + step) % lines)))
}

/// Puts in a large block that the calling thread was given; false where there is no room for it.
#[cold]
#[inline(never)]
pub(crate) fn put_large(thread: Thread, address: u64, block: Block) -> bool {
    if address >> ADDRESS_BITS != 0 {
        return false;
    }
    let (shared, slot, first) = (thread.shared, Slot::large(address, block), first(thread.shared, address));
    let claim = |bucket: Bucket| lines_of(shared, bucket, address).any(|line| claim_in(line, slot));
    if chained(shared, first).any(claim) {
        return true;
    }
    // As many as there are: of five blocks a second line is enough.
    let lines = chained(shared, first).map(Bucket::lines).sum::<u32>().clamp(1, Bucket::LINES_MAX);
    let Some(bucket) = new_bucket(thread, lines, Bucket::SHARED) else { return false };
    // It is filled before it is seen, so that whoever gets here at the same time leaves room in it.
    claim(bucket) && chain(shared, first, bucket)
}

/// Whether there is a large block at an address.
#[cold]
#[inline(never)]
pub(crate) fn holds_large(shared: Shared, address: u64) -> bool {
    let is_here = |word: &AtomicU64| Slot::is_first_of_large(word.load(Acquire), address);
    wire::is_large(address, wire::LARGE_MIN)
        && chained(shared, first(shared, address))
            .any(|bucket| lines_of(shared, bucket, address).any(|line| line.first.iter().any(is_here)))
}

/// Takes out a large block that is about to be freed; [`Slot::NONE`] where it is not there.
#[cold]
#[inline(never)]
pub(crate) fn take_large(thread: Thread, address: u64) -> Slot {
    let shared = thread.shared;
    if !wire::is_large(address, wire::LARGE_MIN) {
        // The key of another one could be the same.
        return Slot::NONE;
    }
    chained(shared, first(shared, address)).find_map(|bucket| take_from(shared, bucket, address)).unwrap_or(Slot::NONE)
}

fn take_from(shared: Shared, bucket: Bucket, address: u64) -> Option<Slot> {
    for line in lines_of(shared, bucket, address) {
        let is_here = |slot: &usize| Slot::is_first_of_large(line.first[*slot].load(Acquire), address);
        if let Some(slot) = (0..LINE_SLOTS).find(is_here) {
            return Some(empty(line, slot));
        }
        if line.first[LAST].load(Relaxed) == 0 {
            return None;
        }
    }
    None
}
