//! What a recording says of a program that leaks, in every form.
//!
//! Owns: the comparison of forms. Must not know: how one is written.

use std::fs;
use std::process::Command;

use super::{Folder, wait_samples};
use crate::command::{Running, leakline};
use crate::targets::Target;

#[test]
fn the_process_that_leaks_is_found_in_every_form() {
    let folder = Folder::new("reports");
    let place = folder.place("r");
    let leaky = Target::start("c/leaky.c", "--rate 8192");
    let alerts = folder.place("alerts.jsonl");
    let settings = folder.place("leakline.toml");
    fs::write(&settings, "[alerts]\nmemory-used = { raise = 0.001, clear = 0.0005, hold = 1 }\n").expect("it has room");
    let run = leakline(&format!("record --config {settings} -o {place} --every 0.25 --for 12 --alert-file {alerts}"));
    run.assert_code(0);
    let pid = leaky.pid();
    leaky.stop().assert_unharmed();

    let run = leakline(&format!("report {place} --json"));
    run.assert_code(1);
    let summary = run.summary();
    let findings = summary["findings"].as_array().expect("a list");
    assert!(findings.iter().any(|finding| finding.to_string().contains(&format!("\"pid\":{pid}"))), "{findings:#?}");
    let events = summary["events"].as_array().expect("a list");
    assert!(events.iter().any(|event| event["kind"] == "alert"), "the alert is recorded: {events:#?}");
    let told = fs::read_to_string(&alerts).expect("the file was made");
    assert!(told.contains(r#""rule":"memory-used""#), "{told}");

    let (html, png, svg, parquet) =
        (folder.place("a.html"), folder.place("a.png"), folder.place("a.svg"), folder.place("a.parquet"));
    leakline(&format!(
        "report {place} --html {html} --png {png} --svg {svg} --csv {} --parquet {parquet}",
        folder.place("csv")
    ))
    .assert_code(1);
    let start = |path: &str, length: usize| fs::read(path).expect("it is written")[..length].to_vec();
    assert_eq!(start(&html, 15), b"<!doctype html>");
    assert_eq!(start(&png, 4), b"\x89PNG");
    assert!(String::from_utf8_lossy(&start(&svg, 100)).contains("<svg"));
    assert_eq!(start(&parquet, 4), b"PAR1");
    let system = fs::read_to_string(folder.place("csv/system.csv")).expect("it is written");
    let samples = super::status(&place)["samples"].as_u64().expect("a number");
    assert_eq!(system.lines().count() as u64, samples + 1, "a line for each sample and one of titles");
    assert!(system.starts_with("Timestamp,Total_KB,Used_KB,Free_KB,Available_KB,Buffers_KB,Cached_KB,Usage_Percent,Top_Process,Top_Process_Mem\n"));
    let plot = leakline(&format!("plot {place} --pid {pid}"));
    plot.assert_code(1);
    assert!(plot.lines.iter().any(|line| line.contains(&format!("leaky ({pid})"))), "{}", plot.describe());
    let compared = leakline(&format!("compare {place} --json"));
    compared.assert_code(0);
    assert_eq!(compared.summary()["document"], "compare");
}

/// What an independent reader says of lines of JSON: each parsed, one figure of each source followed, and the OOM kill and births.
const READER: &str = r#"
import json, sys
samples = [json.loads(line) for line in open(sys.argv[1])]
assert all(sample["schema"] == 1 and sample["document"] == "sample" for sample in samples)
times = [sample["unix_seconds"] for sample in samples]
assert times == sorted(times) and len(set(sample["boot_id"] for sample in samples)) == 1
mine = [process for sample in samples for process in sample["processes"] if process["pid"] == int(sys.argv[2])]
assert all(process["rss_bytes"] > 0 and process["command"] == "leaky" for process in mine), mine[0]
assert all("missing" in process["pss_bytes"] for process in mine), "it is not read, and that is said"
assert mine[-1]["anon_bytes"] > mine[0]["anon_bytes"] > 0
assert samples[0]["system"]["meminfo"]["MemTotal"] > samples[0]["system"]["meminfo"]["MemFree"] > 0
assert any("buddyinfo" in sample["system"] for sample in samples)
assert samples[0]["events"][0]["kind"] in ("started", "zombie", "oom_kill", "kernel"), samples[0]["events"]
print(len(samples), len(mine))
"#;

#[test]
fn every_sample_is_read_back_as_lines_of_json() {
    let folder = Folder::new("lines");
    let place = folder.place("r");
    let leaky = Target::start("c/leaky.c", "--rate 8192");
    let pid = leaky.pid();
    leakline(&format!("record -o {place} --every 0.2 --for 2")).assert_code(0);
    leaky.stop().assert_unharmed();
    let samples = super::status(&place)["samples"].as_u64().expect("a number");
    let run = leakline(&format!("export {place} --json"));
    run.assert_code(0);
    assert_eq!(run.lines.len() as u64, samples, "a line for each sample");
    let file = folder.place("samples.jsonl");
    leakline(&format!("export {place} --json -o {file} --pid {pid}")).assert_code(0);
    let python = std::env::var_os("LEAKLINE_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let read = Command::new(python).args(["-c", READER, &file, &pid.to_string()]).output().expect("python runs");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    assert_eq!(String::from_utf8_lossy(&read.stdout).trim(), format!("{samples} {samples}"));
    leakline(&format!("export {place} --json --since 2001-01-01 --until 2001-01-02"))
        .assert_refused(&["nothing was recorded"]);
    leakline(&format!("export {place} --csv {file}.d --since 1s --until 5s")).assert_refused(&["after --until"]);
    assert!(!folder.path().join("samples.jsonl.d").exists(), "nothing was begun");
}

#[test]
fn a_recording_is_read_while_it_is_written() {
    let folder = Folder::new("live");
    let place = folder.place("r");
    let running = Running::start(&format!("record -o {place} --every 0.2"));
    wait_samples(&place, 3);
    for command in ["report", "plot", "compare"] {
        let run = leakline(&format!("{command} {place}"));
        // After a few beats nothing can be said of anybody's growth, and the exit code says so.
        let codes = if command == "compare" { 0..=0 } else { 1..=2 };
        assert!(run.code.is_some_and(|code| codes.contains(&code)), "{}", run.describe());
        assert!(!run.lines.is_empty(), "{}", run.describe());
    }
    running.kill();
}
