//! Live blocks with their addresses.
//!
//! Owns: finding out which span of addresses each line of the table belongs to. Must not know: what is counted of blocks.

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use model::{Address, AgedBlock, Bytes, LiveBlock, StackId, Tally};
use wire::{
    Block, Bucket, Control, FURTHER_BUCKETS_MAX, LINE_BYTES, LINE_SLOTS, LINES_MAX, MARK_SHIFT, Moment, SPAN_SHIFT,
    Slot, regions, weigh,
};

use super::{PIECE, SharedFile, Ticks, Weights};

/// Further buckets of one span that are followed; the agent looks at no more.
const CHAIN_MAX: usize = 64;

/// The lines of one bucket, and the address that its span begins at.
struct Run {
    first: u32,
    lines: u32,
    span: u64,
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
    let now = Moment::new(Ticks::now());
    let mut blocks = Vec::new();
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

/// The numbers of the parts in which blocks begin that are recorded for themselves, in order.
pub(crate) fn exact_parts(file: &SharedFile, control: &Control) -> io::Result<Vec<u64>> {
    let mut parts = Vec::new();
    each_block(file, control, |block, record| {
        let part = block.at.0 >> MARK_SHIFT;
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
    let runs = runs(file)?;
    let end = regions::LINES.at + u64::from(control.blocks.lines.load(Relaxed).min(LINES_MAX)) * LINE_BYTES;
    file.for_each_part(regions::LINES.at, end, PIECE, |at, words| {
        let first = ((at - regions::LINES.at) / LINE_BYTES) as u32;
        for (number, line) in (first..).zip(words.chunks_exact(2 * LINE_SLOTS)) {
            let before = runs.partition_point(|run| run.first <= number);
            let run = before.checked_sub(1).and_then(|i| runs.get(i)).filter(|run| number - run.first < run.lines);
            let (Some(run), Some((first, second))) = (run, line.split_at_checked(LINE_SLOTS)) else { continue };
            let found =
                first.iter().zip(second).filter_map(|(first, second)| Slot { first: *first, second: *second }.unpack());
            for block in found {
                let (at, size) = (Address(run.span + block.offset), Bytes(block.size));
                each(LiveBlock { at, size, stack: StackId(block.stack) }, block);
            }
        }
    })
}

/// The lines of all buckets, in order.
fn runs(file: &SharedFile) -> io::Result<Vec<Run>> {
    let mut runs = Vec::new();
    let mut push = |word: u64, span: u64| {
        let bucket = Bucket::from_word(word);
        runs.extend(bucket.map(|bucket| Run {
            first: bucket.line(0),
            lines: bucket.lines(),
            span: span << SPAN_SHIFT,
        }));
    };
    let directory = regions::DIRECTORY;
    file.for_each_part(directory.at, directory.end(), PIECE, |at, words| {
        for (span, word) in ((at - directory.at) / 8..).zip(words) {
            push(*word, span);
        }
    })?;
    let mut chains = Vec::new();
    file.for_each_part(regions::CHAINS.at, regions::CHAINS.end(), PIECE, |at, words| {
        let numbers = words.iter().flat_map(|word| [*word as u32, (*word >> 32) as u32]);
        chains.extend(((at - regions::CHAINS.at) / 4..).zip(numbers).filter(|(_, number)| *number != 0));
    })?;
    for (span, mut number) in chains {
        for _ in 0..CHAIN_MAX {
            if number == 0 || number >= FURTHER_BUCKETS_MAX {
                break;
            }
            let entry = file.words(regions::FURTHER.at + u64::from(number) * 16, 2)?;
            push(entry.first().copied().unwrap_or(0), span);
            number = entry.get(1).copied().unwrap_or(0) as u32;
        }
    }
    runs.sort_unstable_by_key(|run| run.first);
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// Two spans, one with a further bucket: each block has the address that its span and its slot say.
    #[test]
    fn blocks_have_their_addresses() {
        let path = std::env::temp_dir().join(format!("leakline-lines-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(wire::FILE_BYTES).unwrap();
        let (file, control) = (SharedFile::new(file), Control::default());
        control.blocks.lines.store(20, Relaxed);
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
        let found: Vec<(u64, u64)> =
            live_blocks(&file, &control).unwrap().iter().map(|block| (block.at.0, block.size.0)).collect();
        assert_eq!(
            found,
            [(low + 8, 2), (low + 0x2000, 3), (high + (1 << SPAN_SHIFT) - 8, 1)],
            "line 12 belongs to no bucket"
        );
    }
}
