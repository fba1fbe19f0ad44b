//! `leakline run` in an interactive shell at a terminal: keys, jobs, and the exit status.
//!
//! Owns: what is typed. Must not know: what the report says of memory.

use std::path::Path;

use super::{reports, scratch};
use crate::command::program;
use crate::process::{holds_soon, state};
use crate::shell::Shell;

const INTERRUPT: &str = "\x03";
const SUSPEND: &str = "\x1a";
const END_OF_INPUT: &str = "\x04";

/// A line that runs a program, with a file for its report.
fn line(name: &str, words: &str) -> (String, std::path::PathBuf) {
    let report = scratch(&format!("terminal-{name}"));
    (format!("{} run --json -o {} -- {words}", program().display(), report.display()), report)
}

/// How the program ended, from its report.
#[track_caller]
fn end_of(report: &Path) -> String {
    let all = reports(report);
    let _ = std::fs::remove_file(report);
    all.last().unwrap_or_else(|| panic!("no report in {}", report.display()))["end"].as_str().unwrap_or("").to_owned()
}

#[test]
fn the_interrupt_key_reaches_the_program_which_decides() {
    let Some(mut shell) = Shell::start() else { return };
    // A signal that comes just before a shell reads is only looked at when the line is there.
    let (waits, reads) = ("while :; do sleep 0.1; done", "read x; exit 5");
    for (name, trap, work, status, end) in [
        ("traps", "trap \"exit 7\" INT; ", waits, "7", "ended with status 7"),
        ("default", "", reads, "130", "ended by signal 2"),
        ("ignores", "trap \"\" INT; ", reads, "5", "ended with status 5"),
    ] {
        let script = format!("sh -c '{trap}echo rea\"\"dy; {work}'");
        let (line, report) = line(name, &script);
        shell.type_line(&line);
        shell.wait_for("ready\n");
        shell.press(INTERRUPT);
        if name == "ignores" {
            shell.press("on\n");
        }
        shell.assert_status(status);
        assert_eq!(end_of(&report), end, "{name}");
    }
}

#[test]
fn the_suspend_key_stops_the_whole_job_and_the_shell_resumes_it() {
    let Some(mut shell) = Shell::start() else { return };
    let (line, report) = line("suspended", "sh -c 'echo pid=$$.; exec cat'");
    shell.type_line(&line);
    shell.wait_for("pid=");
    let pid: u32 = shell.wait_for(".").trim_end_matches('.').parse().expect("a pid");
    shell.press("one\n");
    shell.wait_for("one\none\n");
    shell.press(SUSPEND);
    shell.wait_for("Stopped");
    shell.wait_for("PROMPT> ");
    assert!(holds_soon(|| state(pid) == 'T'), "the program stands still with leakline");
    shell.type_line("echo \"st\"\"ill here\"");
    shell.wait_for("still here\n");
    shell.wait_for("PROMPT> ");
    shell.type_line("fg");
    shell.wait_for("-- sh -c");
    shell.press("two\n");
    shell.wait_for("two\ntwo\n");
    shell.press(END_OF_INPUT);
    shell.assert_status("0");
    assert_eq!(end_of(&report), "ended with status 0");
}

/// An editor stops itself when the key is pressed, and has made the terminal its own meanwhile.
#[test]
fn a_program_that_stops_itself_gives_the_terminal_back() {
    let Some(mut shell) = Shell::start() else { return };
    let (line, report) = line("stops-itself", "sh -c 'kill -STOP $$; echo go\"\"es on; exit 6'");
    shell.type_line(&line);
    shell.wait_for("Stopped");
    shell.wait_for("PROMPT> ");
    shell.type_line("fg");
    shell.wait_for("goes on\n");
    shell.assert_status("6");
    assert_eq!(end_of(&report), "ended with status 6");
}
