//! The options of `boot`.
//!
//! Owns: names, defaults, help. Must not know: systemd.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Existing, Record};
use crate::values;

/// Options of `boot`.
#[derive(Debug, Args)]
pub(crate) struct Boot {
    #[command(subcommand)]
    pub(crate) action: BootAction,
}

/// What to do with the service.
#[derive(Debug, Subcommand)]
pub(crate) enum BootAction {
    /// Record from each boot on, as a service of systemd
    Install(Root),
    /// Remove the service; its recording stays
    Uninstall(Root),
    /// Say whether the service is installed and at work, and how each boot compares with those before
    Status(BootStatus),
    /// What the service runs: `record` in the foreground
    Run(Record),
}

/// Where the service is installed.
#[derive(Debug, Args)]
pub(crate) struct Root {
    /// Install into the system below this directory, for example an image, without starting anything
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) root: Option<PathBuf>,
}

/// Options of `boot status`.
#[derive(Debug, Args)]
pub(crate) struct BootStatus {
    #[command(flatten)]
    pub(crate) recording: Existing,
    /// Growth counts from so long after the first sample of a boot, when all services have started
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = values::duration)]
    pub(crate) baseline: Duration,
}
