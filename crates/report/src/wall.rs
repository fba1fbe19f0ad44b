//! Moments of the wall clock as people and programs write them.
//!
//! Owns: the only formatter of dates. Must not know: time zones, or who reads the clock.
//!
//! All dates are in UTC and say so: a recording is often read on another machine than it was made on, and a report that
//! means another hour on each of them cannot be talked about.

use std::fmt;
use std::time::Duration;

use model::Moment;

/// Nanoseconds since 1970-01-01 00:00 UTC; written as `2026-11-21 07:31:02`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub u64);

const SECOND: u64 = 1_000_000_000;

/// A date of the Gregorian calendar and the seconds since its midnight.
pub(crate) struct Civil {
    pub(crate) year: u64,
    pub(crate) month: u64,
    pub(crate) day: u64,
    pub(crate) second: u64,
}

impl WallTime {
    /// RFC 3339 in UTC: `2026-11-21T07:31:02Z`. Fractions are left out, since no beat is shorter than a second.
    pub fn rfc3339(self) -> String {
        let civil = self.civil();
        format!("{}T{}Z", civil.date(), civil.time())
    }

    /// Seconds since 1970, with a fraction.
    pub(crate) fn unix_seconds(self) -> f64 {
        self.0 as f64 / SECOND as f64
    }

    /// How much later it is than another moment; nothing where it is not later, since the wall clock may have been set back.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This much later.
    #[must_use]
    pub(crate) fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Days to dates, after Howard Hinnant's `civil_from_days`: eras of 400 years, years that begin in March.
    pub(crate) fn civil(self) -> Civil {
        let seconds = self.0 / SECOND;
        let days = seconds / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        debug_assert!((1..=12).contains(&month) && (1..=31).contains(&day), "no such date");
        Civil { year: year_of_era + era * 400 + u64::from(month <= 2), month, day, second: seconds % 86_400 }
    }
}

impl Civil {
    /// `2026-11-21`.
    pub(crate) fn date(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// `07:31:02`.
    pub(crate) fn time(&self) -> String {
        format!("{:02}:{:02}:{:02}", self.second / 3600, self.second / 60 % 60, self.second % 60)
    }
}

impl From<&Moment> for WallTime {
    fn from(moment: &Moment) -> Self {
        Self(moment.wall_ns)
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = self.civil();
        f.pad(&format!("{} {}", civil.date(), civil.time()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seconds: u64, text: &str) {
        assert_eq!(WallTime(seconds * SECOND).rfc3339(), text);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        // Figures of `date -u -d @SECONDS`.
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(951_868_800, "2000-03-01T00:00:00Z");
        check(1_735_689_599, "2024-12-31T23:59:59Z");
        check(1_795_246_262, "2026-11-21T07:31:02Z");
        check(4_107_542_400, "2100-03-01T00:00:00Z");
        check(18_446_744_073, "2554-07-21T23:34:33Z");
    }

    #[test]
    fn moments_are_written_for_people_without_the_letters() {
        assert_eq!(WallTime(1_795_246_262 * SECOND).to_string(), "2026-11-21 07:31:02");
        assert_eq!(format!("[{:>21}]", WallTime(0)), "[  1970-01-01 00:00:00]");
    }

    #[test]
    fn differences_never_wrap() {
        assert_eq!(WallTime(5).since(WallTime(7)), Duration::ZERO);
        assert_eq!(WallTime(7).since(WallTime(5)), Duration::from_nanos(2));
        assert_eq!(WallTime(u64::MAX).after(Duration::MAX), WallTime(u64::MAX));
    }
}
