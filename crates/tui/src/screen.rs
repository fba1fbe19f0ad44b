//! What is on the terminal now.
//!
//! Owns: which screen is shown and what keys do. Must not know: the terminal itself.

use model::Pid;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use report::{HuntView, SitesView};

use crate::Key;

/// What the user asks the caller to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Attach to this process and show its sites.
    Attach(Pid),
    /// Detach and go back to the ranking.
    Detach,
    /// End the program (which detaches).
    Quit,
}

/// One screen: the latest data and what the user made of it.
#[derive(Debug, Default)]
pub struct Screen {}

impl Screen {
    /// The screen of `watch`.
    pub fn watch() -> Self {
        Self {}
    }

    /// The screen of `attach`.
    pub fn attach() -> Self {
        Self {}
    }

    /// New figures of the machine.
    pub fn show_machine(&mut self, view: HuntView) {
        drop(view);
    }

    /// New figures of the attached process; the first call after [`Action::Attach`] opens its screen.
    pub fn show_sites(&mut self, view: SitesView) {
        drop(view);
    }

    /// A line at the bottom, for example why an attach was refused; goes away with the next key.
    pub fn say(&mut self, message: String) {
        drop(message);
    }

    /// What a key does: changes the screen, and perhaps asks the caller for something.
    pub fn key(&mut self, key: Key) -> Option<Action> {
        (key == Key::Quit).then_some(Action::Quit)
    }

    /// Draws the screen.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let _ = (area, buffer);
    }
}
