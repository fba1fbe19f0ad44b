//! The keys.
//!
//! Owns: their explanation. Must not know: what they do, other than by word.

use super::canvas::{Canvas, Tone};

/// The keys in the order in which they are needed.
const KEYS: &[(&str, &str)] = &[
    ("↑ ↓ j k", "select a row, scroll"),
    ("PgUp PgDn", "by ten rows; Home and End to the ends"),
    ("Enter", "open the process, or the stack of the site"),
    ("Esc", "back; in an attached process: detach"),
    ("a", "attach to the process"),
    ("l", "look which expired blocks are lost, and which are still held"),
    ("/", "filter by name, user, cgroup or pid"),
    ("s Tab", "sort by the next column"),
    ("V G R A W P N", "sort by verdict, growth, rss, anon, swap, pid, name"),
    ("r", "reverse the order"),
    ("?", "this help"),
    ("q Ctrl-C", "quit; what is attached is detached"),
];

/// All keys at once, on a screen of their own: what is below may be of any length.
pub(super) fn draw(canvas: &mut Canvas<'_>) {
    canvas.bottom(Tone::Faint, "any key closes the help");
    canvas.top(Tone::Title, "Keys");
    for (key, meaning) in KEYS {
        canvas.top(Tone::Plain, &format!("  {key:<14}{meaning}"));
    }
}

#[cfg(test)]
mod tests {
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;

    use super::*;
    use crate::limits::WIDTH_MIN;

    #[test]
    fn the_help_fits_a_usual_terminal() {
        assert!(KEYS.len() + 2 <= 24);
        assert!(KEYS.iter().all(|(key, meaning)| key.chars().count() <= 14 && meaning.len() + 16 <= 80));
    }

    #[test]
    fn every_key_is_named_once() {
        let mut keys: Vec<&str> = KEYS.iter().flat_map(|(keys, _)| keys.split(' ')).collect();
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn on_a_small_terminal_the_way_out_is_still_shown() {
        let area = Rect::new(0, 0, WIDTH_MIN, 3);
        let mut buffer = Buffer::empty(area);
        let mut canvas = Canvas::new(area, &mut buffer, false);
        canvas.bottom(Tone::Faint, "kept");
        draw(&mut canvas);
        assert_eq!(buffer[(0, 0)].symbol(), "K");
        assert_eq!(buffer[(0, 1)].symbol(), "a", "any key closes the help");
        assert_eq!(buffer[(0, 2)].symbol(), "k");
    }
}
