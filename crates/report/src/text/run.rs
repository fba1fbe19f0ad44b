//! The report of a program that leakline started, as text.
//!
//! Owns: the wording. Must not know: how a block's kind is found.

use std::io::{self, Write};

use analysis::Reach;
use model::Reading;

use super::table::safe;
use super::{Paint, Text, phrase, sites};
use crate::{LeakView, Outcome, RunView, Span};

/// The facts, the sums by kind, the result, and every listed leak with its stack. The result stands before the stacks, which may be
/// hundreds of lines: whoever pages through them has read it.
pub(super) fn report(text: Text, view: &RunView, out: &mut dyn Write) -> io::Result<()> {
    for fact in facts(view) {
        writeln!(out, "{}", safe(&fact))?;
    }
    let paint = if view.outcome == Outcome::LeakFound { Paint::Bad } else { Paint::Plain };
    writeln!(out, "{}", text.painted(paint, &safe(&format!("Result     {}", result(view)))))?;
    for leak in &view.leaks {
        writeln!(out)?;
        write_leak(text, leak, out)?;
    }
    if view.left_out > 0 {
        writeln!(out)?;
        let hint = "--show-reachable, --top";
        writeln!(out, "{} not listed ({hint}).", phrase::counted(view.left_out, "further stack"))?;
    }
    Ok(())
}

/// The name of a kind.
pub(super) const fn kind(kind: Reach) -> &'static str {
    match kind {
        Reach::DefinitelyLost => "definitely lost",
        Reach::IndirectlyLost => "indirectly lost",
        Reach::PossiblyLost => "possibly lost",
        Reach::StillReachable => "still reachable",
    }
}

fn facts(view: &RunView) -> Vec<String> {
    let process = &view.process;
    let target = &process.target;
    let look = match view.look_stop {
        Reading::Known(stop) => format!("; stood still for {} at its end", Span(stop)),
        Reading::Missing(_) => String::new(),
    };
    let mut facts = vec![
        format!("Program    {} ({}): {}", target.pid, target.command, view.end),
        format!("Allocator  {}", sites::allocator(target)),
        format!("Seen       {}", sites::seen(process)),
        format!("Cost       {}{look}", sites::cost(process)),
        format!("Missed     {}", sites::lost_of(process)),
        format!("Not freed  {}", phrase::tally(view.not_freed)),
    ];
    match &view.kinds {
        Reading::Known(kinds) => facts.extend(
            Reach::ALL
                .iter()
                .zip(kinds)
                .map(|(one, tally)| format!("           {:<17}{}", kind(*one), phrase::tally(*tally))),
        ),
        Reading::Missing(why) => facts.push(format!("           of which kind is unknown: {why}")),
    }
    facts.extend(
        view.suppressed
            .iter()
            .map(|one| format!("           {:<17}{} by leak:{}", "suppressed", phrase::tally(one.blocks), one.pattern)),
    );
    // No leak by itself: the kernel takes them back. A program that was to close them may want to know.
    facts.extend(view.held().into_iter().map(|(kind, tally)| {
        let thing = if tally.count == 1 { kind.thing() } else { kind.things() };
        format!("           {:<17}{} {thing}", "held as well", phrase::count(tally.count))
    }));
    facts.extend(process.notes.iter().map(|note| format!("Note       {note}")));
    facts
}

fn result(view: &RunView) -> String {
    match (view.outcome, &view.kinds) {
        // Only what the user asked to count as a leak makes one without anything lost: `--show-reachable`.
        (Outcome::LeakFound, Reading::Known([definite, .., still])) if definite.count == 0 => {
            format!("leak found: {} still reachable", phrase::tally(*still))
        }
        (Outcome::LeakFound, Reading::Known([definite, ..])) => {
            format!("leak found: {} definitely lost", phrase::tally(*definite))
        }
        (Outcome::NothingFound, _) => "nothing found: no block is definitely lost".to_owned(),
        (Outcome::Blind, _) => "blind: the hooks never fired, so nothing can be said about leaks".to_owned(),
        (Outcome::LeakFound | Outcome::CouldNotJudge, _) => "could not judge: what was seen is not enough".to_owned(),
    }
}

fn write_leak(text: Text, leak: &LeakView, out: &mut dyn Write) -> io::Result<()> {
    let paint = match leak.kind {
        Reach::DefinitelyLost => Paint::Bad,
        Reach::IndirectlyLost | Reach::PossiblyLost => Paint::Doubtful,
        Reach::StillReachable => Paint::Title,
    };
    let name = sites::titled(sites::origin_name(&leak.frames), leak.stack);
    let title = format!("{}: {} from {name}", kind(leak.kind), phrase::tally(leak.blocks));
    writeln!(out, "{}", text.painted(paint, &safe(&title)))?;
    sites::write_frames(&leak.frames, out)
}
