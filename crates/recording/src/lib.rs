//! Samples of a machine kept on disk: append-only, compact, and readable after any crash.
//!
//! Owns: the format (`docs/recording-format.md`), its versions, segments and their retention, reading by beat or by series.
//! Must not know: who records, who reads, what a figure means, any clock: all times come with the beats.
//!
//! A recording is a place with numbered segments. The newest is a *log*: beats, each told from the one before, each in a block of
//! its own that is written before the next sample is taken. A log that is closed is *sealed* when there is time: turned into
//! columns, one for each metric, compressed. Reading goes through columns only; a reader turns a log into columns in memory.

mod beats;
mod block;
mod cell;
mod coding;
mod damage;
mod error;
mod gaps;
mod limits;
mod medium;
mod names;
mod recorder;
mod recording;
mod segments;
mod series;
mod store;
mod versions;

#[cfg(test)]
mod durability_tests;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wild_tests;

pub use beats::Beats;
pub use damage::Damage;
pub use error::Error;
pub use gaps::{Gap, GapKind};
pub use recorder::{Maintained, Options, Recorder};
pub use recording::{Info, ProcessId, ProcessSpan, Recording};
pub use series::{Point, Series};
pub use store::{Directory, Entry, Input, Lock, Output, Store, recorder_at_work};
