//! leakline dies at each named place of an attach and a detach, or its target does: neither must harm the other.
//!
//! Owns: those deaths. Must not know: what happens at a place.
//!
//! The places are only in builds with debug assertions (`capture/src/fault.rs`); the release build is killed at random
//! instants instead, see `contract.rs`.

use std::process::Command;

use rustix::process::Signal;

use crate::command::{Running, attach, leakline, program, sites_through, tally};
use crate::process::{appearance, assert_unchanged, cannot_run, holds_soon, signal, state, status_line};
use crate::targets::Target;

/// How often a place is passed before leakline dies there: some lie in loops.
const TIMES: [u32; 3] = [1, 2, 5];

fn are_places_built(case: &str) -> bool {
    if !cfg!(debug_assertions) {
        cannot_run(case, "a release has no such places; the debug build is tested");
    }
    cfg!(debug_assertions)
}

#[test]
fn faults_at_every_place_leave_the_target_working() {
    if !are_places_built("faults_at_every_place") {
        return;
    }
    let mut target = Target::start("c/churn.c", "--threads 3 --depth 10 --leak 50 --check-full --quiet");
    let before = appearance(target.pid());
    let mut died = 0;
    for place in capture::FAULT_POINTS {
        for times in TIMES {
            let mut command = Command::new(program());
            // Deaths in the search for pointers are in `tests/run/passing.rs`; it takes longer than all the rest.
            let arguments = format!("attach {} --json --survey never --expire 0.02 --for 0.05", target.pid());
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

/// A thread that stands in the bytes which a jump displaces must not go on there if leakline dies behind the jump. (A program with
/// three threads met it once in some hundred kills, and ended.)
#[test]
fn faults_while_threads_stand_where_the_jumps_go() {
    if !are_places_built("faults_while_threads_stand") {
        return;
    }
    let mut target = Target::start("c/prologue.c", "");
    let before = appearance(target.pid());
    let mut calls = 0;
    for round in 0..40 {
        let place = ["threads-moved", "first-jump", "jumps-written", "listening"][round % 4];
        let mut command = Command::new(program());
        let arguments = format!("attach {} --json --for 0.05", target.pid());
        command.args(arguments.split_whitespace()).env("LEAKLINE_FAULT", format!("{place}:1"));
        let run = command.output().expect("leakline starts");
        assert!(run.status.code().is_none(), "nobody died at {place}: {}", String::from_utf8_lossy(&run.stderr));
        assert!(goes_on_calling(&mut target, &mut calls), "it calls malloc no more after {place}");
    }
    leakline(&format!("detach {}", target.pid())).assert_code(0);
    assert_unchanged(&before, &appearance(target.pid()));
    let ended = target.stop();
    ended.assert_unharmed();
    assert!(ended.lines.iter().any(|line| line == "hash ok"), "{:?}", ended.lines);
}

/// A write to two pages can be cut by a kill in between; so a jump ends before its page does, or is not put there.
#[test]
fn a_jump_at_the_end_of_a_page_is_whole_or_refused() {
    let mut target = Target::start("c/edges.c", "");
    let before = appearance(target.pid());
    let pid = target.pid();
    let attach_to = |free: &str| {
        format!("attach {pid} --json --expire 0.1 --for 60 --alloc fn=edge_take,size=arg1 --free fn={free}")
    };
    leakline(&attach_to("cut_give")).assert_refused(&["cut_give", "on two pages"]);
    let mut calls = 0;
    for _ in 0..2 {
        let mut killed = Running::start(&attach_to("edge_give"));
        killed.wait_attached();
        killed.kill();
        assert!(goes_on_calling(&mut target, &mut calls), "the pool is used no more");
    }
    let mut session = Running::start(&attach_to("edge_give"));
    session.wait_attached();
    assert!(goes_on_calling(&mut target, &mut calls), "the pool is used no more");
    target.ask("leak", "leaked");
    signal(session.pid(), Signal::INT);
    let summary = session.wait().summary();
    let lost = sites_through(&summary, "leak_here");
    assert_eq!(lost.iter().map(|site| tally(site, "live")).collect::<Vec<_>>(), [(100, 5600)], "{summary:#}");
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

/// The target's own count of calls grows within ten seconds.
fn goes_on_calling(target: &mut Target, calls: &mut u64) -> bool {
    (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let now = target.ask("ping", "alive").trim().parse().unwrap_or(0);
        std::mem::replace(calls, now) < now
    })
}

/// Attaches, waits at a place while something happens to the target, and goes on.
#[track_caller]
fn attach_around(target: &mut Target, place: &str, happens: impl FnOnce(&mut Target)) {
    let mut command = Command::new(program());
    let arguments = format!("attach {} --json --expire 0.02 --for 0.05", target.pid());
    command.args(arguments.split_whitespace()).env("LEAKLINE_FAULT", format!("{place}:1:wait"));
    let session = Running::start_command(command, &format!("waiting at {place}"));
    assert!(holds_soon(|| state(session.pid()) == 'T'), "{place} was never reached");
    happens(target);
    signal(session.pid(), Signal::CONT);
    let run = session.wait();
    // Either it came too late and says so in words, or it was attached and has a summary.
    assert!(matches!(run.code, Some(0..=2)), "{place}: {}", run.describe());
    if run.lines.is_empty() {
        // In the first place whatever follows fails for one reason.
        let why = if place == "maps-read" { "ended or became another program during the attach" } else { "" };
        run.assert_refused(&[&target.pid().to_string(), why]);
    } else {
        run.summary();
    }
}

#[test]
fn faults_of_a_target_that_ends_at_every_place() {
    if !are_places_built("faults_of_a_target_that_ends") {
        return;
    }
    for place in capture::FAULT_POINTS {
        let mut target = Target::start("c/phoenix.c", "");
        attach_around(&mut target, place, |target| signal(target.pid(), Signal::KILL));
        target.stop_quietly();
    }
}

/// The new program is not ours to touch: it must run as its file says, untraced.
#[test]
fn faults_of_a_target_that_executes_another_program_at_every_place() {
    if !are_places_built("faults_of_a_target_that_executes") {
        return;
    }
    for place in capture::FAULT_POINTS {
        let mut target = Target::start("c/phoenix.c", "");
        attach_around(&mut target, place, |target| target.tell("exec"));
        target.wait_for("executed");
        target.ask("ping", "alive");
        assert_eq!(status_line(target.pid(), "TracerPid:"), "0", "{place}");
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", target.pid())).expect("it runs");
        assert!(!maps.contains("leakline"), "{place}: {maps}");
        target.stop().assert_unharmed();
    }
}
