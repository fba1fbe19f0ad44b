//! Unwind rules and names of code addresses, from the bytes of modules.
//!
//! Owns: what can be learnt from the bytes of an ELF file: its layout, its unwind rules, its functions and lines.
//! Must not know: processes, paths, where the bytes came from. Whoever calls hands over the bytes.

mod limits;
pub mod module;
mod section;
pub mod symbols;
pub mod unwind;

#[cfg(test)]
mod compiled;
