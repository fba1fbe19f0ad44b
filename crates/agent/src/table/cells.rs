//! Buckets of cells, for spans of small blocks: one word for each granule, and no search.
//!
//! Owns: putting blocks into cells and taking them out, and which spans get cells of what size. Must not know: lines, chains.
//!
//! A cell is of one granule of its span, and of those blocks that its bucket admits no two begin in the same one. So whoever is given a
//! block by the allocator is the only one who may fill its cell, as whoever frees it is the only one who may empty it: cells belong to no
//! thread. Where there is a block in the cell all the same, its free went unseen, or blocks overlap; then a line has to do.

use core::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Relaxed, Ordering::Release};

use wire::{Bucket, Cell, GRANULE_OF_MIXED_SIZES, GRANULE_UNKNOWN, Slot, regions};

use super::{BLOCK_EXTRA, distance_of, new_lines};
use crate::record::Thread;
use crate::shared::Shared;

/// Blocks whose mean distance is greater take less room in lines than in cells for granules of 32 bytes.
const MIXED_DISTANCE_MAX: u64 = 128;
/// The same where sizes are kept apart, and lines are used better.
const EVEN_DISTANCE_MAX: u64 = 96;

/// What cells a span is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    shift: u32,
    least: u64,
}

impl Wanted {
    /// How many cells.
    pub(super) fn cells(self) -> u32 {
        Bucket::lines_of_cells(self.shift) * wire::LINE_CELLS
    }
}

#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn word(shared: Shared, bucket: Bucket, address: u64) -> &'static AtomicU64 {
    shared.at(regions::LINES.at + bucket.cell(address) * 8)
}

/// Puts in a block if nothing else is to be done.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(super) fn put_near(thread: Thread, bucket: Bucket, address: u64, block: Cell) -> bool {
    let word = word(thread.shared, bucket, address);
    let is_free = !bucket.has_more() && bucket.admits(address, block.size()) && word.load(Relaxed) == 0;
    if is_free {
        word.store(block.word(), Release);
    }
    is_free
}

/// Whether there is a block at an address.
#[inline]
pub(super) fn holds(shared: Shared, bucket: Bucket, address: u64) -> bool {
    Cell::from_word(word(shared, bucket, address).load(Relaxed)).holds(address)
}

/// Takes out the block at an address, if it is there.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(super) fn take(shared: Shared, bucket: Bucket, address: u64) -> Option<Cell> {
    let word = word(shared, bucket, address);
    let cell = Cell::from_word(word.load(Relaxed));
    if !cell.holds(address) {
        return None;
    }
    word.store(0, Relaxed);
    Some(cell)
}

/// Puts in a block, if it may lie in a cell and its cell is free.
#[inline(never)]
pub(super) fn put(thread: Thread, bucket: Bucket, address: u64, block: Slot) -> bool {
    let Some(cell) = Cell::of(address, block).filter(|cell| bucket.admits(address, cell.size())) else { return false };
    word(thread.shared, bucket, address).compare_exchange(0, cell.word(), AcqRel, Relaxed).is_ok()
}

/// What cells a span of blocks like this one is to have, or, where the allocator mixes sizes, like those that the thread allocated until
/// now; none where lines are better. Cells for granules of 32 bytes take a quarter of the memory of their span.
#[inline(never)]
pub(super) fn wanted(thread: Thread, address: u64, block: Slot) -> Option<Wanted> {
    let size = Cell::of(address, block)?.size();
    let wanted = match thread.shared.control().granule_shift.load(Relaxed) {
        GRANULE_UNKNOWN => return None,
        GRANULE_OF_MIXED_SIZES => {
            // Of a thread that has just begun the mean says little.
            let distance = thread.mean_size().midpoint(size).saturating_add(BLOCK_EXTRA);
            (distance <= MIXED_DISTANCE_MAX).then_some(Wanted { shift: GRANULE_OF_MIXED_SIZES, least: 0 })?
        }
        _ => match distance_of(size) {
            8 => Wanted { shift: 3, least: 0 },
            16 => Wanted { shift: 4, least: 0 },
            distance => (distance <= EVEN_DISTANCE_MAX).then_some(Wanted { shift: 5, least: 17 })?,
        },
    };
    let bucket = Bucket::new_cells(0, wanted.shift, wanted.least);
    bucket.admits(address, size).then_some(wanted)
}

#[inline(never)]
pub(super) fn new_bucket(thread: Thread, wanted: Wanted) -> Option<Bucket> {
    let blocks = &thread.shared.control().blocks;
    let lines = Bucket::lines_of_cells(wanted.shift);
    let first = new_lines(thread.shared, [&blocks.cells, &blocks.lines], lines)?;
    Some(Bucket::new_cells(first, wanted.shift, wanted.least))
}
