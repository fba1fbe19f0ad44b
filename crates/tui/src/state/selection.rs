//! Which row of a list is selected while the list changes under it.
//!
//! Owns: the selection. Must not know: what the rows are.

/// The selected row. It stays on its row when the order changes, and on its place when its row goes away.
#[derive(Clone, Debug)]
pub(crate) struct Selection<Key> {
    key: Option<Key>,
    index: usize,
}

impl<Key> Default for Selection<Key> {
    fn default() -> Self {
        Self { key: None, index: 0 }
    }
}

impl<Key: Copy + PartialEq> Selection<Key> {
    /// Where the selection is among these rows; none where there are none.
    pub(crate) fn index(&self, rows: &[Key]) -> Option<usize> {
        let last = rows.len().checked_sub(1)?;
        // Before the first move nothing is chosen: the selection is the place at the top, not the row that is there.
        let found = self.key.and_then(|key| rows.iter().position(|row| *row == key));
        Some(found.unwrap_or(self.index).min(last))
    }

    /// The selected row among these.
    pub(crate) fn key(&self, rows: &[Key]) -> Option<Key> {
        self.index(rows).map(|index| rows[index])
    }

    /// Moves by so many rows and stops at the ends.
    pub(crate) fn shift(&mut self, rows: &[Key], by: isize) {
        let Some(index) = self.index(rows) else { return };
        self.index = index.saturating_add_signed(by).min(rows.len() - 1);
        debug_assert!(self.index < rows.len(), "the selection is outside of the list");
        self.key = Some(rows[self.index]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves through the first list, then looks at the second.
    #[track_caller]
    fn check(before: &str, moves: &[isize], after: &str, selected: Option<char>) {
        let (before, after): (Vec<char>, Vec<char>) = (before.chars().collect(), after.chars().collect());
        let mut selection = Selection::default();
        for by in moves {
            selection.shift(&before, *by);
        }
        assert_eq!(selection.key(&after), selected);
    }

    #[test]
    fn it_follows_its_row() {
        check("abc", &[], "abc", Some('a'));
        check("abc", &[1], "cba", Some('b'));
        check("abc", &[2], "cba", Some('c'));
    }

    #[test]
    fn it_stays_in_its_place_when_the_row_goes() {
        check("abcd", &[1], "acd", Some('c'));
        check("abcd", &[3], "ab", Some('b'));
        check("abcd", &[3], "", None);
    }

    #[test]
    fn it_stops_at_the_ends() {
        check("abc", &[isize::MAX], "abc", Some('c'));
        check("abc", &[isize::MAX, isize::MIN], "abc", Some('a'));
        check("", &[1], "abc", Some('a'));
    }
}
