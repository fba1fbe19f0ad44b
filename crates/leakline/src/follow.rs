//! `leakline plot --follow`: one process in real time, on the terminal, in a browser, or a line per sample.
//!
//! Owns: the samples of the last while, and the loop. Must not know: what a screen or a page looks like.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::sync::Arc;

use analysis::{GrowthOptions, GrowthTracker};
use capture::{BeatOptions, BeatSampler, Filter, HostError};
use model::{Identity, Pid, ProcessFigures};
use report::{FindingView, Outcome, ProcessSeries, ProcessView, RecordingView, Severity, WallTime};
use tui::{Action, Screen, Terminal};
use web::Server;

use crate::failure::Failure;
use crate::flags::Plot;
use crate::limits::FOLLOWED_MAX;
use crate::output::{Output, colour_wanted};
use crate::place;
use crate::session::{Event, Events, Nothing, Schedule};

/// Follows until the user quits, the window is over or the process is gone; 1 where it was judged to leak.
pub(crate) fn run(flags: &Plot, pid: Pid) -> Result<Outcome, Failure> {
    let mut output = Output::new(false);
    let mut followed = Followed::start(pid)?;
    let mut events = Events::new(Schedule::new(flags.every, flags.window))?.while_read();
    let server = flags.web.then(serve).transpose()?;
    if let Some(server) = &server {
        output.say(&format!("open {} in a browser on this machine; end with Ctrl-C", server.address()));
    }
    let is_screen = server.is_none() && io::stdout().is_terminal() && io::stdin().is_terminal();
    let mut terminal = is_screen.then(Terminal::enter).transpose()?;
    let screen = Screen::follow();
    let mut screen = if colour_wanted() { screen } else { screen.without_colour() };
    let is_gone = loop {
        match events.next(terminal.as_mut(), &mut Nothing)? {
            Event::Signal | Event::TimeUp => break false,
            Event::Key(key) => {
                if matches!(screen.key(key), Some(Action::Quit)) {
                    break false;
                }
            }
            Event::Beat => {
                if !followed.beat()? {
                    break true;
                }
                let view = followed.view();
                if let Some(server) = &server {
                    server.show(&view)?;
                } else if terminal.is_some() {
                    screen.show_recording(view);
                } else {
                    output.write(|text, out| writeln!(out, "{}", text.figures(&view)))?;
                }
            }
            Event::TargetGone(_) | Event::NamesArrived => {}
        }
        if let Some(terminal) = &mut terminal {
            terminal.draw(&screen)?;
        }
    };
    drop(terminal);
    if is_gone {
        output.say(&format!("process {pid} is gone"));
    }
    Ok(followed.view().outcome)
}

/// A process and its last samples.
#[derive(Debug)]
struct Followed {
    sampler: BeatSampler,
    tracker: GrowthTracker,
    identity: Option<Arc<Identity>>,
    rows: VecDeque<(WallTime, ProcessFigures)>,
    beats: u64,
}

impl Followed {
    fn start(pid: Pid) -> Result<Self, Failure> {
        let options = BeatOptions { filter: Filter { pid: vec![pid], ..Filter::default() }, ..BeatOptions::default() };
        Ok(Self {
            sampler: BeatSampler::new(options).map_err(refused)?,
            tracker: GrowthTracker::new(GrowthOptions::default()),
            identity: None,
            rows: VecDeque::new(),
            beats: 0,
        })
    }

    /// Takes a sample; false where the process is gone.
    fn beat(&mut self) -> Result<bool, Failure> {
        let beat = self.sampler.beat().map_err(refused)?;
        let Some(process) = beat.processes.first() else { return Ok(false) };
        // Another process with the same number is another process.
        if self.identity.as_ref().is_some_and(|identity| identity.key != process.identity.key) {
            return Ok(false);
        }
        self.tracker.add_beat(&beat);
        self.beats += 1;
        self.identity = Some(process.identity.clone());
        let at = WallTime::from(&beat.at);
        // A wall clock that was set back must not fold the curve.
        let at = self.rows.back().map_or(at, |(last, _)| at.max(*last));
        if self.rows.len() == FOLLOWED_MAX {
            self.rows.pop_front();
        }
        self.rows.push_back((at, process.figures.clone()));
        debug_assert!(self.rows.len() <= FOLLOWED_MAX, "what is kept is bounded");
        Ok(true)
    }

    fn view(&self) -> RecordingView {
        let rows: Vec<_> = self.rows.iter().cloned().collect();
        let (from, to) = (rows.first(), rows.last());
        let moment = |row: Option<&(WallTime, ProcessFigures)>| row.map_or(WallTime(0), |(at, _)| *at);
        let judged: Option<ProcessView> = self.tracker.ranking().pop().map(ProcessView::from);
        let outcome = Outcome::of_processes(&judged);
        let finding = judged.filter(|view| matches!(view.severity, Severity::Leak | Severity::Suspect));
        RecordingView {
            host: place::host(),
            from: moment(from),
            to: moment(to),
            beats: self.beats,
            processes_seen: u64::from(self.identity.is_some()),
            outcome,
            findings: finding
                .map(|process| FindingView { process, since: moment(from), until: moment(to) })
                .into_iter()
                .collect(),
            processes: self.identity.iter().map(|identity| ProcessSeries::new(identity.clone(), &rows)).collect(),
            ..RecordingView::default()
        }
    }
}

/// A server on any free port, behind a token that nobody can guess.
fn serve() -> Result<Server, Failure> {
    let mut random = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .and_then(|()| Server::start(0, format!("{:032x}", u128::from_ne_bytes(random))))
        .map_err(|error| Failure::with_hint(format!("the page cannot be served: {error}"), None))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn refused(error: HostError) -> Failure {
    let hint = error.hint();
    Failure::with_hint(&error, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_followed_while_it_is_there() {
        let mut followed = Followed::start(Pid(1)).expect("process 1 is always there");
        assert_eq!(followed.view().beats, 0);
        for _ in 0..3 {
            assert!(followed.beat().expect("/proc can be read"));
        }
        let view = followed.view();
        assert_eq!((view.beats, view.processes.len(), view.outcome), (3, 1, Outcome::CouldNotJudge));
        assert!(view.from <= view.to && view.findings.is_empty(), "{view:?}");
        assert!(Followed::start(Pid(1 << 22)).is_err(), "there is no such process");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut followed = Followed::start(Pid(1)).expect("process 1 is always there");
        followed.rows = (0..FOLLOWED_MAX as u64).map(|at| (WallTime(at), ProcessFigures::default())).collect();
        assert!(followed.beat().expect("/proc can be read"));
        assert_eq!(followed.rows.len(), FOLLOWED_MAX);
        assert_eq!(followed.rows.front().map(|(at, _)| *at), Some(WallTime(1)));
    }

    #[test]
    fn each_page_has_a_token_of_its_own() {
        let (one, other) = (serve().expect("a port"), serve().expect("a port"));
        let token = |server: &Server| server.address().rsplit('=').next().map(str::to_owned);
        assert_ne!(token(&one), token(&other));
    }
}
