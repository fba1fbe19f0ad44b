//! The JSON documents: their keys, and that nothing missing becomes a number.
//!
//! Owns: one golden file for each document. Must not know: texts.

use std::collections::BTreeSet;

use report::{Document, EventView, SheetView, metrics};
use serde_json::Value;

use super::{golden, samples};

fn written(document: Document<'_>) -> Value {
    let mut out = Vec::new();
    document.write(&mut out).expect("a vector takes everything");
    let text = String::from_utf8(out).expect("JSON is UTF-8");
    assert_eq!(text.matches('\n').count(), 1, "a document is one line");
    serde_json::from_str(&text).expect("what was written can be read")
}

#[track_caller]
fn check(name: &str, document: Document<'_>) {
    let value = written(document);
    assert_eq!(value["schema"], 1);
    let mut ours = value.clone();
    if matches!(document, Document::Sample(_)) {
        // Figures of the machine keep the kernel's own names.
        ours["system"] = Value::Bool(true);
    }
    numbers_have_metrics(&ours, "");
    nothing_is_null(&value);
    golden::check(env!("CARGO_MANIFEST_DIR"), name, &format!("{value:#}\n"));
}

/// Every number stands under the key of a metric; lists and the parts of a tally take that of what they stand in.
fn numbers_have_metrics(value: &Value, key: &str) {
    match value {
        Value::Number(_) => assert!(metrics::ALL.iter().any(|metric| metric.key == key), "`{key}` is no metric"),
        Value::Array(items) => items.iter().for_each(|item| numbers_have_metrics(item, key)),
        Value::Object(members) => {
            for (name, member) in members {
                let of_tally = matches!(name.as_str(), "blocks" | "bytes" | "blocks_error" | "bytes_error");
                numbers_have_metrics(member, if of_tally { key } else { name });
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn nothing_is_null(value: &Value) {
    match value {
        Value::Null => panic!("a missing value must say why"),
        Value::Array(items) => items.iter().for_each(nothing_is_null),
        Value::Object(members) => members.values().for_each(nothing_is_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn hunt_has_every_fact_of_the_ranking() {
    let mut view = samples::hunt();
    // The whole history would bury the rest of the file.
    view.processes.iter_mut().for_each(|process| process.history.truncate(3));
    check("hunt.json", Document::Hunt { view: &view, attached: &[samples::sites()] });
}

#[test]
fn attach_has_every_fact_of_the_summary() {
    check("sites.json", Document::Sites(&samples::sites()));
    check("sites-sampled.json", Document::Sites(&samples::sampled_sites()));
}

#[test]
fn each_event_is_a_document() {
    let events = samples::events();
    let names: Vec<Value> = events.iter().map(|event| written(Document::Event(event))["event"].take()).collect();
    let expected = "attached first_expiry first_expiry again freed_after_expiry freed_after_expiry demoted mode_changed mode_changed child child child stop_reached \
         ended";
    assert_eq!(names, expected.split(' ').map(Value::from).collect::<Vec<_>>());
    for event in &events {
        numbers_have_metrics(&written(Document::Event(event)), "");
    }
    let EventView::FirstExpiry { .. } = &events[1] else { panic!("the second sample is a first expiry") };
    check("event.json", Document::Event(&events[1]));
}

#[test]
fn a_report_has_every_fact_of_the_recording() {
    let mut view = samples::recording();
    // All points would bury the rest of the file.
    let shorten = |series: &mut report::Series| series.points.truncate(2);
    view.system.iter_mut().for_each(shorten);
    view.processes.iter_mut().flat_map(|process| &mut process.series).for_each(shorten);
    view.findings.iter_mut().for_each(|finding| finding.process.history.truncate(2));
    check("recording.json", Document::Recording(&view));
}

#[test]
fn sheets_have_every_table() {
    check("inspect.json", Document::Sheet(&samples::sheet()));
    check("inspect-machine.json", Document::Sheet(&samples::machine_sheet(false)));
    check("status.json", Document::Sheet(&SheetView::from(&samples::recorder())));
    let (before, after) = (samples::beat(0), samples::beat(5));
    check("compare.json", Document::Sheet(&SheetView::compare(("db-7", &before), ("db-7", &after))));
}

#[test]
fn a_sample_is_a_line_for_other_tools() {
    check("sample.json", Document::Sample(&samples::beat(1)));
}

#[test]
fn an_alert_has_its_evidence_and_the_next_command() {
    check("alert.json", Document::Alert(&samples::alert()));
}

#[test]
fn doctor_has_every_check() {
    check("doctor.json", Document::Doctor(&samples::doctor()));
}

#[test]
fn what_is_missing_says_why() {
    let view = samples::hunt();
    let value = written(Document::Beat(&view));
    let gone = &value["processes"][2];
    for figure in
        [&gone["memory"]["rss_bytes"], &gone["growth"], &gone["user"], &gone["exhaustion"], &gone["confidence"]]
    {
        assert_eq!(figure["missing"], "the process is gone", "{figure}");
    }
}

/// All keys of a document.
fn keys_of(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| keys_of(item, keys)),
        Value::Object(members) => {
            for (key, member) in members {
                keys.insert(key.clone());
                keys_of(member, keys);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// These stand above columns; in JSON their parts have keys of their own.
const ONLY_TITLES: [&str; 11] = [
    "place",
    "interval",
    "may_leak_blocks",
    "may_leak_bytes",
    "site",
    "figure",
    "first_value",
    "last_value",
    "least_value",
    "greatest_value",
    "curve",
];

#[test]
fn every_metric_is_shown_somewhere() {
    let (hunt, sites, mut keys) = (samples::hunt(), samples::sites(), BTreeSet::new());
    keys_of(&written(Document::Hunt { view: &hunt, attached: &[sites] }), &mut keys);
    for event in samples::events() {
        keys_of(&written(Document::Event(&event)), &mut keys);
    }
    let (status, compared) =
        (SheetView::from(&samples::recorder()), SheetView::compare(("a", &samples::beat(0)), ("a", &samples::beat(1))));
    let removed = SheetView::removals(String::new(), &[samples::removal()], Vec::new());
    let (process, machine) = (samples::sheet(), samples::machine_sheet(true));
    for sheet in [&process, &machine, &status, &compared, &removed] {
        keys_of(&written(Document::Sheet(sheet)), &mut keys);
    }
    keys_of(&written(Document::Run(&samples::run())), &mut keys);
    keys_of(&written(Document::Recording(&samples::every_series())), &mut keys);
    keys_of(&written(Document::Sample(&samples::beat(0))), &mut keys);
    for metric in metrics::ALL {
        let is_shown = keys.contains(metric.key) || ONLY_TITLES.contains(&metric.key);
        assert!(is_shown, "`{}` is described but never shown", metric.key);
    }
}
