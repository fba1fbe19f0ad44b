//! The views made from judgements.
//!
//! Owns: what a judgement means for the reader: its word, how much attention it deserves, what a run came to.
//! Must not know: how anything is judged or written.

use std::sync::Arc;
use std::time::Duration;

use analysis::{
    Growth, GrowthTracker, GrowthVerdict, MemoryKind, Site, SiteEvent, SiteVerdict, SiteWatch, TrackerLosses, Unseen,
};
use model::{Bytes, Frame, MachineSample, Mode, Snapshot, StackId};

use super::{
    AlertView, BalanceView, EventView, FindingView, HuntView, MachineView, Outcome, ProcessView, RecordingView,
    Severity, SiteView, SitesView, TargetView,
};
use crate::WallTime;
use crate::limits::CONFIDENT;

impl MachineView {
    /// What the latest of `beats` samples says; `vanished` is counted over all of them.
    pub fn new(sample: &MachineSample, planned: Option<Duration>, beats: u64, vanished: u64) -> Self {
        Self {
            window: sample.at,
            planned,
            beats,
            processes: sample.processes.len() as u64,
            vanished,
            memory_total: sample.memory_total,
            memory_available: sample.memory_available,
        }
    }
}

impl HuntView {
    /// The ranking as it is now, with what could not be kept as notes.
    pub fn new(machine: MachineView, tracker: &GrowthTracker) -> Self {
        let processes: Vec<ProcessView> = tracker.ranking().into_iter().map(ProcessView::from).collect();
        let outcome = Outcome::of_processes(&processes);
        Self { machine, processes, outcome, notes: notes_of(tracker.losses()) }
    }
}

impl RecordingView {
    /// Takes over what the tracker judged: findings, what they come to, and what could not be kept. `zero` is the moment
    /// from which the tracker counts.
    pub fn judge(&mut self, tracker: &GrowthTracker, zero: WallTime) {
        let all: Vec<ProcessView> = tracker.ranking().into_iter().map(ProcessView::from).collect();
        self.outcome = Outcome::of_processes(&all);
        self.notes.extend(notes_of(tracker.losses()));
        // Only what grows is a finding; a list of all that is well would bury it.
        let found = all.into_iter().filter(|process| matches!(process.severity, Severity::Leak | Severity::Suspect));
        self.findings = found.map(|process| FindingView::new(process, zero)).collect();
    }
}

impl FindingView {
    /// A judged process; its history says for which stretch the judgement holds.
    pub fn new(process: ProcessView, zero: WallTime) -> Self {
        let moment = |point: Option<&(Duration, Bytes)>| zero.after(point.map_or(Duration::ZERO, |(at, _)| *at));
        // Of the points that are kept: a history that was thinned begins with the lowest of its first samples.
        let (since, until) = (moment(process.history.first()), moment(process.history.last()));
        debug_assert!(since <= until, "a history goes forward");
        Self { process, since, until }
    }
}

/// Words instead of the types of `analysis`, which views must not know; see the table of edges in ARCHITECTURE.md.
impl From<Growth> for ProcessView {
    fn from(growth: Growth) -> Self {
        let severity = severity_of_growth(&growth);
        Self {
            identity: growth.identity,
            memory: growth.memory,
            growth: growth.per_hour,
            recent: growth.recent_per_hour,
            kind: growth.kind.map_or_else(String::new, |kind| kind.key().to_owned()),
            confidence: growth.confidence,
            exhaustion: growth.exhaustion,
            verdict: growth.verdict.key().to_owned(),
            severity,
            reasons: growth.reasons,
            history: growth.history,
        }
    }
}

impl From<&analysis::Balance> for BalanceView {
    fn from(balance: &analysis::Balance) -> Self {
        // A part that this kernel does not count says nothing; what it would hold is in the rest.
        let known = balance.parts.iter().filter(|(_, bytes)| bytes.as_known().is_some());
        let parts = known.map(|(part, bytes)| (part.key().to_owned(), *bytes)).collect();
        Self { total: balance.total, parts, unexplained: balance.unexplained }
    }
}

impl AlertView {
    /// One alert of a machine.
    pub fn new(at: WallTime, host: &str, alert: &analysis::Alert) -> Self {
        let subject = match &alert.subject {
            analysis::Subject::Machine => "the machine".to_owned(),
            analysis::Subject::Process { key, command } => format!("{command} ({})", key.pid),
            analysis::Subject::Pid { pid, command } => format!("{command} ({pid})"),
            analysis::Subject::Cgroup(path) => format!("group {path}"),
        };
        Self {
            at,
            host: host.to_owned(),
            rule: alert.rule.key().to_owned(),
            severity: alert.severity,
            subject,
            evidence: alert.evidence.clone(),
            next_command: alert.next_command.clone(),
            raised: alert.state == analysis::AlertState::Raised,
        }
    }
}

impl SitesView {
    /// Whether every free was counted. While blocks are sampled, those of blocks that are not pass uncounted.
    pub fn counts_all_frees(&self) -> bool {
        self.coverage.samples == 0 && self.target.mode == Mode::Exact
    }

    /// The sites of a session as they are now: the worst `top` of those with at least `bytes_min` expired bytes.
    /// `frames` gives the stack of a site, empty while its names are not there.
    pub fn new(
        target: TargetView,
        snapshot: &Snapshot,
        watch: &SiteWatch,
        (top, bytes_min): (usize, Bytes),
        mut frames: impl FnMut(StackId) -> Arc<[Frame]>,
    ) -> Self {
        // Ranks are given before sites are left out, so that a site keeps its rank whatever is listed.
        let ranking = watch.ranking();
        let all = ranking.len();
        // What has no size cannot be below a size: a leak of descriptors must not be hidden by `--min-bytes`.
        let enough = ranking.into_iter().zip(1..).filter(|(site, _)| {
            let expired = site.counts.expired;
            expired.bytes >= bytes_min || !expired.kind.has_size()
        });
        let sites: Vec<SiteView> =
            enough.take(top).map(|(site, rank)| SiteView::new(rank, frames(site.counts.stack), site)).collect();
        debug_assert!(sites.len() <= all, "more sites listed than there are");
        Self {
            target: TargetView { mode: snapshot.mode, ..target },
            elapsed: snapshot.at,
            overhead: snapshot.overhead,
            mode_changes: watch.mode_changes().0.to_vec(),
            mode_changes_forgotten: watch.mode_changes().1,
            coverage: snapshot.coverage,
            losses: snapshot.losses,
            memory_in_target: snapshot.memory_in_target,
            private_growth: watch.private_growth(),
            totals: watch.totals(),
            sites_left_out: (all - sites.len()) as u64,
            sites,
            outcome: watch.outcome().into(),
            notes: watch.unseen().map(unseen_note).into_iter().chain(unsampled(snapshot, watch)).collect(),
        }
    }
}

/// What a sample may have missed altogether: of so many means nothing is sampled once in twenty times.
fn unsampled(snapshot: &Snapshot, watch: &SiteWatch) -> Option<String> {
    // The chance that none of so many means is sampled is e^-3, with the Poisson sampling that the hooks use.
    const MEANS: u64 = 3;
    let modes = watch.mode_changes().0.iter().map(|change| change.mode).chain([snapshot.mode]);
    let rate =
        modes.filter_map(|mode| if let Mode::Sampled { rate } = mode { Some(rate) } else { None }).next_back()?;
    let missed = Bytes(rate.0.saturating_mul(MEANS));
    Some(format!(
        "while blocks are sampled, a site that allocates less than {missed} may not be seen at all (one in twenty)"
    ))
}

impl SiteView {
    /// One judged site.
    pub fn new(rank: u32, frames: Arc<[Frame]>, site: Site) -> Self {
        let (verdict, severity) = meaning_of(site.verdict);
        Self {
            rank,
            counts: site.counts,
            ever_expired: site.ever_expired,
            growth: site.growth,
            verdict: verdict.to_owned(),
            severity,
            holding: site.holding,
            reasons: site.reasons,
            demoted: site.demoted,
            frames,
            excerpts: Vec::new(),
        }
    }
}

impl EventView {
    /// One event; `frames` is asked only for the first expiry of a stack.
    pub fn new(event: SiteEvent, frames: impl FnOnce(StackId) -> Arc<[Frame]>) -> Self {
        match event {
            SiteEvent::FirstExpiry { at, stack, expired } => {
                Self::FirstExpiry { at, stack, expired, frames: frames(stack) }
            }
            SiteEvent::Again { at, stack, more, expired } => Self::Again { at, stack, more, expired },
            SiteEvent::FreedLate { at, stack, kind, count, longest } => {
                Self::FreedLate { at, stack, kind, count, longest }
            }
            SiteEvent::Demoted { at, stack, freed_late, ever_expired } => {
                Self::Demoted { at, stack, freed_late, ever_expired }
            }
            SiteEvent::ModeChanged(change) => Self::ModeChanged(change),
            SiteEvent::StopReached { at, stack, expired } => Self::StopReached { at, stack, expired },
        }
    }
}

impl From<analysis::Outcome> for Outcome {
    fn from(outcome: analysis::Outcome) -> Self {
        match outcome {
            analysis::Outcome::Leak => Self::LeakFound,
            analysis::Outcome::NothingFound => Self::NothingFound,
            analysis::Outcome::Blind => Self::Blind,
            analysis::Outcome::CouldNotJudge => Self::CouldNotJudge,
        }
    }
}

/// Only this decides the exit code. Growth of files and shared memory is worth a look but no leak: both are shared and can be dropped or swapped.
fn severity_of_growth(growth: &Growth) -> Severity {
    let is_private = matches!(growth.kind, Some(MemoryKind::Anon | MemoryKind::Swap));
    let is_confident = growth.confidence.known().is_some_and(|confidence| confidence >= CONFIDENT);
    match growth.verdict {
        GrowthVerdict::Growing if is_private && is_confident => Severity::Leak,
        GrowthVerdict::Growing => Severity::Suspect,
        GrowthVerdict::TooShort => Severity::Unclear,
        GrowthVerdict::Plateaued
        | GrowthVerdict::Stepped
        | GrowthVerdict::Sawtooth
        | GrowthVerdict::Shrinking
        | GrowthVerdict::Steady => Severity::Fine,
    }
}

/// Why nothing is said of leaks although the hooks fire.
fn unseen_note(unseen: Unseen) -> String {
    format!(
        "private memory grew by {}, while the hooked functions handed out {}: it comes from elsewhere (an allocator that is not \
         hooked, system calls, or older blocks that are only touched now)",
        unseen.grew, unseen.handed_out
    )
}

/// The word for a verdict and how much attention it deserves.
const fn meaning_of(verdict: SiteVerdict) -> (&'static str, Severity) {
    match verdict {
        SiteVerdict::Leaking => ("leaking", Severity::Leak),
        SiteVerdict::TooYoung => ("too young to tell", Severity::Unclear),
        SiteVerdict::Bounded => ("bounded", Severity::Fine),
        SiteVerdict::LateFreeing => ("freed late", Severity::Fine),
        SiteVerdict::Healthy => ("healthy", Severity::Fine),
    }
}

/// What a reader must know to judge the ranking; a healthy run has none but processes that ended.
fn notes_of(losses: TrackerLosses) -> Vec<String> {
    let causes = [
        (losses.samples_untracked, "samples of processes were not kept: too many processes"),
        (losses.samples_unreadable, "samples lacked a figure that a judgement needs"),
        (losses.samples_thinned, "samples were merged into neighbours to keep histories within their bound"),
        (losses.processes_ended, "processes ended while they were watched"),
    ];
    let lost = causes.iter().filter(|(number, _)| *number > 0);
    lost.map(|(number, what)| format!("{number} {what}")).collect()
}

#[cfg(test)]
mod tests;
