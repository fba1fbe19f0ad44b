//! The code that runs inside the target: what a hooked allocator function does before and after the real one.
//!
//! Owns: the hooks, the table of live blocks, unwinding and the memory of stacks, all in the shared mapping.
//! Must not know: libc, files, leakline's process. It never allocates, takes no lock, and calls nothing of the target but
//! the function that was hooked. It waits for leakline in two places only, for a bounded time and while leakline lives: see `gate.rs`.
//!
//! `capture/build.rs` builds it once more as a freestanding image with `--cfg leakline_image`; as an ordinary member of the
//! workspace it is only checked and tested.

#![cfg_attr(leakline_image, no_std)]
#![expect(unsafe_code, reason = "runs in a foreign process on memory that only addresses lead to")]

mod arch;
mod calls;
mod cost;
mod descriptors;
mod exceptions;
mod gate;
mod heap;
mod hooks;
mod marks;
mod named;
mod nested;
mod record;
mod regions;
mod sampling;
mod shared;
mod stack;
mod table;
mod taken;
mod turn;
mod unwind;
mod wide;

#[cfg(test)]
mod tests;

pub use calls::Answer;
pub use descriptors::{
    leakline_closes, leakline_closes_directory, leakline_closes_file, leakline_closes_from, leakline_closes_range,
    leakline_controls, leakline_duplicates, leakline_forks, leakline_opened, leakline_opens, leakline_opens_directory,
    leakline_opens_file, leakline_opens_signals, leakline_opens_two, leakline_opens_two_fourth, leakline_spawns,
    leakline_vforks,
};
pub use exceptions::leakline_finds_table;
pub use gate::{leakline_execute, leakline_exit, leakline_loads};
pub use hooks::{
    leakline_calloc, leakline_counts, leakline_counts_by_crc32, leakline_delete, leakline_free, leakline_frees,
    leakline_looks, leakline_malloc, leakline_memalign, leakline_new_aligned, leakline_posix_memalign,
    leakline_product_of_last, leakline_realloc, leakline_realloc_second, leakline_reallocarray, leakline_valloc,
};
pub use named::{
    leakline_named_first, leakline_named_frees, leakline_named_frees_second, leakline_named_frees_third,
    leakline_named_product, leakline_named_product_second, leakline_named_resizes, leakline_named_resizes_product,
    leakline_named_resizes_second, leakline_named_second, leakline_named_third,
};
pub use regions::{
    leakline_attaches, leakline_breaks, leakline_creates_thread, leakline_detaches, leakline_detaches_thread,
    leakline_joins_thread, leakline_maps, leakline_remaps, leakline_tries_to_join_thread, leakline_unmaps,
};
pub use wide::{
    leakline_wide_in_place, leakline_wide_product, leakline_wide_product_second, leakline_wide_resize,
    leakline_wide_resize_product, leakline_wide_resize_product_second, leakline_wide_resize_second,
    leakline_wide_size_second,
};

/// Nothing here panics; the linker drops this, and a test of the image checks that it did.
#[cfg(leakline_image)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    arch::trap()
}
