//! The table of live blocks: which are there, found by their addresses.
//!
//! Owns: putting blocks in and taking them out. Must not know: who allocates, what is counted, who reads.
//!
//! The addresses of a program are divided into spans; the blocks of a span lie in its buckets: runs of lines of four slots, or, where
//! blocks are small, of cells, see `cells`. No slot needs a lock, since each change has one thread that may make it:
//!
//! - A slot that holds a block is only changed by whoever frees that block, and a block is freed once.
//! - A free slot of a bucket is only filled by the thread that the bucket belongs to. Other threads that have blocks in the
//!   same span (heap changes hands) put them into a further bucket that belongs to nobody, where they claim slots by an
//!   atomic exchange.
//! - Which buckets a span has only ever grows, by atomic exchanges.
//!
//! A block lies in its line or, where that was full, in the next one that was not. Whoever searches goes on behind a line
//! whose last slot was ever used: slots are filled in order, so a block can only be further on if it was.

use core::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

use wire::{
    ADDRESS_BITS, Block, Bucket, Cell, FURTHER_BUCKETS_MAX, FurtherBucket, LINE_BYTES, LINE_SLOTS, LINES_MAX,
    SLOT_CLAIMED, SLOT_LEFT, SPAN_SHIFT, Slot, regions,
};

mod cells;
mod large;
mod wide;

use crate::arch;
use crate::record::Thread;
use crate::shared::Shared;

pub(crate) use large::{holds_large, put_large, take_large};

/// Four slots: the first words of all, then the second words of all.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Line {
    first: [AtomicU64; LINE_SLOTS],
    second: [AtomicU64; LINE_SLOTS],
}

/// The last slot of a line.
const LAST: usize = LINE_SLOTS - 1;
/// Further buckets of one span that are looked at: more than doubling can make of one.
const CHAIN_MAX: usize = 64;
/// Bytes that an allocator that mixes sizes adds to a block, about.
const BLOCK_EXTRA: u64 = 16;

/// The number of a span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span(u64);

impl Span {
    /// That of an address. Addresses beyond those that programs have are never put in (see [`put`]): the kernel gives them to nobody who does
    /// not ask for them.
    #[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
    #[inline(always)]
    pub(crate) fn of(address: u64) -> Self {
        // What the two shifts are is hidden from the compiler: it would use a mask that needs a register.
        let span = arch::returned((address << (u64::BITS - ADDRESS_BITS)) as usize) as u64;
        // Two tables are looked at by it: the compiler would make it twice, each time ready scaled.
        Self(arch::returned((span >> (u64::BITS - ADDRESS_BITS + SPAN_SHIFT)) as usize) as u64)
    }

    /// The spans are numbered by their addresses.
    #[inline]
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// A block that was taken out from where it was looked for first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Taken {
    /// It is [small](Slot::is_small).
    Slot(Slot),
    /// And its age.
    Cell(Cell, u64),
    /// It is not there, or not small.
    Not,
}

/// Puts in a block of less than [`Cell::SIZE_END`] bytes that the calling thread was given and that is recorded for itself, if there is room
/// for it in its own line or cell and nothing else is to be done; false where nothing was.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) fn put_near(thread: Thread, span: Span, address: u64, size: u64, stack: u32) -> bool {
    let bucket = Bucket::from_any_word(directory(thread.shared, span.0).load(Acquire));
    if bucket.has_cells() {
        return cells::put_near(thread, bucket, address, size, stack);
    }
    if !bucket.is_any() || !bucket.is_only_and_of(thread.owner_unchecked()) {
        return false;
    }
    let line = line(thread.shared, bucket.line(bucket.home(address)));
    let words = arch::Four::read(&line.first);
    if line.first[LAST].load(Relaxed) != 0 || words.with_key(Block::key(address)) != 0 {
        return false;
    }
    let slot = Slot::small(address, size, stack, thread.now());
    fill(line, words.odd().trailing_ones() as usize % LINE_SLOTS, slot);
    true
}

/// Takes out a block that is about to be freed, if it lies in its own line or cell, is recorded for itself and small: nearly all are. Of a cell
/// the [moment](Cell::ages_at) is needed.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) fn take_near(shared: Shared, span: Span, address: u64, ages: u64) -> Taken {
    let bucket = Bucket::from_any_word(directory(shared, span.0).load(Acquire));
    if bucket.has_cells() {
        let taken = cells::take_near(shared, bucket, address, ages);
        return taken.map_or(Taken::Not, |(cell, age)| Taken::Cell(cell, age));
    }
    if !bucket.is_any() {
        return Taken::Not;
    }
    let line = line(shared, bucket.line(bucket.home(address)));
    let Some(place) = find(line, address) else { return Taken::Not };
    let slot = Slot { first: line.first[place].load(Relaxed), second: line.second[place].load(Relaxed) };
    if !slot.is_small() {
        return Taken::Not;
    }
    line.first[place].store(SLOT_LEFT, Relaxed);
    Taken::Slot(slot)
}

/// Whether a block may be there: not if there is no other bucket and neither its cell holds it, nor its line, which was never full.
#[inline]
pub(crate) fn may_hold(shared: Shared, address: u64) -> bool {
    bucket_of(shared, address).is_some_and(|bucket| {
        if bucket.has_more() || bucket.has_cells() {
            return bucket.has_more() || cells::holds(shared, bucket, address);
        }
        let line = line(shared, bucket.line(bucket.home(address)));
        find(line, address).is_some() || line.first[LAST].load(Relaxed) != 0
    })
}

/// Takes out a block that is about to be freed; [`Slot::NONE`] where it is not there.
pub(crate) fn take(thread: Thread, address: u64) -> Slot {
    bucket_of(thread.shared, address).map_or(Slot::NONE, |bucket| take_elsewhere(thread, bucket, address))
}

#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn directory(shared: Shared, span: u64) -> &'static AtomicU64 {
    shared.at(regions::DIRECTORY.at + span * 8)
}

fn bucket_of(shared: Shared, address: u64) -> Option<Bucket> {
    first_bucket(shared, Span::of(address))
}

#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn first_bucket(shared: Shared, span: Span) -> Option<Bucket> {
    Bucket::from_word(directory(shared, span.0).load(Acquire))
}

#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn line(shared: Shared, number: u32) -> &'static Line {
    shared.at(regions::LINES.at + u64::from(number) * LINE_BYTES)
}

/// The slot of a block in a line. Without branches: which one it is cannot be predicted.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn find(line: &Line, address: u64) -> Option<usize> {
    let found = arch::Four::read(&line.first).with_key(Block::key(address));
    (found != 0).then(|| found.trailing_zeros() as usize % LINE_SLOTS)
}

/// The first slot without a block, of a line that has one.
fn first_free(line: &Line) -> usize {
    let holds = |slot: usize| (line.first[slot].load(Relaxed) as u32 & 1) << slot;
    (holds(0) | holds(1) | holds(2)).trailing_ones() as usize % LINE_SLOTS
}

#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn fill(line: &Line, place: usize, slot: Slot) {
    line.second[place].store(slot.second, Relaxed);
    line.first[place].store(slot.first, Release);
}

#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
fn empty(line: &Line, place: usize) -> Slot {
    let slot = Slot { first: line.first[place].load(Relaxed), second: line.second[place].load(Relaxed) };
    line.first[place].store(SLOT_LEFT, Relaxed);
    slot
}

/// The lines in which a block can be, in the order in which they are filled.
fn lines_of(shared: Shared, bucket: Bucket, address: u64) -> impl Iterator<Item = &'static Line> {
    (0..bucket.probes()).map(move |step| line(shared, bucket.probe(address, step)))
}

fn take_from(thread: Thread, bucket: Bucket, address: u64) -> Option<Slot> {
    if bucket.has_cells() {
        let block = cells::take_from(thread.shared, bucket, address)?.unpack(address, thread.now());
        return Some(block.pack());
    }
    for line in lines_of(thread.shared, bucket, address) {
        if let Some(place) = find(line, address) {
            return Some(empty(line, place));
        }
        if line.first[LAST].load(Relaxed) == 0 {
            break;
        }
    }
    None
}

#[cold]
#[inline(never)]
fn take_elsewhere(thread: Thread, bucket: Bucket, address: u64) -> Slot {
    take_from(thread, bucket, address).or_else(|| take_from_further(thread, bucket, address)).unwrap_or(Slot::NONE)
}

/// The same in the further buckets, if there are any: even to look makes a page of the table.
fn take_from_further(thread: Thread, bucket: Bucket, address: u64) -> Option<Slot> {
    if !bucket.has_more() {
        return None;
    }
    chained(thread.shared, chain_of(thread.shared, address)).find_map(|bucket| take_from(thread, bucket, address))
}

/// Puts in a block that the calling thread was given, where none is at its address any more; false where there is no room for it.
#[inline(never)]
pub(crate) fn put(thread: Thread, address: u64, block: Slot) -> bool {
    if address >> ADDRESS_BITS != 0 {
        return false;
    }
    match bucket_of(thread.shared, address) {
        None => open(thread, address, block),
        Some(bucket) => put_into(thread, bucket, address, block),
    }
}

/// Puts a block into a span whose first bucket is this one.
fn put_into(thread: Thread, bucket: Bucket, address: u64, block: Slot) -> bool {
    if bucket.has_cells() {
        cells::put(thread, bucket, address, block) || put_beside(thread, bucket, address, block)
    } else if bucket.owner() == thread.owner() {
        put_into_own(thread, bucket, address, block) || grow(thread, bucket, address, block)
    } else {
        put_beside(thread, bucket, address, block)
    }
}

/// Puts in a block for which there is no place in the first bucket of its span, or which may not be put there.
fn put_beside(thread: Thread, first: Bucket, address: u64, block: Slot) -> bool {
    let cells =
        cells::wanted(thread, address, block).filter(|wanted| !first.has_cells() || wanted.cells() > first.places());
    let smaller = || is_overfull(thread.shared, address).then(|| cells::smaller(thread, first, address, block))?;
    match cells.or_else(smaller).and_then(|wanted| new_cells(thread, wanted)) {
        Some(cells) => replace_first(thread, address, cells) && cells::put(thread, cells, address, block),
        None => put_into_shared(thread, first, address, block),
    }
}

/// Cells for a span that has a bucket already, which may hold blocks that belong to them.
fn new_cells(thread: Thread, wanted: cells::Wanted) -> Option<Bucket> {
    let bucket = cells::new_bucket(thread, wanted)?;
    if bucket.is_wide() {
        wide::note_all(thread.shared, bucket);
    }
    Some(bucket)
}

/// Whether many blocks of a span lie in further buckets since its first one came to be the first.
fn is_overfull(shared: Shared, address: u64) -> bool {
    const LINES: u32 = 4;
    let newest = chained(shared, chain_of(shared, address)).next();
    newest.is_some_and(|newest| !newest.has_cells() && newest.owner() == Bucket::SHARED && newest.lines() >= LINES)
}

/// The first bucket of a span.
fn open(thread: Thread, address: u64, block: Slot) -> bool {
    let bucket = match cells::wanted(thread, address, block) {
        Some(wanted) => cells::new_bucket(thread, wanted),
        None => new_bucket(thread, lines_wanted(thread, block), thread.owner()),
    };
    let Some(bucket) = bucket else { return false };
    match directory(thread.shared, address >> SPAN_SHIFT).compare_exchange(0, bucket.word(), AcqRel, Acquire) {
        Ok(_) => put_into(thread, bucket, address, block),
        Err(word) => Bucket::from_word(word).is_some_and(|bucket| put_into(thread, bucket, address, block)),
    }
}

fn put_into_own(thread: Thread, bucket: Bucket, address: u64, block: Slot) -> bool {
    let mut place = lines_of(thread.shared, bucket, address).enumerate();
    if let Some((step, line)) = place.find(|(_, line)| has_room(line)) {
        if step == 0 {
            forget_overflow(thread.shared, bucket, address, line);
        }
        fill(line, first_free(line), block);
        return true;
    }
    false
}

fn has_room(line: &Line) -> bool {
    (0..LINE_SLOTS).any(|slot| line.first[slot].load(Relaxed) & 1 == 0)
}

/// Makes the last slot of a line never used again, if it is free and no block of this line or one before lies behind it. Else
/// each line that was ever full would send all who search on to the next, forever. Only the bucket's owner may do so.
fn forget_overflow(shared: Shared, bucket: Bucket, address: u64, line: &Line) {
    if line.first[LAST].load(Relaxed) != SLOT_LEFT {
        return;
    }
    let (home, lines) = (bucket.home(address), bucket.lines().max(1));
    for step in 1..bucket.probes() {
        let next = self::line(shared, bucket.probe(address, step));
        let passed = |slot: usize| {
            let block = Slot { first: next.first[slot].load(Relaxed), second: 0 }.unpack();
            // Its own line is this one or lies before it, seen from where it is.
            block.is_some_and(|block| (home + step + lines - bucket.home(block.offset)) % lines >= step)
        };
        if (0..LINE_SLOTS).any(passed) {
            return;
        }
        if next.first[LAST].load(Relaxed) == 0 {
            break;
        }
    }
    line.first[LAST].store(0, Relaxed);
}

/// Gives the span a larger bucket; the old one stays for the blocks that are in it.
fn grow(thread: Thread, bucket: Bucket, address: u64, block: Slot) -> bool {
    if let Some(cells) = cells::wanted(thread, address, block).and_then(|wanted| new_cells(thread, wanted)) {
        return replace_first(thread, address, cells) && cells::put(thread, cells, address, block);
    }
    let lines = (bucket.lines() * 2).max(lines_wanted(thread, block)).min(lines_max(thread.shared));
    if lines <= bucket.lines() {
        return false;
    }
    let larger = new_bucket(thread, lines, thread.owner());
    larger.is_some_and(|larger| replace_first(thread, address, larger) && put_into_own(thread, larger, address, block))
}

/// Makes a bucket the first of its span, and those before it further ones.
#[inline(never)]
fn replace_first(thread: Thread, address: u64, bucket: Bucket) -> bool {
    let (place, first) = (directory(thread.shared, address >> SPAN_SHIFT), chain_of(thread.shared, address));
    let mut before = place.load(Acquire);
    // First to the others: whoever searches must find it in one place or the other.
    while Bucket::from_word(before).is_none_or(|before| chain(thread.shared, first, before)) {
        match place.compare_exchange(before, bucket.with_more().word(), AcqRel, Acquire) {
            Ok(_) => return true,
            // Another thread may just have noted a further bucket here, or have made another one the first.
            Err(now) => before = now,
        }
    }
    false
}

/// Puts a block into a bucket of the span that belongs to nobody.
#[inline(never)]
fn put_into_shared(thread: Thread, first: Bucket, address: u64, block: Slot) -> bool {
    let place = directory(thread.shared, address >> SPAN_SHIFT);
    let first_further = chain_of(thread.shared, address);
    if first.is_wide() {
        wide::note_crowd(thread.shared, first, address);
    }
    let is_shared = |bucket: &Bucket| bucket.owner() == Bucket::SHARED && !bucket.has_cells();
    let known = chained(thread.shared, first_further).find(is_shared);
    if let Some(known) = known {
        // Whoever made it may not have got so far.
        place.fetch_or(Bucket::MORE, AcqRel);
        if claim(thread.shared, known, address, block) {
            return true;
        }
    }
    let lines = match known {
        Some(known) => known.lines() * 2,
        // Of those that have no cell there are few.
        None if first.has_cells() => 1,
        None => first.lines(),
    };
    let lines = lines.clamp(1, lines_max(thread.shared));
    let Some(bucket) = new_bucket(thread, lines, Bucket::SHARED) else { return false };
    if !chain(thread.shared, first_further, bucket) {
        return false;
    }
    place.fetch_or(Bucket::MORE, AcqRel);
    claim(thread.shared, bucket, address, block)
}

/// Claims a free slot of a shared bucket and fills it.
fn claim(shared: Shared, bucket: Bucket, address: u64, block: Slot) -> bool {
    lines_of(shared, bucket, address).any(|line| claim_in(line, block))
}

/// The same in one line.
#[inline(never)]
fn claim_in(line: &Line, block: Slot) -> bool {
    for slot in 0..LINE_SLOTS {
        let word = &line.first[slot];
        let before = word.load(Relaxed);
        let is_free = before == 0 || before == SLOT_LEFT;
        if is_free && word.compare_exchange(before, SLOT_CLAIMED, AcqRel, Relaxed).is_ok() {
            fill(line, slot, block);
            return true;
        }
    }
    false
}

/// Where the chain of a span's further buckets begins.
fn chain_of(shared: Shared, address: u64) -> &'static AtomicU32 {
    shared.at(regions::CHAINS.at + (address >> SPAN_SHIFT) * 4)
}

/// The buckets of a chain, the newest first.
fn chained(shared: Shared, first: &AtomicU32) -> impl Iterator<Item = Bucket> + use<> {
    let entry =
        move |number: u32| -> &'static FurtherBucket { shared.at(regions::FURTHER.at + u64::from(number) * 16) };
    let valid = |number: u32| (0 < number && number < FURTHER_BUCKETS_MAX).then_some(number);
    let chain =
        core::iter::successors(valid(first.load(Acquire)), move |number| valid(entry(*number).next.load(Relaxed)));
    chain.take(CHAIN_MAX).filter_map(move |number| Bucket::from_word(entry(number).bucket.load(Relaxed)))
}

/// Puts a bucket in front of a chain.
#[inline(never)]
fn chain(shared: Shared, first: &AtomicU32, bucket: Bucket) -> bool {
    let cursor = &shared.control().blocks.further;
    if cursor.load(Relaxed) >= FURTHER_BUCKETS_MAX {
        return false;
    }
    let number = cursor.fetch_add(1, Relaxed);
    if number == 0 || number >= FURTHER_BUCKETS_MAX {
        return false;
    }
    let entry: &FurtherBucket = shared.at(regions::FURTHER.at + u64::from(number) * 16);
    entry.bucket.store(bucket.word(), Relaxed);
    let mut next = first.load(Relaxed);
    loop {
        entry.next.store(next, Relaxed);
        match first.compare_exchange(next, number, AcqRel, Relaxed) {
            Ok(_) => return true,
            Err(now) => next = now,
        }
    }
}

fn new_bucket(thread: Thread, lines: u32, owner: u32) -> Option<Bucket> {
    let blocks = &thread.shared.control().blocks;
    new_lines(thread.shared, [&blocks.lines, &blocks.cells], lines).map(|first| Bucket::new(first, lines, owner))
}

/// Lines that nobody has yet, of those that the first of two cursors counts; both have one limit together.
#[inline(never)]
fn new_lines(shared: Shared, [next, others]: [&AtomicU32; 2], lines: u32) -> Option<u32> {
    let limit = shared.control().lines_max.load(Relaxed).saturating_sub(others.load(Relaxed)).min(LINES_MAX);
    let mut first = next.load(Relaxed);
    loop {
        let end = first.checked_add(lines).filter(|end| *end <= limit)?;
        match next.compare_exchange(first, end, Relaxed, Relaxed) {
            Ok(_) => return Some(first),
            Err(now) => first = now,
        }
    }
}

/// Lines of a bucket in which no line can ever be full: blocks start at least a granule apart.
fn lines_max(shared: Shared) -> u32 {
    let granule = (shared.control().granule_shift.load(Relaxed) & 7).max(3);
    1 << (SPAN_SHIFT - granule - LINE_SLOTS.trailing_zeros())
}

/// Lines for a span full of blocks like those that the thread allocated until now, or, where the allocator keeps sizes apart
/// from each other, like this one. Of sampled blocks a span has hardly ever more than a few.
fn lines_wanted(thread: Thread, block: Slot) -> u32 {
    const SPAN: u64 = 1 << SPAN_SHIFT;
    const SLOTS: u64 = LINE_SLOTS as u64;
    let block = block.block();
    if block.rate != 0 {
        return 1;
    }
    let lines = if thread.shared.control().granule_shift.load(Relaxed) == wire::GRANULE_OF_MIXED_SIZES {
        // Room for unevenness: a line that is ever full costs time until it is tidied.
        let blocks = SPAN / thread.mean_size().saturating_add(BLOCK_EXTRA);
        (blocks.max(1) * 12 / 5).div_ceil(SLOTS)
    } else {
        // At even distances no line gets more blocks than another, and none is ever full.
        SPAN.div_ceil(distance_of(block.size)).div_ceil(SLOTS - 1)
    };
    (lines as u32).clamp(1, lines_max(thread.shared))
}

/// How far apart blocks of a size lie where sizes are kept apart: about what jemalloc, tcmalloc and mimalloc round it up to, which
/// is a multiple of 16 or, beyond 128, of a quarter of the next smaller power of two.
fn distance_of(size: u64) -> u64 {
    match size {
        0..=8 => 8,
        9..=128 => size.next_multiple_of(16),
        _ => size.next_multiple_of(1 << ((size - 1).min(1 << SPAN_SHIFT).ilog2() - 2)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
