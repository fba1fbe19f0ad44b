//! Views with one of everything that can be shown.
//!
//! Owns: the sample data of the golden files here and in `tui`. Must not know: how it is written.

#![allow(dead_code, reason = "each test program uses a part of the samples")]

use std::sync::Arc;
use std::time::Duration;

use model::{
    Address, Beat, Bytes, Content, Coverage, Figure, FigureKey, Frame, FrameTrust, Function, Identity, Kind, Lifetimes,
    Losses, MemorySample, Mode, ModuleName, Moment, Overhead, Pid, ProcessFigures, ProcessKey, ProcessMetric,
    ProcessReading, Reading, SiteCounts, Source, SourceLine, SourceSample, StackId, SystemSample, Tally, Variance, Why,
};
use report::{
    AlertView, BalanceView, Check, CheckState, ChildEvent, DoctorView, EventView, Excerpt, Exhaustion, FindingView,
    GapView, Holding, HuntView, KindTotals, LastRun, MachineView, ModeChange, NoteView, Outcome, Point, ProcessSeries,
    ProcessView, Rate, RecorderView, RecordingView, RunView, Series, Severity, SiteTotals, SiteView, SitesView,
    SuppressionView, TargetView, WallTime, metrics,
};

mod inspected;

#[allow(unused_imports, reason = "each test program uses a part of the samples")]
pub(crate) use inspected::{machine_sheet, sheet};

const MIB: u64 = 1 << 20;
const GONE: Why = Why::ProcessGone;

pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Three processes: one that leaks, one that may, one of which little is known.
pub(crate) fn hunt() -> HuntView {
    HuntView {
        machine: MachineView {
            window: seconds(60.0),
            planned: Some(seconds(60.0)),
            beats: 61,
            processes: 312,
            vanished: 2,
            memory_total: Reading::Known(Bytes(16 << 30)),
            memory_available: Reading::Known(Bytes(9 << 30)),
        },
        processes: vec![leaking(), suspect(), unknown()],
        outcome: Outcome::LeakFound,
        notes: vec!["memory of 3 processes could not be read (needs CAP_SYS_PTRACE)".to_owned()],
    }
}

pub(crate) fn leaking() -> ProcessView {
    ProcessView {
        identity: identity(
            1234,
            "billing-server",
            "/usr/bin/billing-server --port 8080",
            "/system.slice/billing.service",
        ),
        memory: memory(180, 40, 2),
        growth: Reading::Known(Rate { per_hour: 720 << 20, low: 700 << 20, high: 741 << 20 }),
        recent: Reading::Known(1 << 30),
        kind: "anon".to_owned(),
        confidence: Reading::Known(0.996),
        exhaustion: Reading::Known(Exhaustion {
            after: seconds(46_080.0),
            soonest: seconds(44_700.0),
            latest: Some(seconds(47_400.0)),
        }),
        verdict: "growing".to_owned(),
        severity: Severity::Leak,
        reasons: vec!["grew in 58 of 60 steps".to_owned(), "the largest step is 3 % of the growth".to_owned()],
        history: (0..=60).map(|at| (Duration::from_secs(at), Bytes((120 + at) * MIB))).collect(),
    }
}

pub(crate) fn suspect() -> ProcessView {
    let mut view = leaking();
    let mut identity = (*identity(77_001, "日本\x1b[31m-cache", "cache", "/docker/0123456789ab")).clone();
    identity.container = Some("0123456789ab".to_owned());
    view.identity = Arc::new(identity);
    view.memory = memory(2048, 10, 0);
    view.growth = Reading::Known(Rate { per_hour: 3 << 20, low: -(1 << 20), high: 7 << 20 });
    view.confidence = Reading::Known(0.71);
    view.exhaustion = Reading::Missing(Why::TooShort);
    "too short to tell".clone_into(&mut view.verdict);
    view.severity = Severity::Suspect;
    view.reasons = vec!["the window is too short for a slope this small".to_owned()];
    let wave = [0, 8, 3, 9, 4, 12, 7, 13];
    view.history = (0..8).map(|at| (Duration::from_secs(at), Bytes((2048 + wave[at as usize] * 10) * MIB))).collect();
    view
}

pub(crate) fn unknown() -> ProcessView {
    let mut view = leaking();
    let mut identity = (*identity(9, "gone", "", "/")).clone();
    identity.user = Reading::Missing(GONE);
    identity.cgroup = Reading::Missing(GONE);
    view.identity = Arc::new(identity);
    view.memory = MemorySample {
        anon: Reading::Missing(GONE),
        file: Reading::Missing(GONE),
        shmem: Reading::Missing(GONE),
        swap: Reading::Missing(GONE),
        page_tables: Reading::Missing(GONE),
        threads: Reading::Missing(GONE),
    };
    view.growth = Reading::Missing(GONE);
    view.recent = Reading::Missing(GONE);
    view.kind = String::new();
    view.confidence = Reading::Missing(GONE);
    view.exhaustion = Reading::Missing(GONE);
    "unknown".clone_into(&mut view.verdict);
    view.severity = Severity::Unclear;
    view.reasons = Vec::new();
    view.history = Vec::new();
    view
}

/// Two hours with a gap, two processes, and events of every weight.
pub(crate) fn recording() -> RecordingView {
    RecordingView {
        host: "db-7".to_owned(),
        from: minute(0),
        to: minute(120),
        beats: 1441,
        processes_seen: 312,
        outcome: Outcome::LeakFound,
        gaps: vec![GapView { from: minute(40), to: minute(50), reason: "suspended".to_owned() }],
        findings: vec![
            FindingView { process: leaking(), since: minute(0), until: minute(120) },
            FindingView { process: suspect(), since: minute(50), until: minute(120) },
        ],
        processes: vec![
            process_series(&leaking(), |at| (120.0 + at * 12.0, 20.0 + at)),
            process_series(&suspect(), |at| (900.0 + (at * 0.9).sin() * 60.0 + at * 2.0, 64.0)),
        ],
        system: system_series(),
        balance: Some(BalanceView {
            total: Reading::Known(Bytes(16 << 30)),
            parts: vec![
                ("processes".to_owned(), Reading::Known(Bytes(6 << 30))),
                ("page cache".to_owned(), Reading::Known(Bytes(5 << 30))),
                ("slab".to_owned(), Reading::Missing(Why::NotPermitted { needs: "CAP_SYS_ADMIN" })),
            ],
            unexplained: Reading::Known(-(64 << 20)),
        }),
        events: vec![
            note(0, "started", false, "leakline 0.1.0 starts to record db-7 (Linux 6.1) every 5.00 s"),
            note(50, "gap", true, "nothing recorded for 10 min 00 s: suspended"),
            note(90, "oom_kill", true, "out of memory in group /a<b>: the kernel killed process 9 (\"><script>)"),
        ],
        notes: vec!["memory of 3 processes could not be read (needs CAP_SYS_PTRACE)".to_owned()],
    }
}

/// What a recorder would keep at this minute: a large process and one whose name wants to be a formula.
pub(crate) fn beat(at: u64) -> Beat {
    let boot_id: Arc<str> = "0f7c".into();
    let mut java = (*identity(100, "java", "java -jar shop.jar", "/docker/0123456789ab")).clone();
    java.container = Some("0123456789ab".to_owned());
    let evil = (*identity(200, "=cmd|'/c calc'!A1,\"x\"", "\"><script>alert(1)</script>\n\u{202e}", "/")).clone();
    let process = |identity: Identity, anon: u64, known: bool| {
        let mut figures = ProcessFigures::default();
        let mut set = |metric, value: u64| figures.set(metric, Reading::Known(value));
        set(ProcessMetric::RssAnon, anon * MIB);
        set(ProcessMetric::RssFile, 64 * MIB);
        set(ProcessMetric::RssShmem, 0);
        set(ProcessMetric::State, u64::from(b'S'));
        if known {
            set(ProcessMetric::Swap, MIB);
            set(ProcessMetric::Threads, 7);
            set(ProcessMetric::Descriptors, 120);
            set(ProcessMetric::DescriptorLimit, u64::MAX);
            set(ProcessMetric::CpuTime, 1500);
            set(ProcessMetric::Parent, 1);
        }
        ProcessReading { identity: Arc::new(identity), figures }
    };
    Beat {
        at: Moment { wall_ns: minute(at).0, boot_ns: at * 60_000_000_000, boot_id },
        processes: vec![process(java, 1984 + at * 10, true), process(evil, 10, false)],
        system: system_sample(6 + at),
        events: Vec::new(),
    }
}

/// A machine of 16 GiB of which so many are used.
fn system_sample(used: u64) -> SystemSample {
    let figure = |(name, mib): (&str, u64)| Figure {
        key: FigureKey { subject: "".into(), name: name.into() },
        value: Reading::Known(mib * MIB),
    };
    let figures = [
        ("MemTotal", 16 * 1024),
        ("MemFree", 2048),
        ("MemAvailable", (16 - used) * 1024),
        ("Buffers", 512),
        ("Cached", 5120),
        ("SwapTotal", 4096),
        ("SwapFree", 4000),
    ];
    let figures = Reading::Known(figures.map(figure).to_vec());
    SystemSample { sources: vec![SourceSample { source: Source::Meminfo, figures }] }
}

/// A recording in which every figure was kept.
pub(crate) fn every_series() -> RecordingView {
    let mut view = recording();
    let mut figures = ProcessFigures::default();
    for metric in ProcessMetric::ALL {
        figures.set(metric, Reading::Known(1));
    }
    view.processes = vec![ProcessSeries::new(leaking().identity, &[(minute(0), figures)])];
    let figure = |(subject, name): (&str, &str)| Figure {
        key: FigureKey { subject: subject.into(), name: name.into() },
        value: Reading::Known(1),
    };
    let names = ["MemTotal", "MemAvailable", "MemFree", "Buffers", "Cached", "Shmem", "Slab", "SwapTotal", "SwapFree"];
    let meminfo = names.map(|name| figure(("", name))).to_vec();
    let pressure = vec![figure(("memory", "some.avg10"))];
    let source = |source, figures| SourceSample { source, figures: Reading::Known(figures) };
    let sources = vec![source(Source::Meminfo, meminfo), source(Source::Pressure, pressure)];
    view.system = Series::of_system(&[(minute(0), SystemSample { sources })]);
    view
}

/// A recorder that runs.
pub(crate) fn recorder() -> RecorderView {
    RecorderView {
        place: "/var/lib/leakline/db-7".to_owned(),
        running: Some(Pid(4242)),
        ended: "ended by a signal".to_owned(),
        from: Reading::Known(minute(0)),
        to: Reading::Known(minute(120)),
        beats: 1441,
        gaps: 1,
        segments: 2,
        size: Bytes(3 * MIB),
        boots: 1,
        hosts: vec!["db-7".to_owned()],
        version: 1,
        damaged: (0, Bytes(0), 0),
        last_run: Some(LastRun {
            wanted: seconds(5.0),
            kept: seconds(5.01),
            lost: 2,
            trouble: "no space left on device".to_owned(),
            processes: 312,
            memory: Reading::Known(Bytes(9 * MIB)),
            cpu: Reading::Missing(Why::TooShort),
        }),
    }
}

/// An alert about a process whose name has a line end.
pub(crate) fn alert() -> AlertView {
    AlertView {
        at: minute(5),
        host: "db-7".to_owned(),
        rule: "growth".to_owned(),
        severity: model::Severity::Warning,
        subject: "web\n (7)".to_owned(),
        evidence: "+10 % in 1 h".to_owned(),
        next_command: "leakline attach 7".to_owned(),
        raised: true,
    }
}

/// Minutes after 2026-11-21 06:00 UTC.
pub(crate) fn minute(minute: u64) -> WallTime {
    WallTime((1_795_240_800 + minute * 60) * 1_000_000_000)
}

fn note(at: u64, kind: &'static str, severe: bool, text: &str) -> NoteView {
    NoteView { at: minute(at), kind, severe, text: text.to_owned() }
}

/// Private memory in MiB and descriptors by the tens of minutes that have passed.
fn process_series(view: &ProcessView, value: impl Fn(f64) -> (f64, f64)) -> ProcessSeries {
    let rows: Vec<(WallTime, ProcessFigures)> = (0..=120_u64)
        .filter(|at| !(41..50).contains(at))
        .map(|at| {
            let (private, descriptors) = value(at as f64 / 10.0);
            let mut figures = ProcessFigures::default();
            let mut set = |metric, value: f64| figures.set(metric, Reading::Known(value as u64));
            set(ProcessMetric::RssAnon, private * MIB as f64);
            set(ProcessMetric::RssFile, 40.0 * MIB as f64);
            set(ProcessMetric::RssShmem, 0.0);
            set(ProcessMetric::Swap, 0.0);
            set(ProcessMetric::Descriptors, descriptors);
            (minute(at), figures)
        })
        .collect();
    let mut process = ProcessSeries::new(Arc::clone(&view.identity), &rows);
    let shown = ["private_bytes", "rss_bytes", "descriptors"];
    process.series.retain(|series| shown.contains(&series.metric.key));
    process
}

fn system_series() -> Vec<Series> {
    let gib = (1_u64 << 30) as f64;
    let series = |metric, subject: &str, value: &dyn Fn(f64) -> f64| Series {
        metric,
        subject: subject.to_owned(),
        points: (0..=24_u64)
            .map(|at| Point { at: minute(at * 5), value: Reading::Known(value(at as f64 / 24.0)) })
            .collect(),
    };
    vec![
        series(&metrics::MEMORY_USED, "", &|at| (7.0 + 2.0 * at) * gib),
        series(&metrics::MEMORY_AVAILABLE, "", &|at| (9.0 - 2.0 * at) * gib),
        series(&metrics::CACHED, "", &|_| 5.0 * gib),
        series(&metrics::PRESSURE, "memory some", &|at| 0.02 + 0.4 * at * at),
    ]
}

fn identity(pid: u32, command: &str, arguments: &str, cgroup: &str) -> Arc<Identity> {
    Arc::new(Identity {
        key: ProcessKey { pid: Pid(pid), started: 4711 },
        command: command.to_owned(),
        arguments: arguments.to_owned(),
        uid: Reading::Known(1000),
        user: Reading::Known("alice".to_owned()),
        cgroup: Reading::Known(cgroup.to_owned()),
        container: None,
        kernel_thread: false,
    })
}

fn memory(anon: u64, file: u64, swap: u64) -> MemorySample {
    MemorySample {
        anon: Reading::Known(Bytes(anon * MIB)),
        file: Reading::Known(Bytes(file * MIB)),
        shmem: Reading::Known(Bytes(0)),
        swap: Reading::Known(Bytes(swap * MIB)),
        page_tables: Reading::Known(Bytes(600 << 10)),
        threads: Reading::Known(4),
    }
}

pub(crate) fn target() -> TargetView {
    TargetView {
        pid: Pid(1234),
        command: "billing-server".to_owned(),
        state: "attached".to_owned(),
        allocator: "glibc (/usr/lib/x86_64-linux-gnu/libc.so.6)".to_owned(),
        functions: ["malloc", "free", "calloc", "realloc"].map(str::to_owned).to_vec(),
        mode: Mode::Exact,
        mode_asked: "auto".to_owned(),
        max_overhead: Reading::Known(0.05),
        memory_max: Bytes(1 << 30),
        threads: 4,
        expire: seconds(5.0),
        active_after: seconds(0.12),
        attach_stop: seconds(0.001_2),
        detach_stop: Reading::Missing(Why::NotRecorded),
    }
}

/// A session with losses and two sites, the second of which was demoted.
pub(crate) fn sites() -> SitesView {
    SitesView {
        target: target(),
        elapsed: seconds(61.0),
        coverage: Coverage {
            allocations: 120_000,
            frees: 118_800,
            frees_of_older: 12,
            threads: 4,
            maps: 2,
            opens: 1300,
            closes: 1260,
            ..Coverage::default()
        },
        losses: Losses { blocks_unrecorded: 41, stacks_cut: 3, entries_corrupt: 1, ..Losses::default() },
        overhead: Overhead {
            now: Reading::Known(0.018),
            exact: Reading::Known(0.018),
            of_processor: Reading::Known(0.009),
        },
        mode_changes: Vec::new(),
        mode_changes_forgotten: 0,
        memory_in_target: Bytes(8 * MIB),
        private_growth: Reading::Known(Bytes(66 * MIB)),
        totals: totals(),
        sites: vec![leaking_site(), demoted_site(), descriptor_site()],
        sites_left_out: 62,
        outcome: Outcome::LeakFound,
        notes: vec!["the agent stays mapped in the target (4 KiB)".to_owned()],
    }
}

fn totals() -> SiteTotals {
    let mut totals = SiteTotals { sites: 65, leaking: 2, ..SiteTotals::default() };
    let (heap, descriptors) = (tally(1100, 64), descriptors(40));
    let (late, none) = (tally(15, 1000), Tally::of(Kind::Descriptor));
    *totals.kind_mut(Kind::Heap) = KindTotals {
        may_leak: heap,
        expired: heap,
        freed_late: late,
        allocated: tally(120_000, 64),
        ..KindTotals::default()
    };
    *totals.kind_mut(Kind::Descriptor) = KindTotals {
        may_leak: descriptors,
        expired: descriptors,
        freed_late: none,
        allocated: descriptors,
        freed: none,
        live: descriptors,
    };
    totals
}

fn descriptors(count: u64) -> Tally {
    Tally { count, ..Tally::of(Kind::Descriptor) }
}

/// Forty sockets that nobody closed.
pub(crate) fn descriptor_site() -> SiteView {
    SiteView {
        rank: 3,
        counts: SiteCounts {
            stack: StackId(65_536),
            allocated: descriptors(41),
            freed: descriptors(1),
            live: descriptors(40),
            expired: descriptors(40),
            freed_late: descriptors(0),
            contents: vec![
                Content { name: "socket".to_owned(), count: 38 },
                Content { name: "/var/log/orders\u{1b}[2J".to_owned(), count: 2 },
            ],
            ..leaking_site().counts
        },
        ever_expired: descriptors(40),
        growth: Reading::Known(Rate { per_hour: 2400, low: 2350, high: 2450 }),
        holding: Reading::Missing(Why::NotRecorded),
        reasons: vec!["for: it never closed a descriptor".to_owned()],
        excerpts: Vec::new(),
        ..leaking_site()
    }
}

/// A program that was run to its end, of whose blocks one pattern hides some.
pub(crate) fn run() -> RunView {
    RunView {
        process: sites(),
        end: "ended with status 0".to_owned(),
        not_freed: tally(30, 64),
        kinds: Reading::Known([tally(1, 64), tally(2, 64), tally(3, 64), tally(20, 64)]),
        suppressed: vec![SuppressionView { pattern: "*dl_init*".to_owned(), blocks: tally(4, 64) }],
        leaks: Vec::new(),
        left_out: 3,
        look_stop: Reading::Known(seconds(0.001)),
        outcome: Outcome::LeakFound,
    }
}

fn to_sampled() -> ModeChange {
    ModeChange { at: seconds(60.5), mode: Mode::Sampled { rate: Bytes(512 << 10) }, exact: Reading::Known(0.31) }
}

/// The same session in sampled mode: its figures are estimates.
pub(crate) fn sampled_sites() -> SitesView {
    let mut view = sites();
    view.target.mode = to_sampled().mode;
    view.overhead = Overhead {
        now: Reading::Known(0.004),
        exact: Reading::Known(0.29),
        of_processor: Reading::Missing(Why::NotRecorded),
    };
    view.mode_changes = vec![to_sampled()];
    view.mode_changes_forgotten = 3;
    view.coverage.samples = 1234;
    view.notes.push("while blocks are sampled, a site that allocates less than 1.50 MiB may not be seen".to_owned());
    let estimated = |tally: Tally| {
        let (blocks, bytes) = (u128::from(tally.count), u128::from(tally.bytes.0));
        Tally { variance: Variance { blocks: blocks * blocks / 100, bytes: bytes * bytes / 100 }, ..tally }
    };
    let may_leak = &mut view.totals.kind_mut(Kind::Heap).may_leak;
    *may_leak = estimated(*may_leak);
    for site in view.sites.iter_mut().filter(|site| site.counts.kind() == Kind::Heap) {
        let counts = &mut site.counts;
        for tally in [&mut counts.allocated, &mut counts.freed, &mut counts.live, &mut counts.expired] {
            *tally = estimated(*tally);
        }
    }
    view
}

pub(crate) fn leaking_site() -> SiteView {
    SiteView {
        rank: 1,
        counts: SiteCounts {
            stack: StackId(17),
            allocated: tally(12_000, 64),
            freed: tally(10_800, 64),
            live: tally(1200, 64),
            expired: tally(1100, 64),
            freed_late: tally(0, 0),
            freed_late_longest: None,
            lifetimes: Some(Lifetimes { min: seconds(0.000_001), mean: seconds(0.002), max: seconds(0.4) }),
            oldest_live: Some(seconds(60.2)),
            contents: Vec::new(),
        },
        ever_expired: tally(1100, 64),
        growth: Reading::Known(Rate { per_hour: 4_531_200, low: 4_500_000, high: 4_600_000 }),
        verdict: "leaking".to_owned(),
        severity: Severity::Leak,
        holding: Reading::Known(Holding { lost: tally(1000, 64), held: tally(90, 64), unclear: tally(10, 64) }),
        reasons: vec!["none of its expired blocks was ever freed".to_owned()],
        demoted: false,
        frames: frames(),
        excerpts: vec![Excerpt {
            frame: 0,
            first: 11,
            lines: vec!["{".to_owned(), "    char *order = malloc(64);".to_owned(), "    return order;".to_owned()],
            newer: false,
        }],
    }
}

pub(crate) fn demoted_site() -> SiteView {
    SiteView {
        rank: 2,
        counts: SiteCounts {
            stack: StackId(3),
            expired: tally(0, 0),
            freed_late: tally(15, 1000),
            freed_late_longest: Some(seconds(9.5)),
            lifetimes: None,
            oldest_live: None,
            ..leaking_site().counts
        },
        ever_expired: tally(15, 1000),
        growth: Reading::Missing(Why::TooShort),
        verdict: "freed late".to_owned(),
        severity: Severity::Fine,
        holding: Reading::Missing(Why::NotRecorded),
        reasons: Vec::new(),
        demoted: true,
        frames: Arc::from([]),
        excerpts: Vec::new(),
    }
}

fn tally(count: u64, each: u64) -> Tally {
    Tally::exact(count, Bytes(count * each))
}

pub(crate) fn frames() -> Arc<[Frame]> {
    let module = Reading::Known(ModuleName { path: "/usr/bin/billing-server".into(), build_id: None });
    let frame = |address, name: &str, line: Option<(&str, u32)>| Frame {
        address: Address(address),
        module: module.clone(),
        function: Reading::Known(Function { name: name.into(), offset: 0x12 }),
        line: line.map_or(Reading::Missing(Why::NoDebugInformation), |(file, line)| {
            Reading::Known(SourceLine { file: file.into(), line, column: Some(19) })
        }),
        inlined: false,
        trust: FrameTrust::UnwindTable,
    };
    let inlined = Frame { inlined: true, ..frame(0x5555_5555_51a2, "take_order", Some(("src/order.c", 12))) };
    let outer = frame(0x5555_5555_51a2, "billing::Server::handle(Request const&)", Some(("src/server.cpp", 204)));
    let bare = Frame { trust: FrameTrust::FramePointer, ..frame(0x5555_5555_6000, "main", None) };
    let lost = Frame {
        module: Reading::Missing(Why::NotRecorded),
        function: Reading::Missing(Why::NoDebugInformation),
        ..frame(0x7fff_0000, "", None)
    };
    Arc::from([inlined, outer, bare, lost])
}

/// One of each event.
pub(crate) fn events() -> Vec<EventView> {
    let (stack, expired) = (StackId(17), tally(1, 64));
    let late = |at, count, longest| EventView::FreedLate {
        at: seconds(at),
        stack: StackId(3),
        kind: Kind::Heap,
        count,
        longest,
    };
    let child = |what| EventView::Child { at: seconds(60.9), pid: Pid(1240), command: "worker".to_owned(), what };
    vec![
        EventView::Attached(target()),
        EventView::FirstExpiry { at: seconds(5.01), stack, expired, frames: frames() },
        EventView::FirstExpiry { at: seconds(5.02), stack: StackId(3), expired, frames: Arc::from([]) },
        EventView::Again { at: seconds(6.0), stack, more: 12, expired: tally(13, 64) },
        late(7.0, 1, Reading::Known(seconds(5.3))),
        late(8.0, 4, Reading::Missing(Why::NotRecorded)),
        EventView::Demoted {
            at: seconds(20.5),
            stack: StackId(3),
            freed_late: tally(12, 64),
            ever_expired: tally(15, 64),
        },
        EventView::ModeChanged(to_sampled()),
        EventView::ModeChanged(ModeChange { at: seconds(60.8), mode: Mode::Exact, exact: Reading::Known(0.012) }),
        child(ChildEvent::ModeChanged(to_sampled())),
        child(ChildEvent::Lost(Losses { blocks_unrecorded: 12, ..Losses::default() })),
        child(ChildEvent::Ended { why: "the process executed another program".to_owned() }),
        EventView::StopReached { at: seconds(61.0), stack, expired: tally(1000, 64) },
        EventView::Ended { at: seconds(61.0), why: "1,000 blocks expired at one site".to_owned() },
    ]
}

pub(crate) fn doctor() -> DoctorView {
    let check = |name: &str, state, found: &str, needed: &str, remedy: Option<&str>| Check {
        name: name.to_owned(),
        state,
        found: found.to_owned(),
        needed: needed.to_owned(),
        remedy: remedy.map(str::to_owned),
    };
    DoctorView {
        target: Some("1234 (billing-server)".to_owned()),
        checks: vec![
            check(
                "ptrace_scope",
                CheckState::Fail,
                "2",
                "0 or 1, or CAP_SYS_PTRACE",
                Some("sudo sysctl kernel.yama.ptrace_scope=1"),
            ),
            check("seccomp", CheckState::Unknown, "the process is gone", "", None),
            check(
                "debug information",
                CheckState::Warn,
                "none",
                "lines need debug information",
                Some("apt install billing-dbgsym"),
            ),
            check("kernel", CheckState::Ok, "6.8.0", "", None),
        ],
    }
}

/// What was taken out of one process.
pub(crate) fn removal() -> report::RemovalView {
    report::RemovalView {
        pid: Pid(7),
        command: "leaky".to_owned(),
        hooks: 9,
        code: Bytes(36_864),
        shared: Bytes(1 << 39),
        files: 0,
        left: "nothing".to_owned(),
    }
}
