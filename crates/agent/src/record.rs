//! What one thread owns: its guard against nested calls, its figures, its caches, and the bounds of its stack.
//!
//! Owns: finding and claiming the record of the calling thread. Must not know: hooks, unwinding rules.
//!
//! A signal handler may run between any two instructions here and call the allocator itself. So nothing is published before
//! it is complete, and every index is checked where it is used.

use core::cell::Cell as Plain;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use wire::{Cell, FRAMES_MAX, Moment, STACKS_MAX, THREAD_SLOTS, THREADS_MAX, ThreadFigures, regions};

use crate::arch;
use crate::nested;
use crate::shared::Shared;
use crate::taken::{self, Taken};

/// Words that one unwinding may read: two per frame (return address, rbp) and some for signal frames.
pub(crate) const WORDS_MAX: usize = 2 * FRAMES_MAX + 16;
/// Slots of the index of remembered stacks.
pub(crate) const MEMORY_BITS: u32 = 11;
pub(crate) const MEMORY_SLOTS: usize = 1 << MEMORY_BITS;
/// Slots of the cache of unwind rules.
pub(crate) const RULE_SLOTS: usize = 512;
/// Words for remembered stacks: what is left of the record.
pub(crate) const ARENA_WORDS: usize = 28_000;

const PAGE: u64 = 4096;
/// The gap that the kernel leaves below the main stack; no mapping of the program's own lies in it.
const MAIN_STACK_GAP: u64 = 128 << 20;
/// Pages that are probed at most to prove that a thread's stack reaches up to its thread pointer.
const STACK_PAGES_MAX: u64 = 16 * 1024;

/// A thread's record. Only its thread writes it, apart from leakline, which only reads.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Record {
    pub(crate) figures: ThreadFigures,
    /// Stack that is known to be mapped as long as the thread lives.
    low: AtomicU64,
    high: AtomicU64,
    /// The time as this thread last read it, as [`Moment`], and as [`Cell::births_at`] and [`Cell::ages_at`] give it.
    clock: AtomicU64,
    births: AtomicU64,
    ages: AtomicU64,
    /// Bytes of all blocks that the thread allocated; where they were sampled, as the samples tell.
    pub(crate) bytes: AtomicU64,
    /// Generation of the modules for which the caches are true.
    pub(crate) generation: AtomicU32,
    /// Next free word of the arena.
    pub(crate) arena_next: AtomicU32,
    /// Not zero from a `vfork` on, until it is certain that this is not its child.
    pub(crate) vforked: AtomicU32,
    /// Where the thread's counters begin, see [`Thread::counters_before`].
    row: AtomicU32,
    /// Whether the thread's stacks are proven by check sums, see [`wire::Control::has_crc32`].
    crc32: AtomicU32,
    /// Frames of the unwinding that is under way.
    pub(crate) frames: [AtomicU64; FRAMES_MAX],
    /// Addresses and values of the words it read.
    pub(crate) word_at: [AtomicU64; WORDS_MAX],
    pub(crate) word: [AtomicU64; WORDS_MAX],
    /// The block that a named function resizes.
    pub(crate) taken: Taken,
    /// Code address and packed rule.
    pub(crate) rules: [[AtomicU64; 2]; RULE_SLOTS],
    /// Where remembered stacks begin in the arena, or by what else they are found; zero where there is none.
    pub(crate) memory: [AtomicU32; MEMORY_SLOTS],
    /// What lies here does so at multiples of a cache line, the first of which stays empty.
    pub(crate) arena: Arena,
}

/// Remembered stacks. Not atomic, unlike all else: leakline does not read them, and a signal handler's calls are nested ones, which
/// leave them alone.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Arena([Plain<u64>; ARENA_WORDS]);

/// How far above a stack pointer some words lie, in words.
pub(crate) type Group = [Plain<u16>; GROUP_WORDS];
/// As many as one word of the arena holds.
pub(crate) const GROUP_WORDS: usize = 4;

impl Arena {
    /// So many words from one on.
    #[inline]
    pub(crate) fn words<const LEN: usize>(&self, at: usize) -> Option<&[Plain<u64>; LEN]> {
        self.0.get(at..)?.first_chunk()
    }

    /// So many groups from a word on.
    #[inline]
    pub(crate) fn groups(&self, at: usize, len: usize) -> Option<&[Group]> {
        const { assert!(size_of::<Group>() == size_of::<u64>(), "a word is a group") };
        let words = self.0.get(at..at + len)?;
        // SAFETY: of the same size and less aligned; all bits are values of both.
        Some(unsafe { core::slice::from_raw_parts(words.as_ptr().cast::<Group>(), words.len()) })
    }
}

const _: () = assert!(size_of::<Record>() as u64 <= regions::RECORD_BYTES, "a record fits its place");

/// The calling thread inside a hook.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thread {
    pub(crate) shared: Shared,
    pub(crate) record: &'static Record,
}

impl Thread {
    /// The record at an address, inside a hook whose stub found it.
    #[inline]
    pub(crate) fn record_at(record: usize) -> &'static Record {
        // SAFETY: records lie in the mapping, which stays until no hook is entered any more; they are made of atomics and cells, for which
        // every content is a value.
        unsafe { &*core::ptr::with_exposed_provenance::<Record>(record) }
    }

    /// The thread of a record, inside a hook that found it.
    #[inline]
    pub(crate) fn of(record: &'static Record) -> Self {
        Self { shared: Shared::linked(), record }
    }

    /// The thread whose record is at an address, inside a hook whose stub found it.
    #[inline]
    pub(crate) fn at(record: usize) -> Self {
        Self::of(Self::record_at(record))
    }

    /// The calling thread, unless nobody listens or this call comes from inside another hooked one.
    #[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
    #[inline(always)]
    pub(crate) fn current(sp: u64) -> Option<Self> {
        Self::calling().filter(|thread| !thread.is_inside(sp))
    }

    /// The calling thread, unless nobody listens.
    #[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
    #[inline(always)]
    pub(crate) fn calling() -> Option<Self> {
        Self::of_memory(Shared::listening()?)
    }

    /// The calling thread, whether anybody listens or not: what it has entered it leaves also when nobody does any more.
    pub(crate) fn leaving() -> Option<Self> {
        Self::of_memory(Shared::mapped()?)
    }

    #[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
    #[inline(always)]
    fn of_memory(shared: Shared) -> Option<Self> {
        let pointer = arch::thread_pointer();
        let record = record_at(shared, wire::thread_place(pointer));
        if record.figures.pointer.load(Relaxed) == pointer && record.figures.number.load(Relaxed) != 0 {
            return Some(Self { shared, record });
        }
        find(shared, pointer).map(|record| Self { shared, record })
    }

    /// Whether a call at `sp` comes from inside another hooked one.
    #[inline]
    pub(crate) fn is_inside(self, sp: u64) -> bool {
        let guard = self.record.figures.guard.load(Relaxed);
        guard != 0 && self.is_under_way(guard, sp)
    }

    /// Whether the call that set the guard is. Where it was left, the block that it was resizing is there still.
    #[cold]
    #[inline(never)]
    fn is_under_way(self, guard: u64, sp: u64) -> bool {
        let is_nested = self.record.is_nested(self.shared, guard, sp);
        if !is_nested {
            taken::put_back_at(self, sp);
        }
        is_nested
    }

    /// From here until [`Self::leave`] further calls of this thread are nested.
    #[inline]
    pub(crate) fn enter(self, sp: u64) {
        self.record.figures.guard.store(sp, Relaxed);
    }

    #[inline]
    pub(crate) fn leave(self) {
        self.record.figures.guard.store(0, Relaxed);
    }

    /// The thread's number, below [`THREADS_MAX`].
    #[inline]
    pub(crate) fn number(self) -> u32 {
        self.record.figures.number.load(Relaxed).wrapping_sub(1) & (THREADS_MAX as u32 - 1)
    }

    /// How many counters of sites are before those of this thread.
    #[inline]
    pub(crate) fn counters_before(self) -> u32 {
        self.record.row.load(Relaxed) & ((THREADS_MAX as u32 - 1) * STACKS_MAX as u32)
    }

    /// Its name as the owner of buckets.
    #[inline]
    pub(crate) fn owner(self) -> u32 {
        self.number() + 1
    }

    /// The same as it stands in the record, for comparing only: a target that scribbles there may have made it anything.
    #[inline]
    pub(crate) fn owner_unchecked(self) -> u32 {
        self.record.figures.number.load(Relaxed)
    }

    /// Mean size of the blocks that the thread allocated.
    pub(crate) fn mean_size(self) -> u64 {
        let figures = &self.record.figures;
        let blocks = wire::calls_made(figures.allocations.load(Relaxed), figures.allocations_left.load(Relaxed));
        self.record.bytes.load(Relaxed) / blocks.max(1)
    }

    /// The time, as this thread last read it.
    #[inline]
    pub(crate) fn now(self) -> Moment {
        Moment::from_word(self.record.clock.load(Relaxed))
    }

    /// The same, as [`Cell::births_at`] gives it.
    #[inline]
    pub(crate) fn births(self) -> u64 {
        self.record.births.load(Relaxed)
    }

    /// The same, as [`Cell::ages_at`] gives it.
    #[inline]
    pub(crate) fn ages(self) -> u64 {
        self.record.ages.load(Relaxed)
    }

    /// Reads the clock.
    #[inline]
    pub(crate) fn read_time(self) {
        let now = Moment::new(arch::ticks());
        self.record.clock.store(now.word(), Relaxed);
        self.record.births.store(Cell::births_at(now), Relaxed);
        self.record.ages.store(Cell::ages_at(now), Relaxed);
    }
}

impl Record {
    /// Makes it that of the thread with this number.
    pub(crate) fn name(&self, number: u32) {
        self.row.store(number * STACKS_MAX as u32, Relaxed);
        self.figures.number.store(number + 1, Release);
    }

    /// Whether remembered stacks are proven by check sums.
    #[inline]
    pub(crate) fn has_crc32(&self) -> bool {
        self.crc32.load(Relaxed) != 0
    }

    #[cfg(test)]
    pub(crate) fn set_crc32(&self, crc32: bool) {
        self.crc32.store(u32::from(crc32), Relaxed);
    }

    /// Whether a call at `sp` comes from inside the hook that set the guard. A hook that was left by `longjmp` never cleared
    /// its guard: that shows by a stack pointer above it on the same stack, or by what lies on the stack between the two.
    #[cold]
    #[inline(never)]
    fn is_nested(&self, shared: Shared, guard: u64, sp: u64) -> bool {
        let known = |at: u64| self.low.load(Relaxed) <= at && at < self.high.load(Relaxed);
        let is_above = known(sp) && (sp >= guard || !known(guard));
        !(is_above || nested::is_left(shared, guard, sp))
    }

    /// Whether the whole range can be read for as long as the thread runs on the stack at `sp`.
    #[inline]
    pub(crate) fn covers(&self, sp: u64, end: u64) -> bool {
        self.low.load(Relaxed) <= sp && end <= self.high.load(Relaxed)
    }

    /// The end of the stack at `sp`, all of which can be read; none where it is neither the main stack nor the one that ends at
    /// the thread's control block (a coroutine or an alternate signal stack), whose pages may vanish at any time.
    #[inline]
    pub(crate) fn anchor(&self, shared: Shared, sp: u64) -> Option<u64> {
        self.known_anchor(sp).or_else(|| self.find_anchor(shared, sp).then(|| self.high.load(Relaxed)))
    }

    /// The same, if it was found before.
    #[inline]
    pub(crate) fn known_anchor(&self, sp: u64) -> Option<u64> {
        let high = self.high.load(Relaxed);
        (self.low.load(Relaxed) <= sp && sp < high).then_some(high)
    }

    /// The end of the stack that was last found to be the thread's own.
    #[inline]
    pub(crate) fn known_high(&self) -> u64 {
        self.high.load(Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn forget_anchor(&self) {
        self.low.store(0, Relaxed);
        self.high.store(0, Relaxed);
    }

    #[cold]
    #[inline(never)]
    fn find_anchor(&self, shared: Shared, sp: u64) -> bool {
        let main = shared.control().main_stack_high.load(Relaxed);
        let page = sp & !(PAGE - 1);
        if sp < main && main - sp < MAIN_STACK_GAP {
            self.low.store(page, Relaxed);
            self.high.store(main, Relaxed);
            return true;
        }
        let pointer = arch::thread_pointer();
        let high = (pointer & !(PAGE - 1)) + PAGE;
        if sp >= pointer || (high - page) / PAGE > STACK_PAGES_MAX {
            return false;
        }
        let known = self.high.load(Relaxed) == high;
        let top = if known && self.low.load(Relaxed) > page { self.low.load(Relaxed) } else { high };
        let mut at = page;
        while at < top {
            if !arch::readable(at) {
                return false;
            }
            at += PAGE;
        }
        self.low.store(page, Relaxed);
        self.high.store(high, Relaxed);
        true
    }
}

#[inline]
fn record_at(shared: Shared, place: usize) -> &'static Record {
    shared.at(wire::record_at(place))
}

/// The record of the thread with this pointer, claimed if it has none.
#[cold]
#[inline(never)]
fn find(shared: Shared, pointer: u64) -> Option<&'static Record> {
    let first = wire::thread_place(pointer);
    for step in 0..THREAD_SLOTS {
        let place = (first + step) & (THREAD_SLOTS - 1);
        let record = record_at(shared, place);
        let owner = match record.figures.pointer.load(Acquire) {
            0 if is_full(shared) => {
                shared.control().threads.refused.fetch_add(1, Relaxed);
                return None;
            }
            0 => match record.figures.pointer.compare_exchange(0, pointer, Release, Acquire) {
                Ok(_) => pointer,
                Err(owner) => owner,
            },
            owner => owner,
        };
        if owner == pointer {
            return number(shared, place, record).then_some(record);
        }
    }
    None
}

fn is_full(shared: Shared) -> bool {
    let control = shared.control();
    let limit = (control.records_max.load(Relaxed) as usize).min(THREADS_MAX);
    control.threads.records.load(Relaxed) as usize >= limit
}

/// Gives a record its number, if it has none; false where there are no more.
///
/// A signal handler that calls the allocator between the two stores gives it another one. The first is then listed and
/// leads to a record with the second, by which leakline knows that it must not count that record twice.
fn number(shared: Shared, place: usize, record: &Record) -> bool {
    if record.figures.number.load(Relaxed) != 0 {
        return true;
    }
    let threads = &shared.control().threads;
    let number = if is_full(shared) { THREADS_MAX } else { threads.records.fetch_add(1, Relaxed) as usize };
    if number >= THREADS_MAX {
        threads.refused.fetch_add(1, Relaxed);
        return false;
    }
    let listed: &AtomicU32 = shared.at(regions::THREADS.at + number as u64 * 4);
    listed.store(place as u32, Relaxed);
    record.crc32.store(shared.control().has_crc32.load(Relaxed), Relaxed);
    record.name(number as u32);
    true
}

const _: () =
    assert!(THREADS_MAX.is_power_of_two() && STACKS_MAX.is_power_of_two(), "numbers are masked, not compared");
const _: () = assert!(THREADS_MAX * STACKS_MAX <= 1 << u32::BITS, "counters are numbered in 32 bits");
