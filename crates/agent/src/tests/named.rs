//! Hooks of functions that the user named: every parameter arrives, every result comes back; and the tables of exceptions.
//!
//! Owns: made-up functions with many parameters, and a stub like the real one. Must not know: how sites are written.

use std::arch::naked_asm;
use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

use super::{Frames, calls, in_function, thread};
use crate::exceptions::{Found, find, leaves};
use crate::heap;
use crate::named::{leakline_named_first, leakline_named_frees_second, leakline_named_resizes};
use crate::record::Thread;
use crate::taken;

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Wide([u64; 3]);

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Two(usize, usize);

type Many = extern "C" fn(usize, u64, u64, u64, u64, u64, u64, Wide, f64, f64) -> Two;

extern "C" fn many(
    size: usize,
    two: u64,
    three: u64,
    four: u64,
    five: u64,
    six: u64,
    seven: u64,
    wide: Wide,
    real: f64,
    other: f64,
) -> Two {
    assert_eq!((two, three, four, five, six, seven), (2, 3, 4, 5, 6, 7));
    assert_eq!((wide, real, other), (Wide([8, 9, 10]), 0.5, -2.0));
    Two(0x7000_0000 + size * 64, size)
}

extern "C" fn gives_back(_: u64, _: usize, real: f64) -> f64 {
    2.0 * real
}

/// As a site does it: the function in r11, and everything else as it was.
#[unsafe(naked)]
extern "C" fn hooked_many(_: usize, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: Wide, _: f64, _: f64) -> Two {
    naked_asm!("lea r11, [rip + {real}]", "jmp {hook}", real = sym many, hook = sym leakline_named_first)
}

#[unsafe(naked)]
extern "C" fn hooked_gives_back(_: u64, _: usize, _: f64) -> f64 {
    naked_asm!("lea r11, [rip + {real}]", "jmp {hook}", real = sym gives_back, hook = sym leakline_named_frees_second)
}

/// Calls the function with its hook, on a stack of this thread's own.
fn call(function: Many, size: usize) -> Two {
    function(size, 2, 3, 4, 5, 6, 7, Wide([8, 9, 10]), 0.5, -2.0)
}

fn this_thread() -> Thread {
    thread(&Frames::new(&[in_function(2)]))
}

#[test]
fn every_parameter_arrives_and_every_result_comes_back() {
    let thread = this_thread();
    let figures = &thread.record.figures;
    let before = calls(thread);
    let Two(block, size) = call(hooked_many, 48);
    assert_eq!((block, size), (0x7000_0000 + 48 * 64, 48));
    assert_eq!(hooked_gives_back(1, block, 1.5).to_bits(), 3.0_f64.to_bits());
    assert_eq!(hooked_gives_back(1, 0, 1.5).to_bits(), 3.0_f64.to_bits(), "nothing is freed");
    let after = calls(thread);
    assert_eq!(after, before.map(|calls| calls + 1));
    assert_eq!(figures.guard.load(Relaxed), 0, "the hook is left");
}

#[test]
fn a_call_inside_of_a_hook_is_the_functions_alone() {
    let frames = Frames::new(&[in_function(2)]);
    let thread = thread(&frames);
    let before = calls(thread);
    // As if a hook further out had been entered.
    thread.enter(frames.sp());
    assert_eq!(call(hooked_many, 16), Two(0x7000_0000 + 16 * 64, 16));
    thread.leave();
    assert_eq!(calls(thread), before);
}

thread_local! {
    /// A block that a function resizes, which is alive still when an exception leaves it.
    static RESIZED: Cell<usize> = const { Cell::new(0) };
}

/// Is told that it is left in the two phases of an exception, as the unwinder does; by then its block is out of the table.
extern "C" fn throws(block: usize, _: usize) -> usize {
    let thread = Thread::calling().expect("a test's thread has a record");
    let is_recorded = || heap::may_hold(thread.shared, block as u64);
    assert_eq!((thread.record.figures.guard.load(Relaxed) != 0, RESIZED.get()), (true, block));
    assert_eq!(leaves(1, 1, 0, 0, 0), 8);
    assert!(thread.record.figures.guard.load(Relaxed) != 0, "nothing is left in the search for a handler");
    assert_eq!(leaves(1, 2, 0, 0, 0), 8);
    assert!(thread.record.figures.guard.load(Relaxed) == 0 && is_recorded(), "the frame is left");
    0
}

#[unsafe(naked)]
extern "C" fn hooked_throws(_: usize, _: usize) -> usize {
    naked_asm!("lea r11, [rip + {real}]", "jmp {hook}", real = sym throws, hook = sym leakline_named_resizes)
}

#[test]
fn a_block_whose_resize_throws_is_alive() {
    let thread = this_thread();
    let Two(block, _) = call(hooked_many, 80);
    RESIZED.set(block);
    let before = calls(thread);
    // It returns here, unlike after an exception, and has failed; the guard of a call further out is not touched.
    assert_eq!(hooked_throws(block, 100), 0);
    assert_eq!(calls(thread)[1], before[1]);
    let frames = Frames::new(&[in_function(2)]);
    thread.enter(frames.sp());
    assert_eq!(leaves(1, 2, 0, 0, 0), 8);
    assert_eq!(thread.record.figures.guard.load(Relaxed), frames.sp());
    thread.leave();
}

/// What becomes of a block whose resize was left by a jump, when the thread next calls: `meanwhile` is told of the thread and the block.
#[track_caller]
fn check_left(size: usize, meanwhile: impl Fn(Thread, u64), [is_alive, frees]: [u64; 2]) {
    let frames = Frames::new(&[in_function(2)]);
    let thread = thread(&frames);
    let Two(block, _) = call(hooked_many, size);
    let block = block as u64;
    let before = calls(thread)[1];
    taken::keep(thread, block, heap::take(thread, block));
    assert!(!heap::may_hold(thread.shared, block));
    thread.enter(frames.at(4));
    meanwhile(thread, block);
    assert!(Thread::current(frames.at(5)).is_some(), "a call from further out");
    let found = [u64::from(heap::may_hold(thread.shared, block)), calls(thread)[1] - before];
    assert_eq!(found, [is_alive, frees]);
    assert!(Thread::current(frames.at(5)).is_some());
    assert_eq!(calls(thread)[1] - before, frees, "it is put back once");
    heap::take(thread, block);
    thread.leave();
}

#[test]
fn a_block_whose_resize_was_left_by_a_jump_is_alive() {
    check_left(112, |_, _| {}, [1, 0]);
    check_left(128, |thread, block| taken::note_freed(thread, block + 16), [1, 0]);
    check_left(144, taken::note_freed, [0, 1]);
    // Somebody else got the address meanwhile.
    check_left(160, |thread, block| heap::insert(thread, block, 24, 1), [1, 1]);
    // The call has ended, on whatever stack.
    check_left(176, |thread, block| assert!(taken::end(thread, block).is_some()), [0, 0]);
}

/// An index of two functions as the linker writes it, at the start of the words; tables and code are behind it.
#[test]
fn a_table_is_found_by_any_address_of_its_function() {
    let mut words = [0_u32; 32];
    let at = words.as_ptr().expose_provenance();
    // The index, 2 entries; tables at words 8 and 14; functions at bytes 256 (16 long) and 512 (32 long).
    words[..3].copy_from_slice(&[u32::from_ne_bytes([1, 0x1b, 0x03, 0x3b]), 0, 2]);
    words[3..7].copy_from_slice(&[256, 32, 512, 56]);
    words[10..12].copy_from_slice(&[256 - 40, 16]);
    words[16..18].copy_from_slice(&[512 - 64, 32]);
    let first = Some(Found { table: at + 32, function: at + 256 });
    let second = Some(Found { table: at + 56, function: at + 512 });
    let cases = [(255, None), (256, first), (271, first), (272, None), (511, None), (512, second), (543, second)];
    for (address, expected) in cases.into_iter().chain([(544, None), (1 << 40, None)]) {
        assert_eq!(find(at, at + address), expected, "{address}");
    }
    words[0] = 0;
    assert_eq!(find(words.as_ptr().expose_provenance(), at + 256), None, "no index of ours");
}
