//! `leakline detach`: what a killed leakline left is found, named and taken out; a living one is left alone.
//!
//! Owns: those cases. Must not know: what the hooks counted.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::command::{Run, Running, attach, leakline, program};
use crate::process::{Appearance, appearance, assert_unchanged, cannot_run, signal};
use crate::targets::{Target, build};

/// The row of a process in the answer.
#[track_caller]
fn row(run: &Run, pid: u32) -> Value {
    let summary = run.summary();
    let rows = summary["processes"].as_array().cloned().unwrap_or_default();
    let found = rows.into_iter().find(|row| row["pid"] == pid);
    found.unwrap_or_else(|| panic!("no row of {pid}: {}", run.describe()))
}

fn mentions(pid: u32) -> usize {
    std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default().matches("leakline").count()
}

#[test]
fn what_a_killed_leakline_left_is_taken_out_by_hand() {
    let mut target = Target::start("c/churn.c", "--threads 3 --depth 10 --leak 50 --check-full --quiet");
    let before = appearance(target.pid());
    for _ in 0..3 {
        let mut session = Running::start(&format!("attach {} --expire 0.1 --json", target.pid()));
        session.wait_attached();
        session.kill();
        assert!(mentions(target.pid()) > 0, "nothing was left, so that nothing is tested");
        let run = leakline(&format!("detach {} --json", target.pid()));
        run.assert_code(0);
        let row = row(&run, target.pid());
        assert!(row["hooks_removed"].as_u64() > Some(3) && row["code_removed_bytes"].as_u64() > Some(4096), "{row}");
        assert_eq!((mentions(target.pid()), &row["left_because"]), (0, &Value::from("nothing")));
        assert_unchanged(&before, &appearance(target.pid()));
        target.ask("rate", "rate");
    }
    let again = leakline(&format!("detach {}", target.pid()));
    again.assert_code(0);
    assert!(again.lines[0].starts_with("There is nothing of leakline's in process"), "{}", again.describe());
    let ended = target.stop();
    ended.assert_unharmed();
    assert!(ended.lines.iter().any(|line| line == "hash ok"), "{:?}", ended.lines);
}

#[test]
fn a_living_leakline_is_left_alone_and_named() {
    let mut target = Target::start("c/leaky.c", "--rate 4096");
    let before = appearance(target.pid());
    let mut session = Running::start(&format!("attach {} --expire 0.2 --json", target.pid()));
    session.wait_attached();
    let run = leakline(&format!("detach {}", target.pid()));
    run.assert_refused(&["another leakline", &session.pid().to_string(), "kill -int"]);
    // Its own memory is not what is looked for.
    let own = leakline(&format!("detach {}", session.pid()));
    own.assert_code(0);
    assert!(own.lines[0].starts_with("There is nothing of leakline's"), "{}", own.describe());
    target.ask("mark", "marked");
    signal(session.pid(), Signal::INT);
    let run = session.wait();
    assert!(run.summary()["coverage"]["allocations"].as_u64() > Some(0), "{}", run.describe());
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

/// A forked child inherits the jumps and what they lead to, but not the shared memory: it works with hooks that pass through.
#[test]
fn what_forked_children_inherit_is_taken_out_too() {
    let mut target = Target::start("c/offspring.c", "");
    let before = appearance(target.pid());
    let mut session = Running::start(&format!("attach {} --expire 0.1 --for 60 --json", target.pid()));
    session.wait_attached();
    let [by_hand, attached, under_session] = [(); 3].map(|()| child(&mut target));
    // Its code is its own: it may be freed while its parent is attached to.
    let freed = leakline(&format!("detach {under_session} --json"));
    freed.assert_code(0);
    let freed = row(&freed, under_session);
    assert!(freed["hooks_removed"].as_u64() > Some(3) && freed["shared_removed_bytes"] == 0, "{freed}");
    assert_code_is(&before, under_session);
    signal(session.pid(), Signal::INT);
    assert!(session.wait().summary()["coverage"]["allocations"].as_u64() > Some(0));
    assert_unchanged(&before, &appearance(target.pid()));
    // An attach takes the old hooks out before it puts its own in, and detaches from the code as it is in the file.
    let run = attach(attached, "--expire 0.1 --for 0.3");
    assert!(run.summary()["coverage"]["allocations"].as_u64() > Some(0), "{}", run.describe());
    assert_code_is(&before, attached);
    let run = leakline(&format!("detach {by_hand}"));
    run.assert_code(0);
    assert!(run.lines[0].starts_with("What an earlier leakline left in process"), "{}", run.describe());
    assert_code_is(&before, by_hand);
    let ended = target.stop();
    ended.assert_unharmed();
    assert_eq!(ended.numbers("children "), [3, 0], "{:?}", ended.lines);
}

#[track_caller]
fn child(target: &mut Target) -> u32 {
    target.ask("fork", "child").parse().expect("a number")
}

/// All code of a child is what its parent's was, and nothing else is there to run.
#[track_caller]
fn assert_code_is(before: &Appearance, child: u32) {
    let after = appearance(child);
    assert_unchanged(&before.only_code(), &after.only_code());
    let maps = std::fs::read_to_string(format!("/proc/{child}/maps")).expect("it lives");
    let nameless = |line: &&str| line.contains(" r-xp ") && line.contains(" 00:00 0 ") && !line.contains('[');
    assert_eq!(maps.lines().find(nameless), None, "{maps}");
}

/// In a pid namespace of its own: there is no other process that could be looked at or be harmed.
#[test]
fn all_processes_are_freed_at_once() {
    let unshare = "unshare --pid --fork --mount-proc";
    let mut words = unshare.split(' ').chain(["true"]);
    let may = Command::new(words.next().unwrap_or_default()).args(words).status().is_ok_and(|status| status.success());
    if !may {
        return cannot_run("detach --all", "no pid namespace can be made here");
    }
    let script = "
        for i in 1 2; do (sleep 60 | \"$1\" --rate 4096 >/dev/null) & done
        until [ \"$(pgrep -c leaky)\" = 2 ]; do sleep 0.05; done
        for pid in $(pgrep leaky); do
            rm -f log; touch log
            \"$2\" attach $pid --plain --expire 0.1 > log & attached=$!
            until grep -q attached log; do kill -0 $attached || exit 9; sleep 0.05; done
            kill -9 $attached; wait $attached 2>/dev/null
            grep -q leakline /proc/$pid/maps || exit 8
        done
        mkfifo commands; \"$3\" < commands > said & exec 3> commands
        parent=$!
        until grep -q ready said; do sleep 0.05; done
        rm -f log; touch log
        \"$2\" attach $parent --plain --expire 0.1 > log & attached=$!
        until grep -q attached log; do kill -0 $attached || exit 7; sleep 0.05; done
        echo fork >&3
        until grep -q child said; do sleep 0.05; done
        kill -INT $attached; wait $attached
        \"$2\" detach --all --json; echo code $?
        \"$2\" detach --all --json; echo code $?
        grep -l leakline $(printf '/proc/%s/maps ' $(pgrep leaky)); pkill leaky; pkill sleep; exit 0
    ";
    let folder = crate::targets::built().join(format!("detach-all-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut command = Command::new("unshare");
    command.args(unshare.split(' ').skip(1)).args(["bash", "-c", script, "bash"]);
    command.arg(build("c/leaky.c")).arg(program()).arg(build("c/offspring.c")).current_dir(&folder);
    let run = Running::start_command(command, "detach --all").wait();
    run.assert_code(0);
    let [first, code, second, code_again] = run.lines.as_slice() else { panic!("{}", run.describe()) };
    assert_eq!((code.as_str(), code_again.as_str()), ("code 0", "code 0"), "{}", run.describe());
    let first: Value = serde_json::from_str(first).expect("JSON");
    // The two whose leakline was killed, and the child of one whose leakline took its leave.
    assert_eq!(first["processes"].as_array().map(Vec::len), Some(3), "{first}");
    assert!(second.contains("nothing of leakline's in any of"), "{second}");
    std::fs::remove_dir_all(&folder).expect("it is ours");
}
