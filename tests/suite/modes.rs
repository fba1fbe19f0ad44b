//! Sampled and automatic mode on real targets: estimates against the truth, changes of the mode, kills, bad values.
//!
//! Owns: what a user may rely on in those modes. Must not know: how a sample is drawn or a cost measured.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::command::{Running, assert_frame, attach, leakline, site, sites_through, tally};
use crate::process::signal;
use crate::targets::{Target, line_of};

/// Half of the 95 % interval around the blocks and the bytes of a tally; zero where they were counted.
fn errors(site: &Value, key: &str) -> (u64, u64) {
    let error = |of: &str| site[key][of].as_u64().unwrap_or(0);
    (error("blocks_error"), error("bytes_error"))
}

/// The truth lies within twice the interval: one run in twenty thousand is further off.
#[track_caller]
fn assert_estimates((found, error): (u64, u64), truth: u64, what: &str) {
    assert!(error > 0, "{what}: an estimate without an error");
    assert!(found.abs_diff(truth) <= 2 * error, "{what}: {found} ± {error}, but it is {truth}");
}

/// Waits for the event of a change to this mode.
#[track_caller]
fn wait_mode(session: &mut Running, mode: &str) {
    let (event, mode) = (r#""event":"mode_changed""#, format!(r#""mode":"{mode}""#));
    assert!(session.wait_line(|line| line.contains(event) && line.contains(&mode)), "no change to {mode}");
}

#[test]
fn a_sampled_leak_is_estimated_within_its_error() {
    let mut target = Target::start("c/churn.c", "--threads 2 --depth 5 --leak 4 --leak-later --quiet");
    let options = "--mode sampled --rate 4k --expire 0.4 --for 5 --json";
    let mut session = Running::start(&format!("attach {} {options}", target.pid()));
    session.wait_attached();
    target.ask("mark", "marked");
    target.ask("leak on", "leak on");
    sleep(Duration::from_secs(2));
    target.ask("leak off", "leak off");
    let run = session.wait();
    let ended = target.stop();
    ended.assert_unharmed();
    let (blocks, bytes) = ended.leaked();
    let summary = run.summary();
    let first = site(&summary, 1);
    assert_frame(first, "leak_site", "churn.c", line_of("c/churn.c", "LEAK-LINE"));
    let (found, error) = (tally(first, "may_leak"), errors(first, "may_leak"));
    assert_estimates((found.0, error.0), blocks, "blocks");
    assert_estimates((found.1, error.1), bytes, "bytes");
    let target = &summary["target"];
    assert_eq!((&target["mode"], &target["rate_bytes"]), (&"sampled".into(), &4096.into()), "{target:#}");
    assert!(summary["coverage"]["blocks_sampled"].as_u64() > Some(0), "{summary:#}");
    assert!(summary["coverage"]["allocations"].as_u64() > Some(blocks), "calls are counted in every mode");
}

#[test]
fn the_mode_follows_the_cost_and_blocks_of_either_mode_are_freed_in_the_other() {
    let mut target = Target::start("c/churn.c", "--threads 1 --depth 5 --window 2000 --quiet");
    let options = "--mode auto --max-overhead 1 --rate 16k --expire 60 --for 60 --json";
    let mut session = Running::start(&format!("attach {} {options}", target.pid()));
    session.wait_attached();
    wait_mode(&mut session, "sampled");
    // The answer to the second question comes from a target that went on allocating meanwhile.
    target.ask("rate", "rate");
    sleep(Duration::from_secs(1));
    assert!(!target.ask("rate", "rate").starts_with("pairs 0 "), "the target stands still");
    // Blocks of the window now are sampled; those of the exact phase were freed in this one.
    target.ask("pause", "paused");
    wait_mode(&mut session, "exact");
    target.ask("drain", "drained");
    signal(session.pid(), Signal::INT);
    let run = session.wait();
    target.stop().assert_unharmed();
    let summary = run.summary();
    assert_eq!(summary["target"]["mode"], "exact", "{summary:#}");
    assert_eq!(summary["target"]["mode_asked"], "auto", "{summary:#}");
    let changes = summary["mode_changes"].as_array().map_or(0, Vec::len);
    assert_eq!(changes, 2, "{:#}", summary["mode_changes"]);
    let totals = &summary["totals"];
    assert!(errors(totals, "allocated").0 > 0, "some of it was sampled: {totals:#}");
    // The window was half full at the attach at most, and is empty now: all that was recorded was seen to be freed.
    assert_eq!(tally(totals, "live"), (0, 0), "{totals:#}");
    assert_eq!(tally(totals, "allocated"), tally(totals, "freed"), "{totals:#}");
}

/// Large blocks are found in another way than small ones, and share parts of the memory with them: none may be lost when the mode changes,
/// nor while marks are taken away.
#[test]
fn no_free_is_missed_where_small_and_large_blocks_lie_side_by_side() {
    for (share, rounds) in [(16, 2), (256, 1)] {
        let mut target = Target::start("c/mixed.c", &format!("--share {share}"));
        // All that is recorded is born during the session.
        for command in ["pause", "drain"] {
            target.ask(command, "");
        }
        let options = "--mode auto --max-overhead 0.1 --rate 64k --expire 60 --for 60 --json";
        let mut session = Running::start(&format!("attach {} {options}", target.pid()));
        session.wait_attached();
        for _ in 0..rounds {
            target.ask("go", "going");
            wait_mode(&mut session, "sampled");
            sleep(Duration::from_millis(1500));
            target.ask("pause", "paused");
            wait_mode(&mut session, "exact");
        }
        target.ask("drain", "drained");
        signal(session.pid(), Signal::INT);
        let run = session.wait();
        target.stop().assert_unharmed();
        let summary = run.summary();
        let totals = &summary["totals"];
        assert!(errors(totals, "allocated").0 > 0, "some of it was sampled: {totals:#}");
        assert_eq!(tally(totals, "live"), (0, 0), "{share} of 256 are large: {totals:#}");
        assert_eq!(tally(totals, "allocated"), tally(totals, "freed"), "{totals:#}");
    }
}

#[test]
fn a_quiet_target_stays_exact() {
    let target = Target::start("c/leaky.c", "--rate 4096");
    let run = attach(target.pid(), "--mode auto --max-overhead 50 --expire 0.5 --for 4");
    let summary = run.summary();
    assert_eq!(run.events("mode_changed"), 0, "{}", run.describe());
    assert_eq!(errors(site(&summary, 1), "may_leak"), (0, 0), "what is counted has no error");
    assert!(summary["overhead"].is_number(), "the cost was measured: {:#}", summary["overhead"]);
    target.stop().assert_unharmed();
}

#[test]
fn a_sampled_leak_of_few_samples_is_not_called_certain() {
    // 64 KiB a second are about one sample in eight seconds.
    let target = Target::start("c/leaky.c", "--rate 64 --block 512");
    let run = attach(target.pid(), "--mode sampled --expire 0.5 --for 5");
    let summary = run.summary();
    assert_ne!(summary["outcome"], "leak_found", "{}", run.describe());
    target.stop().assert_unharmed();
}

#[test]
fn a_target_survives_the_kill_of_a_leakline_that_samples() {
    let mut target = Target::start("c/churn.c", "--threads 3 --depth 10 --leak 50 --check-full --quiet");
    for pause in [0, 30, 400] {
        let mut session = Running::start(&format!("attach {} --mode sampled --rate 1k --json", target.pid()));
        session.wait_attached();
        sleep(Duration::from_millis(pause));
        session.kill();
        target.ask("rate", "rate");
    }
    let run = attach(target.pid(), "--mode sampled --expire 0.3 --for 1");
    assert!(run.code.is_some_and(|code| code < 3), "{}", run.describe());
    target.stop().assert_unharmed();
}

#[test]
fn bad_values_are_refused_with_what_is_needed() {
    for (options, needed) in [
        ("--mode often", "exact, sampled, auto"),
        ("--rate 0", "1.00 kib to 16.0 mib"),
        ("--rate 1G", "1.00 kib to 16.0 mib"),
        ("--max-overhead 0", "0.1 to 100"),
        ("--max-overhead 101", "0.1 to 100"),
        ("--max-overhead much", "0.1 to 100"),
    ] {
        leakline(&format!("attach 1 {options}")).assert_refused(&[needed]);
    }
}

/// In a sample as in a count: what nothing leads to is lost, what a list holds is held.
#[test]
fn a_sampled_leak_is_told_lost_from_held() {
    let target = Target::start("c/fates.c", "");
    let options = "--mode sampled --rate 1k --expire 0.5 --top 100 --json";
    let mut session = Running::start(&format!("attach {} {options}", target.pid()));
    session.wait_attached();
    // Each of the three functions allocates from one place, in which order its first sample comes is chance.
    for _ in 0..3 {
        assert!(session.wait_line(|line| line.contains(r#""event":"first_expiry""#)), "a block is sampled and expires");
    }
    // Of each second some seven blocks of 72 bytes are sampled.
    sleep(Duration::from_secs(3));
    signal(session.pid(), Signal::INT);
    let run = session.wait();
    target.stop().assert_unharmed();
    let summary = run.summary();
    let sum = |function: &str, fate: &str| -> u64 {
        let of = |site: &&Value| tally(&site["survey"], fate).0;
        sites_through(&summary, function).iter().filter(|site| site["survey"]["lost"].is_object()).map(of).sum()
    };
    let (lost, held) = (sum("lose_one", "lost"), sum("lose_one", "held"));
    // A stale word may keep one or two of some twenty samples.
    assert!(lost > held, "{lost} lost, {held} held: {summary:#}");
    let (lost, held) = (sum("list_one", "lost"), sum("list_one", "held"));
    assert!(lost == 0 && held > 0, "{lost} of a list lost, {held} held: {summary:#}");
    let errors: u64 = sites_through(&summary, "lose_one").iter().map(|site| errors(&site["survey"], "lost").0).sum();
    assert!(errors > 0, "what is estimated has an error: {summary:#}");
}
