//! Drawing the screens.
//!
//! Owns: where everything stands. Must not know: what keys do; it only reads the state.

mod canvas;
mod follow;
mod help;
mod process;
mod ranking;
mod sites;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use self::canvas::{Canvas, Tone};
use crate::limits::{HEIGHT_MIN, WIDTH_MIN};
use crate::screen::{Place, Screen};

/// Draws what is shown now.
pub(crate) fn screen(screen: &Screen, area: Rect, buffer: &mut Buffer) {
    let mut canvas = Canvas::new(area, buffer, screen.colour);
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        return too_small(&mut canvas, area);
    }
    if screen.help {
        return help::draw(&mut canvas);
    }
    // The lower lines are drawn first: when there is no space, the way out is what must be seen.
    let keys = match screen.place {
        Place::Ranking => "↑↓ select  Enter open  a attach  / filter  s sort  ? help  q quit",
        Place::Process => "a attach  Esc back  ? help  q quit",
        Place::Sites if screen.from_ranking => {
            "↑↓ select  Enter stack  l lost or held  Esc back  ? help  q quit and detach"
        }
        // Nothing is behind it: Escape must not end a session by accident, so that it is not offered.
        Place::Sites => "↑↓ select  Enter stack  l lost or held  ? help  q quit and detach",
        Place::Follow => "? help  q quit",
        Place::Stack(_) => "↑↓ scroll  Esc back  ? help  q quit and detach",
    };
    canvas.bottom(Tone::Faint, keys);
    if let Some(message) = &screen.message {
        canvas.bottom_wrapped(Tone::Doubtful, message);
    }
    if screen.place != Place::Ranking && !screen.alerts.is_empty() {
        canvas.bottom(Tone::Bad, &ranking::alerts_elsewhere(&screen.alerts));
    }
    match screen.place {
        Place::Ranking => ranking::draw(&mut canvas, screen),
        Place::Process => process::draw(&mut canvas, screen),
        Place::Sites => sites::draw(&mut canvas, screen),
        Place::Follow => follow::draw(&mut canvas, screen),
        Place::Stack(stack) => sites::draw_stack(&mut canvas, screen, stack),
    }
}

/// Three short lines, since there is no space for one long.
fn too_small(canvas: &mut Canvas<'_>, area: Rect) {
    canvas.top(Tone::Plain, "terminal too small");
    canvas.top(Tone::Plain, &format!("it is {}×{},", area.width, area.height));
    canvas.top(Tone::Plain, &format!("needed {WIDTH_MIN}×{HEIGHT_MIN}"));
}
