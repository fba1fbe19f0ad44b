//! The marks of parts that hold recorded blocks.
//!
//! Owns: counting in them, and giving areas marks of their own. Must not know: which blocks are recorded. What a mark says: see
//! `wire::mark_at`.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};

use wire::{
    AREA_EMPTY, AREA_FULL, AREA_LARGE, AREA_MARKS, AREA_SHIFT, AREAS_MAX, MARK_COUNT_MAX, MARK_EXACT, MARK_LARGE,
    MARK_SHIFT, SPAN_SHIFT, area_at, mark_at, own_area, regions,
};

use crate::shared::Shared;
use crate::table::Span;

/// The word of the area of a block.
fn area(shared: Shared, address: u64) -> &'static AtomicU32 {
    shared.at(area_at(address))
}

fn mark(shared: Shared, area: u32, address: u64) -> &'static AtomicU8 {
    shared.at(mark_at(area, address))
}

/// Whether an area has marks that may be changed.
fn has_own(area: u32) -> bool {
    area >= AREA_FULL
}

/// Counts a sampled block in, before it is put into the table.
pub(crate) fn add(shared: Shared, address: u64) {
    change(mark(shared, own(shared, address), address), |count| count + 1);
}

/// Counts a sampled block out, after it was taken out of the table.
pub(crate) fn remove(shared: Shared, address: u64) {
    // An area that has marks of its own keeps them.
    let area = area(shared, address).load(Acquire);
    if has_own(area) {
        change(mark(shared, area, address), |count| count.saturating_sub(1));
    }
}

/// Changes a count, unless there were so many blocks once that nobody knows how many are left.
fn change(mark: &AtomicU8, to: impl Fn(u8) -> u8) {
    let counted = |word: u8| {
        let count = word & MARK_COUNT_MAX;
        (count != MARK_COUNT_MAX).then(|| word & !MARK_COUNT_MAX | to(count))
    };
    let _ = mark.fetch_update(AcqRel, Relaxed, counted);
}

/// Whether a span is marked as one of those with blocks that are recorded for themselves and are not large.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) fn is_kept(shared: Shared, span: Span) -> bool {
    const { assert!(SPAN_SHIFT == MARK_SHIFT, "a span has one mark") };
    let area: &AtomicU32 = shared.at(regions::AREAS.at + (span.number() >> (AREA_SHIFT - MARK_SHIFT)) * 4);
    let mark = mark(shared, area.load(Relaxed), span.number() << MARK_SHIFT);
    mark.load(Relaxed) & MARK_EXACT != 0
}

/// Whether the part of a block may hold recorded ones that are not large, and large ones.
pub(crate) fn kinds(shared: Shared, address: u64) -> (bool, bool) {
    let mark = mark(shared, area(shared, address).load(Acquire), address).load(Relaxed);
    (mark & !MARK_LARGE != 0, mark & !MARK_EXACT != 0)
}

/// Marks the part of a block that is recorded for itself, before it is put into the table. Where nothing else is recorded, that of a large
/// one is all of its area.
pub(crate) fn keep(shared: Shared, address: u64, is_large: bool) {
    if !is_large {
        mark(shared, own(shared, address), address).fetch_or(MARK_EXACT, AcqRel);
        return;
    }
    let area = area(shared, address);
    let before = match area.compare_exchange(AREA_EMPTY, AREA_LARGE, AcqRel, Acquire) {
        Ok(_) => AREA_LARGE,
        Err(before) => before,
    };
    if has_own(before) {
        mark(shared, before, address).fetch_or(MARK_LARGE, AcqRel);
    }
}

/// Where the marks of the area of a block are, which it is given if it has none of its own.
fn own(shared: Shared, address: u64) -> u32 {
    let area = area(shared, address).load(Acquire);
    if has_own(area) { area } else { give(shared, address, area) }
}

#[cold]
#[inline(never)]
fn give(shared: Shared, address: u64, mut before: u32) -> u32 {
    let (area, new) = (area(shared, address), next(shared));
    while !has_own(before) {
        // Where in it the large blocks lie that came before is not known.
        fill(shared, new, if before == AREA_EMPTY { 0 } else { MARK_LARGE });
        match area.compare_exchange(before, new, AcqRel, Acquire) {
            Ok(_) => return new,
            // The first large block came or leakline saw none any more. Or another thread was faster; then these marks are lost.
            Err(now) => before = now,
        }
    }
    before
}

/// Marks that no area has.
fn next(shared: Shared) -> u32 {
    let areas = &shared.control().blocks.areas;
    if areas.load(Relaxed) >= AREAS_MAX {
        return AREA_FULL;
    }
    own_area(areas.fetch_add(1, Relaxed)).unwrap_or(AREA_FULL)
}

/// Sets all marks of an area, before anybody else sees them.
fn fill(shared: Shared, area: u32, mark: u8) {
    if area != AREA_FULL {
        let marks: &[AtomicU8] = shared.slice(mark_at(area, 0), AREA_MARKS);
        marks.iter().filter(|place| place.load(Relaxed) != mark).for_each(|place| place.store(mark, Relaxed));
    }
}

/// The mark of a block in an area that has marks of its own.
#[cfg(test)]
pub(crate) fn of(shared: Shared, address: u64) -> &'static AtomicU8 {
    mark(shared, own(shared, address), address)
}

/// What leakline writes before anybody looks.
#[cfg(test)]
pub(crate) fn begin(shared: Shared) {
    let first: &[AtomicU8] = shared.slice(regions::MARKS.at, wire::FIRST_MARKS.as_flattened().len());
    for (place, mark) in first.iter().zip(wire::FIRST_MARKS.as_flattened()) {
        place.store(*mark, Relaxed);
    }
    area(shared, 0).store(wire::AREA_OF_NOTHING, Relaxed);
}
