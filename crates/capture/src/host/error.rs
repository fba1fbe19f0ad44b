//! Why the machine cannot be sampled as asked.
//!
//! Owns: the facts and the hints. Must not know: how an error is shown.

use std::{error, fmt, io};

use model::{Pid, escaped};

/// Why the machine cannot be sampled.
#[derive(Debug)]
pub enum HostError {
    /// `/proc` cannot be read at all.
    NoProcessList {
        /// What the kernel said.
        cause: io::Error,
    },
    /// No process has this number.
    NoSuchProcess {
        /// The number.
        pid: Pid,
    },
    /// The number belongs to a thread, not to a process.
    Thread {
        /// The number.
        pid: Pid,
        /// The process that the thread belongs to.
        process: Pid,
    },
    /// The number belongs to a thread of the kernel, which has no memory of its own.
    KernelThread {
        /// The number.
        pid: Pid,
    },
    /// The process has ended and waits for its parent to notice.
    Zombie {
        /// The number.
        pid: Pid,
    },
    /// The number is that of leakline.
    Itself {
        /// The number.
        pid: Pid,
    },
    /// The process may not be looked at.
    Forbidden {
        /// The number.
        pid: Pid,
    },
    /// The user database has no such name.
    UnknownUser {
        /// The name as it was given.
        name: String,
    },
}

impl HostError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoProcessList { .. } => "mount it: mount -t proc proc /proc",
            Self::NoSuchProcess { .. } => "see `ps -e` for the processes that run",
            Self::Thread { process, .. } => return Some(format!("name the process instead: {process}")),
            Self::KernelThread { .. } => {
                "only processes with memory of their own can leak; see `slabtop` for the kernel"
            }
            Self::Zombie { .. } => "its memory is already free; look at its parent, which does not wait for it",
            Self::Itself { .. } => "name another process",
            Self::Forbidden { .. } => "/proc is mounted with hidepid: run as root or as the user of the process",
            Self::UnknownUser { .. } => {
                "give the number of the user (`id -u NAME`) where the name is not in /etc/passwd"
            }
        };
        Some(hint.to_owned())
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProcessList { cause } => write!(f, "cannot list the processes in /proc: {cause}"),
            Self::NoSuchProcess { pid } => write!(f, "no process has the pid {pid}"),
            Self::Thread { pid, process } => write!(f, "{pid} is a thread of the process {process}, not a process"),
            Self::KernelThread { pid } => write!(f, "{pid} is a thread of the kernel and has no memory of its own"),
            Self::Zombie { pid } => write!(f, "the process {pid} has ended and is a zombie"),
            Self::Itself { pid } => write!(f, "{pid} is leakline itself"),
            Self::Forbidden { pid } => write!(f, "the process {pid} may not be looked at"),
            Self::UnknownUser { name } => write!(f, "no user is called {}", escaped(name.as_bytes())),
        }
    }
}

impl error::Error for HostError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        if let Self::NoProcessList { cause } = self { Some(cause) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &HostError, text: &str, hint: &str) {
        assert_eq!(error.to_string(), text);
        assert!(error.hint().is_some_and(|found| found.contains(hint)), "{:?}", error.hint());
    }

    #[test]
    fn an_error_names_what_was_found_and_what_to_do() {
        check(&HostError::NoSuchProcess { pid: Pid(7) }, "no process has the pid 7", "ps -e");
        check(
            &HostError::Thread { pid: Pid(8), process: Pid(7) },
            "8 is a thread of the process 7, not a process",
            "name the process instead: 7",
        );
        check(&HostError::UnknownUser { name: "a\x1b[m".to_owned() }, "no user is called a\\x1b[m", "id -u");
    }

    #[test]
    fn every_error_has_a_hint() {
        let pid = Pid(7);
        let cause = io::Error::from_raw_os_error(2);
        check(
            &HostError::NoProcessList { cause },
            "cannot list the processes in /proc: No such file or directory (os error 2)",
            "mount",
        );
        check(&HostError::KernelThread { pid }, "7 is a thread of the kernel and has no memory of its own", "slabtop");
        check(&HostError::Zombie { pid }, "the process 7 has ended and is a zombie", "parent");
        check(&HostError::Itself { pid }, "7 is leakline itself", "another process");
        check(&HostError::Forbidden { pid }, "the process 7 may not be looked at", "hidepid");
    }
}
