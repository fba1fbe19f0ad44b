//! One process: what its memory consists of, and how it grows.
//!
//! Owns: the layout and the curve. Must not know: how growth is judged.

use std::time::Duration;

use model::Bytes;
use ratatui::symbols::Marker;
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Widget};
use report::{ProcessView, Span};

use super::canvas::{Canvas, Tone};
use crate::limits::SIDE_BY_SIDE;
use crate::screen::Screen;

/// The facts begin with a word of this width.
const INDENT: usize = 11;

/// The facts above the curve, or beside it where there is space.
pub(super) fn draw(canvas: &mut Canvas<'_>, screen: &Screen) {
    let Some(opened) = &screen.opened else { return };
    let view = &opened.view;
    if !opened.alive {
        canvas.top(Tone::Bad, "this process has ended; these are its last figures");
    }
    if canvas.width() >= usize::from(SIDE_BY_SIDE) {
        let half = canvas.width() / 2;
        curve(&mut canvas.right(half as u16), view);
        facts(canvas, view);
    } else {
        facts(canvas, view);
        curve(canvas, view);
    }
}

/// The figures with the reasons of what is missing.
fn facts(canvas: &mut Canvas<'_>, view: &ProcessView) {
    let facts = canvas.text().process_facts(view);
    for (index, fact) in facts.iter().enumerate() {
        let tone = if index == 0 { Tone::Title } else { Tone::Plain };
        canvas.wrapped(tone, fact, INDENT);
    }
}

/// Private memory over time. The axis of memory starts at the least figure, since growth is what is asked for.
fn curve(canvas: &mut Canvas<'_>, view: &ProcessView) {
    /// Below this a curve is no curve.
    const LINES_MIN: usize = 5;
    if canvas.height() < LINES_MIN {
        return;
    }
    let points: Vec<(f64, f64)> = view.history.iter().map(|(at, bytes)| (at.as_secs_f64(), bytes.0 as f64)).collect();
    let (Some(first), Some(newest)) = (points.first(), points.last()) else {
        canvas.top(Tone::Faint, "no history yet");
        return;
    };
    canvas.top(Tone::Faint, "private memory (anon + swap) over time");
    let least = points.iter().fold(f64::MAX, |least, point| least.min(point.1));
    let greatest = points.iter().fold(0.0, |greatest: f64, point| greatest.max(point.1)).max(least + 1.0);
    debug_assert!(least < greatest && first.0 <= newest.0, "an axis runs from the lesser to the greater");
    let bytes = |figure: f64| Bytes(figure as u64).to_string();
    let since = |at: f64| Span(Duration::try_from_secs_f64(at).unwrap_or_default()).to_string();
    let dataset = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).data(&points);
    let chart = Chart::new(vec![dataset.style(canvas.style(Tone::Doubtful))])
        .x_axis(
            Axis::default().bounds([first.0, newest.0.max(first.0 + 1.0)]).labels([since(first.0), since(newest.0)]),
        )
        .y_axis(Axis::default().bounds([least, greatest]).labels([bytes(least), bytes(greatest)]));
    let (area, buffer) = canvas.rest();
    chart.render(area, buffer);
}
