//! `leakline status`: whether a recorder is at work, what it has recorded, and what it costs.
//!
//! Owns: which facts these are, and the exit code: 0 while a recorder is at work, else 2.
//! Must not know: how a recording is read, or how facts are written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Bytes, Pid, Reading, Why};
use recording::{Info, Recording, recorder_at_work};
use report::{Document, LastRun, Outcome, RecorderView, SheetView, WallTime};

use crate::failure::Failure;
use crate::flags::{Existing, Status};
use crate::output::{Form, Output};
use crate::place;
use crate::record::refused;
use crate::state::State;

/// Looks, and says what is there.
pub(crate) fn run(flags: &Status) -> Result<Outcome, Failure> {
    let mut output = Output::new(flags.json);
    let Existing { recording, place } = &flags.recording;
    let found = Found::look(&place::to_read(recording.as_deref(), place.data_dir.as_deref())?)?;
    let sheet = SheetView::from(&found.view());
    match output.form() {
        Form::Text => output.write(|text, out| text.sheet(&sheet, out))?,
        Form::Json => output.document(&Document::Sheet(&sheet))?,
    }
    Ok(if found.recorder.is_some() { Outcome::NothingFound } else { Outcome::CouldNotJudge })
}

/// A recording and its recorder, as they are now.
#[derive(Debug)]
pub(crate) struct Found {
    directory: PathBuf,
    pub(crate) recorder: Option<u32>,
    info: Info,
    gaps: u64,
    /// What the recorder, or the last one, said about itself.
    state: Option<State>,
}

impl Found {
    /// Looks into a directory.
    pub(crate) fn look(directory: &Path) -> Result<Self, Failure> {
        let recording = Recording::open(directory).map_err(refused)?;
        let (info, gaps) = (recording.info(), recording.gaps().len() as u64);
        let (recorder, state) = (recorder_at_work(directory), State::read(directory));
        Ok(Self { directory: directory.to_path_buf(), recorder, info, gaps, state })
    }

    fn view(&self) -> RecorderView {
        let info = &self.info;
        let time = |at_ns: Option<u64>| Reading::from_option(at_ns.map(WallTime), Why::NotRecorded);
        let ended = match (self.recorder, &self.state) {
            (Some(_), _) | (None, None) => "",
            (None, Some(state)) if state.ended.is_empty() => "it was killed, or the machine went down",
            (None, Some(state)) => &state.ended,
        };
        RecorderView {
            place: self.directory.display().to_string(),
            running: self.recorder.map(Pid),
            ended: ended.to_owned(),
            from: time(info.from_ns),
            to: time(info.to_ns),
            beats: info.beats,
            gaps: self.gaps,
            segments: info.segments,
            size: Bytes(info.bytes),
            boots: info.boots.len() as u64,
            hosts: info.hosts.clone(),
            version: u32::from(info.version),
            damaged: (info.damage.blocks, Bytes(info.damage.bytes), info.damage.files),
            last_run: self.state.as_ref().map(last_run),
        }
    }
}

fn last_run(state: &State) -> LastRun {
    LastRun {
        wanted: Duration::from_millis(state.every_ms),
        kept: Duration::from_millis(state.kept_ms),
        lost: state.not_recorded,
        trouble: state.trouble.clone(),
        processes: state.processes,
        memory: Reading::from_option(state.rss.map(Bytes), Why::NotRecorded),
        cpu: share_of_core(state),
    }
}

/// Its CPU time as a share of the time in which it recorded; a second or two say nothing.
fn share_of_core(state: &State) -> Reading<f64> {
    let span = Duration::from_nanos(state.last_ns.saturating_sub(state.first_ns));
    let share = |cpu_ms| Duration::from_millis(cpu_ms).as_secs_f64() / span.as_secs_f64();
    match state.cpu_ms {
        None => Reading::Missing(Why::NotRecorded),
        Some(_) if span <= Duration::from_secs(10) => Reading::Missing(Why::TooShort),
        Some(cpu_ms) => Reading::Known(share(cpu_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(every_ms: u64, kept_ms: u64, cpu_ms: Option<u64>) -> State {
        let last_ns = 100_000_000_001;
        State { every_ms, kept_ms, cpu_ms, last_ns, first_ns: 1, rss: Some(8 << 20), processes: 3, ..State::default() }
    }

    #[test]
    fn the_recorder_says_what_it_costs_and_what_it_lost() {
        let run = last_run(&state(5000, 5010, Some(250)));
        assert_eq!((run.wanted, run.kept), (Duration::from_secs(5), Duration::from_millis(5010)));
        assert_eq!((run.cpu, run.memory), (Reading::Known(0.0025), Reading::Known(Bytes(8 << 20))));
        let overloaded = State { rss: None, not_recorded: 2, trouble: "full".to_owned(), ..state(1000, 2500, None) };
        let run = last_run(&overloaded);
        assert_eq!((run.lost, run.trouble.as_str()), (2, "full"));
        assert_eq!((run.cpu, run.memory), (Reading::Missing(Why::NotRecorded), Reading::Missing(Why::NotRecorded)));
        let short = State { last_ns: 5, ..state(1, 1, Some(1)) };
        assert_eq!(share_of_core(&short), Reading::Missing(Why::TooShort));
    }

    /// How the recorder is said to have ended, by its own word.
    #[track_caller]
    fn check(recorder: Option<u32>, state: Option<State>, ended: &str) {
        let info = Info {
            version: 1,
            from_ns: None,
            to_ns: None,
            beats: 0,
            bytes: 0,
            segments: 0,
            boots: Vec::new(),
            hosts: Vec::new(),
            damage: recording::Damage::default(),
        };
        let found = Found { directory: "/r".into(), recorder, info, gaps: 0, state };
        let view = found.view();
        assert_eq!((view.ended.as_str(), view.running), (ended, recorder.map(Pid)));
        assert!(view.from.known().is_none(), "there is no sample yet");
    }

    #[test]
    fn how_it_ended_is_told_from_what_it_said_last() {
        check(Some(7), Some(state(1, 1, None)), "");
        check(None, Some(state(1, 1, None)), "it was killed, or the machine went down");
        check(None, Some(State { ended: "--for is over".to_owned(), ..state(1, 1, None) }), "--for is over");
        check(None, None, "");
    }
}
