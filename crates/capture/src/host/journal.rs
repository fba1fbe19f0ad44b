//! What journald kept of the kernel's log, for those who may not read `/dev/kmsg`.
//!
//! Owns: finding the file, following it when it is replaced. Must not know: its layout, or what the lines mean.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use formats::journal::{self, Entry};

/// The journal of the system, from some entry on.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    open: Open,
    /// The id of this boot: entries of others are no news.
    boot: [u8; 16],
}

#[derive(Debug)]
struct Open {
    file: File,
    inode: u64,
    layout: journal::Journal,
    /// Where the kernel's entries are listed; none as long as there is none.
    kernel: Option<u64>,
    next: u64,
}

/// What the next look finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line of this boot; its text is in the buffer.
    Line(Entry),
    /// A line that could not be read.
    Lost,
    /// One that is no news.
    Passed,
    /// Nothing more for now.
    End,
}

impl Journal {
    /// Opens the journal of the machine where it may be read: at its end, or at its begin.
    pub(super) fn open(root: &Path, boot_id: &str, from_begin: bool) -> Option<Self> {
        let boot = id(boot_id)?;
        let machine = fs::read_to_string(root.join("etc/machine-id")).ok()?;
        let machine = machine.trim();
        // It is a name of a folder and nothing else.
        if machine.is_empty() || !machine.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let places = ["var/log/journal", "run/log/journal"];
        let mut found = places.iter().filter_map(|place| {
            let path = root.join(place).join(machine).join("system.journal");
            Some((Open::new(&path)?, path))
        });
        let (mut open, path) = found.next()?;
        if !from_begin {
            open.next = open.count();
        }
        Some(Self { path, open, boot })
    }

    /// The next line, if there is one.
    pub(super) fn next(&mut self, text: &mut Vec<u8>) -> Next {
        if self.open.next >= self.open.count() {
            // journald has begun a new file of the same name; the old one was read to its end.
            let replaced = fs::metadata(&self.path).is_ok_and(|now| now.ino() != self.open.inode);
            match replaced.then(|| Open::new(&self.path)).flatten() {
                Some(open) => self.open = open,
                None => return Next::End,
            }
            return Next::Passed;
        }
        let place = self.open.next;
        self.open.next += 1;
        match self.open.entry(place, text) {
            Some(entry) if entry.boot != self.boot => Next::Passed,
            Some(entry) if entry.has_text => Next::Line(entry),
            Some(_) | None => Next::Lost,
        }
    }
}

impl Open {
    fn new(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let inode = file.metadata().ok()?.ino();
        let layout = journal::Journal::open(&mut |at, buffer| file.read_exact_at(buffer, at).is_ok())?;
        Some(Self { file, inode, layout, kernel: None, next: 0 })
    }

    /// How many lines of the kernel the file has by now.
    fn count(&mut self) -> u64 {
        let (file, layout) = (&self.file, self.layout);
        let read = &mut |at: u64, buffer: &mut [u8]| file.read_exact_at(buffer, at).is_ok();
        if self.kernel.is_none() {
            self.kernel = layout.kernel(read);
        }
        self.kernel.and_then(|kernel| layout.count(read, kernel)).unwrap_or(0)
    }

    fn entry(&self, place: u64, text: &mut Vec<u8>) -> Option<Entry> {
        let read = &mut |at: u64, buffer: &mut [u8]| self.file.read_exact_at(buffer, at).is_ok();
        self.layout.entry(read, self.kernel?, place, text)
    }
}

/// The bytes of an id, with or without its dashes.
fn id(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let mut bytes = [0; 16];
    if digits.len() != 32 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// The maker of files beside the parser.
#[cfg(test)]
#[path = "../../../formats/src/journal/synth.rs"]
mod synth;

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "abababab-abab-abab-abab-abababababab";

    fn machine(name: &str) -> (PathBuf, PathBuf) {
        let root = crate::host::fixture::root(&format!("journal-{name}"));
        let folder = root.join("var/log/journal/0123abcd");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/machine-id"), "0123abcd\n").unwrap();
        (root, folder.join("system.journal"))
    }

    /// All that is new, in words.
    fn news(journal: &mut Journal) -> String {
        let mut text = Vec::new();
        let mut found = Vec::new();
        loop {
            match journal.next(&mut text) {
                Next::Line(_) => found.push(String::from_utf8_lossy(&text).into_owned()),
                Next::Lost => found.push("lost".to_owned()),
                Next::Passed => {}
                Next::End => return found.join(", "),
            }
        }
    }

    #[test]
    fn what_is_written_later_is_news_also_into_a_new_file() {
        let (root, path) = machine("news");
        fs::write(&path, synth::file(true, &[(6, 0, "old"), (6, 3, "service")])).unwrap();
        let mut journal = Journal::open(&root, BOOT, false).unwrap();
        assert_eq!(news(&mut journal), "");
        fs::write(&path, synth::file(true, &[(6, 0, "old"), (6, 3, "service"), (3, 0, "new")])).unwrap();
        assert_eq!(news(&mut journal), "new");
        let rotated = root.join("rotated");
        fs::write(&rotated, synth::file(false, &[(6, 0, "fresh"), (3, 0, synth::DAMAGED)])).unwrap();
        fs::rename(&rotated, &path).unwrap();
        assert_eq!(news(&mut journal), "fresh, lost");
        assert_eq!(news(&mut journal), "");
    }

    #[test]
    fn what_was_said_before_is_told_where_it_is_asked_for_and_of_this_boot() {
        let (root, path) = machine("before");
        fs::write(&path, synth::file(true, &[(6, 0, "old")])).unwrap();
        assert_eq!(news(&mut Journal::open(&root, BOOT, true).unwrap()), "old");
        let other = BOOT.replace("abababab-", "00000000-");
        assert_eq!(news(&mut Journal::open(&root, &other, true).unwrap()), "", "another boot is no news");
    }

    /// journald's own library writes the file: lines of the kernel, of a service, and one that forges the kernel's.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "an independent writer is another program")]
    fn a_file_of_systemd_is_read() {
        use std::io::Write as _;
        let (root, path) = machine("systemd");
        let entry = |number: u64, transport: &str, facility: u8, message: &str| {
            format!(
                "__REALTIME_TIMESTAMP={number}000000\n__MONOTONIC_TIMESTAMP={number}000000\n_BOOT_ID={}\n\
                 _TRANSPORT={transport}\nPRIORITY=3\nSYSLOG_FACILITY={facility}\nMESSAGE={message}\n\n",
                BOOT.replace('-', "")
            )
        };
        // journald packs what is longer than 512 bytes.
        let long = format!("Out of memory: Killed process 8 (b) {}", "x".repeat(5000));
        let endless = "x".repeat(1 << 20);
        let lines = [
            ("kernel", 0, "Out of memory: Killed process 7 (a)"),
            ("syslog", 3, "a service"),
            ("kernel", 0, &long),
            ("kernel", 0, &endless),
            ("kernel", 0, "last"),
        ];
        let text: String = (1..)
            .zip(lines)
            .map(|(number, (transport, facility, text))| entry(number, transport, facility, text))
            .collect();
        let input = root.join("entries");
        fs::write(&input, text).unwrap();
        let writer = "/lib/systemd/systemd-journal-remote";
        let Ok(output) = std::process::Command::new(writer).arg("-o").arg(&path).arg(&input).output() else {
            let _ = writeln!(std::io::stderr(), "NOT RUN: a journal of systemd is read: there is no {writer}");
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let expected = format!("Out of memory: Killed process 7 (a), {long}, lost, last");
        assert_eq!(news(&mut Journal::open(&root, BOOT, true).unwrap()), expected);
    }

    #[test]
    fn where_there_is_no_journal_there_is_none() {
        let (root, path) = machine("none");
        assert!(Journal::open(&root, BOOT, true).is_none(), "no file");
        fs::write(&path, "nonsense").unwrap();
        assert!(Journal::open(&root, BOOT, true).is_none(), "no journal");
        fs::write(root.join("etc/machine-id"), "../../etc").unwrap();
        assert!(Journal::open(&root, BOOT, true).is_none(), "no id");
        assert!(id("xyz").is_none() && id(&"g".repeat(32)).is_none());
    }
}
