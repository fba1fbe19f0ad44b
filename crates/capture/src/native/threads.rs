//! All threads of the target at rest, for as short a time as possible.
//!
//! Owns: stopping all, reading and moving them, letting all go; the thread of ours that does so. Must not know: why.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use super::arch;
use super::target::Target;
use crate::sys::ptrace::{Registers, Stop, Tracee, is_gone};

const STOP_LIMIT: Duration = Duration::from_millis(250);
/// Rounds of looking for threads that were started while others were being stopped.
const ROUNDS_MAX: usize = 64;

/// Runs `work` on a thread of its own. The kernel ties tracing to a thread: when this one ends, whatever happened in it, the
/// target's threads are untraced and run.
pub(crate) fn tracing<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("tracer".into()).spawn_scoped(scope, || {
            let _nudges = crate::sys::process::Nudges::start()?;
            crate::sys::process::hurry();
            work()
        })?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the tracing thread ended early")))
    })
}

/// One thread at rest.
#[derive(Debug)]
pub(crate) struct Resting {
    tracee: Tracee,
    pub(crate) registers: Registers,
    /// The stop was ours: the registers may need mending so that the program sees none of it.
    ours: bool,
    /// A signal that was about to be delivered.
    signal: i32,
    /// Where it stood before it was moved.
    moved_from: Option<u64>,
}

/// All threads at rest. Dropping it lets them go on.
#[derive(Debug)]
pub(crate) struct AllStopped {
    threads: Vec<Resting>,
    began: Instant,
}

impl AllStopped {
    /// Stops every thread of the target.
    pub(crate) fn stop(target: &Target) -> io::Result<Self> {
        let mut seized: HashMap<u32, Tracee> = HashMap::new();
        // Before the first is stopped, all that exist are made ready: that takes time, and they run on meanwhile.
        seize_new(target, &mut seized)?;
        let mut all = Self { threads: Vec::with_capacity(seized.len()), began: Instant::now() };
        let mut fresh: Vec<Tracee> = seized.values().copied().collect();
        for _ in 0..ROUNDS_MAX {
            // After an error the caller's thread ends, and with it the tracing of those that have not stopped yet.
            all.rest(&fresh)?;
            // A thread that was not yet stopped may have started another one.
            fresh = seize_new(target, &mut seized)?;
            if fresh.is_empty() {
                return Ok(all);
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "it starts threads faster than they can be stopped"))
    }

    pub(crate) fn threads(&self) -> &[Resting] {
        &self.threads
    }

    /// Lets each thread for which `place` names another instruction go on there. It stands there when this returns, not only
    /// when it goes on: whoever changes code afterwards may be killed before that.
    pub(crate) fn move_threads(&mut self, place: impl Fn(u64) -> Option<u64>) -> io::Result<()> {
        for thread in &mut self.threads {
            let from = arch::instruction(&thread.registers);
            let Some(to) = place(from) else { continue };
            thread.moved_from = Some(from);
            thread.go_to(to)?;
        }
        Ok(())
    }

    /// Puts moved threads back to where they stood.
    pub(crate) fn move_back(&mut self) {
        for thread in &mut self.threads {
            if let Some(from) = thread.moved_from.take() {
                // It could be moved an instant ago, and has not run since.
                let _ = thread.go_to(from);
            }
        }
    }

    /// Lets all go on and says how long the first was stopped.
    pub(crate) fn resume(self) -> Duration {
        let began = self.began;
        drop(self);
        began.elapsed()
    }

    fn rest(&mut self, fresh: &[Tracee]) -> io::Result<()> {
        for tracee in fresh {
            match tracee.interrupt() {
                Err(error) if !is_gone(&error) => return Err(error),
                _ => {}
            }
        }
        for tracee in fresh {
            let (ours, signal) = match tracee.wait(STOP_LIMIT)? {
                Stop::Gone => continue,
                Stop::Signal(signal) => (false, signal),
                // The program was stopped before: what it sees of that when it goes on is not ours to change.
                Stop::Halted => (false, 0),
                Stop::Interrupted | Stop::Syscall | Stop::Event => (true, 0),
            };
            match tracee.registers() {
                Ok(registers) => {
                    self.threads.push(Resting { tracee: *tracee, registers, ours, signal, moved_from: None });
                }
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Resting {
    fn go_to(&mut self, instruction: u64) -> io::Result<()> {
        arch::set_instruction(&mut self.registers, instruction);
        match self.tracee.set_registers(&self.registers) {
            Err(error) if !is_gone(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for AllStopped {
    fn drop(&mut self) {
        for thread in &self.threads {
            let registers = if thread.ours { arch::undisturbed(&thread.registers) } else { thread.registers };
            if registers.rax != thread.registers.rax {
                let _ = thread.tracee.set_registers(&registers);
            }
        }
        for thread in &self.threads {
            let _ = thread.tracee.let_go(thread.signal);
        }
    }
}

/// Starts to trace the threads that are not yet traced.
fn seize_new(target: &Target, seized: &mut HashMap<u32, Tracee>) -> io::Result<Vec<Tracee>> {
    let mut fresh = Vec::new();
    for tid in target.threads()? {
        if seized.contains_key(&tid) {
            continue;
        }
        match Tracee::seize(tid) {
            Ok(tracee) => {
                seized.insert(tid, tracee);
                fresh.push(tracee);
            }
            Err(error) if is_gone(&error) || target.is_ended(tid) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(fresh)
}
