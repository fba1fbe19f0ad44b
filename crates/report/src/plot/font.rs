//! The letters of a picture.
//!
//! Owns: the embedded font, how wide a text is, and the outlines of its letters. Must not know: how outlines are filled.
//!
//! A picture must look the same on a machine without fonts, therefore it brings its own. Letters that it does not have
//! are drawn as the box that the font has for them.

use ttf_parser::{Face, GlyphId, OutlineBuilder};

const FILE: &[u8] = include_bytes!("../../assets/DejaVuSans.subset.ttf");

/// The font, ready to be measured and drawn.
pub(super) struct Font {
    face: Face<'static>,
}

impl Font {
    /// The embedded font; there is none only if the asset is broken, which a test excludes.
    pub(super) fn embedded() -> Option<Self> {
        Face::parse(FILE, 0).ok().map(|face| Self { face })
    }

    /// How wide a text is at this size.
    pub(super) fn width(&self, text: &str, size: f64) -> f64 {
        text.chars().map(|letter| self.advance(self.glyph(letter))).sum::<f64>() * self.scale(size)
    }

    /// The text, or its beginning with `…`, so that it is no wider than this.
    pub(super) fn fitted(&self, text: &str, size: f64, width: f64) -> String {
        if self.width(text, size) <= width {
            return text.to_owned();
        }
        // May be less than nothing; then the mark stands alone, which is wider than asked for and still says that something was cut.
        let room = width - self.width("…", size);
        let mut used = 0.0;
        let fits = |letter: &char| {
            used += self.advance(self.glyph(*letter)) * self.scale(size);
            used <= room
        };
        let mut kept: String = text.chars().take_while(fits).collect();
        kept.push('…');
        kept
    }

    /// Draws the letters from this place on, the base line at `y`, which grows downwards.
    pub(super) fn outline(&self, text: &str, (x, y): (f64, f64), size: f64, builder: &mut dyn Outline) {
        let scale = self.scale(size);
        let mut x = x;
        for letter in text.chars() {
            let glyph = self.glyph(letter);
            let mut placed = Placed { x, y, scale, builder };
            // A space has no outline.
            let _ = self.face.outline_glyph(glyph, &mut placed);
            x += self.advance(glyph) * scale;
        }
    }

    fn glyph(&self, letter: char) -> GlyphId {
        self.face.glyph_index(letter).unwrap_or(GlyphId(0))
    }

    fn advance(&self, glyph: GlyphId) -> f64 {
        f64::from(self.face.glyph_hor_advance(glyph).unwrap_or_else(|| self.face.units_per_em() / 2))
    }

    fn scale(&self, size: f64) -> f64 {
        debug_assert!(self.face.units_per_em() > 0, "the font has a size");
        size / f64::from(self.face.units_per_em())
    }
}

/// What takes outlines, in the coordinates of the picture.
pub(super) trait Outline {
    fn move_to(&mut self, x: f64, y: f64);
    fn line_to(&mut self, x: f64, y: f64);
    fn quad_to(&mut self, x1: f64, y1: f64, x: f64, y: f64);
    fn close(&mut self);
}

/// Puts the outline of one letter at its place.
struct Placed<'a> {
    x: f64,
    y: f64,
    scale: f64,
    builder: &'a mut dyn Outline,
}

impl Placed<'_> {
    /// Fonts count upwards, pictures downwards.
    fn at(&self, x: f32, y: f32) -> (f64, f64) {
        (self.x + f64::from(x) * self.scale, self.y - f64::from(y) * self.scale)
    }
}

impl OutlineBuilder for Placed<'_> {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.builder.quad_to(x1, y1, x, y);
    }

    /// Outlines of TrueType have no cubic curves; a font that had them would get their chords.
    fn curve_to(&mut self, _x1: f32, _y1: f32, _x2: f32, _y2: f32, x: f32, y: f32) {
        self.line_to(x, y);
    }

    fn close(&mut self) {
        self.builder.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_the_letters_of_our_labels() {
        let font = Font::embedded().expect("the asset is a font");
        for letter in "0123456789 .,:…–−×·µ()%+/#AZazäßéθЖ→".chars() {
            assert_ne!(font.glyph(letter), GlyphId(0), "{letter}");
        }
    }

    #[track_caller]
    fn check(text: &str, width: f64, expected: &str) {
        let font = Font::embedded().expect("the asset is a font");
        let fitted = font.fitted(text, 10.0, width);
        assert_eq!(fitted, expected);
        assert!(font.width(&fitted, 10.0) <= width.max(font.width("…", 10.0)));
    }

    #[test]
    fn texts_are_cut_to_a_width() {
        check("abc", 100.0, "abc");
        check("abcdefghij", 40.0, "abcd…");
        check("日本語日本語", 24.0, "日本…");
        check("abc", 0.0, "…");
        check("", 0.0, "");
    }

    #[test]
    fn widths_grow_with_the_size() {
        let font = Font::embedded().expect("the asset is a font");
        assert!((font.width("abc", 20.0) - 2.0 * font.width("abc", 10.0)).abs() < 1e-9);
        assert!(font.width("iii", 10.0) < font.width("mmm", 10.0));
    }
}
