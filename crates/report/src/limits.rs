//! The bounds of what is said.
//!
//! Owns: each bound, once. Must not know: who keeps to it.

/// From this confidence on, growth of private memory is called a leak; below it, it is only worth a look. A run of
/// `hunt` over 300 processes makes 300 judgements: at a lower bound chance alone would find a leak now and then.
pub(crate) const CONFIDENT: f64 = 0.95;

/// Lines in one chart of a picture. More cannot be told apart; how many are left out is said beside the others.
pub(crate) const LINES_MAX: usize = 12;

/// Charts in one picture, one above the other.
pub(crate) const CHARTS_MAX: usize = 4;

/// Findings in the head of a picture; the report lists all of them.
pub(crate) const HEADLINES_MAX: usize = 3;

/// Width and height of a picture in pixels; a larger one would take gigabytes.
pub(crate) const PICTURE_MIN: u32 = 320;
pub(crate) const PICTURE_MAX: u32 = 8192;

/// Events in a report; the recording has all of them. What deserves attention goes before what does not.
pub(crate) const EVENTS_MAX: usize = 200;

/// Floats below this that have no fraction are written as whole numbers. From 2^53 on not every whole number is a float, so that one
/// written out would claim digits that nobody measured.
pub(crate) const WHOLE_MAX: f64 = 9e15;

/// Rows that are kept until they are written as one group of a Parquet file: some 20 MB, and large enough that
/// dictionaries pay.
#[cfg(feature = "parquet")]
pub(crate) const ROWS_IN_GROUP: usize = 50_000;

const _: () = assert!(CONFIDENT > 0.5 && CONFIDENT < 1.0, "nothing is certain");
const _: () = assert!(WHOLE_MAX < 9_007_199_254_740_992.0, "below 2^53");
const _: () = assert!(HEADLINES_MAX < EVENTS_MAX && CHARTS_MAX > 0, "a picture has less than a report");
const _: () = assert!(PICTURE_MIN < PICTURE_MAX, "some picture is possible");
