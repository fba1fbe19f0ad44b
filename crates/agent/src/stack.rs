//! From a stack pointer to a stack id.
//!
//! Owns: the stack memory (stacks that were seen, checked word by word before they are believed) and the table of distinct
//! stacks. Must not know: unwind rules, hooks.
//!
//! Why a remembered stack may be believed: unwinding is a function of the return address, the stack pointer, rbp and the
//! words that it reads. Where all words lie that the first unwinding read is remembered, and a sum of them, each multiplied by a
//! number of its own. If every one of them is the same again, so is the result; and if one is not, nor is the sum. Of several, sums
//! are the same by chance once in 2^64. The words themselves would take four times as much of the cache as a stack of 30 frames takes now,
//! and comparing them as long as all the rest of a hook.

use core::cell::Cell as Plain;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use wire::{FRAMES_MAX, STACK_INDEX_SLOTS, STACKS_MAX, StackRecord, regions};

use crate::record::{
    ARENA_WORDS, GROUP_WORDS, Group, LEAF_SLOTS, MEMORY_BITS, MEMORY_SLOTS, Record, Thread, WORDS_MAX,
};
use crate::shared::{Shared, add};
use crate::unwind::{self, Walk};

/// How many places a remembered stack can stand in.
const WAYS: usize = 4;
/// The words of a remembered stack.
const PC: usize = 0;
const SP: usize = 1;
/// rbp, where it decided something.
const BP: usize = 2;
/// What [`sum`] makes of the words that were read.
const SUM: usize = 3;
/// A [`Group`]: the stack's id; how many groups follow, or none where rbp has to be the same; and how many follow then.
const FACTS: usize = 4;
/// From here on: where the words lie, in [`Group`]s.
const GROUPS: usize = 5;
/// Words of a cache line, at whose multiples remembered stacks begin.
const LINE_WORDS: usize = 8;
/// Groups of the longest stack.
const GROUPS_MAX: usize = 128;
/// Where remembered stacks can begin, so that all of any lies in the arena.
const FIRST_WORDS: usize = ARENA_WORDS - GROUPS - GROUPS_MAX;
/// Words that lie further above the stack pointer are not remembered: their distance, in words, has 16 bits.
const DISTANCE_MAX: u64 = 8 * u16::MAX as u64;
/// Bits of a distance beside a return address, which has the others.
const LEAF_BITS: u32 = 16;
const _: () = assert!(STACKS_MAX <= 1 << u16::BITS, "an id is one of four facts in a word");
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

/// The same, where it is remembered in the first place that it is looked for.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) fn known(record: &Record, sp: u64, bp: u64) -> Option<u32> {
    let high = record.known_anchor(sp)?;
    // The stack pointer was valid an instant ago: the call pushed the return address there.
    let entry = Entry { sp, bp, pc: unwind::word_on_own_stack(sp) };
    recall(record, place_of(record, entry, high), entry)
}

/// Whether the stack that begins here passes the last call that allocated and was let run unguarded: whether that call is still under
/// way. Its return address may still stand where it stood when it is not, but is then no frame's.
#[cold]
#[inline(never)]
pub(crate) fn passes_allocation(thread: Thread, sp: u64, bp: u64) -> bool {
    let figures = &thread.record.figures;
    let (at, pc) = (figures.passed_sp.load(Relaxed), figures.passed_pc.load(Relaxed));
    if at <= sp || !thread.record.covers(at, at.saturating_add(8)) || unwind::word_on_own_stack(at) != pc {
        return false;
    }
    take_over(thread);
    let walk = unwind::walk(thread, Entry { sp, bp, pc: unwind::word_on_own_stack(sp) });
    thread.record.word_at.iter().take(walk.words).any(|word_at| word_at.load(Relaxed) == at)
}

/// Looks at the further places where the stack may stand, and unwinds.
#[cold]
#[inline(never)]
fn id_elsewhere(thread: Thread, sp: u64, bp: u64) -> u32 {
    let record = thread.record;
    let entry = Entry { sp, bp, pc: unwind::word_on_own_stack(sp) };
    let before = record.known_high();
    let Some(high) = record.anchor(thread.shared, sp) else { return unwind_and_intern(thread, entry, None) };
    if high != before {
        // The words of remembered stacks lie below the end of the stack that they were found on.
        forget_stacks(record);
    }
    let first = place_of(record, entry, high);
    let known = (0..WAYS).find_map(|way| recall(record, (first + way) % MEMORY_SLOTS, entry));
    known.unwrap_or_else(|| unwind_and_intern(thread, entry, Some(high)))
}

/// The id of the stack that is remembered at a place, if every word of it is as it was.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn recall(record: &Record, place: usize, entry: Entry) -> Option<u32> {
    let at = record.memory.get(place)?.load(Relaxed) as usize;
    if at >= FIRST_WORDS {
        return None;
    }
    let known = record.arena.words::<GROUPS>(at)?;
    if known[PC].get() != entry.pc || known[SP].get() != entry.sp {
        return None;
    }
    let [facts] = record.arena.groups(at + FACTS, 1)? else { return None };
    let [id, mut groups, with_rbp, _] = facts.each_ref().map(Plain::get);
    if groups == 0 {
        if known[BP].get() != entry.bp {
            return None;
        }
        groups = with_rbp;
    }
    let groups = record.arena.groups(at + GROUPS, usize::from(groups) % GROUPS_MAX)?;
    (sum(groups, entry.sp) == known[SUM].get()).then_some(u32::from(id))
}

/// The sum of the words above `sp` that the groups name, each times a number of its own. Two words together have one number: what differs
/// between return addresses is in their lower halves, and of one of them they are added as upper half.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn sum(groups: &[Group], sp: u64) -> u64 {
    let mut sum = 0_u64;
    for (group, factors) in groups.iter().zip(&FACTORS) {
        let word = |i: usize| unwind::word_on_own_stack(sp + 8 * u64::from(group[i].get()));
        let first = word(0).wrapping_add(word(1).rotate_left(32));
        let second = word(2).wrapping_add(word(3).rotate_left(32));
        sum = sum.wrapping_add(first.wrapping_mul(factors[0]));
        sum = sum.wrapping_add(second.wrapping_mul(factors[1]));
    }
    sum
}

/// Odd numbers without a pattern (the generator "splitmix64").
static FACTORS: [[u64; 2]; GROUPS_MAX] = {
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

/// Where a stack is remembered, by what tells stacks apart: return address, stack pointer and, where a leaf rule is known, the
/// caller's return address (wrappers such as `operator new` make the first two the same for many stacks).
#[inline(always)]
fn place_of(record: &Record, entry: Entry, high: u64) -> usize {
    // Bits of a return address have to get to the very top: a shorter factor would not bring them there.
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = entry.pc ^ entry.sp.rotate_left(24);
    if let Some(above) = above_of(record, entry.pc) {
        let at = entry.sp + above;
        if at < high {
            hash ^= unwind::word_on_own_stack(at).rotate_left(40);
        }
    }
    (hash.wrapping_mul(MIX) >> (64 - MEMORY_BITS)) as usize
}

/// How far above the stack pointer the caller's return address lies, in bytes; none where that is not known.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn above_of(record: &Record, pc: u64) -> Option<u64> {
    let [first, second] = leaves_of(pc);
    let above = |place: usize| {
        let differs = record.leaves[place].load(Relaxed) ^ (pc << LEAF_BITS);
        (differs >> LEAF_BITS == 0).then(|| 8 * differs)
    };
    above(first).or_else(|| above(second))
}

/// Learns how far above the stack pointer the caller's return address lies. What is known stays: two that drove each other out
/// would each time make the other's stacks be looked for elsewhere.
fn learn_above(record: &Record, pc: u64, above: u64) {
    let free = leaves_of(pc).into_iter().map(|place| &record.leaves[place]).find(|leaf| leaf.load(Relaxed) == 0);
    if let Some(leaf) = free
        && above <= DISTANCE_MAX
        && above_of(record, pc).is_none()
    {
        leaf.store((pc << LEAF_BITS) | (above / 8), Relaxed);
    }
}

/// The two places for what is known of a return address.
#[inline]
fn leaves_of(pc: u64) -> [usize; 2] {
    let first = (pc ^ pc >> 8) as usize % LEAF_SLOTS;
    [first, first ^ 1]
}

#[cold]
#[inline(never)]
fn unwind_and_intern(thread: Thread, entry: Entry, high: Option<u64>) -> u32 {
    let record = thread.record;
    let walk = unwind::walk(thread, entry);
    add(&record.figures.stacks_unwound, 1);
    add(&record.figures.stacks_cut, u64::from(walk.cut));
    add(&record.figures.stacks_broken, u64::from(walk.broken));
    let id = intern(thread.shared, record.frames.get(..walk.frames).unwrap_or(&[]));
    if let Some(above) = walk.leaf {
        learn_above(record, entry.pc, above);
    }
    if let Some(high) = high
        && walk.on_own_stack
    {
        // The place is found anew, since the leaf rule may just have been learnt.
        remember(record, place_of(record, entry, high), entry, &walk, id);
    }
    id
}

/// Remembers the words of a walk. The index points there only once they are all in place.
fn remember(record: &Record, place: usize, entry: Entry, walk: &Walk, id: u32) {
    let groups = walk.words.div_ceil(GROUP_WORDS);
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
    for (word, value) in head.iter().zip([entry.pc, entry.sp, entry.bp, sum(body, entry.sp)]) {
        word.set(value);
    }
    let (without, with) = if walk.used_rbp { (0, groups) } else { (groups, 0) };
    let Some([facts]) = record.arena.groups(at + FACTS, 1) else { return };
    for (fact, value) in facts.iter().zip([id as usize, without, with]) {
        fact.set(value as u16);
    }
    let ways = (0..WAYS).filter_map(|way| record.memory.get((place + way) % MEMORY_SLOTS));
    let free = ways.clone().find(|slot| slot.load(Relaxed) == 0);
    let victim = record.memory.get((place + at / LINE_WORDS % WAYS) % MEMORY_SLOTS);
    if let Some(slot) = free.or(victim) {
        slot.store(at as u32, Release);
    }
}

/// Notes where the words of a walk lie from one on; the last group is filled up with the last word. False where one lies too far away,
/// or is no longer what was read: another thread writes there.
fn fill(group: &Group, record: &Record, from: usize, words: usize, sp: u64) -> bool {
    for (i, distance) in group.iter().enumerate() {
        let (above, word) = word(record, (from + i).min(words - 1), sp);
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
    for word in record.leaves.iter().chain(record.rules.iter().map(|[pc, _]| pc)) {
        word.store(0, Relaxed);
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
