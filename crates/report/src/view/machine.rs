//! The processes of a machine and how they grow.
//!
//! Owns: the ranking and its rows. Must not know: how growth is judged.

use std::sync::Arc;
use std::time::Duration;

use analysis::{Exhaustion, Rate};
use model::{Bytes, Identity, MemorySample, Reading};

use super::{Outcome, Severity};

/// What was seen of the machine: the whole answer of `hunt`, and one beat of `watch`.
#[derive(Clone, Debug)]
pub struct HuntView {
    /// How much was looked at.
    pub machine: MachineView,
    /// The processes, worst first.
    pub processes: Vec<ProcessView>,
    /// What it came to.
    pub outcome: Outcome,
    /// What was lost, left out or refused, one sentence each.
    pub notes: Vec<String>,
}

/// How much of the machine was looked at.
#[derive(Clone, Copy, Debug)]
pub struct MachineView {
    /// How long it was watched until now.
    pub window: Duration,
    /// How long it is to be watched; none where there is no end.
    pub planned: Option<Duration>,
    /// Samples taken.
    pub beats: u64,
    /// Processes watched.
    pub processes: u64,
    /// Processes that vanished while they were read.
    pub vanished: u64,
    /// `MemTotal`.
    pub memory_total: Reading<Bytes>,
    /// `MemAvailable`.
    pub memory_available: Reading<Bytes>,
}

/// One process: what it is, what its memory consists of, and how it grows.
#[derive(Clone, Debug)]
pub struct ProcessView {
    /// Which process.
    pub identity: Arc<Identity>,
    /// Its memory now.
    pub memory: MemorySample,
    /// Growth over the whole window.
    pub growth: Reading<Rate>,
    /// Growth of its private memory per hour over the last few samples, in bytes.
    pub recent: Reading<i64>,
    /// What grows most: `anon`, `file`, `shmem` or `swap`; empty where nothing does.
    pub kind: String,
    /// How certain the growth is, 0 to 1.
    pub confidence: Reading<f64>,
    /// When memory runs out if it goes on like this.
    pub exhaustion: Reading<Exhaustion>,
    /// The judgement in a word or two.
    pub verdict: String,
    /// What the judgement means for the reader.
    pub severity: Severity,
    /// What speaks for and against it, one sentence each.
    pub reasons: Vec<String>,
    /// Private memory (anon + swap) over time, oldest first; the time counts from the start of the sampler.
    pub history: Vec<(Duration, Bytes)>,
}
