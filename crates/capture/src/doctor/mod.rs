//! What an attach needs, of this machine and of one process, and whether it is there.
//!
//! Owns: the conditions, how each is examined, and the command that would change it.
//! Must not know: how an attach is done, or how a condition is shown. Nothing here changes anything, in no process.

mod binary;
mod facts;
mod machine;
mod remedies;
mod target;

use model::Pid;

pub(crate) use self::facts::memory_available;

/// One thing that an attach needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What was examined, for example `ptrace_scope`.
    pub name: &'static str,
    /// What it came to.
    pub state: ConditionState,
    /// What was found; control characters are escaped.
    pub found: String,
    /// What is needed; empty where the condition is met.
    pub needed: String,
    /// The command that would change it, where one does.
    pub remedy: Option<String>,
}

/// What the examination of a condition came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionState {
    /// It is met.
    Met,
    /// An attach works, with a loss that [`Condition::needed`] names.
    Limited,
    /// It prevents an attach.
    Unmet,
    /// It could not be found out.
    Unknown,
}

/// What was found out about one process.
#[derive(Clone, Debug)]
pub struct Examination {
    /// Its name as the kernel keeps it, control characters escaped; none where there is no such process.
    pub command: Option<String>,
    /// Its conditions, in the order in which they matter.
    pub conditions: Vec<Condition>,
}

/// Examines this machine, and what we may do on it.
pub fn examine_machine() -> Vec<Condition> {
    machine::judge(&facts::Machine::gather())
}

/// Examines one process.
pub fn examine_process(pid: Pid) -> Examination {
    let machine = facts::Machine::gather();
    match facts::Target::gather(pid) {
        Some(target) => {
            Examination { command: Some(target.command.clone()), conditions: target::judge(&machine, &target) }
        }
        None => Examination { command: None, conditions: vec![target::absent(pid)] },
    }
}

/// Why the kernel does not let us attach to a process, and what would help.
pub(crate) fn why_forbidden(pid: Pid) -> (String, String) {
    let machine = facts::Machine::gather();
    match facts::Target::permission(pid) {
        Some(target) => target::why_denied(&machine, &target),
        None => target::why_hidden(&machine, pid),
    }
}

/// Why ptrace is refused to us although the process may be traced, and what would help.
pub(crate) fn why_filtered() -> (String, String) {
    target::why_filtered(&facts::Machine::gather())
}

/// Constructors that name the state, so that a judgement reads as a sentence.
/// How to run a command so that all processes are open to it, where some are not now.
pub(crate) fn how_to_see_all(command: &str) -> String {
    remedies::how_to_see_all(&facts::Machine::gather(), command)
}

impl Condition {
    fn met(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: ConditionState::Met, found: found.into(), needed: String::new(), remedy: None }
    }

    fn limited(name: &'static str, found: impl Into<String>, needed: impl Into<String>) -> Self {
        Self { name, state: ConditionState::Limited, found: found.into(), needed: needed.into(), remedy: None }
    }

    fn unmet(name: &'static str, found: impl Into<String>, needed: impl Into<String>) -> Self {
        Self { name, state: ConditionState::Unmet, found: found.into(), needed: needed.into(), remedy: None }
    }

    fn unknown(name: &'static str, found: impl Into<String>, needed: impl Into<String>) -> Self {
        Self { name, state: ConditionState::Unknown, found: found.into(), needed: needed.into(), remedy: None }
    }

    fn remedied(mut self, remedy: impl Into<String>) -> Self {
        debug_assert!(self.state != ConditionState::Met, "what is met needs no remedy: {self:?}");
        self.remedy = Some(remedy.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_can_be_examined_but_not_attached_to() {
        let own = examine_process(Pid(std::process::id()));
        assert!(own.command.is_some());
        let identity = own.conditions.iter().find(|condition| condition.name == "process").expect("always examined");
        assert_eq!(identity.state, ConditionState::Unmet, "{identity:?}");
        assert!(identity.found.contains("leakline itself"), "{identity:?}");
    }

    #[test]
    fn a_process_that_does_not_exist_is_one_unmet_condition() {
        // PID_MAX_LIMIT is 2^22, so that this number is never handed out.
        let none = examine_process(Pid(u32::MAX >> 1));
        assert!(none.command.is_none());
        assert!(matches!(none.conditions.as_slice(), [Condition { state: ConditionState::Unmet, .. }]), "{none:?}");
    }

    #[test]
    fn every_condition_that_is_not_met_says_what_is_needed() {
        for condition in examine_machine().into_iter().chain(examine_process(Pid(1)).conditions) {
            assert_eq!(condition.needed.is_empty(), condition.state == ConditionState::Met, "{condition:?}");
            assert!(!condition.found.is_empty(), "{condition:?}");
        }
    }
}
