//! What passes through leakline to the program and back: input, output, signals, the exit status; and leakline's own death.
//!
//! Owns: those promises. Must not know: what the report says of memory.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::{command, reports, run, run_with_input};
use crate::command::program;
use crate::process::{cannot_run, holds_soon, signal, state};

#[test]
fn input_and_output_are_the_programs_own() {
    let ran = run_with_input("cat", "", &["cat"], "one\ntwo\n");
    assert_eq!((ran.code, ran.output.as_str(), ran.errors.as_str()), (Some(0), "one\ntwo\n", ""));
    let text = format!("{} run -- echo piped 2>/dev/null | tr a-z A-Z", program().display());
    let output = Command::new("sh").args(["-c", &text]).output().expect("a shell");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "PIPED\n");
}

#[test]
fn without_a_file_the_report_goes_to_standard_error() {
    let output = Command::new(program()).args(["run", "--", "echo", "text"]).output().expect("leakline starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "text\n");
    for part in ["(echo): ended with status 0", "definitely lost", "Result     nothing found"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
}

#[test]
fn the_exit_status_is_the_programs() {
    for (words, code) in [
        (&["sh", "-c", "exit 42"][..], 42),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["sh", "-c", "kill -SEGV $$"], 139),
        (&["no-such-command-anywhere"], 127),
        (&["/etc/passwd"], 126),
        (&["/etc"], 126),
    ] {
        let ran = run("status", "", words);
        assert_eq!(ran.code, Some(code), "{words:?}: {}", ran.errors);
    }
    let ran = run("killed", "--fail-on-leak", &["sh", "-c", "kill -KILL $$"]);
    assert_eq!((ran.code, ran.last()["end"].as_str()), (Some(137), Some("ended by signal 9")));
    assert!(ran.last()["kinds"]["missing"].is_string(), "its memory was gone: {:#}", ran.last());
    // It lived for milliseconds; what it did until its last one was counted.
    assert!(ran.last()["not_freed"]["blocks"].as_u64() > Some(0), "a shell has some: {:#}", ran.last());
}

/// Starts a shell under leakline that says `ready`, then sends leakline a signal.
#[track_caller]
fn signalled(name: &str, script: &str, with: Signal) -> Option<i32> {
    let (mut command, report) = command(name, "", &["sh", "-c", script]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("leakline starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("it can be read");
    assert_eq!(line, "ready\n");
    signal(child.id(), with);
    let code = child.wait().expect("it ends").code();
    assert!(!reports(&report).is_empty(), "a report was written");
    let _ = std::fs::remove_file(report);
    code
}

#[test]
fn signals_reach_the_program() {
    let trap = |name: &str| format!("trap 'exit 9' {name}; echo ready; while :; do sleep 0.05; done");
    for (with, name) in [(Signal::INT, "INT"), (Signal::TERM, "TERM"), (Signal::HUP, "HUP"), (Signal::USR1, "USR1")] {
        assert_eq!(signalled(name, &trap(name), with), Some(9), "{name}");
    }
    assert_eq!(signalled("default", "echo ready; exec sleep 60", Signal::TERM), Some(143));
}

/// Until the program waits to be hooked it dies with leakline, which it had hardly left; from then on it goes on by itself.
#[test]
fn leakline_may_die_at_any_moment() {
    if !cfg!(debug_assertions) {
        cannot_run("leakline_may_die_at_any_moment", "a release has no such places; the debug build is tested");
        return;
    }
    for place in capture::RUN_FAULT_POINTS {
        let mark = super::scratch(place);
        let script = format!("x=1; echo done > {}", mark.display());
        let (mut command, report) = command(&format!("dies-{place}"), "", &["sh", "-c", &script]);
        let status = command.env("LEAKLINE_FAULT", place).stdin(Stdio::null()).status().expect("leakline starts");
        assert_eq!(status.code(), None, "nobody died at {place}");
        let begun = !matches!(place, "breakpoints-put" | "program-held");
        if begun {
            let is_done = || std::fs::read_to_string(&mark).is_ok_and(|text| text == "done\n");
            assert!(holds_soon(is_done), "the program went on after {place}");
        } else {
            std::thread::sleep(std::time::Duration::from_millis(100));
            assert!(!mark.exists(), "the program died with leakline at {place}");
        }
        let _ = std::fs::remove_file(mark);
        let _ = std::fs::remove_file(report);
    }
}

#[test]
fn a_program_that_stops_itself_goes_on_when_it_is_told_to() {
    let (mut command, report) = command("stopped", "", &["sh", "-c", "echo $$; kill -STOP $$; exit 6"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("leakline starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("it can be read");
    let shell: u32 = line.trim().parse().expect("a pid");
    assert!(holds_soon(|| state(shell) == 'T'), "it stopped");
    signal(shell, Signal::CONT);
    assert_eq!(child.wait().expect("it ends").code(), Some(6));
    let _ = std::fs::remove_file(report);
}

#[test]
fn a_program_with_rights_of_its_own_is_refused_to_who_cannot_keep_them() {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program()).args([
        "run",
        "--",
        "su",
        "--version",
    ]);
    let Ok(output) = command.output() else {
        cannot_run("a_program_with_rights_of_its_own_is_refused", "there is no setpriv (`apt install util-linux`)");
        return;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("setpriv:") {
        cannot_run("a_program_with_rights_of_its_own_is_refused", "only root may become another user");
        return;
    }
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("setuid") && errors.contains("hint: run leakline as root"), "{errors}");
}
