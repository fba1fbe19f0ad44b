//! What `doctor` prints.
//!
//! Owns: its wording. Must not know: how a check is made.

use std::io::{self, Write};

use super::table::safe;
use super::{Paint, Text, phrase};
use crate::{Check, CheckState, DoctorView};

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

const fn paint(state: CheckState) -> Paint {
    match state {
        CheckState::Fail => Paint::Bad,
        CheckState::Unknown | CheckState::Warn => Paint::Doubtful,
        CheckState::Ok => Paint::Good,
    }
}

fn conclusion(view: &DoctorView) -> String {
    let number = |state| view.checks.iter().filter(|check| check.state == state).count() as u64;
    let unknown = match number(CheckState::Unknown) {
        0 => String::new(),
        unknown => format!("; {} could not be made", phrase::counted(unknown, "check")),
    };
    match number(CheckState::Fail) {
        0 => format!("Nothing that was checked prevents an attach{unknown}."),
        failed => format!("An attach is not possible: {} failed{unknown}.", phrase::counted(failed, "check")),
    }
}
