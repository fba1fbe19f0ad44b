//! The blocks of a log turned into columns.
//!
//! Owns: reading what `log` wrote, holes included, and the columns in memory. Must not know: files.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use model::{Event, FigureKey, Identity};

use super::log::{DEFINE_END, DEFINE_FIGURE, DEFINE_PROCESS};
use super::words::{event, figure_key, identity};
use super::{COLUMNS, KIND_BEAT, KIND_KEY, PRESENCE, quantum_of, source_of};
use crate::block::{Block, Found};
use crate::cell::{Cell, Tracker};
use crate::coding::{Malformed, Reader, put_number, unzigzag};
use crate::damage::Damage;
use crate::limits;

/// All of a log by columns.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    pub(crate) boot_id: Arc<str>,
    /// Wall and boot time of each beat, in microseconds.
    pub(crate) times: Vec<(u64, u64)>,
    /// Row, beat from which it holds, identity; in order of the beat.
    pub(crate) identities: Vec<(u32, u32, Arc<Identity>)>,
    /// Column, row, key.
    pub(crate) figures: Vec<(u8, u32, FigureKey)>,
    /// Beat and event.
    pub(crate) events: Vec<(u32, Event)>,
    /// Series by column and row.
    pub(crate) series: BTreeMap<u8, BTreeMap<u32, Series>>,
    /// What was lost.
    pub(crate) damage: Damage,
    /// The identity that holds now, by row.
    current: HashMap<u32, Arc<Identity>>,
    named: HashMap<(u8, u32), FigureKey>,
    /// Number of the last key frame; zero where changes have nothing to be told from.
    epoch: u32,
    epochs: u32,
    /// Number of all series.
    count: u32,
    /// The columns whose series are kept, besides that of presence.
    wanted: Range<u8>,
}

/// The changes of one row in one column.
#[derive(Debug)]
pub(crate) struct Series {
    /// Beats since the change before, of each change.
    pub(crate) gaps: Vec<u8>,
    /// Tokens of each change; apart from the gaps, since each kind compresses better among its own.
    pub(crate) tokens: Vec<u8>,
    /// As the log tells it, anew from each key frame.
    input: Tracker,
    epoch: u32,
    /// As it is told here.
    output: Tracker,
    /// Beat of the last change.
    beat: u32,
}

impl Series {
    const fn new(column: u8) -> Self {
        let start = start_of(column);
        Self { gaps: Vec::new(), tokens: Vec::new(), input: start, epoch: 0, output: start, beat: 0 }
    }

    fn set(&mut self, column: u8, beat: u32, cell: Cell) {
        if self.output.is(cell) {
            return;
        }
        debug_assert!(beat >= self.beat, "beats come in order");
        put_number(&mut self.gaps, u64::from(beat - self.beat));
        self.output.put(&mut self.tokens, cell, quantum_of(column));
        self.beat = beat;
    }
}

/// Where the series of a column start: those of processes are gated by their presence.
pub(super) const fn start_of(column: u8) -> Tracker {
    if column < PRESENCE { Tracker::UNRECORDED } else { Tracker::ABSENT }
}

/// Turns the blocks of a log into columns. Whatever cannot be understood is counted, never an error.
pub(crate) fn transpose<'a>(blocks: impl Iterator<Item = Found<'a>>) -> Columns {
    transpose_some(blocks, 0..COLUMNS)
}

/// The same with the series of some columns only; definitions and events come with the first column. All of a log with thousands of
/// births are many times its size.
pub(crate) fn transpose_some<'a>(blocks: impl Iterator<Item = Found<'a>>, wanted: Range<u8>) -> Columns {
    let mut columns = Columns { wanted, ..Columns::default() };
    for found in blocks {
        match found {
            Found::Sound(_, block) => columns.add(&block),
            Found::Damage(bytes) => columns.lose(1, bytes),
            Found::Tail(bytes) => columns.damage.tail_bytes += bytes as u64,
        }
    }
    columns
}

/// One beat as it is read, before anything of it is believed.
struct Parsed {
    times: (u64, u64),
    boot_id: Option<String>,
    definitions: Vec<Definition>,
    changes: Vec<(u8, u32, Cell)>,
    events: Vec<Event>,
}

enum Definition {
    Process(u32, Identity),
    Figure(u8, u32, FigureKey),
}

impl Columns {
    fn lose(&mut self, blocks: u64, bytes: usize) {
        self.damage.blocks += blocks;
        self.damage.bytes += bytes as u64;
        self.epoch = 0;
    }

    fn add(&mut self, block: &Block<'_>) {
        let is_key = block.kind == KIND_KEY;
        if !is_key && (block.kind != KIND_BEAT || self.epoch == 0) {
            // Sound, but told from a block that is lost; or of a kind that does not belong here.
            return self.lose(1, block.payload.len());
        }
        if self.times.len() as u64 >= u64::from(limits::ROWS_MAX) {
            return self.lose(1, block.payload.len());
        }
        if is_key {
            self.epochs += 1;
            self.epoch = self.epochs;
        }
        match self.parse(Reader::new(&block.payload), is_key) {
            Ok(parsed) => self.apply(parsed, is_key),
            Err(Malformed) => self.lose(1, block.payload.len()),
        }
    }

    fn parse(&mut self, mut reader: Reader<'_>, is_key: bool) -> Result<Parsed, Malformed> {
        let (times, boot_id) = self.times(&mut reader, is_key)?;
        let definitions = definitions(&mut reader)?;
        let changes = self.changes(&mut reader)?;
        let mut events = Vec::new();
        for _ in 0..reader.number()? {
            match event(&mut reader)? {
                Some(event) => events.push(event),
                None => self.damage.unknown += 1,
            }
        }
        Ok(Parsed { times, boot_id, definitions, changes, events })
    }

    fn times(&self, reader: &mut Reader<'_>, is_key: bool) -> Result<((u64, u64), Option<String>), Malformed> {
        if is_key {
            return Ok(((reader.number()?, reader.number()?), Some(reader.text()?)));
        }
        let (wall, boot) = self.times.last().copied().ok_or(Malformed)?;
        let mut after = |time: u64| Ok(time.wrapping_add(unzigzag(reader.number()?) as u64));
        Ok(((after(wall)?, after(boot)?), None))
    }

    /// Reads changes; the trackers move with it, so that a block that fails leaves the epoch unusable.
    fn changes(&mut self, reader: &mut Reader<'_>) -> Result<Vec<(u8, u32, Cell)>, Malformed> {
        let mut changes = Vec::new();
        while let Some(column) = reader.below(u32::from(COLUMNS) + 1)?.checked_sub(1) {
            let column = column as u8;
            if !self.wanted.contains(&column) && column != PRESENCE {
                pass_by(reader)?;
                continue;
            }
            let series = self.series.entry(column).or_default();
            let mut row = 0_u32;
            for _ in 0..reader.number()? {
                let next = i64::from(row).checked_add(unzigzag(reader.number()?)).ok_or(Malformed)?;
                row = u32::try_from(next).ok().filter(|row| *row < limits::ROWS_MAX).ok_or(Malformed)?;
                let count = &mut self.count;
                let series = series.entry(row).or_insert_with(|| {
                    *count += 1;
                    Series::new(column)
                });
                if *count > limits::SERIES_MAX || changes.len() >= limits::CHANGES_MAX {
                    return Err(Malformed);
                }
                if series.epoch != self.epoch {
                    (series.input, series.epoch) = (start_of(column), self.epoch);
                }
                changes.push((column, row, series.input.take(reader, quantum_of(column))?));
            }
        }
        Ok(changes)
    }

    fn apply(&mut self, parsed: Parsed, is_key: bool) {
        let beat = self.times.len() as u32;
        self.times.push(parsed.times);
        if let Some(boot_id) = parsed.boot_id.filter(|boot_id| **boot_id != *self.boot_id) {
            self.boot_id = Arc::from(boot_id);
        }
        for definition in parsed.definitions {
            match definition {
                Definition::Process(row, identity) => self.define_process(beat, row, identity),
                Definition::Figure(column, row, key) => self.define_figure(column, row, key),
            }
        }
        for (column, row, cell) in parsed.changes {
            self.set(column, row, beat, cell);
        }
        if is_key {
            self.bury(beat);
        }
        if self.wanted.start > 0 {
            return;
        }
        self.events.extend(parsed.events.into_iter().map(|event| (beat, event)));
    }

    fn set(&mut self, column: u8, row: u32, beat: u32, cell: Cell) {
        let series = self.series.entry(column).or_default().entry(row).or_insert_with(|| Series::new(column));
        series.set(column, beat, cell);
    }

    fn define_process(&mut self, beat: u32, row: u32, identity: Identity) {
        let is_kept = self.wanted.start == 0;
        if is_kept && self.current.get(&row).is_none_or(|current| **current != identity) {
            let identity = Arc::new(identity);
            self.current.insert(row, Arc::clone(&identity));
            self.identities.push((row, beat, identity));
        }
        let series = self.series.entry(PRESENCE).or_default().entry(row).or_insert_with(|| Series::new(PRESENCE));
        series.epoch = self.epoch;
        series.input = Tracker::UNRECORDED;
        series.set(PRESENCE, beat, Cell::PRESENT);
    }

    fn define_figure(&mut self, column: u8, row: u32, key: FigureKey) {
        if self.wanted.start == 0 && self.named.get(&(column, row)).is_none_or(|known| *known != key) {
            self.named.insert((column, row), key.clone());
            self.figures.push((column, row, key));
        }
    }

    /// A key frame states all that is there; what it does not state went in a block that was lost.
    fn bury(&mut self, beat: u32) {
        let epoch = self.epoch;
        let gated = self.series.iter_mut().filter(|(column, _)| **column >= PRESENCE);
        for (column, rows) in gated {
            for series in rows.values_mut().filter(|series| series.epoch != epoch) {
                series.set(*column, beat, Cell::ABSENT);
            }
        }
        self.forget_unstated(beat);
    }

    /// A metric that the key frame does not state is not recorded any more, and must not seem to go on as before: it stopped at
    /// this very beat, or in a block that was lost.
    fn forget_unstated(&mut self, beat: u32) {
        let epoch = self.epoch;
        let presence = self.series.get(&PRESENCE).into_iter().flatten();
        let there: HashSet<u32> =
            presence.filter(|(_, series)| series.output.is(Cell::PRESENT)).map(|(row, _)| *row).collect();
        for (column, rows) in self.series.iter_mut().filter(|(column, _)| **column < PRESENCE) {
            for (_, series) in rows.iter_mut().filter(|(row, series)| series.epoch != epoch && there.contains(row)) {
                series.set(*column, beat, Tracker::UNRECORDED.cell());
            }
        }
    }
}

/// Changes of a column that is not wanted now.
fn pass_by(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let mut any = Tracker::UNRECORDED;
    for _ in 0..reader.number()? {
        reader.number()?;
        any.take(reader, 1)?;
    }
    Ok(())
}

fn definitions(reader: &mut Reader<'_>) -> Result<Vec<Definition>, Malformed> {
    let mut definitions = Vec::new();
    loop {
        definitions.push(match reader.byte()? {
            DEFINE_END => return Ok(definitions),
            DEFINE_PROCESS => Definition::Process(reader.below(limits::ROWS_MAX)?, identity(reader)?),
            DEFINE_FIGURE => {
                let column = reader.byte()?;
                source_of(column).ok_or(Malformed)?;
                Definition::Figure(column, reader.below(limits::ROWS_MAX)?, figure_key(reader)?)
            }
            _ => return Err(Malformed),
        });
    }
}
