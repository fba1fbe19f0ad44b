//! Small facts of processes and of this one that only system calls tell.
//!
//! Owns: those calls. Must not know: what they are for.

#![expect(unsafe_code, reason = "system calls and instructions without a safe wrapper in std")]

use std::io;
use std::time::Duration;

use model::Pid;
use rustix::process::{getpriority_process, setpriority_process};

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

/// Ends another process without any clean-up of its own.
pub(crate) fn kill(pid: u32) {
    // SAFETY: the call takes numbers only.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
}

/// Whether two processes run in the same memory, as parent and child of `vfork` do until the child executes a program. Where the
/// kernel cannot tell, a parent that waits uninterruptibly counts as one that waits for its child.
pub fn shares_memory(parent: Pid, child: Pid) -> bool {
    const KCMP_VM: u64 = 1;
    // SAFETY: the call takes numbers only.
    match unsafe { libc::syscall(libc::SYS_kcmp, parent.0, child.0, KCMP_VM, 0_u64, 0_u64) } {
        0 => true,
        -1 => {
            let stat = std::fs::read_to_string(format!("/proc/{parent}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('D'))
        }
        _ => false,
    }
}

/// Stops this process as SIGSTOP from outside would, until SIGCONT.
#[cfg(debug_assertions)]
pub(crate) fn halt() {
    let this = std::process::id() as libc::pid_t;
    // SAFETY: the call takes numbers only.
    unsafe { libc::kill(this, libc::SIGSTOP) };
}

/// Wakes the calling thread from system calls that would sleep for ever, fifty times a second, as long as it lives.
#[derive(Debug)]
pub(crate) struct Nudges {
    timer: libc::timer_t,
}

impl Nudges {
    /// Starts them for the calling thread.
    pub(crate) fn start() -> io::Result<Self> {
        const EVERY: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let signal = libc::SIGRTMIN() + 3;
        accept(signal)?;
        // SAFETY: the structure consists of integers and pointers, for which zero is a value.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        // SAFETY: the call has no arguments and cannot fail.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer: libc::timer_t = std::ptr::null_mut();
        // SAFETY: both structures outlive the call.
        if unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let nudges = Self { timer };
        let schedule = libc::itimerspec { it_interval: EVERY, it_value: EVERY };
        // SAFETY: `schedule` outlives the call; no old value is asked for.
        if unsafe { libc::timer_settime(nudges.timer, 0, &raw const schedule, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(nudges)
    }
}

impl Drop for Nudges {
    fn drop(&mut self) {
        // SAFETY: the timer was made by `start` and is deleted once.
        unsafe { libc::timer_delete(self.timer) };
    }
}

/// Lets a signal interrupt system calls and do nothing else.
fn accept(signal: i32) -> io::Result<()> {
    extern "C" fn nothing(_: i32) {}
    // SAFETY: the structure consists of integers and pointers, for which zero is a value; without SA_RESTART calls end.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
    // SAFETY: `action` outlives the call; its handler does nothing that a handler must not do.
    let result = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets this thread run before others and wake without delay, as far as the kernel permits: while it holds a target's
/// threads, every microsecond of its own waiting is one of theirs. Only for threads that end soon.
pub(crate) fn hurry() {
    const LOWEST_REAL_TIME: libc::c_int = 1;
    let priority = libc::sched_param { sched_priority: LOWEST_REAL_TIME };
    // SAFETY: `priority` outlives the call, which concerns the calling thread only.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const priority) };
}

/// While this lives, the calling thread and those that it starts come before ordinary ones, as far as the kernel permits. Among
/// hundreds of busy threads a few milliseconds of work would else take a second, in which what was planned may come to be untrue.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// What is to be put back; none where nothing was changed.
    niceness: Option<i32>,
}

impl Ahead {
    /// Begins for the calling thread, on which it is to be dropped.
    pub(crate) fn start() -> Self {
        const FIRST: i32 = -20;
        // On Linux a niceness belongs to a thread; none is named, so that it is this one's.
        let before = getpriority_process(None).ok();
        Self { niceness: before.filter(|_| setpriority_process(None, FIRST).is_ok()) }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(niceness) = self.niceness {
            // To become less urgent is always allowed.
            let _ = setpriority_process(None, niceness);
        }
    }
}

/// The processor time that all threads of a process have used, also those that ended; none where the process is gone. Finer
/// than `/proc/PID/stat`, which counts hundredths of a second.
pub(crate) fn used_time(pid: u32) -> Option<Duration> {
    // The number of a process's clock, see `clock_getcpuclockid(3)`: 2 stands for its scheduled time.
    let clock = (!(pid.cast_signed()) << 3) | 2;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call; a number that is no clock is an error.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    (result == 0).then(|| Duration::new(seconds, nanoseconds))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_goes_on_while_it_works() {
        let before = used_time(std::process::id()).unwrap();
        let until = before + Duration::from_millis(20);
        while used_time(std::process::id()).unwrap() < until {
            std::hint::black_box(0);
        }
        assert_eq!(used_time(1 << 27), None);
    }

    #[test]
    fn a_thread_is_ahead_only_for_as_long_as_asked() {
        let before = getpriority_process(None).unwrap();
        let ahead = Ahead::start();
        let inside = getpriority_process(None).unwrap();
        // Without the right to it nothing changes.
        assert_eq!(inside, if ahead.niceness.is_some() { -20 } else { before });
        drop(ahead);
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
