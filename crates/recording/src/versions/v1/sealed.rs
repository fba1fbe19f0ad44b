//! A sealed segment: columns, each in blocks of its own, found by an index at the end.
//!
//! Owns: the order of blocks, the index, and its rebuilding when it is damaged. Must not know: names of files.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use model::{Event, FigureKey, Identity};

use super::column::{Column, Part};
use super::transpose::{Columns, Series, transpose, transpose_some};
use super::words::{event, figure_key, identity, put_event, put_figure_key, put_identity};
use super::{COLUMNS, KIND_COLUMN, KIND_DEFINITIONS, KIND_EVENTS, KIND_INDEX, KIND_TIMES, PRESENCE, source_of};
use crate::block::{self, Found};
use crate::coding::{Malformed, Reader, put_number, put_text, unzigzag, zigzag};
use crate::damage::Damage;
use crate::limits;
use crate::store::Input;
use crate::versions::{HEAD, Kind, head};

/// Offset of the index, its checksum, and these bytes: a segment that does not end so was not finished.
const END: [u8; 4] = *b"LKE1";
const TRAILER: u64 = 16;
/// Which columns are made from a log at a time.
const PASSES: [Range<u8>; 9] = [0..2, 2..4, 4..6, 6..8, 8..10, 10..12, 12..14, 14..PRESENCE, PRESENCE..COLUMNS];

/// What is known of a segment without reading its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) boot_id: Arc<str>,
    pub(crate) beats: u32,
    /// Wall and boot time of the first and the last beat, in microseconds.
    pub(crate) first: (u64, u64),
    pub(crate) last: (u64, u64),
    /// The earliest and the latest wall time: the clock may jump.
    pub(crate) wall: (u64, u64),
    /// Names of the machines that its recorders gave.
    pub(crate) hosts: Vec<String>,
    /// What was lost before it was sealed.
    pub(crate) damage: Damage,
}

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    kind: u8,
    column: u8,
    offset: u64,
    length: u64,
}

/// Boot id, and wall and boot time of each beat in microseconds.
pub(crate) type Times = (Arc<str>, Vec<(u64, u64)>);

/// Processes and figures of a segment.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    /// Row, beat from which it holds, identity.
    pub(crate) identities: Vec<(u32, u32, Arc<Identity>)>,
    /// Column, row, key.
    pub(crate) figures: Vec<(u8, u32, FigureKey)>,
}

/// The bytes of a sealed segment.
pub(crate) fn seal(columns: &Columns) -> Vec<u8> {
    let mut sealer = Sealer::start(columns);
    sealer.put_columns(columns, 0..COLUMNS);
    let index = index(&Meta::of(columns), &sealer.places);
    sealer.finish(&index)
}

/// The bytes of a sealed segment, from the blocks of a log; none where it has no beat.
pub(crate) fn seal_log(blocks: &[u8]) -> Option<Vec<u8>> {
    in_passes(blocks).or_else(|| {
        let columns = transpose(block::scan(blocks));
        (!columns.times.is_empty()).then(|| seal(&columns))
    })
}

/// The same with the series of some columns at a time, which takes the more time and the less memory: of 2,048 processes that came and
/// went, 4 MB instead of 12. Only for a log without damage, of which each pass sees the same.
fn in_passes(blocks: &[u8]) -> Option<Vec<u8>> {
    let mut begun: Option<(Meta, Sealer)> = None;
    for wanted in PASSES {
        let columns = transpose_some(block::scan(blocks), wanted.clone());
        if columns.times.is_empty() || columns.damage != Damage::default() {
            return None;
        }
        let (meta, sealer) = begun.get_or_insert_with(|| (Meta::of(&columns), Sealer::start(&columns)));
        if meta.beats as usize != columns.times.len() {
            return None;
        }
        sealer.put_columns(&columns, wanted);
    }
    let (meta, sealer) = begun?;
    let index = index(&meta, &sealer.places);
    Some(sealer.finish(&index))
}

struct Sealer {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

impl Sealer {
    /// The head and what is of no column.
    fn start(columns: &Columns) -> Self {
        let mut sealer = Self { bytes: head(Kind::Sealed).to_vec(), places: Vec::new() };
        sealer.put(KIND_TIMES, 0, &times(columns));
        sealer.put(KIND_DEFINITIONS, 0, &definitions(columns));
        sealer.put(KIND_EVENTS, 0, &events(columns));
        sealer
    }

    fn put_columns(&mut self, columns: &Columns, wanted: Range<u8>) {
        for (column, rows) in columns.series.range(wanted) {
            self.put_column(*column, rows.iter().filter(|(_, series)| !series.gaps.is_empty()));
        }
    }

    fn put(&mut self, kind: u8, column: u8, payload: &[u8]) {
        let offset = self.bytes.len() as u64;
        // Small blocks are compressed too: a sealed segment is kept for months.
        block::put(&mut self.bytes, kind, payload, 64);
        self.places.push(Place { kind, column, offset, length: self.bytes.len() as u64 - offset });
    }

    fn put_column<'a>(&mut self, column: u8, rows: impl Iterator<Item = (&'a u32, &'a Series)>) {
        let mut part = Part::default();
        for (row, series) in rows {
            part.add(*row, series);
            if part.bytes() >= limits::COLUMN_BYTES {
                self.put(KIND_COLUMN, column, &std::mem::take(&mut part).payload(column));
            }
        }
        if part.bytes() > 0 {
            self.put(KIND_COLUMN, column, &part.payload(column));
        }
    }

    fn finish(mut self, index: &[u8]) -> Vec<u8> {
        let offset = self.bytes.len() as u64;
        block::put(&mut self.bytes, KIND_INDEX, index, 64);
        self.bytes.extend_from_slice(&offset.to_le_bytes());
        self.bytes.extend_from_slice(&crc32fast::hash(&offset.to_le_bytes()).to_le_bytes());
        self.bytes.extend_from_slice(&END);
        self.bytes
    }
}

/// Differences of differences: a beat that is kept costs almost nothing.
fn times(columns: &Columns) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(&mut out, &columns.boot_id);
    put_number(&mut out, columns.times.len() as u64);
    let (mut boot, mut step, mut offset) = (0_u64, 0_i64, 0_i64);
    for (wall_us, boot_us) in &columns.times {
        let next = boot_us.wrapping_sub(boot) as i64;
        let apart = wall_us.wrapping_sub(*boot_us) as i64;
        put_number(&mut out, zigzag(next.wrapping_sub(step)));
        put_number(&mut out, zigzag(apart.wrapping_sub(offset)));
        (boot, step, offset) = (*boot_us, next, apart);
    }
    out
}

fn take_times(bytes: &[u8]) -> Result<Times, Malformed> {
    let mut reader = Reader::new(bytes);
    let boot_id = Arc::from(reader.text()?);
    let (mut times, mut boot, mut step, mut offset) = (Vec::new(), 0_u64, 0_i64, 0_i64);
    for _ in 0..reader.below(limits::ROWS_MAX)? {
        step = step.wrapping_add(unzigzag(reader.number()?));
        offset = offset.wrapping_add(unzigzag(reader.number()?));
        boot = boot.wrapping_add(step as u64);
        times.push((boot.wrapping_add(offset as u64), boot));
    }
    Ok((boot_id, times))
}

fn definitions(columns: &Columns) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, columns.identities.len() as u64);
    for (row, beat, identity) in &columns.identities {
        put_number(&mut out, u64::from(*row));
        put_number(&mut out, u64::from(*beat));
        put_identity(&mut out, identity);
    }
    put_number(&mut out, columns.figures.len() as u64);
    for (column, row, key) in &columns.figures {
        out.push(*column);
        put_number(&mut out, u64::from(*row));
        put_figure_key(&mut out, key);
    }
    out
}

fn take_definitions(bytes: &[u8]) -> Result<Definitions, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut definitions = Definitions::default();
    for _ in 0..reader.number()? {
        let (row, beat) = (reader.below(limits::ROWS_MAX)?, reader.below(limits::ROWS_MAX)?);
        definitions.identities.push((row, beat, Arc::new(identity(&mut reader)?)));
    }
    for _ in 0..reader.number()? {
        let column = reader.byte()?;
        source_of(column).ok_or(Malformed)?;
        definitions.figures.push((column, reader.below(limits::ROWS_MAX)?, figure_key(&mut reader)?));
    }
    Ok(definitions)
}

fn events(columns: &Columns) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, columns.events.len() as u64);
    for (beat, event) in &columns.events {
        put_number(&mut out, u64::from(*beat));
        put_event(&mut out, event);
    }
    out
}

fn take_events(bytes: &[u8], damage: &mut Damage) -> Result<Vec<(u32, Event)>, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut events = Vec::new();
    for _ in 0..reader.number()? {
        let beat = reader.below(limits::ROWS_MAX)?;
        match event(&mut reader)? {
            Some(event) => events.push((beat, event)),
            None => damage.unknown += 1,
        }
    }
    Ok(events)
}

fn index(meta: &Meta, places: &[Place]) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(&mut out, &meta.boot_id);
    let damage = meta.damage;
    let numbers =
        [u64::from(meta.beats), meta.first.0, meta.first.1, meta.last.0, meta.last.1, meta.wall.0, meta.wall.1];
    let lost = [damage.blocks, damage.bytes, damage.tail_bytes, damage.files, damage.unknown];
    numbers.iter().chain(&lost).for_each(|number| put_number(&mut out, *number));
    put_number(&mut out, meta.hosts.len() as u64);
    meta.hosts.iter().for_each(|host| put_text(&mut out, host));
    put_number(&mut out, places.len() as u64);
    for place in places {
        out.extend_from_slice(&[place.kind, place.column]);
        put_number(&mut out, place.offset);
        put_number(&mut out, place.length);
    }
    out
}

fn take_index(bytes: &[u8]) -> Result<(Meta, Vec<Place>), Malformed> {
    let mut reader = Reader::new(bytes);
    let mut meta =
        Meta { boot_id: Arc::from(reader.text()?), beats: reader.below(limits::ROWS_MAX)?, ..Meta::default() };
    let mut pair = || Ok((reader.number()?, reader.number()?));
    (meta.first, meta.last, meta.wall) = (pair()?, pair()?, pair()?);
    let damage = &mut meta.damage;
    for field in [&mut damage.blocks, &mut damage.bytes, &mut damage.tail_bytes, &mut damage.files, &mut damage.unknown]
    {
        *field = reader.number()?;
    }
    for _ in 0..reader.number()? {
        meta.hosts.push(reader.text()?);
    }
    let mut places = Vec::new();
    for _ in 0..reader.number()? {
        let (kind, column) = (reader.byte()?, reader.byte()?);
        places.push(Place { kind, column, offset: reader.number()?, length: reader.number()? });
    }
    Ok((meta, places))
}

impl Meta {
    /// What is known of columns in memory.
    pub(crate) fn of(columns: &Columns) -> Self {
        let mut meta = Self::of_times(Arc::clone(&columns.boot_id), &columns.times);
        meta.hosts = hosts(&columns.events);
        meta.damage = columns.damage;
        meta
    }

    fn of_times(boot_id: Arc<str>, times: &[(u64, u64)]) -> Self {
        let walls = || times.iter().map(|(wall, _)| *wall);
        Self {
            boot_id,
            beats: times.len() as u32,
            first: times.first().copied().unwrap_or_default(),
            last: times.last().copied().unwrap_or_default(),
            wall: (walls().min().unwrap_or_default(), walls().max().unwrap_or_default()),
            hosts: Vec::new(),
            damage: Damage::default(),
        }
    }
}

fn hosts(events: &[(u32, Event)]) -> Vec<String> {
    let mut hosts = Vec::new();
    for (_, event) in events {
        if let Event::RecorderStarted { host, .. } = event
            && !hosts.contains(host)
        {
            hosts.push(host.clone());
        }
    }
    hosts
}

/// A sealed segment that is read block by block.
#[derive(Debug)]
pub(crate) struct Sealed {
    input: Box<dyn Input>,
    pub(crate) meta: Meta,
    places: Vec<Place>,
}

impl Sealed {
    /// Opens a segment by its index; none where it does not end with one.
    pub(crate) fn open(input: Box<dyn Input>) -> Result<Self, Box<dyn Input>> {
        match read_index(&*input) {
            Some((meta, places)) => Ok(Self { input, meta, places }),
            None => Err(input),
        }
    }

    /// Opens a segment whose index is damaged by looking at all of it; what is lost is counted in its meta data.
    pub(crate) fn rebuild(input: Box<dyn Input>) -> io::Result<Self> {
        let mut bytes = vec![0; input.length().min(limits::SEGMENT_BYTES) as usize];
        input.read_at(0, &mut bytes)?;
        let mut places = Vec::new();
        let mut damage = Damage { blocks: 1, ..Damage::default() };
        for found in block::scan(bytes.get(HEAD..).unwrap_or_default()) {
            match found {
                Found::Sound(offset, block) => {
                    let column = if block.kind == KIND_COLUMN { block.payload.first().copied() } else { None };
                    let offset = (offset + HEAD) as u64;
                    places.push(Place { kind: block.kind, column: column.unwrap_or(0), offset, length: 0 });
                }
                Found::Damage(length) => damage.bytes += length as u64,
                Found::Tail(length) => damage.tail_bytes += length as u64,
            }
        }
        let mut sealed = Self { input, meta: Meta::default(), places };
        let (boot_id, times) = sealed.times(&mut damage);
        sealed.meta = Meta::of_times(boot_id, &times);
        sealed.meta.hosts = hosts(&sealed.events(&mut damage));
        sealed.meta.damage = damage;
        Ok(sealed)
    }

    /// Boot id, and wall and boot time of each beat.
    pub(crate) fn times(&self, damage: &mut Damage) -> Times {
        self.read(KIND_TIMES, 0, damage, |bytes, _| take_times(bytes)).pop().unwrap_or_default()
    }

    /// Processes and figures.
    pub(crate) fn definitions(&self, damage: &mut Damage) -> Definitions {
        self.read(KIND_DEFINITIONS, 0, damage, |bytes, _| take_definitions(bytes)).pop().unwrap_or_default()
    }

    /// Beats and their events.
    pub(crate) fn events(&self, damage: &mut Damage) -> Vec<(u32, Event)> {
        self.read(KIND_EVENTS, 0, damage, take_events).pop().unwrap_or_default()
    }

    /// The numbers of all columns.
    pub(crate) fn columns(&self) -> Vec<u8> {
        let of = |place: &Place| (place.kind == KIND_COLUMN).then_some(place.column);
        let mut columns: Vec<u8> = self.places.iter().filter_map(of).collect();
        columns.dedup();
        columns
    }

    /// One column, in its parts.
    pub(crate) fn column(&self, column: u8, damage: &mut Damage) -> Vec<Column> {
        self.read(KIND_COLUMN, column, damage, |bytes, _| Column::new(bytes))
    }

    fn read<T>(
        &self,
        kind: u8,
        column: u8,
        damage: &mut Damage,
        take: impl Fn(&[u8], &mut Damage) -> Result<T, Malformed>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for place in self.places.iter().filter(|place| place.kind == kind && place.column == column) {
            let block = read_block(&*self.input, place.offset);
            let taken = block.filter(|block| block.0 == kind).map(|block| take(&block.1, damage));
            match taken {
                Some(Ok(taken)) => all.push(taken),
                _ => damage.add(Damage { blocks: 1, bytes: place.length, ..Damage::default() }),
            }
        }
        all
    }
}

fn read_index(input: &dyn Input) -> Option<(Meta, Vec<Place>)> {
    let mut trailer = [0; TRAILER as usize];
    input.read_at(input.length().checked_sub(TRAILER)?, &mut trailer).ok()?;
    let (offset, rest) = trailer.split_first_chunk::<8>()?;
    if rest[4..] != END || crc32fast::hash(offset).to_le_bytes() != rest[..4] {
        return None;
    }
    let (kind, payload) = read_block(input, u64::from_le_bytes(*offset))?;
    (kind == KIND_INDEX).then(|| take_index(&payload).ok())?
}

/// The block at an offset: its kind and content.
fn read_block(input: &dyn Input, offset: u64) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; block::HEAD];
    input.read_at(offset, &mut head).ok()?;
    let length = u32::from_le_bytes(head.get(4..8)?.try_into().ok()?) as usize;
    if length > limits::BLOCK_BYTES || offset.checked_add(length as u64)? > input.length() {
        return None;
    }
    let mut bytes = vec![0; block::HEAD + length];
    input.read_at(offset, &mut bytes).ok()?;
    let (block, _) = block::take(&bytes, &mut 0)?;
    Some((block.kind, block.payload.into_owned()))
}
