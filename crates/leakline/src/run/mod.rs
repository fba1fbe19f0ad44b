//! `leakline run`: a program, from its first instruction to its end.
//!
//! Owns: the way of one process through all the programs that it executes, its children, and the exit code.
//! Must not know: how a program is hooked or looked at.

mod children;
mod member;
mod report;
mod supervisor;

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Instant;

use ::report::Outcome;
use analysis::Suppressions;
use capture::Program;

use self::children::{Children, Over};
use self::member::{Member, Turn};
use self::report::{Sink, suppressions};
use self::supervisor::Supervisor;
use crate::attached::{Found, Shown};
use crate::failure::{Failure, both};
use crate::flags::Run;
use crate::limits::{NAMES_PATIENCE, RUN_SLICE};

/// Runs a program and gives the exit code.
pub(crate) fn run(flags: &Run) -> Result<u8, Failure> {
    let suppressions = suppressions(&flags.suppressions)?;
    let sink = Sink::open(flags.output.as_deref(), flags.json)?;
    let supervisor = Supervisor::new()?;
    let program = match Program::start(&flags.command) {
        Ok(program) => program,
        Err(error) => {
            let hint = error.hint();
            crate::end_of_failure(&Failure::with_hint(&error, hint));
            return Ok(error.exit_code());
        }
    };
    let children = flags.follow.then(|| Children::of(program.pid()));
    let mut way = Way { flags, suppressions, sink, supervisor, program, children, made: 0, outcome: None };
    way.go()?;
    let status = way.end();
    way.leave_children()?;
    Ok(exit_code(status, way.outcome, flags.fail_on_leak))
}

/// The process and all that it takes to see it through.
#[derive(Debug)]
struct Way<'a> {
    flags: &'a Run,
    suppressions: Suppressions,
    sink: Sink,
    supervisor: Supervisor,
    program: Program,
    /// Below the process, if they are wanted.
    children: Option<Children>,
    /// Children that were made by programs which are over.
    made: u64,
    /// Of what ran to its end; none before anything did.
    outcome: Option<Outcome>,
}

impl Way<'_> {
    /// Hooks one program after the other and reports on each.
    fn go(&mut self) -> Result<(), Failure> {
        if !self.program.is_waiting() {
            Sink::say("the program ended before its first instruction: its libraries could not be loaded");
            return Ok(());
        }
        let mut first = true;
        loop {
            let mut member = match Member::start(&mut self.program, self.flags) {
                Ok(member) => member,
                Err(failure) if first => {
                    self.program.cancel();
                    return Err(failure);
                }
                Err(failure) => {
                    self.unobserved(&failure);
                    return Ok(());
                }
            };
            first = false;
            let (turn, found) = self.watch(&mut member)?;
            let another = matches!(turn, Turn::Another);
            let unfollowed = if let Turn::Unfollowed(why) = &turn { Some(why.clone()) } else { None };
            let end = if let Turn::Ended = turn { self.wait_for_end(&member).map(described) } else { None };
            self.report(Over { member, turn, found }, end)?;
            if let Some(why) = unfollowed {
                self.unobserved(&Failure::with_hint(why, None));
            }
            if !another {
                return Ok(());
            }
        }
    }

    /// Stays with a program until it is over.
    fn watch(&mut self, member: &mut Member) -> Result<(Turn, Found), Failure> {
        loop {
            self.supervisor.answer(self.program.pid());
            let patience = if self.children.is_some() { RUN_SLICE / 4 } else { RUN_SLICE };
            if let Some(over) = member.turn(&mut self.program, patience) {
                return Ok(over);
            }
            self.see_to_children()?;
        }
    }

    fn see_to_children(&mut self) -> Result<(), Failure> {
        let Some(children) = &mut self.children else { return Ok(()) };
        let over = children.turn(self.flags);
        let unwatched = children.take_unwatched();
        for what in unwatched {
            Sink::say(&format!("not followed: {what}"));
        }
        over.into_iter().try_for_each(|over| self.report(over, None))
    }

    /// Children that outlive the program are left alone from here on.
    fn leave_children(&mut self) -> Result<(), Failure> {
        self.see_to_children()?;
        let over = self.children.as_mut().map(Children::leave).unwrap_or_default();
        over.into_iter().try_for_each(|over| self.report(over, None))?;
        let short = self.children.as_ref().map_or(0, |children| children.short(self.made));
        if short > 0 {
            Sink::say(&format!("{short} children ended before they could be hooked"));
        }
        Ok(())
    }

    /// Reports on a program that is over; `end` says how it ended where that is known.
    fn report(&mut self, over: Over, end: Option<String>) -> Result<(), Failure> {
        let Over { member, turn, found } = over;
        self.made += member.children_made();
        let end = end.unwrap_or_else(|| {
            match turn {
                Turn::Ended => "ended (with which status only its parent knows)",
                Turn::Left => "goes on unobserved, since the program that was run has ended",
                Turn::Another | Turn::Unfollowed(_) => "executed another program",
            }
            .to_owned()
        });
        let shown = Shown { suppressions: &self.suppressions, reachable: self.flags.show_reachable };
        let supervisor = &mut self.supervisor;
        let until = Instant::now() + NAMES_PATIENCE;
        let mut view = member.into_attached().end_of_program(end, found, shown, || {
            std::thread::sleep(RUN_SLICE / 4);
            Instant::now() < until && !supervisor.is_asked_to_end()
        });
        if matches!(turn, Turn::Another | Turn::Unfollowed(_)) {
            let note = "its memory went when it executed the other program; what it had not freed is no leak of that";
            view.process.notes.push(note.to_owned());
        } else {
            self.outcome = Some(self.outcome.map_or(view.outcome, |before| both(before, view.outcome)));
        }
        self.sink.write(&view)
    }

    /// The process goes on without us.
    fn unobserved(&mut self, why: &Failure) {
        self.program.release();
        if let Failure::Refused { text, hint } = why {
            let hint = hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
            Sink::say(&format!("from here on the process is not observed: {text}{hint}"));
        }
        self.outcome = Some(self.outcome.map_or(Outcome::CouldNotJudge, |before| both(before, Outcome::CouldNotJudge)));
    }

    /// Waits for the end of a program that may still come to the gate.
    fn wait_for_end(&mut self, member: &Member) -> Option<ExitStatus> {
        while self.program.ended().is_none() {
            member.see_off(RUN_SLICE / 4);
            self.supervisor.answer(self.program.pid());
        }
        self.program.ended()
    }

    /// Waits for the end of the process.
    fn end(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.program.ended() {
                return status;
            }
            self.supervisor.answer(self.program.pid());
            std::thread::sleep(RUN_SLICE);
        }
    }
}

/// How a process ended, in words.
fn described(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => {
            let dumped = if status.core_dumped() { ", core dumped" } else { "" };
            format!("ended by signal {signal}{dumped}")
        }
        (None, None) => "ended".to_owned(),
    }
}

/// The program's own code; only if that says that all is well, what was found may say otherwise.
fn exit_code(status: ExitStatus, outcome: Option<Outcome>, fail_on_leak: Option<u8>) -> u8 {
    let own = match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128_u8.saturating_add(signal as u8),
        (None, None) => Outcome::CouldNotJudge.exit_code(),
    };
    match (fail_on_leak, outcome) {
        (Some(code), Some(Outcome::LeakFound)) if own == 0 => code,
        (Some(_), Some(Outcome::CouldNotJudge | Outcome::Blind)) if own == 0 => Outcome::CouldNotJudge.exit_code(),
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A status as the kernel writes it, the outcome, and the code with `--fail-on-leak=9`.
    #[track_caller]
    fn check(raw: i32, outcome: Option<Outcome>, without: u8, with: u8) {
        let status = ExitStatus::from_raw(raw);
        assert_eq!(exit_code(status, outcome, None), without);
        assert_eq!(exit_code(status, outcome, Some(9)), with);
    }

    #[test]
    fn the_exit_code_is_the_programs_unless_a_leak_is_asked_for() {
        check(0, Some(Outcome::NothingFound), 0, 0);
        check(0, Some(Outcome::LeakFound), 0, 9);
        check(0, Some(Outcome::CouldNotJudge), 0, 2);
        check(0, Some(Outcome::Blind), 0, 2);
        check(3 << 8, Some(Outcome::LeakFound), 3, 3);
        check(15, Some(Outcome::CouldNotJudge), 143, 143);
        check(127 << 8, None, 127, 127);
    }

    #[test]
    fn an_end_is_said_in_words() {
        assert_eq!(described(ExitStatus::from_raw(0)), "ended with status 0");
        assert_eq!(described(ExitStatus::from_raw(11 + 128)), "ended by signal 11, core dumped");
        assert_eq!(described(ExitStatus::from_raw(9)), "ended by signal 9");
    }
}
