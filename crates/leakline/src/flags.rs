//! Every command and option, once: the parser, `--help`, the manual page and the completions are made from this table.
//!
//! Owns: names, defaults, help. Must not know: what a command does with them; what a value may be is in `values`.

mod boot;
mod inspect;
mod mode;
mod native;
mod recorder;
mod remote;
mod reports;
mod run;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use model::{Bytes, Kinds, Pid};

use crate::failure::Failure;
use crate::settings::{self, Environment, Settings};
use crate::values::{self, AttachChoice, SurveyAt};

pub(crate) use self::boot::{Boot, BootAction, BootStatus};
pub(crate) use self::inspect::Inspect;
use self::mode::Budget;
pub(crate) use self::native::{Detach, Functions};
pub(crate) use self::recorder::{AlertSinks, Clean, Existing, Place, Record, Status};
pub(crate) use self::remote::{Action, Given, Remote, Ship};
pub(crate) use self::reports::{Compare, Export, Looks, Part, Plot, Report, Tables};
pub(crate) use self::run::Run;

/// From a machine that leaks memory to the line that leaks, on running processes.
#[derive(Debug, Parser)]
#[command(name = "leakline", version, after_help = EXIT_STATUS, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Take options that are not given here from this file [default: leakline/leakline.toml in `$XDG_CONFIG_HOME` or /etc]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Configuration")]
    pub(crate) config: Option<PathBuf>,
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
    /// Take out of a process what a killed leakline left in it
    Detach(Detach),
    /// Start a program, hook it before its first instruction, and show what it had not freed when it ended
    #[command(after_help = run::EXIT_STATUS)]
    Run(Run),
    /// Look once at a process or the machine: what its memory consists of, down to each mapping; descriptors, limits, groups
    #[command(after_help = EXIT_STATUS)]
    Inspect(Inspect),
    /// Sample all processes and the machine until stopped, and keep it
    Record(Record),
    /// Say whether a recorder is at work, what it has recorded and what it costs
    Status(Status),
    /// End the recorder
    Stop(Existing),
    /// Remove a recording
    Clean(Clean),
    /// Say of a recording who grew, since when, of what kind, and how the machine was
    #[command(after_help = EXIT_STATUS)]
    Report(Report),
    /// Draw the curves of a recording
    #[command(after_help = EXIT_STATUS)]
    Plot(Plot),
    /// Compare two recordings, or two moments of one: who grew, what is new, what is gone
    Compare(Compare),
    /// Write every sample of a recording for other tools
    Export(Export),
    /// Record from each boot on, and compare boots
    Boot(Boot),
    /// Record, attach and hunt on other machines, over ssh
    Remote(Remote),
    /// Send what the other end of `remote download` does not have.
    #[command(hide = true)]
    Ship(Ship),
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
    /// Attach also to the children of an attached process, each as a session of its own
    #[arg(long)]
    pub(crate) follow: bool,
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
    #[command(flatten)]
    pub(crate) sinks: AlertSinks,
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
    /// Attach also to the children of the process, those that it has and those that it makes; each is a session with a summary of its
    /// own
    #[arg(long)]
    pub(crate) follow: bool,
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
    #[arg(value_name = "COMMAND", value_parser = ["hunt", "watch", "attach", "run", "detach", "inspect", "record", "status", "stop", "clean", "report", "plot", "compare", "export", "boot", "remote", "doctor"])]
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
    /// What to watch, joined by commas: heap (blocks of allocators), mmap (mappings, thread stacks, the break), fd (descriptors), or all
    #[arg(long, value_name = "KINDS", default_value = "all", value_parser = values::kinds)]
    pub(crate) kinds: Kinds,
    /// Look for debug information here first; may be given several times
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) debug_dir: Vec<PathBuf>,
    /// Debug information of one module, recognised by its build id; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) debug_file: Vec<PathBuf>,
    /// When to look for pointers to expired blocks, which tells lost ones from those that are held: end (where blocks
    /// expired) or never. The program runs meanwhile; `run` always looks when its program ends
    #[arg(long, value_name = "WHEN", default_value = "end", value_parser = values::survey)]
    pub(crate) survey: SurveyAt,
    #[command(flatten)]
    pub(crate) functions: Functions,
    #[command(flatten)]
    pub(crate) budget: Budget,
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

/// Why a command line was not understood.
#[derive(Debug)]
pub(crate) enum Refused {
    /// For `--help`, `--version` and bad usage clap's own error says what to print and how to end.
    Usage(clap::Error),
    /// The configuration is at fault.
    Settings(Failure),
}

/// Reads the command line, and takes what is not on it from the environment and the configuration file.
pub(crate) fn parse(arguments: &[OsString], environment: Environment<'_>) -> Result<(Flags, Settings), Refused> {
    let named = settings::named_on(arguments);
    let settings = Settings::load(named.as_deref(), environment);
    // Bad usage is said first: a broken file is no reason to withhold `--help`.
    let plain = understand(table(), arguments);
    if let Err(error) = &plain
        && !is_incomplete(error)
    {
        return plain.map(|flags| (flags, Settings::default())).map_err(Refused::Usage);
    }
    let settings = settings.map_err(Refused::Settings)?;
    settings.check(is_known).map_err(Refused::Settings)?;
    let mut origins = Vec::new();
    let table = configured(table(), &settings, environment, &mut origins);
    match (understand(table, arguments), plain) {
        (Ok(flags), _) => Ok((flags, settings)),
        (Err(error), Ok(_)) => Err(Refused::Settings(misconfigured(&error, &origins))),
        (Err(error), Err(_)) => Err(Refused::Usage(error)),
    }
}

fn understand(table: clap::Command, arguments: &[OsString]) -> Result<Flags, clap::Error> {
    let flags = Flags::from_arg_matches(&table.try_get_matches_from(arguments)?)?;
    check_combination(&flags.command)?;
    Ok(flags)
}

/// Whether the configuration may supply what is missing.
fn is_incomplete(error: &clap::Error) -> bool {
    matches!(error.kind(), clap::error::ErrorKind::MissingRequiredArgument | clap::error::ErrorKind::ValueValidation)
}

/// The table. A negative number is a value like any other, so that it is refused as one, by the option's own words.
fn table() -> clap::Command {
    let negative = |argument: clap::Arg| {
        let takes_values = argument.get_action().takes_values();
        if takes_values { argument.allow_negative_numbers(true) } else { argument }
    };
    Flags::command().mut_subcommands(|command| command.mut_args(negative))
}

/// The table with the defaults that the environment and the configuration give; `origins` says which option has which.
fn configured(
    table: clap::Command,
    settings: &Settings,
    environment: Environment<'_>,
    origins: &mut Vec<(String, String)>,
) -> clap::Command {
    table.mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        // What the service runs is a recorder, and is configured as one.
        let command = command.mut_subcommands(|nested| {
            let name = if nested.get_name() == "run" { "record".to_owned() } else { name.clone() };
            with_settings(nested, &name, settings, environment, origins)
        });
        with_settings(command, &name, settings, environment, origins)
    })
}

fn with_settings(
    command: clap::Command,
    name: &str,
    settings: &Settings,
    environment: Environment<'_>,
    origins: &mut Vec<(String, String)>,
) -> clap::Command {
    command.mut_args(|argument| {
        let Some(option) = option_of(&argument).map(str::to_owned) else { return argument };
        match settings.find(name, &option, environment) {
            Some(found) => {
                origins.push((option, found.origin));
                argument.default_values(found.values.into_iter().map(clap::builder::OsStr::from))
            }
            None => argument,
        }
    })
}

/// The name under which an option can be configured.
fn option_of(argument: &clap::Arg) -> Option<&str> {
    argument.get_long().filter(|_| !argument.is_hide_set()).filter(|name| !matches!(*name, "help" | "config"))
}

/// Whether there is such an option (anywhere where no command is named), or such a command.
fn is_known(section: &str, key: Option<&str>) -> bool {
    let has = |command: &clap::Command, key: &str| command.get_arguments().any(|found| option_of(found) == Some(key));
    if crate::alerts::is_known(section, key) {
        return true;
    }
    let table = table();
    match (section, key) {
        ("", Some(key)) => table.get_subcommands().any(|command| has(command, key)),
        (section, None) => table.find_subcommand(section).is_some(),
        (section, Some(key)) => table.find_subcommand(section).is_some_and(|command| has(command, key)),
    }
}

fn misconfigured(error: &clap::Error, origins: &[(String, String)]) -> Failure {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let is_named = |option: &str| first.contains(&format!("'--{option} ")) || first.contains(&format!("'--{option}'"));
    let named: Vec<_> =
        origins.iter().filter(|(option, _)| is_named(option)).map(|(_, origin)| origin.as_str()).collect();
    let all = || origins.iter().map(|(_, origin)| origin.as_str()).collect();
    let mut origins: Vec<_> = if named.is_empty() { all() } else { named };
    // One variable may be the option of several commands.
    origins.sort_unstable();
    origins.dedup();
    Failure::with_hint(first, format!("this comes from {}", origins.join(", ")))
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
        Command::Record(Record { window: Some(window), every, .. }) => (*window, "--for", *every, "--every"),
        Command::Attach(_)
        | Command::Detach(_)
        | Command::Watch(_)
        | Command::Inspect(_)
        | Command::Run(_)
        | Command::Record(_)
        | Command::Status(_)
        | Command::Stop(_)
        | Command::Clean(_)
        | Command::Report(_)
        | Command::Plot(_)
        | Command::Compare(_)
        | Command::Export(_)
        | Command::Boot(_)
        | Command::Remote(_)
        | Command::Ship(_)
        | Command::Doctor(_)
        | Command::Man(_)
        | Command::Completions(_) => {
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
        check_with(line, "", &[], wanted);
    }

    /// The same with a configuration file and variables.
    #[track_caller]
    fn check_with(line: &str, file: &str, variables: &[(&str, &str)], wanted: &str) {
        let path = std::env::temp_dir().join(format!("leakline-flags-{}-{}.toml", std::process::id(), file.len()));
        std::fs::write(&path, file).expect("it has room");
        let environment = |name: &str| {
            let named = (name == "LEAKLINE_CONFIG").then(|| path.clone().into_os_string());
            named.or_else(|| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
        };
        let found = match parse(&words(line), &environment) {
            Ok((flags, _)) => format!("{:?}", flags.command),
            Err(Refused::Usage(error)) => {
                format!("exit {}: {}", error.exit_code(), error.to_string().lines().next().unwrap_or(""))
            }
            Err(Refused::Settings(failure)) => format!("{failure:?}").replace(&path.display().to_string(), "FILE"),
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
    fn functions_of_the_program_are_named_in_words_of_their_own() {
        let line = "attach 42 --alloc fn=pool_alloc,size=arg2 --alloc new,size=arg1 --free fn=pool_free,ptr=arg2";
        let wanted = r#"functions: Functions { alloc: ["fn=pool_alloc,size=arg2", "new,size=arg1"], free: ["fn=pool_free,ptr=arg2"] }"#;
        check(line, wanted);
        check(&line.replace("attach 42", "hunt"), wanted);
        let file = "alloc = ['fn=a,size=arg1', 'fn=b,size=arg2']\n[hunt]\nfree = 'fn=c'\n";
        let both = r#"alloc: ["fn=a,size=arg1", "fn=b,size=arg2"], free: ["#;
        check_with("hunt", file, &[], &format!(r#"{both}"fn=c"] }}"#));
        check_with("attach 1", file, &[], &format!("{both}] }}"));
    }

    #[test]
    fn a_recorder_needs_no_arguments() {
        check(
            "record",
            "output: None, every: 5s, window: None, background: false, keep_for: None, max_size: Bytes(1073741824)",
        );
        check(
            "record -o /a --every 1 --for 2h --background --max-size 64M --keep-for 7d",
            "background: true, keep_for: Some(604800s)",
        );
        check("status web1 --json", r#"recording: Some("web1")"#);
        check("stop --data-dir /d", r#"data_dir: Some("/d")"#);
        check("clean -y", "yes: true");
        check("record --every 0", "exit 2: error: invalid value '0' for '--every <DURATION>'");
        check("record --for -1", "exit 2: error: invalid value '-1' for '--for <DURATION>': needed: a positive");
        check("record --for 2 --every 5", "exit 2: error: --for is 2 s and --every is 5 s");
        check("record --max-size 1k", "exit 2: error: invalid value '1k' for '--max-size <SIZE>': at least 8 MiB");
    }

    #[test]
    fn a_report_is_of_a_part_in_some_form() {
        check(
            "report",
            "recording: None, place: Place { data_dir: None } }, part: Part { pid: [], name: None, since: None",
        );
        check(
            "report web1 --since 2h --until 2026-11-21 --top 3 --pid 7 --html a.html --csv out",
            "since: Some(Before(7200s))",
        );
        check("plot web1 -o a.svg --log --dark", r#"looks: Looks { dark: true, log: true }, output: Some("a.svg")"#);
        check(
            "plot --follow 7 --web --every 0.5 --for 1m",
            "follow: Some(Pid(7)), web: true, every: 500ms, window: Some(60s)",
        );
        check("plot --web", "exit 2: error: the following required arguments were not provided");
        check("plot web1 --follow 7", "exit 2: error: the argument");
        check("compare a b --json", r#"before: "a", after: Some("b"), since: None"#);
        check("export /r --parquet p.parquet", r#"parquet: Some("p.parquet")"#);
        check("export /r --json -o a", r#"json: true, output: Some("a")"#);
        check("export /r -o a", "exit 2: error: the following required arguments were not provided");
        check(
            "report --since 2026-11-31",
            "exit 2: error: invalid value '2026-11-31' for '--since <TIME>': needed: a date",
        );
    }

    #[test]
    fn a_service_runs_a_recorder() {
        check("boot run --every 2", "Run(Record { output: None, every: 2s");
        check("boot install --root /image", r#"Install(Root { root: Some("/image") })"#);
        check("boot status --baseline 10m", "baseline: 600s");
        check("boot", "exit 2: ");
        check_with("boot run", "[record]\nevery = 7\n", &[], "every: 7s");
    }

    #[test]
    fn hosts_come_before_what_is_done_on_them() {
        check("remote web1 start", r#"hosts: ["web1"]"#);
        check("remote web1 root@web2 peek", r#"hosts: ["web1", "root@web2"], hosts_file: None"#);
        check("remote --hosts-file all stop", r#"hosts: [], hosts_file: Some("all")"#);
        check("remote web1 start --every 1s --for 2h", r#"Start(Given { options: ["--every", "1s", "--for", "2h"] })"#);
        check("remote web1 attach 42 --plain", r#"Attach(Given { options: ["42", "--plain"] })"#);
        check("remote web1", "exit 2: error: 'leakline remote' requires a subcommand");
        check("remote -oProxyCommand=x start", "exit 2: error: unexpected argument '-o'");
        check("remote --remote-dir ../x web1 start", "exit 2: error: invalid value '../x' for '--remote-dir");
    }

    #[test]
    fn options_come_from_the_command_line_then_the_environment_then_the_file() {
        let file = "data-dir = '/d'\n[record]\nevery = 7\nbackground = true\nmax-size = '16M'\n";
        check_with(
            "record",
            file,
            &[],
            "every: 7s, window: None, background: true, keep_for: None, max_size: Bytes(16777216)",
        );
        check_with("record", file, &[], r#"data_dir: Some("/d")"#);
        check_with("record", file, &[("LEAKLINE_EVERY", "8s")], "every: 8s");
        check_with("record --every 9", file, &[("LEAKLINE_EVERY", "8s")], "every: 9s");
        check_with("watch", file, &[], "every: 1s");
        check_with("status", file, &[], r#"data_dir: Some("/d")"#);
    }

    #[test]
    fn a_wrong_setting_is_refused_with_its_origin() {
        let file = "[record]\nevery = 0\n";
        check_with(
            "record",
            file,
            &[],
            r#"needed: a duration greater than zero", hint: Some("this comes from FILE (key record.every)")"#,
        );
        check_with("record --every 5", file, &[], "every: 5s");
        check_with("status", file, &[], "Status");
        check_with("record", "", &[("LEAKLINE_EVERY", "x")], r#"hint: Some("this comes from LEAKLINE_EVERY")"#);
        check_with("record", "", &[("LEAKLINE_RECORD_FOR", "1")], "this comes from LEAKLINE_RECORD_FOR");
        check_with("record", "evry = 1", &[], "FILE: the key evry is unknown");
        check_with("record", "[record]\ndetached = true", &[], "FILE: the key record.detached is unknown");
        check_with("record", "[record", &[], "FILE:1: ");
        check_with("--help", "[record", &[], "exit 0");
        check_with("record --evry", "[record", &[], "exit 2: error: unexpected argument '--evry'");
    }

    #[test]
    fn the_others_too() {
        check("watch --plain --every 2s --for 5m", "every: 2s, window: Some(300s)");
        check("doctor", "pid: None");
        check("detach 42 --json", "pid: Some(Pid(42)), all: false, json: true");
        check("detach --all", "pid: None, all: true");
        check("detach", "exit 2: error: the following required arguments were not provided");
        check("detach 42 --all", "exit 2: error: the argument");
        check("inspect", "pid: None, growth: None, top: None, pss_budget: 200ms, output: None, json: false");
        check("inspect 7 --growth 5m --top 3 -o a --json", "pid: Some(Pid(7)), growth: Some(300s), top: Some(3)");
        check("inspect --pss-budget 0", "pss_budget: 0ns");
        check("inspect 7 --pss-budget 1", "exit 2: error: the argument '[PID]' cannot be used with");
        check("inspect --growth 0", "exit 2: error: invalid value '0' for '--growth <DURATION>'");
        check("inspect --pss-budget -1", "exit 2: error: invalid value '-1' for '--pss-budget <DURATION>'");
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
            let Ok((Flags { command: Command::Attach(attach), .. }, _)) = parse(&words(line), &|_| None) else {
                panic!("{line}")
            };
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
