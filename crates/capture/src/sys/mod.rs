//! The kernel's interfaces that Rust's standard library does not offer.
//!
//! Owns: every `unsafe` block of this crate, one system call per function. Must not know: why it is called.

pub(crate) mod bytes;
pub(crate) mod futex;
pub(crate) mod keeper;
pub(crate) mod map;
pub(crate) mod process;
pub(crate) mod ptrace;
pub(crate) mod signals;
pub(crate) mod start;
#[cfg(test)]
pub(crate) mod trial;
