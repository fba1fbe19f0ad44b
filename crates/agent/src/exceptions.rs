//! How the target's unwinder passes the frames of hooks: a function that a user named, or an operator of the program's own, may throw.
//!
//! Owns: finding the agent's own unwind tables. Must not know: what a hook does.
//!
//! libgcc asks one function of its own, `_Unwind_Find_FDE`, for the table of each return address. It knows of modules only, so
//! that it takes a frame of the agent for the end of the stack, which ends the program. The hook of that function answers for
//! the agent's own code and passes everything else on. It does so also when nobody listens: frames may be there still.
//!
//! Who asks for a table may only look (`backtrace`, the search for a handler). That a frame is left, it is told by a function of its own,
//! which its table names and the unwinder calls: the personality, as that of C++ runs destructors.

#[cfg(leakline_image)]
use crate::arch;
use crate::hooks::function;
use crate::named;
use crate::record::Thread;

/// The linker's index of unwind tables (`.eh_frame_hdr`): version; encodings of the pointer to the tables (distance from here),
/// of the number of entries, and of the entries (pairs of distances from the index, sorted).
const INDEX_HEAD: u32 = u32::from_ne_bytes([1, 0x1b, 0x03, 0x3b]);
const COUNT_AT: usize = 8;
const ENTRIES_AT: usize = 12;
const ENTRY_BYTES: usize = 8;
/// In the table of a function: distance to its code from here, and its length behind that.
const FUNCTION_AT: usize = 8;
const LENGTH_AT: usize = 12;

/// A table of the agent's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where it is.
    pub(crate) table: usize,
    /// Where the function begins that it describes.
    pub(crate) function: usize,
}

/// `_Unwind_Find_FDE(address, bases)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_finds_table(a: usize, b: usize, c: usize, _sp: usize, _bp: usize, real: usize) -> usize {
    let Some(found) = index().and_then(|index| find(index, a)) else { return function(real)(a, b, c) };
    let bases = core::ptr::with_exposed_provenance_mut::<[usize; 3]>(b);
    // SAFETY: libgcc passes the address of its three words: the bases of text and data, which our tables do not use, and the function.
    unsafe { bases.write([0, 0, found.function]) };
    found.table
}

/// The personality of the frames of named functions: called for each on the way to a handler, and again when it is left.
pub(crate) extern "C" fn leaves(_version: i32, actions: i32, _class: u64, _exception: usize, _context: usize) -> i32 {
    const CLEANUP_PHASE: i32 = 2;
    const CONTINUE_UNWIND: i32 = 8;
    if actions & CLEANUP_PHASE != 0
        && let Some(thread) = Thread::leaving()
    {
        named::abandon(thread);
    }
    CONTINUE_UNWIND
}

/// The table of the function that this address lies in, by the index at `index`.
pub(crate) fn find(index: usize, address: usize) -> Option<Found> {
    if word(index) != INDEX_HEAD {
        return None;
    }
    let wanted = i32::try_from(address.wrapping_sub(index).cast_signed()).ok()?;
    let entry = |number: usize| index + ENTRIES_AT + number * ENTRY_BYTES;
    let (mut low, mut high) = (0, word(index + COUNT_AT) as usize);
    while low < high {
        let middle = low + (high - low) / 2;
        if word(entry(middle)).cast_signed() <= wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let at = entry(low.checked_sub(1)?);
    let table = index.wrapping_add_signed(word(at + 4).cast_signed() as isize);
    let function = (table + FUNCTION_AT).wrapping_add_signed(word(table + FUNCTION_AT).cast_signed() as isize);
    let inside = address.wrapping_sub(function) < word(table + LENGTH_AT) as usize;
    inside.then_some(Found { table, function })
}

/// A word of the tables.
fn word(at: usize) -> u32 {
    // SAFETY: callers pass addresses within the tables that the linker made and `index` or a test leads to.
    unsafe { core::ptr::with_exposed_provenance::<u32>(at).read_unaligned() }
}

/// Where the index is: the program headers, which are loaded with the image, name it.
#[cfg(leakline_image)]
fn index() -> Option<usize> {
    const HEADERS_AT: usize = 32;
    const HEADER_BYTES: usize = 56;
    const COUNT_AT: usize = 56;
    const ADDRESS_AT: usize = 16;
    const INDEX_OF_TABLES: u32 = 0x6474_e550;
    let start = arch::image_start();
    let count = (word(start + COUNT_AT) & 0xffff) as usize;
    let first = start + word(start + HEADERS_AT) as usize;
    let header = (0..count).map(|number| first + number * HEADER_BYTES).find(|at| word(*at) == INDEX_OF_TABLES)?;
    Some(start + word(header + ADDRESS_AT) as usize)
}

/// Only the image is loaded beside foreign code.
#[cfg(not(leakline_image))]
fn index() -> Option<usize> {
    None
}
