//! Numbers that look random and come again for the same seed.
//!
//! Owns: the generator, and values at which parsers break. Must not know: what is made of them.

/// A generator; every case has one of its own, so that it can be repeated alone.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

/// Ends of ranges, and what is next to them.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    7,
    0x7f,
    0x80,
    0xff,
    0xfff,
    0x1000,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    (1 << 47) - 1,
    i64::MAX as u64,
    u64::MAX - 0xfff,
    u64::MAX,
];

impl Chance {
    /// The generator of one case.
    pub(crate) fn new(seed: u64, case: u64) -> Self {
        // splitmix64: neighbouring cases share nothing.
        let mut chance = Self(seed ^ case.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        chance.next();
        chance
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a bound; 0 where there is no such number.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }

    /// Whether one chance in `of` has come.
    pub(crate) fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// A value at which something may break: an edge, a small step from what was there, or anything.
    pub(crate) fn value(&mut self, was: u64) -> u64 {
        match self.below(4) {
            0 => EDGES.get(self.below(EDGES.len())).copied().unwrap_or(0),
            1 => was.wrapping_add(self.next() % 17).wrapping_sub(8),
            2 => was ^ (1 << (self.next() % 64)),
            _ => self.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_can_be_repeated_and_differs_from_the_next() {
        let first: Vec<u64> = (0..4).map(|case| Chance::new(7, case).next()).collect();
        let again: Vec<u64> = (0..4).map(|case| Chance::new(7, case).next()).collect();
        assert_eq!(first, again);
        assert!(first.iter().zip(first.iter().skip(1)).all(|(one, next)| one != next));
        assert_eq!(Chance::new(1, 1).below(0), 0);
    }
}
