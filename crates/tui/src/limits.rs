//! The bounds of the screens.
//!
//! Owns: each bound, once. Must not know: who keeps to it.

use std::time::Duration;

/// A terminal with fewer columns shows a message instead of a screen.
pub(crate) const WIDTH_MIN: u16 = 40;
/// A terminal with fewer lines shows a message instead of a screen.
pub(crate) const HEIGHT_MIN: u16 = 8;
/// Lines that Page Up and Page Down move.
pub(crate) const PAGE: isize = 10;
/// Characters of a filter; further ones are not taken, which the user sees while typing.
pub(crate) const FILTER_MAX: usize = 64;
/// From this width on, the facts of a process and its curve stand side by side.
pub(crate) const SIDE_BY_SIDE: u16 = 140;
/// The reader of keys looks so often whether anybody still wants them.
pub(crate) const LOOK: Duration = Duration::from_millis(200);
/// A screen is written in pieces of this size; standard output alone would write at each line, which flickers over ssh.
pub(crate) const WRITE_BYTES: usize = 32 * 1024;

const _: () = assert!(SIDE_BY_SIDE > WIDTH_MIN, "half of a wide screen must still be a screen");
