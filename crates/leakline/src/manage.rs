//! `leakline status`, `stop` and `clean`: what is done with a recording from outside.
//!
//! Owns: who may be stopped, what may be removed. Must not know: how a recording is made or what its files hold.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use recording::{Recording, recorder_at_work};
use report::Outcome;
use rustix::process::{Signal, kill_process};

use crate::failure::Failure;
use crate::flags::{Clean, Existing};
use crate::limits::{STOP_PATIENCE, STOP_SLICE};
use crate::output::Output;
use crate::place;
use crate::record::refused;
use crate::session::patiently;
use crate::state;

/// Asks the recorder to end, and waits until its recording is sealed.
pub(crate) fn stop(flags: &Existing) -> Result<Outcome, Failure> {
    let mut output = Output::new(false);
    let directory = place::to_read(flags.recording.as_deref(), flags.place.data_dir.as_deref())?;
    let Some(pid) = recorder_at_work(&directory) else {
        let text = format!("no recorder is at work in {}", directory.display());
        return Err(Failure::with_hint(text, "`leakline record --background` starts one".to_owned()));
    };
    signal(pid)?;
    if !patiently(STOP_PATIENCE, STOP_SLICE, || recorder_at_work(&directory).is_none()) {
        let text = format!("process {pid} was asked to end, but is still there after {} s", STOP_PATIENCE.as_secs());
        return Err(Failure::with_hint(
            text,
            format!("wait for it, or end it with `kill -9 {pid}`: what it wrote stays readable"),
        ));
    }
    output.say(&format!("process {pid} has ended; its recording is in {}", directory.display()));
    Ok(Outcome::NothingFound)
}

/// Removes a recording and all that belongs to it, and nothing else.
pub(crate) fn clean(flags: &Clean) -> Result<Outcome, Failure> {
    let mut output = Output::new(false);
    let Existing { recording, place } = &flags.recording;
    let directory = place::to_read(recording.as_deref(), place.data_dir.as_deref())?;
    let shown = directory.display();
    if let Some(pid) = recorder_at_work(&directory) {
        let text = format!("process {pid} is recording into {shown}");
        return Err(Failure::with_hint(text, "stop it first with `leakline stop`".to_owned()));
    }
    let info = Recording::open(&directory).map_err(refused)?.info();
    if !flags.yes && !asked(&format!("Remove the recording in {shown} ({} samples)? [y/N] ", info.beats))? {
        return Err(Failure::with_hint(format!("the recording in {shown} was not removed"), "add --yes".to_owned()));
    }
    let removed = remove(&directory)
        .map_err(|error| Failure::with_hint(format!("the recording in {shown} cannot be removed: {error}"), None))?;
    // It stays where somebody else keeps files in it.
    let _ = fs::remove_dir(&directory);
    output.say(&format!("removed {removed} files of the recording in {shown}"));
    Ok(Outcome::NothingFound)
}

/// Removes the files of a recording; gives how many.
fn remove(directory: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|name| is_of_recording(name) || state::FILES.contains(&name)) {
            fs::remove_file(directory.join(name))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether a file belongs to a recording, by its name: `docs/recording-format.md` lists them.
pub(crate) fn is_of_recording(name: &str) -> bool {
    let is_number = |text: &str| text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    match name.split_once('.') {
        None => name == "RECORDING",
        Some((number, "log" | "segment")) => is_number(number),
        Some(_) => false,
    }
}

fn signal(pid: u32) -> Result<(), Failure> {
    let raw = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let sent = raw.map_or(Err(rustix::io::Errno::SRCH), |raw| kill_process(raw, Signal::TERM));
    match sent {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => {
            let hint = "run this as the user who started it, or as root";
            Err(Failure::with_hint(format!("process {pid} cannot be asked to end: {error}"), hint.to_owned()))
        }
    }
}

/// A question that only a person can answer; nobody there means no.
fn asked(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question}")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leakline_wrote_is_removed() {
        let directory = std::env::temp_dir().join(format!("leakline-clean-{}", std::process::id()));
        fs::create_dir_all(directory.join("00000009.log")).expect("it can be made");
        for name in ["RECORDING", "00000001.segment", "00000002.log", "recorder.toml", "recorder.log"] {
            fs::write(directory.join(name), "x").expect("it has room");
        }
        fs::remove_dir(directory.join("00000009.log")).expect("it is ours");
        for name in ["notes.txt", "1.log", "00000001.log.gz", "x.segment", ".segment"] {
            fs::write(directory.join(name), "x").expect("it has room");
        }
        assert_eq!(remove(&directory).expect("it can be read"), 5);
        let mut left: Vec<_> =
            fs::read_dir(&directory).expect("it is there").map(|entry| entry.expect("sound").file_name()).collect();
        left.sort();
        assert_eq!(left, [".segment", "00000001.log.gz", "1.log", "notes.txt", "x.segment"]);
        fs::remove_dir_all(&directory).expect("it is ours");
        assert!(remove(&directory).is_err());
    }
}
