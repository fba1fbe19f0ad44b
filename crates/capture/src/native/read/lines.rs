//! Live blocks with their addresses.
//!
//! Owns: finding out which span of addresses each line and each cell of the table belongs to. Must not know: what is counted of blocks.

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use model::{Address, AgedBlock, Bytes, LiveBlock, StackId, Tally};
use wire::{
    Block, Bucket, Cell, Control, FURTHER_BUCKETS_MAX, LARGE_SHIFT, LINE_BYTES, LINE_CELLS, LINE_SLOTS, LINES_MAX,
    MARK_EXACT, MARK_LARGE, MARK_SHIFT, Moment, SPAN_SHIFT, Slot, regions, weigh,
};

use super::{PIECE, SharedFile, Ticks, Weights};

/// Further buckets of one span that are followed; the agent looks at no more.
const CHAIN_MAX: usize = 64;

/// A bucket, and the address that its span begins at.
struct Run {
    bucket: Bucket,
    span: u64,
}

impl Run {
    fn first(&self) -> u32 {
        self.bucket.line(0)
    }
}

/// Where in the file the lines that are used lie, and those with cells.
pub(super) fn written(control: &Control) -> (Range<u64>, Range<u64>) {
    let blocks = &control.blocks;
    let at = |line: u64| regions::LINES.at + line * LINE_BYTES;
    let used = |lines: u32| u64::from(lines.min(LINES_MAX));
    let cells = u64::from(LINES_MAX);
    (at(0)..at(used(blocks.lines.load(Relaxed))), at(cells)..at(cells + used(blocks.cells.load(Relaxed))))
}

/// Every live block, in order of address.
pub(crate) fn live_blocks(file: &SharedFile, control: &Control) -> io::Result<Vec<LiveBlock>> {
    let mut blocks = Vec::new();
    each_block(file, control, |block, _| blocks.push(block))?;
    blocks.sort_unstable_by_key(|block| block.at);
    Ok(blocks)
}

/// The same, with their ages as of now, from a program that runs.
pub(crate) fn aged_blocks(file: &SharedFile, control: &Control, ticks: &Ticks) -> io::Result<Vec<AgedBlock>> {
    let mut blocks = Vec::new();
    let now = Moment::new(Ticks::now());
    each_block(file, control, |block, record| {
        let (born, age) = (record.birth, ticks.duration(record.age(now)));
        let mut weights = Weights::default();
        weights.add(weigh(record.size, record.rate));
        let exact = Tally::exact(1, block.size);
        let stands_for = if record.rate == 0 { exact } else { weights.tally(record.rate) };
        blocks.push(AgedBlock { block, born, age, stands_for });
    })?;
    blocks.sort_unstable_by_key(|block| (block.block.at, block.born));
    // While a block is moved from one bucket to another it may be met in both.
    blocks.dedup_by_key(|block| block.block.at);
    Ok(blocks)
}

/// The numbers of the parts in which blocks begin that are recorded for themselves, in order, with the marks that say so.
pub(crate) fn exact_parts(file: &SharedFile, control: &Control) -> io::Result<Vec<(u64, u8)>> {
    let mut parts = Vec::new();
    each_block(file, control, |block, record| {
        let mark = if wire::is_large(block.at.0, record.size) { MARK_LARGE } else { MARK_EXACT };
        let part = (block.at.0 >> MARK_SHIFT, mark);
        // Neighbours lie together.
        if record.rate == 0 && parts.last() != Some(&part) {
            parts.push(part);
        }
    })?;
    parts.sort_unstable();
    parts.dedup();
    Ok(parts)
}

fn each_block(file: &SharedFile, control: &Control, mut each: impl FnMut(LiveBlock, Block)) -> io::Result<()> {
    let (runs, now) = (runs(file)?, Moment::new(Ticks::now()));
    let run_of = |number: u32| {
        let before = runs.partition_point(|run| run.first() <= number);
        before.checked_sub(1).and_then(|i| runs.get(i)).filter(|run| number - run.first() < run.bucket.lines())
    };
    let mut give = |span: u64, block: Block| {
        let (at, size) = (Address(span + block.offset), Bytes(block.size));
        each(LiveBlock { at, size, stack: StackId(block.stack) }, block);
    };
    let (lines, cells) = written(control);
    let number = |at: u64| ((at - regions::LINES.at) / LINE_BYTES) as u32;
    file.for_each_part(lines.start, lines.end, PIECE, |at, words| {
        for (number, line) in (number(at)..).zip(words.chunks_exact(2 * LINE_SLOTS)) {
            let (Some(run), Some((first, second))) = (run_of(number), line.split_at_checked(LINE_SLOTS)) else {
                continue;
            };
            let found =
                first.iter().zip(second).filter_map(|(first, second)| Slot { first: *first, second: *second }.unpack());
            found.for_each(|block| give(run.span, block));
        }
    })?;
    file.for_each_part(cells.start, cells.end, PIECE, |at, words| {
        for (number, line) in (number(at)..).zip(words.chunks_exact(LINE_CELLS as usize)) {
            let Some(run) = run_of(number) else { continue };
            let cells = line.iter().map(|word| Cell::from_word(*word));
            for (place, cell) in ((number - run.first()) * LINE_CELLS..).zip(cells).filter(|(_, cell)| cell.is_block())
            {
                let Some(offset) = run.bucket.offset(place, cell) else { continue };
                give(run.span, cell.unpack(offset, now));
            }
        }
    })
}

/// All buckets, in the order of their lines.
fn runs(file: &SharedFile) -> io::Result<Vec<Run>> {
    let mut runs = Vec::new();
    let mut push = |word: u64, span: u64| runs.extend(Bucket::from_word(word).map(|bucket| Run { bucket, span }));
    let directory = regions::DIRECTORY;
    file.for_each_part(directory.at, directory.end(), PIECE, |at, words| {
        for (span, word) in ((at - directory.at) / 8..).zip(words) {
            push(*word, span << SPAN_SHIFT);
        }
    })?;
    for (region, shift) in [(regions::CHAINS, SPAN_SHIFT), (regions::LARGE, LARGE_SHIFT)] {
        let mut chains = Vec::new();
        file.for_each_part(region.at, region.end(), PIECE, |at, words| {
            let numbers = words.iter().flat_map(|word| [*word as u32, (*word >> 32) as u32]);
            chains.extend(((at - region.at) / 4..).zip(numbers).filter(|(_, number)| *number != 0));
        })?;
        for (span, mut number) in chains {
            for _ in 0..CHAIN_MAX {
                if number == 0 || number >= FURTHER_BUCKETS_MAX {
                    break;
                }
                let entry = file.words(regions::FURTHER.at + u64::from(number) * 16, 2)?;
                push(entry.first().copied().unwrap_or(0), span << shift);
                number = entry.get(1).copied().unwrap_or(0) as u32;
            }
        }
    }
    runs.sort_unstable_by_key(Run::first);
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// Three spans, one with a further bucket, one with cells, and a large block: each block has the address that its span and its slot say.
    #[test]
    fn blocks_have_their_addresses() {
        let path = std::env::temp_dir().join(format!("leakline-lines-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(wire::FILE_BYTES).unwrap();
        let (file, control) = (SharedFile::new(file), Control::default());
        control.blocks.lines.store(20, Relaxed);
        control.blocks.cells.store(100, Relaxed);
        let (low, high) = (0x5000_0000_u64, 0x7fff_0000_0000_u64);
        let put = |line: u64, slot: u64, address: u64, size: u64| {
            let Slot { first, second } = Slot::small(address, size, 3, Moment::new(1 << 20));
            let at = regions::LINES.at + line * LINE_BYTES + slot * 8;
            file.write_words(at, &[first]).unwrap();
            file.write_words(at + 32, &[second]).unwrap();
        };
        let directory = |address: u64, bucket: Bucket| {
            file.write_words(regions::DIRECTORY.at + (address >> SPAN_SHIFT) * 8, &[bucket.word()]).unwrap();
        };
        directory(high, Bucket::new(0, 5, 1));
        directory(low, Bucket::new(5, 2, 2).with_more());
        file.write_words32(regions::CHAINS.at + (low >> SPAN_SHIFT) * 4, &[7]).unwrap();
        file.write_words(regions::FURTHER.at + 7 * 16, &[Bucket::new(9, 3, 0).word(), 0]).unwrap();
        put(4, 3, high + (1 << SPAN_SHIFT) - 8, 1);
        put(5, 0, low + 8, 2);
        put(11, 2, low + 0x2000, 3);
        put(12, 0, low + 0x2400, 4);
        let cells = Bucket::new_cells(7, 5, 17);
        let small = 0x6000_0000_u64;
        directory(small, cells);
        let large = 0x7000_0040_0000_u64;
        file.write_words32(regions::LARGE.at + (large >> LARGE_SHIFT) * 4, &[8]).unwrap();
        file.write_words(regions::FURTHER.at + 8 * 16, &[Bucket::new(14, 2, 0).word(), 0]).unwrap();
        let size = wire::LARGE_MIN;
        let Slot { first, second } =
            Slot::large(large + 0x3f_0010, Block::new(large + 0x3f_0010, size, 3, Moment::new(1 << 40), 0));
        let at = regions::LINES.at + 15 * LINE_BYTES;
        file.write_words(at, &[first, 0, 0, 0, second]).unwrap();
        for (address, size) in [(small, 40), (small + 0x50, 41), (small + 0x3ff0, 42)] {
            let cell = Cell::new(address, size, 3, Moment::new(1 << 40));
            file.write_words(regions::LINES.at + cells.cell(address) * 8, &[cell.word()]).unwrap();
        }
        let found: Vec<(u64, u64)> =
            live_blocks(&file, &control).unwrap().iter().map(|block| (block.at.0, block.size.0)).collect();
        assert_eq!(
            found,
            [
                (low + 8, 2),
                (low + 0x2000, 3),
                (small, 40),
                (small + 0x50, 41),
                (small + 0x3ff0, 42),
                (large + 0x3f_0010, wire::LARGE_MIN),
                (high + (1 << SPAN_SHIFT) - 8, 1)
            ],
            "line 12 belongs to no bucket"
        );
    }
}
