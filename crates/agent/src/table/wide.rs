//! Wide cells, for spans of middling blocks: their granules are larger than the smallest blocks, so that several may begin in one.
//!
//! Owns: where a block lies whose cell is taken, and what is noted of that. Must not know: which spans get wide cells.
//!
//! A block lies in the cell that it belongs to or, where there is another one, in one of the next two; else in a further bucket of its span. The cell
//! that it belongs to then has a note that others may lie elsewhere, also once it is empty. Where it has none, whoever is given a block need not look
//! whether one is left there whose free went unseen. Only the thread that the bucket belongs to fills cells; others put their blocks into
//! further buckets. They note that in the cell, by an atomic exchange; the owner, or who empties the cell, may write over that note at
//! the same moment. What is lost then is that a free which went unseen is noticed.

use core::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use wire::{Bucket, Cell, LINE_SLOTS, SPAN_SHIFT, Slot, regions};

use super::{Line, chain_of, chained, line};
use crate::shared::Shared;

/// How often a note is tried to be made while others change the cell.
const TRIES_MAX: u32 = 8;

fn behind(shared: Shared, bucket: Bucket, address: u64, step: u32) -> &'static AtomicU64 {
    shared.at(regions::LINES.at + bucket.cell_behind(address, step) * 8)
}

/// Whether there is a block at an address.
#[cold]
pub(super) fn holds(shared: Shared, bucket: Bucket, address: u64) -> bool {
    let cell = |step| Cell::from_word(behind(shared, bucket, address, step).load(Relaxed));
    (0..=Bucket::STEPS_MAX).any(|step| cell(step).holds_behind(address, step))
}

/// Takes out the block at an address, if it is there.
pub(super) fn take(shared: Shared, bucket: Bucket, address: u64) -> Option<Cell> {
    for step in 0..=Bucket::STEPS_MAX {
        let word = behind(shared, bucket, address, step);
        let cell = Cell::from_word(word.load(Relaxed));
        if cell.holds_behind(address, step) {
            word.store(if cell.holds(address) { 0 } else { Cell::LEFT.word() }, Relaxed);
            return Some(cell);
        }
    }
    None
}

/// Puts in a block that lies nowhere; false where its cell and the next ones are taken. For the bucket's owner only.
pub(super) fn put(shared: Shared, bucket: Bucket, address: u64, cell: Cell) -> bool {
    let own = behind(shared, bucket, address, 0);
    let before = Cell::from_word(own.load(Acquire));
    if !before.is_block() {
        let is_crowded = before == Cell::LEFT && others_lie_elsewhere(shared, bucket, address);
        own.store(if is_crowded { cell.crowded() } else { cell }.word(), Release);
        return true;
    }
    note_crowd(shared, bucket, address);
    let next = (1..=Bucket::STEPS_MAX).map(|step| (step, behind(shared, bucket, address, step)));
    let free = next.into_iter().find(|(_, word)| !Cell::from_word(word.load(Acquire)).is_block());
    free.is_some_and(|(step, word)| {
        word.store(cell.behind(step).word(), Release);
        true
    })
}

/// Notes in the cell of a block that it, or others that belong there, may lie elsewhere.
#[inline(never)]
pub(super) fn note_crowd(shared: Shared, bucket: Bucket, address: u64) {
    let word = behind(shared, bucket, address, 0);
    let mut before = word.load(Relaxed);
    for _ in 0..TRIES_MAX {
        let noted = Cell::from_word(before).crowded().word();
        if noted == before {
            return;
        }
        match word.compare_exchange(before, noted, AcqRel, Relaxed) {
            Ok(_) => return,
            Err(now) => before = now,
        }
    }
}

/// Notes in all cells of a bucket that nobody has seen yet that blocks which belong there may lie in the buckets before it.
pub(super) fn note_all(shared: Shared, bucket: Bucket) {
    for cell in 0..u64::from(bucket.places()) {
        let word: &AtomicU64 = shared.at(regions::LINES.at + (bucket.cell(0) + cell) * 8);
        word.store(Cell::LEFT.word(), Relaxed);
    }
}

/// Whether a block that belongs to the cell of an address lies elsewhere.
#[cold]
#[inline(never)]
fn others_lie_elsewhere(shared: Shared, bucket: Bucket, address: u64) -> bool {
    let cell = |step| Cell::from_word(behind(shared, bucket, address, step).load(Relaxed));
    let is_of_this = |step| cell(step).is_block() && cell(step).step() == step;
    let has = |further: Bucket| {
        if further.has_cells() {
            cells_hold(shared, further, bucket, address)
        } else {
            lines_hold(shared, further, bucket, address)
        }
    };
    (1..=Bucket::STEPS_MAX).any(is_of_this) || bucket.has_more() && chained(shared, chain_of(shared, address)).any(has)
}

/// Whether a bucket of larger cells holds a block that belongs to the cell that an address has in `first`.
fn cells_hold(shared: Shared, bucket: Bucket, first: Bucket, address: u64) -> bool {
    (0..=Bucket::STEPS_MAX).any(|step| {
        let at = bucket.cell_behind(address, step);
        let cell = Cell::from_word(shared.at::<AtomicU64>(regions::LINES.at + at * 8).load(Relaxed));
        let offset = || bucket.offset((at - bucket.cell(0)) as u32, cell);
        cell.is_block() && offset().is_none_or(|offset| first.home(offset) == first.home(address))
    })
}

/// The same of lines.
fn lines_hold(shared: Shared, bucket: Bucket, first: Bucket, address: u64) -> bool {
    let granule = (1 << SPAN_SHIFT) / u64::from(first.places().max(1));
    let begin = u64::from(first.home(address)) * granule;
    let (from, to) = (bucket.home(begin), bucket.home(begin + granule - 8));
    let lines = (to.saturating_sub(from) + bucket.probes()).min(bucket.lines());
    let holds = |line: &Line| {
        (0..LINE_SLOTS).any(|slot| {
            let slot = Slot { first: line.first[slot].load(Relaxed), second: 0 };
            slot.unpack().is_some_and(|block| first.home(block.offset) == first.home(address))
        })
    };
    (0..lines).any(|step| holds(line(shared, bucket.probe(begin, step))))
}
