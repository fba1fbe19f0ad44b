//! What is read of a process besides its `status`, for a recording.
//!
//! Owns: which files that takes, and how often each is read. Must not know: other processes, or who keeps the figures.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher as _};

use formats::{process_limits, smaps, stat};
use model::{Bytes, ProcessFigures, ProcessMetric, Reading, Why};

use super::limits::DETAIL_BEATS;
use super::proc::{Failure, Proc};
use super::process::{Process, Seen};

/// Milliseconds of a clock tick: `USER_HZ` is 100 on every architecture that we run on.
const TICK_MS: u64 = 10;

/// What stands between two looks at a figure that is not read at each beat, and the file that is kept.
#[derive(Debug)]
pub(super) struct Details {
    stat: Option<File>,
    /// What `stat` said last, as a number that stands for all of it.
    said: Option<u64>,
    /// Its counters, where they were read at this beat already.
    stepped: Option<Counters>,
    looked: bool,
    score: Reading<u64>,
    limit: Reading<u64>,
    descriptors: Reading<u64>,
}

/// Minor and major faults, milliseconds of the processor.
type Counters = [u64; 3];

impl Default for Details {
    fn default() -> Self {
        let unread = Reading::Missing(Why::NotRecorded);
        Self { stat: None, said: None, stepped: None, looked: false, score: unread, limit: unread, descriptors: unread }
    }
}

/// All figures of a process at this beat. `slow` asks to read anew what changes seldom.
pub(super) fn figures(proc: &mut Proc, process: &mut Process, seen: &Seen, beat: u64) -> ProcessFigures {
    let pid = process.identity.key.pid.0;
    let keep = process.keeps_file();
    let mut figures = ProcessFigures::from(seen.memory);
    figures.set(ProcessMetric::VirtualSize, seen.virtual_size.map(|bytes| bytes.0));
    figures.set(ProcessMetric::State, seen.state.map(u64::from));
    figures.set(ProcessMetric::Parent, seen.parent.map(u64::from));
    let started = process.identity.key.started;
    process.details.counters(proc, pid, started, keep, &mut figures);
    // Spread over the beats, so that no beat pays for all.
    let due = |beats: u64| (beat + u64::from(pid)).is_multiple_of(beats);
    process.details.look(proc, pid, due(DETAIL_BEATS), due(DETAIL_BEATS * 8));
    figures.set(ProcessMetric::Descriptors, process.details.descriptors);
    figures.set(ProcessMetric::DescriptorLimit, process.details.limit);
    figures.set(ProcessMetric::OomScore, process.details.score);
    figures
}

/// PSS and USS. Costs the *target* time, see [`smaps`]; whoever calls keeps a budget.
pub(super) fn shares(proc: &mut Proc, pid: u32) -> (Reading<Bytes>, Reading<Bytes>) {
    match proc.read_named(pid, "smaps_rollup").map(smaps::rollup) {
        Ok(usage) => (usage.pss, usage.uss),
        Err(failure) => (missing(failure), missing(failure)),
    }
}

/// Why a figure is missing whose file could not be read.
pub(super) const fn missing<T>(failure: Failure) -> Reading<T> {
    Reading::Missing(match failure {
        Failure::Gone => Why::ProcessGone,
        Failure::Forbidden => Why::NotPermitted { needs: "CAP_SYS_PTRACE" },
        Failure::NoFileFree => Why::NotRecorded,
        Failure::Malformed => Why::Malformed,
    })
}

impl Details {
    /// Closes what is kept.
    pub(super) fn let_go(&mut self) {
        self.stat = None;
    }

    /// Reads `stat` and says whether it says anything new.
    pub(super) fn step(&mut self, proc: &mut Proc, pid: u32, started: u64, keep: bool) -> Result<bool, Failure> {
        let file = self.open(proc, pid, keep)?;
        let text = proc.read(&file)?;
        let counters = counters(text, started)?;
        let mut hasher = DefaultHasher::new();
        hasher.write(text);
        drop(file);
        self.stepped = Some(counters);
        let said = Some(hasher.finish());
        Ok(std::mem::replace(&mut self.said, said) != said)
    }

    /// Faults and time, from `stat`, unless that was read already.
    fn counters(&mut self, proc: &mut Proc, pid: u32, started: u64, keep: bool, figures: &mut ProcessFigures) {
        let found = match self.stepped.take() {
            Some(counters) => Ok(counters),
            None => self.step(proc, pid, started, keep).and_then(|_| self.stepped.take().ok_or(Failure::Malformed)),
        };
        let metrics = [ProcessMetric::MinorFaults, ProcessMetric::MajorFaults, ProcessMetric::CpuTime];
        for (index, metric) in metrics.into_iter().enumerate() {
            figures.set(
                metric,
                found.map_or_else(missing, |counters| {
                    Reading::from_option(counters.get(index).copied(), Why::Malformed)
                }),
            );
        }
    }

    fn open(&mut self, proc: &Proc, pid: u32, keep: bool) -> Result<Kept<'_>, Failure> {
        if !keep {
            self.stat = None;
            return proc.open(pid, "stat").map(Kept::Now);
        }
        if self.stat.is_none() {
            self.stat = Some(proc.open(pid, "stat")?);
        }
        self.stat.as_ref().map(Kept::Before).ok_or(Failure::Gone)
    }

    fn look(&mut self, proc: &mut Proc, pid: u32, due: bool, limit_due: bool) {
        if due || !self.looked {
            self.descriptors = proc.descriptors(pid).map_or_else(missing, Reading::Known);
            self.score = proc.read_named(pid, "oom_score").map_or_else(missing, number);
        }
        if limit_due || !self.looked {
            self.limit = proc.read_named(pid, "limits").map_or_else(missing, open_files);
        }
        self.looked = true;
    }
}

/// A file that was open before, or is open for this read only.
enum Kept<'a> {
    Before(&'a File),
    Now(File),
}

impl std::ops::Deref for Kept<'_> {
    type Target = File;

    fn deref(&self) -> &File {
        match self {
            Self::Before(file) => file,
            Self::Now(file) => file,
        }
    }
}

fn counters(text: &[u8], started: u64) -> Result<Counters, Failure> {
    let stat = stat::parse(text).ok_or(Failure::Malformed)?;
    let counters = [stat.minor_faults, stat.major_faults, stat.cpu_ticks.saturating_mul(TICK_MS)];
    if stat.started == started { Ok(counters) } else { Err(Failure::Gone) }
}

fn number(text: &[u8]) -> Reading<u64> {
    let text = std::str::from_utf8(text).unwrap_or_default().trim();
    Reading::from_option(text.parse().ok(), Why::Malformed)
}

fn open_files(text: &[u8]) -> Reading<u64> {
    let limit = process_limits::find(text, "Max open files");
    Reading::from_option(limit.map(|limit| limit.soft.unwrap_or(u64::MAX)), Why::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_a_reason() {
        assert_eq!(missing::<u64>(Failure::Gone), Reading::Missing(Why::ProcessGone));
        assert!(matches!(missing::<u64>(Failure::Forbidden), Reading::Missing(Why::NotPermitted { .. })));
        assert_eq!(missing::<u64>(Failure::Malformed), Reading::Missing(Why::Malformed));
        assert_eq!(missing::<u64>(Failure::NoFileFree), Reading::Missing(Why::NotRecorded));
    }

    #[track_caller]
    fn check(text: &str, expected: Reading<u64>) {
        assert_eq!(number(text.as_bytes()), expected, "{text:?}");
    }

    #[test]
    fn scores_and_limits() {
        check("666\n", Reading::Known(666));
        check("-1\n", Reading::Missing(Why::Malformed));
        check("", Reading::Missing(Why::Malformed));
        let limits =
            |soft: &str| open_files(format!("Limit\nMax open files            {soft}   9   files\n").as_bytes());
        assert_eq!(limits("1024"), Reading::Known(1024));
        assert_eq!(limits("unlimited"), Reading::Known(u64::MAX));
        assert_eq!(open_files(b""), Reading::Missing(Why::Malformed));
    }
}
