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
    // The figures stay: a process that the kernel killed for its memory is what one wants to look at.
    if !opened.alive {
        canvas.top(Tone::Bad, "this process has ended; these are its last figures");
    }
    // Below each other the curve gets what lines the facts leave, which in a wide and low terminal are few.
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
    let greatest = points.iter().fold(0.0, |greatest: f64, point| greatest.max(point.1));
    // A flat history needs a range too; one byte more is none for the greatest figures.
    let greatest = greatest.max(least + 1.0).max(least.next_up());
    debug_assert!(least < greatest && first.0 <= newest.0, "an axis runs from the lesser to the greater");
    let bytes = |figure: f64| Bytes(figure as u64).to_string();
    let since = |at: f64| Span(Duration::try_from_secs_f64(at).unwrap_or_default()).to_string();
    // Braille has eight points a cell, so that the curve is readable in five lines.
    let dataset = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).data(&points);
    let chart = Chart::new(vec![dataset.style(canvas.style(Tone::Doubtful))])
        .x_axis(
            Axis::default().bounds([first.0, newest.0.max(first.0 + 1.0)]).labels([since(first.0), since(newest.0)]),
        )
        .y_axis(Axis::default().bounds([least, greatest]).labels([bytes(least), bytes(greatest)]));
    let (area, buffer) = canvas.rest();
    chart.render(area, buffer);
}

#[cfg(test)]
mod tests {
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;

    use super::*;
    use crate::samples;

    /// Draws a history of `seconds:bytes` into 30 columns and gives the lines that have words in them.
    #[track_caller]
    fn check(history: &str, height: u16, expected: &[&str]) {
        let point = |text: &str| {
            let (at, bytes) = text.split_once(':').unwrap();
            (Duration::from_secs(at.parse().unwrap()), Bytes(bytes.parse().unwrap()))
        };
        let history = history.split_whitespace().map(point).collect();
        let area = Rect::new(0, 0, 30, height);
        let mut buffer = Buffer::empty(area);
        curve(&mut Canvas::new(area, &mut buffer, false), &ProcessView { history, ..samples::leaking() });
        let lines = (0..height).map(|y| (0..30).map(|x| buffer[(x, y)].symbol()).collect::<String>());
        let words: Vec<String> = lines.map(|line| words_of(&line)).filter(|words| !words.is_empty()).collect();
        assert_eq!(words, expected);
    }

    /// What is left of a line without the curve and the axes.
    fn words_of(line: &str) -> String {
        let is_curve = |character: char| ('\u{2800}'..='\u{28ff}').contains(&character) || "│└─".contains(character);
        line.replace(is_curve, " ").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    const TITLE: &str = "private memory (anon + swap) o";

    #[test]
    fn the_axes_run_from_the_least_to_the_greatest() {
        check("0:1024 10:4096 20:2048", 8, &[TITLE, "4.00 KiB", "1.00 KiB", "0 s 20.0 s"]);
        check("60:0 120:1048576", 8, &[TITLE, "1.00 MiB", "0 B", "1 min 00 s 2 min 00 s"]);
    }

    #[test]
    fn a_flat_or_short_history_has_axes_too() {
        check("0:4096 9:4096", 8, &[TITLE, "4.00 KiB", "4.00 KiB", "0 s 9.00 s"]);
        check("5:4096", 8, &[TITLE, "4.00 KiB", "4.00 KiB", "5.00 s 5.00 s"]);
        check("", 8, &["no history yet"]);
    }

    #[test]
    fn the_greatest_figures_can_be_drawn() {
        check("0:0 1:18446744073709551615", 8, &[TITLE, "16.0 EiB", "0 B", "0 s 1.00 s"]);
        check("0:18446744073709551615 1:18446744073709551615", 8, &[TITLE, "16.0 EiB", "16.0 EiB", "0 s 1.00 s"]);
    }

    #[test]
    fn without_space_there_is_no_curve() {
        check("0:1 1:2", 4, &[]);
        check("", 4, &[]);
    }
}
