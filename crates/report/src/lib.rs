//! Findings as plain data, as text and as JSON.
//!
//! Owns: the views, the name and meaning of every figure that is shown, and how all of it is written.
//! Must not know: terminals, sockets, files, clocks, or how anything was measured.
//!
//! Every view (command line, terminal program, later the web page) shows the same plain data: [`HuntView`] for the
//! machine, [`SitesView`] for one attached process, [`EventView`] for what happens while it is attached and
//! [`DoctorView`] for what works here. [`Text`] writes them for people, [`Document`] for programs.

#[cfg(test)]
extern crate self as report;

mod export;
mod html;
mod json;
mod limits;
pub mod metrics;
mod plot;
mod span;
mod text;
mod view;
mod wall;

/// The intervals of the judgements are shown as they are; the views need not know `analysis` for them.
pub use analysis::{Exhaustion, Holding, KindTotals, ModeChange, Rate, SiteTotals};
/// The tests beside the code use the samples of the golden files.
#[cfg(test)]
#[path = "../tests/views/samples.rs"]
mod samples;

#[cfg(feature = "parquet")]
pub use export::ProcessParquet;
pub use export::{ProcessCsv, SystemCsv};
pub use html::Html;
pub use json::Document;
pub use plot::Plot;
pub use span::Span;
pub use text::Text;
pub use view::{
    AlertView, BalanceView, Cell, Check, CheckState, ChildEvent, DoctorView, EventView, Excerpt, FindingView, GapView,
    HuntView, LastRun, LeakView, MachineView, NoteView, Outcome, Point, ProcessSeries, ProcessView, RecorderView,
    RecordingView, RemovalView, RunView, Series, Severity, SheetView, SiteView, SitesView, SuppressionView, TableView,
    TargetView,
};
pub use wall::WallTime;
