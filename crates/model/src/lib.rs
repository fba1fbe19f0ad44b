//! The words that every other crate speaks.
//!
//! Owns: units, identities, readings that may be missing, samples of processes, stacks and tallies of blocks.
//! Must not know: files, clocks, the operating system, how anything is measured or shown.
//!
//! # Glossary
//!
//! - *process*: `(pid, start time)`, see [`ProcessKey`]; a pid alone is never an identity.
//! - *reading*: a figure or the reason why it is missing, see [`Reading`]; a missing figure is never zero.
//! - *block*: what one call of an allocator function returned and nobody freed yet.
//! - *stack*: the return addresses from the caller of the allocator outwards; *frame*: one of them with its names.
//! - *site*: all blocks that were allocated by one stack, or all mappings or descriptors of one kind, see [`Kind`].
//! - *live*: allocated after the attach and not freed; *expired*: live for longer than the threshold.
//! - *late free*: the free of a block that had already expired.
//! - *beat*: all that is sampled and noticed at one moment, see [`Beat`]; *figure*: one number of it.
//! - *lost*: an event that could not be recorded; always counted, never silent.
//! - *root*: memory from which a program reaches its blocks: registers, stacks, static data; see `analysis`.
//! - *blind*: the hooks never fired, or memory grew that they did not see, so that nothing can be said about leaks.

mod blocks;
mod events;
mod frames;
pub mod inspection;
mod kinds;
mod process;
mod reading;
mod system;
mod text;
mod units;

pub use blocks::{
    AgedBlock, Content, Coverage, Lifetimes, LiveBlock, Losses, Mode, Overhead, SiteCounts, Snapshot, StackId, Tally,
    Variance,
};
pub use events::{Beat, Event, Exit, Moment, Severity};
pub use frames::{Frame, FrameTrust, Function, ModuleName, SourceLine};
pub use kinds::{Kind, Kinds};
pub use process::{Identity, MachineSample, MemorySample, ProcessKey, ProcessSample};
pub use reading::{Reading, Why};
pub use system::{
    Figure, FigureKey, ProcessFigures, ProcessMetric, ProcessReading, Source, SourceSample, SystemSample,
};
pub use text::{escaped, is_harmful};
pub use units::{Address, Bytes, Pid};
