//! The files of a recording from one leakline to another: only what the other does not have.
//!
//! Owns: the words between the two, and that what arrives is whole or not there. Must not know: how the two are connected.
//!
//! The one that fetches says what it has, one `NAME LENGTH HASH` a line. The other answers with `NAME LENGTH FROM` and the bytes
//! from there on for each file that is new or longer, with `gone NAME` for what it has no more, and `end`. Segments never change; a log
//! only grows, and its hash tells whether it still is the same one. The other end may be hostile: names are checked, lengths bounded.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::limits::{SHIPPED_BYTES, SHIPPED_FILES, WORDS_BYTES};
use crate::manage::is_of_recording;
use crate::state::STATE;

/// What one file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Have {
    length: u64,
    /// Of the first `length` bytes; 0 for a segment, which never changes.
    hash: u64,
}

/// What a fetch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// What is there of a recording, as lines.
pub(crate) fn have(directory: &Path) -> io::Result<String> {
    let mut lines = String::new();
    for (name, have) in list(directory)? {
        let _ = writeln!(lines, "{name} {} {}", have.length, have.hash);
    }
    Ok(lines)
}

/// Answers what is not there at the other end.
pub(crate) fn send(directory: &Path, had: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    let had = understood(BufReader::new(had.take(SHIPPED_FILES * 64)))?;
    let found = list(directory)?;
    for (name, have) in &found {
        let from = match had.get(name) {
            Some(old) if old.length == have.length && (!is_log(name) || old.hash == have.hash) => continue,
            Some(old) if is_log(name) && old.length <= have.length => {
                let is_same = hash(&directory.join(name), old.length)? == old.hash;
                if is_same { old.length } else { 0 }
            }
            _ => 0,
        };
        // It may have been sealed or removed since it was listed.
        let Ok(mut file) = fs::File::open(directory.join(name)) else { continue };
        file.seek(SeekFrom::Start(from))?;
        writeln!(out, "{name} {} {from}", have.length)?;
        let sent = io::copy(&mut file.take(have.length - from), out)?;
        if sent != have.length - from {
            return Err(io::Error::other(format!("{name} became shorter while it was sent")));
        }
    }
    for name in had.keys().filter(|name| !found.contains_key(*name)) {
        writeln!(out, "gone {name}")?;
    }
    writeln!(out, "end")?;
    out.flush()
}

/// Takes an answer.
pub(crate) fn receive(directory: &Path, input: &mut dyn Read) -> io::Result<Fetched> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut input = BufReader::new(input);
    let mut fetched = Fetched::default();
    loop {
        let line = line(&mut input)?;
        let mut words = line.split(' ');
        match (words.next().unwrap_or_default(), words.next(), words.next()) {
            ("end", None, None) => return Ok(fetched),
            ("gone", Some(name), None) if is_shipped(name) && is_log(name) => {
                // It was sealed there, and the segment has come before this line.
                let _ = fs::remove_file(directory.join(name));
            }
            // What retention removed there stays here: that is why it was fetched.
            ("gone", Some(name), None) if is_shipped(name) => {}
            (name, Some(length), Some(from)) if is_shipped(name) => {
                let (length, from) = (number(length)?, number(from)?);
                if length > SHIPPED_BYTES || from > length || fetched.files >= SHIPPED_FILES {
                    return Err(malformed(&line));
                }
                take(&directory.join(name), from, &mut input.by_ref().take(length - from), length - from)?;
                fetched.files += 1;
                fetched.bytes += length - from;
            }
            _ => return Err(malformed(&line)),
        }
    }
}

/// Writes a file whole: what is there of it, then what has come.
fn take(path: &Path, from: u64, input: &mut dyn Read, length: u64) -> io::Result<()> {
    let new = path.with_extension("new");
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        if from > 0 && io::copy(&mut fs::File::open(path)?.take(from), &mut file)? != from {
            return Err(io::Error::other("the other end continues a file that is not here"));
        }
        if io::copy(input, &mut file)? != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        fs::rename(&new, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn list(directory: &Path) -> io::Result<BTreeMap<String, Have>> {
    let mut found = BTreeMap::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // It may have been sealed since it was listed.
        let Ok(metadata) = entry.metadata() else { continue };
        if is_shipped(&name) && metadata.is_file() {
            let length = metadata.len();
            let hash = if is_log(&name) { hash(&entry.path(), length).unwrap_or(0) } else { 0 };
            found.insert(name, Have { length, hash });
        }
    }
    Ok(found)
}

fn understood(lines: impl BufRead) -> io::Result<BTreeMap<String, Have>> {
    let mut had = BTreeMap::new();
    for line in lines.lines() {
        let line = line?;
        let mut words = line.split(' ');
        let (Some(name), Some(length), Some(hash)) = (words.next(), words.next(), words.next()) else {
            return Err(malformed(&line));
        };
        had.insert(name.to_owned(), Have { length: number(length)?, hash: number(hash)? });
    }
    Ok(had)
}

/// Whether a file is part of what is fetched: the lock is not, since it belongs to the recorder there.
fn is_shipped(name: &str) -> bool {
    name == STATE || (name != "RECORDING" && is_of_recording(name))
}

/// Whether a file changes.
fn is_log(name: &str) -> bool {
    name == STATE || name.split_once('.').is_some_and(|(_, extension)| extension == "log")
}

/// FNV-1a: it tells two recordings apart, it is no protection.
fn hash(path: &Path, length: u64) -> io::Result<u64> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in BufReader::new(fs::File::open(path)?.take(length)).bytes() {
        hash = (hash ^ u64::from(byte?)).wrapping_mul(0x0100_0000_01b3);
    }
    Ok(hash)
}

fn line(input: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    input.by_ref().take(WORDS_BYTES).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    String::from_utf8(line).map_err(|error| malformed(&String::from_utf8_lossy(error.as_bytes())))
}

fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(|_| malformed(text))
}

fn malformed(line: &str) -> io::Error {
    let start: String = model::escaped(line.as_bytes()).chars().take(80).collect();
    io::Error::other(format!("the other end says what leakline never says: {start}"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn place(name: &str) -> PathBuf {
        let id = format!("{:?}", std::thread::current().id());
        let path = std::env::temp_dir().join(format!("leakline-ship-{name}-{}-{id}", std::process::id()));
        fs::create_dir_all(&path).expect("it can be made");
        path
    }

    /// Fetches from one place to another, and says how many files and bytes came.
    #[track_caller]
    fn fetch(there: &Path, here: &Path, wanted: (u64, u64)) {
        let mut sent = Vec::new();
        let had = have(here).expect("it can be listed");
        send(there, &mut had.as_bytes(), &mut sent).expect("it can be sent");
        let fetched = receive(here, &mut sent.as_slice()).expect("it is sound");
        assert_eq!((fetched.files, fetched.bytes), wanted);
        let segments = |place: &Path| {
            let mut files = list(place).expect("it can be listed");
            files.retain(|name, _| name != "00000001.segment");
            files
        };
        assert_eq!(segments(there), segments(here), "the same files");
    }

    #[test]
    fn only_what_is_new_is_fetched() {
        let (there, here) = (place("there"), place("here"));
        let write = |name: &str, text: &str| fs::write(there.join(name), text).expect("it has room");
        write("00000001.segment", "sealed");
        write("00000002.log", "one");
        write("RECORDING", "lock");
        write("notes.txt", "private");
        fetch(&there, &here, (2, 9));
        fetch(&there, &here, (0, 0));
        write("00000002.log", "onetwo");
        fetch(&there, &here, (1, 3));
        assert_eq!(fs::read(here.join("00000002.log")).expect("it is there"), b"onetwo");
        // Sealed, begun anew with other content, and the oldest removed by retention: that stays here.
        fs::remove_file(there.join("00000002.log")).expect("it is ours");
        fs::remove_file(there.join("00000001.segment")).expect("it is ours");
        write("00000002.segment", "sealed too");
        write("00000003.log", "abc");
        fetch(&there, &here, (2, 13));
        write("00000003.log", "xyz+");
        fetch(&there, &here, (1, 4));
        assert!(here.join("00000001.segment").exists() && !here.join("RECORDING").exists());
        fs::remove_dir_all(there).expect("it is ours");
        fs::remove_dir_all(here).expect("it is ours");
    }

    #[track_caller]
    fn check_refused(answer: &str, words: &str) {
        let here = place("hostile");
        fs::write(here.join("00000001.log"), "kept").expect("it has room");
        let refused = receive(&here, &mut answer.as_bytes()).expect_err("it must be refused").to_string();
        assert!(refused.contains(words), "{answer:?}: {refused}");
        assert_eq!(fs::read(here.join("00000001.log")).expect("it is there"), b"kept", "{answer:?}");
        assert_eq!(fs::read_dir(&here).expect("it is there").count(), 1, "nothing half written is left: {answer:?}");
        fs::remove_dir_all(here).expect("it is ours");
    }

    #[test]
    fn a_hostile_end_writes_nothing() {
        check_refused("", "unexpected end of file");
        check_refused("00000002.segment 10 0\nshort", "unexpected end of file");
        check_refused("../../etc/passwd 1 0\nx\nend\n", "what leakline never says");
        check_refused("RECORDING 1 0\nx\nend\n", "what leakline never says");
        check_refused("00000002.segment 99999999999999 0\n", "what leakline never says");
        check_refused("00000001.log 9 5\nabcd", "continues a file that is not here");
        check_refused("00000002.log 3 9\n", "what leakline never says");
        check_refused("\x1b[31m\n", "\\x1b[31m");
        check_refused(&"x".repeat(100_000), "unexpected end of file");
    }
}
