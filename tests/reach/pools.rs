//! Pools of a program's own, named on the command line or in the configuration.
//!
//! Owns: those cases. Must not know: how a named function is found.

use super::{Claim, account, build_as, stopped, work};
use crate::command::{Run, Running, attach, leakline};
use crate::process::{appearance, assert_unchanged};
use crate::targets::{Target, built};

const WORDS: &str = "--alloc fn=pool_alloc,size=arg2 --alloc object_new,size=arg1*arg2 \
     --alloc fn=object_grow,ptr=arg1,size=arg2 --free fn=pool_free,ptr=arg2 --free fn=object_delete";

fn pools() -> Target {
    Target::start_program(&build_as("pools", "reach/pools.c", "gcc -O2 -g SOURCE"), "")
}

/// Attaches with these options, lets it work once, and compares the accounts of all sites.
#[track_caller]
fn check(options: &str) -> Run {
    check_of(pools(), options, 3)
}

/// The same of another program with so many sites.
#[track_caller]
fn check_of(mut target: Target, options: &str, sites: usize) -> Run {
    let before = appearance(target.pid());
    let mut leakline = Running::start(&format!("attach {} --json --expire 0.2 --for 60 {options}", target.pid()));
    leakline.wait_attached();
    let claims: Vec<Claim> = work(&mut target);
    let run = stopped(leakline);
    assert_eq!(claims.len(), sites);
    for (name, claim) in claims {
        assert_eq!(account(&run.summary(), &name), claim, "{name}: {}", run.describe());
    }
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
    run
}

#[test]
fn pools_are_counted_by_the_functions_that_the_user_names() {
    let run = check(WORDS);
    let functions = run.summary()["target"]["functions"].to_string();
    assert!(functions.contains("pool_alloc") && functions.contains("malloc"), "{functions}");
}

#[test]
fn they_may_stand_in_the_configuration() {
    let file = built().join(format!("pools-{}.toml", std::process::id()));
    let text = "alloc = ['fn=pool_alloc,size=arg2', 'object_new,size=arg1*arg2', 'fn=object_grow,ptr=arg1,size=arg2']\n\
                [attach]\nfree = ['fn=pool_free,ptr=arg2', 'object_delete']\n";
    std::fs::write(&file, text).expect("it has room");
    check(&format!("--config {}", file.display()));
    std::fs::remove_file(&file).expect("it is ours");
}

#[test]
fn a_wrong_name_is_answered_with_the_right_one() {
    let target = pools();
    let before = appearance(target.pid());
    let refused = |options: &str| attach(target.pid(), &format!("--for 1 {options}"));
    refused("--alloc fn=pool_allok,size=arg2").assert_refused(&["names a function `pool_allok`", "mean `pool_alloc`"]);
    refused("--alloc fn=pool_alloc,size=two").assert_refused(&["`fn=pool_alloc,size=two`", "size=arg1", "--alloc fn="]);
    refused("--free fn=zzzzzz").assert_refused(&["`zzzzzz`", "`nm`"]);
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

/// By their names in the source C++ functions are proposed as symbol tables have them.
#[test]
fn a_name_of_the_source_is_answered_with_the_one_of_the_symbol_table() {
    let target = Target::start_program(&build_as("owner", "reach/owner.cpp", "g++ -O2 -g -pthread SOURCE"), "");
    let refused = attach(target.pid(), "--for 1 --alloc fn=from_pool,size=arg1");
    refused.assert_refused(&["`from_pool`", "mean `_zl9from_poolm` (from_pool(unsigned long))"]);
    target.stop().assert_unharmed();
}

/// Exceptions are on their way through hooks at each of these ends, some of which leave no time to put anything in order.
#[test]
fn exceptions_pass_while_hooks_come_and_go() {
    let program = build_as("owner", "reach/owner.cpp", "g++ -O2 -g -pthread SOURCE");
    let mut target = Target::start_program(&program, "busy");
    let before = appearance(target.pid());
    let options = "--alloc fn=pool_grow,ptr=arg1,size=arg2 --free fn=pool_free,ptr=arg2";
    for round in 0..8 {
        let mut session = Running::start(&format!("attach {} --json --for 60 --survey never {options}", target.pid()));
        session.wait_attached();
        if round % 4 == 3 {
            session.kill();
        } else {
            let summary = stopped(session).summary();
            assert!(!summary["notes"].to_string().contains("stays in the target"), "{summary:#}");
        }
    }
    assert!(leakline(&format!("detach {}", target.pid())).code == Some(0));
    assert_unchanged(&before, &appearance(target.pid()));
    work(&mut target);
    target.stop().assert_unharmed();
}

/// Neither ends in `malloc`, and exceptions pass their hooks. What is called has more parameters than the stub of `malloc` hands on.
#[test]
fn operators_of_the_programs_own_and_pools_that_throw() {
    for (name, words) in
        [("owner", "g++ -O2 -g -pthread SOURCE"), ("owner-static", "g++ -O2 -g -static -pthread SOURCE")]
    {
        let target = Target::start_program(&build_as(name, "reach/owner.cpp", words), "");
        let run = check_of(
            target,
            "--alloc fn=pool_alloc,size=arg1 --alloc fn=pool_grow,ptr=arg1,size=arg2 --free fn=pool_free,ptr=arg1",
            2,
        );
        let functions = run.summary()["target"]["functions"].to_string();
        assert!(functions.contains("_Znwm") && functions.contains("pool_alloc"), "{functions}");
    }
}

fn leaver() -> Target {
    Target::start_program(&build_as("leaver", "reach/leaver.c", "gcc -O2 -g SOURCE"), "")
}

/// What an interpreter does that raises an error: the pool never returns, and the program goes on deeper on its stack than the pool was. What
/// it was to resize is alive.
#[test]
fn a_pool_that_is_left_by_a_jump() {
    let taking = "--alloc fn=pool_alloc,size=arg1 --alloc fn=pool_take,size=arg1";
    check_of(leaver(), &format!("{taking} --alloc fn=pool_grow,ptr=arg1,size=arg2 --free fn=pool_give"), 2);
}

/// Asks the target while it is attached to, and detaches: what is said to stay.
#[track_caller]
fn stays_after(target: &mut Target, command: &str, answer: &str) -> String {
    let options = "--json --for 60 --survey never --alloc fn=pool_alloc,size=arg1";
    let mut session = Running::start(&format!("attach {} {options}", target.pid()));
    session.wait_attached();
    target.ask(command, answer);
    let notes = stopped(session).summary()["notes"].to_string();
    if notes.contains("stays in the target") { notes } else { String::new() }
}

/// The thread sleeps on its own stack, where the frames show that the pool is gone.
#[test]
fn a_pool_that_was_left_by_a_jump_does_not_keep_the_agent() {
    let mut target = leaver();
    let before = appearance(target.pid());
    for _ in 0..3 {
        assert_eq!(stays_after(&mut target, "leave", "left"), "");
        assert_unchanged(&before, &appearance(target.pid()));
    }
    target.stop().assert_unharmed();
}

/// The thread sleeps on another stack, and comes back later: its frames there show nothing of that.
#[test]
fn a_pool_that_goes_on_elsewhere_keeps_the_agent() {
    let mut target = leaver();
    let before = appearance(target.pid());
    assert_ne!(stays_after(&mut target, "away", "away"), "", "the pool returns into it");
    target.ask("back", "left");
    assert_eq!(leakline(&format!("detach {}", target.pid())).code, Some(0));
    assert_unchanged(&before, &appearance(target.pid()));
    work(&mut target);
    target.stop().assert_unharmed();
}

/// A coroutine sleeps in the pool, and the thread has called the allocator since, from its own stack: neither its frames nor its guard
/// tell of the call.
#[test]
fn a_pool_that_sleeps_in_a_coroutine_keeps_the_agent() {
    let mut target = leaver();
    let before = appearance(target.pid());
    assert_ne!(stays_after(&mut target, "sleep", "asleep"), "", "the pool returns into it");
    leakline(&format!("detach {}", target.pid())).assert_refused(&["stays inside"]);
    target.ask("wake", "awake");
    leakline(&format!("detach {}", target.pid())).assert_code(0);
    assert_unchanged(&before, &appearance(target.pid()));
    work(&mut target);
    target.stop().assert_unharmed();
}

/// The same after leakline was killed: in a coroutine, and where the thread sleeps on another stack. Then a child of a fork goes on with the
/// call, which has nothing of leakline's but its code.
#[test]
fn what_a_killed_leakline_left_stays_as_long_as_a_pool_sleeps() {
    let mut target = leaver();
    let before = appearance(target.pid());
    for [command, answer, end, ended] in [["sleep", "asleep", "wake", "awake"], ["away", "away", "back", "left"]] {
        let options = "--json --for 60 --survey never --alloc fn=pool_alloc,size=arg1";
        let mut session = Running::start(&format!("attach {} {options}", target.pid()));
        session.wait_attached();
        target.ask(command, answer);
        session.kill();
        leakline(&format!("detach {}", target.pid())).assert_refused(&["stays inside"]);
        if command == "sleep" {
            assert_eq!(target.ask("fork", "child"), "0", "the call went on in a child");
        }
        target.ask(end, ended);
        leakline(&format!("detach {}", target.pid())).assert_code(0);
        assert_unchanged(&before, &appearance(target.pid()));
    }
    work(&mut target);
    target.stop().assert_unharmed();
}
