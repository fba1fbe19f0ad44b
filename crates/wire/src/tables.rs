//! The entries of the tables.
//!
//! Owns: their form. Must not know: where they lie or who reads them.

use core::sync::atomic::{AtomicU32, AtomicU64};

/// The part of a frame word that is an address; the two highest bits say how the frame was found.
pub const FRAME_ADDRESS_MASK: u64 = (1 << 62) - 1;

/// What stands in a page of its own behind the agent's code in the target: private memory that the kernel wipes in a forked child.
#[derive(Debug, Default)]
#[repr(C, align(16))]
pub struct Link {
    /// Where the shared file is mapped; zero in a forked child, where hooks must pass calls through.
    pub base: AtomicU64,
    /// The same and the mode, see [`Self::activity`]; zero from the first call on that finds that leakline was killed: then calls pass
    /// without another look.
    pub active: AtomicU64,
}

impl Link {
    /// What tells a stub by one addition where the shared file is mapped, and by its carry that every block is recorded.
    pub const fn activity(base: u64, exact: bool) -> u64 {
        base >> 1 | (exact as u64) << 63
    }
}

/// The robust list of leakline's keeper thread, see `set_robust_list(2)`. Addresses are leakline's.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Robust {
    /// `robust_list_head.list`: address of `entry`.
    pub head: AtomicU64,
    /// `robust_list_head.futex_offset`: from `entry` to the futex.
    pub futex_offset: AtomicU64,
    /// `robust_list_head.list_op_pending`: always zero.
    pub pending: AtomicU64,
    /// The only entry; points back to `head`.
    pub entry: AtomicU64,
}

/// A range of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Module {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
    /// Address that the starts of the rows count from.
    pub base: u64,
    /// Index of its first start in the rows, in words.
    pub starts: u32,
    /// Number of rows; its rules follow its starts.
    pub rows: u32,
}

/// What one thread counts, apart from sites, and what a call that passes unrecorded needs: the first cache line is all that such
/// a call reads and writes. These are the first lines of its record.
///
/// Calls are counted down: `allocations` and `frees` hold those that are still to come until the thread next looks up from its
/// work (to read the clock, to time a call) as well, see [`calls_made`].
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct ThreadFigures {
    /// Thread pointer (`fs` base) of the owner; zero where the record is free.
    pub pointer: AtomicU64,
    /// Stack pointer of the hook that runs; zero where none does.
    pub guard: AtomicU64,
    /// [`crate::Control::state`] (low half) and [`crate::Control::turn`] as this thread last saw them.
    pub seen: AtomicU64,
    /// Bytes until the next sample; zero while every block is recorded.
    pub countdown: AtomicU64,
    /// Of `allocations`, those to come.
    pub allocations_left: AtomicU64,
    /// Where the return address stood of the last call that allocated and was not recorded, and what it was; only of those that run
    /// outside the guard. By these a mapping that such a call makes is known to be the allocator's.
    pub passed_sp: AtomicU64,
    /// See `passed_sp`.
    pub passed_pc: AtomicU64,
    /// Of `frees`, those to come.
    pub frees_left: AtomicU64,
    /// [`crate::Mode`] as this thread last saw it.
    pub mode: AtomicU32,
    /// Number of the thread plus one, once it has one.
    pub number: AtomicU32,
    /// Size of the block that the hook that runs is to record.
    pub size: AtomicU64,
    /// Frees of blocks that are not in the table: older than the attach. Of those that are made while blocks are sampled only the few
    /// that look for their block, here and in `frees`.
    pub frees_of_older: AtomicU64,
    /// Calls that allocated.
    pub allocations: AtomicU64,
    /// Calls that freed.
    pub frees: AtomicU64,
    /// At so many allocations the next call is timed.
    pub allocation_timed_at: AtomicU64,
    /// At so many frees the next call is timed.
    pub free_timed_at: AtomicU64,
    /// Blocks that found no room in the table.
    pub blocks_unrecorded: AtomicU64,
    /// Blocks that replaced one whose free was not seen.
    pub blocks_replaced: AtomicU64,
    /// Stacks cut at the greatest depth.
    pub stacks_cut: AtomicU64,
    /// Stacks that ended at a frame that could not be unwound.
    pub stacks_broken: AtomicU64,
    /// Stacks that had to be unwound since the stack memory did not hold them.
    pub stacks_unwound: AtomicU64,
    /// Blocks that were sampled.
    pub samples: AtomicU64,
    /// State of the random numbers.
    pub random: AtomicU64,
    /// The calls that were timed while every block was recorded.
    pub exact: [TimedCalls; 2],
    /// The calls that were timed while blocks were sampled.
    pub sampled: [TimedCalls; 2],
    /// Ticks spent on blocks that were sampled, all of them.
    pub sample_ticks: AtomicU64,
    /// Clock readings that are part of `sample_ticks`.
    pub sample_readings: AtomicU64,
    /// Fills the cache lines.
    pub pad: [AtomicU64; 4],
}

/// How many calls were made, of those that were counted in advance and those of them that are to come. A thread may be between the two
/// when it is looked at.
#[inline]
pub const fn calls_made(counted: u64, left: u64) -> u64 {
    counted.saturating_sub(left)
}

/// What was spent in the hooks by those calls that were timed, without the real functions. The first of a pair is for calls that
/// allocate, the second for those that free.
#[derive(Debug, Default)]
#[repr(C)]
pub struct TimedCalls {
    /// How many.
    pub calls: AtomicU64,
    /// Ticks of the time stamp counter.
    pub ticks: AtomicU64,
    /// How many readings of the clock those ticks contain.
    pub readings: AtomicU64,
}

/// What one thread counts for one stack. Frees count for the stack that allocated, in the thread that frees.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct SiteCounters {
    /// Blocks allocated.
    pub allocated: AtomicU64,
    /// Their bytes.
    pub allocated_bytes: AtomicU64,
    /// Blocks freed.
    pub freed: AtomicU64,
    /// Their bytes.
    pub freed_bytes: AtomicU64,
    /// Sum of the lifetimes of freed blocks, in ticks.
    pub life_sum: AtomicU64,
    /// Complement (`!ticks`) of the shortest lifetime, so that zero means none.
    pub life_min_complement: AtomicU64,
    /// By how much the longest lifetime is longer, in ticks.
    pub life_range: AtomicU64,
    /// Blocks whose free was not seen, since another one came to stand in their place.
    pub replaced: AtomicU64,
    /// Blocks freed after they had expired.
    pub late: AtomicU64,
    /// Their bytes.
    pub late_bytes: AtomicU64,
    /// Bytes of the blocks in `replaced`.
    pub replaced_bytes: AtomicU64,
    /// Fills the cache line.
    pub pad: [AtomicU64; 5],
}

/// What one thread counts for one stack while blocks are sampled. Every sampled block counts by its [`crate::Weight`].
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct SampledCounters {
    /// Blocks allocated.
    pub allocated: SampledSum,
    /// Blocks freed, also those whose free was not seen.
    pub freed: SampledSum,
    /// Blocks freed after they had expired.
    pub late: SampledSum,
    /// How many of `freed` were not seen to be freed: another block came to stand in their place.
    pub replaced: AtomicU64,
}

/// A sum over sampled blocks, field by field as in [`crate::Weight`].
#[derive(Debug, Default)]
#[repr(C)]
pub struct SampledSum {
    /// How many samples.
    pub samples: AtomicU64,
    /// See [`crate::Weight::blocks`].
    pub blocks: AtomicU64,
    /// See [`crate::Weight::bytes`].
    pub bytes: AtomicU64,
    /// See [`crate::Weight::blocks_variance`].
    pub blocks_variance: AtomicU64,
    /// See [`crate::Weight::bytes_variance`].
    pub bytes_variance: AtomicU64,
}

/// One distinct stack.
#[derive(Debug, Default)]
#[repr(C)]
pub struct StackRecord {
    /// Hash of its frames.
    pub hash: AtomicU64,
    /// First of its frames.
    pub frames_at: AtomicU32,
    /// How many frames; zero until the record is complete.
    pub frames: AtomicU32,
}

const _: () = assert!(size_of::<ThreadFigures>() == 320, "a thread's figures are five cache lines");
const _: () = assert!(size_of::<SampledCounters>() == 128, "the figures of a sampled stack are two cache lines");
const _: () = assert!(size_of::<SiteCounters>() == 128, "the figures of every allocation and free are one cache line");
const _: () = assert!(size_of::<StackRecord>() == 16, "stack records are indexed by shifting");
