//! Sampling by bytes: how far apart samples lie, and what a sampled block stands for.
//!
//! Owns: the arithmetic. Must not know: who draws, who sums up.
//!
//! A rate is the binary logarithm of the mean distance in bytes between two samples; every byte has the same chance, whatever
//! block it lies in. A block counts one byte more than its size, so that empty ones are sampled as well. With `n` bytes and a mean
//! of `m` it is sampled with the probability `p = 1 - exp(-n/m)` and stands for `1/p` blocks; the variance that it adds to a sum is
//! `(1-p)/p²`. All of this is in integers: a floating point operation in the agent would set flags that the target can
//! see, and raise a signal in one that asked for it. Agent and leakline use the same functions, so that what is live is
//! exactly what was allocated less what was freed.

/// The smallest rate, 1 KiB: below it a session may as well be exact.
pub const RATE_MIN: u32 = 10;
/// The greatest rate, 16 MiB: sums of what is this rare still fit into a word.
pub const RATE_MAX: u32 = 24;
/// Parts of a block in [`Weight::blocks`].
pub const BLOCK_PARTS: u64 = 1 << BLOCK_SHIFT;

const BLOCK_SHIFT: u32 = 12;
/// No block adds more to the variance of blocks than the square of the mean distance: so many bits are left for its parts.
const VARIANCE_BITS: u32 = 52;
const FINE_SHIFT: u32 = 39;
/// Places that are given up before two factors are multiplied, so that the product fits.
const COARSER: u32 = 16;
/// [`Weight::bytes_variance`] counts the square of the mean distance in so many parts, as a power of two: no block adds more
/// than that square.
const SQUARE_SHIFT: u32 = 20;
/// From so many means on a block is always sampled: the chance that it is not is below what 64 bits can say.
const CERTAIN: u64 = 44;
/// Terms of the series of the exponential function: the next one is below 2^-64.
const TERMS: u64 = 17;
/// The natural logarithm of two in 64 binary places.
const LN_2: u128 = 0xb172_17f7_d1cf_79ab;

/// What one sampled block stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// So many blocks, in parts of [`BLOCK_PARTS`].
    pub blocks: u64,
    /// So many bytes.
    pub bytes: u64,
    /// The variance of the number of blocks, in parts of [`blocks_variance_parts`].
    pub blocks_variance: u64,
    /// The variance of the bytes, see [`bytes_squared`].
    pub bytes_variance: u64,
}

/// Bytes until the next sample, from a random word: exponentially distributed, rounded up. Comparing such a distance with whole
/// bytes gives exactly the probability that the distance itself would give.
#[inline]
pub const fn distance(random: u64, rate: u32) -> u64 {
    debug_assert!(rate <= RATE_MAX, "a rate is checked where it comes in");
    // -ln(u) = -log2(u) * ln 2, with u the word as a fraction of 2^64.
    let bits = minus_log2(random | 1) as u128;
    ((bits * LN_2) >> (32 + 64 - rate)) as u64 + 1
}

/// -log2(word / 2^64) in 32 binary places, one squaring a place.
const fn minus_log2(word: u64) -> u64 {
    let zeros = word.leading_zeros();
    let mut mantissa = word << zeros;
    let mut fraction = 0;
    let mut place = 0;
    while place < 32 {
        let square = (mantissa as u128 * mantissa as u128) >> 63;
        let carry = (square >> 64) as u64;
        fraction = fraction << 1 | carry;
        mantissa = (square >> carry) as u64;
        place += 1;
    }
    ((zeros as u64 + 1) << 32) - fraction
}

/// What a sampled block of this size stands for.
pub const fn weigh(size: u64, rate: u32) -> Weight {
    // The rate may come from a table that the target wrote over.
    let rate = if rate < RATE_MIN || rate > RATE_MAX { RATE_MIN } else { rate };
    let chance = chance(size, rate);
    if chance == u64::MAX || chance == 0 {
        return Weight { blocks: BLOCK_PARTS, bytes: size, blocks_variance: 0, bytes_variance: 0 };
    }
    // Finer than the parts of a block: of a large block the variance is all in how little its weight exceeds one.
    let (size, blocks) = (size as u128, reciprocal(chance) as u128);
    let variance_shift = VARIANCE_BITS - 2 * rate;
    let more = blocks - (1 << FINE_SHIFT);
    let bytes = size * blocks;
    Weight {
        blocks: rounded(blocks, FINE_SHIFT - BLOCK_SHIFT),
        bytes: rounded(bytes, FINE_SHIFT),
        blocks_variance: ((blocks * more) >> (2 * FINE_SHIFT - variance_shift)) as u64,
        bytes_variance: (((bytes >> COARSER) * ((size * more) >> COARSER))
            >> (2 * (FINE_SHIFT + rate - COARSER) - SQUARE_SHIFT)) as u64,
    }
}

const fn rounded(number: u128, shift: u32) -> u64 {
    ((number + (1 << (shift - 1))) >> shift) as u64
}

/// One divided by a fraction of one, in [`FINE_SHIFT`] binary places. A division of longer words than the processor's would bring
/// in a function of the compiler's, which needs a linker: this is one of half words, made twice as exact by a step of Newton's.
const fn reciprocal(chance: u64) -> u64 {
    debug_assert!(chance != 0, "the caller has looked");
    let zeros = chance.leading_zeros();
    let divisor = chance << zeros;
    // 2^126 / divisor, at most 2^63; first with its upper half, then without the error of that.
    let guess = (u64::MAX / (divisor >> 32)) << 30;
    let error = (1_i128 << 126) - (divisor as i128 * guess as i128);
    let inverse = (guess as i128 + ((guess as i128 * (error >> 62)) >> 64)) as u64;
    let shift = 23;
    let quotient = if zeros > shift { inverse << (zeros - shift) } else { inverse >> (shift - zeros) };
    // What is lost in rounding must not make it less than one.
    if quotient < 1 << FINE_SHIFT { 1 << FINE_SHIFT } else { quotient }
}

/// Parts of a squared block in [`Weight::blocks_variance`]: the finer, the less one block can add.
pub const fn blocks_variance_parts(rate: u32) -> u64 {
    1 << (VARIANCE_BITS - 2 * rate)
}

/// A sum of [`Weight::bytes_variance`] in squared bytes.
pub const fn bytes_squared(variance: u64, rate: u32) -> u128 {
    (variance as u128) << (2 * rate - SQUARE_SHIFT)
}

const _: () = assert!(2 * RATE_MAX < VARIANCE_BITS, "there are parts at every rate");
const _: () = assert!(2 * RATE_MIN >= SQUARE_SHIFT, "a part of the square is at least one squared byte");

/// The chance that a block of this size is sampled, in 64 binary places; the greatest number for certainty.
const fn chance(size: u64, rate: u32) -> u64 {
    let bytes = size.saturating_add(1);
    if bytes >> rate >= CERTAIN {
        return u64::MAX;
    }
    // 1 - exp(-x) by its series for x / 2^k below a half, and from there 1 - (1 - q)² = q (2 - q), k times.
    let mut halvings = 0;
    while bytes >> (rate + halvings - 1) > 0 {
        halvings += 1;
    }
    let x = bytes << (64 - rate - halvings);
    // Each term is smaller than the one before by this many places at least; what is below the last place needs no term.
    let places = x.leading_zeros() as u64;
    let terms = if places < 4 { TERMS } else { u64::BITS as u64 / places + 2 };
    let (mut inner, mut term) = (u64::MAX, if terms < TERMS { terms } else { TERMS });
    while term >= 2 {
        inner = u64::MAX - product(x, inner) / term;
        term -= 1;
    }
    let mut chance = product(x, inner);
    while halvings > 0 {
        // Twice a chance of a half and more does not fit; what is left over of one does.
        chance = u64::MAX - product(u64::MAX - chance, u64::MAX - chance);
        halvings -= 1;
    }
    chance
}

/// The product of two fractions of one.
const fn product(a: u64, b: u64) -> u64 {
    ((a as u128 * b as u128) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by floating point.
    fn by_the_book(size: u64, rate: u32) -> [f64; 4] {
        let (size, n) = (size as f64, size as f64 + 1.0);
        let p = -(-n / f64::from(1_u32 << rate)).exp_m1();
        let variance = (1.0 - p) / (p * p);
        [1.0 / p, size / p, variance, size * size * variance]
    }

    #[test]
    fn weights_are_those_of_the_book() {
        for rate in [RATE_MIN, 15, 19, RATE_MAX] {
            for size in [0, 1, 7, 16, 100, 1000, 4096, 65_535, 1 << 19, 3 << 19, 1 << 22, 1 << 27, 1 << 36] {
                let weight = weigh(size, rate);
                let found = [
                    weight.blocks as f64 / BLOCK_PARTS as f64,
                    weight.bytes as f64,
                    weight.blocks_variance as f64 / blocks_variance_parts(rate) as f64,
                    bytes_squared(weight.bytes_variance, rate) as f64,
                ];
                // Rounding to the parts is all that may differ.
                let mean = f64::from(1_u32 << rate);
                let parts =
                    [1.0 / 4096.0, 1.0, 1.0 / blocks_variance_parts(rate) as f64 + 1e-9, mean * mean / 1e5 + 1.0];
                for ((found, wanted), part) in found.into_iter().zip(by_the_book(size, rate)).zip(parts) {
                    let off = (found - wanted).abs();
                    assert!(off <= part + wanted * 1e-3, "{size} at 2^{rate}: {found}, not {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_reciprocal_is_exact_to_its_last_places() {
        let mut chance = 1_u64 << 40;
        while chance < u64::MAX - (chance >> 5) {
            let exact = (1_u128 << (FINE_SHIFT + 64)) / u128::from(chance);
            let off = u128::from(reciprocal(chance)).abs_diff(exact);
            assert!(off <= 1 + (exact >> 58), "{chance:#x}: off by {off}");
            chance += chance >> 5 | 1;
        }
        for chance in [u64::MAX, u64::MAX - 1, (1 << 63) + 1, 1 << 63, (1 << 63) - 1] {
            let exact = (1_u128 << (FINE_SHIFT + 64)) / u128::from(chance);
            assert!(u128::from(reciprocal(chance)).abs_diff(exact) <= 1, "{chance:#x}");
            assert!(reciprocal(chance) >= 1 << FINE_SHIFT, "nothing is taken from more than it");
        }
    }

    #[test]
    fn no_block_adds_more_variance_than_the_square_of_the_mean() {
        for size in (0..37).flat_map(|shift| [1_u64 << shift, (1 << shift) + (1 << shift) / 3]) {
            assert!(weigh(size, 19).bytes_variance <= 1 << SQUARE_SHIFT, "{size}");
        }
        assert_eq!(weigh(crate::BLOCK_SIZE_MAX, 19).bytes, crate::BLOCK_SIZE_MAX, "the largest stand for themselves");
    }

    /// A generator whose words are as even as can be: every 2^-16 of the range once.
    fn even() -> impl Iterator<Item = u64> {
        (0..1_u64 << 16).map(|i| (i << 48) + (1 << 47))
    }

    #[test]
    fn distances_are_exponentially_distributed() {
        let mean = (1_u64 << 19) as f64;
        let mut distances: std::vec::Vec<u64> = even().map(|word| distance(word, 19)).collect();
        let sum: f64 = distances.iter().map(|distance| *distance as f64).sum();
        assert!((sum / 65_536.0 / mean - 1.0).abs() < 0.001, "the mean is {}", sum / 65_536.0);
        distances.sort_unstable();
        for share in [0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999] {
            let found = distances[(share * 65_536.0) as usize] as f64;
            let wanted = -mean * (1.0_f64 - share).ln();
            assert!((found / wanted - 1.0).abs() < 0.01, "{share}: {found}, not {wanted}");
        }
        assert_eq!(distance(u64::MAX, 19), 1);
        assert!(distance(0, 19) < 45 << 19);
    }
}
