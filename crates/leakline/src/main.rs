//! The command: arguments in, exit code out.
//!
//! Owns: the dispatch, the only place where errors are printed and where the process gets its exit code.
//! Must not know: how a command does its work.

mod alerts;
mod attach;
mod attached;
mod background;
mod births;
mod boot;
mod detach;
mod doctor;
mod excerpts;
mod failure;
mod family;
mod flags;
mod follow;
mod hunt;
mod inspect;
mod limits;
mod live;
mod machine;
mod manage;
mod names;
mod output;
mod pace;
mod pending;
mod place;
mod record;
mod remote;
mod replay;
mod reports;
mod run;
mod session;
mod settings;
mod state;
mod status;
mod values;
mod watch;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use report::Outcome;

use crate::failure::Failure;
use crate::flags::{Command, Refused};
use crate::output::Output;
use crate::settings::Settings;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let (flags, settings) = match flags::parse(&arguments, &|name| std::env::var_os(name)) {
        Ok(understood) => understood,
        Err(Refused::Usage(error)) => return end_of_usage(&error),
        Err(Refused::Settings(failure)) => return end_of_failure(&failure),
    };
    match run(&flags.command, &settings) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => end_of_failure(&failure),
    }
}

fn run(command: &Command, settings: &Settings) -> Result<u8, Failure> {
    let outcome = match command {
        // A program that was run has a code of its own.
        Command::Run(flags) => return run::run(flags),
        Command::Hunt(flags) => hunt::run(flags),
        Command::Watch(flags) => watch::run(flags, settings),
        Command::Attach(flags) => attach::run(flags),
        Command::Detach(flags) => detach::run(flags),
        Command::Inspect(flags) => inspect::run(flags),
        Command::Record(flags) => record::run(flags, settings),
        Command::Status(flags) => status::run(flags),
        Command::Stop(flags) => manage::stop(flags),
        Command::Clean(flags) => manage::clean(flags),
        Command::Report(flags) => reports::report(flags),
        Command::Plot(flags) => reports::plot(flags),
        Command::Compare(flags) => reports::compare(flags),
        Command::Export(flags) => reports::export(flags),
        Command::Boot(flags) => boot::run(flags, settings),
        Command::Remote(flags) => remote::run(flags),
        Command::Ship(flags) => remote::ship(flags),
        Command::Doctor(flags) => doctor::run(flags),
        Command::Man(flags) => write_out(&flags::manual(flags.page.as_deref())?),
        Command::Completions(flags) => write_out(&flags::completions(&flags.shell)),
    };
    outcome.map(Outcome::exit_code)
}

fn write_out(bytes: &[u8]) -> Result<Outcome, Failure> {
    Output::new(false).write_bytes(bytes)?;
    Ok(Outcome::NothingFound)
}

/// `--help` and `--version` go to standard output and end with 0, bad usage goes to standard error and ends with 2.
fn end_of_usage(error: &clap::Error) -> ExitCode {
    // Nobody reads what cannot be written.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Outcome::CouldNotJudge.exit_code() } else { 0 })
}

/// The fact, then what to do about it, on lines of their own.
fn end_of_failure(failure: &Failure) -> ExitCode {
    match failure {
        Failure::OutputClosed => ExitCode::SUCCESS,
        Failure::Refused { text, hint } => {
            let mut stderr = std::io::stderr().lock();
            let _ = writeln!(stderr, "error: {}", report::Text::safe(text));
            if let Some(hint) = hint {
                let _ = writeln!(stderr, "hint: {}", report::Text::safe(hint));
            }
            ExitCode::from(Outcome::CouldNotJudge.exit_code())
        }
    }
}
