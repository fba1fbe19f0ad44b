//! Judgements: which process grows, which site leaks.
//!
//! Owns: trends of the memory of processes, verdicts about sites, and the words that justify them.
//! Must not know: clocks, threads, storage, views. Time arrives inside the samples, which is why a replay gives the
//! same findings as the live run.

mod alerts;
mod balance;
mod growth;
mod limits;
mod series;
mod sites;
mod trend;

pub use alerts::{Alert, AlertOptions, AlertState, AlertWatch, Level, Rule, Subject};
pub use balance::{Balance, BalancePart, balance};
pub use growth::{Exhaustion, Growth, GrowthOptions, GrowthTracker, GrowthVerdict, MemoryKind, TrackerLosses};
pub use sites::{KindTotals, Outcome, Site, SiteEvent, SiteOptions, SiteTotals, SiteVerdict, SiteWatch, Unseen};
pub use trend::Rate;
