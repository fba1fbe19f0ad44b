//! Programs whose threads stand on small stacks of their own making, with other people's memory right below.
//!
//! Owns: that this memory is never written. Must not know: what leakline needs room for.

use crate::command::{attach, leakline};
use crate::process::{appearance, assert_unchanged};
use crate::targets::Target;

const ROUNDS: u32 = 30;

#[test]
fn memory_below_the_stacks_of_coroutines_stays_as_it_is() {
    let mut target = Target::start("c/coroutines.c", "--threads 3");
    let before = appearance(target.pid());
    for round in 0..ROUNDS {
        let run = attach(target.pid(), "--expire 0.02 --for 0.05");
        assert!(run.summary()["coverage"]["allocations"].as_u64() > Some(0), "round {round}: {}", run.describe());
        assert_eq!(target.ask("check", "guarded"), "ok", "round {round}");
    }
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

#[test]
fn a_program_that_never_leaves_its_coroutines_is_refused_and_unharmed() {
    let mut target = Target::start("c/coroutines.c", "--threads 3");
    target.ask("away", "away");
    let before = appearance(target.pid());
    for _ in 0..3 {
        leakline(&format!("attach {} --for 1", target.pid())).assert_refused(&["own stack", "coroutines"]);
        assert_eq!(target.ask("check", "guarded"), "ok");
        assert_unchanged(&before, &appearance(target.pid()));
    }
    target.ask("home", "home");
    let run = attach(target.pid(), "--expire 0.02 --for 0.05");
    assert!(run.summary()["coverage"]["allocations"].as_u64() > Some(0), "{}", run.describe());
    target.stop().assert_unharmed();
}
