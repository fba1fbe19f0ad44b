//! Lines of text from the top and from the bottom of an area.
//!
//! Owns: the styles, and that nothing is drawn outside the area. Must not know: what the lines say.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use report::{Severity, Text};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What a line is for; its style follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Title,
    Faint,
    Doubtful,
    Bad,
}

/// The part of an area that is still free.
pub(crate) struct Canvas<'a> {
    area: Rect,
    buffer: &'a mut Buffer,
    colour: bool,
}

impl<'a> Canvas<'a> {
    /// All of an area, as far as the buffer has it.
    pub(crate) fn new(area: Rect, buffer: &'a mut Buffer, colour: bool) -> Self {
        Self { area: area.intersection(buffer.area), buffer, colour }
    }

    /// Writes the next line from the top; what does not fit is left out.
    pub(crate) fn top(&mut self, tone: Tone, text: &str) {
        self.row(tone, text, false);
    }

    /// Writes the next line from the top and marks it if it is selected.
    pub(crate) fn row(&mut self, tone: Tone, text: &str, selected: bool) {
        if self.area.height == 0 {
            return;
        }
        self.put(self.area.y, text, self.style(tone));
        // The whole row, also behind the text, so that the mark is seen in a wide terminal.
        if selected {
            let row = Rect { height: 1, ..self.area };
            self.buffer.set_style(row, Style::new().add_modifier(Modifier::REVERSED));
        }
        self.area.y += 1;
        self.area.height -= 1;
    }

    /// Writes the next line from the bottom.
    pub(crate) fn bottom(&mut self, tone: Tone, text: &str) {
        if self.area.height > 0 {
            self.area.height -= 1;
            self.put(self.area.bottom(), text, self.style(tone));
        }
    }

    /// Writes a text above what is at the bottom, in as many lines as it needs, if they leave the better half to what is above.
    pub(crate) fn bottom_wrapped(&mut self, tone: Tone, text: &str) {
        let lines: Vec<String> = self.broken(text, 0).take(self.height().div_ceil(2)).collect();
        for line in lines.iter().rev() {
            self.bottom(tone, line);
        }
    }

    /// Writes a text from the top in as many lines as it needs; later ones are indented.
    pub(crate) fn wrapped(&mut self, tone: Tone, text: &str, indent: usize) {
        for line in self.broken(text, indent) {
            self.top(tone, &line);
        }
    }

    /// The lines that a text needs at this width.
    pub(crate) fn broken(&self, text: &str, indent: usize) -> impl Iterator<Item = String> + use<> {
        wrap(&Text::safe(text), self.width(), indent).into_iter()
    }

    /// Cuts off the right part of what is free.
    pub(crate) fn right(&mut self, width: u16) -> Canvas<'_> {
        let width = width.min(self.area.width);
        self.area.width -= width;
        let area = Rect { x: self.area.right(), width, ..self.area };
        Canvas { area, buffer: self.buffer, colour: self.colour }
    }

    /// Gives away what is free, for a widget that draws itself.
    pub(crate) fn rest(&mut self) -> (Rect, &mut Buffer) {
        (self.area, self.buffer)
    }

    /// Columns that are free.
    pub(crate) fn width(&self) -> usize {
        usize::from(self.area.width)
    }

    /// Lines that are free.
    pub(crate) fn height(&self) -> usize {
        usize::from(self.area.height)
    }

    /// How texts of `report` are laid out here.
    pub(crate) fn text(&self) -> Text {
        Text { width: self.width(), colour: false }
    }

    /// Without colour the tones still differ by weight, so that a leak stands out on a terminal of one colour.
    pub(crate) fn style(&self, tone: Tone) -> Style {
        let coloured = |colour| if self.colour { Style::new().fg(colour) } else { Style::new() };
        match tone {
            Tone::Plain => Style::new(),
            Tone::Title => Style::new().add_modifier(Modifier::BOLD),
            Tone::Faint => Style::new().add_modifier(Modifier::DIM),
            Tone::Doubtful => coloured(Color::Yellow),
            Tone::Bad => coloured(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    /// Names come from other programs: they must not be able to move the cursor.
    fn put(&mut self, line: u16, text: &str, style: Style) {
        debug_assert!(self.buffer.area.top() <= line && line < self.buffer.area.bottom(), "line {line} is outside");
        self.buffer.set_stringn(self.area.x, line, Text::safe(text), self.width(), style);
    }
}

impl From<Severity> for Tone {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Leak => Self::Bad,
            Severity::Suspect => Self::Doubtful,
            Severity::Unclear | Severity::Fine => Self::Plain,
        }
    }
}

/// Breaks a text at spaces, and a word that is wider than a line wherever the line ends.
fn wrap(text: &str, width: usize, indent: usize) -> Vec<String> {
    // An indent must leave space for text.
    let indent = indent.min(width / 2);
    let mut lines = vec![String::new()];
    // The space belongs to the word before it, so that it may hang over the edge instead of beginning a line.
    for word in text.split_inclusive(' ') {
        let mut word = word;
        while !word.is_empty() {
            let used = lines.last().map_or(0, |line| line.width());
            let fits = fitting(word, width.saturating_sub(used));
            let is_new = used == 0 || (lines.len() > 1 && used == indent);
            if fits == word.len() || is_new {
                // At least one character, or a line that is narrower than it would never end.
                let fits = fits.max(word.chars().next().map_or(0, char::len_utf8));
                lines.last_mut().into_iter().for_each(|line| line.push_str(&word[..fits]));
                word = &word[fits..];
            }
            if !word.is_empty() {
                lines.push(" ".repeat(indent));
            }
        }
    }
    debug_assert!(!lines.is_empty(), "an empty text is an empty line");
    lines
}

/// How many bytes of a word fit into so many columns; a space at its end may hang over.
fn fitting(word: &str, columns: usize) -> usize {
    let mut used = 0;
    for (at, character) in word.char_indices() {
        used += character.width().unwrap_or(0);
        if used > columns && character != ' ' {
            return at;
        }
    }
    word.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, width: usize, expected: &[&str]) {
        let lines = wrap(text, width, 2);
        assert_eq!(lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn long_texts_break_at_spaces() {
        check("one two three", 13, &["one two three"]);
        check("one two three", 12, &["one two", "  three"]);
        check("one two three", 7, &["one two", "  three"]);
        check("averyveryverylongword", 9, &["averyvery", "  verylon", "  gword"]);
        check("a veryveryverylong x", 9, &["a", "  veryver", "  yverylo", "  ng x"]);
        check("日本語日本語", 5, &["日本", "  語", "  日", "  本", "  語"]);
        check("日本", 1, &["日", "本"]);
        check("", 7, &[""]);
    }

    #[test]
    fn what_does_not_fit_is_not_drawn() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 4, 2));
        let mut canvas = Canvas::new(Rect::new(0, 0, 400, 200), &mut buffer, true);
        canvas.bottom(Tone::Faint, "below");
        canvas.top(Tone::Plain, "a\x1bb");
        canvas.top(Tone::Plain, "no more space");
        canvas.bottom(Tone::Plain, "no more space");
        assert_eq!(buffer, {
            let mut expected = Buffer::with_lines(["a\\u{", "belo"]);
            expected.set_style(Rect::new(0, 1, 4, 1), Style::new().add_modifier(Modifier::DIM));
            expected
        });
    }

    #[test]
    fn without_colour_there_is_none() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 1, 1));
        let canvas = Canvas::new(Rect::new(0, 0, 1, 1), &mut buffer, false);
        for tone in [Tone::Plain, Tone::Title, Tone::Faint, Tone::Doubtful, Tone::Bad] {
            assert_eq!(canvas.style(tone).fg, None);
        }
    }
}
