//! What an earlier leakline left in the target when it was killed.
//!
//! Owns: finding and removing it. Must not know: how it is made anew.
//!
//! Everything read here was in the target's hands: a place is only changed back where exactly the bytes stand that leakline writes, a
//! jump into the mapping that it made.

use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::AtomicU32;

use formats::maps::{self, Mapping};
use model::Pid;
use wire::{CODE_AREAS_MORE, Control, MAGIC, STATE_TID_MASK, VERSION, regions};

use super::arm::{Changed, JUMP_BYTES, take_out};
use super::error::AttachError;
use super::inside::ByFrames;
use super::load::{MAPPED_NAME, gadgets, some_thread, unload};
use super::note::{self, Note};
use super::target::Target;
use super::threads::tracing;
use crate::doctor::how_to_see_all;

const JUMP: u8 = 0xe9;

/// What an earlier leakline had left in a process and what was taken out of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Jumps at the entries of functions.
    pub hooks: u64,
    /// Bytes of the agent's code.
    pub code: u64,
    /// Bytes of address space that the shared memory took.
    pub shared: u64,
    /// Open files.
    pub files: u64,
}

/// The processes in which leakline has left something, or is at work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carriers {
    /// Their numbers.
    pub pids: Vec<Pid>,
    /// Processes that could be looked at.
    pub looked_at: u64,
    /// Processes that could not.
    pub unreadable: u64,
    /// How to look at those, where there are any.
    pub remedy: Option<String>,
}

/// What was found.
#[derive(Debug, Default)]
struct Remains {
    /// Whether a living leakline still listens.
    listening: bool,
    /// The shared memory is laid out as another version of leakline does it.
    is_foreign: bool,
    changed: Vec<Changed>,
    /// Functions were hooked that the user named, or it cannot be known.
    any_function: bool,
    code: Vec<Range<u64>>,
    shared: Range<u64>,
}

/// Looks for the shared memory of an earlier attach, and for its code. In a forked child there is only the code.
fn find(target: &Target, mappings: &[Mapping<'_>]) -> Option<Remains> {
    let shared = mappings.iter().find(|mapping| is_shared_memory(mapping)).map(|mapping| mapping.addresses.clone());
    let note = Note::find(target, mappings);
    let mut found = match &shared {
        Some(shared) => in_shared_memory(target, shared),
        None => Remains::default(),
    };
    if shared.is_none() && note.is_none() {
        return None;
    }
    found.any_function = note.as_ref().is_none_or(|note| note.changed.iter().any(|change| change.is_named));
    if let Some(note) = note {
        found.is_foreign = false;
        found.code.extend(note.code);
        found.changed = note.changed;
    }
    // Only a mapping that is really there, anonymous and executable at its start, can be ours.
    let is_there =
        |m: &Mapping<'_>, code: &Range<u64>| m.addresses.start == code.start && m.inode == 0 && m.permissions.execute;
    found.code.retain(|code| mappings.iter().any(|mapping| is_there(mapping, code)));
    found.code.sort_unstable_by_key(|code| code.start);
    found.code.dedup();
    found.changed.retain(|change| leads_into(change.at, change.after, &found.code));
    Some(found)
}

/// What the shared memory says. An attach notes there where its code will be before that is mapped.
fn in_shared_memory(target: &Target, shared: &Range<u64>) -> Remains {
    let mut found = Remains { shared: shared.clone(), ..Remains::default() };
    let words = words(target, shared.start, size_of::<Control>()).unwrap_or_default();
    let word = |offset: usize| words.get(offset / 8).copied().unwrap_or(0);
    let half = |offset: usize| (word(offset & !7) >> (8 * (offset & 7))) as u32;
    let is_ours = word(core::mem::offset_of!(Control, magic)) == MAGIC;
    if !is_ours || half(core::mem::offset_of!(Control, version)) != VERSION {
        found.is_foreign = is_ours;
        return found;
    }
    found.listening = half(core::mem::offset_of!(Control, state)) & STATE_TID_MASK != 0;
    let first = core::mem::offset_of!(Control, code_at);
    let more = core::mem::offset_of!(Control, more_code);
    let areas = std::iter::once(first).chain((0..CODE_AREAS_MORE).map(|area| more + 16 * area));
    found.code = areas.map(|at| word(at)..word(at).saturating_add(word(at + 8))).collect();
    found
}

/// Removes what an earlier leakline left; an error if one is still attached.
pub(crate) fn remove(target: &Target) -> Result<Removed, AttachError> {
    let text = target.maps()?;
    let mappings: Vec<_> = maps::parse(&text).collect();
    let files = descriptors(target, &mappings);
    let attempts: Vec<&Mapping<'_>> = mappings.iter().filter(|mapping| is_attempt(mapping)).collect();
    let remains = match find(target, &mappings) {
        Some(remains) => remains,
        None if files.is_empty() && attempts.is_empty() => return Ok(Removed::default()),
        None => Remains::default(),
    };
    // One that is still on its way in does not listen yet.
    let by = listener(target.pid(), &mappings);
    if remains.listening || by.is_some() {
        return Err(AttachError::Watched { pid: target.pid(), by });
    }
    let step = |error: io::Error| target.failed("remove what an earlier leakline left", &error);
    if remains.is_foreign {
        return Err(step(io::Error::other("it is of another version: `leakline detach` of that version removes it")));
    }
    let inside = ByFrames::of_remains(target, remains.shared.clone(), remains.any_function);
    let out = take_out(target, &remains.changed, &remains.code, &inside).map_err(step)?;
    if !out.foreign.is_empty() {
        let why = out.why_kept().unwrap_or_default();
        return Err(step(io::Error::other(format!("{why}: try again when that is gone"))));
    }
    if out.is_busy {
        return Err(step(io::Error::other("a thread stays inside the allocator")));
    }
    let gadgets = gadgets(target, &mappings)
        .ok_or_else(|| step(io::Error::other("its code has no instructions to unmap it with")))?;
    let attempts = attempts.iter().map(|mapping| &mapping.addresses);
    let ranges = std::iter::once(&remains.shared).chain(&remains.code).chain(attempts);
    let ranges: Vec<_> = ranges.filter(|range| !range.is_empty()).collect();
    let ranges: Vec<(u64, u64)> = ranges.iter().map(|range| (range.start, range.end - range.start)).collect();
    tracing(|| unload(some_thread(target, gadgets)?, &ranges, &files)).map_err(step)?;
    Ok(Removed {
        hooks: remains.changed.len() as u64,
        code: remains.code.iter().map(|code| code.end.saturating_sub(code.start)).sum(),
        shared: remains.shared.end - remains.shared.start,
        files: files.len() as u64,
    })
}

/// Looks for shared memory of leakline's in every process.
pub(crate) fn carriers() -> Carriers {
    let mut found = Carriers::default();
    for pid in processes() {
        let text = match std::fs::read(format!("/proc/{pid}/maps")) {
            Ok(text) => text,
            // What ends or has just ended carries nothing any more.
            Err(error) => {
                found.unreadable += u64::from(error.kind() == io::ErrorKind::PermissionDenied);
                continue;
            }
        };
        found.looked_at += 1;
        let mappings: Vec<_> = maps::parse(&text).collect();
        if mappings.iter().any(|mapping| is_shared_memory(mapping) || is_attempt(mapping)) || has_note(pid, &mappings) {
            found.pids.push(pid);
        }
    }
    found.pids.sort_unstable();
    found.remedy = (found.unreadable > 0).then(|| how_to_see_all("leakline detach --all"));
    found
}

/// Whether there is code of ours. Its memory is only opened where the mappings look like it.
fn has_note(pid: Pid, mappings: &[Mapping<'_>]) -> bool {
    note::places(mappings).next().is_some()
        && Target::open(pid).is_ok_and(|target| Note::find(&target, mappings).is_some())
}

/// A mapping as an attach makes it. leakline itself maps only the first pages of the same file.
fn is_shared_memory(mapping: &Mapping<'_>) -> bool {
    mapping.name.starts_with(MAPPED_NAME) && mapping.size() > regions::ROBUST.end()
}

fn is_control_page(mapping: &Mapping<'_>) -> bool {
    mapping.name.starts_with(MAPPED_NAME) && mapping.size() == regions::ROBUST.end()
}

/// The single page with which an attach tries whether memory is locked; leakline was killed before it was unmapped.
fn is_attempt(mapping: &Mapping<'_>) -> bool {
    mapping.name.starts_with(MAPPED_NAME) && mapping.size() < regions::ROBUST.end()
}

/// The leakline that is attached: it maps the first pages of the same file.
fn listener(target: Pid, mappings: &[Mapping<'_>]) -> Option<Pid> {
    let shared = mappings.iter().find(|mapping| is_shared_memory(mapping))?;
    processes().into_iter().filter(|pid| *pid != target).find(|pid| {
        let text = std::fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
        maps::parse(&text).any(|mapping| is_control_page(&mapping) && mapping.inode == shared.inode)
    })
}

fn processes() -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid).collect()
}

/// Descriptors of shared memory that was never mapped: leakline died between two calls. Those of a leakline, which is
/// itself at work on another process, are its own.
fn descriptors(target: &Target, mappings: &[Mapping<'_>]) -> Vec<u64> {
    let program = |path: &Path| std::fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
    if program(&target.path("exe")) == program(Path::new("/proc/self/exe")) {
        return Vec::new();
    }
    let Ok(entries) = std::fs::read_dir(target.path("fd")) else { return Vec::new() };
    let is_its_own = |inode: u64| mappings.iter().any(|mapping| is_control_page(mapping) && mapping.inode == inode);
    let is_ours = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str().as_encoded_bytes().starts_with(MAPPED_NAME))
            && std::fs::metadata(entry.path()).is_ok_and(|data| !is_its_own(data.ino()))
    };
    let ours = entries.flatten().filter(is_ours);
    ours.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether bytes are a jump from `at` into `code`.
fn leads_into(at: u64, bytes: [u8; JUMP_BYTES], code: &[Range<u64>]) -> bool {
    let [first, distance @ ..] = bytes;
    let behind = at.wrapping_add(JUMP_BYTES as u64);
    let target = behind.wrapping_add_signed(i64::from(i32::from_le_bytes(distance)));
    first == JUMP && code.iter().any(|code| code.contains(&target))
}

fn words(target: &Target, at: u64, len: usize) -> io::Result<Vec<u64>> {
    let bytes = target.read_exactly(at, len)?;
    Ok(bytes.chunks_exact(8).filter_map(|word| word.try_into().ok()).map(u64::from_le_bytes).collect())
}

const _: () = assert!(size_of::<AtomicU32>() == 4, "the state is half a word");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_jump_into_our_code_is_ours() {
        let code = [0x8000..0x9000, 0x1000..0x2000];
        assert!(leads_into(0x800, [0xe9, 0xfb, 0x07, 0, 0], &code));
        assert!(!leads_into(0x800, [0xe9, 0xfa, 0x07, 0, 0], &code));
        assert!(!leads_into(0x800, [0xe8, 0xfb, 0x07, 0, 0], &code));
        assert!(!leads_into(0x800, [0xe9, 0xfb, 0x07, 0, 0], &[]));
    }

    #[test]
    fn leakline_itself_carries_no_remains() {
        let text = format!(
            "7000-{:x} rw-s 00000000 00:01 9 /memfd:leakline (deleted)\n100000-900000 rw-s 00000000 00:01 9 /memfd:leakline (deleted)\n\
             7000-9000 rw-s 00000000 00:01 9 /memfd:other (deleted)\n\
             a000-b000 rw-s 00000000 00:01 9 /memfd:leakline (deleted)\n",
            0x7000 + regions::ROBUST.end()
        );
        let found: Vec<_> =
            maps::parse(text.as_bytes()).map(|m| (is_control_page(&m), is_shared_memory(&m), is_attempt(&m))).collect();
        assert_eq!(found, [(true, false, false), (false, true, false), (false, false, false), (false, false, true)]);
    }

    #[test]
    fn every_process_is_looked_at() {
        let found = carriers();
        assert!(found.looked_at > 0 && !found.pids.contains(&Pid(std::process::id())), "{found:?}");
        assert!(processes().contains(&Pid(std::process::id())));
    }

    /// The target of a jump over so many bytes, against code from 0x8000 to 0x9000.
    #[track_caller]
    fn check_jump(at: u64, distance: i32, ours: bool) {
        let code = 0x8000..0x9000;
        let [a, b, c, d] = distance.to_le_bytes();
        assert_eq!(leads_into(at, [JUMP, a, b, c, d], std::slice::from_ref(&code)), ours, "{at:#x} {distance:#x}");
    }

    #[test]
    fn a_jump_counts_from_behind_itself_in_both_directions() {
        check_jump(0x7000, 0xffb, true);
        check_jump(0x7000, 0xffa, false);
        check_jump(0x7000, 0x1ffa, true);
        check_jump(0x7000, 0x1ffb, false);
        check_jump(0xa000, -0x1006, true);
        check_jump(0xa000, -0x1005, false);
        check_jump(0xa000, -0x2005, true);
        check_jump(0xa000, -0x2006, false);
    }

    #[test]
    fn a_jump_at_the_end_of_all_addresses_does_no_harm() {
        check_jump(u64::MAX, 0x7ffc, true);
        check_jump(u64::MAX - 4, 0, false);
        check_jump(0, i32::MIN, false);
    }
}
