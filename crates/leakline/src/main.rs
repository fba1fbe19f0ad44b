//! The command: arguments in, exit code out.
//!
//! Owns: the dispatch, the only place where errors are printed and where the process gets its exit code.
//! Must not know: how a command does its work.

mod attach;
mod attached;
mod doctor;
mod failure;
mod flags;
mod hunt;
mod limits;
mod live;
mod machine;
mod names;
mod output;
mod pending;
mod session;
mod values;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use report::Outcome;

use crate::failure::Failure;
use crate::flags::Command;
use crate::output::Output;

fn main() -> ExitCode {
    let flags = match flags::parse(std::env::args_os()) {
        Ok(flags) => flags,
        Err(error) => return end_of_usage(&error),
    };
    match run(&flags.command) {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(failure) => end_of_failure(&failure),
    }
}

fn run(command: &Command) -> Result<Outcome, Failure> {
    match command {
        Command::Hunt(flags) => hunt::run(flags),
        Command::Watch(flags) => watch::run(flags),
        Command::Attach(flags) => attach::run(flags),
        Command::Doctor(flags) => doctor::run(flags),
        Command::Man(flags) => write_out(&flags::manual(flags.page.as_deref())?),
        Command::Completions(flags) => write_out(&flags::completions(&flags.shell)),
    }
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
