//! `leakline attach`: one process, until its window is over, it ends, or somebody asks.
//!
//! Owns: the choice between the live view and one event a line, and the loop of the latter.
//! Must not know: what the screen of the live view looks like.

use std::io::{self, IsTerminal};

use report::{Document, EventView, Outcome, SitesView};

use crate::attached::{Attached, End, Wanted, ended};
use crate::failure::Failure;
use crate::family::{Family, Followed, with_child, write_child};
use crate::flags::Attach;
use crate::limits::NAMES_PATIENCE;
use crate::live;
use crate::output::{Form, Output};
use crate::pending::Pending;
use crate::session::{Event, Events, Schedule};

/// Attaches, shows what happens, detaches, and writes the summary.
pub(crate) fn run(flags: &Attach) -> Result<Outcome, Failure> {
    let mut output = Output::new(flags.json);
    let wanted = Wanted::new(&flags.sites, flags.window, flags.stop_after);
    let beat = wanted.beat();
    // The signals are taken over first: one that comes during the attach must not leave it half done.
    let mut events = Events::new(Schedule::new(beat, flags.window))?.while_read();
    let mut attached = Attached::start(flags.pid, wanted.clone())?;
    let mut family = flags.follow.then(|| Family::below(flags.pid, wanted));
    let mut children = Vec::new();
    events.reschedule(Schedule::new(beat, flags.window));
    let is_live = !flags.plain && !flags.json && io::stdout().is_terminal() && io::stdin().is_terminal();
    let end = if is_live {
        let end = live::attached(&mut attached, (family.as_mut(), &mut children), &mut events)?;
        // They ended while the screen was shown.
        children.iter().try_for_each(|child| write_child(&mut output, child))?;
        end
    } else {
        log(&mut attached, (family.as_mut(), &mut children), &mut events, &mut output)?
    };
    finish((attached, family, children), &end, &mut events, &mut output)
}

/// One event a line, until something ends the session.
fn log(
    attached: &mut Attached,
    (mut family, children): (Option<&mut Family>, &mut Vec<SitesView>),
    events: &mut Events,
    output: &mut Output,
) -> Result<End, Failure> {
    write_event(output, &EventView::Attached(attached.target_view().clone()))?;
    let mut pending = Pending::default();
    let end = loop {
        let mut followed = Followed { attached, family: family.as_deref_mut() };
        let (now, end) = match events.next(None, &mut followed)? {
            Event::Signal | Event::Key(_) => break End::Asked,
            Event::TimeUp => break End::TimeUp,
            Event::TargetGone(state) => break End::Gone(state),
            Event::NamesArrived => (attached.elapsed(), None),
            Event::Beat => {
                let happened = match attached.beat() {
                    Ok(happened) => happened,
                    Err(end) => break end,
                };
                let end = Attached::is_last(&happened).then_some(End::StopReached);
                pending.push(happened);
                (attached.elapsed(), end)
            }
        };
        for event in pending.ready(now, |stack| attached.frames(stack)) {
            write_event(output, &event)?;
        }
        if let Some(family) = &mut family {
            for event in family.take_events() {
                write_event(output, &event)?;
            }
            for child in family.take_over(events)? {
                write_child(output, &child)?;
                // Only the outcome of what was written is still of use.
                children.push(SitesView { sites: Vec::new(), ..child });
            }
        }
        if let Some(end) = end {
            break end;
        }
    };
    // What happened since the last beat is part of what happened.
    pending.push(attached.beat().unwrap_or_default());
    for event in pending.rest(|stack| attached.frames(stack)) {
        write_event(output, &event)?;
    }
    write_event(output, &ended(attached.elapsed(), &end))?;
    Ok(end)
}

/// Detaches and writes the summaries, that of the target last.
fn finish(
    (mut attached, family, mut written): (Attached, Option<Family>, Vec<SitesView>),
    end: &End,
    events: &mut Events,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    attached.survey_at_end(end, events, |line| output.progress(|_| line))?;
    output.progress(|_| "detaching; looking up names".to_owned());
    let mut view = attached.end(end, events, NAMES_PATIENCE)?;
    if let Some(family) = family {
        let (children, notes) = family.leave(end, events, NAMES_PATIENCE)?;
        for child in &children {
            write_child(output, child)?;
        }
        if output.form() == Form::Text && !children.is_empty() {
            output.write(|_, out| writeln!(out))?;
        }
        written.extend(children);
        view.notes.extend(notes);
    }
    let outcome = written.iter().fold(view.outcome, with_child);
    write_summary(output, &view)?;
    Ok(outcome)
}

/// The summary of one attach, as text or as the last line of JSON.
pub(crate) fn write_summary(output: &mut Output, view: &SitesView) -> Result<(), Failure> {
    match output.form() {
        Form::Text => output.write(|text, out| text.sites(view, out)),
        Form::Json => output.document(&Document::Sites(view)),
    }
}

fn write_event(output: &mut Output, event: &EventView) -> Result<(), Failure> {
    match output.form() {
        Form::Text => output.write(|text, out| text.event(event, out)),
        Form::Json => output.document(&Document::Event(event)),
    }
}
