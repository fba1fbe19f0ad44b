//! Allocators other than the C library's: preloaded, linked, or inside the program.
//!
//! Owns: one case an allocator. Must not know: how its functions are found.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{LIBRARIES, assert_exact, attached, build_as, is_there, stopped, work};
use crate::process::cannot_run;
use crate::targets::{Target, built, sources};

fn allocators() -> PathBuf {
    build_as("allocators", "reach/allocators.cpp", "g++ -std=c++17 -O2 -g -fomit-frame-pointer -pthread SOURCE")
}

/// Starts a program with a library preloaded.
#[track_caller]
fn preloaded(program: &Path, library: &str) -> Target {
    let words = format!("LD_PRELOAD={LIBRARIES}/{library} {}", program.display());
    Target::start_program(Path::new("/usr/bin/env"), &words)
}

/// Every C and C++ way to allocate, counted exactly; and what is thrown while hooks are in is caught.
#[track_caller]
fn check_preloaded(library: &str, package: &str, allocator: &str, throws: bool) {
    if !is_there(library, &format!("{LIBRARIES}/{library}"), package) {
        return;
    }
    let program = allocators();
    let (summary, mut target) = assert_exact(preloaded(&program, library), allocator);
    assert_eq!(summary["notes"], Value::Array(Vec::new()), "every function is hooked");
    if throws {
        let leakline = attached(target.pid());
        assert_eq!(target.ask("throw", "caught "), "400 of 400");
        assert!(
            target.ask("handler", "handled ").ends_with("caught 4"),
            "a new_handler runs, and its exception arrives"
        );
        work(&mut target);
        stopped(leakline);
        assert_eq!(target.ask("throw", "caught "), "400 of 400");
    }
    target.stop().assert_unharmed();
}

#[test]
fn the_c_library_with_the_operators_of_libstdcxx() {
    let (_, mut target) = assert_exact(Target::start_program(&allocators(), ""), "glibc");
    let leakline = attached(target.pid());
    assert_eq!(target.ask("throw", "caught "), "400 of 400");
    stopped(leakline);
    target.stop().assert_unharmed();
}

#[test]
fn jemalloc_preloaded() {
    check_preloaded("libjemalloc.so.2", "libjemalloc2", "jemalloc", true);
}

#[test]
fn tcmalloc_preloaded() {
    check_preloaded("libtcmalloc.so.4", "libgoogle-perftools4", "tcmalloc", true);
    check_preloaded("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4", "tcmalloc", true);
}

/// It ends the program where a block goes back by another way than it came.
#[test]
fn tcmalloc_that_checks_its_callers() {
    check_preloaded("libtcmalloc_minimal_debug.so.4", "libgoogle-perftools-dev", "tcmalloc", true);
}

/// Built as C, it ends the program where `new` fails, with leakline or without.
#[test]
fn mimalloc_preloaded() {
    check_preloaded("libmimalloc.so.2", "libmimalloc2.0", "mimalloc", false);
}

/// Far from its libraries, and not position independent: code is needed near both.
#[test]
fn jemalloc_inside_a_program_at_a_fixed_address() {
    let archive = format!("{LIBRARIES}/libjemalloc.a");
    if is_there("jemalloc inside a program", &archive, "libjemalloc-dev") {
        let words = format!("gcc -no-pie -O2 -g SOURCE {archive} -lm -lpthread -ldl -lstdc++");
        let program = build_as("kinds-jemalloc", "reach/kinds.c", &words);
        assert_exact(Target::start_program(&program, ""), "jemalloc").1.stop().assert_unharmed();
    }
}

#[test]
fn tcmalloc_inside_a_program() {
    let archive = format!("{LIBRARIES}/libtcmalloc_minimal.a");
    if is_there("tcmalloc inside a program", &archive, "libgoogle-perftools-dev") {
        let words = format!("gcc -O2 -g SOURCE {archive} -lstdc++ -lm -lpthread");
        let program = build_as("kinds-tcmalloc", "reach/kinds.c", &words);
        assert_exact(Target::start_program(&program, ""), "tcmalloc").1.stop().assert_unharmed();
    }
}

/// Builds a Rust program in release mode, its allocator inlined as far as the compiler may, and under names of its own.
fn inside_rust(allocator: &str) -> Option<PathBuf> {
    let _one_at_a_time = super::BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = built().join("inside").join(allocator);
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--release", "--quiet", "--locked", "--features", allocator]);
    build.arg("--manifest-path").arg(sources().join("reach/inside/Cargo.toml"));
    let output = build.arg("--target-dir").arg(&folder).output().expect("cargo can be started");
    if output.status.success() {
        return Some(folder.join("release/inside"));
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let why = errors.lines().find(|line| line.contains("error")).unwrap_or("cargo says nothing");
    cannot_run(&format!("{allocator} inside a Rust program"), why);
    None
}

#[track_caller]
fn check_inside_rust(allocator: &str) {
    let Some(program) = inside_rust(allocator) else { return };
    let (summary, target) = assert_exact(Target::start_program(&program, ""), "glibc");
    let found = summary["target"]["allocator"].as_str().unwrap_or_default();
    assert!(found.contains(&format!("{allocator} ({}", program.display())), "{found}");
    target.stop().assert_unharmed();
}

/// Nothing leads to its functions then. What it allocates is not seen, and the report says so.
#[test]
fn an_allocator_whose_names_were_stripped() {
    let Some(program) = inside_rust("jemalloc") else { return };
    let stripped = program.with_file_name("stripped");
    let output = Command::new("strip").arg(&program).arg("-o").arg(&stripped).output().expect("strip can be started");
    assert!(output.status.success());
    let mut target = Target::start_program(&stripped, "");
    let leakline = attached(target.pid());
    work(&mut target);
    let summary = stopped(leakline).summary();
    let note = summary["notes"][0].as_str().unwrap_or_default();
    assert!(note.starts_with("not hooked: jemalloc inside ") && note.contains("stripped"), "{summary:#}");
    assert_eq!(summary["outcome"], "blind", "{summary:#}");
    target.stop().assert_unharmed();
}

#[test]
fn jemalloc_inside_a_rust_program() {
    check_inside_rust("jemalloc");
}

#[test]
fn mimalloc_inside_a_rust_program() {
    check_inside_rust("mimalloc");
}

/// What an allocator offers beyond the C library, in the library that Debian builds: heaps, offsets, resizing in place.
#[track_caller]
fn check_wide(define: &str, library: &str, header: &str, package: &str) {
    if is_there(&format!("functions of {library} alone"), header, package) {
        let words = format!("gcc -O2 -g -D{define} SOURCE -l{library}");
        let program = build_as(&format!("wide-{library}"), "reach/wide.c", &words);
        assert_exact(Target::start_program(&program, ""), library).1.stop().assert_unharmed();
    }
}

#[test]
fn functions_that_only_mimalloc_has() {
    check_wide("MIMALLOC", "mimalloc", "/usr/include/mimalloc.h", "libmimalloc-dev");
}

#[test]
fn functions_that_only_jemalloc_has() {
    check_wide("JEMALLOC", "jemalloc", "/usr/include/jemalloc/jemalloc.h", "libjemalloc-dev");
}
