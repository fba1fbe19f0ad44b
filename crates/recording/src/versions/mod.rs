//! The versions of the format: one folder each, and the head that tells them apart.
//!
//! Owns: the head of a file, and which version reads it. Must not know: what any version does with the rest.
//! A version that was ever released stays here, with a fixture in `tests/data` that must open for ever.

pub(crate) mod v1;

use crate::Error;

/// The version that is written.
pub(crate) const CURRENT: u16 = 1;
/// Length of the head of every file of every version.
pub(crate) const HEAD: usize = 16;
const MAGIC: [u8; 8] = *b"LEAKLINE";

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Beats as they were appended.
    Log,
    /// Columns.
    Sealed,
}

/// The head of a file: magic, version, kind, one byte for later, checksum of all before.
pub(crate) fn head(kind: Kind) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&MAGIC);
    head[8..10].copy_from_slice(&CURRENT.to_le_bytes());
    head[10] = if kind == Kind::Log { b'L' } else { b'S' };
    let crc = crc32fast::hash(&head[..12]);
    head[12..].copy_from_slice(&crc.to_le_bytes());
    head
}

/// Checks the head of a file. A damaged head is an answer (`None`), not an error: what follows may be sound, and its name
/// says what it is. Only a sound head of a newer version is refused, since its blocks may look like ours and mean other things.
pub(crate) fn check(bytes: &[u8]) -> Result<Option<u16>, Error> {
    let Some(head) = bytes.get(..HEAD) else { return Ok(None) };
    let version = u16::from_le_bytes([head[8], head[9]]);
    let is_sound = head[..8] == MAGIC && crc32fast::hash(&head[..12]).to_le_bytes() == head[12..];
    match (is_sound, version) {
        (false, _) => Ok(None),
        (true, 1..=CURRENT) => Ok(Some(version)),
        (true, found) => Err(Error::NewerVersion { found, known: CURRENT }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_head(change: impl FnOnce(&mut Vec<u8>), wanted: &Result<Option<u16>, Error>) {
        let mut bytes = head(Kind::Log).to_vec();
        change(&mut bytes);
        assert_eq!(check(&bytes), *wanted);
    }

    /// Another version with a checksum that fits.
    fn become_version(bytes: &mut [u8], version: u16) {
        bytes[8..10].copy_from_slice(&version.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..12]);
        bytes[12..].copy_from_slice(&crc.to_le_bytes());
    }

    #[test]
    fn a_head_tells_the_version() {
        check_head(|_| (), &Ok(Some(1)));
        check_head(|bytes| become_version(bytes, 2), &Err(Error::NewerVersion { found: 2, known: 1 }));
        check_head(|bytes| become_version(bytes, 0), &Err(Error::NewerVersion { found: 0, known: 1 }));
    }

    #[test]
    fn a_damaged_head_is_no_newer_version() {
        check_head(|bytes| bytes[8] = 2, &Ok(None));
        check_head(|bytes| bytes.truncate(15), &Ok(None));
        check_head(Vec::clear, &Ok(None));
    }
}
