//! Which site of an attached process leaks.
//!
//! Owns: the events, verdicts and ranking of sites. Must not know: how blocks are counted, names of functions, views.

mod judge;
mod past;
mod watch;
mod witness;

use std::time::Duration;

use model::{Kind, Mode, Reading, SiteCounts, StackId, Tally};

use crate::Rate;
use crate::reach::Holding;

pub use watch::SiteWatch;
pub use witness::Unseen;

/// How sites are judged.
#[derive(Clone, Copy, Debug)]
pub struct SiteOptions {
    /// Age from which a live block counts as expired; the same that the snapshots were taken with.
    pub expire: Duration,
    /// So many expired blocks at one site end the session; none for never.
    pub stop_after: Option<u64>,
}

/// What a site comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SiteVerdict {
    /// Blocks expire and stay, and more of them come.
    Leaking,
    /// Too few blocks expired, or too short a time, to call it a pattern.
    TooYoung,
    /// Its live memory levelled off while it, or the program, went on allocating: a cache or a structure made once.
    Bounded,
    /// It frees its blocks, only later than the threshold.
    LateFreeing,
    /// None of its blocks is expired.
    Healthy,
}

/// One site, judged.
#[derive(Clone, Debug)]
pub struct Site {
    /// Everything counted for it.
    pub counts: SiteCounts,
    /// Blocks that ever expired, whether they were freed afterwards or not.
    pub ever_expired: Tally,
    /// Growth of its live bytes, or of the number of what has no size.
    pub growth: Reading<Rate>,
    /// The judgement.
    pub verdict: SiteVerdict,
    /// What speaks for and against it, one sentence each.
    pub reasons: Vec<String>,
    /// Whether it keeps freeing its expired blocks, so that it makes no more events.
    pub demoted: bool,
    /// Whether the program still holds its expired blocks, where its memory was surveyed.
    pub holding: Reading<Holding>,
}

/// What happened since the snapshot before, mostly at one site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SiteEvent {
    /// Blocks of this stack expired for the first time.
    FirstExpiry {
        /// Time since the hooks became active.
        at: Duration,
        /// The stack.
        stack: StackId,
        /// What has expired of it and is still live.
        expired: Tally,
    },
    /// Further blocks of it expired.
    Again {
        /// Time since the hooks became active.
        at: Duration,
        /// The stack.
        stack: StackId,
        /// How many since the last event of this kind.
        more: u64,
        /// What has expired of it and is still live.
        expired: Tally,
    },
    /// Expired blocks of it were freed.
    FreedLate {
        /// Time since the hooks became active.
        at: Duration,
        /// The stack.
        stack: StackId,
        /// What they are.
        kind: Kind,
        /// How many since the last event of this kind.
        count: u64,
        /// How long the longest-lived of all late-freed blocks of this stack had lived.
        longest: Reading<Duration>,
    },
    /// It keeps freeing its expired blocks and makes no more events.
    Demoted {
        /// Time since the hooks became active.
        at: Duration,
        /// The stack.
        stack: StackId,
        /// Blocks freed late until now.
        freed_late: Tally,
        /// Blocks that ever expired.
        ever_expired: Tally,
    },
    /// From now on other blocks are recorded than before.
    ModeChanged(ModeChange),
    /// So many blocks expired at this stack that the session is to end.
    StopReached {
        /// Time since the hooks became active.
        at: Duration,
        /// The stack.
        stack: StackId,
        /// What has expired of it and is still live.
        expired: Tally,
    },
}

/// A change of which blocks are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModeChange {
    /// Time since the hooks became active.
    pub at: Duration,
    /// Which ones from then on.
    pub mode: Mode,
    /// What it cost, or would have cost, to record every block, as a share of the target's processor time.
    pub exact: Reading<f64>,
}

/// What a session came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At least one site leaks.
    Leak,
    /// Enough was seen, and no site leaks.
    NothingFound,
    /// The hooks never fired, or did not see what grew.
    Blind,
    /// What was seen is not enough to say either.
    CouldNotJudge,
}

/// Sums over all sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteTotals {
    /// Sites that ever allocated.
    pub sites: u64,
    /// Sites judged to leak.
    pub leaking: u64,
    /// Sums of each kind, in the order of [`Kind::ALL`].
    pub kinds: [KindTotals; Kind::ALL.len()],
    /// Sites without a history of their own, since there were too many; they are judged by their counts alone.
    pub histories_dropped: u64,
}

/// Sums over all sites of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindTotals {
    /// Expired and live at the leaking sites: what may leak.
    pub may_leak: Tally,
    /// Expired and live at all sites.
    pub expired: Tally,
    /// Freed after expiry.
    pub freed_late: Tally,
    /// Allocated.
    pub allocated: Tally,
    /// Freed.
    pub freed: Tally,
    /// Live.
    pub live: Tally,
}

impl SiteTotals {
    /// The sums of one kind.
    pub const fn kind(&self, kind: Kind) -> &KindTotals {
        &self.kinds[kind as usize]
    }

    /// The sums of one kind, to be changed.
    pub const fn kind_mut(&mut self, kind: Kind) -> &mut KindTotals {
        &mut self.kinds[kind as usize]
    }
}

impl KindTotals {
    /// Adds a site; the kind of the sums is that of their sites.
    fn add(&mut self, counts: &SiteCounts, leaking: bool) {
        let Self { may_leak, expired, freed_late, allocated, freed, live } = self;
        let none = Tally::of(counts.kind());
        let sums = [
            (may_leak, if leaking { counts.expired } else { none }),
            (expired, counts.expired),
            (freed_late, counts.freed_late),
            (allocated, counts.allocated),
            (freed, counts.freed),
            (live, counts.live),
        ];
        for (sum, more) in sums {
            *sum = more.plus(*sum);
        }
    }
}

const _: () = {
    let mut i = 0;
    while i < Kind::ALL.len() {
        assert!(Kind::ALL[i] as usize == i, "sums are found by the number of their kind");
        i += 1;
    }
};
