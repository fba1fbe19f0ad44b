//! The table of live blocks against a plain map, by one thread and by many.
//!
//! Owns: mappings of their own, so that each test has a table to itself. Must not know: hooks, stacks.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use wire::Moment;

use super::*;

const LINES: u32 = 1 << 16;

/// Stack and size of a block.
type What = (u32, u64);

fn what(slot: Slot) -> Option<What> {
    slot.unpack().map(|block| (block.stack, block.size))
}

/// What became of a block, with what it replaced.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    In,
    Instead(What),
    NoRoom,
}

/// As the hooks do: first where it is quick. There nobody looks for a large block that was at the address before; here it is looked for.
fn put(thread: Thread, address: u64, (stack, size): What) -> Done {
    let birth = Moment::new(1 << 40);
    let large = what(take_large(thread, address));
    if large.is_none() && size < Cell::SIZE_END && put_near(thread, Span::of(address), address, size, stack) {
        return Done::In;
    }
    let before = large.or_else(|| take(thread, address));
    let block = Block::new(address, size, stack, birth, 0);
    let is_in = if wire::is_large(address, size) {
        put_large(thread, address, block)
    } else {
        super::put(thread, address, block.pack())
    };
    match before {
        _ if !is_in => Done::NoRoom,
        Some(before) => Done::Instead(before),
        None => Done::In,
    }
}

fn take(thread: Thread, address: u64) -> Option<What> {
    match take_near(thread.shared, Span::of(address), address, Cell::ages_at(Moment::new(1 << 41))) {
        Taken::Slot(slot) => what(slot),
        Taken::Cell(cell, _) => Some((cell.stack(), cell.size())),
        Taken::Not => what(super::take(thread, address)).or_else(|| what(take_large(thread, address))),
    }
}

/// A table with room for so many lines.
pub(crate) fn table(lines: u32, granule_shift: u32) -> Shared {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), wire::FILE_BYTES as usize, protection, flags, -1, 0) };
    assert_ne!(base, libc::MAP_FAILED);
    let shared = Shared::apart(base.expose_provenance() as u64);
    shared.control().lines_max.store(lines, Relaxed);
    shared.control().records_max.store(wire::THREADS_MAX as u32, Relaxed);
    shared.control().granule_shift.store(granule_shift, Relaxed);
    shared.control().blocks.further.store(1, Relaxed);
    crate::marks::begin(shared);
    shared
}

pub(crate) fn thread(shared: Shared, number: u64) -> Thread {
    let thread = Thread { shared, record: shared.at(regions::RECORDS.at + number * regions::RECORD_BYTES) };
    thread.record.name(number as u32);
    thread
}

/// Puts in a block whose stack is the lower half of its size; the thread allocated blocks of that size until now.
fn put_sized(thread: Thread, address: u64, size: u64) -> Done {
    thread.record.bytes.store(size, Relaxed);
    put(thread, address, (u32::from(size as u16), size))
}

/// Every block that a reader would find.
fn scanned(shared: Shared) -> Vec<What> {
    let blocks = &shared.control().blocks;
    let lines = (0..blocks.lines.load(Relaxed)).map(|number| line(shared, number));
    let slots = lines.flat_map(|line| {
        (0..LINE_SLOTS).map(|i| Slot { first: line.first[i].load(Relaxed), second: line.second[i].load(Relaxed) })
    });
    let cells = blocks.cells.load(Relaxed) * wire::LINE_CELLS;
    let first = regions::LINES.at + u64::from(LINES_MAX) * LINE_BYTES;
    let words = (0..u64::from(cells)).map(|i| shared.at::<AtomicU64>(first + i * 8).load(Relaxed));
    let cells = words.map(Cell::from_word).filter(|cell| cell.is_block()).map(|cell| (cell.stack(), cell.size()));
    let mut found: Vec<What> = slots.filter_map(what).chain(cells).collect();
    found.sort_unstable();
    found
}

fn lines_used(shared: Shared) -> u64 {
    let blocks = &shared.control().blocks;
    u64::from(blocks.lines.load(Relaxed) + blocks.cells.load(Relaxed))
}

/// A generator of numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Random births and frees in a few spans, each compared with a map. `hint` decides how large buckets are: too small ones
/// overflow, wrap around and grow. Sizes are up to `size_max`, wherever other blocks begin.
#[track_caller]
fn check_against_map(hint: u64, (granule_shift, apart): (u32, u64), size_max: u64, live_max: usize) {
    let shared = table(LINES, granule_shift);
    let (mut random, mut map) = (Random(hint), BTreeMap::new());
    let thread = thread(shared, 3);
    for step in 0..60_000 {
        let address = 0x5000_0000_0000 + random.below(3 << SPAN_SHIFT) / apart * apart;
        if random.below(100) < 55 && map.len() < live_max {
            thread.record.bytes.store(hint, Relaxed);
            let block = (step, random.below(size_max));
            let done = put(thread, address, block);
            let expected = map.insert(address, block).map_or(Done::In, Done::Instead);
            assert_eq!(done, expected, "step {step}, {address:#x}");
        } else {
            // Mostly one that is there; else any at all.
            let known = map.range(address..).next().map(|(at, _)| *at).filter(|_| random.below(4) > 0);
            let address = known.unwrap_or(address);
            assert_eq!(take(thread, address), map.remove(&address), "step {step}, {address:#x}");
        }
    }
    let mut left: Vec<What> = map.values().copied().collect();
    left.sort_unstable();
    assert_eq!(scanned(shared), left);
    for (address, block) in map {
        assert_eq!(take(thread, address), Some(block));
    }
    assert_eq!(scanned(shared), []);
}

#[test]
fn the_table_does_what_a_map_does() {
    check_against_map(500, (5, 32), 20_000, 400);
    check_against_map(500, (5, 32), 20_000, 6_000);
    check_against_map(60_000, (5, 32), 90_000, 60);
    check_against_map(60_000, (5, 32), 90_000, 6_000);
    check_against_map(2_000, (6, 64), 4_000, 300);
    check_against_map(8, (wire::GRANULE_UNKNOWN, 8), 50, 20_000);
}

/// Small blocks: cells, with some blocks among them that no cell is for, or that find theirs taken.
#[test]
fn cells_do_what_a_map_does() {
    check_against_map(40, (5, 32), 100, 400);
    check_against_map(40, (5, 32), 9_000, 6_000);
    check_against_map(8, (3, 8), 50, 20_000);
    check_against_map(8, (4, 16), 130, 6_000);
    check_against_map(8, (3, 8), 20_000, 20_000);
}

/// Middling blocks, more and less crowded than cells are made for.
#[test]
fn wide_cells_do_what_a_map_does() {
    for (hint, apart) in [(200, 32), (500, 32), (500, 112), (500, 528), (1_100, 240), (1_100, 48)] {
        for live_max in [60, 600, 6_000] {
            check_against_map(hint, (5, apart), hint * 2, live_max);
        }
    }
    check_against_map(8, (3, 112), 240, 6_000);
    check_against_map(8, (3, 8), 600, 6_000);
}

#[test]
fn a_span_full_of_the_smallest_blocks_takes_a_quarter_of_its_memory_and_one_bucket() {
    let shared = table(LINES, 5);
    let one = thread(shared, 0);
    let addresses = || (0..1 << 11).map(|i| 0x5555_0000_0000 + i * 32 + 16);
    assert!(addresses().all(|address| put_sized(one, address, 24) == Done::In));
    assert_eq!(lines_used(shared), 256, "16 KiB for 64");
    assert!(addresses().all(|address| take(one, address) == Some((24, 24))));
    assert_eq!(scanned(shared), []);
}

/// Allocators that keep sizes apart: small blocks take half of their memory at most, and those of 8 bytes as much as they are; middling ones have
/// a cell for themselves; of larger ones each block's line has room, and the fourth slot stays unused.
#[test]
fn blocks_at_even_distances_take_a_cell_or_a_slot_and_a_third() {
    for (size, distance) in [
        (8_u64, 8_u64),
        (9, 16),
        (24, 32),
        (33, 48),
        (128, 128),
        (129, 160),
        (500, 512),
        (600, 640),
        (1_025, 1_280),
        (5_000, 5_120),
    ] {
        assert_eq!(distance_of(size), distance, "{size}");
        let shared = table(LINES, 3);
        let blocks = (16 << SPAN_SHIFT) / distance;
        for i in 0..blocks {
            assert_eq!(put_sized(thread(shared, 0), 0x5555_0000_0000 + i * distance, size), Done::In);
        }
        let lines = shared.control().blocks.lines.load(Relaxed);
        assert_eq!(lines > 0, distance > 1_280, "cells are for those that are not much larger than a granule");
        let full = (0..lines).filter(|number| line(shared, *number).first[LAST].load(Relaxed) != 0).count();
        assert_eq!(full, 0, "{size}");
        let bytes = lines_used(shared) * LINE_BYTES;
        let most = if distance > 512 { 41 } else { (distance / 2).clamp(8, 16) };
        assert!(bytes <= most * blocks, "{bytes} bytes for {blocks} blocks of {size}");
    }
}

/// Runs of blocks of one size each lie side by side in a span: cells that are too large for some are followed by smaller ones, once.
#[test]
fn a_run_of_smaller_blocks_gets_smaller_cells() {
    let shared = table(LINES, 3);
    let one = thread(shared, 0);
    for (from, size) in [(0_u64, 64_u64), (4_096, 48), (8_192, 16), (12_288, 8)] {
        for i in 0..4_096 / size {
            assert_eq!(put_sized(one, 0x5555_0000_0000 + from + i * size, size), Done::In);
        }
    }
    assert_eq!(lines_used(shared) * LINE_BYTES, (4 + 8 + 16) << 10);
    assert_eq!(scanned(shared).len() as u64, 4_096 / 64 + 4_096 / 48 + 4_096 / 16 + 4_096 / 8);
}

/// Several blocks that begin in the granule of one wide cell: one lies in it, two behind it, the others in further buckets. Each is found where a block
/// is put at its address once more, since its free went unseen; also after the one in the cell was freed.
#[test]
fn a_block_left_behind_a_wide_cell_is_found_when_its_address_is_given_out_again() {
    let shared = table(LINES, 5);
    let [one, other] = [0, 1].map(|number| thread(shared, number));
    let address = |i: u64| 0x5555_0000_3f80 + i * 32;
    assert!((0..3).all(|i| put_sized(one, address(i), 500 + i) == Done::In));
    // Their own cells are behind the last one: the first of the span.
    assert_eq!(put_sized(other, address(3), 503), Done::In, "another thread's");
    assert_eq!(take(one, address(0)), Some((500, 500)));
    for i in 1..4 {
        assert_eq!(put_sized(one, address(i), 600 + i), Done::Instead((500 + i as u32, 500 + i)), "{i}");
    }
    assert!((1..4).all(|i| take(one, address(i)) == Some((600 + i as u32, 600 + i))));
    assert_eq!(scanned(shared), []);
    let word = |i| directory(shared, address(i) >> SPAN_SHIFT).load(Relaxed);
    assert!(Bucket::from_word(word(0)).unwrap().is_wide(), "all this is about wide cells");
}

/// A part of the memory where blocks are much smaller than elsewhere: its cells get smaller as well, and what lay in the larger ones is found.
#[test]
fn wide_cells_that_are_too_few_are_followed_by_smaller_ones() {
    let shared = table(LINES, 5);
    let one = thread(shared, 0);
    let address = |i: u64| 0x5555_0000_0010 + i * 48;
    one.record.bytes.store(900, Relaxed);
    assert!((0..340).all(|i| put(one, address(i), (7, 20 + i)) == Done::In));
    let used = lines_used(shared) * LINE_BYTES;
    assert!(used <= 340 * 48, "{used} bytes");
    assert!((0..340).all(|i| put(one, address(i), (8, 400 + i)) == Done::Instead((7, 20 + i))));
    assert_eq!(scanned(shared).len(), 340);
    assert!((0..340).all(|i| take(one, address(i)) == Some((8, 400 + i))));
    assert_eq!(scanned(shared), []);
    assert!(lines_used(shared) * LINE_BYTES <= used + 4_096, "once is enough");
}

/// A pool whose blocks lie in one of another allocator: both are kept, whatever they overlap.
#[test]
fn overlapping_blocks_are_kept_side_by_side() {
    for granule_shift in [wire::GRANULE_UNKNOWN, 3] {
        let shared = table(LINES, granule_shift);
        let one = thread(shared, 0);
        let blocks = [(0, 90), (16, 24), (8, 5), (40, 24)];
        assert!(blocks.iter().all(|(at, size)| put_sized(one, 0x5555_0000_0000 + at, *size) == Done::In));
        for (at, size) in blocks {
            assert_eq!(take(one, 0x5555_0000_0000 + at), Some((size as u32, size)));
        }
    }
}

#[test]
fn blocks_of_middling_size_take_less_than_48_bytes_each() {
    for size in [40_u64, 100, 113, 500, 1_000, 4_000, 10_000] {
        let shared = table(LINES, 5);
        let blocks = (16 << SPAN_SHIFT) / (size + 16);
        for i in 0..blocks {
            let address = 0x5555_0000_0000 + (i * (size + 16)) / 16 * 16;
            assert_eq!(put_sized(thread(shared, 0), address, size), Done::In);
        }
        let bytes = lines_used(shared) * LINE_BYTES;
        assert!(bytes <= 48 * blocks, "{bytes} bytes for {blocks} blocks of {size}");
    }
}

#[test]
fn freeing_what_is_not_there_makes_nothing() {
    let shared = table(LINES, 5);
    for i in 0..1_000 {
        assert_eq!(take(thread(shared, 0), 0x5555_0000_0000 + i * 4_096), None);
    }
    assert_eq!(take(thread(shared, 0), 1 << 47), None);
    assert_eq!(take(thread(shared, 0), u64::MAX), None);
    assert_eq!(lines_used(shared), 0);
}

#[test]
fn a_full_table_refuses_and_loses_nothing() {
    for (lines, size) in [(40, 6_000), (1_500, 40)] {
        let shared = table(lines, 5);
        let one = thread(shared, 0);
        let addresses = || (0..100).map(|i| 0x5555_0000_0000 + (i << SPAN_SHIFT));
        let put_in = addresses().filter(|address| put_sized(one, *address, size) == Done::In).count();
        assert!((10..100).contains(&put_in), "{put_in}");
        assert!(lines_used(shared) <= u64::from(lines));
        assert_eq!(addresses().filter(|address| take(one, *address).is_some()).count(), put_in);
        assert_eq!(put_sized(one, 1 << 47, 8), Done::NoRoom, "outside of all that programs have");
    }
}

/// Blocks of 8 KiB to a MiB, also where they do not begin at multiples of 16: a slot and a half for each, wherever they lie.
#[test]
fn large_blocks_share_lines_over_many_spans() {
    for (size, apart, most) in
        [(8_192, 8_208, 40), (62_000, 65_536, 48), (512_000, 524_288, 40), (4_000_000, 4 << 20, 80)]
    {
        let shared = table(LINES, 3);
        let one = thread(shared, 0);
        let addresses: Vec<u64> = (0..1_000).map(|i| 0x7000_0000_0010 + i * apart).collect();
        assert!(addresses.iter().all(|address| put_sized(one, *address, size) == Done::In));
        let further = u64::from(shared.control().blocks.further.load(Relaxed)) * 16;
        let bytes = (lines_used(shared) * LINE_BYTES + further) / 1_000;
        assert!(bytes <= most, "{bytes} bytes for a block of {size}");
        assert!(addresses.iter().all(|address| take(one, address + 16).is_none()));
        assert_eq!(put_sized(one, addresses[7], size + 1), Done::Instead((u32::from(size as u16), size)));
        assert_eq!(scanned(shared).len(), 1_000);
        assert!(addresses.iter().all(|address| take(one, *address).is_some()));
        assert_eq!(scanned(shared), []);
        // What was freed makes room.
        assert!(addresses.iter().all(|address| put_sized(one, *address, size) == Done::In));
        assert_eq!((lines_used(shared) * LINE_BYTES + further) / 1_000, bytes);
    }
}

#[test]
fn a_large_block_at_an_odd_place_is_kept_too() {
    let shared = table(LINES, 3);
    let one = thread(shared, 0);
    for (address, size) in [(0x5555_0000_0008, 9_000), (0x5555_0000_4018, 1 << 33)] {
        assert_eq!(put_sized(one, address, size), Done::In);
        assert_eq!(put_sized(one, address, size + 8), Done::Instead((u32::from(size as u16), size)));
        assert_eq!(take(one, address), Some((u32::from(size as u16) + 8, size + 8)));
    }
}

/// Memory that changes hands: two threads put blocks into one span, and each frees those of the other.
#[test]
fn a_span_of_two_threads_keeps_the_blocks_of_both() {
    // So that the thread's mean size makes lines, or cells.
    for add in [2_000, 0] {
        let shared = table(LINES, 5);
        let [one, other] = [0, 1].map(|number| thread(shared, number));
        let address = |i: u64| 0x5555_0000_0000 + i * 64;
        for i in 0..500 {
            let size = add + i % 90;
            assert_eq!(put_sized(if i % 3 == 0 { one } else { other }, address(i), size), Done::In);
        }
        let what = |size: u64| ((add + size) as u32, add + size);
        assert_eq!(put_sized(other, address(3), add + 91), Done::Instead(what(3)));
        assert_eq!(put_sized(one, address(4), add + 92), Done::Instead(what(4)));
        assert_eq!(scanned(shared).len(), 500);
        let expected = |i| if i == 3 || i == 4 { i + 88 } else { i % 90 };
        assert!((0..500).all(|i| take(one, address(i)) == Some(what(expected(i)))));
    }
}

/// Many threads at once in the same spans: each address is handed from one thread to the next through a lock, as an allocator
/// does, and whoever has it puts its block in or takes it out.
fn check_many_threads(granule_shift: u32, apart: u64, size_max: u64) {
    const ADDRESSES: usize = 3_000;
    const THREADS: u64 = 4;
    const ROUNDS: u32 = 40_000;
    let shared = table(LINES, granule_shift);
    // Which block, if any, is live at each address.
    let live: Vec<Mutex<Option<What>>> = (0..ADDRESSES).map(|_| Mutex::new(None)).collect();
    let moves = AtomicUsize::new(0);
    let work = |number: u64| {
        let (thread, mut random) = (thread(shared, number), Random(number + 1));
        thread.record.bytes.store(size_max / 2, Relaxed);
        for round in 0..ROUNDS {
            let at = random.below(ADDRESSES as u64);
            let address = 0x5555_0000_0010 + at * apart;
            let Ok(mut block) = live[at as usize].try_lock() else { continue };
            moves.fetch_add(1, Relaxed);
            if let Some(known) = block.take() {
                assert_eq!(take(thread, address), Some(known), "thread {number}, {address:#x}");
            } else {
                let fresh = (round, random.below(size_max));
                assert_eq!(put(thread, address, fresh), Done::In, "{address:#x}");
                *block = Some(fresh);
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            scope.spawn(move || work(number));
        }
    });
    assert!(moves.into_inner() > ROUNDS as usize, "they did work");
    let mut expected: Vec<What> = live.iter().filter_map(|block| *block.lock().unwrap()).collect();
    expected.sort_unstable();
    assert_eq!(scanned(shared), expected);
}

#[test]
fn threads_at_work_in_the_same_spans_lose_no_block_and_make_none_up() {
    check_many_threads(5, 96, 4_000);
}

#[test]
fn threads_at_work_in_the_same_cells_lose_no_block_and_make_none_up() {
    check_many_threads(5, 32, 80);
    check_many_threads(3, 16, 16);
    // Some are too small for the cells of the first, and some have no room in any.
    check_many_threads(3, 48, 48);
    check_many_threads(3, 96, 9_000);
}

#[test]
fn threads_at_work_in_the_same_wide_cells_lose_no_block_and_make_none_up() {
    check_many_threads(5, 48, 700);
    check_many_threads(5, 112, 1_200);
    check_many_threads(3, 112, 240);
}

#[test]
fn threads_at_work_among_large_blocks_lose_no_block_and_make_none_up() {
    check_many_threads(5, 16_384, 100_000);
    check_many_threads(3, 65_536, 200_000);
}

/// Whatever a target scribbles over the table, nobody is led out of it.
#[test]
fn a_table_that_was_overwritten_is_survived() {
    let shared = table(LINES, 5);
    let address = 0x5555_0000_0010;
    let mut random = Random(5);
    for _ in 0..20_000 {
        let word = random.below(1 << 31) << 33 ^ random.below(1 << 31) << 15 ^ random.below(1 << 31);
        directory(shared, address >> SPAN_SHIFT).store(word, Relaxed);
        let first: &AtomicU32 = shared.at(regions::CHAINS.at + (address >> SPAN_SHIFT) * 4);
        first.store(word as u32, Relaxed);
        let _ = put_sized(thread(shared, 0), address, random.below(20_000));
        let _ = put_sized(thread(shared, 0), address + 8, 8);
        let part: &AtomicU32 = shared.at(regions::LARGE.at + (address >> wire::LARGE_SHIFT) * 4);
        part.store(random.below(64) as u32, Relaxed);
        let further: &FurtherBucket = shared.at(regions::FURTHER.at + random.below(64) * 16);
        further.bucket.store(word, Relaxed);
        let _ = put_sized(thread(shared, 0), address, random.below(200_000));
        let _ = take(thread(shared, 0), address);
    }
}
