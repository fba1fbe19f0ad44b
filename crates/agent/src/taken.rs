//! The block that a named function resizes: it is out of the table for as long as that lasts.
//!
//! Owns: what was taken out, and putting it back where the function ends without a result. Must not know: how that is noticed.
//!
//! It is kept in the thread's record and not on the stack: after a `longjmp` the next calls write over that. What becomes of it is decided once,
//! by whoever takes the address out first; a signal handler may come in between.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wire::Slot;

use crate::heap;
use crate::hooks::note_free;
use crate::record::Thread;

/// What a thread has taken out.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Its address; zero where there is none.
    block: AtomicU64,
    slot: [AtomicU64; 2],
    /// Not zero when the function has freed it meanwhile by another one that is named.
    freed: AtomicU64,
}

/// Keeps a block until the call ends.
pub(crate) fn keep(thread: Thread, block: u64, slot: Slot) {
    let Taken { block: place, slot: [first, second], freed } = &thread.record.taken;
    first.store(slot.first, Relaxed);
    second.store(slot.second, Relaxed);
    freed.store(0, Relaxed);
    place.store(block, Relaxed);
}

/// Ends the keeping of a block; none where that is over already.
pub(crate) fn end(thread: Thread, block: u64) -> Option<Slot> {
    let [first, second] = thread.record.taken.slot.each_ref().map(|word| word.load(Relaxed));
    let is_kept = thread.record.taken.block.compare_exchange(block, 0, Relaxed, Relaxed).is_ok();
    is_kept.then_some(Slot { first, second })
}

/// The call that set the guard was left, as a call at `sp` finds, which sets it anew for as long as this takes.
pub(crate) fn put_back_at(thread: Thread, sp: u64) {
    let block = thread.record.taken.block.load(Relaxed);
    if block != 0 {
        thread.enter(sp);
        put_back(thread, block);
        thread.leave();
    }
}

/// An exception ends the call that set the guard.
pub(crate) fn put_back_any(thread: Thread) {
    put_back(thread, thread.record.taken.block.load(Relaxed));
}

/// A call has ended without a result: its block, if it has one, is alive, unless the function itself has freed it before.
pub(crate) fn put_back(thread: Thread, block: u64) {
    let freed = thread.record.taken.freed.load(Relaxed) != 0;
    let Some(slot) = end(thread, block).filter(|slot| block != 0 && slot.is_block()) else { return };
    // What another thread got at that address is another block: the free of this one went unseen.
    if freed || heap::may_hold(thread.shared, block) {
        note_free(thread, block as usize, slot);
    } else {
        heap::restore(thread, block, slot);
    }
}

/// A named function frees a block from inside another one: it may be the one that is being resized.
pub(crate) fn note_freed(thread: Thread, block: u64) {
    let taken = &thread.record.taken;
    if block != 0 && taken.block.load(Relaxed) == block {
        taken.freed.store(1, Relaxed);
    }
}
