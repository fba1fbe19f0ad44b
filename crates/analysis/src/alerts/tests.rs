//! Alerts of short histories that are written as text: a beat every ten seconds.

use model::{
    Bytes, Figure, FigureKey, Identity, MemorySample, Moment, ProcessFigures, ProcessMetric, ProcessReading, Source,
    SourceSample, SystemSample, Why,
};

use super::*;
use crate::{Exhaustion, GrowthVerdict};

const EVERY: u64 = 10;

fn identity(pid: u32) -> Arc<Identity> {
    Arc::new(Identity {
        key: ProcessKey { pid: Pid(pid), started: 1 },
        command: "server".to_owned(),
        arguments: String::new(),
        uid: Reading::Known(0),
        user: Reading::Missing(Why::NotRecorded),
        cgroup: Reading::Missing(Why::NotRecorded),
        container: None,
        kernel_thread: false,
    })
}

fn figure(subject: &str, name: &str, value: u64) -> Figure {
    Figure { key: FigureKey { subject: subject.into(), name: name.into() }, value: Reading::Known(value) }
}

/// A beat from words: `mem=85` (percent used), `swap`, `psi`, `zombies`, `told=3` (zombies of process 9 that are new), `fds=90`
/// (of 100, of process 7), `unreadable=7` (it is there, and how many it has open cannot be read), `oom=7`,
/// `group=95` (percent of its limit), `cache=40` (percent of its limit that can be dropped).
fn beat(index: u64, words: &str) -> Beat {
    let mut sources: BTreeMap<Source, Vec<Figure>> = BTreeMap::new();
    let (mut processes, mut events) = (Vec::new(), Vec::new());
    for word in words.split_whitespace() {
        let (name, value) = word.split_once('=').unwrap();
        let value: u64 = value.parse().unwrap();
        let mut add = |source: Source, figures: Vec<Figure>| sources.entry(source).or_default().extend(figures);
        match name {
            "mem" => add(Source::Meminfo, vec![figure("", "MemTotal", 100), figure("", "MemAvailable", 100 - value)]),
            "swap" => add(Source::Meminfo, vec![figure("", "SwapTotal", 100), figure("", "SwapFree", 100 - value)]),
            "psi" => add(Source::Pressure, vec![figure("memory", "some.avg60", value * 100)]),
            "zombies" => add(Source::Machine, vec![figure("", "processes.zombies", value)]),
            "group" => add(
                Source::Cgroup,
                vec![figure("/g", "usage", value), figure("/g", "limit", 100), figure("/h", "usage", 9)],
            ),
            "cache" => add(Source::Cgroup, vec![figure("/g", "file", value)]),
            "fds" => processes.push(descriptors(Reading::Known(value))),
            "unreadable" => processes.push(descriptors(Reading::Missing(Why::NotPermitted { needs: "root" }))),
            "told" => events.extend((0..value).map(|number| Event::Zombie {
                process: ProcessKey { pid: Pid(100 + number as u32), started: 1 },
                command: "child".to_owned(),
                parent: Reading::Known(Pid(9)),
            })),
            "oom" => events.push(Event::OomKill {
                victim: Pid(value as u32),
                command: "server".to_owned(),
                cgroup: None,
                message: String::new(),
            }),
            other => panic!("no such word: {other}"),
        }
    }
    for figures in sources.values_mut() {
        figures.sort_by(|one, other| one.key.subject.cmp(&other.key.subject));
    }
    let sources =
        sources.into_iter().map(|(source, figures)| SourceSample { source, figures: Reading::Known(figures) });
    let at = Moment { wall_ns: 0, boot_ns: index * EVERY * 1_000_000_000, boot_id: "boot".into() };
    Beat { at, processes, system: SystemSample { sources: sources.collect() }, events }
}

fn descriptors(open: Reading<u64>) -> ProcessReading {
    let mut figures = ProcessFigures::default();
    figures.set(ProcessMetric::Descriptors, open);
    figures.set(ProcessMetric::DescriptorLimit, Reading::Known(100));
    ProcessReading { identity: identity(7), figures }
}

/// Alerts as `SECOND+rule` and `SECOND-rule`. Beats are separated by commas; `*5` in front repeats one.
fn told(watch: &mut AlertWatch, beats: &str) -> String {
    let mut index = 0;
    let mut text = Vec::new();
    for words in beats.split(',').map(str::trim) {
        let (times, words) = words.strip_prefix('*').map_or((1, words), |rest| {
            let (times, words) = rest.split_once(' ').unwrap_or((rest, ""));
            (times.parse().unwrap(), words)
        });
        for _ in 0..times {
            for alert in watch.add(&beat(index, words), &[]) {
                let sign = if alert.state == AlertState::Raised { '+' } else { '-' };
                text.push(format!("{}{sign}{}", index * EVERY, alert.rule.key()));
            }
            index += 1;
        }
    }
    text.join(" ")
}

#[track_caller]
fn check(beats: &str, expected: &str) {
    assert_eq!(told(&mut AlertWatch::new(AlertOptions::default()), beats), expected, "{beats}");
}

#[test]
fn a_level_must_last_before_it_is_told() {
    check("*20 mem=50", "");
    check("*3 mem=85, *9 mem=50", ""); // 20 s are too short
    check("*9 mem=85", "30+memory-used");
    check("mem=50, *4 mem=80, *9 mem=50", "40+memory-used 80-memory-used");
    check("*4 psi=12, *9 psi=1", "30+pressure-memory 70-pressure-memory");
    check("*9 swap=6", "60+swap-used");
}

#[test]
fn nothing_flaps() {
    // Around the level, between both levels, and up and down at each beat.
    check("*4 mem=85, *50 mem=78", "30+memory-used");
    check("mem=85, mem=79, mem=85, mem=79, mem=85, mem=79, mem=85, mem=79", "");
    check("*4 mem=85, *3 mem=70, mem=85, *3 mem=70, mem=76, *3 mem=70", "30+memory-used");
    // What comes back soon is not told again before ten minutes have passed.
    check("*4 mem=85, *4 mem=70, *4 mem=85, *4 mem=70, *4 mem=85", "30+memory-used 70-memory-used");
    check("*4 mem=85, *80 mem=70, *4 mem=85", "30+memory-used 70-memory-used 870+memory-used");
}

#[test]
fn a_figure_that_is_missing_changes_nothing() {
    check("*4 mem=85, *30 , *4 mem=70", "30+memory-used 370-memory-used");
    check("*30 zombies=0", "");
    check("*9", "");
    check("*3 fds=90, *5 unreadable=7, *3 fds=10", "10+descriptors-process 90-descriptors-process");
    check("*9 unreadable=7", "");
}

#[test]
fn zombies_that_were_waited_for_are_not_held_against_their_parent() {
    let mut watch = AlertWatch::new(AlertOptions::default());
    let beats = ["zombies=5 told=5", "zombies=3", "zombies=3", "zombies=3", "zombies=3", "zombies=3", "zombies=1"];
    let told: Vec<Alert> = (0..).zip(beats).flat_map(|(index, words)| watch.add(&beat(index, words), &[])).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].evidence, "1 zombie; the process 9 did not wait for 1 of them");
    assert_eq!(told[0].next_command, "leakline inspect 9");
}

#[test]
fn one_look_after_a_long_gap_is_not_enough() {
    let mut watch = AlertWatch::new(AlertOptions::default());
    let mut tell = |index, words: &str| watch.add(&beat(index, words), &[]).len();
    assert_eq!(tell(0, "mem=50"), 0);
    assert_eq!(tell(1000, "mem=85"), 0);
    assert_eq!(tell(2000, "mem=85"), 1);
}

#[test]
fn zombies_and_descriptors() {
    check("*9 zombies=2, *9 zombies=0", "60+zombies 150-zombies");
    check("*3 fds=90, *5 fds=75, *5 fds=10", "10+descriptors-process 90-descriptors-process");
    check("*3 fds=90, *3", "10+descriptors-process 30-descriptors-process"); // the process is gone
}

#[test]
fn a_kill_is_told_at_once_and_once() {
    check("*3, oom=7, *3", "30+oom-kill");
    check("oom=7 oom=8, *70", "0+oom-kill 0+oom-kill 600-oom-kill 600-oom-kill");
}

#[test]
fn a_group_counts_without_what_can_be_dropped() {
    check("*4 group=95", "10+cgroup-limit");
    check("*4 group=95 cache=40", "");
    check("*2 group=95, *5 , *3 group=50", "10+cgroup-limit 80-cgroup-limit"); // groups are not read at each beat
}

#[test]
fn a_flood_of_alerts_is_cut_and_counted() {
    let mut watch = AlertWatch::new(AlertOptions { hourly_max: 3, ..AlertOptions::default() });
    assert_eq!(told(&mut watch, "oom=1 oom=2 oom=3 oom=4 oom=5"), "0+oom-kill 0+oom-kill 0+oom-kill");
    assert_eq!(watch.suppressed(), 2);
}

#[test]
fn a_rule_can_be_set_and_switched_off() {
    let mut options = AlertOptions::default();
    let level = options.level(Rule::MemoryUsed);
    options.set_level(Rule::MemoryUsed, Level { raise: 40.0, clear: 90.0, ..level });
    assert!((options.level(Rule::MemoryUsed).clear - 40.0).abs() < 1e-9, "it would flap");
    assert_eq!(told(&mut AlertWatch::new(options.clone()), "*4 mem=50"), "30+memory-used");
    options.set_level(Rule::MemoryUsed, Level { enabled: false, ..level });
    assert_eq!(told(&mut AlertWatch::new(options), "*9 mem=99"), "");
    for rule in Rule::ALL {
        assert!(AlertOptions::default().level(rule).enabled, "{}", rule.key());
    }
}

fn growth(mib: [u64; 2], verdict: GrowthVerdict, hours: Option<u64>) -> Growth {
    let missing = Reading::Missing(Why::NotRecorded);
    let bytes = |mib: u64| Bytes(mib << 20);
    let after = hours.map(|hours| Duration::from_secs(hours * 3600));
    Growth {
        identity: identity(7),
        memory: MemorySample {
            anon: Reading::Known(bytes(mib[1])),
            swap: Reading::Known(Bytes(0)),
            file: missing,
            shmem: missing,
            page_tables: missing,
            threads: Reading::Known(1),
        },
        verdict,
        kind: None,
        per_hour: Reading::Missing(Why::NotRecorded),
        recent_per_hour: Reading::Missing(Why::NotRecorded),
        confidence: Reading::Known(0.9),
        exhaustion: Reading::from_option(
            after.map(|after| Exhaustion { after, soonest: after, latest: Some(after) }),
            Why::NotRecorded,
        ),
        reasons: Vec::new(),
        history: vec![(Duration::ZERO, bytes(mib[0])), (Duration::from_secs(600), bytes(mib[1]))],
    }
}

/// What is told after ten beats with this judgement, and after ten more of a steady process.
#[track_caller]
fn check_growth(judged: &Growth, expected: &str) {
    let mut watch = AlertWatch::new(AlertOptions::default());
    let steady = growth([100, 100], GrowthVerdict::Steady, None);
    let mut text = Vec::new();
    for index in 0..20 {
        for alert in watch.add(&beat(index, ""), std::slice::from_ref(if index < 10 { judged } else { &steady })) {
            let sign = if alert.state == AlertState::Raised { '+' } else { '-' };
            text.push(format!(
                "{}{sign}{} [{}] {}",
                index * EVERY,
                alert.rule.key(),
                alert.evidence,
                alert.next_command
            ));
        }
    }
    assert_eq!(text.join("; "), expected);
}

#[test]
fn growth_is_told_only_where_it_is_judged_to_be_growth() {
    check_growth(&growth([100, 200], GrowthVerdict::Plateaued, None), "");
    check_growth(&growth([100, 105], GrowthVerdict::Growing, None), "");
    check_growth(
        &growth([100, 130], GrowthVerdict::Growing, None),
        "60+growth [private memory grew from 100.0 MiB to 130.0 MiB in 10 min, 90 % certain] leakline attach 7; \
         160-growth [private memory went from 100.0 MiB to 100.0 MiB in 10 min] leakline attach 7",
    );
}

#[test]
fn the_end_of_memory_is_told_when_it_is_near() {
    check_growth(&growth([100, 101], GrowthVerdict::Growing, Some(48)), "");
    check_growth(
        &growth([100, 101], GrowthVerdict::Growing, Some(3)),
        "60+exhaustion [memory runs out in 3.0 h if it goes on growing as it does] leakline attach 7; \
         160-exhaustion [no end of memory in sight] leakline attach 7",
    );
}

#[test]
fn an_alert_becomes_an_event() {
    let mut watch = AlertWatch::new(AlertOptions::default());
    watch.add(&beat(0, "fds=90"), &[]);
    let alerts: Vec<Event> = watch.add(&beat(1, "fds=90"), &[]).iter().map(Alert::event).collect();
    let process = Some(ProcessKey { pid: Pid(7), started: 1 });
    let text = "90 of at most 100 descriptors open".to_owned();
    let rule = "descriptors-process".to_owned();
    assert_eq!(alerts, [Event::AlertRaised { rule, process, severity: Severity::Warning, text }]);
}

#[test]
fn another_boot_begins_anew() {
    let mut watch = AlertWatch::new(AlertOptions::default());
    assert_eq!(told(&mut watch, "*4 mem=85"), "30+memory-used");
    let mut other = beat(0, "mem=85");
    other.at.boot_id = "other".into();
    assert!(watch.add(&other, &[]).is_empty());
    assert_eq!(watch.watched.len(), 1);
}
