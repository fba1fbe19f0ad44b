//! `attach --follow`: the children of a server, each a session of its own.
//!
//! Owns: a prefork server and children that come and go. Must not know: how children are found.

use serde_json::Value;

use crate::command::{Run, Running, frames};
use crate::process::{holds_soon, signal};
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
