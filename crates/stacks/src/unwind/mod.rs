//! Unwind rules: the call frame tables of a module, compiled to sorted rows that a binary search can use.
//!
//! Owns: which table of a module counts, and the sweep that turns overlapping ranges into rows.
//! Must not know: who searches the rows, where the module is loaded, how registers are read.
//!
//! Only the rules that bring back the stack pointer, the return address and `rbp` are kept, for these three are what
//! the next frame needs. A rule of any other form becomes [`Rule::Unknown`], never a guess.

mod rule;
mod table;

use std::fmt;

pub use rule::{Rule, SavedRbp};

use crate::limits::UNWIND_ROWS_MAX;
use crate::module::{ModuleError, module_layout};

/// The rules of one module: row `i` holds from `starts[i]` until `starts[i + 1]`, the last one to the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnwindRows {
    /// Where each row begins, as an offset from [`crate::module::ModuleLayout::base`]; strictly rising.
    pub starts: Vec<u32>,
    /// The rule of each row; no two neighbours are equal.
    pub rules: Vec<Rule>,
    /// Table entries that were left out since they are malformed, lie outside of the code, or are too many.
    pub skipped: u32,
}

/// Why a module has no unwind rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnwindError {
    /// It is not a module.
    Module(ModuleError),
    /// It has neither `.eh_frame` nor `.debug_frame`.
    NoTables,
    /// It has tables, and not one entry of them could be read.
    Malformed(gimli::Error),
}

impl fmt::Display for UnwindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(error) => error.fmt(f),
            Self::NoTables => write!(f, "no unwind tables (neither .eh_frame nor .debug_frame)"),
            Self::Malformed(error) => write!(f, "malformed unwind tables: {error}"),
        }
    }
}

impl std::error::Error for UnwindError {}

impl From<ModuleError> for UnwindError {
    fn from(error: ModuleError) -> Self {
        Self::Module(error)
    }
}

impl UnwindRows {
    /// The rule for an offset from the module's base.
    pub fn rule_at(&self, offset: u32) -> Rule {
        debug_assert_eq!(self.starts.len(), self.rules.len(), "each row has one rule");
        match self.starts.partition_point(|&start| start <= offset) {
            0 => Rule::Unknown,
            after => self.rules.get(after - 1).copied().unwrap_or(Rule::Unknown),
        }
    }
}

/// Compiles `.eh_frame` and `.debug_frame` of a module to rows.
///
/// Section headers are used where the file has them, else `PT_GNU_EH_FRAME`, which every program that can throw keeps.
pub fn compile(elf: &[u8]) -> Result<UnwindRows, UnwindError> {
    let layout = module_layout(elf)?;
    let tables = table::find(elf, &layout);
    if tables.is_empty() {
        return Err(UnwindError::NoTables);
    }
    let mut ranges = Ranges::default();
    let mut failure = None;
    for table in &tables {
        if let Err(error) = table.read(&layout, &mut ranges) {
            failure = Some(error);
            ranges.skipped = ranges.skipped.saturating_add(1);
        }
    }
    match failure {
        Some(error) if ranges.list.is_empty() => Err(UnwindError::Malformed(error)),
        _ => Ok(ranges.into_rows()),
    }
}

/// One rule and the offsets that it holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u32,
    end: u32,
    rule: Rule,
}

/// Ranges in the order in which the tables gave them.
#[derive(Debug, Default)]
struct Ranges {
    list: Vec<Range>,
    /// Where in the list the ranges of each function begin.
    functions: Vec<u32>,
    skipped: u32,
}

impl Ranges {
    fn skip(&mut self) {
        self.skipped = self.skipped.saturating_add(1);
    }

    fn begin_function(&mut self) {
        let here = self.list.len() as u32;
        // One without ranges of its own takes no room.
        if self.functions.last() != Some(&here) {
            self.functions.push(here);
        }
    }

    fn push(&mut self, range: Range) {
        debug_assert!(range.start < range.end, "an empty range covers nothing");
        let full = self.list.len() >= UNWIND_ROWS_MAX;
        match self.list.last_mut() {
            // Most rows only change how a register is saved that is not kept here.
            Some(last) if last.end == range.start && last.rule == range.rule => last.end = range.end,
            _ if full => self.skip(),
            _ => self.list.push(range),
        }
    }

    /// By where they begin; of two that begin together, the one that was read first comes first.
    fn into_sorted(mut self) -> Vec<Range> {
        if let Some(sorted) = self.by_function() {
            return sorted;
        }
        // Stable, which is what makes the first table win: `.debug_frame` often repeats `.eh_frame`, and where it does not, what
        // exceptions are thrown by is what was tested.
        self.list.sort_by_key(|range| range.start);
        self.list
    }

    /// Sorts functions instead of their ranges, of which `node` has half a million; none where functions overlap.
    fn by_function(&self) -> Option<Vec<Range>> {
        let ends = self.functions.iter().skip(1).copied().chain([self.list.len() as u32]);
        let bounds = self.functions.iter().zip(ends).map(|(first, end)| *first as usize..end as usize);
        let mut functions: Vec<&[Range]> = bounds.filter_map(|bounds| self.list.get(bounds)).collect();
        functions.sort_by_key(|ranges| ranges.first().map(|range| range.start));
        let sorted = functions.concat();
        let is_whole = sorted.len() == self.list.len();
        (is_whole && sorted.is_sorted_by(|before, after| before.end <= after.start)).then_some(sorted)
    }

    /// Where ranges overlap, the one that begins first wins; of two that begin together, the one that was read first.
    fn into_rows(self) -> UnwindRows {
        let mut rows = UnwindRows { skipped: self.skipped, ..UnwindRows::default() };
        let mut covered = 0;
        for range in self.into_sorted() {
            let start = range.start.max(covered);
            if start >= range.end {
                continue;
            }
            // A gap has no rule: without this row the rule of the function before it would hold in it.
            if start > covered {
                rows.append(covered, Rule::Unknown);
            }
            rows.append(start, range.rule);
            covered = range.end;
        }
        rows.append(covered, Rule::Unknown);
        rows.starts.shrink_to_fit();
        rows.rules.shrink_to_fit();
        debug_assert_eq!(rows.starts.len(), rows.rules.len(), "each row has one rule");
        debug_assert!(rows.starts.is_sorted_by(|a, b| a < b), "rows rise strictly");
        rows
    }
}

impl UnwindRows {
    fn append(&mut self, start: u32, rule: Rule) {
        if self.rules.last() != Some(&rule) {
            self.starts.push(start);
            self.rules.push(rule);
        }
    }
}

#[cfg(test)]
mod tests;
