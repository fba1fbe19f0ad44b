//! A store whose contents stay where they are, so that what is parsed from them can borrow them.
//!
//! Owns: [`Pool`]. Must not know: what is stored.

use std::cell::{Cell, OnceCell};

/// A bounded store that only grows, through a shared reference: files and uncompressed sections are found one after the
/// other while the ones before are in use. Everything is dropped together with the pool.
#[derive(Debug)]
pub struct Pool<T> {
    slots: Box<[OnceCell<T>]>,
    used: Cell<usize>,
}

impl<T> Pool<T> {
    /// A pool for at most this many things.
    pub fn new(capacity: usize) -> Self {
        Self { slots: (0..capacity).map(|_| OnceCell::new()).collect(), used: Cell::new(0) }
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
        self.slots.len() - self.used.get()
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
}
