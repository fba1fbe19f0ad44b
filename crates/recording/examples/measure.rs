//! What a recording costs: bytes a day, time of an append, time and memory to read a week.
//!
//! Owns: a sampler of `/proc` that is just good enough to have real figures of the machine, and processes that live as on an idle server.
//! Must not know: the format.
//!
//! `cargo run --release -p leakline-recording --example measure -- week 300 5000` (processes, milliseconds) or `… beats 5000 1000 120`.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a tool for developers that ends at the first trouble"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{
    Beat, Figure, FigureKey, Identity, Moment, Pid, ProcessFigures, ProcessKey, ProcessMetric, ProcessReading, Reading,
    Source, SourceSample, SystemSample, Why,
};
use recording::{Options, Recorder, Recording};

/// Chance that is the same at each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// Figures of a file of `name value` lines; those of `meminfo` in bytes.
struct Table {
    source: Source,
    values: Vec<(FigureKey, u64)>,
}

impl Table {
    fn read(source: Source, path: &str, unit: u64) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = |line: &str| {
            let (name, rest) = line.split_once([':', ' '])?;
            let value: u64 = rest.split_whitespace().next()?.parse().ok()?;
            Some((FigureKey { subject: Arc::from(""), name: Arc::from(name) }, value * unit))
        };
        Self { source, values: text.lines().filter_map(line).collect() }
    }

    /// As on a server with something to do: a third of the figures move at each beat, counters by thousands.
    fn step(&mut self, chance: &mut Chance) -> SourceSample {
        for (number, (_, value)) in self.values.iter_mut().enumerate() {
            if number % 3 == 0 && *value > 0 {
                *value += if self.source == Source::Meminfo { chance.below(400) * 1024 } else { chance.below(20_000) };
            }
        }
        let figure = |(key, value): &(FigureKey, u64)| Figure { key: key.clone(), value: Reading::Known(*value) };
        SourceSample { source: self.source, figures: Reading::Known(self.values.iter().map(figure).collect()) }
    }
}

struct Machine {
    chance: Chance,
    at: Moment,
    beats: u64,
    tables: Vec<Table>,
    processes: Vec<ProcessReading>,
}

impl Machine {
    fn new(processes: u32) -> Self {
        let tables =
            vec![Table::read(Source::Meminfo, "/proc/meminfo", 1024), Table::read(Source::Vmstat, "/proc/vmstat", 1)];
        let at = Moment { wall_ns: 1_700_000_000_000_000_000, boot_ns: 1 << 40, boot_id: Arc::from("a") };
        let mut machine = Self { chance: Chance(42), at, beats: 0, tables, processes: Vec::new() };
        machine.processes = (0..processes).map(|number| machine.process(number + 100)).collect();
        machine
    }

    fn process(&mut self, pid: u32) -> ProcessReading {
        let mut figures = ProcessFigures::default();
        for metric in ProcessMetric::ALL.into_iter().take(ProcessMetric::Pss as usize) {
            figures.set(metric, Reading::Known(self.chance.below(1 << 14) << 12));
        }
        let identity = Identity {
            key: ProcessKey { pid: Pid(pid), started: self.at.boot_ns / 10_000_000 },
            command: format!("worker-{pid}"),
            arguments: format!(
                "/usr/lib/service/worker --id {pid} --listen 127.0.0.1:{pid} --config /etc/service/{pid}.toml"
            ),
            uid: Reading::Known(1000),
            user: Reading::Known("service".to_owned()),
            cgroup: Reading::Known(format!("/system.slice/service-{}.service", pid % 40)),
            container: None,
            kernel_thread: false,
        };
        ProcessReading { identity: Arc::new(identity), figures }
    }

    /// Of ten processes one ran since the beat before; of these half got or gave memory. One is born and one dies each minute.
    fn beat(&mut self, every_ms: u64) -> Beat {
        let jitter_ns = self.chance.below(200_000);
        self.at.wall_ns += every_ms * 1_000_000 + jitter_ns;
        self.at.boot_ns += every_ms * 1_000_000 + jitter_ns;
        self.beats += 1;
        if self.beats.is_multiple_of(60_000 / every_ms) {
            let gone = self.chance.below(self.processes.len() as u64) as usize;
            self.processes.remove(gone);
            let born = self.process(100_000 + self.beats as u32);
            self.processes.push(born);
        }
        let chance = &mut self.chance;
        for process in &mut self.processes {
            if chance.below(10) == 0 {
                let mut add = |metric, step: u64| {
                    process.figures.set(metric, process.figures.get(metric).map(|value| value + step));
                };
                add(ProcessMetric::CpuTime, 10 * chance.below(20));
                add(ProcessMetric::MinorFaults, chance.below(100));
                add(ProcessMetric::RssAnon, if chance.below(2) == 0 { 4096 * chance.below(64) } else { 0 });
            }
        }
        let slow = self.beats.is_multiple_of(6);
        let tables = self.tables.iter_mut().filter(|table| slow || table.source == Source::Meminfo);
        let sources = tables.map(|table| table.step(chance)).collect();
        Beat {
            at: self.at.clone(),
            processes: self.processes.clone(),
            system: SystemSample { sources },
            events: Vec::new(),
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |position: usize| -> u64 { arguments[position].parse().unwrap() };
    let place = std::env::temp_dir().join(format!("leakline-measure-{}", std::process::id()));
    match arguments.first().map(String::as_str) {
        Some("week") => week(&place, number(1) as u32, number(2)),
        Some("beats") => beats(&place, number(1) as u32, number(2), number(3)),
        Some("make") => record(&PathBuf::from(&arguments[4]), number(1) as u32, number(2), number(3), unsynced()),
        Some("read") => read(&PathBuf::from(&arguments[1])),
        _ => panic!(
            "week PROCESSES MILLISECONDS, beats PROCESSES MILLISECONDS BEATS, make PROCESSES MILLISECONDS BEATS DIRECTORY, or read DIRECTORY"
        ),
    }
    let _ = fs::remove_dir_all(&place);
}

fn unsynced() -> Options {
    Options { sync_every: 0, ..Options::default() }
}

/// Records a week as fast as it can, and reads it.
fn week(place: &Path, processes: u32, every_ms: u64) {
    let beats = 7 * 86_400_000 / every_ms;
    record(place, processes, every_ms, beats, unsynced());
    // A process of its own, so that its peak of memory is that of reading alone.
    let program = std::env::current_exe().unwrap();
    #[expect(clippy::disallowed_methods, reason = "a tool for developers")]
    let status = std::process::Command::new(program).arg("read").arg(place).status().unwrap();
    assert!(status.success());
}

fn beats(place: &Path, processes: u32, every_ms: u64, beats: u64) {
    record(place, processes, every_ms, beats, Options::default());
}

fn record(place: &Path, processes: u32, every_ms: u64, beats: u64, options: Options) {
    let mut recorder = Recorder::open(place, options).unwrap();
    let mut machine = Machine::new(processes);
    let (mut appending, mut maintaining, mut longest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for _ in 0..beats {
        let beat = machine.beat(every_ms);
        let from = Instant::now();
        recorder.append(&beat).unwrap();
        appending += from.elapsed();
        let from = Instant::now();
        recorder.maintain().unwrap();
        maintaining += from.elapsed();
        longest = longest.max(from.elapsed());
    }
    recorder.seal().unwrap();
    let bytes: u64 = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    let samples = beats * u64::from(processes);
    println!("{processes} processes, {beats} beats of {every_ms} ms: {bytes} bytes");
    println!(
        "  {:.3} MB a day, {:.3} bytes a process-sample, {} bytes a beat",
        bytes as f64 * (86_400_000 / every_ms) as f64 / beats as f64 / 1e6,
        bytes as f64 / samples as f64,
        bytes / beats
    );
    println!(
        "  append {:.3} us a process-sample, {:?} a beat",
        appending.as_secs_f64() * 1e6 / samples as f64,
        appending / beats as u32
    );
    println!("  maintain {:?} a beat, at most {longest:?}; {}", maintaining / beats as u32, peak());
}

fn read(place: &Path) {
    let from = Instant::now();
    let recording = Recording::open(place).unwrap();
    println!("open {:?}", from.elapsed());
    for metric in [ProcessMetric::RssAnon, ProcessMetric::Swap] {
        let from = Instant::now();
        let series = recording.series(metric, 0..u64::MAX, 500, |_| true);
        let points: usize = series.iter().map(|series| series.points.len()).sum();
        println!("series of {metric:?}: {} processes, {points} points, {:?}", series.len(), from.elapsed());
    }
    let from = Instant::now();
    let figures = recording.figure_series(Source::Meminfo, 0..u64::MAX, 500).len();
    println!("{figures} figures of meminfo {:?}", from.elapsed());
    let from = Instant::now();
    println!("{} processes {:?}", recording.processes().len(), from.elapsed());
    let from = Instant::now();
    println!("{} gaps {:?}; {}", recording.gaps().len(), from.elapsed(), peak());
    let from = Instant::now();
    let missing = recording
        .beats(0..u64::MAX)
        .filter(|beat| {
            beat.processes
                .iter()
                .any(|process| process.figures.get(ProcessMetric::Uss) != Reading::Missing(Why::NotRecorded))
        })
        .count();
    println!("all beats {:?} ({missing} with USS); {}", from.elapsed(), peak());
}

fn peak() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown").to_owned()
}
