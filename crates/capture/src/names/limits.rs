//! Every bound of the naming thread, and what happens when it is crossed.
//!
//! Owns: the numbers. Must not know: what they are compared with.

/// Stacks that may wait for their names; further ones are refused and may be asked for again.
pub(super) const JOBS_MAX: usize = 65_536;

/// Files that are mapped at one time. When there is no room left, all are let go of and the thread begins anew.
pub(super) const FILES_MAX: usize = 1_024;

/// Uncompressed sections that are kept at one time, likewise.
pub(super) const SECTIONS_MAX: usize = 4_096;

/// Room that loading one module may need in both stores.
pub(super) const ROOM_PER_MODULE: usize = 24;

/// Addresses that are named before everything is let go of, so that parsed units do not pile up.
pub(super) const ADDRESSES_PER_SCOPE: usize = 32_768;

/// Modules that are gone from the target and whose names are still given; the oldest are forgotten.
pub(super) const MODULES_GONE_MAX: usize = 4_096;

/// Mappings of code that are looked at; the rest is anonymous to us.
pub(super) const MODULES_MAX: usize = 16_384;

/// Bytes of a module's first page and the notes behind it, read from the target's memory to learn its build id.
pub(super) const HEADER_BYTES: usize = 16_384;

/// Size of the kernel's own module (`[vdso]`) that is accepted.
pub(super) const VDSO_BYTES_MAX: u64 = 1 << 20;

/// Remarks that are kept for the user.
pub(super) const REMARKS_MAX: usize = 64;

/// Size of a source file that is read.
pub(super) const SOURCE_BYTES_MAX: u64 = 4 << 20;

/// Source files that are kept at one time; then all are let go of.
pub(super) const SOURCE_FILES_MAX: usize = 64;

/// Characters of a source line that are shown.
pub(super) const SOURCE_LINE_MAX: usize = 160;

/// Stack of the naming thread: demanglers recurse.
pub(super) const THREAD_STACK_BYTES: usize = 8 << 20;

const _: () = assert!(ROOM_PER_MODULE < FILES_MAX && ROOM_PER_MODULE < SECTIONS_MAX, "a fresh scope can load a module");
