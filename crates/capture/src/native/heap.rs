//! The memory of an attached program at one moment, with every thread at rest.
//!
//! Owns: reading live blocks, registers and roots. Must not know: what the words in them mean.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use formats::maps::{self, Mapping};
use model::LiveBlock;

use super::arch;
use super::error::SessionError;
use super::read;
use super::roots::{Known, Own, free_lists, roots};
use super::session::Session;
use super::survey::Allowance;
use super::target::Target;
use super::threads::{AllStopped, LOOK_LIMIT, Resting, tracing};
use crate::fault;

const PAGE: u64 = 4096;
/// Memory that is read at a time.
const PIECE: u64 = 1 << 20;
/// Pages of blocks that are kept: neighbours are often looked at one after the other.
const PAGES_KEPT: usize = 1024;
/// Blocks of this size may have pages that were never written, and reading those would give them a place in the program's page
/// tables.
const LARGE_MIN: u64 = 64 << 10;
const SIZE_MAX: u64 = 1 << 38;
/// In an entry of `/proc/PID/pagemap`: the page is in memory, or in swap.
const PRESENT_OR_SWAPPED: u64 = 0b11 << 62;
/// It is one of a file, which the program has not written, or is shared with others.
const OF_FILE: u64 = 1 << 61;

/// The memory of a program that stands still.
#[derive(Debug)]
pub struct Heap<'a> {
    target: &'a Target,
    blocks: Vec<LiveBlock>,
    registers: Vec<u64>,
    roots: Vec<Range<u64>>,
    shared: Vec<Range<u64>>,
    /// All that can be read, in order and apart from each other: no block reaches further.
    mapped: Vec<Range<u64>>,
    /// What is mapped from files, and whether it is code.
    modules: Vec<(Range<u64>, bool)>,
    /// What is no root in the midst of roots: known blocks, in order and apart from each other.
    pub(super) passed_over: Vec<Range<u64>>,
    pages: Option<File>,
    kept: Vec<(u64, Vec<u64>)>,
    unreadable: u64,
    /// Asked before each read, where it may be refused.
    pub(super) allowance: Option<Allowance<'a>>,
}

impl Session {
    /// Stops the program, lets `work` look at its memory, and lets it go on. Also says how long it stood still.
    pub fn look<T: Send>(
        &mut self,
        work: impl FnOnce(&mut Heap<'_>) -> T + Send,
    ) -> Result<(T, Duration), SessionError> {
        let unreadable = |error: io::Error| SessionError::Unreadable(error.to_string());
        let ours = self.own_ranges();
        let pooled = self.facts().allocator.contains("jemalloc");
        let (target, shared, control) = (self.process(), self.shared(), self.control());
        tracing(|| {
            let all = AllStopped::stop(target, LOOK_LIMIT)?;
            fault::point("heap-stopped");
            let text = target.maps().map_err(|error| io::Error::other(error.to_string()))?;
            let mappings: Vec<Mapping<'_>> = maps::parse(&text).collect();
            let blocks = read::live_blocks(shared, control)?;
            let own = |thread: &Resting| Own {
                stack: arch::stack_pointer(&thread.registers),
                pointer: arch::thread_pointer(&thread.registers),
            };
            let threads: Vec<Own> = all.threads().iter().map(own).collect();
            let known = Known { blocks: &blocks, threads: &threads, ours: &ours, pooled, older: false };
            let registers = all.threads().iter().flat_map(|thread| arch::general(&thread.registers)).collect();
            let mut heap = Heap::new(target, &mappings, roots(&mappings, known), registers);
            heap.blocks = blocks;
            let result = work(&mut heap);
            Ok((result, all.resume()))
        })
        .map_err(unreadable)
    }
}

/// In order of address, as the kernel lists them; neighbours are one.
fn mapped(mappings: &[Mapping<'_>]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::with_capacity(mappings.len());
    for range in mappings.iter().filter(|mapping| mapping.permissions.read).map(|mapping| mapping.addresses.clone()) {
        match ranges.last_mut().filter(|last| last.end == range.start) {
            Some(last) => last.end = range.end,
            None => ranges.push(range),
        }
    }
    ranges
}

/// What of a range lies in the mapping that it begins in. A size of the shared memory may be anything.
fn within(mapped: &[Range<u64>], range: Range<u64>) -> Range<u64> {
    let number = mapped.partition_point(|mapping| mapping.end <= range.start);
    match mapped.get(number).filter(|mapping| mapping.contains(&range.start)) {
        Some(mapping) => range.start..range.end.min(mapping.end),
        None => range.start..range.start,
    }
}

/// In order of address, as the kernel lists them.
fn modules(mappings: &[Mapping<'_>]) -> Vec<(Range<u64>, bool)> {
    let of_file = mappings.iter().filter(|mapping| mapping.inode != 0 && mapping.permissions.read);
    of_file.map(|mapping| (mapping.addresses.clone(), mapping.permissions.execute)).collect()
}

impl<'a> Heap<'a> {
    pub(super) fn new(
        target: &'a Target,
        mappings: &[Mapping<'_>],
        roots: Vec<Range<u64>>,
        registers: Vec<u64>,
    ) -> Self {
        Self {
            target,
            blocks: Vec::new(),
            registers,
            roots,
            shared: mappings.iter().filter(|m| m.permissions.shared).map(|m| m.addresses.clone()).collect(),
            mapped: mapped(mappings),
            modules: modules(mappings),
            passed_over: Vec::new(),
            pages: File::open(target.path("pagemap")).ok(),
            kept: vec![(u64::MAX, Vec::new()); PAGES_KEPT],
            unreadable: 0,
            allowance: None,
        }
    }

    /// The live blocks in order of address; a second call gives none.
    pub fn take_blocks(&mut self) -> Vec<LiveBlock> {
        std::mem::take(&mut self.blocks)
    }

    /// Every word of the registers and of all roots.
    pub fn roots(&mut self, each: &mut dyn FnMut(u64)) {
        self.registers.iter().copied().for_each(&mut *each);
        for range in std::mem::take(&mut self.roots) {
            for part in self.touched(&range) {
                let words = self.words(&part);
                let skipped = free_lists(part.start, &words).unwrap_or(0..0);
                let address = |index: usize| part.start + 8 * index as u64;
                let mut known =
                    self.passed_over.get(self.passed_over.partition_point(|range| range.end <= part.start)..);
                for (word, at) in words.iter().zip((0..).map(address)) {
                    while let Some([first, rest @ ..]) =
                        known.filter(|known| known.first().is_some_and(|first| first.end <= at))
                    {
                        debug_assert!(first.start < first.end, "ranges are not empty");
                        known = Some(rest);
                    }
                    let in_block = known.and_then(|known| known.first()).is_some_and(|first| first.start <= at);
                    if !in_block && !skipped.contains(&at) {
                        each(*word);
                    }
                }
            }
        }
    }

    /// Every aligned word of a block.
    pub fn block(&mut self, block: &LiveBlock, each: &mut dyn FnMut(u64)) {
        // A size beyond is no size: it was the target's to write.
        if block.size.0 > SIZE_MAX {
            return;
        }
        let begin = block.at.0.checked_next_multiple_of(8).unwrap_or(block.at.0);
        let Range { start: begin, end } = within(&self.mapped, begin..block.at.0.saturating_add(block.size.0) & !7);
        if block.size.0 >= LARGE_MIN {
            for part in self.touched(&(begin..end)) {
                self.words(&part).into_iter().for_each(&mut *each);
            }
            return;
        }
        let mut at = begin;
        while at < end {
            let page = at & !(PAGE - 1);
            let until = (page + PAGE).min(end);
            let words = self.page(page);
            if words.is_empty() {
                break;
            }
            let within = (at - page) as usize / 8..(until - page) as usize / 8;
            words.get(within).unwrap_or(&[]).iter().copied().for_each(&mut *each);
            at = until;
        }
    }

    /// The word at an aligned address, if it can be read.
    pub fn word(&mut self, at: u64) -> Option<u64> {
        let page = at & !(PAGE - 1);
        self.page(page).get((at - page) as usize / 8).copied()
    }

    /// Whether an address lies in what is mapped from a file and can be read.
    pub fn is_of_module(&self, at: u64) -> bool {
        self.module(at).is_some()
    }

    /// Whether an address lies in code that is mapped from a file.
    pub fn is_code(&self, at: u64) -> bool {
        self.module(at) == Some(true)
    }

    fn module(&self, at: u64) -> Option<bool> {
        let behind = self.modules.partition_point(|(addresses, _)| addresses.start <= at);
        let (addresses, code) = self.modules.get(behind.checked_sub(1)?)?;
        addresses.contains(&at).then_some(*code)
    }

    /// Bytes that should have been looked at and could not be read.
    pub const fn unreadable(&self) -> u64 {
        self.unreadable
    }

    fn page(&mut self, page: u64) -> &[u64] {
        let slot = (page / PAGE) as usize % PAGES_KEPT;
        if self.kept.get(slot).is_none_or(|kept| kept.0 != page) {
            let words = self.words(&(page..page + PAGE));
            if let Some(kept) = self.kept.get_mut(slot) {
                *kept = (page, words);
            }
        }
        self.kept.get(slot).map_or(&[], |kept| kept.1.as_slice())
    }

    fn words(&mut self, range: &Range<u64>) -> Vec<u64> {
        let len = range.end - range.start;
        if self.allowance.as_mut().is_some_and(|allowance| !allowance.take(len)) {
            return Vec::new();
        }
        let mut bytes = vec![0; len as usize];
        let read = self.target.read(range.start, &mut bytes).unwrap_or(0);
        self.unreadable += (bytes.len() - read) as u64;
        bytes.truncate(read);
        bytes.chunks_exact(8).filter_map(|word| word.try_into().ok()).map(u64::from_le_bytes).collect()
    }

    /// The parts of a range that were ever written, cut into pieces: programs reserve far more than they use.
    fn touched(&mut self, range: &Range<u64>) -> Vec<Range<u64>> {
        let shared = self.shared.iter().any(|mapping| mapping.contains(&range.start));
        let is_touched = |entry: u64| entry & PRESENT_OR_SWAPPED != 0 && (shared || entry & OF_FILE == 0);
        let mut parts: Vec<Range<u64>> = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let until = ((at & !(PAGE - 1)) + PIECE).min(range.end);
            let pages = (until - (at & !(PAGE - 1))).div_ceil(PAGE) as usize;
            let mut entries = vec![0; pages * 8];
            // Of a mapping of a hundred GiB that says nothing but "never written" there are 200 MiB.
            if self.allowance.as_mut().is_some_and(|allowance| !allowance.take(entries.len() as u64)) {
                break;
            }
            let known =
                self.pages.as_ref().is_some_and(|pages| pages.read_exact_at(&mut entries, at / PAGE * 8).is_ok());
            for (number, entry) in entries.chunks_exact(8).enumerate() {
                let page = (at & !(PAGE - 1)) + number as u64 * PAGE;
                let entry = entry.try_into().map_or(0, u64::from_le_bytes);
                if known && !is_touched(entry) {
                    continue;
                }
                let part = page.max(range.start)..(page + PAGE).min(range.end);
                match parts.last_mut() {
                    Some(last) if last.end == part.start && part.end - last.start <= PIECE => last.end = part.end,
                    _ => parts.push(part),
                }
            }
            at = until;
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_block_reaches_beyond_the_mapping_that_it_begins_in() {
        let maps = "1000-2000 rw-p 00000000 00:00 0\n2000-3000 r--p 00000000 00:00 0\n3000-4000 ---p 00000000 00:00 0\n\
            5000-6000 rw-p 00000000 00:00 0\n";
        let mapped = mapped(&maps::parse(maps.as_bytes()).collect::<Vec<_>>());
        assert_eq!(mapped, [0x1000..0x3000, 0x5000..0x6000]);
        assert_eq!(within(&mapped, 0x1800..0x2800), 0x1800..0x2800);
        assert_eq!(within(&mapped, 0x1800..u64::MAX), 0x1800..0x3000, "a size may be anything");
        for outside in [0, 0x3000, 0x4ff8, 0x6000, u64::MAX - 7] {
            assert!(within(&mapped, outside..u64::MAX).is_empty(), "{outside:#x} is not mapped");
        }
    }
}
