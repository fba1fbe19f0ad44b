//! `ptrace(2)` on single threads, without policy.
//!
//! Owns: the calls and the meaning of wait statuses. Must not know: what a tracee is stopped for.

#![expect(unsafe_code, reason = "ptrace and waitpid take pointers and have no safe wrapper in std")]

use std::io;
use std::ptr::{from_mut, from_ref};
use std::time::{Duration, Instant};

use libc::{c_int, c_uint, c_void, iovec, pid_t, user_regs_struct};

/// Registers of a stopped thread.
pub(crate) type Registers = user_regs_struct;

const NT_X86_XSTATE: usize = 0x202;
/// The largest processor state that signal frames of today hold (AVX-512 and AMX tiles need 11 KiB).
const XSTATE_MAX: usize = 16 * 1024;

/// Why a thread stopped, or that it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// `PTRACE_INTERRUPT`.
    Interrupted,
    /// The whole process is stopped by a signal such as SIGSTOP. The thread runs when it is resumed all the same; when it is let
    /// go of, it stops again with the others.
    Halted,
    /// Entry to or exit from a system call.
    Syscall,
    /// A signal is about to be delivered; it has to be passed on when the thread is resumed.
    Signal(c_int),
    /// Some other event.
    Event,
    /// The thread or process is gone.
    Gone,
}

/// A thread that this thread traces. Dropping it does not let go of it: the kernel does when this thread ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tracee {
    tid: pid_t,
}

fn request(what: c_uint, tid: pid_t, address: usize, data: usize) -> io::Result<()> {
    // SAFETY: for the requests in this file `data` is a number or points to a buffer that outlives the call.
    let result = unsafe { libc::ptrace(what, tid, address as *mut c_void, data as *mut c_void) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether ptrace itself is refused to us, whatever the process: of one that does not exist the kernel says just that. Asked only where
/// a call of ptrace failed, since there are filters that end whoever makes it.
pub(crate) fn is_refused() -> bool {
    let error = request(libc::PTRACE_SEIZE, 0, 0, 0).err();
    error.is_some_and(|error| error.raw_os_error() != Some(libc::ESRCH))
}

impl Tracee {
    /// Starts to trace a thread, which runs on.
    pub(crate) fn seize(tid: u32) -> io::Result<Self> {
        let tid = tid as pid_t;
        request(libc::PTRACE_SEIZE, tid, 0, libc::PTRACE_O_TRACESYSGOOD as usize)?;
        Ok(Self { tid })
    }

    /// The number of the thread.
    pub(crate) fn tid(self) -> u32 {
        self.tid as u32
    }

    /// A child of this thread that asked to be traced.
    pub(crate) fn child(pid: u32) -> Self {
        Self { tid: pid as pid_t }
    }

    /// From here on the thread dies with the calling one, and says when it executes another program.
    pub(crate) fn hold(self) -> io::Result<()> {
        let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACEEXEC;
        request(libc::PTRACE_SETOPTIONS, self.tid, 0, options as usize)
    }

    /// From here on the thread says when it executes another program.
    pub(crate) fn tell_of_execution(self) -> io::Result<()> {
        let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACEEXEC;
        request(libc::PTRACE_SETOPTIONS, self.tid, 0, options as usize)
    }

    /// Executes one instruction.
    pub(crate) fn step(self) -> io::Result<()> {
        request(libc::PTRACE_SINGLESTEP, self.tid, 0, 0)
    }

    /// Asks the thread to stop; [`Self::wait`] tells when it has.
    pub(crate) fn interrupt(self) -> io::Result<()> {
        request(libc::PTRACE_INTERRUPT, self.tid, 0, 0)
    }

    /// Lifts seccomp filters while the thread is traced; only a fully privileged tracer may.
    pub(crate) fn suspend_seccomp(self) -> io::Result<()> {
        const SUSPEND_SECCOMP: usize = 1 << 21;
        let options = libc::PTRACE_O_TRACESYSGOOD as usize | SUSPEND_SECCOMP;
        request(libc::PTRACE_SETOPTIONS, self.tid, 0, options)
    }

    /// Runs until the next entry to or exit from a system call, and delivers `signal`, if it is not zero.
    pub(crate) fn run_to_syscall(self, signal: c_int) -> io::Result<()> {
        request(libc::PTRACE_SYSCALL, self.tid, 0, signal as usize)
    }

    /// Runs on and delivers `signal`, if it is not zero.
    pub(crate) fn resume(self, signal: c_int) -> io::Result<()> {
        request(libc::PTRACE_CONT, self.tid, 0, signal as usize)
    }

    /// Runs on untraced and delivers `signal`, if it is not zero.
    pub(crate) fn let_go(self, signal: c_int) -> io::Result<()> {
        request(libc::PTRACE_DETACH, self.tid, 0, signal as usize)
    }

    /// Whether it has ended, or has become another thread by executing a program.
    pub(crate) fn has_ended(self) -> bool {
        let seen = look(libc::P_PID, self.tid as libc::id_t, libc::WEXITED | libc::WNOHANG);
        // SAFETY: `waitid` succeeded; with nothing to tell it leaves the zeros.
        seen.map_or(true, |seen| seen.is_some_and(|seen| unsafe { seen.si_pid() } == self.tid && has_ended(&seen)))
    }

    pub(crate) fn registers(self) -> io::Result<Registers> {
        // SAFETY: the structure consists of integers, for which zero is a value.
        let mut registers: Registers = unsafe { std::mem::zeroed() };
        request(libc::PTRACE_GETREGS, self.tid, 0, from_mut(&mut registers) as usize)?;
        Ok(registers)
    }

    pub(crate) fn set_registers(self, registers: &Registers) -> io::Result<()> {
        request(libc::PTRACE_SETREGS, self.tid, 0, from_ref(registers) as usize)
    }

    /// The extended processor state in the layout of `XSAVE`.
    pub(crate) fn extended_state(self) -> io::Result<Vec<u8>> {
        let mut state = vec![0_u8; XSTATE_MAX];
        let mut area = iovec { iov_base: state.as_mut_ptr().cast(), iov_len: state.len() };
        request(libc::PTRACE_GETREGSET, self.tid, NT_X86_XSTATE, from_mut(&mut area) as usize)?;
        state.truncate(area.iov_len);
        Ok(state)
    }

    /// The set of blocked signals.
    pub(crate) fn signal_mask(self) -> io::Result<u64> {
        let mut mask = 0_u64;
        request(libc::PTRACE_GETSIGMASK as c_uint, self.tid, 8, from_mut(&mut mask) as usize)?;
        Ok(mask)
    }

    pub(crate) fn set_signal_mask(self, mask: u64) -> io::Result<()> {
        request(libc::PTRACE_SETSIGMASK as c_uint, self.tid, 8, from_ref(&mask) as usize)
    }

    /// Waits for the next stop; an error of kind `TimedOut` after `limit`, so that a thread that sleeps uninterruptibly in the
    /// kernel cannot keep the others stopped.
    pub(crate) fn wait(self, limit: Duration) -> io::Result<Stop> {
        let begin = Instant::now();
        loop {
            if let Some(stop) = self.sleep_until_stop()? {
                return Ok(stop);
            }
            if begin.elapsed() > limit {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Waits until the thread stops, or until the calling thread's [`super::process::Nudges`] wake it. Sleeping is essential:
    /// whoever polls keeps the very thread that is to stop from its processor (measured: 90 ms instead of 0.1).
    fn sleep_until_stop(self) -> io::Result<Option<Stop>> {
        // The end of a process is only looked at: it may be a child of ours whose status is asked for later.
        let seen = match look(libc::P_PID, self.tid as libc::id_t, libc::WEXITED | libc::WSTOPPED) {
            Ok(Some(seen)) => seen,
            Ok(None) => return Ok(None),
            Err(error) => return none_if_gone(error),
        };
        if has_ended(&seen) {
            return Ok(Some(Stop::Gone));
        }
        let mut status: c_int = 0;
        // SAFETY: `status` outlives the call.
        match unsafe { libc::waitpid(self.tid, &raw mut status, libc::__WALL | libc::WNOHANG) } {
            -1 => none_if_gone(io::Error::last_os_error()),
            // It stopped and was killed at once.
            0 => Ok(None),
            _ => Ok(Some(meaning(status))),
        }
    }
}

/// Sleeps until any thread that the calling one traces stops or ends, or until [`super::process::Nudges`] wake it, which gives
/// none. The end of `leader` is only looked at, as in [`Tracee::wait`]; nobody asks for that of another thread.
pub(crate) fn any_stop(leader: u32) -> io::Result<Option<(u32, Stop)>> {
    let Some(seen) = look(libc::P_ALL, 0, libc::WEXITED | libc::WSTOPPED | libc::__WNOTHREAD)? else { return Ok(None) };
    // SAFETY: `waitid` succeeded, and so filled in the fields of a child's change.
    let tid = unsafe { seen.si_pid() };
    if has_ended(&seen) && tid.cast_unsigned() == leader {
        return Ok(Some((leader, Stop::Gone)));
    }
    let mut status: c_int = 0;
    // SAFETY: `status` outlives the call.
    match unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL | libc::WNOHANG) } {
        -1 => Ok(none_if_gone(io::Error::last_os_error())?.map(|stop| (tid.cast_unsigned(), stop))),
        // It stopped and was killed at once.
        0 => Ok(None),
        _ => Ok(Some((tid.cast_unsigned(), meaning(status)))),
    }
}

/// What `waitid` sees, without taking it; none where a signal came first.
fn look(kind: libc::idtype_t, id: libc::id_t, options: c_int) -> io::Result<Option<libc::siginfo_t>> {
    // SAFETY: the structure consists of integers and pointers, for which zero is a value.
    let mut seen: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `seen` outlives the call.
    if unsafe { libc::waitid(kind, id, &raw mut seen, options | libc::WNOWAIT | libc::__WALL) } == 0 {
        return Ok(Some(seen));
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::EINTR) => Ok(None),
        error => Err(error),
    }
}

fn has_ended(seen: &libc::siginfo_t) -> bool {
    matches!(seen.si_code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED)
}

/// What a failed wait means.
fn none_if_gone(error: io::Error) -> io::Result<Option<Stop>> {
    match error.raw_os_error() {
        Some(libc::ECHILD) => Ok(Some(Stop::Gone)),
        Some(libc::EINTR) => Ok(None),
        _ => Err(error),
    }
}

fn meaning(status: c_int) -> Stop {
    const SYSCALL_STOP: c_int = libc::SIGTRAP | 0x80;
    if !libc::WIFSTOPPED(status) {
        return Stop::Gone;
    }
    match (libc::WSTOPSIG(status), status >> 16) {
        (SYSCALL_STOP, _) => Stop::Syscall,
        (libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU, libc::PTRACE_EVENT_STOP) => Stop::Halted,
        (_, libc::PTRACE_EVENT_STOP) => Stop::Interrupted,
        (signal, 0) => Stop::Signal(signal),
        (_, _) => Stop::Event,
    }
}

/// Whether an error says that there is no such thread any more.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

const _: () = assert!(size_of::<*mut c_void>() == size_of::<usize>(), "addresses are passed as numbers");

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: c_int, stop: Stop) {
        assert_eq!(meaning(status), stop);
    }

    #[test]
    fn statuses_have_one_meaning_each() {
        check(0, Stop::Gone);
        check(libc::SIGKILL, Stop::Gone);
        check(libc::SIGUSR1 << 8 | 0x7f, Stop::Signal(libc::SIGUSR1));
        check((libc::SIGTRAP | 0x80) << 8 | 0x7f, Stop::Syscall);
        check(libc::PTRACE_EVENT_STOP << 16 | libc::SIGTRAP << 8 | 0x7f, Stop::Interrupted);
        for signal in [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
            check(libc::PTRACE_EVENT_STOP << 16 | signal << 8 | 0x7f, Stop::Halted);
            check(signal << 8 | 0x7f, Stop::Signal(signal));
        }
        check(libc::PTRACE_EVENT_CLONE << 16 | libc::SIGTRAP << 8 | 0x7f, Stop::Event);
    }
}
