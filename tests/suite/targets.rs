//! The programs under `tests/targets`: built once, started, asked, stopped.
//!
//! Owns: how a target is built and talked to. Must not know: leakline; the bench uses this file too.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Longer than any answer of a target takes, also while it is traced and the machine is busy.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Compilers are started one after the other, and no target is built twice.
static BUILDING: Mutex<()> = Mutex::new(());

/// A running target. It is killed when dropped.
pub(crate) struct Target {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

/// What a target said after it was told to stop.
pub(crate) struct Ended {
    pub(crate) lines: Vec<String>,
    pub(crate) status: ExitStatus,
}

/// The folder `tests/targets` of the checkout.
pub(crate) fn sources() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut candidates = manifest.ancestors().map(|folder| folder.join("tests/targets"));
    candidates.find(|folder| folder.is_dir()).expect("a checkout has tests/targets")
}

/// Where built targets go: beside the profile folders of cargo's target directory.
pub(crate) fn built() -> PathBuf {
    let program = std::env::current_exe().expect("the name of this program");
    let profile = program.ancestors().find(|folder| folder.ends_with("debug") || folder.ends_with("release"));
    let folder = profile.and_then(Path::parent).expect("cargo builds into a profile folder").join("test-targets");
    std::fs::create_dir_all(&folder).expect("a folder for targets");
    folder
}

/// Builds one target, named by its path below `tests/targets`, unless it is built already.
pub(crate) fn build(source: &str) -> PathBuf {
    let from = sources().join(source);
    let program = built().join(source).with_extension("");
    let mut inputs = vec![from.clone()];
    if !source.starts_with("rust/") {
        inputs.push(sources().join("c/target.h"));
    }
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    if older(&program, &inputs) {
        compile(&[compiler(source), vec![from.into()]].concat(), &program);
    }
    program
}

/// Builds a target that is no partner in a dialogue, by these words of a compiler, which are part of its name.
pub(crate) fn build_plain(source: &str, words: &str) -> PathBuf {
    let from = sources().join(source);
    let name: String = words.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '_' }).collect();
    let program = built().join(name).join(source).with_extension("");
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    if older(&program, std::slice::from_ref(&from)) {
        let words = words.split(' ').map(OsString::from).chain([from.into()]);
        compile(&words.collect::<Vec<_>>(), &program);
    }
    program
}

/// The number of the only line of a target that ends with this mark, for example `LEAK-LINE`.
#[track_caller]
pub(crate) fn line_of(source: &str, mark: &str) -> u64 {
    let text = std::fs::read_to_string(sources().join(source)).expect("a target's source");
    let ends = [format!("/* {mark} */"), format!("// {mark}")];
    let found: Vec<u64> = (1..)
        .zip(text.lines())
        .filter(|(_, line)| ends.iter().any(|end| line.ends_with(end)))
        .map(|(number, _)| number)
        .collect();
    assert_eq!(found.len(), 1, "{mark} marks lines {found:?} of {source}");
    found[0]
}

/// Whether the program is missing, or older than something that it is made of.
fn older(program: &Path, inputs: &[PathBuf]) -> bool {
    let changed =
        |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    !program.exists() || inputs.iter().any(|input| changed(input) > changed(program))
}

fn compiler(source: &str) -> Vec<OsString> {
    let words = match source.split_once('/') {
        Some(("c", "thirty_two.c")) => "gcc -O2 -g -m32 -nostdlib -static -ffreestanding -fno-stack-protector",
        Some(("c", _)) => "gcc -O2 -g -fomit-frame-pointer -pthread",
        Some(("cpp", _)) => "g++ -O2 -g -fomit-frame-pointer -pthread",
        _ => "rustc --edition 2021 -C opt-level=2 -g",
    };
    words.split(' ').map(OsString::from).collect()
}

/// Runs a compiler; the result appears under its name only when it is complete.
pub(crate) fn compile(words: &[OsString], program: &Path) {
    let folder = program.parent().expect("a program lies in a folder");
    std::fs::create_dir_all(folder).expect("a folder for targets");
    let part = program.with_extension(format!("{}.part", std::process::id()));
    let output = Command::new(&words[0]).args(&words[1..]).arg("-o").arg(&part).output();
    let output = output.unwrap_or_else(|error| panic!("{} cannot be started: {error}", words[0].display()));
    assert!(output.status.success(), "{words:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&part, program).expect("the compiler wrote the program");
}

impl Target {
    /// Builds and starts a target, and waits until it says `ready`.
    #[track_caller]
    pub(crate) fn start(source: &str, arguments: &str) -> Self {
        Self::start_program(&build(source), arguments)
    }

    /// Starts a program that behaves as a target.
    #[track_caller]
    pub(crate) fn start_program(program: &Path, arguments: &str) -> Self {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        let child = Command::new(program).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let output = child.stdout.take().expect("stdout is a pipe");
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let input = child.stdin.take();
        let target = Self { child, input, lines };
        target.wait_for("ready");
        target
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a command without waiting for its answer.
    #[track_caller]
    pub(crate) fn tell(&mut self, command: &str) {
        let input = self.input.as_mut().expect("not stopped yet");
        let sent = writeln!(input, "{command}");
        sent.unwrap_or_else(|error| panic!("the target is gone: {error}, {:?}", self.child.wait()));
    }

    /// Sends a command and waits for the line that starts with `prefix`; returns the rest of it.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: &str, prefix: &str) -> String {
        self.tell(command);
        self.wait_for(prefix)
    }

    /// Waits for a line; lines before it are dropped.
    #[track_caller]
    pub(crate) fn wait_for(&self, prefix: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(ANSWER_MAX);
            let line = line.unwrap_or_else(|error| panic!("process {} never said {prefix:?}: {error}", self.pid()));
            if let Some(rest) = line.strip_prefix(prefix) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Tells it to stop, and returns all that it had not been asked for.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Ended {
        self.tell("stop");
        self.input = None;
        let mut lines = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(ANSWER_MAX) {
            lines.push(line);
        }
        let status = self.child.wait().expect("a child can be waited for");
        Ended { lines, status }
    }

    /// Closes its stdin, and does not mind if it has ended before.
    pub(crate) fn stop_quietly(mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Already dead after `stop`; otherwise the test has failed and the target must not outlive it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The numbers in the line that starts with `prefix`.
    #[track_caller]
    pub(crate) fn numbers(&self, prefix: &str) -> Vec<u64> {
        let line = self.lines.iter().find(|line| line.starts_with(prefix));
        let line = line.unwrap_or_else(|| panic!("no line starts with {prefix:?}: {:?}, {}", self.lines, self.status));
        line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    }

    /// What it lost since the mark, in blocks and bytes.
    #[track_caller]
    pub(crate) fn leaked(&self) -> (u64, u64) {
        let numbers = self.numbers("leaked ");
        (numbers[0], numbers[1])
    }

    /// It ended by itself, and found its own memory as it had left it.
    #[track_caller]
    pub(crate) fn assert_unharmed(&self) {
        assert!(self.status.success(), "the target ended with {}: {:?}", self.status, self.lines);
    }
}
