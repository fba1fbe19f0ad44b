//! Why an attach is refused or fails, and what would help.
//!
//! Owns: the wording of facts and hints. Must not know: how they were found.

use std::fmt;

use model::Pid;

/// Why an attach was refused or failed; the target is as it was.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AttachError {
    /// There is no such process.
    NoSuchProcess(Pid),
    /// The process is leakline itself.
    Itself(Pid),
    /// It is a thread of the kernel.
    KernelThread(Pid),
    /// It has ended and waits for its parent.
    Zombie(Pid),
    /// It is stopped by a signal.
    Stopped(Pid),
    /// Something else traces it.
    Traced {
        /// The target.
        pid: Pid,
        /// The tracer.
        tracer: Pid,
    },
    /// Another leakline watches it.
    Watched {
        /// The target.
        pid: Pid,
        /// The other leakline, where it can be seen from here.
        by: Option<Pid>,
    },
    /// The kernel forbids it.
    Forbidden {
        /// The target.
        pid: Pid,
        /// What stands against it.
        reason: String,
        /// The command that lifts it.
        remedy: String,
    },
    /// There is no `/proc` to look it up in.
    NoProc(Pid),
    /// It is a program for another processor or of 32 bits.
    ForeignArchitecture {
        /// The target.
        pid: Pid,
        /// What its program file says.
        found: String,
    },
    /// No allocator that can be hooked was found.
    NoAllocator {
        /// The target.
        pid: Pid,
        /// What was looked at, and why it was not enough.
        found: String,
    },
    /// A function that the user named is described in words that are not understood.
    Functions(String),
    /// A function that the user named is not there.
    NoSuchFunction {
        /// The target.
        pid: Pid,
        /// Its name.
        function: String,
        /// Names that are like it.
        nearest: Vec<String>,
    },
    /// The target ended, or became another program, during the attach.
    Vanished(Pid),
    /// A step of the attach failed; it was undone.
    Step {
        /// The target.
        pid: Pid,
        /// What was tried.
        step: &'static str,
        /// What the kernel or the target's memory said.
        found: String,
    },
}

impl AttachError {
    /// What would help: a command to run, or a setting to change.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoSuchProcess(_) | Self::Vanished(_) => "list processes with `leakline watch --plain`".into(),
            Self::Itself(_) => "name another process".into(),
            Self::KernelThread(_) => "kernel memory shows in /proc/slabinfo: no allocator can be hooked there".into(),
            Self::Zombie(_) => "look at its parent, which has not collected it".into(),
            Self::Stopped(pid) => format!("nothing is allocated while it is stopped: `kill -CONT {pid}`, then attach"),
            Self::Traced { tracer, .. } => {
                format!("detach the other tracer first (process {tracer}: `ps -fp {tracer}`)")
            }
            Self::Watched { by: Some(by), .. } => {
                format!("end the other leakline first: `kill -INT {by}` lets it detach")
            }
            Self::Watched { by: None, .. } => {
                "end the other leakline first; it runs in another pid namespace or belongs to another user".into()
            }
            Self::Forbidden { remedy, .. } => remedy.clone(),
            Self::NoProc(_) => "`mount -t proc proc /proc`".into(),
            Self::ForeignArchitecture { .. } => {
                "leakline attaches to x86-64 programs; `leakline hunt` still measures growth".into()
            }
            Self::Functions(_) => "`--alloc fn=NAME,size=argN` and `--free fn=NAME,ptr=argN`".into(),
            Self::NoSuchFunction { nearest, .. } if nearest.is_empty() => {
                "give the name as `nm` prints it; of a stripped program only exported names are left".into()
            }
            Self::NoSuchFunction { nearest, .. } => format!("did you mean {}?", nearest.join(" or ")),
            Self::NoAllocator { pid, .. } => format!("`leakline doctor {pid}` shows what was looked at"),
            Self::Step { pid, .. } => format!("`leakline doctor {pid}` shows what the machine and the target allow"),
        })
    }
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchProcess(pid) => write!(f, "there is no process {pid}"),
            Self::Itself(pid) => write!(f, "process {pid} is leakline itself"),
            Self::KernelThread(pid) => write!(f, "process {pid} is a thread of the kernel"),
            Self::Zombie(pid) => write!(f, "process {pid} is a zombie: it has ended and has no memory"),
            Self::Stopped(pid) => write!(f, "process {pid} is stopped by a signal"),
            Self::Traced { pid, tracer } => write!(f, "process {pid} is already traced by process {tracer}"),
            Self::Watched { pid, by: None } => write!(f, "another leakline is attached to process {pid}"),
            Self::Watched { pid, by: Some(by) } => {
                write!(f, "another leakline (process {by}) is attached to process {pid}")
            }
            Self::Forbidden { pid, reason, .. } => write!(f, "the kernel forbids tracing process {pid}: {reason}"),
            Self::NoProc(pid) => write!(f, "process {pid} cannot be looked up: /proc is not mounted"),
            Self::ForeignArchitecture { pid, found } => write!(f, "process {pid} runs {found}, not an x86-64 program"),
            Self::NoAllocator { pid, found } => write!(f, "no allocator to hook in process {pid}: {found}"),
            Self::Functions(what) => write!(f, "a function is not described as needed: {what}"),
            Self::NoSuchFunction { pid, function, .. } => {
                write!(f, "no symbol table of process {pid} names a function `{function}`")
            }
            Self::Vanished(pid) => write!(f, "process {pid} ended or became another program during the attach"),
            Self::Step { pid, step, found } => write!(f, "cannot {step} in process {pid}: {found}"),
        }
    }
}

impl std::error::Error for AttachError {}

/// Why a session cannot be read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// The memory shared with the target cannot be read.
    Unreadable(String),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(what) => write!(f, "the memory shared with the target cannot be read: {what}"),
        }
    }
}

impl std::error::Error for SessionError {}

#[cfg(test)]
mod tests;
