//! The report of a program that leakline started, as JSON.
//!
//! Owns: the keys of the document. Must not know: the rest of the schema.

use analysis::Reach;
use model::{Reading, Tally};
use serde_json::Value;

use super::object::{Object, missing};
use super::target::{coverage, frame, losses, target};
use crate::metrics::Metric;
use crate::{LeakView, RunView, SuppressionView, metrics};

/// One program. There is no exit code, other than in the documents of an attach: that of `run` is the program's own, unless
/// `--fail-on-leak` asks for another.
pub(super) fn run(object: Object, view: &RunView) -> Object {
    let process = &view.process;
    object
        .text("outcome", view.outcome.key())
        .text("end", &view.end)
        .part("target", target(&process.target))
        .figure(&metrics::ELAPSED, process.elapsed)
        .part("coverage", coverage(process))
        .part("losses", losses(&process.losses))
        .figure(&metrics::MEMORY_IN_TARGET, process.memory_in_target)
        .figure(&metrics::LOOK_STOP, view.look_stop)
        .figure(&metrics::NOT_FREED, view.not_freed)
        .part("kinds", kinds(&view.kinds))
        .list("suppressed", &view.suppressed, suppression)
        .list("held", &view.held(), |(kind, tally)| {
            Object::new().text("kind", kind.key()).figure(&metrics::NUMBER, tally.count).value()
        })
        .list("leaks", &view.leaks, leak)
        .figure(&metrics::SITES_LEFT_OUT, view.left_out)
        .texts("notes", &process.notes)
}

/// The metric of a kind; its key is also the word for the kind.
const fn metric(kind: Reach) -> &'static Metric {
    match kind {
        Reach::DefinitelyLost => &metrics::DEFINITELY_LOST,
        Reach::IndirectlyLost => &metrics::INDIRECTLY_LOST,
        Reach::PossiblyLost => &metrics::POSSIBLY_LOST,
        Reach::StillReachable => &metrics::STILL_REACHABLE,
    }
}

fn kinds(kinds: &Reading<[Tally; 4]>) -> Value {
    match kinds {
        Reading::Known(kinds) => Reach::ALL
            .iter()
            .zip(kinds)
            .fold(Object::new(), |object, (kind, tally)| object.figure(metric(*kind), *tally))
            .value(),
        Reading::Missing(why) => missing(&why.to_string()),
    }
}

fn suppression(view: &SuppressionView) -> Value {
    Object::new().text("pattern", &view.pattern).figure(&metrics::SUPPRESSED, view.blocks).value()
}

fn leak(view: &LeakView) -> Value {
    Object::new()
        .text("kind", metric(view.kind).key)
        .figure(&metrics::STACK, view.stack.0)
        .figure(&metrics::NOT_FREED, view.blocks)
        .list("frames", &view.frames, |one| frame(one, None))
        .value()
}
