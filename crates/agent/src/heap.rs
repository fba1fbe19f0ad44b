//! The live blocks, counted for the stacks that made them.
//!
//! Owns: what a thread counts when a block is born and when it goes. Must not know: which function was called, how stacks are
//! found, or where blocks are kept.

use core::sync::atomic::Ordering::Relaxed;

use wire::{
    Block, COUNTERS_BYTES, Cell, SAMPLED_BYTES, STACKS_MAX, SampledCounters, SampledSum, SiteCounters, Slot, Weight,
    is_large, regions, weigh,
};

use crate::marks;
use crate::record::Thread;
use crate::shared::{Shared, add};
use crate::table::{self, Span, Taken};

/// Counts a new block that is recorded for itself, if it can be put where it is looked for first; false where nothing was done.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) fn insert_near(thread: Thread, address: u64, size: u64, stack: u32) -> bool {
    let span = Span::of(address);
    let is_done = size < Cell::SIZE_END
        && marks::is_kept(thread.shared, span)
        && table::put_near(thread, span, address, size, stack);
    if is_done {
        count_exact(thread, size, stack);
    }
    is_done
}

/// Counts a new block that is recorded for itself.
#[inline(never)]
pub(crate) fn insert(thread: Thread, address: u64, size: u64, stack: u32) {
    let block = Block::new(address, size, stack, thread.now(), 0);
    make_way(thread, address);
    marks::keep(thread.shared, address, is_large(address, size));
    if put(thread, address, block) {
        count_exact(thread, size, stack);
    } else {
        add(&thread.record.bytes, size);
    }
}

#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn count_exact(thread: Thread, size: u64, stack: u32) {
    add(&thread.record.bytes, size);
    let counters = counters(thread, stack);
    add(&counters.allocated, 1);
    add(&counters.allocated_bytes, size);
}

/// Counts a new block that was sampled at a rate.
#[cold]
#[inline(never)]
pub(crate) fn insert_sampled(thread: Thread, address: u64, size: u64, stack: u32, rate: u32) {
    // So many calls may have passed that the last reading is long past.
    thread.read_time();
    let weight = weigh(size, rate);
    add(&thread.record.bytes, weight.bytes);
    let block = Block::new(address, size, stack, thread.now(), rate);
    make_way(thread, address);
    marks::add(thread.shared, address);
    if put(thread, address, block) {
        add_sample(&sampled(thread, stack).allocated, weight);
    } else {
        marks::remove(thread.shared, address);
    }
}

/// Takes out a block whose free went unseen, as far as marks lead to one: before that of the new one is set, which would let a large one
/// be looked for where it cannot be, and so make pages of the table.
fn make_way(thread: Thread, address: u64) {
    let before = take(thread, address);
    if before.is_block() {
        replace(thread, address, before);
    }
}

/// Puts a block in where none is any more; false where there is no room.
fn put(thread: Thread, address: u64, block: Block) -> bool {
    let is_in = place(thread, address, block);
    if !is_in {
        add(&thread.record.figures.blocks_unrecorded, 1);
    }
    is_in
}

fn place(thread: Thread, address: u64, block: Block) -> bool {
    if is_large(address, block.size) {
        table::put_large(thread, address, block)
    } else {
        table::put(thread, address, block.pack())
    }
}

/// What became of a block that is about to be freed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Freed {
    /// It was taken out and counted.
    Counted,
    /// The same, but for its lifetime, of which there is more to say: the counters, the lifetime and the size.
    Lived(&'static SiteCounters, u64, u64),
    /// Nothing was done.
    Not,
}

/// Takes a block that is about to be freed out of the table, if it is where it is looked for first, and counts it.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) fn free_near(thread: Thread, address: u64) -> Freed {
    let span = Span::of(address);
    // Even to look for one that is not there would make a page of the table, in the midst of large blocks.
    if !marks::is_kept(thread.shared, span) {
        return Freed::Not;
    }
    let (stack, size, life) = match table::take_near(thread.shared, span, address, thread.ages()) {
        Taken::Slot(slot) => (slot.stack(), slot.small_size(), slot.small_age(thread.now())),
        Taken::Cell(cell, age) => (cell.stack(), cell.size(), age),
        Taken::Not => return Freed::Not,
    };
    let counters = counters(thread, stack);
    count_free(counters, size, life);
    if is_outside(counters, life) || is_late(thread, life) {
        return Freed::Lived(counters, life, size);
    }
    Freed::Counted
}

/// What is left to count of a block that [lived](Freed::Lived) so long or so short.
pub(crate) fn count_lived(shared: Shared, counters: &SiteCounters, life: u64, size: u64) {
    widen_range(counters, life);
    if life >= shared.control().expire_ticks.load(Relaxed) {
        add(&counters.late, 1);
        add(&counters.late_bytes, size);
    }
}

/// Whether a block may be in the table; if not, there is nothing to take.
pub(crate) fn may_hold(shared: Shared, address: u64) -> bool {
    let (may_be_there, may_be_large) = marks::kinds(shared, address);
    // To look for large blocks makes no pages of the table: first that.
    may_be_large && table::holds_large(shared, address) || may_be_there && table::may_hold(shared, address)
}

/// Takes a block that is about to be freed out of the table; [`Slot::NONE`] where it is older than the attach.
pub(crate) fn take(thread: Thread, address: u64) -> Slot {
    let (may_be_there, may_be_large) = marks::kinds(thread.shared, address);
    let large = if may_be_large { table::take_large(thread, address) } else { Slot::NONE };
    if large.is_block() || !may_be_there { large } else { table::take(thread, address) }
}

/// Puts a block back whose `realloc` failed.
pub(crate) fn restore(thread: Thread, address: u64, slot: Slot) {
    let block = slot.block();
    if block.rate == 0 {
        // leakline may just have seen its part of the memory without it.
        marks::keep(thread.shared, address, is_large(address, block.size));
    }
    if !place(thread, address, block) {
        // It was counted as allocated; there it is as good as gone.
        replace(thread, address, slot);
    }
}

/// Counts what becomes of a block that was taken.
pub(crate) fn count_taken(thread: Thread, address: u64, taken: Slot) {
    match taken.unpack() {
        None => {
            add(&thread.record.figures.frees_of_older, 1);
        }
        Some(block) if block.rate == 0 => count_exact_free(thread, block.stack, block.size, taken.age(thread.now())),
        Some(block) => {
            marks::remove(thread.shared, address);
            count_sampled_free(thread, block);
        }
    }
}

/// Counts the free of a block that is recorded for itself.
fn count_exact_free(thread: Thread, stack: u32, size: u64, life: u64) {
    let counters = counters(thread, stack);
    count_free(counters, size, life);
    count_lived(thread.shared, counters, life, size);
}

/// The same but for what is rare.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn count_free(counters: &SiteCounters, size: u64, life: u64) {
    add(&counters.freed, 1);
    add(&counters.freed_bytes, size);
    add(&counters.life_sum, life);
}

#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn is_late(thread: Thread, life: u64) -> bool {
    life >= thread.shared.control().expire_ticks.load(Relaxed)
}

/// Whether no lifetime was so short, or so long.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn is_outside(counters: &SiteCounters, life: u64) -> bool {
    // Of no lifetime yet the shortest is the greatest number, and nothing is in the range from there on.
    let above_min = life.wrapping_sub(!counters.life_min_complement.load(Relaxed));
    above_min > counters.life_range.load(Relaxed)
}

/// Makes the range of lifetimes hold one that it does not.
#[cold]
#[inline(never)]
fn widen_range(counters: &SiteCounters, life: u64) {
    if !is_outside(counters, life) {
        return;
    }
    let min = !counters.life_min_complement.load(Relaxed);
    let max = if min == u64::MAX { life } else { min.saturating_add(counters.life_range.load(Relaxed)) };
    let (min, max) = (min.min(life), max.max(life));
    counters.life_min_complement.store(!min, Relaxed);
    counters.life_range.store(max - min, Relaxed);
}

fn count_sampled_free(thread: Thread, block: Block) {
    thread.read_time();
    let life = block.age(thread.now());
    let counters = counters(thread, block.stack);
    add(&counters.life_sum, life);
    widen_range(counters, life);
    let (sampled, weight) = (sampled(thread, block.stack), weigh(block.size, block.rate));
    add_sample(&sampled.freed, weight);
    if is_late(thread, life) {
        add_sample(&sampled.late, weight);
    }
}

/// Adds what a sampled block stands for.
#[cold]
#[inline(never)]
fn add_sample(sum: &SampledSum, weight: Weight) {
    add(&sum.samples, 1);
    add(&sum.blocks, weight.blocks);
    add(&sum.bytes, weight.bytes);
    add(&sum.blocks_variance, weight.blocks_variance);
    add(&sum.bytes_variance, weight.bytes_variance);
}

/// The allocator gave out an address that was still in the table: its free went unseen. Counted, so that what is live stays
/// the difference of the other figures.
#[cold]
fn replace(thread: Thread, address: u64, before: Slot) {
    let before = before.block();
    add(&thread.record.figures.blocks_replaced, 1);
    if before.rate == 0 {
        let counters = counters(thread, before.stack);
        add(&counters.replaced, 1);
        add(&counters.replaced_bytes, before.size);
    } else {
        marks::remove(thread.shared, address);
        let sampled = sampled(thread, before.stack);
        add_sample(&sampled.freed, weigh(before.size, before.rate));
        add(&sampled.replaced, 1);
    }
}

#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn counters(thread: Thread, stack: u32) -> &'static SiteCounters {
    let number = thread.counters_before() | stack & (STACKS_MAX as u32 - 1);
    thread.shared.at(regions::COUNTERS.at + u64::from(number) * COUNTERS_BYTES)
}

fn sampled(thread: Thread, stack: u32) -> &'static SampledCounters {
    let number = thread.counters_before() | stack & (STACKS_MAX as u32 - 1);
    thread.shared.at(regions::SAMPLED.at + u64::from(number) * SAMPLED_BYTES)
}

const _: () = assert!(STACKS_MAX.is_power_of_two(), "stacks are masked, not compared");
