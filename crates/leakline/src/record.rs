//! `leakline record`: all processes and the machine, beat by beat, until somebody or something ends it.
//!
//! Owns: the loop, what is said when something goes wrong meanwhile, and the recorder's word about itself.
//! Must not know: how a sample is taken or kept. What cannot be sampled or written at one beat is said and tried again at the next:
//! a recorder that gives up in the night is of no use in the morning.

use std::path::{Path, PathBuf};

use capture::{BeatOptions, BeatSampler};
use model::{Beat, Event as Noticed, Source};
use recording::Recorder;
use report::{Outcome, WallTime};

use crate::alerts::Alerts;
use crate::background;
use crate::failure::Failure;
use crate::flags::Record;
use crate::output::Output;
use crate::pace::{Change, Pace};
use crate::place;
use crate::session::{Event, Events, Nothing, Schedule};
use crate::settings::Settings;
use crate::state::State;

/// Records until a signal comes or the window is over, or starts another process that does.
pub(crate) fn run(flags: &Record, settings: &Settings) -> Result<Outcome, Failure> {
    let mut output = Output::new(false);
    let directory = place::to_record(flags.output.as_deref(), flags.place.data_dir.as_deref())?;
    if flags.background && !flags.detached {
        let pid = background::start()?;
        let place = directory.display();
        output.say(&format!("recording into {place}, in the background as process {pid}"));
        output.say("look with `leakline status` and `leakline report`, end it with `leakline stop`");
        return Ok(Outcome::NothingFound);
    }
    // The signals are taken over first: one that comes now must not leave a recording unsealed.
    let mut events = Events::new(Schedule::new(flags.every, flags.window))?;
    let mut run = Run::start(flags, settings, directory)?;
    if flags.detached {
        background::detach(&run.directory)?;
    } else {
        output.say(&format!("recording into {}; end it with Ctrl-C or `leakline stop`", run.directory.display()));
    }
    events.reschedule(Schedule::new(flags.every, flags.window));
    let reason = loop {
        match events.next(None, &mut Nothing)? {
            Event::Signal => break "ended by a signal",
            Event::TimeUp => break "--for is over",
            Event::Beat => run.beat(events.skipped(), Vec::new(), &mut output),
            Event::Key(_) | Event::TargetGone(_) | Event::NamesArrived => {}
        }
    };
    run.end(reason, events.skipped(), &mut output)
}

/// A recording under way.
#[derive(Debug)]
struct Run {
    directory: PathBuf,
    sampler: BeatSampler,
    recorder: Recorder,
    alerts: Alerts,
    pace: Pace,
    state: State,
    /// What the next beat is to say besides what the sampler notices.
    noticed: Vec<Noticed>,
    /// The trouble that was last said, so that a full disk does not fill the log too.
    said: String,
}

impl Run {
    fn start(flags: &Record, settings: &Settings, directory: PathBuf) -> Result<Self, Failure> {
        let sampler = BeatSampler::new(BeatOptions::default()).map_err(|error| {
            let hint = error.hint();
            Failure::with_hint(error, hint)
        })?;
        let options = recording::Options {
            bytes_max: Some(flags.max_size.0),
            age_max: flags.keep_for,
            ..recording::Options::default()
        };
        let alerts = Alerts::new(&flags.sinks, settings, host_name())?;
        let recorder = Recorder::open(&directory, options).map_err(refused)?;
        let every_ms = u64::try_from(flags.every.as_millis()).unwrap_or(u64::MAX);
        let state = State { pid: std::process::id(), every_ms, kept_ms: every_ms, ..State::default() };
        let run = Self {
            sampler,
            recorder,
            alerts,
            pace: Pace::new(flags.every),
            noticed: vec![began(every_ms)],
            said: String::new(),
            state,
            directory,
        };
        run.state.write(&run.directory).map_err(|error| unwritable(&run.directory, &error))?;
        Ok(run)
    }

    /// One beat: sampled, written, and said what went wrong.
    fn beat(&mut self, skipped: u64, more: Vec<Noticed>, output: &mut Output) {
        self.noticed.extend(more);
        let change = self.pace.beat(skipped);
        self.state.kept_ms = u64::try_from(self.pace.kept().as_millis()).unwrap_or(u64::MAX);
        if let Some(change) = change {
            self.overload(change, output);
        }
        match self.sampler.beat() {
            Ok(mut beat) => {
                beat.events.append(&mut self.noticed);
                let mut told = self.alerts.beat(&beat, output);
                beat.events.append(&mut told);
                self.append(&beat, output);
            }
            Err(error) => self.trouble(&format!("no sample: {error}"), output),
        }
        // Without this file only `status` knows less; a full disk is said where it matters.
        let _ = self.state.write(&self.directory);
    }

    fn append(&mut self, beat: &Beat, output: &mut Output) {
        self.state.note(beat);
        match self.recorder.append(beat) {
            Ok(()) => {
                self.state.beats += 1;
                if !self.said.is_empty() {
                    self.said.clear();
                    output.say(&format!("{}: recording again", WallTime::from(&beat.at).rfc3339()));
                }
            }
            Err(error) => {
                // What was noticed is noticed again with the next beat; its figures are lost.
                self.noticed.clone_from(&beat.events);
                self.noticed.truncate(NOTICED_MAX);
                self.trouble(&error.to_string(), output);
            }
        }
        if let Err(error) = self.recorder.maintain() {
            self.trouble(&error.to_string(), output);
        }
    }

    fn overload(&mut self, change: Change, output: &mut Output) {
        match change {
            Change::Lost(kept) => {
                let kept_ms = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
                self.noticed.push(Noticed::BeatNotKept { wanted_ms: self.state.every_ms, kept_ms });
                let seconds = kept.as_secs_f64();
                output.say(&format!(
                    "sampling cannot keep its beat: one sample every {seconds:.1} s is possible; see --every"
                ));
            }
            Change::Regained => output.say("sampling keeps its beat again"),
        }
    }

    fn trouble(&mut self, text: &str, output: &mut Output) {
        self.state.not_recorded += 1;
        text.clone_into(&mut self.state.trouble);
        if self.said != text {
            text.clone_into(&mut self.said);
            let place = self.directory.display();
            output.say(&format!("not recorded into {place}: {text}; leakline goes on and tries again"));
        }
    }

    /// The last beat, which says why it is the last, and the seal.
    fn end(mut self, reason: &str, skipped: u64, output: &mut Output) -> Result<Outcome, Failure> {
        self.beat(skipped, vec![Noticed::RecorderStopped { reason: reason.to_owned() }], output);
        reason.clone_into(&mut self.state.ended);
        let state = self.state.write(&self.directory);
        self.recorder.seal().map_err(refused)?;
        self.alerts.end(output);
        state.map_err(|error| unwritable(&self.directory, &error))?;
        let State { beats, not_recorded, .. } = self.state;
        output.say(&format!("{beats} samples recorded into {} ({reason})", self.directory.display()));
        Ok(if not_recorded == 0 { Outcome::NothingFound } else { Outcome::CouldNotJudge })
    }
}

impl State {
    /// The figures of a beat that are about the recorder.
    fn note(&mut self, beat: &Beat) {
        let own = |name| beat.system.get(Source::Machine, "", name).known();
        self.cpu_ms = own("recorder.cpu").or(self.cpu_ms);
        self.rss = own("recorder.rss").or(self.rss);
        self.processes = beat.processes.len() as u64;
        self.last_ns = beat.at.wall_ns;
        if self.first_ns == 0 || self.first_ns > self.last_ns {
            self.first_ns = self.last_ns;
        }
    }
}

/// Events that wait for a beat that can be written; births and deaths beyond it can be told from the samples.
const NOTICED_MAX: usize = 1024;

fn began(every_ms: u64) -> Noticed {
    let system = rustix::system::uname();
    Noticed::RecorderStarted {
        host: host_name(),
        kernel: model::escaped(system.release().to_bytes()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        every_ms,
    }
}

/// The name of this machine as it is shown.
fn host_name() -> String {
    model::escaped(rustix::system::uname().nodename().to_bytes())
}

/// A failure in the words of the recording.
pub(crate) fn refused(error: recording::Error) -> Failure {
    let hint = error.hint().map(str::to_owned);
    Failure::with_hint(error, hint)
}

fn unwritable(directory: &Path, error: &std::io::Error) -> Failure {
    Failure::with_hint(format!("{} cannot be written: {error}", directory.display()), None)
}
