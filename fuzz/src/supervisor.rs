//! Watches workers: a death, a refusal of memory or a case that does not end is a failure, and is kept.
//!
//! Owns: starting and ending workers, and the files of failures. Must not know: what a case does.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::Target;
use crate::worker::{corpus, input};

/// No case takes so long, also while the machine is busy with other things.
const CASE_MAX: Duration = Duration::from_secs(30);
/// A target that fails this often is broken; more cases tell nothing new.
const FAILED_MAX: u64 = 20;

/// How a target fared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) corpus: u64,
    pub(crate) cases: u64,
    pub(crate) failed: u64,
    pub(crate) slowest: Duration,
}

/// How one worker ended.
#[derive(Debug)]
enum End {
    /// The time was over.
    TimeUp,
    /// It died in this case.
    Died(u64, String),
}

/// Runs a target for so long, and the corpus in any case.
pub(crate) fn run(target: Target, seed: u64, window: Duration) -> Result<Summary, String> {
    let until = Instant::now() + window;
    let corpus = corpus(target.name);
    let mut summary = Summary { corpus: corpus.len() as u64, ..Summary::default() };
    let mut first = 0;
    loop {
        let end = watch(target, seed, first, until, &mut summary)?;
        let End::Died(number, how) = end else { return Ok(summary) };
        summary.failed += 1;
        let bytes = input(target, &(target.seeds)(), &corpus, seed, number);
        let kept = keep(target.name, number, &bytes)?;
        println!("FAILED {} case {number} of seed {seed}: {how}\n  kept as {}", target.name, kept.display());
        first = number + 1;
        if summary.failed >= FAILED_MAX {
            return Ok(summary);
        }
    }
}

/// Watches one worker to its end.
fn watch(target: Target, seed: u64, first: u64, until: Instant, summary: &mut Summary) -> Result<End, String> {
    let mut child = start(target.name, seed, first)?;
    let numbers = numbers(&mut child);
    let (mut current, mut begun) = (None, Instant::now());
    loop {
        // The corpus is read to its end, whatever the time.
        let in_corpus = current.is_none_or(|number| number < summary.corpus);
        if !in_corpus && Instant::now() >= until {
            end(&mut child);
            return Ok(End::TimeUp);
        }
        match numbers.recv_timeout(CASE_MAX) {
            Ok(number) => {
                summary.cases += u64::from(current.is_some());
                summary.slowest = summary.slowest.max(begun.elapsed());
                (current, begun) = (Some(number), Instant::now());
            }
            Err(reason) => {
                if reason == RecvTimeoutError::Timeout {
                    end(&mut child);
                }
                let status = child.wait().map_err(|error| error.to_string())?;
                let number = current.ok_or_else(|| format!("the worker of {} did nothing: {status}", target.name))?;
                let how = match reason {
                    RecvTimeoutError::Timeout => format!("it did not end within {} s", CASE_MAX.as_secs()),
                    RecvTimeoutError::Disconnected => format!("the worker ended with {status}"),
                };
                return Ok(End::Died(number, how));
            }
        }
    }
}

fn start(target: &str, seed: u64, first: u64) -> Result<Child, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(["--worker", target, &seed.to_string(), &first.to_string()]).stdin(Stdio::null());
    // Its last words, for example those of a panic, go straight to who looks on.
    command.stdout(Stdio::piped()).env("RUST_BACKTRACE", "1").spawn().map_err(|error| error.to_string())
}

/// The numbers that the worker says, as they come.
fn numbers(child: &mut Child) -> Receiver<u64> {
    let (send, numbers) = channel();
    let output = child.stdout.take();
    std::thread::spawn(move || {
        for line in output.into_iter().flat_map(|output| BufReader::new(output).lines().map_while(Result::ok)) {
            match line.parse() {
                Ok(number) if send.send(number).is_ok() => {}
                Ok(_) => break,
                Err(_) => println!("{line}"),
            }
        }
    });
    numbers
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Failures are kept beside what cargo builds; who mends one moves its file to the corpus.
fn keep(target: &str, number: u64, bytes: &[u8]) -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = program.with_file_name("fuzz-failures").join(target);
    let path = folder.join(format!("{number}-{:08x}", crc32fast::hash(bytes)));
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, bytes));
    written.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}
