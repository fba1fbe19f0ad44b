//! What each hooked function does.
//!
//! Owns: the order of recording and calling. Must not know: tables, caches.
//!
//! A block leaves the table before the real function frees it and enters it after the real function made it: whoever gets
//! the same address next, in whatever thread, finds its entry free.
//!
//! The stub at a hooked function jumps here with the function's own arguments in place, the stack pointer (which points to
//! the return address) as fourth argument, rbp as fifth, and the address of the relocated function as sixth.
//!
//! Each hook first looks whether the call passes without a record. That part is kept short, and the rest is in functions
//! of their own, which it jumps to: with all in one, every call would save and restore the registers that only recording needs.

use core::sync::atomic::Ordering::Relaxed;

use wire::Slot;

use crate::cost::{self, Watch};
use crate::heap;
use crate::record::{Record, Thread};
use crate::sampling;
use crate::shared::{Shared, add};
use crate::stack;

pub(crate) type Function = extern "C" fn(usize, usize, usize) -> usize;

#[expect(clippy::inline_always, reason = "each hook is one straight run of code; calls between would double its cost")]
#[inline(always)]
pub(crate) fn function(address: usize) -> Function {
    // SAFETY: the stub passes the address of the relocated prologue of the function that was called.
    unsafe { core::mem::transmute::<usize, Function>(address) }
}

/// Which of its arguments tell the size that a function allocates.
trait Shape {
    fn size(arguments: [usize; 3]) -> usize;
}

/// Defines shapes.
macro_rules! shapes {
    ($($name:ident: $arguments:pat => $size:expr;)*) => {
        $(struct $name;

        impl Shape for $name {
            #[inline]
            fn size($arguments: [usize; 3]) -> usize {
                $size
            }
        })*
    };
}

shapes! {
    First: [a, _, _] => a;
    Second: [_, b, _] => b;
    FirstTwo: [a, b, _] => a.wrapping_mul(b);
    LastTwo: [_, b, c] => b.wrapping_mul(c);
}

/// Calls the real function and counts the block that it returns.
#[expect(clippy::inline_always, reason = "each hook is one straight run of code; calls between would double its cost")]
#[inline(always)]
fn allocate<S: Shape>([a, b, c]: [usize; 3], sp: usize, bp: usize, real: usize) -> usize {
    let Some(shared) = Shared::listening() else { return function(real)(a, b, c) };
    let Some(thread) = Thread::at_hand(shared) else { return allocate_rarely::<S>(a, b, c, sp, bp, real) };
    let size = S::size([a, b, c]);
    thread.enter(sp as u64);
    if sampling::passes(thread, size as u64) {
        let address = function(real)(a, b, c);
        thread.leave();
        return address;
    }
    thread.record.size.store(size as u64, Relaxed);
    if cost::is_allocation_due(thread) {
        return record_allocation::<true>(a, b, c, thread.record, bp, real);
    }
    if sampling::is_exact(thread) {
        return record_exactly(a, b, c, thread.record, bp, real);
    }
    record_allocation::<false>(a, b, c, thread.record, bp, real)
}

/// The rest of [`allocate`] where the thread is new, or inside another hook, or seems to be.
#[cold]
#[inline(never)]
extern "C" fn allocate_rarely<S: Shape>(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    let Some(thread) = Thread::current(sp as u64) else { return function(real)(a, b, c) };
    thread.enter(sp as u64);
    thread.record.size.store(S::size([a, b, c]) as u64, Relaxed);
    record_allocation::<false>(a, b, c, thread.record, bp, real)
}

/// The rest of [`allocate`]: the block is recorded, or the call timed, or both. The guard and the size stand in the record.
#[inline(never)]
extern "C" fn record_allocation<const TIMED: bool>(
    a: usize,
    b: usize,
    c: usize,
    record: &'static Record,
    bp: usize,
    real: usize,
) -> usize {
    let mut watch = Watch::start(TIMED);
    let thread = Thread::of(record);
    let (sp, size) = (record.figures.guard.load(Relaxed), record.size.load(Relaxed));
    let rate = sampling::choose(thread, size);
    watch.pause();
    let address = function(real)(a, b, c);
    watch.resume();
    if address != 0 {
        count_new(thread, address as u64, size, rate, (sp, bp as u64));
    }
    thread.leave();
    if TIMED {
        cost::book_allocation(thread, watch, rate);
    }
    address
}

/// The rest of [`allocate`] where every block is recorded and the call is not timed: nearly always.
#[inline(never)]
extern "C" fn record_exactly(a: usize, b: usize, c: usize, record: &'static Record, bp: usize, real: usize) -> usize {
    let address = function(real)(a, b, c);
    count_exactly(address, bp, record)
}

/// The end of [`record_exactly`]. A function of its own, since it needs many registers, which would be saved and restored around
/// the real function as well.
#[inline(never)]
extern "C" fn count_exactly(address: usize, bp: usize, record: &'static Record) -> usize {
    let thread = Thread::of(record);
    if address != 0 {
        let stack = stack::id_of(thread, record.figures.guard.load(Relaxed), bp as u64);
        heap::insert(thread, address as u64, record.size.load(Relaxed), stack);
    }
    thread.leave();
    address
}

/// Counts a block that was made, at the stack that begins at `sp` and `bp`.
fn count_new(thread: Thread, address: u64, size: u64, rate: Option<u32>, (sp, bp): (u64, u64)) {
    match rate {
        Some(0) => heap::insert(thread, address, size, stack::id_of(thread, sp, bp)),
        Some(rate) => heap::insert_sampled(thread, address, size, stack::id_of(thread, sp, bp), rate),
        None => {
            add(&thread.record.figures.allocations, 1);
        }
    }
}

/// The same as [`count_new`], once, for all functions that are not called millions of times a second.
#[inline(never)]
pub(crate) fn note(thread: Thread, address: u64, size: u64, rate: Option<u32>, frame: (u64, u64)) {
    count_new(thread, address, size, rate, frame);
}

/// `malloc(size)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_malloc(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    allocate::<First>([a, b, c], sp, bp, real)
}

/// `valloc(size)`, `pvalloc(size)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_valloc(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    allocate::<First>([a, b, c], sp, bp, real)
}

/// `calloc(count, size)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_calloc(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    allocate::<FirstTwo>([a, b, c], sp, bp, real)
}

/// `memalign(alignment, size)`, `aligned_alloc(alignment, size)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_memalign(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    allocate::<Second>([a, b, c], sp, bp, real)
}

/// `posix_memalign(pointer, alignment, size)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_posix_memalign(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    let real = function(real);
    let Some(thread) = Thread::current(sp as u64) else { return real(a, b, c) };
    thread.enter(sp as u64);
    let mut watch = Watch::start(cost::is_allocation_due(thread));
    let rate = sampling::choose(thread, c as u64);
    watch.pause();
    let result = real(a, b, c);
    watch.resume();
    if result as u32 == 0 {
        let pointer = core::ptr::with_exposed_provenance::<usize>(a);
        // SAFETY: the real function succeeded, so it stored the block's address there.
        let address = unsafe { pointer.read_unaligned() };
        note(thread, address as u64, c as u64, rate, (sp as u64, bp as u64));
    }
    thread.leave();
    if watch.is_running() {
        cost::book_allocation(thread, watch, rate);
    }
    result
}

/// `free(pointer)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_free(a: usize, b: usize, c: usize, sp: usize, _bp: usize, real: usize) -> usize {
    let Some(shared) = Shared::listening().filter(|_| a != 0) else { return function(real)(a, b, c) };
    let Some(thread) = Thread::at_hand(shared) else { return free_rarely(a, b, c, sp, 0, real) };
    if free_passes(thread, a) {
        return function(real)(a, b, c);
    }
    if cost::is_free_due(thread) {
        return record_free::<true>(a, b, c, thread.record, 0, real);
    }
    record_free::<false>(a, b, c, thread.record, 0, real)
}

/// The rest of [`leakline_free`] where the thread is new, or inside another hook, or seems to be.
#[cold]
#[inline(never)]
extern "C" fn free_rarely(a: usize, b: usize, c: usize, sp: usize, _: usize, real: usize) -> usize {
    if let Some(thread) = Thread::current(sp as u64) {
        note_release(thread, a);
    }
    function(real)(a, b, c)
}

/// Whether a free passes since blocks are sampled, its own has no record and it is not to be timed; then it is counted.
#[expect(clippy::inline_always, reason = "part of each hook's straight run of code")]
#[inline(always)]
fn free_passes(thread: Thread, address: usize) -> bool {
    let figures = &thread.record.figures;
    let passes = thread.shared.control().mode.load(Relaxed) != 0
        && !cost::is_free_due(thread)
        && !heap::may_hold(thread.shared, address as u64);
    if passes {
        add(&figures.frees, 1);
        add(&figures.frees_of_older, 1);
    }
    passes
}

/// The rest of [`leakline_free`]. It has the arguments of a hook, so that the real function is jumped to and no frame of ours is
/// below it. The function has one argument: registers that no argument is in need not be saved.
#[inline(never)]
extern "C" fn record_free<const TIMED: bool>(
    block: usize,
    _: usize,
    _: usize,
    record: &'static Record,
    _: usize,
    real: usize,
) -> usize {
    count_release(Thread::of(record), block, TIMED);
    // SAFETY: the stub passes the address of the relocated prologue of the function that was called.
    let real = unsafe { core::mem::transmute::<usize, extern "C" fn(usize) -> usize>(real) };
    real(block)
}

/// Counts the free of a block, recorded or not.
#[expect(clippy::inline_always, reason = "part of each hook's straight run of code")]
#[inline(always)]
fn count_release(thread: Thread, address: usize, timed: bool) {
    let watch = Watch::start(timed);
    let was_recorded = heap::free(thread, address as u64);
    if timed {
        cost::book_free(thread, watch, address as u64, was_recorded);
    }
}

/// Calls the real function and counts the old block as freed and the new one as allocated, if it succeeded.
#[expect(clippy::inline_always, reason = "each hook is one straight run of code; calls between would double its cost")]
#[inline(always)]
fn resize(arguments: [usize; 3], block: usize, size: usize, sp: usize, bp: usize, real: usize) -> usize {
    let real = function(real);
    let [a, b, c] = arguments;
    let Some(thread) = Thread::current(sp as u64) else { return real(a, b, c) };
    thread.enter(sp as u64);
    let mut watch = Watch::start(cost::is_allocation_due(thread));
    let old = take(thread, block);
    let rate = sampling::choose(thread, size as u64);
    watch.pause();
    let address = real(a, b, c);
    watch.resume();
    if address == 0 && size != 0 {
        if old.is_block() {
            heap::restore(thread, block as u64, old);
        }
    } else {
        if block != 0 {
            note_free(thread, old);
        }
        if address != 0 {
            note(thread, address as u64, size as u64, rate, (sp as u64, bp as u64));
        }
    }
    thread.leave();
    if watch.is_running() {
        cost::book_allocation(thread, watch, rate);
    }
    address
}

/// Takes out a block that a function may free: the same as [`heap::take`], once.
#[inline(never)]
pub(crate) fn take(thread: Thread, address: usize) -> Slot {
    if address == 0 { Slot::NONE } else { heap::take(thread, address as u64) }
}

/// Counts a block that [`take`] took out, after it was freed.
#[inline(never)]
pub(crate) fn note_free(thread: Thread, taken: Slot) {
    heap::count_free(thread, taken);
}

/// The same as [`count_release`], once, for all that is not `free` itself.
#[inline(never)]
pub(crate) fn note_release(thread: Thread, address: usize) {
    count_release(thread, address, cost::is_free_due(thread));
}

/// `realloc(pointer, size)`. With size 0 glibc frees the block and returns null.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_realloc(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    resize([a, b, c], a, b, sp, bp, real)
}

/// `reallocarray(pointer, count, size)`. An overflowing product fails, so any size but zero will do for it.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_reallocarray(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    resize([a, b, c], a, b.saturating_mul(c), sp, bp, real)
}

/// Counts the free of a block and calls the real function, which may itself call another hooked one.
#[expect(clippy::inline_always, reason = "each hook is one straight run of code; calls between would double its cost")]
#[inline(always)]
fn release(arguments: [usize; 3], block: usize, sp: usize, real: usize) -> usize {
    let [a, b, c] = arguments;
    let Some(thread) = (if block == 0 { None } else { Thread::current(sp as u64) }) else {
        return function(real)(a, b, c);
    };
    if !free_passes(thread, block) {
        note_release(thread, block);
    }
    thread.enter(sp as u64);
    let result = function(real)(a, b, c);
    thread.leave();
    result
}

/// `operator delete(pointer, …)`, `sdallocx(pointer, size, flags)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_delete(a: usize, b: usize, c: usize, sp: usize, _bp: usize, real: usize) -> usize {
    release([a, b, c], a, sp, real)
}

/// `operator new(size, alignment)`: `real` is `memalign(alignment, size)`, which does not throw.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_new_aligned(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    allocate::<Second>([b, a, c], sp, bp, real)
}

/// `mi_heap_calloc(heap, count, size)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_product_of_last(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    allocate::<LastTwo>([a, b, c], sp, bp, real)
}

/// `mi_heap_realloc(heap, pointer, size)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_realloc_second(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    resize([a, b, c], b, c, sp, bp, real)
}
