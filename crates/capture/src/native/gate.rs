//! A program that ends or executes another one, held until its memory was looked at.
//!
//! Owns: leakline's side of the gate, and going along with a program through `exec`. Must not know: what is looked at.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use wire::{GATE_EXECUTE, GATE_EXIT, GATE_KIND_BITS, GATE_KIND_MASK, Gate};

use super::launch::{Parked, Program, is_privileged, park};
use super::session::Session;
use super::target::Target;
use super::threads::tracing;
use crate::fault;
use crate::sys::futex;
use crate::sys::ptrace::{Registers, Stop, Tracee};

const STOP_LIMIT: Duration = Duration::from_secs(10);
const EXECVE: u64 = libc::SYS_execve as u64;
const EXECVEAT: u64 = libc::SYS_execveat as u64;
/// What a thread's result register holds when it enters a system call.
const ENTERING: i64 = -(libc::ENOSYS as i64);
/// A path as the kernel accepts it.
const PATH_BYTES_MAX: usize = 4096;

/// What a program is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// End.
    Exit,
    /// Execute another program in its place.
    Execute,
}

/// What became of a program that wanted to execute another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// It failed: the program goes on as it was, and is still attached.
    Failed,
    /// The new program waits before its first own instruction.
    Waits,
    /// The new program runs and was not followed: its file gives it other rights, which tracing would take away.
    Privileged,
    /// The process ended.
    Ended,
}

impl Session {
    /// From here on the program waits for [`Self::pass`] before it ends or executes another one.
    pub fn open_gate(&self) {
        let gate = self.gate();
        gate.process.store(self.process().process_inside(), Release);
        gate.open.store(1, Release);
        fault::point("gate-open");
    }

    /// Waits so long for the program to come to its end.
    pub fn ending(&self, patience: Duration) -> Option<Ending> {
        let gate = self.gate();
        if gate.request.load(Acquire) == 0 {
            futex::sleep_while(&gate.request, 0, patience);
        }
        // The word was in the target's hands: what makes no sense is no request.
        let ending = match gate.request.load(Acquire) & GATE_KIND_MASK {
            GATE_EXIT => Ending::Exit,
            GATE_EXECUTE => Ending::Execute,
            _ => return None,
        };
        fault::point("at-gate");
        Some(ending)
    }

    /// Lets the program go on to its end.
    pub fn pass(&self) {
        let gate = self.gate();
        gate.request.store(0, Release);
        futex::wake(&gate.request);
    }

    /// How many children it has made until now, as far as that was seen: by functions of its C library, where descriptors are watched.
    pub fn children_made(&self) -> u32 {
        self.gate().children.load(Acquire)
    }

    /// Lets the program execute the other one, and stops it there.
    pub fn follow(&self, program: &mut Program) -> io::Result<Execution> {
        let target = self.process();
        let request = self.gate().request.load(Acquire);
        let tid = thread_of(target, request >> GATE_KIND_BITS).unwrap_or(target.pid().0);
        let (execution, parked) = tracing(|| through_execution(target, tid, || self.pass()))?;
        program.becomes(parked);
        Ok(execution)
    }

    fn gate(&self) -> &Gate {
        &self.control().gate
    }
}

/// Traces a thread until its call of `exec` has failed or the new program is where it can be hooked.
fn through_execution(target: &Target, tid: u32, pass: impl FnOnce()) -> io::Result<(Execution, Option<Parked>)> {
    let mut tracee = Tracee::seize(tid)?;
    tracee.interrupt()?;
    tracee.wait(STOP_LIMIT)?;
    tracee.tell_of_execution()?;
    pass();
    let mut signal = 0;
    loop {
        tracee.run_to_syscall(signal)?;
        signal = 0;
        match tracee.wait(STOP_LIMIT)? {
            Stop::Signal(other) => signal = other,
            Stop::Interrupted | Stop::Halted => {}
            Stop::Syscall => match call(&tracee.registers()?) {
                Call::Begins(path) if is_privileged(&path_of(target, tid, path)) => {
                    tracee.let_go(0)?;
                    return Ok((Execution::Privileged, None));
                }
                Call::Fails => {
                    tracee.let_go(0)?;
                    return Ok((Execution::Failed, None));
                }
                Call::Begins(_) | Call::Other => {}
            },
            Stop::Event => {
                tracee.hold()?;
                let parked = park(target.pid(), tracee)?;
                let execution = if parked.is_some() { Execution::Waits } else { Execution::Ended };
                return Ok((execution, parked));
            }
            // Another thread than the first takes the number of the first when it executes.
            Stop::Gone if tid != target.pid().0 && target.is_alive() => tracee = Tracee::child(target.pid().0),
            Stop::Gone => return Ok((Execution::Ended, None)),
        }
    }
}

/// A stop at a system call, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// `exec` begins; where the path lies.
    Begins(Option<u64>),
    /// `exec` failed.
    Fails,
    Other,
}

fn call(registers: &Registers) -> Call {
    match (registers.orig_rax, registers.rax as i64) {
        (EXECVE, ENTERING) => Call::Begins(Some(registers.rdi)),
        (EXECVEAT, ENTERING) => Call::Begins(None),
        (EXECVE | EXECVEAT, result) if result < 0 => Call::Fails,
        _ => Call::Other,
    }
}

/// The file that a thread is about to execute, as we reach it; an empty path where it cannot be told.
fn path_of(target: &Target, tid: u32, at: Option<u64>) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    let mut bytes = vec![0; PATH_BYTES_MAX];
    let read = at.and_then(|at| target.read(at, &mut bytes).ok()).unwrap_or(0);
    let text = bytes.get(..read).unwrap_or(&[]);
    let len = text.iter().position(|byte| *byte == 0).unwrap_or(0);
    let path = Path::new(std::ffi::OsStr::from_bytes(text.get(..len).unwrap_or(&[])));
    match path.strip_prefix("/") {
        Ok(absolute) => target.path("root").join(absolute),
        Err(_) => target.path(&format!("task/{tid}/cwd")).join(path),
    }
}

/// The thread that has this number in its own namespace.
fn thread_of(target: &Target, number: u32) -> Option<u32> {
    let is_it = |tid: &u32| {
        let status = std::fs::read_to_string(target.path(&format!("task/{tid}/status"))).unwrap_or_default();
        last_number(&status, "NSpid:") == Some(number)
    };
    target.threads().ok()?.into_iter().find(is_it)
}

/// The innermost of the numbers in a line of `status`.
fn last_number(status: &str, name: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_number_is_the_own_one() {
        let status = "Name:\tx\nNSpid:\t4711\t12\t1\nNSpgid:\t1\n";
        assert_eq!(last_number(status, "NSpid:"), Some(1));
        assert_eq!(last_number("NSpid:\n", "NSpid:"), None);
        assert_eq!(last_number("", "NSpid:"), None);
    }
}
