//! Memory beyond the heap, and descriptors: what the report says is what the target says it holds.
//!
//! Owns: kinds, counts and lines of mappings, thread stacks and descriptors. Must not know: how they are recorded.

use rustix::process::Signal;
use serde_json::Value;

use super::{build_as, is_there};
use crate::command::{Run, Running, assert_frame, attach, leakline, sites_through};
use crate::process::{appearance, assert_unchanged, cannot_run, signal};
use crate::targets::{Target, build, compile, line_of, sources};

const SOURCE: &str = "c/holder.c";
const PAGE: u64 = 4096;

/// Function, mark, kind, and how many and how many pages one round keeps.
const KEPT: [(&str, &str, &str, u64, u64); 12] = [
    ("keep_anonymous", "ANONYMOUS", "anonymous_mapping", 1, 4),
    ("keep_part", "PARTIAL", "anonymous_mapping", 1, 3),
    ("keep_grown", "GROWN", "anonymous_mapping", 1, 3),
    ("keep_file", "FILE", "file_mapping", 1, 1),
    ("keep_shared", "SHARED", "shared_mapping", 1, 2),
    ("keep_segment", "SEGMENT", "shared_mapping", 1, 3),
    ("keep_thread", "THREAD", "thread_stack", 1, 65),
    ("keep_socket", "SOCKET", "descriptor", 1, 0),
    ("keep_file_descriptor", "FILE-DESCRIPTOR", "descriptor", 1, 0),
    ("keep_dup", "DUP", "descriptor", 1, 0),
    ("keep_pipe", "PIPE", "descriptor", 2, 0),
    ("accept_one", "ACCEPT", "descriptor", 1, 0),
];

/// Attaches, lets the target do rounds of both kinds, and waits for the summary.
#[track_caller]
fn record(target: &mut Target, rounds: u64, options: &str) -> Run {
    target.ask("hold", "held");
    let mut session =
        Running::start(&format!("attach {} --expire 0.4 --for 4 --top 40 --json {options}", target.pid()));
    session.wait_attached();
    for _ in 0..rounds {
        target.ask("round", "round done");
    }
    for _ in 0..3 {
        target.ask("tidy", "tidy done");
    }
    session.wait()
}

/// The sites of a kind that go through a function and hold something.
fn holding<'a>(summary: &'a Value, function: &str, kind: &str) -> Vec<&'a Value> {
    let holds = |site: &&Value| site["holds"] == kind && site["live"]["blocks"].as_u64() > Some(0);
    sites_through(summary, function).into_iter().filter(holds).collect()
}

/// What was kept at a mark is one site (growth by `mremap` is one beside what it grew from), with these counts.
#[track_caller]
fn check_kept(summary: &Value, (function, mark, kind, count, pages): (&str, &str, &str, u64, u64), rounds: u64) {
    let sites = holding(summary, function, kind);
    let site = sites.iter().find(|site| {
        let may_leak = &site["may_leak"];
        let bytes = if kind == "descriptor" { None } else { Some(pages * PAGE * rounds) };
        may_leak["blocks"] == count * rounds && may_leak["bytes"].as_u64() == bytes
    });
    let site = site.unwrap_or_else(|| panic!("{mark}: {count} of {pages} pages {rounds} times: {sites:#?}"));
    assert_eq!(site["severity"], "leak", "{mark}: {site:#}");
    let (at, file) = if mark == "ANONYMOUS" { ("keep_anonymous", SOURCE) } else { (function, SOURCE) };
    // A call in the last place of its function has the line behind it, and one with a wrapper the line of the wrapper first.
    let named = sites_through(summary, at);
    assert!(!named.is_empty(), "{mark} of {file}");
    if !matches!(mark, "FILE" | "SHARED" | "SEGMENT" | "SOCKET" | "FILE-DESCRIPTOR" | "PIPE" | "DUP") {
        assert_frame(site, function, "holder.c", line_of(SOURCE, mark));
    }
}

/// Nothing of what is given back is held, and nobody is accused of it.
#[track_caller]
fn check_tidy(summary: &Value) {
    for function in ["tidy_mappings", "tidy_descriptors", "tidy_threads", "tidy_children"] {
        for site in sites_through(summary, function) {
            assert_eq!(site["live"]["blocks"], 0, "{function}: {site:#}");
            assert_ne!(site["severity"], "leak", "{function}: {site:#}");
        }
    }
    for loss in ["calls_missed", "regions_unrecorded", "descriptors_unseen", "entries_corrupt", "stacks_broken"] {
        assert_eq!(summary["losses"][loss], 0, "{loss}: {:#}", summary["losses"]);
    }
}

#[track_caller]
fn assert_intact(target: Target, rounds: u64) {
    let ended = target.stop();
    ended.assert_unharmed();
    assert_eq!((ended.numbers("rounds")[0], ended.numbers("intact")[0]), (rounds, 1));
}

#[test]
fn everything_that_is_kept_is_found_with_its_kind_and_size() {
    let mut target = Target::start(SOURCE, "");
    let run = record(&mut target, 5, "");
    run.assert_code(1);
    let summary = run.summary();
    for kept in KEPT {
        check_kept(&summary, kept, 5);
    }
    check_tidy(&summary);
    let sockets = holding(&summary, "keep_socket", "descriptor")[0];
    assert_eq!(sockets["contents"][0]["leads_to"], "socket", "{sockets:#}");
    let missing = sockets["may_leak"]["bytes"]["missing"].as_str().unwrap_or_default();
    assert!(missing.contains("no size"), "{sockets:#}");
    assert_intact(target, 5);
}

#[test]
fn a_program_that_gives_everything_back_is_not_accused() {
    let mut target = Target::start(SOURCE, "");
    let run = record(&mut target, 0, "");
    assert_ne!(run.code, Some(1), "{}", run.describe());
    check_tidy(&run.summary());
    assert_intact(target, 0);
}

#[test]
fn a_statically_linked_program_is_seen_as_well() {
    let program = build(SOURCE).with_file_name("holder-static");
    let words = ["gcc", "-O2", "-g", "-fomit-frame-pointer", "-pthread", "-static"].map(Into::into).to_vec();
    compile(&[words, vec![sources().join(SOURCE).into()]].concat(), &program);
    let mut target = Target::start_program(&program, "");
    let run = record(&mut target, 5, "");
    let summary = run.summary();
    for kept in KEPT {
        check_kept(&summary, kept, 5);
    }
    check_tidy(&summary);
    assert_intact(target, 5);
}

/// musl has no unwind tables where its `accept` sleeps, so that this one call is not seen, and said to be.
#[test]
fn a_program_with_musl_is_seen_apart_from_its_accept() {
    const ROUNDS: u64 = 5;
    if !std::path::Path::new("/usr/bin/musl-gcc").exists() {
        return cannot_run("what a program with musl holds", "musl-gcc is not installed (musl-tools)");
    }
    let program = build(SOURCE).with_file_name("holder-musl");
    let words = ["musl-gcc", "-O2", "-g", "-fomit-frame-pointer", "-pthread", "-static"].map(Into::into).to_vec();
    compile(&[words, vec![sources().join(SOURCE).into()]].concat(), &program);
    let mut target = Target::start_program(&program, "");
    let summary = record(&mut target, ROUNDS, "").summary();
    for kept in KEPT.into_iter().filter(|(_, mark, ..)| !matches!(*mark, "ACCEPT" | "THREAD")) {
        check_kept(&summary, kept, ROUNDS);
    }
    // Its stacks also hold what the library keeps of a thread, whose size is its own affair.
    let threads = holding(&summary, "keep_thread", "thread_stack")[0];
    assert_eq!(threads["may_leak"]["blocks"], ROUNDS, "{threads:#}");
    assert_eq!(summary["losses"]["descriptors_unseen"], ROUNDS, "{:#}", summary["losses"]);
    for function in ["tidy_mappings", "tidy_descriptors", "tidy_threads", "tidy_children"] {
        for site in sites_through(&summary, function) {
            assert_eq!(site["live"]["blocks"], 0, "{function}: {site:#}");
        }
    }
    assert_intact(target, ROUNDS);
}

#[test]
fn only_the_chosen_kinds_are_watched() {
    let mut target = Target::start(SOURCE, "--threads 0");
    let run = record(&mut target, 4, "--kinds fd");
    run.assert_code(1);
    let summary = run.summary();
    let sites = summary["sites"].as_array().cloned().unwrap_or_default();
    assert!(!sites.is_empty() && sites.iter().all(|site| site["holds"] == "descriptor"), "{summary:#}");
    assert_eq!(summary["coverage"]["kinds"], serde_json::json!(["fd"]), "{summary:#}");
    assert_intact(target, 4);
    leakline("attach 1 --kinds heap,files").assert_refused(&["`files` is not one of heap, mmap, fd, all"]);
}

#[test]
fn many_rounds_under_a_load_of_maps_and_opens_leave_the_program_as_it_was() {
    let mut target = Target::start("c/mapper.c", "--threads 3");
    // With the first cancel the C library installs a handler.
    for _ in 0..3 {
        target.ask("check", "good");
    }
    let before = appearance(target.pid());
    let mut calls = 0;
    // A round takes two seconds without optimisation on a busy machine.
    let rounds = if cfg!(debug_assertions) { 20 } else { 100 };
    for round in 0..rounds {
        let run = attach(target.pid(), "--expire 0.02 --for 0.1");
        assert!(matches!(run.code, Some(0..=2)), "round {round}: {}", run.describe());
        calls += run.summary()["coverage"]["descriptors_opened"].as_u64().unwrap_or(0);
        // Descriptors come and go all the time: only the code can be compared.
        let after = appearance(target.pid());
        assert_unchanged(&before.without_files(), &after.without_files());
    }
    assert!(calls > 0, "the hooks saw nothing, so that nothing is tested");
    target.ask("check", "good");
    target.stop().assert_unharmed();
}

/// In each C library the descriptor has the stack of whoever asked for it.
#[test]
fn descriptors_that_one_function_of_the_library_opens_by_another() {
    let mut ways = vec![("opener", "gcc -O2 -g SOURCE")];
    if is_there("descriptors by way of musl's functions", "/usr/bin/musl-gcc", "musl-tools") {
        ways.extend([("opener-musl", "musl-gcc -O2 -g SOURCE"), ("opener-static", "musl-gcc -static -O2 -g SOURCE")]);
    }
    for (name, words) in ways {
        let mut target = Target::start_program(&build_as(name, "reach/opener.c", words), "");
        let before = appearance(target.pid()).only_code();
        let mut session = Running::start(&format!("attach {} --expire 0.2 --for 60 --top 100 --json", target.pid()));
        session.wait_attached();
        target.ask("go", "done");
        signal(session.pid(), Signal::INT);
        let summary = session.wait().summary();
        for function in ["by_mkstemp", "by_mkostemp", "by_opendir", "by_popen", "by_shm_open", "tidy_both"] {
            let sites = holding(&summary, function, "descriptor");
            let live: u64 = sites.iter().filter_map(|site| site["live"]["blocks"].as_u64()).sum();
            assert_eq!(live, if function == "tidy_both" { 0 } else { 4 }, "{name}, {function}: {summary:#}");
        }
        assert_eq!(summary["losses"]["descriptors_unseen"], 0, "{name}: {summary:#}");
        assert_unchanged(&before, &appearance(target.pid()).only_code());
        target.stop().assert_unharmed();
    }
}
