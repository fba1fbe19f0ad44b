//! Blocks of an allocator, counted by the stack that allocated them.
//!
//! Owns: tallies, lifetimes, losses and the snapshot of an attached target.
//! Must not know: how they were counted, or which site is to blame.

use std::time::Duration;

use crate::Bytes;

/// Names one distinct stack within one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackId(pub u32);

/// A number of blocks and their bytes, as requested from the allocator: counted, or estimated from a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
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

impl Tally {
    /// A tally of which every block was counted.
    pub const fn exact(count: u64, bytes: Bytes) -> Self {
        Self { count, bytes, variance: Variance { blocks: 0, bytes: 0 } }
    }

    /// Both together; sums end at the greatest number.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let variance = Variance {
            blocks: self.variance.blocks.saturating_add(other.variance.blocks),
            bytes: self.variance.bytes.saturating_add(other.variance.bytes),
        };
        Self { count: self.count.saturating_add(other.count), bytes: self.bytes.plus(other.bytes), variance }
    }

    /// Whether some of it is estimated.
    pub const fn is_estimate(&self) -> bool {
        self.variance.blocks != 0 || self.variance.bytes != 0
    }

    /// Half of the 95 % interval around the number of blocks.
    pub fn count_error(&self) -> u64 {
        error(self.variance.blocks)
    }

    /// Half of the 95 % interval around the bytes.
    pub fn bytes_error(&self) -> Bytes {
        Bytes(error(self.variance.bytes))
    }

    /// So many blocks there are at least, by the 95 % interval: the number itself where it was counted.
    pub fn count_least(&self) -> u64 {
        self.count.saturating_sub(self.count_error())
    }
}

/// The normal approximation: rough below some five samples, where the interval reaches down to nothing anyway.
fn error(variance: u128) -> u64 {
    (INTERVAL * (variance as f64).sqrt()).round() as u64
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
}

/// What could not be recorded, by cause. All zero on a healthy run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Blocks not recorded because a table was full (threads, stacks or memory).
    pub blocks_unrecorded: u64,
    /// Stacks that were cut at the greatest depth.
    pub stacks_cut: u64,
    /// Stacks that ended early because a frame had no unwind information.
    pub stacks_broken: u64,
    /// Entries of the shared memory that made no sense and were left out.
    pub entries_corrupt: u64,
}

/// How much the hooks saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Calls that allocated, since the attach.
    pub allocations: u64,
    /// Calls that freed, since the attach.
    pub frees: u64,
    /// Frees of blocks that are older than the attach, whose sites are therefore unknown.
    pub frees_of_older: u64,
    /// Threads that called the allocator.
    pub threads: u32,
}

/// All that is known of an attached target at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Time since the hooks became active.
    pub at: Duration,
    /// Every site that ever allocated, in order of their stack id.
    pub sites: Vec<SiteCounts>,
    /// What the hooks saw; `allocations == 0 && frees == 0` is *blind*.
    pub coverage: Coverage,
    /// What was not recorded.
    pub losses: Losses,
    /// Memory of the target that the session occupies (tables and agent).
    pub memory_in_target: Bytes,
    /// Private memory of the target, in RAM and in swap, as the kernel counts it; none where it does not say.
    pub private_memory: Option<Bytes>,
}

impl Snapshot {
    /// Whether no hook ever fired, so that "no leak" must not be said.
    pub const fn is_blind(&self) -> bool {
        self.coverage.allocations == 0 && self.coverage.frees == 0
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
        // 1.96 times the roots of 2,500 and 250,000.
        assert_eq!((sum.count_error(), sum.bytes_error(), sum.count_least()), (98, Bytes(980), 102));
        assert_eq!(sum.plus(Tally::exact(1, Bytes(1))).count_error(), 98, "what is counted adds no error");
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
