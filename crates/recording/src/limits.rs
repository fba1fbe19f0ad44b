//! The bounds of a recording, each with the reason for its size.
//!
//! Owns: the numbers. Must not know: who reaches them; what is cut or lost at one is counted where it happens.

/// Beats between two key frames of a log: what one damaged block can take with it, about ten minutes at the usual beat.
pub(crate) const KEY_EVERY: u64 = 128;

/// A log is closed at this size. Sealing one takes about three times its size in memory.
pub(crate) const LOG_BYTES: u64 = 4 << 20;

/// A log is closed after this many beats, so that a segment of a slow beat does not span weeks (retention is by segment).
pub(crate) const LOG_BEATS: u64 = 8192;

/// A log is closed after this many processes came and went in it: each has 2 KB in the memory of the one that seals (measured beside 40 births a
/// second: 4.3 MB for 2,048).
pub(crate) const LOG_BIRTHS: u32 = 1_024;

/// Logs that may wait for `maintain` before `append` seals one itself.
pub(crate) const LOGS_WAITING: usize = 8;

/// A block that claims to be longer is damaged. The key frame of 30,000 processes is about half of it.
pub(crate) const BLOCK_BYTES: usize = 16 << 20;

/// Changes that one block may have: 60,000 processes with all their metrics. A few bytes of a hostile block could otherwise become
/// gigabytes in memory.
pub(crate) const CHANGES_MAX: usize = 1 << 20;

/// Series that one segment may have.
pub(crate) const SERIES_MAX: u32 = 1 << 20;

/// What is read of one segment; the rest counts as damaged.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;

/// Raw bytes after which a column goes on in another block, so that a damaged block takes little with it.
pub(crate) const COLUMN_BYTES: usize = 256 << 10;

/// Blocks from this size are compressed in a log; smaller ones gain too little.
pub(crate) const COMPRESS_FROM: usize = 4096;

/// Searching for the next sound block checks at most this many times the bytes of the file: a file made of false starts
/// would otherwise take quadratic time.
pub(crate) const SEARCH_FACTOR: usize = 8;

/// Rows, beats and definitions that one segment may have, whatever it claims.
pub(crate) const ROWS_MAX: u32 = 1 << 20;

/// Segments that are opened of one directory; at one an hour these are more than ten years.
pub(crate) const SEGMENTS_MAX: usize = 100_000;

/// A difference between the progress of the two clocks from which age is no longer judged by the wall clock, in microseconds.
pub(crate) const CLOCK_TRUST_US: u64 = 300 * 1_000_000;

const _: () = assert!(LOG_BYTES < SEGMENT_BYTES, "what is written can be read");
const _: () = assert!(LOG_BEATS < ROWS_MAX as u64, "what is written can be read");
const _: () = assert!(COLUMN_BYTES < BLOCK_BYTES, "what is written can be read");
