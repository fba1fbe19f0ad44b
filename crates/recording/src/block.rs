//! Blocks: the unit that is whole or lost.
//!
//! Owns: their frame, checksum and compression, and the search for the next sound one after damage.
//! Must not know: what is in a block.

use std::borrow::Cow;

use crate::limits;

const MARK: [u8; 3] = [0xb1, b'L', b'K'];
/// Mark, kind, length of what follows, checksum of kind, length and what follows.
pub(crate) const HEAD: usize = 12;
/// Set in the kind of a block that is compressed.
const COMPRESSED: u8 = 0x80;
/// The compressor's effort: beyond it a column shrinks by a few percent at several times the cost.
const LEVEL: u8 = 6;

/// A sound block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    pub(crate) kind: u8,
    pub(crate) payload: Cow<'a, [u8]>,
}

/// What a file consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A sound block at this offset.
    Sound(usize, Block<'a>),
    /// So many bytes that are no block, with a sound block after them.
    Damage(usize),
    /// So many bytes at the end that are no block: mostly one that was being written when all ended.
    Tail(usize),
}

/// Appends a block; one of at least `compress_from` bytes is compressed where that makes it smaller.
pub(crate) fn put(out: &mut Vec<u8>, kind: u8, payload: &[u8], compress_from: usize) {
    debug_assert!(kind & COMPRESSED == 0, "this bit says that a block is compressed");
    debug_assert!(payload.len() <= limits::BLOCK_BYTES, "a reader would take it for damaged");
    let packed = (payload.len() >= compress_from).then(|| pack(payload));
    match packed.filter(|packed| packed.len() < payload.len()) {
        Some(packed) => frame(out, kind | COMPRESSED, &packed),
        None => frame(out, kind, payload),
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, stored: &[u8]) {
    let length = (stored.len() as u32).to_le_bytes();
    out.extend_from_slice(&MARK);
    out.push(kind);
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(kind, length, stored).to_le_bytes());
    out.extend_from_slice(stored);
}

fn checksum(kind: u8, length: [u8; 4], stored: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&length);
    hasher.update(stored);
    hasher.finalize()
}

/// The block at the front of these bytes and how many bytes it takes; `work` counts the bytes that were checked.
pub(crate) fn take<'a>(bytes: &'a [u8], work: &mut usize) -> Option<(Block<'a>, usize)> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let kind = *head.strip_prefix(&MARK)?.first()?;
    let length: [u8; 4] = head.get(4..8)?.try_into().ok()?;
    let crc: [u8; 4] = head.get(8..12)?.try_into().ok()?;
    let stored = rest.get(..usize::try_from(u32::from_le_bytes(length)).ok()?)?;
    if stored.len() > limits::BLOCK_BYTES {
        return None;
    }
    *work += stored.len();
    if checksum(kind, length, stored) != u32::from_le_bytes(crc) {
        return None;
    }
    let payload = if kind & COMPRESSED == 0 { Cow::Borrowed(stored) } else { Cow::Owned(unpack(stored)?) };
    Some((Block { kind: kind & !COMPRESSED, payload }, HEAD + stored.len()))
}

/// Bytes compressed.
pub(crate) fn pack(bytes: &[u8]) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec(bytes, LEVEL)
}

/// Bytes unpacked; none where they are not what [`pack`] makes, or more than a block may have.
pub(crate) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    miniz_oxide::inflate::decompress_to_vec_with_limit(packed, limits::BLOCK_BYTES).ok()
}

/// All blocks of a file after its head, and what stands between them.
pub(crate) fn scan(bytes: &[u8]) -> Scan<'_> {
    Scan { bytes, at: 0, work: 0 }
}

/// The state of [`scan`].
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    work: usize,
}

impl<'a> Iterator for Scan<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        if let Some((block, taken)) = take(rest, &mut self.work) {
            let offset = self.at;
            self.at += taken;
            return Some(Found::Sound(offset, block));
        }
        // Sound bytes were checked once, so that only false starts count against the limit.
        let work_max = self.bytes.len().saturating_mul(limits::SEARCH_FACTOR).saturating_add(limits::COMPRESS_FROM);
        for skipped in 1..rest.len() {
            if self.work > work_max {
                break;
            }
            if rest[skipped..].starts_with(&MARK) && take(&rest[skipped..], &mut self.work).is_some() {
                self.at += skipped;
                return Some(Found::Damage(skipped));
            }
        }
        self.at = self.bytes.len();
        Some(Found::Tail(rest.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three blocks, the second of which compresses.
    fn three() -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, 1, b"first", 100);
        put(&mut out, 2, &[7; 200], 100);
        put(&mut out, 3, b"", 100);
        out
    }

    fn shown(bytes: &[u8]) -> String {
        let show = |found| match found {
            Found::Sound(_, block) => format!("{}:{}", block.kind, block.payload.len()),
            Found::Damage(length) => format!("damage {length}"),
            Found::Tail(length) => format!("tail {length}"),
        };
        scan(bytes).map(show).collect::<Vec<_>>().join(", ")
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Vec<u8>), wanted: &str) {
        let mut bytes = three();
        change(&mut bytes);
        assert_eq!(shown(&bytes), wanted);
    }

    #[test]
    fn blocks_are_read_back() {
        check(|_| (), "1:5, 2:200, 3:0");
        assert!(three().len() < 100, "the second is compressed");
    }

    #[test]
    fn damage_takes_one_block() {
        check(|bytes| bytes[13] ^= 1, "damage 17, 2:200, 3:0");
        check(|bytes| bytes[4] = 200, "damage 17, 2:200, 3:0");
        check(|bytes| bytes[17 + 3] ^= 1, &format!("1:5, damage {}, 3:0", three().len() - 17 - 12));
        check(|bytes| bytes.insert(0, 9), "damage 1, 1:5, 2:200, 3:0");
    }

    #[test]
    fn a_cut_block_is_the_tail() {
        check(|bytes| bytes.truncate(bytes.len() - 1), "1:5, 2:200, tail 11");
        check(|bytes| bytes.truncate(5), "tail 5");
        check(Vec::clear, "");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = three();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let sound = scan(&flipped).filter(|found| matches!(found, Found::Sound(..))).count();
            assert_eq!(sound, 2, "bit {bit}");
        }
    }

    #[test]
    fn false_starts_do_not_take_for_ever() {
        let mut bytes = Vec::new();
        while bytes.len() < 1 << 20 {
            bytes.extend_from_slice(&MARK);
            bytes.extend_from_slice(&[1, 0, 0, 8, 0, 1, 2, 3, 4]);
        }
        let mut scan = scan(&bytes);
        assert_eq!(scan.next(), Some(Found::Tail(bytes.len())));
        assert!(scan.work < bytes.len() * (limits::SEARCH_FACTOR + 1), "{}", scan.work);
    }
}
