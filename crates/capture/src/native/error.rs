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
        /// What helps, where names of functions would not.
        remedy: Option<String>,
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
    /// There is too little memory for the records.
    NoRoom {
        /// The target.
        pid: Pid,
        /// What there is and what would be needed.
        found: String,
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
            Self::Traced { tracer, .. } => {
                format!("detach the other tracer first (process {tracer}: `ps -fp {tracer}`)")
            }
            Self::Watched { by: Some(by), .. } => {
                format!("end the other leakline first: `kill -INT {by}` lets it detach")
            }
            Self::Watched { by: None, .. } => {
                "end the other leakline first; it is about to attach, runs in another pid namespace or belongs to another user".into()
            }
            Self::Forbidden { remedy, .. } | Self::NoAllocator { remedy: Some(remedy), .. } => remedy.clone(),
            Self::NoProc(_) => "`mount -t proc proc /proc`".into(),
            Self::ForeignArchitecture { .. } => {
                "leakline attaches to x86-64 programs; `leakline hunt` still measures growth".into()
            }
            Self::Functions(_) => "`--alloc fn=NAME,size=argN` and `--free fn=NAME,ptr=argN`".into(),
            Self::NoSuchFunction { nearest, .. } if nearest.is_empty() => {
                "give the name as `nm` prints it; of a stripped program only exported names are left".into()
            }
            Self::NoSuchFunction { nearest, .. } => format!("did you mean {}?", nearest.join(" or ")),
            Self::NoRoom { .. } => {
                "give its control group more memory (`memory.max`), or name a larger cap by --max-memory".into()
            }
            Self::NoAllocator { pid, remedy: None, .. } => format!(
                "install its debug symbols, or put an unstripped copy of it where its debug file belongs; `leakline doctor {pid}` shows \
                 what was looked at"
            ),
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
            Self::Traced { pid, tracer } => write!(f, "process {pid} is already traced by process {tracer}"),
            Self::Watched { pid, by: None } => write!(f, "another leakline is attached to process {pid}"),
            Self::Watched { pid, by: Some(by) } => {
                write!(f, "another leakline (process {by}) is attached to process {pid}")
            }
            Self::Forbidden { pid, reason, .. } => write!(f, "the kernel forbids tracing process {pid}: {reason}"),
            Self::NoProc(pid) => write!(f, "process {pid} cannot be looked up: /proc is not mounted"),
            Self::ForeignArchitecture { pid, found } => write!(f, "process {pid} runs {found}, not an x86-64 program"),
            Self::NoAllocator { pid, found, .. } => write!(f, "no allocator to hook in process {pid}: {found}"),
            Self::NoRoom { pid, found } => {
                write!(f, "there is too little memory for the records of process {pid}: {found}")
            }
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

/// Why a program was not started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LaunchError {
    /// No program was named.
    Empty,
    /// There is no such file.
    NotFound {
        /// As it was named.
        name: String,
    },
    /// There is one, but it cannot be executed.
    NotExecutable {
        /// The file.
        name: String,
        /// It is a folder.
        folder: bool,
    },
    /// Its file gives it rights that the kernel withholds from a program that is traced.
    Privileged {
        /// The file.
        name: String,
    },
    /// The kernel forbids tracing.
    Forbidden {
        /// As it was named.
        name: String,
        /// What is in the way, where that is known, and what lifts it.
        known: Option<(String, String)>,
    },
    /// It could not be brought to its first instruction; it was ended.
    Failed {
        /// As it was named.
        name: String,
        /// What the kernel said.
        found: String,
    },
}

impl LaunchError {
    /// What a failed `exec` means.
    pub(crate) fn of(name: String, error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOENT) => Self::NotFound { name },
            Some(libc::EPERM) => Self::Forbidden { name, known: None },
            Some(libc::EACCES | libc::ENOEXEC) => Self::NotExecutable { name, folder: false },
            _ => Self::Failed { name, found: error.to_string() },
        }
    }

    /// The exit code that a shell would give: 127 where there is no such program, 126 where it cannot be executed; 2 where
    /// leakline is what refuses.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } => 126,
            Self::Empty | Self::Privileged { .. } | Self::Forbidden { .. } | Self::Failed { .. } => 2,
        }
    }

    /// What would help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Empty => Some("`leakline run -- COMMAND ARGUMENTS`".into()),
            Self::NotFound { .. } => Some("check the name and `PATH`, as for any command".into()),
            Self::NotExecutable { name, folder: false } => Some(format!("`chmod +x {name}`")),
            Self::Privileged { .. } => Some("run leakline as root, which keeps the program's rights".into()),
            Self::Forbidden { known: Some((_, remedy)), .. } => Some(remedy.clone()),
            Self::Forbidden { known: None, .. } => {
                Some("run as root, or see what `leakline doctor` says of tracing on this machine".into())
            }
            Self::NotExecutable { .. } | Self::Failed { .. } => None,
        }
    }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "no command to run was named"),
            Self::NotFound { name } => write!(f, "{name}: command not found"),
            Self::NotExecutable { name, folder: true } => write!(f, "{name} is a folder, not a program"),
            Self::NotExecutable { name, .. } => write!(f, "{name} cannot be executed"),
            Self::Privileged { name } => {
                write!(
                    f,
                    "{name} gives whoever executes it other rights (setuid, setgid or capabilities), which tracing takes away"
                )
            }
            Self::Forbidden { name, known: None } => write!(f, "the kernel forbids tracing {name}"),
            Self::Forbidden { name, known: Some((reason, _)) } => {
                write!(f, "the kernel forbids tracing {name}: {reason}")
            }
            Self::Failed { name, found } => write!(f, "cannot start {name}: {found}"),
        }
    }
}

impl std::error::Error for LaunchError {}

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
