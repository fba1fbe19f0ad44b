//! A picture as a list of shapes.
//!
//! Owns: the shapes and the colours. Must not know: what they mean, or which format they are written in.

/// A colour, 0xRRGGBB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour(pub(super) u32);

/// Where a text stands in relation to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Something to draw, in pixels from the upper left corner.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Rectangle { x: f64, y: f64, width: f64, height: f64, colour: Colour },
    Line { points: Vec<(f64, f64)>, colour: Colour, width: f64 },
    Text { x: f64, y: f64, size: f64, anchor: Anchor, colour: Colour, text: String },
}

/// The whole picture; later shapes cover earlier ones.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scene {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) shapes: Vec<Shape>,
}

/// The colours of a picture.
pub(super) struct Palette {
    pub(super) ground: Colour,
    pub(super) text: Colour,
    pub(super) faint: Colour,
    pub(super) grid: Colour,
    /// Stretches without samples.
    pub(super) gap: Colour,
    /// What is judged to leak.
    pub(super) bad: Colour,
    pub(super) doubtful: Colour,
}

pub(super) const LIGHT: Palette = Palette {
    ground: Colour(0xFF_FF_FF),
    text: Colour(0x1F_23_28),
    faint: Colour(0x6A_73_7D),
    grid: Colour(0xE4_E7_EB),
    gap: Colour(0xF1_ED_E0),
    bad: Colour(0xC6_28_28),
    doubtful: Colour(0x9A_67_00),
};

pub(super) const DARK: Palette = Palette {
    ground: Colour(0x14_18_1D),
    text: Colour(0xE6_E9_ED),
    faint: Colour(0x9A_A4_AF),
    grid: Colour(0x2B_31_38),
    gap: Colour(0x2A_26_1B),
    bad: Colour(0xFF_6B_6B),
    doubtful: Colour(0xE3_B3_41),
};

/// Lines in this order; told apart on both grounds, also by people who see red and green alike (after Observable 10).
pub(super) const LINES: [Colour; 10] = [
    Colour(0x42_69_D0),
    Colour(0xEF_9B_20),
    Colour(0x3C_A9_51),
    Colour(0xA4_63_F2),
    Colour(0x00_A3_B4),
    Colour(0xFF_72_5C),
    Colour(0x9C_6B_4E),
    Colour(0xE0_5C_A8),
    Colour(0x7F_9B_E8),
    Colour(0x94_98_A0),
];

impl Colour {
    /// Red, green and blue.
    pub(super) const fn channels(self) -> [u8; 3] {
        let [_, red, green, blue] = self.0.to_be_bytes();
        [red, green, blue]
    }
}
