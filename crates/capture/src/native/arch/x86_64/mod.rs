//! x86-64.
//!
//! Owns: the names that the rest of the attach uses. Must not know: ptrace, files.

mod deciding;
mod frame;
mod patch;
mod registers;
mod returns;
mod wide;

pub(crate) use deciding::{Decides, Size};
pub(crate) use frame::{FRAME_BYTES_FIXED, signal_frame};
pub(crate) use patch::{PatchError, Relocation, SITE_BYTES, Stub, calls, relocate};
pub(crate) use registers::{
    Call, POP_NUMBER, RESTORERS, SIGNAL_RETURN_NUMBER, SYSCALL_RETURN, frame_place, frame_pointer, general,
    instruction, result, set_call, set_instruction, stack_pointer, thread_pointer, undisturbed,
};
pub(crate) use returns::before_returns;
pub(crate) use wide::{Caller, behind_system_calls};
