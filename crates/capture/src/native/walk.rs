//! The frames of a stopped thread, walked from outside by the rows that the agent is given.
//!
//! Owns: applying rules to a thread's registers and stack. Must not know: why its frames are wanted, or what hooks are.
//!
//! Only what is certain counts: a frame without a row, or one below a signal handler, ends the walk without an answer. (The agent goes on by
//! frame pointers there, which is good enough for a name.)

use wire::{Module, PackedRule, RuleKind};

/// More frames than that are taken for a cycle.
const FRAMES_MAX: usize = 1024;
/// Offset from the stack pointer of the second half of a stub of the procedure linkage table, and where that half begins.
const PLT_PUSHED: u64 = 16;
const PLT_HALF: u64 = 11;

/// Where a thread stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) pc: u64,
    pub(crate) sp: u64,
    pub(crate) bp: u64,
}

/// The return addresses from there to the outermost frame; none where not all are certain. `read` gives a word of the stack.
pub(crate) fn returns(
    at: At,
    rule_of: impl Fn(u64) -> Option<PackedRule>,
    read: impl Fn(u64) -> Option<u64>,
) -> Option<Vec<u64>> {
    let (mut at, mut found) = (at, Vec::new());
    while found.len() < FRAMES_MAX {
        // A return address may lie behind the last instruction of its function.
        let looked_up = if found.is_empty() { at.pc } else { at.pc.checked_sub(1)? };
        let rule = rule_of(looked_up)?;
        let cfa = match rule.kind() {
            RuleKind::End => return Some(found),
            RuleKind::Unknown | RuleKind::Signal => return None,
            RuleKind::StackPointer => at.sp.checked_add(rule.offset())?,
            RuleKind::Plt => at.sp + if at.pc & 15 >= PLT_HALF { PLT_PUSHED } else { 8 },
            RuleKind::FramePointer => at.bp.checked_add(rule.offset())?,
            RuleKind::FramePointerDeref => read(at.bp.checked_sub(rule.offset())?)?,
        };
        // A frame lies above the one that it called.
        if cfa < at.sp.checked_add(8)? || !cfa.is_multiple_of(8) {
            return None;
        }
        let bp = match rule.rbp() {
            PackedRule::RBP_SAME => at.bp,
            PackedRule::RBP_AT_RBP => read(at.bp)?,
            words => read(cfa.checked_sub(u64::from(words) * 8)?)?,
        };
        at = At { pc: read(cfa - 8)?, sp: cfa, bp };
        if at.pc == 0 {
            return Some(found);
        }
        found.push(at.pc);
    }
    None
}

/// The rule of a code address among these modules, whose rows `row` gives by number: first all starts, then all rules.
pub(crate) fn rule(modules: &[Module], pc: u64, row: impl Fn(u64) -> Option<u32>) -> Option<PackedRule> {
    let module = modules.iter().find(|module| (module.start..module.end).contains(&pc))?;
    let inside = u32::try_from(pc.wrapping_sub(module.base)).ok()?;
    let starts = u64::from(module.starts);
    let (mut low, mut high) = (0, u64::from(module.rows));
    while low < high {
        let middle = low + (high - low) / 2;
        if row(starts + middle)? <= inside {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let at = low.checked_sub(1)?;
    debug_assert!(at < u64::from(module.rows), "it is one of the module's rows");
    row(starts + u64::from(module.rows) + at).map(PackedRule)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: u64 = 0x7000;

    /// Made-up code, one function every 0x100 bytes from 0x1000 on.
    const RULES: [(RuleKind, u32, u32); 6] = [
        (RuleKind::StackPointer, 2, PackedRule::RBP_SAME), // 0: return address one word above its stack pointer
        (RuleKind::FramePointer, 2, 2),                    // 1: the usual frame with a frame pointer
        (RuleKind::End, 0, 0),                             // 2
        (RuleKind::Unknown, 0, 0),                         // 3
        (RuleKind::Signal, 0, 0),                          // 4
        (RuleKind::FramePointerDeref, 1, PackedRule::RBP_AT_RBP), // 5
    ];

    fn module() -> Module {
        Module { start: 0x1000, end: 0x2000, base: 0x1000, starts: 7, rows: RULES.len() as u32 }
    }

    fn row(number: u64) -> Option<u32> {
        let number = number.checked_sub(7)? as usize;
        let rule = |(kind, offset, rbp)| PackedRule::new(kind, offset, rbp).unwrap().0;
        match number.checked_sub(RULES.len()) {
            None => Some(number as u32 * 0x100),
            Some(at) => RULES.get(at).copied().map(rule),
        }
    }

    /// A thread in this function with these words on its stack, and rbp at one of them: what it returns to.
    #[track_caller]
    fn check(function: u64, bp_word: u64, words: &[u64], expected: Option<&[u64]>) {
        let at = At { pc: 0x1010 + function * 0x100, sp: STACK, bp: STACK + 8 * bp_word };
        let read = |at: u64| words.get(usize::try_from(at.checked_sub(STACK)? / 8).ok()?).copied();
        let found = returns(at, |pc| rule(&[module()], pc, row), read);
        assert_eq!(found.as_deref(), expected, "{words:x?}");
    }

    #[test]
    fn frames_are_followed_to_the_outermost() {
        check(2, 0, &[], Some(&[]));
        check(0, 0, &[7, 0x1210], Some(&[0x1210]));
        check(0, 0, &[7, 0x1010, 7, 0x1210], Some(&[0x1010, 0x1210]));
        // With a frame pointer: it saved the one of its caller, which needs it as well.
        check(1, 2, &[7, 7, STACK + 32, 0x1110, STACK, 0x1210], Some(&[0x1110, 0x1210]));
        // A stack that was realigned: where the frame ended stands below rbp.
        check(5, 1, &[STACK + 32, 0, 7, 0x1210], Some(&[0x1210]));
        check(0, 0, &[7, 0], Some(&[]));
    }

    /// Words that nobody returns to are not among them.
    #[test]
    fn what_only_lies_on_the_stack_is_no_frame() {
        check(0, 0, &[0x1333, 0x1010, 0x1333, 0x1210, 0x1333], Some(&[0x1010, 0x1210]));
    }

    #[test]
    fn what_is_not_certain_is_no_answer() {
        check(3, 0, &[7, 0x1210], None);
        check(4, 0, &[7, 0x1210], None);
        check(0, 0, &[7, 0x1310], None);
        check(0, 0, &[7, 0x9000], None);
        check(0, 0, &[7], None);
        check(1, 0, &[7, 7, 7], None);
        let endless = |_: u64| Some(0x1010);
        let at = At { pc: 0x1010, sp: STACK, bp: 0 };
        assert_eq!(returns(at, |pc| rule(&[module()], pc, row), endless), None);
    }

    #[test]
    fn a_rule_is_found_by_any_address_of_its_function() {
        let kind = |pc| rule(&[module()], pc, row).map(PackedRule::kind);
        assert_eq!(
            (kind(0x1000), kind(0x10ff), kind(0x1100)),
            (Some(RuleKind::StackPointer), Some(RuleKind::StackPointer), Some(RuleKind::FramePointer))
        );
        assert_eq!((kind(0xfff), kind(0x2000)), (None, None));
    }
}
