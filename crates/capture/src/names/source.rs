//! Source text around a line, where the file is there.
//!
//! Owns: which files may be read for that, and how much of them. Must not know: which lines matter.
//!
//! The paths are the target's word: its debug information may name anything. So a path is resolved below the target's root,
//! symbolic links and all; only a regular file is opened, that is called like a source, and that the target's user may read
//! without our help.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use model::{Pid, SourceLine};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};

use super::limits::{SOURCE_BYTES_MAX, SOURCE_FILES_MAX, SOURCE_LINE_MAX};

/// What sources end in.
const ENDINGS: [&str; 34] = [
    "c", "h", "cc", "cp", "cpp", "cxx", "c++", "hh", "hpp", "hxx", "h++", "inc", "inl", "ipp", "tcc", "ii", "m", "mm",
    "rs", "go", "d", "zig", "nim", "swift", "s", "S", "f", "f90", "f95", "pas", "adb", "ads", "ml", "cu",
];
const TAB: &str = "    ";

/// The sources of one target. Its file system is held open, so that they are found after it ended.
#[derive(Debug)]
pub struct SourceFiles {
    root: Option<File>,
    user: Option<u32>,
    files: HashMap<Arc<str>, Option<Arc<Known>>>,
}

/// A file that was read.
#[derive(Debug)]
struct Known {
    lines: Vec<String>,
    /// When it was written, in seconds.
    written: i64,
}

/// Some lines of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    /// Number of the first line.
    pub first: u32,
    /// The lines, control characters escaped.
    pub lines: Vec<String>,
    /// Whether the file was written after the program, so that its lines may have moved.
    pub newer: bool,
}

impl SourceFiles {
    /// Nothing is read yet.
    pub fn of(pid: Pid) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let root = File::open(format!("/proc/{pid}/root")).ok();
        let user = std::fs::metadata(format!("/proc/{pid}")).ok().map(|data| data.uid());
        Self { root, user, files: HashMap::new() }
    }

    /// The text from `around` lines before a line to as many behind it; `module` is the file whose code it is.
    pub fn around(&mut self, line: &SourceLine, module: Option<&str>, around: u32) -> Option<SourceText> {
        let file = self.file(&line.file)?;
        let built = module.and_then(|path| self.look(path)).map(|(_, data)| data.st_mtime);
        let index = line.line.checked_sub(1)? as usize;
        file.lines.get(index)?;
        let first = index.saturating_sub(around as usize);
        let lines = file.lines.iter().skip(first).take(index - first + 1 + around as usize).cloned().collect();
        Some(SourceText { first: first as u32 + 1, lines, newer: built.is_some_and(|built| file.written > built) })
    }

    fn file(&mut self, path: &Arc<str>) -> Option<Arc<Known>> {
        if let Some(known) = self.files.get(path) {
            return known.clone();
        }
        if self.files.len() >= SOURCE_FILES_MAX {
            self.files.clear();
        }
        let read = self.read(path).map(Arc::new);
        self.files.insert(Arc::clone(path), read.clone());
        read
    }

    fn read(&self, path: &str) -> Option<Known> {
        let ending = Path::new(path).extension()?.to_str()?;
        if !ENDINGS.contains(&ending) {
            return None;
        }
        let (place, data) = self.look(path)?;
        let is_theirs = data.st_mode & 0o004 != 0 || (data.st_mode & 0o400 != 0 && Some(data.st_uid) == self.user);
        if !is_theirs || data.st_size < 0 || data.st_size as u64 > SOURCE_BYTES_MAX {
            return None;
        }
        // It was looked at without being opened: opening a device or a pipe may already do something.
        let file = File::open(format!("/proc/self/fd/{}", place.as_raw_fd())).ok()?;
        let mut bytes = Vec::new();
        file.take(SOURCE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        let lines = bytes.split(|&byte| byte == b'\n').map(shown).collect();
        Some(Known { lines, written: data.st_mtime })
    }

    /// A regular file of the target, not opened yet.
    fn look(&self, path: &str) -> Option<(OwnedFd, Stat)> {
        let root = self.root.as_ref().filter(|_| path.starts_with('/'))?;
        let (flags, resolve) = (OFlags::PATH | OFlags::CLOEXEC, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS);
        let place = openat2(root, path, flags, Mode::empty(), resolve).ok()?;
        let data = fstat(&place).ok()?;
        (FileType::from_raw_mode(data.st_mode) == FileType::RegularFile).then_some((place, data))
    }
}

/// One line as it is shown: no control characters, tabs of a fixed width, not longer than a screen is wide.
fn shown(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line =
        String::from_utf8_lossy(line.get(..line.len().min(4 * SOURCE_LINE_MAX)).unwrap_or(line)).replace('\t', TAB);
    let mut text = model::escaped(line.as_bytes());
    if let Some((at, _)) = text.char_indices().nth(SOURCE_LINE_MAX) {
        text.truncate(at);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    use super::*;

    /// A folder of this test's own.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("leakline-source-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn line(path: &Path, line: u32) -> SourceLine {
        SourceLine { file: path.to_str().unwrap().into(), line, column: None }
    }

    /// The first line number and the lines around a line of a file of this process's own.
    #[track_caller]
    fn check(path: &Path, at: u32, expected: Option<(u32, &str)>) {
        let found = SourceFiles::of(Pid(std::process::id())).around(&line(path, at), None, 1);
        let found = found.map(|text| (text.first, text.lines.join("|")));
        assert_eq!(found, expected.map(|(first, text)| (first, text.to_owned())));
    }

    #[test]
    fn lines_around_a_line_are_shown_as_far_as_there_are_any() {
        let file = folder("lines").join("a.c");
        std::fs::write(&file, "one\n\ttwo\r\nthree\x1b[2J\nfour").unwrap();
        check(&file, 1, Some((1, "one|    two")));
        check(&file, 3, Some((2, "    two|three\\x1b[2J|four")));
        check(&file, 4, Some((3, "three\\x1b[2J|four")));
        check(&file, 5, None);
        check(&file, 0, None);
        check(&file.with_file_name("b.c"), 1, None);
    }

    #[test]
    fn only_regular_files_that_are_called_like_sources_are_opened() {
        let folder = folder("kinds");
        std::fs::write(folder.join("key.pem"), "secret\n").unwrap();
        check(&folder.join("key.pem"), 1, None);
        // Opening this would wait for ever.
        let pipe = folder.join("pipe.c");
        let _ = rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR, 0);
        check(&pipe, 1, None);
        let link = folder.join("zero.c");
        let _ = symlink("/dev/zero", &link);
        check(&link, 1, None);
        check(Path::new("/proc/self/environ"), 1, None);
        check(Path::new("relative.c"), 1, None);
        let large = File::create(folder.join("large.c")).unwrap();
        large.set_len(SOURCE_BYTES_MAX + 1).unwrap();
        check(&folder.join("large.c"), 1, None);
    }

    #[test]
    fn what_the_user_of_the_target_may_not_read_is_not_shown() {
        let file = folder("rights").join("private.c");
        std::fs::write(&file, "x\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut files = SourceFiles::of(Pid(std::process::id()));
        assert!(files.around(&line(&file, 1), None, 0).is_some(), "it is its own");
        let mut files = SourceFiles { user: Some(u32::MAX), ..SourceFiles::of(Pid(std::process::id())) };
        assert_eq!(files.around(&line(&file, 1), None, 0), None);
    }

    #[test]
    fn long_lines_are_cut_and_newer_files_are_marked() {
        let folder = folder("long");
        let (module, file) = (folder.join("module"), folder.join("a.rs"));
        std::fs::write(&module, "").unwrap();
        std::fs::write(&file, "é".repeat(3 * SOURCE_LINE_MAX)).unwrap();
        let later = std::fs::metadata(&module).unwrap().modified().unwrap() + std::time::Duration::from_secs(9);
        let mut files = SourceFiles::of(Pid(std::process::id()));
        let text = files.around(&line(&file, 1), module.to_str(), 1).unwrap();
        assert_eq!((text.lines[0].chars().count(), text.newer), (SOURCE_LINE_MAX + 1, false));
        File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        let mut files = SourceFiles::of(Pid(std::process::id()));
        assert!(files.around(&line(&file, 1), module.to_str(), 1).unwrap().newer);
    }
}
