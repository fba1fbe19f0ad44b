//! The live blocks, counted for the stacks that made them.
//!
//! Owns: what a thread counts when a block is born and when it goes. Must not know: which function was called, how stacks are
//! found, or where blocks are kept.

use core::sync::atomic::Ordering::Relaxed;

use wire::{Block, COUNTERS_BYTES, STACKS_MAX, SiteCounters, regions};

use crate::record::Thread;
use crate::shared::add;
use crate::table::{self, Home, Put};

/// Looks up where a block will be put, before the stack is: the memory it is in may take as long to come.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) fn expect(thread: Thread, address: u64) -> Home {
    table::home(thread.shared, address)
}

/// Counts a new block.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) fn insert(thread: Thread, home: Home, address: u64, size: u64, stack: u32) {
    let figures = &thread.record.figures;
    thread.keep_time(add(&figures.allocations, 1));
    add(&thread.record.bytes, size);
    let block = Block::new(address, size, stack, thread.now());
    match table::put(thread, home, address, block) {
        Put::Done => {}
        Put::Replaced(before) => replace(thread, before),
        Put::NoRoom => {
            add(&figures.blocks_unrecorded, 1);
            return;
        }
    }
    let counters = counters(thread, stack);
    add(&counters.allocated, 1);
    add(&counters.allocated_bytes, block.size);
}

/// Takes a block that is about to be freed out of the table; none where it is older than the attach.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) fn take(thread: Thread, address: u64) -> Option<Block> {
    table::take(thread.shared, address)
}

/// Puts a block back whose `realloc` failed.
pub(crate) fn restore(thread: Thread, address: u64, block: Block) {
    if table::put(thread, expect(thread, address), address, block) == Put::NoRoom {
        // It was counted as allocated; there it is as good as gone.
        replace(thread, block);
    }
}

/// Counts the free of a block that was taken.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) fn count_free(thread: Thread, taken: Option<Block>) {
    let figures = &thread.record.figures;
    thread.keep_time(add(&figures.frees, 1));
    let Some(block) = taken else {
        add(&figures.frees_of_older, 1);
        return;
    };
    let life = block.age(thread.now());
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
fn replace(thread: Thread, before: Block) {
    add(&thread.record.figures.blocks_replaced, 1);
    let counters = counters(thread, before.stack);
    add(&counters.replaced, 1);
    add(&counters.replaced_bytes, before.size);
}

#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn counters(thread: Thread, stack: u32) -> &'static SiteCounters {
    let stack = if (stack as usize) < STACKS_MAX { u64::from(stack) } else { 0 };
    let row = regions::COUNTERS.at + u64::from(thread.number()) * regions::COUNTERS_PER_THREAD;
    thread.shared.at(row + stack * COUNTERS_BYTES)
}
