//! The code that runs inside the target: what a hooked allocator function does before and after the real one.
//!
//! Owns: the hooks, the table of live blocks, unwinding and the memory of stacks, all in the shared mapping.
//! Must not know: libc, files, leakline's process. It never allocates, takes no lock, and calls nothing of the target but
//! the function that was hooked.
//!
//! `capture/build.rs` builds it once more as a freestanding image with `--cfg leakline_image`; as an ordinary member of the
//! workspace it is only checked and tested.

#![cfg_attr(leakline_image, no_std)]
#![expect(unsafe_code, reason = "runs in a foreign process on memory that only addresses lead to")]

mod arch;
mod heap;
mod hooks;
mod record;
mod shared;
mod stack;
mod unwind;

#[cfg(test)]
mod tests;

pub use hooks::{
    leakline_calloc, leakline_delete, leakline_delete_second, leakline_delete_third, leakline_free, leakline_malloc,
    leakline_memalign, leakline_new_aligned, leakline_posix_memalign, leakline_product_of_last, leakline_realloc,
    leakline_realloc_second, leakline_reallocarray, leakline_size_third, leakline_valloc,
};

/// Nothing here panics; the linker drops this, and a test of the image checks that it did.
#[cfg(leakline_image)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    arch::trap()
}
