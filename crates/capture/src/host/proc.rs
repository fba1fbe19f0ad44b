//! The files of procfs, read cheaply.
//!
//! Owns: opening and reading, and what a failure means. Must not know: what is in a file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::limits::{ARGUMENTS_MAX, DESCRIPTORS_MAX, FILE_MAX, STATUS_BUFFER};

/// Why a file of a process was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The process is gone.
    Gone,
    /// The kernel refused.
    Forbidden,
    /// No file can be opened any more, in this process or on the whole machine.
    NoFileFree,
    /// The content is not in the documented form.
    Malformed,
}

/// Where procfs is mounted, and the buffer for what is read.
#[derive(Debug)]
pub(super) struct Proc {
    root: PathBuf,
    buffer: Vec<u8>,
}

impl Proc {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), buffer: vec![0; STATUS_BUFFER] }
    }

    /// The numbers of all processes, rising.
    pub(super) fn list(&self, pids: &mut Vec<u32>) -> io::Result<()> {
        pids.clear();
        for entry in fs::read_dir(&self.root)? {
            // An entry that fails mid-way (the process ended) must not hide those after it.
            let Ok(entry) = entry else { continue };
            pids.extend(entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        pids.sort_unstable();
        Ok(())
    }

    /// Opens a file of a process.
    pub(super) fn open(&self, pid: u32, name: &str) -> Result<File, Failure> {
        File::open(self.root.join(format!("{pid}/{name}"))).map_err(|error| failure(&error))
    }

    /// Reads a whole file from its start.
    pub(super) fn read(&mut self, file: &File) -> Result<&[u8], Failure> {
        self.read_up_to(file, FILE_MAX)
    }

    /// Path of a file of the whole machine.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Opens and reads a whole file of a process.
    pub(super) fn read_named(&mut self, pid: u32, name: &str) -> Result<&[u8], Failure> {
        let file = self.open(pid, name)?;
        self.read(&file)
    }

    /// The arguments, as they stand, cut at the bound.
    pub(super) fn arguments(&mut self, pid: u32) -> Result<&[u8], Failure> {
        let file = self.open(pid, "cmdline")?;
        self.read_up_to(&file, ARGUMENTS_MAX)
    }

    /// Number of open descriptors. Kernels from 6.2 on give it as the size of the directory; on others it is counted, up to
    /// the bound.
    pub(super) fn descriptors(&self, pid: u32) -> Result<u64, Failure> {
        let folder = self.root.join(format!("{pid}/fd"));
        let size = fs::metadata(&folder).map_err(|error| failure(&error))?.len();
        if size > 0 {
            return Ok(size);
        }
        let entries = fs::read_dir(folder).map_err(|error| failure(&error))?;
        Ok(entries.take(DESCRIPTORS_MAX).count() as u64)
    }

    /// Reads a file of the whole machine. Those that list things (`slabinfo`, `sysvipc/shm`) come in pieces of whole lines of at
    /// most a page, so that only a read that finds nothing is the end.
    pub(super) fn machine(&mut self, name: &str) -> Result<&[u8], Failure> {
        let file = File::open(self.root.join(name)).map_err(|error| failure(&error))?;
        let mut length = 0;
        loop {
            if length == self.buffer.len() && length < FILE_MAX {
                self.buffer.resize((length * 2).min(FILE_MAX), 0);
            }
            let room = self.buffer.get_mut(length..).unwrap_or_default();
            match file.read_at(room, length as u64).map_err(|error| failure(&error))? {
                0 => return self.buffer.get(..length).ok_or(Failure::Malformed),
                read => length += read,
            }
        }
    }

    /// The kernel writes a small file in one piece, so that a read that does not fill the buffer was the last one: the
    /// second read, which would only find the end, would cost as much as the first.
    fn read_up_to(&mut self, file: &File, most: usize) -> Result<&[u8], Failure> {
        let mut length = 0;
        loop {
            let room = self.buffer.len().min(most);
            let part = self.buffer.get_mut(length..room).unwrap_or_default();
            if part.is_empty() {
                break;
            }
            let asked = part.len();
            let read = file.read_at(part, length as u64).map_err(|error| failure(&error))?;
            length += read;
            if read < asked {
                break;
            }
            if length == self.buffer.len() && length < most {
                self.buffer.resize((length * 2).min(FILE_MAX), 0);
            }
        }
        debug_assert!(length <= most && length <= self.buffer.len(), "reading stays within its bound");
        self.buffer.get(..length).ok_or(Failure::Malformed)
    }
}

/// What an error means: a process that ends while it is read shows up as any of several.
pub(super) fn failure(error: &io::Error) -> Failure {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    match (error.raw_os_error(), error.kind()) {
        (Some(EMFILE | ENFILE), _) => Failure::NoFileFree,
        (_, io::ErrorKind::PermissionDenied) => Failure::Forbidden,
        _ => Failure::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_longer_than_the_buffer_is_read_whole_and_a_huge_one_is_cut() {
        let root = crate::host::fixture::root("proc-read");
        let mut proc = Proc::new(&root);
        for length in [0, 1, STATUS_BUFFER - 1, STATUS_BUFFER, STATUS_BUFFER + 1, 70_000, FILE_MAX + 10] {
            std::fs::write(root.join("file"), vec![b'x'; length]).unwrap();
            assert_eq!(proc.machine("file").unwrap().len(), length.min(FILE_MAX), "of {length}");
        }
        assert_eq!(proc.buffer.len(), FILE_MAX, "memory is bounded");
    }

    #[test]
    fn a_list_that_comes_in_pieces_is_read_to_its_end() {
        let mut proc = Proc::new(Path::new("/proc"));
        let text = proc.machine("self/smaps").unwrap();
        assert!(text.len() > 2 * STATUS_BUFFER, "a page of {} bytes is not all", text.len());
        assert!(text.ends_with(b"\n"));
    }

    #[test]
    fn arguments_are_cut() {
        let root = crate::host::fixture::root("proc-arguments");
        std::fs::create_dir_all(root.join("7")).unwrap();
        std::fs::write(root.join("7/cmdline"), vec![b'x'; ARGUMENTS_MAX * 3]).unwrap();
        assert_eq!(Proc::new(&root).arguments(7).unwrap().len(), ARGUMENTS_MAX);
    }

    #[test]
    fn a_failure_says_what_it_means() {
        let root = crate::host::fixture::root("proc-failure");
        assert_eq!(Proc::new(&root).read_named(7, "status"), Err(Failure::Gone));
        assert_eq!(failure(&io::Error::from_raw_os_error(24)), Failure::NoFileFree);
        assert_eq!(failure(&io::Error::from_raw_os_error(13)), Failure::Forbidden);
        assert_eq!(failure(&io::Error::from_raw_os_error(3)), Failure::Gone); // ESRCH: died between open and read
    }

    #[test]
    fn only_numbers_are_processes() {
        let root = crate::host::fixture::root("proc-list");
        for name in ["10", "9", "self", "sys", "4294967296", "1x"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        let mut pids = vec![1];
        Proc::new(&root).list(&mut pids).unwrap();
        assert_eq!(pids, [9, 10]);
    }
}
