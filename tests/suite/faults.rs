//! leakline dies at each named place of an attach and a detach; the target must not notice.
//!
//! Owns: those deaths. Must not know: what happens at a place.
//!
//! The places are only in builds with debug assertions (`capture/src/fault.rs`); the release build is killed at random
//! instants instead, see `contract.rs`.

use std::process::Command;

use crate::command::{attach, program};
use crate::process::{appearance, assert_unchanged, cannot_run};
use crate::targets::Target;

/// How often a place is passed before leakline dies there: some lie in loops.
const TIMES: [u32; 3] = [1, 2, 5];

#[test]
fn faults_at_every_place_leave_the_target_working() {
    if !cfg!(debug_assertions) {
        cannot_run("faults_at_every_place", "a release has no such places; the debug build is tested");
        return;
    }
    let mut target = Target::start("c/churn.c", "--threads 3 --depth 10 --leak 50 --check-full --quiet");
    let before = appearance(target.pid());
    let mut died = 0;
    for place in capture::FAULT_POINTS {
        for times in TIMES {
            let mut command = Command::new(program());
            let arguments = format!("attach {} --json --expire 0.02 --for 0.05", target.pid());
            command.args(arguments.split_whitespace()).env("LEAKLINE_FAULT", format!("{place}:{times}"));
            let run = command.output().expect("leakline starts");
            let errors = String::from_utf8_lossy(&run.stderr);
            died += u32::from(run.status.code().is_none());
            assert!(run.status.code().is_none() || times > 1, "nobody died at {place}: {}: {errors}", run.status);
            target.ask("rate", "rate");
        }
    }
    assert!(died as usize >= capture::FAULT_POINTS.len(), "each place was reached");
    // The next attach removes what was left, and then itself.
    attach(target.pid(), "--expire 0.05 --for 0.2").summary();
    assert_unchanged(&before, &appearance(target.pid()));
    let ended = target.stop();
    ended.assert_unharmed();
    assert!(ended.lines.iter().any(|line| line == "hash ok"), "{:?}", ended.lines);
}
