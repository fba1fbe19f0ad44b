//! The functions of the target's allocators.
//!
//! Owns: which of the named functions calls reach, and which allocator it is. Must not know: how hooks are written.
//!
//! Every allocator that is mapped is hooked: whichever of them a call reaches, it is seen, and a call from one into another
//! counts once. So a wrong guess about which one is in use costs a line of text and no block.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use formats::maps::Mapping;
use memchr::memmem;
use model::Kinds;
use stacks::module::{FunctionSymbol, LoadSegment, ModuleLayout, has_section, load_bias, module_layout, symbols};
use stacks::symbols::{DebugReferences, Nearest};

use super::arch;
use super::calls::{self, Calls};
use super::code::{Compiled, open_file};
use super::custom::Custom;
use super::families::{self, Family, Form, GLIBC, MUSL, allocator_of, c_library_of, calls_nobody, known};
use super::image::Hook;
use super::runtimes::Runtime;
use super::target::Target;
use crate::sys::map::MappedFile;

/// Binary logarithms of the distance at which an allocator puts blocks at least.
const GLIBC_GRANULE_SHIFT: u32 = wire::GRANULE_OF_MIXED_SIZES;
const MUSL_GRANULE_SHIFT: u32 = 4;
/// Granule for allocators that may put blocks of 8 bytes side by side.
const SMALLEST_GRANULE_SHIFT: u32 = 3;
/// Code of one function that is looked at.
const CODE_BYTES_MAX: u64 = 64 * 1024;
/// Functions start at multiples of this.
const PADDING_BYTES: u64 = 16;
/// Code that is looked at where the symbol does not tell the size.
const CODE_BYTES_UNKNOWN: u64 = 64;
/// What stands in the constants of an allocator, also where its functions have lost their names.
const STAMPS: [(&[u8], &str); 3] =
    [(b"<jemalloc>", "jemalloc"), (b"mimalloc: ", "mimalloc"), (b"tcmalloc: large alloc", "tcmalloc")];
/// Constants of a program that are searched for them; a pass over so many takes some 50 ms.
const STAMP_BYTES_MAX: u64 = 256 << 20;

/// A function to hook.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Its names: aliases share their code.
    pub(crate) names: Vec<String>,
    pub(crate) form: Form,
    /// Its address in the target.
    pub(crate) entry: u64,
    /// Where it is hooked: at its entry, or further inside.
    pub(crate) at: u64,
    /// Its code from there on, as it is in the target now.
    pub(crate) code: Vec<u8>,
    /// Number of the module that it is in.
    pub(crate) module: usize,
    /// Whether it is known to call no other hooked function that allocates.
    pub(crate) calls_nobody: bool,
}

impl Site {
    /// The name that people know best.
    pub(crate) fn name(&self) -> &str {
        self.names.iter().min_by_key(|name| (name.starts_with('_'), name.len())).map_or("", String::as_str)
    }

    pub(crate) fn hook(&self) -> Hook {
        match self.form {
            Form::Plain(hook)
            | Form::Throwing { hook, .. }
            | Form::Named(hook)
            | Form::Whole(hook)
            | Form::Behind(hook, _) => hook,
        }
    }
}

/// The allocators of a target.
#[derive(Debug, Default)]
pub(crate) struct Allocator {
    pub(crate) sites: Vec<Site>,
    /// For people: what was found, the one that `malloc` leads to first.
    pub(crate) described: String,
    pub(crate) granule_shift: u32,
    /// What was looked at, for an error.
    pub(crate) looked_at: Vec<String>,
    /// What is there but has no name to hook it by.
    pub(crate) nameless: Vec<String>,
    /// Heaps that no function makes which could be hooked.
    pub(crate) runtimes: Vec<Runtime>,
    /// Functions of C libraries that map memory or open descriptors.
    pub(crate) calls: Calls,
    /// What tells that libraries were loaded.
    pub(crate) loads: Vec<Site>,
    /// Whether an exception may pass a hook.
    pub(crate) throws: bool,
    pub(crate) unwinders: Unwinders,
}

/// What finds the way of an exception.
#[derive(Debug, Default)]
pub(crate) struct Unwinders {
    /// Functions that can be told of the frames of hooks.
    pub(crate) sites: Vec<Site>,
    /// A module with an unwinder that cannot.
    pub(crate) other: Option<String>,
}

/// One module with an allocator.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts about one module")]
struct Module {
    sites: Vec<Site>,
    allocator: Option<&'static str>,
    path: String,
    /// Whether `malloc` itself leads there, unless another module comes first.
    standard: bool,
    program: bool,
    custom: bool,
    /// Whether it has operators of its own that do not end in `malloc`.
    operators: bool,
}

/// Finds the allocator functions in everything that is mapped.
pub(crate) fn find(
    target: &Target,
    mappings: &[Mapping<'_>],
    custom: &[Custom],
    (kinds, compiled): (Kinds, &Compiled),
) -> Allocator {
    let mut found = Allocator::default();
    let mut modules: Vec<Module> = Vec::new();
    let mut seen = Vec::new();
    for mapping in mappings.iter().filter(|mapping| mapping.permissions.execute && mapping.inode != 0) {
        // A file may be loaded twice (`dlmopen`); one load may have several mappings.
        let key = (mapping.device, mapping.inode, mapping.addresses.start.wrapping_sub(mapping.offset));
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let path = String::from_utf8_lossy(mapping.name).escape_debug().to_string();
        let Ok(file) = open_file(target, mapping) else {
            found.looked_at.push(format!("{path} cannot be read"));
            continue;
        };
        let Some(named) = Named::of(target, mapping, &file, custom) else { continue };
        found.loads.extend(named.loads(target));
        if is_dynamic_linker(mapping) {
            continue;
        }
        // The code of one file may have several mappings.
        if let Some(runtime) = Runtime::of(&path, &file).filter(|runtime| !found.runtimes.contains(runtime)) {
            found.runtimes.push(runtime);
            found.nameless.push(runtime.unseen(&path));
        }
        if let Some(library) = named.c_library(&path) {
            found.calls.add(target, &named, || compiled.of(mapping, &file), (library, kinds));
        }
        if named.program {
            found.looked_at.extend(named.lacks_names(&file, &path).filter(|_| found.runtimes.is_empty()));
            found.nameless.extend(named.nameless_allocator(&file, &path));
        }
        found.unwinders.add(target, &named, &path);
        modules.extend(named.module(target, path, modules.len(), custom));
    }
    if found.looked_at.is_empty() && found.runtimes.is_empty() && modules.is_empty() {
        found.looked_at.push(format!("none of {} modules exports malloc", seen.len()));
    }
    summarize(found, modules)
}

/// Functions of the target whose names are most like this one.
pub(crate) fn nearest(target: &Target, mappings: &[Mapping<'_>], name: &str) -> Vec<String> {
    let mut nearest = Nearest::to(name);
    let mut seen = Vec::new();
    for mapping in mappings.iter().filter(|mapping| mapping.permissions.execute && mapping.inode != 0) {
        if !seen.contains(&mapping.inode)
            && let Ok(file) = open_file(target, mapping)
        {
            seen.push(mapping.inode);
            nearest.look_into(&file);
        }
    }
    nearest.names()
}

fn summarize(mut found: Allocator, mut modules: Vec<Module>) -> Allocator {
    // The program's own `malloc` comes before all libraries, and the C library is loaded last.
    modules.sort_by_key(|module| {
        let is_c_library = matches!(module.allocator, Some(GLIBC | MUSL));
        (!module.standard, !module.program, is_c_library)
    });
    if let Some(other) = found.unwinders.other.clone().filter(|_| found.unwinders.sites.is_empty()) {
        for module in modules.iter_mut().filter(|module| module.operators) {
            module.lose_operators(&other, &mut found.nameless);
        }
        modules.retain(|module| !module.sites.is_empty());
    }
    let has_own = |module: &Module| module.custom || module.operators;
    found.throws = modules.iter().any(has_own);
    let granule = |module: &Module| match module.allocator {
        _ if has_own(module) => wire::GRANULE_UNKNOWN,
        Some(GLIBC) => GLIBC_GRANULE_SHIFT,
        Some(MUSL) => MUSL_GRANULE_SHIFT,
        _ => SMALLEST_GRANULE_SHIFT,
    };
    found.granule_shift = modules.iter().map(granule).min().unwrap_or(GLIBC_GRANULE_SHIFT);
    let described = modules.iter().map(|module| match module.allocator {
        Some(allocator) => format!("{allocator} ({})", module.path),
        None if module.custom => format!("functions named by the user ({})", module.path),
        None if module.operators => format!("operator new ({})", module.path),
        None => format!("malloc ({})", module.path),
    });
    found.described = described.collect::<Vec<_>>().join(", ");
    found.sites = modules.into_iter().flat_map(|module| module.sites).collect();
    for site in &mut found.sites {
        // The user may have named a function inside of it.
        site.calls_nobody &= !found.throws;
    }
    found
}

impl Unwinders {
    fn add(&mut self, target: &Target, named: &Named, path: &str) {
        let symbol = |name: &str| named.symbols.iter().find(|symbol| symbol.name == name && named.is_called(symbol));
        if symbol(families::RAISES).is_none() {
            return;
        }
        let finds = symbol(families::FINDS_TABLE).filter(|_| symbol(families::OTHER_UNWINDER).is_none());
        let site = finds.and_then(|finds| named.site(target, finds, Form::Plain(Hook::FindsTable), usize::MAX));
        match site {
            Some(site) => self.sites.push(site),
            None => self.other = Some(path.to_owned()),
        }
    }
}

impl Module {
    /// Leaves its own operators alone: an exception that passes their hooks would end the program.
    fn lose_operators(&mut self, unwinder: &str, unhooked: &mut Vec<String>) {
        let is_operator =
            |site: &Site| site.names.iter().any(|name| known(name, None).is_some_and(|k| k.family == Family::Operator));
        self.sites.retain(|site| !is_operator(site));
        self.operators = false;
        unhooked.push(format!("operator new of {}: {unwinder} unwinds exceptions in a way of its own", self.path));
        if self.sites.iter().all(|site| site.hook().ends()) {
            self.sites.clear();
        }
    }
}

/// The dynamic linker has a small allocator of its own that it no longer uses once the program runs.
fn is_dynamic_linker(mapping: &Mapping<'_>) -> bool {
    let name = mapping.name.rsplit(|byte| *byte == b'/').next().unwrap_or(&[]);
    name.starts_with(b"ld-linux") || name.starts_with(b"ld-2.") || name.starts_with(b"ld.so")
}

/// A module with the symbols that matter.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) layout: ModuleLayout,
    bias: u64,
    pub(crate) symbols: Vec<FunctionSymbol>,
    program: bool,
    pub(crate) static_program: bool,
}

impl Named {
    fn of(target: &Target, mapping: &Mapping<'_>, elf: &[u8], custom: &[Custom]) -> Option<Self> {
        let layout = module_layout(elf).ok()?;
        let bias = load_bias(&layout, mapping.addresses.start, mapping.offset, mapping.permissions.execute)?;
        let known = families::names();
        let mut asked: Vec<&str> = known.iter().map(String::as_str).chain(custom.iter().map(Custom::name)).collect();
        for name in calls::names() {
            asked.push(name);
        }
        let mut symbols = symbols(elf, &asked).ok()?;
        symbols.retain(|symbol| !symbol.ifunc);
        let program = is_program(target, mapping);
        let mut module =
            Self { program, static_program: program && layout.interpreter.is_none(), layout, bias, symbols };
        let of_user = |symbol: &FunctionSymbol| custom.iter().any(|custom| custom.name() == symbol.name);
        let is_enough = module.symbols.iter().any(|symbol| module.allocates(symbol) || of_user(symbol));
        if !is_enough && (program || !custom.is_empty()) {
            module.symbols.extend(symbols_of_debug_file(target, mapping, elf, &asked));
        }
        Some(module)
    }

    /// Whether it is a function of an allocator that calls reach.
    fn allocates(&self, symbol: &FunctionSymbol) -> bool {
        let is_allocator = |known: families::Known| !matches!(known.family, Family::Ending | Family::Unwinder);
        known(&symbol.name, None).is_some_and(is_allocator) && self.is_reached(symbol)
    }

    /// Whether calls from this module reach a definition in it: those of the program itself come first wherever one is looked for.
    fn is_called(&self, symbol: &FunctionSymbol) -> bool {
        symbol.exported || self.program
    }

    /// Whether it has its own `operator new` and `operator delete` that take memory from elsewhere than `malloc`. Those of a C++
    /// library end there.
    fn has_own_operators(&self, target: &Target) -> bool {
        let called = |name: &str| self.symbols.iter().find(|symbol| symbol.name == name && self.is_called(symbol));
        let (Some(new), Some(_)) = (called(families::NEW), called(families::DELETE)) else { return false };
        if !self.program && called(families::CPP_LIBRARY).is_some() {
            return false;
        }
        let Some(malloc) = called("malloc") else { return true };
        let Some(site) = self.site(target, new, Form::Plain(Hook::Malloc), 0) else { return false };
        let end = site.code.len().min(new.size as usize);
        !arch::calls(site.code.get(..end).unwrap_or(&[]), site.at, self.bias.wrapping_add(malloc.vaddr))
    }

    /// Whether calls from elsewhere reach a definition: exported, or in a static program, which has nothing else. Names with an
    /// allocator's prefix are called directly.
    fn is_reached(&self, symbol: &FunctionSymbol) -> bool {
        match known(&symbol.name, None) {
            Some(known) => matches!(known.family, Family::Prefixed(_)) || symbol.exported || self.static_program,
            None => false,
        }
    }

    /// The families of this module that allocate, and free what they allocate.
    fn families(&self) -> Vec<Family> {
        let mut families: Vec<(Family, bool)> = Vec::new();
        for symbol in self.symbols.iter().filter(|symbol| self.is_reached(symbol)) {
            if let Some(known) = known(&symbol.name, None)
                && let Form::Plain(hook) = known.form
                && known.family != Family::Unwinder
            {
                families.push((known.family, hook.releases()));
            }
        }
        let has = |family: Family, releases: bool| families.contains(&(family, releases));
        let mut complete: Vec<Family> = Vec::new();
        for (family, _) in &families {
            // A static program whose code frees nothing has no `free`: it was left out with all that nobody calls.
            let releases = has(*family, true) || (self.static_program && *family == Family::Standard);
            if !matches!(family, Family::Operator | Family::Ending)
                && releases
                && has(*family, false)
                && !complete.contains(family)
            {
                complete.push(*family);
            }
        }
        complete
    }

    fn module(&self, target: &Target, path: String, number: usize, custom: &[Custom]) -> Option<Module> {
        let mut families = self.families();
        let allocator = allocator_of(&self.symbols.iter().map(|symbol| symbol.name.as_str()).collect::<Vec<_>>());
        // The operators of a C++ library end in `malloc`; an allocator's own do not.
        if !families.is_empty() && !matches!(allocator, Some(GLIBC | MUSL)) {
            families.push(Family::Operator);
        }
        let operators = !families.contains(&Family::Operator) && self.has_own_operators(target);
        if operators {
            families.push(Family::Operator);
        }
        // Wherever an allocator is in use, the C library ends the process.
        families.push(Family::Ending);
        let mut sites: Vec<Site> = Vec::new();
        let mut is_custom = false;
        for symbol in &self.symbols {
            let asked = custom.iter().find(|custom| custom.name() == symbol.name);
            let known =
                known(&symbol.name, allocator).filter(|known| families.contains(&known.family)).filter(|known| {
                    self.is_reached(symbol) || (known.family == Family::Operator && self.is_called(symbol))
                });
            // Of what is known without the user's help more is known than what the user said.
            let form = match (known.map(|known| known.form), asked) {
                (Some(Form::Throwing { .. }), _) if operators => Form::Named(Hook::NamedFirst),
                (Some(form), _) => form,
                (None, Some(custom)) => Form::Named(custom.hook()),
                (None, None) => continue,
            };
            is_custom |= asked.is_some();
            let at = self.bias.wrapping_add(symbol.vaddr);
            let Some(site) = sites.iter_mut().find(|site| site.at == at) else {
                sites.extend(self.site(target, symbol, form, number));
                continue;
            };
            // `operator delete` of tcmalloc is its `free`. What is right for the more general of two names is right for both.
            if matches!(form, Form::Named(_)) || is_more_general(form, site.form) {
                site.form = form;
            }
            site.names.push(symbol.name.clone());
        }
        if sites.iter().all(|site| site.hook().ends()) {
            return None;
        }
        for site in &mut sites {
            site.calls_nobody = calls_nobody(allocator, &site.names);
        }
        let standard = families.contains(&Family::Standard);
        Some(Module { sites, allocator, path, standard, program: self.program, custom: is_custom, operators })
    }

    pub(crate) fn site(&self, target: &Target, symbol: &FunctionSymbol, form: Form, module: usize) -> Option<Site> {
        let at = self.bias.wrapping_add(symbol.vaddr);
        if !self.layout.is_code(symbol.vaddr) {
            return None;
        }
        let size = if symbol.size == 0 { CODE_BYTES_UNKNOWN } else { symbol.size.min(CODE_BYTES_MAX) };
        // A short function needs the padding behind it as well.
        let size = if size < PADDING_BYTES { size + PADDING_BYTES } else { size };
        let code = target.read_exactly(at, size as usize).ok()?;
        Some(Site { names: vec![symbol.name.clone()], form, entry: at, at, code, module, calls_nobody: false })
    }

    /// What the dynamic linker calls when it has loaded something, in whichever module that is.
    fn loads(&self, target: &Target) -> Option<Site> {
        let symbol = self.symbols.iter().find(|symbol| symbol.name == calls::LOADS && symbol.exported)?;
        self.site(target, symbol, Form::Plain(Hook::Loads), usize::MAX)
    }

    /// Which C library this is, or is linked into this, if one is. Older ones keep a part of their functions in a file of its own.
    fn c_library(&self, path: &str) -> Option<&'static str> {
        let is_part = path.rsplit('/').next().is_some_and(|name| name.starts_with("libpthread"));
        let names: Vec<&str> = self.symbols.iter().map(|symbol| symbol.name.as_str()).collect();
        c_library_of(&names).or(is_part.then_some(GLIBC))
    }

    /// Why a static program shows no allocator.
    fn lacks_names(&self, elf: &[u8], path: &str) -> Option<String> {
        if !self.static_program || !self.symbols.is_empty() {
            return None;
        }
        if has_section(elf, ".symtab") {
            return Some(format!(
                "{path} is static, and none of its functions is called malloc (--alloc and --free name others)"
            ));
        }
        let debug_file = match &self.layout.build_id {
            Some(id) => {
                let place = id
                    .split_at_checked(2)
                    .map(|(head, tail)| format!(" (/usr/lib/debug/.build-id/{head}/{tail}.debug)"));
                format!("no debug file of build id {id} was found{}", place.unwrap_or_default())
            }
            None => "without a build id no debug file can belong to it".into(),
        };
        Some(format!("{path} is static and stripped: its functions have no names, and {debug_file}"))
    }

    /// An allocator inside the program whose names were stripped. What it allocates is not seen, and that must be said.
    fn nameless_allocator(&self, elf: &[u8], path: &str) -> Option<String> {
        if !self.families().is_empty() {
            return None;
        }
        let constants = self.layout.loads.iter().filter(|load| !load.executable && !load.writable);
        let bytes = |load: &LoadSegment| {
            elf.get(load.file_offset as usize..)?.get(..load.file_size.min(STAMP_BYTES_MAX) as usize)
        };
        let constants: Vec<&[u8]> = constants.filter_map(bytes).collect();
        let has = |stamp: &[u8]| constants.iter().any(|bytes| memmem::find(bytes, stamp).is_some());
        let (_, allocator) = STAMPS.iter().find(|(stamp, _)| has(stamp))?;
        Some(format!("{allocator} inside {path}: the program is stripped, so its functions cannot be found"))
    }
}

/// Of two uses of the same code the one that holds for both.
fn is_more_general(new: Form, old: Form) -> bool {
    matches!((new, old), (Form::Throwing { .. }, Form::Plain(_)))
        || matches!((new, old), (Form::Plain(Hook::Delete), Form::Plain(Hook::Free)))
}

fn is_program(target: &Target, mapping: &Mapping<'_>) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(target.path("exe")).is_ok_and(|data| data.ino() == mapping.inode)
}

/// The names that were split off into a debug file, which is where `leakline` would find the names of stacks as well.
fn symbols_of_debug_file(target: &Target, mapping: &Mapping<'_>, elf: &[u8], names: &[&str]) -> Vec<FunctionSymbol> {
    let Some(path) = mapping.path() else { return Vec::new() };
    let path = Path::new(std::ffi::OsStr::from_bytes(&path)).to_owned();
    let root = target.path("root");
    for candidate in DebugReferences::of(elf).debug_files(&path, &[]) {
        let there = root.join(candidate.path.strip_prefix("/").unwrap_or(&candidate.path));
        for path in [there, candidate.path.clone()] {
            let Ok(file) = MappedFile::open(&path) else { continue };
            if candidate.proof.holds(&file)
                && let Ok(mut found) = symbols(&file, names)
            {
                found.retain(|symbol| !symbol.ifunc);
                return found;
            }
        }
    }
    Vec::new()
}
