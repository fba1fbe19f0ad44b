//! Tables that fit a width.
//!
//! Owns: which columns stay when space is short, and how wide each is. Must not know: what the columns mean.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::metrics::Metric;

/// Two columns are this far apart.
const GAP: usize = 2;

/// One column of a table whose rows are of type `Row`.
pub(super) struct Column<Row> {
    /// What it shows; gives the title and the alignment.
    pub(super) metric: &'static Metric,
    /// It may be cut to this width; numbers are never cut, since a cut number is another number.
    pub(super) least: Option<usize>,
    /// Columns with a greater figure are left out first when space is short; those with 0 stay.
    pub(super) dispensable: u8,
    /// The text of one row.
    pub(super) cell: fn(&Row) -> String,
}

/// A column with its cells; the fields mean what they mean in [`Column`].
pub(super) struct Written {
    pub(super) metric: &'static Metric,
    pub(super) least: Option<usize>,
    pub(super) dispensable: u8,
    pub(super) cells: Vec<String>,
}

/// A column that has been measured.
struct Filled {
    cells: Vec<String>,
    right: bool,
    width: usize,
    least: usize,
    dispensable: u8,
}

/// The table as lines, titles first, none wider than `width` as long as the columns that must stay fit.
pub(super) fn lay_out<Row>(columns: &[Column<Row>], rows: &[&Row], width: usize) -> Vec<String> {
    let cells = |column: &Column<Row>| Written {
        metric: column.metric,
        least: column.least,
        dispensable: column.dispensable,
        cells: rows.iter().map(|row| (column.cell)(row)).collect(),
    };
    lay_out_cells(&columns.iter().map(cells).collect::<Vec<_>>(), width)
}

/// The same for columns whose cells are written already; all have the same number of them.
pub(super) fn lay_out_cells(columns: &[Written], width: usize) -> Vec<String> {
    let rows = columns.first().map_or(0, |column| column.cells.len());
    debug_assert!(columns.iter().all(|column| column.cells.len() == rows), "a cell for each row");
    let mut filled: Vec<Filled> = columns.iter().map(fill).collect();
    // Columns are left out only where cutting words does not help.
    while least_width(&filled) > width {
        let Some(victim) = most_dispensable(&filled) else { break };
        filled.remove(victim);
    }
    shrink(&mut filled, width);
    let lines: Vec<String> = (0..=rows).map(|row| line(&filled, row)).collect();
    debug_assert_eq!(lines.len(), rows + 1, "one line a row and one for the titles");
    lines
}

/// The text with everything escaped that could move the cursor, reorder the line or hide in it.
pub(super) fn safe(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for character in text.chars() {
        if model::is_harmful(character) {
            written.extend(character.escape_default());
        } else {
            written.push(character);
        }
    }
    written
}

/// The text cut to a width in columns; what was cut is marked by `…`.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    // One column is kept for the mark.
    let mut used = 1;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > width {
            break;
        }
        kept.push(character);
    }
    // A text may be wider than its characters: `☺` is one column and `☺` with the selector U+FE0F, which has none, is two.
    while kept.width() >= width.max(1) {
        kept.pop();
    }
    if width > 0 {
        kept.push('…');
    }
    debug_assert!(kept.width() <= width, "{kept} is wider than {width}");
    kept
}

/// All cells of one column and how wide they are. Texts are made safe before they are measured, since escapes are wider.
fn fill(column: &Written) -> Filled {
    let cells = column.cells.iter().map(|cell| safe(cell));
    let cells: Vec<String> = std::iter::once(column.metric.title.to_owned()).chain(cells).collect();
    let width = cells.iter().map(|cell| cell.width()).max().unwrap_or(0);
    let least = column.least.unwrap_or(width).min(width);
    Filled { cells, right: column.metric.is_number(), width, least, dispensable: column.dispensable }
}

/// The width of the table when everything is cut that may be cut.
fn least_width(columns: &[Filled]) -> usize {
    gaps(columns) + columns.iter().map(|column| column.least).sum::<usize>()
}

/// What stands between the columns.
fn gaps(columns: &[Filled]) -> usize {
    columns.len().saturating_sub(1) * GAP
}

/// The column to leave out next: the most dispensable, of two the right one.
fn most_dispensable(columns: &[Filled]) -> Option<usize> {
    let order = |&(index, column): &(usize, &Filled)| (column.dispensable, index);
    let (index, column) = columns.iter().enumerate().max_by_key(order)?;
    (column.dispensable > 0).then_some(index)
}

/// Takes from the columns that may be cut, always from the widest, until all fit: a name of eight letters stays whole beside a path of
/// eighty. One column at a time is slow only for widths that no terminal has.
fn shrink(columns: &mut [Filled], width: usize) {
    let mut excess = (gaps(columns) + columns.iter().map(|column| column.width).sum::<usize>()).saturating_sub(width);
    while excess > 0 {
        let shrinkable = columns.iter_mut().filter(|column| column.width > column.least);
        let Some(widest) = shrinkable.max_by_key(|column| column.width) else { return };
        widest.width -= 1;
        excess -= 1;
    }
}

/// One line of the table. Spaces at its end are left out, so that a copied table has none.
fn line(columns: &[Filled], row: usize) -> String {
    let mut line = String::new();
    for column in columns {
        if !line.is_empty() {
            line.extend(std::iter::repeat_n(' ', GAP));
        }
        let cell = cut(&column.cells[row], column.width);
        debug_assert!(cell.width() <= column.width, "a cell stays within its column");
        let padding = std::iter::repeat_n(' ', column.width - cell.width());
        if column.right {
            line.extend(padding);
            line.push_str(&cell);
        } else {
            line.push_str(&cell);
            line.extend(padding);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;

    type Row = (&'static str, u32);

    const COLUMNS: &[Column<Row>] = &[
        Column { metric: &metrics::PID, least: None, dispensable: 0, cell: |row| row.1.to_string() },
        Column { metric: &metrics::COMMAND, least: Some(4), dispensable: 0, cell: |row| row.0.to_owned() },
        Column { metric: &metrics::RSS, least: None, dispensable: 1, cell: |_| "1.50 MiB".to_owned() },
    ];

    #[track_caller]
    fn check(width: usize, rows: &[Row], expected: &str) {
        let rows: Vec<&Row> = rows.iter().collect();
        assert_eq!(lay_out(COLUMNS, &rows, width).join("\n"), expected.trim_start_matches('\n'));
    }

    #[test]
    fn numbers_go_right_and_words_left() {
        check(
            80,
            &[("a", 1), ("long name", 22_222)],
            "
  PID  COMMAND         RSS
    1  a          1.50 MiB
22222  long name  1.50 MiB",
        );
    }

    #[test]
    fn words_are_cut_before_a_column_goes() {
        check(
            21,
            &[("a rather long name", 1)],
            "
PID  COMMA…       RSS
  1  a rat…  1.50 MiB",
        );
    }

    #[test]
    fn the_dispensable_column_goes_when_nothing_else_helps() {
        check(
            18,
            &[("a rather long name", 1)],
            "
PID  COMMAND
  1  a rather lon…",
        );
    }

    #[test]
    fn what_must_stay_stays_even_if_it_does_not_fit() {
        check(
            0,
            &[("name", 4_000_000)],
            "
    PID  COM…
4000000  name",
        );
    }

    #[test]
    fn wide_characters_count_twice() {
        check(
            80,
            &[("日本", 1), ("x", 2)],
            "
PID  COMMAND       RSS
  1  日本     1.50 MiB
  2  x        1.50 MiB",
        );
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("日本語", 0), "");
    }

    #[test]
    fn characters_that_are_wider_together_stay_in_their_column() {
        let smiles = "\u{263a}\u{fe0f}".repeat(9);
        for width in 0..20 {
            assert!(cut(&smiles, width).width() <= width, "{width}");
            assert!(cut(&format!("ab{smiles}"), width).width() <= width, "{width}");
        }
        let rows = [(&*smiles.leak(), 1)];
        let rows: Vec<&Row> = rows.iter().collect();
        for width in 0..60 {
            assert_eq!(lay_out(COLUMNS, &rows, width).len(), 2, "{width}");
        }
    }

    #[test]
    fn nothing_in_a_name_can_move_the_cursor() {
        let expected = "PID  COMMAND                      RSS\n  1  a\\u{1b}[2J\\rb\\u{202e}c  1.50 MiB";
        check(80, &[("a\x1b[2J\rb\u{202e}c", 1)], expected);
        assert_eq!(safe("a\u{61c}b\u{e0041}"), "a\\u{61c}b\\u{e0041}");
    }
}
