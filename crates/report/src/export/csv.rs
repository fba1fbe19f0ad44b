//! Recordings as CSV (RFC 4180, lines end in `\n`).
//!
//! Owns: the quoting of cells. Must not know: what a reader makes of them.
//!
//! A missing figure is an empty cell. A name that a spreadsheet would take for a formula gets an apostrophe in front, as
//! spreadsheets themselves write it: a process called `=HYPERLINK(...)` must not become one.

use std::io::{self, Write};

use model::{Beat, ProcessReading, Reading};

use super::{KILOBYTES, NUMBERS, kilobytes, number, top};
use crate::WallTime;
use crate::view::used;

/// The machine, one line a beat.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemCsv;

/// All processes, one line for each of them and each beat.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessCsv;

impl SystemCsv {
    /// The columns, in their order.
    pub const COLUMNS: &'static str = "Timestamp,Total_KB,Used_KB,Free_KB,Available_KB,Buffers_KB,Cached_KB,Usage_Percent,\
                                       Top_Process,Top_Process_Mem";

    /// Writes the line of the titles.
    pub fn head(self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", Self::COLUMNS)
    }

    /// Writes the line of a beat. Used is what programs can no longer get (`MemTotal` − `MemAvailable`).
    pub fn beat(self, beat: &Beat, out: &mut dyn Write) -> io::Result<()> {
        let meminfo = |name| kilobytes(beat.system.meminfo(name).map(|bytes| bytes.0));
        let (total, used) = (meminfo("MemTotal"), kilobytes(used(&beat.system, "MemTotal", "MemAvailable")));
        // From the same rounded figures that stand beside it: who divides the columns gets this percentage.
        let usage =
            total.zip(used).filter(|(total, _)| *total > 0).map(|(total, used)| 100.0 * used as f64 / total as f64);
        let top = top(beat);
        let cells = [
            WallTime::from(&beat.at).rfc3339(),
            figure(total),
            figure(used),
            figure(meminfo("MemFree")),
            figure(meminfo("MemAvailable")),
            figure(meminfo("Buffers")),
            figure(meminfo("Cached")),
            usage.map_or_else(String::new, |usage| format!("{usage:.2}")),
            top.map_or_else(String::new, |(process, _)| text(&process.identity.command)),
            figure(top.map(|(_, rss)| rss / 1024)),
        ];
        debug_assert_eq!(cells.len(), Self::COLUMNS.split(',').count(), "a cell for each column");
        writeln!(out, "{}", cells.join(","))
    }
}

impl ProcessCsv {
    /// The columns, in their order.
    pub fn columns(self) -> Vec<&'static str> {
        let first = ["Timestamp", "PID", "Started_Ticks", "Command", "User", "Container", "State", "RSS_KB"];
        let figures = KILOBYTES.iter().chain(&NUMBERS).map(|(title, _)| *title);
        first.into_iter().chain(figures).chain(["Arguments"]).collect()
    }

    /// Writes the line of the titles.
    pub fn head(self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.columns().join(","))
    }

    /// Writes the lines of a beat.
    pub fn beat(self, beat: &Beat, out: &mut dyn Write) -> io::Result<()> {
        let timestamp = WallTime::from(&beat.at).rfc3339();
        beat.processes.iter().try_for_each(|process| writeln!(out, "{}", line(&timestamp, process)))
    }
}

fn line(timestamp: &str, process: &ProcessReading) -> String {
    let (identity, figures) = (&process.identity, &process.figures);
    let mut cells = vec![
        timestamp.to_owned(),
        identity.key.pid.to_string(),
        identity.key.started.to_string(),
        text(&identity.command),
        word(&identity.user),
        identity.container.as_deref().map_or_else(String::new, text),
        figures.state().known().map_or_else(String::new, |state| text(&state.to_string())),
        figure(kilobytes(figures.memory().rss().map(|bytes| bytes.0))),
    ];
    // Both lists are also what the titles are made of, so that a column cannot lose its title.
    cells.extend(KILOBYTES.map(|(_, metric)| figure(kilobytes(figures.get(metric)))));
    cells.extend(NUMBERS.map(|(_, metric)| figure(number(metric, figures.get(metric)))));
    // Last, since they are long and of any length: the columns before them stay in line when a file is looked at as text.
    cells.push(text(&identity.arguments));
    debug_assert_eq!(cells.len(), ProcessCsv.columns().len(), "a cell for each column");
    cells.join(",")
}

/// An empty cell where a figure is missing: readers take it for "not known" (pandas: NaN), while a zero would be averaged.
fn figure(value: Option<u64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn word(reading: &Reading<String>) -> String {
    reading.as_known().map_or_else(String::new, |word| text(word))
}

/// A text as a cell that stays one cell and stays a text.
fn text(text: &str) -> String {
    let safe = crate::Text::safe(text);
    // Spreadsheets skip spaces before they look for a formula; full-width signs are signs to some of them.
    let starts = safe.trim_start().starts_with(['=', '+', '-', '@', '|', '%', '＝', '＋', '－', '＠']);
    let cell = if starts { format!("'{safe}") } else { safe };
    // Where the comma is the decimal sign, spreadsheets separate cells by semicolons; and some readers drop spaces around a cell
    // that is not quoted.
    if cell.contains([',', '"', '\n', '\r', ';']) || cell != cell.trim() {
        return format!("\"{}\"", cell.replace('"', "\"\""));
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[track_caller]
    fn check(name: &str, cell: &str) {
        assert_eq!(text(name), cell);
    }

    #[test]
    fn a_name_is_one_cell() {
        check("cron", "cron");
        check("a,b", "\"a,b\"");
        check("say \"hi\"", "\"say \"\"hi\"\"\"");
        check(" a ", "\" a \"");
        check("a;b", "\"a;b\"");
        check("", "");
        check("a\nb\x1b\tc", "a\\nb\\u{1b}\\tc");
    }

    #[test]
    fn a_name_is_never_a_formula() {
        check("=1+1", "'=1+1");
        check("+1", "'+1");
        check("-bash", "'-bash");
        check("@SUM(A1)", "'@SUM(A1)");
        check("|cmd", "'|cmd");
        check("＝1", "'＝1");
        check(" =1", "' =1");
        check("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"");
        check("a=1", "a=1");
    }

    #[track_caller]
    fn check_beat(beat: &Beat, expected: &str) {
        let mut out = Vec::new();
        SystemCsv.beat(beat, &mut out).expect("a vector takes everything");
        assert_eq!(String::from_utf8(out).expect("CSV is UTF-8"), format!("{expected}\n"));
    }

    #[test]
    fn a_beat_is_a_line_and_what_is_missing_is_empty() {
        let mut beat = samples::beat(0);
        check_beat(&beat, "2026-11-21T06:00:00Z,16777216,6291456,2097152,10485760,524288,5242880,37.50,java,2097152");
        beat.processes.clear();
        check_beat(&beat, "2026-11-21T06:00:00Z,16777216,6291456,2097152,10485760,524288,5242880,37.50,,");
        beat.system.sources.clear();
        check_beat(&beat, "2026-11-21T06:00:00Z,,,,,,,,,");
    }

    #[test]
    fn each_process_is_a_line() {
        let mut out = Vec::new();
        ProcessCsv.beat(&samples::beat(0), &mut out).expect("a vector takes everything");
        let text = String::from_utf8(out).expect("CSV is UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        let expected = "2026-11-21T06:00:00Z,100,4711,java,alice,0123456789ab,S,2097152,\
                        2031616,65536,0,1024,,,,,7,120,,,,,1500,1,java -jar shop.jar";
        assert_eq!(lines[0], expected);
        assert!(lines[1].contains(",\"'=cmd|'/c calc'!A1,\"\"x\"\"\","), "{}", lines[1]);
        assert_eq!(lines.len(), 2);
    }
}
