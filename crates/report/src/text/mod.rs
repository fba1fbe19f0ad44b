//! The views as text for people.
//!
//! Owns: the wording and layout of everything that is printed. Must not know: where it is printed to.

use std::io::{self, Write};

use crate::{DoctorView, EventView, HuntView, SitesView};

/// How text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// Columns of the terminal, or how wide tables may be in a file.
    pub width: usize,
    /// Whether to colour; the caller knows about `NO_COLOR` and whether it is a terminal.
    pub colour: bool,
}

impl Text {
    /// The line that `hunt` shows while it watches, without a line end; the caller overwrites it.
    pub fn progress(&self, view: &HuntView) -> String {
        let _ = view;
        String::new()
    }

    /// The ranking of `hunt`, with the reasons of what leaks.
    pub fn hunt(&self, view: &HuntView, out: &mut dyn Write) -> io::Result<()> {
        let _ = (view, out);
        Ok(())
    }

    /// One beat of `watch --plain`: at most `rows` processes.
    pub fn beat(&self, view: &HuntView, rows: usize, out: &mut dyn Write) -> io::Result<()> {
        let _ = (view, rows, out);
        Ok(())
    }

    /// One event of `attach --plain`.
    pub fn event(&self, event: &EventView, out: &mut dyn Write) -> io::Result<()> {
        let _ = (event, out);
        Ok(())
    }

    /// The summary of an attach: what it came to, every site, what was lost, what stays.
    pub fn sites(&self, view: &SitesView, out: &mut dyn Write) -> io::Result<()> {
        let _ = (view, out);
        Ok(())
    }

    /// The checks of `doctor`.
    pub fn doctor(&self, view: &DoctorView, out: &mut dyn Write) -> io::Result<()> {
        let _ = (view, out);
        Ok(())
    }
}
