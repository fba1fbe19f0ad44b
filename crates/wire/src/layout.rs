//! Where each region of the shared file lies.
//!
//! Owns: offsets, sizes and limits. Must not know: what the entries mean.

use crate::block::{LARGE_SHIFT, SPAN_SHIFT};
use crate::bucket::{Bucket, FurtherBucket, LINE_SLOTS, LINES_MAX};
use crate::event::{EVENTS, Event};
use crate::mark::AREA_SHIFT;
use crate::tables::{Module, Robust, SampledCounters, SiteCounters, StackRecord};

/// Threads that can have a record; further ones pass through and are counted.
pub const THREADS_MAX: usize = 2048;
/// Places for records of threads, found by the thread pointer; at most half are used.
pub const THREAD_SLOTS: usize = 4096;
/// Distinct stacks, including stack 0.
pub const STACKS_MAX: usize = 65_536;
/// Slots of the table that finds a stack by its hash; at most half are used.
pub const STACK_INDEX_SLOTS: usize = 131_072;
/// Greatest number of frames of one stack.
pub const FRAMES_MAX: usize = 128;
/// Ranges of code in one buffer.
pub const MODULES_MAX: usize = 8192;
/// Places in the target's code that can be changed.
pub const PATCHES_MAX: usize = 256;
/// Buckets that spans can have beside their first.
pub const FURTHER_BUCKETS_MAX: u32 = 1 << 26;
/// Bytes of one [`SiteCounters`].
pub const COUNTERS_BYTES: u64 = size_of::<SiteCounters>() as u64;
/// Bytes of one [`SampledCounters`].
pub const SAMPLED_BYTES: u64 = size_of::<SampledCounters>() as u64;

const PAGE: u64 = 4096;
/// Addresses of programs.
pub const ADDRESS_BITS: u32 = 47;

/// A region of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Offset of its first byte.
    pub at: u64,
    /// Its length in bytes.
    pub len: u64,
}

impl Layout {
    const fn after(previous: Self, len: u64) -> Self {
        Self { at: previous.end(), len: len.next_multiple_of(PAGE) }
    }

    /// Offset behind its last byte.
    pub const fn end(self) -> u64 {
        self.at + self.len
    }
}

/// The regions, in order.
pub mod regions {
    use super::{
        ADDRESS_BITS, AREA_SHIFT, Bucket, COUNTERS_BYTES, EVENTS, Event, FRAMES_MAX, FURTHER_BUCKETS_MAX,
        FurtherBucket, LARGE_SHIFT, LINE_BYTES, LINES_MAX, Layout, MODULES_MAX, Module, PAGE, Robust, SAMPLED_BYTES,
        SPAN_SHIFT, STACK_INDEX_SLOTS, STACKS_MAX, StackRecord, THREAD_SLOTS, THREADS_MAX,
    };

    /// [`crate::Control`].
    pub const CONTROL: Layout = Layout { at: 0, len: PAGE };
    /// [`Robust`].
    pub const ROBUST: Layout = Layout::after(CONTROL, size_of::<Robust>() as u64);
    /// Four buffers of [`Module`]s.
    pub const MODULES: Layout = Layout::after(ROBUST, (4 * MODULES_MAX * size_of::<Module>()) as u64);
    /// `u32` places of records by the number of the thread: which of them are used.
    pub const THREADS: Layout = Layout::after(MODULES, (THREADS_MAX * 4) as u64);
    /// One [`RECORD_BYTES`] per place; each begins with [`crate::ThreadFigures`].
    pub const RECORDS: Layout = Layout::after(THREADS, THREAD_SLOTS as u64 * RECORD_BYTES);
    /// `u32` words by `address >> AREA_SHIFT`: where among the marks those of an area are.
    pub const AREAS: Layout = Layout::after(RECORDS, 4 << (ADDRESS_BITS - AREA_SHIFT));
    /// [Marks](crate::mark_at): bytes, those of each area together.
    pub const MARKS: Layout = Layout::after(AREAS, MARKS_REACHED);
    /// Unwind rows: `u32` words.
    pub const ROWS: Layout = Layout::after(MARKS, 1 << 30);
    /// [`crate::SiteCounters`], by number of the thread, then by stack.
    pub const COUNTERS: Layout = Layout::after(ROWS, THREADS_MAX as u64 * COUNTERS_PER_THREAD);
    /// [`crate::SampledCounters`], in the same order.
    pub const SAMPLED: Layout = Layout::after(COUNTERS, THREADS_MAX as u64 * SAMPLED_PER_THREAD);
    /// `u32` stack ids by hash, zero where free.
    pub const STACK_INDEX: Layout = Layout::after(SAMPLED, (STACK_INDEX_SLOTS * 4) as u64);
    /// [`StackRecord`]s by id.
    pub const STACKS: Layout = Layout::after(STACK_INDEX, (STACKS_MAX * size_of::<StackRecord>()) as u64);
    /// Frames of stacks: `u64` words.
    pub const FRAMES: Layout = Layout::after(STACKS, (STACKS_MAX * FRAMES_MAX * 8) as u64);
    /// [`Event`]s, in a ring.
    pub const EVENT_RING: Layout = Layout::after(FRAMES, (EVENTS * size_of::<Event>()) as u64);
    /// [`Bucket`] words by `address >> SPAN_SHIFT`, zero where nothing was recorded.
    pub const DIRECTORY: Layout = Layout::after(EVENT_RING, 8 << (ADDRESS_BITS - SPAN_SHIFT));
    /// `u32` numbers of the first further bucket by `address >> SPAN_SHIFT`, zero where there is none.
    pub const CHAINS: Layout = Layout::after(DIRECTORY, 4 << (ADDRESS_BITS - SPAN_SHIFT));
    /// The same for the buckets of large blocks, by `address >> LARGE_SHIFT`.
    pub const LARGE: Layout = Layout::after(CHAINS, 4 << (ADDRESS_BITS - LARGE_SHIFT));
    /// [`FurtherBucket`]s by number.
    pub const FURTHER: Layout = Layout::after(LARGE, FURTHER_BUCKETS_MAX as u64 * size_of::<FurtherBucket>() as u64);
    /// Lines of slots, then lines of [cells](crate::Cell), with room behind them for whatever a word of the directory may lead to.
    pub const LINES: Layout = Layout::after(FURTHER, (2 * LINES_MAX as u64 + Bucket::LINES_BEHIND as u64) * LINE_BYTES);

    /// Bytes of the marks: what a word reaches.
    pub const MARKS_REACHED: u64 = 1 << 32;
    /// Bytes of a thread's record.
    pub const RECORD_BYTES: u64 = 256 * 1024;
    /// Bytes of a thread's counters.
    pub const COUNTERS_PER_THREAD: u64 = STACKS_MAX as u64 * COUNTERS_BYTES;
    /// Bytes of a thread's sampled counters.
    pub const SAMPLED_PER_THREAD: u64 = STACKS_MAX as u64 * SAMPLED_BYTES;
}

/// Bytes of one line: of one cache line.
pub const LINE_BYTES: u64 = (LINE_SLOTS * size_of::<[u64; 2]>()) as u64;
/// Bytes of the whole file.
pub const FILE_BYTES: u64 = regions::LINES.end();

const _: () = assert!(THREAD_SLOTS.is_power_of_two(), "slots are masked, not divided");
const _: () = assert!(STACK_INDEX_SLOTS.is_power_of_two(), "slots are masked, not divided");
const _: () = assert!(STACKS_MAX * 2 <= STACK_INDEX_SLOTS, "a probe must always meet a free slot");
const _: () = assert!(THREADS_MAX * 2 <= THREAD_SLOTS, "a probe must always meet a free slot");
const _: () = assert!(STACKS_MAX <= 1 << 24, "a block has 24 bits for its stack");
const _: () = assert!((STACKS_MAX * FRAMES_MAX) < u32::MAX as usize, "frames are numbered in 32 bits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_follow_one_another_on_page_boundaries() {
        let all = [
            regions::CONTROL,
            regions::ROBUST,
            regions::MODULES,
            regions::THREADS,
            regions::RECORDS,
            regions::AREAS,
            regions::MARKS,
            regions::ROWS,
            regions::COUNTERS,
            regions::SAMPLED,
            regions::STACK_INDEX,
            regions::STACKS,
            regions::FRAMES,
            regions::EVENT_RING,
            regions::DIRECTORY,
            regions::CHAINS,
            regions::LARGE,
            regions::FURTHER,
            regions::LINES,
        ];
        for pair in all.windows(2) {
            assert_eq!(pair[0].end(), pair[1].at);
            assert_eq!(pair[1].at % PAGE, 0);
        }
        assert_eq!(FILE_BYTES, regions::LINES.end());
    }
}
