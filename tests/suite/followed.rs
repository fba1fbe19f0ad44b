//! `attach --follow`: the children of a server, each a session of its own.
//!
//! Owns: a prefork server and children that come and go. Must not know: how children are found.

use serde_json::Value;

use crate::command::{Run, Running, frames, leakline, program};
use crate::process::{holds_soon, signal};
use crate::shell::Shell;
use crate::targets::Target;

use rustix::process::Signal;

/// The summaries of a run: which process, the function that loses blocks in it, and what became of it.
fn leaks(run: &Run) -> Vec<(u64, String, String)> {
    let lines = run.lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let summaries = lines.filter(|line| line["sites"].is_array());
    let name = |site: &Value| {
        let found =
            frames(site).iter().find_map(|frame| frame["function"].as_str()?.strip_suffix("_loses"))?.to_owned();
        Some(found)
    };
    let leaking = |summary: &Value| {
        let sites = summary["sites"].as_array().cloned().unwrap_or_default();
        sites.iter().find_map(name).unwrap_or_default()
    };
    let state = |summary: &Value| summary["target"]["state"].as_str().unwrap_or_default().to_owned();
    summaries
        .map(|summary| (summary["target"]["pid"].as_u64().unwrap_or(0), leaking(&summary), state(&summary)))
        .collect()
}

/// Why, for each event of this sort of a child, in their order; each names its child.
#[track_caller]
fn child_events(run: &Run, what: &str) -> Vec<String> {
    let lines = run.lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let events = lines.filter(|line| line["event"] == "child" && line["what"] == what);
    let described = |event: Value| {
        assert!(event["pid"].as_u64() > Some(1) && event["command"] == "prefork", "{event}");
        event["why"].as_str().unwrap_or_default().to_owned()
    };
    events.map(described).collect()
}

/// The child that executed another program.
fn lone(parent: u32) -> Option<String> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let is_lone = |child: &&str| {
        std::fs::read_to_string(format!("/proc/{child}/cmdline")).is_ok_and(|words| words.contains("--lone"))
    };
    children.split_whitespace().find(is_lone).map(str::to_owned)
}

fn is_attached(child: Option<String>) -> bool {
    let maps = |child: String| std::fs::read_to_string(format!("/proc/{child}/maps")).unwrap_or_default();
    child.is_some_and(|child| maps(child).contains("/memfd:leakline"))
}

/// Waits until so many further processes are attached to.
#[track_caller]
fn wait_joined(leakline: &mut Running, count: usize) {
    for _ in 0..count {
        assert!(leakline.wait_line(|line| line.contains(r#""event":"attached""#)), "a child is attached to");
    }
}

#[test]
fn workers_and_children_that_come_and_go_are_sessions_of_their_own() {
    let mut target = Target::start("c/prefork.c", "--life 6000");
    let mut leakline = Running::start(&format!("attach {} --json --follow -e 0.5 --survey never", target.pid()));
    wait_joined(&mut leakline, 3);
    target.tell("spawn");
    wait_joined(&mut leakline, 1);
    // Its summary comes when it ends.
    assert!(leakline.wait_line(|line| line.contains(r#""state":"exited""#) && line.contains("child_loses")));
    target.tell("exec");
    assert!(holds_soon(|| is_attached(lone(target.pid()))), "the program that a child executes is attached to");
    std::thread::sleep(std::time::Duration::from_secs(3));
    signal(leakline.pid(), Signal::INT);
    let run = leakline.wait();
    assert_eq!(child_events(&run, "ended"), ["the process ended"]);
    let found = leaks(&run);
    let of = |name: &str| found.iter().filter(|(_, leaking, _)| leaking == name).count();
    assert_eq!((of("worker"), of("child"), of("lone")), (2, 1, 1), "{found:?}: {}", run.describe());
    let (last, leaking, state) = found.last().expect("a summary");
    let parent = (u64::from(target.pid()), "", "detached");
    assert_eq!((*last, leaking.as_str(), state.as_str()), parent, "the target stands last: {found:?}");
    assert_eq!(run.code, Some(1), "a leak of a child is a leak: {}", run.describe());
    target.stop().assert_unharmed();
}

#[test]
fn without_being_asked_for_no_child_is_touched() {
    let target = Target::start("c/prefork.c", "");
    let mut leakline = Running::start(&format!("attach {} --json -e 0.5 --for 3", target.pid()));
    leakline.wait_attached();
    let run = leakline.wait();
    assert_eq!(leaks(&run).len(), 1, "{}", run.describe());
    assert_ne!(run.code, Some(1), "the parent itself loses nothing: {}", run.describe());
    target.stop().assert_unharmed();
}

/// The parent keeps what grows, so that it is the one that is attached to; its workers lose blocks of their own.
#[test]
fn a_hunt_follows_the_children_of_the_process_that_it_attaches_to() {
    let target = Target::start("c/prefork.c", "--grow 64");
    let options = "--for 10 --every 0.5 --attach 1 --attach-for 3 --expire 0.5 --survey never --follow";
    let run = leakline(&format!("hunt {options} --json --pid {}", target.pid()));
    run.assert_code(1);
    let summary = run.summary();
    let attached = summary["attached"].as_array().map(Vec::as_slice).unwrap_or_default();
    let pids: Vec<u64> = attached.iter().filter_map(|one| one["target"]["pid"].as_u64()).collect();
    assert_eq!(pids.len(), 3, "two workers and their parent: {summary:#}");
    assert_eq!(pids.last(), Some(&u64::from(target.pid())), "the one that grows stands last: {pids:?}");
    for worker in &attached[..2] {
        let functions: Vec<&str> =
            frames(&worker["sites"][0]).iter().filter_map(|frame| frame["function"].as_str()).collect();
        assert!(functions.contains(&"worker_loses"), "{worker:#}");
        assert_eq!(worker["outcome"], "leak_found", "{worker:#}");
    }
    target.stop().assert_unharmed();
}

#[test]
fn the_screen_has_a_line_for_each_child_and_says_what_becomes_of_them() {
    let Some(mut shell) = Shell::start() else { return };
    let mut target = Target::start("c/prefork.c", "--life 1500");
    shell.resize(160, 50);
    shell.type_line(&format!("{} attach {} --follow -e 0.5 --survey never", program().display(), target.pid()));
    shell.wait_for("Allocator");
    shell.wait_for_screen("(prefork): attached, exact");
    shell.wait_for_screen("may leak at 1 site");
    target.tell("spawn");
    shell.wait_for_screen("children that are over: 1, of which 1 leaked");
    shell.press("q");
    // Those that ended while the screen was shown are told first, the target last.
    shell.wait_for("child_loses");
    shell.wait_for("worker_loses");
    shell.wait_for("Result     ");
    shell.assert_status("1");
    target.stop().assert_unharmed();
}

/// A child of its own mode: it does little but allocate, which costs more than it may, while its parent does nothing.
#[test]
fn a_change_of_the_mode_of_a_child_is_told() {
    let mut target = Target::start("c/prefork.c", "");
    let options = "--mode auto --max-overhead 1 --json --follow -e 60";
    let mut leakline = Running::start(&format!("attach {} {options}", target.pid()));
    wait_joined(&mut leakline, 3);
    target.tell("busy");
    wait_joined(&mut leakline, 1);
    let is_told = |line: &str| {
        [r#""event":"child""#, r#""what":"mode_changed""#, r#""mode":"sampled""#].iter().all(|part| line.contains(part))
    };
    assert!(leakline.wait_line(is_told), "the child is sampled");
    signal(leakline.pid(), Signal::INT);
    let run = leakline.wait();
    assert_eq!(run.events("mode_changed"), 0, "that of the target does not change: {}", run.describe());
    target.stop().assert_unharmed();
}

#[test]
fn a_child_that_executes_another_program_begins_anew_as_that() {
    let mut target = Target::start("c/prefork.c", "--life 1000");
    let mut leakline = Running::start(&format!("attach {} --json --follow -e 0.2 --survey never", target.pid()));
    wait_joined(&mut leakline, 3);
    target.tell("become");
    wait_joined(&mut leakline, 1);
    let is_told = |line: &str| line.contains(r#""event":"child""#) && line.contains("executed another program");
    assert!(leakline.wait_line(is_told), "the end of the first program");
    wait_joined(&mut leakline, 1);
    assert!(holds_soon(|| is_attached(lone(target.pid()))), "the second program is attached to");
    signal(leakline.pid(), Signal::INT);
    let run = leakline.wait();
    assert_eq!(child_events(&run, "ended"), ["the process executed another program"], "{}", run.describe());
    target.stop().assert_unharmed();
}

#[test]
fn what_is_lost_in_a_child_is_told_when_it_is_lost() {
    let target = Target::start("c/prefork.c", "");
    // Each stack of a worker is cut, none of its parent, which calls nothing.
    let mut leakline = Running::start(&format!("attach {} --json --follow --depth 1", target.pid()));
    wait_joined(&mut leakline, 3);
    let is_told = |line: &str| [r#""event":"child""#, r#""what":"lost""#].iter().all(|part| line.contains(part));
    assert!(leakline.wait_line(is_told), "stacks of a worker are cut");
    signal(leakline.pid(), Signal::INT);
    let run = leakline.wait();
    let cut = |line: &String| serde_json::from_str::<Value>(line).ok()?["losses"]["stacks_cut"].as_u64();
    let told = run.lines.iter().filter(|line| is_told(line)).filter_map(cut).find(|cut| *cut > 0);
    assert!(told.is_some(), "{}", run.describe());
    target.stop().assert_unharmed();
}
