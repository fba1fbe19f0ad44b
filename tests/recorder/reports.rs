//! What a recording says of a program that leaks, in every form.
//!
//! Owns: the comparison of forms. Must not know: how one is written.

use std::fs;

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
