//! Where the files of a recording are.
//!
//! Owns: the few things that are asked of a storage, and the directory that mostly is one.
//! Must not know: what is in a file, or when one is written.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::medium::Written;

/// The file by whose lock recorders exclude each other, and by which a directory is known to be a recording.
pub(crate) const LOCK: &str = "RECORDING";

/// A file of a recording.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// The answer of [`Store::lock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// It is ours until the store is dropped or the process ends, however it ends.
    Ours,
    /// Another recorder has it; its pid, where that is known.
    Theirs(Option<u32>),
}

/// Holds files by name. Tests have one in memory that fails when it is told to.
pub trait Store: Debug + Send {
    /// What to call it in messages.
    fn place(&self) -> String;
    /// All files; an error of the kind `NotFound` where there is no such place.
    fn list(&self) -> io::Result<Vec<Entry>>;
    /// Creates a file that must not exist yet, and the place too where it is gone.
    fn create(&mut self, name: &str) -> io::Result<Box<dyn Output>>;
    /// Opens a file for reading.
    fn open(&self, name: &str) -> io::Result<Box<dyn Input>>;
    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Keeps other recorders out; creates the place where there is none.
    fn lock(&mut self) -> io::Result<Lock>;
}

/// A file that is written at its end.
pub trait Output: Debug + Send {
    /// Appends all of it, or fails; then some of it may have been written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file, after a write that failed.
    fn cut(&mut self, length: u64) -> io::Result<()>;
    /// Waits until all of it is on the medium, its name too, and lets go of the memory that the kernel keeps of it.
    fn sync(&mut self) -> io::Result<()>;
    /// Begins to do the same and returns at once where that is possible.
    fn start_sync(&mut self) -> io::Result<()> {
        self.sync()
    }
    /// Waits until what was begun is done, and says how it went.
    fn synced(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Whether the file was removed under us: what is written to it then is lost without an error.
    fn is_gone(&self) -> bool;
}

/// A file that is read at any place.
pub trait Input: Debug + Send {
    /// Its length.
    fn length(&self) -> u64;
    /// Fills the buffer from this offset.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// A directory of the file system: 0700, files 0600, since names and arguments of processes are nobody else's concern.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    lock: Option<File>,
}

impl Directory {
    /// A directory, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), lock: None }
    }

    fn create_place(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)
    }
}

impl Store for Directory {
    fn place(&self) -> String {
        model::escaped(self.path.as_os_str().as_encoded_bytes())
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Ok(metadata) = entry.metadata() else { continue };
            let name = model::escaped(entry.file_name().as_encoded_bytes());
            entries.push(Entry { name, bytes: metadata.len() });
        }
        Ok(entries)
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn Output>> {
        let path = self.path.join(name);
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
        Ok(Box::new(Written::new(file, self.path.clone())))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Input>> {
        // A fifo or a device by this name would block or never end.
        let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(self.path.join(name))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        Ok(Box::new(Opened { file, length: metadata.len() }))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn lock(&mut self) -> io::Result<Lock> {
        self.create_place()?;
        let path = self.path.join(LOCK);
        let mut file =
            OpenOptions::new().create(true).read(true).write(true).truncate(false).mode(0o600).open(&path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Lock::Theirs(holder(&mut file))),
            Err(error) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.write_all(format!("leakline recording\nrecorder {}\n", std::process::id()).as_bytes())?;
        self.lock = Some(file);
        Ok(Lock::Ours)
    }
}

/// `O_NONBLOCK`, which is the same number on the processors that leakline runs on.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// The pid that a lock file names.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(200).read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| line.strip_prefix("recorder ")?.parse().ok())
}

/// The pid of the recorder that is at work in a directory, if there is one.
pub fn recorder_at_work(directory: &Path) -> Option<u32> {
    let mut file = File::open(directory.join(LOCK)).ok()?;
    // A shared lock is granted unless a recorder has its own; it is gone with the file at the end of this function.
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => None,
        Err(_) => holder(&mut file),
    }
}

#[derive(Debug)]
struct Opened {
    file: File,
    length: u64,
}

impl Input for Opened {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// Bytes in memory: a log that was turned into columns by a reader.
#[derive(Debug)]
pub(crate) struct InMemory(pub(crate) Vec<u8>);

impl Input for InMemory {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).ok();
        let found = from.and_then(|from| self.0.get(from..from.checked_add(buffer.len())?));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
