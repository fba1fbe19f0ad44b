//! Views with one of everything that can be shown.
//!
//! Owns: the sample data of the golden files here and in `tui`. Must not know: how it is written.

#![allow(dead_code, reason = "each test program uses a part of the samples")]

use std::sync::Arc;
use std::time::Duration;

use model::{
    Address, Bytes, Coverage, Frame, FrameTrust, Function, Identity, Lifetimes, Losses, MemorySample, ModuleName, Pid,
    ProcessKey, Reading, SiteCounts, SourceLine, StackId, Tally, Why,
};
use report::{
    Check, CheckState, DoctorView, EventView, Excerpt, Exhaustion, HuntView, MachineView, Outcome, ProcessView, Rate,
    Severity, SiteTotals, SiteView, SitesView, TargetView,
};

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
        mode: "exact".to_owned(),
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
        coverage: Coverage { allocations: 120_000, frees: 118_800, frees_of_older: 12, threads: 4 },
        losses: Losses { blocks_unrecorded: 41, stacks_cut: 3, stacks_broken: 0, entries_corrupt: 1 },
        memory_in_target: Bytes(8 * MIB),
        totals: SiteTotals {
            sites: 64,
            leaking: 1,
            may_leak: tally(1100, 64),
            expired: tally(1100, 64),
            freed_late: tally(15, 1000),
            ..SiteTotals::default()
        },
        sites: vec![leaking_site(), demoted_site()],
        sites_left_out: 62,
        outcome: Outcome::LeakFound,
        notes: vec!["the agent stays mapped in the target (4 KiB)".to_owned()],
    }
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
        },
        ever_expired: tally(1100, 64),
        growth: Reading::Known(Rate { per_hour: 4_531_200, low: 4_500_000, high: 4_600_000 }),
        verdict: "leaking".to_owned(),
        severity: Severity::Leak,
        reasons: vec!["none of its expired blocks was ever freed".to_owned()],
        demoted: false,
        frames: frames(),
        excerpts: vec![Excerpt {
            frame: 0,
            first: 11,
            lines: vec!["{".to_owned(), "    char *order = malloc(64);".to_owned(), "    return order;".to_owned()],
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
        reasons: Vec::new(),
        demoted: true,
        frames: Arc::from([]),
        excerpts: Vec::new(),
    }
}

fn tally(count: u64, each: u64) -> Tally {
    Tally { count, bytes: Bytes(count * each) }
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
    let late = |at, count, longest| EventView::FreedLate { at: seconds(at), stack: StackId(3), count, longest };
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
