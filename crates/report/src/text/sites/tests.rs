//! Tests of single sentences about sites. The whole texts are compared in `tests/views`.

use super::*;
use crate::{Excerpt, SiteTotals, samples};
use model::{Address, Bytes, Function, Kinds, Losses, ModuleName, SourceLine, Tally, Why};
use std::sync::Arc;

/// A frame of `function offset line trust`, where `?` is missing.
fn frame_of(text: &str) -> Frame {
    let parts: Vec<&str> = text.split(' ').collect();
    let known = |text: &str| (text != "?").then_some(());
    let function = || Function { name: parts[0].into(), offset: parts[1].parse().unwrap() };
    let line = || SourceLine { file: "/src/a.c".into(), line: parts[2].parse().unwrap(), column: None };
    Frame {
        address: Address(0x1234),
        module: Reading::Known(ModuleName { path: "/lib/a.so".into(), build_id: None }),
        function: Reading::from_option(known(parts[0]).map(|()| function()), Why::NoDebugInformation),
        line: Reading::from_option(known(parts[2]).map(|()| line()), Why::NoDebugInformation),
        inlined: parts[3] == "inlined",
        trust: if parts[3] == "pointer" { FrameTrust::FramePointer } else { FrameTrust::UnwindTable },
    }
}

#[track_caller]
fn check_frame(text: &str, expected: &str) {
    assert_eq!(frame(3, &frame_of(text)), expected);
}

#[test]
fn what_became_of_leaking_blocks_is_said_in_a_word_and_in_a_title() {
    let fate = |lost, held, unclear| {
        let tally = |count| Tally::exact(count, Bytes(64 * count));
        let holding = Reading::Known(crate::Holding { lost: tally(lost), held: tally(held), unclear: tally(unclear) });
        let site = SiteView { holding, ..samples::leaking_site() };
        format!("{} / {}", site.verdict_in_short(), site.judgement())
    };
    assert_eq!(fate(9, 0, 0), "lost / leaking, lost");
    assert_eq!(fate(0, 9, 1), "held / leaking, held");
    assert_eq!(fate(1, 8, 0), "leaking / leaking, partly lost");
    assert_eq!(fate(0, 0, 0), "leaking / leaking");
    let fine = SiteView { holding: samples::leaking_site().holding, ..samples::demoted_site() };
    assert_eq!(
        (fine.verdict_in_short().as_str(), fine.judgement().as_str()),
        ("freed late", "freed late, partly lost")
    );
}

#[test]
fn a_frame_says_what_is_known_of_it() {
    check_frame("run 255 7 table", "#3   0x0000000000001234  run+0xff  /src/a.c:7");
    check_frame("run 0 7 inlined", "#3                       run  /src/a.c:7 [inlined]");
    check_frame("run 0 7 pointer", "#3   0x0000000000001234  run+0x0  /src/a.c:7 [by frame pointer]");
    check_frame("run 1 ? table", "#3   0x0000000000001234  run+0x1  in /lib/a.so (no debug information)");
    check_frame("? 1 ? table", "#3   0x0000000000001234  ?  in /lib/a.so (no debug information)");
}

#[test]
fn a_frame_cannot_move_the_cursor() {
    let mut hostile = frame_of("run 1 7 table");
    hostile.line = Reading::Known(SourceLine { file: "a\x1b[2J".into(), line: 1, column: Some(2) });
    assert_eq!(frame(0, &hostile), r"#0   0x0000000000001234  run+0x1  a\u{1b}[2J:1:2");
}

#[track_caller]
fn check_name(frames: &[&str], expected: &str) {
    let frames: Arc<[Frame]> = frames.iter().map(|text| frame_of(text)).collect();
    assert_eq!(site_name(&SiteView { frames, ..samples::leaking_site() }), expected);
}

#[test]
fn a_site_is_named_by_its_origin() {
    check_name(&["inner 1 5 inlined", "outer 1 9 table"], "a.c:5 inner");
    check_name(&["inner 1 ? table", "outer 2 9 table"], "a.c:9 outer");
    check_name(&["? 1 ? table", "outer 2 ? table"], "outer+0x2 in a.so");
    check_name(&["? 1 ? table"], "? in a.so");
    check_name(&[], "stack 17");
}

#[track_caller]
fn check_lost(change: impl FnOnce(&mut SitesView), expected: &str) {
    let mut view = samples::sites();
    view.losses = Losses::default();
    change(&mut view);
    assert_eq!(lost_of(&view), expected);
}

#[test]
fn losses_are_told_by_cause() {
    check_lost(|_| (), "nothing");
    check_lost(|view| view.totals.histories_dropped = 2, "2 histories of sites dropped (too many sites)");
    check_lost(
        |view| view.losses = Losses { blocks_unrecorded: 1_000, stacks_broken: 1, ..Losses::default() },
        "1,000 blocks not recorded (a table was full), 1 stack ended early (no unwind information)",
    );
}

#[track_caller]
fn check_result(state: &str, outcome: Outcome, leaking: u64, expected: &str) {
    let mut view = samples::sites();
    state.clone_into(&mut view.target.state);
    view.outcome = outcome;
    view.totals = SiteTotals { leaking, ..SiteTotals::default() };
    view.totals.kind_mut(Kind::Heap).may_leak = Tally::exact(2, Bytes(64));
    assert_eq!(result(&view), expected);
}

#[test]
fn a_result_says_whether_it_is_final() {
    check_result("attached", Outcome::LeakFound, 1, "leak found so far: 2 blocks (64 B) may leak at 1 site");
    check_result("detached", Outcome::LeakFound, 3, "leak found: 2 blocks (64 B) may leak at 3 sites");
    check_result("exited", Outcome::NothingFound, 0, "nothing found: no site leaks");
    check_result("attached", Outcome::NothingFound, 0, "nothing found so far: no site leaks");
    check_result("detached", Outcome::CouldNotJudge, 0, "could not judge: what was seen is not enough");
}

#[test]
fn a_result_names_every_kind_that_leaks() {
    let mut view = samples::sites();
    view.totals.kind_mut(Kind::Shared).may_leak = Tally { count: 3, ..Tally::of(Kind::Shared) };
    view.totals.leaking = 4;
    let expected =
        "leak found so far: 1,100 blocks (68.8 KiB), 3 shared mappings (0 B) and 40 descriptors may leak at 4 sites";
    "attached".clone_into(&mut view.target.state);
    assert_eq!(result(&view), expected);
}

#[test]
fn only_what_was_watched_is_said_to_be_seen() {
    let mut view = samples::sites();
    view.coverage.kinds = Kinds { descriptors: true, ..Kinds::NONE };
    assert_eq!(seen(&view), "in 1 min 01 s, from 4 threads; 1,300 descriptors opened and 1,260 closed");
}

#[test]
fn late_frees_are_one_line() {
    let after = Reading::Known(Duration::from_secs(90));
    assert_eq!(freed_late(Kind::Heap, 1, &after), "expired block freed after 1 min 30 s");
    assert_eq!(
        freed_late(Kind::Descriptor, 7, &after),
        "7 expired descriptors closed, the longest-lived after 1 min 30 s"
    );
    let unknown = Reading::Missing(Why::NotRecorded);
    assert_eq!(freed_late(Kind::Heap, 1, &unknown), "expired block freed after an unknown time (not recorded)");
}

#[track_caller]
fn check_fact(view: &SiteView, name: &str, expected: &str) {
    let facts = site_facts(view);
    let fact = facts.iter().find_map(|fact| fact.strip_prefix(name));
    assert_eq!(fact.map(str::trim), Some(expected), "{facts:#?}");
}

#[test]
fn a_site_without_frees_has_no_lifetimes() {
    let (leaking, demoted) = (samples::leaking_site(), samples::demoted_site());
    check_fact(&leaking, "freed blocks lived", "1 µs min, 2.00 ms mean, 0.40 s max");
    assert_eq!(super::life(Duration::ZERO), "under 4.00 ms");
    check_fact(&demoted, "freed blocks lived", "none was freed");
    check_fact(&leaking, "oldest not freed", "1 min 00 s");
    check_fact(&demoted, "oldest not freed", "nothing is live");
    check_fact(&leaking, "freed after expiry", "0 blocks (0 B)");
    check_fact(&demoted, "freed after expiry", "15 blocks (14.6 KiB), the longest-lived after 9.50 s");
}

#[test]
fn the_cost_of_the_detach_is_told_once_it_is_known() {
    let mut view = samples::sites();
    assert!(!cost(&view).contains("detach"), "{}", cost(&view));
    view.target.detach_stop = Reading::Known(Duration::from_millis(2));
    assert!(cost(&view).contains("1.20 ms at the attach and 2.00 ms at the detach"), "{}", cost(&view));
}

/// The lines of an excerpt around a frame whose call is in this line.
#[track_caller]
fn check_source(first: u32, lines: &[&str], of_call: u32, newer: bool, expected: &[(bool, &str)]) {
    let mut view = samples::sites().sites[0].clone();
    let mut frame = view.frames[0].clone();
    frame.line = Reading::Known(SourceLine { file: "a.c".into(), line: of_call, column: None });
    view.frames = Arc::new([frame]);
    let lines = lines.iter().map(|line| (*line).to_owned()).collect();
    view.excerpts = vec![Excerpt { frame: 0, first, lines, newer }];
    let found = source_lines(&view, 0);
    let found: Vec<_> = found.iter().map(|(is_call, line)| (*is_call, line.as_str())).collect();
    assert_eq!(found, expected);
    assert!(source_lines(&view, 1).is_empty());
}

#[test]
fn the_line_of_the_call_is_marked() {
    check_source(9, &["a", "b"], 10, false, &[(false, "            9 │ a"), (true, "      >    10 │ b")]);
    check_source(9, &["a"], 8, false, &[(false, "            9 │ a")]);
    check_source(1, &["\tx\x1b[2J"], 1, false, &[(true, "      >     1 │     x\\u{1b}[2J")]);
    let newer = "              (the source is newer than the program: its lines may have moved)";
    check_source(1, &[], 1, true, &[(false, newer)]);
}

#[test]
fn what_never_expired_is_a_line_and_no_stack() {
    let counts = model::SiteCounts { expired: Tally::default(), ..samples::leaking_site().counts };
    let quiet = SiteView {
        rank: 2,
        verdict: "healthy".to_owned(),
        severity: Severity::Fine,
        ever_expired: Tally::default(),
        holding: Reading::Missing(Why::NotRecorded),
        counts,
        ..samples::leaking_site()
    };
    let mut view = samples::sites();
    let stacks = |view: &SitesView| {
        let mut out = Vec::new();
        summary(Text { width: 80, colour: false }, view, &mut out).expect("a vector has room");
        let written = String::from_utf8(out).expect("it is text");
        (written.matches("#0 ").count(), written.lines().last().unwrap_or_default().to_owned())
    };
    view.sites = vec![samples::leaking_site()];
    view.sites_left_out = 0;
    assert_eq!(stacks(&view).0, 1);
    view.sites.push(quiet);
    let (count, last) = stacks(&view);
    assert_eq!(count, 1, "a further stack");
    assert!(last.starts_with("#2 healthy: ") && last.contains(" live of "), "{last}");
    // Once something of it was too old, a reader wants to know why it is fine.
    view.sites[1].ever_expired = Tally::exact(1, Bytes(8));
    assert_eq!(stacks(&view).0, 2);
}

#[test]
fn an_event_without_a_list_is_a_line() {
    let child = EventView::Child {
        at: Duration::ZERO,
        pid: model::Pid(7),
        command: "w\x1b".to_owned(),
        what: ChildEvent::Ended { why: "the process ended".to_owned() },
    };
    assert_eq!(event_in_short(&child).as_deref(), Some(r"child 7 (w\u{1b}): the process ended"));
    let attached = EventView::Attached(samples::target());
    assert_eq!(event_in_short(&attached).as_deref(), Some("attached to 1234 (billing-server)"));
}

#[test]
fn a_session_in_a_line_has_its_mode_its_cost_its_losses_and_its_result() {
    let mut view = samples::sites();
    view.losses = Losses::default();
    let line = in_short(&view);
    assert!(line.starts_with("1234 (billing-server): attached, exact, costs 1.8 %; lost nothing; "), "{line}");
    view.losses.blocks_unrecorded = 3;
    assert!(in_short(&view).contains("; lost 3 blocks not recorded"), "{}", in_short(&view));
}
