//! The views as JSON, one document a line.
//!
//! Owns: the schema and its number. Must not know: where the documents go.
//!
//! Each figure is written under the key of its metric, and a missing one as `{"missing": "why"}`. A document has no line
//! breaks inside, so that a stream of events can be read line by line.

mod object;
mod recorded;
mod run;
mod sample;
mod sheet;
mod target;

use std::io::{self, Write};

use serde_json::Value;

use self::object::Object;
use crate::{
    AlertView, Check, DoctorView, EventView, HuntView, MachineView, ProcessView, RecordingView, RunView, SheetView,
    SitesView, metrics,
};

/// Changes when a key changes its meaning or goes away, not when one is added.
const SCHEMA: u32 = 1;

/// One document: a view and what it is called in JSON.
#[derive(Clone, Copy, Debug)]
pub enum Document<'a> {
    /// The answer of `hunt`; `attached` are the processes that it attached to.
    Hunt {
        /// The ranking.
        view: &'a HuntView,
        /// The processes that were attached to.
        attached: &'a [SitesView],
    },
    /// One beat of `watch`.
    Beat(&'a HuntView),
    /// The summary of an attach.
    Sites(&'a SitesView),
    /// The report of a program that leakline started.
    Run(&'a RunView),
    /// One event of an attach.
    Event(&'a EventView),
    /// The report of a recording.
    Recording(&'a RecordingView),
    /// A comparison, an inspection, a state.
    Sheet(&'a SheetView),
    /// One sample of a recording, for other tools.
    Sample(&'a model::Beat),
    /// An alert.
    Alert(&'a AlertView),
    /// The checks of `doctor`.
    Doctor(&'a DoctorView),
}

impl Document<'_> {
    /// Writes the document and a line end.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        // Written at once: a reader of a pipe must not see half of a document when we are killed.
        // JSON escapes every line end inside of a text, so that one line is one document however hostile its names are.
        let text = self.value().to_string();
        debug_assert!(!text.contains('\n'), "a document is one line");
        writeln!(out, "{text}")
    }

    /// The document as a value; its first members are the schema and the kind of document.
    fn value(&self) -> Value {
        match self {
            Self::Hunt { view, attached } => hunt(start("hunt"), view)
                .list("attached", attached, |sites| target::sites(Object::new(), sites).value())
                .value(),
            Self::Beat(view) => hunt(start("beat"), view).value(),
            Self::Sites(view) => target::sites(start("attach"), view).value(),
            Self::Run(view) => run::run(start("run"), view).value(),
            Self::Event(event) => target::event(start("event"), event).value(),
            Self::Recording(view) => recorded::recording(start("recording"), view).value(),
            Self::Sheet(view) => sheet::sheet(start(view.document), view).value(),
            Self::Sample(beat) => sample::sample(start("sample"), beat).value(),
            Self::Alert(view) => sheet::alert(start("alert"), view).value(),
            Self::Doctor(view) => doctor(start("doctor"), view).value(),
        }
    }
}

/// What every document begins with, so that a reader can tell which it is from its first bytes.
fn start(document: &str) -> Object {
    Object::new().figure(&metrics::SCHEMA, SCHEMA).text("document", document)
}

/// The machine and its ranking.
fn hunt(object: Object, view: &HuntView) -> Object {
    // The order of the list is the ranking; the rank is written too, since tools sort lists anew.
    let ranks = view.processes.iter().zip(1_u32..);
    object
        .text("outcome", view.outcome.key())
        .figure(&metrics::EXIT_CODE, u32::from(view.outcome.exit_code()))
        .part("machine", machine(&view.machine))
        .part("processes", ranks.map(|(row, rank)| process(rank, row)).collect())
        .texts("notes", &view.notes)
}

/// How much was looked at.
fn machine(view: &MachineView) -> Value {
    Object::new()
        .figure(&metrics::WINDOW, view.window)
        .figure(&metrics::BEATS, view.beats)
        .figure(&metrics::PROCESSES, view.processes)
        .figure(&metrics::VANISHED, view.vanished)
        .figure(&metrics::MEMORY_TOTAL, view.memory_total)
        .figure(&metrics::MEMORY_AVAILABLE, view.memory_available)
        .value()
}

/// One row of the ranking, with everything that is known of the process.
fn process(rank: u32, view: &ProcessView) -> Value {
    ranked(rank, view).value()
}

/// Who a process is.
fn identity(object: Object, identity: &model::Identity) -> Object {
    let object = object
        .figure(&metrics::PID, identity.key.pid.0)
        .figure(&metrics::STARTED, identity.key.started)
        .text(metrics::COMMAND.key, &identity.command)
        .text(metrics::ARGUMENTS.key, &identity.arguments)
        .figure(&metrics::UID, identity.uid)
        .reading(metrics::USER.key, &identity.user)
        .reading(metrics::CGROUP.key, &identity.cgroup);
    // A process in no container is the usual case and no failure, but the key is still there.
    match &identity.container {
        Some(container) => object.text(metrics::CONTAINER.key, container),
        None => object.missing(metrics::CONTAINER.key, "in no container that the cgroup names"),
    }
}

/// Everything that is known of a process and its growth.
fn ranked(rank: u32, view: &ProcessView) -> Object {
    identity(Object::new().figure(&metrics::RANK, rank), &view.identity)
        .part("memory", memory(view))
        .part("growth", object::rate(&view.growth))
        .figure(&metrics::RECENT, view.recent)
        .text(metrics::KIND.key, &view.kind)
        .figure(&metrics::CONFIDENCE, view.confidence)
        .part("exhaustion", exhaustion(view))
        .text(metrics::VERDICT.key, &view.verdict)
        .text("severity", view.severity.key())
        .texts("reasons", &view.reasons)
        .part(metrics::HISTORY.key, history(view))
}

/// What its memory consists of.
fn memory(view: &ProcessView) -> Value {
    let memory = &view.memory;
    Object::new()
        .figure(&metrics::RSS, memory.rss())
        .figure(&metrics::ANON, memory.anon)
        .figure(&metrics::FILE, memory.file)
        .figure(&metrics::SHMEM, memory.shmem)
        .figure(&metrics::SWAP, memory.swap)
        .figure(&metrics::PRIVATE, memory.private())
        .figure(&metrics::PAGE_TABLES, memory.page_tables)
        .figure(&metrics::THREADS, memory.threads)
        .value()
}

/// When memory runs out; an end that may never come is said in words and not as a huge number.
fn exhaustion(view: &ProcessView) -> Value {
    let exhaustion = match view.exhaustion {
        model::Reading::Known(exhaustion) => exhaustion,
        model::Reading::Missing(why) => return object::missing(&why.to_string()),
    };
    let object = Object::new()
        .figure(&metrics::EXHAUSTION, exhaustion.after)
        .figure(&metrics::EXHAUSTION_SOONEST, exhaustion.soonest);
    match exhaustion.latest {
        Some(latest) => object.figure(&metrics::EXHAUSTION_LATEST, latest).value(),
        None => object.missing(metrics::EXHAUSTION_LATEST.key, "it may never happen").value(),
    }
}

/// Two lists of one length: naming both figures in each of 120 points would treble the document.
fn history(view: &ProcessView) -> Value {
    let times = view.history.iter().map(|(at, _)| Value::from(at.as_secs_f64())).collect();
    let figures = view.history.iter().map(|(_, bytes)| Value::from(bytes.0)).collect();
    Object::new().part(metrics::AT.key, times).part(metrics::PRIVATE.key, figures).value()
}

/// What works here.
fn doctor(object: Object, view: &DoctorView) -> Object {
    let object = match &view.target {
        Some(target) => object.text("target", target),
        None => object.missing("target", "no process was asked for"),
    };
    object.truth("attach_possible", view.attach_possible()).list("checks", &view.checks, check)
}

/// One check with the command that would change it.
fn check(check: &Check) -> Value {
    let object = Object::new()
        .text("name", &check.name)
        .text("state", check.state.key())
        .text("found", &check.found)
        .text("needed", &check.needed);
    match &check.remedy {
        Some(remedy) => object.text("remedy", remedy).value(),
        None => object.missing("remedy", "no command changes it").value(),
    }
}
