//! The marks of parts that hold recorded blocks.
//!
//! Owns: counting in them. Must not know: which blocks are recorded. What a mark says: see `wire::mark_at`.

use core::sync::atomic::{AtomicU8, Ordering::AcqRel, Ordering::Relaxed};

use wire::{MARK_COUNT_MAX, MARK_EXACT, MARK_LARGE, mark_at};

use crate::shared::Shared;
use crate::table::Span;

fn mark(shared: Shared, address: u64) -> &'static AtomicU8 {
    shared.at(mark_at(address))
}

/// Counts a sampled block in, before it is put into the table.
pub(crate) fn add(shared: Shared, address: u64) {
    change(shared, address, |count| count + 1);
}

/// Counts a sampled block out, after it was taken out of the table.
pub(crate) fn remove(shared: Shared, address: u64) {
    change(shared, address, |count| count.saturating_sub(1));
}

/// Changes a count, unless there were so many blocks once that nobody knows how many are left.
fn change(shared: Shared, address: u64, to: impl Fn(u8) -> u8) {
    let counted = |word: u8| {
        let count = word & MARK_COUNT_MAX;
        (count != MARK_COUNT_MAX).then(|| word & !MARK_COUNT_MAX | to(count))
    };
    let _ = mark(shared, address).fetch_update(AcqRel, Relaxed, counted);
}

/// Whether a span is marked as one of those with blocks that are recorded for themselves and are not large.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) fn is_kept(shared: Shared, span: Span) -> bool {
    let mark: &AtomicU8 = shared.at(span.mark_at());
    mark.load(Relaxed) & MARK_EXACT != 0
}

/// Whether the part of a block may hold recorded ones that are not large, and large ones.
pub(crate) fn kinds(shared: Shared, address: u64) -> (bool, bool) {
    let mark = mark(shared, address).load(Relaxed);
    (mark & !MARK_LARGE != 0, mark & !MARK_EXACT != 0)
}

/// Marks the part of a block that is recorded for itself, before it is put into the table.
pub(crate) fn keep(shared: Shared, address: u64, is_large: bool) {
    mark(shared, address).fetch_or(if is_large { MARK_LARGE } else { MARK_EXACT }, AcqRel);
}
