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

/// Allocator functions of the program's own.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Attached processes")]
pub(crate) struct Functions {
    /// A function of the program's own that allocates, and which argument is the size: arg1, arg2, arg3, arg1*arg2 or
    /// arg2*arg3; with `ptr=argN` one that resizes. May be given several times
    #[arg(long, value_name = "fn=NAME,size=argN")]
    pub(crate) alloc: Vec<String>,
    /// A function of the program's own that frees, and which argument is the block: arg1, arg2 or arg3. May be given
    /// several times
    #[arg(long, value_name = "fn=NAME,ptr=argN")]
    pub(crate) free: Vec<String>,
}
