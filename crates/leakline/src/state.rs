//! What a recorder says about itself: a small file beside the recording, replaced as a whole at each beat.
//!
//! Owns: the names of the files beside a recording, and the keys of this one.
//! Must not know: what is recorded, or whether the recorder is still at work: that is what the lock of the recording says. The recording does not depend on this file: without it only `status` and `stop` know less.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use toml::{Table, Value};

use crate::limits::WORDS_BYTES;

/// The file's name.
pub(crate) const STATE: &str = "recorder.toml";
const STATE_NEW: &str = "recorder.toml.new";
/// What the recorder said, where it is in the background.
pub(crate) const LOG: &str = "recorder.log";
/// What it had said before that file became too long.
pub(crate) const LOG_OLD: &str = "recorder.log.1";
/// All files that are ours beside those of the recording.
pub(crate) const FILES: [&str; 4] = [STATE, STATE_NEW, LOG, LOG_OLD];

/// A recorder, as it was when it last wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Its number.
    pub(crate) pid: u32,
    /// The beat that is wanted and the one that is kept, in milliseconds.
    pub(crate) every_ms: u64,
    pub(crate) kept_ms: u64,
    /// Beats that were recorded by it, and such that could not be.
    pub(crate) beats: u64,
    pub(crate) not_recorded: u64,
    /// Processes in the last beat.
    pub(crate) processes: u64,
    /// Its first beat and its last, in nanoseconds since 1970.
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    /// What it has cost so far: CPU time in milliseconds, resident memory in bytes; none where it is unknown.
    pub(crate) cpu_ms: Option<u64>,
    pub(crate) rss: Option<u64>,
    /// Why something could not be recorded, the last time; empty where all could.
    pub(crate) trouble: String,
    /// How it ended; empty while it is at work, and for ever where it was killed.
    pub(crate) ended: String,
}

impl State {
    /// Writes it so that a reader sees the old one or the new one.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<()> {
        debug_assert!(self.first_ns <= self.last_ns || self.beats == 0, "beats are in order unless the clock jumped");
        let new = directory.join(STATE_NEW);
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(self.to_text().as_bytes())?;
        fs::rename(new, directory.join(STATE))
    }

    /// Reads it; none where there is none, or where it is in no form that we know.
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        let mut text = String::new();
        fs::File::open(directory.join(STATE)).ok()?.take(WORDS_BYTES).read_to_string(&mut text).ok()?;
        Self::from_text(&text)
    }

    fn to_text(&self) -> String {
        let number = |value: u64| Value::Integer(i64::try_from(value).unwrap_or(i64::MAX));
        let mut table = Table::new();
        for (key, value) in self.numbers() {
            table.insert(key.to_owned(), number(value));
        }
        for (key, value) in [("cpu_ms", self.cpu_ms), ("rss", self.rss)] {
            if let Some(value) = value {
                table.insert(key.to_owned(), number(value));
            }
        }
        table.insert("trouble".to_owned(), Value::String(self.trouble.clone()));
        table.insert("ended".to_owned(), Value::String(self.ended.clone()));
        table.to_string()
    }

    fn from_text(text: &str) -> Option<Self> {
        let table: Table = text.parse().ok()?;
        let number = |key: &str| u64::try_from(table.get(key)?.as_integer()?).ok();
        let words = |key: &str| Some(model::escaped(table.get(key)?.as_str()?.as_bytes()));
        Some(Self {
            pid: u32::try_from(number("pid")?).ok()?,
            every_ms: number("every_ms")?,
            kept_ms: number("kept_ms")?,
            beats: number("beats")?,
            not_recorded: number("not_recorded")?,
            processes: number("processes")?,
            first_ns: number("first_ns")?,
            last_ns: number("last_ns")?,
            cpu_ms: number("cpu_ms"),
            rss: number("rss"),
            trouble: words("trouble")?,
            ended: words("ended")?,
        })
    }

    fn numbers(&self) -> [(&'static str, u64); 8] {
        [
            ("pid", u64::from(self.pid)),
            ("every_ms", self.every_ms),
            ("kept_ms", self.kept_ms),
            ("beats", self.beats),
            ("not_recorded", self.not_recorded),
            ("processes", self.processes),
            ("first_ns", self.first_ns),
            ("last_ns", self.last_ns),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> State {
        let trouble = "no space\n\x1b[31m \"left\"".to_owned();
        State { pid: 7, beats: 3, first_ns: 1, last_ns: 2, trouble, ..State::default() }
    }

    #[test]
    fn what_is_written_is_read_back_with_its_controls_escaped() {
        let directory = std::env::temp_dir().join(format!("leakline-state-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("it can be made");
        assert_eq!(State::read(&directory), None);
        let state = State { rss: Some(7), ..own() };
        state.write(&directory).expect("there is room");
        let read = State::read(&directory).expect("it is there");
        assert_eq!(read, State { trouble: "no space\\n\\x1b[31m \"left\"".to_owned(), ..state });
        fs::remove_dir_all(&directory).expect("it is ours");
    }

    #[test]
    fn what_is_no_state_is_none() {
        let text = own().to_text();
        assert!(State::from_text(&text).is_some());
        for bad in
            ["", "pid = 1", "[", &text.replace("beats = 3", "beats = -3"), &text.replace("beats = 3", "beats = 'x'")]
        {
            assert_eq!(State::from_text(bad), None, "{bad}");
        }
    }
}
