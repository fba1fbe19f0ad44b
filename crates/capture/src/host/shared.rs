//! POSIX shared memory: the files of `/dev/shm`.
//!
//! Owns: listing them. Must not know: who has them mapped.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use model::Reading;

use super::keys::Filling;
use super::limits::SHARED_MAX;
use super::proc::{Failure, failure};

/// Bytes of one block of `st_blocks`, whatever the file system.
const BLOCK: u64 = 512;

/// Adds name, bytes in memory and owner of each file. A file may be sparse, so that its blocks count, not its length.
pub(super) fn fill(root: &Path, filling: &mut Filling<'_>) -> Result<(), Failure> {
    let entries = fs::read_dir(root).map_err(|error| failure(&error))?;
    let mut found: Vec<_> =
        entries.flatten().take(SHARED_MAX).map(|entry| (entry.file_name(), entry.metadata())).collect();
    found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    for (name, metadata) in found {
        // A file that is gone by now, and folders, hold no memory.
        let Ok(metadata) = metadata.map_err(drop).and_then(|found| if found.is_file() { Ok(found) } else { Err(()) })
        else {
            continue;
        };
        let bytes = metadata.blocks().saturating_mul(BLOCK);
        filling.push(name.as_bytes(), b"bytes", Reading::Known(bytes));
        filling.push(name.as_bytes(), b"owner", Reading::Known(u64::from(metadata.uid())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture;
    use crate::host::keys::Keys;

    #[test]
    fn files_are_listed_by_name_without_folders() {
        let root = fixture::root("shared");
        fs::create_dir(root.join("folder")).unwrap();
        fs::write(root.join("b\x1b"), vec![1; 10_000]).unwrap();
        fs::write(root.join("a"), b"").unwrap();
        let mut outcome = Ok(());
        let (figures, _) = Keys::default().fill(|filling| outcome = fill(&root, filling));
        assert_eq!(outcome, Ok(()));
        let names: Vec<String> =
            figures.iter().map(|figure| format!("{}/{}", figure.key.subject, figure.key.name)).collect();
        assert_eq!(names, ["a/bytes", "a/owner", "b\\x1b/bytes", "b\\x1b/owner"]);
        assert_eq!(figures[0].value, Reading::Known(0));
    }

    #[test]
    fn without_the_folder_it_is_missing() {
        let mut outcome = Ok(());
        Keys::default().fill(|filling| outcome = fill(Path::new("/nonexistent"), filling));
        assert_eq!(outcome, Err(Failure::Gone));
    }
}
