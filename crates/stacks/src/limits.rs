//! Every bound of this crate, and what happens when it is crossed.
//!
//! Owns: the numbers. Must not know: who counts the crossings.

/// Program headers that are looked at; a file with more is refused. Real files have about a dozen.
pub(crate) const PROGRAM_HEADERS_MAX: usize = 4_096;

/// Rows of unwind rules per module; entries beyond are left out and counted. Chromium with all its code has some 6 million.
pub(crate) const UNWIND_ROWS_MAX: usize = 16 << 20;

/// Uncompressed size of one compressed section that is accepted; larger ones count as absent.
pub(crate) const SECTION_BYTES_MAX: u64 = 256 << 20;

/// Uncompressed size of all sections together that are kept at one time; those beyond count as absent. Each of a hundred libraries
/// could otherwise bring ten sections just below their own bound. Distributions compress debug information to a third, and
/// the libraries of a large program (an office suite) unpack to some 700 MB.
pub(crate) const UNPACKED_BYTES_MAX: u64 = 1 << 30;

/// Uncompressed size of a section that only names a file. Nobody compresses these, and nothing forbids it either.
pub(crate) const REFERENCE_BYTES_MAX: u64 = 64 << 10;

/// Size of a common entry of a call frame table; functions that refer to a larger one are left out and counted. Its
/// instructions are run anew for each function, so that one of a megabyte would take hours. Compilers write 24 bytes.
pub(crate) const COMMON_ENTRY_BYTES_MAX: usize = 4_096;

/// Length of one symbol name that is looked at, in bytes; longer ones are cut. Async Rust reaches tens of thousands.
pub(crate) const NAME_BYTES_MAX: usize = 64 << 10;

/// Length of a name that is shown, in bytes; longer ones end in `…`. A demangled name can be far longer than its symbol.
pub(crate) const NAME_SHOWN_MAX: usize = 4_096;

/// Functions of one module that are indexed by address (24 bytes each); the rest are counted.
pub(crate) const FUNCTIONS_MAX: usize = 2 << 20;

/// Names that are proposed for one that is not there.
pub(crate) const NEAREST_MAX: usize = 3;

/// Length of a name that is compared with others, in bytes; nobody types a longer one.
pub(crate) const NEAREST_NAME_MAX: usize = 256;

/// Size of unpacked `MiniDebugInfo` that is accepted; larger counts as absent. Fedora's largest is about 10 MB.
pub(crate) const MINI_DEBUG_BYTES_MAX: usize = 64 << 20;

/// Memory that unpacking it may take, in KiB; what asks for more counts as absent. The dictionary of `xz -9` takes 64 MiB.
pub(crate) const MINI_DEBUG_MEMORY_KIB: u32 = 80 << 10;

/// Functions inlined into each other at one address that are told apart. Of more, those just below the outermost are left out: it
/// is the one whose code it is. Templates reach some thirty.
pub(crate) const INLINED_FRAMES_MAX: usize = 256;

const _: () = assert!(UNWIND_ROWS_MAX <= u32::MAX as usize, "rows are counted in 32 bits by their users");
const _: () = assert!(NAME_BYTES_MAX >= 1024, "names of ordinary templates must survive");
