//! Taking away the marks of parts whose blocks were recorded while every block was.
//!
//! Owns: when and how. Must not know: who reads marks, or what else is known of a block.
//!
//! A block that is recorded for itself marks its part for good, since to count them would cost every call of the exact mode. Once blocks
//! are sampled, each free in such a part has to look for its block. So the marks of parts that hold none any longer are taken
//! away: no new ones come, and those that are there are freed one after the other.
//!
//! What may come late: a thread that entered its hook while every block was recorded, and a block that is put back since it was not resized
//! after all. Both mark their part before they put the block in. Therefore nothing is taken away while such a thread is in its hook, and
//! marks are set again for whatever the table holds afterwards.

use std::io;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use wire::{Control, MARK_EXACT, MARK_LARGE, MARK_SHIFT, mark_at, regions};

use super::file::SharedFile;
use super::read;
use crate::sys::bytes::{PAGE, SharedBytes};

/// What marks the parts of blocks that are recorded for themselves.
const MARKS: u8 = MARK_EXACT | MARK_LARGE;
/// Looks between two that sweep, as long as exact blocks are there.
const EVERY: u32 = 8;

/// What is left to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// There are no such marks.
    Nothing,
    /// After so many looks.
    After(u32),
}

impl Sweep {
    /// Does what is due at this look. What cannot be read or mapped now is left for later: marks cost time, and nothing else.
    pub(crate) fn beat(&mut self, exact: bool, file: &SharedFile, control: &Control) {
        *self = match *self {
            // Not at once: threads take the mode over at their next call.
            _ if exact => Self::After(1),
            Self::Nothing => Self::Nothing,
            Self::After(looks) if looks > 0 => Self::After(looks - 1),
            Self::After(_) if read::records_exactly(file, control) => Self::After(0),
            Self::After(_) => match sweep(file, control) {
                Ok(0) if !read::records_exactly(file, control) => Self::Nothing,
                Ok(0) => Self::After(0),
                Ok(_) | Err(_) => Self::After(EVERY),
            },
        }
    }
}

/// Takes away the marks of parts without exact blocks; gives the number of the others.
fn sweep(file: &SharedFile, control: &Control) -> io::Result<usize> {
    let held = read::exact_parts(file, control)?;
    let mut left = Vec::new();
    file.for_each_part(regions::MARKS.at, regions::MARKS.end(), PAGE, |at, words| {
        let bytes = (at..).zip(words.iter().flat_map(|word| word.to_le_bytes()));
        let first = mark_at(0);
        // The first part is marked for another reason: nothing lies there, and the free of nothing is no free.
        let marked = bytes.filter(|(at, byte)| byte & MARKS != 0 && *at != first).map(|(at, _)| at - first);
        left.extend(
            marked.filter(|part| held.binary_search_by_key(part, |(held, _)| *held).is_err()).map(|part| (part, MARKS)),
        );
    })?;
    change(file, &left, |mark, taken| mark & !taken)?;
    let held = read::exact_parts(file, control)?;
    change(file, &held, |mark, held| mark | held)?;
    Ok(held.len())
}

/// Changes the marks of some parts, which are in order, each by what stands beside it.
fn change(file: &SharedFile, parts: &[(u64, u8)], to: impl Fn(u8, u8) -> u8) -> io::Result<()> {
    let place = |part: u64| mark_at(part << MARK_SHIFT);
    let start = |part: u64| place(part) & !(PAGE as u64 - 1);
    for group in parts.chunk_by(|(one, _), (other, _)| start(*one) == start(*other)) {
        let Some(at) = group.first().map(|(part, _)| start(*part)) else { continue };
        let mapped = SharedBytes::map(file.file(), at)?;
        for (part, by) in group {
            if let Some(mark) = mapped.bytes().get((place(*part) - at) as usize) {
                let _ = mark.fetch_update(AcqRel, Relaxed, |mark| Some(to(mark, *by)));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use wire::{Block, Bucket, Moment, SPAN_SHIFT, ThreadFigures};

    use super::*;

    /// A table with an exact block in each of some parts and a sampled one in each of others; all are marked as the agent does, and some
    /// parts besides.
    struct Table {
        file: SharedFile,
        control: Control,
    }

    impl Table {
        fn new(exact: &[u64], sampled: &[u64], left: &[u64]) -> Self {
            let path = std::env::temp_dir().join(format!("leakline-marks-{}-{:?}", std::process::id(), exact));
            let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            file.set_len(wire::FILE_BYTES).unwrap();
            let table = Self { file: SharedFile::new(file), control: Control::default() };
            table.control.threads.records.store(1, Relaxed);
            table.file.write(regions::THREADS.at, &7_u32.to_le_bytes()).unwrap();
            let number = wire::record_at(7) + std::mem::offset_of!(ThreadFigures, number) as u64;
            table.file.write(number, &1_u32.to_le_bytes()).unwrap();
            table.mark(0, MARK_EXACT);
            let blocks = exact.iter().map(|part| (*part, 0)).chain(sampled.iter().map(|part| (*part, 19)));
            for (line, (part, rate)) in (0..).zip(blocks) {
                let address = part << MARK_SHIFT | 0x20;
                let block = Block::new(address, 100, 1, Moment::new(1 << 20), rate).pack();
                let at = regions::LINES.at + u64::from(line) * wire::LINE_BYTES;
                table.file.write_words(at, &[block.first, 0, 0, 0, block.second]).unwrap();
                let span = regions::DIRECTORY.at + (address >> SPAN_SHIFT) * 8;
                table.file.write_words(span, &[Bucket::new(line, 1, 1).word()]).unwrap();
                table.mark(part, if rate == 0 { MARK_EXACT } else { 1 });
                table.control.blocks.lines.store(line + 1, Relaxed);
            }
            for part in left {
                table.mark(*part, MARK_EXACT | 1);
            }
            table
        }

        fn mark(&self, part: u64, mark: u8) {
            self.file.write(mark_at(part << MARK_SHIFT), &[mark]).unwrap();
        }

        fn marks(&self, parts: &[u64]) -> Vec<u8> {
            let mark = |part: &u64| {
                let at = mark_at(part << MARK_SHIFT);
                let word = self.file.words(at & !7, 1).unwrap();
                word[0].to_le_bytes()[(at & 7) as usize]
            };
            parts.iter().map(mark).collect()
        }

        /// The only thread's: what it saw last of the mode, and whether it is inside a hook.
        fn thread(&self, rate: u64, guard: u64) {
            let record = wire::record_at(7);
            self.file.write_words(record + std::mem::offset_of!(ThreadFigures, seen) as u64, &[rate << 32]).unwrap();
            self.file.write_words(record + std::mem::offset_of!(ThreadFigures, guard) as u64, &[guard]).unwrap();
        }
    }

    const FAR: u64 = 0x7f00_0000_0000 >> MARK_SHIFT;

    #[test]
    fn only_pages_without_exact_blocks_lose_their_mark() {
        let table = Table::new(&[0x500, FAR], &[0x600], &[0x501, 0x700, FAR + 0x10_000]);
        assert_eq!(sweep(&table.file, &table.control).unwrap(), 2);
        let parts = [0, 0x500, FAR, 0x600, 0x501, 0x700, FAR + 0x10_000, 0x502];
        assert_eq!(table.marks(&parts), [MARK_EXACT, MARK_EXACT, MARK_EXACT, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn a_mark_that_is_missing_is_set_again() {
        let table = Table::new(&[0x510], &[], &[]);
        table.mark(0x510, 3);
        sweep(&table.file, &table.control).unwrap();
        assert_eq!(table.marks(&[0x510]), [MARK_EXACT | 3]);
    }

    /// A large block lies elsewhere in the table, and has a mark of another kind.
    #[test]
    fn parts_of_large_blocks_keep_their_own_mark() {
        let table = Table::new(&[0x540], &[], &[0x541]);
        let address = FAR << MARK_SHIFT | 0x10;
        let block = Block::new(address, 1 << 20, 1, Moment::new(1 << 40), 0);
        let block = wire::Slot::large(address, block);
        let at = regions::LINES.at + 7 * wire::LINE_BYTES;
        table.file.write_words(at, &[block.first, 0, 0, 0, block.second]).unwrap();
        table.file.write_words(regions::FURTHER.at + 3 * 16, &[Bucket::new(7, 1, 0).word(), 0]).unwrap();
        table.file.write(regions::LARGE.at + (address >> wire::LARGE_SHIFT) * 4, &3_u32.to_le_bytes()).unwrap();
        table.control.blocks.lines.store(8, Relaxed);
        table.mark(FAR + 1, MARK_LARGE | 1);
        assert_eq!(sweep(&table.file, &table.control).unwrap(), 2);
        assert_eq!(table.marks(&[0x540, 0x541, FAR, FAR + 1]), [MARK_EXACT, 1, MARK_LARGE, 1]);
    }

    #[test]
    fn nothing_is_taken_away_while_a_thread_may_still_record_every_block() {
        let table = Table::new(&[], &[0x600], &[0x520]);
        let mut work = Sweep::Nothing;
        let mut beat = |exact| {
            work.beat(exact, &table.file, &table.control);
            (work, table.marks(&[0x520])[0] & MARK_EXACT != 0)
        };
        assert_eq!(beat(false), (Sweep::Nothing, true), "blocks were sampled from the beginning");
        assert_eq!(beat(true), (Sweep::After(1), true));
        assert_eq!(beat(false), (Sweep::After(0), true));
        table.thread(0, 0x7fff_0000);
        assert_eq!(beat(false), (Sweep::After(0), true), "it is in a hook that it entered before");
        table.thread(19, 0x7fff_0000);
        assert_eq!(beat(false), (Sweep::Nothing, false), "it samples");
    }

    #[test]
    fn exact_blocks_are_looked_for_again() {
        let table = Table::new(&[0x530], &[], &[]);
        let mut work = Sweep::After(0);
        work.beat(false, &table.file, &table.control);
        assert_eq!((work, table.marks(&[0x530])), (Sweep::After(EVERY), vec![MARK_EXACT]));
        table.file.write_words(regions::LINES.at, &[wire::SLOT_LEFT]).unwrap();
        (0..=EVERY).for_each(|_| work.beat(false, &table.file, &table.control));
        assert_eq!((work, table.marks(&[0x530])), (Sweep::Nothing, vec![0]));
    }
}
