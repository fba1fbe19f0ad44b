//! What a thread does between its calls: it takes over what has changed, reads the clock, and decides which calls are timed.
//!
//! Owns: counting calls. Must not know: hooks, tables, what is recorded of a block.
//!
//! A call that has nothing to do of this finds that out by two readings: of the turn, which leakline moves on, and of the calls
//! that are left until the thread next looks up. The stubs do the same by themselves; they leave a call in which there is more to do
//! to its hook, and uncounted.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wire::{Mode, calls_made};

use crate::record::Thread;
use crate::sampling;
use crate::shared::add;
use crate::stack;

/// Calls between two that are timed: at least so many, and up to twice as many.
const GAP: u64 = 171;
/// The same for calls that allocate while blocks are sampled. A call that passes takes 2 ns, and one that is timed runs code
/// that has left the caches: with this gap the agent took 0.36 % of redis's time under load, with the other one 0.65.
const GAP_PASSING: u64 = 8 * GAP;
/// How many calls of a thread one reading of the clock serves at most, where every block is recorded: a few microseconds' worth.
const CLOCK_USES: u64 = 64;

/// Takes over what changed since the thread last looked.
#[inline]
pub(crate) fn catch_up(thread: Thread) {
    let now = thread.shared.control().state_and_turn();
    if thread.record.figures.seen.load(Relaxed) != now {
        take_over(thread, now);
    }
}

#[cold]
#[inline(never)]
fn take_over(thread: Thread, now: u64) {
    thread.read_time();
    stack::take_over(thread);
    let mode = Mode::of((now >> 32) as u32);
    if thread.record.figures.mode.load(Relaxed) != mode.rate() {
        give_back(thread);
    }
    sampling::take_over(thread, mode);
    thread.shared.take_over(mode);
    // Last: a signal handler's calls are nested, but its thread may never come back here.
    thread.record.figures.seen.store(now, Relaxed);
}

/// Takes back the calls that were counted in advance and did not come: in the other mode the thread looks up sooner.
fn give_back(thread: Thread) {
    let figures = &thread.record.figures;
    let made = calls_made(figures.allocations.load(Relaxed), figures.allocations_left.load(Relaxed));
    figures.allocations.store(made, Relaxed);
    figures.allocations_left.store(0, Relaxed);
}

/// Counts a call that allocates; whether it is to be timed.
#[inline]
pub(crate) fn count_allocation(thread: Thread) -> bool {
    let figures = &thread.record.figures;
    let counted = [&figures.allocations_left, &figures.allocations, &figures.allocation_timed_at];
    count(thread, counted, GAP_PASSING)
}

/// Counts a call that frees; whether it is to be timed.
#[inline]
pub(crate) fn count_free(thread: Thread) -> bool {
    let figures = &thread.record.figures;
    // Those that are counted while blocks are sampled look for their block, and are few.
    count(thread, [&figures.frees_left, &figures.frees, &figures.free_timed_at], GAP)
}

/// Takes back that a call was counted.
pub(crate) fn uncount_free(thread: Thread) {
    add(&thread.record.figures.frees_left, 1);
}

#[inline]
fn count(thread: Thread, figures: [&AtomicU64; 3], gap_sampled: u64) -> bool {
    catch_up(thread);
    let [left, counted, timed_at] = figures;
    let calls = left.load(Relaxed);
    if calls == 0 {
        return look_up(thread, [left, counted, timed_at], gap_sampled);
    }
    left.store(calls - 1, Relaxed);
    false
}

/// Counts a call, and those to come until the thread has to look up again. The next one to be timed comes after a gap that nobody can
/// foresee.
#[cold]
#[inline(never)]
fn look_up(thread: Thread, [left, counted, timed_at]: [&AtomicU64; 3], gap_sampled: u64) -> bool {
    thread.read_time();
    let made = counted.load(Relaxed);
    let is_due = made >= timed_at.load(Relaxed);
    let is_exact = thread.record.figures.mode.load(Relaxed) == 0;
    let (gap, most) = if is_exact { (GAP, CLOCK_USES) } else { (gap_sampled, 2 * gap_sampled) };
    if is_due {
        timed_at.store(made + gap + sampling::random(thread) % gap, Relaxed);
    }
    let calls = timed_at.load(Relaxed).saturating_sub(made).min(most).max(1);
    left.store(calls - 1, Relaxed);
    counted.store(made + calls, Relaxed);
    is_due
}
