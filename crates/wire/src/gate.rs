//! Where a program waits for leakline: before it gives its memory up, and when it has loaded code.
//!
//! Owns: [`Gate`], [`LoadGate`] and the requests. Must not know: what is done while it waits.

use core::sync::atomic::AtomicU32;

/// What a thread is about to do, in the lowest bits of [`Gate::request`].
pub const GATE_EXIT: u32 = 1;
/// It is about to execute another program.
pub const GATE_EXECUTE: u32 = 2;
/// How far a thread number is shifted to make room for the kind.
pub const GATE_KIND_BITS: u32 = 2;
/// The bits of the kind.
pub const GATE_KIND_MASK: u32 = (1 << GATE_KIND_BITS) - 1;

/// A program that ends, or that becomes another one, takes its memory with it. While the gate is open a thread that is about to
/// do so waits here until leakline has looked, or is no longer there.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Gate {
    /// Not zero: leakline wants to be waited for.
    pub open: AtomicU32,
    /// The process as it knows itself, in its own namespace: a child of `vfork` runs in the same memory and must not wait.
    pub process: AtomicU32,
    /// Thread number and kind of the thread that waits; zero where none does. A futex, for both sides.
    pub request: AtomicU32,
    /// Children that were made since the attach, as far as the C library made them.
    pub children: AtomicU32,
}

/// A program that loads or unloads libraries waits here until leakline knows of them: else the stacks of the first calls from a new
/// library would end there, and one that is unloaded soon would never have a name.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct LoadGate {
    /// Grows with each request to look at what is mapped. A futex, for leakline.
    pub asked: AtomicU32,
    /// The last request that leakline has answered. A futex, for the target.
    pub answered: AtomicU32,
    /// Not zero since a thread waited in vain, until leakline answers again: nobody waits meanwhile.
    pub neglected: AtomicU32,
}
