//! Which process grows, how fast, of what kind, and how certain that is.
//!
//! Owns: the histories of all processes and their ranking. Must not know: how memory is read or shown.

mod verdict;

use std::sync::Arc;
use std::time::Duration;

use model::{Bytes, Identity, MachineSample, MemorySample, ProcessKey, Reading};

use crate::Rate;
use crate::limits;

pub use verdict::{GrowthVerdict, MemoryKind};

/// How much a tracker may keep. The default fits a machine of some thousand processes.
#[derive(Clone, Copy, Debug)]
pub struct GrowthOptions {
    /// Processes whose history is kept; further ones are counted in [`TrackerLosses`].
    pub processes_max: usize,
}

/// What a tracker could not keep. All zero on a healthy run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackerLosses {
    /// Samples of processes for which no history was free.
    pub samples_untracked: u64,
    /// Samples without the figures that a judgement needs.
    pub samples_unreadable: u64,
    /// Samples that were merged into a neighbour to keep a history within its bound.
    pub samples_thinned: u64,
    /// Processes that ended while they were watched; their history is gone.
    pub processes_ended: u64,
}

/// Time until memory runs out if growth goes on as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhaustion {
    /// By the estimate of the growth.
    pub after: Duration,
    /// By the upper end of its interval.
    pub soonest: Duration,
    /// By the lower end of its interval; none where that is no growth at all.
    pub latest: Option<Duration>,
}

/// What is known of the growth of one process.
#[derive(Clone, Debug)]
pub struct Growth {
    /// Which process.
    pub identity: Arc<Identity>,
    /// Its memory now.
    pub memory: MemorySample,
    /// The judgement.
    pub verdict: GrowthVerdict,
    /// What grew most in the window; none where nothing did.
    pub kind: Option<MemoryKind>,
    /// Growth of what was judged: private memory (anon + swap), or shared memory where only that grows.
    pub per_hour: Reading<Rate>,
    /// Growth of private memory per hour over the last few samples, for a live ranking.
    pub recent_per_hour: Reading<i64>,
    /// How certain the growth is, 0 to 1.
    pub confidence: Reading<f64>,
    /// When memory runs out; missing where the process is not judged to grow.
    pub exhaustion: Reading<Exhaustion>,
    /// What speaks for and against the judgement, one sentence each.
    pub reasons: Vec<String>,
    /// Private memory (anon + swap) over time, oldest first.
    pub history: Vec<(Duration, Bytes)>,
}

/// Watches all processes of a machine.
#[derive(Debug)]
pub struct GrowthTracker {
    options: GrowthOptions,
    losses: TrackerLosses,
}

impl Default for GrowthOptions {
    fn default() -> Self {
        Self { processes_max: limits::PROCESSES_MAX }
    }
}

impl GrowthTracker {
    /// A tracker that has seen nothing yet.
    pub fn new(options: GrowthOptions) -> Self {
        Self { options, losses: TrackerLosses::default() }
    }

    /// Takes one sample of the machine, later than those before it.
    pub fn add(&mut self, sample: &MachineSample) {
        let _ = (sample, self.options);
    }

    /// Tells how much memory the cgroup of a process may still take, so that exhaustion is judged by the nearer bound.
    pub fn set_room(&mut self, process: ProcessKey, room: Reading<Bytes>) {
        let _ = (process, room);
    }

    /// All processes of the last sample, judged, worst first.
    pub fn ranking(&self) -> Vec<Growth> {
        Vec::new()
    }

    /// What could not be kept.
    pub const fn losses(&self) -> TrackerLosses {
        self.losses
    }
}
