//! A curve in characters, each of which holds two by four dots.
//!
//! Owns: the dots. Must not know: what the curve means.

/// Dots of one character, by row and column. The order is odd for a reason: Braille had six dots, numbered downwards in two columns,
/// and the lowest row was added behind them.
const DOTS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
const BLANK: u32 = 0x2800;

/// A field of characters to draw in.
pub(super) struct Canvas {
    columns: usize,
    rows: usize,
    cells: Vec<u8>,
}

impl Canvas {
    /// An empty field.
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        Self { columns, rows, cells: vec![0; columns * rows] }
    }

    /// Draws through places between 0 and 1, up and to the right; what lies outside is drawn at the border.
    pub(super) fn curve(&mut self, places: &[(f64, f64)]) {
        let dot = |(x, y): &(f64, f64)| {
            let across = (self.columns * 2).saturating_sub(1) as f64;
            let up = (self.rows * 4).saturating_sub(1) as f64;
            ((x.clamp(0.0, 1.0) * across).round() as usize, ((1.0 - y.clamp(0.0, 1.0)) * up).round() as usize)
        };
        let dots: Vec<(usize, usize)> = places.iter().map(dot).collect();
        // There is no pair in it to draw a line between.
        if let [one] = dots[..] {
            self.set(one);
        }
        for pair in dots.windows(2) {
            self.line(pair[0], pair[1]);
        }
    }

    /// The field as lines of text.
    pub(super) fn lines(&self) -> Vec<String> {
        let letter = |cell: &u8| char::from_u32(BLANK + u32::from(*cell)).unwrap_or(' ');
        let rows = self.cells.chunks(self.columns.max(1));
        rows.take(self.rows).map(|row| row.iter().map(letter).collect()).collect()
    }

    /// As many dots as the longer side has, so that no line has holes.
    fn line(&mut self, from: (usize, usize), to: (usize, usize)) {
        // At least one step, or a line of one dot would be a division by zero.
        let steps = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1)).max(1);
        let between = |from: usize, to: usize, step: usize| {
            (from as f64 + (to as f64 - from as f64) * step as f64 / steps as f64).round() as usize
        };
        for step in 0..=steps {
            self.set((between(from.0, to.0, step), between(from.1, to.1, step)));
        }
    }

    fn set(&mut self, (x, y): (usize, usize)) {
        let index = y / 4 * self.columns + x / 2;
        debug_assert!(self.cells.is_empty() || index < self.cells.len(), "a dot outside of the field");
        if let Some(cell) = self.cells.get_mut(index) {
            *cell |= DOTS[y % 4][x % 2];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(size: (usize, usize), places: &[(f64, f64)], expected: &str) {
        let mut canvas = Canvas::new(size.0, size.1);
        canvas.curve(places);
        assert_eq!(canvas.lines().join("\n"), expected);
    }

    #[test]
    fn a_curve_goes_from_the_lower_left_to_the_upper_right() {
        check((2, 1), &[(0.0, 0.0), (1.0, 1.0)], "⡠⠊");
        check((2, 2), &[(0.0, 0.0), (1.0, 0.0)], "⠀⠀\n⣀⣀");
        check((2, 1), &[(0.0, 1.0), (0.0, 0.0)], "⡇⠀");
    }

    #[test]
    fn what_is_outside_is_at_the_border() {
        check((1, 1), &[(9.0, 9.0)], "⠈");
        check((1, 1), &[(-9.0, f64::NEG_INFINITY)], "⡀");
        check((1, 1), &[], "⠀");
        check((0, 0), &[(0.5, 0.5)], "");
    }
}
