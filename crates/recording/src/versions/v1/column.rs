//! One column of a sealed segment.
//!
//! Owns: the form of a column in its blocks, and walking through the changes of a row.
//! Must not know: which column it is of what, or where its blocks are.

use std::ops::Range;

use super::quantum_of;
use super::transpose::{Series, start_of};
use crate::block;
use crate::cell::{Cell, Tracker};
use crate::coding::{Malformed, Reader, put_number};
use crate::limits;

/// One column: the changes of its rows.
#[derive(Debug, Default)]
pub(crate) struct Column {
    pub(crate) number: u8,
    gaps: Vec<u8>,
    tokens: Vec<u8>,
    /// Row and where its gaps and its tokens are.
    rows: Vec<(u32, Range<usize>, Range<usize>)>,
}

/// A place in the changes of one row.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    pub(crate) row: u32,
    gaps: Range<usize>,
    tokens: Range<usize>,
    beat: u32,
    tracker: Tracker,
}

/// A part of a column that becomes one block.
#[derive(Debug, Default)]
pub(super) struct Part {
    count: u64,
    last_row: u32,
    rows: Vec<u8>,
    gaps: Vec<u8>,
    tokens: Vec<u8>,
}

impl Part {
    /// How many bytes it has before it is compressed.
    pub(super) const fn bytes(&self) -> usize {
        self.rows.len() + self.gaps.len() + self.tokens.len()
    }

    pub(super) fn add(&mut self, row: u32, series: &Series) {
        debug_assert!(row >= self.last_row, "rows ascend");
        for number in [row - self.last_row, series.gaps.len() as u32, series.tokens.len() as u32] {
            put_number(&mut self.rows, u64::from(number));
        }
        self.gaps.extend_from_slice(&series.gaps);
        self.tokens.extend_from_slice(&series.tokens);
        (self.count, self.last_row) = (self.count + 1, row);
    }

    /// Its block: two streams that are compressed apart, which saves a tenth of all.
    pub(super) fn payload(self, column: u8) -> Vec<u8> {
        let mut head = Vec::with_capacity(self.rows.len() + self.gaps.len() + 8);
        put_number(&mut head, self.count);
        head.extend_from_slice(&self.rows);
        head.extend_from_slice(&self.gaps);
        let mut payload = vec![column];
        let head = block::pack(&head);
        put_number(&mut payload, head.len() as u64);
        payload.extend_from_slice(&head);
        payload.extend_from_slice(&block::pack(&self.tokens));
        payload
    }
}

impl Cursor {
    /// The value where it stands.
    pub(crate) const fn cell(&self) -> Cell {
        self.tracker.cell()
    }
}

impl Column {
    pub(super) fn new(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let number = reader.byte()?;
        let head = block::unpack(reader.sized()?).ok_or(Malformed)?;
        let tokens = block::unpack(reader.bytes(reader.left())?).ok_or(Malformed)?;
        let mut reader = Reader::new(&head);
        let (mut lengths, mut row) = (Vec::new(), 0_u32);
        for _ in 0..reader.below(limits::ROWS_MAX)? {
            row = row.checked_add(reader.below(limits::ROWS_MAX)?).ok_or(Malformed)?;
            let mut length = || reader.number().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
            lengths.push((row, length()?, length()?));
        }
        let gaps = reader.bytes(reader.left())?.to_vec();
        let (mut rows, mut gap, mut token) = (Vec::with_capacity(lengths.len()), 0_usize, 0_usize);
        for (row, gap_bytes, token_bytes) in lengths {
            let (gap_end, token_end) = (gap.saturating_add(gap_bytes), token.saturating_add(token_bytes));
            if gap_end > gaps.len() || token_end > tokens.len() {
                return Err(Malformed);
            }
            rows.push((row, gap..gap_end, token..token_end));
            (gap, token) = (gap_end, token_end);
        }
        Ok(Self { number, gaps, tokens, rows })
    }

    /// The changes of all rows, from their start.
    pub(crate) fn cursors(&self) -> impl Iterator<Item = Cursor> {
        let start = start_of(self.number);
        self.rows.iter().map(move |(row, gaps, tokens)| Cursor {
            row: *row,
            gaps: gaps.clone(),
            tokens: tokens.clone(),
            beat: 0,
            tracker: start,
        })
    }

    /// The beats, of so many, at which a row has a value of some kind.
    pub(crate) fn runs(&self, mut cursor: Cursor, beats: u32, is_wanted: impl Fn(Cell) -> bool) -> Vec<Range<u32>> {
        let (mut runs, mut since) = (Vec::new(), None);
        while let Some((beat, cell)) = self.next(&mut cursor) {
            match (is_wanted(cell), since) {
                (true, None) => since = Some(beat),
                (false, Some(from)) => {
                    runs.push(from..beat.min(beats));
                    since = None;
                }
                _ => {}
            }
        }
        runs.extend(since.map(|from| from..beats));
        runs.retain(|run| !run.is_empty());
        runs
    }

    /// Moves a cursor to the next change: its beat and the value from then on. None at the end, and where the bytes make no sense.
    pub(crate) fn next(&self, cursor: &mut Cursor) -> Option<(u32, Cell)> {
        let mut gaps = Reader::new(self.gaps.get(cursor.gaps.clone())?);
        let mut tokens = Reader::new(self.tokens.get(cursor.tokens.clone())?);
        let gap = u32::try_from(gaps.number().ok()?).ok()?;
        cursor.beat = cursor.beat.checked_add(gap)?;
        let cell = cursor.tracker.take(&mut tokens, quantum_of(self.number)).ok()?;
        cursor.gaps.start = cursor.gaps.end - gaps.left();
        cursor.tokens.start = cursor.tokens.end - tokens.left();
        Some((cursor.beat, cell))
    }
}
