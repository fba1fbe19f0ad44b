//! `leakline watch`: the live ranking, on a screen or a table per beat.
//!
//! Owns: the choice between the two, and the loop of the latter. Must not know: how growth is judged. Watching is looking,
//! not judging: the exit code is 0, unless a process that was attached to from the screen turned out to leak.

use std::io::{self, IsTerminal};

use report::{Document, Outcome};

use crate::attach::write_summary;
use crate::failure::Failure;
use crate::flags::Watch;
use crate::live;
use crate::machine::Machine;
use crate::output::{Form, Output};
use crate::session::{Event, Events, Nothing, Schedule};

/// Shows the ranking until the user quits or the window is over.
pub(crate) fn run(flags: &Watch) -> Result<Outcome, Failure> {
    let mut output = Output::new(flags.json);
    let machine = Machine::new(&flags.filter, flags.window)?;
    let mut events = Events::new(Schedule::new(flags.every, flags.window))?;
    if flags.plain || flags.json || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return tables(flags, machine, &mut events, &mut output);
    }
    let summaries = live::ranking(flags, machine, &mut events)?;
    for summary in &summaries {
        write_summary(&mut output, summary)?;
    }
    Ok(if summaries.iter().any(|summary| summary.outcome == Outcome::LeakFound) {
        Outcome::LeakFound
    } else {
        Outcome::NothingFound
    })
}

/// A table per beat, or a document.
fn tables(flags: &Watch, mut machine: Machine, events: &mut Events, output: &mut Output) -> Result<Outcome, Failure> {
    loop {
        match events.next(None, &mut Nothing)? {
            Event::Signal | Event::TimeUp => return Ok(Outcome::NothingFound),
            Event::Beat => {
                machine.beat()?;
                let view = machine.view();
                match output.form() {
                    Form::Text => output.write(|text, out| text.beat(&view, flags.sites.top, out))?,
                    Form::Json => output.document(&Document::Beat(&view))?,
                }
            }
            Event::Key(_) | Event::TargetGone(_) | Event::NamesArrived => {}
        }
    }
}
