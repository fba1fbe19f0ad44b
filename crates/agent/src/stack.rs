//! From a stack pointer to a stack id.
//!
//! Owns: the stack memory (stacks that were seen, checked word by word before they are believed) and the table of distinct
//! stacks. Must not know: unwind rules, hooks.
//!
//! Why a remembered stack may be believed: unwinding is a function of the return address, the stack pointer, rbp and the
//! words that it reads. Where all words lie that the first unwinding read is remembered, and a sum of them, each multiplied by a
//! number of its own. If every one of them is the same again, so is the result; and if one is not, nor is the sum. Of several, sums
//! are the same by chance once in 2^64. Where the processor makes check sums there are two, of the words at even and at odd places: stacks that differ in
//! neighbouring frames differ in both, and others have the same one by chance once in 2^32. The words themselves would take four times as
//! much of the cache as a stack of 30 frames takes now, and comparing them as long as all the rest of a hook.

use core::cell::Cell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use wire::{FRAMES_MAX, STACK_INDEX_SLOTS, STACKS_MAX, StackRecord, regions};

use crate::arch;
use crate::record::{ARENA_WORDS, GROUP_WORDS, Group, MEMORY_BITS, MEMORY_SLOTS, Record, Thread, WORDS_MAX};
use crate::shared::{Shared, add};
use crate::unwind::{self, Walk};

/// How many places a remembered stack can stand in.
const WAYS: usize = 4;
/// The words of a remembered stack.
const PC: usize = 0;
const SP: usize = 1;
/// rbp, where it decided something.
const BP: usize = 2;
/// What [`arch::sum`] makes of the words that were read.
const SUM: usize = 3;
/// The stack's id, how many bytes before its last group others take, and whether rbp has to be the same.
const FACTS: usize = 4;
/// From here on: where the words lie, in [`Group`]s.
const GROUPS: usize = 5;
const HEAD_BYTES: usize = GROUPS * size_of::<u64>();
/// In [`FACTS`].
const LAST_AT: u32 = 16;
const LAST_MASK: u64 = (GROUPS_MAX * size_of::<Group>() - size_of::<Group>()) as u64;
const WITH_RBP: u64 = 1 << 63;
/// Words of a cache line, at whose multiples remembered stacks begin.
const LINE_WORDS: usize = 8;
/// Groups of the longest stack.
const GROUPS_MAX: usize = 128;
/// Where remembered stacks can begin, so that all of any lies in the arena.
const FIRST_WORDS: usize = ARENA_WORDS - GROUPS - GROUPS_MAX;
/// Words that lie further above the stack pointer are not remembered: their distance, in words, has 16 bits.
const DISTANCE_MAX: u64 = 8 * u16::MAX as u64;
/// In the index: the stacks with this return address and stack pointer are told apart by their callers' return address, and found by it.
const BY_CALLER: u32 = 1 << 31;
/// How far above the stack pointer that lies, in words; above these bits some of the return address.
const ABOVE_BITS: u32 = 16;
const _: () = assert!(STACKS_MAX <= 1 << LAST_AT, "an id is the lowest of the facts");
const _: () = assert!(FIRST_WORDS < BY_CALLER as usize, "a mark is no place");
const _: () = assert!(WORDS_MAX.div_ceil(GROUP_WORDS) < GROUPS_MAX, "the longest stack fits");

/// Words of the frames region.
const FRAME_WORDS: usize = STACKS_MAX * FRAMES_MAX;

/// What the caller of the hooked function looked like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) sp: u64,
    pub(crate) bp: u64,
    /// Return address of the hooked function.
    pub(crate) pc: u64,
}

/// The id of the stack whose innermost return address is at `sp`.
#[inline(never)]
pub(crate) fn id_of(thread: Thread, sp: u64, bp: u64) -> u32 {
    take_over(thread);
    known(thread.record, sp, bp).unwrap_or_else(|| id_elsewhere(thread, sp, bp))
}

/// Where a stack is remembered that is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    /// In the first place that it is looked for, with this id.
    As(u32),
    /// If anywhere, where this mark of the index says.
    ByCaller(u32),
    /// Not there.
    Not,
}

/// The id of the stack, where it is remembered in the first place that it is looked for.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) fn known_first<const CRC32: bool>(record: &Record, sp: u64, bp: u64) -> Known {
    // The stack pointer was valid an instant ago: the call pushed the return address there.
    let entry = Entry { sp, bp, pc: unwind::word_on_own_stack(sp) };
    let Some(slot) = record.memory.get(place_of(entry, 0)) else { return Known::Not };
    let at = slot.load(Relaxed);
    // A mark is no place, so that places need not be asked whether they are one.
    if at as usize >= FIRST_WORDS {
        return if at & BY_CALLER == 0 { Known::Not } else { Known::ByCaller(at) };
    }
    recall::<CRC32>(record, at as usize, entry).map_or(Known::Not, Known::As)
}

/// The same, where a mark of the index says that it is found by its caller's return address.
#[inline]
pub(crate) fn known_by_caller(record: &Record, mark: u32, sp: u64, bp: u64) -> Option<u32> {
    let entry = Entry { sp, bp, pc: unwind::word_on_own_stack(sp) };
    let at = record.memory.get(place_by_caller(record, entry, mark)?)?.load(Relaxed) as usize;
    if record.has_crc32() { recall::<true>(record, at, entry) } else { recall::<false>(record, at, entry) }
}

/// Either of them.
fn known(record: &Record, sp: u64, bp: u64) -> Option<u32> {
    let first =
        if record.has_crc32() { known_first::<true>(record, sp, bp) } else { known_first::<false>(record, sp, bp) };
    match first {
        Known::As(id) => Some(id),
        Known::ByCaller(mark) => known_by_caller(record, mark, sp, bp),
        Known::Not => None,
    }
}

/// Whether the stack that begins here passes the last call that allocated and was let run unguarded: whether that call is still under
/// way. Its return address may still stand where it stood when it is not, but is then no frame's.
#[cold]
#[inline(never)]
pub(crate) fn passes_allocation(thread: Thread, sp: u64, bp: u64) -> bool {
    let figures = &thread.record.figures;
    let (at, pc) = (figures.passed_sp.load(Relaxed), figures.passed_pc.load(Relaxed));
    let is_there = |high: u64| sp < at && at.saturating_add(8) <= high && unwind::word_on_own_stack(at) == pc;
    if !anchor(thread, sp).is_some_and(is_there) {
        return false;
    }
    take_over(thread);
    let walk = unwind::walk(thread, Entry { sp, bp, pc: unwind::word_on_own_stack(sp) });
    thread.record.word_at.iter().take(walk.words).any(|word_at| word_at.load(Relaxed) == at)
}

/// The end of the stack at `sp`, if it is the thread's own. What is remembered of another one is forgotten: its words lie below the end of
/// the stack that they were found on, and whoever recalls them does not ask again whether they are there.
fn anchor(thread: Thread, sp: u64) -> Option<u64> {
    let record = thread.record;
    let before = record.known_high();
    let high = record.anchor(thread.shared, sp)?;
    if high != before {
        forget_stacks(record);
    }
    Some(high)
}

/// Looks at the further places where the stack may stand, and unwinds.
#[cold]
#[inline(never)]
fn id_elsewhere(thread: Thread, sp: u64, bp: u64) -> u32 {
    let record = thread.record;
    let entry = Entry { sp, bp, pc: unwind::word_on_own_stack(sp) };
    if anchor(thread, sp).is_none() {
        return unwind_and_intern(thread, entry, false);
    }
    let places = places_from(first_place(record, entry));
    let recall = if record.has_crc32() { recall::<true> } else { recall::<false> };
    let known =
        places.into_iter().find_map(|place| recall(record, record.memory.get(place)?.load(Relaxed) as usize, entry));
    known.unwrap_or_else(|| unwind_and_intern(thread, entry, true))
}

/// The id of the stack that is remembered at a place of the arena, if every word of it is as it was. That of all of them can be read
/// is known from the stack pointer: what is remembered lies on one stack, which is that of its thread.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn recall<const CRC32: bool>(record: &Record, at: usize, entry: Entry) -> Option<u32> {
    if at >= FIRST_WORDS {
        return None;
    }
    let known = record.arena.words::<GROUPS>(at)?;
    if known[PC].get() != entry.pc || known[SP].get() != entry.sp {
        return None;
    }
    let facts = known[FACTS].get();
    if facts & WITH_RBP != 0 && known[BP].get() != entry.bp {
        return None;
    }
    let is_same = sum::<CRC32>(known, facts, entry.sp) == known[SUM].get();
    is_same.then(|| known[FACTS].get() as u32 & ((1 << LAST_AT) - 1))
}

/// The sum of the words above `sp` that the groups behind the head of a remembered stack name, each times a number of its own; or, where the processor
/// makes them, check sums. Two words together have one number: what differs between return addresses is in their lower halves, and of one of them they
/// are added as upper half.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn sum<const CRC32: bool>(head: &[Cell<u64>; GROUPS], facts: u64, sp: u64) -> u64 {
    // Whatever the facts are, so many groups can be read behind each place where a remembered stack can begin.
    let last = (facts >> LAST_AT & LAST_MASK) as usize;
    if CRC32 {
        // SAFETY: groups are only filled with distances of words that lie on the stack at `sp`, which stays as long as its thread runs; the
        // processor was asked.
        unsafe { arch::check_sums::<HEAD_BYTES>(head.as_ptr().cast(), last, sp) }
    } else {
        // SAFETY: as above.
        unsafe { arch::sum::<HEAD_BYTES>(head.as_ptr().cast(), last, &FACTORS, sp) }
    }
}

/// Odd numbers without a pattern (the generator "splitmix64").
static FACTORS: [arch::Factors; GROUPS_MAX] = {
    let mut factors = [[0; 2]; GROUPS_MAX];
    let mut state = 0_u64;
    let mut i = 0;
    while i < 2 * GROUPS_MAX {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        factors[i / 2][i % 2] = (word ^ (word >> 31)) | 1;
        i += 1;
    }
    factors
};

/// Where a stack is remembered, by what tells stacks apart: return address, stack pointer and, where these are the same for many stacks
/// (wrappers such as `operator new` make them so), the caller's return address.
#[inline(always)]
fn place_of(entry: Entry, caller: u64) -> usize {
    // Bits of a return address have to get to the very top: a shorter factor would not bring them there.
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let hash = entry.pc ^ entry.sp.rotate_left(24) ^ caller.rotate_left(40);
    (hash.wrapping_mul(MIX) >> (64 - MEMORY_BITS)) as usize
}

/// The same, where a mark of the index says to look by the caller's return address; none if the mark is of another return address.
#[inline]
fn place_by_caller(record: &Record, entry: Entry, mark: u32) -> Option<usize> {
    let above = u64::from(mark & ((1 << ABOVE_BITS) - 1)) * 8;
    let at = entry.sp + above;
    let is_own = mark == by_caller(entry.pc, above) && record.covers(entry.sp, at + 8);
    is_own.then(|| place_of(entry, unwind::word_on_own_stack(at)))
}

/// The mark for stacks with this return address, whose callers' return address lies so far above the stack pointer.
#[inline]
fn by_caller(pc: u64, above: u64) -> u32 {
    BY_CALLER | (pc as u32) << ABOVE_BITS | (above / 8) as u32
}

/// Where to look first. A mark whose place was taken by another one stands behind it.
fn first_place(record: &Record, entry: Entry) -> usize {
    let place = place_of(entry, 0);
    let by_caller = |place: usize| {
        let mark = record.memory.get(place)?.load(Relaxed);
        if mark & BY_CALLER == 0 { None } else { place_by_caller(record, entry, mark) }
    };
    places_from(place).into_iter().find_map(by_caller).unwrap_or(place)
}

fn places_from(place: usize) -> [usize; WAYS] {
    core::array::from_fn(|way| (place + way) % MEMORY_SLOTS)
}

/// Notes that stacks which begin like this one are to be looked for by their callers' return address, if another one of them is
/// remembered already.
fn tell_apart(record: &Record, entry: Entry, above: u64) {
    let slots = places_from(place_of(entry, 0)).map(|place| record.memory.get(place));
    let begins_alike = |slot: &AtomicU32| {
        let at = slot.load(Relaxed) as usize;
        let known = if at == 0 || at >= FIRST_WORDS { None } else { record.arena.words::<GROUPS>(at) };
        known.is_some_and(|known| known[PC].get() == entry.pc && known[SP].get() == entry.sp)
    };
    if above < 8 << ABOVE_BITS
        && slots.into_iter().flatten().any(begins_alike)
        && let Some(slot) = slots.into_iter().flatten().find(|slot| slot.load(Relaxed) & BY_CALLER == 0)
    {
        slot.store(by_caller(entry.pc, above), Relaxed);
    }
}

#[cold]
#[inline(never)]
fn unwind_and_intern(thread: Thread, entry: Entry, on_known_stack: bool) -> u32 {
    let record = thread.record;
    let walk = unwind::walk(thread, entry);
    add(&record.figures.stacks_unwound, 1);
    add(&record.figures.stacks_cut, u64::from(walk.cut));
    add(&record.figures.stacks_broken, u64::from(walk.broken));
    let id = intern(thread.shared, record.frames.get(..walk.frames).unwrap_or(&[]));
    if on_known_stack && walk.on_own_stack {
        if let Some(above) = walk.leaf {
            tell_apart(record, entry, above);
        }
        remember(record, entry, &walk, id);
    }
    id
}

/// Remembers the words of a walk. The index points there only once they are all in place.
fn remember(record: &Record, entry: Entry, walk: &Walk, id: u32) {
    let groups = walk.words.div_ceil(GROUP_WORDS).max(1);
    let len = (GROUPS + groups).next_multiple_of(LINE_WORDS);
    let mut at = record.arena_next.load(Relaxed) as usize;
    if at == 0 || at + len > FIRST_WORDS {
        forget_stacks(record);
        at = LINE_WORDS;
    }
    record.arena_next.store((at + len) as u32, Relaxed);
    let (Some(head), Some(body)) = (record.arena.words::<GROUPS>(at), record.arena.groups(at + GROUPS, groups)) else {
        return;
    };
    for (number, group) in body.iter().enumerate() {
        if !fill(group, record, number * GROUP_WORDS, walk.words, entry.sp) {
            return;
        }
    }
    let last = (groups as u64 - 1) * size_of::<Group>() as u64;
    let facts = u64::from(id) | last << LAST_AT | if walk.used_rbp { WITH_RBP } else { 0 };
    let sum = if record.has_crc32() { sum::<true> } else { sum::<false> };
    for (word, value) in head.iter().zip([entry.pc, entry.sp, entry.bp, sum(head, facts, entry.sp), facts]) {
        word.set(value);
    }
    let places = places_from(first_place(record, entry));
    let is_free = |place: &usize| record.memory.get(*place).is_some_and(|slot| slot.load(Relaxed) == 0);
    let holds_stack = |place: &usize| record.memory.get(*place).is_some_and(|slot| slot.load(Relaxed) & BY_CALLER == 0);
    let victims = places.iter().cycle().skip(at / LINE_WORDS % WAYS).take(WAYS);
    let place = places.iter().copied().find(is_free).or_else(|| victims.copied().find(holds_stack));
    if let Some(slot) = place.and_then(|place| record.memory.get(place)) {
        slot.store(at as u32, Release);
    }
}

/// Notes where the words of a walk lie from one on; the last group is filled up with the last word. False where one lies too far away,
/// or is no longer what was read: another thread writes there.
fn fill(group: &Group, record: &Record, from: usize, words: usize, sp: u64) -> bool {
    for (i, distance) in group.iter().enumerate() {
        // A walk that needed no word but the return address is proven by that one again.
        let index = words.checked_sub(1).map(|last| last.min(from + i));
        let (above, word) = index.map_or((0, unwind::word_on_own_stack(sp)), |index| word(record, index, sp));
        if above > DISTANCE_MAX || unwind::word_on_own_stack(sp + above) != word {
            return false;
        }
        distance.set((above / 8) as u16);
    }
    true
}

/// Distance from the stack pointer and value of a word that the walk read.
fn word(record: &Record, index: usize, sp: u64) -> (u64, u64) {
    match (record.word_at.get(index), record.word.get(index)) {
        (Some(at), Some(word)) => (at.load(Relaxed).wrapping_sub(sp), word.load(Relaxed)),
        _ => (0, 0),
    }
}

/// Forgets all that depends on which modules are loaded, if others are.
pub(crate) fn take_over(thread: Thread) {
    let (record, generation) = (thread.record, thread.shared.control().generation.load(Relaxed));
    if record.generation.load(Relaxed) != generation {
        record.generation.store(generation, Relaxed);
        forget(record);
    }
}

#[cold]
#[inline(never)]
fn forget(record: &Record) {
    for [pc, _] in &record.rules {
        pc.store(0, Relaxed);
    }
    forget_stacks(record);
}

fn forget_stacks(record: &Record) {
    for slot in &record.memory {
        slot.store(0, Relaxed);
    }
    record.arena_next.store(LINE_WORDS as u32, Relaxed);
}

/// The id of a stack in the table of all threads; 0 where the table is full.
fn intern(shared: Shared, frames: &[AtomicU64]) -> u32 {
    let mut hash = frames.len() as u64;
    for frame in frames {
        hash = (hash.rotate_left(5) ^ frame.load(Relaxed)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    hash ^= hash >> 32;
    let index: &[AtomicU32] = shared.slice(regions::STACK_INDEX.at, STACK_INDEX_SLOTS);
    let mut made = 0;
    for step in 0..STACK_INDEX_SLOTS {
        let Some(slot) = index.get((hash as usize + step) % STACK_INDEX_SLOTS) else { break };
        let mut id = slot.load(Acquire);
        if id == 0 {
            if made == 0 {
                made = write(shared, frames, hash);
            }
            if made == 0 {
                break;
            }
            id = match slot.compare_exchange(0, made, Release, Acquire) {
                Ok(_) => return made,
                Err(other) => other,
            };
        }
        if is_same(shared, id, frames, hash) {
            return id;
        }
    }
    shared.control().stacks.refused.fetch_add(1, Relaxed);
    0
}

fn record_of(shared: Shared, id: u32) -> &'static StackRecord {
    let id = if (id as usize) < STACKS_MAX { u64::from(id) } else { 0 };
    shared.at(regions::STACKS.at + id * size_of::<StackRecord>() as u64)
}

fn is_same(shared: Shared, id: u32, frames: &[AtomicU64], hash: u64) -> bool {
    let record = record_of(shared, id);
    if record.hash.load(Relaxed) != hash || record.frames.load(Acquire) as usize != frames.len() {
        return false;
    }
    let at = record.frames_at.load(Relaxed) as usize;
    if at + frames.len() > FRAME_WORDS {
        return false;
    }
    let known: &[AtomicU64] = shared.slice(regions::FRAMES.at + at as u64 * 8, frames.len());
    known.iter().zip(frames).all(|(a, b)| a.load(Relaxed) == b.load(Relaxed))
}

/// Writes a new stack under a new id; 0 where there is no room. The index does not lead to it yet.
fn write(shared: Shared, frames: &[AtomicU64], hash: u64) -> u32 {
    let control = shared.control();
    let limit = control.stacks_max.load(Relaxed).min(STACKS_MAX as u32);
    if control.stacks.ids.load(Relaxed) >= limit {
        return 0;
    }
    let id = control.stacks.ids.fetch_add(1, Relaxed);
    if id == 0 || id >= limit {
        return 0;
    }
    let at = control.stacks.frames.fetch_add(frames.len() as u32, Relaxed);
    if at as usize + frames.len() > FRAME_WORDS {
        return 0;
    }
    let place: &[AtomicU64] = shared.slice(regions::FRAMES.at + u64::from(at) * 8, frames.len());
    for (place, frame) in place.iter().zip(frames) {
        place.store(frame.load(Relaxed), Relaxed);
    }
    let record = record_of(shared, id);
    record.hash.store(hash, Relaxed);
    record.frames_at.store(at, Relaxed);
    record.frames.store(frames.len() as u32, Release);
    id
}
