//! Hooks of allocator functions with more than three arguments: mimalloc's for aligned blocks of a heap, jemalloc's `xallocx`.
//!
//! Owns: where they have their block and its size. Must not know: tables, caches.
//!
//! They come through the stub of [`crate::calls`], which hands over all arguments; they are rare beside `malloc`.

use wire::Slot;

use crate::calls::{Answer, Hooked};
use crate::heap;
use crate::hooks::{note, note_free, take};
use crate::record::Thread;
use crate::sampling;
use crate::turn;

/// Calls the real function and counts the block that it returns.
fn allocate(hooked: &Hooked, size: usize) -> Answer {
    let Some(thread) = Thread::current(hooked.sp) else { return Answer::GO_ON };
    thread.enter(hooked.sp);
    let address = hooked.call();
    if address != 0 {
        insert(thread, hooked, address, size);
    }
    thread.leave();
    Answer::of(address)
}

/// Calls the real function and counts the old block as freed and the new one as allocated, if it succeeded.
fn resize(hooked: &Hooked, block: usize, size: usize) -> Answer {
    let Some(thread) = Thread::current(hooked.sp) else { return Answer::GO_ON };
    thread.enter(hooked.sp);
    let old = take(thread, block);
    let address = hooked.call();
    if address == 0 {
        if old.is_block() {
            heap::restore(thread, block as u64, old);
        }
    } else {
        if block != 0 {
            note_free(thread, block, old);
        }
        insert(thread, hooked, address, size);
    }
    thread.leave();
    Answer::of(address)
}

fn insert(thread: Thread, hooked: &Hooked, address: usize, size: usize) {
    turn::count_allocation(thread);
    let rate = sampling::choose(thread, size as u64);
    note(thread, address as u64, size as u64, rate, (hooked.sp, hooked.bp));
}

/// `mi_calloc_aligned_at(count, size, alignment, offset)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_wide_product(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let [count, size, ..] = hooked.arguments;
    allocate(&hooked, count.wrapping_mul(size))
}

/// `mi_heap_malloc_aligned_at(heap, size, alignment, offset)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_wide_size_second(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    allocate(&hooked, hooked.arguments[1])
}

/// `mi_heap_calloc_aligned(heap, count, size, alignment, …)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_wide_product_second(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let [_, count, size, ..] = hooked.arguments;
    allocate(&hooked, count.wrapping_mul(size))
}

/// `mi_realloc_aligned_at(pointer, size, alignment, offset)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_wide_resize(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let [block, size, ..] = hooked.arguments;
    resize(&hooked, block, size)
}

/// `mi_recalloc_aligned(pointer, count, size, alignment, …)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_wide_resize_product(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let [block, count, size, ..] = hooked.arguments;
    resize(&hooked, block, count.saturating_mul(size))
}

/// `mi_heap_realloc_aligned(heap, pointer, size, alignment, …)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_wide_resize_second(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let [_, block, size, ..] = hooked.arguments;
    resize(&hooked, block, size)
}

/// `mi_heap_recalloc(heap, pointer, count, size, …)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_wide_resize_product_second(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let [_, block, count, size, ..] = hooked.arguments;
    resize(&hooked, block, count.saturating_mul(size))
}

/// `xallocx(pointer, size, extra, flags)`: resizes in place as far as it can, and returns what the block really has. The block is
/// its owner's meanwhile, so that it may be taken out afterwards.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_wide_in_place(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let Some(thread) = Thread::current(hooked.sp) else { return Answer::GO_ON };
    thread.enter(hooked.sp);
    let has = hooked.call();
    let [block, size, ..] = hooked.arguments;
    let old = if has >= size { take(thread, block) } else { Slot::NONE };
    if old.is_block() {
        note_free(thread, block, old);
        insert(thread, &hooked, block, size);
    }
    thread.leave();
    Answer::of(has)
}
