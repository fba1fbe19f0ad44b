//! The terminal programs: the live ranking of `watch`, and the live view of `attach`.
//!
//! Owns: the loop between figures, keys and the screen. Must not know: what the screens look like.

use report::{SitesView, Text};
use tui::{Action, Key, Screen, Terminal};

use crate::attached::{Attached, End, Wanted};
use crate::failure::Failure;
use crate::family::{Family, Followed};
use crate::flags::Watch;
use crate::limits::NAMES_PATIENCE_LIVE;
use crate::machine::AlertedMachine;
use crate::session::{Event, Events, Nothing, Watched};

/// The live view of one process, until it ends or the user asks.
pub(crate) fn attached(
    attached: &mut Attached,
    (mut family, children): (Option<&mut Family>, &mut Vec<SitesView>),
    events: &mut Events,
) -> Result<End, Failure> {
    let mut terminal = Terminal::enter()?;
    let mut screen = coloured(Screen::attach());
    loop {
        let mut followed = Followed { attached, family: family.as_deref_mut() };
        let event = events.next(Some(&mut terminal), &mut followed)?;
        if let Some(family) = &mut family {
            family.take_events().iter().filter_map(Text::event_in_short).for_each(|line| screen.say(line));
            children.extend(family.take_over(events)?);
        }
        match event {
            Event::Signal => return Ok(End::Asked),
            Event::TimeUp => return Ok(End::TimeUp),
            Event::TargetGone(state) => return Ok(End::Gone(state)),
            Event::Key(key) => match screen.key(key) {
                Some(Action::Quit | Action::Detach) => return Ok(End::Asked),
                Some(Action::Survey) => survey(&mut screen, attached, events, Some(&mut terminal))?,
                Some(Action::Attach(_)) | None => {}
            },
            Event::NamesArrived => screen.show_sites(with_children(attached.view(), family.as_deref())),
            Event::Beat => match attached.beat() {
                Ok(happened) if Attached::is_last(&happened) => return Ok(End::StopReached),
                Ok(_) => screen.show_sites(with_children(attached.view(), family.as_deref())),
                Err(end) => return Ok(end),
            },
        }
        terminal.draw(&screen)?;
    }
}

/// The live ranking: everything that the loop changes.
#[derive(Debug)]
struct Ranking<'flags> {
    flags: &'flags Watch,
    machine: &'flags mut AlertedMachine,
    screen: Screen,
    attached: Option<Attached>,
    /// The summaries of what was attached to, for when the screen is gone.
    summaries: Vec<SitesView>,
}

/// The live ranking, until the user quits; gives the summaries of what was attached to meanwhile.
pub(crate) fn ranking(
    flags: &Watch,
    machine: &mut AlertedMachine,
    events: &mut Events,
) -> Result<Vec<SitesView>, Failure> {
    let mut terminal = Terminal::enter()?;
    let mut state =
        Ranking { flags, machine, screen: coloured(Screen::watch()), attached: None, summaries: Vec::new() };
    loop {
        let watched: &mut dyn Watched = match &mut state.attached {
            Some(attached) => attached,
            None => &mut Nothing,
        };
        let event = events.next(Some(&mut terminal), watched)?;
        if !state.answer(event, events, Some(&mut terminal))? {
            break;
        }
        terminal.draw(&state.screen)?;
    }
    drop(terminal); // Names may take a moment; the screen must not look frozen meanwhile.
    state.detach(&End::Asked, events)?;
    Ok(state.summaries)
}

impl Ranking<'_> {
    /// Answers one event; whether to go on.
    fn answer(&mut self, event: Event, events: &mut Events, terminal: Option<&mut Terminal>) -> Result<bool, Failure> {
        match event {
            Event::Signal | Event::TimeUp => return Ok(false),
            Event::Key(key) => return self.key(key, events, terminal),
            Event::TargetGone(state) => self.detach(&End::Gone(state), events)?,
            Event::NamesArrived => self.show_sites(),
            Event::Beat => {
                let told = self.machine.beat()?;
                self.screen.show_machine(self.machine.view());
                self.screen.show_alerts(self.machine.alerts().to_vec());
                for trouble in told.troubles {
                    self.screen.say(trouble);
                }
                match self.attached.as_mut().map(Attached::beat) {
                    Some(Err(end)) => self.detach(&end, events)?,
                    Some(Ok(_)) => self.show_sites(),
                    None => {}
                }
            }
        }
        Ok(true)
    }

    fn key(&mut self, key: Key, events: &mut Events, terminal: Option<&mut Terminal>) -> Result<bool, Failure> {
        match self.screen.key(key) {
            Some(Action::Quit) => return Ok(false),
            Some(Action::Detach) => self.detach(&End::Asked, events)?,
            Some(Action::Attach(pid)) => {
                self.detach(&End::Asked, events)?;
                match Attached::start(pid, Wanted::new(&self.flags.sites, None, None)) {
                    Ok(attached) => {
                        self.attached = Some(attached);
                        self.show_sites();
                    }
                    Err(Failure::Refused { text, hint }) => self.screen.say(refusal(&text, hint.as_deref())),
                    Err(closed @ Failure::OutputClosed) => return Err(closed),
                }
            }
            Some(Action::Survey) => {
                if let Some(attached) = &mut self.attached {
                    survey(&mut self.screen, attached, events, terminal)?;
                }
            }
            None => {}
        }
        Ok(true)
    }

    fn show_sites(&mut self) {
        if let Some(attached) = &mut self.attached {
            self.screen.show_sites(attached.view());
        }
    }

    /// Detaches, if anything is attached, and keeps the summary.
    fn detach(&mut self, end: &End, events: &mut Events) -> Result<(), Failure> {
        let Some(attached) = self.attached.take() else {
            return Ok(());
        };
        let summary = attached.end(end, events, NAMES_PATIENCE_LIVE)?;
        self.screen.show_sites(summary.clone());
        if *end != End::Asked {
            self.screen.say(format!("detached: {}", end.reason()));
        }
        self.summaries.push(summary);
        Ok(())
    }
}

/// The view of a target with a line for each of its children.
fn with_children(view: SitesView, family: Option<&Family>) -> SitesView {
    let mut view = view;
    view.notes.extend(family.into_iter().flat_map(Family::glances));
    view
}

/// Looks for lost blocks and says what came of it; meanwhile the screen stands still and says how far it has come.
fn survey(
    screen: &mut Screen,
    attached: &mut Attached,
    events: &mut Events,
    mut terminal: Option<&mut Terminal>,
) -> Result<(), Failure> {
    let mut show = |line: String| {
        screen.say(line);
        // A terminal that cannot be drawn to is noticed at the next turn of the loop.
        terminal.as_mut().map_or(Ok(()), |terminal| terminal.draw(screen))
    };
    show("looking for pointers to expired blocks".to_owned())?;
    let said = attached.survey(events, |line| drop(show(line)))?;
    screen.show_sites(attached.view());
    screen.say(said);
    Ok(())
}

fn refusal(text: &str, hint: Option<&str>) -> String {
    hint.map_or_else(|| text.to_owned(), |hint| format!("{text}; {hint}"))
}

fn coloured(screen: Screen) -> Screen {
    if crate::output::colour_wanted() { screen } else { screen.without_colour() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use capture::TargetState;
    use clap::Parser;

    use super::*;
    use crate::alerts::Alerts;
    use crate::flags::{Command, Flags};
    use crate::session::Schedule;
    use crate::settings::Settings;

    #[test]
    fn a_refusal_is_one_line() {
        assert_eq!(refusal("the kernel forbids it", Some("run as root")), "the kernel forbids it; run as root");
        assert_eq!(refusal("gone", None), "gone");
    }

    /// A ranking of process 1 alone, attached to nothing, and events that never come by themselves.
    #[track_caller]
    fn check(answer: impl FnOnce(&mut Ranking<'_>, &mut Events) -> bool, goes_on: bool) {
        let line = ["leakline", "watch", "--pid", "1"];
        let Ok(Flags { command: Command::Watch(flags), .. }) = Flags::try_parse_from(line) else {
            panic!("good usage")
        };
        let (signals, _written) = UnixStream::pair().expect("a stream");
        let mut events = Events::fed_by(signals, Schedule::new(flags.every, None));
        let alerts = Alerts::new(&flags.sinks, &Settings::default()).expect("nothing to refuse");
        let mut machine = AlertedMachine::new(&flags.filter, None, alerts).expect("process 1 is always there");
        let mut ranking = Ranking {
            flags: &flags,
            machine: &mut machine,
            screen: Screen::watch(),
            attached: None,
            summaries: Vec::new(),
        };
        assert_eq!(answer(&mut ranking, &mut events), goes_on);
        assert!(ranking.attached.is_none() && ranking.summaries.is_empty(), "nothing was attached to");
    }

    #[test]
    fn signals_and_the_quit_key_end_the_program_and_nothing_else_does() {
        for (event, goes_on) in [
            (Event::Signal, false),
            (Event::TimeUp, false),
            (Event::Key(Key::Character('q')), false),
            (Event::Key(Key::Quit), false),
            (Event::Key(Key::Escape), true),
            (Event::Key(Key::Resize), true),
            (Event::NamesArrived, true),
            (Event::TargetGone(TargetState::Exited), true),
            (Event::Beat, true),
        ] {
            check(|ranking, events| ranking.answer(event, events, None).expect("nothing fails"), goes_on);
        }
    }

    #[test]
    fn a_beat_takes_a_sample() {
        let two_beats = |ranking: &mut Ranking<'_>, events: &mut Events| {
            for _ in 0..2 {
                ranking.answer(Event::Beat, events, None).expect("nothing fails");
            }
            ranking.machine.view().machine.beats == 2
        };
        check(two_beats, true);
    }
}
