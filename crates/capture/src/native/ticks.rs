//! Ticks of the time stamp counter as durations.
//!
//! Owns: measuring how fast it ticks. Must not know: what is timed.

use std::time::{Duration, Instant};

use crate::sys::process;

/// Shortest time over which the rate is measured.
const CALIBRATION: Duration = Duration::from_millis(4);

/// The counter, read beside the monotonic clock.
#[derive(Debug)]
pub(crate) struct Ticks {
    begin: (u64, Instant),
    start: Instant,
}

impl Ticks {
    /// Starts to measure.
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { begin: (process::ticks(), now), start: now }
    }

    /// Times are given since now.
    pub(crate) fn start(&mut self) {
        self.start = Instant::now();
    }

    pub(crate) fn since_start(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn now() -> u64 {
        process::ticks()
    }

    /// Ticks per nanosecond, the more exact the longer ago [`Self::begin`] was.
    fn rate(&self) -> f64 {
        if let Some(rest) = CALIBRATION.checked_sub(self.begin.1.elapsed()) {
            std::thread::sleep(rest);
        }
        let (ticks, elapsed) = (process::ticks().saturating_sub(self.begin.0), self.begin.1.elapsed());
        (ticks as f64 / elapsed.as_nanos().max(1) as f64).max(f64::MIN_POSITIVE)
    }

    pub(crate) fn duration(&self, ticks: u64) -> Duration {
        Duration::from_nanos((ticks as f64 / self.rate()) as u64)
    }

    pub(crate) fn ticks(&self, duration: Duration) -> u64 {
        (duration.as_nanos() as f64 * self.rate()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_keeps_step_with_the_clock() {
        let ticks = Ticks::begin();
        let (before, clock) = (Ticks::now(), Instant::now());
        std::thread::sleep(Duration::from_millis(50));
        let measured = ticks.duration(Ticks::now() - before).as_secs_f64();
        let elapsed = clock.elapsed().as_secs_f64();
        assert!((measured / elapsed - 1.0).abs() < 0.05, "{measured} s against {elapsed} s");
        let second = ticks.ticks(Duration::from_secs(1));
        assert!((ticks.duration(second).as_secs_f64() - 1.0).abs() < 0.05);
    }
}
