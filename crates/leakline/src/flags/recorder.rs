//! The options of the commands that keep a recording and manage it.
//!
//! Owns: names, defaults, help. Must not know: what a command does with them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use model::Bytes;

use crate::values;

/// Options of `record`.
#[derive(Debug, Args)]
pub(crate) struct Record {
    /// Directory of the recording; an earlier one in it is continued [default: one per machine under --data-dir]
    #[arg(short, long, value_name = "DIRECTORY")]
    pub(crate) output: Option<PathBuf>,
    /// Time between two samples
    #[arg(long, value_name = "DURATION", default_value = "5", value_parser = values::beat)]
    pub(crate) every: Duration,
    /// Stop by itself after so long
    #[arg(long = "for", value_name = "DURATION", value_parser = values::duration)]
    pub(crate) window: Option<Duration>,
    /// Go on in the background, also after the user has logged out
    #[arg(long)]
    pub(crate) background: bool,
    /// Remove what is older, in whole segments of about an hour
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) keep_for: Option<Duration>,
    /// Remove the oldest segments while all together are larger
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = values::room)]
    pub(crate) max_size: Bytes,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) sinks: AlertSinks,
    /// Set by `--background` for the process that it starts.
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

/// Who hears of alerts, besides standard error and the recording. Thresholds stand under `[alerts]` in the configuration file.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Alerts")]
#[expect(clippy::struct_field_names, reason = "the fields are named as their options")]
pub(crate) struct AlertSinks {
    /// Tell syslog or the journal
    #[arg(long)]
    pub(crate) alert_journal: bool,
    /// Append each alert to this file, as a line of JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) alert_file: Option<PathBuf>,
    /// Run this command of the shell for each alert, with the alert as JSON on its input
    #[arg(long, value_name = "COMMAND", value_parser = values::needle)]
    pub(crate) alert_command: Option<String>,
    /// Send each alert to this web server, as JSON by POST; tried again for some minutes where it does not answer. https needs curl
    #[arg(long, value_name = "URL", value_parser = crate::alerts::url)]
    pub(crate) alert_webhook: Option<crate::alerts::Url>,
    /// Trust the authority of this certificate (PEM) for the webhook, instead of those of the system
    #[arg(long, value_name = "FILE")]
    pub(crate) alert_webhook_ca: Option<PathBuf>,
}

/// Where recordings are.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Place {
    /// Where recordings are kept [default: `$XDG_STATE_HOME/leakline`, or /var/lib/leakline for root]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// Options of `status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) recording: Existing,
    /// Write one JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `clean`.
#[derive(Debug, Args)]
pub(crate) struct Clean {
    #[command(flatten)]
    pub(crate) recording: Existing,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// A recording that is there.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Existing {
    /// Its directory, or the name of a machine under --data-dir [default: that of this machine]
    #[arg(value_name = "RECORDING")]
    pub(crate) recording: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
}
