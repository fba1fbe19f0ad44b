//! `leakline watch`: the live ranking, on a screen or a table per beat.
//!
//! Owns: the choice between the two, and the loop of the latter. Must not know: how growth is judged, or when an alert is raised. Watching is looking,
//! not judging: the exit code is 0, unless a process that was attached to from the screen turned out to leak.

use std::io::{self, IsTerminal};

use report::{Document, Outcome};

use crate::alerts::Alerts;
use crate::attach::write_summary;
use crate::failure::Failure;
use crate::flags::Watch;
use crate::live;
use crate::machine::AlertedMachine;
use crate::output::{Form, Output};
use crate::session::{Event, Events, Nothing, Schedule};
use crate::settings::Settings;

/// Shows the ranking until the user quits or the window is over.
pub(crate) fn run(flags: &Watch, settings: &Settings) -> Result<Outcome, Failure> {
    let mut output = Output::new(flags.json);
    let alerts = Alerts::new(&flags.sinks, settings)?;
    let mut machine = AlertedMachine::new(&flags.filter, flags.window, alerts)?;
    let mut events = Events::new(Schedule::new(flags.every, flags.window))?.while_read();
    if flags.plain || flags.json || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        tables(flags, &mut machine, &mut events, &mut output)?;
        for trouble in machine.end() {
            output.say(&trouble);
        }
        return Ok(Outcome::NothingFound);
    }
    let summaries = live::ranking(flags, &mut machine, &mut events)?;
    for trouble in machine.end() {
        output.say(&trouble);
    }
    for summary in &summaries {
        write_summary(&mut output, summary)?;
    }
    Ok(if summaries.iter().any(|summary| summary.outcome == Outcome::LeakFound) {
        Outcome::LeakFound
    } else {
        Outcome::NothingFound
    })
}

/// A table per beat and a line per alert, or a document for each.
fn tables(
    flags: &Watch,
    machine: &mut AlertedMachine,
    events: &mut Events,
    output: &mut Output,
) -> Result<(), Failure> {
    loop {
        match events.next(None, &mut Nothing)? {
            Event::Signal | Event::TimeUp => return Ok(()),
            Event::Beat => {
                let told = machine.beat()?;
                let view = machine.view();
                match output.form() {
                    Form::Text => output.write(|text, out| text.beat(&view, flags.sites.top, out))?,
                    Form::Json => output.document(&Document::Beat(&view))?,
                }
                for alert in &told.alerts {
                    match output.form() {
                        Form::Text => output.write(|text, out| writeln!(out, "{}", text.alert(alert)))?,
                        Form::Json => output.document(&Document::Alert(alert))?,
                    }
                }
                for trouble in &told.troubles {
                    output.say(trouble);
                }
            }
            Event::Key(_) | Event::TargetGone(_) | Event::NamesArrived => {}
        }
    }
}
