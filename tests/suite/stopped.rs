//! Targets that a signal has stopped, as job control does: attached to, left stopped, and none the wiser.
//!
//! Owns: those cases. Must not know: how a thread is traced.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use crate::command::{Running, attach, leakline};
use crate::process::{appearance, assert_unchanged, holds_soon, news_of, signal, state};
use crate::targets::Target;

/// Stops the target as its shell would, and waits until that is known.
#[track_caller]
fn halt(target: &Target) {
    signal(target.pid(), Signal::STOP);
    assert!(holds_soon(|| news_of(target.pid()) == Some("stopped")), "it does not stop");
}

/// It stays stopped, and its parent hears nothing of what happens to it.
#[track_caller]
fn assert_halted(target: &Target, after: &str) {
    // A thread that was let go of needs a processor for an instant to stop again.
    assert!(holds_soon(|| state(target.pid()) == 'T'), "{after} has woken it");
    for _ in 0..20 {
        assert_eq!((state(target.pid()), news_of(target.pid())), ('T', None), "{after}");
        sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn go_on(target: &Target) {
    signal(target.pid(), Signal::CONT);
    assert!(holds_soon(|| news_of(target.pid()) == Some("continued")), "SIGCONT does not do what it did before");
    assert_ne!(state(target.pid()), 'T');
}

#[track_caller]
fn assert_undisturbed(target: &mut Target) {
    let counts = target.ask("counts", "counts");
    assert!(counts.starts_with("errno 0 eintr 0 sigchld 0 lost 0 turns "), "{counts}");
}

#[test]
fn a_stopped_program_is_attached_to_and_stays_stopped() {
    let mut target = Target::start("c/steady.c", "");
    let before = appearance(target.pid());
    halt(&target);
    let mut session = Running::start(&format!("attach {} --expire 1.2 --for 60 --json", target.pid()));
    session.wait_attached();
    assert_halted(&target, "the attach");
    go_on(&target);
    assert_undisturbed(&mut target);
    sleep(Duration::from_millis(300));
    halt(&target);
    sleep(Duration::from_millis(1500));
    signal(session.pid(), Signal::INT);
    let run = session.wait();
    assert_halted(&target, "the detach");
    let summary = run.summary();
    // What a stopped program could not free has not grown old. (A thread may have waited for a processor before: half is plenty.)
    let blocks = |key: &str| -> u64 {
        let sites = summary["sites"].as_array().map(Vec::as_slice).unwrap_or_default();
        sites.iter().filter_map(|site| site[key]["blocks"].as_u64()).sum()
    };
    assert!(blocks("live") > 0 && blocks("may_leak") <= blocks("live") / 2, "{summary:#}");
    assert!(summary["coverage"]["allocations"].as_u64() > Some(0), "it was not recorded when it went on: {summary:#}");
    assert!(summary["notes"].to_string().contains("had stopped the process"), "nothing says so: {summary:#}");
    assert_unchanged(&before, &appearance(target.pid()));
    go_on(&target);
    assert_undisturbed(&mut target);
    // A thread that was stopped inside a hook kept the agent mapped; now nothing does.
    leakline(&format!("detach {}", target.pid())).assert_code(0);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", target.pid())).expect("it runs");
    assert!(!maps.contains("leakline"), "{maps}");
    target.stop().assert_unharmed();
}

/// Nothing can be said about a program that never ran.
#[test]
fn a_program_that_stays_stopped_is_never_called_clean() {
    let mut target = Target::start("c/leaky.c", "");
    halt(&target);
    let run = attach(target.pid(), "--expire 0.1 --for 0.3");
    run.assert_code(2);
    assert_eq!(run.summary()["outcome"], "blind", "{}", run.describe());
    assert_halted(&target, "all");
    go_on(&target);
    target.ask("mark", "marked");
    target.stop().assert_unharmed();
}

/// The signal may fall into any instant of an attach, between two system calls of ours too: it must not be swallowed.
#[test]
fn a_program_that_is_stopped_during_an_attach_stays_stopped() {
    let mut target = Target::start("c/steady.c", "");
    let before = appearance(target.pid());
    for step in 0..40 {
        let session = Running::start(&format!("attach {} --expire 0.02 --for 0.05 --json", target.pid()));
        sleep(Duration::from_millis(step * 3));
        halt(&target);
        let run = session.wait();
        // Stopped inside a hook that the attach before left, a thread cannot be waited for: that is refused, and nothing is changed.
        let is_refused = run.errors.contains("a thread stays inside the allocator");
        assert!((run.errors.is_empty() || is_refused) && matches!(run.code, Some(0..=2)), "{}", run.describe());
        assert_halted(&target, "an attach");
        go_on(&target);
        assert_undisturbed(&mut target);
    }
    leakline(&format!("detach {}", target.pid())).assert_code(0);
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}
