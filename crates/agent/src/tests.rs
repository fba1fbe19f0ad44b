//! The agent in this process: on a mapping like the real one, with stacks and code that the tests make up.
//!
//! Owns: the made-up code and its rules. Must not know: how leakline fills the tables for real targets.

mod calls;
mod named;
mod nested;
mod stepped;

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use wire::{Block, PackedRule, RuleKind, SiteCounters, Slot, StackRecord, regions};

use crate::heap;
use crate::hooks::{
    leakline_counts, leakline_counts_by_crc32, leakline_free, leakline_frees, leakline_looks, leakline_malloc,
    leakline_realloc,
};
use crate::record::Thread;
use crate::shared::{ModuleCell, Shared};
use crate::stack;
use crate::turn;

const LINES: u32 = 1 << 20;
const GRANULE_SHIFT: u32 = 5;
/// Made-up code: one function every 0x100 bytes, with the rule of the same position in [`RULES`].
const CODE: u64 = 0x10_0000;
const RULES: [(RuleKind, u32, u32); 8] = [
    (RuleKind::StackPointer, 2, PackedRule::RBP_SAME), // 0: return address one word above its stack pointer
    (RuleKind::StackPointer, 4, PackedRule::RBP_SAME), // 1: three words above
    (RuleKind::End, 0, 0),                             // 2
    (RuleKind::FramePointer, 2, 2),                    // 3: the usual frame with a frame pointer
    (RuleKind::Unknown, 0, 0),                         // 4
    (RuleKind::StackPointer, 3, 2),                    // 5: saves rbp
    (RuleKind::FramePointerDeref, 1, PackedRule::RBP_AT_RBP), // 6
    (RuleKind::Plt, 0, 0),                             // 7
];
/// A handler returns to the first byte of the restorer; its table covers the byte before, as glibc's does.
const SIGNAL_RESTORER: u64 = CODE + 0x801;

/// Return address into function `i`.
const fn in_function(i: u64) -> u64 {
    CODE + i * 0x100 + 0x10
}

/// The mapping that all tests share; each test's thread has a record of its own.
fn shared() -> Shared {
    static BASE: OnceLock<u64> = OnceLock::new();
    let base = *BASE.get_or_init(|| {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
        let len = wire::FILE_BYTES as usize;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        let base = base.expose_provenance() as u64;
        fill(Shared::attach(base));
        base
    });
    Shared::attach(base)
}

fn fill(shared: Shared) {
    let control = shared.control();
    control.depth.store(8, Relaxed);
    control.stacks_max.store(wire::STACKS_MAX as u32, Relaxed);
    control.stacks.ids.store(1, Relaxed);
    control.lines_max.store(LINES, Relaxed);
    control.records_max.store(wire::THREADS_MAX as u32, Relaxed);
    control.blocks.further.store(1, Relaxed);
    crate::marks::begin(shared);
    control.granule_shift.store(GRANULE_SHIFT, Relaxed);
    control.has_crc32.store(u32::from(std::is_x86_feature_detected!("sse4.2")), Relaxed);
    control.expire_ticks.store(u64::MAX, Relaxed);
    control.generation.store(1, Relaxed);
    let rules = RULES.into_iter().chain([(RuleKind::Signal, 0, 0)]);
    let rules: Vec<u32> = rules.map(|(kind, offset, rbp)| PackedRule::new(kind, offset, rbp).unwrap().0).collect();
    let words: &[std::sync::atomic::AtomicU32] = shared.slice(regions::ROWS.at, 2 * rules.len());
    for (i, rule) in rules.iter().enumerate() {
        words[i].store(i as u32 * 0x100, Relaxed);
        words[rules.len() + i].store(*rule, Relaxed);
    }
    let module: &ModuleCell = shared.at(regions::MODULES.at);
    module.start.store(CODE, Relaxed);
    module.end.store(CODE + 0x1000, Relaxed);
    module.base.store(CODE, Relaxed);
    module.rows.store(rules.len() as u32, Relaxed);
    control.modules.store(1 << 2, Relaxed);
    let [start, end] = own_code();
    control.code_at.store(start, Relaxed);
    control.code_len.store(end - start, Relaxed);
    control.state.store(1, Relaxed);
}

/// Where the code of this program is, which stands for ours in a target.
fn own_code() -> [u64; 2] {
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    [&raw const __executable_start, &raw const etext].map(|end| end.expose_provenance() as u64)
}

/// A piece of this thread's own stack, filled by hand.
struct Frames {
    words: [u64; 64],
}

impl Frames {
    fn new(words: &[u64]) -> Self {
        let mut frames = Self { words: [0; 64] };
        frames.words[..words.len()].copy_from_slice(words);
        frames
    }

    fn sp(&self) -> u64 {
        self.words.as_ptr().expose_provenance() as u64
    }

    fn at(&self, word: u64) -> u64 {
        self.sp() + 8 * word
    }
}

fn thread(frames: &Frames) -> Thread {
    shared();
    Thread::current(frames.sp()).expect("a test's thread has a record")
}

/// Calls that allocated and calls that freed.
fn calls(thread: Thread) -> [u64; 2] {
    let figures = &thread.record.figures;
    [(&figures.allocations, &figures.allocations_left), (&figures.frees, &figures.frees_left)]
        .map(|(counted, left)| wire::calls_made(counted.load(Relaxed), left.load(Relaxed)))
}

fn frames_of(id: u32) -> Vec<u64> {
    let shared = shared();
    let record: &StackRecord = shared.at(regions::STACKS.at + u64::from(id) * 16);
    let at = u64::from(record.frames_at.load(Relaxed));
    let words: &[std::sync::atomic::AtomicU64] =
        shared.slice(regions::FRAMES.at + at * 8, record.frames.load(Acquire) as usize);
    words.iter().map(|word| word.load(Relaxed)).collect()
}

/// Unwinds and writes each frame as the number of its function, with a mark for those found by frame pointers.
fn names(frames: &Frames, rbp: u64) -> String {
    let id = stack::id_of(thread(frames), frames.sp(), rbp);
    let name = |word: u64| match ((word & wire::FRAME_ADDRESS_MASK).wrapping_sub(CODE) >> 8, word >> 62) {
        (8, _) => "signal".into(),
        (function, 2) => format!("{function}p"),
        (function, _) => function.to_string(),
    };
    frames_of(id).into_iter().map(name).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(words: &[u64], expected: &str) {
    let frames = Frames::new(words);
    // Twice: the second time it comes from the stack memory.
    assert_eq!(names(&frames, 0), expected);
    assert_eq!(names(&frames, 0), expected);
}

#[test]
fn frames_are_found_by_the_stack_pointer() {
    check(&[in_function(2)], "2");
    // Called from 0, whose frame is one word; that one from 1, whose frame is three.
    check(&[in_function(0), 7, in_function(1), 7, 7, 7, in_function(2)], "0 1 2");
    check(&[in_function(7), in_function(2)], "7 2");
}

#[test]
fn a_return_address_of_zero_ends_a_stack_and_one_that_is_no_code_breaks_it() {
    check(&[in_function(0), 7, 0], "0");
    let frames = Frames::new(&[in_function(0), 7, 0xdead_0000]);
    let broken = || thread(&frames).record.figures.stacks_broken.load(Relaxed);
    let before = broken();
    assert_eq!(frames_of(stack::id_of(thread(&frames), frames.sp(), 0)).len(), 2);
    assert_eq!(broken(), before + 1);
    assert_eq!(shared().control().threads.unknown_code.load(Relaxed), 0xdead_0000 - 1);
}

#[test]
fn frame_pointers_are_followed_where_a_rule_says_so_and_where_there_is_none() {
    let mut frames = Frames::new(&[in_function(3)]);
    frames.words[5] = frames.at(10);
    frames.words[6] = in_function(4);
    frames.words[10] = 0;
    frames.words[11] = in_function(2);
    assert_eq!(names(&frames, frames.at(5)), "3 4 2p");
    // The same words with another rbp at the entry are another stack.
    assert_ne!(names(&frames, frames.at(10)), "3 4 2p");
    assert_eq!(names(&frames, frames.at(5)), "3 4 2p");
}

#[test]
fn a_saved_frame_pointer_is_read_only_when_it_is_needed() {
    let mut frames = Frames::new(&[in_function(5), 0, in_function(3)]);
    // Function 5 saved rbp two words below its frame's end: that is word 1; its caller needs it.
    frames.words[3] = in_function(3);
    frames.words[2] = frames.at(20);
    frames.words[20] = 0;
    frames.words[21] = in_function(2);
    assert_eq!(names(&frames, 0xbad), "5 3 2");
    frames.words[2] = frames.at(30);
    frames.words[31] = in_function(0);
    frames.words[33] = 0;
    assert_eq!(names(&frames, 0xbad), "5 3 0");
}

#[test]
fn a_realigned_frame_is_found_through_its_saved_address() {
    let mut frames = Frames::new(&[in_function(6)]);
    frames.words[8] = 0;
    frames.words[7] = frames.at(16);
    frames.words[15] = in_function(2);
    assert_eq!(names(&frames, frames.at(8)), "6 2");
}

#[test]
fn the_stack_below_a_signal_handler_is_found() {
    let mut frames = Frames::new(&[SIGNAL_RESTORER]);
    let context = 1;
    frames.words[context + 15] = 0; // rbp
    frames.words[context + 20] = frames.at(40); // rsp
    frames.words[context + 21] = in_function(0) - 1; // rip: exact, not a return address
    frames.words[41] = in_function(2);
    assert_eq!(names(&frames, 0), "signal 0 2");
}

#[test]
fn deep_stacks_are_cut_and_counted() {
    let mut words = Vec::new();
    for _ in 0..20 {
        words.extend([in_function(0), 7]);
    }
    let frames = Frames::new(&words);
    let cut = || thread(&frames).record.figures.stacks_cut.load(Relaxed);
    let before = cut();
    assert_eq!(names(&frames, 0), "0 0 0 0 0 0 0 0");
    assert_eq!(cut(), before + 1);
}

/// The heart of the stack memory: whatever single word changes, the stack is not taken for the old one.
#[test]
fn every_word_that_matters_is_proven() {
    let mut frames =
        Frames::new(&[in_function(0), 7, in_function(1), 7, 7, 7, in_function(1), 7, 7, 7, in_function(2)]);
    let unwound = |frames: &Frames| thread(frames).record.figures.stacks_unwound.load(Relaxed);
    assert_eq!(names(&frames, 0), "0 1 1 2");
    let before = unwound(&frames);
    for word in [1, 3, 4, 5, 7, 8, 9] {
        frames.words[word] = 99;
    }
    assert_eq!(names(&frames, 0), "0 1 1 2");
    assert_eq!(unwound(&frames), before, "words that unwinding did not read do not matter");
    for word in [2, 6, 10] {
        let kept = frames.words;
        // Another caller, which is the outermost one.
        frames.words[word] = in_function(2) + 1;
        let before = unwound(&frames);
        names(&frames, 0);
        assert!(unwound(&frames) > before, "word {word} was not looked at");
        frames.words = kept;
        assert_eq!(names(&frames, 0), "0 1 1 2");
    }
    shared().control().generation.fetch_add(1, Relaxed);
    let before = unwound(&frames);
    assert_eq!(names(&frames, 0), "0 1 1 2");
    assert_eq!(unwound(&frames), before + 1, "new modules void what is remembered");
}

/// Calls from many places of one function, and from one place (a wrapper's) that is itself called from many: none drives others out.
#[test]
fn hundreds_of_stacks_are_remembered_side_by_side() {
    const PLACES: u64 = 200;
    const ROUNDS: u64 = 20;
    let mut frames = Frames::new(&[0, 7, 0, 7, in_function(2)]);
    let unwound = |frames: &Frames| thread(frames).record.figures.stacks_unwound.load(Relaxed);
    let round = |frames: &mut Frames| {
        for place in 1..=PLACES {
            (frames.words[0], frames.words[2]) = (CODE + place, in_function(2));
            assert_eq!(names(frames, 0), "0 2");
            (frames.words[0], frames.words[2]) = (in_function(0), CODE + place);
            assert_eq!(names(frames, 0), "0 0 2");
        }
    };
    round(&mut frames);
    let before = unwound(&frames);
    (1..ROUNDS).for_each(|_| round(&mut frames));
    let again = unwound(&frames) - before;
    // Another test voids what is remembered, once.
    assert!(again * 10 < 2 * PLACES * ROUNDS, "{again} unwound again");
}

/// Wrappers such as `operator new`: what they are called by tells their stacks apart, and their marks may get into each other's way.
#[test]
fn the_callers_of_many_wrappers_are_remembered_side_by_side() {
    const WRAPPERS: u64 = 60;
    const CALLERS: u64 = 12;
    const ROUNDS: u64 = 10;
    let mut frames = Frames::new(&[0, 7, 0, 7, in_function(2)]);
    let unwound = |frames: &Frames| thread(frames).record.figures.stacks_unwound.load(Relaxed);
    let round = |frames: &mut Frames| {
        for (wrapper, caller) in (0..WRAPPERS).flat_map(|wrapper| (0..CALLERS).map(move |caller| (wrapper, caller))) {
            (frames.words[0], frames.words[2]) = (CODE + 1 + wrapper, CODE + 100 + caller);
            assert_eq!(names(frames, 0), "0 0 2");
        }
    };
    // Twice: the first time tells that there are several, and what was remembered of them before is found no more.
    round(&mut frames);
    round(&mut frames);
    let before = unwound(&frames);
    (0..ROUNDS).for_each(|_| round(&mut frames));
    let again = unwound(&frames) - before;
    // Another test voids what is remembered, once.
    assert!(again < 3 * WRAPPERS * CALLERS, "{again} of {} unwound again", ROUNDS * WRAPPERS * CALLERS);
}

fn insert(thread: Thread, address: u64, size: u64, stack: u32) {
    heap::insert(thread, address, size, stack);
}

fn counters(thread: Thread, id: u32) -> &'static SiteCounters {
    let row = regions::COUNTERS.at + u64::from(thread.number()) * regions::COUNTERS_PER_THREAD;
    thread.shared.at(row + u64::from(id) * wire::COUNTERS_BYTES)
}

#[test]
fn blocks_are_counted_from_birth_to_free() {
    let frames = Frames::new(&[in_function(2)]);
    let (thread, site) = (thread(&frames), 60_001);
    let figures = |i: usize| {
        let c = counters(thread, site);
        [&c.allocated, &c.allocated_bytes, &c.freed, &c.freed_bytes, &c.replaced, &c.late][i].load(Relaxed)
    };
    let address = 0x5555_0000_0010;
    insert(thread, address, 100, site);
    assert_eq!(heap::take(thread, address + 8), Slot::NONE, "another address of the same line");
    let slot = heap::take(thread, address);
    let block = slot.unpack().expect("it was inserted");
    assert_eq!((block.size, block.stack), (100, site));
    assert_eq!(heap::take(thread, address), Slot::NONE, "it is taken once");
    heap::restore(thread, address, slot);
    heap::count_taken(thread, address, heap::take(thread, address));
    assert_eq!([0, 1, 2, 3, 4, 5].map(figures), [1, 100, 1, 100, 0, 0]);
    insert(thread, address, 7, site);
    insert(thread, address, 9, site);
    assert_eq!(figures(4), 1, "an address that is given out twice was freed unseen");
}

#[test]
fn a_block_without_room_is_counted_as_unrecorded() {
    let frames = Frames::new(&[in_function(2)]);
    let thread = thread(&frames);
    let unrecorded = || thread.record.figures.blocks_unrecorded.load(Relaxed);
    let before = unrecorded();
    insert(thread, 1 << 47, 1, 5);
    assert_eq!(unrecorded(), before + 1);
}

/// The block at an address, which stays there.
fn look_at(thread: Thread, address: u64) -> Option<Block> {
    let slot = heap::take(thread, address);
    slot.unpack().inspect(|_| heap::restore(thread, address, slot))
}

/// Stands in for the allocator: gives out the address that its first argument names.
extern "C" fn give(address: usize, _: usize, _: usize) -> usize {
    address
}

extern "C" fn refuse(_: usize, _: usize, _: usize) -> usize {
    0
}

extern "C" fn nothing(_: usize, _: usize, _: usize) -> usize {
    0
}

fn address_of(function: extern "C" fn(usize, usize, usize) -> usize) -> usize {
    function as usize
}

#[test]
fn hooks_count_what_the_real_function_did() {
    let frames = Frames::new(&[in_function(2)]);
    let (thread, sp) = (thread(&frames), frames.sp() as usize);
    let block = 0x6666_0000_0020;
    let live = || look_at(thread, block as u64).is_some();
    assert_eq!(leakline_malloc(block, 0, 0, sp, 0, address_of(give)), block);
    assert!(live());
    assert_eq!(leakline_realloc(block, 1 << 40, 0, sp, 0, address_of(refuse)), 0);
    assert!(live(), "a block whose realloc failed is still there");
    assert_eq!(leakline_realloc(block, 0, 0, sp, 0, address_of(refuse)), 0);
    assert!(!live(), "realloc to nothing frees");
    assert_eq!(leakline_malloc(block, 0, 0, sp, 0, address_of(give)), block);
    leakline_free(block, 0, 0, sp, 0, address_of(nothing));
    assert!(!live());
    assert_eq!(leakline_malloc(1, 0, 0, sp, 0, address_of(refuse)), 0);
    leakline_free(0, 0, 0, sp, 0, address_of(nothing));
    assert!(calls(thread).into_iter().all(|calls| calls >= 2), "{:?}", calls(thread));
}

#[test]
fn while_blocks_are_sampled_a_free_looks_for_its_block_before_it_is_counted() {
    let frames = Frames::new(&[in_function(2)]);
    let (thread, sp) = (thread(&frames), frames.sp() as usize);
    turn::catch_up(thread);
    let (block, neighbour) = (0x4a4a_0000_0020_usize, 0x4a4a_0000_0420_usize);
    heap::insert_sampled(thread, block as u64, 100, 1, 19);
    let frees = || calls(thread)[1];
    let before = frees();
    for other in [0, neighbour] {
        assert_eq!(leakline_looks(other, 0, 0, sp, 0, address_of(give)), other, "the function runs");
    }
    assert_eq!(frees(), before, "what is not in the sample is not counted");
    leakline_looks(block, 0, 0, sp, 0, address_of(nothing));
    assert_eq!((frees(), look_at(thread, block as u64)), (before + 1, None));
}

/// What stubs leave to the agent: the block is recorded after the call, and taken out before its free, wherever either stands.
#[test]
fn what_stubs_decided_to_record_is_recorded() {
    let frames = Frames::new(&[in_function(2)]);
    let thread = thread(&frames);
    let record = std::ptr::from_ref(thread.record).expose_provenance();
    let allocate = |address: usize, size: u64| {
        turn::count_allocation(thread);
        thread.enter(frames.sp());
        thread.record.figures.size.store(size, Relaxed);
        // Which of them is called does not change what is recorded, only whether the stack is found at once.
        let counts = if size.is_multiple_of(3) { leakline_counts } else { leakline_counts_by_crc32 };
        assert_eq!(counts(address, 0, record), address);
        assert_eq!(thread.record.figures.guard.load(Relaxed), 0, "the call is over");
    };
    let free = |address: usize| {
        turn::count_free(thread);
        leakline_frees(address, 0, 0, record, 0, address_of(nothing));
    };
    let block = |i: usize| 0x6677_0000_0020 + 48 * i;
    let before = calls(thread);
    // So many that lines and buckets are full, of sizes small and not.
    let size_of = |i: usize| if i % 100 == 7 { 1 << 33 } else { i as u64 + 1 };
    (0..400).for_each(|i| allocate(block(i), size_of(i)));
    let sizes = |i: usize| look_at(thread, block(i) as u64).map(|block| (block.size, frames_of(block.stack).len()));
    assert!((0..400).all(|i| sizes(i) == Some((size_of(i), 1))));
    (0..400).step_by(2).for_each(|i| free(block(i)));
    assert!((0..400).all(|i| sizes(i).is_some() == (i % 2 == 1)));
    allocate(0, 5);
    free(0);
    free(block(1000));
    let after = calls(thread);
    assert_eq!([after[0] - before[0], after[1] - before[1]], [401, 201], "to free nothing is no free");
    (1..400).step_by(2).for_each(|i| free(block(i)));
}

#[test]
fn calls_are_timed_now_and_then_and_counted_always() {
    const CALLS: u64 = 20_000;
    let thread = thread(&Frames::new(&[in_function(2)]));
    let before = calls(thread);
    let timed = (0..CALLS).filter(|_| turn::count_allocation(thread)).count() as u64;
    assert_eq!(calls(thread)[0] - before[0], CALLS);
    // Every 171st to 341st.
    assert!((CALLS / 341..=CALLS / 171 + 2).contains(&timed), "{timed}");
    let timed = (0..CALLS).filter(|_| turn::count_free(thread)).count() as u64;
    assert!((CALLS / 341..=CALLS / 171 + 2).contains(&timed), "{timed}");
    turn::uncount_free(thread);
    assert_eq!(calls(thread)[1] - before[1], CALLS - 1);
}

/// Of two words that change at once neither hides the other, though they share a number or a check sum.
#[test]
fn words_that_change_together_are_seen() {
    let words = [in_function(0), 7, in_function(1), 7, 7, 7, in_function(1), 7, 7, 7, in_function(2)];
    let unwound = |frames: &Frames| thread(frames).record.figures.stacks_unwound.load(Relaxed);
    let mut frames = Frames::new(&words);
    for crc32 in proofs() {
        thread(&frames).record.set_crc32(crc32);
        assert_eq!(names(&frames, 0), "0 1 1 2");
        for (first, second) in [(2, 6), (2, 10), (6, 10)] {
            for (up, down) in [(1, 1), (1, -1), (-1, 1), (2, -1), (-3, 5_i64)] {
                frames.words[first] = words[first].wrapping_add_signed(up);
                frames.words[second] = words[second].wrapping_add_signed(down);
                let before = unwound(&frames);
                stack::id_of(thread(&frames), frames.sp(), 0);
                assert!(unwound(&frames) > before, "words {first} and {second} changed by {up} and {down}");
            }
            frames.words[..words.len()].copy_from_slice(&words);
            assert_eq!(names(&frames, 0), "0 1 1 2");
        }
    }
}

/// How this processor can prove remembered stacks: by sums, and by check sums.
fn proofs() -> impl Iterator<Item = bool> {
    [false, true].into_iter().filter(|crc32| !crc32 || std::is_x86_feature_detected!("sse4.2"))
}

#[test]
fn threads_have_records_of_their_own() {
    let mine = thread(&Frames::new(&[0])).number();
    let other = std::thread::spawn(|| thread(&Frames::new(&[0])).number()).join().unwrap();
    assert_ne!(mine, other);
    assert_eq!(thread(&Frames::new(&[0])).number(), mine);
}

#[test]
fn a_thread_waits_at_an_open_gate_until_it_is_answered_and_no_other_process_does() {
    use wire::{GATE_EXIT, GATE_KIND_MASK};
    let shared = shared();
    let control = shared.control();
    control.state.store(1, Relaxed);
    let gate = &control.gate;
    crate::gate::wait(GATE_EXIT); // It is closed.
    gate.open.store(1, Relaxed);
    gate.process.store(u32::MAX, Relaxed);
    crate::gate::wait(GATE_EXIT); // It is open for another process: this one is a child of vfork.
    assert_eq!(gate.request.load(Relaxed), 0);
    gate.process.store(std::process::id(), Relaxed);
    let waiting = [(); 2].map(|()| std::thread::spawn(|| crate::gate::wait(GATE_EXIT)));
    let mut answered = 0;
    while answered < waiting.len() {
        let request = gate.request.load(Acquire);
        if request & GATE_KIND_MASK == GATE_EXIT {
            gate.request.store(0, Relaxed);
            crate::arch::wake(&gate.request);
            answered += 1;
        }
        std::thread::yield_now();
    }
    for thread in waiting {
        thread.join().expect("it was let through");
    }
    gate.open.store(0, Relaxed);
}
