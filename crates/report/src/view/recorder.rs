//! The state of a recorder, and alerts.
//!
//! Owns: their facts. Must not know: how a recorder is found, or when an alert is raised.

use std::time::Duration;

use model::{Bytes, Pid, Reading, Severity};

use super::{Cell, SheetView, TableView};
use crate::{WallTime, metrics};

/// What `status` says of one recording.
#[derive(Clone, Debug)]
pub struct RecorderView {
    /// Where the recording is.
    pub place: String,
    /// The recorder, while it runs.
    pub running: Option<Pid>,
    /// First and last moment of the recording.
    pub from: WallTime,
    /// The last moment of the recording.
    pub to: WallTime,
    /// Samples taken.
    pub beats: u64,
    /// Stretches without samples.
    pub gaps: u64,
    /// Samples that could not be kept.
    pub lost: u64,
    /// Space that it takes.
    pub size: Reading<Bytes>,
    /// The beat that is wanted.
    pub wanted: Reading<Duration>,
    /// The beat that is kept.
    pub kept: Reading<Duration>,
    /// Memory of the recorder itself.
    pub own_memory: Reading<Bytes>,
    /// Share of one processor that the recorder takes.
    pub own_cpu: Reading<f64>,
    /// What the reader must know besides, one sentence each.
    pub notes: Vec<String>,
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
        let state = view.running.map_or_else(|| "not running".to_owned(), |pid| format!("running as process {pid}"));
        let columns = [
            &metrics::BEATS,
            &metrics::GAPS,
            &metrics::LOST,
            &metrics::SIZE,
            &metrics::EVERY,
            &metrics::KEPT,
            &metrics::RSS,
            &metrics::CPU_SHARE,
        ];
        let mut table = TableView::new("recorder", format!("{} to {} UTC", view.from, view.to), &columns);
        table.row(vec![
            Cell::count(view.beats),
            Cell::count(view.gaps),
            Cell::count(view.lost),
            Cell::Bytes(view.size),
            Cell::Span(view.wanted),
            Cell::Span(view.kept),
            Cell::Bytes(view.own_memory),
            Cell::Share(view.own_cpu),
        ]);
        let title = format!("{}: {state}", view.place);
        Self { document: "status", title, tables: vec![table], notes: view.notes.clone() }
    }
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
