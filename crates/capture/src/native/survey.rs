//! The memory of an attached program while it runs.
//!
//! Owns: the moment in which threads are asked where they stand, and how fast memory is read. Must not know: what the words mean.
//!
//! Registers can only be read of a thread that stands still, and a pointer may be nowhere else: all threads are stopped for as long
//! as that takes, and the memory is read while they run. Whoever looks knows that it may change meanwhile.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use formats::maps::{self, Mapping};
use model::{AgedBlock, Bytes};

use super::arch;
use super::error::SessionError;
use super::heap::Heap;
use super::read;
use super::roots::{Known, Own, roots};
use super::session::Session;
use super::threads::{AllStopped, LOOK_LIMIT, Resting, tracing};
use crate::fault;

/// Bytes of a program's memory that are read in a second: a small part of what a processor reads.
const RATE: u64 = 512 << 20;
/// How far reading may be ahead of that rate.
const AHEAD_MAX: Duration = Duration::from_millis(20);

/// How much may still be read.
pub(crate) struct Allowance<'a> {
    began: Instant,
    read: u64,
    refused: bool,
    /// Is told how much was read, and says whether to go on.
    go_on: &'a mut dyn FnMut(Bytes) -> bool,
}

impl std::fmt::Debug for Allowance<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Allowance").field("read", &self.read).field("refused", &self.refused).finish_non_exhaustive()
    }
}

impl<'a> Allowance<'a> {
    fn new(go_on: &'a mut dyn FnMut(Bytes) -> bool) -> Self {
        Self { began: Instant::now(), read: 0, refused: false, go_on }
    }

    /// Whether so many bytes may be read; waits where that is too fast.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        self.refused = self.refused || !(self.go_on)(Bytes(self.read));
        if self.refused {
            return false;
        }
        self.read += bytes;
        let due = Duration::from_nanos((u128::from(self.read) * 1_000_000_000 / u128::from(RATE)) as u64);
        let ahead = due.saturating_sub(self.began.elapsed());
        if ahead > AHEAD_MAX {
            std::thread::sleep(ahead);
        }
        true
    }
}

/// What `work` made of the memory, and how long the threads stood still for it.
#[derive(Clone, Copy, Debug)]
pub struct Surveyed<T> {
    /// Missing where the survey was given up halfway.
    pub result: Option<T>,
    /// Longest time that a thread was stopped.
    pub stopped: Duration,
}

impl Session {
    /// Lets `work` look at the live blocks and at the memory of the program, which runs meanwhile. `go_on` is asked again and
    /// again whether to.
    pub fn survey<T>(
        &mut self,
        go_on: &mut dyn FnMut(Bytes) -> bool,
        work: impl FnOnce(&[AgedBlock], &mut Heap<'_>) -> T,
    ) -> Result<Surveyed<T>, SessionError> {
        let unreadable = |error: io::Error| SessionError::Unreadable(error.to_string());
        let ours = self.own_ranges();
        let target = self.process();
        let (resting, stopped) = tracing(|| {
            let all = AllStopped::stop(target, LOOK_LIMIT)?;
            fault::point("heap-stopped");
            let own = |thread: &Resting| Own {
                stack: arch::stack_pointer(&thread.registers),
                pointer: arch::thread_pointer(&thread.registers),
            };
            let threads: Vec<Own> = all.threads().iter().map(own).collect();
            let registers: Vec<u64> =
                all.threads().iter().flat_map(|thread| arch::general(&thread.registers)).collect();
            Ok(((threads, registers), all.resume()))
        })
        .map_err(unreadable)?;
        let (threads, registers) = resting;
        let text = target.maps().map_err(|error| SessionError::Unreadable(error.to_string()))?;
        let mappings: Vec<Mapping<'_>> = maps::parse(&text).collect();
        let blocks = read::aged_blocks(self.shared(), self.control(), self.clock()).map_err(unreadable)?;
        let known = Known { blocks: &[], threads: &threads, ours: &ours, pooled: false, older: true };
        let mut heap = Heap::new(target, &mappings, roots(&mappings, known), registers);
        heap.passed_over = apart(&blocks);
        heap.allowance = Some(Allowance::new(go_on));
        let result = work(&blocks, &mut heap);
        let refused = heap.allowance.is_some_and(|allowance| allowance.refused);
        Ok(Surveyed { result: (!refused).then_some(result), stopped })
    }
}

/// The ranges of blocks, those that lie in others left out.
fn apart(blocks: &[AgedBlock]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::with_capacity(blocks.len());
    for block in blocks.iter().map(|block| block.block) {
        let range = block.at.0..block.at.0.saturating_add(block.size.0.max(1));
        match ranges.last_mut().filter(|last| range.start < last.end) {
            Some(last) => last.end = last.end.max(range.end),
            None => ranges.push(range),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use model::{Address, LiveBlock, StackId, Tally};

    use super::*;

    #[test]
    fn reading_is_held_back_and_can_be_refused() {
        let mut asked = 0;
        let mut go_on = |_: Bytes| {
            asked += 1;
            asked < 4
        };
        let mut allowance = Allowance::new(&mut go_on);
        let began = Instant::now();
        let taken: Vec<bool> = (0..5).map(|_| allowance.take(RATE / 10)).collect();
        assert!(began.elapsed() >= Duration::from_millis(280), "three tenths of a second's bytes");
        assert_eq!(taken, [true, true, true, false, false]);
        assert_eq!((allowance.read, asked), (RATE / 10 * 3, 4), "who was refused once is not asked again");
    }

    #[test]
    fn blocks_inside_others_are_part_of_them() {
        let block = |(at, size): (u64, u64)| AgedBlock {
            block: LiveBlock { at: Address(at), size: Bytes(size), stack: StackId(1) },
            born: 1,
            age: Duration::ZERO,
            stands_for: Tally::default(),
        };
        let check = |blocks: &[(u64, u64)], expected: &[Range<u64>]| {
            assert_eq!(apart(&blocks.iter().copied().map(block).collect::<Vec<_>>()), expected);
        };
        check(&[(0x10, 0), (0x20, 8)], &[0x10..0x11, 0x20..0x28]);
        check(&[(0x100, 0x100), (0x110, 8), (0x1f8, 0x10), (0x300, 8)], &[0x100..0x208, 0x300..0x308]);
        check(&[], &[]);
    }
}
