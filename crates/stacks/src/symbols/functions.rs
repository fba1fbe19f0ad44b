//! Functions of a module by address, from its symbol tables.
//!
//! Owns: the sorted index over `.symtab`, `.dynsym` and `MiniDebugInfo`. Must not know: DWARF, demangling.

use std::cmp::Reverse;
use std::io::Read as _;

use object::elf;
use object::read::elf::Sym;

use super::pool::Pool;
use crate::limits::{FUNCTIONS_MAX, MINI_DEBUG_BYTES_MAX, MINI_DEBUG_MEMORY_KIB};
use crate::module::{ENDIAN, Strings, sections};
use crate::section;

/// An index of functions; 24 bytes per function, names stay in the files.
#[derive(Debug, Default)]
pub(super) struct Functions<'data> {
    sorted: Vec<Entry>,
    tables: Vec<Table<'data>>,
    /// Functions that were left out since there are too many.
    pub(super) skipped: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u64,
    size: u32,
    table: u32,
    index: u32,
}

const _: () = assert!(size_of::<Entry>() == 24, "the bound of functions counts entries of this size");

/// One symbol table and the names in it.
#[derive(Debug)]
struct Table<'data> {
    symbols: object::read::elf::SymbolTable<'data, crate::module::Header>,
    strings: Strings<'data>,
}

/// The function that an address lies in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'data> {
    pub(super) start: u64,
    pub(super) raw_name: &'data [u8],
}

impl<'data> Functions<'data> {
    /// Adds the tables of these files, which all describe the same module.
    pub(super) fn of(files: &[&'data [u8]], pool: &'data Pool<Vec<u8>>) -> Self {
        let mut all = Self::default();
        for file in files {
            all.add(file);
            let small = mini_debug_info(file).filter(|bytes| bytes.len() as u64 <= pool.bytes_left());
            if let Some(small) = small.and_then(|bytes| pool.keep(bytes)) {
                all.add(small);
            }
        }
        let Self { sorted, tables, .. } = &mut all;
        // The best name of an address comes first, and `dedup` keeps the first: libc has up to six names for one function.
        sorted.sort_by_cached_key(|entry| (entry.start, Reverse(rank(entry, tables))));
        sorted.dedup_by_key(|entry| entry.start);
        sorted.shrink_to_fit();
        debug_assert!(sorted.is_sorted_by(|a, b| a.start < b.start), "functions are found by halving");
        all
    }

    /// The function that holds this address. One without a size (written in assembler) reaches to the next; between functions
    /// with sizes there may be gaps, and an address in one is in no function: padding, or code whose symbol was stripped.
    pub(super) fn find(&self, vaddr: u64) -> Option<Found<'data>> {
        let after = self.sorted.partition_point(|entry| entry.start <= vaddr);
        let entry = self.sorted.get(after.checked_sub(1)?)?;
        if entry.size != 0 && vaddr - entry.start >= u64::from(entry.size) {
            return None;
        }
        let raw_name = name(entry, &self.tables)?;
        Some(Found { start: entry.start, raw_name })
    }

    fn add(&mut self, file: &'data [u8]) {
        let Some(sections) = sections(file) else { return };
        for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
            let Ok(symbols) = sections.symbols(ENDIAN, file, kind) else { continue };
            let number = self.tables.len() as u32;
            for (index, symbol) in symbols.enumerate() {
                let kind = symbol.st_type();
                if kind != elf::STT_FUNC && kind != elf::STT_GNU_IFUNC || symbol.is_undefined(ENDIAN) {
                    continue;
                }
                if self.sorted.len() >= FUNCTIONS_MAX {
                    self.skipped += 1;
                    continue;
                }
                // No function has 4 GiB; a lie about the size ends at the next function all the same.
                let size = u32::try_from(symbol.st_size(ENDIAN)).unwrap_or(u32::MAX);
                let (start, index) = (symbol.st_value(ENDIAN), index.0 as u32);
                self.sorted.push(Entry { start, size, table: number, index });
            }
            self.tables.push(Table { symbols, strings: Strings::of(&sections, &symbols, file) });
        }
    }
}

fn name<'data>(entry: &Entry, tables: &[Table<'data>]) -> Option<&'data [u8]> {
    let table = tables.get(entry.table as usize)?;
    let symbol = table.symbols.symbol(object::SymbolIndex(entry.index as usize)).ok()?;
    let name = table.strings.name(symbol)?;
    // `.symtab` writes the version behind the name, as `malloc@@GLIBC_2.2.5`.
    let end = name.iter().position(|&byte| byte == b'@').unwrap_or(name.len());
    (end > 0).then(|| &name[..end])
}

/// Which of several names of one address people know: `malloc` before `__libc_malloc`, functions with a size first.
fn rank(entry: &Entry, tables: &[Table<'_>]) -> (bool, bool, Reverse<usize>, Reverse<usize>) {
    let Some(name) = name(entry, tables) else {
        return (false, false, Reverse(usize::MAX), Reverse(usize::MAX));
    };
    let global = tables.get(entry.table as usize).is_some_and(|table| {
        let symbol = table.symbols.symbol(object::SymbolIndex(entry.index as usize));
        symbol.is_ok_and(|symbol| symbol.st_bind() != elf::STB_LOCAL)
    });
    let underscores = name.iter().take_while(|&&byte| byte == b'_').count();
    (entry.size != 0, global, Reverse(underscores), Reverse(name.len()))
}

/// The ELF file inside of `.gnu_debugdata`, which distributions of the Red Hat family put into stripped binaries.
fn mini_debug_info(file: &[u8]) -> Option<Vec<u8>> {
    let sections = sections(file)?;
    let packed = section::bytes(file, &sections, ".gnu_debugdata", MINI_DEBUG_BYTES_MAX as u64)?;
    // A few hundred bytes of xz can say "four gigabytes of zeros", or ask for a dictionary of that size.
    let reader = lzma_rust2::XzReader::new_mem_limit(&*packed, false, MINI_DEBUG_MEMORY_KIB);
    let mut unpacked = Vec::new();
    reader.take(MINI_DEBUG_BYTES_MAX as u64 + 1).read_to_end(&mut unpacked).ok()?;
    (unpacked.len() <= MINI_DEBUG_BYTES_MAX).then_some(unpacked)
}
