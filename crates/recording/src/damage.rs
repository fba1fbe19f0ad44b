//! What of a recording is lost.
//!
//! Owns: the counters. Must not know: how damage is found.

/// What could not be read, counted. All zero for a sound recording; a tail is normal while a recorder is at work or after it was killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Blocks that are damaged, or sound but told from one that is.
    pub blocks: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Bytes at ends of logs that are no whole block: a write that was cut.
    pub tail_bytes: u64,
    /// Files that could not be read at all.
    pub files: u64,
    /// Events of kinds that this program does not know.
    pub unknown: u64,
}

impl Damage {
    /// Whether nothing is lost but, perhaps, a write that was cut.
    pub const fn is_none(&self) -> bool {
        self.blocks == 0 && self.files == 0 && self.unknown == 0
    }

    /// Adds what was lost elsewhere.
    pub(crate) const fn add(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.bytes += other.bytes;
        self.tail_bytes += other.tail_bytes;
        self.files += other.files;
        self.unknown += other.unknown;
    }
}
