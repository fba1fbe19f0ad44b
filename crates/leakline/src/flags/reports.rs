//! The options of the commands that read recordings.
//!
//! Owns: names, defaults, help. Must not know: what a command does with them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use model::Pid;

use super::Existing;
use crate::values::{self, When};

/// Options of `report`.
#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) recording: Existing,
    #[command(flatten)]
    pub(crate) part: Part,
    #[command(flatten)]
    pub(crate) looks: Looks,
    /// Write one page with interactive charts, which needs no network
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write a picture
    #[arg(long, value_name = "FILE")]
    pub(crate) png: Option<PathBuf>,
    /// Write a picture that can be scaled
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tables: Tables,
    /// Write one JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `plot`.
#[derive(Debug, Args)]
pub(crate) struct Plot {
    #[command(flatten)]
    pub(crate) recording: Existing,
    #[command(flatten)]
    pub(crate) part: Part,
    #[command(flatten)]
    pub(crate) looks: Looks,
    /// Write the picture here instead of drawing on the terminal: FILE.svg, FILE.png or FILE.html
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Draw this process in real time instead of a recording
    #[arg(long, value_name = "PID", value_parser = values::pid, conflicts_with_all = ["output", "recording"])]
    pub(crate) follow: Option<Pid>,
    /// Show it in a browser on this machine instead of on the terminal
    #[arg(long, requires = "follow")]
    pub(crate) web: bool,
    /// Time between two samples of what is followed
    #[arg(long, value_name = "DURATION", default_value = "1", value_parser = values::beat)]
    pub(crate) every: Duration,
    /// Stop to follow by itself after so long
    #[arg(long = "for", value_name = "DURATION", value_parser = values::duration)]
    pub(crate) window: Option<Duration>,
}

/// Options of `export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) recording: Existing,
    #[command(flatten)]
    pub(crate) part: Part,
    #[command(flatten)]
    pub(crate) tables: Tables,
    /// Write the samples to standard output as JSON, one a line: all processes, the machine and what happened
    #[arg(long, help_heading = "Every sample")]
    pub(crate) json: bool,
    /// Write the JSON here instead
    #[arg(short, long, value_name = "FILE", requires = "json", help_heading = "Every sample")]
    pub(crate) output: Option<PathBuf>,
}

/// Options of `compare`.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// A recording: its directory, or the name of a machine under --data-dir
    #[arg(value_name = "BEFORE")]
    pub(crate) before: PathBuf,
    /// Another one; without it, two moments of the first are compared: --since and --until, or its begin and its end
    #[arg(value_name = "AFTER")]
    pub(crate) after: Option<PathBuf>,
    /// The moment of the first one: a date in UTC or a duration before its end [default: its end, or its begin where it is compared with itself]
    #[arg(long, value_name = "TIME", value_parser = values::when)]
    pub(crate) since: Option<When>,
    /// The moment of the other one [default: its end]
    #[arg(long, value_name = "TIME", value_parser = values::when)]
    pub(crate) until: Option<When>,
    #[command(flatten)]
    pub(crate) place: super::Place,
    /// Write one JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Every sample, as other tools read it.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Every sample")]
pub(crate) struct Tables {
    /// Write system.csv and processes.csv into this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) csv: Option<PathBuf>,
    /// Write the samples of the processes as Parquet
    #[arg(long, value_name = "FILE")]
    pub(crate) parquet: Option<PathBuf>,
}

/// Which part of a recording.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which part")]
pub(crate) struct Part {
    /// Only this process; may be given several times
    #[arg(long, value_name = "PID", value_parser = values::pid)]
    pub(crate) pid: Vec<Pid>,
    /// Only processes whose command or arguments contain this
    #[arg(long, value_name = "TEXT", value_parser = values::needle)]
    pub(crate) name: Option<String>,
    /// From this moment: 2026-11-21T07:30, in UTC, or a duration before the end such as 2h
    #[arg(long, value_name = "TIME", value_parser = values::when)]
    pub(crate) since: Option<When>,
    /// Until this moment, written in the same way
    #[arg(long, value_name = "TIME", value_parser = values::when)]
    pub(crate) until: Option<When>,
    /// How many processes to show
    #[arg(long, value_name = "N", default_value = "10", value_parser = values::rows)]
    pub(crate) top: usize,
}

/// How pictures look.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Pictures")]
pub(crate) struct Looks {
    /// Light lines on a dark ground
    #[arg(long)]
    pub(crate) dark: bool,
    /// Values on a logarithmic scale
    #[arg(long)]
    pub(crate) log: bool,
}
