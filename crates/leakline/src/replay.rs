//! A recording turned into what a report shows.
//!
//! Owns: which columns are read, how they become samples again, and which processes are shown.
//! Must not know: how growth is judged, how a report looks, how a recording is stored.
//!
//! Only some columns are read, and thinned to what a picture can show: that is why a week opens in a second. A recording
//! with fewer samples than that is judged from each of them, so that it gives the findings of the live run.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use analysis::{GrowthOptions, GrowthTracker};
use model::{
    Beat, Bytes, Event, Figure, MachineSample, MemorySample, Moment, ProcessFigures, ProcessKey, ProcessMetric,
    ProcessSample, Reading, Source, SourceSample, SystemSample, Why,
};
use recording::{GapKind, ProcessId, ProcessSpan, Recording};
use report::{
    BalanceView, FindingView, GapView, NoteView, Outcome, ProcessSeries, ProcessView, RecordingView, Series, Severity,
    WallTime,
};

use crate::failure::Failure;
use crate::flags::Part;
use crate::limits::{EVENTS_MAX, JUDGED_BEATS_MIN, POINTS_AT_ONCE, POINTS_MAX};
use crate::values::When;

/// The figures that growth is judged from.
const JUDGED: [ProcessMetric; 6] = [
    ProcessMetric::RssAnon,
    ProcessMetric::RssFile,
    ProcessMetric::RssShmem,
    ProcessMetric::Swap,
    ProcessMetric::PageTables,
    ProcessMetric::Threads,
];

/// What of the machine is shown over time.
const SYSTEM: [Source; 4] = [Source::Meminfo, Source::Pressure, Source::Load, Source::Machine];

/// Values of some figures over time, by process.
type Columns = BTreeMap<ProcessId, BTreeMap<u64, ProcessFigures>>;

/// The part of a recording between two moments, in nanoseconds of wall time; an error where it is empty.
pub(crate) fn window(recording: &Recording, part: &Part) -> Result<Range<u64>, Failure> {
    let info = recording.info();
    let (Some(from), Some(to)) = (info.from_ns, info.to_ns) else {
        return Err(Failure::with_hint("the recording has no sample yet", "wait for the first beat".to_owned()));
    };
    let at = |when: Option<When>, default| match when {
        None => default,
        Some(When::At(at_ns)) => at_ns,
        Some(When::Before(span)) => to.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
    };
    // The last sample belongs to a window that ends with it.
    let window = at(part.since, from)..at(part.until, to).saturating_add(1);
    let shown = |at_ns| WallTime(at_ns).rfc3339();
    if window.start >= window.end {
        let text = format!("--since {} is after --until {}", shown(window.start), shown(window.end - 1));
        return Err(Failure::with_hint(text, "swap them".to_owned()));
    }
    if window.start > to || window.end <= from {
        let text = format!("nothing was recorded from {} to {}", shown(window.start), shown(window.end - 1));
        return Err(Failure::with_hint(text, format!("the recording goes from {} to {}", shown(from), shown(to))));
    }
    Ok(window.start.max(from)..window.end.min(to.saturating_add(1)))
}

/// The name of the machine and its last sample at or before a moment, by default the last of all.
pub(crate) fn moment(recording: &Recording, when: Option<When>) -> Result<(String, Beat), Failure> {
    let part = Part { until: when, ..Part::default() };
    let window = window(recording, &part)?;
    let host = recording.info().hosts.first().cloned().unwrap_or_else(|| "unknown".to_owned());
    // Mostly the last minutes have it; only where there is a gap, all that is before it is read.
    let late = window.end.saturating_sub(MOMENT_NS).max(window.start);
    let last = recording.beats(late..window.end).last().or_else(|| recording.beats(window.start..late).last());
    last.map(|beat| (host, beat))
        .ok_or_else(|| Failure::with_hint("nothing of this part of the recording can be read", None))
}

/// Ten minutes.
const MOMENT_NS: u64 = 600_000_000_000;

/// Whether a process is asked for.
pub(crate) fn is_wanted(part: &Part, identity: &model::Identity) -> bool {
    let by_pid = part.pid.is_empty() || part.pid.contains(&identity.key.pid);
    by_pid
        && part.name.as_deref().is_none_or(|name| identity.command.contains(name) || identity.arguments.contains(name))
}

/// Everything that a report shows of a part of a recording.
pub(crate) fn view(recording: &Recording, part: &Part) -> Result<RecordingView, Failure> {
    let window = window(recording, part)?;
    let spans: Vec<ProcessSpan> = wanted_spans(recording, part, &window);
    if spans.is_empty() && (part.name.is_some() || !part.pid.is_empty()) {
        let text = "no process that was asked for is in this part of the recording";
        return Err(Failure::with_hint(
            text,
            "`leakline report` without --pid and --name lists those that are".to_owned(),
        ));
    }
    let rows = system_rows(recording, &window);
    let judged = judge(recording, &window, &spans, &rows);
    let shown: Vec<&ProcessSpan> = judged.iter().take(part.top).map(|(span, _)| *span).collect();
    let info = recording.info();
    let beats = recording.figure_series(Source::Meminfo, window.clone(), 1);
    Ok(RecordingView {
        host: info.hosts.first().cloned().unwrap_or_else(|| "unknown".to_owned()),
        from: WallTime(window.start),
        to: WallTime(window.end - 1),
        beats: beats
            .iter()
            .filter_map(|series| series.points.first())
            .map(|point| u64::from(point.beats))
            .max()
            .unwrap_or(0),
        processes_seen: spans.len() as u64,
        gaps: gaps(recording, &window),
        outcome: Outcome::of_processes(judged.iter().map(|(_, view)| view)),
        findings: judged.iter().take(part.top).filter_map(|(span, view)| finding(span, view, &window)).collect(),
        processes: series(recording, &window, &shown),
        system: Series::of_system(&rows),
        balance: rows.last().map(|(_, sample)| BalanceView::from(&analysis::balance(sample, []))),
        events: events(recording, &window, &spans, &shown),
        notes: notes(recording),
    })
}

fn wanted_spans(recording: &Recording, part: &Part, window: &Range<u64>) -> Vec<ProcessSpan> {
    let mut spans = recording.processes();
    spans.retain(|span| span.first_ns < window.end && span.last_ns >= window.start && is_wanted(part, &span.identity));
    spans
}

/// Figures of some processes over time.
fn columns(recording: &Recording, window: &Range<u64>, metrics: &[ProcessMetric], of: &[&ProcessSpan]) -> Columns {
    let ids: std::collections::BTreeSet<&ProcessId> = of.iter().map(|span| &span.id).collect();
    let mut columns = Columns::new();
    for (id, all) in recording.several_series(metrics, window.clone(), POINTS_MAX, |id| ids.contains(id)) {
        let rows: &mut BTreeMap<u64, ProcessFigures> = columns.entry(id).or_default();
        for (metric, series) in metrics.iter().zip(all) {
            for point in series.points {
                rows.entry(point.to_ns).or_default().set(*metric, Reading::Known(point.last));
            }
        }
    }
    columns
}

/// All processes that were there long enough, judged each to its end, worst first.
fn judge<'a>(
    recording: &Recording,
    window: &Range<u64>,
    spans: &'a [ProcessSpan],
    system: &[(WallTime, SystemSample)],
) -> Vec<(&'a ProcessSpan, ProcessView)> {
    let available =
        system.last().map_or(Reading::Missing(Why::NotRecorded), |(_, sample)| sample.meminfo("MemAvailable"));
    let long: Vec<&ProcessSpan> = spans.iter().filter(|span| span.beats >= JUDGED_BEATS_MIN).collect();
    let mut judged = Vec::new();
    // Some at a time, so that the memory of a report does not depend on how many processes there were; as many as possible,
    // since each time all segments are read.
    for some in by_points(&long, window) {
        let mut columns = columns(recording, window, &JUDGED, some);
        for span in some {
            let rows = columns.remove(&span.id).unwrap_or_default();
            let is_born = span.first_ns > window.start;
            judged.extend(judge_one(span, &rows, window.start, is_born, available).map(|view| (*span, view)));
        }
    }
    judged.sort_by_cached_key(|(_, view)| place(view));
    judged
}

/// The processes in parts that have so many points together at most.
fn by_points<'a, 'b>(spans: &'b [&'a ProcessSpan], window: &Range<u64>) -> Vec<&'b [&'a ProcessSpan]> {
    let width_ns = (window.end - window.start).div_ceil(POINTS_MAX as u64).max(1);
    let points = |span: &ProcessSpan| {
        let spans = span.last_ns.saturating_sub(span.first_ns) / width_ns + 2;
        spans.min(span.beats).min(POINTS_MAX as u64) as usize
    };
    let (mut parts, mut rest) = (Vec::new(), spans);
    while !rest.is_empty() {
        let mut sum = 0;
        let fit = rest.iter().take_while(|span| {
            sum += points(span);
            sum <= POINTS_AT_ONCE
        });
        let (part, left) = rest.split_at(fit.count().max(1));
        parts.push(part);
        rest = left;
    }
    parts
}

fn judge_one(
    span: &ProcessSpan,
    rows: &BTreeMap<u64, ProcessFigures>,
    from_ns: u64,
    is_born: bool,
    available: Reading<Bytes>,
) -> Option<ProcessView> {
    let mut tracker = GrowthTracker::new(GrowthOptions { processes_max: 1 });
    let sample = |at: Duration, memory: Option<MemorySample>| MachineSample {
        at,
        processes: memory.map(|memory| ProcessSample { identity: span.identity.clone(), memory }).into_iter().collect(),
        memory_total: Reading::Missing(Why::NotRecorded),
        memory_available: available,
        vanished: 0,
    };
    if is_born {
        tracker.add(&sample(Duration::ZERO, None));
    }
    for (at_ns, figures) in rows {
        tracker.add(&sample(Duration::from_nanos(at_ns.saturating_sub(from_ns)), Some(figures.memory())));
    }
    tracker.ranking().pop().map(ProcessView::from)
}

/// The order of a report: who leaks, then who may, then the others by size.
fn place(view: &ProcessView) -> impl Ord + use<> {
    let rate = view.growth.map(|rate| rate.per_hour).known();
    let rank = match view.severity {
        Severity::Leak => 0,
        Severity::Suspect => 1,
        Severity::Unclear | Severity::Fine => 2,
    };
    let rate = rate.filter(|_| rank < 2);
    (rank, Reverse(rate), Reverse(view.memory.private().known()), view.identity.key)
}

fn finding(span: &ProcessSpan, view: &ProcessView, window: &Range<u64>) -> Option<FindingView> {
    matches!(view.severity, Severity::Leak | Severity::Suspect).then(|| FindingView {
        process: view.clone(),
        since: WallTime(span.first_ns.max(window.start)),
        until: WallTime(span.last_ns.min(window.end - 1)),
    })
}

/// The processes that are shown, with all their figures.
fn series(recording: &Recording, window: &Range<u64>, shown: &[&ProcessSpan]) -> Vec<ProcessSeries> {
    let mut columns = columns(recording, window, &ProcessMetric::ALL, shown);
    let rows = |span: &&ProcessSpan| {
        let rows = columns.remove(&span.id).unwrap_or_default();
        let rows: Vec<_> = rows.into_iter().map(|(at_ns, figures)| (WallTime(at_ns), figures)).collect();
        ProcessSeries::new(span.identity.clone(), &rows)
    };
    shown.iter().map(rows).collect()
}

/// The figures of the machine over time, as samples.
fn system_rows(recording: &Recording, window: &Range<u64>) -> Vec<(WallTime, SystemSample)> {
    let mut rows: BTreeMap<u64, SystemSample> = BTreeMap::new();
    for source in SYSTEM {
        for series in recording.figure_series(source, window.clone(), POINTS_MAX) {
            for point in series.points {
                let sample = rows.entry(point.to_ns).or_default();
                let figure = Figure { key: series.of.clone(), value: Reading::Known(point.last) };
                match sample.sources.last_mut() {
                    Some(SourceSample { source: last, figures: Reading::Known(figures) }) if *last == source => {
                        figures.push(figure);
                    }
                    _ => sample.sources.push(SourceSample { source, figures: Reading::Known(vec![figure]) }),
                }
            }
        }
    }
    rows.into_iter().map(|(at_ns, sample)| (WallTime(at_ns), sample)).collect()
}

fn gaps(recording: &Recording, window: &Range<u64>) -> Vec<GapView> {
    let reason = |kind| match kind {
        GapKind::Pause => "no sample was taken: the machine was suspended or too busy",
        GapKind::Restart => "the recorder was not at work",
        GapKind::Reboot => "the machine was started anew",
        GapKind::Damaged => "what was recorded is damaged",
    };
    let gaps = recording.gaps().into_iter().filter(|gap| window.contains(&gap.from_ns) || window.contains(&gap.to_ns));
    gaps.map(|gap| GapView {
        from: WallTime(gap.from_ns),
        to: WallTime(gap.to_ns),
        reason: reason(gap.kind).to_owned(),
    })
    .collect()
}

/// What happened. Births and deaths are told of processes that are shown only: a busy machine has thousands an hour.
fn events(recording: &Recording, window: &Range<u64>, spans: &[ProcessSpan], shown: &[&ProcessSpan]) -> Vec<NoteView> {
    let names: BTreeMap<ProcessKey, &str> =
        spans.iter().map(|span| (span.id.key, span.identity.command.as_str())).collect();
    let is_shown = |key: &ProcessKey| shown.iter().any(|span| span.id.key == *key);
    let is_told = |event: &Event| match event {
        Event::ProcessBorn { process } | Event::ProcessDied { process, .. } => is_shown(process),
        Event::Zombie { .. }
        | Event::OomKill { .. }
        | Event::KernelMessage { .. }
        | Event::RecorderStarted { .. }
        | Event::RecorderStopped { .. }
        | Event::Gap { .. }
        | Event::BeatNotKept { .. }
        | Event::NotRecorded { .. }
        | Event::AlertRaised { .. }
        | Event::AlertCleared { .. }
        | Event::ClockJumped { .. } => true,
    };
    let told = recording.events(window.clone()).filter(|(_, event)| is_told(event)).take(EVENTS_MAX);
    told.map(|(at_ns, event)| {
        let at = Moment { wall_ns: at_ns, boot_ns: 0, boot_id: "".into() };
        NoteView::new(&at, &event, |key| names.get(&key).map(|name| (*name).to_owned()))
    })
    .collect()
}

fn notes(recording: &Recording) -> Vec<String> {
    let damage = recording.damage();
    let mut notes = Vec::new();
    if damage.blocks > 0 {
        notes.push(format!(
            "{} blocks of the recording are damaged ({}) and were left out",
            damage.blocks,
            Bytes(damage.bytes)
        ));
    }
    if damage.files > 0 {
        notes.push(format!("{} files of the recording could not be read", damage.files));
    }
    if damage.unknown > 0 {
        notes.push(format!("{} events are of a kind that this leakline does not know", damage.unknown));
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{FigureKey, Identity, Pid, ProcessReading};
    use recording::{Options, Recorder};

    use super::*;
    use crate::values;

    const SECOND: u64 = 1_000_000_000;
    const START: u64 = 1_700_000_000 * SECOND;

    #[test]
    fn processes_are_judged_in_parts_by_their_points() {
        let span = |seconds: u64, beats| ProcessSpan {
            id: ProcessId { boot_id: "a".into(), key: ProcessKey { pid: Pid(1), started: 1 } },
            identity: identity(1, "x"),
            first_ns: START,
            last_ns: START + seconds * SECOND,
            beats,
        };
        let window = START..START + POINTS_MAX as u64 * SECOND;
        let (long, short) = (span(u64::from(u32::MAX), 1 << 40), span(3, 4));
        let check = |spans: &[&ProcessSpan], wanted: &[usize]| {
            let found: Vec<usize> = by_points(spans, &window).iter().map(|part| part.len()).collect();
            assert_eq!(found, wanted);
        };
        check(&[], &[]);
        check(&[&long, &short], &[2]);
        check(&vec![&short; POINTS_AT_ONCE / 4 + 1], &[POINTS_AT_ONCE / 4, 1]);
        let fit = POINTS_AT_ONCE / POINTS_MAX;
        check(&vec![&long; fit * 2 + 1], &[fit, fit, 1]);
    }

    fn identity(pid: u32, command: &str) -> Arc<Identity> {
        Arc::new(Identity {
            key: ProcessKey { pid: Pid(pid), started: u64::from(pid) },
            command: command.to_owned(),
            arguments: String::new(),
            uid: Reading::Known(0),
            user: Reading::Known("root".to_owned()),
            cgroup: Reading::Known("/".to_owned()),
            container: None,
            kernel_thread: false,
        })
    }

    fn figures(anon: u64) -> ProcessFigures {
        let mut figures = ProcessFigures::default();
        for (metric, value) in [
            (ProcessMetric::RssAnon, anon),
            (ProcessMetric::RssFile, 4096),
            (ProcessMetric::RssShmem, 0),
            (ProcessMetric::Swap, 0),
            (ProcessMetric::PageTables, 4096),
            (ProcessMetric::Threads, 1),
        ] {
            figures.set(metric, Reading::Known(value));
        }
        figures
    }

    /// One process that leaks 1 MiB a beat, one that is large and idle, one that ends after 30 beats; a beat a second.
    fn beat(number: u64) -> Beat {
        let at = Moment { wall_ns: START + number * SECOND, boot_ns: number * SECOND, boot_id: "boot".into() };
        let reading = |pid, command, anon| ProcessReading { identity: identity(pid, command), figures: figures(anon) };
        let mut processes = vec![reading(7, "leaky", (50 + number) << 20), reading(8, "large", 900 << 20)];
        if number < 30 {
            processes.push(reading(9, "short", 5 << 20));
        }
        let figure = |name: &str, value| Figure {
            key: FigureKey { subject: "".into(), name: name.into() },
            value: Reading::Known(value),
        };
        let meminfo = vec![figure("MemTotal", 8 << 30), figure("MemAvailable", 4 << 30)];
        let system =
            SystemSample { sources: vec![SourceSample { source: Source::Meminfo, figures: Reading::Known(meminfo) }] };
        let events = match number {
            0 => vec![Event::RecorderStarted {
                host: "web1".into(),
                kernel: "6".into(),
                version: "1".into(),
                every_ms: 1000,
            }],
            30 => vec![Event::ProcessDied {
                process: ProcessKey { pid: Pid(9), started: 9 },
                exit: Reading::Missing(Why::NotRecorded),
            }],
            _ => Vec::new(),
        };
        Beat { at, processes, system, events }
    }

    /// What a report with these options says, as words; two minutes were recorded.
    fn told(options: &[(&str, &str)]) -> Result<RecordingView, Failure> {
        let mut part = Part { top: 10, ..Part::default() };
        for (option, value) in options {
            match *option {
                "pid" => part.pid.push(values::pid(value).expect("a pid")),
                "name" => part.name = Some((*value).to_owned()),
                "since" => part.since = Some(values::when(value).expect("a moment")),
                "until" => part.until = Some(values::when(value).expect("a moment")),
                _ => part.top = value.parse().expect("a number"),
            }
        }
        let id = format!("{:?}", std::thread::current().id());
        let directory = std::env::temp_dir().join(format!("leakline-replay-{}-{id}", std::process::id()));
        let mut recorder = Recorder::open(&directory, Options::default()).expect("it can be made");
        (0..120).for_each(|number| recorder.append(&beat(number)).expect("it has room"));
        recorder.seal().expect("it has room");
        let view = view(&Recording::open(&directory).expect("it is there"), &part);
        std::fs::remove_dir_all(&directory).expect("it is ours");
        view
    }

    #[track_caller]
    fn check_refused(options: &[(&str, &str)], words: &str) {
        let refused = format!("{:?}", told(options).expect_err("it must be refused"));
        assert!(refused.contains(words), "{refused}");
    }

    #[test]
    fn the_one_that_grows_is_found_and_stands_first() {
        let view = told(&[]).expect("it is sound");
        let names: Vec<_> = view.findings.iter().map(|found| found.process.identity.command.as_str()).collect();
        assert_eq!(names, ["leaky"]);
        let shown: Vec<_> = view.processes.iter().map(|process| process.identity.command.as_str()).collect();
        assert_eq!(shown, ["leaky", "large", "short"]);
        assert_eq!((view.host.as_str(), view.beats, view.processes_seen), ("web1", 120, 3));
        assert_eq!(view.findings[0].since, WallTime(START));
        assert_eq!(view.findings[0].until, WallTime(START + 119 * SECOND));
        assert!(view.gaps.is_empty() && view.notes.is_empty(), "{view:?}");
        let kinds: Vec<_> = view.events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, ["started", "died"]);
    }

    #[test]
    fn a_replay_finds_what_the_live_run_finds() {
        let mut tracker = GrowthTracker::new(GrowthOptions::default());
        for number in 0..120 {
            let beat = beat(number);
            let sample = |process: &ProcessReading| ProcessSample {
                identity: process.identity.clone(),
                memory: process.figures.memory(),
            };
            tracker.add(&MachineSample {
                at: Duration::from_secs(number),
                processes: beat.processes.iter().map(sample).collect(),
                memory_total: beat.system.meminfo("MemTotal"),
                memory_available: beat.system.meminfo("MemAvailable"),
                vanished: 0,
            });
        }
        let live = tracker.ranking().into_iter().map(ProcessView::from).next().expect("there is a first");
        let replayed = told(&[]).expect("it is sound").findings.remove(0).process;
        assert_eq!(format!("{live:?}"), format!("{replayed:?}"));
    }

    #[test]
    fn a_part_is_shown_alone() {
        let view = told(&[("name", "lar")]).expect("it is sound");
        assert_eq!((view.processes.len(), view.findings.len()), (1, 0));
        assert_eq!(told(&[("top", "1")]).expect("it is sound").processes.len(), 1);
        let last = told(&[("since", "30s")]).expect("it is sound");
        assert_eq!((last.beats, last.processes.len()), (31, 2));
        let first = told(&[("until", "100s")]).expect("it is sound");
        assert_eq!((first.beats, first.processes_seen), (20, 3));
    }

    #[test]
    fn a_part_that_is_empty_is_refused() {
        check_refused(&[("pid", "77")], "no process that was asked for");
        check_refused(&[("since", "10s"), ("until", "20s")], "is after --until");
        check_refused(&[("since", "2030-01-01")], "is after --until");
        check_refused(&[("since", "2030-01-01"), ("until", "2031-01-01")], "nothing was recorded from 2030");
        check_refused(&[("until", "2001-01-01")], "is after --until");
    }
}
