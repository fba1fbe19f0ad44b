//! A program that leakline started, and what it had not freed when it ended.
//!
//! Owns: which leaks are listed, which are suppressed, and the outcome. Must not know: how a block's kind is found.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use analysis::{Leak, Reach, Suppressions};
use model::{Frame, Kind, Reading, StackId, Tally};

use super::{Outcome, SitesView};

/// All that is shown of it.
#[derive(Clone, Debug)]
pub struct RunView {
    /// The process, what the hooks saw and what was not recorded; its sites are not listed.
    pub process: SitesView,
    /// How it ended, for example `ended with status 0`.
    pub end: String,
    /// What it had not freed, suppressed or not.
    pub not_freed: Tally,
    /// The blocks of each kind that no suppression matches, in the order of [`Reach::ALL`]; missing where its memory was gone.
    pub kinds: Reading<[Tally; 4]>,
    /// What matched suppressions, by pattern.
    pub suppressed: Vec<SuppressionView>,
    /// What is listed, worst first.
    pub leaks: Vec<LeakView>,
    /// Stacks with leaks that are not listed: `--top` was reached, or their kind is not asked for.
    pub left_out: u64,
    /// How long it stood still at its end.
    pub look_stop: Reading<Duration>,
    /// What it came to.
    pub outcome: Outcome,
}

/// What one stack left, of one kind.
#[derive(Clone, Debug)]
pub struct LeakView {
    /// The kind.
    pub kind: Reach,
    /// The stack.
    pub stack: StackId,
    /// How much.
    pub blocks: Tally,
    /// The stack, innermost first.
    pub frames: Arc<[Frame]>,
}

/// What one suppression matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuppressionView {
    /// The pattern, as it was written.
    pub pattern: String,
    /// The blocks that it hides.
    pub blocks: Tally,
}

impl RunView {
    /// The view of a program; `reachable` lists and counts also what it could still reach, `top` bounds the list.
    pub fn new(
        process: SitesView,
        end: String,
        found: Reading<(Vec<Leak>, Duration)>,
        suppressions: &Suppressions,
        (reachable, top): (bool, usize),
        mut frames: impl FnMut(StackId) -> Arc<[Frame]>,
    ) -> Self {
        let not_freed = process.totals.kind(Kind::Heap).live;
        let (leaks, look_stop) = match found {
            Reading::Known((leaks, stop)) => (Reading::Known(leaks), Reading::Known(stop)),
            Reading::Missing(why) => (Reading::Missing(why), Reading::Missing(why)),
        };
        let mut kinds = [Tally::default(); 4];
        let mut suppressed: BTreeMap<String, Tally> = BTreeMap::new();
        let (mut listed, mut left_out) = (Vec::new(), 0);
        for leak in leaks.as_known().map_or(&[][..], Vec::as_slice) {
            let stack = frames(leak.stack);
            // Suppressed leaks stay in what was not freed, and are shown with their pattern: hidden is not the same as absent.
            if let Some(pattern) = suppressions.find(&stack) {
                add(suppressed.entry(pattern.to_owned()).or_default(), leak.blocks);
                continue;
            }
            if let Some((tally, _)) = kinds.iter_mut().zip(Reach::ALL).find(|(_, kind)| *kind == leak.kind) {
                add(tally, leak.blocks);
            }
            if listed.len() < top && (reachable || leak.kind != Reach::StillReachable) {
                listed.push(LeakView { kind: leak.kind, stack: leak.stack, blocks: leak.blocks, frames: stack });
            } else {
                left_out += 1;
            }
        }
        let kinds = leaks.map(|_| kinds);
        let outcome = outcome(&process, &kinds, reachable);
        let suppressed = suppressed.into_iter().map(|(pattern, blocks)| SuppressionView { pattern, blocks }).collect();
        Self { process, end, not_freed, kinds, suppressed, leaks: listed, left_out, look_stop, outcome }
    }

    /// What it held at its end beside blocks: mappings, stacks of threads, descriptors.
    pub(crate) fn held(&self) -> Vec<(Kind, Tally)> {
        let live = |kind: Kind| (kind, self.process.totals.kind(kind).live);
        let others = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Heap);
        others.map(live).filter(|(_, tally)| tally.count > 0).collect()
    }
}

fn add(sum: &mut Tally, more: Tally) {
    *sum = sum.plus(more);
}

/// Whether it leaks is only known if its memory was looked at and no block went unseen. Unlike an attach, a run whose hooks never fired is
/// not blind as long as its memory could be looked at: they were there from the first instruction, and `/bin/true` allocates nothing.
fn outcome(process: &SitesView, kinds: &Reading<[Tally; 4]>, reachable: bool) -> Outcome {
    match kinds {
        Reading::Known([definite, ..]) if definite.count > 0 => Outcome::LeakFound,
        Reading::Known([.., still]) if reachable && still.count > 0 => Outcome::LeakFound,
        Reading::Known(_) if process.losses.blocks_unrecorded == 0 => Outcome::NothingFound,
        Reading::Missing(_) if process.coverage.allocations == 0 => Outcome::Blind,
        Reading::Known(_) | Reading::Missing(_) => Outcome::CouldNotJudge,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::{Address, Bytes, FrameTrust, Function, Why};

    use super::*;
    use crate::{Document, Text, samples};

    fn leak(kind: Reach, stack: u32, count: u64) -> Leak {
        Leak { kind, stack: StackId(stack), blocks: Tally::exact(count, Bytes(count * 10)) }
    }

    /// A stack of one frame, `f1` for stack 1.
    fn frames(stack: StackId) -> Arc<[Frame]> {
        Arc::new([Frame {
            address: Address(0x1000),
            module: Reading::Missing(Why::NotRecorded),
            function: Reading::Known(Function { name: format!("f{}", stack.0).into(), offset: 0 }),
            line: Reading::Missing(Why::NotRecorded),
            inlined: false,
            trust: FrameTrust::Caller,
        }])
    }

    fn view(leaks: Reading<Vec<Leak>>, patterns: &str, reachable: bool) -> RunView {
        let mut suppressions = Suppressions::default();
        suppressions.add(patterns).expect("good patterns");
        let mut process = samples::sites();
        process.losses.blocks_unrecorded = 0;
        let found = leaks.map(|leaks| (leaks, Duration::from_millis(2)));
        RunView::new(process, "ended with status 0".to_owned(), found, &suppressions, (reachable, 2), frames)
    }

    #[track_caller]
    fn check(view: &RunView, outcome: Outcome, parts: &[&str]) {
        assert_eq!(view.outcome, outcome);
        let (mut text, mut json) = (Vec::new(), Vec::new());
        Text { width: 160, colour: false }.run(view, &mut text).expect("a Vec takes all");
        Document::Run(view).write(&mut json).expect("a Vec takes all");
        let all = String::from_utf8([text, json].concat()).expect("UTF-8");
        for part in parts {
            assert!(all.contains(part), "{part} is missing: {all}");
        }
    }

    #[test]
    fn what_is_lost_is_listed_and_what_is_reachable_only_if_it_is_asked_for() {
        let leaks = vec![leak(Reach::DefinitelyLost, 1, 3), leak(Reach::StillReachable, 2, 5)];
        let parts = [
            "definitely lost  3 blocks (30 B)",
            "definitely lost: 3 blocks (30 B) from f1+0x0 in an unknown module (not recorded) (stack 1)",
            "1 further stack not listed",
        ];
        check(&view(Reading::Known(leaks.clone()), "", false), Outcome::LeakFound, &parts);
        let parts = [
            r#""kinds":{"definitely_lost":{"blocks":3,"bytes":30"#,
            "still reachable: 5 blocks (50 B) from f2+0x0 in an unknown module (not recorded) (stack 2)",
        ];
        check(&view(Reading::Known(leaks.clone()), "", true), Outcome::LeakFound, &parts);
        check(&view(Reading::Known(leaks[1..].to_vec()), "", false), Outcome::NothingFound, &["nothing found"]);
        check(
            &view(Reading::Known(leaks[1..].to_vec()), "", true),
            Outcome::LeakFound,
            &["5 blocks (50 B) still reachable"],
        );
    }

    #[test]
    fn what_is_suppressed_is_shown_and_does_not_count() {
        let leaks = vec![leak(Reach::DefinitelyLost, 1, 3), leak(Reach::PossiblyLost, 2, 5)];
        let parts = ["3 blocks (30 B) by leak:^f1$", "definitely lost  0 blocks (0 B)", r#""pattern":"^f1$""#];
        check(&view(Reading::Known(leaks), "leak:^f1$", false), Outcome::NothingFound, &parts);
    }

    #[test]
    fn a_program_that_allocated_nothing_is_blind_only_where_its_memory_was_gone() {
        let outcome_of = |leaks| {
            let mut process = samples::sites();
            process.losses.blocks_unrecorded = 0;
            process.coverage.allocations = 0;
            outcome(&process, &leaks, false)
        };
        assert_eq!(outcome_of(Reading::Known([Tally::default(); 4])), Outcome::NothingFound);
        assert_eq!(outcome_of(Reading::Missing(Why::ProcessGone)), Outcome::Blind);
    }

    #[test]
    fn without_its_memory_the_kinds_are_missing_with_the_reason() {
        let parts = [
            "of which kind is unknown: the process is gone",
            r#""kinds":{"missing":"the process is gone"}"#,
            "could not judge",
        ];
        check(&view(Reading::Missing(Why::ProcessGone), "", false), Outcome::CouldNotJudge, &parts);
    }
}
