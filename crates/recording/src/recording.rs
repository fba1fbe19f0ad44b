//! A recording that is read.
//!
//! Owns: what is known of it as a whole: its extent, its processes, its events, what of it is lost.
//! Must not know: how a segment is stored, or what readers look for.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use model::{Event, FigureKey, Identity, ProcessKey, Source};

use crate::Error;
use crate::damage::Damage;
use crate::names::SegmentName;
use crate::segments;
use crate::store::{Directory, Store};
use crate::versions;
use crate::versions::v1::sealed::{Meta, Sealed};
use crate::versions::v1::{PRESENCE, column_of};

/// A process within a recording: pids and start times begin anew with each boot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// The boot in which it ran.
    pub boot_id: Arc<str>,
    /// The process.
    pub key: ProcessKey,
}

/// When a process was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSpan {
    /// Which process.
    pub id: ProcessId,
    /// What it was when it was seen last.
    pub identity: Arc<Identity>,
    /// Wall time of the first beat that has it, in nanoseconds.
    pub first_ns: u64,
    /// Wall time of the last beat that has it.
    pub last_ns: u64,
    /// How many beats have it.
    pub beats: u64,
}

/// A recording as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The newest version of the format that it uses.
    pub version: u16,
    /// Earliest wall time of a beat, in nanoseconds; none where there is no beat.
    pub from_ns: Option<u64>,
    /// Latest wall time of a beat.
    pub to_ns: Option<u64>,
    /// Number of beats.
    pub beats: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Number of segments.
    pub segments: u64,
    /// Ids of the boots, in order.
    pub boots: Vec<Arc<str>>,
    /// Names of the machines, as their recorders gave them.
    pub hosts: Vec<String>,
    /// What is known to be lost so far; [`Recording::damage`] after reading knows more.
    pub damage: Damage,
}

/// A recording that is open for reading. A recorder may be at work in it: what is appended later is not seen.
#[derive(Debug)]
pub struct Recording {
    store: Box<dyn Store>,
    pub(crate) segments: Vec<Segment>,
    bytes: u64,
    damage: Mutex<Damage>,
}

/// A segment of an open recording.
#[derive(Debug)]
pub(crate) struct Segment {
    name: SegmentName,
    pub(crate) meta: Meta,
    /// A log in its columns; sealed segments are opened when they are read, since they may be thousands.
    memory: Option<Sealed>,
}

impl Recording {
    /// Opens the recording in a directory.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        Self::open_in(Box::new(Directory::new(directory)))
    }

    /// Opens a recording in any storage.
    pub fn open_in(store: Box<dyn Store>) -> Result<Self, Error> {
        let listed = segments::list(&*store)?;
        if !listed.is_recording {
            return Err(Error::NotARecording { place: store.place() });
        }
        segments::check_versions(&*store, &listed)?;
        let mut damage = Damage { files: listed.beyond, ..Damage::default() };
        let (mut opened, mut bytes) = (Vec::new(), 0);
        for name in &listed.all {
            match open_segment(&*store, *name) {
                Ok(segment) => {
                    damage.add(segment.meta.damage);
                    bytes += listed.bytes(*name);
                    opened.push(segment);
                }
                // Retention removed it since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => damage.files += 1,
            }
        }
        Ok(Self { store, segments: opened, bytes, damage: Mutex::new(damage) })
    }

    /// The recording as a whole.
    pub fn info(&self) -> Info {
        let with_beats = || self.segments.iter().map(|segment| &segment.meta).filter(|meta| meta.beats > 0);
        let mut boots: Vec<Arc<str>> = with_beats().map(|meta| Arc::clone(&meta.boot_id)).collect();
        boots.dedup();
        let mut hosts: Vec<String> = Vec::new();
        for host in with_beats().flat_map(|meta| &meta.hosts) {
            if !hosts.contains(host) {
                hosts.push(host.clone());
            }
        }
        Info {
            version: versions::CURRENT,
            from_ns: with_beats().map(|meta| to_ns(meta.wall.0)).min(),
            to_ns: with_beats().map(|meta| to_ns(meta.wall.1)).max(),
            beats: with_beats().map(|meta| u64::from(meta.beats)).sum(),
            bytes: self.bytes,
            segments: self.segments.len() as u64,
            boots,
            hosts,
            damage: self.damage(),
        }
    }

    /// What is lost, as far as has been met by now: blocks are checked when they are read, and one that is read twice counts twice.
    pub fn damage(&self) -> Damage {
        *self.damage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All processes, in order of boot id, pid and start time.
    pub fn processes(&self) -> Vec<ProcessSpan> {
        let mut spans = BTreeMap::new();
        for segment in &self.segments {
            self.read(segment, |sealed, damage| add_spans(sealed, damage, &mut spans));
        }
        spans.into_values().collect()
    }

    /// All figures that a source ever had.
    pub fn figure_keys(&self, source: Source) -> Vec<FigureKey> {
        let mut keys = std::collections::BTreeSet::new();
        for segment in &self.segments {
            self.read(segment, |sealed, damage| {
                let figures = sealed.definitions(damage).figures.into_iter();
                keys.extend(figures.filter(|(column, ..)| *column == column_of(source)).map(|(_, _, key)| key));
            });
        }
        keys.into_iter().collect()
    }

    /// Events of the beats in a window of wall time, with the time of their beat in nanoseconds, in the order in which they were recorded.
    pub fn events(&self, window: Range<u64>) -> impl Iterator<Item = (u64, Event)> + '_ {
        let segments = self.segments.iter().filter({
            let window = window.clone();
            move |segment| segment.is_in(&window)
        });
        segments.flat_map(move |segment| {
            let read = self.read(segment, |sealed, damage| (sealed.times(damage).1, sealed.events(damage)));
            let (times, events) = read.unwrap_or_default();
            let window = window.clone();
            events.into_iter().filter_map(move |(beat, event)| {
                let at_ns = to_ns(times.get(beat as usize)?.0);
                window.contains(&at_ns).then_some((at_ns, event))
            })
        })
    }

    /// Reads in a segment; what is met to be lost is counted. None where the segment cannot be opened any more.
    pub(crate) fn read<T>(&self, segment: &Segment, read: impl FnOnce(&Sealed, &mut Damage) -> T) -> Option<T> {
        let mut damage = Damage::default();
        let result = match &segment.memory {
            Some(sealed) => Some(read(sealed, &mut damage)),
            None => segments::open(&*self.store, segment.name).ok().map(|sealed| read(&sealed, &mut damage)),
        };
        damage.files += u64::from(result.is_none());
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).add(damage);
        result
    }
}

impl Segment {
    /// Whether some beat may be in this window.
    pub(crate) fn is_in(&self, window: &Range<u64>) -> bool {
        self.meta.beats > 0 && to_ns(self.meta.wall.0) < window.end && to_ns(self.meta.wall.1) >= window.start
    }
}

fn open_segment(store: &dyn Store, name: SegmentName) -> io::Result<Segment> {
    let opened = match segments::open(store, name) {
        // The recorder sealed it since it was listed.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !name.sealed => {
            let name = SegmentName::sealed(name.number);
            segments::open(store, name).map(|sealed| (name, sealed))
        }
        opened => opened.map(|sealed| (name, sealed)),
    };
    let (name, sealed) = opened?;
    let meta = sealed.meta.clone();
    Ok(Segment { name, meta, memory: (!name.sealed).then_some(sealed) })
}

/// Times are kept to the microsecond.
pub(crate) const fn to_ns(time_us: u64) -> u64 {
    time_us.saturating_mul(1000)
}

/// The beats, of so many, at which processes are there, by row.
pub(crate) fn presence(sealed: &Sealed, beats: u32, damage: &mut Damage) -> BTreeMap<u32, Vec<Range<u32>>> {
    let mut present: BTreeMap<u32, Vec<Range<u32>>> = BTreeMap::new();
    for column in sealed.column(PRESENCE, damage) {
        for cursor in column.cursors() {
            let runs = column.runs(cursor.clone(), beats, |cell| cell.reading().is_some());
            present.entry(cursor.row).or_default().extend(runs);
        }
    }
    present
}

/// The last identity of each row.
pub(crate) fn identities(sealed: &Sealed, damage: &mut Damage) -> BTreeMap<u32, Arc<Identity>> {
    sealed.definitions(damage).identities.into_iter().map(|(row, _, identity)| (row, identity)).collect()
}

fn add_spans(sealed: &Sealed, damage: &mut Damage, spans: &mut BTreeMap<ProcessId, ProcessSpan>) {
    let (boot_id, times) = sealed.times(damage);
    let present = presence(sealed, times.len() as u32, damage);
    for (row, identity) in identities(sealed, damage) {
        let runs = present.get(&row).map(Vec::as_slice).unwrap_or_default();
        let walls = || runs.iter().flat_map(|run| &times[run.start as usize..run.end as usize]).map(|(wall, _)| *wall);
        let (Some(first), Some(last)) = (walls().min(), walls().max()) else { continue };
        let id = ProcessId { boot_id: Arc::clone(&boot_id), key: identity.key };
        let new =
            ProcessSpan { id: id.clone(), identity: Arc::clone(&identity), first_ns: u64::MAX, last_ns: 0, beats: 0 };
        let span = spans.entry(id).or_insert(new);
        span.identity = identity;
        span.first_ns = span.first_ns.min(to_ns(first));
        span.last_ns = span.last_ns.max(to_ns(last));
        span.beats += runs.iter().map(|run| u64::from(run.end - run.start)).sum::<u64>();
    }
}
