//! Whether a stopped thread will return into code of ours.
//!
//! Owns: telling that from its frames, and when guards are not believed. Must not know: why it is asked, or what becomes of the code.
//!
//! A guard that is set mostly tells of a thread inside a hook. One that was left by `longjmp` never cleared its guard, and a target may
//! have written anything over any. A thread whose frames are all known, and none of them ours, is outside all the same.

use std::sync::OnceLock;

use formats::maps;
use wire::{Control, PackedRule};

use super::arch;
use super::arm::Inside;
use super::code::PrivateTables;
use super::file::SharedFile;
use super::modules::Modules;
use super::own_stack::{self, Stands};
use super::read::{self, Guard};
use super::target::Target;
use super::threads::Resting;
use super::walk;
use crate::sys::ptrace::Registers;

/// Whether all frames of a thread are known and none is in code that `within` accepts, by these rules.
pub(crate) fn are_frames_outside(
    target: &Target,
    registers: &Registers,
    rule_of: impl Fn(u64) -> Option<PackedRule>,
    within: impl Fn(u64) -> bool,
) -> bool {
    let at = walk::At {
        pc: arch::instruction(registers),
        sp: arch::stack_pointer(registers),
        bp: arch::frame_pointer(registers),
    };
    let read = |at: u64| {
        let mut word = [0; 8];
        (target.read(at, &mut word).ok()? == word.len()).then(|| u64::from_le_bytes(word))
    };
    let returns = walk::returns(at, rule_of, read);
    returns.is_some_and(|returns| !within(at.pc) && !returns.into_iter().any(within))
}

/// What an attach has, by which it tells that while it lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attached<'a> {
    pub(crate) modules: &'a Modules,
    pub(crate) shared: &'a SharedFile,
    pub(crate) control: &'a Control,
}

/// Asks the guards and the tables of an attach; later, and where an attach is over or its memory was overwritten, tables that the
/// target cannot change.
#[derive(Debug)]
pub(crate) struct ByFrames<'a> {
    target: &'a Target,
    attached: Option<Attached<'a>>,
    /// Functions are hooked that the user named: they may do anything.
    any_function: bool,
    /// The target wrote over what it shares with us.
    overwritten: bool,
    own: OnceLock<Own>,
}

/// What was read anew.
#[derive(Debug)]
struct Own {
    maps: Vec<u8>,
    tables: PrivateTables,
    guards: Vec<Guard>,
}

impl<'a> ByFrames<'a> {
    pub(crate) fn of(target: &'a Target, attached: Attached<'a>, any_function: bool, overwritten: bool) -> Self {
        Self { target, attached: Some(attached), any_function, overwritten, own: OnceLock::new() }
    }

    /// Of an attach that is over.
    pub(crate) fn of_remains(target: &'a Target) -> Self {
        Self { target, attached: None, any_function: true, overwritten: false, own: OnceLock::new() }
    }

    fn guards(&self) -> Vec<Guard> {
        self.attached.map(|attached| read::guards(attached.shared, attached.control)).unwrap_or_default()
    }

    fn read_anew(&self) -> Own {
        // Of a target that is gone nothing is known, and nothing has to be.
        let maps = self.target.maps().unwrap_or_default();
        let tables = PrivateTables::of(self.target, &maps::parse(&maps).collect::<Vec<_>>());
        Own { maps, tables, guards: self.guards() }
    }
}

impl Inside for ByFrames<'_> {
    fn is_guarded(&self) -> bool {
        !self.guards().is_empty()
    }

    fn prepare(&self, is_late: bool) {
        if is_late || self.overwritten {
            self.own.get_or_init(|| self.read_anew());
        }
    }

    fn is_outside(&self, thread: &Resting, within: &dyn Fn(u64) -> bool) -> bool {
        let registers = &thread.registers;
        match (self.own.get(), self.attached) {
            (Some(own), _) => {
                let may_judge = !self.any_function || own.may_judge(thread, self.target.pid().0);
                may_judge && are_frames_outside(self.target, registers, |pc| own.tables.rule(pc), within)
            }
            (None, Some(attached)) => attached.modules.are_frames_outside(registers, within),
            (None, None) => false,
        }
    }
}

impl Own {
    /// Whether the frames of a thread tell what became of its guard. A function of the program's own may have gone on to another stack, so
    /// that those of its hook are not among them. On the stack that the thread was started with there is one after the other.
    fn may_judge(&self, thread: &Resting, process: u32) -> bool {
        let pointer = arch::thread_pointer(&thread.registers);
        let guards = self.guards.iter().filter(|guard| guard.thread == pointer).map(|guard| guard.at);
        let mappings: Vec<_> = maps::parse(&self.maps).collect();
        let is_main = thread.tid() == process;
        let is_own =
            |stack: u64| own_stack::holds(&mappings, Stands { is_main, stack, thread: pointer }, &(stack..stack));
        guards.chain([arch::stack_pointer(&thread.registers)]).all(is_own)
    }
}
