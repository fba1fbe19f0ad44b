//! Every allocator and every kind of process: attached to, counted exactly, left as it was.
//!
//! Owns: programs that print their own account site by site, and comparing it with leakline's. Must not know: how an attach
//! works.

mod allocators;
mod hard;
mod holding;
mod kinds;
mod pools;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::process::Signal;
use serde_json::Value;

use crate::command::{Run, Running, frames, tally};
use crate::process::{appearance, assert_unchanged, signal};
use crate::targets::{Target, built, compile, sources};

/// Libraries that Debian's packages put there; a test names the package where one is missing.
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

/// What a target says that one of its functions did: blocks and bytes allocated, blocks and bytes live.
type Claim = (String, [u64; 4]);

/// Two tests may want the same program.
static BUILDING: Mutex<()> = Mutex::new(());

/// Builds a source of `tests/targets` by these words into a program of this name.
#[track_caller]
pub(crate) fn build_as(name: &str, source: &str, words: &str) -> PathBuf {
    let program = built().join("reach").join(name);
    let from = sources().join(source);
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let changed = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    if changed(&program) > changed(&from).max(changed(&sources().join("c/target.h"))) {
        return program;
    }
    let words: Vec<OsString> =
        words.split(' ').map(|word| if word == "SOURCE" { from.clone().into() } else { word.into() }).collect();
    compile(&words, &program);
    program
}

/// Whether a compiler or library is there; names the test and the package where it is not.
fn is_there(test: &str, path: &str, package: &str) -> bool {
    let there = Path::new(path).exists();
    if !there {
        crate::process::cannot_run(test, &format!("there is no {path} (`apt install {package}`)"));
    }
    there
}

/// Attaches, lets the target work once, and compares the two accounts. Returns the summary and the target, detached.
#[track_caller]
fn assert_exact(mut target: Target, allocator: &str) -> (Value, Target) {
    let before = appearance(target.pid());
    let leakline = attached(target.pid());
    let claims = work(&mut target);
    let run = stopped(leakline);
    let summary = run.summary();
    let found = summary["target"]["allocator"].as_str().unwrap_or_default();
    assert!(found.starts_with(allocator), "{found} instead of {allocator}");
    for (name, claim) in &claims {
        assert_eq!(account(&summary, name), *claim, "{name} of {found}: {}", run.describe());
    }
    assert_unchanged(&before, &appearance(target.pid()));
    // It goes on as before.
    work(&mut target);
    (summary, target)
}

/// Starts leakline and waits until it is attached.
#[track_caller]
fn attached(pid: u32) -> Running {
    let mut leakline = Running::start(&format!("attach {pid} --json --expire 0.2 --for 60 --top 1000 --survey never"));
    leakline.wait_attached();
    leakline
}

/// Asks leakline to end, and waits for its summary.
#[track_caller]
fn stopped(leakline: Running) -> Run {
    signal(leakline.pid(), Signal::INT);
    leakline.wait()
}

/// One `go` of the target, and its account.
#[track_caller]
fn work(target: &mut Target) -> Vec<Claim> {
    target.tell("go");
    let mut claims = Vec::new();
    loop {
        let line = target.wait_for("");
        if line == "done" {
            assert!(!claims.is_empty(), "a target says what it did");
            return claims;
        }
        let mut words = line.split(' ');
        if words.next() != Some("site") {
            continue;
        }
        let name = words.next().unwrap_or_default().to_owned();
        let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        claims.push((name, numbers.try_into().expect("a claim has four numbers")));
    }
}

/// What leakline counted for stacks in which this is the innermost function of the target that allocates by name.
fn account(summary: &Value, name: &str) -> [u64; 4] {
    let plain = |frame: &Value| {
        let function = frame["function"].as_str().unwrap_or_default();
        let path = function.split('(').next().unwrap_or_default();
        path.rsplit("::").next().unwrap_or_default().to_owned()
    };
    let is_site = |function: &String| ["by_", "before_", "from_"].iter().any(|start| function.starts_with(start));
    let sites = summary["sites"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_name =
        sites.iter().filter(|site| frames(site).iter().map(plain).find(is_site).is_some_and(|found| found == name));
    of_name.fold([0; 4], |sum, site| {
        let (allocated, live) = (tally(site, "allocated"), tally(site, "live"));
        [sum[0] + allocated.0, sum[1] + allocated.1, sum[2] + live.0, sum[3] + live.1]
    })
}
