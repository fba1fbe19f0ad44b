//! Beats read back one by one.
//!
//! Owns: putting a beat together from columns. Must not know: which beats are wanted for what.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use model::{
    Beat, Event, Figure, FigureKey, Identity, Moment, ProcessFigures, ProcessMetric, ProcessReading, Reading,
    SourceSample, SystemSample,
};

use crate::cell::Cell;
use crate::damage::Damage;
use crate::recording::{Recording, to_ns};
use crate::versions::v1::column::{Column, Cursor};
use crate::versions::v1::sealed::Sealed;
use crate::versions::v1::{PRESENCE, SOURCE_ROW, source_of};

/// Beats of a recording in the order in which they were recorded; see [`Recording::beats`].
#[derive(Debug)]
pub struct Beats<'a> {
    recording: &'a Recording,
    window: Range<u64>,
    next_segment: usize,
    player: Option<Player>,
}

/// The state of one segment at one beat.
#[derive(Debug)]
struct Player {
    boot_id: Arc<str>,
    times: VecDeque<(u64, u64)>,
    /// The beat that comes next.
    beat: u32,
    columns: Vec<Column>,
    cursors: Vec<(usize, Cursor)>,
    /// Changes to come: beat, cursor. The value stands in `pending` under the cursor.
    changes: BinaryHeap<Reverse<(u32, usize)>>,
    pending: Vec<Cell>,
    identities: VecDeque<(u32, u32, Arc<Identity>)>,
    events: VecDeque<(u32, Event)>,
    processes: BTreeMap<u32, Process>,
    sources: BTreeMap<u8, Source>,
}

#[derive(Debug, Default)]
struct Process {
    identity: Option<Arc<Identity>>,
    is_there: bool,
    figures: ProcessFigures,
}

#[derive(Debug)]
struct Source {
    state: Cell,
    figures: BTreeMap<u32, (FigureKey, Cell)>,
}

impl Recording {
    /// Beats in a window of wall time, in nanoseconds, one segment in memory at a time. Processes come in order of their pid,
    /// sources in order of their number, figures of a source in the order in which they were first seen; times are whole microseconds.
    pub const fn beats(&self, window: Range<u64>) -> Beats<'_> {
        Beats { recording: self, window, next_segment: 0, player: None }
    }
}

impl Iterator for Beats<'_> {
    type Item = Beat;

    fn next(&mut self) -> Option<Beat> {
        loop {
            if let Some(player) = &mut self.player {
                while let Some(wall_us) = player.advance() {
                    if self.window.contains(&to_ns(wall_us)) {
                        return Some(player.beat(wall_us));
                    }
                    player.skip();
                }
            }
            let segment = self.recording.segments.get(self.next_segment)?;
            self.next_segment += 1;
            self.player = None;
            if segment.is_in(&self.window) {
                self.player = self.recording.read(segment, Player::new);
            }
        }
    }
}

impl Player {
    fn new(sealed: &Sealed, damage: &mut Damage) -> Self {
        let (boot_id, times) = sealed.times(damage);
        let definitions = sealed.definitions(damage);
        let columns: Vec<Column> =
            sealed.columns().into_iter().flat_map(|column| sealed.column(column, damage)).collect();
        let of = |(at, column): (usize, &Column)| column.cursors().map(move |cursor| (at, cursor)).collect::<Vec<_>>();
        let cursors: Vec<(usize, Cursor)> = columns.iter().enumerate().flat_map(of).collect();
        let mut sources: BTreeMap<u8, Source> = BTreeMap::new();
        for (column, row, key) in definitions.figures {
            let source = sources.entry(column).or_insert(Source { state: Cell::ABSENT, figures: BTreeMap::new() });
            source.figures.insert(row, (key, Cell::ABSENT));
        }
        let mut player = Self {
            boot_id,
            times: times.into(),
            beat: 0,
            pending: vec![Cell::ABSENT; cursors.len()],
            changes: BinaryHeap::with_capacity(cursors.len()),
            columns,
            cursors,
            identities: definitions.identities.into(),
            events: sealed.events(damage).into(),
            processes: BTreeMap::new(),
            sources,
        };
        (0..player.cursors.len()).for_each(|cursor| player.schedule(cursor));
        player
    }

    /// Looks up the next change of a cursor.
    fn schedule(&mut self, at: usize) {
        let (column, cursor) = &mut self.cursors[at];
        if let Some((beat, cell)) = self.columns[*column].next(cursor) {
            self.pending[at] = cell;
            self.changes.push(Reverse((beat, at)));
        }
    }

    /// Applies all changes of the next beat; its wall time.
    fn advance(&mut self) -> Option<u64> {
        let (wall_us, _) = *self.times.front()?;
        while let Some((row, _, identity)) = pop_if(&mut self.identities, |(_, beat, _)| *beat <= self.beat) {
            self.processes.entry(row).or_default().identity = Some(identity);
        }
        while let Some(Reverse((_, at))) = self.changes.peek().copied().filter(|next| next.0.0 <= self.beat) {
            self.changes.pop();
            self.apply(at);
            self.schedule(at);
        }
        Some(wall_us)
    }

    fn apply(&mut self, at: usize) {
        let (column, row) = (self.columns[self.cursors[at].0].number, self.cursors[at].1.row);
        let cell = self.pending[at];
        if column == PRESENCE {
            let process = self.processes.entry(row).or_default();
            process.is_there = cell.reading().is_some();
            if !process.is_there {
                // Rows are not used again; a process that is gone needs no memory.
                self.processes.remove(&row);
            }
        } else if let Some(metric) = ProcessMetric::ALL.get(usize::from(column)) {
            if let Some(reading) = cell.reading() {
                self.processes.entry(row).or_default().figures.set(*metric, reading);
            }
        } else if row == SOURCE_ROW {
            let new = || Source { state: Cell::ABSENT, figures: BTreeMap::new() };
            self.sources.entry(column).or_insert_with(new).state = cell;
        } else if let Some((_, figure)) = self.sources.get_mut(&column).and_then(|source| source.figures.get_mut(&row))
        {
            *figure = cell;
        }
    }

    /// Leaves the beat that was advanced to.
    fn skip(&mut self) {
        self.times.pop_front();
        while pop_if(&mut self.events, |(beat, _)| *beat <= self.beat).is_some() {}
        self.beat += 1;
    }

    /// The beat that was advanced to.
    fn beat(&mut self, wall_us: u64) -> Beat {
        let boot_us = self.times.front().map_or(0, |(_, boot)| *boot);
        let mut events = Vec::new();
        while let Some((_, event)) = pop_if(&mut self.events, |(beat, _)| *beat <= self.beat) {
            events.push(event);
        }
        let at = Moment { wall_ns: to_ns(wall_us), boot_ns: to_ns(boot_us), boot_id: Arc::clone(&self.boot_id) };
        let beat = Beat { at, processes: self.readings(), system: self.system(), events };
        self.skip();
        beat
    }

    fn readings(&self) -> Vec<ProcessReading> {
        let there = self.processes.values().filter(|process| process.is_there);
        let reading = |process: &Process| {
            let identity = Arc::clone(process.identity.as_ref()?);
            Some(ProcessReading { identity, figures: process.figures.clone() })
        };
        let mut readings: Vec<ProcessReading> = there.filter_map(reading).collect();
        readings.sort_by_key(|reading| reading.identity.key);
        readings
    }

    fn system(&self) -> SystemSample {
        let sample = |(column, source): (&u8, &Source)| {
            let figures = match source.state.reading()? {
                Reading::Known(_) => Reading::Known(source.figures()),
                Reading::Missing(why) => Reading::Missing(why),
            };
            Some(SourceSample { source: source_of(*column)?, figures })
        };
        SystemSample { sources: self.sources.iter().filter_map(sample).collect() }
    }
}

impl Source {
    fn figures(&self) -> Vec<Figure> {
        let figure = |(key, cell): &(FigureKey, Cell)| Some(Figure { key: key.clone(), value: cell.reading()? });
        self.figures.values().filter_map(figure).collect()
    }
}

/// The front of a queue, if its time has come.
fn pop_if<T>(queue: &mut VecDeque<T>, has_come: impl FnOnce(&T) -> bool) -> Option<T> {
    queue.front().is_some_and(has_come).then(|| queue.pop_front())?
}
