//! The options of `remote`.
//!
//! Owns: names, defaults, help. Must not know: how a host is reached.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Place;
use crate::values;

/// Options of `remote`.
#[derive(Debug, Args)]
#[command(subcommand_precedence_over_arg = true)]
pub(crate) struct Remote {
    /// The hosts, as ssh knows them: names of its configuration, or user@host
    #[arg(value_name = "HOST", value_parser = values::host)]
    pub(crate) hosts: Vec<String>,
    /// Further hosts, one a line; what follows a # is left out
    #[arg(long, value_name = "FILE")]
    pub(crate) hosts_file: Option<PathBuf>,
    /// Configuration of ssh to use instead of the user's own
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_config: Option<PathBuf>,
    /// The leakline to copy there, for example a static one for a host with an older libc [default: this program]
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
    /// Directory for all of leakline on the host, in the user's home unless it is absolute
    #[arg(long, value_name = "DIRECTORY", default_value = ".leakline", value_parser = values::remote_directory)]
    #[expect(clippy::struct_field_names, reason = "the field is named as its option")]
    pub(crate) remote_dir: String,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What to do on the hosts.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Copy leakline there if it is not there yet, and start to record in the background
    Start(Given),
    /// Show what the recorder does, and of one host what it found
    Peek,
    /// End the recorder
    Stop,
    /// Fetch what is new of the recording into the data directory
    Download,
    /// End the recorder and remove everything that leakline put there
    Clean,
    /// Attach to a process there and show it here
    Attach(Given),
    /// Hunt there and show the result here
    Hunt(Given),
}

/// What is passed on to leakline on the host.
#[derive(Debug, Args)]
pub(crate) struct Given {
    /// The options of that command, as it takes them itself
    #[arg(value_name = "OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) options: Vec<OsString>,
}

/// Options of the far end of `remote download`.
#[derive(Debug, Args)]
pub(crate) struct Ship {
    /// The recording.
    #[arg(value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
}
