//! What the user made of the screens: order, filter, selection.
//!
//! Owns: everything that keys change. Must not know: how it is drawn.

mod ranking;
mod selection;

pub(crate) use ranking::{Ranking, keys};
pub(crate) use selection::Selection;
