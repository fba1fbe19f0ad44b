//! Reading what the agent counted.
//!
//! Owns: summing the figures of all threads and scanning the live blocks. Must not know: names, verdicts.
//!
//! The memory was in the target's hands: every index is checked, and what makes no sense is counted as corrupt.

mod lines;

pub(crate) use lines::{aged_blocks, exact_parts, live_blocks};

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use model::{Address, FrameTrust};
use model::{Bytes, Coverage, Lifetimes, Losses, SiteCounts, Snapshot, StackId, Tally};
use wire::{
    Block, COUNTERS_BYTES, Cell, Control, FRAMES_MAX, LINE_SLOTS, Mode, Moment, SAMPLED_BYTES, STACKS_MAX,
    SampledCounters, Slot, THREAD_SLOTS, THREADS_MAX, ThreadFigures, calls_made, regions, weigh,
};

use super::cost::Work;
use super::file::SharedFile;
use super::ticks::Ticks;
use super::weights::Weights;

const COUNTER_WORDS: usize = COUNTERS_BYTES as usize / 8;
const SAMPLED_WORDS: usize = SAMPLED_BYTES as usize / 8;
/// Bytes that are read at a time: bounds leakline's own memory.
const PIECE: usize = 256 * 1024;
const FRAME_TRUST_SHIFT: u32 = 62;
/// No thread allocates so many blocks, or frees so many, in the life of a process: counters beyond were overwritten.
const COUNT_MAX: u64 = 1 << 48;
/// Likewise for bytes: terabytes a second for days.
const BYTES_MAX: u64 = 1 << 60;

/// The figures of one site, summed over threads. As in [`wire::SiteCounters`].
#[derive(Clone, Debug, Default)]
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
    /// What was sampled, apart: most sessions have none.
    sampled: Option<Box<Sampled>>,
}

/// The sampled blocks of one site, as in [`wire::SampledCounters`].
#[derive(Clone, Copy, Debug, Default)]
struct Sampled {
    allocated: Weights,
    freed: Weights,
    late: Weights,
    replaced: u64,
    live: Weights,
    expired: Weights,
}

/// What the caller decides of a reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// Age in ticks from which a block counts as expired.
    pub(crate) expire: u64,
    /// The rate at which this session samples, when it does.
    pub(crate) rate: u32,
    /// When the recording ended, in ticks: no block that is recorded grew older after that. None while it goes on.
    pub(crate) ended: Option<u64>,
}

/// The word of a field of [`wire::ThreadFigures`].
macro_rules! figure {
    ($words:expr, $($field:tt)+) => {
        $words.get(core::mem::offset_of!(wire::ThreadFigures, $($field)+) / 8).copied().unwrap_or(0)
    };
}
pub(super) use figure;

/// Everything counted until now, and the work that went into it.
pub(crate) fn snapshot(file: &SharedFile, control: &Control, ticks: &Ticks, how: How) -> io::Result<(Snapshot, Work)> {
    let stacks = (control.stacks.ids.load(Relaxed) as usize).clamp(1, STACKS_MAX);
    let threads = (control.threads.records.load(Relaxed) as usize).min(THREADS_MAX);
    let mut sums = vec![Sum::default(); stacks];
    let mut snapshot = Snapshot { at: ticks.since_start(), ..Snapshot::default() };
    snapshot.losses.blocks_unrecorded = control.threads.refused.load(Relaxed);
    let mut work = Work::default();
    for (thread, place) in (0..).zip(places(file, threads)?) {
        if let Some(figures) = figures(file, thread, place)? {
            add_figures(&figures, &mut snapshot.coverage, &mut snapshot.losses);
            work.add(&figures);
        }
        snapshot.losses.entries_corrupt += add_counters(file, thread, &mut sums)?;
    }
    snapshot.coverage.threads = threads as u32;
    let now = how.ended.unwrap_or_else(Ticks::now);
    scan_blocks(file, control, &mut sums, now, how, &mut snapshot.losses)?;
    // Stack 0 stands for all stacks beyond the limit: their blocks have no site.
    let nameless = sums.first().map_or(0, |sum| sum.allocated_at(how.rate).count);
    snapshot.losses.blocks_unrecorded = snapshot.losses.blocks_unrecorded.saturating_add(nameless);
    let used = sums.iter().enumerate().skip(1).filter(|(_, sum)| sum.allocated_at(how.rate).count > 0);
    snapshot.sites = used.map(|(id, sum)| site(id as u32, sum, how.rate, ticks)).collect();
    snapshot.memory_in_target = Bytes(file.occupied()?);
    Ok((snapshot, work))
}

/// The places of the records of all threads; nothing says that they are true.
fn places(file: &SharedFile, threads: usize) -> io::Result<Vec<u64>> {
    places_by(|at, len| file.words(at, len), threads)
}

fn places_by(words: impl Fn(u64, usize) -> io::Result<Vec<u64>>, threads: usize) -> io::Result<Vec<u64>> {
    let words = words(regions::THREADS.at, threads.div_ceil(2))?;
    let halves = words.iter().flat_map(|word| [word & 0xffff_ffff, word >> 32]);
    Ok(halves.take(threads).map(|place| place % THREAD_SLOTS as u64).collect())
}

/// The words of [`wire::ThreadFigures`] at a place; none where they belong to a thread of another number.
fn figures(file: &SharedFile, thread: u64, place: u64) -> io::Result<Option<Vec<u64>>> {
    const NUMBER: usize = core::mem::offset_of!(ThreadFigures, number);
    let at = regions::RECORDS.at + place * regions::RECORD_BYTES;
    let words = file.words(at, size_of::<ThreadFigures>() / 8)?;
    let number = words.get(NUMBER / 8).copied().unwrap_or(0) >> (8 * (NUMBER % 8)) & 0xffff_ffff;
    Ok((number == thread + 1).then_some(words))
}

/// A guard that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    /// The thread pointer of its thread.
    pub(crate) thread: u64,
    /// The stack pointer of the call.
    pub(crate) at: u64,
}

/// The guards of threads inside hooks. One that ended there (it never does) or left by `longjmp` has one too.
pub(crate) fn guards(file: &SharedFile, control: &Control) -> Vec<Guard> {
    guards_by(|at, len| file.words(at, len), control.threads.records.load(Relaxed))
}

/// The same of memory that is read by its offset, with so many records.
pub(crate) fn guards_by(words: impl Fn(u64, usize) -> io::Result<Vec<u64>>, records: u32) -> Vec<Guard> {
    const GUARD: u64 = core::mem::offset_of!(ThreadFigures, guard) as u64;
    const THREAD: u64 = core::mem::offset_of!(ThreadFigures, pointer) as u64;
    let threads = (records as usize).min(THREADS_MAX);
    let word = |place: u64, at: u64| {
        let words = words(regions::RECORDS.at + place * regions::RECORD_BYTES + at, 1);
        words.ok().and_then(|words| words.first().copied()).filter(|word| *word != 0)
    };
    let guard = |place| Some(Guard { at: word(place, GUARD)?, thread: word(place, THREAD).unwrap_or(0) });
    places_by(&words, threads).unwrap_or_default().into_iter().filter_map(guard).collect()
}

/// Whether some thread is inside a hook that it entered while every block was recorded.
pub(crate) fn records_exactly(file: &SharedFile, control: &Control) -> bool {
    let threads = (control.threads.records.load(Relaxed) as usize).min(THREADS_MAX);
    let is_exact = |seen: u64| Mode::of((seen >> 32) as u32) == Mode::EXACT;
    let records = |(thread, place): (u64, u64)| {
        let words = figures(file, thread, place)?;
        io::Result::Ok(words.is_some_and(|words| figure!(words, guard) != 0 && is_exact(figure!(words, seen))))
    };
    // What cannot be read may be one.
    places(file, threads).is_ok_and(|places| (0..).zip(places).any(|each| records(each).unwrap_or(true)))
}

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

/// Calls of a thread that allocated, and those that freed.
pub(super) fn calls(words: &[u64]) -> [u64; 2] {
    [
        calls_made(figure!(words, allocations), figure!(words, allocations_left)),
        calls_made(figure!(words, frees), figure!(words, frees_left)),
    ]
}

fn add_figures(words: &[u64], coverage: &mut Coverage, losses: &mut Losses) {
    let [allocations, frees] = calls(words);
    let counts = [
        allocations,
        frees,
        figure!(words, frees_of_older),
        figure!(words, samples),
        figure!(words, blocks_unrecorded),
        figure!(words, stacks_cut),
        figure!(words, stacks_broken),
    ];
    if counts.into_iter().any(|count| count >= COUNT_MAX) {
        losses.entries_corrupt += 1;
        return;
    }
    let add = |sum: &mut u64, figure: u64| *sum = sum.saturating_add(figure);
    add(&mut coverage.allocations, allocations);
    add(&mut coverage.frees, frees);
    add(&mut coverage.frees_of_older, figure!(words, frees_of_older));
    add(&mut coverage.samples, figure!(words, samples));
    add(&mut losses.blocks_unrecorded, figure!(words, blocks_unrecorded));
    add(&mut losses.stacks_cut, figure!(words, stacks_cut));
    add(&mut losses.stacks_broken, figure!(words, stacks_broken));
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
    let at = regions::SAMPLED.at + thread * regions::SAMPLED_PER_THREAD;
    let end = at + sums.len() as u64 * SAMPLED_BYTES;
    file.for_each_part(at, end, PIECE, |part_at, words| {
        let first = ((part_at - at) / SAMPLED_BYTES) as usize;
        for (sum, counters) in sums.iter_mut().skip(first).zip(words.chunks_exact(SAMPLED_WORDS)) {
            // A page holds the counters of many sites.
            if counters.iter().any(|word| *word != 0) {
                if is_possible_sample(counters) {
                    sum.sampled.get_or_insert_default().add(counters);
                } else {
                    corrupt += 1;
                }
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

/// The same for the counters of sampled blocks: numbers of samples and their bytes.
fn is_possible_sample(words: &[u64]) -> bool {
    words.chunks_exact(Weights::WORDS).all(|sum| sum.first() < Some(&COUNT_MAX) && sum.get(2) < Some(&BYTES_MAX))
}

impl Sampled {
    fn add(&mut self, words: &[u64]) {
        const REPLACED: usize = core::mem::offset_of!(SampledCounters, replaced) / 8;
        let sums = [&mut self.allocated, &mut self.freed, &mut self.late];
        for (sum, words) in sums.into_iter().zip(words.chunks_exact(Weights::WORDS)) {
            sum.add_words(words);
        }
        self.replaced = self.replaced.saturating_add(words.get(REPLACED).copied().unwrap_or(0));
    }
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
        // The complement of a lifetime is never zero.
        if word(5) != 0 {
            let min = !word(5);
            self.life_min = Some(self.life_min.map_or(min, |known| known.min(min)));
            self.life_max = self.life_max.max(min.saturating_add(word(6)));
        }
    }

    /// What was allocated: counted, and estimated from what was sampled.
    fn allocated_at(&self, rate: u32) -> Tally {
        self.sampled.as_ref().map_or(self.allocated, |sampled| self.allocated.plus(sampled.allocated.tally(rate)))
    }

    /// How many frees were seen.
    fn lives(&self) -> u64 {
        let sampled = self.sampled.as_ref().map_or(0, |sampled| sampled.freed.samples.saturating_sub(sampled.replaced));
        self.life_count.saturating_add(sampled)
    }

    fn add_live(&mut self, block: Block, age: u64, expire: u64) {
        let expired = age >= expire;
        if block.rate == 0 {
            let one = Tally::exact(1, Bytes(block.size));
            self.live = self.live.plus(one);
            if expired {
                self.expired = self.expired.plus(one);
            }
        } else {
            let sampled = self.sampled.get_or_insert_default();
            let weight = weigh(block.size, block.rate);
            sampled.live.add(weight);
            if expired {
                sampled.expired.add(weight);
            }
        }
        self.oldest = Some(self.oldest.map_or(age, |known| known.max(age)));
    }
}

fn scan_blocks(
    file: &SharedFile,
    control: &Control,
    sums: &mut [Sum],
    now: u64,
    how: How,
    losses: &mut Losses,
) -> io::Result<()> {
    let moment = Moment::new(now);
    let mut add = |block: Block| {
        // A block may have been born since `now` was read; nothing is born in the far future.
        match sums.get_mut(block.stack as usize) {
            Some(sum) if block.birth != 0 && (block.rate == 0 || block.rate == how.rate) => {
                sum.add_live(block, block.age(moment), how.expire);
            }
            _ => losses.entries_corrupt += 1,
        }
    };
    let (lines, cells) = lines::written(control);
    file.for_each_part(lines.start, lines.end, PIECE, |_, words| {
        let lines = words.chunks_exact(2 * LINE_SLOTS).filter_map(|line| line.split_at_checked(LINE_SLOTS));
        for (first, second) in lines.flat_map(|(first, second)| first.iter().zip(second)) {
            (Slot { first: *first, second: *second }).unpack().into_iter().for_each(&mut add);
        }
    })?;
    file.for_each_part(cells.start, cells.end, PIECE, |_, words| {
        let cells = words.iter().map(|word| Cell::from_word(*word)).filter(|cell| cell.is_block());
        cells.map(|cell| cell.unpack(0, moment)).for_each(&mut add);
    })
}

fn site(id: u32, sum: &Sum, rate: u32, ticks: &Ticks) -> SiteCounts {
    let lifetimes = sum.life_min.map(|min| {
        let mean = sum.life_total / sum.lives().max(1);
        Lifetimes { min: ticks.duration(min), mean: ticks.duration(mean), max: ticks.duration(sum.life_max) }
    });
    let sampled = sum.sampled.as_deref().copied().unwrap_or_default();
    let freed_late = sum.late.plus(sampled.late.tally(rate));
    SiteCounts {
        stack: StackId(id),
        allocated: sum.allocated_at(rate),
        freed: sum.freed.plus(sampled.freed.tally(rate)),
        live: sum.live.plus(sampled.live.tally(rate)),
        expired: sum.expired.plus(sampled.expired.tally(rate)),
        freed_late,
        freed_late_longest: (freed_late.count > 0).then(|| ticks.duration(sum.life_max)),
        lifetimes,
        oldest_live: sum.oldest.map(|age| ticks.duration(age)),
        contents: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
