//! What the headers of an ELF file say about attaching to it: which processor, how it is linked, which names it has.
//!
//! Owns: the few fields that a diagnosis needs, read in pieces, since a file may have gigabytes of debug information
//! and may be of any class and processor (`stacks::module` needs all bytes and takes x86-64 only).
//! Must not know: paths, and what the fields are judged to mean.

use std::io;

/// Section headers of one file; real programs have under 100, kernels and `-ffunction-sections` objects thousands.
const SECTIONS_MAX: u64 = 65_536;
/// Program headers of one file.
const SEGMENTS_MAX: u64 = 1024;
/// Names of all sections together.
const SECTION_NAMES_MAX: u64 = 1 << 20;

const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;

/// What names a module has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Debugging {
    /// Lines of the source (`.debug_info`), in itself or in a file beside it.
    Lines,
    /// Names of functions (`.symtab` or `.gnu_debugdata`).
    Symbols,
    /// Only what it exports.
    Nothing,
}

/// A module of a process and what names it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// Its path as the process sees it, control characters escaped.
    pub(super) path: String,
    /// What names it has.
    pub(super) debugging: Debugging,
}

/// The fields of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binary {
    /// 32 or 64.
    pub(super) bits: u8,
    /// `e_machine`; 62 is x86-64.
    pub(super) machine: u16,
    /// Whether an interpreter (the dynamic linker) starts it.
    pub(super) dynamic: bool,
    /// What names it has in itself.
    pub(super) debugging: Debugging,
    /// Its build id in lower-case hexadecimal.
    pub(super) build_id: Option<String>,
}

/// Reads exactly as many bytes of the file as there is room for.
pub(super) type ReadAt<'a> = dyn Fn(u64, &mut [u8]) -> io::Result<()> + 'a;

impl Binary {
    /// `EM_X86_64`.
    pub(super) const X86_64: u16 = 62;

    /// Reads the headers; the error says in words what is wrong with the file.
    pub(super) fn read(read_at: &ReadAt<'_>) -> Result<Self, String> {
        let start = bytes(read_at, 0, 64)?;
        if start.get(..4) != Some(b"\x7fELF") {
            return Err("it is not an ELF file".to_owned());
        }
        let bits = if start[4] == 1 { 32 } else { 64 };
        let little = start[5] != 2;
        let machine = if little { word(&start, 18, 2) } else { word(&start, 18, 2).swap_bytes() >> 48 } as u16;
        let mut binary = Self { bits, machine, dynamic: false, debugging: Debugging::Nothing, build_id: None };
        if bits == 64 && little {
            binary.dynamic = has_interpreter(read_at, &start)?;
            binary.read_sections(read_at, &start)?;
        }
        Ok(binary)
    }

    fn read_sections(&mut self, read_at: &ReadAt<'_>, start: &[u8]) -> Result<(), String> {
        const ENTRY: usize = 64;
        let (at, count, names_index) = (word(start, 40, 8), word(start, 60, 2), word(start, 62, 2) as usize);
        if at == 0 || count == 0 {
            return Ok(()); // Stripped of its section headers, which running does not need.
        }
        let table = bytes(read_at, at, bounded(count, SECTIONS_MAX, "section headers")? * ENTRY as u64)?;
        let names_entry = table.chunks_exact(ENTRY).nth(names_index).ok_or("its section names are missing")?;
        let names_size = bounded(word(names_entry, 32, 8), SECTION_NAMES_MAX, "bytes of section names")?;
        let names = bytes(read_at, word(names_entry, 24, 8), names_size)?;
        for entry in table.chunks_exact(ENTRY) {
            let name = names.get(word(entry, 0, 4) as usize..).unwrap_or_default();
            match name.split(|&byte| byte == 0).next().unwrap_or_default() {
                b".debug_info" | b".zdebug_info" => self.debugging = Debugging::Lines,
                b".symtab" | b".gnu_debugdata" if self.debugging == Debugging::Nothing => {
                    self.debugging = Debugging::Symbols;
                }
                b".note.gnu.build-id" => self.build_id = build_id(read_at, word(entry, 24, 8), word(entry, 32, 8)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn has_interpreter(read_at: &ReadAt<'_>, start: &[u8]) -> Result<bool, String> {
    const ENTRY: usize = 56;
    let count = bounded(word(start, 56, 2), SEGMENTS_MAX, "program headers")?;
    let table = bytes(read_at, word(start, 32, 8), count * ENTRY as u64)?;
    let kinds: Vec<_> = table.chunks_exact(ENTRY).map(|entry| word(entry, 0, 4) as u32).collect();
    // A static-pie program has a dynamic section, but no interpreter that would load libraries.
    Ok(kinds.contains(&PT_INTERP) && kinds.contains(&PT_DYNAMIC))
}

/// The note: three words of header, the name `GNU\0`, then the id.
fn build_id(read_at: &ReadAt<'_>, at: u64, size: u64) -> Option<String> {
    let note = bytes(read_at, at, size.min(256)).ok()?;
    let id = note.get(16..16 + usize::try_from(word(&note, 4, 4)).ok()?)?;
    Some(id.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}

fn bytes(read_at: &ReadAt<'_>, at: u64, size: u64) -> Result<Vec<u8>, String> {
    debug_assert!(size <= SECTIONS_MAX * 64, "every size was bounded before");
    let mut buffer = vec![0; size as usize];
    read_at(at, &mut buffer).map_err(|error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return "the file ends within its headers".to_owned();
        }
        format!("the file cannot be read: {error}")
    })?;
    Ok(buffer)
}

fn bounded(value: u64, greatest: u64, what: &str) -> Result<u64, String> {
    if value > greatest { Err(format!("it claims {value} {what}")) } else { Ok(value) }
}

/// A little-endian number of `size` bytes; zero where the slice ends before.
fn word(bytes: &[u8], at: usize, size: usize) -> u64 {
    debug_assert!(size <= 8, "a word has at most 8 bytes");
    let field = bytes.get(at..at + size).unwrap_or_default();
    field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A synthetic file: header, program headers of these kinds, the sections of these names.
    fn elf(machine: u16, segments: &[u32], sections: &[&str]) -> Vec<u8> {
        let mut names = vec![0_u8];
        let mut table = Vec::new();
        let mut entry = |name: &str, at: u64, size: u64| {
            let mut header = vec![0; 64];
            header[..4].copy_from_slice(&(names.len() as u32).to_le_bytes());
            header[24..32].copy_from_slice(&at.to_le_bytes());
            header[32..40].copy_from_slice(&size.to_le_bytes());
            names.extend(name.bytes().chain([0]));
            table.extend(header);
        };
        let note_at = 64 + 56 * segments.len() as u64;
        for section in sections {
            entry(section, note_at, 20);
        }
        let names_at = note_at + 20;
        entry(".shstrtab", names_at, 11 + sections.iter().map(|name| name.len() as u64 + 1).sum::<u64>());
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(64, 0);
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[32..40].copy_from_slice(&64_u64.to_le_bytes());
        file[40..48].copy_from_slice(&(names_at + names.len() as u64).to_le_bytes());
        file[56..58].copy_from_slice(&(segments.len() as u16).to_le_bytes());
        file[60..62].copy_from_slice(&(sections.len() as u16 + 1).to_le_bytes());
        file[62..64].copy_from_slice(&(sections.len() as u16).to_le_bytes());
        for kind in segments {
            file.extend(kind.to_le_bytes());
            file.resize(file.len() + 52, 0);
        }
        file.extend([4, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0]);
        file.extend(b"GNU\0\xab\xcd\xef\x01");
        file.extend(names);
        file.extend(table);
        file
    }

    fn read(file: &[u8]) -> Result<Binary, String> {
        Binary::read(&|at, buffer| {
            let end = (at as usize).checked_add(buffer.len()).filter(|&end| end <= file.len());
            let source = end.map(|end| &file[at as usize..end]).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(source);
            Ok(())
        })
    }

    #[track_caller]
    fn check(file: &[u8], wanted: &str) {
        let found = match read(file) {
            Ok(Binary { bits, machine, dynamic, debugging, build_id }) => {
                format!("{bits} {machine} dynamic:{dynamic} {debugging:?} {}", build_id.as_deref().unwrap_or("-"))
            }
            Err(error) => error,
        };
        assert_eq!(found, wanted);
    }

    #[test]
    fn programs_are_told_apart() {
        check(&elf(62, &[1, 2, 3], &[".symtab", ".debug_info"]), "64 62 dynamic:true Lines -");
        check(&elf(62, &[1, 2, 3], &[".text", ".symtab"]), "64 62 dynamic:true Symbols -");
        check(&elf(62, &[1, 2, 3], &[".gnu_debugdata", ".note.gnu.build-id"]), "64 62 dynamic:true Symbols abcdef01");
        check(&elf(62, &[1, 2], &[".text"]), "64 62 dynamic:false Nothing -");
        check(&elf(62, &[1], &[]), "64 62 dynamic:false Nothing -");
        check(&elf(183, &[1, 2, 3], &[]), "64 183 dynamic:true Nothing -");
    }

    #[test]
    fn other_classes_and_byte_orders_are_recognised_and_not_read_further() {
        let mut file = elf(3, &[], &[]);
        file[4] = 1;
        check(&file, "32 3 dynamic:false Nothing -");
        let mut file = elf(21 << 8, &[], &[]);
        file[5] = 2;
        check(&file, "64 21 dynamic:false Nothing -");
    }

    #[test]
    fn what_lies_about_itself_is_refused() {
        check(b"#!/bin/sh", "the file ends within its headers");
        check(&[0; 64], "it is not an ELF file");
        let mut file = elf(62, &[1], &[".text"]);
        file[56..58].copy_from_slice(&u16::MAX.to_le_bytes());
        check(&file, "it claims 65535 program headers");
        let mut file = elf(62, &[1], &[".text"]);
        file[62..64].copy_from_slice(&7_u16.to_le_bytes());
        check(&file, "its section names are missing");
    }

    #[test]
    fn no_cut_and_no_flipped_byte_makes_it_panic() {
        let file = elf(62, &[1, 2, 3], &[".symtab", ".note.gnu.build-id", ".debug_info"]);
        let whole = read(&file).expect("it is well-formed");
        for end in 0..file.len() {
            assert!(read(&file[..end]).is_err(), "cut at {end}");
        }
        let mut changed = 0;
        for at in 0..file.len() {
            let mut file = file.clone();
            file[at] ^= 0xff;
            changed += usize::from(read(&file).as_ref() != Ok(&whole));
        }
        assert!(changed > 20, "flips must reach the fields that are read: {changed}");
    }
}
