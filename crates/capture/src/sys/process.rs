//! Small facts of processes and of this one that only system calls tell.
//!
//! Owns: those calls. Must not know: what they are for.

#![expect(unsafe_code, reason = "system calls and instructions without a safe wrapper in std")]

use std::io;

/// The time stamp counter, the same one that the agent reads.
pub(crate) fn ticks() -> u64 {
    // SAFETY: the instruction reads a counter; this process has not disabled it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Ends this process as SIGKILL from outside would, without any clean-up.
#[cfg(debug_assertions)]
pub(crate) fn die() {
    let this = std::process::id() as libc::pid_t;
    // SAFETY: the call takes numbers only.
    unsafe { libc::kill(this, libc::SIGKILL) };
}

/// The next data or hole of a file from an offset on (`lseek(2)`); none where there is none.
pub(crate) fn seek(file: i32, at: u64, whence: i32) -> io::Result<Option<u64>> {
    // SAFETY: the call takes numbers only; a descriptor that is no file is an error.
    let result = unsafe { libc::lseek64(file, at.cast_signed(), whence) };
    if result >= 0 {
        return Ok(Some(result.cast_unsigned()));
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        error => Err(error),
    }
}
