//! The only reader of clocks.
//!
//! Owns: time since a start, on a clock that neither jumps nor stands still while the machine is suspended.
//! Must not know: what is timed.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant, SystemTime};

/// `/proc/uptime` counts in hundredths of a second, so that a smaller difference between the clocks is no suspend.
const SUSPEND_MIN: Duration = Duration::from_millis(500);

/// Time since it was made.
///
/// `Instant` is `CLOCK_MONOTONIC`: exact, but it stands still during suspend, and a rate over a night in suspend would be
/// wrong by hours. `/proc/uptime` goes on (`CLOCK_BOOTTIME`) but is coarse. Together they are both.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    uptime: Option<(File, Duration)>,
    suspended: Duration,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        let uptime = File::open("/proc/uptime").ok().and_then(|file| {
            let at_start = read_uptime(&file)?;
            Some((file, at_start))
        });
        Self { started: Instant::now(), uptime, suspended: Duration::ZERO }
    }

    /// Time since the start; never less than what it said before.
    pub fn elapsed(&mut self) -> Duration {
        let awake = self.started.elapsed();
        if let Some((file, at_start)) = &self.uptime
            && let Some(uptime) = read_uptime(file)
        {
            self.suspended = suspended(self.suspended, awake, uptime.saturating_sub(*at_start));
        }
        awake + self.suspended
    }

    /// Time since boot, where the kernel told it at the start; otherwise since the start.
    pub(crate) fn since_boot(&mut self) -> Duration {
        let at_start = self.uptime.as_ref().map_or(Duration::ZERO, |(_, at_start)| *at_start);
        at_start + self.elapsed()
    }

    /// As if the machine had been suspended for so long.
    #[cfg(test)]
    pub(crate) fn sleep(&mut self, length: Duration) {
        if let Some((_, at_start)) = &mut self.uptime {
            *at_start = at_start.saturating_sub(length);
        }
    }

    /// Time that was spent in suspend since the start, as far as it was noticed.
    pub(crate) const fn suspended(&self) -> Duration {
        self.suspended
    }
}

/// Nanoseconds since 1970, as the machine's wall clock has it; it may jump.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(crate) fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Time in suspend as known until now; it never shrinks.
fn suspended(before: Duration, awake: Duration, since_start: Duration) -> Duration {
    let gap = since_start.saturating_sub(awake);
    if gap > before + SUSPEND_MIN { gap } else { before }
}

fn read_uptime(file: &File) -> Option<Duration> {
    let mut text = [0; 64];
    let length = file.read_at(&mut text, 0).ok()?;
    uptime(text.get(..length)?)
}

fn uptime(text: &[u8]) -> Option<Duration> {
    let seconds = text.split(|byte| *byte == b' ').next()?;
    let seconds: f64 = std::str::from_utf8(seconds).ok()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: u64, awake: u64, since_start: u64, expected: u64) {
        let found =
            suspended(Duration::from_millis(before), Duration::from_millis(awake), Duration::from_millis(since_start));
        assert_eq!(found, Duration::from_millis(expected));
    }

    #[test]
    fn a_suspend_is_added_once() {
        check(0, 1000, 1000, 0);
        check(0, 1000, 1010, 0); // the coarse clock is a tick ahead
        check(0, 1000, 61_000, 60_000);
        check(60_000, 2000, 62_000, 60_000);
        check(60_000, 2000, 61_990, 60_000); // it never goes back
        check(60_000, 3000, 93_000, 90_000);
    }

    #[test]
    fn the_text_of_the_kernel_is_read() {
        assert_eq!(uptime(b"350735.47 234388.90\n"), Some(Duration::from_millis(350_735_470)));
        for text in ["", "x", "-1.0 2", "NaN 1", "inf"] {
            assert_eq!(uptime(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn both_clocks_tell_moments_of_this_world() {
        assert!(wall_ns() > 1_600_000_000 * 1_000_000_000, "it is later than 2020");
        let mut clock = Clock::start();
        assert!(clock.since_boot() > clock.elapsed(), "the machine was booted before");
        assert_eq!(clock.suspended(), Duration::ZERO);
    }

    #[test]
    fn it_goes_on() {
        let mut clock = Clock::start();
        let first = clock.elapsed();
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.elapsed() >= first + Duration::from_millis(2));
    }
}
