//! Which memory of a program counts as a root: from where it reaches its blocks.
//!
//! Owns: choosing among mappings. Must not know: how memory is read, or what the blocks are for.
//!
//! A root is all that the program can write and that is not its heap: static data, stacks, thread-local storage, mappings of
//! its own. Within the heap only live blocks are looked at, and only once something leads to them: what an allocator keeps
//! there for itself, and what freed blocks still hold, would make everything look alive.

use std::ops::Range;

use formats::maps::Mapping;
use model::LiveBlock;

const PAGE: u64 = 4096;
/// Below its stack pointer a function without calls may keep data (the red zone of the System V ABI).
const RED_ZONE: u64 = 128;
/// Arenas of glibc start at multiples of this and never reach beyond the next.
const ARENA: u64 = 64 << 20;
/// glibc gives larger blocks mappings of their own.
const OWN_MAPPING_MIN: u64 = 128 << 10;

/// The end of what the C library keeps for a thread, from the thread pointer on; glibc's `struct pthread` is 2,304 bytes long.
const THREAD_BYTES: u64 = 2304;

/// Where a thread has its own memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    /// Its stack pointer.
    pub(crate) stack: u64,
    /// Its thread pointer: thread-local storage lies below it.
    pub(crate) pointer: u64,
}

/// What is known of a program beside its mappings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// Sorted.
    pub(crate) blocks: &'a [LiveBlock],
    pub(crate) threads: &'a [Own],
    /// What leakline mapped.
    pub(crate) ours: &'a [Range<u64>],
    /// Its allocator keeps lists among the blocks that lead also to blocks which it has given out (jemalloc).
    pub(crate) pooled: bool,
    /// There are blocks besides, which nobody knows: those that are older than the attach. So memory of allocators is a root
    /// as well, apart from the blocks that are known, which whoever reads it leaves out.
    pub(crate) older: bool,
}

/// The roots.
pub(crate) fn roots(mappings: &[Mapping<'_>], known: Known<'_>) -> Vec<Range<u64>> {
    let Known { blocks, threads, ours, pooled, older } = known;
    let mut roots = Vec::new();
    for mapping in mappings.iter().filter(|mapping| is_candidate(mapping)) {
        let mut parts = vec![mapping.addresses.clone()];
        let here: Vec<&Own> = threads.iter().filter(|own| mapping.addresses.contains(&own.stack)).collect();
        // What lies below belongs to calls that have returned. Of two threads in one mapping only the lower end is known.
        if let [own] = here.as_slice() {
            let dead = mapping.addresses.start..own.stack.saturating_sub(RED_ZONE) & !7;
            parts = without(parts, &dead);
        }
        let of_allocator = if older { Vec::new() } else { heap(mapping, blocks, pooled) };
        for other in ours.iter().chain(&of_allocator) {
            parts = without(parts, other);
        }
        roots.extend(parts.into_iter().filter(|part| !part.is_empty()));
        roots.extend(threads.iter().filter_map(|own| own_in_heap(mapping, blocks, *own)));
        roots.extend(here.iter().filter_map(|own| own_beside_heap(mapping, blocks, **own)));
    }
    // What two rules give is looked at twice, which changes nothing.
    roots
}

/// Memory of a thread inside of the heap: static programs take the first thread's local storage from its start, and coroutines
/// run on blocks.
fn own_in_heap(mapping: &Mapping<'_>, blocks: &[LiveBlock], own: Own) -> Option<Range<u64>> {
    if mapping.name == b"[heap]" && mapping.addresses.contains(&own.pointer) {
        let first = blocks.get(blocks.partition_point(|block| block.at.0 < mapping.addresses.start));
        let end = (own.pointer + THREAD_BYTES).min(mapping.addresses.end) & !7;
        return first.is_none_or(|block| block.at.0 >= own.pointer).then_some(mapping.addresses.start..end);
    }
    let below = blocks.partition_point(|block| block.at.0 <= own.stack).checked_sub(1)?;
    let block = blocks.get(below).filter(|_| mapping.addresses.contains(&own.stack))?;
    let end = block.at.0.saturating_add(block.size.0).min(mapping.addresses.end) & !7;
    (own.stack < end).then_some(own.stack & !7..end)
}

/// A stack with the thread's local storage above it, in a mapping that an allocator's has grown together with.
fn own_beside_heap(mapping: &Mapping<'_>, blocks: &[LiveBlock], own: Own) -> Option<Range<u64>> {
    let below = blocks.partition_point(|block| block.at.0 <= own.stack);
    let last = below.checked_sub(1).and_then(|below| blocks.get(below));
    let in_block = last.is_some_and(|block| own.stack < block.at.0.saturating_add(block.size.0));
    let is_above = own.stack < own.pointer && mapping.addresses.contains(&own.pointer);
    // Of a C library with less to keep for a thread, the allocator's part may come earlier.
    let next = blocks.get(below).map_or(u64::MAX, |block| block.at.0);
    let end = own.pointer.saturating_add(THREAD_BYTES).min(mapping.addresses.end).min(next) & !7;
    (is_above && !in_block && own.pointer < end).then_some(own.stack & !7..end)
}

/// Whether the program can write there, or could, and reading it has no effect on a device.
fn is_candidate(mapping: &Mapping<'_>) -> bool {
    let device = mapping.name.starts_with(b"/dev/")
        && !mapping.name.starts_with(b"/dev/shm/")
        && !mapping.name.starts_with(b"/dev/zero");
    let permissions = mapping.permissions;
    // What the dynamic linker has made read-only after it had written it (RELRO) holds pointers as well.
    let written_before = !permissions.write && !permissions.execute && !permissions.shared && mapping.inode != 0;
    permissions.read
        && (permissions.write || written_before)
        && !device
        && mapping.name != b"[vvar]"
        && mapping.addresses.end <= 1 << 47
}

/// The parts of a mapping that belong to an allocator.
fn heap(mapping: &Mapping<'_>, blocks: &[LiveBlock], pooled: bool) -> Vec<Range<u64>> {
    if mapping.name == b"[heap]" {
        return vec![mapping.addresses.clone()];
    }
    let within = |at: u64| blocks.partition_point(|block| block.at.0 < at);
    let inside = blocks.get(within(mapping.addresses.start)..within(mapping.addresses.end)).unwrap_or(&[]);
    let mut heap: Vec<Range<u64>> = Vec::new();
    for block in inside {
        let (start, end) = (block.at.0, block.at.0.saturating_add(block.size.0.max(1)));
        if heap.last().is_some_and(|last| end <= last.end) {
            continue;
        }
        let arena = start & !(ARENA - 1);
        heap.push(if mapping.inode == 0 && mapping.addresses.start == arena && block.size.0 < OWN_MAPPING_MIN {
            arena..(arena + ARENA).min(mapping.addresses.end)
        } else if pooled && mapping.inode == 0 && block.size.0 < OWN_MAPPING_MIN {
            // Where such an allocator keeps what in its mappings, only itself knows.
            mapping.addresses.clone()
        } else if mapping.inode == 0 {
            start & !(PAGE - 1)..end.next_multiple_of(PAGE)
        } else {
            // musl fills the ends of static data with small blocks: everything around them is the program's own.
            start..end
        });
    }
    heap
}

/// What is left of the parts.
fn without(parts: Vec<Range<u64>>, other: &Range<u64>) -> Vec<Range<u64>> {
    let mut left = Vec::with_capacity(parts.len() + 1);
    for part in parts {
        if other.end <= part.start || part.end <= other.start || other.is_empty() {
            left.push(part);
            continue;
        }
        left.push(part.start..other.start.max(part.start));
        left.push(other.end.min(part.end)..part.end);
    }
    left.retain(|part| !part.is_empty());
    left
}

/// Lists of free chunks in glibc's `main_arena`, which lies among static data: pointers of theirs lead into the last bytes of
/// the block before. They are known by their empty ones: each points to itself, 16 bytes below.
pub(crate) fn free_lists(at: u64, words: &[u64]) -> Option<Range<u64>> {
    /// `bins` in `struct malloc_state`, and what stands before it.
    const LIST_BYTES: u64 = 254 * 8;
    const BEFORE: u64 = 112;
    /// Most lists are empty in any program.
    const EMPTY_MIN: usize = 48;
    let address = |index: usize| at + 8 * index as u64;
    let is_empty = |index: usize| {
        let list = address(index).wrapping_sub(16);
        words.get(index) == Some(&list) && words.get(index + 1) == Some(&list)
    };
    let empty: Vec<u64> = (0..words.len()).filter(|index| is_empty(*index)).map(address).collect();
    // The last list is for sizes that no chunk has: it is always empty.
    let last = *empty.last()?;
    let end = last + 16;
    let begin = end.checked_sub(LIST_BYTES)?;
    let known = empty.iter().filter(|list| (begin..end).contains(list)).count();
    (known >= EMPTY_MIN).then(|| begin.saturating_sub(BEFORE)..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::maps;
    use model::{Address, Bytes, StackId};

    fn block(at: u64, size: u64) -> LiveBlock {
        LiveBlock { at: Address(at), size: Bytes(size), stack: StackId(1) }
    }

    #[track_caller]
    fn check(maps: &str, blocks: &[LiveBlock], stacks: &[u64], expected: &str) {
        let threads: Vec<Own> = stacks.iter().map(|stack| Own { stack: *stack, pointer: 0 }).collect();
        check_threads(maps, blocks, &threads, expected);
    }

    #[track_caller]
    fn check_threads(maps: &str, blocks: &[LiveBlock], threads: &[Own], expected: &str) {
        let mappings: Vec<_> = maps::parse(maps.as_bytes()).collect();
        let ours = 0x9000..0xa000;
        let ours = std::slice::from_ref(&ours);
        let found = roots(&mappings, Known { blocks, threads, ours, pooled: false, older: false });
        let text: Vec<String> = found.iter().map(|range| format!("{:x}-{:x}", range.start, range.end)).collect();
        assert_eq!(text.join(" "), expected, "{maps}");
    }

    #[test]
    fn what_can_be_written_is_a_root_and_the_heap_is_not() {
        check("1000-2000 r-xp 0 fe:01 7 /bin/x\n2000-3000 rw-p 0 fe:01 7 /bin/x\n", &[], &[], "2000-3000");
        check("1000-2000 r--p 0 fe:01 7 /bin/x\n2000-3000 r--p 0 00:00 0 [vvar]\n", &[], &[], "1000-2000");
        check("4000-8000 rw-p 0 00:00 0 [heap]\n", &[block(0x4010, 8)], &[], "");
        check("4000-8000 rw-p 0 00:00 0 \n", &[], &[], "4000-8000");
        check("4000-8000 rw-s 0 00:05 9 /dev/dri/card0\n", &[], &[], "");
        check("4000-8000 rw-s 0 00:05 9 /dev/shm/x\n", &[], &[], "4000-8000");
        check("8000-b000 rw-p 0 00:00 0 \n", &[], &[], "8000-9000 a000-b000");
        check("8000-b000 -w-p 0 00:00 0 \n8000-b000 ---p 0 00:00 0 \n", &[], &[], "");
    }

    #[test]
    fn below_the_stack_pointer_is_nothing() {
        check("10000-20000 rw-p 0 00:00 0 [stack]\n", &[], &[0x1f100], "1f080-20000");
        check("10000-20000 rw-p 0 00:00 0 \n", &[], &[0x5000, 0x1f100], "1f080-20000");
        check("10000-20000 rw-p 0 00:00 0 \n", &[], &[0x11000, 0x1f100], "10000-20000");
    }

    #[test]
    fn memory_of_threads_in_the_heap_is_a_root() {
        let heap = "400000-500000 rw-p 0 00:00 0 [heap]\n";
        let own = |stack, pointer| [Own { stack, pointer }];
        check_threads(heap, &[block(0x0040_1010, 8)], &own(0, 0x0040_0380), "400000-400c80");
        check_threads(heap, &[block(0x0040_0010, 8)], &own(0, 0x0040_0380), "");
        check_threads(heap, &[block(0x0041_0010, 0x8000)], &own(0x0041_7004, 0), "417000-418010");
        check_threads(heap, &[block(0x0041_0010, 0x1000)], &own(0x0041_7004, 0), "");
    }

    #[test]
    fn of_a_mapping_with_blocks_only_the_rest_is_a_root() {
        let large = block(0x3000_1010, 0x20_000);
        check("30000000-30100000 rw-p 0 00:00 0 \n", &[large], &[], "30000000-30001000 30022000-30100000");
        check("10000000-10100000 rw-p 0 00:00 0 \n", &[block(0x1000_0900, 24)], &[], "");
        check("10000000-18000000 rw-p 0 00:00 0 \n", &[block(0x1000_0900, 24)], &[], "14000000-18000000");
        check("5000-7000 rw-p 0 00:00 0 \n", &[block(0x6010, 16), block(0x6020, 16)], &[], "5000-6000");
        check("5000-7000 rw-p 0 fe:01 7 /lib/libc.so\n", &[block(0x6010, 16)], &[], "5000-6010 6020-7000");
    }

    #[test]
    fn around_small_blocks_of_an_allocator_with_lists_among_them_is_nothing() {
        let maps = "11000000-11800000 rw-p 0 00:00 0 \n20000000-20100000 rw-p 0 00:00 0 \n";
        let mappings: Vec<_> = maps::parse(maps.as_bytes()).collect();
        let large = block(0x1160_1000, 0x20_000);
        let blocks = [block(0x1120_1010, 32), block(0x1120_9000, 32), large];
        let check = |pooled, threads: &[Own], expected: &str| {
            let found = roots(&mappings, Known { blocks: &blocks, threads, ours: &[], pooled, older: false });
            let text: Vec<String> = found.iter().map(|range| format!("{:x}-{:x}", range.start, range.end)).collect();
            assert_eq!(text.join(" "), expected);
        };
        let apart = "11000000-11201000 11202000-11209000 1120a000-11601000 11621000-11800000 20000000-20100000";
        check(false, &[], apart);
        check(true, &[], "20000000-20100000");
        let thread = Own { stack: 0x1130_0004, pointer: 0x1130_8000 };
        check(true, &[thread], "11300000-11308900 20000000-20100000");
        let near = Own { stack: 0x1130_0000, pointer: 0x1160_0e00 };
        check(true, &[near], "11300000-11601000 20000000-20100000");
        let on_block = Own { stack: 0x1160_2000, pointer: 0x1170_0000 };
        check(true, &[on_block], "11602000-11621000 20000000-20100000");
    }

    #[test]
    fn where_older_blocks_may_be_the_heap_is_a_root() {
        let maps =
            "400000-500000 rw-p 0 00:00 0 [heap]\n8000-b000 rw-p 0 00:00 0 \n10000-20000 rw-p 0 00:00 0 [stack]\n";
        let mappings: Vec<_> = maps::parse(maps.as_bytes()).collect();
        let (ours, threads) = (0x9000..0xa000, [Own { stack: 0x1f100, pointer: 0 }]);
        let blocks = [block(0x40_1010, 32)];
        let ours = std::slice::from_ref(&ours);
        let found = roots(&mappings, Known { blocks: &blocks, threads: &threads, ours, pooled: false, older: true });
        let text: Vec<String> = found.iter().map(|range| format!("{:x}-{:x}", range.start, range.end)).collect();
        assert_eq!(text.join(" "), "400000-500000 8000-9000 a000-b000 1f080-20000");
    }

    #[test]
    fn lists_of_free_chunks_are_found_by_the_empty_ones() {
        let (at, first) = (0x7000_u64, 40);
        let mut words = vec![7_u64; 400];
        for list in 0..127 {
            let here = at + 8 * (first + 2 * list) as u64 - 16;
            words[first + 2 * list] = here;
            words[first + 2 * list + 1] = here;
        }
        let begin = at + 8 * first as u64;
        let expected = begin - 112..begin + 254 * 8;
        assert_eq!(free_lists(at, &words), Some(expected.clone()));
        for list in 0..70 {
            words[first + 2 * list] = 0x1234;
        }
        assert_eq!(free_lists(at, &words), Some(expected), "also while many are in use");
        assert_eq!(free_lists(at, &[7; 400]), None);
        assert_eq!(free_lists(at, &[]), None);
    }
}
