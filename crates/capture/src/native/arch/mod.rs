//! What differs between processors: registers, signal frames, machine code.
//!
//! Owns: the choice of the folder. Every folder offers the same names.

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;
