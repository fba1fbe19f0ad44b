//! Programs with another allocator than the C library's under `leakline run`: preloaded and linked.
//!
//! Owns: one case an allocator, with the truth that does not depend on it. Must not know: how an allocator is found.

use std::path::Path;

use super::{Ran, run};
use crate::process::cannot_run;
use crate::targets::build_plain;

/// Libraries that Debian's packages put there; a test names the package where one is missing.
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

fn is_there(library: &str, package: &str) -> bool {
    let there = Path::new(LIBRARIES).join(library).exists();
    if !there {
        cannot_run(&format!("run with {library}"), &format!("there is no {library} (`apt install {package}`)"));
    }
    there
}

/// What `run/interior.cpp` says of itself, whichever allocator serves it.
#[track_caller]
fn check(ran: &Ran, allocator: &str) {
    assert_eq!((ran.code, ran.output.as_str()), (Some(0), "kept 3\n"), "{}", ran.errors);
    let found = ran.last()["target"]["allocator"].as_str().unwrap_or_default();
    assert!(found.contains(allocator), "{found}");
    for (kind, function, blocks, bytes) in [
        ("definitely_lost", "lose_all", 4, 231),
        ("possibly_lost", "keep_all", 1, 200),
        ("still_reachable", "keep_all", 4, 319),
    ] {
        assert_eq!(ran.of_function(kind, function), (blocks, bytes), "{allocator} {kind}: {:#}", ran.last());
    }
    assert_eq!(ran.kind("definitely_lost"), (4, 231), "{allocator}: nothing else is lost: {:#}", ran.last());
    assert_eq!(ran.last()["losses"]["blocks_unrecorded"], 0, "{:#}", ran.last());
}

#[test]
fn preloaded_allocators() {
    let program = build_plain("run/interior.cpp", "g++ -O2 -g").display().to_string();
    for (library, package, allocator) in [
        ("libjemalloc.so.2", "libjemalloc2", "jemalloc"),
        ("libtcmalloc.so.4", "libgoogle-perftools4", "tcmalloc"),
        ("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4", "tcmalloc"),
        ("libmimalloc.so.2", "libmimalloc2.0", "mimalloc"),
    ] {
        if is_there(library, package) {
            let preload = format!("LD_PRELOAD={LIBRARIES}/{library}");
            check(&run(library, "--show-reachable --top 100", &["env", &preload, &program]), allocator);
        }
    }
}

#[test]
fn linked_allocators() {
    for (library, package, allocator, link) in [
        ("libjemalloc.a", "libjemalloc-dev", "jemalloc", "-no-pie -l:libjemalloc.a"),
        ("libtcmalloc_minimal.a", "libgoogle-perftools-dev", "tcmalloc", "-l:libtcmalloc_minimal.a"),
        ("libmimalloc.so", "libmimalloc-dev", "mimalloc", "-lmimalloc"),
    ] {
        if is_there(library, package) {
            // The source stands last in the words: libraries are for what comes before them, unless all of them is taken.
            let words = format!(
                "g++ -O2 -g -pthread -Wl,--no-as-needed -Wl,--whole-archive {link} -Wl,--no-whole-archive -ldl"
            );
            let program = build_plain("run/interior.cpp", &words).display().to_string();
            check(&run(allocator, "--show-reachable --top 100", &[&program]), allocator);
        }
    }
}
