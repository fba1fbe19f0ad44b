//! Hooks of functions that the user named: pools and arenas of a program's own.
//!
//! Owns: where they have their block and its size. Must not know: tables, caches, registers.
//!
//! Nothing is known about such a function but what the user said. It may have any number of parameters, return more than a
//! pointer, throw, or be left by `longjmp`.

use core::sync::atomic::Ordering::Relaxed;

use crate::arch::{Registers, entries};
use crate::hooks::{note, note_free, note_release, take};
use crate::record::Thread;
use crate::sampling;
use crate::shared::Shared;
use crate::taken;
use crate::turn;
use crate::unwind::words_behind;

/// Words on the stack that may be parameters of the function: ten more than the six in registers leave room for structures.
const STACK_WORDS: usize = 16;

/// Calls the function: what it returned. None in the child of a `fork` that was made meanwhile, which has no memory of ours.
fn call(thread: Thread, registers: &mut Registers) -> Option<usize> {
    let result = registers.call(words_behind(thread, registers.sp(), STACK_WORDS));
    Shared::mapped().map(|_| result)
}

/// Calls the real function and counts the block that it returns; whether the call is done.
fn allocate(registers: &mut Registers, size: usize) -> bool {
    let Some(thread) = Thread::current(registers.sp()) else { return false };
    thread.enter(registers.sp());
    let Some(address) = call(thread, registers) else { return true };
    if address != 0 {
        insert(thread, registers, address, size);
    }
    thread.leave();
    true
}

/// Calls the real function and counts the old block as freed and the new one as allocated, if it succeeded.
fn resize(registers: &mut Registers, block: usize, size: usize) -> bool {
    let Some(thread) = Thread::current(registers.sp()) else { return false };
    thread.enter(registers.sp());
    taken::keep(thread, block as u64, take(thread, block));
    let Some(address) = call(thread, registers) else { return true };
    if address == 0 && size != 0 {
        taken::put_back(thread, block as u64);
    } else {
        // It may have been put back meanwhile, by a call on another stack than this one.
        let old = taken::end(thread, block as u64).unwrap_or_else(|| take(thread, block));
        if block != 0 {
            note_free(thread, block, old);
        }
        if address != 0 {
            insert(thread, registers, address, size);
        }
    }
    thread.leave();
    true
}

/// Ends the call of this thread that has a frame of ours, since an exception leaves it: what it would have freed is alive.
pub(crate) fn abandon(thread: Thread) {
    if Registers::end_call_at(thread.record.figures.guard.load(Relaxed)) {
        taken::put_back_any(thread);
        thread.leave();
    }
}

/// Counts the free of a block and calls the real function, which may itself call another hooked one.
fn release(registers: &mut Registers, block: usize) -> bool {
    let Some(thread) = (if block == 0 { None } else { Thread::calling() }) else { return false };
    if thread.is_inside(registers.sp()) {
        taken::note_freed(thread, block as u64);
        return false;
    }
    note_release(thread, block, registers.sp());
    thread.enter(registers.sp());
    if call(thread, registers).is_some() {
        thread.leave();
    }
    true
}

fn insert(thread: Thread, registers: &Registers, address: usize, size: usize) {
    turn::count_allocation(thread);
    let rate = sampling::choose(thread, size as u64);
    note(thread, address as u64, size as u64, rate, (registers.sp(), registers.bp()));
}

/// Defines hooks by what their function does.
macro_rules! hooks {
    ($($name:ident: $call:ident($arguments:pat => $($value:expr),+);)*) => {
        $(extern "C" fn $name(registers: &mut Registers) -> bool {
            let $arguments = registers.arguments;
            $call(registers, $($value),+)
        })*
    };
}

hooks! {
    first: allocate([size, ..] => size);
    second: allocate([_, size, ..] => size);
    third: allocate([_, _, size, ..] => size);
    product: allocate([count, size, ..] => count.wrapping_mul(size));
    product_second: allocate([_, count, size, ..] => count.wrapping_mul(size));
    resizes: resize([block, size, ..] => block, size);
    resizes_product: resize([block, count, size, ..] => block, count.saturating_mul(size));
    resizes_second: resize([_, block, size, ..] => block, size);
    frees: release([block, ..] => block);
    frees_second: release([_, block, ..] => block);
    frees_third: release([_, _, block, ..] => block);
}

entries! {
    leakline_named_first => first;
    leakline_named_second => second;
    leakline_named_third => third;
    leakline_named_product => product;
    leakline_named_product_second => product_second;
    leakline_named_resizes => resizes;
    leakline_named_resizes_product => resizes_product;
    leakline_named_resizes_second => resizes_second;
    leakline_named_frees => frees;
    leakline_named_frees_second => frees_second;
    leakline_named_frees_third => frees_third;
}
