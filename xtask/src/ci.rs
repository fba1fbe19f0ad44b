//! All that must hold, in one command, the same locally and remotely.
//!
//! Owns: the list of steps and the summary. Must not know: what a step checks.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use crate::{cargo, tidy};

/// One call of cargo, and the program that it needs beside cargo itself.
struct Step {
    name: &'static str,
    words: &'static str,
    needs: Option<&'static str>,
}

const fn step(name: &'static str, words: &'static str) -> Step {
    Step { name, words, needs: None }
}

const STEPS: [Step; 11] = [
    step("format", "fmt --all --check"),
    step("clippy", "clippy --workspace --all-targets --quiet -- -D warnings"),
    step("tests", "test --workspace --no-fail-fast --exclude leakline"),
    step("tests of the program", "test -p leakline --bins --no-fail-fast"),
    // Only builds with debug assertions can die at named places.
    step("faults", "test -p leakline --test suite faults"),
    // Real processes, as a user would meet them: optimised, without assertions.
    step("real processes", "test --release -p leakline --test suite --no-fail-fast"),
    // The README's first command names no package.
    step("cargo run", "run --quiet --release -- --version"),
    // With debug assertions, and what has ever failed first.
    step("fuzz", "run --quiet -p fuzz -- --for 20"),
    // The layout that agent and leakline share, and the parsers, under an interpreter that sees undefined behaviour.
    Step { name: "miri", words: "miri test -p leakline-wire -p leakline-formats --lib", needs: Some("cargo-miri") },
    Step { name: "dependencies", words: "deny --offline check bans licenses sources", needs: Some("cargo-deny") },
    step("bench", "run --quiet --release --package bench -- --smoke"),
];

/// What the steps came to, in the words of the test runner: a step that runs no tests counts as one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    not_run: Vec<String>,
}

/// Runs all steps, also after one has failed.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut tally = Tally::default();
    println!("== tidy");
    tally.add_step(tidy::run(root).inspect_err(|findings| println!("{findings}")).is_ok());
    for step in &STEPS {
        if let Some(program) = step.needs.filter(|program| !installed(program)) {
            tally.not_run.push(format!("NOT RUN: {}: {program} is not installed", step.name));
            continue;
        }
        let started = Instant::now();
        println!("== {}: cargo {}", step.name, step.words);
        run_step(step, root, &mut tally)?;
        println!("== {} took {:.0} s", step.name, started.elapsed().as_secs_f64());
    }
    tally.finish()
}

/// Prints what cargo prints, as it comes, and counts.
fn run_step(step: &Step, root: &Path, tally: &mut Tally) -> Result<(), String> {
    let mut command = cargo();
    command.args(step.words.split(' ')).current_dir(root).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cargo cannot be started: {error}"))?;
    let (send, lines) = channel();
    let readers = [
        child.stdout.take().map(|pipe| forward(pipe, send.clone())),
        child.stderr.take().map(|pipe| forward(pipe, send)),
    ];
    let mut tests = Tally::default();
    for line in lines {
        println!("{line}");
        tests.read(&line);
    }
    for reader in readers.into_iter().flatten() {
        reader.join().map_err(|_| "a reader of cargo's output failed".to_owned())?;
    }
    let success = child.wait().map_err(|error| format!("cargo cannot be waited for: {error}"))?.success();
    tally.add(tests, success);
    Ok(())
}

fn forward(pipe: impl Read + Send + 'static, to: Sender<String>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                break;
            }
        }
    })
}

fn installed(program: &str) -> bool {
    let output = Command::new(program).arg("--version").output();
    output.is_ok_and(|output| output.status.success())
}

impl Tally {
    /// Reads a line such as `test result: ok. 5 passed; 0 failed; …`, or the name of a case that could not run.
    fn read(&mut self, line: &str) {
        if let Some(at) = line.find("NOT RUN: ") {
            self.not_run.push(line[at..].to_owned());
        }
        let Some(rest) = line.strip_prefix("test result: ") else { return };
        for part in rest.split([';', '.']) {
            let number = |name| part.trim().strip_suffix(name).and_then(|number| number.trim().parse::<u64>().ok());
            self.passed += number(" passed").unwrap_or(0);
            self.failed += number(" failed").unwrap_or(0);
        }
    }

    fn add_step(&mut self, success: bool) {
        if success {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// A step that failed without a failed test (it did not compile, for example) is a failure of its own.
    fn add(&mut self, tests: Self, success: bool) {
        if tests.passed + tests.failed == 0 || (!success && tests.failed == 0) {
            self.add_step(success);
        }
        self.passed += tests.passed;
        self.failed += tests.failed;
        self.not_run.extend(tests.not_run);
    }

    /// The last line is the runner's summary.
    fn finish(mut self) -> Result<(), String> {
        self.not_run.sort();
        self.not_run.dedup();
        for case in &self.not_run {
            println!("{case}");
        }
        let summary = format!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 {
            println!("{summary}");
            return Ok(());
        }
        Err(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, success: bool, wanted: (u64, u64, usize)) {
        let (mut tests, mut tally) = (Tally::default(), Tally::default());
        output.lines().for_each(|line| tests.read(line));
        tally.add(tests, success);
        assert_eq!((tally.passed, tally.failed, tally.not_run.len()), wanted, "{output}");
    }

    #[test]
    fn tests_are_counted_and_other_steps_count_as_one() {
        check("", true, (1, 0, 0));
        check("error: it does not compile", false, (0, 1, 0));
        check("test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured", true, (5, 0, 0));
        check(
            "test result: FAILED. 5 passed; 2 failed; 0 ignored\ntest result: ok. 1 passed; 0 failed",
            false,
            (6, 2, 0),
        );
        check("test result: ok. 5 passed; 0 failed\nerror: the second binary crashed", false, (5, 1, 0));
    }

    #[test]
    fn cases_that_could_not_run_are_kept() {
        check(
            "NOT RUN: a kernel thread: none is visible\ntest x ... ok\ntest result: ok. 1 passed; 0 failed",
            true,
            (1, 0, 1),
        );
        check("test refusals::a_kernel_thread ... NOT RUN: a: b\n", true, (1, 0, 1));
    }

    #[test]
    fn a_failure_makes_the_whole_fail() {
        assert_eq!(Tally { passed: 3, failed: 1, not_run: Vec::new() }.finish(), Err("3 passed, 1 failed".to_owned()));
        assert_eq!(Tally { passed: 3, failed: 0, not_run: Vec::new() }.finish(), Ok(()));
    }
}
