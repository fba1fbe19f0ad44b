//! `leakline detach`: what a killed leakline left is found, named and taken out; a living one is left alone.
//!
//! Owns: those cases. Must not know: what the hooks counted.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::command::{Run, Running, leakline, program};
use crate::process::{appearance, assert_unchanged, cannot_run, signal};
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
            \"$2\" attach $pid --plain --expire 0.1 > log & attached=$!
            until grep -q attached log; do kill -0 $attached || exit 9; sleep 0.05; done
            kill -9 $attached; wait $attached 2>/dev/null
            grep -q leakline /proc/$pid/maps || exit 8
        done
        \"$2\" detach --all --json; echo code $?
        \"$2\" detach --all --json; echo code $?
        grep -l leakline $(printf '/proc/%s/maps ' $(pgrep leaky)); pkill leaky; pkill sleep; exit 0
    ";
    let folder = crate::targets::built().join(format!("detach-all-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut command = Command::new("unshare");
    command.args(unshare.split(' ').skip(1)).args(["bash", "-c", script, "bash"]);
    command.arg(build("c/leaky.c")).arg(program()).current_dir(&folder);
    let run = Running::start_command(command, "detach --all").wait();
    run.assert_code(0);
    let [first, code, second, code_again] = run.lines.as_slice() else { panic!("{}", run.describe()) };
    assert_eq!((code.as_str(), code_again.as_str()), ("code 0", "code 0"), "{}", run.describe());
    let first: Value = serde_json::from_str(first).expect("JSON");
    assert_eq!(first["processes"].as_array().map(Vec::len), Some(2), "{first}");
    assert!(second.contains("nothing of leakline's in any of"), "{second}");
    std::fs::remove_dir_all(&folder).expect("it is ours");
}
