//! Facts as tables, whatever they are about: a process inspected, two recordings compared, a recorder's state.
//!
//! Owns: that each column names its metric and each cell has its unit. Must not know: how cells are written, or how
//! anything was measured.
//!
//! One-shot reports differ in their columns and in nothing else. Each is a few lines where it is filled; the text and
//! the JSON of all of them are written in one place.

use std::time::Duration;

use model::{Bytes, Reading, Why};

use crate::metrics::Metric;

/// A report that is made once.
#[derive(Clone, Debug, Default)]
pub struct SheetView {
    /// What the document is called in JSON: `inspect`, `compare`, `status`.
    pub document: &'static str,
    /// What it is about, as one line.
    pub title: String,
    /// Its tables, the most telling first.
    pub tables: Vec<TableView>,
    /// What was lost, left out or refused, one sentence each.
    pub notes: Vec<String>,
}

/// Rows of the same kind.
#[derive(Clone, Debug)]
pub struct TableView {
    /// Its name in JSON.
    pub key: &'static str,
    /// Its name for people.
    pub title: String,
    /// What stands in each column.
    pub columns: Vec<&'static Metric>,
    /// A cell for each column.
    pub rows: Vec<Vec<Cell>>,
    /// Rows that exist but are not listed.
    pub left_out: u64,
    /// Why nothing is known of its rows, where that is so: no rows would say that there are none.
    pub missing: Option<Why>,
    /// Whether its one row is about the whole, so that it is written as a list of facts.
    pub facts: bool,
}

/// A value in a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(Reading<String>),
    /// A number of bytes; the greatest one says that there is no limit, as the kernel writes it.
    Bytes(Reading<Bytes>),
    /// A difference of bytes.
    Change(Reading<i64>),
    /// A number of things, likewise.
    Count(Reading<u64>),
    /// A difference of numbers of things.
    CountChange(Reading<i64>),
    /// A share between 0 and 1.
    Share(Reading<f64>),
    /// A time.
    Span(Reading<Duration>),
}

impl TableView {
    /// A table without rows.
    pub fn new(key: &'static str, title: impl Into<String>, columns: &[&'static Metric]) -> Self {
        debug_assert!(!columns.is_empty(), "a table has columns");
        let (columns, title) = (columns.to_vec(), title.into());
        Self { key, title, columns, rows: Vec::new(), left_out: 0, missing: None, facts: false }
    }

    /// Facts about one thing.
    pub(crate) fn facts(
        key: &'static str,
        title: impl Into<String>,
        facts: impl IntoIterator<Item = (&'static Metric, Cell)>,
    ) -> Self {
        let (columns, cells): (Vec<_>, Vec<_>) = facts.into_iter().unzip();
        let mut table = Self::new(key, title, &columns);
        table.row(cells);
        Self { facts: true, ..table }
    }

    /// The rows of a list, or why there is none.
    pub(crate) fn with_rows<T>(
        mut self,
        list: Reading<impl IntoIterator<Item = T>>,
        row: impl Fn(T) -> Vec<Cell>,
    ) -> Self {
        match list {
            Reading::Known(list) => list.into_iter().for_each(|item| self.row(row(item))),
            Reading::Missing(why) => self.missing = Some(why),
        }
        self
    }

    /// The same with the first rows only.
    pub(crate) fn first(mut self, rows: usize) -> Self {
        self.truncate(rows);
        self
    }

    /// Adds a row; a cell too few or too many is a mistake of the caller.
    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column of {}", self.key);
        debug_assert!(self.missing.is_none(), "what is missing has no rows");
        self.rows.push(cells);
    }

    /// Keeps the first rows and counts the others. Called once the rows are in order, so that it is the least telling that go.
    pub fn truncate(&mut self, rows: usize) {
        self.left_out += self.rows.len().saturating_sub(rows) as u64;
        self.rows.truncate(rows);
    }
}

impl Cell {
    /// Known words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Reading::Known(text.into()))
    }

    /// A known number of things.
    pub const fn count(count: u64) -> Self {
        Self::Count(Reading::Known(count))
    }
}
