//! Hooks that are stopped behind each of their instructions, where a signal handler may run that calls the allocator itself.
//!
//! Owns: stepping. Must not know: what a hook records.

use std::arch::asm;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

use super::{Frames, address_of, give, in_function, nothing, thread};
use crate::hooks::{leakline_delete, leakline_free, leakline_malloc, leakline_realloc};
use crate::record::Record;
use crate::turn;

type Hook = extern "C" fn(usize, usize, usize, usize, usize, usize) -> usize;

/// The record of the thread that is stepped.
static STEPPED: AtomicPtr<Record> = AtomicPtr::new(std::ptr::null_mut());
/// Stops while things are taken over, the mode already and not yet the turn, and those of them at which the thread had no guard.
static INSIDE: AtomicU32 = AtomicU32::new(0);
static UNGUARDED: AtomicU32 = AtomicU32::new(0);
/// What the thread has taken over before the hook is called: nothing that there ever was.
const NEVER: u64 = u64::MAX;
const OTHER_MODE: u32 = u32::MAX;

/// The processor's flag by which each instruction raises the signal.
const TRAP: i64 = 0x100;

extern "C" fn look(_signal: i32, _information: usize, context: &mut libc::ucontext_t) {
    // SAFETY: records lie in a mapping that is never taken away.
    let Some(record) = (unsafe { STEPPED.load(Relaxed).as_ref() }) else { return };
    if record.figures.seen.load(Relaxed) != NEVER {
        // The rest of the hook is of no interest.
        context.uc_mcontext.gregs[libc::REG_EFL as usize] &= !TRAP;
    } else if record.figures.mode.load(Relaxed) != OTHER_MODE {
        INSIDE.fetch_add(1, Relaxed);
        UNGUARDED.fetch_add(u32::from(record.figures.guard.load(Relaxed) == 0), Relaxed);
    }
}

/// Stops this thread behind each instruction from now on.
fn step() {
    // SAFETY: the signal that each instruction then raises has a handler.
    unsafe { asm!("pushfq", "or qword ptr [rsp], {}", "popfq", const TRAP) };
}

fn handle() {
    type Handler = extern "C" fn(i32, usize, &mut libc::ucontext_t);
    // SAFETY: zero is a value of all its fields.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    (action.sa_sigaction, action.sa_flags) = ((look as Handler as *const ()).expose_provenance(), libc::SA_SIGINFO);
    // SAFETY: the handler writes atomics and its own context only, and nobody else in this process uses the signal.
    let result = unsafe { libc::sigaction(libc::SIGTRAP, &raw const action, std::ptr::null_mut()) };
    assert_eq!(result, 0, "the signal can be handled");
}

/// Calls a hook in a thread that has something to take over: how often it was stopped while it did so, in all and without the guard.
fn stops_in(hook: Hook, [a, b]: [usize; 2], real: usize) -> [u32; 2] {
    let frames = Frames::new(&[in_function(2)]);
    let thread = thread(&frames);
    // What takes long and is not looked at.
    turn::catch_up(thread);
    let record = thread.record;
    record.figures.mode.store(OTHER_MODE, Relaxed);
    record.figures.seen.store(NEVER, Relaxed);
    STEPPED.store(std::ptr::from_ref(record).cast_mut(), Relaxed);
    let before = [&INSIDE, &UNGUARDED].map(|stops| stops.load(Relaxed));
    step();
    hook(a, b, 0, frames.sp() as usize, 0, real);
    assert_ne!(record.figures.seen.load(Relaxed), NEVER, "all was taken over");
    [INSIDE.load(Relaxed) - before[0], UNGUARDED.load(Relaxed) - before[1]]
}

#[test]
fn what_a_thread_takes_over_it_takes_over_inside_its_guard() {
    handle();
    let block = 0x6699_0000_0020;
    for (hook, arguments, real) in [
        (leakline_malloc as Hook, [block, 0], address_of(give)),
        (leakline_free, [block, 0], address_of(nothing)),
        (leakline_realloc, [block, 9], address_of(give)),
        (leakline_delete, [block, 0], address_of(nothing)),
    ] {
        let [inside, unguarded] = stops_in(hook, arguments, real);
        assert!(inside > 0, "nothing was taken over");
        assert_eq!(unguarded, 0, "of {inside} stops");
    }
}
