//! Hooks of rare calls: what they tell, when, and who makes the call.
//!
//! Owns: made-up functions of the C library. Must not know: stubs, the reader of the ring.

use std::cell::Cell;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use wire::{Call, EVENTS, Event, regions};

use super::{Frames, Thread, in_function, look_at, own_code, shared, thread};
use crate::calls::Answer;
use crate::descriptors::{
    leakline_closes, leakline_closes_from, leakline_closes_range, leakline_controls, leakline_duplicates,
    leakline_forks, leakline_opened, leakline_opens, leakline_opens_two, leakline_spawns, leakline_vforks,
};
use crate::heap;
use crate::regions::{leakline_creates_thread, leakline_maps, leakline_remaps, leakline_unmaps};
use crate::stack;
use crate::wide::{leakline_wide_in_place, leakline_wide_resize_product, leakline_wide_size_second};

type Function = extern "C" fn(usize, usize, usize, usize, usize, usize) -> usize;
type Hook = extern "C" fn(usize, usize, usize, usize) -> Answer;

thread_local! {
    /// What the made-up function returns, and how often it was called.
    static RESULT: Cell<usize> = const { Cell::new(0) };
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

extern "C" fn real(_: usize, _: usize, _: usize, _: usize, _: usize, _: usize) -> usize {
    CALLS.set(CALLS.get() + 1);
    RESULT.get()
}

/// Calls a hook as its stub does; the function returns `result`. What the call returned, none where it is left to the function.
fn call(hook: Hook, arguments: [usize; 6], result: usize, frames: &Frames) -> Option<usize> {
    RESULT.set(result);
    let arguments = std::ptr::from_ref(&arguments).expose_provenance();
    let real = (real as Function as *const ()).expose_provenance();
    hook(arguments, frames.sp() as usize, 0, real).result()
}

/// What this thread has told since the last look.
fn told(thread: Thread, since: &mut u64) -> Vec<(Call, bool, [u64; 4])> {
    let end = shared().control().events.next.load(Acquire);
    let event = |number: u64| -> &Event {
        shared().at(regions::EVENT_RING.at + (number & (EVENTS as u64 - 1)) * size_of::<Event>() as u64)
    };
    let mut told = Vec::new();
    for event in (*since..end).map(event) {
        let what = event.what.load(Relaxed);
        if (what >> 32) as u32 == thread.number() {
            let words = [0, 1, 2, 3].map(|i: usize| event.words[i].load(Relaxed));
            told.push((Call::of(what as u8).unwrap(), what & Event::NESTED != 0, words));
        }
    }
    *since = end;
    told
}

/// A thread of its own with a stack that ends at once.
fn stage() -> (Frames, Thread, u64) {
    let frames = Frames::new(&[in_function(2)]);
    let thread = thread(&frames);
    CALLS.set(0);
    let since = shared().control().events.next.load(Acquire);
    (frames, thread, since)
}

#[test]
fn what_ends_is_told_before_and_left_to_the_function() {
    let (frames, thread, mut since) = stage();
    assert_eq!(call(leakline_unmaps, [0x1000, 0x2000, 0, 0, 0, 0], 0, &frames), None);
    assert_eq!(call(leakline_closes, [5, 0, 0, 0, 0, 0], 0, &frames), None);
    assert_eq!(call(leakline_closes_range, [5, 9, 0, 0, 0, 0], 0, &frames), None);
    // Closing on exec closes nothing now.
    assert_eq!(call(leakline_closes_range, [5, 9, 4, 0, 0, 0], 0, &frames), None);
    assert_eq!(call(leakline_closes_from, [-1_isize as usize, 0, 0, 0, 0, 0], 0, &frames), None);
    assert_eq!(CALLS.get(), 0, "the stub lets the function run");
    let all = u64::from(u32::MAX);
    let expected = [
        (Call::Unmap, false, [0x1000, 0x2000, 0, 0]),
        (Call::Close, false, [5, 0, 0, 0]),
        (Call::CloseRange, false, [5, 9, 0, 0]),
        (Call::CloseRange, false, [0, all, 0, 0]),
    ];
    assert_eq!(told(thread, &mut since), expected);
}

#[test]
fn what_begins_is_told_after_it_succeeded() {
    let (frames, thread, mut since) = stage();
    assert_eq!(call(leakline_maps, [0, 0x3000, 3, 0x22, usize::MAX, 0], 0x7000, &frames), Some(0x7000));
    assert_eq!(call(leakline_maps, [0, 0x3000, 3, 0x22, usize::MAX, 0], usize::MAX, &frames), Some(usize::MAX));
    assert_eq!(call(leakline_opens, [1, 1, 0, 0, 0, 0], 7, &frames), Some(7));
    // A function that returns an int leaves what it likes in the other half of the register.
    let failed = 0xffff_ffff_usize;
    assert_eq!(call(leakline_opens, [1, 1, 0, 0, 0, 0], failed, &frames), Some(failed));
    assert_eq!(CALLS.get(), 4);
    let expected = [(Call::Map, false, [0x7000, 0x3000, 0x22, 0]), (Call::Open, false, [7, 0, 0, 0])];
    assert_eq!(told(thread, &mut since), expected);
}

/// The function that maps was called by an allocating one (function 1, three words) that was let run without a guard, whose return
/// address stands in the fourth word.
#[test]
fn what_a_call_maps_that_passed_unguarded_is_the_allocators() {
    let frames = Frames::new(&[in_function(1), 7, 7, 7, in_function(2)]);
    let thread = thread(&frames);
    let mut since = shared().control().events.next.load(Acquire);
    // A thread of which no stack was ever looked at.
    thread.record.forget_anchor();
    let mut maps = |at: u64, pc: u64| {
        thread.record.figures.passed_sp.store(at, Relaxed);
        thread.record.figures.passed_pc.store(pc, Relaxed);
        assert_eq!(call(leakline_maps, [0, 0x3000, 3, 0x22, usize::MAX, 0], 0x7000, &frames), Some(0x7000));
        told(thread, &mut since)[0].1
    };
    assert!(maps(frames.at(4), in_function(2)));
    assert!(!maps(frames.at(4), in_function(1)), "another return address stands there now");
    assert!(!maps(frames.at(3), 7), "no frame's return address stands there");
    assert!(!maps(frames.sp(), in_function(1)), "that is the call itself, not what it was called by");
    assert!(!maps(0, 0), "no call ever passed");
    assert!(!maps(u64::MAX - 7, 0), "nothing that can be read");
}

/// To ask that may be the first to find the thread on another stack, of which what is remembered of the one before must not be believed.
#[test]
fn to_ask_what_a_call_maps_forgets_what_lay_on_another_stack() {
    let frames = Frames::new(&[in_function(1), 7, 7, 7, in_function(2)]);
    let thread = thread(&frames);
    let unwound = || thread.record.figures.stacks_unwound.load(Relaxed);
    let look = || stack::id_of(thread, frames.sp(), 0);
    let id = look();
    let before = unwound();
    assert_eq!((look(), unwound()), (id, before), "it is remembered");
    thread.record.forget_anchor();
    assert!(!stack::passes_allocation(thread, frames.sp(), 0));
    assert_eq!((look(), unwound()), (id, before + 1));
}

#[test]
fn a_move_is_told_twice_whatever_comes_of_it() {
    let (frames, thread, mut since) = stage();
    let arguments = [0x1000, 0x1000, 0x5000, 1, 0, 0];
    assert_eq!(call(leakline_remaps, arguments, usize::MAX, &frames), Some(usize::MAX));
    let expected =
        [(Call::MoveBegin, false, [0x1000, 0x1000, 1, 0]), (Call::MoveEnd, false, [u64::MAX, 0x5000, 0x1000, 0x1000])];
    assert_eq!(told(thread, &mut since), expected);
}

#[test]
fn only_what_makes_a_descriptor_is_told() {
    let (frames, thread, mut since) = stage();
    assert_eq!(call(leakline_duplicates, [4, 4, 0, 0, 0, 0], 4, &frames), None, "onto itself");
    assert_eq!(call(leakline_duplicates, [4, 6, 0, 0, 0, 0], 6, &frames), Some(6));
    assert_eq!(call(leakline_controls, [4, 7, 0, 0, 0, 0], 0, &frames), None, "F_SETLKW may sleep");
    assert_eq!(call(leakline_controls, [4, 0, 0, 0, 0, 0], 8, &frames), Some(8));
    let two = [11_u32, 12];
    let at = std::ptr::from_ref(&two).expose_provenance();
    assert_eq!(call(leakline_opens_two, [at, 0, 0, 0, 0, 0], 0, &frames), Some(0));
    leakline_opened(13, frames.sp() as usize, 0);
    leakline_opened(-4_isize as usize, frames.sp() as usize, 0);
    let numbers: Vec<u64> = told(thread, &mut since).iter().map(|(.., words)| words[0]).collect();
    assert_eq!(numbers, [6, 8, 11, 12, 13]);
}

#[test]
fn what_an_allocator_maps_is_marked_and_what_it_opens_is_not_told() {
    let (mut frames, thread, mut since) = stage();
    // Something returns into the hook of the allocator.
    frames.words[7] = own_code()[0];
    thread.enter(frames.at(8));
    assert_eq!(call(leakline_maps, [0, 0x3000, 3, 0x22, usize::MAX, 0], 0x7000, &frames), Some(0x7000));
    assert_eq!(call(leakline_opens, [0; 6], 7, &frames), Some(7));
    assert_eq!(call(leakline_closes, [7, 0, 0, 0, 0, 0], 0, &frames), None);
    thread.leave();
    assert_eq!(told(thread, &mut since), [(Call::Map, true, [0x7000, 0x3000, 0x22, 0])]);
}

#[test]
fn the_child_of_a_vfork_tells_nothing_of_descriptors() {
    let (frames, thread, mut since) = stage();
    let process = &shared().control().process;
    process.store(1, Relaxed);
    let made = || shared().control().gate.children.load(Relaxed);
    let before = made();
    assert_eq!(call(leakline_forks, [0; 6], 0, &frames), None);
    assert_eq!(call(leakline_vforks, [0; 6], 0, &frames), None);
    assert!(made() >= before + 2, "each makes a child");
    assert_eq!(call(leakline_closes, [5, 0, 0, 0, 0, 0], 0, &frames), None, "this is not process 1");
    assert_eq!(told(thread, &mut since), []);
    // SAFETY: the call has no arguments and cannot fail.
    process.store(unsafe { libc::getpid() } as u32, Relaxed);
    assert_eq!(call(leakline_closes, [6, 0, 0, 0, 0, 0], 0, &frames), None);
    assert_eq!(told(thread, &mut since), [(Call::Close, false, [6, 0, 0, 0])]);
    assert_eq!(thread.record.vforked.load(Relaxed), 0, "the kernel is asked once");
}

extern "C" fn closes_inside(a: usize, _: usize, _: usize, _: usize, _: usize, _: usize) -> usize {
    let arguments = [a, 0, 0, 0, 0, 0];
    let at = std::ptr::from_ref(&arguments).expose_provenance();
    assert!(leakline_closes(at, at, 0, 0).result().is_none());
    17
}

#[test]
fn a_spawn_tells_nothing_of_what_its_child_does() {
    let (frames, thread, mut since) = stage();
    let arguments = [5_usize; 6];
    let at = std::ptr::from_ref(&arguments).expose_provenance();
    let real = (closes_inside as Function as *const ()).expose_provenance();
    assert_eq!(leakline_spawns(at, frames.sp() as usize, 0, real).result(), Some(17));
    assert_eq!(told(thread, &mut since), []);
    assert!(!thread.is_inside(frames.sp()), "the guard is gone");
}

#[test]
fn a_thread_is_told_with_its_handle_and_how_it_was_made() {
    let (frames, thread, mut since) = stage();
    let handle = 0x7777_usize;
    let mut attributes = [0_u32; 16];
    attributes[2] = 9;
    let (at, attributes) =
        (std::ptr::from_ref(&handle).expose_provenance(), std::ptr::from_ref(&attributes).expose_provenance());
    assert_eq!(call(leakline_creates_thread, [at, attributes, 0, 0, 0, 0], 0, &frames), Some(0));
    // C11's `thrd_create` passes attributes that lead nowhere, and a thread that was not made has no handle.
    assert_eq!(call(leakline_creates_thread, [at, usize::MAX, 0, 0, 0, 0], 11, &frames), Some(11));
    let ends: Vec<[u64; 4]> = told(thread, &mut since)
        .into_iter()
        .filter(|(call, ..)| *call == Call::ThreadEnd)
        .map(|(.., words)| words)
        .collect();
    assert_eq!(ends, [[0x7777, 1, 0, 0], [0; 4]]);
}

#[test]
fn functions_with_many_arguments_count_their_blocks() {
    let (frames, thread, _) = stage();
    let block = 0x6667_0000_0020_usize;
    let size = || look_at(thread, block as u64);
    assert_eq!(call(leakline_wide_size_second, [1, 640, 64, 0, 0, 0], block, &frames), Some(block));
    assert_eq!(size().map(|block| block.size), Some(640));
    assert_eq!(call(leakline_wide_resize_product, [block, 3, 100, 64, 0, 0], 0, &frames), Some(0));
    assert_eq!(size().map(|block| block.size), Some(640), "a resize that failed leaves it");
    assert_eq!(call(leakline_wide_resize_product, [block, 3, 100, 64, 0, 0], block, &frames), Some(block));
    assert_eq!(size().map(|block| block.size), Some(300));
    assert_eq!(call(leakline_wide_in_place, [block, 1000, 0, 0, 0, 0], 512, &frames), Some(512));
    assert_eq!(size().map(|block| block.size), Some(300), "it did not get that large");
    assert_eq!(call(leakline_wide_in_place, [block, 500, 0, 0, 0, 0], 512, &frames), Some(512));
    assert_eq!(size().map(|block| block.size), Some(500));
    heap::take(thread, block as u64);
}
