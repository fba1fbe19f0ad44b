//! Hooks with up to six arguments: those that tell of rare calls.
//!
//! Owns: entering such a hook, and telling an event. Must not know: what a call means, or who reads the events.
//!
//! Their stub hands over the arguments as an array and takes back whether the call is done: if not, the function runs as if
//! there were no hook, with no frame of ours below it. That is how every call is made that may block, may be cancelled or
//! returns twice: no frame of ours may be where an unwinder passes or where a thread sleeps through a detach.

use core::sync::atomic::{Ordering::Relaxed, Ordering::Release, fence};

use wire::{Call, EVENTS, Event, regions};

use crate::arch;
use crate::record::Thread;
use crate::stack;

/// What a hook says to its stub; lies in two registers.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Answer {
    /// What the call returns, if it is done.
    result: usize,
    /// Zero: the function itself is to run now.
    done: usize,
}

impl Answer {
    /// The function runs without a frame of ours.
    pub(crate) const GO_ON: Self = Self { result: 0, done: 0 };

    pub(crate) fn of(result: usize) -> Self {
        Self { result, done: 1 }
    }

    /// What the call returned, if it is done.
    #[cfg(test)]
    pub(crate) fn result(self) -> Option<usize> {
        (self.done != 0).then_some(self.result)
    }
}

/// A hooked call: its arguments, where its return address stands, rbp, and the function without its hook.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hooked {
    pub(crate) arguments: [usize; 6],
    pub(crate) sp: u64,
    pub(crate) bp: u64,
    real: usize,
}

impl Hooked {
    /// Reads what the stub has put on the stack.
    #[inline]
    pub(crate) fn new(arguments: usize, sp: usize, bp: usize, real: usize) -> Self {
        let pointer = core::ptr::with_exposed_provenance::<[usize; 6]>(arguments);
        // SAFETY: the stub pushed six registers, and passes their address.
        let arguments = unsafe { pointer.read() };
        Self { arguments, sp: sp as u64, bp: bp as u64, real }
    }

    /// The place behind a system call: there is nothing left to call.
    pub(crate) fn behind(sp: usize, bp: usize) -> Self {
        Self { arguments: [0; 6], sp: sp as u64, bp: bp as u64, real: 0 }
    }

    /// Calls the function.
    #[inline]
    pub(crate) fn call(&self) -> usize {
        type Function = extern "C" fn(usize, usize, usize, usize, usize, usize) -> usize;
        // SAFETY: the stub passes the address of the relocated prologue of the function that was called.
        let function = unsafe { core::mem::transmute::<usize, Function>(self.real) };
        let [first, second, third, fourth, fifth, sixth] = self.arguments;
        function(first, second, third, fourth, fifth, sixth)
    }

    /// The calling thread, for calls that count wherever they come from, and whether that is another hooked one.
    pub(crate) fn anywhere(&self) -> Option<(Thread, bool)> {
        let thread = Thread::calling()?;
        Some((thread, thread.is_inside(self.sp)))
    }

    /// The calling thread, for calls of the program itself. None in the child of a `vfork`, which shares the memory, so that
    /// its calls come by here, but has descriptors of its own.
    pub(crate) fn own(&self) -> Option<Thread> {
        let thread = Thread::current(self.sp)?;
        if thread.record.vforked.load(Relaxed) != 0 {
            if arch::process_number() != thread.shared.control().process.load(Relaxed) {
                return None;
            }
            thread.record.vforked.store(0, Relaxed);
        }
        Some(thread)
    }

    /// Tells a call with the stack of its caller. The guard keeps a signal handler out of the thread's caches.
    pub(crate) fn tell_with_stack(&self, thread: Thread, nested: bool, call: Call, words: [u64; 4]) {
        if nested {
            tell(thread, true, call, 0, words);
            return;
        }
        thread.enter(self.sp);
        let nested = stack::passes_allocation(thread, self.sp, self.bp);
        let stack = if nested { 0 } else { stack::id_of(thread, self.sp, self.bp) };
        tell(thread, nested, call, stack, words);
        thread.leave();
    }
}

/// Writes an event into the ring.
pub(crate) fn tell(thread: Thread, nested: bool, call: Call, stack: u32, words: [u64; 4]) {
    let number = thread.shared.control().events.next.fetch_add(1, Relaxed);
    let place = number & (EVENTS as u64 - 1);
    let event: &Event = thread.shared.at(regions::EVENT_RING.at + place * size_of::<Event>() as u64);
    event.number.store(0, Relaxed);
    fence(Release);
    let nested = if nested { Event::NESTED } else { 0 };
    event.what.store(call as u64 | nested | u64::from(thread.number()) << 32, Relaxed);
    event.time.store(arch::ticks(), Relaxed);
    event.stack.store(u64::from(stack), Relaxed);
    for (place, word) in event.words.iter().zip(words) {
        place.store(word, Relaxed);
    }
    event.number.store(number + 1, Release);
}
