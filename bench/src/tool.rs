//! The tools that are measured: leakline, and heaptrack where it is installed.
//!
//! Owns: how they are started and ended. Must not know: what is measured.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Builds the program in release, as users run it.
pub(crate) fn build_leakline() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--quiet", "--release", "--package", "leakline"]).status();
    assert!(status.expect("cargo runs").success(), "leakline does not build");
}

/// The program that makes recordings without a machine; built by cargo where it is not.
pub(crate) fn measure_example() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--release", "--package", "leakline-recording", "--example", "measure", "--"]);
    command
}

/// The program lies beside this one.
pub(crate) fn leakline() -> PathBuf {
    let here = std::env::current_exe().expect("the name of this program");
    here.parent().expect("a folder").join("leakline")
}

/// A leakline that is attached. Dropping it ends it by force.
pub(crate) struct Attached {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Attached {
    /// Attaches and returns when the hooks are in and every block is recorded.
    pub(crate) fn to(pid: u32) -> Self {
        Self::in_mode(pid, "exact")
    }

    /// Attaches in this mode and returns when the hooks are in.
    pub(crate) fn in_mode(pid: u32, mode: &str) -> Self {
        let mut command = Command::new(leakline());
        // A search for pointers at the end would be no part of what is measured.
        command.args(["attach", &pid.to_string(), "--json", "--expire", "1", "--mode", mode, "--survey", "never"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("leakline starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let attached = lines.by_ref().map_while(Result::ok).any(|line| line.contains(r#""event":"attached""#));
        assert!(attached, "leakline could not attach to {pid}");
        Self { child, lines }
    }

    /// Memory of leakline itself, at its highest.
    pub(crate) fn memory_kib(&self) -> f64 {
        status_figure(self.child.id(), "VmHWM:")
    }

    /// Ends it as Ctrl-C does, and returns the summary.
    pub(crate) fn detach(mut self) -> serde_json::Value {
        send(self.child.id(), Signal::INT);
        let last = self.lines.by_ref().map_while(Result::ok).last();
        self.child.wait().expect("it ends");
        last.and_then(|line| serde_json::from_str(&line).ok()).unwrap_or_default()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Attaches heaptrack; none where it is not installed. It stays until the target ends.
pub(crate) fn heaptrack(pid: u32) -> Option<Child> {
    if !Path::new("/usr/bin/heaptrack").exists() {
        return None;
    }
    let output = std::env::temp_dir().join(format!("leakline-bench-{pid}"));
    let mut command = Command::new("heaptrack");
    // The options come first: its script takes all that follows the pid as arguments of a program.
    command.arg("--raw").arg("-o").arg(output).args(["-p", &pid.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

pub(crate) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // Gone already is as good.
        let _ = kill_process(pid, signal);
    }
}

/// A figure of `/proc/PID/status`, in KiB; NaN where there is none.
pub(crate) fn status_figure(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|figure| figure.parse().ok()).unwrap_or(f64::NAN)
}
