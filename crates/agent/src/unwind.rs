//! Unwinding the calling thread by the rows that leakline compiled.
//!
//! Owns: applying rules, reading stack words, finding the rule of a code address.
//! Must not know: DWARF, and what a stack is used for.
//!
//! Every word that is read is kept with its address in the thread's record, for the stack memory.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use wire::{FRAMES_MAX, MODULES_MAX, PackedRule, RuleKind, regions};

use crate::arch;
use crate::gate;
use crate::record::{RULE_SLOTS, Thread, WORDS_MAX};
use crate::shared::ModuleCell;
use crate::stack::Entry;

/// Marks in the two highest bits of a frame how it was found.
const BY_TABLE: u64 = 1 << 62;
const BY_FRAME_POINTER: u64 = 2 << 62;
/// In the cache of rules: the address lies in no known code.
const NOT_CODE: u64 = 1 << 32;

/// What an unwinding found; frames and words are in the thread's record.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts about one walk")]
pub(crate) struct Walk {
    pub(crate) frames: usize,
    pub(crate) words: usize,
    /// There were more frames than the greatest depth.
    pub(crate) cut: bool,
    /// A frame could not be unwound.
    pub(crate) broken: bool,
    /// rbp as it was at the entry decided where something lay.
    pub(crate) used_rbp: bool,
    /// All words lie above the stack pointer on a stack that lives as long as the thread.
    pub(crate) on_own_stack: bool,
    /// How far above the stack pointer the second return address lies, where that only depends on the first.
    pub(crate) leaf: Option<u64>,
}

/// Where rbp of the frame under work is. It is only read when a rule needs it.
#[derive(Clone, Copy, Debug)]
enum Rbp {
    /// What it was when the hook was entered.
    Entry(u64),
    /// Still where some frame saved it.
    Saved(u64),
    /// Read.
    Known(u64),
}

/// A word of the running thread's own stack, at or above its stack pointer and below a bound that was proven.
#[inline]
pub(crate) fn word_on_own_stack(at: u64) -> u64 {
    let pointer = core::ptr::with_exposed_provenance::<u64>(at as usize);
    // SAFETY: callers pass the stack pointer itself or an address that `Record::covers` vouched for.
    unsafe { pointer.read_volatile() }
}

/// The words behind one of the running thread's own stack: so many, or as many as certainly are there.
pub(crate) fn words_behind(thread: Thread, at: u64, count: usize) -> &'static [u64] {
    const PAGE: u64 = 4096;
    let (from, page_end) = (at + 8, (at | (PAGE - 1)) + 1);
    let end = from + 8 * count as u64;
    let is_whole = end <= page_end || thread.record.covers(at, end);
    let count = if is_whole { count } else { (page_end - from) as usize / 8 };
    let pointer = core::ptr::with_exposed_provenance::<u64>(from as usize);
    // SAFETY: they lie in the page of a word that is there, or in a stack that was proven to be mapped.
    unsafe { core::slice::from_raw_parts(pointer, count) }
}

/// Unwinds from a hook's entry.
pub(crate) fn walk(thread: Thread, entry: Entry) -> Walk {
    let depth = (thread.shared.control().depth.load(Relaxed) as usize).clamp(1, FRAMES_MAX);
    let mut walker = Walker {
        thread,
        walk: Walk { on_own_stack: true, ..Walk::default() },
        sp: entry.sp + 8,
        bottom: entry.sp,
        rbp: Rbp::Entry(entry.bp),
        pc: entry.pc,
        exact: false,
    };
    walker.push(0);
    loop {
        if walker.walk.frames >= depth {
            walker.walk.cut = true;
            break;
        }
        let first = walker.walk.frames == 1;
        match walker.step() {
            Step::Frame(mark) => walker.push(mark),
            Step::Outermost => break,
            Step::Broken => {
                walker.walk.broken = true;
                break;
            }
        }
        if first && walker.walk.words == 1 && !walker.walk.used_rbp && walker.walk.on_own_stack {
            walker.walk.leaf = Some(walker.sp - 8 - entry.sp);
        }
    }
    walker.walk
}

enum Step {
    Frame(u64),
    Outermost,
    Broken,
}

struct Walker {
    thread: Thread,
    walk: Walk,
    /// Stack pointer in the frame under work.
    sp: u64,
    /// Stack pointer at the entry.
    bottom: u64,
    rbp: Rbp,
    /// Code address in the frame under work.
    pc: u64,
    /// Whether `pc` was interrupted there, rather than being a return address.
    exact: bool,
}

impl Walker {
    fn push(&mut self, mark: u64) {
        if let Some(place) = self.thread.record.frames.get(self.walk.frames) {
            place.store(self.pc & wire::FRAME_ADDRESS_MASK | mark, Relaxed);
            self.walk.frames += 1;
        }
    }

    /// Goes from the frame under work to its caller.
    fn step(&mut self) -> Step {
        // A return address may lie behind the last instruction of its function: the call before it never returns.
        let Some(rule) = rule_of(self.thread, self.pc - u64::from(!self.exact)) else {
            return self.by_frame_pointer();
        };
        match rule.kind() {
            RuleKind::End => Step::Outermost,
            RuleKind::Unknown => self.by_frame_pointer(),
            RuleKind::Signal => self.through_signal(),
            RuleKind::StackPointer => self.go_to_caller(Some(self.sp + rule.offset()), rule),
            RuleKind::Plt => self.go_to_caller(Some(self.sp + if self.pc & 15 >= 11 { 16 } else { 8 }), rule),
            RuleKind::FramePointer => {
                let cfa = self.rbp().map(|rbp| rbp.wrapping_add(rule.offset()));
                self.go_to_caller(cfa, rule)
            }
            RuleKind::FramePointerDeref => {
                let cfa = self.rbp().and_then(|rbp| self.read(rbp.wrapping_sub(rule.offset())));
                self.go_to_caller(cfa, rule)
            }
        }
    }

    fn go_to_caller(&mut self, cfa: Option<u64>, rule: PackedRule) -> Step {
        // A frame lies above the one it called; anything else is no frame.
        let Some(cfa) = cfa.filter(|cfa| *cfa >= self.sp && cfa.is_multiple_of(8) && *cfa >= 8) else {
            return Step::Broken;
        };
        match rule.rbp() {
            PackedRule::RBP_SAME => {}
            PackedRule::RBP_AT_RBP => match self.rbp() {
                Some(rbp) => self.rbp = Rbp::Saved(rbp),
                None => return Step::Broken,
            },
            words => self.rbp = Rbp::Saved(cfa.wrapping_sub(u64::from(words) * 8)),
        }
        self.arrive(cfa - 8, cfa, BY_TABLE)
    }

    /// No table covers the code (it was generated at run time, or written by hand): programs that keep a frame pointer chain
    /// are still unwound.
    fn by_frame_pointer(&mut self) -> Step {
        let Some(rbp) = self.rbp().filter(|rbp| *rbp >= self.sp && rbp.is_multiple_of(8)) else { return Step::Broken };
        self.rbp = Rbp::Saved(rbp);
        self.arrive(rbp + 8, rbp + 16, BY_FRAME_POINTER)
    }

    fn arrive(&mut self, return_at: u64, sp: u64, mark: u64) -> Step {
        let Some(pc) = self.read(return_at) else { return Step::Broken };
        if pc == 0 {
            return Step::Outermost;
        }
        if mark == BY_FRAME_POINTER && rule_of(self.thread, pc - 1).is_none() {
            return Step::Broken;
        }
        (self.pc, self.sp, self.exact) = (pc, sp, false);
        Step::Frame(mark)
    }

    fn through_signal(&mut self) -> Step {
        let [rbp, sp, pc] = [arch::SIGNAL_RBP, arch::SIGNAL_RSP, arch::SIGNAL_RIP].map(|at| self.read(self.sp + at));
        let (Some(rbp), Some(sp), Some(pc)) = (rbp, sp, pc) else { return Step::Broken };
        (self.pc, self.sp, self.exact, self.rbp) = (pc, sp, true, Rbp::Known(rbp));
        Step::Frame(BY_TABLE)
    }

    fn rbp(&mut self) -> Option<u64> {
        match self.rbp {
            Rbp::Known(value) => Some(value),
            Rbp::Entry(value) => {
                self.walk.used_rbp = true;
                Some(value)
            }
            Rbp::Saved(at) => {
                let value = self.read(at)?;
                self.rbp = Rbp::Known(value);
                Some(value)
            }
        }
    }

    /// A word of the stack; none where it cannot be read, or too many were.
    fn read(&mut self, at: u64) -> Option<u64> {
        let record = self.thread.record;
        if !at.is_multiple_of(8) {
            return None;
        }
        if !(at >= self.bottom && record.covers(self.bottom, at.checked_add(8)?)) {
            self.walk.on_own_stack = false;
            if !arch::readable(at) {
                return None;
            }
        }
        if self.walk.words >= WORDS_MAX {
            return None;
        }
        let value = word_on_own_stack(at);
        record.word_at.get(self.walk.words)?.store(at, Relaxed);
        record.word.get(self.walk.words)?.store(value, Relaxed);
        self.walk.words += 1;
        Some(value)
    }
}

/// The rule of a code address; none where it lies in no known code.
fn rule_of(thread: Thread, pc: u64) -> Option<PackedRule> {
    let [known, rule] = thread.record.rules.get((pc ^ pc >> 9) as usize % RULE_SLOTS)?;
    if known.load(Relaxed) != pc {
        let found = find_rule(thread, pc).map_or(NOT_CODE, |rule| u64::from(rule.0));
        // Void the slot first: a signal handler between the two stores must not see a pair that does not belong together.
        known.store(0, Relaxed);
        rule.store(found, Relaxed);
        known.store(pc, Relaxed);
    }
    let rule = rule.load(Relaxed);
    (rule & NOT_CODE == 0).then_some(PackedRule(rule as u32))
}

#[cold]
fn find_rule(thread: Thread, pc: u64) -> Option<PackedRule> {
    let control = thread.shared.control();
    let current = control.modules.load(Relaxed);
    let count = ((current >> 2) as usize).min(MODULES_MAX);
    let buffer = u64::from(current & 3) * (MODULES_MAX * size_of::<ModuleCell>()) as u64;
    let modules: &[ModuleCell] = thread.shared.slice(regions::MODULES.at + buffer, count);
    let after = modules.partition_point(|module| module.start.load(Relaxed) <= pc);
    let Some(module) = after.checked_sub(1).and_then(|i| modules.get(i)).filter(|m| pc < m.end.load(Relaxed)) else {
        // Once until leakline has seen it: a call into the kernel for each would cost more than all else here.
        if control.threads.unknown_code.swap(pc, Relaxed) == 0 {
            gate::ask(thread.shared);
        }
        return None;
    };
    let rows = module.rows.load(Relaxed) as usize;
    let at = u64::from(module.starts.load(Relaxed));
    if at * 4 + rows as u64 * 8 > regions::ROWS.len {
        return None;
    }
    let words: &[AtomicU32] = thread.shared.slice(regions::ROWS.at + at * 4, rows * 2);
    let (starts, rules) = words.split_at_checked(rows)?;
    let Ok(inside) = u32::try_from(pc.wrapping_sub(module.base.load(Relaxed))) else {
        return Some(PackedRule::UNKNOWN);
    };
    let after = starts.partition_point(|start| start.load(Relaxed) <= inside);
    let rule = after.checked_sub(1).and_then(|i| rules.get(i)).map_or(0, |rule| rule.load(Relaxed));
    Some(PackedRule(rule))
}
