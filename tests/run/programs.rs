//! Programs of every make under `leakline run`: they do what they do otherwise, and their calls are seen from the first on.
//!
//! Owns: the list of makes. Must not know: what exactly they allocate.

use std::path::Path;

use serde_json::Value;

use super::{Ran, run, scratch};
use crate::process::cannot_run;
use crate::targets::build_plain;

/// It ended well, its allocations were seen, and none of its memory had gone unseen.
#[track_caller]
fn check(ran: &Ran, output: &str) {
    assert_eq!((ran.code, ran.output.as_str()), (Some(0), output), "{}", ran.errors);
    let report = ran.last();
    assert!(report["coverage"]["allocations"].as_u64() > Some(0), "{report:#}");
    assert_eq!(report["losses"]["blocks_unrecorded"], 0, "{report:#}");
    assert!(report["kinds"]["definitely_lost"]["blocks"].is_u64(), "its memory was looked at: {report:#}");
}

fn mentions(report: &Value, function: &str) -> bool {
    report["leaks"].to_string().contains(&format!(r#""function":"{function}"#))
}

#[test]
fn a_cpp_program_that_frees_all_has_lost_nothing() {
    let program = build_plain("run/clean.cpp", "g++ -O2 -g").display().to_string();
    let ran = run("cpp", "--fail-on-leak --show-reachable --top 100", &[&program]);
    // What can still be reached is counted as well by --show-reachable: the pool for exceptions, and what is kept.
    assert_eq!(ran.code, Some(1), "{:#}", ran.last());
    assert_eq!(ran.kind("definitely_lost").0 + ran.kind("possibly_lost").0, 0, "{:#}", ran.last());
    assert!(ran.kind("still_reachable").1 > 70_000, "the pool for exceptions of a constructor: {:#}", ran.last());
    assert!(mentions(ran.last(), "main") || mentions(ran.last(), "_GLOBAL__sub_I"), "{:#}", ran.last());
    check(
        &run("cpp-clean", "--fail-on-leak", &[&program]),
        "a text that is too long to fit into the object itself as well\n",
    );
}

#[test]
fn static_programs_are_hooked_at_their_entry() {
    for (compiler, name) in [
        ("gcc -O2 -g -static -pthread", "glibc"),
        ("gcc -O2 -g -static-pie -pthread", "glibc-pie"),
        ("musl-gcc -O2 -g -static", "musl"),
        ("musl-gcc -O2 -g", "musl-dynamic"),
    ] {
        if compiler.starts_with("musl") && !Path::new("/usr/bin/musl-gcc").exists() {
            cannot_run("static_programs_are_hooked_at_their_entry", "there is no musl-gcc (`apt install musl-tools`)");
            continue;
        }
        let program = build_plain("run/kinds.c", compiler).display().to_string();
        let ran = run(name, "", &[&program]);
        check(&ran, "output of the program\n");
        for (kind, function, blocks) in
            [("definitely_lost", "lose", 3), ("definitely_lost", "list", 1), ("indirectly_lost", "list", 5)]
        {
            assert_eq!(ran.of_function(kind, function).0, blocks, "{name} {kind} {function}: {:#}", ran.last());
        }
        assert_eq!(ran.of_function("definitely_lost", "keep").0, 0, "{name}: {:#}", ran.last());
    }
}

#[test]
fn interpreters_run_as_always() {
    check(&run("python", "", &["python3", "-c", "print(sum(range(100000)))"]), "4999950000\n");
    if Path::new("/usr/bin/node").exists() {
        check(&run("node", "", &["node", "-e", "console.log([1,2,3].map(x => x * 2).join())"]), "2,4,6\n");
    } else {
        cannot_run("interpreters_run_as_always (node)", "there is no node (`apt install nodejs`)");
    }
}

#[test]
fn a_script_is_followed_through_its_interpreters() {
    use std::os::unix::fs::PermissionsExt as _;
    let script = scratch("script");
    std::fs::write(&script, "#!/usr/bin/env sh\necho \"$1\"\nexec cat /dev/null\n").expect("it can be written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let ran = run("script-report", "", &[&script.display().to_string(), "word"]);
    check(&ran, "word\n");
    let of = |report: &Value| report["target"]["command"].as_str().unwrap_or_default().to_owned();
    let ends: Vec<&str> = ran.reports.iter().filter_map(|report| report["end"].as_str()).collect();
    assert_eq!(ends, ["executed another program", "executed another program", "ended with status 0"]);
    assert_eq!(of(ran.last()), "cat", "env, then the shell, then cat");
    std::fs::remove_file(script).expect("it is there");
}

#[test]
fn a_program_that_starts_children_in_every_way_is_unharmed() {
    let program = build_plain("run/spawner.c", "gcc -O2 -g -pthread").display().to_string();
    let ran = run("spawner", "--fail-on-leak", &[&program]);
    check(&ran, "children 160 bad 0\n");
}
