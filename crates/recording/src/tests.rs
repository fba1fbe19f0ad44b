//! What is appended is read back: whole beats, series, events, gaps.
//!
//! Owns: tests of the crate as its users see it. Must not know: the format.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{Beat, Event, FigureKey, ProcessMetric, Reading, Source, Why};

use crate::samples::Machine;
use crate::store::{Entry, InMemory, Input, Lock, Output, Store};
use crate::{Error, GapKind, Options, ProcessId, Recorder, Recording, Series};

pub(crate) const ALL: Range<u64> = 0..u64::MAX;

/// Files in memory, shared by all clones, which refuse to grow beyond a limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    /// Bytes that all files may have together; none for no limit.
    pub(crate) bytes_max: Arc<Mutex<Option<usize>>>,
}

#[derive(Debug)]
struct MemoryFile {
    memory: Memory,
    name: String,
}

impl Memory {
    pub(crate) fn with(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let memory = Self::default();
        memory.files.lock().unwrap().extend(files);
        memory
    }

    pub(crate) fn file(&self, name: &str) -> Vec<u8> {
        self.files.lock().unwrap()[name].clone()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.files.lock().unwrap().keys().cloned().collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.files.lock().unwrap().values().map(Vec::len).sum()
    }
}

impl Store for Memory {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let files = self.files.lock().unwrap();
        Ok(files.iter().map(|(name, bytes)| Entry { name: name.clone(), bytes: bytes.len() as u64 }).collect())
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn Output>> {
        let mut files = self.files.lock().unwrap();
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        files.insert(name.to_owned(), Vec::new());
        Ok(Box::new(MemoryFile { memory: self.clone(), name: name.to_owned() }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Input>> {
        let files = self.files.lock().unwrap();
        files
            .get(name)
            .map(|bytes| Box::new(InMemory(bytes.clone())) as Box<dyn Input>)
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.files.lock().unwrap().remove(name).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn lock(&mut self) -> io::Result<Lock> {
        Ok(Lock::Ours)
    }
}

impl Output for MemoryFile {
    /// A full disk takes what still fits before it fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let used = self.memory.bytes();
        let room = self.memory.bytes_max.lock().unwrap().map_or(usize::MAX, |max| max.saturating_sub(used));
        let mut files = self.memory.files.lock().unwrap();
        files.get_mut(&self.name).unwrap().extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.memory.files.lock().unwrap().get_mut(&self.name).unwrap().truncate(length as usize);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn is_gone(&self) -> bool {
        !self.memory.files.lock().unwrap().contains_key(&self.name)
    }
}

/// A recorder that seals in the foreground, so that its tests do not depend on how busy the machine is.
pub(crate) fn recorder(memory: &Memory, options: Options) -> Recorder {
    Recorder::open_in(Box::new(memory.clone()), Options { in_background: false, ..options }).unwrap()
}

pub(crate) fn reader(memory: &Memory) -> Recording {
    Recording::open_in(Box::new(memory.clone())).unwrap()
}

/// A recording of so many beats of a machine, with `then` called after each.
fn record(beats: u32, options: Options, mut then: impl FnMut(u32, &mut Recorder)) -> (Memory, Vec<Beat>) {
    let (memory, mut machine) = (Memory::default(), Machine::new(7, 20));
    let mut recorder = recorder(&memory, options);
    let mut appended = Vec::new();
    for number in 0..beats {
        let beat = machine.beat(5000);
        recorder.append(&beat).unwrap();
        appended.push(beat);
        then(number, &mut recorder);
    }
    (memory, appended)
}

#[track_caller]
fn check_same(found: &[Beat], wanted: &[Beat]) {
    assert_eq!(found.len(), wanted.len());
    for (number, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert_eq!(found.at, wanted.at, "beat {number}");
        assert_eq!(found.events, wanted.events, "beat {number}");
        for (found, wanted) in found.processes.iter().zip(&wanted.processes) {
            assert_eq!(found, wanted, "beat {number}");
        }
        // Too much to print as a whole.
        assert!(found == wanted, "beat {number}");
    }
}

#[track_caller]
fn check_read_back(beats: u32, every: Duration, maintain: bool) {
    let options = Options { segment_every: every, ..Options::default() };
    let (memory, appended) = record(beats, options, |_, recorder| {
        if maintain {
            recorder.maintain().unwrap();
        }
    });
    let recording = reader(&memory);
    check_same(&recording.beats(ALL).collect::<Vec<_>>(), &appended);
    assert!(recording.damage().is_none());
    assert_eq!(recording.info().beats, u64::from(beats));
}

#[test]
fn what_is_appended_is_read_back_from_a_log() {
    check_read_back(1, Duration::MAX, false);
    check_read_back(500, Duration::MAX, false);
}

#[test]
fn what_is_appended_is_read_back_from_sealed_segments() {
    check_read_back(500, Duration::from_secs(600), true);
}

#[test]
fn what_is_appended_is_read_back_where_maintenance_is_forgotten() {
    check_read_back(500, Duration::from_secs(60), false);
}

#[test]
fn an_ended_recording_is_sealed_and_goes_on_in_new_segments() {
    let (memory, mut machine) = (Memory::default(), Machine::new(3, 5));
    let mut appended = Vec::new();
    for _ in 0..3 {
        let mut recorder = recorder(&memory, Options::default());
        for _ in 0..10 {
            appended.push(machine.beat(1000));
            recorder.append(appended.last().unwrap()).unwrap();
        }
        recorder.seal().unwrap();
    }
    assert_eq!(memory.names(), ["00000001.segment", "00000002.segment", "00000003.segment"]);
    check_same(&reader(&memory).beats(ALL).collect::<Vec<_>>(), &appended);
}

#[test]
fn logs_of_a_killed_recorder_are_sealed_by_the_next() {
    let (memory, appended) = record(10, Options::default(), |_, _| ());
    let mut next = recorder(&memory, Options::default());
    assert_eq!(next.maintain().unwrap().sealed, 1);
    assert_eq!(memory.names(), ["00000001.segment"]);
    check_same(&reader(&memory).beats(ALL).collect::<Vec<_>>(), &appended);
}

#[test]
fn a_window_gives_its_beats_only() {
    let (memory, appended) =
        record(300, Options { segment_every: Duration::from_secs(300), ..Options::default() }, |_, _| ());
    let window = appended[100].at.wall_ns..appended[200].at.wall_ns;
    check_same(&reader(&memory).beats(window).collect::<Vec<_>>(), &appended[100..200]);
    assert_eq!(reader(&memory).beats(0..1).count(), 0);
}

#[test]
fn processes_are_found_with_their_span() {
    let (memory, appended) =
        record(400, Options { segment_every: Duration::from_secs(300), ..Options::default() }, |_, _| ());
    let mut wanted: BTreeMap<_, (u64, u64, u64)> = BTreeMap::new();
    for beat in &appended {
        for process in &beat.processes {
            let span = wanted.entry(process.identity.key).or_insert((beat.at.wall_ns, 0, 0));
            (span.1, span.2) = (beat.at.wall_ns, span.2 + 1);
        }
    }
    let found = reader(&memory).processes();
    assert_eq!(found.len(), wanted.len());
    for span in found {
        assert_eq!((span.first_ns, span.last_ns, span.beats), wanted[&span.id.key], "{span:?}");
    }
}

/// Key frames state only what is recorded: what ends at the beat of one must end there.
#[test]
fn a_metric_may_stop_at_any_beat() {
    let last = 3 * u32::try_from(crate::limits::KEY_EVERY).unwrap();
    for stop in [1, 127, 128, 129, 255, 256] {
        let (memory, mut machine) = (Memory::default(), Machine::new(7, 5));
        let mut writer = recorder(&memory, Options::default());
        let mut appended = Vec::new();
        for number in 0..last {
            let mut beat = machine.beat(1000);
            let value = if number < stop { Reading::Known(5) } else { Reading::Missing(Why::NotRecorded) };
            beat.processes.iter_mut().for_each(|process| process.figures.set(ProcessMetric::Uss, value));
            writer.append(&beat).unwrap();
            appended.push(beat);
        }
        check_same(&reader(&memory).beats(ALL).collect::<Vec<_>>(), &appended);
    }
}

/// A series of at most so many points says the same as the beats.
#[track_caller]
fn check_series(metric: ProcessMetric, points_max: usize) {
    let (memory, appended) =
        record(600, Options { segment_every: Duration::from_secs(700), ..Options::default() }, |_, _| ());
    let series = reader(&memory).series(metric, ALL, points_max, |_| true);
    let mut known: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for process in appended.iter().flat_map(|beat| &beat.processes) {
        if let Reading::Known(value) = process.figures.get(metric) {
            known.entry(process.identity.key).or_default().push(value);
        }
    }
    assert_eq!(series.iter().filter(|series| !series.points.is_empty()).count(), known.len());
    for Series { of, points, .. } in series.iter().filter(|series| !series.points.is_empty()) {
        let values = &known[&of.key];
        assert!(points.len() <= points_max);
        assert_eq!(points.iter().map(|point| point.min).min(), values.iter().min().copied());
        assert_eq!(points.iter().map(|point| point.max).max(), values.iter().max().copied());
        assert_eq!(points.last().map(|point| point.last), values.last().copied());
        assert_eq!(points.iter().map(|point| point.beats as usize).sum::<usize>(), values.len());
        if points_max == usize::MAX {
            assert_eq!(points.iter().map(|point| point.last).collect::<Vec<_>>(), *values);
        }
    }
}

#[test]
fn series_say_what_the_beats_say() {
    check_series(ProcessMetric::RssAnon, usize::MAX);
    check_series(ProcessMetric::RssAnon, 100);
    check_series(ProcessMetric::CpuTime, 7);
    check_series(ProcessMetric::Pss, usize::MAX);
    check_series(ProcessMetric::State, 1);
}

#[test]
fn series_are_of_the_selected_processes() {
    let (memory, appended) = record(50, Options::default(), |_, _| ());
    let key = appended[0].processes[3].identity.key;
    let select = |id: &ProcessId| id.key == key && *id.boot_id == *"boot-1";
    let series = reader(&memory).series(ProcessMetric::RssFile, ALL, 10, select);
    assert_eq!(series.iter().map(|series| series.of.key).collect::<Vec<_>>(), [key]);
    // Descriptors could never be read: there is a series, and it says that it has nothing.
    let series = reader(&memory).series(ProcessMetric::Descriptors, ALL, 10, select);
    assert!(series[0].points.is_empty() && series[0].missing > 0, "{series:?}");
}

#[test]
fn figures_of_a_slow_source_have_points_only_where_it_was_read() {
    let (memory, appended) = record(300, Options::default(), |_, _| ());
    let recording = reader(&memory);
    let key = FigureKey { subject: Arc::from(""), name: Arc::from("Field45") };
    let wanted: Vec<u64> =
        appended.iter().filter_map(|beat| beat.system.get(Source::Vmstat, "", "Field45").known()).collect();
    let series = recording.figure_series(Source::Vmstat, ALL, usize::MAX);
    let found = series.iter().find(|series| series.of == key).unwrap();
    assert_eq!(found.points.iter().map(|point| point.last).collect::<Vec<_>>(), wanted);
    assert!(wanted.len() > 5 && wanted.len() < 100, "{}", wanted.len());
    assert!(recording.figure_keys(Source::Vmstat).contains(&key));
    assert_eq!(recording.figure_keys(Source::Slabinfo), []);
}

#[test]
fn events_stand_at_their_beat() {
    let (memory, appended) =
        record(200, Options { segment_every: Duration::from_secs(300), ..Options::default() }, |_, _| ());
    let wanted: Vec<(u64, Event)> =
        appended.iter().flat_map(|beat| beat.events.iter().map(|event| (beat.at.wall_ns, event.clone()))).collect();
    let found: Vec<(u64, Event)> = reader(&memory).events(ALL).collect();
    assert_eq!(found, wanted);
    let half = appended[100].at.wall_ns;
    assert_eq!(reader(&memory).events(half..u64::MAX).count(), wanted.iter().filter(|(at, _)| *at >= half).count());
}

/// Gaps of beats after these pauses, in milliseconds; a negative one is a restart of the recorder, zero a reboot.
#[track_caller]
fn check_gaps(pauses_ms: &[i64], wanted: &[(u64, GapKind)]) {
    let (memory, mut machine) = (Memory::default(), Machine::new(3, 5));
    let mut writer = recorder(&memory, Options::default());
    for pause in pauses_ms {
        if *pause < 0 {
            writer = recorder(&memory, Options::default());
        }
        if *pause == 0 {
            (machine.at.boot_id, machine.at.boot_ns) = (Arc::from("boot-2"), 0);
        }
        let mut beat = machine.beat(if *pause == 0 { 1000 } else { pause.unsigned_abs() });
        let (host, kernel, version) = ("one".to_owned(), String::new(), String::new());
        beat.events.extend((*pause < 0).then_some(Event::RecorderStarted { host, kernel, version, every_ms: 1000 }));
        writer.append(&beat).unwrap();
    }
    let gaps = reader(&memory).gaps();
    let found: Vec<(u64, GapKind)> = gaps.iter().map(|gap| (gap.length.as_millis() as u64, gap.kind)).collect();
    assert_eq!(found, wanted, "{pauses_ms:?}");
}

#[test]
fn gaps_are_found_with_what_is_known_of_them() {
    check_gaps(&[1000, 1000, 1000, 2000, 1000], &[]);
    check_gaps(&[1000, 1000, 1000, 60_000, 1000], &[(60_000, GapKind::Pause)]);
    check_gaps(&[1000, 1000, 1000, -60_000, 1000, 1000], &[(60_000, GapKind::Restart)]);
    check_gaps(&[1000, 1000, 1000, -1000, 1000, 1000], &[]);
    check_gaps(&[1000, 1000, 1000, 0, 1000, 1000], &[(1000, GapKind::Reboot)]);
}

#[test]
fn a_clock_that_jumps_back_harms_nothing() {
    let (memory, mut machine) = (Memory::default(), Machine::new(3, 5));
    let options = Options {
        age_max: Some(Duration::from_secs(60)),
        segment_every: Duration::from_secs(30),
        ..Options::default()
    };
    let mut writer = recorder(&memory, options);
    let mut appended = Vec::new();
    for number in 0..30 {
        if number == 15 {
            machine.at.wall_ns -= 3600 * 1_000_000_000;
        }
        appended.push(machine.beat(1000));
        writer.append(appended.last().unwrap()).unwrap();
        writer.maintain().unwrap();
    }
    let recording = reader(&memory);
    check_same(&recording.beats(ALL).collect::<Vec<_>>(), &appended);
    assert_eq!(recording.gaps(), []);
    let info = recording.info();
    assert_eq!((info.from_ns, info.to_ns), (Some(appended[15].at.wall_ns), Some(appended[14].at.wall_ns)));
    let series = recording.series(ProcessMetric::RssFile, ALL, 5, |_| true);
    assert!(
        series.iter().all(|series| series.points.len() <= 5 && series.points.is_sorted_by_key(|point| point.from_ns))
    );
}

/// Beats that are kept of a thousand with these options, and whether all are the latest.
fn kept(options: Options, jump_ns: u64) -> usize {
    let (memory, mut machine) = (Memory::default(), Machine::new(3, 5));
    let mut writer = recorder(&memory, Options { segment_every: Duration::from_secs(100), ..options });
    let mut appended = Vec::new();
    for number in 0..1000 {
        machine.at.wall_ns += if number == 500 { jump_ns } else { 0 };
        appended.push(machine.beat(1000));
        writer.append(appended.last().unwrap()).unwrap();
        writer.maintain().unwrap();
    }
    let found: Vec<Beat> = reader(&memory).beats(ALL).collect();
    check_same(&found, &appended[appended.len() - found.len()..]);
    if let Some(max) = options.bytes_max {
        assert!(memory.bytes() as u64 <= max + 20_000, "{}", memory.bytes());
    }
    found.len()
}

#[test]
fn old_segments_go_by_age_and_by_size() {
    assert_eq!(kept(Options::default(), 0), 1000);
    let aged = kept(Options { age_max: Some(Duration::from_secs(300)), ..Options::default() }, 0);
    assert!((300..500).contains(&aged), "{aged}");
    let sized = kept(Options { bytes_max: Some(40_000), ..Options::default() }, 0);
    assert!((50..900).contains(&sized), "{sized}");
}

#[test]
fn a_clock_that_jumps_ahead_does_not_empty_the_recording() {
    let year_ns = 365 * 86_400 * 1_000_000_000;
    let jumped = kept(Options { age_max: Some(Duration::from_secs(3600)), ..Options::default() }, year_ns);
    assert_eq!(jumped, 1000);
}

#[track_caller]
fn check_refused(files: &[(&str, &[u8])], wanted: &str) {
    let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
    let memory = Memory::with(files);
    let before = memory.names();
    let error = Recording::open_in(Box::new(memory.clone())).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), wanted);
    assert!(error.hint().is_some());
    assert_eq!(memory.names(), before);
}

#[test]
fn what_is_no_recording_is_refused() {
    check_refused(&[], "memory is no recording");
    check_refused(&[("photo.jpg", b"x")], "memory is no recording");
}

#[test]
fn a_newer_recording_is_refused_by_reader_and_recorder() {
    let mut head = crate::versions::head(crate::versions::Kind::Log);
    head[8] = 9;
    let crc = crc32fast::hash(&head[..12]);
    head[12..].copy_from_slice(&crc.to_le_bytes());
    let text = "the recording has format version 9; this leakline knows versions up to 1";
    check_refused(&[("00000001.log", &head)], text);
    check_refused(&[("00000001.segment", &head)], text);
    let memory = Memory::with([("00000001.log".to_owned(), head.to_vec())]);
    let error = Recorder::open_in(Box::new(memory), Options::default()).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::NewerVersion { found: 9, known: 1 });
}

#[test]
fn a_directory_of_somebody_else_is_not_recorded_into() {
    let memory = Memory::with([("thesis.tex".to_owned(), b"x".to_vec())]);
    let error = Recorder::open_in(Box::new(memory.clone()), Options::default()).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::NotEmpty { place: "memory".to_owned(), found: "thesis.tex".to_owned() });
    assert_eq!(memory.names(), ["thesis.tex"]);
}

#[test]
fn sealing_in_the_background_comes_to_an_end() {
    let (memory, mut machine) = (Memory::default(), Machine::new(3, 5));
    let options = Options { segment_every: Duration::from_secs(50), ..Options::default() };
    let mut writer = Recorder::open_in(Box::new(memory.clone()), options).unwrap();
    let mut appended = Vec::new();
    let mut sealed = 0;
    for _ in 0..160 {
        appended.push(machine.beat(1000));
        writer.append(appended.last().unwrap()).unwrap();
        sealed += writer.maintain().unwrap().sealed;
        check_same(
            &reader(&memory).beats(ALL).skip(appended.len() - 1).collect::<Vec<_>>(),
            &appended[appended.len() - 1..],
        );
    }
    // A machine that is busy with other tests may not have come to it yet.
    while sealed == 0 {
        std::thread::sleep(Duration::from_millis(10));
        sealed += writer.maintain().unwrap().sealed;
    }
    writer.seal().unwrap();
    check_same(&reader(&memory).beats(ALL).collect::<Vec<_>>(), &appended);
    assert!(memory.names().iter().all(|name| name.ends_with(".segment")), "{:?}", memory.names());
}

#[test]
fn a_log_that_is_sealed_a_few_columns_at_a_time_is_the_same_segment() {
    use crate::versions::v1::sealed::{seal, seal_log};
    use crate::versions::v1::transpose::transpose;
    let (memory, _) = record(400, Options::default(), |_, _| {});
    let log = memory.file("00000001.log");
    let blocks = &log[crate::versions::HEAD..];
    let at_once = |blocks: &[u8]| seal(&transpose(crate::block::scan(blocks)));
    assert!(seal_log(blocks) == Some(at_once(blocks)), "the bytes are the same");
    for at in (50..blocks.len()).step_by(blocks.len() / 40) {
        let mut damaged = blocks.to_vec();
        damaged[at] ^= 0x55;
        assert!(seal_log(&damaged) == Some(at_once(&damaged)), "damage at {at} is counted as before");
    }
    assert_eq!(seal_log(&[]), None, "a log without a beat stays one");
}
