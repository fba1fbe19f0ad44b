//! Beats made up for tests.
//!
//! Owns: a small machine that lives by chance, but always the same. Must not know: how beats are stored.

use std::sync::Arc;

use model::{
    Beat, Event, Exit, Figure, FigureKey, Identity, Moment, Pid, ProcessFigures, ProcessKey, ProcessMetric,
    ProcessReading, Reading, Severity, Source, SourceSample, SystemSample, Why,
};

/// Chance that is the same at each run (xorshift).
#[derive(Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    const fn one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }
}

pub(crate) fn identity(pid: u32, started: u64) -> Identity {
    Identity {
        key: ProcessKey { pid: Pid(pid), started },
        command: format!("worker-{pid}"),
        arguments: format!("/usr/lib/service/worker-{pid} --listen 127.0.0.1:{pid} --name größe"),
        uid: Reading::Known(1000),
        user: Reading::Missing(Why::NotOffered),
        cgroup: Reading::Known(format!("/system.slice/worker-{}.service", pid % 7)),
        container: pid.is_multiple_of(3).then(|| "0123456789ab".to_owned()),
        kernel_thread: false,
    }
}

/// One event of each kind.
pub(crate) fn events() -> Vec<Event> {
    let process = ProcessKey { pid: Pid(7), started: 70 };
    let text = |text: &str| text.to_owned();
    vec![
        Event::ProcessBorn { process },
        Event::ProcessDied { process, exit: Reading::Known(Exit::Signal(9)) },
        Event::ProcessDied { process, exit: Reading::Missing(Why::NotOffered) },
        Event::Zombie { process, command: text("sh"), parent: Reading::Known(Pid(1)) },
        Event::OomKill {
            victim: Pid(3),
            command: text("java"),
            cgroup: Some(text("/a")),
            message: text("Out of memory"),
        },
        Event::OomKill { victim: Pid(3), command: text("java"), cgroup: None, message: text("Out of memory") },
        Event::KernelMessage { level: 4, message: text("page allocation failure") },
        Event::RecorderStarted { host: text("one"), kernel: text("6.1"), version: text("0.1"), every_ms: 5000 },
        Event::RecorderStopped { reason: text("stopped by the user") },
        Event::Gap { length_ns: 1 << 40, reason: text("suspend") },
        Event::BeatNotKept { wanted_ms: 1000, kept_ms: 1500 },
        Event::NotRecorded { beats: 3, reason: text("no space left on device") },
        Event::AlertRaised {
            rule: text("swap"),
            process: Some(process),
            severity: Severity::Critical,
            text: text("used"),
        },
        Event::AlertCleared { rule: text("swap"), process: None },
        Event::ClockJumped { by_ns: -5 },
    ]
}

/// A machine whose processes come, change and go.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) chance: Chance,
    pub(crate) at: Moment,
    processes: Vec<ProcessReading>,
    next_pid: u32,
    keys: Vec<FigureKey>,
    counters: Vec<u64>,
}

impl Machine {
    pub(crate) fn new(seed: u64, processes: u32) -> Self {
        let key = |number: usize| FigureKey { subject: Arc::from(""), name: Arc::from(format!("Field{number}")) };
        let mut machine = Self {
            chance: Chance(seed | 1),
            at: Moment { wall_ns: 1_700_000_000_000_000_000, boot_ns: 5_000_000_000, boot_id: Arc::from("boot-1") },
            processes: Vec::new(),
            next_pid: 100,
            keys: (0..50).map(key).collect(),
            counters: vec![1 << 20; 50],
        };
        (0..processes).for_each(|_| machine.bear());
        machine
    }

    fn bear(&mut self) {
        let mut figures = ProcessFigures::default();
        for metric in ProcessMetric::ALL.into_iter().take(ProcessMetric::Pss as usize) {
            figures.set(metric, Reading::Known(self.chance.below(1 << 16) << 12));
        }
        figures.set(ProcessMetric::Descriptors, Reading::Missing(Why::NotPermitted { needs: "CAP_SYS_PTRACE" }));
        let identity = Arc::new(identity(self.next_pid, self.at.boot_ns / 10_000_000));
        self.processes.push(ProcessReading { identity, figures });
        self.next_pid += 1;
    }

    /// The next beat, so many milliseconds later. About one process in ten changes, as on an idle machine.
    pub(crate) fn beat(&mut self, after_ms: u64) -> Beat {
        self.at.wall_ns += after_ms * 1_000_000;
        self.at.boot_ns += after_ms * 1_000_000;
        let mut events = Vec::new();
        if self.chance.one_in(8) {
            self.bear();
            events.push(Event::ProcessBorn { process: self.processes[self.processes.len() - 1].identity.key });
        }
        if self.chance.one_in(10) && self.processes.len() > 3 {
            let gone = self.processes.remove(self.chance.below(self.processes.len() as u64) as usize);
            let exit = Reading::Missing(Why::NotOffered);
            events.push(Event::ProcessDied { process: gone.identity.key, exit });
        }
        for process in &mut self.processes {
            change(&mut self.chance, process);
        }
        Beat { at: self.at.clone(), processes: self.processes.clone(), system: self.system(), events }
    }

    fn system(&mut self) -> SystemSample {
        for counter in &mut self.counters {
            if self.chance.one_in(3) {
                *counter = counter.wrapping_add(self.chance.below(4000)).wrapping_sub(1000);
            }
        }
        let figure = |(key, value): (&FigureKey, &u64)| Figure { key: key.clone(), value: Reading::Known(*value) };
        let figures: Vec<Figure> = self.keys.iter().zip(&self.counters).map(figure).collect();
        let sample = |source, figures| SourceSample { source, figures };
        let mut sources = vec![sample(Source::Meminfo, Reading::Known(figures.clone()))];
        if self.chance.one_in(6) {
            // A slow source, which sometimes has fewer figures.
            let count = 40 + self.chance.below(10) as usize;
            sources.push(sample(Source::Vmstat, Reading::Known(figures[..count].to_vec())));
        }
        sources.push(sample(Source::Slabinfo, Reading::Missing(Why::NotPermitted { needs: "root" })));
        SystemSample { sources }
    }
}

fn change(chance: &mut Chance, process: &mut ProcessReading) {
    if !chance.one_in(10) {
        return;
    }
    let step = chance.below(100);
    for (metric, step) in [
        (ProcessMetric::CpuTime, step * 10),
        (ProcessMetric::MinorFaults, step * 7),
        (ProcessMetric::RssAnon, if step > 50 { step << 12 } else { 0 }),
    ] {
        let value = process.figures.get(metric).map(|value| value + step);
        process.figures.set(metric, value);
    }
    if chance.one_in(20) {
        process.figures.set(ProcessMetric::Pss, Reading::Known(chance.below(1 << 30)));
    } else {
        process.figures.set(ProcessMetric::Pss, Reading::Missing(Why::NotRecorded));
    }
    if chance.one_in(100) {
        let mut identity = (*process.identity).clone();
        identity.arguments.push_str(" --after-exec");
        process.identity = Arc::new(identity);
    }
}
