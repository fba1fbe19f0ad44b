//! System calls made by one thread of the target on our behalf.
//!
//! Owns: stopping that thread, the calls, and bringing it back exactly to where it was. Must not know: what is called.
//!
//! The other threads run on meanwhile. At every instant the kernel may let the thread go on without us, since leakline can be
//! killed: what lies on its stack then brings it back, see `arch/x86_64/frame.rs`.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::arch::{self, Call};
use super::target::Target;
use crate::fault;
use crate::sys::ptrace::{Registers, Stop, Tracee};

/// How long a thread may take to stop. One that sleeps uninterruptibly is left alone after that; any other is waited for: it runs
/// on meanwhile, and a call of it that is interrupted must not end with an error which the program would see. One that is on its
/// way through a call of ours is waited for in any case: given up, it would carry out the call later, when nobody undoes it. (On a
/// machine with a load of 25 a thread waited that long for a processor, and code stayed mapped.)
const STOP_LIMIT: Duration = Duration::from_millis(500);
const LATE_STOPS: u32 = 20;
const ALL_SIGNALS: u64 = u64::MAX;
/// Room for arguments below the frame.
const SCRATCH_BYTES: u64 = 256;
/// The kind of error of a thread that stands where nothing may be written; later it may stand elsewhere.
pub(crate) const ELSEWHERE: io::ErrorKind = io::ErrorKind::ResourceBusy;

/// Where the target's own code has the instructions that calls need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gadgets {
    /// [`arch::SYSCALL_RETURN`].
    pub(crate) syscall_return: u64,
    /// One of [`arch::RESTORERS`], or [`arch::POP_NUMBER`] in programs that have none.
    pub(crate) restorer: Restorer,
}

/// How a thread gets from the end of a system call to `rt_sigreturn`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Restorer {
    /// Code that does it.
    Whole(u64),
    /// Code that takes a number from the stack; the number and the way to the system call lie before the frame. Static programs
    /// that handle no signal have nothing better.
    Popped(u64),
}

impl Gadgets {
    /// The first word of the frame, and what lies just below it.
    pub(crate) fn chain(&self) -> (u64, Vec<u8>) {
        match self.restorer {
            Restorer::Whole(at) => (at, Vec::new()),
            Restorer::Popped(at) => {
                let below = [at, arch::SIGNAL_RETURN_NUMBER].into_iter().flat_map(u64::to_le_bytes);
                (self.syscall_return, below.collect())
            }
        }
    }
}

/// A stopped thread that makes system calls. Dropping it lets the thread go on.
#[derive(Debug)]
pub(crate) struct Remote<'a> {
    target: &'a Target,
    tracee: Tracee,
    registers: Registers,
    mask: u64,
    gadgets: Gadgets,
    frame_at: u64,
    /// Where the frame and the arguments lie, and what was there before.
    before: (u64, Vec<u8>),
    /// A signal that came in between, to be delivered at the end.
    held: i32,
    called: bool,
    began: Instant,
}

impl<'a> Remote<'a> {
    /// Stops a thread. `is_own_stack` tells whether a range below its stack pointer is unused memory of its own stack.
    pub(crate) fn start(
        target: &'a Target,
        tid: u32,
        gadgets: Gadgets,
        is_own_stack: impl Fn(&Registers, &Range<u64>) -> bool,
    ) -> io::Result<Self> {
        let tracee = Tracee::seize(tid)?;
        let mut began = Instant::now();
        let prepared = tracee.interrupt().and_then(|()| stopped(target, tracee)).and_then(|()| {
            // Until here it ran, or waited for a processor as it would have without us.
            began = Instant::now();
            fault::point("thread-stopped");
            refuse_filter(target, tid, tracee)?;
            let registers = tracee.registers()?;
            let mask = tracee.signal_mask()?;
            let (frame_at, before) = put_frame(target, tracee, &registers, mask, gadgets, is_own_stack)?;
            fault::point("frame-written");
            tracee.set_signal_mask(ALL_SIGNALS)?;
            Ok((registers, mask, frame_at, before))
        });
        match prepared {
            Ok((registers, mask, frame_at, before)) => {
                Ok(Self { target, tracee, registers, mask, gadgets, frame_at, before, held: 0, called: false, began })
            }
            Err(error) => {
                let _ = tracee.let_go(0);
                Err(error)
            }
        }
    }

    /// Makes one system call.
    pub(crate) fn call(&mut self, number: i64, arguments: [u64; 6]) -> io::Result<u64> {
        let mut registers = self.registers;
        let call = Call { number, arguments };
        let stack = self.frame_at - self.gadgets.chain().1.len() as u64;
        arch::set_call(&mut registers, self.gadgets.syscall_return, stack, call);
        self.tracee.set_registers(&registers)?;
        self.called = true;
        fault::point("call-prepared");
        self.run_to_syscall_stop()?;
        fault::point("syscall-entry");
        self.run_to_syscall_stop()?;
        fault::point("syscall-exit");
        arch::result(&self.tracee.registers()?)
    }

    /// The target whose thread this is.
    pub(crate) fn target(&self) -> &Target {
        self.target
    }

    /// Memory that may be written for the arguments of calls, [`SCRATCH_BYTES`] long: below the frame, unused by the thread.
    pub(crate) fn scratch(&self) -> u64 {
        self.frame_at - SCRATCH_BYTES
    }

    /// Lets the thread go on and says how long it had been stopped.
    pub(crate) fn finish(self) -> Duration {
        let began = self.began;
        drop(self);
        began.elapsed()
    }

    fn run_to_syscall_stop(&mut self) -> io::Result<()> {
        let mut signal = 0;
        loop {
            self.tracee.run_to_syscall(signal)?;
            signal = match next_stop(self.tracee, || false)? {
                Stop::Syscall => return Ok(()),
                // Only SIGSTOP gets through the mask. Delivered, it stops the other threads; this one stops when it is let go of.
                Stop::Signal(signal) => signal,
                Stop::Interrupted | Stop::Halted | Stop::Event => 0,
                Stop::Gone => return Err(io::Error::from_raw_os_error(libc::ESRCH)),
            };
        }
    }

    /// Brings the thread to a stop in which the kernel handles interrupted system calls, with its own registers.
    fn restore(&mut self) -> io::Result<()> {
        // The mask first: if we die now, the frame sets it too; if we die later, nobody else would.
        self.tracee.set_signal_mask(self.mask)?;
        if self.called {
            self.tracee.interrupt()?;
            self.tracee.resume(0)?;
            match next_stop(self.tracee, || false)? {
                Stop::Signal(signal) => self.held = signal,
                Stop::Interrupted | Stop::Halted | Stop::Event | Stop::Syscall => {}
                Stop::Gone => return Err(io::Error::from_raw_os_error(libc::ESRCH)),
            }
        }
        self.tracee.set_registers(&arch::undisturbed(&self.registers))?;
        fault::point("thread-restored");
        // Nobody needs what was there; but then nobody has to believe that either.
        let (at, bytes) = &self.before;
        self.target.write(*at, bytes)
    }
}

impl Drop for Remote<'_> {
    fn drop(&mut self) {
        // A failure here means that the thread is gone: every other path ends in its frame.
        let _ = self.restore();
        let _ = self.tracee.let_go(self.held);
    }
}

/// Waits for the stop that was asked for, passing on signals that come first.
fn stopped(target: &Target, tracee: Tracee) -> io::Result<()> {
    loop {
        match next_stop(tracee, || target.thread_state(tracee.tid()) == Some('D'))? {
            Stop::Interrupted | Stop::Halted => return Ok(()),
            Stop::Signal(signal) => tracee.resume(signal)?,
            Stop::Syscall | Stop::Event => tracee.resume(0)?,
            Stop::Gone => return Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }
}

/// Waits for the next stop of a thread that needs a processor to get there, unless waiting is hopeless.
fn next_stop(tracee: Tracee, is_hopeless: impl Fn() -> bool) -> io::Result<Stop> {
    for _ in 0..LATE_STOPS {
        match tracee.wait(STOP_LIMIT) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut && !is_hopeless() => {}
            other => return other,
        }
    }
    tracee.wait(STOP_LIMIT)
}

/// Lifts the thread's filters of system calls while we trace it. Where that is not allowed, a call of ours could fail, or the
/// filter could end the target for it.
fn refuse_filter(target: &Target, tid: u32, tracee: Tracee) -> io::Result<()> {
    let Err(error) = tracee.suspend_seccomp() else { return Ok(()) };
    let status = std::fs::read_to_string(target.path(&format!("task/{tid}/status"))).unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map(str::trim);
    // A kernel without the option has no filters, or is too old to lift them.
    if mode.is_none_or(|mode| mode == "0") {
        return Ok(());
    }
    let found =
        format!("a seccomp filter restricts its system calls, and lifting it for a moment needs root ({error})");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, found))
}

/// Writes the frame that brings the thread back without us, and says where, and what was there and below.
pub(crate) fn put_frame(
    target: &Target,
    tracee: Tracee,
    registers: &Registers,
    mask: u64,
    gadgets: Gadgets,
    is_own_stack: impl Fn(&Registers, &Range<u64>) -> bool,
) -> io::Result<(u64, (u64, Vec<u8>))> {
    let state = tracee.extended_state()?;
    let no_room = || io::Error::new(io::ErrorKind::OutOfMemory, "no room on the thread's stack");
    let at = arch::frame_place(registers, state.len() + arch::FRAME_BYTES_FIXED).ok_or_else(no_room)?;
    let (first, below) = gadgets.chain();
    let frame = arch::signal_frame(at, first, registers, mask, &state);
    let room = at.saturating_sub(2 * SCRATCH_BYTES)..at + frame.len() as u64;
    if !is_own_stack(registers, &room) {
        return Err(io::Error::new(
            ELSEWHERE,
            "none of its threads stands on its own stack with room below (coroutines stand on memory that may be anybody's)",
        ));
    }
    let before = target.read_exactly(room.start, (room.end - room.start) as usize)?;
    target.write(at, &frame)?;
    target.write(at - below.len() as u64, &below)?;
    Ok((at, (room.start, before)))
}
