//! Recordings in the formats of other tools, sample by sample.
//!
//! Owns: which columns there are, once for all formats. Must not know: where a file goes, or how recordings are stored.
//!
//! An export is fed one beat after the other and keeps nothing of it, so that a recording of any length fits.

mod csv;
#[cfg(feature = "parquet")]
mod parquet;

use model::{Beat, ProcessMetric, ProcessReading, Reading};

pub use self::csv::{ProcessCsv, SystemCsv};
#[cfg(feature = "parquet")]
pub use self::parquet::ProcessParquet;

/// Figures of a process in bytes, which both formats give in KiB as the kernel does, and their column.
pub(crate) const KILOBYTES: [(&str, ProcessMetric); 8] = [
    ("Anon_KB", ProcessMetric::RssAnon),
    ("File_KB", ProcessMetric::RssFile),
    ("Shmem_KB", ProcessMetric::RssShmem),
    ("Swap_KB", ProcessMetric::Swap),
    ("Virtual_KB", ProcessMetric::VirtualSize),
    ("Page_Tables_KB", ProcessMetric::PageTables),
    ("PSS_KB", ProcessMetric::Pss),
    ("USS_KB", ProcessMetric::Uss),
];

/// Figures of a process that are given as they are, and their column.
pub(crate) const NUMBERS: [(&str, ProcessMetric); 8] = [
    ("Threads", ProcessMetric::Threads),
    ("Descriptors", ProcessMetric::Descriptors),
    ("Descriptor_Limit", ProcessMetric::DescriptorLimit),
    ("Minor_Faults", ProcessMetric::MinorFaults),
    ("Major_Faults", ProcessMetric::MajorFaults),
    ("OOM_Score", ProcessMetric::OomScore),
    ("CPU_ms", ProcessMetric::CpuTime),
    ("Parent", ProcessMetric::Parent),
];

/// The process with the most memory in RAM, and how much that is in bytes.
pub(crate) fn top(beat: &Beat) -> Option<(&ProcessReading, u64)> {
    let sizes = beat.processes.iter().filter_map(|process| {
        let rss = process.figures.memory().rss().known()?;
        Some((process, rss.0))
    });
    sizes.max_by_key(|(_, rss)| *rss)
}

/// A number of bytes in KiB; what is missing stays missing.
pub(crate) fn kilobytes(bytes: Reading<u64>) -> Option<u64> {
    bytes.known().map(|bytes| bytes / 1024)
}

/// What other tools take for "none": no limit is no number.
pub(crate) fn number(metric: ProcessMetric, value: Reading<u64>) -> Option<u64> {
    value.known().filter(|value| metric != ProcessMetric::DescriptorLimit || *value != u64::MAX)
}
