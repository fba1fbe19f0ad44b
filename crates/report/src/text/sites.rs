//! An attached process as text: its facts, its sites, its events.
//!
//! Owns: the wording. Must not know: how blocks are counted or judged.

use std::io::{self, Write};
use std::time::Duration;

use analysis::Holding;
use analysis::origin;
use model::{Frame, FrameTrust, Kind, Lifetimes, Losses, Mode, Reading, StackId, Tally};

use super::table::{Column, safe};
use super::{Paint, Text, phrase};
use crate::{ChildEvent, EventView, ModeChange, Outcome, Severity, SiteView, SitesView, Span, TargetView, metrics};

/// The state is a word for people that the caller chose; this is the one word that means "not over yet".
const ATTACHED: &str = "attached";

/// The columns of the live view.
pub(super) const COLUMNS: &[Column<SiteView>] = &[
    Column { metric: &metrics::RANK, least: None, dispensable: 0, cell: |row| row.rank.to_string() },
    Column {
        metric: &metrics::MAY_LEAK_BYTES,
        least: None,
        dispensable: 0,
        cell: |row| {
            let expired = row.counts.expired;
            format!("{}{}", bytes(expired), phrase::error_share(expired.bytes.0, expired.bytes_error().0))
        },
    },
    Column {
        metric: &metrics::MAY_LEAK_BLOCKS,
        least: None,
        dispensable: 0,
        cell: |row| {
            let expired = row.counts.expired;
            phrase::count(expired.count) + &phrase::error_share(expired.count, expired.count_error())
        },
    },
    Column {
        metric: &metrics::GROWTH,
        least: None,
        dispensable: 3,
        cell: |row| phrase::cell(row.growth.map(|rate| growth(row.counts.kind(), rate.per_hour))),
    },
    Column { metric: &metrics::LIVE, least: None, dispensable: 6, cell: |row| bytes(row.counts.live) },
    Column {
        metric: &metrics::OLDEST_LIVE,
        least: None,
        dispensable: 4,
        cell: |row| row.counts.oldest_live.map_or_else(|| "-".to_owned(), |age| Span(age).to_string()),
    },
    Column {
        metric: &metrics::FREED_LATE,
        least: None,
        dispensable: 5,
        cell: |row| phrase::count(row.counts.freed_late.count),
    },
    Column { metric: &metrics::VERDICT, least: Some(7), dispensable: 2, cell: SiteView::verdict_in_short },
    Column { metric: &metrics::SITE_KIND, least: Some(4), dispensable: 1, cell: |row| row.counts.kind().to_string() },
    Column { metric: &metrics::SITE, least: Some(24), dispensable: 0, cell: site_name },
];

/// Bytes, or a dash for what has no size.
fn bytes(tally: Tally) -> String {
    if tally.kind.has_size() { tally.bytes.to_string() } else { phrase::INAPPLICABLE.to_owned() }
}

fn growth(kind: Kind, per_hour: i64) -> String {
    if kind.has_size() { phrase::per_hour(per_hour) } else { phrase::number_per_hour(per_hour) }
}

/// What is left on the screen after a session: the facts first, then every listed site.
pub(super) fn summary(text: Text, view: &SitesView, out: &mut dyn Write) -> io::Result<()> {
    for fact in facts(view) {
        writeln!(out, "{fact}")?;
    }
    let is_quiet = |site: &&SiteView| site.is_quiet();
    for site in view.sites.iter().filter(|site| !site.is_quiet()) {
        writeln!(out)?;
        write_site(text, site, out)?;
    }
    // Whoever looks for a leak must not page through the stacks of what is fine to find the one that is not.
    let mut quiet = view.sites.iter().filter(is_quiet).peekable();
    if quiet.peek().is_some() {
        writeln!(out)?;
        writeln!(out, "Nothing has expired at (their stacks are in --json and on the screen):")?;
    }
    for site in quiet {
        let (live, all) = (phrase::tally(site.counts.live), phrase::tally(site.counts.allocated));
        let quiet = format!("#{} {}: {}; {live} live of {all}", site.rank, site.judgement(), site_title(site));
        writeln!(out, "{}", safe(&quiet))?;
    }
    if view.sites_left_out > 0 {
        writeln!(out)?;
        writeln!(out, "{} not listed.", phrase::counted(view.sites_left_out, "further site"))?;
    }
    Ok(())
}

/// One line, and under the first expiry of a stack its frames: that is the line people wait for.
pub(super) fn event(text: Text, event: &EventView, out: &mut dyn Write) -> io::Result<()> {
    let Some((at, paint, line)) = sentence(event) else {
        return attached(event, out);
    };
    writeln!(out, "[{:>10}] {}", Span(at), text.painted(paint, &safe(&line)))?;
    if let EventView::FirstExpiry { frames, .. } = event {
        write_frames(frames, out)?;
    }
    Ok(())
}

/// An event as a line of its own, for where there is no list of them.
pub(super) fn event_in_short(event: &EventView) -> Option<String> {
    if let EventView::Attached(target) = event {
        return Some(safe(&format!("attached to {} ({})", target.pid, target.command)));
    }
    sentence(event).map(|(_, _, line)| safe(&line))
}

/// One of several sessions in a line.
pub(super) fn in_short(view: &SitesView) -> String {
    let target = &view.target;
    let cost = match view.overhead.now {
        Reading::Known(now) => format!(", costs {}", phrase::share(now)),
        Reading::Missing(_) => String::new(),
    };
    let mode = mode_words(target.mode);
    let (lost, result) = (lost_of(view), result(view));
    safe(&format!("{} ({}): {}, {mode}{cost}; lost {lost}; {result}", target.pid, target.command, target.state))
}

/// The header of the live view and of the summary. The result stands last, next to the sites that it is about.
pub(super) fn facts(view: &SitesView) -> Vec<String> {
    let target = &view.target;
    let mut facts = vec![
        format!("Target     {} ({}): {}", target.pid, target.command, target.state),
        format!("Allocator  {}", allocator(target)),
        format!("Mode       {}; a block expires after {}", mode(view), Span(target.expire)),
        format!("Seen       {}", seen(view)),
        format!("Cost       {}", cost(view)),
        format!("Lost       {}", lost_of(view)),
    ];
    if view.mode_changes_forgotten > 0 {
        facts
            .push(format!("Note       {} of the mode", phrase::counted(view.mode_changes_forgotten, "earlier change")));
    }
    facts.extend(
        view.mode_changes
            .iter()
            .map(|change| format!("Note       after {}, {}", Span(change.at), mode_changed(change))),
    );
    facts.extend(view.notes.iter().map(|note| format!("Note       {note}")));
    facts.push(format!("Result     {}", result(view)));
    facts.iter().map(|fact| safe(fact)).collect()
}

/// Every figure of a site, also those that are zero: a reader compares sites line by line.
pub(super) fn site_facts(view: &SiteView) -> Vec<String> {
    let counts = &view.counts;
    // A session may know that blocks were freed late and not how long they had lived.
    let late = counts.freed_late_longest.filter(|_| counts.freed_late.count > 0);
    let late = late.map_or_else(String::new, |age| format!(", the longest-lived after {}", Span(age)));
    let kind = counts.kind();
    // "Freed" is wrong for what is unmapped, joined or closed, and a reader would look for a `free` that does not exist.
    let (_, freed) = kind.ending();
    let ended = if kind == Kind::Heap { "freed blocks lived".to_owned() } else { format!("{freed} ones lived") };
    let lived = counts.lifetimes.map_or_else(
        || format!("none was {freed}"),
        |lived| format!("{} min, {} mean, {} max", life(lived.min), life(lived.mean), life(lived.max)),
    );
    let oldest = counts.oldest_live.map_or_else(|| "nothing is live".to_owned(), |age| Span(age).to_string());
    let mut facts = vec![format!("kind                {kind}")];
    if !counts.contents.is_empty() {
        let contents =
            counts.contents.iter().map(|content| format!("{} ({})", content.name, phrase::count(content.count)));
        facts.push(format!("leads to            {}", contents.collect::<Vec<_>>().join(", ")));
    }
    facts.push(format!("may leak            {}", phrase::tally(counts.expired)));
    if let Some(Holding { lost, held, unclear }) = view.holding.as_known() {
        facts.push(format!("  of that lost      {}", phrase::tally(*lost)));
        facts.push(format!("  still held        {}", phrase::tally(*held)));
        if unclear.count > 0 {
            facts.push(format!("  reached inside    {}", phrase::tally(*unclear)));
        }
    }
    facts.extend([
        format!("expired             {}", phrase::tally(view.ever_expired)),
        format!("freed after expiry  {}{late}", phrase::tally(counts.freed_late)),
        format!("allocated           {}", phrase::tally(counts.allocated)),
        format!("freed               {}", phrase::tally(counts.freed)),
        format!("live                {}", phrase::tally(counts.live)),
        format!("{ended:<20}{lived}"),
        format!("oldest not freed    {oldest}"),
        format!("growth              {}", phrase::growth(kind, &view.growth)),
    ]);
    facts.extend(view.reasons.iter().map(|reason| format!("because             {reason}")));
    facts.iter().map(|fact| safe(fact)).collect()
}

/// Address, function and offset, line. An inlined function has no address of its own.
pub(super) fn frame(index: usize, frame: &Frame) -> String {
    // 18 columns are `0x` and sixteen digits, so that functions stand below each other.
    let place = if frame.inlined { " ".repeat(18) } else { format!("{:#018x}", frame.address.0) };
    let inlined = if frame.inlined { " [inlined]" } else { "" };
    let trust = if frame.trust == FrameTrust::FramePointer { " [by frame pointer]" } else { "" };
    safe(&format!("#{index:<3} {place}  {}  {}{inlined}{trust}", function(frame), source(frame)))
}

/// What happened, when, and how much attention it deserves. An attach has more than one line.
fn sentence(event: &EventView) -> Option<(Duration, Paint, String)> {
    // Stacks are named by their number, so that "again" can be searched in a log.
    let stacked = |stack: &StackId| format!("stack {}", stack.0);
    Some(match event {
        EventView::Attached(_) => return None,
        EventView::FirstExpiry { at, stack, expired, .. } => {
            (*at, Paint::Doubtful, format!("first expiry of {}: {}", stacked(stack), phrase::tally(*expired)))
        }
        EventView::Again { at, stack, more, expired } => (
            *at,
            Paint::Plain,
            format!("again {}: {} more, {} expired now", stacked(stack), phrase::count(*more), phrase::tally(*expired)),
        ),
        EventView::FreedLate { at, stack, kind, count, longest } => {
            (*at, Paint::Good, format!("{}: {}", freed_late(*kind, *count, longest), stacked(stack)))
        }
        EventView::Demoted { at, stack, freed_late, ever_expired } => (
            *at,
            Paint::Doubtful,
            format!(
                "warning: {} keeps freeing its expired blocks ({} of {}); it is demoted and no longer reported",
                stacked(stack),
                phrase::count(freed_late.count),
                phrase::count(ever_expired.count),
            ),
        ),
        EventView::ModeChanged(change) => (change.at, Paint::Doubtful, mode_changed(change)),
        EventView::Child { at, pid, command, what } => {
            let (paint, happened) = in_child(what);
            (*at, paint, format!("child {pid} ({command}): {happened}"))
        }
        EventView::StopReached { at, stack, expired } => {
            (*at, Paint::Bad, format!("stopping: {} has {} expired", stacked(stack), phrase::tally(*expired)))
        }
        EventView::Ended { at, why } => (*at, Paint::Plain, format!("ended: {why}")),
    })
}

/// What happened in a child, without its name.
fn in_child(what: &ChildEvent) -> (Paint, String) {
    match what {
        ChildEvent::ModeChanged(change) => (Paint::Doubtful, mode_changed(change)),
        ChildEvent::Lost(losses) => (Paint::Doubtful, format!("lost until now: {}", lost(losses, 0))),
        ChildEvent::Ended { why } => (Paint::Plain, why.clone()),
    }
}

/// One late free reads as a sentence of its own; many are one line, or they would flood the view.
fn freed_late(kind: Kind, count: u64, longest: &Reading<Duration>) -> String {
    let after = match longest {
        Reading::Known(longest) => format!("after {}", Span(*longest)),
        Reading::Missing(why) => format!("after an unknown time ({why})"),
    };
    match count {
        1 => format!("expired {} {} {after}", kind.thing(), kind.ending().1),
        _ => {
            format!("{} expired {} {}, the longest-lived {after}", phrase::count(count), kind.things(), kind.ending().1)
        }
    }
}

/// The first line of the plain view.
fn attached(event: &EventView, out: &mut dyn Write) -> io::Result<()> {
    let EventView::Attached(target) = event else { return Ok(()) };
    writeln!(out, "{}", safe(&attached_line(target)))
}

/// What is hooked, how, and what it cost the target.
fn attached_line(target: &TargetView) -> String {
    format!(
        "attached to {} ({}): {}; {}; blocks expire after {}; stopped for {} at most",
        target.pid,
        target.command,
        allocator(target),
        mode_wanted(target),
        Span(target.expire),
        Span(target.attach_stop),
    )
}

/// Which allocator was found, and how much of it is hooked.
pub(super) fn allocator(target: &TargetView) -> String {
    format!("{}; {} hooked", target.allocator, phrase::counted(target.functions.len() as u64, "function"))
}

/// Which blocks are recorded: `auto, now sampled: one block in 512 KiB on average (1,234 samples)`.
fn mode(view: &SitesView) -> String {
    let samples = match view.target.mode {
        Mode::Exact => String::new(),
        Mode::Sampled { .. } => {
            format!(" ({}; ± is a 95 % interval)", phrase::counted(view.coverage.samples, "sample"))
        }
    };
    mode_wanted(&view.target) + &samples
}

fn mode_wanted(target: &TargetView) -> String {
    let now = mode_words(target.mode);
    match target.max_overhead {
        Reading::Known(share) => {
            let when = now_or_last(target);
            format!("{} (may cost {}), {when} {now}", target.mode_asked, phrase::share(share))
        }
        Reading::Missing(_) => now,
    }
}

/// What a figure is that is measured again and again.
fn now_or_last(target: &TargetView) -> &'static str {
    if target.state == ATTACHED { "now" } else { "at last" }
}

fn mode_words(mode: Mode) -> String {
    match mode {
        Mode::Exact => "exact".to_owned(),
        Mode::Sampled { rate } => format!("sampled, one in {rate} on average"),
    }
}

/// A change of the mode as an event and as a note.
fn mode_changed(change: &ModeChange) -> String {
    // "Cost" was measured, "should cost" is computed from a sample: the two must not read alike.
    let cost = match (change.mode, change.exact) {
        (_, Reading::Missing(_)) => String::new(),
        (Mode::Sampled { .. }, Reading::Known(share)) => {
            format!(": recording every block cost {} of the target's CPU time", phrase::share(share))
        }
        (Mode::Exact, Reading::Known(share)) => {
            format!(": recording every block should cost {} of the target's CPU time", phrase::share(share))
        }
    };
    format!("mode is now {}{cost}", mode_words(change.mode))
}

/// A site with its figures and its stack.
fn write_site(text: Text, site: &SiteView, out: &mut dyn Write) -> io::Result<()> {
    let demoted = if site.demoted { ", demoted" } else { "" };
    let title = format!("#{} {}{demoted}: {}", site.rank, site.judgement(), site_title(site));
    let title = safe(&title);
    let paint = if site.severity == Severity::Fine { Paint::Title } else { Paint::from(site.severity) };
    writeln!(out, "{}", text.painted(paint, &title))?;
    for fact in site_facts(site) {
        writeln!(out, "  {fact}")?;
    }
    if site.frames.is_empty() {
        return write_frames(&site.frames, out);
    }
    for (index, one) in site.frames.iter().enumerate() {
        writeln!(out, "    {}", frame(index, one))?;
        for (is_call, line) in source_lines(site, index) {
            let paint = if is_call { Paint::Doubtful } else { Paint::Plain };
            writeln!(out, "  {}", text.painted(paint, &line))?;
        }
    }
    Ok(())
}

/// The source text around the line of a frame, where there is any, each line with whether it is the line of the call.
pub(super) fn source_lines(site: &SiteView, index: usize) -> Vec<(bool, String)> {
    let of_call = site.frames.get(index).and_then(|frame| frame.line.as_known()).map(|line| line.line);
    let mut lines = Vec::new();
    for excerpt in site.excerpts.iter().filter(|excerpt| excerpt.frame == index) {
        for (line, number) in excerpt.lines.iter().zip(excerpt.first..) {
            let is_call = of_call == Some(number);
            let mark = if is_call { '>' } else { ' ' };
            lines.push((is_call, format!("      {mark} {number:>5} │ {}", safe(&line.replace('\t', "    ")))));
        }
        if excerpt.newer {
            lines.push((
                false,
                "              (the source is newer than the program: its lines may have moved)".to_owned(),
            ));
        }
    }
    lines
}

/// The frames are never cut to the width: a cut line number is a wrong one.
pub(super) fn write_frames(frames: &[Frame], out: &mut dyn Write) -> io::Result<()> {
    if frames.is_empty() {
        return writeln!(out, "    (the stack could not be read)");
    }
    for (index, one) in frames.iter().enumerate() {
        writeln!(out, "    {}", frame(index, one))?;
    }
    Ok(())
}

/// The frame of the program's own code that asked for the memory. The line stands first and without its folder, since
/// names of C++ functions alone are often wider than a terminal.
fn site_name(site: &SiteView) -> String {
    origin_name(&site.frames).unwrap_or_else(|| format!("stack {}", site.counts.stack.0))
}

/// As [`site_name`], with the number by which events name the stack.
pub(super) fn site_title(site: &SiteView) -> String {
    titled(origin_name(&site.frames), site.counts.stack)
}

/// A stack by the line to look at first, and its number.
pub(super) fn titled(name: Option<String>, stack: StackId) -> String {
    match name {
        Some(name) => format!("{name} (stack {})", stack.0),
        None => format!("stack {}", stack.0),
    }
}

/// The line and the function to look at first; none without frames.
pub(super) fn origin_name(frames: &[Frame]) -> Option<String> {
    let frame = frames.get(origin(frames)?)?;
    Some(match &frame.line {
        Reading::Known(line) => {
            // Without its folder: the whole path stands in the stack below, and a table has twenty columns for it.
            let file = file_name(&line.file);
            // The line says it better than an offset.
            let function = frame.function.as_known().map_or(phrase::MISSING, |function| &*function.name);
            format!("{file}:{} {function}", line.line)
        }
        Reading::Missing(_) => match &frame.module {
            Reading::Known(module) => format!("{} in {}", function(frame), file_name(&module.path)),
            Reading::Missing(_) => format!("{} {}", function(frame), source(frame)),
        },
    })
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// An offset into an inlined function would be meaningless, since it has no address of its own.
fn function(frame: &Frame) -> String {
    match &frame.function {
        Reading::Known(function) if frame.inlined => function.name.to_string(),
        Reading::Known(function) => format!("{}+{:#x}", function.name, function.offset),
        Reading::Missing(_) => phrase::MISSING.to_owned(),
    }
}

/// The line, or, where none is known, the module and the reason.
fn source(frame: &Frame) -> String {
    match (&frame.line, &frame.module) {
        (Reading::Known(line), _) => {
            let column = line.column.map_or_else(String::new, |column| format!(":{column}"));
            format!("{}:{}{column}", line.file, line.line)
        }
        (Reading::Missing(why), Reading::Known(module)) => format!("in {} ({why})", module.path),
        (Reading::Missing(_), Reading::Missing(why)) => format!("in an unknown module ({why})"),
    }
}

/// Proof that the hooks fire, without which nothing may be said about leaks.
pub(super) fn seen(view: &SitesView) -> String {
    let coverage = &view.coverage;
    let mut seen = Vec::new();
    if coverage.kinds.heap && view.counts_all_frees() {
        seen.push(format!(
            "{} and {} in {}, from {}; {} of blocks older than the attach",
            phrase::counted(coverage.allocations, "allocation"),
            phrase::counted(coverage.frees, "free"),
            Span(view.elapsed),
            phrase::counted(u64::from(coverage.threads), "thread"),
            phrase::counted(coverage.frees_of_older, "free"),
        ));
    } else if coverage.kinds.heap {
        seen.push(format!(
            "{} in {}, from {} (frees of blocks that are not sampled are not counted)",
            phrase::counted(coverage.allocations, "allocation"),
            Span(view.elapsed),
            phrase::counted(u64::from(coverage.threads), "thread"),
        ));
    } else {
        seen.push(format!(
            "in {}, from {}",
            Span(view.elapsed),
            phrase::counted(u64::from(coverage.threads), "thread")
        ));
    }
    if coverage.kinds.mappings {
        let [maps, unmaps, threads] = [coverage.maps, coverage.unmaps, coverage.threads_made].map(phrase::count);
        seen.push(format!("{maps} mapped and {unmaps} unmapped, {threads} threads made"));
    }
    if coverage.kinds.descriptors {
        let [opens, closes] = [coverage.opens, coverage.closes].map(phrase::count);
        seen.push(format!("{opens} descriptors opened and {closes} closed"));
    }
    seen.join("; ")
}

/// What the session costs the target.
pub(super) fn cost(view: &SitesView) -> String {
    let detach = match view.target.detach_stop {
        Reading::Known(stop) => format!(" and {} at the detach", Span(stop)),
        Reading::Missing(_) => String::new(),
    };
    let when = now_or_last(&view.target);
    // A target that hardly runs may pay a large share of very little.
    let whole = match view.overhead.of_processor {
        Reading::Known(share) => format!(", {} of a processor", phrase::share(share)),
        Reading::Missing(_) => String::new(),
    };
    let now = match (view.overhead.now, view.overhead.exact) {
        (Reading::Missing(_), _) => "in CPU time not measured; ".to_owned(),
        (Reading::Known(now), Reading::Known(exact)) if view.target.mode != Mode::Exact => {
            let [now, exact] = [now, exact].map(phrase::share);
            format!("{when} {now} of the target's CPU time{whole} (recording every block: about {exact}); ")
        }
        (Reading::Known(now), _) => format!("{when} {} of the target's CPU time{whole}; ", phrase::share(now)),
    };
    format!(
        "{now}{} of memory in the target (at most {}); longest stop {} at the attach{detach}; active after {}",
        view.memory_in_target,
        view.target.memory_max,
        Span(view.target.attach_stop),
        Span(view.target.active_after),
    )
}

/// Everything of a session that was not recorded.
pub(super) fn lost_of(view: &SitesView) -> String {
    lost(&view.losses, view.totals.histories_dropped)
}

/// Everything that was not recorded, by cause; "nothing" is said aloud, since it is a promise.
fn lost(losses: &Losses, histories_dropped: u64) -> String {
    // The causes in the order of what they cost: a block that is not recorded may be the leak itself.
    let unrecorded = losses.memory_cap.map_or_else(
        || " not recorded (a table was full)".to_owned(),
        |cap| format!(" not recorded (memory cap of {cap} reached, --max-memory)"),
    );
    let causes = [
        (losses.blocks_unrecorded, "block", unrecorded.as_str()),
        (losses.regions_unrecorded, "mapping or descriptor", " not recorded (a table was full)"),
        (losses.events_missed, "call", " for mappings or descriptors missed (too many at once)"),
        (losses.descriptors_unseen, "descriptor", " opened by calls that were not seen"),
        (losses.stacks_cut, "stack", " cut at the greatest depth"),
        (losses.stacks_broken, "stack", " ended early (no unwind information)"),
        (histories_dropped, "history", " of sites dropped (too many sites)"),
        (losses.entries_corrupt, "entry", " of the shared memory left out (corrupt)"),
    ];
    let lost = causes.iter().filter(|(number, ..)| *number > 0);
    let lost: Vec<String> = lost.map(|(number, thing, how)| phrase::counted(*number, thing) + how).collect();
    if lost.is_empty() { "nothing".to_owned() } else { lost.join(", ") }
}

/// The answer. While the target is attached it is an answer so far.
fn result(view: &SitesView) -> String {
    let so_far = if view.target.state == ATTACHED { " so far" } else { "" };
    match view.outcome {
        Outcome::LeakFound => format!(
            "leak found{so_far}: {} may leak at {}",
            may_leak(view),
            phrase::counted(view.totals.leaking, "site"),
        ),
        Outcome::NothingFound => format!("nothing found{so_far}: no site leaks"),
        Outcome::CouldNotJudge => "could not judge: what was seen is not enough".to_owned(),
        // Two ways to be blind, with two things to do: look whether the right functions are hooked, or what else maps memory.
        Outcome::Blind if view.coverage.allocations == 0 && view.coverage.frees == 0 => {
            "blind: the hooks never fired, so nothing can be said about leaks".to_owned()
        }
        Outcome::Blind => {
            "blind: memory grows that the hooks do not see, so nothing can be said about leaks".to_owned()
        }
    }
}

/// What may leak, of each kind that does.
fn may_leak(view: &SitesView) -> String {
    let tallies = view.totals.kinds.iter().map(|totals| totals.may_leak).filter(|tally| tally.count > 0);
    let parts: Vec<String> = tallies.map(phrase::tally).collect();
    match parts.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
        None => phrase::tally(Tally::of(Kind::Heap)),
    }
}

/// A lifetime; one too short to be measured is not shown as none.
fn life(lived: Duration) -> String {
    if lived.is_zero() { format!("under {}", Span(Lifetimes::RESOLUTION)) } else { Span(lived).to_string() }
}

#[cfg(test)]
mod tests;
