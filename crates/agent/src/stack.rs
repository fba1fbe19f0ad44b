//! From a stack pointer to a stack id.
//!
//! Owns: the stack memory (stacks that were seen, checked word by word before they are believed) and the table of distinct
//! stacks. Must not know: unwind rules, hooks.
//!
//! Why a remembered stack may be believed: unwinding is a function of the return address, the stack pointer, rbp and the
//! words that it reads. All words that the first unwinding read are remembered with their addresses; if every one of them is
//! the same again, so is the result. A stack with one differing word is unwound anew.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use wire::{FRAMES_MAX, STACK_INDEX_SLOTS, STACKS_MAX, StackRecord, regions};

use crate::record::{
    ARENA_CELLS, CELL_WORDS, Cell, LEAF_SLOTS, MEMORY_BITS, MEMORY_SLOTS, Record, STACK_CELLS_MAX, Thread,
};
use crate::shared::{Shared, add};
use crate::unwind::{self, Walk};

/// How many places a remembered stack can stand in.
const WAYS: usize = 4;
/// The words of a remembered stack's first cell.
const PC: usize = 0;
const SP: usize = 1;
/// rbp, where it decided something.
const BP: usize = 2;
/// Its id.
const ID: usize = 3;
/// The small words of the first cell: how many cells follow, or none where rbp has to be the same, and how many follow then.
const CELLS: usize = 0;
const CELLS_WITH_RBP: usize = 1;
/// Where first cells can be, so that all that follow one lie in the arena.
const FIRST_CELLS: usize = ARENA_CELLS - STACK_CELLS_MAX;
/// Words that lie further above the stack pointer are not remembered: their distance, in words, has 16 bits.
const DISTANCE_MAX: u64 = 8 * u16::MAX as u64;
/// Bits of a distance beside a return address, which has the others.
const LEAF_BITS: u32 = 16;
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
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) fn id_of(thread: Thread, sp: u64, bp: u64) -> u32 {
    let record = thread.record;
    // The stack pointer was valid an instant ago: the call pushed the return address there.
    let entry = Entry { sp, bp, pc: unwind::word_on_own_stack(sp) };
    if record.generation.load(Relaxed) == thread.shared.control().generation.load(Relaxed)
        && let Some(high) = record.known_anchor(sp)
        && let Some(id) = recall(record, place_of(record, entry, high), entry)
    {
        return id;
    }
    id_elsewhere(thread, sp, bp)
}

/// Looks at the further places where the stack may stand, and unwinds.
#[cold]
#[inline(never)]
fn id_elsewhere(thread: Thread, sp: u64, bp: u64) -> u32 {
    let record = thread.record;
    if record.generation.load(Relaxed) != thread.shared.control().generation.load(Relaxed) {
        forget(thread);
    }
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
    if at >= FIRST_CELLS {
        return None;
    }
    let head = record.arena.get(at)?;
    if head.words[PC].get() != entry.pc || head.words[SP].get() != entry.sp {
        return None;
    }
    let mut cells = usize::from(head.small[CELLS].get());
    if cells == 0 {
        if head.words[BP].get() != entry.bp {
            return None;
        }
        cells = usize::from(head.small[CELLS_WITH_RBP].get());
    }
    for cell in record.arena.get(at + 1..at + 1 + cells % STACK_CELLS_MAX)? {
        let differs = |i: usize| {
            let distance = u64::from(cell.small[i].get());
            unwind::word_on_own_stack(entry.sp + 8 * distance) ^ cell.words[i].get()
        };
        // One branch for all four: each alone would cost as much as the comparison.
        if differs(0) | differs(1) | differs(2) | differs(3) != 0 {
            return None;
        }
    }
    Some(head.words[ID].get() as u32)
}

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
    let len = 1 + walk.words.div_ceil(CELL_WORDS);
    let mut at = record.arena_next.load(Relaxed) as usize;
    if at == 0 || at + len > FIRST_CELLS {
        forget_stacks(record);
        at = 1;
    }
    record.arena_next.store((at + len) as u32, Relaxed);
    let Some((head, body)) = record.arena.get(at..at + len).and_then(|cells| cells.split_first()) else { return };
    for (group, cell) in body.iter().enumerate() {
        if !fill(cell, record, group * CELL_WORDS, walk.words, entry.sp) {
            return;
        }
    }
    for (word, value) in head.words.iter().zip([entry.pc, entry.sp, entry.bp, u64::from(id)]) {
        word.set(value);
    }
    let (without, with) = if walk.used_rbp { (0, body.len()) } else { (body.len(), 0) };
    head.small[CELLS].set(without as u16);
    head.small[CELLS_WITH_RBP].set(with as u16);
    let ways = (0..WAYS).filter_map(|way| record.memory.get((place + way) % MEMORY_SLOTS));
    let free = ways.clone().find(|slot| slot.load(Relaxed) == 0);
    let victim = record.memory.get((place + at % WAYS) % MEMORY_SLOTS);
    if let Some(slot) = free.or(victim) {
        slot.store(at as u32, Release);
    }
}

/// Fills a cell with the words of a walk from one on; the last cell is filled up with the last word. False where one lies too far
/// away.
fn fill(cell: &Cell, record: &Record, from: usize, words: usize, sp: u64) -> bool {
    for (i, (small, value)) in cell.small.iter().zip(&cell.words).enumerate() {
        let (above, word) = word(record, (from + i).min(words - 1), sp);
        if above > DISTANCE_MAX {
            return false;
        }
        small.set((above / 8) as u16);
        value.set(word);
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

/// Forgets all that depends on which modules are loaded.
#[cold]
#[inline(never)]
fn forget(thread: Thread) {
    let record = thread.record;
    record.generation.store(thread.shared.control().generation.load(Relaxed), Relaxed);
    for word in record.leaves.iter().chain(record.rules.iter().map(|[pc, _]| pc)) {
        word.store(0, Relaxed);
    }
    forget_stacks(record);
}

fn forget_stacks(record: &Record) {
    for slot in &record.memory {
        slot.store(0, Relaxed);
    }
    record.arena_next.store(1, Relaxed);
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
