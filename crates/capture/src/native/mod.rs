//! Attaching to a running native process: its allocator is hooked, and every block is counted by the stack that made it.
//!
//! Owns: the order of steps of an attach and a detach, and what is left if one of them fails.
//! Must not know: who asked for the attach, or what the counts mean.

use std::fmt;
use std::time::Duration;

use model::{Address, Bytes, FrameTrust, Pid, ProcessKey, Snapshot, StackId};

/// What to record and how much of it.
#[derive(Clone, Debug)]
pub struct AttachOptions {
    /// Age from which a live block counts as expired.
    pub expire: Duration,
    /// Greatest number of frames kept of a stack.
    pub depth: u16,
    /// Greatest number of distinct stacks; blocks of further ones are counted as unrecorded.
    pub stacks_max: u32,
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
    /// Longest time that any thread of the target was stopped by us during the attach.
    pub longest_stop: Duration,
    /// From the call of [`attach`] until the hooks were active.
    pub active_after: Duration,
    /// Threads of the target at the attach.
    pub threads: u32,
}

/// What a detach did.
#[derive(Clone, Debug)]
pub struct Detached {
    /// The last figures, read while no thread was inside a hook.
    pub snapshot: Snapshot,
    /// Longest time that any thread was stopped during the detach; none where the target was gone.
    pub longest_stop: Option<Duration>,
    /// What stays in the target, one line each; empty when nothing does.
    pub left: Vec<String>,
}

/// Why an attach was refused or failed; the target is as it was.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AttachError {
    /// There is no such process.
    NoSuchProcess(Pid),
}

/// Why a session cannot be read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// The memory shared with the target does not have the form that the agent gives it.
    Corrupt(String),
}

/// An attached target. Created, used and dropped on one thread, since the kernel ties tracing to a thread.
#[derive(Debug)]
pub struct Session {
    facts: Facts,
}

/// Hooks the allocator of a running process.
pub fn attach(pid: Pid, options: &AttachOptions) -> Result<Session, AttachError> {
    let _ = options;
    Err(AttachError::NoSuchProcess(pid))
}

impl Session {
    /// Everything counted until now.
    pub fn snapshot(&mut self) -> Result<Snapshot, SessionError> {
        Err(SessionError::Corrupt(String::new()))
    }

    /// The return addresses of one stack, innermost first.
    pub fn stack(&mut self, id: StackId) -> Option<Vec<(Address, FrameTrust)>> {
        let _ = (id, Bytes(0));
        None
    }

    /// Whether the target still runs.
    pub fn target(&mut self) -> TargetState {
        TargetState::Exited
    }

    /// What is known of the attach.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Takes the hooks out; the target is afterwards as it was, apart from what [`Detached::left`] lists.
    pub fn detach(self) -> Detached {
        Detached { snapshot: Snapshot::default(), longest_stop: None, left: Vec::new() }
    }
}

impl AttachError {
    /// What would help: a command to run, or a setting to change.
    pub fn hint(&self) -> Option<String> {
        None
    }
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchProcess(pid) => write!(f, "there is no process {pid}"),
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(what) => write!(f, "the shared memory is corrupt: {what}"),
        }
    }
}

impl std::error::Error for AttachError {}
impl std::error::Error for SessionError {}
