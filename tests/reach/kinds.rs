//! The ways in which programs are built and linked.
//!
//! Owns: one case a kind. Must not know: ELF.

use std::path::Path;
use std::process::Command;

use super::{assert_exact, build_as, is_there};
use crate::command::leakline;
use crate::process::{appearance, assert_unchanged};
use crate::targets::Target;

/// Builds `kinds` by a compiler's words, and compares the accounts.
#[track_caller]
fn check(name: &str, words: &str, allocator: &str) {
    let program = build_as(name, "reach/kinds.c", words);
    assert_exact(Target::start_program(&program, ""), allocator).1.stop().assert_unharmed();
}

#[test]
fn glibc_static() {
    check("kinds-static", "gcc -static -O2 -g SOURCE", "glibc");
}

#[test]
fn glibc_static_and_position_independent() {
    check("kinds-static-pie", "gcc -static-pie -fPIE -O2 -g SOURCE", "glibc");
}

#[test]
fn a_program_at_a_fixed_address() {
    check("kinds-no-pie", "gcc -no-pie -O2 -g SOURCE", "glibc");
}

#[test]
fn calls_without_a_plt_and_read_only_relocations() {
    check("kinds-no-plt", "gcc -O2 -g -fno-plt -Wl,-z,relro,-z,now SOURCE", "glibc");
}

#[test]
fn frame_pointers_throughout() {
    check("kinds-frame-pointers", "gcc -O2 -g -fno-omit-frame-pointer SOURCE", "glibc");
}

#[test]
fn musl_dynamic() {
    if is_there("musl", "/usr/bin/musl-gcc", "musl-tools") {
        check("kinds-musl", "musl-gcc -O2 -g SOURCE", "musl");
    }
}

/// It has no code of its own that ends signal handlers, which an attach has to do without.
#[test]
fn musl_static() {
    if is_there("musl", "/usr/bin/musl-gcc", "musl-tools") {
        check("kinds-musl-static", "musl-gcc -static -O2 -g SOURCE", "musl");
    }
}

/// Its allocator is half an allocator: what nobody calls was not linked.
#[test]
fn a_static_program_that_never_frees() {
    if is_there("musl", "/usr/bin/musl-gcc", "musl-tools") {
        let program = build_as("hoarder-musl-static", "reach/hoarder.c", "musl-gcc -static -O2 -g SOURCE");
        assert_exact(Target::start_program(&program, ""), "musl").1.stop().assert_unharmed();
    }
}

/// Runs a binary utility on a program.
#[track_caller]
fn tool(words: &str, program: &Path) {
    let words: Vec<String> =
        words.split(' ').map(|word| word.replace("PROGRAM", &program.display().to_string())).collect();
    let output =
        Command::new(&words[0]).args(&words[1..]).output().unwrap_or_else(|error| panic!("{words:?}: {error}"));
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn stripped_with_a_debug_file() {
    let program = build_as("kinds-stripped", "reach/kinds.c", "gcc -static -O2 -g SOURCE");
    if !program.with_extension("debug").exists() {
        tool("objcopy --only-keep-debug PROGRAM PROGRAM.debug", &program);
        tool("strip PROGRAM", &program);
        tool("objcopy --add-gnu-debuglink=PROGRAM.debug PROGRAM", &program);
    }
    assert_exact(Target::start_program(&program, ""), "glibc").1.stop().assert_unharmed();
}

#[test]
fn stripped_without_is_refused_by_name() {
    let program = build_as("kinds-nameless", "reach/kinds.c", "gcc -static -O2 -s SOURCE");
    let target = Target::start_program(&program, "");
    let before = appearance(target.pid());
    let run = leakline(&format!("attach {} --for 1", target.pid()));
    run.assert_refused(&["is static and stripped", "build id"]);
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}
