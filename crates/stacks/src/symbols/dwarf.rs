//! Lines and inlined functions of a module, from its DWARF.
//!
//! Owns: which sections are loaded, split DWARF, the order of inlined frames. Must not know: files, symbol tables.

use std::cell::RefCell;
use std::sync::Arc;

use addr2line::{Context, LookupContinuation, LookupResult, SplitDwarfLoad};
use gimli::{Dwarf, DwarfPackage, EndianSlice, LittleEndian, Section, SectionId};

use super::pool::Pool;
use super::text;
use crate::limits::{INLINED_FRAMES_MAX, SECTION_BYTES_MAX};
use crate::module::sections;
use crate::section;

type Slice<'data> = EndianSlice<'data, LittleEndian>;

/// Gives the bytes of a split unit by its path. In a cell, since a lookup may ask more than once.
pub(super) type Provide<'data, 'call> = RefCell<dyn FnMut(&[u8]) -> Option<&'data [u8]> + 'call>;

/// The DWARF of one module. Units are parsed when an address in them is asked for.
pub(super) struct Lines<'data> {
    context: Context<Slice<'data>>,
    package: Option<DwarfPackage<Slice<'data>>>,
}

/// What DWARF says of an address: one function, inlined or not.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) function: Option<Arc<str>>,
    /// Where the code of the function begins, if it is known and the function is not inlined.
    pub(super) start: Option<u64>,
    pub(super) line: Option<model::SourceLine>,
}

impl<'data> Lines<'data> {
    /// The DWARF of `file`; none where it has none. `supplement` is what `.gnu_debugaltlink` names, `package` a `.dwp`.
    pub(super) fn new(
        file: &'data [u8],
        supplement: Option<&'data [u8]>,
        package: Option<&'data [u8]>,
        pool: &'data Pool<Vec<u8>>,
    ) -> Option<Result<Self, gimli::Error>> {
        let mut dwarf = load(file, pool, |id| Some(id.name()));
        if dwarf.debug_info.reader().is_empty() {
            return None;
        }
        if let Some(supplement) = supplement {
            dwarf.set_sup(load(supplement, pool, |id| Some(id.name())));
        }
        let package = package.and_then(|package| {
            let read = |id: SectionId| Ok::<_, gimli::Error>(section_slice(package, pool, id.dwo_name()));
            DwarfPackage::load(read, Slice::new(&[], LittleEndian)).ok()
        });
        Some(Context::from_dwarf(dwarf).map(|context| Self { context, package }))
    }

    /// The functions at an address, innermost first. `provide` gives the bytes of a split unit by its path.
    pub(super) fn levels(
        &self,
        vaddr: u64,
        pool: &'data Pool<Vec<u8>>,
        provide: &Provide<'data, '_>,
    ) -> Result<Vec<Level>, gimli::Error> {
        let mut lookup = self.context.find_frames(vaddr);
        let mut frames = loop {
            match lookup {
                LookupResult::Output(frames) => break frames?,
                LookupResult::Load { load, continuation } => {
                    lookup = continuation.resume(self.split_unit(&load, pool, provide));
                }
            }
        };
        let mut levels = Vec::new();
        while let Some(frame) = frames.next()? {
            // The last of them is not inlined: whoever cut it off would call an inlined function the one whose code it is.
            if levels.len() >= INLINED_FRAMES_MAX {
                levels.pop();
            }
            let function = frame.function.as_ref().and_then(|function| function.raw_name().ok());
            levels.push(Level {
                function: function.map(|raw| text::demangled(raw.as_bytes())),
                start: frame.dw_die_offset.and_then(|entry| self.start_of(vaddr, entry)),
                line: frame.location.as_ref().and_then(source_line),
            });
        }
        Ok(levels)
    }

    /// The beginning of the range of a function that holds the address: a function may have a cold part elsewhere.
    fn start_of(&self, vaddr: u64, entry: gimli::UnitOffset) -> Option<u64> {
        let unit = self.context.find_dwarf_and_unit(vaddr).skip_all_loads()?;
        let entry = unit.entry(entry).ok()?;
        if entry.tag() != gimli::DW_TAG_subprogram {
            return None;
        }
        let mut ranges = unit.die_ranges(&entry).ok()?;
        while let Ok(Some(range)) = ranges.next() {
            if (range.begin..range.end).contains(&vaddr) {
                return Some(range.begin);
            }
        }
        None
    }

    fn split_unit(
        &self,
        load: &SplitDwarfLoad<Slice<'data>>,
        pool: &'data Pool<Vec<u8>>,
        provide: &Provide<'data, '_>,
    ) -> Option<Arc<Dwarf<Slice<'data>>>> {
        if let Some(package) = &self.package
            && let Ok(Some(unit)) = package.find_cu(load.dwo_id, &load.parent)
        {
            return Some(Arc::new(unit));
        }
        let path = load.path.as_ref()?.slice();
        let mut whole = Vec::new();
        if path.first() != Some(&b'/') {
            whole.extend_from_slice(load.comp_dir.as_ref()?.slice());
            whole.push(b'/');
        }
        whole.extend_from_slice(path);
        let bytes = provide.try_borrow_mut().ok()?(&whole)?;
        let mut dwarf = self::load(bytes, pool, SectionId::dwo_name);
        // A unit that was compiled anew since belongs to other code.
        let header = dwarf.units().next().ok()??;
        if dwarf.unit(header).ok()?.dwo_id != Some(load.dwo_id) {
            return None;
        }
        dwarf.make_dwo(&load.parent);
        Some(Arc::new(dwarf))
    }
}

/// What lines and functions need; variables' locations and macros are the larger half of many files.
const NEEDED: [SectionId; 10] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

/// Loads the sections whose names `name` gives.
fn load<'data>(
    file: &'data [u8],
    pool: &'data Pool<Vec<u8>>,
    name: impl Fn(SectionId) -> Option<&'static str>,
) -> Dwarf<Slice<'data>> {
    let read = |id: SectionId| -> Result<Slice<'data>, std::convert::Infallible> {
        let needed = if NEEDED.contains(&id) { name(id) } else { None };
        Ok(section_slice(file, pool, needed))
    };
    match Dwarf::load(read) {
        Ok(dwarf) => dwarf,
        Err(never) => match never {},
    }
}

/// An absent section is an empty one to gimli: lookups in it find nothing, and only what refers to it fails.
fn section_slice<'data>(file: &'data [u8], pool: &'data Pool<Vec<u8>>, name: Option<&str>) -> Slice<'data> {
    let bytes = name.and_then(|name| {
        let sections = sections(file)?;
        let unpacked_max = SECTION_BYTES_MAX.min(pool.bytes_left());
        match section::bytes(file, &sections, name, unpacked_max)? {
            std::borrow::Cow::Borrowed(bytes) => Some(bytes),
            std::borrow::Cow::Owned(bytes) => pool.keep(bytes).map(Vec::as_slice),
        }
    });
    Slice::new(bytes.unwrap_or(&[]), LittleEndian)
}

/// Line 0 is how compilers say that no line is to blame.
fn source_line(location: &addr2line::Location<'_>) -> Option<model::SourceLine> {
    Some(model::SourceLine {
        file: text::escaped(location.file?),
        line: location.line.filter(|&line| line > 0)?,
        column: location.column.filter(|&column| column > 0),
    })
}
