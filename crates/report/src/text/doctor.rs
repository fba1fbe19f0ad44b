//! What `doctor` prints.
//!
//! Owns: its wording. Must not know: how a check is made.

use std::io::{self, Write};

use super::table::safe;
use super::{Paint, Text, phrase};
use crate::{Check, CheckState, DoctorView};

/// All checks in the order that they were given, and what they come to.
pub(super) fn checks(text: Text, view: &DoctorView, out: &mut dyn Write) -> io::Result<()> {
    let about = view.target.as_deref().map_or_else(|| "this machine".to_owned(), safe);
    writeln!(out, "{}", text.painted(Paint::Title, &format!("Checks for {about}")))?;
    let width = view.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    for check in &view.checks {
        write_check(text, check, width, out)?;
    }
    writeln!(out)?;
    writeln!(out, "{}", conclusion(view))
}

/// What was found, and on lines of their own what is needed and what would change it: the command can be copied whole.
fn write_check(text: Text, check: &Check, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let state = text.painted(paint(check.state), &format!("{:<7}", check.state.key()));
    writeln!(out, "  {state}  {:<width$}  {}", safe(&check.name), safe(&check.found))?;
    if !check.needed.is_empty() {
        writeln!(out, "           {:<width$}  needed: {}", "", safe(&check.needed))?;
    }
    if let Some(remedy) = &check.remedy {
        writeln!(out, "           {:<width$}  to change it: {}", "", safe(remedy))?;
    }
    Ok(())
}

/// What could not be found out is as doubtful as a warning: it may still prevent an attach.
const fn paint(state: CheckState) -> Paint {
    match state {
        CheckState::Fail => Paint::Bad,
        CheckState::Unknown | CheckState::Warn => Paint::Doubtful,
        CheckState::Ok => Paint::Good,
    }
}

/// Never more than was checked: that nothing prevents an attach is no promise that it works.
fn conclusion(view: &DoctorView) -> String {
    let number = |state| view.checks.iter().filter(|check| check.state == state).count() as u64;
    // A check that could not be made is no failure, but hiding it would make the conclusion sound surer than it is.
    let unknown = match number(CheckState::Unknown) {
        0 => String::new(),
        unknown => format!("; {} could not be made", phrase::counted(unknown, "check")),
    };
    match number(CheckState::Fail) {
        0 => format!("Nothing that was checked prevents an attach{unknown}."),
        failed => format!("An attach is not possible: {} failed{unknown}.", phrase::counted(failed, "check")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    /// The states of the checks by their first letters, and the conclusion.
    #[track_caller]
    fn check(states: &str, expected: &str) {
        let state = |letter| match letter {
            'f' => CheckState::Fail,
            'u' => CheckState::Unknown,
            'w' => CheckState::Warn,
            _ => CheckState::Ok,
        };
        let mut view = samples::doctor();
        let sample = view.checks[0].clone();
        view.checks = states.chars().map(|letter| Check { state: state(letter), ..sample.clone() }).collect();
        assert_eq!(conclusion(&view), expected);
        assert_eq!(view.attach_possible(), !states.contains('f'));
    }

    #[test]
    fn only_a_failure_prevents_an_attach() {
        check("", "Nothing that was checked prevents an attach.");
        check("oww", "Nothing that was checked prevents an attach.");
        check("ou", "Nothing that was checked prevents an attach; 1 check could not be made.");
        check("ofwf", "An attach is not possible: 2 checks failed.");
        check("fuu", "An attach is not possible: 1 check failed; 2 checks could not be made.");
    }

    #[test]
    fn a_check_cannot_move_the_cursor() {
        let mut view = samples::doctor();
        view.target = Some("7 (a\x1b[2J)".to_owned());
        view.checks[0].found = "b\rc".to_owned();
        let mut out = Vec::new();
        checks(Text { width: 80, colour: false }, &view, &mut out).unwrap();
        assert!(!out.contains(&b'\x1b') && !out.contains(&b'\r'));
    }
}
