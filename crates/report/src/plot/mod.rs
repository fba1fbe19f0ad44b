//! A recording as a picture.
//!
//! Owns: what a caller may choose of a picture. Must not know: where the file goes.

pub(crate) mod charts;
mod font;
mod layout;
mod png;
pub(crate) mod scale;
mod scene;
mod svg;

use std::io::{self, Write};

pub(crate) use self::layout::pieces;
use self::scene::{DARK, LIGHT, Palette, Scene};
pub(crate) use self::svg::escaped;
use crate::RecordingView;
use crate::limits::{PICTURE_MAX, PICTURE_MIN};

/// How a picture is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plot {
    /// Wanted width in pixels.
    pub width: u32,
    /// Wanted height in pixels.
    pub height: u32,
    /// Light lines on a dark ground.
    pub dark: bool,
    /// Values on a logarithmic scale.
    pub log: bool,
}

impl Plot {
    /// Writes the picture as SVG.
    pub fn svg(self, view: &RecordingView, out: &mut dyn Write) -> io::Result<()> {
        svg::write(&self.scene(view)?, out)
    }

    /// Writes the picture as PNG.
    pub fn png(self, view: &RecordingView, out: &mut dyn Write) -> io::Result<()> {
        png::write(&self.scene(view)?, out)
    }

    fn scene(self, view: &RecordingView) -> io::Result<Scene> {
        layout::scene(self, view).ok_or_else(|| io::Error::other("the embedded font cannot be read"))
    }

    fn width(self) -> u32 {
        self.width.clamp(PICTURE_MIN, PICTURE_MAX)
    }

    fn height(self) -> u32 {
        self.height.clamp(PICTURE_MIN, PICTURE_MAX)
    }

    const fn palette(self) -> &'static Palette {
        if self.dark { &DARK } else { &LIGHT }
    }
}

/// A picture that fits a screen and a page.
impl Default for Plot {
    fn default() -> Self {
        Self { width: 1400, height: 1000, dark: false, log: false }
    }
}
