//! A recorder in the background: started by the one that the user typed, in a session of its own.
//!
//! Owns: the start, the detachment and the log file. Must not know: what runs there.
//!
//! The one in the background does all that can fail before it lets go of the terminal, so that the user sees why it did not
//! start. What keeps it alive after a logout is the session of its own: the terminal's hangup does not reach it.
#![expect(
    clippy::disallowed_methods,
    reason = "starts leakline once more, which cannot become another process by itself"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::limits::{LOG_BYTES, WORDS_BYTES};
use crate::state::{LOG, LOG_OLD};

/// The last word before it lets go of the terminal.
const READY: &str = "leakline is ready in the background";

/// Starts this program once more with the same arguments, and waits until it works; gives its number.
pub(crate) fn start() -> Result<u32, Failure> {
    let failed = |error: io::Error| Failure::with_hint(format!("leakline cannot be started again: {error}"), None);
    let program = std::env::current_exe().ok().filter(|path| path.exists());
    let arguments = std::env::args_os().skip(1).filter(|word| word != "--background");
    let mut child = Command::new(program.unwrap_or_else(|| "/proc/self/exe".into()))
        .args(arguments)
        .arg("--detached")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut words = String::new();
    if let Some(errors) = child.stderr.take() {
        errors.take(WORDS_BYTES).read_to_string(&mut words).map_err(failed)?;
    }
    if words.lines().any(|line| line == READY) {
        return Ok(child.id());
    }
    // It has failed, and ends by itself.
    let _ = child.wait();
    Err(refusal(&words))
}

/// Becomes independent of the terminal: a session of its own, no current directory that would keep a disk busy, and errors
/// that go to a file in this directory.
pub(crate) fn detach(directory: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::with_hint(format!("the log in {} cannot be written: {error}", directory.display()), None)
    };
    let log = log(directory).map_err(failed)?;
    // It fails only where this process already leads one.
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/").map_err(failed)?;
    writeln!(io::stderr().lock(), "{READY}").map_err(failed)?;
    rustix::stdio::dup2_stderr(&log).map_err(|error| failed(error.into()))
}

fn log(directory: &Path) -> io::Result<File> {
    let path = directory.join(LOG);
    if fs::metadata(&path).is_ok_and(|found| found.len() > LOG_BYTES) {
        fs::rename(&path, directory.join(LOG_OLD))?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The error of the other one in our words: its lines are those that `main` wrote.
fn refusal(words: &str) -> Failure {
    let after = |mark: &str| words.lines().find_map(|line| line.strip_prefix(mark)).map(str::to_owned);
    let text = after("error: ").unwrap_or_else(|| "leakline ended at once in the background".to_owned());
    Failure::with_hint(text, after("hint: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_the_other_one_is_ours() {
        for (words, wanted) in [
            ("error: it is full\nhint: make room\n", r#"Refused { text: "it is full", hint: Some("make room") }"#),
            ("error: no\n", r#"Refused { text: "no", hint: None }"#),
            ("", r#"Refused { text: "leakline ended at once in the background", hint: None }"#),
        ] {
            assert_eq!(format!("{:?}", refusal(words)), wanted);
        }
    }

    #[test]
    fn a_long_log_is_begun_anew() {
        let directory = std::env::temp_dir().join(format!("leakline-log-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("it can be made");
        writeln!(log(&directory).expect("it can be made"), "one").expect("it has room");
        writeln!(log(&directory).expect("it is there"), "two").expect("it has room");
        assert_eq!(fs::read_to_string(directory.join(LOG)).expect("it is there"), "one\ntwo\n");
        File::options()
            .write(true)
            .open(directory.join(LOG))
            .expect("it is there")
            .set_len(LOG_BYTES + 1)
            .expect("room");
        drop(log(&directory).expect("it can be made"));
        assert_eq!(fs::metadata(directory.join(LOG)).expect("it is there").len(), 0);
        assert!(directory.join(LOG_OLD).exists());
        fs::remove_dir_all(&directory).expect("it is ours");
    }
}
