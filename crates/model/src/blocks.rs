//! Blocks of an allocator, counted by the stack that allocated them.
//!
//! Owns: tallies (also of mappings and descriptors), lifetimes, losses and the snapshot of an attached target.
//! Must not know: how they were counted, or which site is to blame.

use std::time::Duration;

use crate::{Address, Bytes, Kind, Kinds, Reading, Why};

/// Names one distinct stack and kind within one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackId(pub u32);

/// A number of blocks and their bytes, as requested from the allocator: counted, or estimated from a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    /// What is counted; where it is not the heap, read "mappings", "stacks" or "descriptors" for "blocks".
    pub kind: Kind,
    /// How many blocks.
    pub count: u64,
    /// Their requested sizes, summed.
    pub bytes: Bytes,
    /// How far off an estimate may be; nothing where every block was counted.
    pub variance: Variance,
}

/// The squares of the standard errors of an estimated tally. Blocks are sampled independently of one another, so the
/// variance of a sum is the sum of the variances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variance {
    /// Of the number of blocks.
    pub blocks: u128,
    /// Of their bytes.
    pub bytes: u128,
}

/// Half of a 95 % interval in standard errors.
const INTERVAL: f64 = 1.96;

/// So many samples more are reckoned with in an error that is shown. A variance is itself estimated from the sample: where
/// chance brought few samples, it comes out too small, and intervals of five to fifteen samples held the truth in 87 to 93 of 100
/// cases only. With three more it is 95 for any number of samples.
const SAMPLES_MORE: f64 = 3.0;

impl Tally {
    /// A tally of which every block was counted.
    pub const fn exact(count: u64, bytes: Bytes) -> Self {
        Self { kind: Kind::Heap, count, bytes, variance: Variance { blocks: 0, bytes: 0 } }
    }

    /// A tally of nothing yet, of a kind.
    pub const fn of(kind: Kind) -> Self {
        Self { kind, ..Self::exact(0, Bytes(0)) }
    }

    /// What makes one tally larger than another: bytes, or the number of things that have no size.
    pub const fn weight(&self) -> u64 {
        if self.kind.has_size() { self.bytes.0 } else { self.count }
    }

    /// Both together; sums end at the greatest number.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let variance = Variance {
            blocks: self.variance.blocks.saturating_add(other.variance.blocks),
            bytes: self.variance.bytes.saturating_add(other.variance.bytes),
        };
        let (count, bytes) = (self.count.saturating_add(other.count), self.bytes.plus(other.bytes));
        Self { kind: self.kind, count, bytes, variance }
    }

    /// Whether some of it is estimated.
    pub const fn is_estimate(&self) -> bool {
        self.variance.blocks != 0 || self.variance.bytes != 0
    }

    /// Half of the 95 % interval around the number of blocks.
    pub fn count_error(&self) -> u64 {
        error(self.variance.blocks, self.count, 1.0)
    }

    /// Half of the 95 % interval around the bytes.
    pub fn bytes_error(&self) -> Bytes {
        Bytes(error(self.variance.bytes, self.bytes.0, self.bytes.0 as f64 / self.count.max(1) as f64))
    }

    /// So many blocks there are at least: the number itself where it was counted. On this side of an estimate its standard error is
    /// enough by itself, since chance is one-sided: many samples of few blocks are rarer than few samples of many.
    pub fn count_least(&self) -> u64 {
        self.count.saturating_sub((INTERVAL * (self.variance.blocks as f64).sqrt()).round() as u64)
    }
}

/// Half of the interval around a sum, from the square of its standard error and the average of what is summed.
fn error(variance: u128, sum: u64, average: f64) -> u64 {
    let variance = variance as f64;
    // A sample of weight w that stands for w things of size s adds s²w(w - 1) to the variance and sw to the sum.
    let missed = variance / sum.max(1) as f64;
    let one_sample = missed * (missed + average);
    (INTERVAL * SAMPLES_MORE.mul_add(one_sample, variance).sqrt()).round() as u64
}

/// One block that is live at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LiveBlock {
    /// What the allocator returned.
    pub at: Address,
    /// The size that was asked for.
    pub size: Bytes,
    /// The stack that allocated it.
    pub stack: StackId,
}

/// A live block of a program that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgedBlock {
    /// The block.
    pub block: LiveBlock,
    /// When it was allocated, in units of whoever counted it: another block at the same address has another birth.
    pub born: u64,
    /// How long ago that is.
    pub age: Duration,
    /// How many such blocks it stands for: itself, or what a sample says.
    pub stands_for: Tally,
}

/// How long freed blocks had lived, as exact as [`Lifetimes::RESOLUTION`]: a shorter life can be measured as none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// The shortest.
    pub min: Duration,
    /// The arithmetic mean.
    pub mean: Duration,
    /// The longest.
    pub max: Duration,
}

impl Lifetimes {
    /// How far off a lifetime may be: a thread of the target reads its clock seldom, since that is dear.
    pub const RESOLUTION: Duration = Duration::from_millis(4);
}

/// What some of a site's descriptors or mappings lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// As the kernel names it, for example `socket` or the path of a file.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// Everything counted for one site since the attach. All figures only ever cover blocks allocated after the attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteCounts {
    /// Which stack.
    pub stack: StackId,
    /// Blocks allocated.
    pub allocated: Tally,
    /// Blocks freed.
    pub freed: Tally,
    /// Blocks allocated and not freed.
    pub live: Tally,
    /// Live blocks that are older than the threshold.
    pub expired: Tally,
    /// Blocks that were freed after they had expired (late frees).
    pub freed_late: Tally,
    /// How long the late-freed block that lived longest had lived, if there was one.
    pub freed_late_longest: Option<Duration>,
    /// Lifetimes of freed blocks; none where nothing was freed.
    pub lifetimes: Option<Lifetimes>,
    /// Age of the oldest live block; none where nothing is live.
    pub oldest_live: Option<Duration>,
    /// What its live mappings or descriptors lead to, as far as it was looked at, the most frequent first.
    pub contents: Vec<Content>,
}

impl SiteCounts {
    /// What it holds.
    pub const fn kind(&self) -> Kind {
        self.allocated.kind
    }
}

/// What could not be recorded, by cause. All zero on a healthy run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Blocks not recorded because a table was full (threads, stacks or memory).
    pub blocks_unrecorded: u64,
    /// The cap on the memory of the records, where that is why they were not.
    pub memory_cap: Option<Bytes>,
    /// Stacks that were cut at the greatest depth.
    pub stacks_cut: u64,
    /// Stacks that ended early because a frame had no unwind information.
    pub stacks_broken: u64,
    /// Entries of the shared memory that made no sense and were left out.
    pub entries_corrupt: u64,
    /// Calls for mappings, threads and descriptors that were overwritten before they were read.
    pub events_missed: u64,
    /// Mappings and descriptors that were not recorded because a table was full.
    pub regions_unrecorded: u64,
    /// Open descriptors that no call was seen for.
    pub descriptors_unseen: u64,
}

impl Losses {
    /// How often anything was lost, whatever the cause: enough to tell that it is more than before.
    pub const fn total(&self) -> u64 {
        let Self {
            blocks_unrecorded,
            memory_cap: _,
            stacks_cut,
            stacks_broken,
            entries_corrupt,
            events_missed,
            regions_unrecorded,
            descriptors_unseen,
        } = self;
        blocks_unrecorded
            .saturating_add(*stacks_cut)
            .saturating_add(*stacks_broken)
            .saturating_add(*entries_corrupt)
            .saturating_add(*events_missed)
            .saturating_add(*regions_unrecorded)
            .saturating_add(*descriptors_unseen)
    }
}

/// How much the hooks saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Calls that allocated, since the attach.
    pub allocations: u64,
    /// Calls that freed, since the attach. Of those made while blocks were sampled only some: most pass uncounted.
    pub frees: u64,
    /// Those of `frees` whose block had no record.
    pub frees_of_older: u64,
    /// Blocks that were sampled; none as long as every block is recorded.
    pub samples: u64,
    /// Threads that called the allocator.
    pub threads: u32,
    /// What was watched.
    pub kinds: Kinds,
    /// Calls of the program that mapped memory.
    pub maps: u64,
    /// Calls of the program that unmapped memory.
    pub unmaps: u64,
    /// Threads made.
    pub threads_made: u64,
    /// Calls that opened descriptors.
    pub opens: u64,
    /// Calls that closed descriptors.
    pub closes: u64,
}

impl Coverage {
    /// All calls that were seen.
    pub const fn calls(&self) -> u64 {
        let heap = self.allocations.saturating_add(self.frees);
        let mappings = self.maps.saturating_add(self.unmaps).saturating_add(self.threads_made);
        heap.saturating_add(mappings).saturating_add(self.opens).saturating_add(self.closes)
    }
}

/// Which blocks are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// All of them.
    #[default]
    Exact,
    /// A sample, in which every byte has the same chance.
    Sampled {
        /// Mean distance between two samples.
        rate: Bytes,
    },
}

/// What the hooks cost, as shares of the target's processor time between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overhead {
    /// What they take now.
    pub now: Reading<f64>,
    /// What they take, or would take, if every block is recorded.
    pub exact: Reading<f64>,
    /// What they take now, as a share of one processor.
    pub of_processor: Reading<f64>,
}

impl Default for Overhead {
    fn default() -> Self {
        {
            let unknown = Reading::Missing(Why::TooShort);
            Self { now: unknown, exact: unknown, of_processor: unknown }
        }
    }
}

/// All that is known of an attached target at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Time since the hooks became active.
    pub at: Duration,
    /// Every site that ever allocated, in order of their stack id.
    pub sites: Vec<SiteCounts>,
    /// What the hooks saw; see [`Snapshot::is_blind`].
    pub coverage: Coverage,
    /// What was not recorded.
    pub losses: Losses,
    /// Which blocks are recorded from now on.
    pub mode: Mode,
    /// What the hooks cost the target.
    pub overhead: Overhead,
    /// Memory of the target that the session occupies (tables and agent).
    pub memory_in_target: Bytes,
    /// Private memory of the target, in RAM and in swap, as the kernel counts it; none where it does not say.
    pub private_memory: Option<Bytes>,
}

impl Snapshot {
    /// Whether no hook ever fired, so that "no leak" must not be said. A program that runs allocates, while it may well do without
    /// mappings and descriptors: where the heap is watched, its calls are the proof.
    pub const fn is_blind(&self) -> bool {
        let heap_is_silent = self.coverage.allocations == 0 && self.coverage.frees == 0;
        if self.coverage.kinds.heap { heap_is_silent } else { self.coverage.calls() == 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_has_no_error() {
        let tally = Tally::exact(7, Bytes(70));
        assert!(!tally.is_estimate());
        assert_eq!((tally.count_error(), tally.bytes_error(), tally.count_least()), (0, Bytes(0), 7));
    }

    #[test]
    fn errors_add_up_by_their_squares() {
        let one = Tally { variance: Variance { blocks: 900, bytes: 90_000 }, ..Tally::exact(100, Bytes(1000)) };
        let other = Tally { variance: Variance { blocks: 1600, bytes: 160_000 }, ..Tally::exact(100, Bytes(1000)) };
        let sum = one.plus(other);
        assert_eq!((sum.count, sum.bytes), (200, Bytes(2000)));
        // 1.96 times the roots of 2,500 and 250,000, and of three samples more of weight 13.5.
        assert_eq!((sum.count_error(), sum.bytes_error(), sum.count_least()), (107, Bytes(1075), 102));
        assert!(sum.plus(Tally::exact(1, Bytes(1))).count_error() <= 107, "what is counted adds no error");
    }

    /// What so many samples of one weight and size come to.
    fn sampled(samples: u64, weight: f64, size: f64) -> Tally {
        let count = samples as f64 * weight;
        let blocks = count * (weight - 1.0);
        let variance = Variance { blocks: blocks.ceil() as u128, bytes: (blocks * size * size) as u128 };
        Tally { variance, ..Tally::exact(count.round() as u64, Bytes((count * size) as u64)) }
    }

    /// How often the intervals for blocks and for bytes hold the truth, of the cases in which at least one of `blocks` was sampled.
    fn held(blocks: u64, chance: f64, size: f64) -> (f64, f64) {
        let mut probability = (1.0 - chance).powf(blocks as f64);
        let (mut seen, mut by_count, mut by_bytes) = (0.0, 0.0, 0.0);
        for samples in 1..=blocks.min(400) {
            probability *= (blocks - samples + 1) as f64 / samples as f64 * chance / (1.0 - chance);
            let tally = sampled(samples, 1.0 / chance, size);
            let truth_in_bytes = (blocks as f64 * size) as u64;
            seen += probability;
            by_count += if tally.count.abs_diff(blocks) <= tally.count_error() { probability } else { 0.0 };
            let is_held = tally.bytes.0.abs_diff(truth_in_bytes) <= tally.bytes_error().0;
            by_bytes += if is_held { probability } else { 0.0 };
        }
        (by_count / seen, by_bytes / seen)
    }

    #[test]
    fn intervals_hold_the_truth_however_few_the_samples() {
        for samples in 1..100 {
            for (chance, size) in [(0.0002, 100.0), (0.03, 16_384.0), (0.2, 100_000.0), (0.865, 1_048_576.0)] {
                let blocks = (f64::from(samples) / chance).round() as u64;
                let (by_count, by_bytes) = held(blocks, chance, size);
                assert!(by_count > 0.935, "{samples} samples of chance {chance}: {by_count}");
                assert!(by_bytes > 0.935, "{samples} samples of chance {chance}: {by_bytes}");
            }
        }
    }

    #[test]
    fn an_interval_ends_at_nothing() {
        let one_sample = Tally { variance: Variance { blocks: 128 * 127, bytes: 0 }, ..Tally::exact(128, Bytes(1)) };
        assert_eq!(one_sample.count_least(), 0);
    }

    #[test]
    fn sums_do_not_overflow() {
        let most = Variance { blocks: u128::MAX, bytes: u128::MAX };
        let most = Tally { variance: most, ..Tally::exact(u64::MAX, Bytes(u64::MAX)) };
        assert_eq!(most.plus(most), most);
    }
}
