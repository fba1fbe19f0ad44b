//! The options that bound what an attach costs the target.
//!
//! Owns: their names, defaults and help. Must not know: how cost is measured, or when the mode changes.

use clap::{Args, ValueEnum};
use model::Bytes;

use crate::values;

/// Which blocks are recorded, and what that may cost.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cost")]
pub(crate) struct Budget {
    /// Which blocks are recorded
    #[arg(long, value_enum, value_name = "MODE", default_value = "auto")]
    pub(crate) mode: Mode,
    /// Mean distance in bytes between two samples, 1k to 16M; rounded to a power of two
    #[arg(long, value_name = "SIZE", default_value = "512k", value_parser = values::rate)]
    pub(crate) rate: Bytes,
    /// What `--mode auto` may cost, in percent of the processor time that the target uses
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = values::percent)]
    pub(crate) max_overhead: f64,
    /// How much memory the records of a process may take, in it; what finds no room is counted and said, in auto mode a sample is
    /// recorded before that [default: an eighth of what is available, or a quarter of what its control group may still take]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) max_memory: Option<Bytes>,
}

/// Values of `--mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Every block
    Exact,
    /// A sample: figures are estimates and shown with their error
    Sampled,
    /// Every block while that costs less than --max-overhead, else a sample
    Auto,
}

impl Mode {
    /// The word by which it is asked for.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Sampled => "sampled",
            Self::Auto => "auto",
        }
    }
}

impl Budget {
    /// Records every block, unless a sample was asked for.
    pub(crate) const fn prefer_exact(&mut self) {
        if matches!(self.mode, Mode::Auto) {
            self.mode = Mode::Exact;
        }
    }

    /// The same for an attach.
    pub(crate) const fn modes(&self) -> capture::Modes {
        let choice = match self.mode {
            Mode::Exact => capture::ModeChoice::Exact,
            Mode::Sampled => capture::ModeChoice::Sampled,
            Mode::Auto => capture::ModeChoice::Auto,
        };
        capture::Modes { choice, rate: self.rate, max_overhead: self.max_overhead / 100.0 }
    }
}
