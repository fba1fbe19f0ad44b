//! The table of live blocks against a plain map, by one thread and by many.
//!
//! Owns: mappings of their own, so that each test has a table to itself. Must not know: hooks, stacks.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use wire::Moment;

use super::*;

const LINES: u32 = 1 << 16;

/// As the hooks do: first where it is quick.
fn put(thread: Thread, address: u64, slot: Slot) -> Put {
    if put_near(thread, address, slot) { Put::Done } else { super::put(thread, address, slot) }
}

fn take(shared: Shared, address: u64) -> Slot {
    take_near(shared, address).unwrap_or_else(|| super::take(shared, address))
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
    shared
}

pub(crate) fn thread(shared: Shared, number: u64) -> Thread {
    let thread = Thread { shared, record: shared.at(regions::RECORDS.at + number * regions::RECORD_BYTES) };
    thread.record.figures.number.store(number as u32 + 1, Relaxed);
    thread
}

/// Puts in a block whose stack is its size; the thread allocated blocks of that size until now.
fn put_sized(thread: Thread, address: u64, size: u64) -> Put {
    thread.record.bytes.store(size, Relaxed);
    put(thread, address, Block::new(address, size, size as u32, Moment::new(1 << 20), 0).pack())
}

fn size_of_taken(shared: Shared, address: u64) -> Option<u64> {
    take(shared, address).unpack().map(|block| block.size)
}

/// Every block that a reader would find, as sizes.
fn scanned(shared: Shared) -> Vec<u64> {
    let lines = (0..shared.control().blocks.lines.load(Relaxed)).map(|number| line(shared, number));
    let slots = lines.flat_map(|line| {
        (0..LINE_SLOTS).map(|i| Slot { first: line.first[i].load(Relaxed), second: line.second[i].load(Relaxed) })
    });
    let mut sizes: Vec<u64> = slots.filter_map(Slot::unpack).map(|block| block.size).collect();
    sizes.sort_unstable();
    sizes
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
/// overflow, wrap around and grow.
#[track_caller]
fn check_against_map(hint: u64, granule: u64, live_max: usize) {
    let shared = table(LINES, granule.trailing_zeros());
    let (mut random, mut map) = (Random(hint), BTreeMap::new());
    let thread = thread(shared, 3);
    for step in 0..60_000_u64 {
        let address = 0x5000_0000_0000 + random.below(3 << SPAN_SHIFT) / granule * granule;
        if random.below(100) < 55 && map.len() < live_max {
            thread.record.bytes.store(hint, Relaxed);
            let block = Block::new(address, step, 7, Moment::new(step << 20), 0);
            let done = put(thread, address, block.pack());
            let expected = map.insert(address, block).map_or(Put::Done, |before| Put::Replaced(before.pack()));
            assert_eq!(done, expected, "step {step}, {address:#x}");
        } else {
            // Mostly one that is there; else any at all.
            let known = map.range(address..).next().map(|(at, _)| *at).filter(|_| random.below(4) > 0);
            let address = known.unwrap_or(address);
            assert_eq!(take(shared, address).unpack(), map.remove(&address), "step {step}, {address:#x}");
        }
    }
    let mut left: Vec<u64> = map.values().map(|block| block.size).collect();
    left.sort_unstable();
    assert_eq!(scanned(shared), left);
    for (address, block) in map {
        assert_eq!(take(shared, address).unpack(), Some(block));
    }
    assert_eq!(scanned(shared), [0; 0]);
}

#[test]
fn the_table_does_what_a_map_does() {
    check_against_map(500, 32, 400);
    check_against_map(500, 32, 6_000);
    check_against_map(60_000, 32, 60);
    check_against_map(60_000, 32, 6_000);
    check_against_map(2_000, 64, 300);
    check_against_map(8, 8, 20_000);
}

#[test]
fn a_span_full_of_the_smallest_blocks_takes_half_of_its_memory_and_one_bucket() {
    let shared = table(LINES, 5);
    let addresses = || (0..1 << 11).map(|i| 0x5555_0000_0000 + i * 32 + 16);
    assert!(addresses().all(|address| put_sized(thread(shared, 0), address, 24) == Put::Done));
    assert_eq!(shared.control().blocks.lines.load(Relaxed), 512, "32 KiB for 64");
    assert!(addresses().all(|address| size_of_taken(shared, address) == Some(24)));
    assert_eq!(scanned(shared), [0; 0]);
}

/// Allocators that keep sizes apart: each block's line has room, and the fourth slot stays unused.
#[test]
fn blocks_at_even_distances_take_a_slot_and_a_third() {
    for (size, distance) in
        [(8_u64, 8_u64), (9, 16), (24, 32), (128, 128), (129, 160), (500, 512), (600, 640), (5_000, 5_120)]
    {
        assert_eq!(distance_of(size), distance, "{size}");
        let shared = table(LINES, 3);
        let blocks = (16 << SPAN_SHIFT) / distance;
        for i in 0..blocks {
            assert_eq!(put_sized(thread(shared, 0), 0x5555_0000_0000 + i * distance, size), Put::Done);
        }
        let lines = shared.control().blocks.lines.load(Relaxed);
        let full = (0..lines).filter(|number| line(shared, *number).first[LAST].load(Relaxed) != 0).count();
        // For every granule there is a slot, and not more.
        assert_eq!(full, if distance == 8 { lines as usize } else { 0 }, "{size}");
        let bytes = u64::from(lines) * LINE_BYTES;
        let most = if distance < 48 { distance.max(24) } else { 48 };
        assert!(bytes <= most * blocks, "{bytes} bytes for {blocks} blocks of {size}");
    }
}

#[test]
fn blocks_of_middling_size_take_less_than_48_bytes_each() {
    for size in [100_u64, 500, 1_000, 4_000, 10_000] {
        let shared = table(LINES, 5);
        let blocks = (16 << SPAN_SHIFT) / (size + 16);
        for i in 0..blocks {
            let address = 0x5555_0000_0000 + (i * (size + 16)) / 16 * 16;
            assert_eq!(put_sized(thread(shared, 0), address, size), Put::Done);
        }
        let bytes = u64::from(shared.control().blocks.lines.load(Relaxed)) * LINE_BYTES;
        assert!(bytes <= 48 * blocks, "{bytes} bytes for {blocks} blocks of {size}");
    }
}

#[test]
fn freeing_what_is_not_there_makes_nothing() {
    let shared = table(LINES, 5);
    for i in 0..1_000 {
        assert_eq!(take(shared, 0x5555_0000_0000 + i * 4_096), Slot::NONE);
    }
    assert_eq!(take(shared, 1 << 47), Slot::NONE);
    assert_eq!(take(shared, u64::MAX), Slot::NONE);
    assert_eq!(shared.control().blocks.lines.load(Relaxed), 0);
}

#[test]
fn a_full_table_refuses_and_loses_nothing() {
    let shared = table(40, 5);
    let mut put_in = 0;
    let addresses = || (0..100).map(|i| 0x5555_0000_0000 + (i << SPAN_SHIFT));
    for address in addresses() {
        put_in += usize::from(put_sized(thread(shared, 0), address, 30_000) == Put::Done);
    }
    assert!((10..100).contains(&put_in), "{put_in}");
    assert!(shared.control().blocks.lines.load(Relaxed) <= 40);
    assert_eq!(addresses().filter(|address| take(shared, *address).is_block()).count(), put_in);
    let outside = 1 << 47;
    assert_eq!(put_sized(thread(shared, 0), outside, 8), Put::NoRoom);
}

/// Memory that changes hands: two threads put blocks into one span, and each frees those of the other.
#[test]
fn a_span_of_two_threads_keeps_the_blocks_of_both() {
    let shared = table(LINES, 5);
    let [one, other] = [0, 1].map(|number| thread(shared, number));
    let address = |i: u64| 0x5555_0000_0000 + i * 64;
    for i in 0..500 {
        assert_eq!(put_sized(if i % 3 == 0 { one } else { other }, address(i), i), Put::Done);
    }
    assert_eq!(put_sized(other, address(3), 1_000), Put::Replaced(Slot::small(address(3), 3, 3, Moment::new(1 << 20))));
    assert_eq!(put_sized(one, address(4), 1_001), Put::Replaced(Slot::small(address(4), 4, 4, Moment::new(1 << 20))));
    assert_eq!(scanned(shared).len(), 500);
    let sizes: Vec<u64> = (0..500).filter_map(|i| size_of_taken(shared, address(i))).collect();
    let expected: Vec<u64> = (0..500).map(|i| if i == 3 || i == 4 { i + 997 } else { i }).collect();
    assert_eq!(sizes, expected);
}

/// Many threads at once in the same spans: each address is handed from one thread to the next through a lock, as an allocator
/// does, and whoever has it puts its block in or takes it out.
#[test]
fn threads_at_work_in_the_same_spans_lose_no_block_and_make_none_up() {
    const ADDRESSES: usize = 3_000;
    const THREADS: u64 = 4;
    const ROUNDS: usize = 60_000;
    let shared = table(LINES, 5);
    // Which block, if any, is live at each address.
    let live: Vec<Mutex<Option<Block>>> = (0..ADDRESSES).map(|_| Mutex::new(None)).collect();
    let moves = AtomicUsize::new(0);
    let work = |number: u64| {
        let (thread, mut random) = (thread(shared, number), Random(number + 1));
        thread.record.bytes.store(2_000, Relaxed);
        for round in 0..ROUNDS {
            let at = random.below(ADDRESSES as u64);
            let address = 0x5555_0000_0010 + at * 96;
            let Ok(mut block) = live[at as usize].try_lock() else { continue };
            moves.fetch_add(1, Relaxed);
            if let Some(known) = block.take() {
                assert_eq!(take(shared, address).unpack(), Some(known), "thread {number}, {address:#x}");
            } else {
                let fresh = Block::new(address, round as u64, number as u32, Moment::new(1 << 20), 0);
                assert_eq!(put(thread, address, fresh.pack()), Put::Done, "{address:#x}");
                *block = Some(fresh);
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            scope.spawn(move || work(number));
        }
    });
    assert!(moves.into_inner() > ROUNDS, "they did work");
    let mut expected: Vec<u64> =
        live.iter().filter_map(|block| block.lock().unwrap().map(|block| block.size)).collect();
    expected.sort_unstable();
    assert_eq!(scanned(shared), expected);
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
        let _ = put_sized(thread(shared, 0), address, 8);
        let _ = take(shared, address);
    }
}
