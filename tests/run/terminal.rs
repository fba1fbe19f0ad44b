//! `leakline run` in an interactive shell at a terminal: keys, jobs, and the exit status.
//!
//! Owns: the terminal and the shell. Must not know: what the report says of memory.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::{reports, scratch};
use crate::command::program;
use crate::process::{cannot_run, holds_soon, state};

/// Longer than anything takes here, also on a machine that is busy with other tests.
const ANSWER_MAX: Duration = Duration::from_secs(60);
const INTERRUPT: &str = "\x03";
const SUSPEND: &str = "\x1a";
const END_OF_INPUT: &str = "\x04";

/// A shell with job control, as a user has it.
struct Shell {
    child: Child,
    keys: File,
    output: Receiver<Vec<u8>>,
    /// What was written and not yet waited for.
    seen: String,
}

impl Shell {
    /// None where the tools are missing.
    fn start() -> Option<Self> {
        if !Path::new("/usr/bin/setsid").exists() || !Path::new("/bin/bash").exists() {
            cannot_run("run::terminal", "there is no setsid or no bash (`apt install util-linux bash`)");
            return None;
        }
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&keys).and_then(|()| unlockpt(&keys)).expect("it is ours");
        let name = ptsname(&keys, Vec::new()).expect("it has a name");
        let open = || {
            let file =
                File::options().read(true).write(true).open(Path::new(std::ffi::OsStr::from_bytes(name.as_bytes())));
            Stdio::from(file.expect("its other end"))
        };
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", "bash", "--norc", "--noprofile", "-i"]);
        command.env("PS1", "PROMPT> ").env("TERM", "dumb").stdin(open()).stdout(open()).stderr(open());
        let child = command.spawn().expect("setsid starts");
        let keys = File::from(keys);
        let mut screen = keys.try_clone().expect("it can be read");
        let (send, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = screen.read(&mut bytes) {
                if count == 0 || send.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut shell = Self { child, keys, output, seen: String::new() };
        shell.wait_for("PROMPT> ");
        Some(shell)
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("somebody reads the keys");
    }

    /// Waits for a text behind all that was waited for before.
    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        let until = Instant::now() + ANSWER_MAX;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            match self.output.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes).replace('\r', "")),
                Err(error) => panic!("{text:?} never came ({error}): {:?}", self.seen),
            }
        }
    }

    /// Types a line; what it prints is told from its echo by the quotes in it.
    fn type_line(&mut self, line: &str) {
        self.press(&format!("{line}\n"));
        self.wait_for("\n");
    }

    /// Waits for the prompt and asks for the status of what ended.
    #[track_caller]
    fn assert_status(&mut self, wanted: &str) {
        self.wait_for("PROMPT> ");
        self.type_line("echo \"co\"\"de=$?.\"");
        self.wait_for(&format!("code={wanted}."));
        self.wait_for("PROMPT> ");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The shell ends its jobs when its terminal goes, and with it setsid; after a failure it must not be waited for.
        let _ = self.keys.write_all(b"\x03\x04exit\nexit\n");
        if !holds_soon(|| state(self.child.id()) == 'Z') {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

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
    for (name, trap, status, end) in [
        ("traps", "trap \"exit 7\" INT; ", "7", "ended with status 7"),
        ("default", "", "130", "ended by signal 2"),
        ("ignores", "trap \"\" INT; ", "5", "ended with status 5"),
    ] {
        let script = format!("sh -c '{trap}echo rea\"\"dy; read x; exit 5'");
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
