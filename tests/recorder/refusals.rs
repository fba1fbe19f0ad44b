//! Bad input of the recorder's commands: each has a clear message and exit code 2, and nothing is lost or overwritten.
//!
//! Owns: one case for each item of the list. Must not know: what works.

use std::fs;

use super::{Folder, wait_samples};
use crate::command::{Running, leakline};

#[track_caller]
fn check(arguments: &str, words: &[&str]) {
    leakline(arguments).assert_refused(words);
}

#[test]
fn numbers_and_dates_that_are_none() {
    check("record --every 0", &["--every", "greater than zero"]);
    check("record --for -1", &["--for", "positive"]);
    check("record --for 1 --every 5", &["--for", "longer"]);
    check("record --max-size 1", &["--max-size", "8 mib"]);
    check("report --since 2026-02-30", &["--since", "date"]);
    check("report --since yesterday", &["--since"]);
}

#[test]
fn places_without_a_recording() {
    let folder = Folder::new("foreign");
    fs::write(folder.path().join("thesis.txt"), "years of work").expect("it has room");
    let place = folder.path().display();
    check(&format!("record -o {place} --for 6"), &["thesis.txt"]);
    for command in ["report", "status", "plot", "export --csv x", "clean --yes", "compare"] {
        check(&format!("{command} {place}"), &["is no recording"]);
    }
    check(&format!("stop {place}"), &["no recorder is at work"]);
    check("report /no/such/place", &["/no/such/place"]);
    assert_eq!(fs::read_to_string(folder.path().join("thesis.txt")).ok().as_deref(), Some("years of work"));
}

#[test]
fn two_recorders_in_one_directory() {
    let folder = Folder::new("two");
    let place = folder.place("r");
    let running = Running::start(&format!("record -o {place} --every 0.2"));
    wait_samples(&place, 2);
    let pid = running.pid().to_string();
    check(&format!("record -o {place}"), &["already recording", &pid]);
    check(&format!("record -o {place} --background"), &["already recording", &pid]);
    check(&format!("clean --yes {place}"), &["is recording", &pid]);
    wait_samples(&place, 4);
    running.kill();
}

#[test]
fn recordings_that_are_broken_or_newer() {
    let folder = Folder::new("broken");
    let place = folder.place("r");
    leakline(&format!("record -o {place} --every 0.2 --for 1")).assert_code(0);
    check(&format!("report {place} --since 1s --until 5s"), &["after --until"]);
    check(&format!("report {place} --since 2001-01-01 --until 2001-01-02"), &["nothing was recorded"]);
    check(&format!("report {place} --pid 4194303"), &["no process that was asked for"]);
    check(&format!("report {place} --png /no/such/folder/x.png"), &["cannot be written"]);
    check(&format!("plot {place} -o x.bmp"), &["file.svg"]);
    check(&format!("export {place}"), &["nothing was asked for"]);
    let segment = folder.path().join("r/00000001.segment");
    let sound = fs::read(&segment).expect("it is there");
    fs::write(&segment, &sound[..sound.len() / 2]).expect("it has room");
    let run = leakline(&format!("report {place}"));
    assert!(matches!(run.code, Some(0 | 2)), "half of it is read, or refused: {}", run.describe());
    assert_eq!(fs::metadata(&segment).expect("it is there").len(), sound.len() as u64 / 2, "it is left as it is");
    // A head of version 9, sound by its checksum.
    let mut newer = sound.clone();
    newer[8] = 9;
    let sum = crc32(&newer[..12]);
    newer[12..16].copy_from_slice(&sum.to_le_bytes());
    fs::write(&segment, &newer).expect("it has room");
    for command in ["report", "status", "export --json", "plot", "compare", "clean --yes", "record --for 6 -o"] {
        check(&format!("{command} {place}"), &["version 9", "newer"]);
    }
    assert_eq!(fs::read(&segment).ok(), Some(newer), "what a newer leakline wrote is not touched");
}

/// The checksum of `docs/recording-format.md`, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xedb8_8320 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[test]
fn configurations_that_are_wrong() {
    let folder = Folder::new("settings");
    let file = folder.place("leakline.toml");
    for (text, words) in [
        ("evry = 1", ["evry", "unknown"]),
        ("[record]\nevery = 0", ["greater than zero", "record.every"]),
        ("[record", ["leakline.toml:1", ""]),
        ("[alerts]\nmemory-used = 'much'", ["alerts.memory-used", "needed"]),
        ("[record]\nalert-webhook = 'ftp://x'", ["needed: an address", "record.alert-webhook"]),
    ] {
        fs::write(folder.path().join("leakline.toml"), text).expect("it has room");
        check(&format!("record --config {file} -o {} --for 6", folder.place("r")), &words);
    }
    assert!(!folder.path().join("r").exists(), "nothing was begun");
    check("record --config /no/such.toml", &["/no/such.toml"]);
}
