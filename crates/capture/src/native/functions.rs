//! The functions of the target's allocator.
//!
//! Owns: which names are hooked and how, and which allocator it is. Must not know: how hooks are written.

use formats::maps::Mapping;
use stacks::module::{FunctionSymbol, ModuleLayout, load_bias, module_layout, symbols};

use super::code::open_file;
use super::image::Hook;
use super::target::Target;

/// Every function of the malloc family. One list, from which hooks, `doctor` and documentation are made.
const FUNCTIONS: [(&str, Hook); 14] = [
    ("malloc", Hook::Malloc),
    ("free", Hook::Free),
    ("cfree", Hook::Free),
    ("free_sized", Hook::Free),
    ("free_aligned_sized", Hook::Free),
    ("calloc", Hook::Calloc),
    ("realloc", Hook::Realloc),
    ("reallocarray", Hook::Reallocarray),
    ("memalign", Hook::Memalign),
    ("aligned_alloc", Hook::Memalign),
    ("posix_memalign", Hook::PosixMemalign),
    ("valloc", Hook::Valloc),
    ("pvalloc", Hook::Valloc),
    // Not hooked: its presence tells glibc from other C libraries.
    (GLIBC_MARK, Hook::Free),
];
const GLIBC_MARK: &str = "gnu_get_libc_version";

/// Granule for glibc, whose blocks start at least 32 bytes apart.
const GLIBC_GRANULE_SHIFT: u32 = 5;
/// Granule for allocators that may put blocks of 8 bytes side by side.
const SMALLEST_GRANULE_SHIFT: u32 = 3;
/// Code of one function that is looked at.
const CODE_BYTES_MAX: u64 = 64 * 1024;
/// Code that is looked at where the symbol does not tell the size.
const CODE_BYTES_UNKNOWN: u64 = 64;

/// A function to hook.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) hook: Hook,
    /// Its address in the target.
    pub(crate) at: u64,
    /// Its code as it is in the target now.
    pub(crate) code: Vec<u8>,
}

/// The allocator of a target.
#[derive(Debug, Default)]
pub(crate) struct Allocator {
    pub(crate) sites: Vec<Site>,
    /// For people: what was found.
    pub(crate) described: String,
    pub(crate) granule_shift: u32,
    /// What was looked at, for an error.
    pub(crate) looked_at: Vec<String>,
}

/// Finds the allocator functions in everything that is mapped.
pub(crate) fn find(target: &Target, mappings: &[Mapping<'_>]) -> Allocator {
    let mut found = Allocator { granule_shift: GLIBC_GRANULE_SHIFT, ..Allocator::default() };
    let mut described = Vec::new();
    let mut seen = Vec::new();
    for mapping in mappings.iter().filter(|mapping| mapping.permissions.execute && mapping.inode != 0) {
        let key = (mapping.device, mapping.inode);
        if seen.contains(&key) || is_dynamic_linker(mapping) {
            continue;
        }
        seen.push(key);
        let name = String::from_utf8_lossy(mapping.name).into_owned();
        let Ok(file) = open_file(target, mapping) else {
            found.looked_at.push(format!("{name} cannot be read"));
            continue;
        };
        let Some((sites, is_glibc)) = sites_of(target, mapping, &file) else { continue };
        if sites.is_empty() {
            continue;
        }
        if !is_glibc {
            found.granule_shift = SMALLEST_GRANULE_SHIFT;
        }
        described.push(format!("{} ({name})", if is_glibc { "glibc" } else { "malloc" }));
        found.sites.extend(sites);
    }
    found.described = described.join(", ");
    if found.looked_at.is_empty() && found.sites.is_empty() {
        found.looked_at.push(format!("none of {} modules exports malloc", seen.len()));
    }
    found
}

/// The dynamic linker has a small allocator of its own that it no longer uses once the program runs.
fn is_dynamic_linker(mapping: &Mapping<'_>) -> bool {
    let name = mapping.name.rsplit(|byte| *byte == b'/').next().unwrap_or(&[]);
    name.starts_with(b"ld-linux") || name.starts_with(b"ld-2.") || name.starts_with(b"ld.so")
}

fn sites_of(target: &Target, mapping: &Mapping<'_>, elf: &[u8]) -> Option<(Vec<Site>, bool)> {
    let layout = module_layout(elf).ok()?;
    let names: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
    let symbols = symbols(elf, &names).ok()?;
    let usable = |symbol: &&FunctionSymbol| is_reached(symbol, &layout);
    if !symbols.iter().filter(usable).any(|symbol| symbol.name == "malloc") {
        return None;
    }
    let bias = load_bias(&layout, mapping.addresses.start, mapping.offset, mapping.permissions.execute)?;
    let mut sites: Vec<Site> = Vec::new();
    for symbol in symbols.iter().filter(usable).filter(|symbol| symbol.name != GLIBC_MARK) {
        let at = bias.wrapping_add(symbol.vaddr);
        let hook = FUNCTIONS.iter().find(|(name, _)| *name == symbol.name).map(|(_, hook)| *hook);
        // Aliases share their code: memalign and aligned_alloc are one function in older glibc.
        if sites.iter().any(|site| site.at == at) {
            continue;
        }
        let size = if symbol.size == 0 { CODE_BYTES_UNKNOWN } else { symbol.size.min(CODE_BYTES_MAX) };
        if let (Some(hook), Ok(code)) = (hook, target.read_exactly(at, size as usize)) {
            sites.push(Site { name: symbol.name.clone(), hook, at, code });
        }
    }
    Some((sites, symbols.iter().any(|symbol| symbol.name == GLIBC_MARK)))
}

/// Whether calls from elsewhere reach a definition: exported, or in a static program, which has nothing else.
fn is_reached(symbol: &FunctionSymbol, layout: &ModuleLayout) -> bool {
    !symbol.ifunc && (symbol.exported || layout.interpreter.is_none() && !layout.dynamic)
}
