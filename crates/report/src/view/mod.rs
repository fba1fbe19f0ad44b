//! The plain data that every view shows.
//!
//! Owns: which facts belong together on a screen. Must not know: how they are written, or how they were found.

mod compare;
mod doctor;
mod inspect;
mod judged;
mod machine;
mod note;
mod recorder;
mod recording;
mod removal;
mod run;
mod series;
mod sheet;
mod sites;

pub use doctor::{Check, CheckState, DoctorView};
pub use machine::{HuntView, MachineView, ProcessView};
pub use recorder::{AlertView, LastRun, RecorderView};
pub use recording::{BalanceView, FindingView, GapView, NoteView, Point, ProcessSeries, RecordingView, Series};
pub use removal::RemovalView;
pub use run::{LeakView, RunView, SuppressionView};
pub(crate) use series::{of as metric_of, used};
pub use sheet::{Cell, SheetView, TableView};
pub use sites::{ChildEvent, EventView, Excerpt, SiteView, SitesView, TargetView};

/// What a run came to, and with it the exit code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Enough was seen, and nothing leaks.
    NothingFound,
    /// At least one leak.
    LeakFound,
    /// What was seen is not enough to say either.
    #[default]
    CouldNotJudge,
    /// The hooks never fired, or did not see what grew: nothing can be said about leaks at all.
    Blind,
}

/// How much attention a row deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Judged to leak.
    Leak,
    /// Worth a look, but not judged to leak.
    Suspect,
    /// Not enough is known.
    Unclear,
    /// Judged not to leak.
    Fine,
}

impl Outcome {
    /// What the judgements of processes come to. One leak is an answer; "nothing found" needs processes that were judged, and
    /// none that may be leaking.
    pub fn of_processes<'a>(processes: impl IntoIterator<Item = &'a ProcessView>) -> Self {
        // A ranking in which all is unclear has no answer; one in which something was judged fine has.
        let (mut is_fine, mut is_suspect) = (false, false);
        for process in processes {
            match process.severity {
                Severity::Leak => return Self::LeakFound,
                Severity::Suspect => is_suspect = true,
                Severity::Fine => is_fine = true,
                Severity::Unclear => {}
            }
        }
        if is_fine && !is_suspect { Self::NothingFound } else { Self::CouldNotJudge }
    }

    /// 0 nothing found, 1 leak found, 2 could not judge. Blind is 2 as well: a script that only asks for 0 must never take it for a clean
    /// bill, and one that asks for 1 must not call it a leak.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::NothingFound => 0,
            Self::LeakFound => 1,
            Self::CouldNotJudge | Self::Blind => 2,
        }
    }

    /// The word for it in JSON.
    pub const fn key(self) -> &'static str {
        match self {
            Self::NothingFound => "nothing_found",
            Self::LeakFound => "leak_found",
            Self::CouldNotJudge => "could_not_judge",
            Self::Blind => "blind",
        }
    }
}

impl Severity {
    /// The word for it in JSON.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Leak => "leak",
            Self::Suspect => "suspect",
            Self::Unclear => "unclear",
            Self::Fine => "fine",
        }
    }
}
