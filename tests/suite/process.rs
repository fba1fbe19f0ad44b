//! What a target looks like from outside, so that "as it was" can be checked.
//!
//! Owns: reading `/proc/PID`, sending signals, and naming what cannot be tested here. Must not know: leakline.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// All that an attach must leave as it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Appearance {
    /// Bytes of each executable mapping, as start address and hash.
    code: BTreeMap<u64, u64>,
    /// Each open file, as number and what it is.
    files: BTreeMap<String, String>,
    /// Signal dispositions and masks, tracer, seccomp: lines of `status`.
    status: Vec<String>,
}

impl Appearance {
    /// What a child has in common with its parent.
    pub(crate) fn only_code(&self) -> Self {
        Self { code: self.code.clone(), files: BTreeMap::new(), status: Vec::new() }
    }

    /// All but the code of libraries: the program's own is mapped first.
    pub(crate) fn of_program(self) -> Self {
        Self { code: self.code.into_iter().take(1).collect(), ..self }
    }

    /// The same for a program that opens and closes files all the time.
    pub(crate) fn without_files(&self) -> Self {
        Self { code: self.code.clone(), files: BTreeMap::new(), status: self.status.clone() }
    }
}

/// Sends a signal.
#[track_caller]
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).unwrap_or_else(|error| panic!("signal {signal:?} to {pid:?}: {error}"));
}

/// What a parent is told of a child that was stopped or goes on, once for each; none where nothing happened since.
pub(crate) fn news_of(child: u32) -> Option<&'static str> {
    let pid = i32::try_from(child).ok().and_then(Pid::from_raw);
    let wanted = WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED;
    let (_, status) = waitpid(pid, wanted).expect("it is a child of ours")?;
    Some(match status {
        status if status.stopped() => "stopped",
        status if status.continued() => "continued",
        _ => "ended",
    })
}

/// The letter of the state of a process, for example `T` for stopped.
pub(crate) fn state(pid: u32) -> char {
    status_line(pid, "State:").chars().next().unwrap_or('?')
}

/// One line of `/proc/PID/status` without its name; empty where there is none.
pub(crate) fn status_line(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().to_owned()
}

/// The appearance of a target now.
#[track_caller]
pub(crate) fn appearance(pid: u32) -> Appearance {
    let names = ["SigIgn:", "SigCgt:", "TracerPid:", "Seccomp:", "NoNewPrivs:"];
    let others = names.iter().map(|name| format!("{name} {}", status_line(pid, name)));
    let status = std::iter::once(format!("SigBlk: {}", blocked_signals(pid))).chain(others).collect();
    Appearance { code: code(pid), files: files(pid), status }
}

/// The signals that the first thread blocks. For the instant in which it starts another thread the C library blocks all of them;
/// under load such an instant is long enough to be met, and then it is looked at again.
fn blocked_signals(pid: u32) -> String {
    const TRIES: u32 = 1000;
    let tries = (0..TRIES).map(|_| {
        std::thread::sleep(Duration::from_millis(2));
        status_line(pid, "SigBlk:")
    });
    let mut masks = tries.skip_while(|mask| mask.starts_with("fffffff"));
    masks.next().unwrap_or_else(|| status_line(pid, "SigBlk:"))
}

/// Fails unless all that was there before is there now and the same. Mappings may be more: the report lists them.
#[track_caller]
pub(crate) fn assert_unchanged(before: &Appearance, after: &Appearance) {
    for (start, hash) in &before.code {
        assert_eq!(after.code.get(start), Some(hash), "the code mapped at {start:#x} is not what it was");
    }
    assert_eq!(before.files, after.files, "open files");
    assert_eq!(before.status, after.status, "signals, tracer, seccomp");
}

/// Waits until a condition holds; false when it does not within a minute, since a machine may be busy with other tests.
pub(crate) fn holds_soon(condition: impl Fn() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    condition()
}

/// Names a case that cannot run on this machine. Written past the test harness, which hides what passing tests print.
pub(crate) fn cannot_run(case: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "NOT RUN: {case}: {why}");
}

fn files(pid: u32) -> BTreeMap<String, String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("the target's files can be listed");
    let describe = |entry: fs::DirEntry| {
        let to = fs::read_link(entry.path()).map(|path| path.display().to_string()).unwrap_or_default();
        (entry.file_name().to_string_lossy().into_owned(), to)
    };
    entries.filter_map(Result::ok).map(describe).collect()
}

/// Every mapping from a file with code in it, hashed as it is in memory now.
fn code(pid: u32) -> BTreeMap<u64, u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the target's mappings can be read");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("the target's memory can be read");
    let executable = maps.lines().filter(|line| line.contains(" r-xp ") && line.contains('/'));
    executable.map(range).map(|(start, end)| (start, hash(&memory, start, end))).collect()
}

fn range(line: &str) -> (u64, u64) {
    let (start, rest) = line.split_once('-').expect("a range");
    let number = |text: &str| u64::from_str_radix(text, 16).expect("an address");
    (number(start), number(rest.split(' ').next().unwrap_or_default()))
}

/// FNV-1a over 8-byte words: a changed byte changes it, and no dependency is needed.
fn hash(memory: &File, start: u64, end: u64) -> u64 {
    let mut bytes = vec![0; usize::try_from(end - start).expect("a mapping fits into memory")];
    memory.read_exact_at(&mut bytes, start).expect("code can be read");
    let words = bytes.chunks(8).map(|chunk| chunk.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte)));
    words.fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn a_changed_byte_of_code_is_noticed() {
    let mut before = appearance(std::process::id());
    assert_unchanged(&before, &appearance(std::process::id()));
    let first = before.code.values_mut().next().expect("this program has code");
    *first = first.wrapping_add(1);
    let after = appearance(std::process::id());
    let noticed = std::panic::catch_unwind(|| assert_unchanged(&before, &after));
    assert!(noticed.is_err());
}
