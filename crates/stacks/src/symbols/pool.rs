//! A store whose contents stay where they are, so that what is parsed from them can borrow them.
//!
//! Owns: [`Pool`]. Must not know: what is stored.

use std::cell::{Cell, OnceCell};

use crate::limits::UNPACKED_BYTES_MAX;

/// A bounded store that only grows, through a shared reference: files and uncompressed sections are found one after the
/// other while the ones before are in use. Everything is dropped together with the pool.
///
/// The slots are allocated at once and never move, which is why a reference into one lasts as long as the pool without any
/// `unsafe`; an arena that grows would have to move them.
#[derive(Debug)]
pub struct Pool<T> {
    slots: Box<[OnceCell<T>]>,
    used: Cell<usize>,
    /// Only pools of bytes keep to it, see [`Pool::bytes_left`].
    bytes_max: u64,
}

impl<T> Pool<T> {
    /// A pool for at most this many things.
    pub fn new(capacity: usize) -> Self {
        Self::bounded(capacity, UNPACKED_BYTES_MAX)
    }

    /// The same with another bound of its bytes.
    pub(super) fn bounded(capacity: usize, bytes_max: u64) -> Self {
        Self { slots: (0..capacity).map(|_| OnceCell::new()).collect(), used: Cell::new(0), bytes_max }
    }

    /// Keeps a thing; none when the pool is full.
    pub fn keep(&self, thing: T) -> Option<&T> {
        let slot = self.slots.get(self.used.get())?;
        self.used.set(self.used.get() + 1);
        debug_assert!(slot.get().is_none(), "a slot is used once");
        Some(slot.get_or_init(|| thing))
    }

    /// How many more things there is room for.
    pub fn room(&self) -> usize {
        debug_assert!(self.used.get() <= self.slots.len(), "no slot is used that is not there");
        self.slots.len() - self.used.get()
    }
}

impl Pool<Vec<u8>> {
    /// How many more bytes may be kept. Counted anew each time: there are few slots, and no counter can then be wrong.
    pub(super) fn bytes_left(&self) -> u64 {
        let kept = self.slots.iter().filter_map(OnceCell::get).map(|bytes| bytes.len() as u64).sum();
        self.bytes_max.saturating_sub(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_stay_while_others_come_and_the_bound_holds() {
        let pool = Pool::new(2);
        let first = pool.keep(String::from("a")).unwrap();
        let second = pool.keep(String::from("b")).unwrap();
        assert_eq!((first.as_str(), second.as_str(), pool.room()), ("a", "b", 0));
        assert_eq!(pool.keep(String::from("c")), None);
    }

    #[test]
    fn what_is_kept_counts_against_the_bytes() {
        let pool: Pool<Vec<u8>> = Pool::bounded(3, 10);
        assert_eq!(pool.bytes_left(), 10);
        pool.keep(vec![0; 7]);
        assert_eq!(pool.bytes_left(), 3);
        pool.keep(vec![0; 7]);
        assert_eq!((pool.bytes_left(), pool.room()), (0, 1));
    }
}
