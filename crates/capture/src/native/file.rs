//! The shared file, seen from leakline: its tables by offset.
//!
//! Owns: reading and writing entries. Must not know: what they mean, and never trusts an index it reads there.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{FallocateFlags, fallocate};
use wire::regions;

/// The memory that the agent and leakline share. Reading it through the file, rather than through a mapping, keeps it out
/// of leakline's own memory and leaves its holes unfilled.
#[derive(Debug)]
pub(crate) struct SharedFile {
    file: File,
}

impl SharedFile {
    pub(crate) fn new(file: File) -> Self {
        Self { file }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    pub(crate) fn write_words32(&self, at: u64, words: &[u32]) -> io::Result<()> {
        // Bounded buffer: a large program has millions of rows.
        const WORDS: usize = 64 * 1024;
        for (i, part) in words.chunks(WORDS).enumerate() {
            let bytes: Vec<u8> = part.iter().flat_map(|word| word.to_le_bytes()).collect();
            self.write(at + (i * WORDS * 4) as u64, &bytes)?;
        }
        Ok(())
    }

    pub(crate) fn write_words(&self, at: u64, words: &[u64]) -> io::Result<()> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.write(at, &bytes)
    }

    /// `len` words from an offset on.
    pub(crate) fn words(&self, at: u64, len: usize) -> io::Result<Vec<u64>> {
        let mut bytes = vec![0; len * 8];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(to_words(&bytes))
    }

    /// Half a word; none beyond the end.
    pub(crate) fn word32(&self, at: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.file.read_exact_at(&mut bytes, at).ok()?;
        Some(u32::from_le_bytes(bytes))
    }

    /// Calls `each` with offset and words of every part of `at..end` that was ever written, in pieces of at most `piece`
    /// bytes. Holes are skipped; pieces start at multiples of the page size.
    pub(crate) fn for_each_part(
        &self,
        mut at: u64,
        end: u64,
        piece: usize,
        mut each: impl FnMut(u64, &[u64]),
    ) -> io::Result<()> {
        let mut bytes = vec![0; piece];
        while let Some(data) = self.seek(at, libc::SEEK_DATA)?.filter(|data| *data < end) {
            let hole = self.seek(data, libc::SEEK_HOLE)?.unwrap_or(end).min(end);
            at = data;
            while at < hole {
                let len = (hole - at).min(piece as u64) as usize;
                let Some(part) = bytes.get_mut(..len) else { break };
                self.file.read_exact_at(part, at)?;
                each(at, &to_words(part));
                at += len as u64;
            }
        }
        Ok(())
    }

    /// Bytes of memory that the file occupies.
    pub(crate) fn occupied(&self) -> io::Result<u64> {
        use std::os::unix::fs::MetadataExt as _;
        Ok(self.file.metadata()?.blocks() * 512)
    }

    /// Gives the memory of a part back, which is zero then, to whoever reads it and in every mapping.
    pub(crate) fn release(&self, at: u64, len: u64) -> io::Result<()> {
        Ok(fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, len)?)
    }

    fn seek(&self, at: u64, whence: i32) -> io::Result<Option<u64>> {
        crate::sys::process::seek(self.file.as_raw_fd(), at, whence)
    }
}

fn to_words(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).filter_map(|word| word.try_into().ok()).map(u64::from_le_bytes).collect()
}

const _: () = assert!(regions::LINES.at.is_multiple_of(4096), "parts start at pages");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_skipped_and_parts_are_cut() {
        let path = std::env::temp_dir().join(format!("leakline-parts-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let shared = SharedFile::new(file);
        shared.file().set_len(1 << 30).unwrap();
        shared.write_words(4096 * 1000, &[1, 2, 3]).unwrap();
        shared.write_words(4096 * 5000 + 8, &[4]).unwrap();
        let mut seen = Vec::new();
        let each = |at: u64, words: &[u64]| {
            seen.extend(words.iter().enumerate().filter(|w| *w.1 != 0).map(|w| (at + 8 * w.0 as u64, *w.1)));
        };
        shared.for_each_part(0, 1 << 30, 4096, each).unwrap();
        assert_eq!(seen, [(4_096_000, 1), (4_096_008, 2), (4_096_016, 3), (20_480_008, 4)]);
        assert_eq!(shared.words(4_096_008, 2).unwrap(), [2, 3]);
        assert!(shared.occupied().unwrap() < 1 << 20);
        let before = shared.occupied().unwrap();
        shared.release(4096 * 1000, 4096).unwrap();
        assert_eq!((shared.words(4_096_008, 1).unwrap(), shared.words(20_480_008, 1).unwrap()), (vec![0], vec![4]));
        assert!(shared.occupied().unwrap() < before);
    }
}
