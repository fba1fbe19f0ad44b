//! What is sampled at one beat besides the memory of processes: all figures of each process, and those of the machine.
//!
//! Owns: the metrics of a process, the sources of the machine, and the units that their values have.
//! Must not know: which files of the kernel they come from, how they are stored, or what a sequence of them means.

use std::sync::Arc;

use crate::{Bytes, Identity, MemorySample, Reading, Why};

/// One figure of a process. The discriminants are part of the recording format: new ones are added at the end, and none
/// is ever used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ProcessMetric {
    /// `RssAnon`, in bytes.
    RssAnon = 0,
    /// `RssFile`, in bytes.
    RssFile = 1,
    /// `RssShmem`, in bytes.
    RssShmem = 2,
    /// `VmSwap`, in bytes.
    Swap = 3,
    /// `VmSize`, in bytes.
    VirtualSize = 4,
    /// `VmPTE`, in bytes.
    PageTables = 5,
    /// Number of threads.
    Threads = 6,
    /// Number of open descriptors.
    Descriptors = 7,
    /// Soft limit of open descriptors; `u64::MAX` where it is unlimited.
    DescriptorLimit = 8,
    /// Minor faults since the process started.
    MinorFaults = 9,
    /// Major faults since the process started.
    MajorFaults = 10,
    /// State as the ASCII letter that the kernel gives it (`R`, `S`, `D`, `Z`, …).
    State = 11,
    /// `oom_score`.
    OomScore = 12,
    /// User and system time since the process started, in milliseconds.
    CpuTime = 13,
    /// Pid of the parent.
    Parent = 14,
    /// Proportional set size, in bytes; read on demand only, since reading it costs the target.
    Pss = 15,
    /// Unique set size, in bytes; read on demand only.
    Uss = 16,
}

impl ProcessMetric {
    /// How many metrics there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All metrics, in order of their discriminant.
    pub const ALL: [Self; 17] = [
        Self::RssAnon,
        Self::RssFile,
        Self::RssShmem,
        Self::Swap,
        Self::VirtualSize,
        Self::PageTables,
        Self::Threads,
        Self::Descriptors,
        Self::DescriptorLimit,
        Self::MinorFaults,
        Self::MajorFaults,
        Self::State,
        Self::OomScore,
        Self::CpuTime,
        Self::Parent,
        Self::Pss,
        Self::Uss,
    ];
}

// Recordings number metrics and sources by their discriminants, and `figures` are indexed by them: a list in another order
// would show one figure under the name of another.
const _: () = {
    let mut index = 0;
    while index < ProcessMetric::COUNT {
        assert!(ProcessMetric::ALL[index] as usize == index, "all metrics, in order of their discriminant");
        index += 1;
    }
    let mut index = 0;
    while index < Source::ALL.len() {
        assert!(Source::ALL[index] as usize == index, "all sources, in order of their discriminant");
        index += 1;
    }
};

/// All figures of one process at one moment; nothing is recorded until it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessFigures {
    values: [Reading<u64>; ProcessMetric::COUNT],
}

impl Default for ProcessFigures {
    fn default() -> Self {
        Self { values: [Reading::Missing(Why::NotRecorded); ProcessMetric::COUNT] }
    }
}

impl ProcessFigures {
    /// One figure, in the unit that its metric states.
    pub const fn get(&self, metric: ProcessMetric) -> Reading<u64> {
        self.values[metric as usize]
    }

    /// Sets one figure, in the unit that its metric states.
    pub const fn set(&mut self, metric: ProcessMetric, value: Reading<u64>) {
        self.values[metric as usize] = value;
    }

    /// A figure that is a number of bytes.
    pub fn bytes(&self, metric: ProcessMetric) -> Reading<Bytes> {
        self.get(metric).map(Bytes)
    }

    /// The letter of its state.
    pub fn state(&self) -> Reading<char> {
        match self.get(ProcessMetric::State) {
            Reading::Known(letter) => Reading::from_option(
                u8::try_from(letter).ok().filter(u8::is_ascii_graphic).map(char::from),
                Why::Malformed,
            ),
            Reading::Missing(why) => Reading::Missing(why),
        }
    }

    /// The part that judgements of growth are made from.
    pub fn memory(&self) -> MemorySample {
        let threads = self.get(ProcessMetric::Threads);
        MemorySample {
            anon: self.bytes(ProcessMetric::RssAnon),
            file: self.bytes(ProcessMetric::RssFile),
            shmem: self.bytes(ProcessMetric::RssShmem),
            swap: self.bytes(ProcessMetric::Swap),
            page_tables: self.bytes(ProcessMetric::PageTables),
            threads: threads.map(|threads| u32::try_from(threads).unwrap_or(u32::MAX)),
        }
    }
}

/// The six figures of the sample, nothing else recorded.
impl From<MemorySample> for ProcessFigures {
    fn from(sample: MemorySample) -> Self {
        let mut figures = Self::default();
        let mut bytes = |metric, value: Reading<Bytes>| figures.set(metric, value.map(|bytes| bytes.0));
        bytes(ProcessMetric::RssAnon, sample.anon);
        bytes(ProcessMetric::RssFile, sample.file);
        bytes(ProcessMetric::RssShmem, sample.shmem);
        bytes(ProcessMetric::Swap, sample.swap);
        bytes(ProcessMetric::PageTables, sample.page_tables);
        figures.set(ProcessMetric::Threads, sample.threads.map(u64::from));
        figures
    }
}

/// One process at one beat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessReading {
    /// Which process; shared between beats, since it seldom changes.
    pub identity: Arc<Identity>,
    /// Its figures.
    pub figures: ProcessFigures,
}

/// Where figures of the machine come from. Each has its own subjects and names; see [`FigureKey`]. The discriminants
/// are part of the recording format: new ones are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Source {
    /// `/proc/meminfo`: no subject; names as the kernel writes them; bytes (`HugePages_*` are counts).
    Meminfo = 0,
    /// `/proc/vmstat`: no subject; names as the kernel writes them; counts.
    Vmstat = 1,
    /// `/proc/pressure`: subject `cpu`, `memory` or `io`; names `some.avg10`, `some.avg60`, `some.avg300`, `full.…` in
    /// hundredths of a percent, `some.total`, `full.total` in microseconds.
    Pressure = 2,
    /// `/proc/buddyinfo`: subject `NODE/ZONE` such as `0/Normal`; names are orders; numbers of free blocks.
    Buddyinfo = 3,
    /// `/proc/slabinfo`: subject is the cache; names `active`, `total` (objects), `bytes`.
    Slabinfo = 4,
    /// `/proc/swaps`: subject is the device or file; names `size`, `used` (bytes), `priority` (plus 32,768, since it may be negative).
    Swap = 5,
    /// Memory of control groups: subject is the path; names `version`, `usage`, `limit` (`u64::MAX` for none), `anon`, `file`,
    /// `kernel`, `shmem` (bytes), `events.oom`, `events.oom_kill`, `events.max`, `events.high` (counts).
    Cgroup = 6,
    /// System V shared memory: subject is the segment's id; names `bytes`, `rss`, `swap`, `attaches`, `owner` (uid), `creator` (pid), `key`.
    SystemVShared = 7,
    /// POSIX shared memory (`/dev/shm`): subject is the name; names `bytes`, `owner` (uid).
    PosixShared = 8,
    /// `/proc/loadavg`: no subject; names `load1`, `load5`, `load15` in hundredths, `running`, `total` (tasks).
    Load = 9,
    /// What belongs to no other source: no subject; names `uptime` (milliseconds), `descriptors`, `descriptors.limit`,
    /// `processes.vanished`, `processes.zombies`, `recorder.cpu` (milliseconds), `recorder.rss` (bytes).
    Machine = 10,
}

impl Source {
    /// All sources, in order of their discriminant.
    pub const ALL: [Self; 11] = [
        Self::Meminfo,
        Self::Vmstat,
        Self::Pressure,
        Self::Buddyinfo,
        Self::Slabinfo,
        Self::Swap,
        Self::Cgroup,
        Self::SystemVShared,
        Self::PosixShared,
        Self::Load,
        Self::Machine,
    ];
}

/// What a figure of a source is about. Keys are made once and shared between beats, so that comparing them is cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FigureKey {
    /// The thing within the source, control characters escaped; empty where the source is about one thing only.
    pub subject: Arc<str>,
    /// The figure of this thing, control characters escaped.
    pub name: Arc<str>,
}

/// One figure of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// What it is.
    pub key: FigureKey,
    /// Its value, in the unit that the source states.
    pub value: Reading<u64>,
}

/// All figures of one source at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSample {
    /// Which source.
    pub source: Source,
    /// Its figures, or why the source as a whole could not be read.
    pub figures: Reading<Vec<Figure>>,
}

/// The machine at one beat. A source that is not in it was not read at this beat: slow ones need not be read at each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemSample {
    /// Each source at most once.
    pub sources: Vec<SourceSample>,
}

impl SystemSample {
    /// The figures of a source.
    pub fn figures(&self, source: Source) -> Reading<&[Figure]> {
        let found = self.sources.iter().find(|sample| sample.source == source);
        match found.map(|sample| &sample.figures) {
            Some(Reading::Known(figures)) => Reading::Known(figures),
            Some(Reading::Missing(why)) => Reading::Missing(*why),
            None => Reading::Missing(Why::NotRecorded),
        }
    }

    /// One figure; `subject` is empty for sources that are about one thing only.
    pub fn get(&self, source: Source, subject: &str, name: &str) -> Reading<u64> {
        let figures = match self.figures(source) {
            Reading::Known(figures) => figures,
            Reading::Missing(why) => return Reading::Missing(why),
        };
        let found = figures.iter().find(|figure| *figure.key.name == *name && *figure.key.subject == *subject);
        found.map_or(Reading::Missing(Why::NotOffered), |figure| figure.value)
    }

    /// One field of `/proc/meminfo` that is a number of bytes.
    pub fn meminfo(&self, name: &str) -> Reading<Bytes> {
        self.get(Source::Meminfo, "", name).map(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discriminants_are_positions() {
        for (position, metric) in ProcessMetric::ALL.iter().enumerate() {
            assert_eq!(*metric as usize, position);
        }
        for (position, source) in Source::ALL.iter().enumerate() {
            assert_eq!(*source as usize, position);
        }
    }

    #[test]
    fn figures_that_nobody_set_are_missing() {
        let mut figures = ProcessFigures::default();
        figures.set(ProcessMetric::RssAnon, Reading::Known(4096));
        assert_eq!(figures.memory().anon, Reading::Known(Bytes(4096)));
        assert_eq!(figures.memory().swap, Reading::Missing(Why::NotRecorded));
        let memory = figures.memory();
        assert_eq!(ProcessFigures::from(memory).memory(), memory);
    }

    #[track_caller]
    fn check_state(value: u64, state: Reading<char>) {
        let mut figures = ProcessFigures::default();
        figures.set(ProcessMetric::State, Reading::Known(value));
        assert_eq!(figures.state(), state);
    }

    #[test]
    fn a_state_is_a_letter() {
        check_state(u64::from(b'Z'), Reading::Known('Z'));
        check_state(27, Reading::Missing(Why::Malformed));
        check_state(256 + u64::from(b'Z'), Reading::Missing(Why::Malformed));
        assert_eq!(ProcessFigures::default().state(), Reading::Missing(Why::NotRecorded));
    }

    #[track_caller]
    fn check_get(source: Source, subject: &str, name: &str, wanted: Reading<u64>) {
        let key = FigureKey { subject: "0/Normal".into(), name: "3".into() };
        let figures = Reading::Known(vec![Figure { key, value: Reading::Known(17) }]);
        let refused = Reading::Missing(Why::NotPermitted { needs: "CAP_SYS_ADMIN" });
        let sources = vec![
            SourceSample { source: Source::Buddyinfo, figures },
            SourceSample { source: Source::Slabinfo, figures: refused },
        ];
        assert_eq!(SystemSample { sources }.get(source, subject, name), wanted);
    }

    #[test]
    fn a_figure_of_the_machine_is_there_or_missing_for_a_reason() {
        check_get(Source::Buddyinfo, "0/Normal", "3", Reading::Known(17));
        check_get(Source::Buddyinfo, "0/Normal", "4", Reading::Missing(Why::NotOffered));
        check_get(Source::Slabinfo, "dentry", "bytes", Reading::Missing(Why::NotPermitted { needs: "CAP_SYS_ADMIN" }));
        check_get(Source::Vmstat, "", "pgfault", Reading::Missing(Why::NotRecorded));
    }
}
