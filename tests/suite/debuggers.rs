//! A debugger or another tracer beside leakline: before the attach, during it, and at the detach.
//!
//! Owns: those meetings. Must not know: what the hooks counted.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::command::{Running, attach, leakline};
use crate::process::{appearance, assert_unchanged, cannot_run, holds_soon, signal, status_line};
use crate::targets::Target;

/// A gdb that holds a process.
struct Debugger {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Debugger {
    /// None where there is no gdb.
    fn of(pid: u32, case: &str) -> Option<Self> {
        if !Path::new("/usr/bin/gdb").exists() {
            cannot_run(case, "gdb is not installed");
            return None;
        }
        let mut command = Command::new("gdb");
        command.args(["-q", "-nx", "-p", &pid.to_string()]).env("DEBUGINFOD_URLS", "");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.expect("gdb starts");
        let output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut debugger = Self { child, output };
        debugger.does("set breakpoint always-inserted on");
        Some(debugger)
    }

    /// Has it carry out a command, and waits until it has.
    #[track_caller]
    fn does(&mut self, command: &str) {
        let input = self.child.stdin.as_mut().expect("stdin is a pipe");
        writeln!(input, "{command}\necho carried-out\\n").expect("gdb lives");
        let mut line = String::new();
        while !line.contains("carried-out") {
            line.clear();
            assert!(self.output.read_line(&mut line).expect("text") > 0, "gdb ended at {command:?}");
        }
    }

    /// What it leaves in the process stays there.
    fn kill(mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it is a child");
    }

    fn quit(mut self) {
        self.does("detach");
        drop(self.child.stdin.take());
        self.child.wait().expect("it is a child");
    }
}

/// The address that a message names behind these words.
#[track_caller]
fn address(text: &str, words: &str) -> u64 {
    let behind = text.split_once(words).unwrap_or_else(|| panic!("no {words:?} in {text}")).1;
    let digits: String = behind.trim_start_matches(" 0x").chars().take_while(char::is_ascii_hexdigit).collect();
    u64::from_str_radix(&digits, 16).unwrap_or_else(|error| panic!("{error}: {behind}"))
}

fn untraced(pid: u32) -> bool {
    status_line(pid, "TracerPid:") == "0"
}

#[test]
fn a_debugger_works_beside_a_session() {
    let target = Target::start("c/churn.c", "--threads 2 --quiet");
    let before = appearance(target.pid());
    let mut session = Running::start(&format!("attach {} --expire 0.1 --for 60 --json", target.pid()));
    session.wait_attached();
    assert!(holds_soon(|| untraced(target.pid())), "still traced by {}", status_line(target.pid(), "TracerPid:"));
    if let Some(mut debugger) = Debugger::of(target.pid(), "a debugger beside a session") {
        attach(target.pid(), "--for 0.1").assert_refused(&["traced by process", &debugger.child.id().to_string()]);
        debugger.does("backtrace 3");
        debugger.quit();
    }
    signal(session.pid(), Signal::INT);
    session.wait().summary();
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

/// Any tracer keeps leakline from the target's code: the hooks stay, do nothing, and are named together with the way to remove them.
#[test]
fn a_session_that_ends_under_a_tracer_says_what_it_leaves() {
    let mut target = Target::start("c/churn.c", "--threads 2 --quiet");
    let before = appearance(target.pid());
    let mut session = Running::start(&format!("attach {} --expire 0.1 --for 60 --json", target.pid()));
    session.wait_attached();
    let tracer = Target::start("c/tracer.c", &format!("--pid {}", target.pid()));
    signal(session.pid(), Signal::INT);
    let run = session.wait();
    let notes = run.summary()["notes"].to_string();
    let by_hand = format!("leakline detach {}", target.pid());
    assert!(notes.contains("dormant") && notes.contains(&by_hand), "{notes}");
    assert!(notes.contains(&format!("process {}", tracer.pid())), "the tracer is not named: {notes}");
    leakline(&format!("detach {}", target.pid())).assert_refused(&["traced by process", &tracer.pid().to_string()]);
    tracer.stop().assert_unharmed();
    target.ask("rate", "rate");
    leakline(&format!("detach {}", target.pid())).assert_code(0);
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

/// A debugger that sets a breakpoint on a hook keeps the jump's first byte, and puts it back when the breakpoint goes. So what the jump
/// leads to has to stay until then.
#[test]
fn a_breakpoint_in_a_hook_is_not_overwritten() {
    let mut target = Target::start("c/prologue.c", "");
    // gdb leaves breakpoints of its own in the dynamic linker.
    let before = appearance(target.pid()).of_program();
    let mut session = Running::start(&format!("attach {} --expire 0.1 --for 60 --json", target.pid()));
    session.wait_attached();
    let Some(mut debugger) = Debugger::of(target.pid(), "a breakpoint in a hook") else { return };
    debugger.does("break *realloc");
    debugger.kill();
    assert!(holds_soon(|| untraced(target.pid())));
    signal(session.pid(), Signal::INT);
    let run = session.wait();
    let notes = run.summary()["notes"].to_string();
    assert!(notes.contains("a debugger with a breakpoint") && notes.contains("leakline detach"), "{notes}");
    let pid = target.pid();
    let detach = || leakline(&format!("detach {pid}"));
    detach().assert_refused(&["has written at", "when that is gone"]);
    attach(target.pid(), "--for 0.1").assert_refused(&["has written at"]);
    target.ask("ping", "alive");
    let memory = File::options().read(true).write(true).open(format!("/proc/{}/mem", target.pid())).expect("memory");
    // Here, and in the dynamic linker, where gdb waits for libraries of its own accord.
    let mut refused = 0;
    let last = loop {
        let run = detach();
        if run.code == Some(0) || refused == 8 {
            break run;
        }
        refused += 1;
        let at = address(&run.errors, "has written at");
        // What gdb would have done, had it lived.
        let mut byte = [0];
        memory.read_exact_at(&mut byte, at).expect("code can be read");
        assert_eq!(byte, [0xcc], "no breakpoint was set, so that nothing is tested");
        memory.write_all_at(&[0xe9], at).expect("code can be written");
    };
    last.assert_code(0);
    assert!(refused > 0, "nothing stood in the way");
    assert_unchanged(&before, &appearance(target.pid()).of_program());
    target.stop().assert_unharmed();
}

/// A breakpoint whose debugger is dead looks like an instruction: copied, it would end the program at some other address.
#[test]
fn a_breakpoint_that_was_left_behind_is_never_copied() {
    // Those that free and those that only allocate, which nobody calls: that would end the program.
    for function in ["malloc", "free", "realloc", "memalign"] {
        let mut target = Target::start("c/idle.c", "");
        let Some(mut debugger) = Debugger::of(target.pid(), "a breakpoint left behind") else { return };
        debugger.does(&format!("break *{function}"));
        debugger.kill();
        assert!(holds_soon(|| untraced(target.pid())));
        let before = appearance(target.pid());
        attach(target.pid(), "--for 0.1").assert_refused(&["cannot hook", function, "a breakpoint", "take it away"]);
        assert_unchanged(&before, &appearance(target.pid()));
        target.ask("ping", "alive");
        target.stop().assert_unharmed();
    }
}
