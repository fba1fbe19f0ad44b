//! What a program had not freed, by kind, against its own truth and against valgrind.
//!
//! Owns: those comparisons, suppressions, and the gate for CI. Must not know: how pointers are found.

use std::process::Command;

use super::{Ran, run, scratch};
use crate::process::cannot_run;
use crate::targets::build_plain;

fn kinds() -> String {
    build_plain("run/kinds.c", "gcc -O2 -g -fomit-frame-pointer -pthread").display().to_string()
}

#[test]
fn every_kind_is_told_apart_with_its_stack() {
    let ran = run("every-kind", "--show-reachable", &[&kinds()]);
    assert_eq!((ran.code, ran.output.as_str()), (Some(0), "output of the program\n"), "{}", ran.errors);
    assert_eq!(ran.errors, "", "the report is in its file");
    for (kind, function, blocks, bytes) in [
        ("definitely_lost", "lose", 3, 300),
        ("definitely_lost", "list", 1, 24),
        ("indirectly_lost", "list", 5, 200),
        ("possibly_lost", "interior", 2, 400),
        ("still_reachable", "keep", 4, 256),
    ] {
        assert_eq!(ran.of_function(kind, function), (blocks, bytes), "{kind} {function}: {:#}", ran.last());
    }
    assert_eq!(ran.kind("definitely_lost"), (4, 324), "nothing else is lost: {:#}", ran.last());
    assert_eq!(ran.last()["outcome"], "leak_found");
    assert_eq!(ran.last()["end"], "ended with status 0");
}

/// `definitely lost: 388 bytes in 5 blocks`.
#[track_caller]
fn valgrinds(text: &str, kind: &str) -> (u64, u64) {
    let line =
        text.lines().find(|line| line.contains(&format!("{kind}: "))).unwrap_or_else(|| panic!("{kind}: {text}"));
    let rest = line.split(": ").nth(1).unwrap_or_default().replace(',', "");
    let numbers: Vec<u64> = rest.split(' ').filter_map(|word| word.parse().ok()).collect();
    (numbers[1], numbers[0])
}

/// What valgrind says of a program, with its heuristics; the C and C++ libraries free nothing for its sake.
fn of_valgrind(program: &str) -> Option<String> {
    let options = "--leak-check=full --run-libc-freeres=no --run-cxx-freeres=no";
    let Ok(output) = Command::new("valgrind").args(options.split(' ')).arg(program).output() else {
        cannot_run("valgrind_counts_the_same", "there is no valgrind (`apt install valgrind`)");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn valgrind_counts_the_same() {
    let interior = build_plain("run/interior.cpp", "g++ -O2 -g").display().to_string();
    for program in [kinds(), interior] {
        let Some(text) = of_valgrind(&program) else { return };
        // With threads watched, what `pthread_create` allocates belongs to the thread's stack; valgrind counts it as a block.
        let ran = run("valgrind", "--kinds heap", &[&program]);
        for (kind, theirs) in [
            ("definitely_lost", "definitely lost"),
            ("indirectly_lost", "indirectly lost"),
            ("still_reachable", "still reachable"),
        ] {
            assert_eq!(ran.kind(kind), valgrinds(&text, theirs), "{program} {kind}: {:#}\n{text}", ran.last());
        }
        // The thread's vector of TLS blocks is possibly lost for valgrind; a built-in suppression knows it.
        let (blocks, bytes) = ran.kind("possibly_lost");
        let suppressed = suppressed(&ran);
        let possibly = (blocks + suppressed.0, bytes + suppressed.1);
        assert_eq!(possibly, valgrinds(&text, "possibly lost"), "{program}: {:#}", ran.last());
    }
}

fn suppressed(ran: &Ran) -> (u64, u64) {
    let all = ran.last()["suppressed"].as_array().cloned().unwrap_or_default();
    let sum = |key: &str| all.iter().filter_map(|one| one["suppressed"][key].as_u64()).sum();
    (sum("blocks"), sum("bytes"))
}

#[test]
fn a_leak_fails_the_run_only_if_that_is_asked_for_and_the_program_did_not() {
    let program = kinds();
    for (options, words, code) in [
        ("", vec![program.as_str()], 0),
        ("--fail-on-leak", vec![program.as_str()], 1),
        ("--fail-on-leak=23", vec![program.as_str()], 23),
        ("--fail-on-leak=23", vec![program.as_str(), "7"], 7),
        ("--fail-on-leak=23", vec!["/bin/true"], 0),
    ] {
        assert_eq!(run("fails", options, &words).code, Some(code), "{options} {words:?}");
    }
}

#[test]
fn what_is_suppressed_does_not_count_and_is_shown() {
    let file = scratch("suppressions");
    std::fs::write(&file, "# known\nleak:^lose$\nleak:kinds.c\n").expect("it can be written");
    let options = format!("--fail-on-leak --suppressions {}", file.display());
    let ran = run("suppressed", &options, &[&kinds()]);
    assert_eq!(ran.code, Some(0), "{:#}", ran.last());
    assert_eq!(ran.kind("definitely_lost"), (0, 0), "{:#}", ran.last());
    let all = ran.last()["suppressed"].to_string();
    assert!(all.contains(r#"{"pattern":"^lose$","suppressed":{"blocks":3,"bytes":300"#), "{all}");
    std::fs::write(&file, "leak:a\nrace:b\n").expect("it can be written");
    let ran = run("bad-suppressions", &options, &[&kinds()]);
    assert_eq!((ran.code, ran.output.as_str()), (Some(2), ""), "the program was not started");
    assert!(ran.errors.contains(&format!("{}:2: `race:b`", file.display())), "{}", ran.errors);
    std::fs::remove_file(file).expect("it is there");
}
