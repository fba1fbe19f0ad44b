//! One process in real time: what it is, its curve, and its figures now.
//!
//! Owns: the layout. Must not know: how the curve is made; `report` writes it as lines for the terminal and for files alike.

use super::canvas::{Canvas, Tone};
use crate::screen::Screen;

/// The name above the curve and the time below it.
const AXES: usize = 2;

/// The head, the curve in what space is left, and what happened last at the bottom.
pub(super) fn draw(canvas: &mut Canvas<'_>, screen: &Screen) {
    let Some(view) = &screen.recorded else {
        canvas.top(Tone::Faint, "waiting for the first sample");
        return;
    };
    canvas.top(Tone::Title, &canvas.text().recorded(view));
    // The latest note is what changed: the process ended, samples were lost.
    if let Some(note) = view.events.iter().rev().find(|event| event.severe).map(|event| event.text.as_str()) {
        canvas.bottom(Tone::Doubtful, note);
    }
    let facts = canvas.text().figures(view);
    canvas.top(Tone::Plain, &facts);
    canvas.top(Tone::Plain, "");
    let rows = canvas.height().saturating_sub(AXES);
    let lines = canvas.text().curve(view, rows);
    if lines.is_empty() {
        canvas.top(Tone::Faint, "nothing is known of this process yet");
    }
    for line in lines {
        canvas.top(Tone::Plain, &line);
    }
}
