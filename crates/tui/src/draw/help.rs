//! The keys.
//!
//! Owns: their explanation. Must not know: what they do, other than by word.

use super::canvas::{Canvas, Tone};

const KEYS: &[(&str, &str)] = &[
    ("↑ ↓ j k", "select a row, scroll"),
    ("PgUp PgDn", "by ten rows; Home and End to the ends"),
    ("Enter", "open the process, or the stack of the site"),
    ("Esc", "back; in an attached process: detach"),
    ("a", "attach to the process"),
    ("/", "filter by name, user, cgroup or pid"),
    ("s Tab", "sort by the next column"),
    ("V G R A W P N", "sort by verdict, growth, rss, anon, swap, pid, name"),
    ("r", "reverse the order"),
    ("?", "this help"),
    ("q Ctrl-C", "quit; what is attached is detached"),
];

pub(super) fn draw(canvas: &mut Canvas<'_>) {
    canvas.top(Tone::Title, "Keys");
    for (key, meaning) in KEYS {
        canvas.top(Tone::Plain, &format!("  {key:<14}{meaning}"));
    }
    canvas.bottom(Tone::Faint, "any key closes the help");
}
