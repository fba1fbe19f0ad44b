//! Blocks of an allocator, counted by the stack that allocated them.
//!
//! Owns: tallies, lifetimes, losses and the snapshot of an attached target.
//! Must not know: how they were counted, or which site is to blame.

use std::time::Duration;

use crate::Bytes;

/// Names one distinct stack within one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackId(pub u32);

/// A number of blocks and their bytes, as requested from the allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    /// How many blocks.
    pub count: u64,
    /// Their requested sizes, summed.
    pub bytes: Bytes,
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
}

impl Snapshot {
    /// Whether no hook ever fired, so that "no leak" must not be said.
    pub const fn is_blind(&self) -> bool {
        self.coverage.allocations == 0 && self.coverage.frees == 0
    }
}
