//! Facts as tables, whatever they are about: a process inspected, two recordings compared, a recorder's state.
//!
//! Owns: that each column names its metric and each cell has its unit. Must not know: how cells are written, or how
//! anything was measured.
//!
//! One-shot reports differ in their columns and in nothing else. Each is a few lines where it is filled; the text and
//! the JSON of all of them are written in one place.

use std::time::Duration;

use model::{Bytes, Reading};

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
}

/// A value in a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(Reading<String>),
    /// A number of bytes.
    Bytes(Reading<Bytes>),
    /// A difference of bytes.
    Change(Reading<i64>),
    /// A number of things.
    Count(Reading<u64>),
    /// A share between 0 and 1.
    Share(Reading<f64>),
    /// A time.
    Span(Reading<Duration>),
}

impl TableView {
    /// A table without rows.
    pub fn new(key: &'static str, title: impl Into<String>, columns: &[&'static Metric]) -> Self {
        debug_assert!(!columns.is_empty(), "a table has columns");
        Self { key, title: title.into(), columns: columns.to_vec(), rows: Vec::new(), left_out: 0 }
    }

    /// Adds a row; a cell too few or too many is a mistake of the caller.
    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column of {}", self.key);
        self.rows.push(cells);
    }

    /// Keeps the first rows and counts the others.
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
