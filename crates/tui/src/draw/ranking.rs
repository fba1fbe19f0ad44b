//! The live ranking.
//!
//! Owns: its layout. Must not know: how rows are chosen and sorted.

use report::{AlertView, HuntView, ProcessView, Span};

use super::canvas::{Canvas, Tone};
use crate::screen::Screen;
use crate::state::{self, Ranking};

/// Columns before the second line of an alert.
const INDENT: usize = 4;

/// Title, alerts, order, notes, table.
pub(super) fn draw(canvas: &mut Canvas<'_>, screen: &Screen) {
    let Some(view) = &screen.machine else {
        canvas.top(Tone::Title, "leakline watch");
        canvas.top(Tone::Plain, "waiting for the first sample");
        return;
    };
    let ranking = &screen.ranking;
    let rows = ranking.rows(view);
    canvas.top(Tone::Title, &title(view));
    alerts(canvas, &screen.alerts);
    canvas.top(Tone::Faint, &order(ranking, rows.len(), view));
    for note in &view.notes {
        canvas.top(Tone::Doubtful, note);
    }
    if rows.is_empty() {
        canvas.top(Tone::Plain, "no process to show");
        return;
    }
    table(canvas, ranking, &rows);
}

/// The latest alerts first, in at most a third of the screen: the table is what there is to act on.
fn alerts(canvas: &mut Canvas<'_>, alerts: &[AlertView]) {
    let space = canvas.height() / 3;
    let mut used = 0;
    for (shown, alert) in alerts.iter().rev().enumerate() {
        let line = canvas.text().alert(alert);
        used += canvas.broken(&line, INDENT).count();
        if used > space {
            canvas.top(Tone::Doubtful, &format!("{} more alerts", alerts.len() - shown));
            return;
        }
        let tone = if alert.severity == model::Severity::Critical { Tone::Bad } else { Tone::Doubtful };
        canvas.wrapped(tone, &line, INDENT);
    }
}

/// The same where there is space for one line only.
pub(super) fn alerts_elsewhere(alerts: &[AlertView]) -> String {
    let latest = alerts.last().map_or_else(String::new, |alert| format!("{}: {}", alert.rule, alert.evidence));
    match alerts.len() {
        1 => format!("alert  {latest}"),
        count => format!("{count} alerts, the latest: {latest}"),
    }
}

/// How much is watched, and how much memory is left on the machine.
fn title(view: &HuntView) -> String {
    let machine = &view.machine;
    let available = machine.memory_available.known().map_or_else(|| "?".to_owned(), |bytes| bytes.to_string());
    format!(
        "leakline watch  {} processes  {}  {} samples  {available} available",
        machine.processes,
        Span(machine.window),
        machine.beats,
    )
}

/// What the rows are sorted by and which of them are listed: a filter that is forgotten must not hide a leak.
fn order(ranking: &Ranking, shown: usize, view: &HuntView) -> String {
    let reversed = if ranking.reversed { ", reversed" } else { "" };
    // The cursor of the terminal is hidden, so the filter has one of its own.
    let cursor = if ranking.typing { "▏" } else { "" };
    let filter = if ranking.typing || !ranking.filter.is_empty() {
        format!("  filter: {}{cursor}  {shown} of {}", ranking.filter, view.processes.len())
    } else {
        String::new()
    };
    format!("sorted by {}{reversed}{filter}", ranking.order.title())
}

/// Only the rows on the screen are laid out: a machine may have thousands of processes.
fn table(canvas: &mut Canvas<'_>, ranking: &Ranking, rows: &[&ProcessView]) {
    let selected = ranking.selection.index(&state::keys(rows)).unwrap_or(0);
    let space = canvas.height().saturating_sub(1).max(1);
    // By pages and not by lines: the screen needs no memory of where it was, and the rows stand still while the
    // selection moves.
    let first = selected - selected % space;
    let shown = &rows[first..rows.len().min(first + space)];
    debug_assert!(shown.len() <= space, "more rows than space");
    let lines = canvas.text().process_table(shown);
    let Some((titles, lines)) = lines.split_first() else { return };
    canvas.top(Tone::Title, titles);
    for ((line, row), index) in lines.iter().zip(shown).zip(first..) {
        let tone = Tone::from(row.severity);
        canvas.row(tone, line, index == selected);
    }
}

#[cfg(test)]
mod tests {
    use model::{Reading, Why};

    use super::*;
    use crate::samples;

    #[track_caller]
    fn check(letters: &str, filter: &str, typing: bool, expected: &str) {
        let mut ranking = Ranking { filter: filter.to_owned(), typing, ..Ranking::default() };
        letters.chars().for_each(|letter| ranking.sort_by_letter(letter));
        assert_eq!(order(&ranking, 2, &samples::hunt()), expected);
    }

    #[test]
    fn order_and_filter_are_always_said() {
        check("", "", false, "sorted by VERDICT");
        check("G", "", false, "sorted by NOW/H");
        check("RR", "", false, "sorted by RSS, reversed");
        check("N", "web", false, "sorted by COMMAND  filter: web  2 of 3");
        check("P", "", true, "sorted by PID  filter: ▏  2 of 3");
        check("W", "x", true, "sorted by SWAP  filter: x▏  2 of 3");
    }

    #[test]
    fn the_title_says_what_is_left_of_the_machine() {
        let mut view = samples::hunt();
        assert_eq!(title(&view), "leakline watch  312 processes  1 min 00 s  61 samples  9.00 GiB available");
        view.machine.memory_available = Reading::Missing(Why::NotOffered);
        assert!(title(&view).ends_with("  ? available"), "{}", title(&view));
    }
}
