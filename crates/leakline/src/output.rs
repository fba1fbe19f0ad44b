//! Standard output and standard error: results go to the one, progress and hints to the other.
//!
//! Owns: whether there is a terminal, its width, colour, and the progress line that overwrites itself.
//! Must not know: what the results are, or how they are worded (`report` words them).

use std::io::{self, IsTerminal, Write};

use report::{Document, Text};

use crate::failure::Failure;
use crate::limits::{COLUMNS_MAX, COLUMNS_MIN, WIDTH_PIPED};

/// Where a command writes, and how.
#[derive(Debug)]
pub(crate) struct Output {
    text: Text,
    form: Form,
    /// Whether standard error shows a progress line that must be wiped before anything else is written.
    progress_shown: bool,
}

/// In which form results are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text for people.
    Text,
    /// JSON, one document a line.
    Json,
}

impl Output {
    /// Output in the form that was asked for, as wide and colourful as the terminal allows.
    pub(crate) fn new(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let columns = terminal.then(columns_of_terminal).flatten();
        let width = width(std::env::var("COLUMNS").ok().as_deref(), columns);
        let colour =
            terminal && colour(std::env::var("NO_COLOR").ok().as_deref(), std::env::var("TERM").ok().as_deref());
        Self { text: Text { width, colour }, form: if json { Form::Json } else { Form::Text }, progress_shown: false }
    }

    /// How text is written here.
    pub(crate) const fn text(&self) -> Text {
        self.text
    }

    /// The form that was asked for.
    pub(crate) const fn form(&self) -> Form {
        self.form
    }

    /// Writes a result as text, whole: a reader never sees half a table.
    pub(crate) fn write(&mut self, render: impl FnOnce(Text, &mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        render(self.text, &mut bytes)?;
        self.write_bytes(&bytes)
    }

    /// Writes a result as one line of JSON.
    pub(crate) fn document(&mut self, document: &Document<'_>) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        document.write(&mut bytes)?;
        self.write_bytes(&bytes)
    }

    /// Writes bytes as they are and flushes them, so that a reader of a pipe sees each event when it happens.
    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.wipe_progress();
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }

    /// Shows progress in place, where standard error is a terminal; nothing where it is a file or a pipe.
    pub(crate) fn progress(&mut self, line: impl FnOnce(Text) -> String) {
        if io::stderr().is_terminal() {
            // An error of writing progress is of no interest: the result is what counts.
            let _ = write!(io::stderr().lock(), "\r{}\x1b[K", line(self.text));
            self.progress_shown = true;
        }
    }

    /// Says something that is no result: what happens now, a hint, a warning.
    pub(crate) fn say(&mut self, line: &str) {
        self.wipe_progress();
        let _ = writeln!(io::stderr().lock(), "{}", Text::safe(line));
    }

    fn wipe_progress(&mut self) {
        if std::mem::take(&mut self.progress_shown) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

impl Drop for Output {
    /// The shell's prompt must not end up behind a progress line.
    fn drop(&mut self) {
        self.wipe_progress();
    }
}

/// Whether the user wants colour where there is a terminal.
pub(crate) fn colour_wanted() -> bool {
    colour(std::env::var("NO_COLOR").ok().as_deref(), std::env::var("TERM").ok().as_deref())
}

fn columns_of_terminal() -> Option<usize> {
    rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col))
}

/// `COLUMNS` is what a user sets to say otherwise; a terminal that does not know its width says 0.
fn width(variable: Option<&str>, columns: Option<usize>) -> usize {
    let asked = variable.and_then(|text| text.trim().parse().ok());
    let width = asked.or(columns).filter(|&columns| columns > 0).unwrap_or(WIDTH_PIPED);
    width.clamp(COLUMNS_MIN, COLUMNS_MAX)
}

/// <https://no-color.org>: any value that is not empty forbids colour.
fn colour(no_color: Option<&str>, terminal: Option<&str>) -> bool {
    no_color.is_none_or(str::is_empty) && terminal != Some("dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_is_what_the_user_says_then_what_the_terminal_says() {
        for (variable, columns, wanted) in [
            (None, None, WIDTH_PIPED),
            (None, Some(80), 80),
            (Some("120"), Some(80), 120),
            (Some("wide"), Some(80), 80),
            (None, Some(0), WIDTH_PIPED),
            (Some("0"), Some(80), WIDTH_PIPED),
            (Some("1"), None, COLUMNS_MIN),
            (Some("99999999999"), None, COLUMNS_MAX),
        ] {
            assert_eq!(width(variable, columns), wanted, "{variable:?} {columns:?}");
        }
    }

    #[test]
    fn colour_is_for_terminals_whose_user_wants_it() {
        assert!(colour(None, Some("xterm")));
        assert!(colour(Some(""), None));
        assert!(!colour(Some("1"), Some("xterm")));
        assert!(!colour(None, Some("dumb")));
    }
}
