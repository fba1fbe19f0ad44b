//! Robust statistics of a short series.
//!
//! Owns: Theil–Sen slope with Sen's interval, Mann–Kendall significance. Must not know: what the series measures.

/// Change per hour in bytes, and the interval (95 %) in which it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The estimate; negative where it shrinks.
    pub per_hour: i64,
    /// Lower end of the interval.
    pub low: i64,
    /// Upper end of the interval.
    pub high: i64,
}
