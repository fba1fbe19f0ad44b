//! Processes that make an attach difficult: many threads, odd stacks, jumps, forbidden calls, other namespaces.
//!
//! Owns: one case a difficulty. Must not know: how an attach copes.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::{account, assert_exact, attached, build_as, is_there, stopped, work};
use crate::command::{Running, frames, leakline, program, sites_through};
use crate::process::{appearance, assert_unchanged, cannot_run, signal};
use crate::targets::Target;

/// A user without any rights.
const NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";
/// A user without rights; not the one that stands for all who have no number in a namespace.
const OTHER: &str = "setpriv --reuid 61234 --regid 61234 --clear-groups";

fn hard() -> PathBuf {
    build_as("hard", "reach/hard.c", "gcc -O2 -g -fomit-frame-pointer -pthread SOURCE")
}

/// Attaches to `hard` in one of its ways; the accounts are the same.
#[track_caller]
fn check(way: &str) -> Value {
    let (summary, target) = assert_exact(Target::start_program(&hard(), way), "glibc");
    target.stop().assert_unharmed();
    summary
}

#[test]
fn two_hundred_threads() {
    let summary = check("threads");
    assert!(summary["coverage"]["calling_threads"].as_u64() >= Some(200), "{summary:#}");
}

#[test]
fn threads_that_start_and_end_all_the_time() {
    check("spawn");
}

#[test]
fn the_smallest_stacks() {
    check("tiny");
}

#[test]
fn coroutines() {
    check("coroutines");
}

#[test]
fn a_handler_on_an_alternate_stack() {
    check("altstack");
}

/// With a frame pointer the stack goes on through it; without, it ends there and is counted as broken.
#[test]
fn code_written_at_run_time() {
    let summary = check("jit");
    assert_eq!(summary["losses"]["stacks_broken"], 100, "{summary:#}");
    assert!(
        summary["sites"].as_array().is_some_and(|sites| sites.iter().any(|site| {
            let frames = crate::command::frames(site);
            frames.iter().any(|frame| frame["found_by"] == "frame_pointer")
                && frames.iter().any(|frame| frame["function"] == "main")
        })),
        "{summary:#}"
    );
}

#[test]
fn a_program_that_forbids_dumps() {
    if rustix::process::geteuid().is_root() {
        check("private");
    } else {
        cannot_run("a program that forbids dumps", "only root may trace it");
    }
}

/// Root lifts the filter for a moment.
#[test]
fn a_filter_of_system_calls() {
    if rustix::process::geteuid().is_root() {
        check("filtered");
        check("strict");
    } else {
        cannot_run("a filter of system calls", "only root may lift it");
    }
}

/// Without root the filter stays, and a call that it forbids may end the target: so none is made.
#[test]
fn a_filter_that_cannot_be_lifted_is_respected() {
    if !rustix::process::geteuid().is_root() {
        return cannot_run("a filter that cannot be lifted", "root is needed to become a user without rights");
    }
    let words = format!("{NOBODY} {} strict", visible(&hard()).display());
    let target = Target::start_program(Path::new("/usr/bin/env"), &words);
    let before = appearance(target.pid());
    let mut command = Command::new("/usr/bin/env");
    command.args(NOBODY.split(' ')).arg(visible(&program())).args(["attach", &target.pid().to_string(), "--for", "1"]);
    let run = Running::start_command(command, "attach as nobody").wait();
    if run.errors.contains("forbids tracing") {
        cannot_run("a filter that cannot be lifted", "the machine lets no user trace");
    } else {
        run.assert_refused(&["seccomp", "root"]);
    }
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

/// Root of a user namespace of its own is nobody outside of it, whatever its capabilities say.
#[test]
fn a_leakline_in_a_user_namespace_says_why_it_may_not_leave_it() {
    let target = Target::start_program(&hard(), "plain");
    let before = appearance(target.pid());
    let unshare = |command: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user"]).args(command);
        unshare
    };
    if !unshare(&["true"]).output().is_ok_and(|probe| probe.status.success()) {
        return cannot_run("a leakline in a user namespace", "`unshare` may not make one here");
    }
    let (program, pid) = (program().display().to_string(), target.pid().to_string());
    let run = Running::start_command(unshare(&[&program, "attach", &pid, "--for", "1"]), "attach from inside").wait();
    run.assert_refused(&["outside of our user namespace", "on the host"]);
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

/// The user's own process, and yet the kernel refuses: the message must not leave the user guessing.
#[test]
fn a_program_that_forbids_dumps_is_named_as_that_to_its_own_user() {
    if !rustix::process::geteuid().is_root() {
        return cannot_run("a program that forbids dumps, seen by its user", "root is needed to become another user");
    }
    let words = format!("{OTHER} {} private", visible(&hard()).display());
    let target = Target::start_program(Path::new("/usr/bin/env"), &words);
    let mut command = Command::new("/usr/bin/env");
    command.args(OTHER.split(' ')).arg(visible(&program())).args(["doctor", &target.pid().to_string(), "--json"]);
    let run = Running::start_command(command, "doctor as its user").wait();
    let found = run.lines.join("\n");
    assert!(found.contains("PR_SET_DUMPABLE"), "{}", run.describe());
    target.stop().assert_unharmed();
}

/// A copy that every user may run.
fn visible(program: &Path) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("leakline-reach-{}", std::process::id()));
    let to = folder.join(program.file_name().unwrap_or_default());
    let made = std::fs::create_dir_all(&folder).and_then(|()| std::fs::copy(program, &to));
    made.unwrap_or_else(|error| panic!("{}: {error}", to.display()));
    to
}

#[test]
fn a_program_in_namespaces_of_its_own() {
    let words = format!("--user --map-root-user --mount --pid --fork --kill-child {} plain", hard().display());
    let probe = Command::new("unshare").args(words.split(' ').take(5)).arg("true").output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        return cannot_run("a program in namespaces of its own", "`unshare` may not make them here");
    }
    let mut outer = Target::start_program(Path::new("/usr/bin/unshare"), &words);
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", outer.pid())).unwrap_or_default();
    let inner: u32 = children.trim().parse().unwrap_or_else(|_| panic!("one child: {children:?}"));
    let before = appearance(inner);
    let watching = attached(inner);
    let claims = work(&mut outer);
    let summary = stopped(watching).summary();
    assert_eq!(account(&summary, "by_site"), claims[0].1, "{summary:#}");
    assert_unchanged(&before, &appearance(inner));
    outer.stop().assert_unharmed();
}

#[test]
fn jumps_out_of_an_allocator() {
    let program = build_as("jumper", "reach/jumper.c", "gcc -O2 -g -fno-builtin SOURCE");
    let mut target = assert_exact(Target::start_program(&program, ""), "malloc").1;
    // Again and again: a jump may fall into any instruction of the hooks, and into an attach or a detach.
    for _ in 0..10 {
        target.tell("go");
        let run = leakline(&format!("attach {} --json --for 0.05", target.pid()));
        assert!(run.errors.is_empty(), "{}", run.describe());
        assert_eq!(target.wait_for("jumped "), "300");
        target.wait_for("done");
    }
    target.stop().assert_unharmed();
}

/// Loaded after the attach and unloaded at once: all stacks are whole and named, from the first block of the constructor on.
#[test]
fn a_library_that_is_there_for_an_instant() {
    let library = build_as("brief.so", "reach/brief.c", "gcc -O2 -g -shared -fPIC SOURCE");
    let loader = build_as("loader", "reach/loader.c", "gcc -O2 -g -pthread SOURCE -ldl");
    check_brief(&loader, &library, &["begins", "main"]);
    if is_there("a library that musl loads for an instant", "/usr/bin/musl-gcc", "musl-tools") {
        let library = build_as("brief-musl.so", "reach/brief.c", "musl-gcc -O2 -g -shared -fPIC SOURCE");
        let loader = build_as("loader-musl", "reach/loader.c", "musl-gcc -O2 -g -pthread SOURCE");
        // musl itself has no unwind tables.
        check_brief(&loader, &library, &["begins"]);
    }
}

/// Threads that load libraries wait for leakline, but not for one that is stopped, nor for one that is dead.
#[test]
fn libraries_are_loaded_beside_a_stopped_leakline() {
    let library = build_as("brief.so", "reach/brief.c", "gcc -O2 -g -shared -fPIC SOURCE");
    let loader = build_as("loader", "reach/loader.c", "gcc -O2 -g -pthread SOURCE -ldl");
    let mut target = Target::start_program(&loader, &format!("{} brief", library.display()));
    let watching = attached(target.pid());
    signal(watching.pid(), Signal::STOP);
    let claims = work(&mut target);
    signal(watching.pid(), Signal::CONT);
    target.tell("go");
    let summary = stopped(watching).summary();
    assert!(summary["coverage"]["allocations"].as_u64() >= Some(claims[0].1[0]), "{summary:#}");
    while target.wait_for("") != "done" {}
    let watching = attached(target.pid());
    target.tell("go");
    watching.kill();
    while target.wait_for("") != "done" {}
    leakline(&format!("detach {}", target.pid())).assert_code(0);
    target.stop().assert_unharmed();
}

#[track_caller]
fn check_brief(loader: &Path, library: &Path, through: &[&str]) {
    let mut target = Target::start_program(loader, &format!("{} brief", library.display()));
    let before = appearance(target.pid());
    let watching = attached(target.pid());
    let claims = work(&mut target);
    let summary = stopped(watching).summary();
    assert_eq!(account(&summary, "by_constructor"), claims[0].1, "{summary:#}");
    for site in sites_through(&summary, "by_constructor") {
        for function in through {
            assert!(frames(site).iter().any(|frame| frame["function"] == *function), "no {function}: {site:#}");
        }
    }
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

/// An address of ours that lies in a frame which never wrote there is no frame of ours: nothing has to stay.
#[test]
fn a_thread_that_sleeps_over_what_calls_have_left_on_its_stack() {
    let mut target = Target::start_program(&build_as("sleeper", "reach/sleeper.c", "gcc -O2 -g SOURCE"), "");
    let before = appearance(target.pid());
    for _ in 0..2 {
        let watching = attached(target.pid());
        target.ask("go", "done");
        let summary = stopped(watching).summary();
        assert!(!summary["notes"].to_string().contains("stays in the target"), "{summary:#}");
        assert_eq!(summary["coverage"]["allocations"], 1, "{summary:#}");
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", target.pid())).expect("it runs");
        assert!(!maps.contains("leakline"), "{maps}");
    }
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

/// Loaded after the attach, unloaded before the summary.
#[test]
fn libraries_that_come_and_go() {
    let library = build_as("plugin.so", "reach/plugin.c", "gcc -O2 -g -shared -fPIC SOURCE");
    let loader = build_as("loader", "reach/loader.c", "gcc -O2 -g -pthread SOURCE -ldl");
    for words in [format!("{}", library.display()), format!("{} busy", library.display())] {
        let mut target = Target::start_program(&loader, &words);
        let watching = attached(target.pid());
        let claims = work(&mut target);
        let summary = stopped(watching).summary();
        assert_eq!(account(&summary, "by_plugin"), claims[0].1, "{words}: {summary:#}");
        // Attaches and detaches meet half-loaded libraries, too.
        for _ in 0..5 {
            leakline(&format!("attach {} --json --for 0.05", target.pid()));
        }
        work(&mut target);
        target.stop().assert_unharmed();
    }
}
