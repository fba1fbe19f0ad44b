//! Rules for one Rust file.
//!
//! Owns: what is forbidden where, and how long things may be. Must not know: where the text comes from.

use super::Finding;
use super::scan::{self, functions, lines_with};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;

/// Functions that may be longer, each with its reason beside it.
const LONG_FUNCTIONS: [(&str, &str); 0] = [];

/// Crates that are fed and never fetch.
const PURE: [&str; 5] = ["crates/model/", "crates/formats/", "crates/stacks/", "crates/analysis/", "crates/report/"];

/// Words that touch the world or read a clock.
const WORLD: [&str; 7] =
    ["std::fs", "std::net", "std::process", "std::thread", "std::env", "Instant::now", "SystemTime"];

/// Where `unsafe` may stand.
const UNSAFE_PLACES: [&str; 3] = ["crates/agent/", "crates/wire/src/", "crates/capture/src/sys/"];

/// Work that was not done; the text of this file must not find itself.
const UNFINISHED: [&str; 4] = ["todo!", "unimplemented!", "#[ignore]", "#[ignore ="];
const MARKS: [&str; 2] = ["FIXME", "XXX"];

/// All findings in one file; of a file that is a test as a whole, only what holds for tests too.
pub(super) fn check(path: &str, text: &str, is_test: bool) -> Vec<Finding> {
    let code = scan::code(text);
    let product = if is_test { "" } else { product_of(text, &code) };
    let mut findings = Vec::new();
    let mut found = |line, rule: String, why| findings.push(Finding { file: path.to_owned(), line, rule, why });
    if !text.starts_with("//!") {
        found(1, "a file opens with `//!`".to_owned(), "it says what the file owns and what it must not know");
    }
    let length = text.lines().count();
    if length > FILE_LINES_MAX {
        found(length, format!("{length} lines, at most {FILE_LINES_MAX}"), "a file that owns one thing is shorter");
    }
    for function in functions(&code).iter().filter(|function| is_too_long(path, function)) {
        let rule = format!("`{}` has {} lines, at most {FUNCTION_LINES_MAX}", function.name, function.length);
        found(function.line, rule, "a function fits a screen");
    }
    for (words, allowed, why) in forbidden(path) {
        for word in words.iter().filter(|_| !allowed) {
            for line in lines_with(product, word) {
                found(line, format!("no `{word}` here"), why);
            }
        }
    }
    for line in UNFINISHED.iter().flat_map(|word| lines_with(&code, word)) {
        found(line, "unfinished work or an ignored test".to_owned(), "nothing is skipped silently");
    }
    for (line, text) in (1..).zip(text.lines()) {
        if MARKS.iter().any(|mark| text.contains(mark)) && path != "xtask/src/tidy/code.rs" {
            found(line, "a mark of unfinished work".to_owned(), "open work is an issue, not a comment");
        }
    }
    findings
}

/// Words that are forbidden in the product part of a file, whether this file is an exception, and why.
fn forbidden(path: &str) -> [(&'static [&'static str], bool, &'static str); 3] {
    let is_in = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    [
        (&WORLD, !is_in(&PURE), "this crate is fed, it never fetches: the same records give the same findings"),
        (&["unsafe"], is_in(&UNSAFE_PLACES), "`unsafe` has three addresses; ask one of them"),
        (&["process::exit"], path == "crates/leakline/src/main.rs", "only main ends the process"),
    ]
}

/// The code before the tests.
fn product_of<'a>(text: &str, code: &'a str) -> &'a str {
    let lines = scan::tests_from(text).map_or(usize::MAX, |line| line - 1);
    let end: usize = code.split_inclusive('\n').take(lines).map(str::len).sum();
    &code[..end]
}

fn is_too_long(path: &str, function: &scan::Function) -> bool {
    let is_excepted = LONG_FUNCTIONS.contains(&(path, function.name.as_str()));
    function.length > FUNCTION_LINES_MAX && !is_excepted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Findings as `line: rule`, without the reasons.
    #[track_caller]
    fn check_rules(path: &str, text: &str, wanted: &[&str]) {
        let found: Vec<String> = check(path, text, path.starts_with("tests/"))
            .iter()
            .map(|found| format!("{}: {}", found.line, found.rule))
            .collect();
        assert_eq!(found, wanted, "{path}");
    }

    #[test]
    fn a_file_says_what_it_owns() {
        check_rules("crates/model/src/a.rs", "//! Owns a.\n", &[]);
        check_rules("crates/model/src/a.rs", "use b;\n", &["1: a file opens with `//!`"]);
    }

    #[test]
    fn long_things_are_found() {
        let body = |lines: usize| format!("//! x\nfn long() {{\n{}}}\n", "    a();\n".repeat(lines));
        check_rules("xtask/src/a.rs", &body(70), &[]);
        check_rules("xtask/src/a.rs", &body(71), &["2: `long` has 71 lines, at most 70"]);
        let file = format!("//! x\n{}", "a!();\n".repeat(800));
        check_rules("xtask/src/a.rs", &file, &["801: 801 lines, at most 800"]);
    }

    #[test]
    fn pure_crates_are_fed() {
        check_rules("crates/stacks/src/a.rs", "//! x\nuse std::fs;\n", &["2: no `std::fs` here"]);
        check_rules("crates/stacks/src/a.rs", "//! x\n// std::fs\nlet a = \"std::fs\";\n", &[]);
        check_rules("crates/stacks/src/a.rs", "//! x\n#[cfg(test)]\nmod tests { use std::fs; }\n", &[]);
        check_rules("crates/capture/src/a.rs", "//! x\nuse std::fs;\n", &[]);
        check_rules("crates/analysis/src/a.rs", "//! x\nlet a = Instant::now();\n", &["2: no `Instant::now` here"]);
    }

    #[test]
    fn unsafe_and_exit_have_their_places() {
        check_rules("crates/tui/src/a.rs", "//! x\nunsafe { a() }\n", &["2: no `unsafe` here"]);
        check_rules("crates/tui/src/a.rs", "//! x\n#![deny(unsafe_code)]\n", &[]);
        check_rules("crates/agent/src/a.rs", "//! x\nunsafe { a() }\n", &[]);
        check_rules("crates/leakline/src/main.rs", "//! x\nstd::process::exit(1)\n", &[]);
        check_rules("crates/leakline/src/a.rs", "//! x\nstd::process::exit(1)\n", &["2: no `process::exit` here"]);
    }

    #[test]
    fn unfinished_work_is_found_in_tests_too() {
        check_rules("tests/a.rs", "//! x\n#[ignore]\nfn a() {}\n", &["2: unfinished work or an ignored test"]);
        check_rules("crates/tui/src/a.rs", "//! x\n// FIXME later\n", &["2: a mark of unfinished work"]);
        let call = ["to", "do!()"].concat();
        check_rules("crates/tui/src/a.rs", &format!("//! x\n{call}\n"), &["2: unfinished work or an ignored test"]);
    }
}
