//! Threads that somebody has to join: until then their stacks are kept.
//!
//! Owns: which are neither joined nor detached, and which of them have ended. Must not know: how their memory is read.
//!
//! The C library keeps stacks of joined threads for the next ones, so that a stack that stays mapped proves nothing.

use std::collections::HashMap;
use std::ops::Range;

use super::sums::{Held, Origin, Sums};

/// Threads that are kept track of; the kernel allows fewer.
const THREADS_MAX: usize = 1 << 17;

#[derive(Debug)]
struct Thread {
    origin: Origin,
    bytes: u64,
    ended: bool,
}

/// All threads that are to be joined.
#[derive(Debug, Default)]
pub(super) struct Threads {
    /// By their handles.
    unjoined: HashMap<u64, Thread>,
    /// Threads that are just making one, and what was mapped for its stack.
    making: HashMap<u32, Option<Range<u64>>>,
    /// Sizes of stacks that were used before, by the handle that they give.
    sizes: HashMap<u64, u64>,
    pub(super) is_musl: bool,
    pub(super) refused: u64,
}

impl Threads {
    /// A thread is about to make another.
    pub(super) fn begin(&mut self, by: u32) {
        self.making.insert(by, None);
    }

    pub(super) fn is_making(&self, by: u32) -> bool {
        self.making.contains_key(&by)
    }

    /// Something was mapped for the new thread.
    pub(super) fn mapped(&mut self, by: u32, range: Range<u64>) {
        self.making.insert(by, Some(range));
    }

    /// It was made; gives what was mapped for it.
    pub(super) fn end(&mut self, by: u32) -> Option<Range<u64>> {
        self.making.remove(&by).flatten()
    }

    /// The size of the stack that gives this handle, if it was used before.
    pub(super) fn size_of(&self, handle: u64) -> Option<u64> {
        self.sizes.get(&handle).copied()
    }

    /// A thread that is to be joined.
    pub(super) fn add(&mut self, handle: u64, bytes: Option<u64>, origin: Origin, sums: &mut Sums) {
        // The handle was given out anew: whoever had it was joined unseen.
        self.release(handle, origin.birth, sums);
        if self.unjoined.len() >= THREADS_MAX || self.sizes.len() >= THREADS_MAX {
            self.refused += 1;
            return;
        }
        let bytes = bytes.unwrap_or(0);
        self.sizes.insert(handle, bytes);
        self.unjoined.insert(handle, Thread { origin, bytes, ended: false });
        sums.make(origin.key, bytes);
    }

    /// Somebody joins or detaches it.
    pub(super) fn release(&mut self, handle: u64, at: u64, sums: &mut Sums) {
        if let Some(thread) = self.unjoined.remove(&handle) {
            sums.end(thread.origin, thread.bytes, true, at);
        }
    }

    /// Looks which have ended: the kernel clears a thread's number when it ends.
    pub(super) fn compare(&mut self, thread_number: impl Fn(u64) -> Option<u32>) {
        for (handle, thread) in self.unjoined.iter_mut().filter(|(_, thread)| !thread.ended) {
            thread.ended = thread_number(*handle) == Some(0);
        }
    }

    /// Stacks of threads that ended may be lost; those of running threads are in use.
    pub(super) fn add_to(&self, held: &mut Held) {
        for thread in self.unjoined.values() {
            let state = if thread.ended { "of ended threads" } else { "of running threads" };
            held.add(thread.origin, thread.bytes, Some(state), thread.ended);
        }
    }
}
