//! Buckets of cells: one word for each granule of a span, and no search.
//!
//! Owns: putting blocks into cells and taking them out, and which spans get cells of what size. Must not know: lines, chains, what is special
//! of wide cells (see `wide`).
//!
//! A cell is of one granule of its span. Unless it is a wide one, no two blocks that its bucket admits begin in the same granule. So whoever is given a
//! block by the allocator is the only one who may fill its cell, as whoever frees it is the only one who may empty it: cells belong to no
//! thread. Where there is a block in the cell all the same, its free went unseen, or blocks overlap; then a line has to do.

use core::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Relaxed, Ordering::Release};

use wire::{Bucket, Cell, GRANULE_OF_MIXED_SIZES, GRANULE_UNKNOWN, SPAN_SHIFT, Slot, regions};

use super::{BLOCK_EXTRA, distance_of, new_lines, wide};
use crate::record::Thread;
use crate::shared::Shared;

/// How many cells a block may take: of five, one is used. Blocks that lie so far apart that the largest granules make more of them take less
/// room in lines.
const CELLS_MAX: u64 = 5;
/// How many it gets if it can have so few: where sizes are kept apart no two of one size begin in the same granule then.
const EVEN_CELLS: u64 = 2;
/// Larger granules have wide cells.
const FINE_SHIFT_MAX: u32 = Bucket::WIDE_SHIFT_MIN - 1;

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

    /// The smallest granules of which blocks at a mean distance take so many, or the largest; none where lines take less room.
    fn for_distance(distance: u64, cells: u64) -> Option<Self> {
        let fits = |shift: &u32| distance <= cells << shift;
        let shift = (FINE_SHIFT_MAX..Bucket::WIDE_SHIFT_MAX).find(fits).unwrap_or(Bucket::WIDE_SHIFT_MAX);
        (distance <= CELLS_MAX << shift).then_some(Self { shift, least: 0 })
    }

    fn is_wide(self) -> bool {
        self.shift > FINE_SHIFT_MAX
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
pub(super) fn put_near(thread: Thread, bucket: Bucket, address: u64, size: u64, stack: u32) -> bool {
    if bucket.is_wide() {
        if bucket.owner() != thread.owner_unchecked() {
            return false;
        }
    } else if bucket.has_more() || !bucket.admits(address, size) {
        return false;
    }
    let word = word(thread.shared, bucket, address);
    let is_free = word.load(Relaxed) == 0;
    if is_free {
        word.store(Cell::at_birth(address, size, stack, thread.births()).word(), Release);
    }
    is_free
}

/// Whether there is a block at an address.
#[inline]
pub(super) fn holds(shared: Shared, bucket: Bucket, address: u64) -> bool {
    bucket.is_wide() && wide::holds(shared, bucket, address)
        || Cell::from_word(word(shared, bucket, address).load(Relaxed)).holds(address)
}

/// Takes out the block at an address, if it is there and was not born after the moment for [ages](Cell::ages_at): with its age.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(super) fn take_near(shared: Shared, bucket: Bucket, address: u64, ages: u64) -> Option<(Cell, u64)> {
    let word = word(shared, bucket, address);
    let cell = Cell::from_word(word.load(Relaxed));
    if !cell.holds(address) {
        return None;
    }
    let age = cell.age_at(ages)?;
    word.store(0, Relaxed);
    Some((cell, age))
}

/// Takes out the block at an address, if it is there.
fn take(shared: Shared, bucket: Bucket, address: u64) -> Option<Cell> {
    let word = word(shared, bucket, address);
    let cell = Cell::from_word(word.load(Relaxed));
    if !cell.holds(address) {
        return None;
    }
    word.store(0, Relaxed);
    Some(cell)
}

/// The same wherever in its bucket it may lie.
#[inline(never)]
pub(super) fn take_from(shared: Shared, bucket: Bucket, address: u64) -> Option<Cell> {
    if bucket.is_wide() { wide::take(shared, bucket, address) } else { take(shared, bucket, address) }
}

/// Puts in a block, if it may lie in a cell and a cell for it is free.
#[inline(never)]
pub(super) fn put(thread: Thread, bucket: Bucket, address: u64, block: Slot) -> bool {
    let Some(cell) = Cell::of(address, block) else { return false };
    if bucket.is_wide() {
        return bucket.owner() == thread.owner() && wide::put(thread.shared, bucket, address, cell);
    }
    bucket.admits(address, cell.size())
        && word(thread.shared, bucket, address).compare_exchange(0, cell.word(), AcqRel, Relaxed).is_ok()
}

/// What cells a span of blocks like this one is to have, or, where the allocator mixes sizes, like those that the thread allocated until
/// now; none where lines are better.
#[inline(never)]
pub(super) fn wanted(thread: Thread, address: u64, block: Slot) -> Option<Wanted> {
    let size = Cell::of(address, block)?.size();
    let wanted = match thread.shared.control().granule_shift.load(Relaxed) {
        GRANULE_UNKNOWN => return None,
        GRANULE_OF_MIXED_SIZES => {
            // Of a thread that has just begun the mean says little.
            let distance = thread.mean_size().midpoint(size).saturating_add(BLOCK_EXTRA);
            Wanted::for_distance(distance, CELLS_MAX)?
        }
        _ => match distance_of(size) {
            8 => Wanted { shift: 3, least: 0 },
            16 => Wanted { shift: 4, least: 0 },
            distance => {
                let wanted = Wanted::for_distance(distance, EVEN_CELLS)?;
                Wanted { least: if wanted.is_wide() { 0 } else { 17 }, ..wanted }
            }
        },
    };
    let is_admitted = || Bucket::new_cells(0, wanted.shift, wanted.least).admits(address, size);
    (wanted.is_wide() || is_admitted()).then_some(wanted)
}

/// Smaller cells for a span whose wide ones are too few, since blocks lie closer there than elsewhere; none where they may not be smaller.
pub(super) fn smaller(thread: Thread, bucket: Bucket, address: u64, block: Slot) -> Option<Wanted> {
    Cell::of(address, block)?;
    let is_mixed = thread.shared.control().granule_shift.load(Relaxed) == GRANULE_OF_MIXED_SIZES;
    let shift = SPAN_SHIFT.saturating_sub(bucket.places().max(1).ilog2());
    let has_smaller = bucket.is_wide() && (Bucket::WIDE_SHIFT_MIN..=Bucket::WIDE_SHIFT_MAX).contains(&shift);
    (is_mixed && has_smaller).then(|| Wanted { shift: shift - 1, least: 0 })
}

#[inline(never)]
pub(super) fn new_bucket(thread: Thread, wanted: Wanted) -> Option<Bucket> {
    let blocks = &thread.shared.control().blocks;
    let lines = Bucket::lines_of_cells(wanted.shift);
    let first = new_lines(thread.shared, [&blocks.cells, &blocks.lines], lines)?;
    Some(if wanted.is_wide() {
        Bucket::new_wide(first, wanted.shift, thread.owner())
    } else {
        Bucket::new_cells(first, wanted.shift, wanted.least)
    })
}
