//! What watching a whole machine costs.
//!
//! Owns: many processes, the processor time and memory of `watch` and `hunt` at one beat a second. Must not know: how they sample.

use std::fmt::Write;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::Effort;
use crate::tool::{leakline, status_figure};

const TICKS_A_SECOND: f64 = 100.0;

pub(crate) fn measure(effort: Effort) -> String {
    let crowd: Vec<Child> = (0..effort.processes).map(|_| sleeper()).collect();
    let mut table = format!("Watching a machine with {} more processes, one beat a second\n", crowd.len());
    let _ = writeln!(table, "{:>8} {:>16} {:>12}", "command", "% of one core", "memory MiB");
    let seconds = if effort.big { 20 } else { 3 };
    for command in ["watch --json", "hunt --json --attach never"] {
        let (share, memory) = cost(command, seconds);
        let name = command.split(' ').next().unwrap_or(command);
        let _ = writeln!(table, "{name:>8} {share:>16.2} {memory:>12.1}");
    }
    for mut child in crowd {
        let _ = child.kill();
        let _ = child.wait();
    }
    table
}

pub(crate) fn sleeper() -> Child {
    Command::new("sleep").arg("600").stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("sleep runs")
}

/// Share of a core in percent between the first and the last second, and the greatest memory in MiB.
fn cost(command: &str, seconds: u64) -> (f64, f64) {
    let mut program = Command::new(leakline());
    program.args(command.split(' ')).args(["--every", "1", "--for", &(seconds + 3).to_string()]);
    let mut child =
        program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("leakline starts");
    sleep(Duration::from_secs(1));
    let before = ticks(child.id());
    sleep(Duration::from_secs(seconds));
    let used = (ticks(child.id()) - before) / TICKS_A_SECOND;
    let memory = status_figure(child.id(), "VmHWM:") / 1024.0;
    let _ = child.kill();
    let _ = child.wait();
    (100.0 * used / seconds as f64, memory)
}

/// Processor time of a process in ticks: user and system, fields 14 and 15 of `stat`.
fn ticks(pid: u32) -> f64 {
    times(pid, 2)
}

/// The same with that of the children that it waited for, fields 16 and 17.
pub(crate) fn ticks_with_children(pid: u32) -> f64 {
    times(pid, 4)
}

fn times(pid: u32, fields: usize) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let figures = after_name.split_whitespace().skip(11).take(fields);
    figures.map(|figure| figure.parse().unwrap_or(f64::NAN)).sum()
}
