//! What an earlier leakline left in the target when it was killed.
//!
//! Owns: finding and removing it. Must not know: how it is made anew.
//!
//! Everything read here was in the target's hands: a patch is only undone where the bytes are exactly what leakline writes, a
//! jump into the mapping that it made.

use std::io;
use std::ops::Range;
use std::sync::atomic::AtomicU32;

use formats::maps::{self, Mapping};
use wire::{CODE_AREAS_MORE, Control, MAGIC, PATCHES_MAX, Patch, STATE_TID_MASK, VERSION, regions};

use super::arm::{Changed, disarm, drained};
use super::error::AttachError;
use super::load::{MAPPED_NAME, gadgets, some_thread, unload};
use super::target::Target;
use super::threads::tracing;

/// A jump and what it may be padded with.
const JUMP: u8 = 0xe9;
const PATCH_WORDS: usize = size_of::<Patch>() / 8;

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
    let mapping = mappings.iter().find(|mapping| mapping.name.starts_with(MAPPED_NAME))?;
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
pub(crate) fn remove(target: &Target) -> Result<(), AttachError> {
    let text = target.maps()?;
    let mappings: Vec<_> = maps::parse(&text).collect();
    let files = descriptors(target);
    let remains = match find(target, &mappings) {
        Some(remains) => remains,
        None if files.is_empty() => return Ok(()),
        None => Remains { listening: false, changed: Vec::new(), code: Vec::new(), shared: 0..0 },
    };
    if remains.listening {
        return Err(AttachError::Watched(target.pid()));
    }
    let step = |found: io::Error| AttachError::Step {
        pid: target.pid(),
        step: "remove what an earlier leakline left",
        found: found.to_string(),
    };
    disarm(target, &remains.changed).map_err(step)?;
    let (free, _) = drained(target, &remains.code, || false).map_err(step)?;
    if !free {
        return Err(step(io::Error::other("a thread stays inside the allocator")));
    }
    let Some(gadgets) = gadgets(target, &mappings) else { return Ok(()) };
    let ranges = std::iter::once(&remains.shared).chain(&remains.code);
    let ranges: Vec<_> = ranges.filter(|range| !range.is_empty()).collect();
    let ranges: Vec<(u64, u64)> = ranges.iter().map(|range| (range.start, range.end - range.start)).collect();
    tracing(|| unload(some_thread(target, gadgets, &mappings)?, &ranges, &files)).map_err(step)?;
    Ok(())
}

/// Descriptors of shared memory that was never mapped: leakline died between two calls.
fn descriptors(target: &Target) -> Vec<u64> {
    let Ok(entries) = std::fs::read_dir(target.path("fd")) else { return Vec::new() };
    let is_ours = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str().as_encoded_bytes().starts_with(MAPPED_NAME))
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
