//! What differs between processors.
//!
//! Owns: the choice of the folder. Every folder offers the same functions.

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;
