//! Frames of a stack and their names.
//!
//! Owns: what is known of one code address. Must not know: how names are found.

use std::sync::Arc;

use crate::{Address, Reading};

/// A file that code was loaded from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModuleName {
    /// Path as the target sees it, or the kernel's name for it such as `[vdso]`.
    pub path: Arc<str>,
    /// Its build id in lower-case hexadecimal, where it has one.
    pub build_id: Option<Arc<str>>,
}

/// A function, demangled, and where in it an address lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// Demangled name, control characters escaped.
    pub name: Arc<str>,
    /// Distance from its start, in bytes; zero for inlined functions.
    pub offset: u64,
}

/// A line of source code.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceLine {
    /// Path as the compiler recorded it, control characters escaped.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; none where the compiler recorded none.
    pub column: Option<u32>,
}

/// How a frame was found, from most to least certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameTrust {
    /// The return address that the allocator was called with.
    Caller,
    /// By the unwind tables that the compiler wrote.
    UnwindTable,
    /// By the chain of frame pointers, since there was no table.
    FramePointer,
}

/// One frame: either a return address in the code or, before it, a function inlined there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The return address, as found on the stack.
    pub address: Address,
    /// The module that it lies in.
    pub module: Reading<ModuleName>,
    /// The function.
    pub function: Reading<Function>,
    /// The line of the call (not of the return address).
    pub line: Reading<SourceLine>,
    /// Whether this function was inlined into the next frame of the same address.
    pub inlined: bool,
    /// How it was found.
    pub trust: FrameTrust,
}
