//! The state of a recorder, and alerts.
//!
//! Owns: their facts. Must not know: how a recorder is found, or when an alert is raised.

use std::time::Duration;

use model::{Bytes, Pid, Reading, Severity, Why};

use super::{Cell, SheetView, TableView};
use crate::{WallTime, metrics};

/// What `status` says of one recording.
#[derive(Clone, Debug)]
pub struct RecorderView {
    /// Where the recording is.
    pub place: String,
    /// The recorder, while it runs.
    pub running: Option<Pid>,
    /// How the last recorder ended, where none runs; empty where nobody knows.
    pub ended: String,
    /// The first moment of the recording; missing where it has no sample yet.
    pub from: Reading<WallTime>,
    /// The last moment of the recording.
    pub to: Reading<WallTime>,
    /// Samples that it has.
    pub beats: u64,
    /// Stretches without samples.
    pub gaps: u64,
    /// Files that they are in.
    pub segments: u64,
    /// Space that it takes.
    pub size: Bytes,
    /// Boots that it covers.
    pub boots: u64,
    /// Machines that were recorded.
    pub hosts: Vec<String>,
    /// The newest version of the format in it.
    pub version: u32,
    /// Blocks that are damaged, what they hold, and files that are.
    pub damaged: (u64, Bytes, u64),
    /// What the recorder said about itself the last time; none where it never did.
    pub last_run: Option<LastRun>,
}

/// What a recorder says about itself.
#[derive(Clone, Debug)]
pub struct LastRun {
    /// The beat that is wanted.
    pub wanted: Duration,
    /// The beat that is kept.
    pub kept: Duration,
    /// Samples that could not be kept.
    pub lost: u64,
    /// Why, the last time; empty where all could.
    pub trouble: String,
    /// Processes in the last sample.
    pub processes: u64,
    /// Its own memory.
    pub memory: Reading<Bytes>,
    /// Share of one processor that it takes.
    pub cpu: Reading<f64>,
}

/// An alert, raised or over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertView {
    /// When.
    pub at: WallTime,
    /// Name of the machine.
    pub host: String,
    /// Which rule, by its key in the configuration.
    pub rule: String,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about: a process, a control group, the machine.
    pub subject: String,
    /// Why it is said.
    pub evidence: String,
    /// What to do next, as a command; empty where there is none.
    pub next_command: String,
    /// On from now, or off.
    pub raised: bool,
}

impl From<&RecorderView> for SheetView {
    fn from(view: &RecorderView) -> Self {
        let state = match view.running {
            Some(pid) => format!("Recorder at work as process {pid}"),
            None if view.ended.is_empty() => "No recorder at work".to_owned(),
            None => format!("No recorder at work ({})", view.ended),
        };
        let mut tables = vec![recording(view)];
        tables.extend(view.last_run.as_ref().map(|run| recorder(view, run)));
        Self { document: "status", title: format!("{state}: {}", view.place), tables, notes: Vec::new() }
    }
}

fn recording(view: &RecorderView) -> TableView {
    let (blocks, bytes, files) = view.damaged;
    let time = |at: Reading<WallTime>| Cell::Text(at.map(WallTime::rfc3339));
    TableView::facts(
        "recording",
        "The recording",
        [
            (&metrics::RECORDING, Cell::text(&view.place)),
            (&metrics::FROM, time(view.from)),
            (&metrics::TO, time(view.to)),
            (&metrics::HOSTS, Cell::text(view.hosts.join(", "))),
            (&metrics::SAMPLES, Cell::count(view.beats)),
            (&metrics::GAPS, Cell::count(view.gaps)),
            (&metrics::BOOTS, Cell::count(view.boots)),
            (&metrics::SIZE, Cell::Bytes(Reading::Known(view.size))),
            (&metrics::SEGMENTS, Cell::count(view.segments)),
            (&metrics::FORMAT, Cell::count(u64::from(view.version))),
            (&metrics::DAMAGED_BLOCKS, Cell::count(blocks)),
            (&metrics::DAMAGED, Cell::Bytes(Reading::Known(bytes))),
            (&metrics::DAMAGED_FILES, Cell::count(files)),
        ],
    )
}

fn recorder(view: &RecorderView, run: &LastRun) -> TableView {
    let at_work = Reading::from_option(view.running, Why::NotRunning);
    // What a recorder said of itself stays readable after it ended, and must not pass for one that is at work.
    let title = if view.running.is_some() { "The recorder" } else { "The last recorder" };
    let mut facts = vec![
        (&metrics::RECORDER_PID, Cell::Count(at_work.map(|pid| u64::from(pid.0)))),
        (&metrics::EVERY, Cell::Span(Reading::Known(run.wanted))),
        (&metrics::KEPT, Cell::Span(Reading::Known(run.kept))),
        (&metrics::PROCESSES, Cell::count(run.processes)),
        (&metrics::LOST, Cell::count(run.lost)),
        (&metrics::RSS, Cell::Bytes(run.memory)),
        (&metrics::CPU_SHARE, Cell::Share(run.cpu)),
    ];
    let words = [(&metrics::ENDED, &view.ended), (&metrics::TROUBLE, &run.trouble)];
    facts.extend(
        words.into_iter().filter(|(_, text)| !text.is_empty()).map(|(metric, text)| (metric, Cell::text(text))),
    );
    TableView::facts("recorder", title, facts)
}

impl AlertView {
    /// The word for how much it matters.
    pub(crate) const fn weight(&self) -> &'static str {
        match self.severity {
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}
