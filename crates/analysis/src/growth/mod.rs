//! Which process grows, how fast, of what kind, and how certain that is.
//!
//! Owns: the histories of all processes and their ranking. Must not know: how memory is read or shown.

mod history;
mod judge;
mod teeth;
mod verdict;
pub(crate) mod words;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Beat, Bytes, Identity, MachineSample, MemorySample, ProcessKey, Reading};

use crate::Rate;
use crate::limits;

use self::history::History;

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
    histories: HashMap<ProcessKey, History>,
    memory_available: Reading<Bytes>,
    beats: u64,
    /// The boot that the beats are of, where they tell it.
    boot_id: Option<Arc<str>>,
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
        let memory_available = Reading::Missing(model::Why::NotRecorded);
        let (histories, losses) = (HashMap::new(), TrackerLosses::default());
        Self { options, histories, memory_available, beats: 0, boot_id: None, losses }
    }

    /// Takes one sample of the machine, later than those before it. Processes that it does not name have ended.
    pub fn add(&mut self, sample: &MachineSample) {
        let processes = sample.processes.iter().map(|process| (&process.identity, process.memory));
        self.add_all(sample.at, sample.memory_available, processes);
    }

    /// Takes one beat of a recording, or of a sampler that records; the findings are those of the same samples live. A beat
    /// of another boot ends all processes: their numbers and start times are given anew.
    pub fn add_beat(&mut self, beat: &Beat) {
        if self.boot_id.as_ref().is_some_and(|boot_id| *boot_id != beat.at.boot_id) {
            self.losses.processes_ended += self.histories.len() as u64;
            self.histories.clear();
            self.beats = 0;
        }
        self.boot_id = Some(beat.at.boot_id.clone());
        let processes = beat.processes.iter().map(|process| (&process.identity, process.figures.memory()));
        self.add_all(Duration::from_nanos(beat.at.boot_ns), beat.system.meminfo("MemAvailable"), processes);
    }

    /// Tells how much memory the cgroup of a process may still take, so that exhaustion is judged by the nearer bound.
    pub fn set_room(&mut self, process: ProcessKey, room: Reading<Bytes>) {
        if let Some(history) = self.histories.get_mut(&process) {
            history.room = room;
        }
    }

    /// All processes of the last sample, judged, worst first: those that grow by their rate, then the others by theirs.
    pub fn ranking(&self) -> Vec<Growth> {
        let mut ranking: Vec<Growth> =
            self.histories.values().map(|history| history.judged(self.memory_available)).collect();
        ranking.sort_by_cached_key(place);
        ranking
    }

    /// What could not be kept.
    pub const fn losses(&self) -> TrackerLosses {
        self.losses
    }

    fn add_all<'a>(
        &mut self,
        at: Duration,
        memory_available: Reading<Bytes>,
        processes: impl Iterator<Item = (&'a Arc<Identity>, MemorySample)>,
    ) {
        self.beats += 1;
        self.memory_available = memory_available;
        for (identity, memory) in processes.filter(|(identity, _)| !identity.kernel_thread) {
            self.add_process(at, identity, memory);
        }
        let (before, beats) = (self.histories.len(), self.beats);
        self.histories.retain(|_, history| history.seen == beats);
        debug_assert!(self.histories.len() <= self.options.processes_max, "histories are bounded");
        self.losses.processes_ended += (before - self.histories.len()) as u64;
    }

    fn add_process(&mut self, at: Duration, identity: &Arc<Identity>, memory: MemorySample) {
        let key = identity.key;
        if !self.histories.contains_key(&key) {
            if self.histories.len() >= self.options.processes_max {
                self.losses.samples_untracked += 1;
                return;
            }
            // A process that was there at the first sample is of unknown age; one that came later has just started.
            let born = self.beats > 1;
            self.histories.insert(key, History::new(identity.clone(), memory, born));
        }
        if let Some(history) = self.histories.get_mut(&key) {
            let (kept, thinned) = history.add(self.beats, at, identity, memory);
            self.losses.samples_unreadable += u64::from(!kept);
            self.losses.samples_thinned += thinned;
        }
    }
}

/// The order of the ranking: judged growth first, then by rate, then by size; the pid last, so that the order is stable.
fn place(growth: &Growth) -> impl Ord + use<> {
    let rate = growth.per_hour.map(|rate| rate.per_hour).known();
    let rate = rate.or(growth.recent_per_hour.known());
    let size = growth.memory.private().known();
    (growth.verdict != GrowthVerdict::Growing, Reverse(rate), Reverse(size), growth.identity.key)
}

#[cfg(test)]
mod tests;
