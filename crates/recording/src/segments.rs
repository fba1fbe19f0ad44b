//! The segments that a recording has.
//!
//! Owns: which files are segments, which of two files of one number counts, and opening them.
//! Must not know: what is done with them.

use std::collections::BTreeMap;
use std::io;

use crate::block;
use crate::damage::Damage;
use crate::names::SegmentName;
use crate::store::{InMemory, LOCK, Store};
use crate::versions::v1::sealed::{self, Sealed};
use crate::versions::v1::transpose::transpose;
use crate::versions::{self, HEAD};
use crate::{Error, limits};

/// What was found in a store.
#[derive(Debug)]
pub(crate) struct Segments {
    /// One name for each number, in order.
    pub(crate) all: Vec<SegmentName>,
    /// Whether a recorder has ever been here.
    pub(crate) is_recording: bool,
    bytes: BTreeMap<SegmentName, u64>,
    /// Segments beyond the limit.
    pub(crate) beyond: u64,
}

impl Segments {
    /// The length of a segment's file.
    pub(crate) fn bytes(&self, name: SegmentName) -> u64 {
        self.bytes.get(&name).copied().unwrap_or(0)
    }
}

/// Lists the segments. Where a number has both a log and a sealed segment, the segment counts if it was finished: a recorder was
/// ended between finishing the one and removing the other.
pub(crate) fn list(store: &dyn Store) -> Result<Segments, Error> {
    let entries = store.list().map_err(|error| {
        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            return Error::NotARecording { place: store.place() };
        }
        Error::io(format!("list {}", store.place()), &error)
    })?;
    let mut bytes = BTreeMap::new();
    for entry in &entries {
        if let Some(name) = SegmentName::parse(&entry.name) {
            bytes.insert(name, entry.bytes);
        }
    }
    let mut all: Vec<SegmentName> = Vec::new();
    for name in bytes.keys() {
        match all.last_mut() {
            Some(log) if log.number == name.number => {
                if open_sealed(store, *name).is_ok() {
                    *log = *name;
                }
            }
            _ => all.push(*name),
        }
    }
    let beyond = all.len().saturating_sub(limits::SEGMENTS_MAX);
    all.drain(..beyond);
    let is_recording = !bytes.is_empty() || entries.iter().any(|entry| entry.name == LOCK);
    Ok(Segments { all, is_recording, bytes, beyond: beyond as u64 })
}

/// Refuses a recording that a newer program wrote; whether one file of it or all.
pub(crate) fn check_versions(store: &dyn Store, segments: &Segments) -> Result<(), Error> {
    for name in &segments.all {
        let mut head = [0; HEAD];
        // A file that is too short or cannot be read is damage, which is met when it is opened.
        let read = store.open(&name.file()).and_then(|input| input.read_at(0, &mut head));
        if read.is_ok() {
            versions::check(&head)?;
        }
    }
    Ok(())
}

/// A file as a whole, up to the limit.
pub(crate) fn read(store: &dyn Store, file: &str) -> io::Result<Vec<u8>> {
    let input = store.open(file)?;
    let mut bytes = vec![0; input.length().min(limits::SEGMENT_BYTES) as usize];
    input.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// Opens a sealed segment that was finished.
pub(crate) fn open_sealed(store: &dyn Store, name: SegmentName) -> io::Result<Sealed> {
    Sealed::open(store.open(&name.file())?).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Opens any segment for reading: a log is turned into columns in memory, a segment without an index is looked through.
pub(crate) fn open(store: &dyn Store, name: SegmentName) -> io::Result<Sealed> {
    if name.sealed {
        return Sealed::open(store.open(&name.file())?).or_else(Sealed::rebuild);
    }
    let bytes = read(store, &name.file())?;
    let mut columns = transpose(block::scan(bytes.get(HEAD..).unwrap_or_default()));
    columns.damage.tail_bytes += if bytes.len() < HEAD { bytes.len() as u64 } else { 0 };
    if bytes.len() >= HEAD && !matches!(versions::check(&bytes), Ok(Some(_))) {
        columns.damage.add(Damage { blocks: 1, bytes: HEAD as u64, ..Damage::default() });
    }
    let sealed = Sealed::open(Box::new(InMemory(sealed::seal(&columns))));
    sealed.map_err(|_| io::ErrorKind::InvalidData.into())
}
