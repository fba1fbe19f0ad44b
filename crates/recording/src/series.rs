//! Values of one metric over time, thinned out to what a picture can show.
//!
//! Owns: the thinning. Must not know: what is drawn, or what a trend is.
//!
//! Only the columns that are asked for are read, and each once for all processes: that is why a week opens in a second.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use model::{FigureKey, ProcessMetric, Reading, Source, Why};

use crate::cell::Cell;
use crate::recording::{ProcessId, Recording, identities, presence, to_ns};
use crate::versions::v1::column::{Column, Cursor};
use crate::versions::v1::{SOURCE_ROW, column_of};

/// The values of a metric in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Wall time of the first beat of the span, in nanoseconds.
    pub from_ns: u64,
    /// Wall time of its last beat.
    pub to_ns: u64,
    /// The smallest value.
    pub min: u64,
    /// The largest value.
    pub max: u64,
    /// The value at the last beat.
    pub last: u64,
    /// How many beats have a value.
    pub beats: u32,
}

/// A metric of one thing over time. Where there is no point nothing is known: before its birth, after its death, in a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series<K> {
    /// What the values belong to.
    pub of: K,
    /// Its values, in order of time.
    pub points: Vec<Point>,
    /// Beats at which it was there but the value was missing.
    pub missing: u64,
}

/// Spans of equal length over a window.
#[derive(Clone, Debug)]
struct Spans {
    window: Range<u64>,
    width_ns: u64,
}

impl Spans {
    /// The part of the window that has beats, in so many spans.
    fn new(recording: &Recording, window: &Range<u64>, points_max: usize) -> Self {
        let info = recording.info();
        let from = window.start.max(info.from_ns.unwrap_or(0));
        let to = window.end.min(info.to_ns.unwrap_or(0).saturating_add(1)).max(from);
        let width_ns = (to - from).div_ceil(points_max.max(1) as u64).max(1);
        debug_assert!((to - from).div_ceil(width_ns) <= points_max.max(1) as u64, "no more points than asked for");
        Self { window: from..to, width_ns }
    }

    fn of(&self, at_ns: u64) -> Option<u64> {
        self.window.contains(&at_ns).then(|| (at_ns - self.window.start) / self.width_ns)
    }
}

/// A series that grows segment by segment.
#[derive(Debug, Default)]
struct Growing {
    /// Span and point; in order but for jumps of the clock.
    points: Vec<(u64, Point)>,
    missing: u64,
}

impl Growing {
    fn add(&mut self, span: u64, at_ns: u64, value: u64) {
        let new = Point { from_ns: at_ns, to_ns: at_ns, min: value, max: value, last: value, beats: 1 };
        match self.points.last_mut() {
            Some((last, point)) if *last == span => join(point, new),
            _ => self.points.push((span, new)),
        }
    }

    fn finish<K>(mut self, of: K) -> Series<K> {
        // After a jump backwards a span may have been met twice.
        self.points.sort_by_key(|(span, point)| (*span, point.from_ns));
        let mut points: Vec<(u64, Point)> = Vec::with_capacity(self.points.len());
        for (span, point) in self.points {
            match points.last_mut() {
                Some((last, joined)) if *last == span => join(joined, point),
                _ => points.push((span, point)),
            }
        }
        Series { of, points: points.into_iter().map(|(_, point)| point).collect(), missing: self.missing }
    }
}

fn join(point: &mut Point, other: Point) {
    if other.to_ns >= point.to_ns {
        (point.to_ns, point.last) = (other.to_ns, other.last);
    }
    point.from_ns = point.from_ns.min(other.from_ns);
    point.min = point.min.min(other.min);
    point.max = point.max.max(other.max);
    point.beats = point.beats.saturating_add(other.beats);
}

/// The beats of a segment with their time and span; those outside of the window have none.
struct Axis {
    beats: Vec<(u64, Option<u64>)>,
}

impl Axis {
    fn new(times: &[(u64, u64)], spans: &Spans) -> Self {
        Self { beats: times.iter().map(|(wall, _)| (to_ns(*wall), spans.of(to_ns(*wall)))).collect() }
    }

    fn length(&self) -> u32 {
        self.beats.len() as u32
    }

    /// Adds the changes of one row to a series, in the beats in which it was there.
    fn add(&self, column: &Column, mut cursor: Cursor, present: &[Range<u32>], series: &mut Growing) {
        let (mut from, mut cell) = (0, cursor.cell());
        loop {
            let next = column.next(&mut cursor);
            let to = next.map_or(self.length(), |(beat, _)| beat.min(self.length()));
            for run in present {
                self.add_run(from.max(run.start)..to.min(run.end), cell, series);
            }
            let Some((beat, changed)) = next else { return };
            (from, cell) = (beat, changed);
        }
    }

    /// Adds the beats of a row that has no changes at all.
    fn add_unrecorded(&self, present: &[Range<u32>], series: &mut Growing) {
        for run in present {
            self.add_run(run.clone(), Cell::new(Reading::Missing(Why::NotRecorded)), series);
        }
    }

    fn add_run(&self, run: Range<u32>, cell: Cell, series: &mut Growing) {
        let Some(reading) = cell.reading().filter(|_| !run.is_empty()) else { return };
        let beats = self.beats.get(run.start as usize..run.end as usize).unwrap_or_default();
        for (at_ns, span) in beats {
            match (span, reading) {
                (Some(span), Reading::Known(value)) => series.add(*span, *at_ns, value),
                (Some(_), Reading::Missing(_)) => series.missing += 1,
                (None, _) => {}
            }
        }
    }
}

impl Recording {
    /// One metric of all processes that are selected, in a window of wall time, each with at most so many points
    /// (`usize::MAX` for one at each beat). Processes in order of their id; one that has neither a value nor a missing one is left out.
    pub fn series(
        &self,
        metric: ProcessMetric,
        window: Range<u64>,
        points_max: usize,
        mut select: impl FnMut(&ProcessId) -> bool,
    ) -> Vec<Series<ProcessId>> {
        let spans = Spans::new(self, &window, points_max);
        let mut growing: BTreeMap<ProcessId, Option<Growing>> = BTreeMap::new();
        for segment in self.segments.iter().filter(|segment| segment.is_in(&window)) {
            self.read(segment, |sealed, damage| {
                let (boot_id, times) = sealed.times(damage);
                let axis = Axis::new(&times, &spans);
                let present = presence(sealed, axis.length(), damage);
                let ids: BTreeMap<u32, ProcessId> = identities(sealed, damage)
                    .into_iter()
                    .map(|(row, identity)| (row, ProcessId { boot_id: Arc::clone(&boot_id), key: identity.key }))
                    .collect();
                let mut wanted = |id: &ProcessId| {
                    let series = growing.entry(id.clone()).or_insert_with(|| select(id).then(Growing::default));
                    series.is_some()
                };
                let ids: BTreeMap<u32, ProcessId> = ids.into_iter().filter(|(_, id)| wanted(id)).collect();
                let mut unrecorded = ids.clone();
                for column in &sealed.column(metric as u8, damage) {
                    for cursor in column.cursors() {
                        let Some(series) = ids.get(&cursor.row).and_then(|id| growing.get_mut(id)?.as_mut()) else {
                            continue;
                        };
                        unrecorded.remove(&cursor.row);
                        let runs = runs_of(&present, cursor.row);
                        axis.add(column, cursor, runs, series);
                    }
                }
                // Of these the metric was never read: they were there, and it was missing.
                for (row, id) in unrecorded {
                    if let Some(series) = growing.get_mut(&id).and_then(Option::as_mut) {
                        axis.add_unrecorded(runs_of(&present, row), series);
                    }
                }
            });
        }
        let known = growing.into_iter().filter_map(|(id, growing)| Some(growing?.finish(id)));
        known.filter(|series| !series.points.is_empty() || series.missing > 0).collect()
    }

    /// All figures of a source in a window of wall time, each with at most so many points, in order of their key.
    pub fn figure_series(&self, source: Source, window: Range<u64>, points_max: usize) -> Vec<Series<FigureKey>> {
        let spans = Spans::new(self, &window, points_max);
        let column = column_of(source);
        let mut growing: BTreeMap<FigureKey, Growing> = BTreeMap::new();
        for segment in self.segments.iter().filter(|segment| segment.is_in(&window)) {
            self.read(segment, |sealed, damage| {
                let axis = Axis::new(&sealed.times(damage).1, &spans);
                let figures = sealed.definitions(damage).figures.into_iter();
                let keys: BTreeMap<u32, FigureKey> =
                    figures.filter(|(of, ..)| *of == column).map(|(_, row, key)| (row, key)).collect();
                let parts = sealed.column(column, damage);
                let read = beats_of_source(&parts, axis.length());
                for part in &parts {
                    for cursor in part.cursors() {
                        let Some(key) = keys.get(&cursor.row) else { continue };
                        axis.add(part, cursor, &read, growing.entry(key.clone()).or_default());
                    }
                }
            });
        }
        growing.into_iter().map(|(key, growing)| growing.finish(key)).collect()
    }
}

/// The beats at which a source was read: between them its figures stand still without being known.
fn beats_of_source(parts: &[Column], beats: u32) -> Vec<Range<u32>> {
    let is_read = |cell: Cell| matches!(cell.reading(), Some(Reading::Known(_)));
    let states = parts.iter().flat_map(|part| part.cursors().map(move |cursor| (part, cursor)));
    states
        .filter(|(_, cursor)| cursor.row == SOURCE_ROW)
        .flat_map(|(part, cursor)| part.runs(cursor, beats, is_read))
        .collect()
}

fn runs_of(present: &BTreeMap<u32, Vec<Range<u32>>>, row: u32) -> &[Range<u32>] {
    present.get(&row).map(Vec::as_slice).unwrap_or_default()
}
