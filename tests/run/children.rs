//! Children under `leakline run`.
//!
//! Owns: those that are followed and those that are not. Must not know: how children are found.

use std::collections::HashSet;

use super::run;
use crate::targets::build_plain;

const COMPILER: &str = "gcc -O2 -g -fomit-frame-pointer -pthread";

#[test]
fn children_are_sessions_of_their_own() {
    let parent = build_plain("run/parent.c", COMPILER).display().to_string();
    let kinds = build_plain("run/kinds.c", COMPILER).display().to_string();
    let mut ran = run("children", "--follow --fail-on-leak", &[&parent, &kinds]);
    assert_eq!((ran.code, ran.output.as_str()), (Some(1), "output of the program\n"), "{}", ran.errors);
    let end = |report: &serde_json::Value| report["end"].as_str().unwrap_or_default().to_owned();
    let command = |report: &serde_json::Value| report["target"]["command"].as_str().unwrap_or_default().to_owned();
    let mut seen: Vec<String> =
        ran.reports.iter().map(|report| format!("{} {}", command(report), end(report))).collect();
    seen.sort();
    let expected = [
        "kinds ended (with which status only its parent knows)",
        "parent ended (with which status only its parent knows)",
        "parent ended with status 0",
        "parent executed another program",
    ];
    assert_eq!(seen, expected, "{}", ran.errors);
    // Each report has what its own process did.
    let reports = std::mem::take(&mut ran.reports);
    for (name, ended, function, blocks, bytes) in [
        ("parent", "ended (", "child_loses", 7, 861),
        ("kinds", "ended (", "lose", 3, 300),
        ("parent", "ended with", "child_loses", 0, 0),
    ] {
        let of = |report: &&serde_json::Value| command(report) == name && end(report).starts_with(ended);
        ran.reports = reports.iter().find(of).cloned().into_iter().collect();
        assert_eq!(ran.of_function("definitely_lost", function), (blocks, bytes), "{name} {ended}: {:#}", ran.last());
    }
}

#[test]
fn without_being_asked_for_children_run_unhooked_and_unharmed() {
    let parent = build_plain("run/parent.c", COMPILER).display().to_string();
    let ran = run("alone", "--fail-on-leak", &[&parent, "/bin/true"]);
    assert_eq!((ran.code, ran.reports.len()), (Some(0), 1), "{}", ran.errors);
}

/// Forty by `vfork`, `posix_spawn` and `fork` each; those that fail are none.
#[test]
fn every_child_is_followed_or_counted() {
    let program = build_plain("run/spawner.c", "gcc -O2 -g -pthread").display().to_string();
    let ran = run("followed-spawner", "--follow", &[&program]);
    assert_eq!((ran.code, ran.output.as_str()), (Some(0), "children 160 bad 0\n"), "{}", ran.errors);
    let processes: HashSet<u64> = ran.reports.iter().filter_map(|report| report["target"]["pid"].as_u64()).collect();
    let lines = |words: &str| ran.errors.lines().filter(|line| line.contains(words)).collect::<Vec<_>>();
    let number = |line: &str| line.split_whitespace().find_map(|word| word.parse::<usize>().ok());
    let short = lines("ended before they could be hooked").first().and_then(|line| number(line)).unwrap_or(0);
    let followed = processes.len() - 1;
    assert_eq!(followed + short + lines("not followed").len(), 120, "{followed} followed: {}", ran.errors);
}
