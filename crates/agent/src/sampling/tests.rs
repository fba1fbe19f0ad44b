//! Streams of blocks whose sums are known, against what their samples say.
//!
//! Owns: the streams. Must not know: hooks, stacks. All random numbers begin at fixed words, so that each run is the same.

use wire::{BLOCK_PARTS, Block, SAMPLED_BYTES, SampledCounters, SampledSum, regions};

use super::*;
use crate::heap;
use crate::table::tests::{table, thread};

const LINES: u32 = 1 << 16;
const RATE: u32 = 15;
const SITE: u32 = 9;
/// Sizes from far below the mean distance to far above it.
const SIZES: [u64; 6] = [64, 100, 1_000, 5_000, 70_000, 3 << 20];

/// A thread with a mapping of its own, that samples.
fn sampler(seed: u64) -> Thread {
    let thread = thread(table(LINES, 4), 1);
    thread.record.figures.random.store(seed, Relaxed);
    // No call is timed.
    thread.record.figures.allocation_timed_at.store(u64::MAX, Relaxed);
    thread.shared.control().expire_ticks.store(u64::MAX, Relaxed);
    thread.shared.control().mode.store(RATE, Relaxed);
    thread
}

/// What the hooks do of an allocation; whether it was recorded.
fn allocate(thread: Thread, address: u64, size: u64) -> bool {
    if passes(thread, size) {
        return false;
    }
    let Some(rate) = choose(thread, size) else {
        add(&thread.record.figures.allocations, 1);
        return false;
    };
    match rate {
        0 => heap::insert(thread, address, size, SITE),
        _ => heap::insert_sampled(thread, address, size, SITE, rate),
    }
    true
}

fn sampled(thread: Thread) -> &'static SampledCounters {
    let row = regions::SAMPLED.at + u64::from(thread.number()) * regions::SAMPLED_PER_THREAD;
    thread.shared.at(row + u64::from(SITE) * SAMPLED_BYTES)
}

/// Blocks and bytes that a sum comes to, each with its standard error.
fn estimate(sum: &SampledSum) -> [(f64, f64); 2] {
    let word = |word: &core::sync::atomic::AtomicU64| word.load(Relaxed) as f64;
    let variance = wire::bytes_squared(sum.bytes_variance.load(Relaxed), RATE) as f64;
    [
        (
            word(&sum.blocks) / BLOCK_PARTS as f64,
            (word(&sum.blocks_variance) / wire::blocks_variance_parts(RATE) as f64).sqrt(),
        ),
        (word(&sum.bytes), variance.sqrt()),
    ]
}

/// Blocks of all sizes, small ones far more often: number `i` of a stream.
fn size_of(i: u64) -> u64 {
    let rarity = i.trailing_zeros() as usize / 2;
    SIZES[rarity.min(SIZES.len() - 1)]
}

/// Where block `i` lies: no two share a place.
fn address_of(i: u64) -> u64 {
    0x5000_0000_0000 + (i << 24 | i << 4) % (1 << 40)
}

#[test]
fn estimates_lie_within_their_errors_and_to_both_sides() {
    const STREAMS: u64 = 40;
    const BLOCKS: u64 = 20_000;
    let truth = (1..=BLOCKS).fold([0.0, 0.0], |[count, bytes], i| [count + 1.0, bytes + size_of(i) as f64]);
    let (mut within, mut sums) = ([0, 0], [0.0, 0.0]);
    for seed in 1..=STREAMS {
        let thread = sampler(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for i in 1..=BLOCKS {
            allocate(thread, address_of(i), size_of(i));
        }
        for (i, (found, error)) in estimate(&sampled(thread).allocated).into_iter().enumerate() {
            assert!((found - truth[i]).abs() < 5.0 * error, "seed {seed}: {found} ± {error}, not {}", truth[i]);
            within[i] += u64::from((found - truth[i]).abs() <= 1.96 * error);
            // In standard errors: their sum over the streams would be far from zero if estimates were biased.
            sums[i] += (found - truth[i]) / error;
        }
        assert_eq!(thread.record.figures.allocations.load(Relaxed), BLOCKS, "calls are counted, not estimated");
    }
    for i in 0..2 {
        assert!(within[i] * 10 >= STREAMS * 8, "{within:?} of {STREAMS} intervals of 95 % hold the truth");
        assert!(sums[i].abs() < 3.0 * (STREAMS as f64).sqrt(), "biased by {sums:?} standard errors");
    }
}

/// Every change of the mode throws the countdown away: that must not make samples more or less likely.
#[test]
fn changes_of_the_mode_bias_nothing() {
    const BLOCKS: u64 = 200_000;
    let thread = sampler(77);
    thread.shared.control().lines_max.store(4 * LINES, Relaxed);
    let mut exact = 0;
    for i in 1..=BLOCKS {
        let is_exact = i / 50 % 2 == 1;
        thread.shared.control().mode.store(if is_exact { 0 } else { RATE }, Relaxed);
        let address = 0x5000_0000_0000 + i * 112;
        let recorded = allocate(thread, address, 100);
        if is_exact {
            exact += u64::from(recorded);
            heap::count_free(thread, heap::take(thread, address));
        }
    }
    assert_eq!(exact, BLOCKS / 2, "every block of an exact phase is recorded");
    assert_eq!(thread.record.figures.blocks_unrecorded.load(Relaxed), 0, "there was room");
    let [(found, error), _] = estimate(&sampled(thread).allocated);
    let truth = (BLOCKS / 2) as f64;
    assert!((found - truth).abs() < 2.5 * error, "{found} ± {error}, not {truth}");
    assert!(sampled(thread).freed.samples.load(Relaxed) == 0, "a block is freed as what it was recorded as");
}

#[test]
fn what_is_freed_is_taken_from_what_was_allocated_to_the_last_part() {
    let thread = sampler(5);
    let recorded: Vec<u64> = (1..50_000).filter(|i| allocate(thread, address_of(*i), size_of(*i))).collect();
    assert!(recorded.len() > 100, "{} samples", recorded.len());
    for i in &recorded {
        let taken = heap::take(thread, address_of(*i));
        assert_eq!(taken.unpack().map(|block: Block| (block.size, block.rate)), Some((size_of(*i), RATE)));
        heap::count_free(thread, taken);
    }
    let figures = |sum: &SampledSum| {
        [&sum.samples, &sum.blocks, &sum.bytes, &sum.blocks_variance, &sum.bytes_variance]
            .map(|word| word.load(Relaxed))
    };
    let sampled = sampled(thread);
    assert_eq!(figures(&sampled.allocated), figures(&sampled.freed));
    assert_eq!(figures(&sampled.late), [0; 5]);
}

#[test]
fn threads_draw_different_numbers() {
    let (one, other) = (sampler(0), sampler(0));
    // Without a seed it is the clock's; both run in this thread, at different times.
    assert_ne!([random(one), random(one)], [random(other), random(other)]);
}
