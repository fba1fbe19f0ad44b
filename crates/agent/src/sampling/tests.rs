//! Streams of blocks whose sums are known, against what their samples say.
//!
//! Owns: the streams. Must not know: hooks, stacks. All random numbers begin at fixed words, so that each run is the same.

use wire::{
    BLOCK_PARTS, Block, MARK_COUNT_MAX, MARK_EXACT, SAMPLED_BYTES, SampledCounters, SampledSum, calls_made, regions,
};

use super::*;
use crate::heap;
use crate::marks;
use crate::table::tests::{table, thread};
use crate::turn;

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
    thread.shared.control().set_mode(Mode::sampled(RATE));
    thread
}

/// What the hooks do of an allocation; whether it was recorded.
fn allocate(thread: Thread, address: u64, size: u64) -> bool {
    turn::count_allocation(thread);
    let rate = choose(thread, size);
    match rate {
        None => {}
        Some(0) => heap::insert(thread, address, size, SITE),
        Some(rate) => heap::insert_sampled(thread, address, size, SITE, rate),
    }
    rate.is_some()
}

/// Takes out the block at an address, as a free does.
fn free(thread: Thread, address: u64) {
    heap::count_taken(thread, address, heap::take(thread, address));
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
        let figures = &thread.record.figures;
        let made = calls_made(figures.allocations.load(Relaxed), figures.allocations_left.load(Relaxed));
        assert_eq!(made, BLOCKS, "calls are counted, not estimated");
    }
    for i in 0..2 {
        assert!(within[i] * 10 >= STREAMS * 8, "{within:?} of {STREAMS} intervals of 95 % hold the truth");
        assert!(sums[i].abs() < 3.0 * (STREAMS as f64).sqrt(), "biased by {sums:?} standard errors");
    }
}

/// Calls that pass take hardly longer than the clock: to time as many of them as of those that are recorded would be most of what they cost.
#[test]
fn calls_that_pass_are_timed_eight_times_as_rarely() {
    const CALLS: u64 = 100_000;
    let thread = sampler(5);
    thread.record.figures.allocation_timed_at.store(0, Relaxed);
    let timed = || (0..CALLS).filter(|_| turn::count_allocation(thread)).count() as u64;
    let passing = timed();
    assert!((CALLS / (16 * 171)..=CALLS / (8 * 171) + 2).contains(&passing), "{passing}");
    let freed = (0..CALLS).filter(|_| turn::count_free(thread)).count() as u64;
    assert!((CALLS / 342..=CALLS / 171 + 2).contains(&freed), "those that look for their block: {freed}");
}

/// What was counted in advance while calls pass is given back: where every block is recorded the clock is read sooner.
#[test]
fn calls_counted_in_advance_do_not_outlast_their_mode() {
    let thread = sampler(6);
    let figures = &thread.record.figures;
    let left = || figures.allocations_left.load(Relaxed);
    let made = || calls_made(figures.allocations.load(Relaxed), left());
    (0..3).for_each(|_| assert!(!turn::count_allocation(thread)));
    assert!(left() > 2000 && made() == 3, "{} to come, {} made", left(), made());
    thread.shared.control().set_mode(Mode::EXACT);
    turn::catch_up(thread);
    assert_eq!((left(), made()), (0, 3));
    turn::count_allocation(thread);
    assert!(left() < 64 && made() == 4, "{} to come, {} made", left(), made());
    thread.shared.control().set_mode(Mode::sampled(RATE));
    turn::count_allocation(thread);
    assert_eq!(made(), 5);
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
        thread.shared.control().set_mode(if is_exact { Mode::EXACT } else { Mode::sampled(RATE) });
        let address = 0x5000_0000_0000 + i * 112;
        let recorded = allocate(thread, address, 100);
        if is_exact {
            exact += u64::from(recorded);
            free(thread, address);
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
        heap::count_taken(thread, address_of(*i), taken);
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

/// Bytes that share a mark.
const PART: u64 = 1 << wire::MARK_SHIFT;

/// Whether the free of a block with this address has to look for it.
fn is_marked(thread: Thread, address: u64) -> bool {
    marks::kinds(thread.shared, address) != (false, false)
}

#[test]
fn a_part_is_marked_as_long_as_it_holds_sampled_blocks() {
    let thread = sampler(3);
    turn::catch_up(thread);
    let part = 0x5000_0124_0000;
    let blocks = [part + 16, part + 2048, part + PART - 16];
    for block in blocks {
        heap::insert_sampled(thread, block, 100, SITE, RATE);
    }
    assert_eq!([part - 16, part, part + PART].map(|at| is_marked(thread, at)), [false, true, false]);
    for (block, marked) in blocks.into_iter().zip([true, true, false]) {
        free(thread, block);
        assert_eq!(is_marked(thread, part), marked, "{block:#x}");
    }
    // Freed unseen, and given out again.
    heap::insert_sampled(thread, part, 100, SITE, RATE);
    heap::insert_sampled(thread, part, 100, SITE, RATE);
    free(thread, part);
    assert!(!is_marked(thread, part));
}

#[test]
fn a_mark_that_cannot_count_further_stays() {
    let thread = sampler(4);
    turn::catch_up(thread);
    let part = 0x5000_0124_0000;
    (0..u64::from(MARK_COUNT_MAX) + 5).for_each(|_| marks::add(thread.shared, part));
    (0..u64::from(MARK_COUNT_MAX) + 5).for_each(|_| marks::remove(thread.shared, part));
    assert!(is_marked(thread, part));
    let other = part + PART;
    marks::remove(thread.shared, other);
    assert!(!is_marked(thread, other), "never less than none");
    marks::keep(thread.shared, other, false);
    marks::add(thread.shared, other);
    marks::remove(thread.shared, other);
    assert_eq!(marks::of(thread.shared, other).load(Relaxed), MARK_EXACT);
}

#[test]
fn a_part_keeps_the_mark_of_blocks_that_were_recorded_for_themselves() {
    let thread = sampler(5);
    thread.shared.control().set_mode(Mode::EXACT);
    let (near, far) = (0x5000_0124_0000, 0x5000_0124_0000 + PART);
    turn::catch_up(thread);
    assert!(!heap::insert_near(thread, near, 100, SITE), "its part has no mark, and its span no bucket");
    heap::insert(thread, near, 100, SITE);
    assert!(!heap::insert_near(thread, far, 100, SITE), "nor has its neighbour a mark");
    assert!(heap::insert_near(thread, near + 512, 100, SITE));
    assert_eq!([near, far].map(|at| is_marked(thread, at)), [true, false]);
    free(thread, near);
    free(thread, near + 512);
    assert!(is_marked(thread, near), "only leakline takes it away");
    // A large one marks its part in another way: the hooks look for it elsewhere.
    let large = near + 4 * PART;
    heap::insert(thread, large, 100_000, SITE);
    assert!(is_marked(thread, large) && !marks::is_kept(thread.shared, crate::table::Span::of(large)));
    assert!(matches!(heap::free_near(thread, large), heap::Freed::Not), "it is found elsewhere");
    free(thread, large);
    assert_eq!(heap::take(thread, large), wire::Slot::NONE);
    heap::insert(thread, large, 100_000, SITE);
    heap::restore(thread, large, heap::take(thread, large));
    assert_eq!(heap::take(thread, large).unpack().map(|block| (block.size, block.stack)), Some((100_000, SITE)));
    // A block that is put back, since it was not resized after all, has one.
    heap::insert(thread, far, 100, SITE);
    let slot = heap::take(thread, far);
    marks::of(thread.shared, far).store(0, Relaxed);
    heap::restore(thread, far, slot);
    assert!(is_marked(thread, far));
}

/// Areas with marks of their own.
fn areas_with_own(thread: Thread) -> u32 {
    thread.shared.control().blocks.areas.load(Relaxed)
}

/// Bytes of an area.
const AREA: u64 = 1 << wire::AREA_SHIFT;

#[test]
fn large_blocks_that_are_alone_share_one_mark() {
    let thread = sampler(6);
    thread.shared.control().set_mode(Mode::EXACT);
    turn::catch_up(thread);
    let area = 0x5000_0040_0000;
    let [large, other, small] = [area + 0x10, area + AREA - PART, area + PART];
    let beside = [area - 16, area + AREA];
    heap::insert(thread, large, 1 << 20, SITE);
    assert!([area, large, other, small].into_iter().all(|at| marks::kinds(thread.shared, at) == (false, true)));
    assert!(!beside.into_iter().any(|at| is_marked(thread, at)), "nor do they mark other areas");
    assert!(matches!(heap::free_near(thread, large), heap::Freed::Not) && heap::may_hold(thread.shared, large));
    assert!(!heap::may_hold(thread.shared, small), "one look at the large ones is all");
    heap::insert(thread, other, 100_000, SITE);
    // Replaced, since its free went unseen, and put back, since it was not resized after all.
    heap::insert(thread, other, 200_000, SITE);
    heap::restore(thread, other, heap::take(thread, other));
    assert_eq!(areas_with_own(thread), 0);
    // The first other block gives the area marks of its own, which do not forget those that are there.
    heap::insert(thread, small, 100, SITE);
    assert_eq!(areas_with_own(thread), 1);
    assert_eq!(marks::kinds(thread.shared, large), (false, true));
    assert_eq!(marks::kinds(thread.shared, small), (true, true), "where in it they are is not known");
    assert!(
        !matches!(heap::free_near(thread, small), heap::Freed::Not)
            && !beside.into_iter().any(|at| is_marked(thread, at))
    );
    let sizes = [large, other].map(|at| heap::take(thread, at).unpack().map(|block| block.size));
    assert_eq!(sizes, [Some(1 << 20), Some(200_000)]);
    // One that comes now marks its part only.
    marks::of(thread.shared, large).store(0, Relaxed);
    heap::insert(thread, large, 1 << 20, SITE);
    assert_eq!(marks::of(thread.shared, large).load(Relaxed), wire::MARK_LARGE);
}

#[test]
fn large_blocks_that_are_sampled_are_counted_in_their_parts() {
    let thread = sampler(7);
    turn::catch_up(thread);
    let area = 0x5000_0040_0000;
    let [large, other, exact] = [area + 0x10, area + 100 * PART, area + AREA];
    heap::insert_sampled(thread, large, 1 << 20, SITE, RATE);
    heap::insert_sampled(thread, large + 16, 100, SITE, RATE);
    assert!(is_marked(thread, large) && !is_marked(thread, other), "the area has marks of its own");
    free(thread, large);
    assert!(is_marked(thread, large));
    free(thread, large + 16);
    assert!(!is_marked(thread, large));
    // Where large blocks are recorded for themselves, all parts stay marked until leakline has looked.
    heap::insert(thread, exact, 1 << 20, SITE);
    heap::insert_sampled(thread, exact + 50 * PART, 1 << 20, SITE, RATE);
    assert_eq!((areas_with_own(thread), is_marked(thread, exact + PART)), (2, true));
    free(thread, exact + 50 * PART);
    assert_eq!(marks::of(thread.shared, exact + 50 * PART).load(Relaxed), wire::MARK_LARGE);
    assert_eq!(heap::take(thread, exact).unpack().map(|block| block.rate), Some(0));
}

#[test]
fn areas_for_which_there_are_no_marks_are_looked_at_for_everything() {
    let thread = sampler(8);
    turn::catch_up(thread);
    thread.shared.control().blocks.areas.store(wire::AREAS_MAX, Relaxed);
    let area = 0x5000_0040_0000;
    heap::insert_sampled(thread, area, 100, SITE, RATE);
    heap::insert(thread, area + AREA, 100, SITE);
    for at in [area, area + AREA] {
        free(thread, at);
        assert!(is_marked(thread, at) && is_marked(thread, at + 7 * PART));
    }
    let marks = wire::FIRST_MARKS.as_flattened().iter().enumerate();
    let at = |i: usize| thread.shared.at::<core::sync::atomic::AtomicU8>(regions::MARKS.at + i as u64).load(Relaxed);
    assert!(marks.into_iter().all(|(i, mark)| at(i) == *mark), "what areas share is as it was");
    assert_eq!(areas_with_own(thread), wire::AREAS_MAX);
}

/// Threads give the same areas their marks at the same time, while leakline takes away those of large blocks.
#[test]
fn no_mark_is_lost_while_areas_get_marks_of_their_own() {
    const THREADS: u64 = 3;
    const AREAS: u64 = 2000;
    let shared = table(LINES, 4);
    let address = |area: u64, by: u64| 0x5000_0000_0000 + area * AREA + by * PART + 0x40;
    let word = move |area: u64| shared.at::<core::sync::atomic::AtomicU32>(wire::area_at(address(area, 0)));
    let lost = core::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for by in 0..THREADS {
            let lost = &lost;
            scope.spawn(move || {
                for area in 0..AREAS {
                    let at = address(area, by);
                    match by {
                        0 => marks::keep(shared, at, true),
                        1 => marks::keep(shared, at, false),
                        _ => marks::add(shared, at),
                    }
                    // Nobody takes the mark of an exact large block away before it is in the table.
                    lost.fetch_add(u64::from(!is_marked(Thread { shared, ..thread(shared, by) }, at)), Relaxed);
                }
            });
        }
        let to = |area: u64, from: u32, to: u32| word(area).compare_exchange(from, to, Relaxed, Relaxed).is_ok();
        // Large blocks come to these and are gone, until a small one gives them marks of their own.
        for area in AREAS..AREAS + 200 {
            scope.spawn(move || marks::add(shared, address(area, 2)));
            while to(area, wire::AREA_EMPTY, wire::AREA_LARGE) && to(area, wire::AREA_LARGE, wire::AREA_EMPTY) {}
        }
    });
    assert_eq!(lost.load(Relaxed), 0);
    let all = |area: u64| (0..THREADS).all(|by| marks::kinds(shared, address(area, by)) != (false, false));
    assert!((0..AREAS).all(all));
    assert!((AREAS..AREAS + 200).all(|area| marks::kinds(shared, address(area, 2)) != (false, false)));
    let own = (0..AREAS + 200).filter(|area| wire::is_own_area(word(*area).load(Relaxed))).count() as u64;
    assert_eq!(own, AREAS + 200);
}
