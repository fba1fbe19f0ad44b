//! The watch over all sites of one process.
//!
//! Owns: the last snapshot, the past of each site, the ranking and the outcome. Must not know: how a site is judged.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use model::{Bytes, Kind, Mode, Reading, SiteCounts, Snapshot, StackId, Why};

use super::judge::{Circumstances, judge, surveyed};
use super::past::{Past, ever_expired};
use super::witness::{Unseen, Witness};
use super::{ModeChange, Outcome, Site, SiteEvent, SiteOptions, SiteTotals, SiteVerdict};
use crate::limits::{JUDGED_EXPIRIES, MODE_CHANGES_MAX, SITE_HISTORIES_MAX, UNRECORDED_SHARE};
use crate::reach::Holding;
use crate::trend::Trend;

/// Watches the sites of one attached process.
#[derive(Debug)]
pub struct SiteWatch {
    options: SiteOptions,
    last: Snapshot,
    pasts: HashMap<StackId, Past>,
    pasts_max: usize,
    /// As of the last snapshot; none before the first.
    mode: Option<Mode>,
    mode_changes: Vec<ModeChange>,
    mode_changes_forgotten: u64,
    /// When the program was last seen to allocate or free.
    active_at: Duration,
    witness: Witness,
    /// What a survey found of each stack; none where nobody looked.
    holdings: Option<BTreeMap<StackId, Holding>>,
}

impl SiteWatch {
    /// A watch that has seen nothing yet.
    pub fn new(options: SiteOptions) -> Self {
        Self {
            options,
            last: Snapshot::default(),
            pasts: HashMap::new(),
            pasts_max: SITE_HISTORIES_MAX,
            mode: None,
            mode_changes: Vec::new(),
            mode_changes_forgotten: 0,
            active_at: Duration::ZERO,
            witness: Witness::default(),
            holdings: None,
        }
    }

    /// The mode in which the session began. By the first snapshot it may be another one already, which is a change to be told.
    pub fn begin(&mut self, mode: Mode) {
        self.mode = Some(mode);
    }

    /// Takes what a survey of the program's memory found.
    pub fn survey(&mut self, holdings: BTreeMap<StackId, Holding>) {
        self.holdings = Some(holdings);
    }

    /// Takes the next snapshot and tells what happened since the one before.
    pub fn add(&mut self, snapshot: &Snapshot) -> Vec<SiteEvent> {
        let mut events = Vec::new();
        if snapshot.coverage.calls() != self.last.coverage.calls() {
            self.active_at = snapshot.at;
        }
        if snapshot.mode != self.mode.unwrap_or(snapshot.mode) {
            let change = ModeChange { at: snapshot.at, mode: snapshot.mode, exact: snapshot.overhead.exact };
            events.push(SiteEvent::ModeChanged(change));
            self.mode_changes.push(change);
            let surplus = self.mode_changes.len().saturating_sub(MODE_CHANGES_MAX);
            self.mode_changes.drain(..surplus);
            self.mode_changes_forgotten += surplus as u64;
        }
        self.mode = Some(snapshot.mode);
        for counts in snapshot.sites.iter().filter(|counts| ever_expired(counts).count > 0) {
            let room = self.pasts.len() < self.pasts_max;
            if room || self.pasts.contains_key(&counts.stack) {
                let past = self.pasts.entry(counts.stack).or_insert_with(Past::new);
                past.add(snapshot.at, counts, (snapshot.mode, self.options.stop_after), &mut events);
            }
        }
        debug_assert!(self.pasts.len() <= self.pasts_max, "histories stay within their bound");
        self.witness.add(snapshot.private_memory);
        self.last.clone_from(snapshot);
        events
    }

    /// All sites of the last snapshot, worst first: those that leak, then what is unclear, bounded, freed late, and the
    /// healthy; each by expired bytes, then by live bytes; what has no size comes after what has, by its number.
    pub fn ranking(&self) -> Vec<Site> {
        let mut ranking: Vec<Site> = self.last.sites.iter().map(|counts| self.site(counts)).collect();
        ranking.sort_by_cached_key(|site| {
            let counts = &site.counts;
            let (expired, live) = (counts.expired, counts.live);
            let bytes = (Reverse(expired.bytes), Reverse(live.bytes));
            (place(site), bytes, Reverse(expired.count), Reverse(live.count), counts.stack)
        });
        ranking
    }

    /// Sums over all sites of the last snapshot.
    pub fn totals(&self) -> SiteTotals {
        let mut totals = SiteTotals::default();
        for counts in &self.last.sites {
            let leaking = self.judged(counts).0 == SiteVerdict::Leaking;
            totals.sites += 1;
            totals.leaking += u64::from(leaking);
            totals.kind_mut(counts.kind()).add(counts, leaking);
            let known = ever_expired(counts).count == 0 || self.pasts.contains_key(&counts.stack);
            totals.histories_dropped += u64::from(!known);
        }
        totals
    }

    /// The latest changes of the mode, and how many there were before them.
    pub fn mode_changes(&self) -> (&[ModeChange], u64) {
        (&self.mode_changes, self.mode_changes_forgotten)
    }

    /// What it comes to until now. "Nothing found" needs a session in which blocks could expire, hooks that fired,
    /// and records that are whole.
    pub fn outcome(&self) -> Outcome {
        let verdicts: Vec<SiteVerdict> = self.last.sites.iter().map(|counts| self.judged(counts).0).collect();
        let coverage = self.last.coverage;
        if verdicts.contains(&SiteVerdict::Leaking) {
            return Outcome::Leak;
        }
        if self.last.is_blind() || self.unseen().is_some() {
            return Outcome::Blind;
        }
        let long_enough = self.last.at >= self.options.expire.saturating_mul(JUDGED_EXPIRIES);
        let losses = self.last.losses;
        let whole = losses.blocks_unrecorded <= coverage.allocations / UNRECORDED_SHARE && losses.entries_corrupt == 0;
        let clear = !verdicts.contains(&SiteVerdict::TooYoung);
        if long_enough && whole && clear && coverage.calls() > 0 {
            Outcome::NothingFound
        } else {
            Outcome::CouldNotJudge
        }
    }

    /// By how much the private memory of the process grew since the attach, as the kernel counts it.
    pub fn private_growth(&self) -> Reading<Bytes> {
        self.witness.grown()
    }

    /// Growth that the hooks cannot have seen.
    pub fn unseen(&self) -> Option<Unseen> {
        // Who asked for descriptors alone does not ask where memory comes from.
        if !self.last.coverage.kinds.heap {
            return None;
        }
        let handed_out = self.last.sites.iter().fold(Bytes(0), |sum, site| sum.plus(site.allocated.bytes));
        self.witness.unseen(handed_out)
    }

    fn site(&self, counts: &SiteCounts) -> Site {
        let past = self.pasts.get(&counts.stack);
        let growth = past.and_then(Past::growth).as_ref().map(Trend::rate);
        let (verdict, mut reasons) = self.judged(counts);
        let holding = self.holding(counts);
        reasons.extend(holding.as_known().and_then(|holding| surveyed(holding, verdict)));
        Site {
            holding,
            counts: counts.clone(),
            ever_expired: ever_expired(counts),
            growth: Reading::from_option(growth, Why::TooShort),
            verdict,
            reasons,
            demoted: past.is_some_and(|past| past.demoted),
        }
    }

    /// What a survey said of a site of the heap.
    fn holding(&self, counts: &SiteCounts) -> Reading<Holding> {
        let holdings = self.holdings.as_ref().filter(|_| counts.kind() == Kind::Heap);
        // Whose blocks have all expired since has not been looked at.
        let holding = holdings.and_then(|holdings| holdings.get(&counts.stack));
        Reading::from_option(holding.copied(), Why::NotRecorded)
    }

    fn judged(&self, counts: &SiteCounts) -> (SiteVerdict, Vec<String>) {
        let now = Circumstances {
            at: self.last.at,
            active_at: self.active_at,
            expire: self.options.expire,
            unrecorded: self.last.losses.blocks_unrecorded,
        };
        judge(counts, self.pasts.get(&counts.stack), now)
    }
}

/// A demoted site goes behind the others of which anything expired, unless what it keeps grows on.
const fn place(site: &Site) -> u8 {
    match site.verdict {
        SiteVerdict::Leaking => 0,
        SiteVerdict::TooYoung if !site.demoted => 1,
        SiteVerdict::Bounded if !site.demoted => 2,
        SiteVerdict::TooYoung | SiteVerdict::Bounded | SiteVerdict::LateFreeing => 3,
        SiteVerdict::Healthy => 4,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
