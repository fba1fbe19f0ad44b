//! Which blocks are recorded: all of them, or a sample.
//!
//! Owns: each thread's countdown to its next sample. Must not know: what is recorded of a block.
//!
//! A call whose block is not sampled reads and writes one cache line of its thread, subtracts and goes on. The mode is looked at
//! in every call, so that all threads follow a change at once, whatever is left of their countdowns: distances have no
//! memory, so a countdown may be thrown away at any time without a bias.

use core::sync::atomic::Ordering::Relaxed;

use wire::{RATE_MAX, RATE_MIN, distance};

use crate::arch;
use crate::record::Thread;
use crate::shared::add;

/// Whether a call that allocates `size` bytes passes without a record and without being timed; then it is counted.
#[inline]
pub(crate) fn passes(thread: Thread, size: u64) -> bool {
    if !would_pass(thread, size) {
        return false;
    }
    let figures = &thread.record.figures;
    figures.countdown.store(figures.countdown.load(Relaxed) - size - 1, Relaxed);
    add(&figures.allocations, 1);
    true
}

/// The question of [`passes`] alone.
#[inline]
pub(crate) fn would_pass(thread: Thread, size: u64) -> bool {
    let figures = &thread.record.figures;
    // Nothing is left while every block is recorded.
    size < figures.countdown.load(Relaxed)
        && figures.allocations.load(Relaxed) < figures.allocation_timed_at.load(Relaxed)
        && figures.mode.load(Relaxed) == thread.shared.control().mode.load(Relaxed)
}

/// Whether every block is recorded, and the thread knows it.
#[inline]
pub(crate) fn is_exact(thread: Thread) -> bool {
    thread.record.figures.mode.load(Relaxed) | thread.shared.control().mode.load(Relaxed) == 0
}

/// How a block of this size is recorded: 0 for as itself, or the rate at which it was sampled; none if it is not.
#[inline]
pub(crate) fn choose(thread: Thread, size: u64) -> Option<u32> {
    let figures = &thread.record.figures;
    let mode = thread.shared.control().mode.load(Relaxed);
    if figures.mode.load(Relaxed) != mode {
        change(thread, mode);
    }
    if mode == 0 {
        return Some(0);
    }
    let left = figures.countdown.load(Relaxed);
    if size < left {
        figures.countdown.store(left - size - 1, Relaxed);
        return None;
    }
    let rate = mode.clamp(RATE_MIN, RATE_MAX);
    figures.countdown.store(draw(thread, rate), Relaxed);
    add(&figures.samples, 1);
    Some(rate)
}

/// Takes over another mode.
#[cold]
fn change(thread: Thread, mode: u32) {
    let left = if mode == 0 { 0 } else { draw(thread, mode.clamp(RATE_MIN, RATE_MAX)) };
    thread.record.figures.countdown.store(left, Relaxed);
    thread.record.figures.mode.store(mode, Relaxed);
}

/// Bytes that pass before the next one is sampled.
fn draw(thread: Thread, rate: u32) -> u64 {
    distance(random(thread), rate) - 1
}

/// The next random word of this thread: the generator "xorshift64*".
pub(crate) fn random(thread: Thread) -> u64 {
    let state = &thread.record.figures.random;
    let mut word = state.load(Relaxed);
    if word == 0 {
        // Threads must not draw the same numbers. One is added since zero is the state that never leaves itself.
        word = (arch::ticks() ^ arch::thread_pointer().rotate_left(32)) | 1;
    }
    word ^= word >> 12;
    word ^= word << 25;
    word ^= word >> 27;
    state.store(word, Relaxed);
    word.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

#[cfg(test)]
mod tests;
