//! The options of `run`.
//!
//! Owns: names, defaults, help. Must not know: how a program is started.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::Sites;

/// Options of `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The program and its arguments
    #[arg(value_name = "COMMAND", required = true, last = true)]
    pub(crate) command: Vec<OsString>,
    /// Write the report here instead of to standard error
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write the report as JSON, one line for each program
    #[arg(long)]
    pub(crate) json: bool,
    /// Exit with this code (1 unless one is given) if blocks are definitely lost and the program itself ended with 0, and with 2
    /// if that could not be judged
    #[arg(long, value_name = "CODE", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) fail_on_leak: Option<u8>,
    /// List also the blocks that the program could still reach when it ended, and count them as leaks
    #[arg(long)]
    pub(crate) show_reachable: bool,
    /// Hide the leaks that this file names, in the syntax of `LeakSanitizer` (`leak:PATTERN`); may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) suppressions: Vec<PathBuf>,
    /// Watch also the children of the program, each with a report of its own; they are hooked as soon as they are seen
    #[arg(long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) sites: Sites,
}

/// How `run` ends.
pub(crate) const EXIT_STATUS: &str = "Exit status: that of the program, or 128 + n if signal n ended it. With --fail-on-leak: CODE (1) if the program \
     ended with 0 and blocks are definitely lost, 2 if that could not be judged. 127 if there is no such command, 126 if it cannot be \
     executed, 2 if leakline cannot start or hook it or was not understood.";
