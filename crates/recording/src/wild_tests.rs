//! Whatever a recorder may hand over is read back: a machine without manners.
//!
//! Owns: beats in which anything changes to anything. Must not know: the format.

use std::sync::Arc;
use std::time::Duration;

use model::{
    Beat, Event, Figure, FigureKey, Moment, ProcessFigures, ProcessMetric, ProcessReading, Reading, Source,
    SourceSample, SystemSample, Why,
};

use crate::samples::{Chance, events, identity};
use crate::tests::{ALL, Memory, reader, recorder};
use crate::{Options, Recording};

/// Any reading at all, with a liking for the edges.
fn reading(chance: &mut Chance) -> Reading<u64> {
    let edges = [0, 1, 4095, 4096, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX - 1, u64::MAX];
    let reasons = [
        Why::ProcessGone,
        Why::NotOffered,
        Why::Malformed,
        Why::NotRecorded,
        Why::NoDebugInformation,
        Why::TooShort,
        Why::NotPermitted { needs: "CAP_SYS_PTRACE" },
        Why::NotPermitted { needs: "root" },
    ];
    match chance.below(4) {
        0 => Reading::Known(edges[chance.below(8) as usize]),
        1 => Reading::Missing(reasons[chance.below(8) as usize]),
        2 => Reading::Known(chance.below(1000) << 12),
        _ => Reading::Known(chance.below(1 << 50)),
    }
}

fn process(chance: &mut Chance, pid: u32) -> ProcessReading {
    let mut figures = ProcessFigures::default();
    for metric in ProcessMetric::ALL {
        figures.set(metric, reading(chance));
    }
    let mut identity = identity(pid, 7 + chance.below(2));
    identity.container = (chance.below(2) == 0).then(|| "c".repeat(chance.below(300) as usize));
    identity.uid = reading(chance).map(|uid| uid as u32);
    identity.kernel_thread = chance.below(2) == 0;
    ProcessReading { identity: Arc::new(identity), figures }
}

fn source(chance: &mut Chance, source: Source) -> SourceSample {
    if chance.below(4) == 0 {
        return SourceSample { source, figures: Reading::Missing(Why::NotPermitted { needs: "CAP_SYS_ADMIN" }) };
    }
    let key =
        |number: u64| FigureKey { subject: Arc::from(format!("s{}", number % 3)), name: Arc::from(number.to_string()) };
    let numbers: Vec<u64> = (0..12).filter(|_| chance.below(3) > 0).collect();
    let figures = numbers.into_iter().map(|number| Figure { key: key(number), value: reading(chance) }).collect();
    SourceSample { source, figures: Reading::Known(figures) }
}

/// A beat with any processes, any sources, on clocks that go as they like.
fn beat(chance: &mut Chance, boot: u64) -> Beat {
    let pids: Vec<u32> = (1..12).filter(|_| chance.below(3) > 0).collect();
    let sources: Vec<Source> = Source::ALL.into_iter().filter(|_| chance.below(2) == 0).collect();
    let all = events();
    let count = chance.below(3) as usize;
    Beat {
        at: Moment {
            wall_ns: chance.below(1 << 40) * 1000,
            boot_ns: chance.below(1 << 40) * 1000,
            boot_id: Arc::from(format!("boot-{boot}")),
        },
        processes: pids.into_iter().map(|pid| process(chance, pid)).collect(),
        system: SystemSample { sources: sources.into_iter().map(|of| source(chance, of)).collect() },
        events: (0..count).map(|_| all[chance.below(all.len() as u64) as usize].clone()).collect(),
    }
}

/// Figures come back in the order in which they were first seen; here only what they are counts.
fn sorted(mut beat: Beat) -> Beat {
    for source in &mut beat.system.sources {
        if let Reading::Known(figures) = &mut source.figures {
            figures.sort_by(|one, other| one.key.cmp(&other.key));
        }
    }
    beat
}

#[track_caller]
fn check_seed(seed: u64) {
    let (memory, mut chance) = (Memory::default(), Chance(seed * 2 + 1));
    let options = Options { segment_every: Duration::from_secs(1 << 30), ..Options::default() };
    let mut writer = recorder(&memory, options);
    let (mut boot, mut appended) = (0, Vec::new());
    for _ in 0..300 {
        boot += u64::from(chance.below(60) == 0);
        let beat = beat(&mut chance, boot);
        writer.append(&beat).unwrap();
        appended.push(sorted(beat));
        if chance.below(40) == 0 {
            writer.maintain().unwrap();
        }
    }
    let found: Vec<Beat> = reader(&memory).beats(ALL).map(sorted).collect();
    assert_eq!(found.len(), appended.len(), "seed {seed}");
    for (number, (found, wanted)) in found.iter().zip(&appended).enumerate() {
        assert_eq!(found.at, wanted.at, "seed {seed}, beat {number}");
        assert_eq!(found.processes.len(), wanted.processes.len(), "seed {seed}, beat {number}");
        assert!(found == wanted, "seed {seed}, beat {number}");
    }
    check_series(&reader(&memory), &appended);
}

/// A series with a point for each beat has the very values of the beats, whatever the clocks did.
#[track_caller]
fn check_series(recording: &Recording, appended: &[Beat]) {
    for metric in [ProcessMetric::RssAnon, ProcessMetric::MinorFaults] {
        let mut wanted: Vec<u64> = Vec::new();
        let readings = || appended.iter().flat_map(|beat| &beat.processes).map(|process| process.figures.get(metric));
        wanted.extend(readings().filter_map(Reading::known));
        let series = recording.series(metric, ALL, 1, |_| true);
        let points = || series.iter().flat_map(|series| &series.points);
        assert_eq!(points().map(|point| point.beats as usize).sum::<usize>(), wanted.len());
        assert_eq!(points().map(|point| point.max).max(), wanted.iter().max().copied());
        assert_eq!(points().map(|point| point.min).min(), wanted.iter().min().copied());
        let missing: u64 = series.iter().map(|series| series.missing).sum();
        assert_eq!(missing as usize, readings().count() - wanted.len());
    }
}

#[test]
fn anything_is_read_back() {
    (1..=4).for_each(check_seed);
}

/// Columns of many processes take several blocks.
#[test]
fn many_processes_are_read_back() {
    let (memory, mut chance) = (Memory::default(), Chance(5));
    let mut writer = recorder(&memory, Options::default());
    let mut last = beat(&mut chance, 1);
    last.processes = (1..1500).map(|pid| process(&mut chance, pid)).collect();
    let mut appended = Vec::new();
    for _ in 0..40 {
        last.at.boot_ns += 1_000_000;
        last.at.wall_ns += 1_000_000;
        for process in &mut last.processes {
            process.figures.set(ProcessMetric::RssAnon, Reading::Known(chance.below(u64::MAX)));
        }
        writer.append(&last).unwrap();
        appended.push(last.clone());
    }
    writer.seal().unwrap();
    let segment = memory.file(&memory.names()[0]);
    assert!(segment.len() > 2 * crate::limits::COLUMN_BYTES, "{}", segment.len());
    assert!(reader(&memory).beats(ALL).map(sorted).eq(appended.into_iter().map(sorted)));
}

/// A process that comes twice in a beat is one process.
#[test]
fn a_process_that_is_there_twice_is_there_once() {
    let (memory, mut chance) = (Memory::default(), Chance(9));
    let mut writer = recorder(&memory, Options::default());
    let mut twice = beat(&mut chance, 1);
    twice.processes = vec![process(&mut chance, 5)];
    let mut second = twice.processes[0].clone();
    second.figures.set(ProcessMetric::Threads, Reading::Known(77));
    twice.processes.push(second.clone());
    writer.append(&twice).unwrap();
    let found: Vec<Beat> = reader(&memory).beats(ALL).collect();
    assert_eq!(found[0].processes, [second]);
}

/// Segments end when they have many births or beats, whatever their age.
#[test]
fn segments_are_bounded() {
    let segments = |beats: u64, births: u32| {
        let (memory, mut chance) = (Memory::default(), Chance(9));
        let options = Options { segment_every: Duration::MAX, ..Options::default() };
        let mut writer = recorder(&memory, options);
        let mut beat = beat(&mut chance, 1);
        beat.system.sources.clear();
        for number in 0..beats {
            let born = (0..births).map(|pid| identity(pid, number + 1));
            let reading =
                |identity| ProcessReading { identity: Arc::new(identity), figures: ProcessFigures::default() };
            beat.processes = born.map(reading).collect();
            writer.append(&beat).unwrap();
        }
        reader(&memory).info().segments
    };
    assert_eq!(segments(crate::limits::LOG_BEATS, 0), 1);
    assert_eq!(segments(crate::limits::LOG_BEATS + 1, 0), 2);
    assert_eq!(segments(20, crate::limits::LOG_BIRTHS / 10), 2);
}

/// Names that were not escaped by whoever recorded them are escaped by whoever reads.
#[test]
fn hostile_names_are_escaped_when_they_are_read() {
    let (memory, mut chance) = (Memory::default(), Chance(9));
    let mut writer = recorder(&memory, Options::default());
    let mut hostile = beat(&mut chance, 1);
    let mut named = identity(3, 4);
    named.command = "\"><script>\x1b[2J\n,".to_owned();
    hostile.processes = vec![ProcessReading { identity: Arc::new(named), figures: ProcessFigures::default() }];
    hostile.events = vec![Event::RecorderStopped { reason: "a\x07\u{202e}b".to_owned() }];
    writer.append(&hostile).unwrap();
    let recording = reader(&memory);
    assert_eq!(recording.processes()[0].identity.command, "\"><script>\\x1b[2J\\n,");
    let found: Vec<Event> = recording.events(ALL).map(|(_, event)| event).collect();
    assert_eq!(found, [Event::RecorderStopped { reason: "a\\x07\\u{202e}b".to_owned() }]);
}

#[test]
fn a_recording_knows_its_hosts_and_boots() {
    let (memory, mut chance) = (Memory::default(), Chance(9));
    let mut writer = recorder(&memory, Options::default());
    for (boot, host) in [(1, "one"), (2, "one"), (2, "two")] {
        let mut beat = beat(&mut chance, boot);
        let (kernel, version) = ("6.1".to_owned(), "0.1".to_owned());
        beat.events = vec![Event::RecorderStarted { host: host.to_owned(), kernel, version, every_ms: 1 }];
        writer.append(&beat).unwrap();
    }
    let info = reader(&memory).info();
    assert_eq!(info.hosts, ["one", "two"]);
    assert_eq!(info.boots.iter().map(|boot| &**boot).collect::<Vec<_>>(), ["boot-1", "boot-2"]);
    assert_eq!((info.version, info.beats, info.segments, info.bytes), (1, 3, 2, memory.bytes() as u64));
    assert!(info.from_ns <= info.to_ns && info.from_ns.is_some());
}

#[test]
fn an_empty_recording_is_a_recording() {
    let memory = Memory::with([("RECORDING".to_owned(), Vec::new())]);
    let recording = reader(&memory);
    let info = recording.info();
    assert_eq!((info.beats, info.from_ns, info.to_ns), (0, None, None));
    assert_eq!(recording.beats(ALL).count() + recording.processes().len() + recording.gaps().len(), 0);
    assert!(recording.series(ProcessMetric::RssAnon, ALL, 10, |_| true).is_empty());
}
