//! What the hook of a named function keeps on the stack while that function runs.
//!
//! Owns: where leakline finds it, which looks for such calls in the memory of a program. Must not know: registers.

/// The frame of a call, from the word below it on which the hook returns to.
#[derive(Clone, Copy, Debug)]
pub struct NamedCall;

impl NamedCall {
    /// Words from the return address of the hook, which leads into code of ours, to the address of the function, which does too.
    pub const FUNCTION: usize = 25;
    /// Words to its stack pointer, which is zero when the call is over.
    pub const STACK: usize = 26;
}
