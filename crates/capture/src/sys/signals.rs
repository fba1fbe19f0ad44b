//! Signals as data: which one, and whether a person at the terminal or another process sent it.
//!
//! Owns: taking signals over and reading them. Must not know: what they are answered with.

#![expect(unsafe_code, reason = "sigprocmask(2) and signalfd(2) have no safe wrapper in std")]

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::FromRawFd as _;
use std::sync::OnceLock;

/// The blocked signals before any were taken over: what a program that is started must find.
static BEFORE: OnceLock<libc::sigset_t> = OnceLock::new();
/// What the kernel gives for each signal.
const RECORD_BYTES: usize = size_of::<libc::signalfd_siginfo>();
/// Offset of `ssi_code`; a positive one means that the kernel itself sent the signal.
const CODE_AT: usize = 8;

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub signal: i32,
    /// Whether a process sent it; otherwise the kernel did, for a key at the terminal for example.
    pub by_process: bool,
}

/// Signals that arrive here instead of ending this process.
#[derive(Debug)]
pub struct Signals {
    queue: File,
}

impl Signals {
    /// Takes signals over, for this thread and all that it starts from now on. Those that are ignored stay so.
    pub fn take(signals: &[i32]) -> io::Result<Self> {
        // SAFETY: a set of signals is made of integers, and is emptied before it is used.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` outlives the call.
        unsafe { libc::sigemptyset(&raw mut set) };
        for signal in signals.iter().filter(|signal| !super::start::ignores(**signal)) {
            // SAFETY: `set` outlives the call, which refuses numbers that are no signals.
            unsafe { libc::sigaddset(&raw mut set, *signal) };
        }
        let mut before = set;
        // SAFETY: both sets outlive the call.
        let blocked = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before) };
        if blocked != 0 {
            return Err(io::Error::from_raw_os_error(blocked));
        }
        BEFORE.get_or_init(|| before);
        // SAFETY: `set` outlives the call; a new descriptor is asked for.
        let descriptor = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self { queue: unsafe { File::from_raw_fd(descriptor) } })
    }

    /// The next signal that has arrived; none where none has.
    pub fn receive(&mut self) -> Option<Received> {
        let mut bytes = [0; RECORD_BYTES];
        self.queue.read_exact(&mut bytes).ok()?;
        let word = |at: usize| Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Received { signal: word(0)?, by_process: word(CODE_AT)? <= 0 })
    }
}

/// Gives the calling thread the blocked signals that it would have had without us; for a child before it executes a program.
pub(crate) fn give_back() -> io::Result<()> {
    let Some(before) = BEFORE.get() else { return Ok(()) };
    // SAFETY: the set is never written again.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::from_ref(before), std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

const _: () = assert!(RECORD_BYTES == 128, "the record is read by offsets");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_told_with_its_sender() {
        std::thread::spawn(|| {
            let mut signals = Signals::take(&[libc::SIGUSR2]).expect("they can be taken");
            assert_eq!(signals.receive(), None);
            // SAFETY: the call has no arguments and cannot fail.
            let this = unsafe { libc::gettid() };
            // SAFETY: the call takes numbers only.
            unsafe { libc::syscall(libc::SYS_tkill, this, libc::SIGUSR2) };
            assert_eq!(signals.receive(), Some(Received { signal: libc::SIGUSR2, by_process: true }));
            assert_eq!(signals.receive(), None);
        })
        .join()
        .expect("the signal did not end us");
    }
}
