//! `leakline record`: all processes and the machine, beat by beat, until somebody or something ends it.
//!
//! Owns: the loop, what is said when something goes wrong meanwhile, and the recorder's word about itself.
//! Must not know: how a sample is taken or kept. What cannot be sampled or written at one beat is said and tried again at the next:
//! a recorder that gives up in the night is of no use in the morning.

use std::path::{Path, PathBuf};

use analysis::{GrowthOptions, GrowthTracker};
use capture::{BeatOptions, BeatSampler, Early};
use model::{Beat, Event as Noticed, Reading, Source};
use recording::{Recorder, Recording};
use report::{Outcome, WallTime};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::alerts::{Alerts, Told, host_name};
use crate::background;
use crate::failure::Failure;
use crate::flags::Record;
use crate::limits::FILES_WANTED;
use crate::output::Output;
use crate::pace::{Change, Pace};
use crate::place;
use crate::session::{Event, Events, Nothing, Schedule};
use crate::settings::Settings;
use crate::state::State;

/// Records until a signal comes or the window is over, or starts another process that does.
pub(crate) fn run(flags: &Record, settings: &Settings) -> Result<Outcome, Failure> {
    record(flags, settings, false)
}

/// The same, with what the kernel said since boot: a service starts later than the first trouble may.
pub(crate) fn from_boot(flags: &Record, settings: &Settings) -> Result<Outcome, Failure> {
    record(flags, settings, true)
}

fn record(flags: &Record, settings: &Settings, from_boot: bool) -> Result<Outcome, Failure> {
    let mut output = Output::new(false);
    let directory = place::to_record(flags.output.as_deref(), flags.place.data_dir.as_deref())?;
    if flags.background && !flags.detached {
        let pid = background::start()?;
        let place = directory.display();
        output.say(&format!("recording into {place}, in the background as process {pid}"));
        output.say("look with `leakline status` and `leakline report`, end it with `leakline stop`");
        return Ok(Outcome::NothingFound);
    }
    allow_files();
    // The signals are taken over first: one that comes now must not leave a recording unsealed.
    let mut events = Events::new(Schedule::new(flags.every, flags.window))?;
    let mut run = Run::start(flags, settings, directory, from_boot)?;
    if let Reading::Missing(why) = run.sampler.hears_kernel() {
        output.say(&format!("OOM kills and what else the kernel says of memory are not recorded: {why}"));
    }
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

/// Asks for as many open files as are of use: services often start with 1,024, which is one for each of 512 processes.
fn allow_files() {
    let limits = getrlimit(Resource::Nofile);
    let wanted = limits.maximum.map_or(FILES_WANTED, |maximum| maximum.min(FILES_WANTED));
    if limits.current.is_some_and(|current| current < wanted) {
        // Where it is refused, files are opened anew at each beat.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limits.maximum });
    }
}

/// A recording under way.
#[derive(Debug)]
struct Run {
    directory: PathBuf,
    sampler: BeatSampler,
    recorder: Recorder,
    tracker: GrowthTracker,
    alerts: Alerts,
    pace: Pace,
    state: State,
    /// What the next beat is to say besides what the sampler notices.
    noticed: Vec<Noticed>,
    /// The trouble that was last said, so that a full disk does not fill the log too.
    said: String,
}

impl Run {
    fn start(flags: &Record, settings: &Settings, directory: PathBuf, from_boot: bool) -> Result<Self, Failure> {
        let last_boot = || Recording::open(&directory).ok().and_then(|recording| recording.info().boots.pop());
        let early = if from_boot { Early::Told { recorded: last_boot() } } else { Early::Left };
        let sampler = BeatSampler::new(BeatOptions { early, ..BeatOptions::default() }).map_err(|error| {
            let hint = error.hint();
            Failure::with_hint(error, hint)
        })?;
        let options = recording::Options {
            bytes_max: Some(flags.max_size.0),
            age_max: flags.keep_for,
            ..recording::Options::default()
        };
        let alerts = Alerts::new(&flags.sinks, settings)?;
        let recorder = Recorder::open(&directory, options).map_err(refused)?;
        let every_ms = u64::try_from(flags.every.as_millis()).unwrap_or(u64::MAX);
        let state = State { pid: std::process::id(), every_ms, kept_ms: every_ms, ..State::default() };
        let run = Self {
            sampler,
            recorder,
            tracker: GrowthTracker::new(GrowthOptions::default()),
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
                self.alert(&mut beat, output);
                self.append(&beat, output);
            }
            Err(error) => self.trouble(&format!("no sample: {error}"), output),
        }
        // Without this file only `status` knows less; a full disk is said where it matters.
        let _ = self.state.write(&self.directory);
    }

    /// Judges a beat, says what there is to say, and leaves it with the beat.
    fn alert(&mut self, beat: &mut Beat, output: &mut Output) {
        self.tracker.add_beat(beat);
        let Told { alerts, mut events, troubles } = self.alerts.beat(beat, || self.tracker.ranking());
        for alert in &alerts {
            output.say(&output.text().alert(alert));
        }
        for trouble in &troubles {
            output.say(trouble);
        }
        beat.events.append(&mut events);
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
        for trouble in self.alerts.end() {
            output.say(&trouble);
        }
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

/// A failure in the words of the recording.
pub(crate) fn refused(error: recording::Error) -> Failure {
    let hint = error.hint().map(str::to_owned);
    Failure::with_hint(error, hint)
}

fn unwritable(directory: &Path, error: &std::io::Error) -> Failure {
    Failure::with_hint(format!("{} cannot be written: {error}", directory.display()), None)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use model::{Moment, SystemSample};

    use super::*;
    use crate::flags::{Command, Flags};

    /// A recorder at work in a folder of its own, which is removed at the end.
    fn with_run(name: &str, check: impl FnOnce(&mut Run, &mut Output)) {
        // In memory where there is such a place: a day of samples would otherwise wait for the disk at each.
        let place = Some(PathBuf::from("/dev/shm")).filter(|place| place.is_dir()).unwrap_or_else(std::env::temp_dir);
        let directory = place.join(format!("leakline-record-{name}-{}", std::process::id()));
        let Ok(Flags { command: Command::Record(flags), .. }) =
            Flags::try_parse_from(["leakline", "record", "--every", "1", "--keep-for", "6h"])
        else {
            panic!("good usage")
        };
        let mut run = Run::start(&flags, &Settings::default(), directory.clone(), false).expect("it can be made");
        check(&mut run, &mut Output::new(false));
        drop(run);
        std::fs::remove_dir_all(directory).expect("it is ours");
    }

    fn beat(wall_ns: u64) -> Beat {
        let at = Moment { wall_ns, boot_ns: wall_ns, boot_id: "boot".into() };
        Beat { at, processes: Vec::new(), system: SystemSample::default(), events: Vec::new() }
    }

    #[test]
    fn the_first_beat_says_who_records_and_the_last_one_why_it_ends() {
        with_run("ends", |run, output| {
            run.beat(0, Vec::new(), output);
            run.beat(0, vec![Noticed::RecorderStopped { reason: "a test".to_owned() }], output);
            assert_eq!((run.state.beats, run.state.not_recorded), (2, 0));
            let recording = recording::Recording::open(&run.directory).expect("it is there");
            let events: Vec<_> = recording.events(0..u64::MAX).map(|(_, event)| event).collect();
            // The kernel may have told of an OOM kill meanwhile.
            let starts = |event: &Noticed| matches!(event, Noticed::RecorderStarted { every_ms: 1000, .. });
            assert!(events.iter().any(starts), "{events:?}");
            let ends = |event: &Noticed| matches!(event, Noticed::RecorderStopped { reason } if reason == "a test");
            assert!(events.iter().any(ends), "{events:?}");
            let state = State::read(&run.directory).expect("it is written at each beat");
            assert_eq!((state.pid, state.beats), (std::process::id(), 2));
        });
    }

    #[test]
    fn trouble_is_counted_each_time_and_said_once() {
        with_run("trouble", |run, output| {
            for count in 1..=3 {
                run.trouble("no space left", output);
                assert_eq!((run.state.not_recorded, run.said.as_str()), (count, "no space left"));
            }
            run.append(&beat(5), output);
            assert_eq!((run.said.as_str(), run.state.trouble.as_str()), ("", "no space left"), "the last one is kept");
        });
    }

    #[test]
    fn an_overload_is_recorded_with_the_beat_that_is_kept() {
        with_run("overload", |run, output| {
            run.noticed.clear();
            run.overload(Change::Lost(std::time::Duration::from_millis(2500)), output);
            run.overload(Change::Regained, output);
            assert_eq!(run.noticed, [Noticed::BeatNotKept { wanted_ms: 1000, kept_ms: 2500 }]);
        });
    }

    #[test]
    fn a_second_recorder_is_refused() {
        with_run("second", |run, _| {
            let refused = Recorder::open(&run.directory, recording::Options::default()).map(|_| ()).map_err(refused);
            let text = format!("{refused:?}");
            assert!(text.contains("already recording") && text.contains("leakline stop"), "{text}");
        });
    }

    #[test]
    fn the_first_and_last_moment_follow_the_clock() {
        let mut state = State::default();
        for (wall_ns, wanted) in [(50, (50, 50)), (60, (50, 60)), (10, (10, 10))] {
            state.note(&beat(wall_ns));
            assert_eq!((state.first_ns, state.last_ns), wanted, "a clock that was set back begins anew");
        }
    }

    /// Names the process that lives through the day: of its own, since its memory is measured.
    const DAY: &str = "LEAKLINE_TEST_DAY";

    #[test]
    #[expect(clippy::disallowed_methods, reason = "runs this test alone in a process of its own")]
    fn a_day_does_not_make_it_grow() {
        if std::env::var_os(DAY).is_some() {
            return with_run("day", a_day);
        }
        let name = "record::tests::a_day_does_not_make_it_grow";
        let this = std::env::current_exe().expect("the tests have a path");
        let ended = std::process::Command::new(this).args(["--exact", name]).env(DAY, "1").output().expect("it starts");
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && said.contains("1 passed"), "{said}");
    }

    /// All beats of a day at 5 s, with time and processes made up: some stay, one of them leaks, four are born at each beat; the
    /// memory of the machine runs low each hour, so that alerts come and go.
    fn a_day(run: &mut Run, output: &mut Output) {
        const BEATS: u64 = 17_280;
        // It swells and shrinks with each log that is turned into columns (12 to 17 MiB, over four days as over one): peaks are compared.
        let mut peaks = [0; 2];
        let mut alerts = 0;
        for number in 0..BEATS {
            let mut beat = made_up(number);
            run.alert(&mut beat, output);
            alerts += beat.events.len();
            run.append(&beat, output);
            if number % 32 == 0 {
                let peak = &mut peaks[(number * 2 / BEATS) as usize];
                *peak = resident().max(*peak);
            }
        }
        assert_eq!((run.state.beats, run.state.not_recorded), (BEATS, 0));
        assert!(alerts >= 40, "{alerts} alerts were raised or over");
        let [early, late] = peaks;
        // A leak of 100 bytes a beat would be 0.9 MB in half a day; one of an identity a birth ten times of it.
        assert!(
            late < early + (1 << 20),
            "at most {early} bytes are resident in the first half of the day, {late} in the other"
        );
    }

    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is told");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    fn made_up(number: u64) -> Beat {
        use model::{Bytes, Figure, FigureKey, MemorySample, Pid, ProcessKey, ProcessReading, Reading, Source};
        let process = |pid: u64, started: u64, mib: u64| {
            let known = |bytes| Reading::Known(Bytes(bytes));
            let memory = MemorySample {
                anon: known(mib << 20),
                file: known(1 << 20),
                shmem: known(0),
                swap: known(0),
                page_tables: known(1 << 16),
                threads: Reading::Known(1),
            };
            let identity = model::Identity {
                key: ProcessKey { pid: Pid(pid as u32), started },
                command: format!("worker-{pid}"),
                arguments: format!("/usr/bin/worker --number {started}"),
                uid: Reading::Known(0),
                user: Reading::Known("root".to_owned()),
                cgroup: Reading::Known("/system.slice/worker.service".to_owned()),
                container: None,
                kernel_thread: false,
            };
            ProcessReading { identity: identity.into(), figures: memory.into() }
        };
        let stay = (1..=6).map(|pid| process(pid, 1, if pid == 1 { 100 + number / 50 } else { 50 + number % pid }));
        // Numbers are given again, as the kernel does.
        let go = (number * 4..number * 4 + 8).map(|born| process(100 + born % 900, 10 + born, 5));
        let available = if (number / 360).is_multiple_of(2) { 50 } else { 5 };
        let figure = |(name, value): (&str, u64)| Figure {
            key: FigureKey { subject: "".into(), name: name.into() },
            value: Reading::Known(value << 30),
        };
        let figures = [("MemTotal", 100), ("MemAvailable", available)].map(figure).to_vec();
        let ns = (1 + number) * 5_000_000_000;
        Beat {
            processes: stay.chain(go).collect(),
            system: SystemSample {
                sources: vec![model::SourceSample { source: Source::Meminfo, figures: Reading::Known(figures) }],
            },
            ..beat(ns)
        }
    }
}
