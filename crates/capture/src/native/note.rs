//! The note that lies beside the agent's code: where all of that code is, and what stood at each place that leads there.
//!
//! Owns: its bytes, and finding it again. Must not know: when it is written or acted on.
//!
//! A forked child inherits the jumps and the code, but not the shared memory: by this note they can be taken out of it too. The
//! program cannot overwrite it by mistake, and no later version of leakline has to know what the shared memory of this one was like.

use std::ops::Range;

use formats::maps::Mapping;
use wire::{CODE_AREAS_MORE, PATCHES_MAX};

use super::arm::{Changed, JUMP_BYTES};
use super::target::Target;

const MAGIC: u64 = u64::from_le_bytes(*b"leakcode");
const VERSION: u64 = 1;
const PAGE: u64 = 4096;
const AREAS_MAX: usize = 1 + CODE_AREAS_MORE;
/// Magic, version, number of areas, number of changes.
const HEADER_WORDS: usize = 4;
const AREA_WORDS: usize = 2;
/// Address, what stood there, what was written.
const CHANGE_WORDS: usize = 3;

/// What a note says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    /// Every range of code that leakline mapped; the note lies in the first.
    pub(crate) code: Vec<Range<u64>>,
    /// Every place that leads there, or was about to.
    pub(crate) changed: Vec<Changed>,
}

/// In the word of what stood at a place, behind that: its jump goes last; it is a function that the user named.
const LAST: u64 = 1 << (8 * JUMP_BYTES);
const NAMED: u64 = LAST << 1;

/// Room for a note of so many changes.
pub(crate) fn room(changes: usize) -> u64 {
    (8 * (HEADER_WORDS + AREA_WORDS * AREAS_MAX + CHANGE_WORDS * changes)) as u64
}

impl Note {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        assert!(self.code.len() <= AREAS_MAX && self.changed.len() <= PATCHES_MAX, "a note has room for all of them");
        let mut words = vec![MAGIC, VERSION, self.code.len() as u64, self.changed.len() as u64];
        words.extend(self.code.iter().flat_map(|code| [code.start, code.end]));
        words.extend(self.changed.iter().flat_map(|change| {
            let flags = [(change.is_last, LAST), (change.is_named, NAMED)];
            let flags: u64 = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum();
            [change.at, word(change.before) | flags, word(change.after)]
        }));
        words.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    /// Reads a note that begins at an address; none where there is none, or one that makes no sense.
    fn read(target: &Target, at: u64) -> Option<Self> {
        let mut bytes = vec![0; room(PATCHES_MAX) as usize];
        let read = target.read(at, &mut bytes).ok()?;
        Self::parse(bytes.get(..read)?).filter(|note| note.code.first().is_some_and(|code| code.contains(&at)))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let words: Vec<u64> =
            bytes.chunks_exact(8).filter_map(|word| word.try_into().ok()).map(u64::from_le_bytes).collect();
        let (header, rest) = words.split_at_checked(HEADER_WORDS)?;
        let [MAGIC, VERSION, areas, places] = *header else { return None };
        if areas > AREAS_MAX as u64 || places > PATCHES_MAX as u64 {
            return None;
        }
        let (areas, rest) = rest.split_at_checked(AREA_WORDS * areas as usize)?;
        let (places, _) = rest.split_at_checked(CHANGE_WORDS * places as usize)?;
        let code: Vec<Range<u64>> = areas.chunks_exact(AREA_WORDS).map(|area| area[0]..area[1]).collect();
        if code.iter().any(Range::is_empty) {
            return None;
        }
        let changed = places.chunks_exact(CHANGE_WORDS);
        let changed = changed.map(|c| Changed {
            at: c[0],
            before: first_bytes(c[1]),
            after: first_bytes(c[2]),
            is_last: c[1] & LAST != 0,
            is_named: c[1] & NAMED != 0,
        });
        Some(Self { code, changed: changed.collect() })
    }

    /// Looks for a note in a process.
    pub(crate) fn find(target: &Target, mappings: &[Mapping<'_>]) -> Option<Self> {
        places(mappings).find_map(|at| Self::read(target, at))
    }
}

/// Where a note may be: in code of no file right behind a single page that can be written, which is the agent's link.
pub(crate) fn places(mappings: &[Mapping<'_>]) -> impl Iterator<Item = u64> {
    let is_anonymous = |mapping: &Mapping<'_>| mapping.inode == 0 && !mapping.permissions.shared;
    let pairs = mappings.iter().zip(mappings.iter().skip(1));
    let behind_link = pairs.filter(move |(link, code)| {
        is_anonymous(link)
            && link.permissions.write
            && link.size() == PAGE
            && link.addresses.end == code.addresses.start
            && is_anonymous(code)
            && code.permissions.execute
            && !code.permissions.write
    });
    behind_link.map(|(_, code)| code.addresses.start)
}

fn word(bytes: [u8; JUMP_BYTES]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn first_bytes(word: u64) -> [u8; JUMP_BYTES] {
    std::array::from_fn(|at| (word >> (8 * at)) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> Note {
        let change = |at, is_last, is_named| {
            let (before, after) = ([1, 2, 3, 4, 0x85], [0xe9, 6, 7, 8, 0xff]);
            Changed { at, before, after, is_last, is_named }
        };
        let changed = vec![change(0x77, true, false), change(0x78, false, true), change(u64::MAX, false, false)];
        Note { code: vec![0x1000..0x5000, 0x9000..0xa000], changed }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for note in [note(), Note { code: note().code, changed: Vec::new() }] {
            let bytes = note.bytes();
            assert!(bytes.len() as u64 <= room(note.changed.len()));
            assert_eq!(Note::parse(&bytes), Some(note.clone()));
            let behind = [bytes.as_slice(), &[0xcc; 5000]].concat();
            assert_eq!(Note::parse(&behind), Some(note), "what stands behind it does not matter");
        }
    }

    #[test]
    fn a_note_that_is_cut_or_changed_is_none() {
        let bytes = note().bytes();
        for len in 0..bytes.len() {
            assert_eq!(Note::parse(&bytes[..len]), None, "{len} bytes");
        }
        // Magic, version, too many areas, too many changes, an empty area.
        for (at, byte) in [(0, 0), (8, 9), (16, 5), (25, 2), (41, 0x0f)] {
            let mut changed = bytes.clone();
            changed[at] = byte;
            assert_eq!(Note::parse(&changed), None, "byte {at}");
        }
    }

    /// Where notes may be among mappings given as `start-end permissions inode`, in pages.
    #[track_caller]
    fn check(lines: &str, expected: &[u64]) {
        let line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (start, end) = words[0].split_once('-').unwrap();
            format!("{start}000-{end}000 {} 00000000 00:01 {} \n", words[1], words[2])
        };
        let text: String = lines.split(", ").map(line).collect();
        let mappings: Vec<_> = formats::maps::parse(text.as_bytes()).collect();
        let found: Vec<u64> = places(&mappings).map(|at| at / PAGE).collect();
        assert_eq!(found, expected, "{lines}");
    }

    #[test]
    fn a_note_lies_behind_the_page_of_the_link() {
        check("10-1f r-xp 0, 1f-20 rw-p 0, 20-22 r-xp 0", &[0x20]);
        check("10-1f r-xp 0, 1f-20 rw-p 0, 21-22 r-xp 0", &[]);
        check("10-1e r-xp 0, 1e-20 rw-p 0, 20-22 r-xp 0", &[]);
        check("1f-20 rw-p 7, 20-22 r-xp 0", &[]);
        check("1f-20 rw-p 0, 20-22 r-xp 7", &[]);
        check("1f-20 rw-s 0, 20-22 r-xp 0, 30-31 rw-p 0, 31-33 rwxp 0", &[]);
        check("1f-20 r--p 0, 20-22 r-xp 0, 30-31 rw-p 0, 31-33 rw-p 0", &[]);
    }
}
