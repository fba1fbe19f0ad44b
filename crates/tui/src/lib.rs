//! The terminal screens: the live ranking of a machine, and the sites of an attached process.
//!
//! Owns: what the screens look like and what keys do in them. Must not know: how anything is measured or judged; it
//! takes the views of `report` and gives back what the user asks for.

mod screen;
mod terminal;

pub use screen::{Action, Screen};
pub use terminal::{Key, Terminal};
