//! Telling lost blocks from held ones while the program runs.
//!
//! Owns: when two looks are taken and what is said of them. Must not know: how pointers are found or judged.

use std::time::Instant;

use analysis::{Holding, Survey};
use capture::Heap;
use model::{AgedBlock, Bytes, Kind};
use report::{Span, Text};

use super::ending::Memory;
use super::{Attached, End};
use crate::failure::Failure;
use crate::limits::{SURVEY_GAP, SURVEY_MAX, SURVEY_PROGRESS};
use crate::session::Events;
use crate::values::SurveyAt;

/// What has to be said when the looks did not come to their end.
const NOT_KNOWN: &str = "which expired blocks are lost is not known";

/// How one look went.
struct Look<T> {
    found: T,
    read: Bytes,
    stopped: std::time::Duration,
}

/// What became of the expired blocks of all sites.
fn fates<'a>(holdings: impl Iterator<Item = &'a Holding>) -> String {
    let none = Holding::default();
    let all = holdings.fold(none, |sum, one| Holding {
        lost: sum.lost.plus(one.lost),
        held: sum.held.plus(one.held),
        unclear: sum.unclear.plus(one.unclear),
    });
    let parts = [(all.lost, "lost"), (all.held, "held"), (all.unclear, "reached inside")];
    let shown = parts.iter().filter(|(tally, fate)| tally.count > 0 || *fate == "lost");
    let parts: Vec<String> = shown.map(|(tally, fate)| format!("{} {fate}", Text::tally(*tally))).collect();
    parts.join(", ")
}

impl Attached {
    /// Surveys before the detach, where that is wanted, can be done, and could tell anything.
    pub(crate) fn survey_at_end(
        &mut self,
        end: &End,
        events: &mut Events,
        progress: impl FnMut(String),
    ) -> Result<(), Failure> {
        let is_there = !matches!(end, End::Gone(_) | End::Unreadable(_));
        if is_there && self.has_expired() && self.wanted.sites.survey == SurveyAt::End {
            let said = self.survey(events, progress)?;
            self.remarks.push(said);
        }
        Ok(())
    }

    /// Whether any block of the heap is old enough to be asked after.
    fn has_expired(&self) -> bool {
        self.last.sites.iter().any(|site| site.kind() == Kind::Heap && site.expired.count > 0)
    }

    /// Looks twice at the memory of the program, which runs on, and says what was found and what that took; a signal ends it.
    pub(crate) fn survey(&mut self, events: &mut Events, mut progress: impl FnMut(String)) -> Result<String, Failure> {
        if !self.has_expired() {
            return Ok(format!("no block is older than {} yet: nothing to look for", Span(self.wanted.expire)));
        }
        if self.last.losses.entries_corrupt > 0 {
            return Ok(format!("{NOT_KNOWN}: the records are corrupt, the program wrote into the shared memory"));
        }
        let began = Instant::now();
        let first = self.look_once(events, &mut progress, |blocks, memory| Survey::first(blocks, memory))?;
        let Ok(first) = first else { return Ok(first.err().unwrap_or_default()) };
        // Without suspects the second look only counts what is held.
        if first.found.has_suspects() {
            let until = Instant::now() + SURVEY_GAP;
            events.wait_until(SURVEY_GAP, || false)?;
            if Instant::now() < until {
                return Ok(format!("{NOT_KNOWN}: asked to end before the second look"));
            }
        }
        let survey = first.found;
        let age = self.wanted.expire.max(began.elapsed());
        let second = self.look_once(events, &mut progress, |blocks, memory| survey.second(blocks, age, memory))?;
        let Ok(second) = second else { return Ok(second.err().unwrap_or_default()) };
        let fates = fates(second.found.values());
        self.watch.survey(second.found);
        Ok(format!(
            "looked for pointers to expired blocks in {} of memory, twice: {fates}; its threads stood still for {} at most",
            Bytes(first.read.0.max(second.read.0)),
            Span(first.stopped.max(second.stopped)),
        ))
    }

    /// One look, or why there was none.
    fn look_once<T>(
        &mut self,
        events: &mut Events,
        progress: &mut impl FnMut(String),
        judge: impl FnOnce(&[AgedBlock], &mut Memory<'_, '_>) -> T,
    ) -> Result<Result<Look<T>, String>, Failure> {
        let began = Instant::now();
        let (mut read, mut said, mut failed, mut asked) = (Bytes(0), began, None, false);
        let mut go_on = |bytes: Bytes| {
            read = bytes;
            if said.elapsed() >= SURVEY_PROGRESS {
                said = Instant::now();
                progress(format!("looking for lost blocks: {bytes} of memory read"));
            }
            match events.is_signalled() {
                Ok(signalled) => asked |= signalled,
                Err(error) => failed = Some(error),
            }
            !asked && failed.is_none() && began.elapsed() < SURVEY_MAX
        };
        let surveyed = self.session.survey(&mut go_on, |blocks, heap: &mut Heap<'_>| judge(blocks, &mut Memory(heap)));
        if let Some(error) = failed {
            return Err(error.into());
        }
        let surveyed = match surveyed {
            Ok(surveyed) => surveyed,
            Err(error) => return Ok(Err(format!("{NOT_KNOWN}: {error}"))),
        };
        let stopped = surveyed.stopped;
        Ok(match surveyed.result {
            Some(found) => Ok(Look { found, read, stopped }),
            None if asked => Err(format!("{NOT_KNOWN}: asked to end during the look")),
            None => {
                Err(format!("{NOT_KNOWN}: {read} of its memory were read in {}, and there is more", Span(SURVEY_MAX)))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use model::Tally;

    use super::*;

    #[test]
    fn fates_are_summed_over_all_sites() {
        let holding = |lost, held| Holding {
            lost: Tally::exact(lost, Bytes(lost * 10)),
            held: Tally::exact(held, Bytes(held * 10)),
            unclear: Tally::default(),
        };
        assert_eq!(
            fates([holding(1200, 1), holding(34, 0)].iter()),
            "1,234 blocks (12.1 KiB) lost, 1 block (10 B) held"
        );
        assert_eq!(fates([].iter()), "0 blocks (0 B) lost");
    }
}
