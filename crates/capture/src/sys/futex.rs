//! Sleeping on a word of memory that another process changes.
//!
//! Owns: the two calls. Must not know: what the word means.

#![expect(unsafe_code, reason = "futex(2) has no safe wrapper in std")]

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while the word has this value, until somebody wakes us, or until the patience is at an end.
pub(crate) fn sleep_while(word: &AtomicU32, value: u32, patience: Duration) {
    let timeout = libc::timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
    // SAFETY: word and timeout outlive the call. That it ends early, for whatever reason, is expected by all callers.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, &raw const timeout) };
}

/// Wakes all who sleep on the word, in any process.
pub(crate) fn wake(word: &AtomicU32) {
    // SAFETY: the kernel uses the address as a name only.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
