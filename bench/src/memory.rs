//! What the records of live blocks and of stacks take in the target, beside what they may take.
//!
//! Owns: the cases, and reading the target's own mappings. Must not know: how records are laid out.
//!
//! A program allocates blocks during the attach and keeps all of them. What its mapping of the shared memory then has in memory
//! (`smaps`) is compared with the growth of its heap. Allowed is half of that, or 48 bytes a block, whichever is less.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::Effort;
use crate::targets::{Target, build, build_plain};
use crate::tool::{Attached, status_figure};

const SOURCE: &str = "c/filled.c";
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";
/// Allocators by the library that a program is linked with, and where it comes from.
const ALLOCATORS: [(&str, &str, &str); 3] = [
    ("jemalloc", "libjemalloc.so.2", "libjemalloc2"),
    ("tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
    ("mimalloc", "libmimalloc.so.2", "libmimalloc2.0"),
];
/// The program keeps a pointer to each block beside its heap.
const POINTER_BYTES: f64 = 8.0;
const BLOCK_BYTES_MAX: f64 = 48.0;
const STACKS: u64 = 4000;

/// Sizes of blocks, and how many of them in all: so many that what sixteen threads take once is little beside them.
const CASES: [(u32, u32, u64); 8] = [
    (16, 64, 400_000),
    (16, 1024, 100_000),
    (16, 16, 400_000),
    (32, 32, 400_000),
    (48, 48, 400_000),
    (1000, 8000, 30_000),
    (25_000, 100_000, 15_000),
    (25_000, 1_000_000, 4_000),
];

pub(crate) fn measure(effort: Effort) -> String {
    let mut table = String::from("Memory of the records of live blocks, all of which were born during the attach\n");
    let _ = writeln!(
        table,
        "{:>10} {:>8} {:>14} {:>9} {:>10} {:>13} {:>10} {:>8}",
        "allocator", "threads", "bytes each", "blocks", "heap MiB", "bytes a block", "allowed", "ratio"
    );
    let (parts, kinds, crowds) =
        if effort.big { (1, CASES.len(), [1, 16].as_slice()) } else { (10, 2, [2].as_slice()) };
    for (allocator, program) in programs() {
        let program = match program {
            Ok(program) => program,
            Err(missing) => {
                let _ = writeln!(table, "{allocator:>10} NOT MEASURED: {missing}");
                continue;
            }
        };
        for &threads in crowds {
            for &(low, high, blocks) in CASES.iter().take(kinds) {
                let filled = Filled::measure(&program, threads, (low, high), blocks / parts);
                let _ =
                    writeln!(table, "{allocator:>10} {threads:>8} {:>14} {}", format!("{low}-{high}"), filled.line());
            }
        }
    }
    let _ = writeln!(table, "Bytes for each distinct stack of 30 frames, 1024 are allowed: {:.0}", stack_bytes());
    table
}

/// The program with each allocator, or why there is none.
fn programs() -> Vec<(&'static str, Result<PathBuf, String>)> {
    let others = ALLOCATORS.iter().map(|(allocator, library, package)| {
        let is_there = Path::new(LIBRARIES).join(library).exists();
        let words = format!("gcc -O2 -g -fomit-frame-pointer -pthread -Wl,--no-as-needed -l:{library}");
        let missing = format!("{LIBRARIES}/{library} is missing (apt-get install {package})");
        (*allocator, is_there.then(|| build_plain(SOURCE, &words)).ok_or(missing))
    });
    [("glibc", Ok(build(SOURCE)))].into_iter().chain(others).collect()
}

/// What a number of blocks took.
struct Filled {
    blocks: f64,
    heap: f64,
    records: f64,
}

impl Filled {
    fn measure(program: &Path, threads: u32, (low, high): (u32, u32), blocks: u64) -> Self {
        let mut target = Target::start_program(program, &format!("--threads {threads} --low {low} --high {high}"));
        let session = Attached::to(target.pid());
        // What is there once, for each thread and for the attach, is not a matter of blocks.
        target.ask("fill 30", "filled");
        let (heap, records) = (heap_bytes(&target), records_bytes(target.pid()));
        let each = blocks / u64::from(threads);
        target.ask(&format!("fill {each}"), "filled");
        let blocks = (each * u64::from(threads)) as f64;
        let heap = heap_bytes(&target) - heap - blocks * POINTER_BYTES;
        let records = records_bytes(target.pid()) - records;
        session.detach();
        target.stop().assert_unharmed();
        Self { blocks, heap, records }
    }

    fn line(&self) -> String {
        let allowed = (self.heap / 2.0 / self.blocks).min(BLOCK_BYTES_MAX);
        let (each, heap) = (self.records / self.blocks, self.heap / f64::from(1 << 20));
        format!("{:>9} {heap:>10.1} {each:>13.1} {allowed:>10.1} {:>8.2}", self.blocks, each / allowed)
    }
}

/// The records of a block are counted with each stack: they are of the same few bytes.
fn stack_bytes() -> f64 {
    let mut target = Target::start(SOURCE, "");
    let session = Attached::to(target.pid());
    target.ask("stacks 10", "stacked");
    let before = records_bytes(target.pid());
    target.ask(&format!("stacks {STACKS}"), "stacked");
    let taken = records_bytes(target.pid()) - before;
    session.detach();
    target.stop().assert_unharmed();
    taken / STACKS as f64
}

fn heap_bytes(target: &Target) -> f64 {
    1024.0 * status_figure(target.pid(), "RssAnon:")
}

/// What the target's mapping of the shared memory has in memory.
fn records_bytes(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps")).expect("mappings of a target that runs");
    1024.0 * shared_kib(&text)
}

fn shared_kib(smaps: &str) -> f64 {
    let (mut is_ours, mut kib) = (false, 0.0);
    for line in smaps.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        // The first line of each mapping begins with its addresses; those of its figures end with a colon.
        if !first.ends_with(':') {
            is_ours = line.contains("/memfd:leakline");
        } else if is_ours && first == "Rss:" {
            let figure = line.split_whitespace().nth(1).and_then(|figure| figure.parse::<f64>().ok());
            kib += figure.unwrap_or(f64::NAN);
        }
    }
    kib
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shared_memory_is_counted() {
        let smaps = "10-20 rw-p 00000000 00:00 0 [heap]\nRss: 5 kB\nPss: 5 kB\n\
            20-30 rw-s 00000000 00:01 9 /memfd:leakline (deleted)\nSize: 90 kB\nRss: 40 kB\n\
            30-40 rw-s 00001000 00:01 9 /memfd:leakline (deleted)\nRss: 2 kB\n50-60 r--p 0 00:00 0\nRss: 7 kB\n";
        assert!((shared_kib(smaps) - 42.0).abs() < 1e-9);
    }

    #[test]
    fn the_lesser_allowance_counts() {
        let small = Filled { blocks: 100.0, heap: 5_000.0, records: 2_500.0 };
        assert!(small.line().ends_with("25.0       25.0     1.00"), "{}", small.line());
        let large = Filled { blocks: 100.0, heap: 1e6, records: 2_400.0 };
        assert!(large.line().ends_with("24.0       48.0     0.50"), "{}", large.line());
    }
}
