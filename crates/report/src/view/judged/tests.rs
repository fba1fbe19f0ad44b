//! Tests of what judgements come to.

use super::*;
use model::{Coverage, Identity, Losses, MemorySample, Mode, Pid, ProcessKey, Reading, SiteCounts, Tally, Why};

fn growth(verdict: GrowthVerdict, kind: Option<MemoryKind>, confidence: Reading<f64>) -> Growth {
    let none = Reading::Known(Bytes(0));
    Growth {
        identity: Arc::new(Identity {
            key: ProcessKey { pid: Pid(7), started: 1 },
            command: "web".to_owned(),
            arguments: String::new(),
            uid: Reading::Known(0),
            user: Reading::Missing(Why::NotRecorded),
            cgroup: Reading::Missing(Why::NotRecorded),
            container: None,
            kernel_thread: false,
        }),
        memory: MemorySample {
            anon: none,
            file: none,
            shmem: none,
            swap: none,
            page_tables: none,
            threads: Reading::Known(1),
        },
        verdict,
        kind,
        per_hour: Reading::Missing(Why::TooShort),
        recent_per_hour: Reading::Known(-5),
        confidence,
        exhaustion: Reading::Missing(Why::TooShort),
        reasons: vec!["because".to_owned()],
        history: vec![(Duration::ZERO, Bytes(1))],
    }
}

/// Judgements of several processes, and what the run comes to.
#[track_caller]
fn check(judgements: &[(GrowthVerdict, Option<MemoryKind>, f64)], severities: &[Severity], outcome: Outcome) {
    let rows =
        judgements.iter().map(|(verdict, kind, confidence)| growth(*verdict, *kind, Reading::Known(*confidence)));
    let rows: Vec<ProcessView> = rows.map(ProcessView::from).collect();
    assert_eq!(rows.iter().map(|row| row.severity).collect::<Vec<_>>(), severities);
    assert_eq!(Outcome::of_processes(&rows), outcome);
}

const ANON: Option<MemoryKind> = Some(MemoryKind::Anon);

#[test]
fn only_certain_growth_of_private_memory_is_a_leak() {
    let steady = (GrowthVerdict::Steady, None, 0.1);
    check(&[(GrowthVerdict::Growing, ANON, 0.99), steady], &[Severity::Leak, Severity::Fine], Outcome::LeakFound);
    check(&[(GrowthVerdict::Growing, Some(MemoryKind::Swap), 0.99)], &[Severity::Leak], Outcome::LeakFound);
    check(
        &[(GrowthVerdict::Growing, ANON, 0.94), steady],
        &[Severity::Suspect, Severity::Fine],
        Outcome::CouldNotJudge,
    );
    check(&[(GrowthVerdict::Growing, Some(MemoryKind::File), 0.99)], &[Severity::Suspect], Outcome::CouldNotJudge);
    check(&[(GrowthVerdict::Growing, None, 0.99)], &[Severity::Suspect], Outcome::CouldNotJudge);
}

#[test]
fn nothing_found_needs_something_that_was_judged() {
    check(&[], &[], Outcome::CouldNotJudge);
    check(&[(GrowthVerdict::TooShort, ANON, 0.99)], &[Severity::Unclear], Outcome::CouldNotJudge);
    for verdict in [
        GrowthVerdict::Steady,
        GrowthVerdict::Stepped,
        GrowthVerdict::Plateaued,
        GrowthVerdict::Sawtooth,
        GrowthVerdict::Shrinking,
    ] {
        check(&[(verdict, ANON, 0.99)], &[Severity::Fine], Outcome::NothingFound);
    }
}

#[test]
fn growth_of_unknown_confidence_is_no_leak() {
    let row = ProcessView::from(growth(GrowthVerdict::Growing, ANON, Reading::Missing(Why::TooShort)));
    assert_eq!(row.severity, Severity::Suspect);
    assert_eq!((row.kind.as_str(), row.verdict.as_str(), row.recent), ("anon", "growing", Reading::Known(-5)));
}

#[test]
fn losses_become_notes() {
    assert_eq!(notes_of(TrackerLosses::default()), Vec::<String>::new());
    let losses = TrackerLosses { samples_untracked: 3, processes_ended: 1, ..TrackerLosses::default() };
    let notes = notes_of(losses);
    assert_eq!(notes.len(), 2);
    assert!(notes[0].starts_with("3 samples of processes were not kept"), "{}", notes[0]);
}

fn site(stack: u32, verdict: SiteVerdict) -> Site {
    let one = Tally::exact(1, Bytes(64));
    Site {
        counts: SiteCounts {
            stack: StackId(stack),
            allocated: one,
            freed: Tally::default(),
            live: one,
            expired: one,
            freed_late: Tally::default(),
            freed_late_longest: None,
            lifetimes: None,
            oldest_live: Some(Duration::from_secs(9)),
            contents: Vec::new(),
        },
        ever_expired: one,
        growth: Reading::Missing(Why::TooShort),
        verdict,
        reasons: Vec::new(),
        holding: Reading::Missing(Why::NotRecorded),
        demoted: false,
    }
}

#[test]
fn a_site_keeps_its_figures() {
    for (verdict, word, severity) in [
        (SiteVerdict::Leaking, "leaking", Severity::Leak),
        (SiteVerdict::TooYoung, "too young to tell", Severity::Unclear),
        (SiteVerdict::Bounded, "bounded", Severity::Fine),
        (SiteVerdict::LateFreeing, "freed late", Severity::Fine),
        (SiteVerdict::Healthy, "healthy", Severity::Fine),
    ] {
        let view = SiteView::new(4, Arc::from([]), site(17, verdict));
        assert_eq!((view.rank, view.verdict.as_str(), view.severity), (4, word, severity));
        assert_eq!(view.counts, site(17, verdict).counts);
    }
}

#[test]
fn only_a_first_expiry_asks_for_its_stack() {
    let (at, stack, expired) = (Duration::from_secs(5), StackId(1), Tally::exact(1, Bytes(8)));
    let mut asked = 0;
    let mut view = |event| {
        EventView::new(event, |_| {
            asked += 1;
            Arc::from([])
        })
    };
    assert!(matches!(view(SiteEvent::FirstExpiry { at, stack, expired }), EventView::FirstExpiry { .. }));
    assert!(matches!(view(SiteEvent::Again { at, stack, more: 2, expired }), EventView::Again { more: 2, .. }));
    let change = analysis::ModeChange { at, mode: Mode::Exact, exact: Reading::Known(0.5) };
    assert!(matches!(view(SiteEvent::ModeChanged(change)), EventView::ModeChanged(found) if found == change));
    assert!(matches!(view(SiteEvent::StopReached { at, stack, expired }), EventView::StopReached { .. }));
    assert_eq!(asked, 1);
}

#[test]
fn hooks_that_never_fired_are_blind() {
    let snapshot = Snapshot {
        at: Duration::from_secs(60),
        losses: Losses { stacks_cut: 2, ..Losses::default() },
        coverage: Coverage::default(),
        ..Snapshot::default()
    };
    let mut watch = SiteWatch::new(analysis::SiteOptions { expire: Duration::from_secs(5), stop_after: None });
    watch.add(&snapshot);
    let view = SitesView::new(target(), &snapshot, &watch, (10, Bytes(0)), |_| Arc::from([]));
    assert_eq!(view.outcome, Outcome::Blind);
    assert_eq!(view.outcome.exit_code(), 2);
    assert_eq!((view.losses.stacks_cut, view.sites.len(), view.sites_left_out), (2, 0, 0));
}

fn target() -> TargetView {
    TargetView {
        pid: Pid(7),
        command: "web".to_owned(),
        state: "attached".to_owned(),
        allocator: "glibc".to_owned(),
        functions: Vec::new(),
        mode: Mode::Exact,
        mode_asked: "exact".to_owned(),
        max_overhead: Reading::Missing(Why::NotRecorded),
        memory_max: Bytes(1 << 30),
        threads: 1,
        expire: Duration::from_secs(5),
        active_after: Duration::ZERO,
        attach_stop: Duration::ZERO,
        detach_stop: Reading::Missing(Why::NotRecorded),
    }
}

#[test]
fn a_finding_holds_for_its_history() {
    let mut process = ProcessView::from(growth(GrowthVerdict::Growing, ANON, Reading::Known(0.99)));
    process.history = vec![(Duration::from_secs(5), Bytes(1)), (Duration::from_secs(9), Bytes(2))];
    let zero = WallTime(1_000_000_000);
    let finding = FindingView::new(process.clone(), zero);
    assert_eq!((finding.since, finding.until), (WallTime(6_000_000_000), WallTime(10_000_000_000)));
    process.history.clear();
    let finding = FindingView::new(process, zero);
    assert_eq!((finding.since, finding.until), (zero, zero));
}

#[test]
fn a_balance_shows_the_parts_that_the_kernel_counts() {
    let parts = vec![
        (analysis::BalancePart::Processes, Reading::Known(Bytes(7))),
        (analysis::BalancePart::Vmalloc, Reading::Missing(Why::NotOffered)),
    ];
    let balance = analysis::Balance {
        total: Reading::Known(Bytes(9)),
        parts,
        unexplained: Reading::Known(2),
        processes_anon: Bytes(0),
        processes_swap: Bytes(0),
        processes_counted: 1,
        processes_unreadable: 0,
    };
    let view = BalanceView::from(&balance);
    assert_eq!(view.parts, [("processes".to_owned(), Reading::Known(Bytes(7)))]);
    assert_eq!(view.unexplained, Reading::Known(2));
}

#[track_caller]
fn check_subject(subject: analysis::Subject, expected: &str) {
    let alert = analysis::Alert {
        rule: analysis::Rule::ALL[0],
        subject,
        severity: model::Severity::Warning,
        evidence: "e".to_owned(),
        next_command: String::new(),
        state: analysis::AlertState::Cleared,
    };
    let view = AlertView::new(WallTime(0), "h", &alert);
    assert_eq!(
        (view.subject.as_str(), view.raised, view.rule.as_str()),
        (expected, false, analysis::Rule::ALL[0].key())
    );
}

#[test]
fn an_alert_names_what_it_is_about() {
    let command = || "web".to_owned();
    check_subject(analysis::Subject::Machine, "the machine");
    let key = ProcessKey { pid: Pid(7), started: 1 };
    check_subject(analysis::Subject::Process { key, command: command() }, "web (7)");
    check_subject(analysis::Subject::Pid { pid: Pid(8), command: command() }, "web (8)");
    check_subject(analysis::Subject::Cgroup("/a".to_owned()), "group /a");
}
