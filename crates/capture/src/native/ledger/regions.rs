//! Regions of memory: which parts of them are still mapped.
//!
//! Owns: the map of intervals, which unmaps cut, moves shift, and new mappings replace. Must not know: where events come from.
//!
//! A region is what one call mapped. It may lose parts and be moved; it ends when nothing of it is left. Bytes that `mremap`
//! adds are a region of their own, of whoever asked for them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use formats::maps::Mapping;
use model::Kind;

use super::sums::{Held, Origin, Sums};

/// Regions and pieces of them; a process has 65,530 mappings at most, unless its administrator changed that.
const PIECES_MAX: usize = 1 << 18;
/// `MREMAP_DONTUNMAP`.
const KEEPS_OLD: u64 = 4;

/// A piece of a region; where it starts is its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    end: u64,
    region: u64,
}

#[derive(Clone, Debug)]
struct Region {
    origin: Origin,
    bytes: u64,
    /// What is mapped, as `/proc/PID/maps` names it.
    name: Option<Arc<str>>,
}

/// What a thread is about to move: distance from the old address, length, region.
#[derive(Debug, Default)]
struct Moving {
    parts: Vec<(u64, u64, u64)>,
    keeps_old: bool,
}

/// All regions.
#[derive(Debug, Default)]
pub(super) struct Regions {
    pieces: BTreeMap<u64, Piece>,
    known: HashMap<u64, Region>,
    next: u64,
    moving: HashMap<u32, Moving>,
    /// Regions for which there was no room.
    pub(super) refused: u64,
}

impl Regions {
    /// A new mapping takes the place of whatever was there. Without an origin it is of no interest by itself.
    pub(super) fn map(&mut self, range: Range<u64>, at: u64, origin: Option<Origin>, sums: &mut Sums) {
        self.unmap(range.clone(), at, sums);
        let Some(origin) = origin.filter(|_| !range.is_empty()) else { return };
        if self.pieces.len() >= PIECES_MAX {
            self.refused += 1;
            return;
        }
        self.next += 1;
        let bytes = range.end - range.start;
        self.known.insert(self.next, Region { origin, bytes, name: None });
        self.pieces.insert(range.start, Piece { end: range.end, region: self.next });
        sums.make(origin.key, bytes);
    }

    /// A range is unmapped, whatever was there.
    pub(super) fn unmap(&mut self, range: Range<u64>, at: u64, sums: &mut Sums) {
        for (_, len, region) in self.cut(&range) {
            self.lose(region, len, at, sums);
        }
    }

    /// The piece that begins at an address, as far as its region reaches.
    pub(super) fn whole(&self, address: u64) -> Option<Range<u64>> {
        self.pieces.get(&address).map(|piece| address..piece.end)
    }

    /// What lies in a range is about to be moved by a thread.
    pub(super) fn move_begin(&mut self, thread: u32, old: Range<u64>, flags: u64) {
        // Nothing is taken where the old length is zero: that makes a second mapping of shared memory.
        let keeps_old = flags & KEEPS_OLD != 0 || old.is_empty();
        let parts = if keeps_old { Vec::new() } else { self.cut(&old) };
        self.moving.insert(thread, Moving { parts, keeps_old });
    }

    /// It was moved to `new`, or stayed where that is none. `growth` says who asked for what is new of it.
    pub(super) fn move_end(
        &mut self,
        thread: u32,
        old: Range<u64>,
        new: Option<Range<u64>>,
        at: u64,
        growth: Option<Origin>,
        sums: &mut Sums,
    ) {
        if !self.moving.contains_key(&thread) {
            self.move_begin(thread, old.clone(), 0);
        }
        let Moving { parts, keeps_old } = self.moving.remove(&thread).unwrap_or_default();
        let Some(new) = new else {
            for (distance, len, region) in parts {
                self.put(old.start + distance, len, region);
            }
            return;
        };
        // What stood at the new place is gone. Nothing of our own does: it was taken out before.
        self.unmap(new.clone(), at, sums);
        let kind = parts.last().and_then(|(.., region)| self.known.get(region)).map(|region| region.origin.key.0);
        let new_len = new.end - new.start;
        for (distance, len, region) in parts {
            let stays = new_len.saturating_sub(distance).min(len);
            self.put(new.start + distance, stays, region);
            if stays < len {
                self.lose(region, len - stays, at, sums);
            }
        }
        let known = if keeps_old { 0 } else { old.end - old.start };
        if new_len > known {
            let growth = growth.map(|origin| Origin { key: (kind.unwrap_or(origin.key.0), origin.key.1), ..origin });
            self.map(new.start + known..new.end, at, growth, sums);
        }
    }

    /// Compares with what is mapped: a region whose end was not told is no longer there. Names what has a name.
    pub(super) fn compare(&mut self, mappings: &[Mapping<'_>], before: u64, now: u64, sums: &mut Sums) {
        let mut gone = Vec::new();
        for (start, piece) in &self.pieces {
            let Some(region) = self.known.get_mut(&piece.region) else { continue };
            // The break is not mapped by whole pages, and who moves it is always told.
            if region.origin.number >= before || region.origin.key.0 == Kind::Break {
                continue;
            }
            let first = mappings.partition_point(|mapping| mapping.addresses.end <= *start);
            let mut at = *start;
            for mapping in mappings.iter().skip(first) {
                if mapping.addresses.start >= piece.end {
                    break;
                }
                if mapping.addresses.start > at {
                    gone.push(at..mapping.addresses.start);
                }
                at = mapping.addresses.end;
                if region.name.is_none() && !mapping.name.is_empty() {
                    region.name = Some(String::from_utf8_lossy(mapping.name).into());
                }
            }
            if at < piece.end {
                gone.push(at..piece.end);
            }
        }
        for range in gone {
            self.unmap(range, now, sums);
        }
    }

    /// What is mapped of each region.
    pub(super) fn add_to(&self, held: &mut Held) {
        for region in self.known.values() {
            held.add(region.origin, region.bytes, region.name.as_deref(), true);
        }
    }

    /// Takes a range out of the map; what was there as distance from its start, length and region.
    fn cut(&mut self, range: &Range<u64>) -> Vec<(u64, u64, u64)> {
        if range.is_empty() {
            return Vec::new();
        }
        let before = self.pieces.range(..range.start).next_back();
        let first = before.filter(|(_, piece)| piece.end > range.start).map_or(range.start, |(start, _)| *start);
        let found: Vec<(u64, Piece)> =
            self.pieces.range(first..range.end).map(|(start, piece)| (*start, *piece)).collect();
        let mut cut = Vec::with_capacity(found.len());
        for (start, piece) in found {
            self.pieces.remove(&start);
            if start < range.start {
                self.pieces.insert(start, Piece { end: range.start, ..piece });
            }
            if piece.end > range.end {
                self.pieces.insert(range.end, piece);
            }
            let (from, to) = (start.max(range.start), piece.end.min(range.end));
            debug_assert!(from < to, "pieces in a range have a part in it");
            cut.push((from - range.start, to - from, piece.region));
        }
        cut
    }

    fn put(&mut self, start: u64, len: u64, region: u64) {
        if len > 0 {
            self.pieces.insert(start, Piece { end: start + len, region });
        }
    }

    /// Some bytes of a region are gone.
    fn lose(&mut self, number: u64, bytes: u64, at: u64, sums: &mut Sums) {
        let Some(region) = self.known.get_mut(&number) else { return };
        region.bytes = region.bytes.saturating_sub(bytes);
        let (origin, whole) = (region.origin, region.bytes == 0);
        sums.end(origin, bytes, whole, at);
        if whole {
            self.known.remove(&number);
        }
    }

    #[cfg(test)]
    pub(super) fn pieces(&self) -> impl Iterator<Item = (Range<u64>, u32)> {
        self.pieces.iter().map(|(start, piece)| {
            let stack = self.known.get(&piece.region).map_or(0, |region| region.origin.key.1);
            (*start..piece.end, stack)
        })
    }
}
