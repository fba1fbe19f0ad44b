//! What can go wrong with a recording.
//!
//! Owns: the errors, their words and hints. Must not know: who shows them.

use std::fmt;
use std::io;

/// Why a recording could not be opened, written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing that leakline recorded.
    NotARecording {
        /// Where.
        place: String,
    },
    /// To be recorded into, but other files are there.
    NotEmpty {
        /// Where.
        place: String,
        /// One of the files.
        found: String,
    },
    /// Another recorder is at work here.
    InUse {
        /// Where.
        place: String,
        /// Its pid, where it could be told.
        recorder: Option<u32>,
    },
    /// It was written by a newer leakline.
    NewerVersion {
        /// The version of the file.
        found: u16,
        /// The newest version that this program knows.
        known: u16,
    },
    /// The system refused.
    Io {
        /// What was being done: `create 00000001.log`.
        what: String,
        /// Its answer.
        kind: io::ErrorKind,
        /// Its answer in words.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>, error: &io::Error) -> Self {
        Self::Io { what: what.into(), kind: error.kind(), reason: error.to_string() }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotARecording { .. } => Some("name the directory that `leakline record -o` wrote to"),
            Self::NotEmpty { .. } => Some("name an empty directory, one that does not exist, or an earlier recording"),
            Self::InUse { .. } => Some("stop it with `leakline stop`, or record into another directory"),
            Self::NewerVersion { .. } => Some("open it with the leakline that recorded it, or a newer one"),
            Self::Io { kind: io::ErrorKind::StorageFull, .. } => Some("free some space, or set `--max-size`"),
            Self::Io { .. } => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARecording { place } => write!(f, "{place} is no recording"),
            Self::NotEmpty { place, found } => {
                write!(f, "{place} is no recording, but it is not empty (it has {found})")
            }
            Self::InUse { place, recorder: Some(pid) } => write!(f, "process {pid} is already recording into {place}"),
            Self::InUse { place, recorder: None } => write!(f, "another recorder is already recording into {place}"),
            Self::NewerVersion { found, known } => {
                write!(f, "the recording has format version {found}; this leakline knows versions up to {known}")
            }
            Self::Io { what, reason, .. } => write!(f, "cannot {what}: {reason}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &Error, text: &str, hint: &str) {
        assert_eq!(error.to_string(), text);
        assert_eq!(error.hint().unwrap_or("none"), hint);
    }

    #[test]
    fn errors_say_what_was_found_and_what_to_do() {
        let place = || "/data".to_owned();
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let stop = "stop it with `leakline stop`, or record into another directory";
        check(
            &Error::NotARecording { place: place() },
            "/data is no recording",
            "name the directory that `leakline record -o` wrote to",
        );
        check(
            &Error::NotEmpty { place: place(), found: "thesis.tex".to_owned() },
            "/data is no recording, but it is not empty (it has thesis.tex)",
            "name an empty directory, one that does not exist, or an earlier recording",
        );
        check(&Error::InUse { place: place(), recorder: Some(7) }, "process 7 is already recording into /data", stop);
        check(
            &Error::InUse { place: place(), recorder: None },
            "another recorder is already recording into /data",
            stop,
        );
        check(
            &Error::io("write 00000001.log", &full),
            "cannot write 00000001.log: no storage space",
            "free some space, or set `--max-size`",
        );
        check(
            &Error::io("list /data", &io::ErrorKind::PermissionDenied.into()),
            "cannot list /data: permission denied",
            "none",
        );
    }
}
