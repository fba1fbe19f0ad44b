//! `leakline doctor`: what works here, and what does not.
//!
//! Owns: the exit code of the command. Must not know: how a condition is examined or worded.

use capture::{Condition, ConditionState, examine_machine, examine_process};
use report::{Check, CheckState, DoctorView, Document, Outcome};

use crate::failure::Failure;
use crate::flags::Doctor;
use crate::output::{Form, Output};

/// Examines, and writes what was found: 0 where an attach is possible, else 2.
pub(crate) fn run(flags: &Doctor) -> Result<Outcome, Failure> {
    let mut output = Output::new(flags.json);
    let view = examine(flags);
    match output.form() {
        Form::Text => output.write(|text, out| text.doctor(&view, out))?,
        Form::Json => output.document(&Document::Doctor(&view))?,
    }
    Ok(if view.attach_possible() { Outcome::NothingFound } else { Outcome::CouldNotJudge })
}

fn examine(flags: &Doctor) -> DoctorView {
    let mut conditions = examine_machine();
    let target = flags.pid.map(|pid| {
        let examination = examine_process(pid);
        conditions.extend(examination.conditions);
        examination.command.map_or_else(|| pid.to_string(), |command| format!("{pid} ({command})"))
    });
    DoctorView { target, checks: conditions.into_iter().map(check).collect() }
}

fn check(condition: Condition) -> Check {
    let state = match condition.state {
        ConditionState::Met => CheckState::Ok,
        ConditionState::Limited => CheckState::Warn,
        ConditionState::Unmet => CheckState::Fail,
        ConditionState::Unknown => CheckState::Unknown,
    };
    Check {
        name: condition.name.to_owned(),
        state,
        found: condition.found,
        needed: condition.needed,
        remedy: condition.remedy,
    }
}

#[cfg(test)]
mod tests {
    use model::Pid;

    use super::*;

    #[test]
    fn the_machine_is_examined_with_and_without_a_process() {
        let machine = examine(&Doctor { pid: None, json: false });
        assert!(machine.target.is_none() && machine.checks.iter().any(|check| check.name == "ptrace_scope"));
        let own = examine(&Doctor { pid: Some(Pid(std::process::id())), json: false });
        assert!(own.checks.len() > machine.checks.len() && !own.attach_possible(), "{own:?}");
        let none = examine(&Doctor { pid: Some(Pid(1 << 22)), json: false });
        assert_eq!(none.target.as_deref(), Some("4194304"));
        assert!(!none.attach_possible());
    }
}
