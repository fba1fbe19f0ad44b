//! What survives kills, cuts, damage and full disks.
//!
//! Owns: the tests of the promises in `docs/recording-format.md`. Must not know: how the format keeps them.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use model::{Beat, Event, ProcessMetric};

use crate::samples::{Chance, Machine};
use crate::tests::{ALL, Memory, reader, recorder};
use crate::{Error, Options, Recorder, Recording, recorder_at_work};

/// A directory that is gone at the end of its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("leakline-recording-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A log of so many beats, and the beats.
fn log(beats: usize) -> (Vec<u8>, Vec<Beat>) {
    let (memory, mut machine) = (Memory::default(), Machine::new(11, 4));
    let mut writer = recorder(&memory, Options { segment_every: Duration::MAX, ..Options::default() });
    let appended: Vec<Beat> = (0..beats).map(|_| machine.beat(1000)).collect();
    for beat in &appended {
        writer.append(beat).unwrap();
    }
    (memory.file("00000001.log"), appended)
}

fn sealed(beats: usize) -> (Vec<u8>, Vec<Beat>) {
    let (bytes, appended) = log(beats);
    let memory = Memory::with([("00000001.log".to_owned(), bytes)]);
    recorder(&memory, Options::default()).maintain().unwrap();
    (memory.file("00000001.segment"), appended)
}

fn open(file: &str, bytes: &[u8]) -> Recording {
    reader(&Memory::with([(file.to_owned(), bytes.to_vec())]))
}

#[test]
fn a_log_that_is_cut_anywhere_keeps_all_whole_beats() {
    let (bytes, appended) = log(5);
    let mut before = 0;
    for length in 0..=bytes.len() {
        let recording = open("00000001.log", &bytes[..length]);
        let found: Vec<Beat> = recording.beats(ALL).collect();
        assert!(found.len() == before || found.len() == before + 1, "{length}");
        assert!(found == appended[..found.len()], "{length}");
        assert!(recording.damage().is_none(), "a cut is no damage: {length}");
        before = found.len();
    }
    assert_eq!(before, appended.len());
}

#[test]
fn a_recorder_goes_on_after_a_log_that_is_cut_anywhere() {
    let (bytes, appended) = log(3);
    for length in (0..=bytes.len()).step_by(23) {
        let memory = Memory::with([("00000001.log".to_owned(), bytes[..length].to_vec())]);
        let whole = reader(&memory).beats(ALL).count();
        let mut writer = recorder(&memory, Options::default());
        writer.append(&appended[2]).unwrap();
        writer.maintain().unwrap();
        writer.seal().unwrap();
        assert_eq!(reader(&memory).beats(ALL).count(), whole + 1, "{length}");
    }
}

#[test]
fn a_sealed_segment_that_is_cut_anywhere_opens() {
    let (bytes, appended) = sealed(6);
    for length in 0..bytes.len() {
        let recording = open("00000001.segment", &bytes[..length]);
        let found: Vec<Beat> = recording.beats(ALL).collect();
        assert!(found.is_empty() || found.len() == appended.len(), "{length}");
        assert!(!recording.damage().is_none(), "{length}");
    }
}

/// As long as the segment is not whole its log counts.
#[test]
fn a_segment_that_was_not_finished_does_not_hide_its_log() {
    let (log, appended) = log(5);
    let (segment, _) = sealed(5);
    for length in (0..=segment.len()).rev().step_by(17) {
        let files = [("00000001.log", log.clone()), ("00000001.segment", segment[..length].to_vec())];
        let memory = Memory::with(files.map(|(name, bytes)| (name.to_owned(), bytes)));
        assert!(reader(&memory).beats(ALL).collect::<Vec<_>>() == appended, "{length}");
        recorder(&memory, Options::default()).maintain().unwrap();
        assert!(reader(&memory).beats(ALL).collect::<Vec<_>>() == appended, "{length}");
        assert!(memory.names().contains(&"00000001.segment".to_owned()));
    }
}

#[test]
fn a_changed_byte_of_a_log_takes_no_more_than_a_key_frame_s_beats() {
    let (bytes, appended) = log(400);
    let key_every = usize::try_from(crate::limits::KEY_EVERY).unwrap();
    let mut chance = Chance(99);
    for _ in 0..150 {
        let at = chance.below(bytes.len() as u64) as usize;
        let mut changed = bytes.clone();
        changed[at] ^= 1 + chance.below(255) as u8;
        let recording = open("00000001.log", &changed);
        let found: Vec<Beat> = recording.beats(ALL).collect();
        assert!(found.len() + key_every >= appended.len(), "{at}: {}", found.len());
        // What is left is right: a beat is whole or lost.
        for beat in &found {
            assert!(appended.iter().any(|wanted| wanted == beat), "{at}: {:?}", beat.at);
        }
        let damage = recording.damage();
        assert!(!damage.is_none() || damage.tail_bytes > 0, "{at}: {damage:?}");
        assert!(damage.tail_bytes > 0 || found.len() < appended.len() || at < 16, "{at}");
    }
}

#[test]
fn a_changed_byte_of_a_sealed_segment_takes_one_block() {
    let (bytes, appended) = sealed(200);
    let mut chance = Chance(5);
    let (mut unnoticed, mut complete) = (0, 0);
    for _ in 0..200 {
        let at = chance.below(bytes.len() as u64) as usize;
        let mut changed = bytes.clone();
        changed[at] ^= 1 + chance.below(255) as u8;
        let recording = open("00000001.segment", &changed);
        let found: Vec<Beat> = recording.beats(ALL).collect();
        let anon = recording.series(ProcessMetric::RssAnon, ALL, 10, |_| true);
        complete += usize::from(found == appended);
        unnoticed += usize::from(recording.damage().is_none() && found != appended);
        let is_right = |beat: &Beat| appended.iter().any(|wanted| wanted.at == beat.at);
        assert!(found.is_empty() || found.iter().all(is_right), "{at}");
        assert!(anon.iter().all(|series| series.points.len() <= 10));
    }
    assert_eq!(unnoticed, 0, "nothing is wrong without being counted");
    assert!(complete < 50, "most of the bytes matter: {complete}");
}

#[test]
fn a_lost_index_is_made_anew() {
    let (mut bytes, appended) = sealed(50);
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    let recording = open("00000001.segment", &bytes);
    assert!(recording.beats(ALL).collect::<Vec<_>>() == appended);
    assert_eq!(recording.damage().blocks, 1);
}

/// Bytes by chance with a sound head, or sound blocks with anything in them: nothing panics, nothing takes for ever.
#[test]
fn nonsense_is_met_with_composure() {
    let mut chance = Chance(77);
    for round in 0..400_u64 {
        let mut bytes = crate::versions::head(crate::versions::Kind::Log).to_vec();
        for _ in 0..chance.below(6) {
            let content: Vec<u8> =
                (0..chance.below(200)).map(|_| chance.below(if round % 2 == 0 { 6 } else { 256 }) as u8).collect();
            crate::block::put(&mut bytes, chance.below(9) as u8, &content, 100);
        }
        for file in ["00000001.log", "00000001.segment"] {
            let recording = open(file, &bytes);
            let _ =
                (recording.beats(ALL).count(), recording.processes(), recording.gaps(), recording.events(ALL).count());
            let _ = recording.figure_series(model::Source::Vmstat, ALL, 10);
        }
    }
}

/// Sound blocks whose content is changed: only a hand that also mends the checksum makes such.
#[test]
fn forged_blocks_are_met_with_composure() {
    let (bytes, _) = sealed(30);
    let (log, _) = log(30);
    let mut chance = Chance(3);
    for (file, bytes) in [("00000001.segment", bytes), ("00000001.log", log)] {
        let blocks: Vec<(u8, Vec<u8>)> = crate::block::scan(&bytes[16..])
            .filter_map(|found| match found {
                crate::block::Found::Sound(_, block) => Some((block.kind, block.payload.into_owned())),
                crate::block::Found::Damage(_) | crate::block::Found::Tail(_) => None,
            })
            .collect();
        assert!(blocks.len() > 10);
        for _ in 0..150 {
            let mut forged = bytes[..16].to_vec();
            let victim = chance.below(blocks.len() as u64) as usize;
            for (number, (kind, content)) in blocks.iter().enumerate() {
                let mut content = content.clone();
                if number == victim && !content.is_empty() {
                    let at = chance.below(content.len() as u64) as usize;
                    content[at] = chance.below(256) as u8;
                }
                crate::block::put(&mut forged, *kind, &content, 1 << 20);
            }
            let recording = open(file, &forged);
            let _ =
                (recording.beats(ALL).count(), recording.processes(), recording.gaps(), recording.events(ALL).count());
            let _ = recording.series(ProcessMetric::RssAnon, ALL, 10, |_| true);
        }
    }
}

#[test]
fn a_full_disk_loses_beats_only_while_it_is_full_and_says_so() {
    let (memory, mut machine) = (Memory::default(), Machine::new(5, 10));
    let mut writer = recorder(&memory, Options::default());
    let mut kept = Vec::new();
    for number in 0..300 {
        // Full from 100 on, at any byte of a block, and again from 200 on.
        let room = match number {
            100 | 200 => Some(memory.bytes() + 37),
            150 | 250 => None,
            _ => *memory.bytes_max.lock().unwrap(),
        };
        *memory.bytes_max.lock().unwrap() = room;
        let beat = machine.beat(1000);
        match writer.append(&beat) {
            Ok(()) => kept.push(beat),
            Err(error) => assert!(matches!(error, Error::Io { kind: std::io::ErrorKind::StorageFull, .. }), "{error}"),
        }
    }
    let recording = reader(&memory);
    let found: Vec<Beat> = recording.beats(ALL).collect();
    assert_eq!(found.len(), kept.len());
    for (found, kept) in found.iter().zip(&kept) {
        assert!((&found.at, &found.processes, &found.system) == (&kept.at, &kept.processes, &kept.system));
    }
    assert!(recording.damage().is_none());
    let lost: Vec<u64> = recording.events(ALL).filter_map(|(_, event)| not_recorded(&event)).collect();
    assert_eq!(lost, [50, 50]);
    assert_eq!(recording.gaps().len(), 2);
}

/// A segment needs room that is not there: the log stays, and is sealed with the next one.
#[test]
fn a_log_that_cannot_be_sealed_is_sealed_later() {
    let (memory, mut machine) = (Memory::default(), Machine::new(5, 10));
    let mut writer = recorder(&memory, Options { segment_every: Duration::from_secs(10), ..Options::default() });
    let (mut appended, mut refused) = (Vec::new(), 0);
    for number in 0..35 {
        appended.push(machine.beat(1000));
        writer.append(appended.last().unwrap()).unwrap();
        // The first log is closed by now; room is there for beats, but not when it is to be sealed.
        *memory.bytes_max.lock().unwrap() = (number < 15).then(|| memory.bytes() + 20);
        refused += u32::from(writer.maintain().is_err());
        *memory.bytes_max.lock().unwrap() = None;
    }
    assert_eq!(refused, 1, "it is not tried at each beat");
    assert_eq!(memory.names().iter().filter(|name| name.contains(".log")).count(), 1, "{:?}", memory.names());
    assert!(reader(&memory).beats(ALL).collect::<Vec<_>>() == appended);
}

const fn not_recorded(event: &Event) -> Option<u64> {
    if let Event::NotRecorded { beats, .. } = event { Some(*beats) } else { None }
}

/// The same with a real file system. Where it cannot be mounted the test above stands alone, and this one says so by name.
#[test]
#[expect(clippy::disallowed_methods, reason = "tests start processes themselves")]
fn a_full_file_system_loses_beats_only_while_it_is_full() {
    let scratch = Scratch::new("full");
    fs::create_dir_all(&scratch.0).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "leakline"]).arg(&scratch.0).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        let _ = writeln!(
            std::io::stderr(),
            "not run: a_full_file_system_loses_beats_only_while_it_is_full (mount was refused)"
        );
        return;
    }
    let place = scratch.0.join("recording");
    let mut writer = Recorder::open(&place, Options::default()).unwrap();
    let (mut machine, mut kept, mut lost) = (Machine::new(5, 40), 0, 0);
    for number in 0..400 {
        if number == 100 {
            let _ = fs::write(scratch.0.join("ballast"), vec![0; 1 << 20]);
        }
        if number == 200 {
            fs::remove_file(scratch.0.join("ballast")).unwrap();
        }
        let appended = writer.append(&machine.beat(1000));
        kept += u64::from(appended.is_ok());
        lost += u64::from(appended.is_err());
    }
    drop(writer);
    let recording = Recording::open(&place).unwrap();
    let (found, damage) = (recording.beats(ALL).count() as u64, recording.damage());
    drop(recording);
    let unmounted = Command::new("umount").arg(&scratch.0).status().unwrap();
    assert!(unmounted.success());
    assert!(lost > 50 && kept > 250, "{kept} kept, {lost} lost");
    assert_eq!(found, kept);
    assert!(damage.is_none());
}

#[test]
fn a_deleted_directory_is_made_anew() {
    let scratch = Scratch::new("deleted");
    let mut machine = Machine::new(5, 10);
    let mut writer = Recorder::open(&scratch.0, Options::default()).unwrap();
    (0..10).for_each(|_| writer.append(&machine.beat(1000)).unwrap());
    fs::remove_dir_all(&scratch.0).unwrap();
    let rest: Vec<Beat> = (0..5).map(|_| machine.beat(1000)).collect();
    for beat in &rest {
        writer.append(beat).unwrap();
    }
    let recording = Recording::open(&scratch.0).unwrap();
    let found: Vec<Beat> = recording.beats(ALL).collect();
    assert_eq!(
        found.iter().map(|beat| &beat.at).collect::<Vec<_>>(),
        rest.iter().map(|beat| &beat.at).collect::<Vec<_>>()
    );
    assert_eq!(recording.events(ALL).find_map(|(_, event)| not_recorded(&event)), Some(10));
    assert_eq!(recorder_at_work(&scratch.0), Some(std::process::id()));
}

#[test]
fn two_recorders_do_not_share_a_directory() {
    let scratch = Scratch::new("two");
    let first = Recorder::open(&scratch.0, Options::default()).unwrap();
    let error = Recorder::open(&scratch.0, Options::default()).map(|_| ()).unwrap_err();
    let place = scratch.0.display().to_string();
    assert_eq!(error, Error::InUse { place, recorder: Some(std::process::id()) });
    assert_eq!(recorder_at_work(&scratch.0), Some(std::process::id()));
    drop(first);
    // A child that another test starts holds every lock between its fork and its exec.
    let soon = |free: &dyn Fn() -> bool| {
        (0..500).any(|_| {
            free() || {
                std::thread::sleep(std::time::Duration::from_millis(10));
                false
            }
        })
    };
    assert!(soon(&|| recorder_at_work(&scratch.0).is_none()), "nobody holds it");
    assert!(soon(&|| Recorder::open(&scratch.0, Options::default()).is_ok()), "the next one can begin");
}

#[test]
fn files_are_for_their_owner_alone() {
    let scratch = Scratch::new("modes");
    let mut writer = Recorder::open(&scratch.0, Options::default()).unwrap();
    writer.append(&Machine::new(1, 2).beat(1000)).unwrap();
    writer.seal().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&scratch.0), 0o700);
    let names: Vec<PathBuf> = fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), 2);
    assert!(names.iter().all(|path| mode(path) == 0o600), "{names:?}");
}

#[test]
fn what_is_no_directory_is_no_recording() {
    let scratch = Scratch::new("file");
    fs::write(&scratch.0, b"x").unwrap();
    assert!(matches!(Recording::open(&scratch.0), Err(Error::NotARecording { .. })));
    assert!(matches!(Recorder::open(&scratch.0, Options::default()), Err(Error::Io { .. })));
    fs::remove_file(&scratch.0).unwrap();
    assert!(matches!(Recording::open(&scratch.0), Err(Error::NotARecording { .. })));
    assert!(!scratch.0.exists(), "a reader creates nothing");
}

const CHILD: &str = "LEAKLINE_RECORDING_CHILD";

fn machine_of_run(run: u64) -> Machine {
    let mut machine = Machine::new(run * 77 + 1, 30);
    machine.at.boot_id = Arc::from(format!("run-{run}"));
    machine
}

/// Not a test by itself: the process that is killed. It says on its output which beats were appended.
#[test]
fn child_that_records_until_it_is_killed() {
    let Ok(work) = std::env::var(CHILD) else { return };
    let (run, place) = work.split_once(' ').unwrap();
    let mut machine = machine_of_run(run.parse().unwrap());
    // Short segments, so that kills meet closing, sealing and removing of logs as well.
    let options = Options { segment_every: Duration::from_secs(20), sync_every: 0, ..Options::default() };
    let mut writer = Recorder::open(Path::new(place), options).unwrap();
    let mut out = std::io::stdout();
    loop {
        writer.append(&machine.beat(1000)).unwrap();
        out.write_all(b"+\n").unwrap();
        writer.maintain().unwrap();
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "tests start processes themselves")]
fn two_hundred_kills_lose_no_beat() {
    let scratch = Scratch::new("kills");
    let mut chance = Chance(13);
    let mut acknowledged = Vec::new();
    for run in 0..200_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durability_tests::child_that_records_until_it_is_killed", "--nocapture"])
            .env(CHILD, format!("{run} {}", scratch.0.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed after so many beats and a little time, which falls anywhere in the next.
        let mut beats = lines
            .by_ref()
            .filter(|line| line.as_ref().is_ok_and(|line| line.ends_with('+')))
            .take(chance.below(60) as usize)
            .count();
        std::thread::sleep(Duration::from_micros(chance.below(300)));
        child.kill().unwrap();
        child.wait().unwrap();
        beats += lines.filter(|line| line.as_ref().is_ok_and(|line| line.ends_with('+'))).count();
        acknowledged.push(beats);
    }
    let recording = Recording::open(&scratch.0).unwrap();
    let found: Vec<Beat> = recording.beats(ALL).collect();
    assert!(recording.damage().is_none());
    let mut rest = found.as_slice();
    for (run, acknowledged) in acknowledged.into_iter().enumerate() {
        let mut machine = machine_of_run(run as u64);
        let boot_id = Arc::clone(&machine.at.boot_id);
        let of_run = rest.iter().take_while(|beat| beat.at.boot_id == boot_id).count();
        assert!(
            of_run == acknowledged || of_run == acknowledged + 1,
            "run {run}: {acknowledged} appended, {of_run} found"
        );
        for beat in &rest[..of_run] {
            assert!(*beat == machine.beat(1000), "run {run}");
        }
        rest = &rest[of_run..];
    }
    assert!(rest.is_empty());
    assert!(found.len() > 2000, "{}", found.len());
}

/// What is shown of a recording in a fixture.
fn summary(recording: &Recording) -> String {
    let line = |beat: Beat| {
        let all =
            || beat.processes.iter().flat_map(|process| ProcessMetric::ALL.map(|metric| process.figures.get(metric)));
        let known: u64 = all().filter_map(model::Reading::known).fold(0, u64::wrapping_add);
        let missing = all().filter(|reading| reading.known().is_none()).count();
        let figures: u64 = beat
            .system
            .sources
            .iter()
            .filter_map(|source| source.figures.as_known())
            .flatten()
            .filter_map(|figure| figure.value.known())
            .sum();
        format!("{} {} {known} {missing} {figures} {:?}\n", beat.at.wall_ns, beat.processes.len(), beat.events)
    };
    recording.beats(ALL).map(line).collect()
}

/// A recording of every version that was ever released opens for ever. The files were written once and are never written anew;
/// a new version adds its own with `LEAKLINE_WRITE_FIXTURE=1`.
#[test]
fn recordings_of_all_versions_open() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let newest = data.join(format!("version-{}", crate::versions::CURRENT));
    if std::env::var_os("LEAKLINE_WRITE_FIXTURE").is_some() && !newest.exists() {
        let mut machine = Machine::new(1, 6);
        let options = Options { segment_every: Duration::from_secs(150), ..Options::default() };
        let mut writer = Recorder::open(&newest, options).unwrap();
        for number in 0..40 {
            let mut beat = machine.beat(5000);
            beat.events.extend((number == 0).then(crate::samples::events).unwrap_or_default());
            writer.append(&beat).unwrap();
            writer.maintain().unwrap();
        }
        fs::write(newest.join("summary.txt"), summary(&Recording::open(&newest).unwrap())).unwrap();
    }
    for version in 1..=crate::versions::CURRENT {
        let place = data.join(format!("version-{version}"));
        let recording = Recording::open(&place).unwrap();
        let wanted = fs::read_to_string(place.join("summary.txt")).unwrap();
        assert_eq!(summary(&recording), wanted, "version {version}");
        assert_eq!(wanted.lines().count(), 40);
        assert!(recording.damage().is_none());
    }
}
