//! What one thread owns: its guard against nested calls, its figures, its caches, and the bounds of its stack.
//!
//! Owns: finding and claiming the record of the calling thread. Must not know: hooks, unwinding rules.
//!
//! A signal handler may run between any two instructions here and call the allocator itself. So nothing is published before
//! it is complete, and every index is checked where it is used.

use core::cell::Cell as Plain;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use wire::{FRAMES_MAX, THREAD_SLOTS, THREADS_MAX, ThreadFigures, regions};

use crate::arch;
use crate::shared::Shared;

/// Words that one unwinding may read: two per frame (return address, rbp) and some for signal frames.
pub(crate) const WORDS_MAX: usize = 2 * FRAMES_MAX + 16;
/// Slots of the index of remembered stacks.
pub(crate) const MEMORY_BITS: u32 = 10;
pub(crate) const MEMORY_SLOTS: usize = 1 << MEMORY_BITS;
/// Slots of the cache of unwind rules.
pub(crate) const RULE_SLOTS: usize = 512;
/// Slots of the cache that tells where a caller's return address lies.
pub(crate) const LEAF_SLOTS: usize = 1024;
/// Cells for remembered stacks: what is left of the record.
pub(crate) const ARENA_CELLS: usize = 5_700;
/// Cells that one remembered stack takes at most.
pub(crate) const STACK_CELLS_MAX: usize = 128;
/// Words of one cell.
pub(crate) const CELL_WORDS: usize = 4;

/// How many calls of a thread one reading of the clock serves at most: a few microseconds' worth.
const CLOCK_USES: u64 = 64;

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
    /// The time as this thread last read it.
    clock: AtomicU64,
    /// Bytes of all blocks that the thread allocated; where they were sampled, as the samples tell.
    pub(crate) bytes: AtomicU64,
    /// Size of the block that the hook that runs is to record.
    pub(crate) size: AtomicU64,
    /// Generation of the modules for which the caches are true.
    pub(crate) generation: AtomicU32,
    /// Next free cell of the arena.
    pub(crate) arena_next: AtomicU32,
    /// Not zero from a `vfork` on, until it is certain that this is not its child.
    pub(crate) vforked: AtomicU32,
    /// Frames of the unwinding that is under way.
    pub(crate) frames: [AtomicU64; FRAMES_MAX],
    /// Addresses and values of the words it read.
    pub(crate) word_at: [AtomicU64; WORDS_MAX],
    pub(crate) word: [AtomicU64; WORDS_MAX],
    /// Return addresses (highest bits) and how many words above the stack pointer the caller's return address lies then.
    pub(crate) leaves: [AtomicU64; LEAF_SLOTS],
    /// Code address and packed rule.
    pub(crate) rules: [[AtomicU64; 2]; RULE_SLOTS],
    /// First cells of remembered stacks; zero where there is none.
    pub(crate) memory: [AtomicU32; MEMORY_SLOTS],
    /// Cell 0 stays empty.
    pub(crate) arena: [Cell; ARENA_CELLS],
}

/// A part of a remembered stack: the first says which stack it is, each of the others holds four words of it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Cell {
    /// Not atomic, unlike all else: leakline does not read them, and a signal handler's calls are nested ones, which leave them alone.
    pub(crate) small: [Plain<u16>; CELL_WORDS],
    pub(crate) words: [Plain<u64>; CELL_WORDS],
}

const _: () = assert!(WORDS_MAX.div_ceil(CELL_WORDS) < STACK_CELLS_MAX, "the longest stack fits");

const _: () = assert!(size_of::<Record>() as u64 <= regions::RECORD_BYTES, "a record fits its place");

/// The calling thread inside a hook.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thread {
    pub(crate) shared: Shared,
    pub(crate) record: &'static Record,
}

impl Thread {
    /// The thread of a record, inside a hook that found it.
    #[inline]
    pub(crate) fn of(record: &'static Record) -> Self {
        Self { shared: Shared::linked(), record }
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
        let record = record_at(shared, place_of(pointer));
        if record.figures.pointer.load(Relaxed) == pointer && record.figures.number.load(Relaxed) != 0 {
            return Some(Self { shared, record });
        }
        find(shared, pointer).map(|record| Self { shared, record })
    }

    /// The calling thread, if its record is where it is looked for first and no hook runs in it: nearly always.
    #[inline]
    pub(crate) fn at_hand(shared: Shared) -> Option<Self> {
        let pointer = arch::thread_pointer();
        let record = record_at(shared, place_of(pointer));
        let figures = &record.figures;
        let found = figures.pointer.load(Relaxed) == pointer && figures.number.load(Relaxed) != 0;
        (found && figures.guard.load(Relaxed) == 0).then_some(Self { shared, record })
    }

    /// Whether a call at `sp` comes from inside another hooked one.
    #[inline]
    pub(crate) fn is_inside(self, sp: u64) -> bool {
        let guard = self.record.figures.guard.load(Relaxed);
        guard != 0 && self.record.is_nested(guard, sp)
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
        self.record.bytes.load(Relaxed) / self.record.figures.allocations.load(Relaxed).max(1)
    }

    /// The time in ticks: as this thread last read it or, if that is later, leakline's clock.
    #[inline]
    pub(crate) fn now(self) -> u64 {
        self.record.clock.load(Relaxed).max(self.shared.control().clock.ticks.load(Relaxed))
    }

    /// Reads the clock at every so-manieth of the thread's calls.
    #[inline]
    pub(crate) fn keep_time(self, calls: u64) {
        if calls.is_multiple_of(CLOCK_USES) {
            self.read_time();
        }
    }

    /// Reads the clock.
    #[inline]
    pub(crate) fn read_time(self) {
        self.record.clock.store(arch::ticks(), Relaxed);
    }
}

impl Record {
    /// Whether a call at `sp` comes from inside the hook that set the guard. A hook that was left by `longjmp` never cleared
    /// its guard: that shows by a stack pointer above it on the same stack.
    #[cold]
    #[inline(never)]
    fn is_nested(&self, guard: u64, sp: u64) -> bool {
        let known = |at: u64| self.low.load(Relaxed) <= at && at < self.high.load(Relaxed);
        !(known(sp) && (sp >= guard || !known(guard)))
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
fn place_of(pointer: u64) -> usize {
    ((pointer >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize & (THREAD_SLOTS - 1)
}

#[inline]
fn record_at(shared: Shared, place: usize) -> &'static Record {
    shared.at(regions::RECORDS.at + place as u64 * regions::RECORD_BYTES)
}

/// The record of the thread with this pointer, claimed if it has none.
#[cold]
#[inline(never)]
fn find(shared: Shared, pointer: u64) -> Option<&'static Record> {
    let first = place_of(pointer);
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
    record.figures.number.store(number as u32 + 1, Release);
    true
}

const _: () = assert!(THREADS_MAX.is_power_of_two(), "numbers are masked, not compared");
const _: () = assert!(THREAD_SLOTS == 1 << 12, "place_of keeps the highest twelve bits");
