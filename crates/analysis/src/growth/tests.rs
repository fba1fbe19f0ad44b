//! The tracker, fed with samples of small machines that are written as text.

use model::{Figure, FigureKey, Moment, Pid, ProcessReading, ProcessSample, Source, SourceSample, SystemSample, Why};

use super::*;

const MIB: u64 = 1024 * 1024;

/// `pid:anon` or `pid:anon/swap/shmem/file` in MiB, one word per process.
fn sample(second: u64, processes: &str) -> MachineSample {
    let processes = processes.split_whitespace().map(process).collect();
    MachineSample {
        at: Duration::from_secs(second),
        processes,
        memory_total: Reading::Known(Bytes(1 << 33)),
        memory_available: Reading::Known(Bytes(3600 * MIB)),
        vanished: 0,
    }
}

fn process(word: &str) -> ProcessSample {
    let (pid, memory) = word.split_once(':').unwrap();
    let kinds: Vec<f64> = memory.split('/').map(|part| part.parse().unwrap()).collect();
    let kind = |index: usize| Reading::Known(Bytes((kinds.get(index).unwrap_or(&0.0) * MIB as f64) as u64));
    let memory = MemorySample {
        anon: kind(0),
        swap: kind(1),
        shmem: kind(2),
        file: kind(3),
        page_tables: kind(4),
        threads: Reading::Known(1),
    };
    ProcessSample { identity: identity(pid.parse().unwrap(), "program"), memory }
}

fn identity(pid: u32, command: &str) -> Arc<Identity> {
    Arc::new(Identity {
        key: ProcessKey { pid: Pid(pid), started: u64::from(pid) },
        command: command.to_owned(),
        arguments: format!("/bin/{command}"),
        uid: Reading::Known(0),
        user: Reading::Missing(Why::NotRecorded),
        cgroup: Reading::Missing(Why::NotRecorded),
        container: None,
        kernel_thread: false,
    })
}

fn tracked(seconds: u64, processes: impl Fn(u64) -> String) -> GrowthTracker {
    let mut tracker = GrowthTracker::new(GrowthOptions::default());
    for second in 0..seconds {
        tracker.add(&sample(second, &processes(second)));
    }
    tracker
}

/// The ranking as `pid verdict kind`.
#[track_caller]
fn check(tracker: &GrowthTracker, expected: &str) {
    let one = |growth: &Growth| {
        let kind = growth.kind.map_or("-", MemoryKind::key);
        format!("{} {} {kind}", growth.identity.key.pid, growth.verdict.key())
    };
    let found: Vec<String> = tracker.ranking().iter().map(one).collect();
    assert_eq!(found.join("; "), expected);
}

#[test]
fn those_that_grow_come_first_by_their_rate() {
    let tracker = tracked(20, |t| {
        let t = t as f64;
        format!("1:900 2:{} 3:{} 4:{}", 5.0 + t, 5.0 + 2.0 * t, if t < 10.0 { 5 } else { 80 })
    });
    check(&tracker, "3 growing anon; 2 growing anon; 4 stepped anon; 1 steady -");
}

#[test]
fn nothing_is_said_before_there_is_enough() {
    check(&tracked(1, |_| "1:5".to_owned()), "1 too short to tell -");
    check(&tracked(4, |t| format!("1:{}", 5 + t)), "1 too short to tell anon");
    let growth = tracked(4, |t| format!("1:{}", 5 + t)).ranking().remove(0);
    assert_eq!(growth.per_hour, Reading::Missing(Why::TooShort));
    assert_eq!(growth.confidence, Reading::Missing(Why::TooShort));
    assert_eq!(growth.recent_per_hour, Reading::Known(3600 * MIB as i64), "a live view has a figure at once");
}

#[test]
fn swapping_out_neither_hides_nor_imitates_growth() {
    check(&tracked(20, |t| format!("1:{}/{}", 100 - t, 2 * t)), "1 growing swap");
    check(&tracked(20, |t| format!("1:{}/{}", 100 - t, t)), "1 steady swap");
}

#[test]
fn shared_memory_is_judged_of_its_own_and_files_never() {
    check(&tracked(20, |t| format!("1:50/0/{}", 10 + t)), "1 growing shmem");
    let tracker = tracked(20, |t| format!("1:50/0/0/{}", 10 + 5 * t));
    check(&tracker, "1 steady file");
    assert!(tracker.ranking()[0].reasons.iter().any(|reason| reason.contains("mapped files")));
}

#[test]
fn exhaustion_is_by_the_nearer_bound_and_only_for_growth() {
    let mut tracker = tracked(20, |t| format!("1:{} 2:50", 5 + t));
    let after = |tracker: &GrowthTracker| tracker.ranking()[0].exhaustion.map(|found| found.after.as_secs());
    assert_eq!(after(&tracker), Reading::Known(3600));
    let key = ProcessKey { pid: Pid(1), started: 1 };
    tracker.set_room(key, Reading::Known(Bytes(60 * MIB)));
    assert_eq!(after(&tracker), Reading::Known(60));
    tracker.set_room(key, Reading::Missing(Why::NotOffered));
    assert_eq!(after(&tracker), Reading::Known(3600));
    assert!(tracker.ranking()[1].exhaustion.known().is_none());
}

#[test]
fn a_process_that_starts_up_is_not_accused_for_its_warm_up() {
    let tracker = tracked(20, |t| if t < 10 { String::from("1:5") } else { format!("1:5 2:{}", (t * 10).min(140)) });
    check(&tracker, "2 too short to tell -; 1 steady -");
    let tracker = tracked(40, |t| if t < 10 { String::from("1:5") } else { format!("1:5 2:{}", t * 10) });
    check(&tracker, "2 growing anon; 1 steady -");
    assert!(tracker.ranking()[0].reasons.iter().any(|reason| reason.contains("warming up")));
}

#[test]
fn what_started_while_it_was_watched_can_become_certain() {
    let restarted = |seconds: u64| {
        let machine = |t: u64| if t < 5 { "1:5".to_owned() } else { format!("1:5 2:{}", 50 + t) };
        let growth = tracked(seconds, machine).ranking().remove(0);
        let is_doubted = growth.reasons.iter().any(|reason| reason.contains("warming up"));
        (growth.confidence.known().unwrap(), is_doubted)
    };
    let (early, late) = (restarted(60), restarted(4000));
    assert!(early.0 < 0.8 && early.1, "{early:?}");
    assert!(late.0 > 0.95 && !late.1, "{late:?}");
}

#[test]
fn an_exec_begins_a_new_history() {
    let mut tracker = tracked(20, |t| format!("1:{}", 5 + t));
    let mut executed = sample(20, "1:1");
    executed.processes[0].identity = identity(1, "other");
    tracker.add(&executed);
    check(&tracker, "1 too short to tell -");
}

#[test]
fn what_ends_or_cannot_be_kept_is_counted() {
    let mut tracker = GrowthTracker::new(GrowthOptions { processes_max: 2 });
    tracker.add(&sample(0, "1:5 2:5 3:5"));
    tracker.add(&sample(1, "2:5 3:5"));
    let losses = TrackerLosses { samples_untracked: 2, processes_ended: 1, ..TrackerLosses::default() };
    assert_eq!(tracker.losses(), losses);
    let mut unreadable = sample(2, "2:5 3:5");
    unreadable.processes[0].memory.anon = Reading::Missing(Why::ProcessGone);
    tracker.add(&unreadable);
    assert_eq!(tracker.losses().samples_unreadable, 1);
    assert_eq!(tracker.ranking().len(), 2);
}

#[test]
fn a_long_watch_is_thinned_and_still_judged() {
    let tracker = tracked(5000, |t| format!("1:{} 2:{}", 10.0 + 0.05 * t as f64, 100 + t % 7));
    check(&tracker, "1 growing anon; 2 steady anon");
    let growth = &tracker.ranking()[0];
    assert!(growth.history.len() <= limits::POINTS_MAX);
    assert!(tracker.losses().samples_thinned > 9000);
    let truth = (0.05 * MIB as f64 * 3600.0) as i64;
    assert!(growth.per_hour.known().is_some_and(|rate| (rate.per_hour - truth).abs() < truth / 20));
}

#[test]
fn threads_of_the_kernel_are_left_out() {
    let mut tracker = GrowthTracker::new(GrowthOptions::default());
    let mut machine = sample(0, "1:5 2:5");
    let mut kernel = (*machine.processes[0].identity).clone();
    kernel.kernel_thread = true;
    machine.processes[0].identity = Arc::new(kernel);
    tracker.add(&machine);
    assert_eq!(tracker.ranking().len(), 1);
}

/// The beat that a recorder makes of the same moment.
fn beat(sample: &MachineSample, boot_id: &str) -> Beat {
    let key = FigureKey { subject: "".into(), name: "MemAvailable".into() };
    let available = Figure { key, value: sample.memory_available.map(|bytes| bytes.0) };
    let meminfo = SourceSample { source: Source::Meminfo, figures: Reading::Known(vec![available]) };
    let processes = sample.processes.iter();
    let boot_ns = (sample.at + Duration::from_secs(86_400)).as_nanos() as u64;
    Beat {
        at: Moment { wall_ns: 0, boot_ns, boot_id: boot_id.into() },
        processes: processes
            .map(|process| ProcessReading { identity: process.identity.clone(), figures: process.memory.into() })
            .collect(),
        system: SystemSample { sources: vec![meminfo] },
        events: Vec::new(),
    }
}

#[test]
fn a_replay_gives_the_findings_of_the_live_run() {
    let machine = |t: u64| {
        let tooth = 50 + t * 7 % 40;
        let born = if t > 20 { format!("5:{}", 10 + t) } else { String::new() };
        let full = 30 + t.min(20) * 4;
        format!("1:900 2:{}/{} 3:{tooth} 4:{full} 6:9/0/{} 7:5/0/0/{} {born}", 5 + t, t / 2, 9 + t, 7 * t)
    };
    let (mut live, mut replayed) =
        (GrowthTracker::new(GrowthOptions::default()), GrowthTracker::new(GrowthOptions::default()));
    for second in 0..300 {
        let sample = sample(second, &machine(second));
        live.add(&sample);
        replayed.add_beat(&beat(&sample, "boot"));
        if second % 37 == 5 {
            let judged = |tracker: &GrowthTracker| {
                let mut ranking = tracker.ranking();
                for growth in &mut ranking {
                    growth.history.clear(); // counted from another start, compared below
                }
                format!("{ranking:?}")
            };
            assert_eq!(judged(&live), judged(&replayed), "after {second} s");
        }
    }
    assert_eq!(live.losses(), replayed.losses());
    let day = Duration::from_secs(86_400);
    let (live, replayed) = (live.ranking(), replayed.ranking());
    let same = |(one, other): (&Growth, &Growth)| {
        one.history.iter().map(|(at, bytes)| (*at + day, *bytes)).eq(other.history.iter().copied())
    };
    assert!(live.iter().zip(&replayed).all(same) && live.len() == 7);
}

#[test]
fn another_boot_is_another_machine() {
    let mut tracker = GrowthTracker::new(GrowthOptions::default());
    for second in 0..30 {
        tracker.add_beat(&beat(&sample(second, &format!("1:{}", 5 + second)), "one"));
    }
    check(&tracker, "1 growing anon");
    tracker.add_beat(&beat(&sample(2, "1:900"), "two"));
    check(&tracker, "1 too short to tell -");
    assert_eq!(tracker.losses().processes_ended, 1);
}
