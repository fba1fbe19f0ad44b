//! The views as text for people.
//!
//! Owns: how text is made fit for a terminal: width, colour, escapes. Must not know: where it is printed to.

mod braille;
mod doctor;
mod machine;
pub(crate) mod phrase;
mod recorded;
mod run;
mod sheet;
mod sites;
mod spark;
mod table;

use std::io::{self, Write};

use model::Frame;

pub(crate) use self::machine::conclusion;

use crate::{
    AlertView, DoctorView, EventView, HuntView, ProcessView, RecordingView, RunView, Severity, SheetView, SiteView,
    SitesView,
};

/// How text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// Columns of the terminal, or how wide tables may be in a file.
    pub width: usize,
    /// Whether to colour; the caller knows about `NO_COLOR` and whether it is a terminal.
    pub colour: bool,
}

impl Text {
    /// The line that `hunt` shows while it watches, without a line end; the caller overwrites it.
    pub fn progress(&self, view: &HuntView) -> String {
        machine::progress(*self, view)
    }

    /// How far something has come, as a bar without a line end; the caller overwrites it.
    pub fn bar(&self, what: &str, done: std::time::Duration, whole: std::time::Duration) -> String {
        phrase::bar(what, done, whole, self.width)
    }

    /// The ranking of `hunt`, with the reasons of what grows.
    pub fn hunt(&self, view: &HuntView, out: &mut dyn Write) -> io::Result<()> {
        machine::hunt(*self, view, out)
    }

    /// One beat of `watch --plain`: at most `rows` processes.
    pub fn beat(&self, view: &HuntView, rows: usize, out: &mut dyn Write) -> io::Result<()> {
        machine::beat(*self, view, rows, out)
    }

    /// One event of `attach --plain`.
    pub fn event(&self, event: &EventView, out: &mut dyn Write) -> io::Result<()> {
        sites::event(*self, event, out)
    }

    /// An event that is one line, without its time and without a line end; none for those that are more.
    pub fn event_in_short(event: &EventView) -> Option<String> {
        sites::event_in_short(event)
    }

    /// The summary of an attach: what it came to, every site, what was lost, what stays.
    pub fn sites(&self, view: &SitesView, out: &mut dyn Write) -> io::Result<()> {
        sites::summary(*self, view, out)
    }

    /// What a program that leakline started had not freed when it ended.
    pub fn run(&self, view: &RunView, out: &mut dyn Write) -> io::Result<()> {
        run::report(*self, view, out)
    }

    /// A comparison, an inspection, a state.
    pub fn sheet(&self, view: &SheetView, out: &mut dyn Write) -> io::Result<()> {
        sheet::sheet(*self, view, out)
    }

    /// An alert as one line, without a line end.
    pub fn alert(&self, view: &AlertView) -> String {
        sheet::alert(*self, view)
    }

    /// The report of a recording: findings, curves, the machine, the processes, what happened.
    pub fn recording(&self, view: &RecordingView, out: &mut dyn Write) -> io::Result<()> {
        recorded::report(*self, view, out)
    }

    /// Every chart of a recording as curves, at most `lines` in each.
    pub fn plots(&self, view: &RecordingView, lines: usize, out: &mut dyn Write) -> io::Result<()> {
        recorded::plots(*self, view, lines, out)
    }

    /// What a recording covers, as one line.
    pub fn recorded(&self, view: &RecordingView) -> String {
        table::cut(&table::safe(&phrase::recorded(view)), self.width)
    }

    /// The latest figures of the first process of a recording, as one line.
    pub fn figures(&self, view: &RecordingView) -> String {
        table::cut(&recorded::figures(view), self.width)
    }

    /// The first curve of a recording in this many rows, as lines, with its name and its axes.
    pub fn curve(&self, view: &RecordingView, rows: usize) -> Vec<String> {
        recorded::first_curve(*self, view, rows)
    }

    /// The checks of `doctor`.
    pub fn doctor(&self, view: &DoctorView, out: &mut dyn Write) -> io::Result<()> {
        doctor::checks(*self, view, out)
    }

    /// The live ranking as lines, the first of them the titles; a history column takes what space is left.
    pub fn process_table(&self, rows: &[&ProcessView]) -> Vec<String> {
        table::lay_out(machine::LIVE, rows, self.width)
    }

    /// The ranking of sites as lines, the first of them the titles.
    pub fn site_table(&self, rows: &[&SiteView]) -> Vec<String> {
        table::lay_out(sites::COLUMNS, rows, self.width)
    }

    /// The facts of an attach as lines: whether it is attached, to which allocator, in which mode, what it costs, what
    /// was lost, and what leaks.
    pub fn target_facts(&self, view: &SitesView) -> Vec<String> {
        sites::facts(view)
    }

    /// How many there are and how large, with the error of an estimate.
    pub fn tally(tally: model::Tally) -> String {
        phrase::tally(tally)
    }

    /// What a session comes to, in one line: its mode, what it costs, what was lost, what leaks.
    pub fn target_in_short(view: &SitesView) -> String {
        sites::in_short(view)
    }

    /// The line to look at first, and the number of the stack.
    pub fn site_title(&self, view: &SiteView) -> String {
        sites::site_title(view)
    }

    /// Everything counted for one site, as lines without its stack.
    pub fn site_facts(&self, view: &SiteView) -> Vec<String> {
        sites::site_facts(view)
    }

    /// The memory and the growth of one process, as lines.
    pub fn process_facts(&self, view: &ProcessView) -> Vec<String> {
        machine::process_facts(view)
    }

    /// The source text around the line of a frame, each line with whether it is the line of the call.
    pub fn source(&self, site: &SiteView, frame: usize) -> Vec<(bool, String)> {
        sites::source_lines(site, frame)
    }

    /// One frame as a line.
    pub fn frame(&self, index: usize, frame: &Frame) -> String {
        sites::frame(index, frame)
    }

    /// The text without anything that could move the cursor or reorder the line.
    pub fn safe(text: &str) -> String {
        table::safe(text)
    }

    /// Colour is the last thing that is added: a table is laid out by what is seen.
    fn painted(self, paint: Paint, text: &str) -> String {
        match paint.code() {
            Some(code) if self.colour => format!("\x1b[{code}m{text}\x1b[0m"),
            Some(_) | None => text.to_owned(),
        }
    }
}

/// Colours by meaning, so that no writer chooses one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Paint {
    Bad,
    Doubtful,
    Good,
    Title,
    Plain,
}

impl Paint {
    /// The code of ECMA-48; none where the text stays as it is.
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Bad => Some("1;31"),
            Self::Doubtful => Some("33"),
            Self::Good => Some("32"),
            Self::Title => Some("1"),
            Self::Plain => None,
        }
    }
}

impl From<Severity> for Paint {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Leak => Self::Bad,
            Severity::Suspect => Self::Doubtful,
            Severity::Unclear | Severity::Fine => Self::Plain,
        }
    }
}
