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
/// Sites whose history is kept: 16,384 histories are 20 MB. Only sites with blocks that ever expired have one.
pub(crate) const SITE_HISTORIES_MAX: usize = 16_384;
/// Fewer expired blocks than this are no pattern: programs keep one or two of many things.
pub(crate) const LEAK_BLOCKS_MIN: u64 = 3;
/// So many late frees demote a site, if they are ...
pub(crate) const LATE_FREES_MIN: u64 = 8;
/// ... at least this share of all blocks that ever expired.
pub(crate) const LATE_SHARE_MIN: f64 = 0.5;
/// A new maximum must exceed the old by this share, else a single block more would hide a plateau.
pub(crate) const NEW_MAXIMUM_SHARE: f64 = 0.02;
/// Changes of the mode that are remembered; of earlier ones only the number.
pub(crate) const MODE_CHANGES_MAX: usize = 16;
/// Estimates that are off by more than this share of the level cannot tell a rise from a level.
pub(crate) const UNCLEAR_SHARE: f64 = 0.2;
/// Blocks may lie in blocks (a pool and what it hands out), but not deeper than this: sizes that the target forged would make the walk
/// follow each word to every block.
pub(crate) const NESTED_MAX: usize = 16;
/// Pointers of the roots into the middle of a block that are kept until they are judged. Few forms have one, and the rest say the same.
pub(crate) const INSIDE_MAX: u8 = 64;
/// A site that has not allocated for so many thresholds, ...
pub(crate) const QUIET_EXPIRIES: u32 = 3;
/// ... and for so long, while the program went on, made its blocks once and keeps them.
pub(crate) const QUIET_MIN: Duration = Duration::from_secs(10);
/// A session must last so many thresholds before "nothing found" can be said: what was allocated in its second half cannot
/// have expired yet.
pub(crate) const JUDGED_EXPIRIES: u32 = 2;
/// One unrecorded block in so many allocations is too much to say "nothing found".
pub(crate) const UNRECORDED_SHARE: u64 = 100;

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

/// Growth of a kind of memory below this is not named: tables and stacks move by as much at any time.
pub(crate) const KIND_MIN: u64 = 64 * 1024;
/// What a process does in its first seconds is starting up, where its start was seen.
pub(crate) const WARM_UP: Duration = Duration::from_secs(5);
/// A rise must be this many standard deviations from chance (two-sided 1 %). More would refuse six monotone points.
pub(crate) const SCORE_MIN: f64 = 2.576;
/// A single increment of more than this share of the growth makes it a step.
pub(crate) const STEP_SHARE: f64 = 0.6;
/// The second half must grow at least this much of the first half's slope ...
pub(crate) const HALVES_RATIO: f64 = 0.5;
/// ... and of the slope of the whole, or growth is ending.
pub(crate) const SLOWED_RATIO: f64 = 0.35;
/// Halves with fewer points have no slope that could be compared with each other.
pub(crate) const HALF_POINTS_MIN: usize = 8;
/// Growth must be this many times the median distance of the points from their line.
pub(crate) const NOISE_TIMES: f64 = 2.5;
/// A fall of at least this share of the range, from a peak to the trough after it, is a tooth.
pub(crate) const TOOTH_SHARE: f64 = 0.25;
/// So many teeth make a sawtooth; one fall is only the end of something.
pub(crate) const TEETH_MIN: usize = 2;
/// So many troughs, each higher than the one before, are a rising floor.
pub(crate) const TROUGHS_MIN: usize = 3;
/// Doubts that are left of growth that meets all conditions; confidence is one less their sum. Of ten samples 5 % ...
pub(crate) const DOUBT_SAMPLES: f64 = 0.5;
/// ... of growth that is just material 5 %, of ten times as much a tenth of it ...
pub(crate) const DOUBT_AMOUNT: f64 = 0.05;
/// ... of growth that just stands out of the noise 25 %. A clean leak of 200 KiB/s is 93 % certain after 10 s, 98 % after 60 s.
pub(crate) const DOUBT_NOISE: f64 = 0.25;
/// Of ten rising troughs 10 %: a heap that is still being filled rises too.
pub(crate) const DOUBT_TROUGHS: f64 = 1.0;
/// Rules and subjects that are watched at once: only those that were broken at some beat.
pub(crate) const ALERTS_MAX: usize = 4_096;
/// Parents of zombies that are remembered for the evidence.
pub(crate) const ZOMBIE_PARENTS_MAX: usize = 256;
/// Private memory that grows by less than this during an attach proves nothing: stacks and tables do.
pub(crate) const UNSEEN_MIN: u64 = 8 << 20;
/// Growth of so many times of what the hooks saw being handed out comes from elsewhere.
pub(crate) const UNSEEN_TIMES: u64 = 2;
/// Patterns of suppressions; each is compared with every name of every leaking stack.
pub(crate) const PATTERNS_MAX: usize = 10_000;
/// A pattern that is longer than the longest names is a mistake.
pub(crate) const PATTERN_BYTES_MAX: usize = 4_096;
/// Points of the recent rate.
pub(crate) const RECENT_POINTS: usize = 10;

const _: () = assert!(JUDGED_MAX <= POINTS_MAX, "a trend cannot use more points than are kept");
const _: () = assert!(POINTS_MIN <= SITE_POINTS_MAX, "a site must be able to have a trend");
const _: () = assert!(POINTS_MAX.is_multiple_of(2) && SITE_POINTS_MAX.is_multiple_of(2), "thinning merges pairs");

/// Shortest and longest time between two events of the same kind and site whose count has not doubled.
pub(crate) const TOLD_PAUSE_MIN: Duration = Duration::from_secs(1);
pub(crate) const TOLD_PAUSE_MAX: Duration = Duration::from_secs(600);
