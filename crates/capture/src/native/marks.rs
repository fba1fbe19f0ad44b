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
//!
//! An area that has marks of its own keeps them. One that shares those of areas with large blocks goes back to those of areas where nothing was
//! recorded, unless just then it is given its own.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use wire::{
    AREA_EMPTY, AREA_FULL, AREA_LARGE, AREA_MARKS, AREA_SHIFT, Control, MARK_EXACT, MARK_LARGE, MARK_SHIFT, mark_at,
    regions,
};

use super::file::SharedFile;
use super::read;
use crate::sys::bytes::{PAGE, SharedBytes};

/// What marks the parts of blocks that are recorded for themselves.
const MARKS: u8 = MARK_EXACT | MARK_LARGE;
/// Binary logarithm of the parts of an area.
const PARTS_SHIFT: u32 = AREA_SHIFT - MARK_SHIFT;
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
    let is_held = |first: u64, last: u64| {
        let next = held.get(held.partition_point(|(part, _)| *part < first));
        next.is_some_and(|(part, _)| *part <= last)
    };
    let (mut large, mut left) = (Vec::new(), Vec::new());
    for (number, area) in areas(file)? {
        let first = number << PARTS_SHIFT;
        match area {
            AREA_LARGE if !is_held(first, first + AREA_MARKS as u64 - 1) => large.push(Change::area(number)),
            own if wire::is_own_area(own) => {
                let marks = marks_of(file, own)?;
                let parts = (first..).zip(marks).filter(|(part, mark)| mark & MARKS != 0 && !is_held(*part, *part));
                left.extend(parts.map(|(part, _)| Change::mark(own, part, MARKS)));
            }
            _ => {}
        }
    }
    let mut refused = 0;
    change(file, large, |page, change| {
        let Some(area) = page.words32().get(change.place / 4) else { return };
        // Where it is not as it was, the area was just given marks of its own, which say that there are large blocks everywhere.
        refused += usize::from(area.compare_exchange(AREA_LARGE, AREA_EMPTY, AcqRel, Relaxed).is_err());
    })?;
    change_marks(file, left, |mark, taken| mark & !taken)?;
    let held = read::exact_parts(file, control)?;
    restore(file, &held)?;
    Ok(held.len() + refused)
}

/// Sets the marks of parts with exact blocks.
fn restore(file: &SharedFile, held: &[(u64, u8)]) -> io::Result<()> {
    let mut areas: Vec<(u64, u32)> = Vec::new();
    for (part, mark) in held {
        let number = part >> PARTS_SHIFT;
        // Blocks that are not large are in areas that have marks of their own, if nothing was overwritten.
        let wanted = if *mark == MARK_LARGE { AREA_LARGE } else { AREA_FULL };
        match areas.last_mut().filter(|(last, _)| *last == number) {
            Some((_, known)) => *known = wanted.max(*known),
            None => areas.push((number, wanted)),
        }
    }
    let changes = areas.into_iter().map(|(number, wanted)| Change { by: wanted, ..Change::area(number) }).collect();
    change(file, changes, |page, change| {
        if let Some(area) = page.words32().get(change.place / 4) {
            let wanted = |now: u32| (now < change.by).then_some(change.by);
            let _ = area.fetch_update(AcqRel, Relaxed, wanted);
        }
    })?;
    let own: HashMap<u64, u32> = self::areas(file)?.into_iter().filter(|(_, area)| wire::is_own_area(*area)).collect();
    let marked = |(part, mark): &(u64, u8)| Some(Change::mark(*own.get(&(part >> PARTS_SHIFT))?, *part, *mark));
    change_marks(file, held.iter().filter_map(marked).collect(), |mark, held| mark | held)
}

/// The areas in which something was recorded, by number, with where their marks are; but not the first, whose mark has another reason: nothing
/// lies there, and the free of nothing is no free.
fn areas(file: &SharedFile) -> io::Result<Vec<(u64, u32)>> {
    let mut areas = Vec::new();
    file.for_each_part(regions::AREAS.at, regions::AREAS.end(), PAGE, |at, words| {
        let halves = words.iter().flat_map(|word| [*word as u32, (*word >> 32) as u32]);
        let found = ((at - regions::AREAS.at) / 4..).zip(halves);
        areas.extend(found.filter(|(number, area)| *number != 0 && *area != AREA_EMPTY));
    })?;
    Ok(areas)
}

fn marks_of(file: &SharedFile, area: u32) -> io::Result<Vec<u8>> {
    let words = file.words(mark_at(area, 0), AREA_MARKS / 8)?;
    Ok(words.into_iter().flat_map(u64::to_le_bytes).collect())
}

/// A word or a mark that is to be changed: in which page, where in it, and by what.
#[derive(Clone, Copy, Debug)]
struct Change {
    page: u64,
    place: usize,
    by: u32,
}

impl Change {
    fn at(at: u64, by: u32) -> Self {
        let place = at & (PAGE as u64 - 1);
        Self { page: at - place, place: place as usize, by }
    }

    fn area(number: u64) -> Self {
        Self::at(wire::area_at(number << AREA_SHIFT), 0)
    }

    fn mark(area: u32, part: u64, by: u8) -> Self {
        Self::at(mark_at(area, part << MARK_SHIFT), by.into())
    }
}

fn change_marks(file: &SharedFile, changes: Vec<Change>, to: impl Fn(u8, u8) -> u8) -> io::Result<()> {
    change(file, changes, |page, change| {
        if let Some(mark) = page.bytes().get(change.place) {
            let _ = mark.fetch_update(AcqRel, Relaxed, |mark| Some(to(mark, change.by as u8)));
        }
    })
}

/// Makes changes, page by page.
fn change(file: &SharedFile, mut changes: Vec<Change>, mut each: impl FnMut(&SharedBytes, Change)) -> io::Result<()> {
    changes.sort_unstable_by_key(|change| change.page);
    for group in changes.chunk_by(|one, other| one.page == other.page) {
        let Some(first) = group.first() else { continue };
        let page = SharedBytes::map(file.file(), first.page)?;
        for change in group {
            each(&page, *change);
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
            table.file.write(regions::MARKS.at, wire::FIRST_MARKS.as_flattened()).unwrap();
            table.area(0, wire::AREA_OF_NOTHING);
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

        /// Says where the marks of the area of a part are.
        fn area(&self, part: u64, area: u32) {
            self.file.write_words32(wire::area_at(part << MARK_SHIFT), &[area]).unwrap();
        }

        fn area_of(&self, part: u64) -> u32 {
            self.file.word32(wire::area_at(part << MARK_SHIFT)).unwrap()
        }

        /// Sets a mark in an area that has its own, or is given them.
        fn mark(&self, part: u64, mark: u8) {
            if !wire::is_own_area(self.area_of(part)) {
                let number = self.control.blocks.areas.fetch_add(1, Relaxed);
                self.area(part, wire::own_area(number).unwrap());
            }
            self.file.write(mark_at(self.area_of(part), part << MARK_SHIFT), &[mark]).unwrap();
        }

        fn marks(&self, parts: &[u64]) -> Vec<u8> {
            let mark = |part: &u64| marks_of(&self.file, self.area_of(*part)).unwrap()[(part & 255) as usize];
            parts.iter().map(mark).collect()
        }

        /// Puts a large block into the table, and says nothing of it in the marks.
        fn put_large(&self, part: u64) {
            let address = part << MARK_SHIFT | 0x10;
            let block = Block::new(address, 1 << 20, 1, Moment::new(1 << 40), 0);
            let block = wire::Slot::large(address, block);
            let at = regions::LINES.at + 7 * wire::LINE_BYTES;
            self.file.write_words(at, &[block.first, 0, 0, 0, block.second]).unwrap();
            self.file.write_words(regions::FURTHER.at + 3 * 16, &[Bucket::new(7, 1, 0).word(), 0]).unwrap();
            self.file.write(regions::LARGE.at + (address >> wire::LARGE_SHIFT) * 4, &3_u32.to_le_bytes()).unwrap();
            self.control.blocks.lines.store(8, Relaxed);
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
        table.put_large(FAR);
        table.mark(FAR + 1, MARK_LARGE | 1);
        assert_eq!(sweep(&table.file, &table.control).unwrap(), 2);
        assert_eq!(table.marks(&[0x540, 0x541, FAR, FAR + 1]), [MARK_EXACT, 1, MARK_LARGE, 1]);
    }

    #[test]
    fn areas_without_large_blocks_no_longer_share_the_mark_of_those() {
        let table = Table::new(&[], &[0x600], &[]);
        table.put_large(FAR);
        let areas = [FAR, FAR + 256, FAR + 512, 0x700];
        areas.iter().skip(1).for_each(|part| table.area(*part, AREA_LARGE));
        table.area(0x700, AREA_FULL);
        assert_eq!(sweep(&table.file, &table.control).unwrap(), 1);
        // That of the block had none: it is set again.
        assert_eq!(areas.map(|part| table.area_of(part)), [AREA_LARGE, AREA_EMPTY, AREA_EMPTY, AREA_FULL]);
        assert_eq!(sweep(&table.file, &table.control).unwrap(), 1);
        assert_eq!(areas.map(|part| table.area_of(part)), [AREA_LARGE, AREA_EMPTY, AREA_EMPTY, AREA_FULL]);
        assert_eq!(table.marks(&[FAR, FAR + 256, 0x600]), [MARK_LARGE, 0, 1]);
    }

    #[test]
    fn a_block_whose_area_was_overwritten_is_looked_for_everywhere() {
        let table = Table::new(&[0x550, FAR], &[], &[]);
        table.area(0x550, AREA_LARGE);
        table.area(FAR, AREA_EMPTY);
        sweep(&table.file, &table.control).unwrap();
        assert_eq!([0x550, FAR].map(|part| table.area_of(part)), [AREA_FULL; 2]);
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
