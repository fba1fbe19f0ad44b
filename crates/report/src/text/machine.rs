//! The ranking of processes as text.
//!
//! Owns: its columns and wording. Must not know: how growth is judged.

use std::io::{self, Write};
use std::time::Duration;

use model::Bytes;

use super::table::{self, Column, safe};
use super::{Paint, Text, phrase};
use crate::{HuntView, Outcome, ProcessView, Severity, Span, metrics};

/// The history column has this many characters.
const SPARK_WIDTH: usize = 16;

const PID: Column<ProcessView> =
    Column { metric: &metrics::PID, least: None, dispensable: 0, cell: |row| row.identity.key.pid.to_string() };
const COMMAND: Column<ProcessView> =
    Column { metric: &metrics::COMMAND, least: Some(8), dispensable: 0, cell: |row| row.identity.command.clone() };
const USER: Column<ProcessView> = Column {
    metric: &metrics::USER,
    least: Some(6),
    dispensable: 4,
    cell: |row| phrase::cell(row.identity.user.clone()),
};
const PLACE: Column<ProcessView> = Column { metric: &metrics::PLACE, least: Some(8), dispensable: 9, cell: place };
const RSS: Column<ProcessView> =
    Column { metric: &metrics::RSS, least: None, dispensable: 0, cell: |row| phrase::cell(row.memory.rss()) };
const ANON: Column<ProcessView> =
    Column { metric: &metrics::ANON, least: None, dispensable: 6, cell: |row| phrase::cell(row.memory.anon) };
const SWAP: Column<ProcessView> =
    Column { metric: &metrics::SWAP, least: None, dispensable: 7, cell: |row| phrase::cell(row.memory.swap) };
const GROWTH: Column<ProcessView> = Column {
    metric: &metrics::GROWTH,
    least: None,
    dispensable: 0,
    cell: |row| phrase::cell(row.growth.map(|rate| phrase::per_hour(rate.per_hour))),
};
const RECENT: Column<ProcessView> = Column {
    metric: &metrics::RECENT,
    least: None,
    dispensable: 0,
    cell: |row| phrase::cell(row.recent.map(phrase::per_hour)),
};
const INTERVAL: Column<ProcessView> = Column {
    metric: &metrics::INTERVAL,
    least: None,
    dispensable: 8,
    cell: |row| phrase::cell(row.growth.map(|rate| phrase::interval(&rate))),
};
const KIND: Column<ProcessView> =
    Column { metric: &metrics::KIND, least: None, dispensable: 3, cell: |row| row.kind.clone() };
const CONFIDENCE: Column<ProcessView> = Column {
    metric: &metrics::CONFIDENCE,
    least: None,
    dispensable: 5,
    cell: |row| phrase::cell(row.confidence.map(phrase::percent)),
};
const EXHAUSTION: Column<ProcessView> = Column {
    metric: &metrics::EXHAUSTION,
    least: None,
    dispensable: 2,
    cell: |row| phrase::cell(row.exhaustion.map(|exhaustion| Span(exhaustion.after))),
};
const VERDICT: Column<ProcessView> =
    Column { metric: &metrics::VERDICT, least: Some(8), dispensable: 1, cell: |row| row.verdict.clone() };
const HISTORY: Column<ProcessView> =
    Column { metric: &metrics::HISTORY, least: None, dispensable: 3, cell: |row| spark(&row.history, SPARK_WIDTH) };

/// The columns of `hunt`.
const RANKING: &[Column<ProcessView>] =
    &[PID, COMMAND, USER, PLACE, RSS, GROWTH, INTERVAL, KIND, CONFIDENCE, EXHAUSTION, VERDICT];

/// The columns of `watch` on a terminal.
pub(super) const LIVE: &[Column<ProcessView>] =
    &[PID, COMMAND, USER, PLACE, RSS, ANON, SWAP, RECENT, KIND, HISTORY, VERDICT];

/// The columns of `watch --plain`.
const PLAIN: &[Column<ProcessView>] = &[PID, COMMAND, USER, PLACE, RSS, ANON, SWAP, RECENT, KIND, VERDICT];

pub(super) fn progress(text: Text, view: &HuntView) -> String {
    let machine = &view.machine;
    let of = machine.planned.map_or_else(String::new, |planned| format!(" of {}", Span(planned)));
    let growing = view.processes.iter().filter(|row| is_remarkable(row)).count() as u64;
    let line = format!(
        "watching {}: {}{of}, {}, {} so far",
        phrase::counted(machine.processes, "process"),
        Span(machine.window),
        phrase::counted(machine.beats, "sample"),
        if growing == 0 { "none grows".to_owned() } else { format!("{} to look at", phrase::count(growing)) },
    );
    table::cut(&line, text.width)
}

pub(super) fn hunt(text: Text, view: &HuntView, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", watched(view))?;
    let rows: Vec<&ProcessView> = view.processes.iter().filter(|row| is_remarkable(row)).collect();
    if !rows.is_empty() {
        writeln!(out)?;
        write_table(text, RANKING, &rows, out)?;
        write_reasons(&rows, out)?;
    }
    writeln!(out)?;
    for note in &view.notes {
        writeln!(out, "Note: {}", safe(note))?;
    }
    let paint = if view.outcome == Outcome::LeakFound { Paint::Bad } else { Paint::Plain };
    writeln!(out, "{}", text.painted(paint, conclusion(view.outcome)))
}

pub(super) fn beat(text: Text, view: &HuntView, rows: usize, out: &mut dyn Write) -> io::Result<()> {
    let shown: Vec<&ProcessView> = view.processes.iter().take(rows).collect();
    writeln!(out, "{}", watched(view))?;
    write_table(text, PLAIN, &shown, out)?;
    let left_out = view.processes.len() - shown.len();
    if left_out > 0 {
        writeln!(out, "and {} more", phrase::count(left_out as u64))?;
    }
    for note in &view.notes {
        writeln!(out, "Note: {}", safe(note))?;
    }
    writeln!(out)
}

pub(super) fn process_facts(view: &ProcessView) -> Vec<String> {
    let (identity, memory) = (&view.identity, &view.memory);
    let container = identity.container.as_deref().map_or_else(String::new, |id| format!(", container {id}"));
    let mut facts = vec![
        format!("{} ({})  user {}", identity.key.pid, identity.command, phrase::detail(&identity.user)),
        format!("arguments  {}", identity.arguments),
        format!("cgroup     {}{container}", phrase::detail(&identity.cgroup)),
        format!("rss        {:>10}", phrase::detail(&memory.rss())),
        format!("  anon     {:>10}", phrase::detail(&memory.anon)),
        format!("  file     {:>10}", phrase::detail(&memory.file)),
        format!("  shmem    {:>10}", phrase::detail(&memory.shmem)),
        format!("swap       {:>10}", phrase::detail(&memory.swap)),
        format!("tables     {:>10}", phrase::detail(&memory.page_tables)),
        format!("threads    {:>10}", phrase::detail(&memory.threads)),
        format!("growth     {}", phrase::rate(&view.growth)),
        format!("now        {} per hour", phrase::detail(&view.recent.map(phrase::per_hour))),
        format!("full       {}", phrase::exhaustion(&view.exhaustion)),
        format!("verdict    {}", view.verdict),
    ];
    facts.extend(view.reasons.iter().map(|reason| format!("           {reason}")));
    facts.iter().map(|fact| safe(fact)).collect()
}

/// A line of bars, one a stretch of time, scaled between the least and the greatest figure.
fn spark(history: &[(Duration, Bytes)], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let tail = &history[history.len().saturating_sub(width * history.len().div_ceil(width).max(1))..];
    let stretch = tail.len().div_ceil(width).max(1);
    let last_of = |points: &[(Duration, Bytes)]| points.last().map_or(0, |(_, bytes)| bytes.0);
    let figures: Vec<u64> = tail.chunks(stretch).map(last_of).collect();
    let (least, greatest) =
        figures.iter().fold((u64::MAX, 0), |(low, high), &figure| (low.min(figure), high.max(figure)));
    let range = greatest.saturating_sub(least);
    // A flat line stays at the bottom: the noise of a few pages would otherwise look like a mountain range.
    let noise = greatest / 200;
    let bar = |figure: u64| {
        let height = u128::from(figure - least) * (BARS.len() as u128 - 1) / u128::from(range.max(noise).max(1));
        BARS[height as usize]
    };
    let bars: String = figures.iter().map(|&figure| bar(figure)).collect();
    debug_assert!(figures.len() <= width, "the history is wider than its column");
    bars
}

/// The container, or the last part of the cgroup, which is the name of the service.
fn place(row: &ProcessView) -> String {
    if let Some(container) = &row.identity.container {
        return container.clone();
    }
    let last = |path: String| path.rsplit('/').find(|part| !part.is_empty()).unwrap_or("/").to_owned();
    phrase::cell(row.identity.cgroup.clone().map(last))
}

fn is_remarkable(row: &ProcessView) -> bool {
    matches!(row.severity, Severity::Leak | Severity::Suspect)
}

fn watched(view: &HuntView) -> String {
    let machine = &view.machine;
    let vanished = match machine.vanished {
        0 => String::new(),
        vanished => format!("; {} vanished meanwhile", phrase::count(vanished)),
    };
    format!(
        "Watched {} for {} ({}){vanished}. Memory available: {} of {}.",
        phrase::counted(machine.processes, "process"),
        Span(machine.window),
        phrase::counted(machine.beats, "sample"),
        phrase::detail(&machine.memory_available),
        phrase::detail(&machine.memory_total),
    )
}

fn write_table(
    text: Text,
    columns: &[Column<ProcessView>],
    rows: &[&ProcessView],
    out: &mut dyn Write,
) -> io::Result<()> {
    let lines = table::lay_out(columns, rows, text.width);
    let paints = std::iter::once(Paint::Title).chain(rows.iter().map(|row| Paint::from(row.severity)));
    for (line, paint) in lines.iter().zip(paints) {
        writeln!(out, "{}", text.painted(paint, line))?;
    }
    Ok(())
}

fn write_reasons(rows: &[&ProcessView], out: &mut dyn Write) -> io::Result<()> {
    for row in rows.iter().filter(|row| !row.reasons.is_empty()) {
        writeln!(out)?;
        writeln!(out, "{} ({}): {}", row.identity.key.pid, safe(&row.identity.command), safe(&row.verdict))?;
        for reason in &row.reasons {
            writeln!(out, "  - {}", safe(reason))?;
        }
    }
    Ok(())
}

const fn conclusion(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NothingFound => "Nothing found: no process grows as a leak does.",
        Outcome::LeakFound => "Leak found.",
        Outcome::CouldNotJudge => {
            "Could not judge: what was seen is not enough to say that something leaks or that nothing does."
        }
        Outcome::Blind => "Blind: the hooks never fired, so nothing can be said about leaks.",
    }
}
