//! One attached process and the sites that allocate in it.
//!
//! Owns: the facts of an attach, its sites and its events. Must not know: how blocks are counted or judged.

use std::sync::Arc;
use std::time::Duration;

use analysis::{Holding, ModeChange, Rate, SiteTotals};
use model::{Bytes, Coverage, Frame, Kind, Losses, Mode, Overhead, Pid, Reading, SiteCounts, StackId, Tally};

use super::{Outcome, Severity};

/// All that is shown of an attached process.
#[derive(Clone, Debug)]
pub struct SitesView {
    /// The process and the attach.
    pub target: TargetView,
    /// Time since the hooks became active.
    pub elapsed: Duration,
    /// What the hooks saw.
    pub coverage: Coverage,
    /// What was not recorded.
    pub losses: Losses,
    /// What the hooks cost the target.
    pub overhead: Overhead,
    /// The latest changes of the mode.
    pub mode_changes: Vec<ModeChange>,
    /// How many there were before them.
    pub mode_changes_forgotten: u64,
    /// Memory of the target that the session occupies.
    pub memory_in_target: Bytes,
    /// By how much the target's private memory grew, as the kernel counts it.
    pub private_growth: Reading<Bytes>,
    /// Sums over all sites, listed or not.
    pub totals: SiteTotals,
    /// The sites that are listed, worst first.
    pub sites: Vec<SiteView>,
    /// Sites that exist but are not in `sites`, since `--top` or `--min-bytes` left them out.
    pub sites_left_out: u64,
    /// What it came to, as far as can be said now.
    pub outcome: Outcome,
    /// What the reader must know besides, one sentence each (for example what stays in the target).
    pub notes: Vec<String>,
}

/// The process and what was done to it.
#[derive(Clone, Debug)]
pub struct TargetView {
    /// Which process.
    pub pid: Pid,
    /// The name that the kernel keeps.
    pub command: String,
    /// What became of it, in a word or two: `attached`, `detached`, `exited`, `executed another program`.
    pub state: String,
    /// Which allocator was found.
    pub allocator: String,
    /// Names of the functions that are hooked.
    pub functions: Vec<String>,
    /// Which blocks are recorded now.
    pub mode: Mode,
    /// What was asked for: `exact`, `sampled` or `auto`.
    pub mode_asked: String,
    /// The limit that `auto` keeps to, as a share of the target's processor time; missing where there is none.
    pub max_overhead: Reading<f64>,
    /// How much memory the records may take.
    pub memory_max: Bytes,
    /// Threads at the attach.
    pub threads: u32,
    /// Age from which a live block counts as expired.
    pub expire: Duration,
    /// From the call until the hooks were active.
    pub active_after: Duration,
    /// Longest stop of any thread at the attach.
    pub attach_stop: Duration,
    /// Longest stop of any thread at the detach; missing before it.
    pub detach_stop: Reading<Duration>,
}

/// One site: who allocates, how much of it stays, and what that means.
#[derive(Clone, Debug)]
pub struct SiteView {
    /// Place in the ranking, from 1.
    pub rank: u32,
    /// Everything counted for it; `counts.expired` is what may leak.
    pub counts: SiteCounts,
    /// Blocks that ever expired, whether they were freed afterwards or not.
    pub ever_expired: Tally,
    /// Growth of its live bytes.
    pub growth: Reading<Rate>,
    /// The judgement in a word or two.
    pub verdict: String,
    /// What the judgement means for the reader.
    pub severity: Severity,
    /// Whether the program still holds its expired blocks; missing where nobody looked.
    pub holding: Reading<Holding>,
    /// What speaks for and against it, one sentence each.
    pub reasons: Vec<String>,
    /// Whether it keeps freeing its expired blocks, so that it no longer makes events.
    pub demoted: bool,
    /// The stack, innermost first; empty while it is not read yet.
    pub frames: Arc<[Frame]>,
    /// Source text around its lines, where the caller found it.
    pub excerpts: Vec<Excerpt>,
}

impl SiteView {
    /// Index of the frame to look at first: the innermost of the program's own code.
    pub fn origin(&self) -> Option<usize> {
        analysis::origin(&self.frames)
    }

    /// Whether nothing about it could be of interest to who looks for a leak: nothing of it is, or was, older than the threshold.
    pub fn is_quiet(&self) -> bool {
        self.severity == Severity::Fine && self.ever_expired.count == 0
    }

    /// The judgement in a word, for a column: of what leaks, whether it is lost or held where all of it is one or the other.
    pub fn verdict_in_short(&self) -> String {
        match self.holding.as_known() {
            Some(Holding { lost, held, unclear }) if self.severity == Severity::Leak => {
                match (lost.count, held.count + unclear.count) {
                    (1.., 0) => "lost".to_owned(),
                    (0, 1..) => "held".to_owned(),
                    _ => self.verdict.clone(),
                }
            }
            _ => self.verdict.clone(),
        }
    }

    /// The judgement, and what became of its expired blocks where that is known: `leaking, lost`.
    pub fn judgement(&self) -> String {
        let fate = match self.holding.as_known() {
            Some(Holding { lost, held, unclear }) => match (lost.count, held.count + unclear.count) {
                (0, 0) => "",
                (_, 0) => ", lost",
                (0, _) => ", held",
                _ => ", partly lost",
            },
            None => "",
        };
        format!("{}{fate}", self.verdict)
    }
}

/// Some lines of a source file around the line of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Index of the frame in `frames`.
    pub frame: usize,
    /// Number of the first line.
    pub first: u32,
    /// The lines, control characters escaped.
    pub lines: Vec<String>,
    /// Whether the file was written after the program, so that its lines may have moved.
    pub newer: bool,
}

/// What happens while a process is attached, one line each.
#[derive(Clone, Debug)]
pub enum EventView {
    /// The hooks are in.
    Attached(TargetView),
    /// A block of this stack expired for the first time.
    FirstExpiry {
        /// Time since the hooks became active.
        at: Duration,
        /// The stack.
        stack: StackId,
        /// What has expired of it.
        expired: Tally,
        /// The stack, innermost first; empty where it could not be read.
        frames: Arc<[Frame]>,
    },
    /// Further blocks of a stack expired.
    Again {
        /// Time since the hooks became active.
        at: Duration,
        /// The stack.
        stack: StackId,
        /// How many since the last event of this stack.
        more: u64,
        /// What has expired of it and is still live.
        expired: Tally,
    },
    /// Blocks were freed that had expired.
    FreedLate {
        /// Time since the hooks became active.
        at: Duration,
        /// The stack.
        stack: StackId,
        /// What they are.
        kind: Kind,
        /// How many since the last event of this stack.
        count: u64,
        /// How long the longest-lived had lived.
        longest: Reading<Duration>,
    },
    /// A stack keeps freeing its expired blocks and makes no more events.
    Demoted {
        /// Time since the hooks became active.
        at: Duration,
        /// The stack.
        stack: StackId,
        /// Blocks freed late until now.
        freed_late: Tally,
        /// Blocks that ever expired.
        ever_expired: Tally,
    },
    /// From now on other blocks are recorded than before.
    ModeChanged(ModeChange),
    /// So many blocks expired at one stack that the session ends.
    StopReached {
        /// Time since the hooks became active.
        at: Duration,
        /// The stack.
        stack: StackId,
        /// What has expired of it.
        expired: Tally,
    },
    /// Something happened in a child that is followed.
    Child {
        /// Time since the hooks of the target, not of the child, became active.
        at: Duration,
        /// Which child.
        pid: Pid,
        /// The name that the kernel keeps of it.
        command: String,
        /// What happened.
        what: ChildEvent,
    },
    /// The target is gone or the session ended.
    Ended {
        /// Time since the hooks became active.
        at: Duration,
        /// Why, in a few words.
        why: String,
    },
}

/// What is told of a child while its parent is watched; its sites are in its own summary.
#[derive(Clone, Debug)]
pub enum ChildEvent {
    /// From now on other blocks of it are recorded than before.
    ModeChanged(ModeChange),
    /// This much of it was not recorded until now.
    Lost(Losses),
    /// It ended, executed another program, or cannot be read any more.
    Ended {
        /// Why, in a few words.
        why: String,
    },
}
