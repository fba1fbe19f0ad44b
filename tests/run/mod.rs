//! `leakline run`: programs from their first instruction to their end, as a user starts them.
//!
//! Owns: how a program is run under leakline and what is read of its report. Must not know: how it is hooked.

mod allocators;
mod children;
mod kinds;
mod passing;
mod programs;
mod terminal;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::command::program;
use crate::targets::built;

/// A program that was run, with the reports on it.
struct Ran {
    code: Option<i32>,
    output: String,
    errors: String,
    /// One for each program that the process was.
    reports: Vec<Value>,
}

/// A file that no other test uses.
fn scratch(name: &str) -> PathBuf {
    let folder = built().join("run-scratch");
    std::fs::create_dir_all(&folder).expect("a folder for files");
    folder.join(format!("{name}-{}", std::process::id()))
}

/// `leakline run`, its report going to a file.
fn command(name: &str, options: &str, words: &[&str]) -> (Command, PathBuf) {
    let report = scratch(name);
    let mut command = Command::new(program());
    command.arg("run").args(options.split_whitespace()).arg("--json").arg("-o").arg(&report).arg("--").args(words);
    (command, report)
}

/// Runs a program to its end, with nothing on its input.
#[track_caller]
fn run(name: &str, options: &str, words: &[&str]) -> Ran {
    run_with_input(name, options, words, "")
}

#[track_caller]
fn run_with_input(name: &str, options: &str, words: &[&str], input: &str) -> Ran {
    let (mut command, report) = command(name, options, words);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // Who does not read its input may have gone before it was written.
    let _ = child.stdin.take().expect("it is a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let ran = Ran {
        code: output.status.code(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        reports: reports(&report),
    };
    let _ = std::fs::remove_file(report);
    ran
}

/// The lines of a report.
#[track_caller]
fn reports(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

impl Ran {
    /// The report on the program that ended.
    #[track_caller]
    fn last(&self) -> &Value {
        self.reports.last().unwrap_or_else(|| panic!("no report; exit {:?}; {}", self.code, self.errors))
    }

    /// Blocks and bytes of a kind.
    #[track_caller]
    fn kind(&self, kind: &str) -> (u64, u64) {
        let tally = &self.last()["kinds"][kind];
        let number = |key: &str| tally[key].as_u64().unwrap_or_else(|| panic!("no {kind}: {:#}", self.last()));
        (number("blocks"), number("bytes"))
    }

    /// Blocks and bytes of the leaks of a kind whose stack has this function.
    fn of_function(&self, kind: &str, function: &str) -> (u64, u64) {
        let leaks = self.last()["leaks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let has = |leak: &&Value| {
            let frames = leak["frames"].as_array().map(Vec::as_slice).unwrap_or_default();
            leak["kind"] == kind && frames.iter().any(|frame| frame["function"] == function)
        };
        let sum = |key: &str| leaks.iter().filter(has).filter_map(|leak| leak["not_freed"][key].as_u64()).sum();
        (sum("blocks"), sum("bytes"))
    }
}
