//! Judgements: which process grows, which site leaks.
//!
//! Owns: trends of the memory of processes, verdicts about sites and the words that justify them, which blocks a program can
//! still reach.
//! Must not know: clocks, threads, storage, views. Time arrives inside the samples, which is why a replay gives the
//! same findings as the live run.

mod alerts;
mod balance;
mod growth;
mod limits;
mod origin;
mod reach;
mod series;
mod sites;
mod suppressions;
mod trend;

pub use alerts::{Alert, AlertOptions, AlertState, AlertWatch, Level, Rule, Subject};
pub use balance::{Balance, BalancePart, balance};
pub use growth::{Exhaustion, Growth, GrowthOptions, GrowthTracker, GrowthVerdict, MemoryKind, TrackerLosses};
pub use origin::origin;
pub use reach::{HeapMemory, Holding, Leak, Reach, Survey, leaks};
pub use sites::{
    KindTotals, ModeChange, Outcome, Site, SiteEvent, SiteOptions, SiteTotals, SiteVerdict, SiteWatch, Unseen,
};
pub use suppressions::{PatternError, Suppressions};
pub use trend::Rate;
