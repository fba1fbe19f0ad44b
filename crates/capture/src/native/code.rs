//! The target's code: which modules are mapped where, and their unwind rows in the form that the agent searches.
//!
//! Owns: keeping the shared tables in step with the target's mappings. Must not know: hooks, names of functions.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use formats::maps::Mapping;
use stacks::module::{ModuleLayout, load_bias, module_layout};
use stacks::unwind::{Rule, SavedRbp, UnwindRows, compile};
use wire::{Control, MODULES_MAX, Module, PackedRule, RuleKind, regions};

use super::file::SharedFile;
use super::target::Target;
use super::walk;
use crate::sys::map::MappedFile;

/// Size of the largest vdso that is read.
const VDSO_BYTES_MAX: u64 = 1 << 20;

/// What identifies the content of a mapped file.
type FileKey = ((u32, u32), u64);

/// The rules of the files that are mapped. Each file is compiled once, by whoever asks first: it takes most of the time of an attach.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    files: Mutex<HashMap<FileKey, Arc<OnceLock<Arc<UnwindRows>>>>>,
}

impl Compiled {
    /// The rules of the file that is mapped here; empty where it has none. Waits for another thread that compiles it already.
    pub(crate) fn of(&self, mapping: &Mapping<'_>, elf: &[u8]) -> Arc<UnwindRows> {
        let key = (mapping.device, mapping.inode);
        let place = self.files.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        place.get_or_init(|| Arc::new(compile(elf).unwrap_or_default())).clone()
    }
}

/// Rows of one module, not yet or already in the shared file.
#[derive(Debug, Default)]
struct Rows {
    layout: Option<ModuleLayout>,
    /// Starts, then rules; empty once they were written.
    words: Vec<u32>,
    count: u32,
    /// Index of the first start in the shared rows.
    at: u32,
}

/// The tables of code.
#[derive(Debug, Default)]
pub(crate) struct CodeTables {
    files: HashMap<FileKey, Rows>,
    next: u32,
    published: Vec<Module>,
    buffer: u32,
    /// Modules whose rows found no room, in the tables or below the cap of the session.
    pub(crate) refused: u64,
}

impl CodeTables {
    /// Compiles what is mapped and was not seen before.
    pub(crate) fn learn(&mut self, target: &Target, mappings: &[Mapping<'_>]) {
        self.learn_from(target, mappings, &Compiled::default());
    }

    /// The same, where somebody else may have compiled some of it.
    pub(crate) fn learn_from(&mut self, target: &Target, mappings: &[Mapping<'_>], compiled: &Compiled) {
        for mapping in mappings.iter().filter(|mapping| mapping.permissions.execute) {
            let key = key_of(mapping);
            if key.is_some_and(|key| !self.files.contains_key(&key)) {
                let rows = rows_of(target, mapping, compiled);
                self.files.extend(key.map(|key| (key, rows)));
            }
        }
    }

    /// Brings the shared tables up to date; how many bytes of rows are new. Those may take `room`: a module without rows is unwound by
    /// its frame pointers, as code without tables is.
    pub(crate) fn publish(
        &mut self,
        mappings: &[Mapping<'_>],
        file: &SharedFile,
        control: &Control,
        room: u64,
    ) -> io::Result<u64> {
        let before = self.next;
        self.write_rows(file, room)?;
        let written = u64::from(self.next - before) * 4;
        let mut modules: Vec<Module> = mappings.iter().filter_map(|mapping| self.module(mapping)).collect();
        self.refused += modules.len().saturating_sub(MODULES_MAX) as u64;
        modules.truncate(MODULES_MAX);
        if modules == self.published {
            return Ok(written);
        }
        // Four buffers in turn: an agent that is still in the previous one is left alone.
        self.buffer = (self.buffer + 1) & 3;
        let at = regions::MODULES.at + (self.buffer as usize * MODULES_MAX * size_of::<Module>()) as u64;
        let words: Vec<u64> = modules.iter().flat_map(words_of).collect();
        file.write_words(at, &words)?;
        control.modules.store((modules.len() as u32) << 2 | self.buffer, Release);
        control.generation.fetch_add(1, Relaxed);
        control.next_turn();
        self.published = modules;
        Ok(written)
    }

    /// The rule by which the agent leaves the frame of a code address.
    pub(crate) fn rule(&self, file: &SharedFile, pc: u64) -> Option<PackedRule> {
        walk::rule(&self.published, pc, |row| file.word32(regions::ROWS.at + row * 4))
    }

    fn write_rows(&mut self, file: &SharedFile, room: u64) -> io::Result<()> {
        let mut room = room;
        for rows in self.files.values_mut().filter(|rows| !rows.words.is_empty()) {
            let words = std::mem::take(&mut rows.words);
            let bytes = words.len() as u64 * 4;
            if u64::from(self.next) * 4 + bytes > regions::ROWS.len || bytes > room {
                self.refused += 1;
                rows.count = 0;
                continue;
            }
            file.write_words32(regions::ROWS.at + u64::from(self.next) * 4, &words)?;
            room -= bytes;
            rows.at = self.next;
            self.next += words.len() as u32;
        }
        Ok(())
    }

    fn module(&self, mapping: &Mapping<'_>) -> Option<Module> {
        if !mapping.permissions.execute || mapping.addresses.end > 1 << 47 {
            return None;
        }
        let mut module = Module { start: mapping.addresses.start, end: mapping.addresses.end, ..Module::default() };
        if let Some(rows) = key_of(mapping).and_then(|key| self.files.get(&key))
            && let Some(base) = base_of(rows, mapping)
        {
            (module.base, module.starts, module.rows) = (base, rows.at, rows.count);
        }
        Some(module)
    }
}

/// Modules and rows that only leakline has, for when the target may have written over those that it shares.
#[derive(Debug)]
pub(crate) struct PrivateTables {
    modules: Vec<Module>,
    rows: Vec<u32>,
}

impl PrivateTables {
    pub(crate) fn of(target: &Target, mappings: &[Mapping<'_>]) -> Self {
        let (mut tables, mut all) = (CodeTables::default(), Vec::new());
        tables.learn(target, mappings);
        for rows in tables.files.values_mut() {
            rows.at = all.len() as u32;
            all.append(&mut rows.words);
        }
        Self { modules: mappings.iter().filter_map(|mapping| tables.module(mapping)).collect(), rows: all }
    }

    pub(crate) fn rule(&self, pc: u64) -> Option<PackedRule> {
        walk::rule(&self.modules, pc, |row| self.rows.get(usize::try_from(row).ok()?).copied())
    }
}

/// A file of the target as the target sees it, wherever it is mounted.
pub(crate) fn open_file(target: &Target, mapping: &Mapping<'_>) -> io::Result<MappedFile> {
    use std::os::unix::ffi::OsStringExt as _;
    let addresses = format!("map_files/{:x}-{:x}", mapping.addresses.start, mapping.addresses.end);
    // This leads to the very file that is mapped, even if its name is gone; only a privileged process may use it.
    MappedFile::open(&target.path(&addresses)).or_else(|error| {
        let Some(path) = mapping.path().filter(|_| !mapping.deleted) else { return Err(error) };
        let inside = PathBuf::from(std::ffi::OsString::from_vec(path.into_owned()));
        MappedFile::open(&target.path("root").join(inside.strip_prefix("/").unwrap_or(&inside)))
    })
}

fn key_of(mapping: &Mapping<'_>) -> Option<FileKey> {
    let is_vdso = mapping.name == b"[vdso]";
    (mapping.inode != 0 || is_vdso).then_some((mapping.device, mapping.inode))
}

fn rows_of(target: &Target, mapping: &Mapping<'_>, compiled: &Compiled) -> Rows {
    let rows = |elf: &[u8]| packed_rows(elf, &compiled.of(mapping, elf));
    let packed = if mapping.name == b"[vdso]" {
        let len = mapping.size().min(VDSO_BYTES_MAX) as usize;
        target.read_exactly(mapping.addresses.start, len).ok().map(|bytes| rows(&bytes))
    } else {
        open_file(target, mapping).ok().map(|bytes| rows(&bytes))
    };
    packed.unwrap_or_default()
}

fn packed_rows(elf: &[u8], rows: &UnwindRows) -> Rows {
    assert!(rows.starts.len() == rows.rules.len(), "each row has one rule");
    let rules = rows.rules.iter().map(|rule| packed(*rule).0);
    let words = rows.starts.iter().copied().chain(rules).collect();
    Rows { layout: module_layout(elf).ok(), words, count: rows.starts.len() as u32, at: 0 }
}

/// Address that the rows of a module count from.
fn base_of(rows: &Rows, mapping: &Mapping<'_>) -> Option<u64> {
    let layout = rows.layout.as_ref()?;
    let bias = load_bias(layout, mapping.addresses.start, mapping.offset, true)?;
    Some(bias.wrapping_add(layout.base()))
}

fn packed(rule: Rule) -> PackedRule {
    let rule = match rule {
        Rule::FromStackPointer { cfa, saved_rbp } => offsets(RuleKind::StackPointer, cfa, saved_rbp),
        Rule::FromFramePointer { cfa, saved_rbp } => offsets(RuleKind::FramePointer, cfa, saved_rbp),
        Rule::FromFramePointerDeref { at, saved_rbp_at: 0 } if at <= 0 && at % 8 == 0 => {
            PackedRule::new(RuleKind::FramePointerDeref, at.unsigned_abs() / 8, PackedRule::RBP_AT_RBP)
        }
        Rule::FromFramePointerDeref { .. } | Rule::Unknown => None,
        Rule::Plt => PackedRule::new(RuleKind::Plt, 0, PackedRule::RBP_SAME),
        Rule::Signal => PackedRule::new(RuleKind::Signal, 0, PackedRule::RBP_SAME),
        Rule::End => PackedRule::new(RuleKind::End, 0, PackedRule::RBP_SAME),
    };
    rule.unwrap_or(PackedRule::UNKNOWN)
}

fn offsets(kind: RuleKind, cfa: u32, saved_rbp: SavedRbp) -> Option<PackedRule> {
    let rbp = match saved_rbp {
        SavedRbp::Same => PackedRule::RBP_SAME,
        SavedRbp::AtCfaMinus(bytes) if bytes.is_multiple_of(8) && bytes / 8 < PackedRule::RBP_AT_RBP => bytes / 8,
        SavedRbp::AtCfaMinus(_) => return None,
    };
    cfa.is_multiple_of(8).then(|| PackedRule::new(kind, cfa / 8, rbp)).flatten()
}

fn words_of(module: &Module) -> [u64; 4] {
    [module.start, module.end, module.base, u64::from(module.starts) | u64::from(module.rows) << 32]
}

const _: () = assert!(size_of::<Module>() == 32, "a module is written as four words");

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: Rule, kind: RuleKind, offset: u64, rbp: u32) {
        let packed = packed(rule);
        assert_eq!((packed.kind(), packed.offset(), packed.rbp()), (kind, offset, rbp));
    }

    #[test]
    fn rules_are_packed_or_unknown() {
        let same = SavedRbp::Same;
        check(Rule::FromStackPointer { cfa: 16, saved_rbp: same }, RuleKind::StackPointer, 16, 0);
        check(Rule::FromFramePointer { cfa: 16, saved_rbp: SavedRbp::AtCfaMinus(16) }, RuleKind::FramePointer, 16, 2);
        check(Rule::FromStackPointer { cfa: 12, saved_rbp: same }, RuleKind::Unknown, 0, 0);
        check(Rule::FromStackPointer { cfa: 8 << 16, saved_rbp: same }, RuleKind::Unknown, 0, 0);
        let deref = |at, saved_rbp_at| Rule::FromFramePointerDeref { at, saved_rbp_at };
        check(deref(-8, 0), RuleKind::FramePointerDeref, 8, PackedRule::RBP_AT_RBP);
        check(deref(8, 0), RuleKind::Unknown, 0, 0);
        check(deref(-8, 16), RuleKind::Unknown, 0, 0);
        check(Rule::End, RuleKind::End, 0, 0);
    }

    #[test]
    fn tables_of_our_own_know_the_code_of_files_and_nothing_else() {
        let target = Target::open_held(model::Pid(std::process::id())).unwrap();
        let maps = target.maps().unwrap();
        let tables = PrivateTables::of(&target, &formats::maps::parse(&maps).collect::<Vec<_>>());
        let here = (offsets as fn(RuleKind, u32, SavedRbp) -> Option<PackedRule> as *const ()).expose_provenance();
        let rule = tables.rule(here as u64).expect("this program has unwind tables");
        assert_eq!(
            (rule.kind(), rule.offset()),
            (RuleKind::StackPointer, 8),
            "at its begin a function has the return address only"
        );
        assert_eq!(tables.rule(std::ptr::from_ref(&tables).expose_provenance() as u64), None);
    }
}
