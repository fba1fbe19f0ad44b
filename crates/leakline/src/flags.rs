//! Every command and option, once: the parser, `--help`, the manual page and the completions are made from this table.
//!
//! Owns: names, defaults, help. Must not know: what a command does with them; what a value may be is in `values`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use model::{Bytes, Pid};

use crate::values::{self, AttachChoice};

/// From a machine that leaks memory to the line that leaks, on running processes.
#[derive(Debug, Parser)]
#[command(name = "leakline", version, after_help = EXIT_STATUS, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find the process that grows, attach to it, and print the stacks that leak
    #[command(after_help = EXIT_STATUS)]
    Hunt(Hunt),
    /// Rank the processes live by how they grow
    #[command(after_help = EXIT_STATUS)]
    Watch(Watch),
    /// Hook the allocator of a running process and show the stacks whose blocks are not freed
    #[command(after_help = EXIT_STATUS)]
    Attach(Attach),
    /// Say what works on this machine and for a process, what does not, and the command that would change it
    Doctor(Doctor),
    /// Write the manual page of leakline or of one of its commands
    Man(Man),
    /// Write the completions of a shell
    Completions(Completions),
}

/// Options of `hunt`.
#[derive(Debug, Args)]
pub(crate) struct Hunt {
    /// How long to watch the machine
    #[arg(long = "for", value_name = "DURATION", default_value = "60", value_parser = values::duration)]
    pub(crate) window: Duration,
    /// Time between two samples
    #[arg(long, value_name = "DURATION", default_value = "1", value_parser = values::beat)]
    pub(crate) every: Duration,
    /// Whom to attach to afterwards: auto (the worst process, if it grows beyond doubt), never, or how many at most
    #[arg(long, value_name = "auto|never|N", default_value = "auto", value_parser = values::attach_choice)]
    pub(crate) attach: AttachChoice,
    /// How long to watch each attached process [default: as long as --for]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) attach_for: Option<Duration>,
    #[command(flatten)]
    pub(crate) filter: Filter,
    #[command(flatten)]
    pub(crate) sites: Sites,
    /// Write one JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `watch`.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Time between two samples
    #[arg(long, value_name = "DURATION", default_value = "1", value_parser = values::beat)]
    pub(crate) every: Duration,
    /// Stop by itself after so long
    #[arg(long = "for", value_name = "DURATION", value_parser = values::duration)]
    pub(crate) window: Option<Duration>,
    #[command(flatten)]
    pub(crate) filter: Filter,
    #[command(flatten)]
    pub(crate) sites: Sites,
    /// Print a table per beat, as happens anyway where the output is not a terminal
    #[arg(long)]
    pub(crate) plain: bool,
    /// Write one JSON document per beat, one a line
    #[arg(long, conflicts_with = "plain")]
    pub(crate) json: bool,
}

/// Options of `attach`.
#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// The process
    #[arg(value_name = "PID", value_parser = values::pid)]
    pub(crate) pid: Pid,
    /// Detach by itself after so long
    #[arg(long = "for", value_name = "DURATION", value_parser = values::duration)]
    pub(crate) window: Option<Duration>,
    /// Detach by itself once so many blocks of one site have expired
    #[arg(long, value_name = "BLOCKS", value_parser = values::blocks)]
    pub(crate) stop_after: Option<u64>,
    #[command(flatten)]
    pub(crate) sites: Sites,
    /// Print one event a line, as happens anyway where the output is not a terminal
    #[arg(long)]
    pub(crate) plain: bool,
    /// Write events as JSON, one a line, and the summary as the last line
    #[arg(long, conflicts_with = "plain")]
    pub(crate) json: bool,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The process to examine, beside the machine
    #[arg(value_name = "PID", value_parser = values::pid)]
    pub(crate) pid: Option<Pid>,
    /// Write one JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The command whose page is written; without it, the page of leakline itself
    #[arg(value_name = "COMMAND", value_parser = ["hunt", "watch", "attach", "doctor"])]
    pub(crate) page: Option<String>,
}

/// Options of `completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
    pub(crate) shell: String,
}

/// Which processes are looked at; without any of these, all of them.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which processes")]
pub(crate) struct Filter {
    /// Only this process; may be given several times
    #[arg(long, value_name = "PID", value_parser = values::pid)]
    pub(crate) pid: Vec<Pid>,
    /// Only processes whose command or arguments contain this
    #[arg(long, value_name = "TEXT", value_parser = values::needle)]
    pub(crate) name: Option<String>,
    /// Only processes of this user, by name or number
    #[arg(long, value_name = "USER", value_parser = values::needle)]
    pub(crate) user: Option<String>,
    /// Only processes whose control group (container) contains this
    #[arg(long, value_name = "TEXT", value_parser = values::needle)]
    pub(crate) cgroup: Option<String>,
}

/// How an attached process is watched and what is shown of it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Attached processes")]
pub(crate) struct Sites {
    /// Age after which a block counts as expired [default: 10 s, or a third of the window where that is less]
    #[arg(short, long, value_name = "DURATION", value_parser = values::expiry)]
    pub(crate) expire: Option<Duration>,
    /// Greatest number of frames kept of a stack
    #[arg(long, value_name = "FRAMES", default_value = "64", value_parser = values::depth)]
    pub(crate) depth: u16,
    /// How many sites to show
    #[arg(long, value_name = "N", default_value = "10", value_parser = values::rows)]
    pub(crate) top: usize,
    /// Leave out sites with fewer expired bytes than this
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = values::size)]
    pub(crate) min_bytes: Bytes,
    /// Keep at most so many sites; what further ones allocate is counted as not recorded
    #[arg(long, value_name = "N", default_value = "16384", value_parser = values::sites)]
    #[expect(clippy::struct_field_names, reason = "the field is named as its option")]
    pub(crate) max_sites: u32,
    /// Look for debug information here first; may be given several times
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) debug_dir: Vec<PathBuf>,
    /// Debug information of one module, recognised by its build id; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) debug_file: Vec<PathBuf>,
}

impl Sites {
    /// The age of expiry: as asked for, or the default, which leaves a window of `window` time to see expiries.
    pub(crate) fn expire_within(&self, window: Option<Duration>) -> Duration {
        let default = window.map_or(EXPIRE_DEFAULT, |window| EXPIRE_DEFAULT.min(window / 3));
        self.expire.unwrap_or(default).max(crate::limits::EXPIRE_MIN)
    }
}

const EXPIRE_DEFAULT: Duration = Duration::from_secs(10);

const EXIT_STATUS: &str = "Exit status: 0 nothing was found (or the reader of the output went away), \
     1 a leak was found, 2 it could not be judged, or the command was not understood.";

/// Reads the command line; for `--help`, `--version` and bad usage clap's own error says what to print and how to end.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Flags, clap::Error> {
    let flags = Flags::from_arg_matches(&table().try_get_matches_from(arguments)?)?;
    check_combination(&flags.command)?;
    Ok(flags)
}

/// The table. A negative number is a value like any other, so that it is refused as one, by the option's own words.
fn table() -> clap::Command {
    let negative = |argument: clap::Arg| {
        let takes_values = argument.get_action().takes_values();
        if takes_values { argument.allow_negative_numbers(true) } else { argument }
    };
    Flags::command().mut_subcommands(|command| command.mut_args(negative))
}

/// What no single value shows: a window in which nothing can happen.
fn check_combination(command: &Command) -> Result<(), clap::Error> {
    let (window, window_name, needed, needed_name) = match command {
        Command::Hunt(hunt) if hunt.every > hunt.window => (hunt.window, "--for", hunt.every, "--every"),
        Command::Hunt(hunt) => {
            let window = hunt.attach_for.unwrap_or(hunt.window);
            (window, "--attach-for (or --for)", hunt.sites.expire_within(Some(window)), "--expire")
        }
        Command::Attach(Attach { window: Some(window), sites, .. }) => {
            (*window, "--for", sites.expire_within(Some(*window)), "--expire")
        }
        Command::Attach(_) | Command::Watch(_) | Command::Doctor(_) | Command::Man(_) | Command::Completions(_) => {
            return Ok(());
        }
    };
    if needed <= window {
        return Ok(());
    }
    let text = format!(
        "{window_name} is {} s and {needed_name} is {} s, so that nothing could be seen; {window_name} must be the longer",
        window.as_secs_f64(),
        needed.as_secs_f64(),
    );
    Err(table().error(clap::error::ErrorKind::ValueValidation, text))
}

/// The manual page of the program or of one of its commands, in roff.
pub(crate) fn manual(page: Option<&str>) -> std::io::Result<Vec<u8>> {
    let mut program = table();
    program.build();
    // `build` has given each command the name of its page, as git names its own: leakline-hunt(1).
    let command = page.and_then(|name| program.find_subcommand(name)).unwrap_or(&program).clone();
    let mut roff = Vec::new();
    clap_mangen::Man::new(command).render(&mut roff)?;
    Ok(roff)
}

/// The completion script of a shell; `parse` has checked its name.
pub(crate) fn completions(shell: &str) -> Vec<u8> {
    let shell = match shell {
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        _ => Shell::Bash,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut table(), "leakline", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        std::iter::once("leakline").chain(line.split_whitespace()).map(OsString::from).collect()
    }

    /// The command line as it was understood, or the error's first line and exit code.
    #[track_caller]
    fn check(line: &str, wanted: &str) {
        let found = match parse(words(line)) {
            Ok(flags) => format!("{:?}", flags.command),
            Err(error) => format!("exit {}: {}", error.exit_code(), error.to_string().lines().next().unwrap_or("")),
        };
        assert!(found.contains(wanted), "{line}: wanted {wanted}, found {found}");
    }

    #[test]
    fn the_table_is_consistent() {
        table().debug_assert();
    }

    #[test]
    fn a_hunt_needs_no_arguments() {
        check("hunt", "window: 60s, every: 1s, attach: Auto, attach_for: None");
        check("hunt --for 10 --every 0.5 --attach 3 --json", "window: 10s, every: 500ms, attach: Worst(3)");
        check("hunt --pid 12 --pid 13 --name nginx --user www --cgroup docker", "pid: [Pid(12), Pid(13)]");
        check("hunt --attach never --top 3 --min-bytes 64k", "min_bytes: Bytes(65536)");
    }

    #[test]
    fn an_attach_takes_what_the_manual_says() {
        check("attach 42 -e 0.5 --for 3 --json", "pid: Pid(42), window: Some(3s)");
        check("attach 42 --expire 2 --depth 30 --top 5", "expire: Some(2s), depth: 30, top: 5");
        check("attach 42 --stop-after 1000 --max-sites 100 --plain", "stop_after: Some(1000)");
        check("attach 42 --debug-dir /a --debug-dir /b --debug-file x.debug", r#"debug_dir: ["/a", "/b"]"#);
    }

    #[test]
    fn the_others_too() {
        check("watch --plain --every 2s --for 5m", "every: 2s, window: Some(300s)");
        check("doctor", "pid: None");
        check("doctor 1 --json", "pid: Some(Pid(1))");
        check("man hunt", r#"page: Some("hunt")"#);
        check("completions zsh", r#"shell: "zsh""#);
    }

    #[test]
    fn bad_usage_is_exit_code_2_and_names_the_option() {
        check("attach", "exit 2: error: the following required arguments were not provided");
        check("attach 12x", "exit 2: error: invalid value '12x' for '<PID>': needed: a process number");
        check("attach 0", "exit 2: error: invalid value '0'");
        check("attach -7", "exit 2: error: invalid value '-7' for '<PID>'");
        check(
            "attach 1 --expire -1",
            "exit 2: error: invalid value '-1' for '--expire <DURATION>': needed: a positive",
        );
        check("attach 1 --for soon", "exit 2: error: invalid value 'soon' for '--for <DURATION>': the unit `soon`");
        check("attach 1 --depth 500", "'--depth <FRAMES>': needed: a whole number from 1 to 128");
        check("attach 1 --plain --json", "exit 2: error: the argument '--plain' cannot be used with '--json'");
        check("hunt --attach all", "exit 2: error: invalid value 'all' for '--attach <auto|never|N>'");
        check("hunt 12", "exit 2: error: unexpected argument '12'");
        check("haunt", "exit 2: error: unrecognized subcommand 'haunt'");
        check("completions tcsh", "exit 2: error: invalid value 'tcsh'");
        check("--version", "exit 0: leakline");
        check("", "exit 2: ");
    }

    #[test]
    fn a_window_in_which_nothing_could_be_seen_is_refused() {
        check("hunt --for 1 --every 2", "--for is 1 s and --every is 2 s");
        check("attach 1 --for 3 -e 5", "--for is 3 s and --expire is 5 s");
        check("hunt --for 10 -e 12", "--attach-for (or --for) is 10 s and --expire is 12 s");
        check("hunt --for 10 -e 12 --attach-for 30", "attach_for: Some(30s)");
    }

    #[test]
    fn the_default_threshold_leaves_time_to_see_an_expiry() {
        for (line, wanted) in [("attach 1", 10_000), ("attach 1 --for 3", 1_000), ("attach 1 --for 3 -e 2", 2_000)] {
            let Ok(Flags { command: Command::Attach(attach) }) = parse(words(line)) else { panic!("{line}") };
            assert_eq!(attach.sites.expire_within(attach.window).as_millis(), wanted, "{line}");
        }
    }

    #[test]
    fn manual_and_completions_name_the_options() {
        for (page, wanted) in [(None, "hunt"), (Some("hunt"), "\\-\\-attach\\-for"), (Some("attach"), "\\-\\-expire")] {
            let roff = String::from_utf8(manual(page).expect("a Vec takes all")).expect("UTF-8");
            assert!(roff.contains(wanted), "{page:?} lacks {wanted}: {roff}");
        }
        for shell in ["bash", "zsh", "fish"] {
            let script = String::from_utf8(completions(shell)).expect("UTF-8");
            assert!(script.contains("stop-after"), "{shell}");
        }
    }
}
