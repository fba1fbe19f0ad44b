//! Whether a thread stands on the stack that it was started with.
//!
//! Owns: telling that from the mappings, the stack pointer and the thread pointer. Must not know: what room is wanted for.
//!
//! Below the stack pointer of such a thread lies nothing that anybody uses. Below that of a coroutine may lie somebody else's
//! block of the heap: its stack is whatever memory the program took for it, and writing there would overwrite that block.

use std::ops::Range;

use formats::maps::Mapping;

/// Where a thread stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stands {
    /// It is the thread that the process began with.
    pub(crate) is_main: bool,
    /// Its stack pointer.
    pub(crate) stack: u64,
    /// Its thread pointer.
    pub(crate) thread: u64,
}

/// Whether `room`, below the stack pointer of a thread, is part of the thread's own stack.
pub(crate) fn holds(mappings: &[Mapping<'_>], stands: Stands, room: &Range<u64>) -> bool {
    let Stands { is_main, stack, thread } = stands;
    debug_assert!(room.end <= stack, "room is below the stack pointer");
    let is_around = |mapping: &&Mapping<'_>| mapping.addresses.start <= room.start && stack < mapping.addresses.end;
    let Some(mapping) = mappings.iter().find(is_around) else { return false };
    if !mapping.permissions.write || mapping.permissions.shared {
        return false;
    }
    // The kernel names the stack of the main thread. C libraries put what the thread pointer leads to at the top of every other
    // thread's stack, with a guard page below the stack: in between there is nothing else.
    let is_threads = mapping.name != b"[heap]" && stack < thread && thread < mapping.addresses.end;
    if is_main { mapping.name == b"[stack]" } else { is_threads }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
        10000-20000 rw-p 00000000 00:00 0 [heap]\n\
        30000-31000 ---p 00000000 00:00 0 \n\
        31000-50000 rw-p 00000000 00:00 0 \n\
        50000-60000 rw-s 00000000 00:01 7 /dev/shm/x\n\
        60000-70000 r--p 00000000 08:01 9 /lib/x\n\
        80000-90000 rw-p 00000000 00:00 0 [stack]\n";

    /// The stack pointer, the thread pointer, and how many bytes are wanted below.
    #[track_caller]
    fn check(is_main: bool, stack: u64, thread: u64, wanted: u64, expected: bool) {
        let mappings: Vec<_> = formats::maps::parse(MAPS.as_bytes()).collect();
        assert_eq!(mappings.len(), 6);
        let found = holds(&mappings, Stands { is_main, stack, thread }, &(stack - wanted..stack - 128));
        assert_eq!(found, expected, "main {is_main}: stack {stack:#x}, thread {thread:#x}, {wanted:#x} bytes");
    }

    #[test]
    fn the_main_thread_stands_on_the_stack_of_the_kernel() {
        check(true, 0x88000, 0x40000, 0x1000, true);
        check(true, 0x81000, 0x40000, 0x1000, true);
        check(true, 0x81000, 0x40000, 0x1001, false);
        check(true, 0x18000, 0x40000, 0x1000, false);
        check(true, 0x38000, 0x40000, 0x1000, false);
    }

    #[test]
    fn other_threads_stand_below_their_thread_pointer() {
        check(false, 0x38000, 0x4f000, 0x1000, true);
        check(false, 0x32000, 0x4f000, 0x1000, true);
        check(false, 0x32000, 0x4f000, 0x1001, false);
        // A coroutine in memory that was mapped right behind the stack, or anywhere else.
        check(false, 0x4f800, 0x4f000, 0x1000, false);
        check(false, 0x18000, 0x4f000, 0x1000, false);
        check(false, 0x88000, 0x4f000, 0x1000, false);
        // A thread whose stack is a block of the heap.
        check(false, 0x18000, 0x1f000, 0x1000, false);
    }

    #[test]
    fn shared_and_unwritable_memory_is_no_stack() {
        check(false, 0x58000, 0x5f000, 0x1000, false);
        check(false, 0x68000, 0x6f000, 0x1000, false);
        check(false, 0x78000, 0x7f000, 0x1000, false);
    }
}
