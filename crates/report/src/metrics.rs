//! Every figure that is shown: its name, unit, origin and meaning, said once.
//!
//! Owns: column titles, JSON keys and the texts of the manual page. Must not know: any value.

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Bytes per hour.
    BytesPerHour,
    /// Seconds, with a fraction.
    Seconds,
    /// A number of things.
    Count,
    /// A number between 0 and 1.
    Share,
    /// An identifier: it names something and cannot be added up.
    Identifier,
}

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in JSON; ends in its unit where it has one.
    pub key: &'static str,
    /// Its name above a column.
    pub title: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// Where it comes from.
    pub from: &'static str,
    /// What it means.
    pub means: &'static str,
}
