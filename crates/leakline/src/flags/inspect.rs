//! The options of `inspect`.
//!
//! Owns: names, defaults, help. Must not know: what is looked at.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use model::Pid;

use crate::values;

/// Options of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The process; without it, the machine. Reading its mappings keeps it from mapping memory for 10 ms per GiB of small pages
    #[arg(value_name = "PID", value_parser = values::pid)]
    pub(crate) pid: Option<Pid>,
    /// Look twice, so far apart, and say what grew in between
    #[arg(long, value_name = "DURATION", value_parser = values::growth)]
    pub(crate) growth: Option<Duration>,
    /// How many rows of each table [default: 10, with --json all]
    #[arg(long, value_name = "N", value_parser = values::rows)]
    pub(crate) top: Option<usize>,
    /// How long all processes of the machine together may be kept from mapping memory while PSS and USS are read, the largest first; 0 for not at all
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = values::budget, conflicts_with = "pid")]
    pub(crate) pss_budget: Duration,
    /// Write here instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write one JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
