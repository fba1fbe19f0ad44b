//! Attaching to a running native process: its allocator is hooked, and every block is counted by the stack that made it.
//!
//! Owns: the order of steps of an attach and a detach, and what is left if one of them fails.
//! Must not know: who asked for the attach, or what the counts mean.
//!
//! Everything slow happens while the target runs: reading modules, compiling unwind rows, filling tables. One thread is
//! stopped to make the mappings; all are stopped for the moment in which the jumps are written.

mod arch;
mod arm;
mod calls;
mod code;
mod collector;
mod custom;
mod error;
mod families;
mod file;
mod functions;
mod gate;
mod heap;
mod image;
mod launch;
mod ledger;
mod load;
mod own_stack;
mod place;
mod prepare;
mod read;
mod remains;
mod remote;
mod roots;
mod session;
mod settings;
mod target;
mod threads;
mod ticks;

use std::time::Duration;

use model::{Kinds, Pid, ProcessKey, Snapshot};

pub use error::{AttachError, LaunchError, SessionError};
pub use gate::{Ending, Execution};
pub use heap::Heap;
pub use launch::Program;
pub use remains::{Carriers, Removed};
pub use session::{Session, attach};

/// What to record and how much of it.
#[derive(Clone, Debug)]
pub struct AttachOptions {
    /// Age from which a live block counts as expired.
    pub expire: Duration,
    /// Greatest number of frames kept of a stack.
    pub depth: u16,
    /// Greatest number of distinct stacks; blocks of further ones are counted as unrecorded.
    pub stacks_max: u32,
    /// What is watched.
    pub kinds: Kinds,
    /// Allocator functions of the program's own, for example `fn=pool_alloc,size=arg2`.
    pub alloc: Vec<String>,
    /// Functions that free what those allocated, for example `fn=pool_free,ptr=arg2`.
    pub free: Vec<String>,
}

/// Whether the target is still the program that was attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// It runs and the hooks are in it.
    Running,
    /// It ended.
    Exited,
    /// It called `exec`: the hooks went with the old program.
    Executed,
}

/// What is known of an attach once it is done.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The target.
    pub key: ProcessKey,
    /// Which allocator was found, for people, for example `glibc (/usr/lib/x86_64-linux-gnu/libc.so.6)`.
    pub allocator: String,
    /// Names of the functions that were hooked.
    pub functions: Vec<String>,
    /// Functions of the allocator that could not be hooked, with the reason.
    pub unhooked: Vec<String>,
    /// Longest time that any thread of the target was stopped by us during the attach.
    pub longest_stop: Duration,
    /// From the call of [`attach`] until the hooks were active.
    pub active_after: Duration,
    /// Threads of the target at the attach.
    pub threads: u32,
    /// A signal such as SIGSTOP had stopped the target at the attach, and it stayed so.
    pub halted: bool,
}

/// What a detach did.
#[derive(Clone, Debug)]
pub struct Detached {
    /// The last figures; exact if nothing is left.
    pub snapshot: Snapshot,
    /// Longest time that any thread was stopped during the detach; none where the target was gone.
    pub longest_stop: Option<Duration>,
    /// What stays in the target, one line each; empty when nothing does.
    pub left: Vec<String>,
}

/// Takes out what an earlier leakline left in a process when it was killed; nothing to do is no error.
pub fn remove_remains(pid: Pid) -> Result<Removed, AttachError> {
    remains::remove(&target::Target::open(pid)?)
}

/// Looks for processes in which there is something to take out, or a leakline at work.
pub fn find_remains() -> Carriers {
    remains::carriers()
}

/// The allocator that an attach would hook and how many functions of it, or why it would hook nothing. Only looks.
pub(crate) fn preview(pid: Pid) -> Result<(String, usize), AttachError> {
    let target = target::Target::open(pid)?;
    let heap = Kinds { heap: true, ..Kinds::NONE };
    let plan = prepare::Plan::make(&target, &target.maps()?, &[], heap)?;
    Ok((plan.allocator, plan.functions.len()))
}
