//! The layout of one ELF module: segments, build id, how it is linked, addresses of functions by name.
//!
//! Owns: reading of program headers, notes and symbol tables. Must not know: where a module is loaded, which
//! names matter to an allocator.

use std::collections::HashSet;
use std::fmt;

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym};
use object::{Endianness, SymbolIndex};

use crate::limits::{NAME_BYTES_MAX, PROGRAM_HEADERS_MAX};

pub(crate) type Header = elf::FileHeader64<Endianness>;
pub(crate) type Sections<'data> = SectionTable<'data, Header>;

/// The only byte order of x86-64.
pub(crate) const ENDIAN: Endianness = Endianness::Little;

const PAGE: u64 = 4096;

/// Bits that tell the beginnings of names: many more than names that anybody asks for.
const NAME_HEADS: usize = 4096;

/// What the program headers of a module say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleLayout {
    /// The build id in lower-case hexadecimal, where there is one.
    pub build_id: Option<String>,
    /// All `PT_LOAD` segments, in the order of the file.
    pub loads: Vec<LoadSegment>,
    /// The program interpreter (`PT_INTERP`), which dynamically linked programs have.
    pub interpreter: Option<String>,
    /// Whether there is a `PT_DYNAMIC`: shared libraries, dynamic programs and static-pie ones.
    pub dynamic: bool,
    /// Whether the file is linked to fixed addresses (`ET_EXEC`).
    pub fixed_address: bool,
}

/// One `PT_LOAD` segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadSegment {
    /// Address as linked.
    pub vaddr: u64,
    /// Where its bytes are in the file.
    pub file_offset: u64,
    /// How many bytes come from the file.
    pub file_size: u64,
    /// How many bytes it occupies in memory.
    pub memory_size: u64,
    /// Whether it may be executed.
    pub executable: bool,
    /// Whether it may be written.
    pub writable: bool,
}

/// A function found by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts of the ELF format, each one bit there too")]
pub struct FunctionSymbol {
    /// The name that was asked for.
    pub name: String,
    /// Its version, such as `GLIBC_2.2.5`, where the module has versions.
    pub version: Option<String>,
    /// Whether this version is what new programs are linked with (`@@`).
    pub default_version: bool,
    /// Address as linked.
    pub vaddr: u64,
    /// Size in bytes; zero where the assembler wrote none.
    pub size: u64,
    /// Whether the address is that of a resolver (`STT_GNU_IFUNC`), which returns the address of the function.
    pub ifunc: bool,
    /// Whether it comes from `.dynsym`, so that other modules can call it; else from `.symtab`.
    pub exported: bool,
    /// Whether a strong definition elsewhere may replace it.
    pub weak: bool,
}

/// Why a file is not a module that can be worked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleError {
    /// It does not start with the ELF magic.
    NotElf,
    /// It is ELF of another kind than 64-bit little-endian x86-64.
    OtherMachine {
        /// 32 or 64.
        bits: u8,
        /// `e_machine`.
        machine: u16,
    },
    /// A header points outside of the file or contradicts itself.
    Malformed(&'static str),
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => write!(f, "not an ELF file"),
            Self::OtherMachine { bits, machine } => {
                write!(f, "a {bits}-bit ELF file of machine {machine}, not of x86-64")
            }
            Self::Malformed(what) => write!(f, "malformed ELF file: {what}"),
        }
    }
}

impl std::error::Error for ModuleError {}

impl ModuleLayout {
    /// The page that holds the lowest loaded address, to which unwind rows are relative.
    ///
    /// The kernel maps whole pages, so that a segment that begins inside of one is loaded together with what stands before it.
    pub fn base(&self) -> u64 {
        self.loads.iter().map(|load| load.vaddr).min().unwrap_or(0) & !(PAGE - 1)
    }

    /// The file offset of an address as linked, where the file has bytes for it.
    pub fn file_offset(&self, vaddr: u64) -> Option<u64> {
        let load = self.loads.iter().find(|load| within(vaddr, load.vaddr, load.file_size))?;
        load.file_offset.checked_add(vaddr - load.vaddr)
    }

    /// Whether an address as linked lies in code.
    pub fn is_code(&self, vaddr: u64) -> bool {
        self.loads.iter().any(|load| load.executable && within(vaddr, load.vaddr, load.memory_size))
    }
}

/// Reads the program headers.
pub fn module_layout(elf: &[u8]) -> Result<ModuleLayout, ModuleError> {
    let header = header(elf)?;
    let programs = header
        .program_headers(ENDIAN, elf)
        .map_err(|_| ModuleError::Malformed("the program headers lie outside of the file"))?;
    if programs.len() > PROGRAM_HEADERS_MAX {
        return Err(ModuleError::Malformed("too many program headers"));
    }
    let mut layout = ModuleLayout {
        build_id: None,
        loads: Vec::new(),
        interpreter: None,
        dynamic: false,
        fixed_address: header.e_type.get(ENDIAN) == elf::ET_EXEC,
    };
    for program in programs {
        match program.p_type(ENDIAN) {
            elf::PT_LOAD => layout.loads.push(load_segment(program)?),
            elf::PT_DYNAMIC => layout.dynamic = true,
            elf::PT_INTERP => layout.interpreter = interpreter(program, elf),
            elf::PT_NOTE if layout.build_id.is_none() => layout.build_id = note_build_id(program, elf),
            _ => {}
        }
    }
    // A debug file has program headers whose notes it may have dropped: its section is then the only source.
    if layout.build_id.is_none() {
        layout.build_id = sections(elf).and_then(|sections| section_build_id(&sections, elf));
    }
    Ok(layout)
}

/// How far above its linked addresses a module is loaded, from one of its mappings: where it starts, its file offset and
/// whether it is executable. It may begin inside of a segment and, with `-z separate-code` or `mprotect`, there are
/// several per file. With `lld` one page of the file belongs to two segments; hence the third figure.
pub fn load_bias(layout: &ModuleLayout, map_start: u64, map_file_offset: u64, executable: bool) -> Option<u64> {
    if layout.fixed_address {
        return Some(0);
    }
    let first_page = |load: &LoadSegment| load.file_offset & !(PAGE - 1);
    let holds = |load: &&LoadSegment| {
        let end = load.file_offset.saturating_add(load.file_size);
        load.executable == executable && first_page(load) <= map_file_offset && map_file_offset < end
    };
    let begins = |load: &&LoadSegment| holds(load) && first_page(load) == map_file_offset;
    let load = layout.loads.iter().find(begins).or_else(|| layout.loads.iter().find(holds))?;
    let vaddr = load.vaddr.wrapping_sub(load.file_offset).wrapping_add(map_file_offset);
    // Wrapping: a program that is linked high and loaded low has a bias that is negative, and adds up all the same.
    let bias = map_start.wrapping_sub(vaddr);
    bias.is_multiple_of(PAGE).then_some(bias)
}

/// All definitions of functions of these names, those of `.dynsym` first; one that both tables have is given once.
pub fn symbols(elf: &[u8], names: &[&str]) -> Result<Vec<FunctionSymbol>, ModuleError> {
    header(elf)?;
    let Some(sections) = sections(elf) else {
        return Ok(Vec::new());
    };
    let names = Names::new(names);
    let mut found = Vec::new();
    for table in [elf::SHT_DYNSYM, elf::SHT_SYMTAB] {
        collect_symbols(elf, &sections, table, &names, &mut found)?;
    }
    Ok(found)
}

/// Whether the file has a section of this name.
pub fn has_section(file: &[u8], name: &str) -> bool {
    sections(file).is_some_and(|sections| sections.section_by_name(ENDIAN, name.as_bytes()).is_some())
}

/// The address of an exported variable.
pub fn variable(file: &[u8], name: &str) -> Option<u64> {
    let sections = sections(file)?;
    let table = sections.symbols(ENDIAN, file, elf::SHT_DYNSYM).ok()?;
    let is_wanted = |symbol: &&elf::Sym64<Endianness>| {
        symbol.st_type() == elf::STT_OBJECT
            && !symbol.is_undefined(ENDIAN)
            && table.symbol_name(ENDIAN, symbol).is_ok_and(|found| found == name.as_bytes())
    };
    table.symbols().iter().find(is_wanted).map(|symbol| symbol.st_value(ENDIAN))
}

/// The ELF header, if it is of the one kind of machine that is supported. The first bytes are looked at by hand, since `object` says of a
/// 32-bit program and of a cut file the same, while the user needs to know which it is.
pub(crate) fn header(elf: &[u8]) -> Result<&Header, ModuleError> {
    if elf.get(..4) != Some(&elf::ELFMAG) {
        return Err(ModuleError::NotElf);
    }
    let bits = match elf.get(4) {
        Some(2) => 64,
        Some(1) => 32,
        _ => return Err(ModuleError::Malformed("unknown class")),
    };
    let machine = match elf.get(18..20) {
        Some(&[low, high]) => u16::from_le_bytes([low, high]),
        _ => return Err(ModuleError::Malformed("shorter than its header")),
    };
    if bits != 64 || elf.get(5) != Some(&1) || machine != elf::EM_X86_64.0 {
        return Err(ModuleError::OtherMachine { bits, machine });
    }
    Header::parse(elf).map_err(|_| ModuleError::Malformed("shorter than its header"))
}

/// The section headers, if the file has any that can be read. Stripping may remove them and running needs none.
pub(crate) fn sections(elf: &[u8]) -> Option<Sections<'_>> {
    let table = header(elf).ok()?.sections(ENDIAN, elf).ok()?;
    (!table.is_empty()).then_some(table)
}

/// The names of a symbol table.
///
/// `object` looks for the end of a name through all of the string table. Where a damaged one has no end at all, a million symbols
/// would each read a hundred megabytes; here a name ends at its bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strings<'data>(&'data [u8]);

impl<'data> Strings<'data> {
    /// The strings that belong to a table of this file; none where they lie outside of it.
    pub(crate) fn of(
        sections: &Sections<'data>,
        table: &object::read::elf::SymbolTable<'data, Header>,
        elf: &'data [u8],
    ) -> Self {
        let section = sections.section(table.string_section()).ok();
        Self(section.and_then(|section| section.data(ENDIAN, elf).ok()).unwrap_or_default())
    }

    /// The name of a symbol, cut at the bound; none where it does not lie in the strings or has no end.
    pub(crate) fn name(self, symbol: &elf::Sym64<Endianness>) -> Option<&'data [u8]> {
        self.rest(symbol).and_then(ended)
    }

    /// The strings from the beginning of a symbol's name on.
    fn rest(self, symbol: &elf::Sym64<Endianness>) -> Option<&'data [u8]> {
        self.0.get(symbol.st_name(ENDIAN) as usize..)
    }
}

/// The name that begins here, cut at the bound; none where it has no end.
fn ended(rest: &[u8]) -> Option<&[u8]> {
    let looked_at = rest.get(..NAME_BYTES_MAX).unwrap_or(rest);
    match looked_at.iter().position(|&byte| byte == 0) {
        Some(end) => looked_at.get(..end),
        None => (looked_at.len() == NAME_BYTES_MAX).then_some(looked_at),
    }
}

fn within(address: u64, start: u64, size: u64) -> bool {
    address.checked_sub(start).is_some_and(|distance| distance < size)
}

fn load_segment(program: &elf::ProgramHeader64<Endianness>) -> Result<LoadSegment, ModuleError> {
    let flags = program.p_flags(ENDIAN).0;
    let load = LoadSegment {
        vaddr: program.p_vaddr(ENDIAN),
        file_offset: program.p_offset(ENDIAN),
        file_size: program.p_filesz(ENDIAN),
        memory_size: program.p_memsz(ENDIAN),
        executable: flags & elf::PF_X.0 != 0,
        writable: flags & elf::PF_W.0 != 0,
    };
    // Checked here once, so that nobody who adds a size to an address has to think of it.
    if load.vaddr.checked_add(load.memory_size).is_none() {
        return Err(ModuleError::Malformed("a segment wraps around the address space"));
    }
    Ok(load)
}

fn interpreter(program: &elf::ProgramHeader64<Endianness>, elf: &[u8]) -> Option<String> {
    let path = program.interpreter(ENDIAN, elf).ok()??;
    Some(String::from_utf8_lossy(path).into_owned())
}

fn note_build_id(program: &elf::ProgramHeader64<Endianness>, elf: &[u8]) -> Option<String> {
    let mut notes = program.notes(ENDIAN, elf).ok()??;
    while let Ok(Some(note)) = notes.next() {
        if note.name() == elf::ELF_NOTE_GNU && note.n_type(ENDIAN) == elf::NT_GNU_BUILD_ID {
            return hexadecimal(note.desc());
        }
    }
    None
}

fn section_build_id(sections: &Sections<'_>, elf: &[u8]) -> Option<String> {
    sections.iter().find_map(|section| {
        let mut notes = section.notes(ENDIAN, elf).ok()??;
        while let Ok(Some(note)) = notes.next() {
            if note.name() == elf::ELF_NOTE_GNU && note.n_type(ENDIAN) == elf::NT_GNU_BUILD_ID {
                return hexadecimal(note.desc());
            }
        }
        None
    })
}

/// A build id as paths have it. It is 8 to 32 bytes long in practice; anything else is not one, and would make odd paths.
pub(crate) fn hexadecimal(bytes: &[u8]) -> Option<String> {
    use std::fmt::Write;
    if !(2..=64).contains(&bytes.len()) {
        return None;
    }
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").ok()?;
    }
    Some(text)
}

fn collect_symbols(
    elf: &[u8],
    sections: &Sections<'_>,
    kind: elf::SectionType,
    names: &Names<'_>,
    found: &mut Vec<FunctionSymbol>,
) -> Result<(), ModuleError> {
    let malformed = |_| ModuleError::Malformed("a symbol table lies outside of the file");
    let table = sections.symbols(ENDIAN, elf, kind).map_err(malformed)?;
    let strings = Strings::of(sections, &table, elf);
    let exported = kind == elf::SHT_DYNSYM;
    let versions = if exported { sections.versions(ENDIAN, elf).ok().flatten() } else { None };
    for (index, symbol) in table.enumerate() {
        let kind = symbol.st_type();
        // `STT_NOTYPE` is what an assembler writes that was told nothing: the entries of some allocators are such.
        let code = kind == elf::STT_FUNC || kind == elf::STT_GNU_IFUNC || kind == elf::STT_NOTYPE;
        if !code || symbol.is_undefined(ENDIAN) || symbol.st_value(ENDIAN) == 0 {
            continue;
        }
        let Some(raw) = strings.rest(symbol).filter(|rest| names.may_start(rest)).and_then(ended) else { continue };
        let Some((name, suffix)) = wanted(raw, names) else { continue };
        let version = match &versions {
            Some(versions) => dynamic_version(versions, index),
            None => suffix,
        };
        let (version, default_version) = version.map_or((None, true), |(text, default)| (Some(text), default));
        let entry = FunctionSymbol {
            name: name.to_owned(),
            version,
            default_version,
            vaddr: symbol.st_value(ENDIAN),
            size: symbol.st_size(ENDIAN),
            ifunc: kind == elf::STT_GNU_IFUNC,
            exported,
            weak: symbol.st_bind() == elf::STB_WEAK,
        };
        // Few names are asked for, so that a look through all of them is cheaper than an index.
        if !found.iter().any(|old| old.name == entry.name && old.vaddr == entry.vaddr) {
            found.push(entry);
        }
    }
    Ok(())
}

/// The names asked for. A program like `node` has a quarter of a million symbols with names of a hundred bytes, so each must be told
/// at once from those that nobody asked for: nearly always its first bytes do.
struct Names<'names> {
    set: HashSet<&'names str>,
    /// The bit of a hash of the first bytes is set where a name begins with them.
    heads: [u64; NAME_HEADS / 64],
}

impl<'names> Names<'names> {
    fn new(names: &[&'names str]) -> Self {
        let mut heads = [0; NAME_HEADS / 64];
        for name in names {
            let head = Self::head(name.as_bytes());
            heads[head / 64] |= 1 << (head % 64);
        }
        Self { set: names.iter().copied().collect(), heads }
    }

    /// A hash of the first four bytes of a name, which may end earlier.
    fn head(rest: &[u8]) -> usize {
        const BITS: u32 = NAME_HEADS.trailing_zeros();
        let bytes = rest.iter().take(4).take_while(|byte| !matches!(**byte, 0 | b'@'));
        let word = bytes.fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        (word.wrapping_mul(0x9e37_79b1) >> (u32::BITS - BITS)) as usize
    }

    /// Whether a name that was asked for may begin here.
    fn may_start(&self, rest: &[u8]) -> bool {
        let head = Self::head(rest);
        self.heads[head / 64] & 1 << (head % 64) != 0
    }

    fn find(&self, plain: &[u8]) -> Option<&'names str> {
        self.set.get(std::str::from_utf8(plain).ok()?).copied()
    }
}

/// The name asked for that this symbol has; `.symtab` writes the version behind the name, as `malloc@@GLIBC_2.2.5`.
fn wanted<'names>(raw: &[u8], names: &Names<'names>) -> Option<(&'names str, Option<(String, bool)>)> {
    let at = raw.iter().position(|&byte| byte == b'@').unwrap_or(raw.len());
    let (plain, suffix) = raw.split_at(at);
    let name = names.find(plain)?;
    let default = suffix.starts_with(b"@@");
    let text = String::from_utf8_lossy(suffix).trim_start_matches('@').to_owned();
    Some((name, (!text.is_empty()).then_some((text, default))))
}

fn dynamic_version(
    versions: &object::read::elf::VersionTable<'_, Header>,
    index: SymbolIndex,
) -> Option<(String, bool)> {
    let versym = versions.version_index(ENDIAN, index);
    let version = versions.version(versym.index()).ok()??;
    // The highest bit of an entry of `.gnu.version` marks what only programs that were linked long ago may use (`@`, not `@@`).
    Some((String::from_utf8_lossy(version.name()).into_owned(), !versym.is_hidden()))
}

#[cfg(test)]
mod tests;
