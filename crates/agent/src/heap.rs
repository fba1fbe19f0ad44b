//! The live blocks: a shadow of the target's heap, one entry per granule, found by the block's own address.
//!
//! Owns: inserting and taking blocks, and counting both for their stacks.
//! Must not know: which function was called, or how stacks are found.
//!
//! No lock is needed: a block belongs to whoever the allocator gave it to, so only one thread at a time can insert or take
//! it. An entry is written birth first, so that a reader never sees a block with the birth of another.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::Release};

use wire::{Block, CHUNK_SPAN_SHIFT, COUNTERS_BYTES, STACKS_MAX, SiteCounters, chunk_shift, regions};

use crate::record::Thread;
use crate::shared::{Shared, add};

const ADDRESS_MAX: u64 = 1 << 47;

/// Counts a new block.
#[inline]
pub(crate) fn insert(thread: Thread, address: u64, size: u64, stack: u32) {
    let figures = &thread.record.figures;
    add(&figures.allocations, 1);
    let counters = counters(thread, stack);
    let Some(entry) = entry(thread.shared, address, true) else {
        add(&figures.blocks_unrecorded, 1);
        return;
    };
    let before = entry[0].load(Relaxed);
    if before & 1 != 0 {
        replace(thread, [before, 0]);
    }
    add(&counters.allocated, 1);
    add(&counters.allocated_bytes, size.min(wire::BLOCK_SIZE_MAX));
    put(entry, Block { low: address >> 3 & 0b11, size, stack, birth: thread.now() }.pack());
}

/// Takes a block that is about to be freed out of the table; none where it is older than the attach.
#[inline]
pub(crate) fn take(thread: Thread, address: u64) -> Option<Block> {
    let entry = entry(thread.shared, address, false)?;
    let first = entry[0].load(Relaxed);
    let block = Block::unpack([first, entry[1].load(Relaxed)])?;
    if block.low != address >> 3 & 0b11 {
        return None;
    }
    entry[0].store(0, Relaxed);
    Some(block)
}

/// Puts a block back whose `realloc` failed.
pub(crate) fn restore(thread: Thread, address: u64, block: Block) {
    if let Some(entry) = entry(thread.shared, address, false) {
        put(entry, block.pack());
    }
}

/// Counts the free of a block that was taken.
#[inline]
pub(crate) fn count_free(thread: Thread, taken: Option<Block>) {
    let figures = &thread.record.figures;
    add(&figures.frees, 1);
    let Some(block) = taken else {
        add(&figures.frees_of_older, 1);
        return;
    };
    let life = thread.now().saturating_sub(block.birth);
    let counters = counters(thread, block.stack);
    add(&counters.freed, 1);
    add(&counters.freed_bytes, block.size);
    add(&counters.life_sum, life);
    if !life > counters.life_min_complement.load(Relaxed) {
        counters.life_min_complement.store(!life, Relaxed);
    }
    if life > counters.life_max.load(Relaxed) {
        counters.life_max.store(life, Relaxed);
    }
    if life >= thread.shared.control().expire_ticks.load(Relaxed) {
        add(&counters.late, 1);
        add(&counters.late_bytes, block.size);
    }
}

/// The allocator gave out an address that was still in the table: its free went unseen. Counted, so that what is live stays
/// the difference of the other figures.
#[cold]
fn replace(thread: Thread, before: [u64; 2]) {
    add(&thread.record.figures.blocks_replaced, 1);
    if let Some(old) = Block::unpack(before) {
        let counters = counters(thread, old.stack);
        add(&counters.replaced, 1);
        add(&counters.replaced_bytes, old.size);
    }
}

#[inline]
fn put(entry: &[AtomicU64; 2], words: [u64; 2]) {
    entry[1].store(words[1], Relaxed);
    entry[0].store(words[0], Release);
}

#[inline]
fn counters(thread: Thread, stack: u32) -> &'static SiteCounters {
    let stack = if (stack as usize) < STACKS_MAX { u64::from(stack) } else { 0 };
    let row = regions::COUNTERS.at + u64::from(thread.number) * regions::COUNTERS_PER_THREAD;
    thread.shared.at(row + stack * COUNTERS_BYTES)
}

/// The entry of a block; none where its chunk has no shadow (and, if `make`, there is no room for one).
#[inline]
fn entry(shared: Shared, address: u64, make: bool) -> Option<&'static [AtomicU64; 2]> {
    if address >= ADDRESS_MAX {
        return None;
    }
    let place: &AtomicU32 = shared.at(regions::DIRECTORY.at + (address >> CHUNK_SPAN_SHIFT) * 4);
    let mut chunk = place.load(Relaxed);
    if chunk == 0 {
        if !make {
            return None;
        }
        chunk = new_chunk(shared, place)?;
    }
    if chunk >= shared.control().chunks_max.load(Relaxed) {
        return None;
    }
    let granule = shared.control().granule_shift.load(Relaxed) & 7;
    let inside = (address & ((1 << CHUNK_SPAN_SHIFT) - 1)) >> granule;
    Some(shared.at(regions::SHADOW_AT + (u64::from(chunk) << chunk_shift(granule)) + inside * 16))
}

#[cold]
fn new_chunk(shared: Shared, place: &AtomicU32) -> Option<u32> {
    let control = shared.control();
    let next = &control.shadow.chunks;
    if next.load(Relaxed) >= control.chunks_max.load(Relaxed) {
        return None;
    }
    let chunk = next.fetch_add(1, Relaxed);
    if chunk >= control.chunks_max.load(Relaxed) {
        return None;
    }
    match place.compare_exchange(0, chunk, Relaxed, Relaxed) {
        Ok(_) => Some(chunk),
        Err(other) => Some(other),
    }
}
