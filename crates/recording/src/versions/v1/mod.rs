//! Version 1 of the format, see `docs/recording-format.md`.
//!
//! Owns: the numbers of columns and kinds of blocks. Must not know: files.

pub(crate) mod column;
pub(crate) mod log;
pub(crate) mod sealed;
pub(crate) mod transpose;
pub(crate) mod words;

use model::{ProcessMetric, Source};

/// Whether a process is there; below it the metrics of processes by their number.
pub(crate) const PRESENCE: u8 = 63;
/// The first source of the machine; sources follow by their number.
const SOURCES_FROM: u8 = 64;
/// All columns are below this number.
pub(crate) const COLUMNS: u8 = 128;
/// The row of a source that says whether it was read.
pub(crate) const SOURCE_ROW: u32 = 0;

/// A beat told from the one before.
pub(crate) const KIND_BEAT: u8 = 1;
/// A beat told from nothing.
pub(crate) const KIND_KEY: u8 = 2;
/// When the beats of a sealed segment were.
pub(crate) const KIND_TIMES: u8 = 3;
/// Processes and figures of a sealed segment.
pub(crate) const KIND_DEFINITIONS: u8 = 4;
/// Events of a sealed segment.
pub(crate) const KIND_EVENTS: u8 = 5;
/// A column of a sealed segment, or a part of one.
pub(crate) const KIND_COLUMN: u8 = 6;
/// What is where in a sealed segment.
pub(crate) const KIND_INDEX: u8 = 7;

/// The column of a source.
pub(crate) const fn column_of(source: Source) -> u8 {
    SOURCES_FROM + source as u8
}

/// The source of a column.
pub(crate) fn source_of(column: u8) -> Option<Source> {
    Source::ALL.get(usize::from(column.checked_sub(SOURCES_FROM)?)).copied()
}

/// What differences within a column are mostly multiples of; part of the format.
pub(crate) fn quantum_of(column: u8) -> i64 {
    if let Some(source) = source_of(column) {
        let is_in_kib = matches!(source, Source::Meminfo | Source::Swap | Source::Cgroup);
        return if is_in_kib { 1024 } else { 1 };
    }
    match ProcessMetric::ALL.get(usize::from(column)) {
        Some(
            ProcessMetric::RssAnon
            | ProcessMetric::RssFile
            | ProcessMetric::RssShmem
            | ProcessMetric::Swap
            | ProcessMetric::VirtualSize
            | ProcessMetric::PageTables,
        ) => 4096,
        Some(ProcessMetric::Pss | ProcessMetric::Uss) => 1024,
        // Clock ticks of a hundredth of a second.
        Some(ProcessMetric::CpuTime) => 10,
        _ => 1,
    }
}

const _: () = assert!(ProcessMetric::COUNT < PRESENCE as usize, "metrics stand below the column of presence");
const _: () = assert!(Source::ALL.len() < (COLUMNS - SOURCES_FROM) as usize, "sources stand below the end");
