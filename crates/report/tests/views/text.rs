//! The texts, as they are printed.
//!
//! Owns: one golden file for each text and width. Must not know: JSON.

use std::io::{self, Write};

use model::Coverage;
use report::{CheckState, EventView, HuntView, Outcome, Severity, SheetView, Text};

use super::{golden, samples};

const WIDE: Text = Text { width: 200, colour: false };
const USUAL: Text = Text { width: 80, colour: false };
const NARROW: Text = Text { width: 40, colour: false };

fn written(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).expect("a vector takes everything");
    String::from_utf8(out).expect("the text is UTF-8")
}

#[track_caller]
fn check(name: &str, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
    golden::check(env!("CARGO_MANIFEST_DIR"), name, &written(write));
}

#[test]
fn hunt_fits_the_width() {
    let view = samples::hunt();
    check("hunt-200.txt", |out| WIDE.hunt(&view, out));
    check("hunt-80.txt", |out| USUAL.hunt(&view, out));
    check("hunt-40.txt", |out| NARROW.hunt(&view, out));
}

#[test]
fn no_line_of_a_table_is_wider_than_asked() {
    let view = samples::hunt();
    for width in 40..220 {
        let text = Text { width, colour: false };
        let rows: Vec<_> = view.processes.iter().collect();
        for line in text.process_table(&rows) {
            assert!(unicode_width::UnicodeWidthStr::width(line.as_str()) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn a_hunt_that_finds_nothing_says_what_it_watched() {
    let mut view = samples::hunt();
    view.processes.iter_mut().for_each(|process| process.severity = Severity::Fine);
    view.outcome = Outcome::NothingFound;
    view.notes.clear();
    check("hunt-nothing.txt", |out| USUAL.hunt(&view, out));
}

#[test]
fn a_report_of_a_recording_fits_the_width() {
    let view = samples::recording();
    check("recording-120.txt", |out| Text { width: 120, colour: false }.recording(&view, out));
    check("recording-60.txt", |out| Text { width: 60, colour: false }.recording(&view, out));
}

#[test]
fn sheets_fit_the_width() {
    let (before, after) = (samples::beat(0), samples::beat(5));
    let compared = SheetView::compare(("db-7", &before), ("db-7", &after));
    check("inspect-100.txt", |out| Text { width: 100, colour: false }.sheet(&samples::sheet(), out));
    check("inspect-machine-80.txt", |out| USUAL.sheet(&samples::machine_sheet(true), out));
    check("compare-80.txt", |out| USUAL.sheet(&compared, out));
    check("status-80.txt", |out| USUAL.sheet(&SheetView::from(&samples::recorder()), out));
}

#[test]
fn an_empty_recording_is_no_answer() {
    let text = written(|out| USUAL.recording(&report::RecordingView::default(), out));
    assert!(text.contains("Could not judge"), "{text}");
    assert!(text.contains("No process was found to grow"), "{text}");
}

#[test]
fn watch_plain_counts_what_it_leaves_out() {
    check("beat-120.txt", |out| Text { width: 120, colour: false }.beat(&samples::hunt(), 2, out));
}

#[test]
fn progress_is_one_line_that_fits() {
    let view = samples::hunt();
    assert_eq!(
        WIDE.progress(&view),
        "watching 312 processes: 1 min 00 s of 1 min 00 s, 61 samples, 2 to look at so far"
    );
    assert_eq!(Text { width: 20, colour: false }.progress(&view), "watching 312 proces…");
}

#[test]
fn events_are_one_line_each_but_for_stacks() {
    check("events.txt", |out| samples::events().iter().try_for_each(|event| USUAL.event(event, out)));
}

#[test]
fn the_summary_lists_every_figure() {
    let mut view = samples::sites();
    check("sites-attached.txt", |out| USUAL.sites(&view, out));
    view.target.state = "detached".to_owned();
    view.target.detach_stop = model::Reading::Known(samples::seconds(0.000_9));
    view.losses = model::Losses::default();
    view.sites_left_out = 0;
    check("sites-detached.txt", |out| USUAL.sites(&view, out));
    check("sites-sampled.txt", |out| USUAL.sites(&samples::sampled_sites(), out));
}

#[test]
fn blind_is_never_no_leak() {
    let mut view = samples::sites();
    view.sites.clear();
    let seen = view.coverage;
    for (coverage, outcome, says) in [
        (Coverage::default(), Outcome::Blind, "blind: the hooks never fired, so nothing can be said about leaks"),
        (seen, Outcome::Blind, "blind: memory grows that the hooks do not see, so nothing can be said about leaks"),
        (seen, Outcome::CouldNotJudge, "could not judge: what was seen is not enough"),
        (seen, Outcome::NothingFound, "nothing found so far: no site leaks"),
    ] {
        (view.coverage, view.outcome) = (coverage, outcome);
        let text = written(|out| USUAL.sites(&view, out));
        let result = text.lines().find_map(|line| line.strip_prefix("Result     "));
        assert_eq!(result, Some(says));
        assert_eq!(text.contains("no site leaks"), outcome == Outcome::NothingFound);
    }
}

#[test]
fn every_loss_is_named() {
    let mut view = samples::sites();
    for (change, says) in [
        ((|losses| losses.blocks_unrecorded = 1) as fn(&mut model::Losses), "1 block not recorded (a table was full)"),
        (|losses| losses.stacks_cut = 2, "2 stacks cut at the greatest depth"),
        (|losses| losses.stacks_broken = 3, "3 stacks ended early (no unwind information)"),
        (|losses| losses.entries_corrupt = 4, "4 entries of the shared memory left out (corrupt)"),
    ] {
        view.losses = model::Losses::default();
        change(&mut view.losses);
        let text = written(|out| USUAL.sites(&view, out));
        assert!(text.contains(&format!("Lost       {says}\n")), "{text}");
    }
}

#[test]
fn doctor_says_what_would_change_it() {
    let mut view = samples::doctor();
    check("doctor.txt", |out| USUAL.doctor(&view, out));
    view.checks.retain(|check| check.state == CheckState::Ok);
    view.target = None;
    let text = written(|out| USUAL.doctor(&view, out));
    assert!(text.ends_with("Nothing that was checked prevents an attach.\n"), "{text}");
}

#[test]
fn colour_changes_nothing_but_colour() {
    let coloured = Text { width: 80, colour: true };
    let view = samples::hunt();
    let with = written(|out| coloured.hunt(&view, out));
    let without = written(|out| USUAL.hunt(&view, out));
    assert!(with.contains("\x1b[1;31m"), "the leak is not marked");
    assert_eq!(strip(&with), without);
    assert!(!without.contains('\x1b'), "a text without colour must have no escapes, not even those of names");
}

fn strip(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
}

#[test]
fn a_closed_output_is_an_error_for_the_caller() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let view: HuntView = samples::hunt();
    let event: &EventView = &samples::events()[0];
    for result in [USUAL.hunt(&view, &mut Closed), USUAL.event(event, &mut Closed)] {
        assert_eq!(result.map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
    }
}
