//! The figures of the whole machine.
//!
//! Owns: which files hold them, and which of them are dear. Must not know: processes, or what is normal.

use std::path::{Path, PathBuf};

use formats::{buddyinfo, entries, load, pressure, shared_memory, slabinfo, swaps};
use model::{Reading, Source, SourceSample, SystemSample, Why};

use super::details::missing;
use super::groups;
use super::keys::{Filling, Keys};
use super::proc::{Failure, Proc};
use super::shared;

/// Names of the orders of free blocks.
const ORDERS: [&[u8]; buddyinfo::ORDERS_MAX] = [
    b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9", b"10", b"11", b"12", b"13", b"14", b"15", b"16", b"17",
    b"18", b"19",
];
/// Bytes of a page on x86-64; slabs are counted in pages.
const PAGE: u64 = 4096;
/// Sources that cost little, read at each beat.
const QUICK: [Source; 4] = [Source::Meminfo, Source::Pressure, Source::Swap, Source::Load];
/// Sources that are long, walk over trees or lock out the kernel's allocator while they are read.
const SLOW: [Source; 5] =
    [Source::Vmstat, Source::Buddyinfo, Source::Slabinfo, Source::SystemVShared, Source::PosixShared];

/// Reads the machine's figures.
#[derive(Debug)]
pub(super) struct SystemSampler {
    keys: [Keys; Source::ALL.len()],
    groups: PathBuf,
    shared: PathBuf,
    left_out: u64,
}

/// What the sampler of the processes knows about the machine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) vanished: u64,
    pub(super) zombies: u64,
}

/// Which of the dear sources to read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Due {
    /// All but the control groups.
    pub(super) slow: bool,
    /// The control groups, which fill up faster than other things change.
    pub(super) groups: bool,
}

impl SystemSampler {
    pub(super) fn new(groups: &Path, shared: &Path) -> Self {
        Self { keys: Default::default(), groups: groups.to_owned(), shared: shared.to_owned(), left_out: 0 }
    }

    /// Figures that were left out since the start, because a source had more than the bound.
    pub(super) const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The quick sources, and those that are due.
    pub(super) fn sample(&mut self, proc: &mut Proc, counted: Counted, due: Due) -> SystemSample {
        let mut sources = Vec::with_capacity(Source::ALL.len());
        let slow = if due.slow { &SLOW[..] } else { &[] };
        let groups = if due.groups { &[Source::Cgroup][..] } else { &[] };
        for source in QUICK.iter().chain(slow).chain(groups) {
            sources.push(self.source(proc, *source));
        }
        sources.push(self.filled(Source::Machine, |filling| {
            machine(proc, counted, filling);
            Ok(())
        }));
        SystemSample { sources }
    }

    fn source(&mut self, proc: &mut Proc, source: Source) -> SourceSample {
        let (groups, shared) = (self.groups.clone(), self.shared.clone());
        self.filled(source, |filling| match source {
            Source::Meminfo => named(proc.machine("meminfo"), filling),
            Source::Vmstat => named(proc.machine("vmstat"), filling),
            Source::Pressure => waiting(proc, filling),
            Source::Buddyinfo => free_blocks(proc.machine("buddyinfo"), filling),
            Source::Slabinfo => caches(proc.machine("slabinfo"), filling),
            Source::Swap => areas(proc.machine("swaps"), filling),
            Source::Cgroup => groups::fill(&groups, filling),
            Source::SystemVShared => segments(proc.machine("sysvipc/shm"), filling),
            Source::PosixShared => shared::fill(&shared, filling),
            Source::Load => averages(proc.machine("loadavg"), filling),
            Source::Machine => Ok(()),
        })
    }

    fn filled(&mut self, source: Source, fill: impl FnOnce(&mut Filling<'_>) -> Result<(), Failure>) -> SourceSample {
        let mut outcome = Ok(());
        let Some(keys) = self.keys.get_mut(source as usize) else {
            return SourceSample { source, figures: Reading::Missing(Why::NotRecorded) };
        };
        let (figures, left_out) = keys.fill(|filling| outcome = fill(filling));
        self.left_out += left_out;
        let figures = match outcome {
            Ok(()) => Reading::Known(figures),
            Err(failure) => refused(source, failure),
        };
        SourceSample { source, figures }
    }
}

/// A file of the machine that is not there is not offered, other than one of a process, which is gone.
fn refused<T>(source: Source, failure: Failure) -> Reading<T> {
    match (source, failure) {
        (_, Failure::Gone) => Reading::Missing(Why::NotOffered),
        (Source::Slabinfo, Failure::Forbidden) => Reading::Missing(Why::NotPermitted { needs: "root" }),
        (_, failure) => missing(failure),
    }
}

fn named(text: Result<&[u8], Failure>, filling: &mut Filling<'_>) -> Result<(), Failure> {
    for (name, value) in entries::parse(text?) {
        filling.push(b"", name, value);
    }
    Ok(())
}

/// A kernel without PSI has none of the files; one that was started with `psi=0` refuses to read them.
fn waiting(proc: &mut Proc, filling: &mut Filling<'_>) -> Result<(), Failure> {
    let mut outcome = Err(Failure::Gone);
    for (subject, file) in [("cpu", "pressure/cpu"), ("memory", "pressure/memory"), ("io", "pressure/io")] {
        match proc.machine(file) {
            Ok(text) => {
                for (name, value) in pressure::NAMES.iter().zip(pressure::parse(text).figures) {
                    filling.push(subject.as_bytes(), name.as_bytes(), value);
                }
                outcome = Ok(());
            }
            Err(failure) => outcome = outcome.map_err(|_| failure),
        }
    }
    outcome
}

fn free_blocks(text: Result<&[u8], Failure>, filling: &mut Filling<'_>) -> Result<(), Failure> {
    for zone in buddyinfo::parse(text?) {
        let subject = [zone.node.to_string().as_bytes(), b"/", zone.name].concat();
        for (order, free) in ORDERS.iter().zip(zone.free).take(zone.orders) {
            filling.push(&subject, order, Reading::Known(free));
        }
    }
    Ok(())
}

fn caches(text: Result<&[u8], Failure>, filling: &mut Filling<'_>) -> Result<(), Failure> {
    // Most caches of most machines are empty, and stay so.
    for cache in slabinfo::parse(text?).filter(|cache| cache.pages > 0) {
        filling.push(cache.name, b"active", Reading::Known(cache.active));
        filling.push(cache.name, b"total", Reading::Known(cache.total));
        filling.push(cache.name, b"bytes", Reading::Known(cache.pages.saturating_mul(PAGE)));
    }
    Ok(())
}

fn areas(text: Result<&[u8], Failure>, filling: &mut Filling<'_>) -> Result<(), Failure> {
    for area in swaps::parse(text?) {
        filling.push(area.path, b"size", Reading::Known(area.size.0));
        filling.push(area.path, b"used", Reading::Known(area.used.0));
        let shifted = area.priority.map(|priority| u64::try_from(i64::from(priority) + 32_768).unwrap_or(0));
        filling.push(area.path, b"priority", shifted);
    }
    Ok(())
}

fn segments(text: Result<&[u8], Failure>, filling: &mut Filling<'_>) -> Result<(), Failure> {
    for segment in shared_memory::parse(text?) {
        let subject = segment.id.to_string();
        let figures = [
            ("bytes", Reading::Known(segment.size.0)),
            ("rss", segment.resident.map(|bytes| bytes.0)),
            ("swap", segment.swapped.map(|bytes| bytes.0)),
            ("attaches", Reading::Known(segment.attaches)),
            ("owner", Reading::Known(u64::from(segment.uid))),
            ("creator", Reading::Known(u64::from(segment.creator))),
            // As `ipcs` shows it: the bits of the signed number.
            ("key", Reading::Known(u64::from(segment.key as u32))),
        ];
        for (name, value) in figures {
            filling.push(subject.as_bytes(), name.as_bytes(), value);
        }
    }
    Ok(())
}

fn averages(text: Result<&[u8], Failure>, filling: &mut Filling<'_>) -> Result<(), Failure> {
    let load = load::parse(text?).ok_or(Failure::Malformed)?;
    let values = load.averages.into_iter().chain([load.running, load.total]);
    for (name, value) in ["load1", "load5", "load15", "running", "total"].iter().zip(values) {
        filling.push(b"", name.as_bytes(), Reading::Known(value));
    }
    Ok(())
}

fn machine(proc: &mut Proc, counted: Counted, filling: &mut Filling<'_>) {
    let uptime = proc.machine("uptime").map(load::uptime_ms);
    let descriptors = proc.machine("sys/fs/file-nr").map(load::descriptors);
    let or_missing = |value: Result<Option<u64>, Failure>| match value {
        Ok(value) => Reading::from_option(value, Why::Malformed),
        Err(failure) => refused(Source::Machine, failure),
    };
    let (used, limit) = (descriptors.map(|found| Some(found?.0)), descriptors.map(|found| Some(found?.1)));
    let (own_cpu, own_rss) = itself(proc);
    let figures = [
        ("uptime", or_missing(uptime)),
        ("descriptors", or_missing(used)),
        ("descriptors.limit", or_missing(limit)),
        ("processes.vanished", Reading::Known(counted.vanished)),
        ("processes.zombies", Reading::Known(counted.zombies)),
        ("recorder.cpu", own_cpu),
        ("recorder.rss", own_rss),
    ];
    for (name, value) in figures {
        filling.push(b"", name.as_bytes(), value);
    }
}

/// What this very process costs: its time in milliseconds and its RSS.
fn itself(proc: &mut Proc) -> (Reading<u64>, Reading<u64>) {
    let own = std::process::id();
    let stat = proc.read_named(own, "stat").map(formats::stat::parse);
    let cpu = match stat {
        Ok(stat) => Reading::from_option(stat.map(|stat| stat.cpu_ticks.saturating_mul(10)), Why::Malformed),
        Err(failure) => missing(failure),
    };
    let rss = match proc.read_named(own, "status").map(formats::status::parse) {
        Ok(status) => status.memory.rss().map(|bytes| bytes.0),
        Err(failure) => missing(failure),
    };
    (cpu, rss)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ALL: Due = Due { slow: true, groups: true };

    /// A machine with these files; the figures of one source as `subject/name=value`.
    #[track_caller]
    fn check(source: Source, files: &[(&str, &str)], expected: &str) {
        let root = crate::host::fixture::root(&format!("system-{source:?}-{}", files.len()));
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut sampler = SystemSampler::new(&root.join("cgroup"), &root.join("shm"));
        let sample = sampler.sample(&mut Proc::new(&root), Counted { vanished: 3, zombies: 1 }, ALL);
        let found = match sample.figures(source) {
            Reading::Missing(why) => why.to_string(),
            Reading::Known(figures) => figures
                .iter()
                .map(|figure| {
                    let value = figure.value.known().map_or("-".to_owned(), |value| value.to_string());
                    format!("{}/{}={value}", figure.key.subject, figure.key.name)
                })
                .collect::<Vec<_>>()
                .join(" "),
        };
        assert_eq!(found, expected, "{source:?}");
    }

    #[test]
    fn each_source_has_its_names_and_units() {
        check(
            Source::Meminfo,
            &[("meminfo", "MemTotal: 4 kB\nHugePages_Total: 7\n")],
            "/MemTotal=4096 /HugePages_Total=7",
        );
        check(Source::Vmstat, &[("vmstat", "pgfault 4\n")], "/pgfault=4");
        check(Source::Buddyinfo, &[("buddyinfo", "Node 0, zone  DMA  1  2\n")], "0/DMA/0=1 0/DMA/1=2");
        let slab =
            "a 1 2 64 4 1 : tunables 0 0 0 : slabdata 3 5 0\nempty 0 0 64 4 1 : tunables 0 0 0 : slabdata 0 0 0\n";
        check(Source::Slabinfo, &[("slabinfo", slab)], "a/active=1 a/total=2 a/bytes=20480");
        let swap = "Filename Type Size Used Priority\n/dev/x partition 8 4 -2\n";
        check(Source::Swap, &[("swaps", swap)], "/dev/x/size=8192 /dev/x/used=4096 /dev/x/priority=32766");
        check(
            Source::Load,
            &[("loadavg", "0.31 0.02 1.00 8/128 2\n")],
            "/load1=31 /load5=2 /load15=100 /running=8 /total=128",
        );
        let segments = "heading\n-1 5 600 64 7 8 2 1000 0 0 0 0 0 0 4096 0\n";
        check(
            Source::SystemVShared,
            &[("sysvipc/shm", segments)],
            "5/bytes=64 5/rss=4096 5/swap=0 5/attaches=2 5/owner=1000 5/creator=7 5/key=4294967295",
        );
    }

    #[test]
    fn pressure_is_there_for_what_the_kernel_offers() {
        let text = "some avg10=1.50 avg60=0.07 avg300=12.00 total=9\n";
        check(
            Source::Pressure,
            &[("pressure/memory", text)],
            "memory/some.avg10=150 memory/some.avg60=7 memory/some.avg300=1200 memory/some.total=9 memory/full.avg10=- \
             memory/full.avg60=- memory/full.avg300=- memory/full.total=-",
        );
        check(Source::Pressure, &[], "not offered by this kernel");
    }

    #[test]
    fn what_is_not_there_is_missing_for_a_reason() {
        for source in [Source::Meminfo, Source::Slabinfo, Source::Swap, Source::Load, Source::SystemVShared] {
            check(source, &[], "not offered by this kernel");
        }
        check(Source::Load, &[("loadavg", "nonsense")], "not in the documented form");
        check(
            Source::Machine,
            &[("uptime", "5.25 1\n")],
            "/uptime=5250 /descriptors=- /descriptors.limit=- /processes.vanished=3 /processes.zombies=1 /recorder.cpu=- /recorder.rss=-",
        );
    }

    #[test]
    fn dear_sources_are_only_read_when_asked_for() {
        let root = Path::new("/proc");
        let mut sampler = SystemSampler::new(Path::new("/sys/fs/cgroup"), Path::new("/dev/shm"));
        let mut sources = |due| sampler.sample(&mut Proc::new(root), Counted::default(), due).sources.len();
        assert_eq!((sources(Due::default()), sources(ALL)), (QUICK.len() + 1, Source::ALL.len()));
        assert_eq!(sources(Due { slow: false, groups: true }), QUICK.len() + 2);
        assert_eq!(sampler.left_out(), 0);
    }
}
