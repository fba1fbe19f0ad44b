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
/// Words before the remembered words: return address; stack pointer; rbp; id and flags; number of pairs and reach.
const HEAD: usize = 5;
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
#[inline]
pub(crate) fn id_of(thread: Thread, sp: u64, bp: u64) -> u32 {
    let record = thread.record;
    if record.generation.load(Relaxed) != thread.shared.control().generation.load(Relaxed) {
        forget(thread);
    }
    // The stack pointer was valid an instant ago: the call pushed the return address there.
    let entry = Entry { sp, bp, pc: unwind::word_on_own_stack(sp) };
    if !record.anchor(thread.shared, sp) {
        return unwind_and_intern(thread, entry, None);
    }
    let hash = hash_of(record, entry);
    for way in 0..WAYS {
        let Some(slot) = record.memory.get((hash as usize + way) % MEMORY_SLOTS) else { break };
        let slot = slot.load(Relaxed);
        if slot >> 32 == hash >> 32
            && let Some(id) = recall(record, slot as u32 as usize, entry)
        {
            return id;
        }
    }
    unwind_and_intern(thread, entry, Some(hash))
}

/// The id of a remembered stack, if every word of it is as it was.
#[inline]
fn recall(record: &Record, at: usize, entry: Entry) -> Option<u32> {
    let head = record.arena.get(at..at + HEAD)?;
    let [pc, sp, bp, id, size] = [0, 1, 2, 3, 4].map(|i| head[i].load(Relaxed));
    let (pairs, reach) = ((size >> 32) as usize, size & 0xffff_ffff);
    if pc != entry.pc || sp != entry.sp || (id & NEEDS_RBP != 0 && bp != entry.bp) || !record.covers(sp, sp + reach) {
        return None;
    }
    let body = record.arena.get(at + HEAD..at + HEAD + 3 * pairs)?;
    for triple in body.chunks_exact(3) {
        let offsets = triple[0].load(Relaxed);
        let low = unwind::word_on_own_stack(sp + (offsets & 0xffff_ffff));
        let high = unwind::word_on_own_stack(sp + (offsets >> 32));
        if low != triple[1].load(Relaxed) || high != triple[2].load(Relaxed) {
            return None;
        }
    }
    Some(id as u32)
}

/// Mixes what tells stacks apart: return address, stack pointer and, where a leaf rule is known, the caller's return address
/// (wrappers such as `operator new` make the first two the same for many stacks).
#[inline]
fn hash_of(record: &Record, entry: Entry) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = (entry.pc ^ entry.sp.rotate_left(24)).wrapping_mul(MIX);
    if let Some([pc, above]) = record.leaves.get(leaf_of(entry.pc)) {
        let at = entry.sp + above.load(Relaxed);
        if pc.load(Relaxed) == entry.pc && record.covers(entry.sp, at + 8) {
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
fn unwind_and_intern(thread: Thread, entry: Entry, hash: Option<u64>) -> u32 {
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
    if hash.is_some() && walk.on_own_stack {
        // The hash is made anew, since the leaf rule may just have been learnt.
        remember(record, hash_of(record, entry), entry, &walk, id);
    }
    id
}

/// Remembers the words of a walk. The index points there only once they are all in place.
fn remember(record: &Record, hash: u64, entry: Entry, walk: &Walk, id: u32) {
    let pairs = walk.words.div_ceil(2);
    let len = HEAD + 3 * pairs;
    let mut at = record.arena_next.load(Relaxed) as usize;
    if at == 0 || at + len > ARENA_WORDS {
        forget_stacks(record);
        at = 1;
    }
    record.arena_next.store((at + len) as u32, Relaxed);
    let Some(place) = record.arena.get(at..at + len) else { return };
    let mut reach = 0;
    for pair in 0..pairs {
        // An odd last word is compared twice.
        let second = (2 * pair + 1).min(walk.words - 1);
        let [low, high] = [2 * pair, second].map(|i| word(record, i, entry.sp));
        let Some([offsets, first, last]) = place.get(HEAD + 3 * pair..HEAD + 3 * pair + 3) else { return };
        offsets.store(low.0 | high.0 << 32, Relaxed);
        first.store(low.1, Relaxed);
        last.store(high.1, Relaxed);
        reach = reach.max(low.0 + 8).max(high.0 + 8);
    }
    let flags = if walk.used_rbp { NEEDS_RBP } else { 0 };
    let head = [entry.pc, entry.sp, entry.bp, u64::from(id) | flags, (pairs as u64) << 32 | reach];
    for (place, value) in place.iter().zip(head) {
        place.store(value, Relaxed);
    }
    let ways = (0..WAYS).filter_map(|way| record.memory.get((hash as usize + way) % MEMORY_SLOTS));
    let free = ways.clone().find(|slot| slot.load(Relaxed) == 0);
    let victim = record.memory.get((hash as usize + (at >> 3) % WAYS) % MEMORY_SLOTS);
    if let Some(slot) = free.or(victim) {
        slot.store(hash >> 32 << 32 | at as u64, Release);
    }
}

/// Offset from the stack pointer and value of a word that the walk read.
fn word(record: &Record, index: usize, sp: u64) -> (u64, u64) {
    match (record.word_at.get(index), record.word.get(index)) {
        (Some(at), Some(word)) => (at.load(Relaxed).wrapping_sub(sp) & 0xffff_ffff, word.load(Relaxed)),
        _ => (0, 0),
    }
}

/// Forgets all that depends on which modules are loaded.
#[cold]
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
