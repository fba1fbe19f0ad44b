//! Files of modules, mapped rather than read.
//!
//! Owns: the mapping. Must not know: what is in the files.

#![expect(unsafe_code, reason = "a mapped file can change under its reader; see `open`")]

use std::fs::OpenOptions;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use memmap2::Mmap;

/// The bytes of a file. Pages are read when they are touched, so that a large file costs what is used of it.
#[derive(Debug)]
pub(crate) struct MappedFile {
    bytes: Option<Mmap>,
}

impl MappedFile {
    /// Maps a regular file for reading.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // Opening a device may do something, and opening a pipe waits for whoever writes into it; the path may be the target's word.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let data = file.metadata()?;
        if !data.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        if data.len() == 0 {
            return Ok(Self { bytes: None });
        }
        // SAFETY: the bytes are only ever read as plain integers by parsers that expect any content, so that a file that
        // changes gives wrong names at worst. Package managers replace files and do not truncate those that are in use.
        let bytes = unsafe { Mmap::map(&file) }?;
        Ok(Self { bytes: Some(bytes) })
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_missing_files_are_refused() {
        assert!(MappedFile::open(Path::new("/proc")).is_err());
        assert!(MappedFile::open(Path::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_its_writer() {
        let path = std::env::temp_dir().join(format!("leakline-map-{}", std::process::id()));
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        assert!(MappedFile::open(&path).is_err());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_bytes_are_those_of_the_file() {
        let path =
            Path::new(file!()).file_name().map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sys").join(name));
        let path = path.unwrap();
        assert_eq!(&*MappedFile::open(&path).unwrap(), std::fs::read(&path).unwrap().as_slice());
    }
}
