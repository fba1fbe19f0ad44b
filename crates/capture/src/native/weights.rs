//! Sums over sampled blocks, as tallies with their variance.
//!
//! Owns: turning the agent's parts into blocks and bytes. Must not know: where the sums stand.

use model::{Bytes, Tally, Variance};
use wire::{BLOCK_PARTS, Weight, blocks_variance_parts, bytes_squared};

/// What sampled blocks stand for, summed up; field by field as [`wire::SampledSum`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weights {
    /// How many samples.
    pub(crate) samples: u64,
    blocks: u64,
    bytes: u64,
    blocks_variance: u64,
    bytes_variance: u64,
}

impl Weights {
    /// Words of a [`wire::SampledSum`].
    pub(crate) const WORDS: usize = size_of::<wire::SampledSum>() / 8;

    /// Adds the words of a sum. They may be anything: sums end at the greatest number rather than begin anew.
    pub(crate) fn add_words(&mut self, words: &[u64]) {
        let word = |i: usize| words.get(i).copied().unwrap_or(0);
        let fields =
            [&mut self.samples, &mut self.blocks, &mut self.bytes, &mut self.blocks_variance, &mut self.bytes_variance];
        for (i, field) in fields.into_iter().enumerate() {
            *field = field.saturating_add(word(i));
        }
    }

    /// Adds one block.
    pub(crate) fn add(&mut self, weight: Weight) {
        self.add_words(&[1, weight.blocks, weight.bytes, weight.blocks_variance, weight.bytes_variance]);
    }

    /// The tally that blocks sampled at this rate come to.
    pub(crate) fn tally(&self, rate: u32) -> Tally {
        let variance = Variance {
            blocks: u128::from(self.blocks_variance.div_ceil(blocks_variance_parts(rate))),
            bytes: bytes_squared(self.bytes_variance, rate),
        };
        let count = self.blocks.saturating_add(BLOCK_PARTS / 2) / BLOCK_PARTS;
        Tally { variance, ..Tally::exact(count, Bytes(self.bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 19;

    #[test]
    fn samples_of_small_blocks_stand_for_many() {
        let mut weights = Weights::default();
        for _ in 0..100 {
            weights.add(wire::weigh(1023, RATE));
        }
        let tally = weights.tally(RATE);
        // 512 blocks of 1 KiB lie between two samples on average; a tenth is the standard error of a hundred samples (and three more).
        assert_eq!(tally.count, 51_250);
        assert!((tally.count_error() as f64 / 51_250.0 - 0.199).abs() < 0.001, "{tally:?}");
        assert!((tally.bytes_error().0 as f64 / tally.bytes.0 as f64 - 0.199).abs() < 0.001, "{tally:?}");
        assert_eq!(tally.bytes.0 / 1023, 51_250);
    }

    #[test]
    fn a_chance_that_is_nearly_one_still_has_its_error() {
        let mut weights = Weights::default();
        for _ in 0..1000 {
            weights.add(wire::weigh(4096, 10));
        }
        let tally = weights.tally(10);
        // Of 1,000 blocks of four means 18 are missed; the standard error is the root of 19.
        assert_eq!((tally.count, tally.variance.blocks), (1019, 19));
        assert!(tally.count_error() > 0, "an estimate is never shown as a count");
    }

    #[test]
    fn samples_of_large_blocks_stand_for_themselves() {
        let mut weights = Weights::default();
        weights.add(wire::weigh(64 << 20, RATE));
        assert_eq!(weights.tally(RATE), Tally::exact(1, Bytes(64 << 20)));
    }

    #[test]
    fn hostile_sums_stay_at_the_greatest_number() {
        let mut weights = Weights::default();
        weights.add_words(&[u64::MAX; 5]);
        weights.add_words(&[u64::MAX; 5]);
        assert_eq!(weights.tally(RATE).bytes, Bytes(u64::MAX));
        assert_eq!(weights.samples, u64::MAX);
    }
}
