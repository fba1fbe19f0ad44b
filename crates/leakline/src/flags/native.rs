//! Options of what touches a process: its own allocator functions, and taking out what was left in it.
//!
//! Owns: names, defaults, help. Must not know: how a process is attached to.

use clap::Args;
use model::Pid;

use crate::values;

/// Options of `detach`.
#[derive(Debug, Args)]
pub(crate) struct Detach {
    /// The process
    #[arg(value_name = "PID", value_parser = values::pid, required_unless_present = "all", conflicts_with = "all")]
    pub(crate) pid: Option<Pid>,
    /// Look into every process
    #[arg(long)]
    pub(crate) all: bool,
    /// Write one JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
