//! What was taken out of processes.
//!
//! Owns: its columns. Must not know: how anything is found in a process or taken out.

use model::{Bytes, Pid, Reading};

use super::{Cell, SheetView, TableView};
use crate::metrics;

/// What was taken out of one process.
#[derive(Clone, Debug)]
pub struct RemovalView {
    /// The process.
    pub pid: Pid,
    /// Its name.
    pub command: String,
    /// Jumps that were put back.
    pub hooks: u64,
    /// Code that was unmapped.
    pub code: Bytes,
    /// Shared memory that was unmapped.
    pub shared: Bytes,
    /// Descriptors that were closed.
    pub files: u64,
    /// What is left, and why.
    pub left: String,
}

impl SheetView {
    /// One row for each process; no table where there is none.
    pub fn removals(title: String, removals: &[RemovalView], notes: Vec<String>) -> Self {
        let columns = [
            &metrics::PID,
            &metrics::COMMAND,
            &metrics::HOOKS_REMOVED,
            &metrics::CODE_REMOVED,
            &metrics::SHARED_REMOVED,
            &metrics::FILES_CLOSED,
            &metrics::LEFT_BECAUSE,
        ];
        let mut table = TableView::new("processes", "Processes", &columns);
        for removal in removals {
            table.row(vec![
                Cell::count(u64::from(removal.pid.0)),
                Cell::text(&removal.command),
                Cell::count(removal.hooks),
                Cell::Bytes(Reading::Known(removal.code)),
                Cell::Bytes(Reading::Known(removal.shared)),
                Cell::count(removal.files),
                Cell::text(&removal.left),
            ]);
        }
        let tables = if table.rows.is_empty() { Vec::new() } else { vec![table] };
        Self { document: "detach", title, tables, notes }
    }
}
