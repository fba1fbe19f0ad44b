//! What the report says of a target is what the target says of itself.
//!
//! Owns: counts, lines, verdicts and exit codes of attached targets. Must not know: how an attach works.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::command::{Running, assert_frame, attach, frames, site, sites_through, tally};
use crate::process::signal;
use crate::targets::{Target, line_of};

/// Attaches, lets the target leak for a while under the hooks and stop leaking, and returns the summary and what the
/// target lost. Leaking ends before the session does, so that every leaked block is older than the threshold, and no thread waits so
/// long for a processor that the blocks which it is about to free are.
#[track_caller]
fn record_leak(source: &str, arguments: &str) -> (Value, (u64, u64)) {
    let mut target = Target::start(source, arguments);
    let mut session = Running::start(&format!("attach {} --expire 1 --for 60 --json", target.pid()));
    session.wait_attached();
    target.ask("mark", "marked");
    target.ask("leak on", "leak on");
    sleep(Duration::from_millis(1500));
    target.ask("leak off", "leak off");
    sleep(Duration::from_millis(1300));
    signal(session.pid(), Signal::INT);
    let run = session.wait();
    let ended = target.stop();
    ended.assert_unharmed();
    let leaked = ended.leaked();
    assert!(leaked.0 > 0, "the target leaked nothing, so that nothing is tested");
    (run.summary(), leaked)
}

/// The site ranks first, lies at the marked line, and counts exactly what the target lost; nothing went unrecorded.
#[track_caller]
fn check(source: &str, arguments: &str, function: &str, mark: &str) -> Value {
    let (summary, leaked) = record_leak(source, arguments);
    let first = site(&summary, 1);
    let file = source.rsplit('/').next().unwrap_or(source);
    assert_frame(first, function, file, line_of(source, mark));
    assert_eq!(tally(first, "may_leak"), leaked, "blocks and bytes: {first:#}");
    for loss in ["blocks_unrecorded", "stacks_cut", "stacks_broken", "entries_corrupt"] {
        assert_eq!(summary["losses"][loss], 0, "{loss}: {:#}", summary["losses"]);
    }
    summary
}

#[test]
fn one_of_64_sites_that_loses_every_tenth_block_is_counted_exactly() {
    let summary = check("c/churn.c", "--threads 2 --depth 5 --leak 10 --leak-later --quiet", "leak_site", "LEAK-LINE");
    let first = site(&summary, 1);
    let calls: Vec<&str> = frames(first).iter().filter_map(|frame| frame["function"].as_str()).collect();
    assert_eq!(calls[0], "leak_site");
    assert!(calls.contains(&"worker_main"), "the stack ends early: {calls:?}");
    assert!(tally(first, "freed").0 > 0, "nine of ten blocks of this site are freed: {first:#}");
}

#[test]
fn a_deep_stack_is_found_whole() {
    let summary = check("c/churn.c", "--threads 1 --depth 30 --leak 10 --leak-later --quiet", "leak_site", "LEAK-LINE");
    let levels =
        frames(site(&summary, 1)).iter().filter(|frame| frame["function"].as_str().unwrap_or("").starts_with("level_"));
    assert_eq!(levels.count(), 29);
}

#[test]
fn threads_that_start_and_end_all_the_time_lose_no_event() {
    check("c/threads.c", "--alive 4", "leak_here", "LEAK-LINE");
}

#[test]
fn an_inlined_template_is_named_at_the_line_of_new() {
    let summary = check("cpp/leak.cpp", "", "make_node<long", "LEAK-LINE");
    let first = site(&summary, 1);
    let at = assert_frame(first, "make_node<long", "leak.cpp", line_of("cpp/leak.cpp", "LEAK-LINE"));
    assert_eq!(frames(first)[at]["inlined"], true, "{first:#}");
    assert!(frames(first)[at + 1]["function"].as_str().unwrap_or("").contains("keep_one"), "{first:#}");
}

#[test]
fn a_rust_box_is_named_at_the_line_that_made_it() {
    let summary = check("rust/leak.rs", "", "hold", "LEAK-LINE");
    let names: Vec<&str> = frames(site(&summary, 1)).iter().filter_map(|frame| frame["function"].as_str()).collect();
    assert!(names.iter().any(|name| name.contains("lose_one")), "{names:?}");
}

#[test]
fn a_growing_program_is_a_leak_and_its_scratch_memory_is_not() {
    let target = Target::start("c/leaky.c", "--rate 4096");
    let run = attach(target.pid(), "--expire 0.5 --for 6");
    run.assert_code(1);
    let summary = run.summary();
    assert_eq!(summary["outcome"], "leak_found", "{summary:#}");
    assert_eq!(site(&summary, 1)["severity"], "leak", "{summary:#}");
    assert_frame(site(&summary, 1), "leak_here", "leaky.c", line_of("c/leaky.c", "LEAK-LINE"));
    for scratch in sites_through(&summary, "scratch_here") {
        assert_eq!(tally(scratch, "may_leak"), (0, 0), "{scratch:#}");
        assert_ne!(scratch["severity"], "leak", "{scratch:#}");
    }
    assert!(run.events("first_expiry") >= 1, "{}", run.describe());
    assert!(run.events("again") >= 1, "{}", run.describe());
    target.stop().assert_unharmed();
}

#[test]
fn a_program_that_never_allocates_is_blind_and_not_free_of_leaks() {
    let mut target = Target::start("c/idle.c", "");
    let run = attach(target.pid(), "--expire 0.2 --for 1");
    run.assert_code(2);
    assert_eq!(run.summary()["outcome"], "blind", "{}", run.describe());
    target.ask("ping", "alive");
    target.stop().assert_unharmed();
}

#[test]
fn memory_that_grows_past_the_hooks_is_blind_and_not_free_of_leaks() {
    let target = Target::start("c/unhooked.c", "");
    let run = attach(target.pid(), "--expire 0.2 --for 4");
    run.assert_code(2);
    let summary = run.summary();
    assert_eq!(summary["outcome"], "blind", "{}", run.describe());
    assert!(summary["coverage"]["allocations"].as_u64() > Some(0), "the hooks do fire: {:#}", summary["coverage"]);
    assert!(summary["coverage"]["private_growth_bytes"].as_u64() > Some(8 << 20), "{:#}", summary["coverage"]);
    let notes = summary["notes"].to_string();
    assert!(notes.contains("it comes from elsewhere"), "{notes}");
    target.stop().assert_unharmed();
}

#[test]
fn a_full_cache_is_not_a_leak() {
    let target = Target::start("c/cache.c", "--mb 4 --rate 4096");
    let run = attach(target.pid(), "--expire 0.3 --for 5");
    let summary = run.summary();
    assert!(matches!(run.code, Some(0 | 2)), "a cache was accused: {}", run.describe());
    for cached in sites_through(&summary, "fill_cache") {
        assert_ne!(cached["severity"], "leak", "{cached:#}");
    }
    target.stop().assert_unharmed();
}

#[test]
fn blocks_that_are_freed_late_are_taken_back() {
    let target = Target::start("c/late_free.c", "--life 900");
    let run = attach(target.pid(), "--expire 0.3 --for 5");
    let summary = run.summary();
    let late = sites_through(&summary, "allocate_late");
    assert_eq!(late.len(), 1, "{summary:#}");
    assert!(tally(late[0], "freed_after_expiry").0 > 50, "{:#}", late[0]);
    assert_ne!(late[0]["severity"], "leak", "{:#}", late[0]);
    assert!(run.events("freed_after_expiry") + run.events("demoted") > 0, "{}", run.describe());
    assert!(matches!(run.code, Some(0 | 2)), "late frees were called a leak: {}", run.describe());
    target.stop().assert_unharmed();
}

#[test]
fn every_function_of_the_family_is_counted_exactly() {
    let mut target = Target::start("c/family.c", "");
    let mut session = Running::start(&format!("attach {} --expire 0.3 --for 3 --top 100 --json", target.pid()));
    session.wait_attached();
    target.tell("go");
    let run = session.wait();
    let summary = run.summary();
    let ended = target.stop();
    ended.assert_unharmed();
    let claims: Vec<&String> = ended.lines.iter().filter(|line| line.starts_with("site ")).collect();
    assert_eq!(claims.len(), 14, "{:?}", ended.lines);
    for claim in claims {
        check_claim(&summary, claim);
    }
}

/// Compares `site NAME allocated N BYTES live N BYTES` with the site of that function.
#[track_caller]
fn check_claim(summary: &Value, claim: &str) {
    let words: Vec<&str> = claim.split(' ').collect();
    let number = |at: usize| words[at].parse::<u64>().expect("a number");
    let found = sites_through(summary, words[1]);
    let sum =
        |key| found.iter().map(|site| tally(site, key)).fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
    assert_eq!(sum("allocated"), (number(3), number(4)), "allocated by {}: {found:#?}", words[1]);
    assert_eq!(sum("live"), (number(6), number(7)), "live of {}: {found:#?}", words[1]);
}

#[test]
fn enough_expired_blocks_end_the_session() {
    let target = Target::start("c/leaky.c", "--rate 1024");
    let run = attach(target.pid(), "--expire 0.2 --stop-after 100 --for 30");
    assert_eq!(run.events("stop_reached"), 1, "{}", run.describe());
    let summary = run.summary();
    assert!(summary["elapsed_seconds"].as_f64().unwrap_or(99.0) < 10.0, "{summary:#}");
    target.stop().assert_unharmed();
}

#[test]
fn the_end_of_the_target_ends_the_session_with_a_summary() {
    let target = Target::start("c/leaky.c", "--rate 4096 --milliseconds 2500");
    let run = attach(target.pid(), "--expire 0.3 --for 30");
    let summary = run.summary();
    assert!(summary["target"]["state"].as_str().unwrap_or("").contains("exited"), "{summary:#}");
    assert_frame(site(&summary, 1), "leak_here", "leaky.c", line_of("c/leaky.c", "LEAK-LINE"));
}

#[test]
fn what_does_not_fit_is_counted() {
    let target = Target::start("c/churn.c", "--threads 1 --depth 5 --quiet");
    let run = attach(target.pid(), "--expire 0.3 --for 2 --max-sites 8 --depth 3");
    let summary = run.summary();
    assert!(summary["losses"]["blocks_unrecorded"].as_u64() > Some(0), "64 stacks, 8 kept: {summary:#}");
    assert!(summary["losses"]["stacks_cut"].as_u64() > Some(0), "8 frames, 3 kept: {summary:#}");
    target.stop().assert_unharmed();
}
