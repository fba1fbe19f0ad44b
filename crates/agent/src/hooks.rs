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
//! The stubs of the functions that are called most, `malloc`, `calloc` and `free`, look by themselves whether a call is an ordinary
//! one. What they then do without their hook is in `leakline_counts` and `leakline_frees`, in as few instructions as can be, with all
//! that is rare in functions that they end in: else every call would save and restore the registers that only those need.

use core::sync::atomic::Ordering::Relaxed;

use wire::{SiteCounters, Slot};

use crate::arch;
use crate::cost::{self, Watch};
use crate::heap::{self, Freed};
use crate::record::{Record, Thread};
use crate::sampling;
use crate::shared::Shared;
use crate::stack::{self, Known};
use crate::turn;

pub(crate) type Function = extern "C" fn(usize, usize, usize) -> usize;

#[inline]
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
#[inline]
fn allocate<S: Shape>([a, b, c]: [usize; 3], sp: usize, bp: usize, real: usize) -> usize {
    let Some(thread) = Thread::current(sp as u64) else { return function(real)(a, b, c) };
    thread.enter(sp as u64);
    thread.record.figures.size.store(S::size([a, b, c]) as u64, Relaxed);
    record_allocation(a, b, c, thread.record, bp, real)
}

/// The rest of [`allocate`]. The guard and the size stand in the record.
#[inline(never)]
extern "C" fn record_allocation(
    a: usize,
    b: usize,
    c: usize,
    record: &'static Record,
    bp: usize,
    real: usize,
) -> usize {
    let thread = Thread::of(record);
    let (sp, size) = (record.figures.guard.load(Relaxed), record.figures.size.load(Relaxed));
    let is_due = turn::count_allocation(thread);
    let mut watch = Watch::start(is_due || cost::is_every_one_timed(thread, size));
    let rate = sampling::choose(thread, size);
    watch.pause();
    let address = function(real)(a, b, c);
    watch.resume();
    if address != 0 {
        count_new(thread, address as u64, size, rate, (sp, bp as u64));
    }
    thread.leave();
    if watch.is_running() {
        cost::book_allocation(thread, watch, rate);
    }
    address
}

/// What a stub does after the real function, of a call that is to be recorded in the ordinary way: returns the address. The guard and the
/// size stand in the record.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_counts(address: usize, bp: usize, record: usize) -> usize {
    count_after::<false>(address, bp, record)
}

/// The same on processors that have the instruction `crc32`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_counts_by_crc32(address: usize, bp: usize, record: usize) -> usize {
    count_after::<true>(address, bp, record)
}

#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn count_after<const CRC32: bool>(address: usize, bp: usize, record: usize) -> usize {
    let figures = &Thread::record_at(record).figures;
    if address == 0 {
        figures.guard.store(0, Relaxed);
        return 0;
    }
    match stack::known_first::<CRC32>(Thread::record_at(record), figures.guard.load(Relaxed), bp as u64) {
        Known::As(stack) => count_at(address, record, stack as usize),
        Known::ByCaller(mark) => count_by_caller(address, bp, record, mark),
        Known::Not => count_elsewhere(address, bp, record),
    }
}

/// The rest of [`leakline_counts`], at a stack that is known.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn count_at(address: usize, record: usize, stack: usize) -> usize {
    let thread = Thread::at(record);
    if heap::insert_near(thread, address as u64, thread.record.figures.size.load(Relaxed), stack as u32) {
        thread.leave();
        return address;
    }
    count_into_elsewhere(address, record, stack)
}

/// The rest of [`leakline_counts`], at a stack that is found by its caller's return address: those of wrappers are.
#[inline(never)]
extern "C" fn count_by_caller(address: usize, bp: usize, record: usize, mark: u32) -> usize {
    let thread = Thread::at(record);
    match stack::known_by_caller(thread.record, mark, thread.record.figures.guard.load(Relaxed), bp as u64) {
        Some(stack) => count_at(address, record, stack as usize),
        None => count_elsewhere(address, bp, record),
    }
}

#[cold]
#[inline(never)]
extern "C" fn count_elsewhere(address: usize, bp: usize, record: usize) -> usize {
    let thread = Thread::at(record);
    let stack = stack::id_of(thread, thread.record.figures.guard.load(Relaxed), bp as u64);
    count_at(address, record, stack as usize)
}

#[cold]
#[inline(never)]
extern "C" fn count_into_elsewhere(address: usize, record: usize, stack: usize) -> usize {
    let thread = Thread::at(record);
    heap::insert(thread, address as u64, thread.record.figures.size.load(Relaxed), stack as u32);
    thread.leave();
    arch::returned(address)
}

/// Counts a block that was made, at the stack that begins at `sp` and `bp`.
fn count_new(thread: Thread, address: u64, size: u64, rate: Option<u32>, (sp, bp): (u64, u64)) {
    let Some(rate) = rate else { return };
    let stack = stack::id_of(thread, sp, bp);
    if rate == 0 {
        heap::insert(thread, address, size, stack);
    } else {
        heap::insert_sampled(thread, address, size, stack, rate);
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
    let is_due = turn::count_allocation(thread);
    let mut watch = Watch::start(is_due || cost::is_every_one_timed(thread, c as u64));
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
    count_and_free([a, b, c], sp, real)
}

/// Neither of the hooks that do this can go on in the other: one that is called by its name would be looked up by it.
#[inline]
fn count_and_free(arguments: [usize; 3], sp: usize, real: usize) -> usize {
    let [a, b, c] = arguments;
    if a != 0
        && let Some(thread) = Thread::current(sp as u64)
    {
        note_release(thread, a, sp as u64);
    }
    function(real)(a, b, c)
}

/// What a stub does of a free in a part of the memory that holds recorded blocks, while blocks are sampled. Few of those parts' blocks
/// are recorded; the others are freed uncounted, like those of other parts.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_looks(block: usize, b: usize, c: usize, sp: usize, _bp: usize, real: usize) -> usize {
    if heap::may_hold(Shared::linked(), block as u64) {
        return count_and_free([block, b, c], sp, real);
    }
    function(real)(block, b, c)
}

/// What a stub does of a free that is ordinary, of a block that may be recorded. It has the arguments of a hook, so that the real
/// function is jumped to and no frame of ours is below it.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_frees(block: usize, b: usize, c: usize, record: usize, bp: usize, real: usize) -> usize {
    match heap::free_near(Thread::at(record), block as u64) {
        Freed::Counted => {
            // SAFETY: the stub passes the address of the relocated prologue of the function that was called.
            let real = unsafe { core::mem::transmute::<usize, extern "C" fn(usize) -> usize>(real) };
            real(block)
        }
        Freed::Lived(counters, life, size) => free_lived(block, counters, life as usize, size as usize, real),
        Freed::Not => free_elsewhere(block, b, c, record, bp, real),
    }
}

#[cold]
#[inline(never)]
extern "C" fn free_lived(block: usize, counters: &SiteCounters, life: usize, size: usize, real: usize) -> usize {
    heap::count_lived(Shared::linked(), counters, life as u64, size as u64);
    function(real)(block, 0, 0)
}

#[cold]
#[inline(never)]
extern "C" fn free_elsewhere(block: usize, b: usize, c: usize, record: usize, _: usize, real: usize) -> usize {
    let thread = Thread::at(record);
    if block == 0 {
        // To free nothing is no call that frees.
        turn::uncount_free(thread);
    } else {
        release_block(thread, block);
    }
    function(real)(block, b, c)
}

/// Takes a block out and counts what becomes of it.
fn release_block(thread: Thread, block: usize) {
    let taken = if heap::may_hold(thread.shared, block as u64) { heap::take(thread, block as u64) } else { Slot::NONE };
    heap::count_taken(thread, block as u64, taken);
}

/// Calls the real function and counts the old block as freed and the new one as allocated, if it succeeded.
#[inline]
fn resize(arguments: [usize; 3], block: usize, size: usize, sp: usize, bp: usize, real: usize) -> usize {
    let real = function(real);
    let [a, b, c] = arguments;
    let Some(thread) = Thread::current(sp as u64) else { return real(a, b, c) };
    thread.enter(sp as u64);
    let is_due = turn::count_allocation(thread);
    let mut watch = Watch::start(is_due || cost::is_every_one_timed(thread, size as u64));
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
            note_free(thread, block, old);
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
pub(crate) fn note_free(thread: Thread, block: usize, taken: Slot) {
    turn::count_free(thread);
    heap::count_taken(thread, block as u64, taken);
}

/// Counts the free of a block, recorded or not, in a call at `sp`. The guard keeps a signal handler out of what the thread takes over
/// meanwhile.
#[inline(never)]
pub(crate) fn note_release(thread: Thread, block: usize, sp: u64) {
    thread.enter(sp);
    let is_due = turn::count_free(thread);
    let watch = Watch::start(is_due);
    release_block(thread, block);
    thread.leave();
    if is_due {
        cost::book_free(thread, watch);
    }
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
#[inline]
fn release(arguments: [usize; 3], block: usize, sp: usize, real: usize) -> usize {
    let [a, b, c] = arguments;
    let Some(thread) = (if block == 0 { None } else { Thread::current(sp as u64) }) else {
        return function(real)(a, b, c);
    };
    note_release(thread, block, sp as u64);
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
