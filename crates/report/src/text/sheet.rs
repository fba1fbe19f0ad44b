//! Sheets and alerts as text.
//!
//! Owns: their lines. Must not know: what the columns mean.

use std::io::{self, Write};

use super::table::{self, safe};
use super::{Paint, Text, phrase};
use crate::Span;
use crate::view::{AlertView, Cell, SheetView, TableView};

/// Words may be cut to this width.
const LEAST: usize = 10;

/// All tables of a sheet.
pub(super) fn sheet(text: Text, view: &SheetView, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", text.painted(Paint::Title, &table::cut(&safe(&view.title), text.width.max(40))))?;
    for table in &view.tables {
        writeln!(out, "\n{}", text.painted(Paint::Title, &safe(&table.title)))?;
        lines(table, text.width).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        if table.left_out > 0 {
            writeln!(out, "and {} more", phrase::count(table.left_out))?;
        }
    }
    if !view.notes.is_empty() {
        writeln!(out)?;
    }
    view.notes.iter().try_for_each(|note| writeln!(out, "Note: {}", safe(note)))
}

/// One alert as one line: when, how much it matters, what, why, and what to do.
pub(super) fn alert(text: Text, view: &AlertView) -> String {
    let (rule, subject, evidence) = (safe(&view.rule), safe(&view.subject), safe(&view.evidence));
    if !view.raised {
        return format!("{}  over      {rule}  {subject}: {evidence}", view.at);
    }
    let paint = match view.severity {
        model::Severity::Notice => Paint::Plain,
        model::Severity::Warning => Paint::Doubtful,
        model::Severity::Critical => Paint::Bad,
    };
    let next = if view.next_command.is_empty() { String::new() } else { format!(" → {}", safe(&view.next_command)) };
    // The colour ends before the padding, so that nothing but the word is coloured.
    let weight = view.weight();
    let padding = " ".repeat(8_usize.saturating_sub(weight.len()));
    format!("{}  {}{padding}  {rule}  {subject}: {evidence}{next}", view.at, text.painted(paint, weight))
}

fn lines(table: &TableView, width: usize) -> Vec<String> {
    if table.rows.is_empty() {
        return vec!["none".to_owned()];
    }
    let final_column = table.columns.len().saturating_sub(1);
    let column = |(index, metric): (usize, &&'static crate::metrics::Metric)| {
        let cells = table.rows.iter().filter_map(|row| row.get(index)).map(written).collect();
        // The first two name the row and the last says what it is; of the others the right ones go first.
        let dispensable = if index < 2 || index == final_column { 0 } else { u8::try_from(index).unwrap_or(u8::MAX) };
        let least = (!metric.is_number()).then_some(LEAST);
        table::Written { metric, least, dispensable, cells }
    };
    table::lay_out_cells(&table.columns.iter().enumerate().map(column).collect::<Vec<_>>(), width)
}

fn written(cell: &Cell) -> String {
    match cell {
        Cell::Text(reading) => phrase::cell(reading.clone()),
        Cell::Bytes(reading) => phrase::cell(*reading),
        Cell::Change(reading) => phrase::cell(reading.map(phrase::per_hour)),
        // The kernel's word for no limit is the greatest number.
        Cell::Count(model::Reading::Known(u64::MAX)) => "unlimited".to_owned(),
        Cell::Count(reading) => phrase::cell(reading.map(|count| count.to_string())),
        Cell::Share(reading) => phrase::cell(reading.map(|share| format!("{:.1} %", share * 100.0))),
        Cell::Span(reading) => phrase::cell(reading.map(Span)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{WallTime, metrics, samples};
    use model::{Bytes, Reading, Severity, Why};

    #[track_caller]
    fn check(cell: &Cell, expected: &str) {
        assert_eq!(written(cell), expected);
    }

    #[test]
    fn cells_have_their_units() {
        check(&Cell::text("a"), "a");
        check(&Cell::Bytes(Reading::Known(Bytes(1536))), "1.50 KiB");
        check(&Cell::Change(Reading::Known(-1536)), "-1.50 KiB");
        check(&Cell::count(1_234), "1234");
        check(&Cell::count(u64::MAX), "unlimited");
        check(&Cell::Share(Reading::Known(0.003)), "0.3 %");
        check(&Cell::Span(Reading::Known(samples::seconds(5.0))), "5.00 s");
        check(&Cell::Bytes(Reading::Missing(Why::ProcessGone)), "?");
    }

    #[test]
    fn a_table_fits_and_says_when_it_is_empty() {
        let mut table = TableView::new("t", "T", &[&metrics::ADDRESS, &metrics::SIZE, &metrics::RSS, &metrics::PATH]);
        assert_eq!(lines(&table, 80), ["none"]);
        let size = Cell::Bytes(Reading::Known(Bytes(4096)));
        table.row(vec![Cell::text("7f00"), size.clone(), size, Cell::text("/usr/lib/libc.so.6")]);
        assert_eq!(lines(&table, 80)[1], "7f00     4.00 KiB  4.00 KiB  /usr/lib/libc.so.6");
        assert_eq!(lines(&table, 28)[1], "7f00     4.00 KiB  /usr/lib/…");
    }

    #[track_caller]
    fn check_alert(severity: Severity, raised: bool, colour: bool, expected: &str) {
        let view = AlertView { severity, raised, ..samples::alert() };
        assert_eq!(alert(Text { width: 80, colour }, &view), expected);
    }

    #[test]
    fn an_alert_is_one_line_with_its_next_command() {
        check_alert(
            Severity::Warning,
            true,
            false,
            "2026-11-21 06:05:00  warning   growth  web\\n (7): +10 % in 1 h → leakline attach 7",
        );
        check_alert(
            Severity::Critical,
            true,
            true,
            "2026-11-21 06:05:00  \x1b[1;31mcritical\x1b[0m  growth  web\\n (7): +10 % in 1 h → leakline attach 7",
        );
        check_alert(Severity::Notice, false, false, "2026-11-21 06:05:00  over      growth  web\\n (7): +10 % in 1 h");
        let silent = AlertView { at: WallTime(0), next_command: String::new(), ..samples::alert() };
        assert!(!alert(Text { width: 80, colour: false }, &silent).contains('→'));
    }
}
