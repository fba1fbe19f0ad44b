//! Keys of figures, made once and shared between beats.
//!
//! Owns: finding the key of a figure again. Must not know: what a figure means.
//!
//! A source gives its figures in the same order beat after beat, but for the few that come and go. So each is looked for
//! where the last one was found, and a little after it; what is not there gets a new key, which costs two allocations.

use model::{Figure, FigureKey, Reading, escaped};

use super::limits::FIGURES_MAX;

/// Keys that are looked at before a new one is made: as many as belong to a few subjects that went away.
const SEARCH_MAX: usize = 64;

/// The keys that one source had at its last sample, in its order.
#[derive(Debug, Default)]
pub(super) struct Keys {
    before: Vec<FigureKey>,
}

/// The figures of one source at one beat, while they are read.
#[derive(Debug)]
pub(super) struct Filling<'a> {
    before: &'a [FigureKey],
    next: usize,
    figures: Vec<Figure>,
    /// Figures that were left out since there are too many.
    left_out: u64,
}

impl Keys {
    /// Reads the figures of one source with `fill`; also says how many were left out.
    pub(super) fn fill(&mut self, fill: impl FnOnce(&mut Filling<'_>)) -> (Vec<Figure>, u64) {
        let figures = Vec::with_capacity(self.before.len());
        let mut filling = Filling { before: &self.before, next: 0, figures, left_out: 0 };
        fill(&mut filling);
        let Filling { figures, left_out, .. } = filling;
        let same = figures.len() == self.before.len()
            && figures
                .iter()
                .zip(&self.before)
                .all(|(figure, key)| std::sync::Arc::ptr_eq(&figure.key.name, &key.name));
        if !same {
            self.before = figures.iter().map(|figure| figure.key.clone()).collect();
        }
        (figures, left_out)
    }
}

impl Filling<'_> {
    /// Adds one figure; names are those of the kernel, unescaped.
    pub(super) fn push(&mut self, subject: &[u8], name: &[u8], value: Reading<u64>) {
        if self.figures.len() >= FIGURES_MAX {
            self.left_out += 1;
            return;
        }
        let key = self.key(subject, name);
        self.figures.push(Figure { key, value });
    }

    fn key(&mut self, subject: &[u8], name: &[u8]) -> FigureKey {
        let rest = self.before.get(self.next..).unwrap_or_default();
        let found = rest
            .iter()
            .take(SEARCH_MAX)
            .position(|key| key.name.as_bytes() == name && key.subject.as_bytes() == subject);
        if let Some(key) = found.and_then(|at| rest.get(at)) {
            self.next += found.unwrap_or_default() + 1;
            return key.clone();
        }
        // Subjects are shared between the figures of one thing.
        let shared = self.figures.last().map(|figure| &figure.key.subject).filter(|last| last.as_bytes() == subject);
        let subject = shared.cloned().unwrap_or_else(|| escaped(subject).into());
        FigureKey { subject, name: escaped(name).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Fills `subject/name` words, and says of each key whether it is the one of the fill before.
    fn filled(keys: &mut Keys, words: &str) -> String {
        let before = keys.before.clone();
        let (figures, left_out) = keys.fill(|filling| {
            for word in words.split_whitespace() {
                let (subject, name) = word.split_once('/').unwrap();
                filling.push(subject.as_bytes(), name.as_bytes(), Reading::Known(1));
            }
        });
        assert_eq!(left_out, 0);
        let same = |figure: &Figure| before.iter().any(|key| Arc::ptr_eq(&key.name, &figure.key.name));
        figures.iter().map(|figure| if same(figure) { '=' } else { '+' }).collect()
    }

    #[test]
    fn keys_are_shared_between_beats() {
        let mut keys = Keys::default();
        assert_eq!(filled(&mut keys, "a/x a/y b/x"), "+++");
        assert_eq!(filled(&mut keys, "a/x a/y b/x"), "===");
        assert_eq!(filled(&mut keys, "a/x b/x"), "==");
        assert_eq!(filled(&mut keys, "a/x c/x b/x d/y"), "=+=+");
        assert_eq!(filled(&mut keys, "a/x c/x b/x d/y"), "====");
        assert_eq!(filled(&mut keys, ""), "");
    }

    #[test]
    fn names_are_escaped() {
        let (figures, _) = Keys::default().fill(|filling| filling.push(b"a\x1b", b"b\xff", Reading::Known(1)));
        assert_eq!((&*figures[0].key.subject, &*figures[0].key.name), ("a\\x1b", "b\\xff"));
    }

    #[test]
    fn too_many_are_counted() {
        let (figures, left_out) = Keys::default().fill(|filling| {
            for _ in 0..FIGURES_MAX + 3 {
                filling.push(b"", b"x", Reading::Known(1));
            }
        });
        assert_eq!((figures.len(), left_out), (FIGURES_MAX, 3));
    }
}
