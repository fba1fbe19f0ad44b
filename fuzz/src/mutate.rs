//! Making damaged inputs out of sound ones, with some knowledge of their form.
//!
//! Owns: which damage is done. Must not know: what reads the result.
//!
//! Bytes changed anywhere mostly damage what nobody looks at. So an ELF file is changed in its headers, in its entries and inside of
//! single sections, a recording inside of blocks whose checksums are then made right, and a text by its lines and numbers.

use crate::chance::Chance;

/// What an input is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// An ELF file.
    Elf,
    /// Lines of text.
    Text,
    /// A segment of a recording.
    Segment,
}

/// Sections with more bytes than this are changed in a part of it.
const PART: usize = 512;

/// A damaged copy of an input.
pub(crate) fn mutated(form: Form, seed: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=chance.below(6) {
        match form {
            Form::Elf => damage_elf(&mut bytes, chance),
            Form::Text => damage_text(&mut bytes, chance),
            Form::Segment => damage_segment(&mut bytes, chance),
        }
    }
    if chance.one_in(24) {
        bytes.truncate(chance.below(bytes.len() + 1));
    }
    bytes
}

/// Changes some bytes: edges, flipped bits, numbers without end, pieces from elsewhere.
fn damage(bytes: &mut [u8], chance: &mut Chance) {
    let length = bytes.len();
    let at = chance.below(length);
    match chance.below(6) {
        0 => put(bytes, at, 1, chance.next()),
        1 => {
            let width = [2, 4, 8].get(chance.below(3)).copied().unwrap_or(4);
            put(bytes, at, width, chance.value(get(bytes, at, width)));
        }
        2 => {
            let flipped = get(bytes, at, 1) ^ (1 << chance.below(8));
            put(bytes, at, 1, flipped);
        }
        // A LEB128 number that does not end, or a string without its zero.
        3 => {
            let (to, byte) = ((at + 1 + chance.below(24)).min(length), [0xff, 0x80, 0][chance.below(3)]);
            if let Some(run) = bytes.get_mut(at..to) {
                run.fill(byte);
            }
        }
        4 => {
            let (from, count) = (chance.below(length), chance.below(64));
            let end = (from + count).min(length);
            if at + (end - from) <= length {
                bytes.copy_within(from..end, at);
            }
        }
        _ => {
            for step in 0..=chance.below(8) {
                put(bytes, at + step, 1, chance.next());
            }
        }
    }
}

/// Offset and length of a part of an ELF file that is worth damage.
fn part_of_elf(bytes: &[u8], chance: &mut Chance) -> (usize, usize) {
    // Offsets of fields of the ELF header.
    const PROGRAMS: usize = 0x20;
    const SECTIONS: usize = 0x28;
    let (programs, sections) = (get(bytes, PROGRAMS, 8) as usize, get(bytes, SECTIONS, 8) as usize);
    let (program_count, section_count) = (get(bytes, 0x38, 2) as usize, get(bytes, 0x3c, 2) as usize);
    match chance.below(16) {
        0 => (0, 64),
        1 | 2 => (programs.saturating_add(56 * chance.below(program_count)), 56),
        3..=5 => (sections.saturating_add(64 * chance.below(section_count)), 64),
        6 => (chance.below(bytes.len()), PART),
        _ => {
            let header = sections.saturating_add(64 * chance.below(section_count));
            let (at, length) = (
                get(bytes, header.saturating_add(0x18), 8) as usize,
                get(bytes, header.saturating_add(0x20), 8) as usize,
            );
            // The beginning of a section has its header, which all else follows from.
            let skip = if chance.one_in(2) { 0 } else { chance.below(length) };
            (at.saturating_add(skip), length.saturating_sub(skip).min(PART))
        }
    }
}

fn damage_elf(bytes: &mut [u8], chance: &mut Chance) {
    let (at, length) = part_of_elf(bytes, chance);
    let end = at.saturating_add(length).min(bytes.len());
    if let Some(part) = bytes.get_mut(at..end)
        && !part.is_empty()
    {
        damage(part, chance);
    }
}

fn damage_text(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let at = chance.below(bytes.len());
    match chance.below(6) {
        0 => {
            // One number becomes another, maybe one that no integer holds.
            let is_digit = |byte: &u8| byte.is_ascii_digit();
            let from = bytes.iter().skip(at).position(is_digit).map_or(0, |skip| at + skip);
            let digits = bytes.iter().skip(from).take_while(|byte| is_digit(byte)).count();
            let number = format!("{}{}", chance.value(7), if chance.one_in(4) { "99999999999" } else { "" });
            bytes.splice(from..from + digits, number.into_bytes());
        }
        1 => {
            // A line comes twice, or is gone.
            let start = bytes.iter().take(at).rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
            let length = bytes.iter().skip(start).position(|&byte| byte == b'\n').map_or(0, |length| length + 1);
            let line: Vec<u8> = bytes.iter().skip(start).take(length).copied().collect();
            let again = if chance.one_in(2) { line.repeat(2) } else { Vec::new() };
            bytes.splice(start..start + length, again);
        }
        2 if !bytes.is_empty() => {
            bytes.remove(at);
        }
        3 => bytes.insert(at, b" \n\t:/-\\\0\xff"[chance.below(9)]),
        _ => damage(bytes, chance),
    }
}

/// Mark, kind, length, checksum.
const BLOCK_HEAD: usize = 12;
const COMPRESSED: u8 = 0x80;
/// A block unpacked is at most this long.
const BLOCK_MAX: usize = 1 << 20;

/// Blocks as offset and length of their content.
fn blocks(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 16;
    while bytes.get(at..at + 3) == Some(b"\xb1LK") {
        let length = get(bytes, at + 4, 4) as usize;
        found.push((at, length));
        at = at.saturating_add(BLOCK_HEAD).saturating_add(length);
    }
    found
}

/// Damages the content of one block and makes its checksum right, or damages anything.
fn damage_segment(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let blocks = blocks(bytes);
    let Some(&(at, length)) = blocks.get(chance.below(blocks.len())) else { return damage(bytes, chance) };
    let end = at + BLOCK_HEAD + length;
    if chance.one_in(8) || end > bytes.len() {
        return damage(bytes, chance);
    }
    let kind = get(bytes, at + 3, 1) as u8;
    let stored = bytes.get(at + BLOCK_HEAD..end).unwrap_or_default().to_vec();
    let unpacked = if kind & COMPRESSED == 0 {
        Some(stored)
    } else {
        miniz_oxide::inflate::decompress_to_vec_with_limit(&stored, BLOCK_MAX).ok()
    };
    let Some(mut content) = unpacked else { return damage(bytes, chance) };
    if !content.is_empty() {
        damage(&mut content, chance);
    }
    let kind = if chance.one_in(12) { chance.below(10) as u8 } else { kind & !COMPRESSED };
    let length = (content.len() as u32).to_le_bytes();
    let mut checksum = crc32fast::Hasher::new();
    for part in [&[kind][..], &length, &content] {
        checksum.update(part);
    }
    let head = [b"\xb1LK".as_slice(), &[kind], &length, &checksum.finalize().to_le_bytes()].concat();
    bytes.splice(at..end, head.into_iter().chain(content));
}

/// A number of `width` bytes; 0 outside of the input.
fn get(bytes: &[u8], at: usize, width: usize) -> u64 {
    let field = bytes.get(at..at.saturating_add(width)).unwrap_or_default();
    field.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn put(bytes: &mut [u8], at: usize, width: usize, value: u64) {
    for (place, byte) in bytes.iter_mut().skip(at).take(width).zip(value.to_le_bytes()) {
        *place = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_written_inside_of_the_input_only() {
        let mut bytes = [1, 2, 3, 4];
        assert_eq!((get(&bytes, 1, 2), get(&bytes, 3, 2), get(&bytes, 9, 8)), (0x0302, 0, 0));
        put(&mut bytes, 3, 8, 0xaabb);
        assert_eq!(bytes, [1, 2, 3, 0xbb]);
    }

    #[test]
    fn every_form_takes_any_bytes() {
        for form in [Form::Elf, Form::Text, Form::Segment] {
            for case in 0..2_000 {
                let mut chance = Chance::new(1, case);
                let seed: Vec<u8> = (0..chance.below(100)).map(|_| chance.next() as u8).collect();
                mutated(form, &seed, &mut chance);
            }
        }
    }

    #[test]
    fn a_damaged_block_has_a_right_checksum() {
        let seed = include_bytes!("../../crates/recording/tests/data/version-1/00000001.segment");
        let before = blocks(seed);
        assert!(before.len() > 3, "{before:?}");
        let differs = (0..50).any(|case| {
            let after = mutated(Form::Segment, seed, &mut Chance::new(3, case));
            after != seed && blocks(&after).len() >= before.len()
        });
        assert!(differs);
    }
}
