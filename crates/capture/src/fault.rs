//! Places at which tests let leakline die.
//!
//! Owns: the names of those places. Must not know: what happens there.
//!
//! Only in builds with debug assertions: `LEAKLINE_FAULT=syscall-exit:3` ends the process with SIGKILL when the place of
//! that name is reached for the third time. The promise is that a target survives each of them.

/// Every place, in the order in which an attach and a detach reach them first.
pub const FAULT_POINTS: [&str; 13] = [
    "thread-stopped",
    "frame-written",
    "call-prepared",
    "syscall-entry",
    "syscall-exit",
    "thread-restored",
    "agent-loaded",
    "all-stopped",
    "first-jump",
    "jumps-written",
    "listening",
    "bytes-restored",
    "agent-drained",
];

/// Further places, which only a program that leakline starts or that ends reaches.
pub const RUN_FAULT_POINTS: [&str; 6] =
    ["breakpoints-put", "program-held", "program-parked", "gate-open", "at-gate", "heap-stopped"];

/// Dies here if the environment asks for it.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &'static str) {
    use std::sync::Mutex;
    static SEEN: Mutex<Option<usize>> = Mutex::new(None);
    debug_assert!(FAULT_POINTS.contains(&name) || RUN_FAULT_POINTS.contains(&name), "{name} is in a list");
    let Ok(wanted) = std::env::var("LEAKLINE_FAULT") else { return };
    let (wanted, times) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    if wanted != name {
        return;
    }
    let Ok(mut seen) = SEEN.lock() else { return };
    let left = seen.unwrap_or_else(|| times.parse().unwrap_or(1)).saturating_sub(1);
    *seen = Some(left);
    if left == 0 {
        crate::sys::process::die();
    }
}

/// Dies here if the environment asks for it: never, in a release.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_name: &'static str) {}
