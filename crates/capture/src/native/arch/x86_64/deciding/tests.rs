//! Stubs that run: in each state in which a call can find them.
//!
//! Owns: stand-ins for the agent's functions and for the function that is hooked. Must not know: the bytes of a stub.

use iced_x86::{Decoder, DecoderOptions};
use wire::{Mode, STATE_OWNER_DIED, area_at, mark_at, record_at, thread_place};

use super::super::patch::{BITS, Relocation, SITE_BYTES, Stub, relocate};
use super::*;
use crate::sys::trial::Trial;

const SITE: u64 = 0x1000;
const AGENT: u64 = 0x2000;
const SEEN_AT: u64 = 0x4000;
const SHARED: u64 = 0x1_0000;
/// Behind the shared memory, out of reach of the site.
const FAR_AGENT: u64 = SHARED + wire::FILE_BYTES;
const LISTENER: u32 = 77;
const TURN: u32 = 5 << 8;

/// What the stand-ins return; the function itself returns its first two arguments and one.
const HOOK: u64 = 1001;
const PAST: u64 = 1002;

/// A hooked function with its agent, in this thread.
struct Stage {
    trial: Trial,
    relocation: Relocation,
    record: u64,
}

impl Stage {
    /// Hooks a function by a stub of a kind. The thread has taken over everything, and ten calls of each kind are left to it.
    fn new(decides: &str, agent_at: u64) -> Self {
        Self::of_mode(decides, agent_at, true)
    }

    fn of_mode(decides: &str, agent_at: u64, exact: bool) -> Self {
        let trial = Trial::map(FAR_AGENT + 0x1_0000);
        let base = trial.at();
        let agent_at = base + agent_at;
        for (number, id) in [HOOK, PAST].into_iter().enumerate() {
            trial.write(agent_at + 0x100 * (1 + number as u64), &stand_in(base + SEEN_AT, id));
        }
        let [hook, past] = [0x100, 0x200].map(|at| agent_at + at);
        let decides = match decides {
            "malloc" => Decides::Allocation { size: Size::First, nests: true, counts: past },
            "malloc that calls nobody" => Decides::Allocation { size: Size::First, nests: false, counts: past },
            "calloc" => Decides::Allocation { size: Size::FirstTwo, nests: true, counts: past },
            _ => Decides::Free { frees: past, looks: hook },
        };
        // mov %fs:0, %rax; ret
        trial.write(base, &[0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0xc3]);
        let pointer = trial.call(base, [0; 3]);
        let record = base + SHARED + record_at(thread_place(pointer));
        let function = function(record + offset_of!(ThreadFigures, guard) as u64, base + SEEN_AT);
        let relocation = relocate(&function, base, base + SITE, hook, Stub::Deciding(agent_at, decides)).unwrap();
        assert!(relocation.site.len() <= SITE_BYTES, "{} bytes", relocation.site.len());
        trial.write(base, &function);
        trial.write(relocation.at, &relocation.after);
        trial.write(relocation.site_at, &relocation.site);
        trial.set(agent_at + offset_of!(Link, base) as u64, base + SHARED);
        trial.set(agent_at + offset_of!(Link, active) as u64, Link::activity(base + SHARED, exact));
        trial.set(record, pointer);
        let stage = Self { trial, relocation, record };
        stage.control(offset_of!(Control, state), LISTENER);
        stage.control(offset_of!(Control, turn), TURN);
        stage.figure(offset_of!(ThreadFigures, seen), u64::from(TURN) << 32 | u64::from(LISTENER));
        stage.figure(offset_of!(ThreadFigures, allocations_left), 10);
        stage.figure(offset_of!(ThreadFigures, frees_left), 10);
        stage.trial.write(base + SHARED + regions::MARKS.at, wire::FIRST_MARKS.as_flattened());
        stage.area(0, wire::AREA_OF_NOTHING);
        stage
    }

    /// The same, where so many bytes pass until the next sample.
    fn sampled(decides: &str, agent_at: u64, countdown: u64) -> Self {
        let stage = Self::of_mode(decides, agent_at, false);
        stage.mode(Mode::sampled(19));
        stage.figure(offset_of!(ThreadFigures, countdown), countdown);
        stage
    }

    /// Says where the marks of a block's area are.
    fn area(&self, block: u64, area: u32) {
        self.trial.write(self.trial.at() + SHARED + area_at(block), &area.to_le_bytes());
    }

    fn control(&self, at: usize, value: u32) {
        self.trial.write(self.trial.at() + SHARED + at as u64, &value.to_le_bytes());
    }

    fn figure(&self, at: usize, value: u64) {
        self.trial.set(self.record + at as u64, value);
    }

    fn mode(&self, mode: Mode) {
        self.trial.write(self.record + offset_of!(ThreadFigures, mode) as u64, &mode.rate().to_le_bytes());
    }

    fn figures(&self, at: usize) -> u64 {
        self.trial.word(self.record + at as u64)
    }

    fn call(&self, arguments: [u64; 3]) -> u64 {
        self.trial.call(self.trial.at(), arguments)
    }

    /// The registers as a stand-in found them, the six arguments and the stack pointer; or the guard and the stack pointer as the function
    /// did.
    fn seen(&self) -> [u64; 7] {
        std::array::from_fn(|i| self.trial.word(self.trial.at() + SEEN_AT + 8 * i as u64))
    }

    /// Calls that are left, those that allocate and those that free; frees of blocks without a record, and the countdown.
    fn counted(&self) -> [u64; 4] {
        [
            self.figures(offset_of!(ThreadFigures, allocations_left)),
            self.figures(offset_of!(ThreadFigures, frees_left)),
            self.figures(offset_of!(ThreadFigures, frees_of_older)),
            self.figures(offset_of!(ThreadFigures, countdown)),
        ]
    }

    fn guard(&self) -> u64 {
        self.figures(offset_of!(ThreadFigures, guard))
    }

    /// The call is left to the hook, with its arguments, where its frame is, and the way to the function.
    #[track_caller]
    fn assert_asks(&self, arguments: [u64; 3], why: &str) {
        let (before, guard) = (self.counted(), self.guard());
        assert_eq!(self.call(arguments), HOOK, "{why}");
        let [a, b, c, sp, _, real, sp_inside] = self.seen();
        assert_eq!(([a, b, c], sp, real), (arguments, sp_inside, self.relocation.unhooked()), "{why}");
        assert_eq!((self.counted(), self.guard()), (before, guard), "the hook counts: {why}");
    }

    /// The function runs as if there were no hook.
    #[track_caller]
    fn assert_passes(&self, arguments: [u64; 3], counted: [u64; 4]) {
        assert_eq!(self.call(arguments), arguments[0] + arguments[1] + 1);
        assert_eq!(self.counted(), counted);
        assert_eq!(self.guard(), 0, "nothing is left behind");
    }
}

/// A function that notes the registers that an agent's function gets, and returns a number.
fn stand_in(seen: u64, id: u64) -> Vec<u8> {
    let mut code = vec![0x48, 0xb8]; // movabs $seen, %rax
    code.extend_from_slice(&seen.to_le_bytes());
    code.extend_from_slice(&[0x48, 0x89, 0x38, 0x48, 0x89, 0x70, 0x08]); // mov %rdi, (%rax); mov %rsi, 8(%rax)
    code.extend_from_slice(&[0x48, 0x89, 0x50, 0x10, 0x48, 0x89, 0x48, 0x18]); // mov %rdx, 16(%rax); mov %rcx, 24(%rax)
    code.extend_from_slice(&[0x4c, 0x89, 0x40, 0x20, 0x4c, 0x89, 0x48, 0x28]); // mov %r8, 32(%rax); mov %r9, 40(%rax)
    code.extend_from_slice(&[0x48, 0x89, 0x60, 0x30, 0xb8]); // mov %rsp, 48(%rax); mov $id, %eax
    code.extend_from_slice(&(id as u32).to_le_bytes());
    code.push(0xc3);
    code
}

/// The function that is hooked: it notes the guard, and what rsp is.
fn function(guard: u64, seen: u64) -> Vec<u8> {
    let mut code = vec![0x48, 0x8d, 0x44, 0x37, 0x01, 0x49, 0xb8]; // lea 1(%rdi,%rsi), %rax; movabs $guard, %r8
    code.extend_from_slice(&guard.to_le_bytes());
    code.extend_from_slice(&[0x4d, 0x8b, 0x00, 0x49, 0xb9]); // mov (%r8), %r8; movabs $seen, %r9
    code.extend_from_slice(&seen.to_le_bytes());
    code.extend_from_slice(&[0x4d, 0x89, 0x01, 0x49, 0x89, 0x61, 0x08, 0xc3]); // mov %r8, (%r9); mov %rsp, 8(%r9); ret
    code
}

const KINDS: [&str; 4] = ["malloc", "malloc that calls nobody", "calloc", "free"];

/// Every kind, with an agent near its site and far from it, where every block is recorded and where they are sampled.
fn each(check: impl Fn(&str, u64, bool)) {
    for decides in KINDS {
        for agent in [AGENT, FAR_AGENT] {
            check(decides, agent, true);
            check(decides, agent, false);
        }
    }
}

#[test]
fn in_a_forked_child_or_after_leakline_was_killed_the_function_runs() {
    each(|decides, agent, exact| {
        let stage = Stage::of_mode(decides, agent, exact);
        stage.figure(offset_of!(ThreadFigures, countdown), if exact { 0 } else { 1000 });
        if decides == "free" && !exact {
            // It asks nobody, since there is nothing to do; those that allocate find out.
            stage.assert_passes([0x9_0000, 4, 5], [10, 10, 0, 1000]);
            return;
        }
        // The first call after the kill is the hook's, which sees that nobody listens and takes this away.
        stage.control(offset_of!(Control, state), STATE_OWNER_DIED);
        stage.assert_asks([3, 4, 5], "nobody listens");
        stage.trial.set(stage.trial.at() + agent + offset_of!(Link, active) as u64, 0);
        stage.assert_passes([3, 4, 5], [10, 10, 0, if exact { 0 } else { 1000 }]);
    });
}

#[test]
fn whatever_is_not_ordinary_is_left_to_the_hook() {
    each(|decides, agent, exact| {
        for what in ["no record", "another thread's", "nested", "another turn", "another listener", "no calls left"] {
            let stage = if exact { Stage::new(decides, agent) } else { Stage::sampled(decides, agent, 1000) };
            match what {
                "no record" => stage.figure(offset_of!(ThreadFigures, pointer), 0),
                "another thread's" => stage.figure(offset_of!(ThreadFigures, pointer), 0x1234_5670),
                "nested" => stage.figure(offset_of!(ThreadFigures, guard), u64::MAX),
                "another turn" => stage.control(offset_of!(Control, turn), TURN + (1 << 8)),
                "another listener" => stage.control(offset_of!(Control, state), LISTENER + 1),
                _ => {
                    stage.figure(offset_of!(ThreadFigures, allocations_left), 0);
                    stage.figure(offset_of!(ThreadFigures, frees_left), 0);
                }
            }
            stage.assert_asks([3, 4, 5], what);
        }
    });
}

#[test]
fn where_every_block_is_recorded_the_agent_gets_what_it_needs_after_the_call() {
    for (decides, size) in [("malloc", 30), ("malloc that calls nobody", 30), ("calloc", 1200)] {
        for agent in [AGENT, FAR_AGENT] {
            let stage = Stage::new(decides, agent);
            assert_eq!(stage.call([30, 40, 50]), PAST);
            let [address, _, record, .., sp] = stage.seen();
            assert_eq!((address, record), (30 + 40 + 1, stage.record), "the function ran before");
            // Where the return address stands, which is the last thing on the stack.
            assert_eq!((stage.guard(), stage.figures(offset_of!(ThreadFigures, size))), (sp, size));
            assert_eq!(stage.counted(), [9, 10, 0, 0]);
        }
    }
}

#[test]
fn a_stub_that_goes_the_way_of_the_other_mode_does_right() {
    for decides in ["malloc", "calloc"] {
        let stage = Stage::of_mode(decides, AGENT, false);
        stage.assert_asks([30, 40, 50], "nothing is left of the countdown where every block is recorded");
        let stage = Stage::new(decides, AGENT);
        stage.mode(Mode::sampled(19));
        stage.figure(offset_of!(ThreadFigures, countdown), 1000);
        assert_eq!(stage.call([30, 40, 50]), PAST, "a block is recorded for itself, which stands for no other");
        assert_eq!(stage.counted(), [9, 10, 0, 1000]);
    }
    let stage = Stage::new("free", AGENT);
    stage.mode(Mode::sampled(19));
    assert_eq!(stage.call([30, 40, 50]), PAST, "the agent looks for the block");
}

#[test]
fn a_block_that_may_be_recorded_is_taken_out_before_its_free() {
    let stage = Stage::new("free", AGENT);
    assert_eq!(stage.call([30, 40, 50]), PAST);
    let [a, b, c, record, _, real, _] = stage.seen();
    assert_eq!(([a, b, c], record, real), ([30, 40, 50], stage.record, stage.relocation.unhooked()));
    assert_eq!((stage.counted(), stage.guard()), ([10, 9, 0, 0], 0));
}

#[test]
fn a_block_that_is_not_sampled_is_counted_inside_the_guard() {
    for agent in [AGENT, FAR_AGENT] {
        let stage = Stage::sampled("malloc", agent, 1000);
        stage.assert_passes([30, 40, 0], [9, 10, 0, 969]);
        let [guard, sp, ..] = stage.seen();
        // The function was called with its stack aligned as ever, two words below.
        assert_eq!(guard, sp + 16);
        stage.assert_passes([968, 40, 0], [8, 10, 0, 0]);
        stage.assert_asks([0, 40, 0], "this one is sampled");
        let stage = Stage::sampled("malloc that calls nobody", agent, 1000);
        stage.assert_passes([30, 40, 0], [9, 10, 0, 969]);
        let [guard, ..] = stage.seen();
        assert_eq!(guard, 0, "it needs none");
        stage.assert_passes([968, 40, 0], [8, 10, 0, 0]);
        stage.assert_asks([0, 40, 0], "this one is sampled");
        let stage = Stage::sampled("calloc", agent, 1000);
        stage.assert_passes([30, 30, 0], [9, 10, 0, 99]);
        stage.assert_asks([9, 11, 0], "this one is sampled");
        stage.assert_asks([1 << 32, u64::MAX >> 8, 0], "a product that is too large");
        stage.assert_asks([u64::MAX, 1, 0], "the greatest size");
    }
}

#[test]
fn a_block_beside_which_none_is_recorded_is_freed_without_another_look() {
    for agent in [AGENT, FAR_AGENT] {
        let stage = Stage::sampled("free", agent, 1000);
        let block = 0x7f12_3456_7890;
        stage.assert_passes([block, 4, 5], [10, 10, 0, 1000]);
        stage.assert_passes([1 << ADDRESS_BITS | 0x9000, 4, 5], [10, 10, 0, 1000]);
        stage.assert_asks([0, 4, 5], "nothing is freed, which is not for a stub to know");
        let own = wire::own_area(9).unwrap();
        stage.area(block, own);
        let mark = stage.trial.at() + SHARED + mark_at(own, block);
        stage.assert_passes([block, 4, 5], [10, 10, 0, 1000]);
        stage.trial.write(mark, &[1]);
        stage.assert_asks([block, 4, 5], "this one may be recorded");
        // The parts beside its own are not concerned, nor are the areas.
        for beside in [1 << MARK_SHIFT, 1 << AREA_SHIFT] {
            stage.assert_passes([block + beside, 4, 5], [10, 10, 0, 1000]);
            stage.assert_passes([block - beside, 4, 5], [10, 10, 0, 1000]);
        }
    }
}

#[test]
fn marks_that_areas_share_say_what_is_to_be_done_in_all_of_them() {
    let stage = Stage::sampled("free", AGENT, 1000);
    let area = 0x7f12_3440_0000;
    for block in [area, area + 0x10, area + 0x12_3450, area + (1 << AREA_SHIFT) - 8] {
        stage.area(area, wire::AREA_EMPTY);
        stage.assert_passes([block, 4, 5], [10, 10, 0, 1000]);
        for shared in [wire::AREA_LARGE, wire::AREA_FULL] {
            stage.area(area, shared);
            stage.assert_asks([block, 4, 5], "it may be any of them");
        }
    }
}

#[test]
fn a_stub_is_code_from_beginning_to_end_and_keeps_what_a_call_hands_over() {
    each(|decides, agent, _| {
        let stage = Stage::new(decides, agent);
        let relocation = &stage.relocation;
        let mut decoder = Decoder::with_ip(BITS, &relocation.site, relocation.site_at, DecoderOptions::NONE);
        let head: Vec<String> = decoder
            .iter()
            .take_while(|i| i.ip() < relocation.unhooked())
            .map(|i| format!("{:?}", i.mnemonic()).to_lowercase())
            .collect();
        let load = if agent == AGENT { "mov" } else { "mov mov" };
        assert_eq!(head.join(" "), format!("{load} add jb jne"));
        assert_eq!(relocation.to_copy(relocation.at), Some(relocation.unhooked()));
    });
}
