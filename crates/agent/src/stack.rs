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

use crate::record::{ARENA_WORDS, LEAF_SLOTS, MEMORY_SLOTS, Record, Thread};
use crate::shared::{Shared, add};
use crate::unwind::{self, Walk};

/// How many places a remembered stack can stand in.
const WAYS: usize = 4;
/// Words before the remembered words: return address; stack pointer; rbp; id and flags; number of groups and reach.
const HEAD: usize = 5;
/// Remembered words are compared so many at a time.
const GROUP: usize = 4;
/// Bits of each word's distance from the stack pointer, counted in words; a group's distances share one word.
const DISTANCE_BITS: u32 = 16;
/// Flag beside the id: rbp decided, so it has to be the same.
const NEEDS_RBP: u64 = 1 << 32;
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
    if record.generation.load(Relaxed) != thread.shared.control().generation.load(Relaxed) {
        forget(thread);
    }
    // The stack pointer was valid an instant ago: the call pushed the return address there.
    let entry = Entry { sp, bp, pc: unwind::word_on_own_stack(sp) };
    let Some(high) = record.anchor(thread.shared, sp) else { return unwind_and_intern(thread, entry, None) };
    let hash = hash_of(record, entry, high);
    match recall_way(record, hash, 0, entry, high) {
        Some(id) => id,
        None => recall_elsewhere(thread, hash, entry, high),
    }
}

/// Looks at the further places where the stack may stand, and unwinds.
#[cold]
#[inline(never)]
fn recall_elsewhere(thread: Thread, hash: u64, entry: Entry, high: u64) -> u32 {
    let known = (1..WAYS).find_map(|way| recall_way(thread.record, hash, way, entry, high));
    known.unwrap_or_else(|| unwind_and_intern(thread, entry, Some(high)))
}

#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn recall_way(record: &Record, hash: u64, way: usize, entry: Entry, high: u64) -> Option<u32> {
    let slot = record.memory.get((hash as usize + way) % MEMORY_SLOTS)?.load(Relaxed);
    if slot >> 32 == hash >> 32 { recall(record, slot as u32 as usize, entry, high) } else { None }
}

/// The id of a remembered stack, if every word of it is as it was.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn recall(record: &Record, at: usize, entry: Entry, high: u64) -> Option<u32> {
    let head = record.arena.get(at..at + HEAD)?;
    let [pc, sp, bp, id, size] = [0, 1, 2, 3, 4].map(|i| head[i].load(Relaxed));
    let (groups, reach) = ((size >> 32) as usize, size & 0xffff_ffff);
    if pc != entry.pc || sp != entry.sp || (id & NEEDS_RBP != 0 && bp != entry.bp) || sp + reach > high {
        return None;
    }
    let body = record.arena.get(at + HEAD..at + HEAD + (1 + GROUP) * groups)?;
    for group in body.chunks_exact(1 + GROUP) {
        let distances = group[0].load(Relaxed);
        let differs = |i: usize| {
            let distance = distances >> (i as u32 * DISTANCE_BITS) & ((1 << DISTANCE_BITS) - 1);
            unwind::word_on_own_stack(sp + 8 * distance) ^ group[1 + i].load(Relaxed)
        };
        // One branch for all four: each alone would cost as much as the comparison.
        if differs(0) | differs(1) | differs(2) | differs(3) != 0 {
            return None;
        }
    }
    Some(id as u32)
}

/// Mixes what tells stacks apart: return address, stack pointer and, where a leaf rule is known, the caller's return address
/// (wrappers such as `operator new` make the first two the same for many stacks).
#[inline(always)]
fn hash_of(record: &Record, entry: Entry, high: u64) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = (entry.pc ^ entry.sp.rotate_left(24)).wrapping_mul(MIX);
    if let Some([pc, above]) = record.leaves.get(leaf_of(entry.pc)) {
        let at = entry.sp + above.load(Relaxed);
        if pc.load(Relaxed) == entry.pc && at < high {
            hash = (hash ^ unwind::word_on_own_stack(at)).wrapping_mul(MIX);
        }
    }
    hash ^ hash >> 29 | 1
}

#[inline]
fn leaf_of(pc: u64) -> usize {
    (pc ^ pc >> 8) as usize % LEAF_SLOTS
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
    if let Some(above) = walk.leaf
        && let Some([pc, to]) = record.leaves.get(leaf_of(entry.pc))
    {
        to.store(above, Relaxed);
        pc.store(entry.pc, Relaxed);
    }
    if let Some(high) = high
        && walk.on_own_stack
    {
        // The hash is made anew, since the leaf rule may just have been learnt.
        remember(record, hash_of(record, entry, high), entry, &walk, id);
    }
    id
}

/// Remembers the words of a walk. The index points there only once they are all in place.
fn remember(record: &Record, hash: u64, entry: Entry, walk: &Walk, id: u32) {
    let groups = walk.words.div_ceil(GROUP);
    let len = HEAD + (1 + GROUP) * groups;
    let mut at = record.arena_next.load(Relaxed) as usize;
    if at == 0 || at + len > ARENA_WORDS {
        forget_stacks(record);
        at = 1;
    }
    record.arena_next.store((at + len) as u32, Relaxed);
    let Some((head, body)) = record.arena.get(at..at + len).and_then(|place| place.split_at_checked(HEAD)) else {
        return;
    };
    let mut reach = 0;
    for (group, places) in body.chunks_exact(1 + GROUP).enumerate() {
        let mut distances = 0;
        for i in 0..GROUP {
            // The last group is filled up with the last word.
            let (above, value) = word(record, (group * GROUP + i).min(walk.words - 1), entry.sp);
            if above >> (DISTANCE_BITS + 3) != 0 {
                return;
            }
            distances |= (above / 8) << (i as u32 * DISTANCE_BITS);
            places[1 + i].store(value, Relaxed);
            reach = reach.max(above + 8);
        }
        places[0].store(distances, Relaxed);
    }
    let flags = if walk.used_rbp { NEEDS_RBP } else { 0 };
    let values = [entry.pc, entry.sp, entry.bp, u64::from(id) | flags, (groups as u64) << 32 | reach];
    for (place, value) in head.iter().zip(values) {
        place.store(value, Relaxed);
    }
    let ways = (0..WAYS).filter_map(|way| record.memory.get((hash as usize + way) % MEMORY_SLOTS));
    let free = ways.clone().find(|slot| slot.load(Relaxed) == 0);
    let victim = record.memory.get((hash as usize + (at >> 3) % WAYS) % MEMORY_SLOTS);
    if let Some(slot) = free.or(victim) {
        slot.store(hash >> 32 << 32 | at as u64, Release);
    }
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
    for [pc, _] in record.leaves.iter().chain(&record.rules) {
        pc.store(0, Relaxed);
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
