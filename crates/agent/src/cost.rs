//! What the hooks cost, measured in the target itself.
//!
//! Owns: which calls are timed, and the sums. Must not know: what share of the target's time that is.
//!
//! About every 256th call is timed, and of calls that allocate while blocks are sampled every 2,048th, at irregular distances, since programs
//! repeat themselves. The real function is left out. A call that passes without a record takes less time than reading the clock does: what
//! it does is done several times over then, between two readings. leakline knows what a reading costs, and subtracts it.

use core::hint::black_box;
use core::sync::atomic::Ordering::Relaxed;

use wire::TimedCalls;

use crate::arch;
use crate::record::Thread;
use crate::sampling;
use crate::shared::add;
use crate::turn;

/// How often the work of a call that passes is repeated.
const REPEATED: u64 = 8;
/// Longer ones are left out: somebody else had the processor meanwhile.
const TICKS_MAX: u64 = 1 << 18;
/// The places in a pair of [`TimedCalls`].
const ALLOCATING: usize = 0;
const FREEING: usize = 1;

/// Times one call, if it is to be timed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    timed: bool,
    since: u64,
    ticks: u64,
    readings: u64,
}

impl Watch {
    #[inline]
    pub(crate) fn start(timed: bool) -> Self {
        Self { timed, since: if timed { arch::ticks() } else { 0 }, ticks: 0, readings: 0 }
    }

    #[inline]
    pub(crate) fn is_running(&self) -> bool {
        self.timed
    }

    /// The real function comes now.
    #[inline]
    pub(crate) fn pause(&mut self) {
        if self.timed {
            self.ticks += arch::ticks().saturating_sub(self.since);
            self.readings += 1;
        }
    }

    /// The real function is over.
    #[inline]
    pub(crate) fn resume(&mut self) {
        if self.timed {
            self.since = arch::ticks();
        }
    }
}

/// Whether a call that allocates is timed in any case: every block that is sampled is, there are few.
#[inline]
pub(crate) fn is_every_one_timed(thread: Thread, size: u64) -> bool {
    thread.record.figures.mode.load(Relaxed) != 0 && !sampling::passes(thread, size)
}

/// Books a timed call that allocated and was recorded at `rate`, or not.
#[cold]
pub(crate) fn book_allocation(thread: Thread, mut watch: Watch, rate: Option<u32>) {
    watch.pause();
    let figures = &thread.record.figures;
    match rate {
        Some(0) if watch.ticks <= TICKS_MAX => book(&figures.exact[ALLOCATING], 1, watch.ticks, watch.readings),
        Some(0) => {}
        Some(_) => {
            add(&figures.sample_ticks, watch.ticks.min(TICKS_MAX));
            add(&figures.sample_readings, watch.readings);
        }
        None => book_pass(thread),
    }
}

/// Books a timed call that freed. While blocks are sampled these are the few that look for their block; the others are not even counted.
#[cold]
pub(crate) fn book_free(thread: Thread, mut watch: Watch) {
    watch.pause();
    let figures = &thread.record.figures;
    let timed = if figures.mode.load(Relaxed) == 0 { &figures.exact } else { &figures.sampled };
    if watch.ticks <= TICKS_MAX {
        book(&timed[FREEING], 1, watch.ticks, watch.readings);
    }
}

/// Times what a call does that passes: finding its thread, and counting.
fn book_pass(thread: Thread) {
    let since = arch::ticks();
    for _ in 0..REPEATED {
        black_box(Thread::current(black_box(u64::MAX)));
        turn::catch_up(black_box(thread));
        black_box(sampling::passes(thread, black_box(1)));
    }
    let ticks = arch::ticks().saturating_sub(since);
    if ticks <= TICKS_MAX {
        book(&thread.record.figures.sampled[ALLOCATING], REPEATED, ticks, 1);
    }
}

fn book(timed: &TimedCalls, calls: u64, ticks: u64, readings: u64) {
    add(&timed.calls, calls);
    add(&timed.ticks, ticks);
    add(&timed.readings, readings);
}
