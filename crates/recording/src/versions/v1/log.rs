//! Beats as blocks of a log: only what changed.
//!
//! Owns: the state from which changes are told, and the form of a block. Must not know: files, or when a log ends.
//!
//! A block holds, in this order: the two times (differences in a beat, absolute in a key frame), the boot id (key frames only),
//! definitions of rows, changes grouped by column, events. A key frame defines and states everything anew.

use std::collections::HashMap;
use std::sync::Arc;

use model::{
    Beat, Event, Figure, FigureKey, Identity, ProcessKey, ProcessMetric, ProcessReading, Reading, SourceSample,
};

use super::words::{put_event, put_figure_key, put_identity};
use super::{COLUMNS, KIND_BEAT, KIND_KEY, PRESENCE, SOURCE_ROW, column_of, quantum_of};
use crate::cell::{Cell, Tracker};
use crate::coding::{put_number, put_text, zigzag};
use crate::limits;

/// Tags of definitions; none follows.
pub(super) const DEFINE_END: u8 = 0;
pub(super) const DEFINE_PROCESS: u8 = 1;
pub(super) const DEFINE_FIGURE: u8 = 2;

/// Turns beats into blocks.
#[derive(Debug)]
pub(crate) struct Encoder {
    boot_id: Arc<str>,
    processes: HashMap<ProcessKey, Slot>,
    sources: HashMap<u8, SourceSlots>,
    /// The row that the next process gets.
    next_row: u32,
    /// Number of the beat, from 1.
    beat: u64,
    wall_us: u64,
    boot_us: u64,
    definitions: Vec<u8>,
    changes: Changes,
    payload: Vec<u8>,
}

/// A process that was there at the last beat.
#[derive(Debug)]
struct Slot {
    row: u32,
    /// The last beat that had it.
    seen: u64,
    identity: Arc<Identity>,
    trackers: [Tracker; ProcessMetric::COUNT],
}

/// The figures of one source.
#[derive(Debug)]
struct SourceSlots {
    column: u8,
    state: Tracker,
    figures: Vec<FigureSlot>,
    /// Positions in `figures`, for figures that do not come in the order of last time.
    by_key: HashMap<FigureKey, usize>,
}

#[derive(Debug)]
struct FigureSlot {
    key: FigureKey,
    seen: u64,
    tracker: Tracker,
}

/// Changes of one beat, by column.
#[derive(Debug)]
struct Changes {
    columns: Vec<ColumnChanges>,
}

#[derive(Debug, Default)]
struct ColumnChanges {
    count: u64,
    last_row: u32,
    bytes: Vec<u8>,
}

impl Changes {
    fn put(&mut self, column: u8, row: u32, tracker: &mut Tracker, cell: Cell) {
        if tracker.is(cell) {
            return;
        }
        let changes = &mut self.columns[usize::from(column)];
        // Rows mostly ascend, but a process keeps its row when others before it are gone.
        put_number(&mut changes.bytes, zigzag(i64::from(row) - i64::from(changes.last_row)));
        tracker.put(&mut changes.bytes, cell, quantum_of(column));
        changes.last_row = row;
        changes.count += 1;
    }

    /// Moves all changes to the end of a payload.
    fn drain_into(&mut self, payload: &mut Vec<u8>) {
        for (column, changes) in self.columns.iter_mut().enumerate().filter(|(_, changes)| changes.count > 0) {
            put_number(payload, column as u64 + 1);
            put_number(payload, changes.count);
            payload.extend_from_slice(&changes.bytes);
            changes.bytes.clear();
            (changes.count, changes.last_row) = (0, 0);
        }
        put_number(payload, 0);
    }
}

impl Encoder {
    /// An encoder for a new log of this boot.
    pub(crate) fn new(boot_id: Arc<str>) -> Self {
        Self {
            boot_id,
            processes: HashMap::new(),
            sources: HashMap::new(),
            next_row: 0,
            beat: 0,
            wall_us: 0,
            boot_us: 0,
            definitions: Vec::new(),
            changes: Changes { columns: (0..COLUMNS).map(|_| ColumnChanges::default()).collect() },
            payload: Vec::new(),
        }
    }

    /// The boot whose beats it encodes.
    pub(crate) fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// Processes that were born after the first beat.
    pub(crate) fn births(&self) -> u32 {
        self.next_row.saturating_sub(self.processes.len() as u32)
    }

    /// Encodes a beat, with more events than it has itself; the kind of the block and what is in it.
    pub(crate) fn encode(&mut self, beat: &Beat, more: &[Event], key: bool) -> (u8, &[u8]) {
        debug_assert_eq!(*beat.at.boot_id, *self.boot_id, "another boot has another log");
        self.beat += 1;
        debug_assert!(self.definitions.is_empty(), "the beat before left nothing");
        self.payload.clear();
        self.put_times(beat.at.wall_ns / 1000, beat.at.boot_ns / 1000, key);
        if key {
            self.forget();
        }
        for process in &beat.processes {
            self.put_process(process, key);
        }
        self.bury(key);
        for source in &beat.system.sources {
            self.put_source(source);
        }
        self.leave_unread(beat);
        self.definitions.push(DEFINE_END);
        self.payload.append(&mut self.definitions);
        self.changes.drain_into(&mut self.payload);
        put_number(&mut self.payload, (beat.events.len() + more.len()) as u64);
        more.iter().chain(&beat.events).for_each(|event| put_event(&mut self.payload, event));
        (if key { KIND_KEY } else { KIND_BEAT }, &self.payload)
    }

    fn put_times(&mut self, wall_us: u64, boot_us: u64, key: bool) {
        if key {
            put_number(&mut self.payload, wall_us);
            put_number(&mut self.payload, boot_us);
            put_text(&mut self.payload, &self.boot_id);
        } else {
            put_number(&mut self.payload, zigzag(wall_us.wrapping_sub(self.wall_us) as i64));
            put_number(&mut self.payload, zigzag(boot_us.wrapping_sub(self.boot_us) as i64));
        }
        (self.wall_us, self.boot_us) = (wall_us, boot_us);
    }

    /// States all figures of the machine anew, since a source may be long not read; processes are stated when they are put.
    fn forget(&mut self) {
        for source in self.sources.values_mut() {
            let state = source.state.cell();
            source.state = Tracker::ABSENT;
            self.changes.put(source.column, SOURCE_ROW, &mut source.state, state);
            for (row, slot) in (SOURCE_ROW + 1..).zip(&mut source.figures) {
                let cell = slot.tracker.cell();
                slot.tracker = Tracker::ABSENT;
                define_figure(&mut self.definitions, source.column, row, &slot.key);
                self.changes.put(source.column, row, &mut slot.tracker, cell);
            }
        }
    }

    fn put_process(&mut self, process: &ProcessReading, key: bool) {
        let identity = &process.identity;
        let (beat, row) = (self.beat, self.next_row);
        let slot = self.processes.entry(identity.key).or_insert_with(|| Slot {
            row,
            seen: 0,
            identity: Arc::clone(identity),
            trackers: [Tracker::UNRECORDED; ProcessMetric::COUNT],
        });
        let is_new = slot.seen == 0;
        self.next_row += u32::from(is_new);
        // The pointer is compared first: most identities are the very same as at the beat before.
        let is_same = Arc::ptr_eq(&slot.identity, identity) || slot.identity == *identity;
        if key && slot.seen != beat {
            slot.trackers = [Tracker::UNRECORDED; ProcessMetric::COUNT];
        }
        if is_new || !is_same || key {
            self.definitions.push(DEFINE_PROCESS);
            put_number(&mut self.definitions, u64::from(slot.row));
            put_identity(&mut self.definitions, identity);
        }
        if !Arc::ptr_eq(&slot.identity, identity) {
            slot.identity = Arc::clone(identity);
        }
        slot.seen = beat;
        for (metric, tracker) in ProcessMetric::ALL.into_iter().zip(&mut slot.trackers) {
            self.changes.put(metric as u8, slot.row, tracker, Cell::new(process.figures.get(metric)));
        }
    }

    /// Says which processes are not there any more; a key frame says it by not stating them.
    fn bury(&mut self, key: bool) {
        let (beat, changes) = (self.beat, &mut self.changes);
        self.processes.retain(|_, slot| {
            let is_there = slot.seen == beat;
            if !is_there && !key {
                changes.put(PRESENCE, slot.row, &mut Tracker::UNRECORDED.clone(), Cell::ABSENT);
            }
            is_there
        });
    }

    fn put_source(&mut self, sample: &SourceSample) {
        let column = column_of(sample.source);
        let slots = self.sources.entry(column).or_insert_with(|| SourceSlots {
            column,
            state: Tracker::ABSENT,
            figures: Vec::new(),
            by_key: HashMap::new(),
        });
        match &sample.figures {
            Reading::Known(figures) => {
                self.changes.put(column, SOURCE_ROW, &mut slots.state, Cell::PRESENT);
                for (position, figure) in figures.iter().enumerate() {
                    slots.put(figure, position, self.beat, &mut self.definitions, &mut self.changes);
                }
                slots.bury(self.beat, &mut self.changes);
            }
            Reading::Missing(why) => {
                self.changes.put(column, SOURCE_ROW, &mut slots.state, Cell::new(Reading::Missing(*why)));
            }
        }
    }

    /// Sources that this beat does not have.
    fn leave_unread(&mut self, beat: &Beat) {
        for slots in self.sources.values_mut() {
            if !beat.system.sources.iter().any(|sample| column_of(sample.source) == slots.column) {
                self.changes.put(slots.column, SOURCE_ROW, &mut slots.state, Cell::ABSENT);
            }
        }
    }
}

impl SourceSlots {
    /// Puts a figure; the same figure mostly stands at the same position.
    fn put(&mut self, figure: &Figure, position: usize, beat: u64, definitions: &mut Vec<u8>, changes: &mut Changes) {
        let is_here = self.figures.get(position).is_some_and(|slot| slot.key == figure.key);
        let found = if is_here { Some(position) } else { self.by_key.get(&figure.key).copied() };
        let position = found.unwrap_or(self.figures.len());
        if position as u64 >= u64::from(limits::ROWS_MAX) - 1 {
            return;
        }
        let row = position as u32 + SOURCE_ROW + 1;
        if found.is_none() {
            define_figure(definitions, self.column, row, &figure.key);
            self.by_key.insert(figure.key.clone(), position);
            self.figures.push(FigureSlot { key: figure.key.clone(), seen: 0, tracker: Tracker::ABSENT });
        }
        let slot = &mut self.figures[position];
        slot.seen = beat;
        changes.put(self.column, row, &mut slot.tracker, Cell::new(figure.value));
    }

    fn bury(&mut self, beat: u64, changes: &mut Changes) {
        for (row, slot) in (SOURCE_ROW + 1..).zip(&mut self.figures) {
            if slot.seen != beat {
                changes.put(self.column, row, &mut slot.tracker, Cell::ABSENT);
            }
        }
    }
}

fn define_figure(definitions: &mut Vec<u8>, column: u8, row: u32, key: &FigureKey) {
    definitions.extend_from_slice(&[DEFINE_FIGURE, column]);
    put_number(definitions, u64::from(row));
    put_figure_key(definitions, key);
}
