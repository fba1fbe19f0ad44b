//! What a developer runs: `cargo xtask ci`, `cargo xtask tidy`, `cargo xtask bench`, `cargo xtask soak`.
//!
//! Owns: the names of the tasks. Must not know: anything of the product; rules are in `tidy`, steps in `ci`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "xtask is the developer's own tool: it runs cargo and prints what it found"
)]

mod ci;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: cargo xtask ci | tidy | bench [OPTIONS] | soak

  ci      format, clippy, tidy, tests in debug and release, cargo-deny, bench smoke: all that must hold
  tidy    the rules that no compiler checks, and the figures of the code
  bench   measures bare, leakline and heaptrack in alternation (see `cargo xtask bench --help`)
  soak    the contract with the target for an hour: a thousand rounds, a thousand kills, real servers under load";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.split_first().map(|(task, rest)| (task.as_str(), rest)) {
        Some(("ci", [])) => ci::run(&root()),
        Some(("tidy", [])) => tidy::run(&root()),
        Some(("bench", options)) => bench(options),
        Some(("soak", [])) => soak(),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// The checkout: xtask lies one folder below it.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// What takes too long for every run: the suite's own cases many more times, and programs from packages (`tests/real`).
fn soak() -> Result<(), String> {
    run(cargo().args(["build", "--quiet", "--release", "--package", "leakline"]))?;
    let words = "test --release --package leakline --test suite contract";
    run(cargo().args(words.split(' ')).env("LEAKLINE_ROUNDS", "1000").env("LEAKLINE_KILLS", "1000"))?;
    run(&mut Command::new(root().join("tests/real/run.sh")))?;
    run(&mut Command::new(root().join("tests/real/soak.sh")))
}

fn run(command: &mut Command) -> Result<(), String> {
    let status = command.current_dir(root()).status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed")) }
}

fn bench(options: &[String]) -> Result<(), String> {
    run(cargo().args(["run", "--quiet", "--release", "--package", "bench", "--"]).args(options))
}
