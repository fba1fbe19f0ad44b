//! What each hooked function does.
//!
//! Owns: the order of recording and calling. Must not know: tables, caches.
//!
//! A block leaves the table before the real function frees it and enters it after the real function made it: whoever gets
//! the same address next, in whatever thread, finds its entry free.
//!
//! The stub at a hooked function jumps here with the function's own arguments in place, the stack pointer (which points to
//! the return address) as fourth argument, rbp as fifth, and the address of the relocated function as sixth.

use crate::heap;
use crate::record::Thread;
use crate::stack;

pub(crate) type Function = extern "C" fn(usize, usize, usize) -> usize;

#[expect(clippy::inline_always, reason = "each hook is one straight run of code; calls between would double its cost")]
#[inline(always)]
pub(crate) fn function(address: usize) -> Function {
    // SAFETY: the stub passes the address of the relocated prologue of the function that was called.
    unsafe { core::mem::transmute::<usize, Function>(address) }
}

/// Counts a block: the same as in [`allocate`], once, for all functions that are not called millions of times a second.
#[inline(never)]
pub(crate) fn note(thread: Thread, address: usize, size: usize, sp: usize, bp: usize) {
    let home = heap::expect(thread, address as u64);
    let stack = stack::id_of(thread, sp as u64, bp as u64);
    heap::insert(thread, home, address as u64, size as u64, stack);
}

/// As [`allocate`], for functions that are called less often: shorter code rather than faster.
#[inline]
fn allocate_rarely(arguments: [usize; 3], size: usize, sp: usize, bp: usize, real: usize) -> usize {
    let real = function(real);
    let [a, b, c] = arguments;
    let Some(thread) = Thread::current(sp as u64) else { return real(a, b, c) };
    thread.enter(sp as u64);
    let address = real(a, b, c);
    if address != 0 {
        note(thread, address, size, sp, bp);
    }
    thread.leave();
    address
}

/// Calls the real function and counts the block that it returns.
#[expect(clippy::inline_always, reason = "each hook is one straight run of code; calls between would double its cost")]
#[inline(always)]
fn allocate(arguments: [usize; 3], size: usize, sp: usize, bp: usize, real: usize) -> usize {
    let real = function(real);
    let [a, b, c] = arguments;
    let Some(thread) = Thread::current(sp as u64) else { return real(a, b, c) };
    thread.enter(sp as u64);
    let address = real(a, b, c);
    if address != 0 {
        let home = heap::expect(thread, address as u64);
        let stack = stack::id_of(thread, sp as u64, bp as u64);
        heap::insert(thread, home, address as u64, size as u64, stack);
    }
    thread.leave();
    address
}

/// `malloc(size)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_malloc(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    allocate([a, b, c], a, sp, bp, real)
}

/// `valloc(size)`, `pvalloc(size)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_valloc(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    allocate_rarely([a, b, c], a, sp, bp, real)
}

/// `calloc(count, size)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_calloc(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    allocate([a, b, c], a.wrapping_mul(b), sp, bp, real)
}

/// `memalign(alignment, size)`, `aligned_alloc(alignment, size)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_memalign(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    allocate_rarely([a, b, c], b, sp, bp, real)
}

/// `posix_memalign(pointer, alignment, size)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_posix_memalign(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    let real = function(real);
    let Some(thread) = Thread::current(sp as u64) else { return real(a, b, c) };
    thread.enter(sp as u64);
    let result = real(a, b, c);
    if result as u32 == 0 {
        let pointer = core::ptr::with_exposed_provenance::<usize>(a);
        // SAFETY: the real function succeeded, so it stored the block's address there.
        let address = unsafe { pointer.read_unaligned() };
        note(thread, address, c, sp, bp);
    }
    thread.leave();
    result
}

/// `free(pointer)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_free(a: usize, b: usize, c: usize, sp: usize, _bp: usize, real: usize) -> usize {
    if a != 0
        && let Some(thread) = Thread::current(sp as u64)
    {
        heap::count_free(thread, heap::take(thread, a as u64));
    }
    function(real)(a, b, c)
}

/// Calls the real function and counts the old block as freed and the new one as allocated, if it succeeded.
#[expect(clippy::inline_always, reason = "each hook is one straight run of code; calls between would double its cost")]
#[inline(always)]
fn resize(arguments: [usize; 3], block: usize, size: usize, sp: usize, bp: usize, real: usize) -> usize {
    let real = function(real);
    let [a, b, c] = arguments;
    let Some(thread) = Thread::current(sp as u64) else { return real(a, b, c) };
    thread.enter(sp as u64);
    let old = if block == 0 { None } else { heap::take(thread, block as u64) };
    let address = real(a, b, c);
    if address == 0 && size != 0 {
        if let Some(old) = old {
            heap::restore(thread, block as u64, old);
        }
    } else {
        if block != 0 {
            heap::count_free(thread, old);
        }
        if address != 0 {
            note(thread, address, size, sp, bp);
        }
    }
    thread.leave();
    address
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
    heap::count_free(thread, heap::take(thread, block as u64));
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

/// `pool_free(pool, pointer)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_delete_second(a: usize, b: usize, c: usize, sp: usize, _bp: usize, real: usize) -> usize {
    release([a, b, c], b, sp, real)
}

/// A function that frees its third argument.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_delete_third(a: usize, b: usize, c: usize, sp: usize, _bp: usize, real: usize) -> usize {
    release([a, b, c], c, sp, real)
}

/// `operator new(size, alignment)`: `real` is `memalign(alignment, size)`, which does not throw.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_new_aligned(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    allocate_rarely([b, a, c], a, sp, bp, real)
}

/// A function whose third argument is the size.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_size_third(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    allocate_rarely([a, b, c], c, sp, bp, real)
}

/// `mi_heap_calloc(heap, count, size)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_product_of_last(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    allocate_rarely([a, b, c], b.wrapping_mul(c), sp, bp, real)
}

/// `mi_heap_realloc(heap, pointer, size)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_realloc_second(a: usize, b: usize, c: usize, sp: usize, bp: usize, real: usize) -> usize {
    resize([a, b, c], b, c, sp, bp, real)
}
