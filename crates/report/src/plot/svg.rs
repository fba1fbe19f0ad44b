//! Pictures as SVG.
//!
//! Owns: the markup and its escapes. Must not know: what is drawn.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::scene::{Anchor, Colour, Scene, Shape};

/// Writes the picture as one document.
pub(super) fn write(scene: &Scene, out: &mut dyn Write) -> io::Result<()> {
    let Scene { width, height, .. } = scene;
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"DejaVu Sans, Verdana, sans-serif\">"
    )?;
    scene.shapes.iter().try_for_each(|shape| shape_to(shape, out))?;
    writeln!(out, "</svg>")
}

fn shape_to(shape: &Shape, out: &mut dyn Write) -> io::Result<()> {
    match shape {
        Shape::Rectangle { x, y, width, height, colour } => writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{}\"/>",
            hex(*colour)
        ),
        Shape::Line { points, colour, width } => writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>",
            places(points),
            hex(*colour)
        ),
        Shape::Text { x, y, size, anchor, colour, text } => writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{}\" fill=\"{}\">{}</text>",
            place(*anchor),
            hex(*colour),
            escaped(text)
        ),
    }
}

/// The text with everything escaped that markup gives a meaning, for elements and quoted attributes alike. What XML
/// cannot say at all, control characters, becomes a replacement character.
pub(crate) fn escaped(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '"' => written.push_str("&quot;"),
            '\'' => written.push_str("&#39;"),
            // Both are allowed, and both would break a line of a legend.
            '\n' | '\t' => written.push(' '),
            // Characters to Rust, but none that XML 1.0 allows (section 2.2): one of them makes the whole file unreadable.
            '\u{fffe}' | '\u{ffff}' => written.push('\u{fffd}'),
            _ if character.is_control() => written.push('\u{fffd}'),
            _ => written.push(character),
        }
    }
    debug_assert!(!written.contains(['<', '>', '"']), "nothing is left that ends an element or an attribute");
    written
}

fn hex(colour: Colour) -> String {
    format!("#{:06x}", colour.0)
}

const fn place(anchor: Anchor) -> &'static str {
    match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    }
}

/// A tenth of a pixel is less than anybody sees; all digits of a float would make most of the file.
fn places(points: &[(f64, f64)]) -> String {
    points.iter().fold(String::new(), |mut written, (x, y)| {
        // Writing to a string cannot fail.
        let _ = write!(written, "{x:.1},{y:.1} ");
        written
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(escaped(text), expected);
    }

    #[test]
    fn markup_in_a_name_stays_text() {
        check("\"><script>alert('x')</script>&", "&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;");
        check("a\x1b[2J\x00\u{ffff}\nb", "a\u{fffd}[2J\u{fffd}\u{fffd} b");
        check("größe 日本", "größe 日本");
    }

    #[test]
    fn shapes_are_elements() {
        let shapes = vec![
            Shape::Line { points: vec![(0.0, 1.0), (2.25, 3.0)], colour: Colour(0xFF), width: 1.5 },
            Shape::Text { x: 1.0, y: 2.0, size: 11.0, anchor: Anchor::End, colour: Colour(0), text: "<".into() },
        ];
        let mut out = Vec::new();
        write(&Scene { width: 10, height: 20, shapes }, &mut out).expect("a vector takes everything");
        let text = String::from_utf8(out).expect("SVG is UTF-8");
        assert!(text.contains("points=\"0.0,1.0 2.2,3.0 \" fill=\"none\" stroke=\"#0000ff\""), "{text}");
        assert!(text.contains("text-anchor=\"end\" fill=\"#000000\">&lt;</text>"), "{text}");
    }
}
