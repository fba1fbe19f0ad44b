//! Whether a stopped thread will return into code of ours.
//!
//! Owns: telling that from its frames, and when guards are not believed. Must not know: why it is asked, or what becomes of the code.
//!
//! A guard that is set mostly tells of a thread inside a hook. One that was left by `longjmp` never cleared its guard, and a target may
//! have written anything over any. A thread whose frames are all known, and none of them ours, is outside all the same.

use std::io;
use std::mem::offset_of;
use std::ops::Range;
use std::sync::OnceLock;

use formats::maps;
use wire::{Control, PackedRule, ThreadCursors, VERSION};

use super::arch;
use super::arm::Inside;
use super::asleep;
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
    /// Where the shared memory of an attach that is over lies in the target; empty where there is none.
    remains: Range<u64>,
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
        Self { target, attached: Some(attached), remains: 0..0, any_function, overwritten, own: OnceLock::new() }
    }

    /// Of an attach that is over. The hooks of it are dormant, and yet threads may be inside that entered them before.
    pub(crate) fn of_remains(target: &'a Target, remains: Range<u64>, any_function: bool) -> Self {
        Self { target, attached: None, remains, any_function, overwritten: false, own: OnceLock::new() }
    }

    fn guards(&self) -> Vec<Guard> {
        match self.attached {
            Some(attached) => read::guards(attached.shared, attached.control),
            None => self.guards_of_remains().unwrap_or_default(),
        }
    }

    /// None where there is no shared memory, where it is of another version, or where most of it was given back already: that is done
    /// when nobody is inside any more.
    fn guards_of_remains(&self) -> Option<Vec<Guard>> {
        const RECORDS: u64 = (offset_of!(Control, threads) + offset_of!(ThreadCursors, records)) as u64;
        let words = |at: u64, len: usize| {
            let bytes = self.target.read_exactly(self.remains.start + at, 8 * len)?;
            io::Result::Ok(
                bytes.chunks_exact(8).filter_map(|word| word.try_into().ok()).map(u64::from_le_bytes).collect(),
            )
        };
        let half = |at: u64| {
            let bytes = self.target.read_exactly(self.remains.start + at, 4).ok()?;
            bytes.try_into().ok().map(u32::from_le_bytes)
        };
        let is_known = !self.remains.is_empty() && half(offset_of!(Control, version) as u64)? == VERSION;
        is_known.then(|| half(RECORDS)).flatten().map(|records| read::guards_by(words, records))
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

    fn is_asleep(&self, code: &[Range<u64>]) -> io::Result<bool> {
        if !self.any_function {
            return Ok(false);
        }
        self.prepare(self.attached.is_none());
        asleep::is_any(self.target, code, |thread, within| self.is_outside(thread, within))
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

#[cfg(test)]
mod tests {
    use std::fs::File;

    use wire::{ThreadFigures, regions};

    use super::*;
    use crate::sys::map::MappedFile;

    /// The guards of an attach that is over, where the shared memory is of this version and so long.
    #[track_caller]
    fn check(version: u32, len: u64, expected: &[Guard]) {
        let path = std::env::temp_dir().join(format!("leakline-inside-{}-{version}-{len}", std::process::id()));
        let file = SharedFile::new(File::options().read(true).write(true).create_new(true).open(&path).unwrap());
        file.file().set_len(wire::FILE_BYTES).unwrap();
        file.write_words32(offset_of!(Control, version) as u64, &[version]).unwrap();
        let records = offset_of!(Control, threads) + offset_of!(ThreadCursors, records);
        file.write_words32(records as u64, &[3]).unwrap();
        file.write_words32(regions::THREADS.at, &[7, 9, 5]).unwrap();
        for (place, thread, guard) in [(7_u64, 0x7700_u64, 0_u64), (9, 0x9900, 0x9000), (5, 0x5500, 0x5000)] {
            let at = |field: usize| regions::RECORDS.at + place * regions::RECORD_BYTES + field as u64;
            file.write_words(at(offset_of!(ThreadFigures, pointer)), &[thread]).unwrap();
            file.write_words(at(offset_of!(ThreadFigures, guard)), &[guard]).unwrap();
        }
        let mapped = MappedFile::open(&path).unwrap();
        file.file().set_len(len).unwrap();
        std::fs::remove_file(&path).unwrap();
        let start = mapped.as_ptr().expose_provenance() as u64;
        let target = Target::open_held(model::Pid(std::process::id())).unwrap();
        let remains = ByFrames::of_remains(&target, start..start + wire::FILE_BYTES, false);
        assert_eq!(remains.guards(), expected, "version {version}, {len} bytes");
        assert_eq!(remains.is_guarded(), !expected.is_empty());
        let of_child = ByFrames::of_remains(&target, 0..0, false);
        assert!(!of_child.is_guarded(), "there is no shared memory");
    }

    #[test]
    fn threads_are_inside_also_where_leakline_was_killed() {
        let guards = [Guard { thread: 0x9900, at: 0x9000 }, Guard { thread: 0x5500, at: 0x5000 }];
        check(VERSION, wire::FILE_BYTES, &guards);
        check(VERSION + 1, wire::FILE_BYTES, &[]);
        // Most of it was given back.
        check(VERSION, regions::ROBUST.end(), &[]);
    }
}
