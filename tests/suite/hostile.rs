//! Targets that overwrite what they share with leakline.
//!
//! Owns: what the reader says and that it ends. Must not know: the layout of the shared memory.

use std::fs;

use rustix::process::Signal;

use crate::command::Running;
use crate::process::{appearance, assert_unchanged, signal};
use crate::targets::Target;

/// More than any honest session of these targets needs, in KiB.
const RESIDENT_MAX_KB: u64 = 256 * 1024;

#[test]
fn a_target_that_overwrites_the_shared_memory_is_reported_and_harms_nobody() {
    let mut target = Target::start("c/scribbler.c", "");
    let before = appearance(target.pid());
    let mut session = Running::start(&format!("attach {} --expire 0.2 --json", target.pid()));
    session.wait_attached();
    target.ask("leak 20000", "leaked");
    let found = target.ask("find", "found");
    let pages = found.parse::<u64>().ok();
    assert!(pages > Some(100), "the shared memory was not found, so that nothing is tested: {found}");
    // Every figure that is read in these seconds may be nonsense, and every cursor and length too.
    for _ in 0..40 {
        target.ask("scribble", "scribbled");
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(resident_kb(session.pid()) < RESIDENT_MAX_KB, "leakline believed a length that it read");
    }
    signal(session.pid(), Signal::INT);
    let run = session.wait();
    let summary = run.summary();
    assert!(summary["losses"]["entries_corrupt"].as_u64() > Some(0), "{:#}", summary["losses"]);
    assert_ne!(summary["outcome"], "nothing_found", "overwritten figures prove nothing: {}", run.describe());
    assert!(matches!(run.code, Some(1 | 2)), "{}", run.describe());
    let notes = summary["notes"].to_string();
    assert!(!notes.contains("stays in the target"), "no thread is inside, whatever the guards say: {notes}");
    assert_unchanged(&before, &appearance(target.pid()));
    // The hooks are out, so that it may allocate again.
    target.ask("leak 10", "leaked");
    target.stop().assert_unharmed();
}

fn resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
