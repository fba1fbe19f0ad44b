//! Reading what the agent counted.
//!
//! Owns: summing the figures of all threads and scanning the live blocks. Must not know: names, verdicts.
//!
//! The memory was in the target's hands: every index is checked, and what makes no sense is counted as corrupt.

mod lines;

pub(crate) use lines::live_blocks;

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use model::{Address, FrameTrust};
use model::{Bytes, Coverage, Lifetimes, Losses, SiteCounts, Snapshot, StackId, Tally};
use wire::{
    Block, COUNTERS_BYTES, Control, FRAMES_MAX, LINE_BYTES, LINE_SLOTS, LINES_MAX, STACKS_MAX, THREADS_MAX, regions,
};

use super::file::SharedFile;
use super::ticks::Ticks;

const COUNTER_WORDS: usize = COUNTERS_BYTES as usize / 8;
/// Bytes that are read at a time: bounds leakline's own memory.
const PIECE: usize = 256 * 1024;
const FRAME_TRUST_SHIFT: u32 = 62;
/// No thread allocates so many blocks, or frees so many, in the life of a process: counters beyond were overwritten.
const COUNT_MAX: u64 = 1 << 48;
/// Likewise for bytes: terabytes a second for days.
const BYTES_MAX: u64 = 1 << 60;

/// The figures of one site, summed over threads. As in [`wire::SiteCounters`].
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    allocated: Tally,
    freed: Tally,
    late: Tally,
    /// Blocks whose lifetime is known: those whose free was seen.
    life_count: u64,
    life_total: u64,
    life_min: Option<u64>,
    life_max: u64,
    live: Tally,
    expired: Tally,
    /// Greatest age of a live block.
    oldest: Option<u64>,
}

/// Everything counted until now. `expire` is in ticks.
pub(crate) fn snapshot(file: &SharedFile, control: &Control, ticks: &Ticks, expire: u64) -> io::Result<Snapshot> {
    let stacks = (control.stacks.ids.load(Relaxed) as usize).clamp(1, STACKS_MAX);
    let threads = (control.threads.records.load(Relaxed) as usize).min(THREADS_MAX);
    let mut sums = vec![Sum::default(); stacks];
    let mut snapshot = Snapshot { at: ticks.since_start(), ..Snapshot::default() };
    snapshot.losses.blocks_unrecorded = control.threads.refused.load(Relaxed);
    for thread in 0..threads as u64 {
        add_figures(file, thread, &mut snapshot.coverage, &mut snapshot.losses)?;
        snapshot.losses.entries_corrupt += add_counters(file, thread, &mut sums)?;
    }
    snapshot.coverage.threads = threads as u32;
    let now = Ticks::now();
    scan_blocks(file, control, &mut sums, now, expire, &mut snapshot.losses)?;
    // Stack 0 stands for all stacks beyond the limit: their blocks have no site.
    let nameless = sums.first().map_or(0, |sum| sum.allocated.count);
    snapshot.losses.blocks_unrecorded = snapshot.losses.blocks_unrecorded.saturating_add(nameless);
    let used = sums.iter().enumerate().skip(1).filter(|(_, sum)| sum.allocated.count > 0);
    snapshot.sites = used.map(|(id, sum)| site(id as u32, sum, ticks)).collect();
    snapshot.memory_in_target = Bytes(file.occupied()?);
    Ok(snapshot)
}

/// Whether some thread is inside a hook. A thread that ended there (it never does) or left by `longjmp` counts too.
pub(crate) fn is_busy(file: &SharedFile, control: &Control) -> bool {
    let threads = (control.threads.records.load(Relaxed) as usize).min(THREADS_MAX) as u64;
    let guard = |thread| file.words(regions::RECORDS.at + thread * regions::RECORD_BYTES + GUARD_AT, 1);
    (0..threads).any(|thread| guard(thread).is_ok_and(|words| words.first().is_some_and(|guard| *guard != 0)))
}

/// Offset of the guard in a thread's record: behind the figures.
const GUARD_AT: u64 = size_of::<wire::ThreadFigures>() as u64;

/// The frames of a stack, innermost first; none where the record makes no sense.
pub(crate) fn stack(file: &SharedFile, control: &Control, id: StackId) -> Option<Vec<(Address, FrameTrust)>> {
    if id.0 == 0 || id.0 >= control.stacks.ids.load(Relaxed).min(STACKS_MAX as u32) {
        return None;
    }
    let record = file.words(regions::STACKS.at + u64::from(id.0) * 16, 2).ok()?;
    let (at, len) = (record.get(1)? & 0xffff_ffff, (record.get(1)? >> 32) as usize);
    if len == 0 || len > FRAMES_MAX || (at as usize + len) > STACKS_MAX * FRAMES_MAX {
        return None;
    }
    let words = file.words(regions::FRAMES.at + at * 8, len).ok()?;
    let trust = |word: u64| match word >> FRAME_TRUST_SHIFT {
        0 => FrameTrust::Caller,
        1 => FrameTrust::UnwindTable,
        _ => FrameTrust::FramePointer,
    };
    Some(words.into_iter().map(|word| (Address(word & wire::FRAME_ADDRESS_MASK), trust(word))).collect())
}

fn add_figures(file: &SharedFile, thread: u64, coverage: &mut Coverage, losses: &mut Losses) -> io::Result<()> {
    let words = file.words(regions::RECORDS.at + thread * regions::RECORD_BYTES, 8)?;
    if words.iter().any(|word| *word >= COUNT_MAX) {
        losses.entries_corrupt += 1;
        return Ok(());
    }
    let figure = |i: usize| words.get(i).copied().unwrap_or(0);
    let add = |sum: &mut u64, i: usize| *sum = sum.saturating_add(figure(i));
    add(&mut coverage.allocations, 0);
    add(&mut coverage.frees, 1);
    add(&mut coverage.frees_of_older, 2);
    add(&mut losses.blocks_unrecorded, 3);
    add(&mut losses.stacks_cut, 5);
    add(&mut losses.stacks_broken, 6);
    Ok(())
}

/// Adds one thread's counters, and says how many of them make no sense and were left out.
fn add_counters(file: &SharedFile, thread: u64, sums: &mut [Sum]) -> io::Result<u64> {
    let mut corrupt = 0;
    let at = regions::COUNTERS.at + thread * regions::COUNTERS_PER_THREAD;
    let end = at + sums.len() as u64 * COUNTERS_BYTES;
    file.for_each_part(at, end, PIECE, |part_at, words| {
        let first = ((part_at - at) / COUNTERS_BYTES) as usize;
        for (sum, counters) in sums.iter_mut().skip(first).zip(words.chunks_exact(COUNTER_WORDS)) {
            if is_possible(counters) {
                sum.add(counters);
            } else {
                corrupt += 1;
            }
        }
    })?;
    Ok(corrupt)
}

/// Whether counters may be those of an agent: a target that writes where it should not leaves any number here.
fn is_possible(words: &[u64]) -> bool {
    let within =
        |indexes: [usize; 4], most: u64| indexes.iter().all(|i| words.get(*i).is_some_and(|word| *word < most));
    within([0, 2, 7, 8], COUNT_MAX) && within([1, 3, 9, 10], BYTES_MAX)
}

impl Sum {
    fn add(&mut self, words: &[u64]) {
        let word = |i: usize| words.get(i).copied().unwrap_or(0);
        let more = |tally: &mut Tally, count: u64, bytes: u64| {
            tally.count = tally.count.saturating_add(count);
            tally.bytes = tally.bytes.plus(Bytes(bytes));
        };
        more(&mut self.allocated, word(0), word(1));
        // A block whose free went unseen was freed all the same: its address was given out again.
        more(&mut self.freed, word(2).saturating_add(word(7)), word(3).saturating_add(word(10)));
        more(&mut self.late, word(8), word(9));
        self.life_count = self.life_count.saturating_add(word(2));
        self.life_total = self.life_total.saturating_add(word(4));
        if word(2) > 0 {
            let min = !word(5);
            self.life_min = Some(self.life_min.map_or(min, |known| known.min(min)));
            self.life_max = self.life_max.max(word(6));
        }
    }

    fn add_live(&mut self, block: Block, age: u64, expire: u64) {
        let one = |tally: &mut Tally| {
            tally.count += 1;
            tally.bytes = tally.bytes.plus(Bytes(block.size));
        };
        one(&mut self.live);
        if age >= expire {
            one(&mut self.expired);
        }
        self.oldest = Some(self.oldest.map_or(age, |known| known.max(age)));
    }
}

fn scan_blocks(
    file: &SharedFile,
    control: &Control,
    sums: &mut [Sum],
    now: u64,
    expire: u64,
    losses: &mut Losses,
) -> io::Result<()> {
    let lines = control.blocks.lines.load(Relaxed).min(LINES_MAX);
    let end = regions::LINES.at + u64::from(lines) * LINE_BYTES;
    file.for_each_part(regions::LINES.at, end, PIECE, |_, words| {
        let lines = words.chunks_exact(2 * LINE_SLOTS).filter_map(|line| line.split_at_checked(LINE_SLOTS));
        for (first, second) in lines.flat_map(|(first, second)| first.iter().zip(second)) {
            let Some(block) = Block::unpack([*first, *second]) else { continue };
            // A block may have been born since `now` was read; nothing is born in the far future.
            match sums.get_mut(block.stack as usize) {
                Some(sum) if block.birth != 0 => sum.add_live(block, block.age(now), expire),
                _ => losses.entries_corrupt += 1,
            }
        }
    })
}

fn site(id: u32, sum: &Sum, ticks: &Ticks) -> SiteCounts {
    let lifetimes = sum.life_min.map(|min| {
        let mean = sum.life_total / sum.life_count.max(1);
        Lifetimes { min: ticks.duration(min), mean: ticks.duration(mean), max: ticks.duration(sum.life_max) }
    });
    let late_longest: Option<Duration> = (sum.late.count > 0).then(|| ticks.duration(sum.life_max));
    SiteCounts {
        stack: StackId(id),
        allocated: sum.allocated,
        freed: sum.freed,
        live: sum.live,
        expired: sum.expired,
        freed_late: sum.late,
        freed_late_longest: late_longest,
        lifetimes,
        oldest_live: sum.oldest.map(|age| ticks.duration(age)),
        contents: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
