//! The report of a recording as text.
//!
//! Owns: its sections and their order: the answer first. Must not know: how a recording is stored.

use std::io::{self, Write};
use std::time::Duration;

use model::Bytes;

use super::braille::Canvas;
use super::spark::spark;
use super::table::{self, Column, safe};
use super::{Paint, Text, machine, phrase};
use crate::html::chosen;
use crate::metrics;
use crate::plot::charts::{self, Chart, Line};
use crate::plot::pieces;
use crate::plot::scale::{self, Scale};
use crate::view::{Outcome, ProcessSeries, ProcessView, RecordingView, Series, Severity};

/// Rows of a plot without its axis; three plots fit a screen of usual height.
const PLOT_ROWS: usize = 8;
/// Plots in the report: the worst findings.
const PLOTS_MAX: usize = 3;
/// Width of the values beside a plot.
const AXIS: usize = 10;
/// Processes in the table; the other formats have all.
const PROCESSES_MAX: usize = 20;

/// The last value of one figure of a process.
fn last(row: &ProcessSeries, metric: &metrics::Metric) -> String {
    let last = row.series(metric).and_then(Series::last);
    last.map_or_else(|| phrase::MISSING.to_owned(), |last| scale::label(last, metric.unit))
}

/// The columns of the processes.
const PROCESSES: &[Column<ProcessSeries>] = &[
    Column { metric: &metrics::PID, least: None, dispensable: 0, cell: |row| row.identity.key.pid.to_string() },
    Column { metric: &metrics::COMMAND, least: Some(8), dispensable: 0, cell: |row| row.identity.command.clone() },
    Column {
        metric: &metrics::USER,
        least: Some(6),
        dispensable: 5,
        cell: |row| phrase::cell(row.identity.user.clone()),
    },
    Column { metric: &metrics::PRIVATE, least: None, dispensable: 0, cell: |row| last(row, &metrics::PRIVATE) },
    Column { metric: &metrics::RSS, least: None, dispensable: 3, cell: |row| last(row, &metrics::RSS) },
    Column { metric: &metrics::SWAP, least: None, dispensable: 6, cell: |row| last(row, &metrics::SWAP) },
    Column { metric: &metrics::DESCRIPTORS, least: None, dispensable: 4, cell: |row| last(row, &metrics::DESCRIPTORS) },
    Column {
        metric: &metrics::HISTORY,
        least: None,
        dispensable: 2,
        cell: |row| history(row.series(&metrics::PRIVATE)),
    },
];

/// The columns of the figures of the machine.
const SYSTEM: &[Column<Series>] = &[
    Column { metric: &metrics::FIGURE, least: Some(8), dispensable: 0, cell: name_of },
    Column { metric: &metrics::FIRST, least: None, dispensable: 2, cell: |row| end(row, row.points.iter()) },
    Column { metric: &metrics::LAST, least: None, dispensable: 0, cell: |row| end(row, row.points.iter().rev()) },
    Column { metric: &metrics::LEAST, least: None, dispensable: 3, cell: |row| extreme(row, |range| range.0) },
    Column { metric: &metrics::GREATEST, least: None, dispensable: 1, cell: |row| extreme(row, |range| range.1) },
    Column { metric: &metrics::CURVE, least: None, dispensable: 4, cell: |row| history(Some(row)) },
];

/// The whole report.
pub(super) fn report(text: Text, view: &RecordingView, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", table::cut(&safe(&phrase::recorded(view)), text.width.max(40)))?;
    findings(text, view, out)?;
    curves(text, view, out)?;
    section(text, "Machine", out)?;
    rows(text, SYSTEM, &view.system.iter().collect::<Vec<_>>(), out)?;
    balance(text, view, out)?;
    section(text, "Processes", out)?;
    let shown: Vec<&ProcessSeries> = view.processes.iter().take(PROCESSES_MAX).collect();
    rows(text, PROCESSES, &shown, out)?;
    if shown.len() < view.processes.len() {
        writeln!(out, "and {} more", phrase::count((view.processes.len() - shown.len()) as u64))?;
    }
    events(text, view, out)?;
    writeln!(out)?;
    for note in &view.notes {
        writeln!(out, "Note: {}", safe(note))?;
    }
    let paint = if view.outcome == Outcome::LeakFound { Paint::Bad } else { Paint::Plain };
    writeln!(out, "{}", text.painted(paint, machine::conclusion(view.outcome)))
}

/// Every chart as curves, one for each line of at most `lines` a chart.
pub(super) fn plots(text: Text, view: &RecordingView, lines: usize, out: &mut dyn Write) -> io::Result<()> {
    let charts = charts::of(view);
    if charts.is_empty() {
        return writeln!(out, "Nothing was recorded in this time.");
    }
    for chart in &charts {
        section(text, &safe(&chart.title), out)?;
        for line in chart.lines.iter().take(lines) {
            curve(text, view, chart, line, PLOT_ROWS).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        if chart.lines.len() > lines {
            writeln!(out, "and {} more", phrase::count((chart.lines.len() - lines) as u64))?;
        }
    }
    Ok(())
}

/// The first line of the first chart in a field of this many rows, for a screen that draws one process.
pub(super) fn first_curve(text: Text, view: &RecordingView, rows: usize) -> Vec<String> {
    let charts = charts::of(view);
    let first = charts.first().and_then(|chart| chart.lines.first().map(|line| (chart, line)));
    first.map_or_else(Vec::new, |(chart, line)| curve(text, view, chart, line, rows.max(1)))
}

/// `web (7)  private 264 MiB  rss 304 MiB`: who it is, and every figure of the first process that is known now.
pub(super) fn figures(view: &RecordingView) -> String {
    let Some(process) = view.processes.first() else { return String::new() };
    let known = process.series.iter().filter_map(|series| series.last().map(|last| (series.metric, last)));
    let words =
        known.map(|(metric, last)| format!("{} {}", metric.title.to_lowercase(), scale::label(last, metric.unit)));
    std::iter::once(safe(&process.label())).chain(words).collect::<Vec<_>>().join("  ")
}

fn section(text: Text, title: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{}", text.painted(Paint::Title, &table::cut(title, text.width.max(1))))
}

fn rows<Row>(text: Text, columns: &[Column<Row>], rows: &[&Row], out: &mut dyn Write) -> io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "not recorded");
    }
    table::lay_out(columns, rows, text.width).iter().try_for_each(|line| writeln!(out, "{line}"))
}

fn findings(text: Text, view: &RecordingView, out: &mut dyn Write) -> io::Result<()> {
    section(text, "Findings", out)?;
    if view.findings.is_empty() {
        return writeln!(out, "No process was found to grow in this time.");
    }
    let processes: Vec<&ProcessView> = view.findings.iter().map(|finding| &finding.process).collect();
    machine::write_table(text, machine::RANKING, &processes, out)?;
    for finding in &view.findings {
        let process = &finding.process;
        writeln!(
            out,
            "\n{} ({}): {}",
            process.identity.key.pid,
            safe(&process.identity.command),
            safe(&process.verdict)
        )?;
        writeln!(out, "  {}", safe(&phrase::finding(finding)))?;
        for reason in &process.reasons {
            writeln!(out, "  - {}", safe(reason))?;
        }
    }
    Ok(())
}

/// The curves of what was found, since a figure of growth does not tell a slope from a step.
fn curves(text: Text, view: &RecordingView, out: &mut dyn Write) -> io::Result<()> {
    let charts = charts::of(view);
    let Some(chart) = charts.first() else { return Ok(()) };
    let found = chart.lines.iter().filter(|line| matches!(line.severity, Severity::Leak | Severity::Suspect));
    for (index, line) in found.take(PLOTS_MAX).enumerate() {
        if index == 0 {
            section(text, &safe(&chart.title), out)?;
        }
        curve(text, view, chart, line, PLOT_ROWS).iter().try_for_each(|line| writeln!(out, "{line}"))?;
    }
    Ok(())
}

/// One line with its name, the ends of its values beside it and the ends of the time below it.
fn curve(text: Text, view: &RecordingView, chart: &Chart<'_>, line: &Line<'_>, rows: usize) -> Vec<String> {
    // Below ten columns a curve says nothing; beyond 400 (800 dots) there are more columns than a thinned series has points.
    let columns = text.width.saturating_sub(AXIS + 2).clamp(10, 400);
    let known = line.points.iter().filter_map(|point| point.value.known()).filter(|value| value.is_finite());
    let (least, greatest) = known.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    // Still the start of the fold: no value was known.
    if least > greatest {
        return vec![format!("{}: unknown", safe(&line.name))];
    }
    let (time, values) = (Scale::of_time(view.from, view.to), Scale::of_values((least, greatest), chart.unit, false));
    let mut canvas = Canvas::new(columns, rows);
    // Never across a gap: a line through it would claim values that nobody saw.
    for piece in pieces(line.points, view) {
        let places: Vec<_> = piece.iter().map(|(at, value)| (time.place(*at), values.place(*value))).collect();
        canvas.curve(&places);
    }
    let (low, high) = values.ends();
    let beside = |row: usize| match row {
        0 => scale::label(high, chart.unit),
        _ if row + 1 == rows => scale::label(low, chart.unit),
        _ => String::new(),
    };
    let mut lines = vec![text.painted(Paint::from(line.severity), &table::cut(&safe(&line.name), text.width.max(10)))];
    lines.extend(canvas.lines().iter().enumerate().map(|(row, drawn)| format!("{:>AXIS$} │{drawn}", beside(row))));
    let (from, to) = (view.from.to_string(), format!("{} UTC", view.to));
    let between = columns.saturating_sub(from.len() + to.len()).max(1);
    lines.push(table::cut(&format!("{:AXIS$} └{from}{:between$}{to}", "", ""), text.width.max(10)));
    lines
}

fn balance(text: Text, view: &RecordingView, out: &mut dyn Write) -> io::Result<()> {
    let Some(balance) = &view.balance else { return Ok(()) };
    section(text, "Closing balance", out)?;
    let total = ("MemTotal".to_owned(), phrase::detail(&balance.total));
    let rest = ("unexplained".to_owned(), phrase::detail(&balance.unexplained.map(phrase::signed)));
    let parts = balance.parts.iter().map(|(name, bytes)| (safe(name), phrase::detail(bytes)));
    for (name, value) in parts.chain([rest, total]) {
        writeln!(out, "{name:<20}{value:>12}")?;
    }
    Ok(())
}

fn events(text: Text, view: &RecordingView, out: &mut dyn Write) -> io::Result<()> {
    let shown = chosen(&view.events);
    if shown.is_empty() {
        return Ok(());
    }
    section(text, "Events", out)?;
    for event in &shown {
        let paint = if event.severe { Paint::Doubtful } else { Paint::Plain };
        writeln!(out, "{}  {}", event.at, text.painted(paint, &safe(&event.text)))?;
    }
    if shown.len() < view.events.len() {
        writeln!(out, "and {}", phrase::counted((view.events.len() - shown.len()) as u64, "further event"))?;
    }
    Ok(())
}

/// The last part of a name that several figures share, or the title of the metric.
fn name_of(row: &Series) -> String {
    let title = row.metric.title.to_lowercase();
    if row.subject.is_empty() { title } else { format!("{title} {}", row.subject) }
}

/// The first known value from one of the ends.
fn end<'a>(row: &Series, mut points: impl Iterator<Item = &'a crate::Point>) -> String {
    let value = points.find_map(|point| point.value.known());
    value.map_or_else(|| phrase::MISSING.to_owned(), |value| scale::label(value, row.metric.unit))
}

fn extreme(row: &Series, of: fn((f64, f64)) -> f64) -> String {
    row.range().map_or_else(|| phrase::MISSING.to_owned(), |range| scale::label(of(range), row.metric.unit))
}

/// A series as a line of bars. Missing values are passed over, since a bar of no height would be a zero; the curve has them.
fn history(series: Option<&Series>) -> String {
    // The bars need numbers that can be compared, not units; shares become millionths.
    let scale = if series.is_some_and(|series| series.metric.unit == metrics::Unit::Share) { 1e6 } else { 1.0 };
    let points = series.into_iter().flat_map(|series| &series.points);
    let known = points.filter_map(|point| point.value.known());
    let values: Vec<_> = known.map(|value| (Duration::ZERO, Bytes((value.max(0.0) * scale) as u64))).collect();
    spark(&values, 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    const TEXT: Text = Text { width: 60, colour: false };

    #[test]
    fn a_curve_has_its_ends_beside_it() {
        let view = samples::recording();
        let lines = first_curve(TEXT, &view, 4);
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[0], "billing-server (1234)");
        assert!(lines[1].starts_with(" 277.2 MiB │"), "{}", lines[1]);
        assert!(lines[4].starts_with("       0 B │"), "{}", lines[4]);
        assert!(lines[5].contains("2026-11-21 06:00:00") && lines[5].ends_with("08:00:00 UTC"), "{}", lines[5]);
    }

    #[test]
    fn the_gap_of_a_curve_is_empty() {
        let lines = first_curve(Text { width: 132, colour: false }, &samples::recording(), 1);
        let field: Vec<char> = lines[1].chars().skip(AXIS + 2).collect();
        assert_eq!(field[45], '⠀', "minute 45 of 120, in the gap");
        assert_ne!(field[20], '⠀');
        assert_ne!(field[100], '⠀');
    }

    #[test]
    fn an_empty_recording_is_said_to_be_empty() {
        let mut out = Vec::new();
        plots(TEXT, &RecordingView::default(), 3, &mut out).expect("a vector takes everything");
        assert_eq!(String::from_utf8_lossy(&out), "Nothing was recorded in this time.\n");
        assert!(first_curve(TEXT, &RecordingView::default(), 4).is_empty());
    }
}
