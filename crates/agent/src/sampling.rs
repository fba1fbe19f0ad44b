//! Which blocks are recorded: all of them, or a sample.
//!
//! Owns: each thread's countdown to its next sample. Must not know: what is recorded of a block.
//!
//! A call whose block is not sampled reads and writes one cache line of its thread, subtracts and goes on. The mode is looked at
//! in every call, so that all threads follow a change at once, whatever is left of their countdowns: distances have no
//! memory, so a countdown may be thrown away at any time without a bias.

use core::sync::atomic::Ordering::Relaxed;

use wire::{Mode, RATE_MAX, RATE_MIN, distance};

use crate::arch;
use crate::record::Thread;
use crate::shared::add;

/// Whether a block of so many bytes is not the one that is sampled next. Nothing is left while every block is recorded.
#[inline]
pub(crate) fn passes(thread: Thread, size: u64) -> bool {
    size < thread.record.figures.countdown.load(Relaxed)
}

/// How a block of this size is recorded: 0 for as itself, or the rate at which it was sampled; none if it is not.
#[inline]
pub(crate) fn choose(thread: Thread, size: u64) -> Option<u32> {
    let figures = &thread.record.figures;
    let rate = figures.mode.load(Relaxed);
    if rate == 0 {
        return Some(0);
    }
    let left = figures.countdown.load(Relaxed);
    if size < left {
        figures.countdown.store(left - size - 1, Relaxed);
        return None;
    }
    let rate = rate.clamp(RATE_MIN, RATE_MAX);
    figures.countdown.store(draw(thread, rate), Relaxed);
    add(&figures.samples, 1);
    Some(rate)
}

/// Takes over a mode. Where the rate is another one, what is left until the next sample is drawn anew.
pub(crate) fn take_over(thread: Thread, mode: Mode) {
    let figures = &thread.record.figures;
    if figures.mode.load(Relaxed) != mode.rate() {
        let left = if mode.rate() == 0 { 0 } else { draw(thread, mode.rate().clamp(RATE_MIN, RATE_MAX)) };
        figures.countdown.store(left, Relaxed);
    }
    figures.mode.store(mode.rate(), Relaxed);
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
