//! What works on this machine and for one process, and what does not.
//!
//! Owns: the checks and what they came to. Must not know: how a check is made.

/// Everything that was checked.
#[derive(Clone, Debug)]
pub struct DoctorView {
    /// The process that it was checked for, for people, for example `1234 (server)`; none for the machine alone.
    pub target: Option<String>,
    /// The checks, in the order in which they matter.
    pub checks: Vec<Check>,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was checked, for example `ptrace_scope`.
    pub name: String,
    /// What it came to.
    pub state: CheckState,
    /// What was found.
    pub found: String,
    /// What is needed; empty where the check is fine.
    pub needed: String,
    /// The command that would change it, where one does.
    pub remedy: Option<String>,
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckState {
    /// It prevents an attach.
    Fail,
    /// It could not be found out.
    Unknown,
    /// It works, with a loss that `needed` names.
    Warn,
    /// It works.
    Ok,
}

impl CheckState {
    /// The word for it, in text and JSON.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Ok => "ok",
        }
    }
}

impl DoctorView {
    /// Whether nothing that was checked prevents an attach.
    pub fn attach_possible(&self) -> bool {
        self.checks.iter().all(|check| check.state != CheckState::Fail)
    }
}
