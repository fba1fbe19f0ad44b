//! The call frame tables of a module: where they are and what their entries say.
//!
//! Owns: finding `.eh_frame` and `.debug_frame`, walking their entries. Must not know: how ranges become rows.

use std::borrow::Cow;

use gimli::{
    BaseAddresses, CieOrFde, CommonInformationEntry, DebugFrame, EhFrame, EhFrameHdr, EndianSlice,
    FrameDescriptionEntry, LittleEndian, Pointer, UnwindContext, UnwindOffset, UnwindSection,
};
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

use super::rule::{Bytes, Rule};
use super::{Range, Ranges};
use crate::limits::{COMMON_ENTRY_BYTES_MAX, SECTION_BYTES_MAX};
use crate::module::{ENDIAN, ModuleLayout, header, sections};
use crate::section;

/// One table and the addresses that its pointers are relative to.
#[derive(Debug)]
pub(super) struct Table<'data> {
    bytes: Cow<'data, [u8]>,
    bases: BaseAddresses,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    EhFrame,
    DebugFrame,
}

/// The tables of a module, `.eh_frame` first: it describes what really runs, and exceptions depend on it.
pub(super) fn find<'data>(elf: &'data [u8], layout: &ModuleLayout) -> Vec<Table<'data>> {
    let mut tables = Vec::new();
    tables.extend(eh_frame_by_section(elf).or_else(|| eh_frame_by_segment(elf, layout)));
    if let Some(sections) = sections(elf)
        && let Some(bytes) = section::bytes(elf, &sections, ".debug_frame", SECTION_BYTES_MAX)
    {
        tables.push(Table { bytes, bases: BaseAddresses::default(), kind: Kind::DebugFrame });
    }
    tables
}

fn eh_frame_by_section(elf: &[u8]) -> Option<Table<'_>> {
    let sections = sections(elf)?;
    let (_, section) = sections.section_by_name(ENDIAN, b".eh_frame")?;
    // A debug file keeps the header of the section without its bytes.
    if section.sh_type(ENDIAN) == elf::SHT_NOBITS {
        return None;
    }
    let bytes = section.data(ENDIAN, elf).ok().filter(|bytes| !bytes.is_empty())?;
    let text = sections.section_by_name(ENDIAN, b".text").map_or(0, |(_, text)| text.sh_addr(ENDIAN));
    let bases = BaseAddresses::default().set_eh_frame(section.sh_addr(ENDIAN)).set_text(text);
    Some(Table { bytes: Cow::Borrowed(bytes), bases, kind: Kind::EhFrame })
}

/// `PT_GNU_EH_FRAME` leads to the search table, and that to the entries, which end with an entry of length zero.
fn eh_frame_by_segment<'data>(elf: &'data [u8], layout: &ModuleLayout) -> Option<Table<'data>> {
    let programs = header(elf).ok()?.program_headers(ENDIAN, elf).ok()?;
    let program = programs.iter().find(|program| program.p_type(ENDIAN) == elf::PT_GNU_EH_FRAME)?;
    let search = program.data(ENDIAN, elf).ok()?;
    let bases = BaseAddresses::default().set_eh_frame_hdr(program.p_vaddr(ENDIAN));
    let parsed = EhFrameHdr::new(search, LittleEndian).parse(&bases, 8).ok()?;
    let Pointer::Direct(vaddr) = parsed.eh_frame_ptr() else { return None };
    let load = layout
        .loads
        .iter()
        .find(|load| vaddr.checked_sub(load.vaddr).is_some_and(|distance| distance < load.file_size))?;
    let start = usize::try_from(load.file_offset.checked_add(vaddr - load.vaddr)?).ok()?;
    // No header tells the length: the entries end with one of length zero, and with the segment at the latest.
    let end = usize::try_from(load.file_offset.checked_add(load.file_size)?).ok()?;
    let bytes = elf.get(start..end.min(elf.len()))?;
    Some(Table { bytes: Cow::Borrowed(bytes), bases: bases.set_eh_frame(vaddr), kind: Kind::EhFrame })
}

impl Table<'_> {
    /// Appends the ranges of all entries. An error means that the rest of the table cannot be read.
    pub(super) fn read(&self, layout: &ModuleLayout, ranges: &mut Ranges) -> Result<(), gimli::Error> {
        match self.kind {
            Kind::EhFrame => {
                let mut section = EhFrame::new(&self.bytes, LittleEndian);
                section.set_address_size(8);
                read_entries(&section, &self.bases, layout, ranges)
            }
            Kind::DebugFrame => {
                let mut section = DebugFrame::new(&self.bytes, LittleEndian);
                section.set_address_size(8);
                read_entries(&section, &self.bases, layout, ranges)
            }
        }
    }
}

fn read_entries<'data, S>(
    section: &S,
    bases: &BaseAddresses,
    layout: &ModuleLayout,
    ranges: &mut Ranges,
) -> Result<(), gimli::Error>
where
    S: UnwindSection<EndianSlice<'data, LittleEndian>>,
    S::Offset: UnwindOffset,
{
    // Nearly all entries of a table share one common entry; parsing it anew each time would double the work.
    let mut common: Option<(usize, CommonInformationEntry<Bytes<'data>>)> = None;
    let mut context = UnwindContext::new();
    let mut entries = section.entries(bases);
    while let Some(entry) = entries.next()? {
        let CieOrFde::Fde(partial) = entry else { continue };
        let parsed = partial.parse(|section, bases, offset| {
            let at: usize = UnwindOffset::into(offset);
            match &common {
                Some((known, entry)) if *known == at => Ok(entry.clone()),
                _ => {
                    let entry = section.cie_from_offset(bases, offset)?;
                    common = Some((at, entry.clone()));
                    Ok(entry)
                }
            }
        });
        match parsed {
            Ok(entry) if entry.cie().entry_len() > COMMON_ENTRY_BYTES_MAX => ranges.skip(),
            Ok(entry) if layout.is_code(entry.initial_address()) => {
                read_rows(&entry, section, bases, layout.base(), &mut context, ranges);
            }
            // The linker leaves entries of functions that it dropped, at address zero.
            Ok(entry) if entry.initial_address() == 0 || entry.len() == 0 => {}
            Ok(_) | Err(_) => ranges.skip(),
        }
    }
    Ok(())
}

fn read_rows<'data, S>(
    entry: &FrameDescriptionEntry<Bytes<'data>>,
    section: &S,
    bases: &BaseAddresses,
    base: u64,
    context: &mut UnwindContext<usize>,
    ranges: &mut Ranges,
) where
    S: UnwindSection<Bytes<'data>>,
{
    let signal = entry.is_signal_trampoline();
    ranges.begin_function();
    let Ok(mut table) = entry.rows(section, bases, context) else {
        ranges.skip();
        return;
    };
    loop {
        match table.next_row() {
            Ok(Some(row)) => {
                // Offsets of 32 bits reach 4 GiB from the module's base, twice as far as the code model of x86-64 allows a jump.
                // Several rows may begin at one address; only the last of them ever holds.
                let (start, end) = (row.start_address(), row.end_address());
                if start < end {
                    match offsets(start, end, base) {
                        Some((start, end)) => {
                            ranges.push(Range { start, end, rule: Rule::from_row(row, section, signal) });
                        }
                        None => ranges.skip(),
                    }
                }
            }
            Ok(None) => return,
            Err(_) => return ranges.skip(),
        }
    }
}

fn offsets(start: u64, end: u64, base: u64) -> Option<(u32, u32)> {
    let start = u32::try_from(start.checked_sub(base)?).ok()?;
    let end = u32::try_from(end.checked_sub(base)?).ok()?;
    Some((start, end))
}
