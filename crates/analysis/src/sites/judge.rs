//! The judgement of one site.
//!
//! Owns: the conditions, their order and their reasons. Must not know: other sites, or what its stack is called.

use std::time::Duration;

use model::{Kind, SiteCounts, Tally};

use super::SiteVerdict;
use super::past::{Course, Past, ever_expired, frees_most};
use crate::growth::words::span;
use crate::limits::{LEAK_BLOCKS_MIN, QUIET_EXPIRIES, QUIET_MIN};
use crate::reach::Holding;

/// What is known besides the site itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// Time since the hooks became active.
    pub(super) at: Duration,
    /// When the program was last seen to allocate or free anywhere.
    pub(super) active_at: Duration,
    /// Age from which a block counts as expired.
    pub(super) expire: Duration,
    /// Blocks that were not recorded, of any site.
    pub(super) unrecorded: u64,
}

/// Judges a site; `past` is none where it has no history, since none of its blocks expired or there are too many sites.
pub(super) fn judge(counts: &SiteCounts, past: Option<&Past>, now: Circumstances) -> (SiteVerdict, Vec<String>) {
    let ever = ever_expired(counts).count;
    if ever == 0 {
        return (SiteVerdict::Healthy, vec![healthy(counts, now)]);
    }
    if frees_most(counts) {
        return frees_late(counts, past, now);
    }
    if let Some(reason) = past.and_then(|past| bounded(past, now)) {
        // A site of which no more is recorded levels off whatever it does.
        if now.unrecorded > 0 {
            let lost =
                format!("against: {} blocks were not recorded, of whatever site: it may have grown on", now.unrecorded);
            return (SiteVerdict::TooYoung, vec![reason, lost]);
        }
        return (SiteVerdict::Bounded, vec![reason]);
    }
    if counts.expired.count_least() < LEAK_BLOCKS_MIN {
        return (SiteVerdict::TooYoung, vec![too_few(counts)]);
    }
    if past.is_some_and(|past| past.last_third().is_some() && past.course() == Course::Unclear) {
        let reason = "its figures are estimated from too few samples to tell growth from a level".to_owned();
        return (SiteVerdict::TooYoung, vec![reason]);
    }
    (SiteVerdict::Leaking, leaking(counts, past, now))
}

fn too_few(counts: &SiteCounts) -> String {
    let (expired, things) = (counts.expired, counts.kind().things());
    if expired.is_estimate() {
        return format!("too few of its {things} were sampled: {} expired, and it may be none", number(expired));
    }
    format!("only {} of its {things} expired: no pattern yet", expired.count)
}

/// A number of blocks, with its error where it is estimated.
fn number(tally: Tally) -> String {
    if tally.is_estimate() { format!("{} ± {}", tally.count, tally.count_error()) } else { tally.count.to_string() }
}

fn healthy(counts: &SiteCounts, now: Circumstances) -> String {
    let (things, (_, freed)) = (counts.kind().things(), counts.kind().ending());
    match counts.live.count {
        0 => format!("all of its {things} were {freed} in time"),
        _ if counts.kind() == Kind::ThreadStack => {
            format!(
                "none of its {} live {things} is of a thread that ended more than {} after it began",
                number(counts.live),
                span(now.expire)
            )
        }
        _ => format!("none of its {} live {things} is older than {}", number(counts.live), span(now.expire)),
    }
}

/// It frees most of what expires. What it keeps is only growth once blocks of the longest life seen have had time to be freed twice over.
fn frees_late(counts: &SiteCounts, past: Option<&Past>, now: Circumstances) -> (SiteVerdict, Vec<String>) {
    let (late, ever) = (number(counts.freed_late), number(ever_expired(counts)));
    let (things, (_, freed)) = (counts.kind().things(), counts.kind().ending());
    let freed = format!("{late} of the {ever} {things} that expired were {freed} afterwards");
    let longest = counts.freed_late_longest.unwrap_or_default();
    let settled = past.is_some_and(|past| {
        past.first_late.is_some_and(|first| now.at.saturating_sub(first) >= longest.saturating_mul(2))
            && past.last_third().is_some()
            && past.course() == Course::Rising
            // How many of a full cache's blocks are older than the threshold varies from look to look; what is live does not.
            && past.growth().is_some_and(|trend| trend.low > 0.0)
    });
    if settled && counts.expired.count_least() >= LEAK_BLOCKS_MIN {
        let rising = "for: what it keeps goes on growing, long after blocks of the longest life were freed".to_owned();
        return (SiteVerdict::Leaking, vec![rising, format!("against: {freed}")]);
    }
    let advice = format!("its {things} live longer than {}; a longer threshold would not count them", span(now.expire));
    (SiteVerdict::LateFreeing, vec![freed, advice])
}

/// A level proves something only while the program works: one that stands still keeps every level.
fn bounded(past: &Past, now: Circumstances) -> Option<String> {
    let third = past.last_third()?;
    if past.course() != Course::Level || now.active_at < third {
        return None;
    }
    if past.allocated_at >= third {
        return Some(
            "it goes on allocating, but no more of what it makes expires and stays: it levelled off".to_owned(),
        );
    }
    let quiet = now.active_at.saturating_sub(past.allocated_at);
    let long = quiet >= QUIET_MIN && quiet >= now.expire.saturating_mul(QUIET_EXPIRIES);
    long.then(|| format!("it has allocated nothing for {} while the program went on: made once and kept", span(quiet)))
}

/// What a survey of the program's memory adds. It never makes the judgement: the kernel, files and scrambled words may hold pointers
/// that no survey sees, and what is held may still be growth.
pub(super) fn surveyed(holding: &Holding, verdict: SiteVerdict) -> Option<String> {
    let Holding { lost, held, unclear } = holding;
    let sum = lost.plus(*held).plus(*unclear);
    let (all, some) = (number(sum), number(*lost));
    let side = if verdict == SiteVerdict::Leaking { "for: " } else { "" };
    match (lost.count, held.count) {
        _ if sum.count == 0 => None,
        (0, 0) => Some(format!("only pointers into the middle of its {all} expired blocks were found")),
        (0, _) => Some(format!("the program still has pointers to its {all} expired blocks: they are held, not lost")),
        (lost, _) if lost == sum.count => {
            Some(format!("{side}nothing points to any of its {all} expired blocks: they are lost"))
        }
        (_, _) => Some(format!("{side}nothing points to {some} of its {all} expired blocks: those are lost")),
    }
}

fn leaking(counts: &SiteCounts, past: Option<&Past>, now: Circumstances) -> Vec<String> {
    let expired = counts.expired;
    let (things, (gives_back, freed)) = (counts.kind().things(), counts.kind().ending());
    let size = if counts.kind().has_size() { format!(" ({})", expired.bytes) } else { String::new() };
    let old = format!("are older than {} and not {freed}", span(now.expire));
    let old = if counts.kind() == Kind::ThreadStack { "are of threads that ended and were not joined" } else { &old };
    let mut reasons = vec![format!("for: {} of its {things}{size} {old}", number(expired))];
    if counts.freed.count > counts.live.count {
        reasons.push(format!("for: it {gives_back} most of its {things} ({}), but not these", number(counts.freed)));
    } else if counts.freed.count == 0 {
        let one = if counts.kind() == Kind::Heap { "a block" } else { "one" };
        reasons.push(format!("for: it never {freed} {one}"));
    }
    if past.is_some_and(|past| past.course() == Course::Rising) {
        reasons.push("for: more of them keep coming".to_owned());
    }
    if now.active_at < now.at.saturating_sub(now.expire) {
        reasons.push("against: the program stood still since, so that it had no chance to free them".to_owned());
    }
    if counts.freed_late.count > 0 {
        reasons.push(format!("against: {} expired {things} were {freed} afterwards", number(counts.freed_late)));
    }
    reasons
}
