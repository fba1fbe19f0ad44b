//! Opening the files of a target's modules, as the target sees them.
//!
//! Owns: whose file system a path belongs to and whether a file is the one that was mapped.
//! Must not know: what the files say about code.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use model::Pid;
use stacks::module::module_layout;
use stacks::symbols::{Candidate, Pool};

use super::limits::{HEADER_BYTES, VDSO_BYTES_MAX};
use super::modules::Placed;
use crate::sys::map::MappedFile;

/// The file system of a target. It is held open from the start, so that names can be found after the target ended.
#[derive(Debug)]
pub(super) struct TargetFiles {
    pid: Pid,
    root: Option<File>,
    memory: Option<File>,
}

impl TargetFiles {
    pub(super) fn of(pid: Pid) -> Self {
        let root = File::open(format!("/proc/{pid}/root")).ok();
        Self { pid, root, memory: File::open(format!("/proc/{pid}/mem")).ok() }
    }

    /// The bytes of the file that is mapped there: by its path if that still leads to the same inode, else through the
    /// mapping itself, else by its path if the build id in the target's memory is that of the file.
    pub(super) fn module<'data>(&self, placed: &Placed, pool: &'data Pool<MappedFile>) -> Option<&'data [u8]> {
        let path = self.inside(&placed.path);
        let same_inode = |path: &Path| std::fs::metadata(path).is_ok_and(|data| data.ino() == placed.inode);
        if !placed.deleted && same_inode(&path) {
            return keep(&path, pool);
        }
        let link = format!("/proc/{}/map_files/{:x}-{:x}", self.pid, placed.start, placed.end);
        if same_inode(Path::new(&link)) {
            return keep(Path::new(&link), pool);
        }
        let mapped = self.mapped_build_id(placed)?;
        let bytes = keep(&path, pool)?;
        let on_disk = module_layout(bytes).ok()?.build_id?;
        (on_disk == mapped).then_some(bytes)
    }

    /// The kernel's own module, which is in no file.
    pub(super) fn vdso(&self, placed: &Placed) -> Option<Vec<u8>> {
        let size = placed.end.checked_sub(placed.start).filter(|size| *size <= VDSO_BYTES_MAX)?;
        let mut bytes = vec![0; usize::try_from(size).ok()?];
        self.memory.as_ref()?.read_exact_at(&mut bytes, placed.start).ok()?;
        Some(bytes)
    }

    /// The first candidate that exists and belongs to the module, with the path by which it was found.
    pub(super) fn first<'data>(
        &self,
        candidates: Vec<Candidate>,
        pool: &'data Pool<MappedFile>,
    ) -> Option<(PathBuf, &'data [u8])> {
        candidates.into_iter().find_map(|candidate| {
            let here = candidate.path.clone();
            let there = self.inside(&candidate.path);
            // A container seldom has debug packages; the host's serve as well, since the proof decides.
            let paths = if candidate.ours { [Some(here), None] } else { [Some(there), Some(here)] };
            paths.into_iter().flatten().find_map(|path| {
                let file = MappedFile::open(&path).ok().filter(|file| candidate.proof.holds(file))?;
                Some((candidate.path.clone(), &**pool.keep(file)?))
            })
        })
    }

    /// Any file of the target by its path, else ours.
    pub(super) fn any<'data>(&self, path: &Path, pool: &'data Pool<MappedFile>) -> Option<&'data [u8]> {
        keep(&self.inside(path), pool).or_else(|| keep(path, pool))
    }

    /// A path of the target, below its root. `/proc/self/fd` keeps the mount namespace when the process is gone.
    fn inside(&self, path: &Path) -> PathBuf {
        let Some(root) = &self.root else { return path.to_owned() };
        let below = path.strip_prefix("/").unwrap_or(path);
        Path::new("/proc/self/fd").join(root.as_raw_fd().to_string()).join(below)
    }

    fn mapped_build_id(&self, placed: &Placed) -> Option<String> {
        let mut bytes = vec![0; HEADER_BYTES];
        let got = self.memory.as_ref()?.read_at(&mut bytes, placed.header_at?).ok()?;
        module_layout(bytes.get(..got)?).ok()?.build_id
    }
}

fn keep<'data>(path: &Path, pool: &'data Pool<MappedFile>) -> Option<&'data [u8]> {
    pool.keep(MappedFile::open(path).ok()?).map(|file| &**file)
}
