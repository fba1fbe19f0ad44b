//! An attached process, its sites and its events as JSON.
//!
//! Owns: the keys of these documents. Must not know: the rest of the schema.

use std::time::Duration;

use analysis::Holding;
use model::{Content, Frame, FrameTrust, Kind, Kinds, Losses, Mode, Reading, SourceLine, StackId};
use serde_json::Value;

use super::object::{Object, growth, lifetimes, missing};
use crate::{
    ChildEvent, EventView, Excerpt, KindTotals, ModeChange, SiteTotals, SiteView, SitesView, TargetView, metrics,
};

/// The summary of an attach, or one of the processes that `hunt` attached to.
pub(super) fn sites(object: Object, view: &SitesView) -> Object {
    object
        .text("outcome", view.outcome.key())
        .figure(&metrics::EXIT_CODE, u32::from(view.outcome.exit_code()))
        .part("target", target(&view.target))
        .figure(&metrics::ELAPSED, view.elapsed)
        .part("coverage", coverage(view))
        .part("losses", losses(&view.losses))
        .figure(&metrics::OVERHEAD, view.overhead.now)
        .figure(&metrics::OVERHEAD_EXACT, view.overhead.exact)
        .figure(&metrics::OVERHEAD_OF_PROCESSOR, view.overhead.of_processor)
        .list("mode_changes", &view.mode_changes, |change| mode_change(Object::new(), change).value())
        .figure(&metrics::MODE_CHANGES_FORGOTTEN, view.mode_changes_forgotten)
        .figure(&metrics::MEMORY_IN_TARGET, view.memory_in_target)
        .part("totals", totals(&view.totals))
        .list("sites", &view.sites, site)
        .figure(&metrics::SITES_LEFT_OUT, view.sites_left_out)
        .texts("notes", &view.notes)
}

/// One event. Its figures have the keys of the summary, so that one reader fits both.
pub(super) fn event(object: Object, event: &EventView) -> Object {
    match event {
        EventView::Attached(view) => object.text("event", "attached").part("target", target(view)),
        EventView::FirstExpiry { at, stack, expired, frames } => of_stack(object, "first_expiry", *at, *stack)
            .text(metrics::SITE_KIND.key, expired.kind.key())
            .figure(&metrics::MAY_LEAK, *expired)
            .list("frames", frames, |one| frame(one, None)),
        EventView::Again { at, stack, more, expired } => {
            of_stack(object, "again", *at, *stack).figure(&metrics::MORE, *more).figure(&metrics::MAY_LEAK, *expired)
        }
        EventView::FreedLate { at, stack, kind, count, longest } => of_stack(object, "freed_after_expiry", *at, *stack)
            .text(metrics::SITE_KIND.key, kind.key())
            .figure(&metrics::MORE, *count)
            .figure(&metrics::FREED_LATE_LONGEST, *longest),
        EventView::Demoted { at, stack, freed_late, ever_expired } => of_stack(object, "demoted", *at, *stack)
            .figure(&metrics::FREED_LATE, *freed_late)
            .figure(&metrics::EVER_EXPIRED, *ever_expired),
        EventView::ModeChanged(change) => mode_change(object.text("event", "mode_changed"), change),
        EventView::StopReached { at, stack, expired } => {
            of_stack(object, "stop_reached", *at, *stack).figure(&metrics::MAY_LEAK, *expired)
        }
        EventView::Child { at, pid, command, what } => {
            let object = object.text("event", "child").figure(&metrics::AT, *at);
            let object = object.figure(&metrics::PID, pid.0).text(metrics::COMMAND.key, command);
            match what {
                ChildEvent::ModeChanged(change) => mode_in(object.text("what", "mode_changed"), change.mode)
                    .figure(&metrics::OVERHEAD_EXACT, change.exact),
                ChildEvent::Lost(found) => object.text("what", "lost").part("losses", losses(found)),
                ChildEvent::Ended { why } => object.text("what", "ended").text("why", why),
            }
        }
        EventView::Ended { at, why } => object.text("event", "ended").figure(&metrics::AT, *at).text("why", why),
    }
}

/// What all events of a stack begin with.
fn of_stack(object: Object, event: &str, at: Duration, stack: StackId) -> Object {
    object.text("event", event).figure(&metrics::AT, at).figure(&metrics::STACK, stack.0)
}

/// The process and what was done to it.
pub(super) fn target(view: &TargetView) -> Value {
    let object = Object::new()
        .figure(&metrics::PID, view.pid.0)
        .text(metrics::COMMAND.key, &view.command)
        .text(metrics::STATE.key, &view.state)
        .text(metrics::ALLOCATOR.key, &view.allocator)
        .texts("functions", &view.functions);
    mode(object, view)
        .figure(&metrics::MEMORY_MAX, view.memory_max)
        .figure(&metrics::THREADS, view.threads)
        .figure(&metrics::EXPIRE, view.expire)
        .figure(&metrics::ACTIVE_AFTER, view.active_after)
        .figure(&metrics::ATTACH_STOP, view.attach_stop)
        .figure(&metrics::DETACH_STOP, view.detach_stop)
        .value()
}

/// Which blocks are recorded, which were asked for, and up to what cost.
fn mode(object: Object, view: &TargetView) -> Object {
    mode_in(object, view.mode).text("mode_asked", &view.mode_asked).figure(&metrics::MAX_OVERHEAD, view.max_overhead)
}

/// A change of the mode, as an event or in the summary.
fn mode_change(object: Object, change: &ModeChange) -> Object {
    mode_in(object.figure(&metrics::AT, change.at), change.mode).figure(&metrics::OVERHEAD_EXACT, change.exact)
}

fn mode_in(object: Object, mode: Mode) -> Object {
    match mode {
        Mode::Exact => object.text(metrics::MODE.key, "exact").missing(metrics::RATE.key, "every block is recorded"),
        Mode::Sampled { rate } => object.text(metrics::MODE.key, "sampled").figure(&metrics::RATE, rate),
    }
}

/// What the hooks saw: the proof that they fire.
pub(super) fn coverage(view: &SitesView) -> Value {
    let all_frees = |object: Object, metric: &metrics::Metric, count: u64| {
        if view.counts_all_frees() {
            object.figure(metric, count)
        } else {
            object.missing(metric.key, "while blocks are sampled, frees of those that are not pass uncounted")
        }
    };
    let object = Object::new().figure(&metrics::ALLOCATIONS, view.coverage.allocations);
    let object = all_frees(object, &metrics::FREES, view.coverage.frees);
    all_frees(object, &metrics::FREES_OF_OLDER, view.coverage.frees_of_older)
        .figure(&metrics::BLOCKS_SAMPLED, view.coverage.samples)
        .figure(&metrics::CALLING_THREADS, view.coverage.threads)
        .figure(&metrics::PRIVATE_GROWTH, view.private_growth)
        .texts("kinds", &kinds_of(view.coverage.kinds))
        .figure(&metrics::MAPS, view.coverage.maps)
        .figure(&metrics::UNMAPS, view.coverage.unmaps)
        .figure(&metrics::THREADS_MADE, view.coverage.threads_made)
        .figure(&metrics::OPENS, view.coverage.opens)
        .figure(&metrics::CLOSES, view.coverage.closes)
        .value()
}

/// The words by which what was watched is chosen.
fn kinds_of(kinds: Kinds) -> Vec<String> {
    // A word is among those that were chosen if choosing it as well changes nothing: no second list of words can then differ.
    let chosen = |word: &&&str| kinds.with(word) == Some(kinds);
    Kinds::WORDS.iter().filter(chosen).map(|word| (*word).to_owned()).collect()
}

/// Losses stand here even when they are zero: a reader must not have to guess whether they were counted.
pub(super) fn losses(losses: &Losses) -> Value {
    Object::new()
        .figure(&metrics::BLOCKS_UNRECORDED, losses.blocks_unrecorded)
        .truth("memory_cap_reached", losses.memory_cap.is_some())
        .figure(&metrics::STACKS_CUT, losses.stacks_cut)
        .figure(&metrics::STACKS_BROKEN, losses.stacks_broken)
        .figure(&metrics::ENTRIES_CORRUPT, losses.entries_corrupt)
        .figure(&metrics::EVENTS_MISSED, losses.events_missed)
        .figure(&metrics::REGIONS_UNRECORDED, losses.regions_unrecorded)
        .figure(&metrics::DESCRIPTORS_UNSEEN, losses.descriptors_unseen)
        .value()
}

/// Sums over all sites, also those that the list leaves out.
fn totals(totals: &SiteTotals) -> Value {
    let object = Object::new()
        .figure(&metrics::SITES, totals.sites)
        .figure(&metrics::SITES_LEAKING, totals.leaking)
        .figure(&metrics::HISTORIES_DROPPED, totals.histories_dropped);
    // The heap's own stand here as well: most readers want nothing else.
    let object = kind_totals(object, totals.kind(Kind::Heap));
    let seen: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| totals.kind(*kind).allocated.count > 0).collect();
    let of_kind = |kind: &Kind| kind_totals(Object::new().text(metrics::SITE_KIND.key, kind.key()), totals.kind(*kind));
    object.list("by_kind", &seen, |kind| of_kind(kind).value()).value()
}

/// Sums over all sites of one kind.
fn kind_totals(object: Object, totals: &KindTotals) -> Object {
    object
        .figure(&metrics::LEAKING, totals.may_leak)
        .figure(&metrics::MAY_LEAK, totals.expired)
        .figure(&metrics::FREED_LATE, totals.freed_late)
        .figure(&metrics::ALLOCATED, totals.allocated)
        .figure(&metrics::FREED, totals.freed)
        .figure(&metrics::LIVE, totals.live)
}

/// One site with every figure and its whole stack.
fn site(view: &SiteView) -> Value {
    let counts = &view.counts;
    let object = Object::new()
        .figure(&metrics::RANK, view.rank)
        .figure(&metrics::STACK, counts.stack.0)
        .text(metrics::SITE_KIND.key, counts.kind().key())
        .list("contents", &counts.contents, content)
        .text(metrics::VERDICT.key, &view.verdict)
        .text("severity", view.severity.key())
        .texts("reasons", &view.reasons)
        .truth("demoted", view.demoted)
        .figure(&metrics::MAY_LEAK, counts.expired)
        .part("survey", survey(&view.holding))
        .figure(&metrics::EVER_EXPIRED, view.ever_expired)
        .figure(&metrics::FREED_LATE, counts.freed_late);
    let object = or_missing(object, &metrics::FREED_LATE_LONGEST, counts.freed_late_longest, "none was freed late")
        .figure(&metrics::ALLOCATED, counts.allocated)
        .figure(&metrics::FREED, counts.freed)
        .figure(&metrics::LIVE, counts.live)
        .part("lifetimes_of_freed", lifetimes(counts.lifetimes));
    or_missing(object, &metrics::OLDEST_LIVE, counts.oldest_live, "nothing is live")
        .part("growth", growth(counts.kind(), &view.growth))
        .part("frames", view.frames.iter().enumerate().map(|(index, one)| frame_of(view, index, one)).collect())
        .value()
}

/// A frame of a site, with the source text and whether it is the one to look at first.
fn frame_of(view: &SiteView, index: usize, one: &Frame) -> Value {
    let mut value = frame(one, excerpt_of(view, index));
    // Added afterwards, since frames of events have no site to say which is the one.
    if let Some(members) = value.as_object_mut() {
        members.insert("origin".to_owned(), Value::Bool(view.origin() == Some(index)));
    }
    value
}

/// What became of its expired blocks.
fn survey(holding: &Reading<Holding>) -> Value {
    match holding {
        Reading::Known(Holding { lost, held, unclear }) => Object::new()
            .figure(&metrics::LOST_BLOCKS, *lost)
            .figure(&metrics::HELD, *held)
            .figure(&metrics::REACHED_INSIDE, *unclear)
            .value(),
        Reading::Missing(why) => missing(&why.to_string()),
    }
}

/// What some of its descriptors or mappings lead to.
fn content(content: &Content) -> Value {
    Object::new().text(metrics::CONTENT.key, &content.name).figure(&metrics::CONTENT_COUNT, content.count).value()
}

/// A duration that only exists where something happened.
fn or_missing(object: Object, metric: &metrics::Metric, value: Option<Duration>, why: &str) -> Object {
    match value {
        Some(value) => object.figure(metric, value),
        None => object.missing(metric.key, why),
    }
}

/// The source text around the line of a frame.
fn excerpt_of(view: &SiteView, index: usize) -> Option<&Excerpt> {
    view.excerpts.iter().find(|excerpt| excerpt.frame == index)
}

/// One frame. The address is a text, since JSON numbers lose digits above 2^53 in many readers.
pub(super) fn frame(frame: &Frame, excerpt: Option<&Excerpt>) -> Value {
    let object = Object::new().text("address", &frame.address.to_string());
    let object = match &frame.function {
        Reading::Known(function) => object.text("function", &function.name).figure(&metrics::OFFSET, function.offset),
        Reading::Missing(why) => object.missing("function", &why.to_string()),
    };
    let source = match &frame.line {
        Reading::Known(line) => source(line, excerpt),
        Reading::Missing(why) => missing(&why.to_string()),
    };
    let object = match &frame.module {
        Reading::Known(module) => object.text("module", &module.path),
        Reading::Missing(why) => object.missing("module", &why.to_string()),
    };
    object.part("source", source).truth("inlined", frame.inlined).text("found_by", found_by(frame.trust)).value()
}

/// A line; the column is left out where the compiler recorded none, the text where the source is not there.
fn source(line: &SourceLine, excerpt: Option<&Excerpt>) -> Value {
    let mut object = Object::new().text("file", &line.file).figure(&metrics::LINE, line.line);
    if let Some(column) = line.column {
        object = object.figure(&metrics::COLUMN, column);
    }
    if let Some(excerpt) = excerpt {
        let text = Object::new().figure(&metrics::LINE, excerpt.first).texts("lines", &excerpt.lines);
        object = object.part("text", text.truth("newer_than_program", excerpt.newer).value());
    }
    object.value()
}

/// How much a frame can be trusted.
const fn found_by(trust: FrameTrust) -> &'static str {
    match trust {
        FrameTrust::Caller => "caller",
        FrameTrust::UnwindTable => "unwind_table",
        FrameTrust::FramePointer => "frame_pointer",
    }
}
