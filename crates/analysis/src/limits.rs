//! The bounds of every table and test in this crate, each once.
//!
//! Owns: the numbers and why they are what they are. Must not know: who crosses them; whoever does keeps a counter.

use std::time::Duration;

/// Points kept of one process. At one beat a second that is two minutes undiluted; a longer watch is thinned.
pub(crate) const POINTS_MAX: usize = 120;
/// Points of one series that a trend is computed from: the pairs grow with the square (64 points are 2,016 pairs,
/// about 20 microseconds), and more points hardly narrow the interval.
pub(crate) const JUDGED_MAX: usize = 64;
/// Processes whose history is kept: 8,192 histories are 24 MB.
pub(crate) const PROCESSES_MAX: usize = 8_192;
/// Points kept of one site.
pub(crate) const SITE_POINTS_MAX: usize = 32;
/// Sites whose history is kept; only sites with expired blocks have one.
pub(crate) const SITE_HISTORIES_MAX: usize = 4_096;
/// Sites that are known by name of their stack at all; equals the room in the tables in the target.
pub(crate) const SITES_MAX: usize = 65_536;
/// The fewest points of a trend: five monotone points happen by chance once in 60 series, six once in 360.
pub(crate) const POINTS_MIN: usize = 6;
/// The shortest window of a trend: below it one garbage collection or one request is the whole series.
pub(crate) const SPAN_MIN: Duration = Duration::from_secs(5);
/// Growth below this is not material in any window: allocators and stacks move by as much without a leak.
pub(crate) const MATERIAL_MIN: u64 = 512 * 1024;
/// Growth that is material in a window of one hour and more; shorter windows ask for their share of it.
pub(crate) const MATERIAL_HOUR: u64 = 8 * 1024 * 1024;
/// A process must grow by at least this share of its size (one part in so many), else it is merely large.
pub(crate) const MATERIAL_SHARE: u64 = 500;

const _: () = assert!(JUDGED_MAX <= POINTS_MAX, "a trend cannot use more points than are kept");
const _: () = assert!(POINTS_MIN <= SITE_POINTS_MAX, "a site must be able to have a trend");
const _: () = assert!(POINTS_MAX.is_multiple_of(2) && SITE_POINTS_MAX.is_multiple_of(2), "thinning merges pairs");
