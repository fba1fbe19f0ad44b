//! What an earlier leakline left in the target when it was killed.
//!
//! Owns: finding and removing it. Must not know: how it is made anew.
//!
//! Everything read here was in the target's hands: a patch is only undone where the bytes are exactly what leakline writes, a
//! jump into the mapping that it made.

use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::AtomicU32;

use formats::maps::{self, Mapping};
use model::Pid;
use wire::{CODE_AREAS_MORE, Control, MAGIC, PATCHES_MAX, Patch, STATE_TID_MASK, VERSION, regions};

use super::arm::{Changed, disarm, drained};
use super::error::AttachError;
use super::load::{MAPPED_NAME, gadgets, some_thread, unload};
use super::target::Target;
use super::threads::tracing;

/// A jump and what it may be padded with.
const JUMP: u8 = 0xe9;
const PATCH_WORDS: usize = size_of::<Patch>() / 8;

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
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Remains {
    /// Whether a living leakline still listens.
    listening: bool,
    pub(crate) changed: Vec<Changed>,
    code: Vec<Range<u64>>,
    shared: Range<u64>,
}

/// Looks for the shared memory of an earlier attach.
pub(crate) fn find(target: &Target, mappings: &[Mapping<'_>]) -> Option<Remains> {
    let mapping = mappings.iter().find(|mapping| is_shared_memory(mapping))?;
    let shared = mapping.addresses.clone();
    let mut found = Remains { listening: false, changed: Vec::new(), code: Vec::new(), shared: shared.clone() };
    let words = words(target, shared.start, size_of::<Control>()).unwrap_or_default();
    let word = |offset: usize| words.get(offset / 8).copied().unwrap_or(0);
    let half = |offset: usize| (word(offset & !7) >> (8 * (offset & 7))) as u32;
    if word(core::mem::offset_of!(Control, magic)) != MAGIC || half(core::mem::offset_of!(Control, version)) != VERSION
    {
        return Some(found);
    }
    found.listening = half(core::mem::offset_of!(Control, state)) & STATE_TID_MASK != 0;
    let first = core::mem::offset_of!(Control, code_at);
    let more = core::mem::offset_of!(Control, more_code);
    for at in std::iter::once(first).chain((0..CODE_AREAS_MORE).map(|area| more + 16 * area)) {
        let code = word(at)..word(at).saturating_add(word(at + 8));
        // Only a mapping that is really there, anonymous and executable at its start, can be ours.
        if mappings.iter().any(|m| m.addresses.start == code.start && m.inode == 0 && m.permissions.execute) {
            found.code.push(code);
        }
    }
    found.changed = patches(target, shared.start, &found.code);
    Some(found)
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
        None => Remains { listening: false, changed: Vec::new(), code: Vec::new(), shared: 0..0 },
    };
    // One that is still on its way in does not listen yet.
    let by = listener(target.pid(), &mappings);
    if remains.listening || by.is_some() {
        return Err(AttachError::Watched { pid: target.pid(), by });
    }
    let step = |error: io::Error| target.failed("remove what an earlier leakline left", &error);
    disarm(target, &remains.changed).map_err(step)?;
    let (free, _) = drained(target, &remains.code, || false).map_err(step)?;
    if !free {
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
        let Ok(text) = std::fs::read(format!("/proc/{pid}/maps")) else {
            // What ended meanwhile carries nothing any more.
            found.unreadable += u64::from(std::fs::exists(format!("/proc/{pid}/maps")).unwrap_or(true));
            continue;
        };
        found.looked_at += 1;
        if maps::parse(&text).any(|mapping| is_shared_memory(&mapping) || is_attempt(&mapping)) {
            found.pids.push(pid);
        }
    }
    found.pids.sort_unstable();
    found
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

fn patches(target: &Target, shared: u64, code: &[Range<u64>]) -> Vec<Changed> {
    let words = words(target, shared + regions::PATCHES.at, PATCHES_MAX * size_of::<Patch>()).unwrap_or_default();
    let mut changed = Vec::new();
    for patch in words.chunks_exact(PATCH_WORDS) {
        let [at, before @ .., len] = patch else { break };
        let len = *len as usize;
        let bytes: Vec<u8> = before.iter().flat_map(|word| word.to_le_bytes()).collect();
        let (Some(before), Some(after)) = (bytes.get(..len), bytes.get(16..16 + len)) else { break };
        if len == 0 || !(5..=16).contains(&len) {
            break;
        }
        if leads_into(*at, after, code) {
            changed.push(Changed { at: *at, before: before.to_vec(), after: after.to_vec() });
        }
    }
    changed
}

/// Whether bytes are a jump from `at` into `code`.
fn leads_into(at: u64, bytes: &[u8], code: &[Range<u64>]) -> bool {
    let distance = bytes.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(i32::from_le_bytes);
    let target = distance.map(|distance| at.wrapping_add(5).wrapping_add_signed(i64::from(distance)));
    bytes.first() == Some(&JUMP) && target.is_some_and(|target| code.iter().any(|code| code.contains(&target)))
}

fn words(target: &Target, at: u64, len: usize) -> io::Result<Vec<u64>> {
    let bytes = target.read_exactly(at, len)?;
    Ok(bytes.chunks_exact(8).filter_map(|word| word.try_into().ok()).map(u64::from_le_bytes).collect())
}

const _: () = assert!(size_of::<Patch>() == 48, "patches are read as words");
const _: () = assert!(size_of::<AtomicU32>() == 4, "the state is half a word");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_jump_into_our_code_is_ours() {
        let code = [0x8000..0x9000, 0x1000..0x2000];
        assert!(leads_into(0x800, &[0xe9, 0xfb, 0x07, 0, 0], &code));
        assert!(!leads_into(0x800, &[0xe9, 0xfa, 0x07, 0, 0], &code));
        assert!(!leads_into(0x800, &[0xe8, 0xfb, 0x07, 0, 0], &code));
        assert!(!leads_into(0x800, &[0xe9, 0xfb], &code));
        assert!(!leads_into(0x800, &[0xe9, 0xfb, 0x07, 0, 0], &[]));
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
        let bytes: Vec<u8> = [JUMP].into_iter().chain(distance.to_le_bytes()).collect();
        assert_eq!(leads_into(at, &bytes, std::slice::from_ref(&code)), ours, "{at:#x} {distance:#x}");
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
