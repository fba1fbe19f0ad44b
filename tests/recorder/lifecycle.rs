//! A recorder from its start to its end, however it ends.
//!
//! Owns: what must survive. Must not know: the format of a recording.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::process::Signal;

use super::{Folder, status, wait_samples};
use crate::command::{Running, leakline};
use crate::process::{cannot_run, holds_soon, signal, status_line};

#[test]
fn a_recorder_in_the_background_goes_on_until_it_is_stopped() {
    let folder = Folder::new("background");
    let place = folder.place("r");
    leakline(&format!("record -o {place} --every 0.2 --background")).assert_code(0);
    wait_samples(&place, 3);
    let found = status(&place);
    let pid = found["recorder_pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("it is at work");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
    let session = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(3));
    assert_eq!(
        session,
        Some(pid.to_string().as_str()),
        "it has a session of its own, which no hangup of a terminal reaches"
    );
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).ok(), Some("/".into()), "it keeps no disk busy");
    leakline(&format!("stop {place}")).assert_code(0);
    let found = status(&place);
    assert!(found["recorder_pid"].is_null() && found["last_run"]["ended"] == "ended by a signal", "{found:#}");
    assert_eq!(found["segments"], 1, "it is sealed: {found:#}");
    for (name, mode) in
        [("r", 0o700), ("r/recorder.log", 0o600), ("r/recorder.toml", 0o600), ("r/00000001.segment", 0o600)]
    {
        let found = fs::metadata(folder.path().join(name)).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    leakline(&format!("clean --yes {place}")).assert_code(0);
    assert!(!folder.path().join("r").exists(), "nothing is left");
}

#[test]
fn a_killed_recorder_is_continued_and_the_gap_is_shown() {
    let folder = Folder::new("killed");
    let place = folder.place("r");
    let running = Running::start(&format!("record -o {place} --every 0.2"));
    wait_samples(&place, 3);
    running.kill();
    let before = status(&place)["samples"].as_u64().expect("a number");
    std::thread::sleep(std::time::Duration::from_secs(2));
    leakline(&format!("record -o {place} --every 0.2 --for 1")).assert_code(0);
    let after = status(&place);
    assert!(after["samples"].as_u64() > Some(before), "{after:#}");
    assert_eq!(after["damaged_blocks"], 0, "{after:#}");
    let report = leakline(&format!("report --json {place}")).summary();
    assert_eq!(report["gaps"].as_array().map(Vec::len), Some(1), "{:#}", report["gaps"]);
}

#[test]
fn a_signal_ends_it_in_order() {
    let folder = Folder::new("signal");
    let place = folder.place("r");
    let running = Running::start(&format!("record -o {place} --every 0.2"));
    wait_samples(&place, 2);
    signal(running.pid(), Signal::TERM);
    running.wait().assert_code(0);
    assert_eq!(status(&place)["last_run"]["ended"], "ended by a signal");
}

#[test]
fn a_deleted_directory_is_made_anew() {
    let folder = Folder::new("deleted");
    let place = folder.place("r");
    let running = Running::start(&format!("record -o {place} --every 0.2"));
    wait_samples(&place, 2);
    fs::remove_dir_all(&place).expect("it is there");
    assert!(holds_soon(|| folder.path().join("r/RECORDING").exists()), "it is not made anew");
    wait_samples(&place, 2);
    signal(running.pid(), Signal::TERM);
    let run = running.wait();
    assert!(matches!(run.code, Some(0 | 2)), "{}", run.describe());
    let report = leakline(&format!("report --json {place}")).summary();
    let events = report["events"].as_array().expect("a list");
    assert!(events.iter().any(|event| event["kind"] == "not_recorded"), "what was lost is said: {events:#?}");
}

#[test]
fn it_costs_little_memory() {
    let folder = Folder::new("cost");
    let place = folder.place("r");
    let running = Running::start(&format!("record -o {place} --every 0.1"));
    wait_samples(&place, 20);
    let rss: u64 = status_line(running.pid(), "VmRSS:").trim_end_matches(" kB").trim().parse().expect("a number");
    assert!(rss < 40 << 10, "{rss} KiB are resident");
    signal(running.pid(), Signal::TERM);
    running.wait().assert_code(0);
}

#[test]
fn a_full_disk_is_said_and_outlived() {
    let folder = Folder::new("full");
    let disk = folder.place("disk");
    fs::create_dir_all(&disk).expect("it can be made");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=512k", "tmpfs", &disk]).status();
    if !mounted.is_ok_and(|status| status.success()) {
        cannot_run("a full disk", "a tmpfs cannot be mounted here (needs root)");
        return;
    }
    let place = folder.place("disk/r");
    let running = Running::start(&format!("record -o {place} --every 0.1"));
    wait_samples(&place, 2);
    let filler = folder.path().join("disk/filler");
    let fill = || {
        fs::OpenOptions::new().append(true).create(true).open(&filler).and_then(|mut file| file.write_all(&[1; 4096]))
    };
    while fill().is_ok() {}
    // The last page of the log still has room for some samples; many new processes with long arguments do not fit into it.
    let word = |number: u32| format!("{:x}", number.wrapping_mul(2_654_435_761));
    let noise = |number: u32| (number * 60..number * 60 + 60).map(word).collect::<String>();
    let start = |number: u32| Command::new("sh").arg("-c").arg(format!("sleep 1; : {}", noise(number))).spawn();
    for mut child in (0..60).filter_map(|number| start(number).ok()).collect::<Vec<_>>() {
        let _ = child.wait();
    }
    fs::remove_file(&filler).expect("it is there");
    let before = status(&place)["samples"].as_u64().expect("a number");
    wait_samples(&place, before + 3);
    signal(running.pid(), Signal::TERM);
    let run = running.wait();
    let found = status(&place);
    let _ = Command::new("umount").arg(&disk).status();
    run.assert_code(2);
    assert!(run.errors.contains("goes on and tries again"), "{}", run.describe());
    assert!(found["last_run"]["samples_lost"].as_u64() > Some(0) && found["damaged_blocks"] == 0, "{found:#}");
}

#[test]
fn a_recorder_that_stood_still_says_so_and_goes_on() {
    let folder = Folder::new("stopped");
    let place = folder.place("r");
    let running = Running::start(&format!("record -o {place} --every 0.2"));
    wait_samples(&place, 3);
    let before = status(&place)["samples"].as_u64().expect("a number");
    // Fifteen beats are missed, which is more than a quarter of any twelve.
    signal(running.pid(), Signal::STOP);
    std::thread::sleep(std::time::Duration::from_secs(3));
    signal(running.pid(), Signal::CONT);
    wait_samples(&place, before + 3);
    signal(running.pid(), Signal::TERM);
    let run = running.wait();
    run.assert_code(0);
    assert!(run.errors.contains("cannot keep its beat"), "{}", run.describe());
    let report = leakline(&format!("report --json {place}")).summary();
    let events = report["events"].as_array().expect("a list");
    assert!(events.iter().any(|event| event["kind"] == "beat_not_kept"), "{events:#?}");
    let long =
        |gap: &serde_json::Value| gap["reason"].as_str().is_some_and(|reason| reason.contains("no sample was taken"));
    assert!(report["gaps"].as_array().is_some_and(|gaps| gaps.iter().any(long)), "{:#}", report["gaps"]);
}
