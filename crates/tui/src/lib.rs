//! The terminal screens: the live ranking of a machine, and the sites of an attached process.
//!
//! Owns: what the screens look like and what keys do in them. Must not know: how anything is measured or judged; it
//! takes the views of `report` and gives back what the user asks for.
//!
//! [`Screen`] is the state; it is changed by new figures and by keys and can be drawn into any buffer. [`Terminal`] is
//! the only part that touches the terminal. The loop that joins the two with the data belongs to the caller.

mod draw;
mod keys;
mod limits;
mod screen;
mod state;
mod terminal;

/// The tests beside the code show the same figures as the golden files.
#[cfg(test)]
#[path = "../../report/tests/views/samples.rs"]
mod samples;

pub use keys::Key;
pub use screen::{Action, Screen};
pub use terminal::Terminal;
