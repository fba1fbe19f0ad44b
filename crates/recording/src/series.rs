//! Values of one metric over time, thinned out to what a picture can show.
//!
//! Owns: the thinning. Must not know: what is drawn, or what a trend is.
//!
//! Only the columns that are asked for are read, and each once for all processes: that is why a week opens in a second.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use model::{FigureKey, Identity, ProcessMetric, Reading, Source, Why};

use crate::cell::Cell;
use crate::damage::Damage;
use crate::recording::{ProcessId, Recording, identities, presence, to_ns};
use crate::versions::v1::column::{Column, Cursor};
use crate::versions::v1::sealed::Sealed;
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
    /// A value that was the same at so many beats of a span.
    fn add(&mut self, span: u64, (from_ns, to_ns): (u64, u64), value: u64, beats: u32) {
        let new = Point { from_ns, to_ns, min: value, max: value, last: value, beats };
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

/// The beats of a segment with their time, and stretches of them that lie in one span; those outside of the window have none.
///
/// By stretches and not by beats: most figures stand still, and a week has a hundred beats in each span.
struct Axis {
    beats: Vec<u64>,
    stretches: Vec<(Range<u32>, Option<u64>)>,
}

impl Axis {
    fn new(times: &[(u64, u64)], spans: &Spans) -> Self {
        let beats: Vec<u64> = times.iter().map(|(wall, _)| to_ns(*wall)).collect();
        let mut stretches: Vec<(Range<u32>, Option<u64>)> = Vec::new();
        let mut before = 0;
        for (beat, at_ns) in (0..).zip(&beats) {
            let span = spans.of(*at_ns);
            match stretches.last_mut() {
                // Where the clock goes back another stretch begins, so that the first beat of one is its earliest.
                Some((stretch, last)) if *last == span && *at_ns >= before => stretch.end = beat + 1,
                _ => stretches.push((beat..beat + 1, span)),
            }
            before = *at_ns;
        }
        Self { beats, stretches }
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
        let first = self.stretches.partition_point(|(stretch, _)| stretch.end <= run.start);
        let met = self.stretches.iter().skip(first).take_while(|(stretch, _)| stretch.start < run.end);
        for (stretch, span) in met {
            let part = stretch.start.max(run.start)..stretch.end.min(run.end);
            let (Some(from), Some(to)) = (self.at(part.start), self.at(part.end - 1)) else { return };
            match (span, reading) {
                (Some(span), Reading::Known(value)) => series.add(*span, (from, to), value, part.end - part.start),
                (Some(_), Reading::Missing(_)) => series.missing += u64::from(part.end - part.start),
                (None, _) => {}
            }
        }
    }

    fn at(&self, beat: u32) -> Option<u64> {
        self.beats.get(beat as usize).copied()
    }
}

/// The series of all processes that were met, one for each metric; none of those that are not asked for.
type AllGrowing = BTreeMap<ProcessId, Option<Vec<Growing>>>;

fn series_of<'a>(growing: &'a mut AllGrowing, id: &ProcessId, position: usize) -> Option<&'a mut Growing> {
    growing.get_mut(id)?.as_mut()?.get_mut(position)
}

/// The processes of a segment that are asked for, and when they were there.
struct Rows {
    axis: Axis,
    present: BTreeMap<u32, Vec<Range<u32>>>,
    ids: BTreeMap<u32, ProcessId>,
}

impl Rows {
    fn read(
        sealed: &Sealed,
        damage: &mut Damage,
        spans: &Spans,
        mut is_wanted: impl FnMut(&ProcessId) -> bool,
    ) -> Self {
        let (boot_id, times) = sealed.times(damage);
        let axis = Axis::new(&times, spans);
        let present = presence(sealed, axis.length(), damage);
        let id = |identity: Arc<Identity>| ProcessId { boot_id: Arc::clone(&boot_id), key: identity.key };
        let ids = identities(sealed, damage).into_iter().map(|(row, identity)| (row, id(identity)));
        let ids = ids.filter(|(_, id)| is_wanted(id)).collect();
        Self { axis, present, ids }
    }

    /// Adds one column to the series of each process, where it has this position among them.
    fn add(&self, parts: &[Column], position: usize, growing: &mut AllGrowing) {
        let mut unrecorded = self.ids.clone();
        for column in parts {
            for cursor in column.cursors() {
                let Some(series) = self.ids.get(&cursor.row).and_then(|id| series_of(growing, id, position)) else {
                    continue;
                };
                unrecorded.remove(&cursor.row);
                self.axis.add(column, cursor.clone(), runs_of(&self.present, cursor.row), series);
            }
        }
        // Of these the metric was never read: they were there, and it was missing.
        for (row, id) in &unrecorded {
            if let Some(series) = series_of(growing, id, position) {
                self.axis.add_unrecorded(runs_of(&self.present, *row), series);
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
        select: impl FnMut(&ProcessId) -> bool,
    ) -> Vec<Series<ProcessId>> {
        let all = self.several_series(&[metric], window, points_max, select);
        all.into_iter().flat_map(|(_, series)| series).filter(|it| !it.points.is_empty() || it.missing > 0).collect()
    }

    /// Several metrics at once, in the order in which they are asked for; what belongs to all of them is read only once.
    pub fn several_series(
        &self,
        metrics: &[ProcessMetric],
        window: Range<u64>,
        points_max: usize,
        mut select: impl FnMut(&ProcessId) -> bool,
    ) -> Vec<(ProcessId, Vec<Series<ProcessId>>)> {
        let spans = Spans::new(self, &window, points_max);
        let mut growing = AllGrowing::new();
        for segment in self.segments.iter().filter(|segment| segment.is_in(&window)) {
            self.read(segment, |sealed, damage| {
                let rows = Rows::read(sealed, damage, &spans, |id| {
                    let none = || metrics.iter().map(|_| Growing::default()).collect();
                    growing.entry(id.clone()).or_insert_with(|| select(id).then(none)).is_some()
                });
                for (position, metric) in metrics.iter().enumerate() {
                    let parts = sealed.column(*metric as u8, damage);
                    rows.add(&parts, position, &mut growing);
                }
            });
        }
        let finish = |id: ProcessId, all: Vec<Growing>| {
            let series = all.into_iter().map(|growing| growing.finish(id.clone())).collect();
            (id, series)
        };
        growing.into_iter().filter_map(|(id, all)| Some(finish(id, all?))).collect()
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
