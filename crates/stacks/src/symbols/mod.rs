//! Names of code addresses: functions, lines and inlined functions of one module.
//!
//! Owns: what to believe when DWARF and symbol tables differ. Must not know: processes, how files are opened, where
//! the module is loaded; addresses are those of the file.

mod dwarf;
mod functions;
mod nearest;
mod pool;
mod search;
mod text;

use std::cell::{OnceCell, RefCell};
use std::fmt;

use model::{Function, Reading, SourceLine, Why};

pub use nearest::Nearest;
pub use pool::Pool;
pub use search::{Candidate, DebugReferences, Proof};

use dwarf::Lines;
use functions::Functions;

/// The files that describe one module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'data> {
    /// The file that was loaded.
    pub module: &'data [u8],
    /// Its separate debug file.
    pub debug: Option<&'data [u8]>,
    /// What `.gnu_debugaltlink` of the file with the DWARF names.
    pub supplement: Option<&'data [u8]>,
    /// Its package of split units (`.dwp`).
    pub package: Option<&'data [u8]>,
}

/// One function at an address: the one whose code it is, or one that was inlined there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFrame {
    /// The function.
    pub function: Reading<Function>,
    /// The line of the call.
    pub line: Reading<SourceLine>,
    /// Whether it was inlined into the next of the same address.
    pub inlined: bool,
}

/// Names of one module, found as they are asked for.
pub struct ModuleSymbols<'data> {
    sources: Sources<'data>,
    pool: &'data Pool<Vec<u8>>,
    lines: OnceCell<Option<Result<Lines<'data>, gimli::Error>>>,
    functions: OnceCell<Functions<'data>>,
}

impl fmt::Debug for ModuleSymbols<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleSymbols").field("bytes", &self.sources.module.len()).finish_non_exhaustive()
    }
}

impl<'data> ModuleSymbols<'data> {
    /// Nothing is read yet. Uncompressed sections go to `pool`.
    pub const fn new(sources: Sources<'data>, pool: &'data Pool<Vec<u8>>) -> Self {
        Self { sources, pool, lines: OnceCell::new(), functions: OnceCell::new() }
    }

    /// The functions at a return address, as the file counts addresses, innermost first and never empty. The lookup
    /// goes one byte back, into the call: the return address may be the first byte of another line or function.
    /// `provide` is asked for the files of split DWARF by their paths.
    pub fn frames(&self, return_vaddr: u64, mut provide: impl FnMut(&[u8]) -> Option<&'data [u8]>) -> Vec<NamedFrame> {
        let call = return_vaddr.saturating_sub(1);
        let symbol = self.functions().find(call);
        let is_plain =
            |found: Option<functions::Found<'_>>| found.is_some_and(|found| !found.raw_name.starts_with(b"_"));
        let (levels, why) = match self.lines() {
            None => (Vec::new(), Why::NoDebugInformation),
            // Damaged DWARF leaves the symbol table, which is another part of the file: a name without a line is better than neither.
            Some(Err(_)) => (Vec::new(), Why::Malformed),
            Some(Ok(lines)) => match lines.levels(call, self.pool, &RefCell::new(&mut provide)) {
                Ok(levels) => (levels, Why::NoDebugInformation),
                Err(_) => (Vec::new(), Why::Malformed),
            },
        };
        let symbol_function = || {
            symbol.map(|found| Function { name: text::demangled(found.raw_name), offset: return_vaddr - found.start })
        };
        if levels.is_empty() {
            let function = Reading::from_option(symbol_function(), why);
            return vec![NamedFrame { function, line: Reading::Missing(why), inlined: false }];
        }
        debug_assert!(levels.len() <= crate::limits::INLINED_FRAMES_MAX, "inlined functions are bounded");
        let last = levels.len() - 1;
        let named = levels.into_iter().enumerate().map(|(index, level)| {
            let inlined = index < last;
            // The symbol's start goes first: it is what debuggers and `nm` count offsets from, also in the cold part of a function,
            // which has a symbol of its own.
            let start = symbol.map(|found| found.start).or(level.start);
            let function = match level.function {
                Some(name) if inlined => Some(Function { name, offset: 0 }),
                // glibc's own names for what it exports, such as `__GI_abort`, are not those that people know.
                Some(name) if name.starts_with('_') && is_plain(symbol) => symbol_function(),
                Some(name) => Some(Function { name, offset: start.map_or(0, |start| return_vaddr - start) }),
                None if inlined => None,
                None => symbol_function(),
            };
            let line = Reading::from_option(level.line, why);
            NamedFrame { function: Reading::from_option(function, why), line, inlined }
        });
        named.collect()
    }

    /// Functions of the symbol tables that were left out since there are more than the bound.
    pub fn functions_skipped(&self) -> usize {
        self.functions().skipped
    }

    fn lines(&self) -> Option<&Result<Lines<'data>, gimli::Error>> {
        let Sources { module, debug, supplement, package } = self.sources;
        let load = |file| Lines::new(file, supplement, package, self.pool);
        self.lines.get_or_init(|| debug.and_then(load).or_else(|| load(module))).as_ref()
    }

    fn functions(&self) -> &Functions<'data> {
        self.functions.get_or_init(|| {
            let mut files = vec![self.sources.module];
            files.extend(self.sources.debug);
            Functions::of(&files, self.pool)
        })
    }
}

#[cfg(test)]
mod tests;
