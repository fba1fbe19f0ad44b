//! Damaged inputs for every parser that reads what somebody else wrote.
//!
//! Owns: the options, the list of targets, and the summary. Must not know: any format.
//!
//! Works on stable Rust: damage is done with knowledge of the form (`mutate`), every case follows from its number, and each
//! target runs in a process of its own with bounded memory. What has ever failed lies in `corpus/` and runs first.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a developer's tool: it starts compilers and itself, and prints what it found"
)]

mod chance;
mod mutate;
mod readers;
mod seeds;
mod supervisor;
mod worker;

use std::process::ExitCode;
use std::time::Duration;

use mutate::Form;

const USAGE: &str = "usage: cargo run -p fuzz -- [--for SECONDS] [--seed N] [--only TARGET] [--case TARGET FILE]

  --for SECONDS       how long in all [20]; the corpus runs first, then each target in turn
  --seed N            where the numbers of the cases begin [1]: the same seed gives the same cases
  --only TARGET       elf, unwind, names, text or segment
  --case TARGET FILE  reads one input, in this process, so that a debugger can look on";

/// One reader with what it is given.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    pub(crate) read: fn(&[u8]),
}

pub(crate) const TARGETS: [Target; 5] = [
    Target { name: "elf", form: Form::Elf, seeds: seeds::elf_files, read: readers::elf },
    Target { name: "unwind", form: Form::Elf, seeds: seeds::elf_files, read: readers::unwind },
    Target { name: "names", form: Form::Elf, seeds: seeds::elf_files, read: readers::names },
    Target { name: "text", form: Form::Text, seeds: seeds::texts, read: readers::text },
    Target { name: "segment", form: Form::Segment, seeds: seeds::segments, read: readers::segment },
];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    window: Duration,
    seed: u64,
    only: Option<String>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["--worker", target, seed, first] => worker::run(target, seed, first),
        ["--case", target, file] => worker::one(target, file),
        words => wanted(words).and_then(|wanted| all(&wanted)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// The target of this name.
pub(crate) fn target(name: &str) -> Result<Target, String> {
    TARGETS.into_iter().find(|target| target.name == name).ok_or_else(|| format!("there is no target {name}\n{USAGE}"))
}

fn wanted(words: &[&str]) -> Result<Wanted, String> {
    let mut wanted = Wanted { window: Duration::from_secs(20), seed: 1, only: None };
    for pair in words.chunks(2) {
        let [option, value] = pair else { return Err(USAGE.to_owned()) };
        let number = || value.parse::<u64>().map_err(|error| format!("{option} {value}: {error}"));
        match *option {
            "--for" => wanted.window = Duration::from_secs(number()?),
            "--seed" => wanted.seed = number()?,
            "--only" => wanted.only = Some(target(value)?.name.to_owned()),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(wanted)
}

/// Every target in turn; each has the same share of the time.
fn all(wanted: &Wanted) -> Result<(), String> {
    let is_wanted = |target: &Target| wanted.only.as_deref().is_none_or(|only| only == target.name);
    let targets: Vec<Target> = TARGETS.into_iter().filter(is_wanted).collect();
    let share = wanted.window / targets.len().max(1) as u32;
    let mut failed = 0;
    for target in targets {
        let summary = supervisor::run(target, wanted.seed, share)?;
        println!(
            "{:<8} {} of the corpus, {} cases, slowest {:.1} s, {} failed",
            target.name,
            summary.corpus,
            summary.cases,
            summary.slowest.as_secs_f64(),
            summary.failed
        );
        failed += summary.failed;
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} cases failed")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &str, expected: Option<(u64, u64, Option<&str>)>) {
        let words: Vec<&str> = words.split_whitespace().collect();
        let found = wanted(&words).ok().map(|wanted| (wanted.window.as_secs(), wanted.seed, wanted.only));
        assert_eq!(found, expected.map(|(window, seed, only)| (window, seed, only.map(str::to_owned))));
    }

    #[test]
    fn options_are_understood_or_refused() {
        check("", Some((20, 1, None)));
        check("--for 900 --seed 7 --only elf", Some((900, 7, Some("elf"))));
        check("--for", None);
        check("--for x", None);
        check("--only pdf", None);
        check("--faster 1", None);
    }
}
