//! Sheets and alerts as text.
//!
//! Owns: their lines. Must not know: what the columns mean.

use std::io::{self, Write};

use model::{Reading, Why};
use unicode_width::UnicodeWidthStr;

use super::table::{self, safe};
use super::{Paint, Text, phrase};
use crate::Span;
use crate::metrics::{self, Metric};
use crate::view::{AlertView, Cell, SheetView, TableView};

/// Words may be cut to this width.
const LEAST: usize = 10;
/// A fact up to this width shares its line with others, with a gap between them.
const SHORT: usize = 14;
const GAP: usize = 3;

/// All tables of a sheet.
pub(super) fn sheet(text: Text, view: &SheetView, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", text.painted(Paint::Title, &table::cut(&safe(&view.title), text.width.max(40))))?;
    for table in &view.tables {
        writeln!(out, "\n{}", text.painted(Paint::Title, &safe(&table.title)))?;
        let lines = if table.facts { facts(table, text.width) } else { lines(table, text.width) };
        lines.iter().chain(&reasons(table)).try_for_each(|line| writeln!(out, "{line}"))?;
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

/// Why figures are missing, once for each reason, with the columns in which it stands. A cell has space for `?` alone; a reason in each
/// would push the figures off the screen that are known.
fn reasons(table: &TableView) -> Vec<String> {
    let mut reasons: Vec<(Why, Vec<&str>)> = Vec::new();
    for (metric, why) in table.rows.iter().flat_map(|row| table.columns.iter().zip(row)).filter_map(missing) {
        let at = reasons.iter().position(|(known, _)| *known == why).unwrap_or(reasons.len());
        if at == reasons.len() {
            reasons.push((why, Vec::new()));
        }
        if !reasons[at].1.contains(&metric) {
            reasons[at].1.push(metric);
        }
    }
    reasons.into_iter().map(|(why, titles)| format!("? {}: {why}", titles.join(", "))).collect()
}

fn missing<'a>((metric, cell): (&&'a Metric, &Cell)) -> Option<(&'a str, Why)> {
    let why = match cell {
        Cell::Text(reading) => why(reading),
        Cell::Bytes(reading) => why(reading),
        Cell::Count(reading) => why(reading),
        Cell::Change(reading) | Cell::CountChange(reading) => why(reading),
        Cell::Share(reading) => why(reading),
        Cell::Span(reading) => why(reading),
    };
    Some((metric.title, why?))
}

const fn why<T>(reading: &Reading<T>) -> Option<Why> {
    match reading {
        Reading::Known(_) => None,
        Reading::Missing(why) => Some(*why),
    }
}

/// Facts side by side, in as many columns as fit; a long one has a line of its own.
fn facts(table: &TableView, width: usize) -> Vec<String> {
    let cells = table.rows.first().into_iter().flatten();
    let facts = table.columns.iter().zip(cells).map(|(metric, cell)| (metric.title, safe(&written(cell))));
    let (short, long): (Vec<_>, Vec<_>) = facts.partition(|(_, fact)| fact.width() <= SHORT);
    let titles = short.iter().chain(&long).map(|(title, _)| title.width()).max().unwrap_or(0);
    // Title, two spaces, fact and gap make a column; the last needs no gap, which is why the width gains one.
    let columns = ((width + GAP) / (titles + 2 + SHORT + GAP)).max(1);
    // Read downwards, as the facts follow each other.
    let height = short.len().div_ceil(columns);
    let pair = |(title, fact): &(&str, String)| format!("{}  {}", pad(title, titles), pad(fact, SHORT + GAP));
    let row = |row: usize| short.iter().skip(row).step_by(height).map(pair).collect::<String>();
    let alone = |(title, fact): &(&str, String)| table::cut(&format!("{}  {fact}", pad(title, titles)), width.max(40));
    let lines = (0..height).map(row).map(|line| line.trim_end().to_owned());
    long.iter().map(alone).chain(lines).collect()
}

/// Padded by what is seen: `format!` counts characters.
fn pad(text: &str, width: usize) -> String {
    let padding = " ".repeat(width.saturating_sub(text.width()));
    format!("{text}{padding}")
}

fn lines(table: &TableView, width: usize) -> Vec<String> {
    // "none" would be a finding; that it could not be read is another.
    if let Some(why) = table.missing {
        return vec![format!("unknown: {why}")];
    }
    if table.rows.is_empty() {
        return vec!["none".to_owned()];
    }
    let final_column = table.columns.len().saturating_sub(1);
    let column = |(index, metric): (usize, &&'static Metric)| {
        let cells = table.rows.iter().filter_map(|row| row.get(index)).map(written).collect();
        // The first two name the row and the last says what it is; of the others the right ones go first.
        let dispensable = if index < 2 || index == final_column { 0 } else { u8::try_from(index).unwrap_or(u8::MAX) };
        // An address that is cut is another address.
        let is_whole = metric.is_number() || metric.key == metrics::ADDRESS.key;
        let least = (!is_whole).then_some(LEAST);
        table::Written { metric, least, dispensable, cells }
    };
    table::lay_out_cells(&table.columns.iter().enumerate().map(column).collect::<Vec<_>>(), width)
}

fn written(cell: &Cell) -> String {
    match cell {
        Cell::Text(reading) => phrase::cell(reading.clone()),
        // The kernel's word for no limit is the greatest number.
        Cell::Count(Reading::Known(u64::MAX)) | Cell::Bytes(Reading::Known(model::Bytes(u64::MAX))) => {
            "unlimited".to_owned()
        }
        Cell::Bytes(reading) => phrase::cell(*reading),
        Cell::Change(reading) => phrase::cell(reading.map(phrase::per_hour)),
        Cell::Count(reading) => phrase::cell(reading.map(|count| count.to_string())),
        Cell::CountChange(reading) => phrase::cell(reading.map(|change| format!("{change:+}"))),
        Cell::Share(reading) => phrase::cell(reading.map(|share| format!("{:.1} %", share * 100.0))),
        Cell::Span(reading) => phrase::cell(reading.map(Span)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{WallTime, samples};
    use model::{Bytes, Severity};

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
        check(&Cell::Bytes(Reading::Known(Bytes(u64::MAX))), "unlimited");
        check(&Cell::CountChange(Reading::Known(3)), "+3");
        check(&Cell::CountChange(Reading::Known(-3)), "-3");
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

    #[test]
    fn facts_stand_side_by_side_and_long_ones_alone() {
        let size = || Cell::Bytes(Reading::Known(Bytes(4096)));
        let facts = [
            (&metrics::SIZE, size()),
            (&metrics::RSS, size()),
            (&metrics::PSS, Cell::Bytes(Reading::Missing(Why::NotOffered))),
            (&metrics::ARGUMENTS, Cell::text("a rather long command line")),
        ];
        let table = TableView::facts("t", "T", facts);
        let wide =
            "ARGUMENTS  a rather long command line\nSIZE       4.00 KiB         PSS        ?\nRSS        4.00 KiB";
        assert_eq!(facts_of(&table, 60), wide);
        let narrow = "ARGUMENTS  a rather long command line\nSIZE       4.00 KiB\nRSS        4.00 KiB\nPSS        ?";
        assert_eq!(facts_of(&table, 40), narrow);
        assert_eq!(reasons(&table), ["? PSS: not offered by this kernel"]);
    }

    fn facts_of(table: &TableView, width: usize) -> String {
        facts(table, width).join("\n")
    }

    #[test]
    fn what_is_missing_as_a_whole_is_not_none() {
        let table = TableView::new("t", "T", &[&metrics::SIZE]);
        let missing = TableView { missing: Some(Why::NotPermitted { needs: "root" }), ..table };
        assert_eq!(lines(&missing, 80), ["unknown: not permitted (needs root)"]);
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
