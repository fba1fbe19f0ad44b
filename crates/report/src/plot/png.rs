//! Pictures as PNG.
//!
//! Owns: filling shapes with pixels. Must not know: what is drawn.

use std::io::{self, Write};

use tiny_skia::{Color, FillRule, LineCap, LineJoin, Paint, PathBuilder, Pixmap, Rect, Stroke, Transform};

use super::font::{Font, Outline};
use super::scene::{Anchor, Colour, Scene, Shape};

/// Writes the picture as one file.
pub(super) fn write(scene: &Scene, out: &mut dyn Write) -> io::Result<()> {
    // Both can fail by their signatures alone: the font is embedded and tested, and the size was bounded by `Plot`.
    let (Some(font), Some(mut pixels)) = (Font::embedded(), Pixmap::new(scene.width, scene.height)) else {
        return Err(io::Error::other("a picture of this size cannot be made"));
    };
    scene.shapes.iter().for_each(|shape| draw(shape, &font, &mut pixels));
    let file = pixels.encode_png().map_err(io::Error::other)?;
    debug_assert!(file.starts_with(b"\x89PNG"), "the file says what it is");
    out.write_all(&file)
}

fn draw(shape: &Shape, font: &Font, pixels: &mut Pixmap) {
    match shape {
        Shape::Rectangle { x, y, width, height, colour } => {
            let area = Rect::from_xywh(*x as f32, *y as f32, *width as f32, *height as f32);
            if let Some(area) = area {
                pixels.fill_rect(area, &paint(*colour), Transform::identity(), None);
            }
        }
        Shape::Line { points, colour, width } => {
            let mut path = PathBuilder::new();
            for (index, (x, y)) in points.iter().enumerate() {
                if index == 0 {
                    path.move_to(*x as f32, *y as f32);
                } else {
                    path.line_to(*x as f32, *y as f32);
                }
            }
            // Round ends and corners: a curve of two thousand points has mitres that stick out like values that never were.
            let stroke = Stroke {
                width: *width as f32,
                line_cap: LineCap::Round,
                line_join: LineJoin::Round,
                ..Stroke::default()
            };
            // None where there are fewer than two points, or one of them is no number.
            if let Some(path) = path.finish() {
                pixels.stroke_path(&path, &paint(*colour), &stroke, Transform::identity(), None);
            }
        }
        Shape::Text { x, y, size, anchor, colour, text } => {
            let width = font.width(text, *size);
            let x = match anchor {
                Anchor::Start => *x,
                Anchor::Middle => x - width / 2.0,
                Anchor::End => x - width,
            };
            let mut letters = Letters(PathBuilder::new());
            font.outline(text, (x, *y), *size, &mut letters);
            if let Some(path) = letters.0.finish() {
                pixels.fill_path(&path, &paint(*colour), FillRule::Winding, Transform::identity(), None);
            }
        }
    }
}

fn paint(colour: Colour) -> Paint<'static> {
    let [red, green, blue] = colour.channels();
    let mut paint = Paint::default();
    paint.set_color(Color::from_rgba8(red, green, blue, 255));
    paint
}

/// The outlines of a text as one path.
struct Letters(PathBuilder);

impl Outline for Letters {
    fn move_to(&mut self, x: f64, y: f64) {
        self.0.move_to(x as f32, y as f32);
    }

    fn line_to(&mut self, x: f64, y: f64) {
        self.0.line_to(x as f32, y as f32);
    }

    fn quad_to(&mut self, x1: f64, y1: f64, x: f64, y: f64) {
        self.0.quad_to(x1 as f32, y1 as f32, x as f32, y as f32);
    }

    fn close(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The colour of one pixel after these shapes.
    #[track_caller]
    fn check(shapes: &[Shape], (x, y): (u32, u32), expected: [u8; 3]) {
        let mut pixels = Pixmap::new(20, 20).expect("a small picture can be made");
        let font = Font::embedded().expect("the asset is a font");
        for shape in shapes {
            draw(shape, &font, &mut pixels);
        }
        let pixel = pixels.pixel(x, y).expect("the place is in the picture");
        assert_eq!([pixel.red(), pixel.green(), pixel.blue()], expected);
    }

    const RED: Colour = Colour(0xFF_00_00);

    #[test]
    fn shapes_are_where_they_should_be() {
        let ground = Shape::Rectangle { x: 5.0, y: 5.0, width: 10.0, height: 10.0, colour: RED };
        check(std::slice::from_ref(&ground), (10, 10), [255, 0, 0]);
        check(std::slice::from_ref(&ground), (2, 10), [0, 0, 0]);
        let line = Shape::Line { points: vec![(0.0, 10.0), (20.0, 10.0)], colour: Colour(0xFF), width: 4.0 };
        check(&[ground, line], (10, 10), [0, 0, 255]);
    }

    #[test]
    fn a_text_ends_where_it_is_anchored() {
        let text = |anchor| Shape::Text { x: 10.0, y: 18.0, size: 20.0, anchor, colour: RED, text: "█H".into() };
        // The box of the letter that the font does not have, or the letter itself, is left of the place.
        check(&[text(Anchor::End)], (15, 10), [0, 0, 0]);
        let dash = |anchor| Shape::Text { x: 10.0, y: 12.0, size: 20.0, anchor, colour: RED, text: "—".into() };
        check(&[dash(Anchor::Start)], (15, 6), [255, 0, 0]);
        check(&[dash(Anchor::Start)], (5, 6), [0, 0, 0]);
        check(&[dash(Anchor::End)], (5, 6), [255, 0, 0]);
    }

    #[test]
    fn shapes_without_extent_draw_nothing() {
        check(&[Shape::Line { points: Vec::new(), colour: RED, width: 1.0 }], (10, 10), [0, 0, 0]);
        check(&[Shape::Rectangle { x: 0.0, y: 0.0, width: f64::NAN, height: 1.0, colour: RED }], (0, 0), [0, 0, 0]);
    }
}
