//! What recording costs, beside what it replaces: a loop of the shell around `ps`, and atop.
//!
//! Owns: many processes, the three recorders on them at the same time, a week to read. Must not know: how anything is sampled or stored.
//!
//! All three look at the same processes in the same minute, so that whatever else the machine does weighs on each alike.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Effort;
use crate::machine::{sleeper, ticks_with_children};
use crate::tool::{leakline, send, status_figure};

const TICKS_A_SECOND: f64 = 100.0;
/// The columns that scripts of this kind keep.
const PS_LOOP: &str = "while :; do date +%s; ps -eo pid,ppid,user,rss,vsz,nlwp,stat,comm,args --sort=-rss; sleep";

/// One that records.
struct Recorder {
    name: &'static str,
    child: Child,
    /// What it writes: a file, or a folder of them.
    output: PathBuf,
    before: (f64, u64),
}

/// A folder that goes with the measurement.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn measure(effort: Effort) -> String {
    let folder = Folder(std::env::temp_dir().join(format!("leakline-bench-{}", std::process::id())));
    fs::create_dir_all(&folder.0).expect("a folder for what is recorded");
    let mut table = String::new();
    // A machine as it mostly is, and one that is as full as they come. The second part takes more beats, since one lasts a second.
    let parts = if effort.big { [(300, 5, 8), (5000, 1, 20)] } else { [(30, 1, 2), (60, 1, 2)] };
    for (processes, every, beats) in parts {
        let _ = writeln!(table, "{processes} more processes, recorded every {every} s by all three at the same time");
        table.push_str(&side_by_side(&folder.0, processes, every, beats));
        table.push('\n');
    }
    let (days, label) = if effort.big { (7.0, "7 days of 300 processes every 5 s") } else { (0.02, "half an hour") };
    let _ = writeln!(table, "{label}: {}", a_week(&folder.0.join("week"), days));
    table
}

fn side_by_side(folder: &Path, processes: usize, every: u64, beats: u64) -> String {
    let crowd: Vec<Child> = (0..processes).map(|_| sleeper()).collect();
    let mut recorders = start(folder, every);
    // The first sample reads everything, and is not what recording costs.
    sleep(Duration::from_millis(every * 1500));
    for recorder in &mut recorders {
        recorder.before = recorder.figures();
    }
    let listed = fs::read_dir("/proc").expect("/proc can be listed").filter_map(Result::ok).filter(is_process).count();
    let started = Instant::now();
    sleep(Duration::from_secs(every * beats));
    let seconds = started.elapsed().as_secs_f64();
    let rows: Vec<_> = recorders.into_iter().map(Recorder::end).collect();
    for mut child in crowd {
        let _ = child.kill();
        let _ = child.wait();
    }
    let mut table = format!(
        "{:>9} {:>14} {:>8} {:>18} {:>14} {:>8} {:>11}\n",
        "", "% of one core", "ratio", "us/process-sample", "bytes/sample", "ratio", "memory MiB"
    );
    let samples = seconds / every as f64;
    let ours = rows.first().map_or(f64::NAN, |row| row.1);
    let our_bytes = rows.first().map_or(f64::NAN, |row| row.2);
    for (name, cpu, bytes, memory) in rows {
        let each = cpu * 1e6 / samples / listed as f64;
        let _ = writeln!(
            table,
            "{name:>9} {:>14.2} {:>8.1} {each:>18.1} {:>14.0} {:>8.0} {memory:>11.1}",
            100.0 * cpu / seconds,
            cpu / ours,
            bytes / samples,
            bytes / our_bytes,
        );
    }
    table
}

fn is_process(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok())
}

/// leakline first: the ratios are against it. atop only where it is installed.
fn start(folder: &Path, every: u64) -> Vec<Recorder> {
    let spawn = |name, mut command: Command, output: PathBuf| {
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().ok()?;
        Some(Recorder { name, child, output, before: (0.0, 0) })
    };
    let place = |name: &str| folder.join(format!("{name}-{every}"));
    let (ours, loops, atops) = (place("leakline"), place("ps"), place("atop"));
    let mut record = Command::new(leakline());
    record.args(["record", "--every", &every.to_string(), "--alert-file"]).arg(place("alerts")).arg("-o").arg(&ours);
    record.stdout(Stdio::null());
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{PS_LOOP} {every}; done"));
    shell.stdout(fs::File::create(&loops).expect("a file for the loop"));
    let mut atop = Command::new("atop");
    atop.arg("-w").arg(&atops).arg(every.to_string()).stdout(Stdio::null());
    let all = [spawn("leakline", record, ours), spawn("ps loop", shell, loops), spawn("atop", atop, atops)];
    all.into_iter().flatten().collect()
}

impl Recorder {
    /// Processor time in seconds, its children included, and bytes written.
    fn figures(&self) -> (f64, u64) {
        (ticks_with_children(self.child.id()) / TICKS_A_SECOND, size(&self.output))
    }

    /// Name, seconds of processor time, bytes, and the greatest memory in MiB.
    fn end(mut self) -> (&'static str, f64, f64, f64) {
        let after = self.figures();
        let memory = status_figure(self.child.id(), "VmHWM:") / 1024.0;
        send(self.child.id(), Signal::TERM);
        let _ = self.child.wait();
        (self.name, after.0 - self.before.0, (after.1 - self.before.1) as f64, memory)
    }
}

fn size(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => {
            entries.filter_map(Result::ok).filter_map(|entry| entry.metadata().ok()).map(|it| it.len()).sum()
        }
        Err(_) => fs::metadata(path).map_or(0, |it| it.len()),
    }
}

/// A recording as if of so many days, and its report as text and as a page.
fn a_week(place: &Path, days: f64) -> String {
    const EVERY_MS: f64 = 5000.0;
    let beats = (days * 86_400_000.0 / EVERY_MS) as u64;
    let made = crate::tool::measure_example().args(["make", "300", "5000", &beats.to_string()]).arg(place).output();
    assert!(made.is_ok_and(|output| output.status.success()), "the recording of a week is not made");
    let mut line = format!("{:.2} MB a day", size(place) as f64 / 1e6 / days);
    for form in ["text", "html"] {
        let mut report = Command::new(leakline());
        report.arg("report").arg(place);
        if form == "html" {
            report.arg("--html").arg(place.with_extension("html"));
        }
        let started = Instant::now();
        let mut child = report.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("leakline starts");
        let mut memory = 0.0_f64;
        while child.try_wait().is_ok_and(|ended| ended.is_none()) {
            // The greatest so far; of the last milliseconds nothing is known.
            memory = memory.max(status_figure(child.id(), "VmHWM:"));
            sleep(Duration::from_millis(5));
        }
        let _ = write!(line, "; {form} in {:.2} s, {:.0} MiB", started.elapsed().as_secs_f64(), memory / 1024.0);
    }
    line
}
