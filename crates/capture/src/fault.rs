//! Places at which tests let leakline die or wait.
//!
//! Owns: the names of those places. Must not know: what happens there.
//!
//! Only in builds with debug assertions: `LEAKLINE_FAULT=syscall-exit:3` ends the process with SIGKILL when the place of
//! that name is reached for the third time. The promise is that a target survives each of them. `syscall-exit:3:wait` stops the
//! process there instead, as SIGSTOP would, so that a test can do something to the target meanwhile; SIGCONT lets it go on.

/// Every place, in the order in which an attach and a detach reach them first.
pub const FAULT_POINTS: [&str; 16] = [
    "maps-read",
    "thread-stopped",
    "frame-written",
    "call-prepared",
    "syscall-entry",
    "syscall-exit",
    "thread-restored",
    "agent-loaded",
    "all-stopped",
    "threads-moved",
    "first-jump",
    "jumps-written",
    "listening",
    "bytes-restored",
    "agent-drained",
    "memory-emptied",
];

/// Further places, which only a program that leakline starts or that ends reaches.
pub const RUN_FAULT_POINTS: [&str; 6] =
    ["breakpoints-put", "program-held", "program-parked", "gate-open", "at-gate", "heap-stopped"];

/// Dies or waits here if the environment asks for it.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &'static str) {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    debug_assert!(FAULT_POINTS.contains(&name) || RUN_FAULT_POINTS.contains(&name), "{name} is in a list");
    let Ok(asked) = std::env::var("LEAKLINE_FAULT") else { return };
    let mut words = asked.split(':');
    if words.next() != Some(name) {
        return;
    }
    let times = words.next().and_then(|times| times.parse().ok()).unwrap_or(1);
    if SEEN.fetch_add(1, Relaxed) + 1 != times {
        return;
    }
    match words.next() {
        Some("wait") => crate::sys::process::halt(),
        _ => crate::sys::process::die(),
    }
}

/// Dies or waits here if the environment asks for it: never, in a release.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_name: &'static str) {}
