//! Lost or held: what becomes of blocks that are never freed, told while the program runs.
//!
//! Owns: those comparisons with what the targets say of themselves. Must not know: how pointers are found.

use serde_json::Value;

use crate::command::{Running, frames};
use crate::process::{appearance, assert_unchanged, signal};
use crate::targets::Target;

use rustix::process::Signal;

/// Blocks of the sites of a function that are lost, held, and reached inside only.
#[track_caller]
fn fate(summary: &Value, function: &str) -> [u64; 3] {
    let sites = summary["sites"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_function = |site: &&Value| {
        frames(site).iter().any(|frame| frame["function"].as_str().is_some_and(|name| name.contains(function)))
    };
    let surveyed = |site: &&Value| site["survey"]["lost"]["blocks"].is_u64();
    let found: Vec<&Value> = sites.iter().filter(of_function).filter(surveyed).collect();
    assert!(!found.is_empty(), "{function}: {summary:#}");
    ["lost", "held", "reached_inside"]
        .map(|part| found.iter().filter_map(|site| site["survey"][part]["blocks"].as_u64()).sum())
}

/// Attaches until many blocks have expired, and ends as a user does.
#[track_caller]
fn survey(target: &Target, options: &str) -> Value {
    let mut leakline = Running::start(&format!("attach {} --json -e 0.5 --top 100 {options}", target.pid()));
    leakline.wait_attached();
    // With a hundred blocks a second, so many events mean that blocks of each site expired long ago.
    for _ in 0..6 {
        assert!(leakline.wait_line(|line| line.contains(r#""event":"#)), "blocks expire");
    }
    std::thread::sleep(std::time::Duration::from_secs(1));
    signal(leakline.pid(), Signal::INT);
    leakline.wait().summary()
}

/// Nearly all of them: a stale word somewhere may keep one or two.
#[track_caller]
fn assert_all(fate: [u64; 3], which: usize) {
    let all: u64 = fate.iter().sum();
    assert!(all >= 20 && fate[which] * 10 >= all * 9, "{fate:?}");
}

#[test]
fn a_c_program_loses_some_and_holds_others_by_way_of_what_is_older_than_the_attach() {
    let target = Target::start("c/fates.c", "");
    let before = appearance(target.pid());
    let summary = survey(&target, "");
    for (function, which) in [("lose_one", 0), ("list_one", 1), ("middle_one", 2)] {
        assert_all(fate(&summary, function), which);
    }
    assert_eq!(fate(&summary, "list_one")[0], 0, "nothing that is held is called lost: {summary:#}");
    let notes = summary["notes"].to_string();
    assert!(notes.contains("looked for pointers to expired blocks"), "{notes}");
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

#[test]
fn objects_in_containers_of_cpp_are_held() {
    let target = Target::start("cpp/fates.cpp", "");
    let summary = survey(&target, "");
    assert_all(fate(&summary, "lose_one"), 0);
    for function in ["vector_one", "tree_one"] {
        let [lost, held, _] = fate(&summary, function);
        assert!(lost == 0 && held > 0, "{function}: {summary:#}");
    }
    target.stop().assert_unharmed();
}

#[test]
fn forgotten_boxes_of_rust_are_lost() {
    let target = Target::start("rust/fates.rs", "");
    let summary = survey(&target, "");
    assert_all(fate(&summary, "lose_one"), 0);
    assert_eq!(fate(&summary, "hold_one")[0], 0, "{summary:#}");
    target.stop().assert_unharmed();
}

#[test]
fn who_wants_no_survey_gets_none_and_no_reason_to_wonder() {
    let target = Target::start("c/fates.c", "");
    let summary = survey(&target, "--survey never");
    let sites = summary["sites"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert!(!sites.is_empty() && sites.iter().all(|site| site["survey"]["missing"].is_string()), "{summary:#}");
    assert!(!summary["notes"].to_string().contains("looked for pointers"), "{summary:#}");
    target.stop().assert_unharmed();
}
