//! All threads of the target at rest, for as short a time as possible.
//!
//! Owns: stopping all, reading and moving them, letting all go, or looking at one after the other; the thread of ours that does
//! so. Must not know: why.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use super::arch;
use super::target::Target;
use crate::sys::ptrace::{Registers, Stop, Tracee, any_stop, is_gone};

/// Rounds of looking for threads that were started while others were being stopped.
const ROUNDS_MAX: usize = 64;

/// How long all threads may stand while one of them does not stop, for a look at the whole memory.
pub(crate) const LOOK_LIMIT: Duration = Duration::from_millis(250);
/// How long to wait for threads that did not stop in time, and how often to look what they do.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
const SETTLE_STEP: Duration = Duration::from_millis(100);

/// Runs `work` on a thread of its own. The kernel ties tracing to a thread: when this one ends, whatever happened in it, the
/// target's threads are untraced and run.
pub(crate) fn tracing<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let _turn = crate::turns::Turn::to_stop();
    // A new thread would wait for its first turn, before it can hurry.
    let _ahead = crate::sys::process::Ahead::start();
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
    /// Stops every thread of the target, within `limit`: a thread that does not get a processor, or sleeps where nothing wakes
    /// it, must not keep the others for longer.
    pub(crate) fn stop(target: &Target, limit: Duration) -> io::Result<Self> {
        let mut seized: HashMap<u32, Tracee> = HashMap::new();
        // Before the first is stopped, all that exist are made ready: that takes time, and they run on meanwhile.
        let mut fresh = seize_new(target, &mut seized)?;
        let mut all = Self { threads: Vec::with_capacity(seized.len()), began: Instant::now() };
        let until = all.began + limit;
        for _ in 0..ROUNDS_MAX {
            // After an error the caller's thread ends, and with it the tracing of those that have not stopped yet.
            let late = stops(target, &fresh, until, |thread| all.threads.push(thread))?;
            if let Some(tid) = late.keys().next().copied() {
                let error = did_not_stop(target, tid, limit);
                drop(all);
                settle(target, late)?;
                return Err(error);
            }
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
}

impl Resting {
    /// A thread that has stopped; none if it is gone.
    fn of(tracee: Tracee, stop: Stop) -> io::Result<Option<Self>> {
        let (ours, signal) = match stop {
            Stop::Gone => return Ok(None),
            Stop::Signal(signal) => (false, signal),
            // The program was stopped before: what it sees of that when it goes on is not ours to change.
            Stop::Halted => (false, 0),
            Stop::Interrupted | Stop::Syscall | Stop::Event => (true, 0),
        };
        match tracee.registers() {
            Ok(registers) => Ok(Some(Self { tracee, registers, ours, signal, moved_from: None })),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn tid(&self) -> u32 {
        self.tracee.tid()
    }

    /// Registers with which the program sees nothing of the stop.
    fn mend(&self) {
        let registers = if self.ours { arch::undisturbed(&self.registers) } else { self.registers };
        if registers.rax != self.registers.rax {
            let _ = self.tracee.set_registers(&registers);
        }
    }

    /// Lets it go on. A failure means that it is gone.
    fn let_go(&self) {
        let _ = self.tracee.let_go(self.signal);
    }

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
        self.threads.iter().for_each(Resting::mend);
        self.threads.iter().for_each(Resting::let_go);
    }
}

/// What was seen of threads, each of which stood for a moment while the others ran.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Those of which `is_wanted` was true.
    pub(crate) wanted: Vec<u32>,
    /// Those of which it was false, and those that have ended.
    pub(crate) others: Vec<u32>,
    /// How long one stood at most.
    pub(crate) longest: Duration,
}

/// Looks at each of these threads as it stops, and lets it go on at once. Those that do not stop within `limit` are not in the
/// answer.
pub(crate) fn look_at_each(
    target: &Target,
    threads: &[u32],
    limit: Duration,
    is_wanted: impl Fn(&Resting) -> bool,
) -> io::Result<Seen> {
    let (mut seen, mut fresh) = (Seen::default(), HashMap::new());
    for tid in threads {
        match seize(target, *tid)? {
            Some(tracee) => drop(fresh.insert(*tid, tracee)),
            None => seen.others.push(*tid),
        }
    }
    let until = Instant::now() + limit;
    let late = stops(target, &fresh, until, |thread| {
        let began = Instant::now();
        let to = if is_wanted(&thread) { &mut seen.wanted } else { &mut seen.others };
        to.push(thread.tid());
        thread.mend();
        thread.let_go();
        seen.longest = seen.longest.max(began.elapsed());
    })?;
    let ended = |tid: &u32| !late.contains_key(tid) && !seen.wanted.contains(tid) && !seen.others.contains(tid);
    let ended: Vec<u32> = threads.iter().copied().filter(ended).collect();
    seen.others.extend(ended);
    settle(target, late)?;
    Ok(seen)
}

/// Lets threads go on that were asked to stop and have not done so in time. Each is waited for, while all others run: a call such as
/// `epoll_wait` that is interrupted ends with an error which the program must not see. Only those are left alone that sleep
/// uninterruptibly: nothing interrupts their call.
fn settle(target: &Target, mut late: HashMap<u32, Tracee>) -> io::Result<()> {
    let began = Instant::now();
    while late.keys().any(|tid| target.thread_state(*tid) != Some('D')) && began.elapsed() < SETTLE_LIMIT {
        wait_for(target, &mut late, Instant::now() + SETTLE_STEP, |thread| {
            thread.mend();
            thread.let_go();
        })?;
    }
    Ok(())
}

/// Stops threads and gives each to `at_rest` as soon as it stands; says which had not stopped by `until`.
fn stops(
    target: &Target,
    fresh: &HashMap<u32, Tracee>,
    until: Instant,
    at_rest: impl FnMut(Resting),
) -> io::Result<HashMap<u32, Tracee>> {
    let mut pending = HashMap::with_capacity(fresh.len());
    for (tid, tracee) in fresh {
        match tracee.interrupt() {
            Ok(()) => drop(pending.insert(*tid, *tracee)),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    wait_for(target, &mut pending, until, at_rest)?;
    Ok(pending)
}

/// Takes each thread out of `pending` as it stops, and gives it to `at_rest`.
fn wait_for(
    target: &Target,
    pending: &mut HashMap<u32, Tracee>,
    until: Instant,
    mut at_rest: impl FnMut(Resting),
) -> io::Result<()> {
    let leader = target.pid().0;
    while !pending.is_empty() {
        match any_stop(leader) {
            // Where the first thread can be waited for, all have ended.
            Ok(Some((tid, Stop::Gone))) if tid == leader => pending.clear(),
            Ok(Some((tid, stop))) => {
                if let Some(tracee) = pending.remove(&tid)
                    && let Some(thread) = Resting::of(tracee, stop)?
                {
                    at_rest(thread);
                }
            }
            Ok(None) => pending.retain(|_, tracee| !tracee.has_ended()),
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => pending.clear(),
            Err(error) => return Err(error),
        }
        if Instant::now() > until {
            break;
        }
    }
    Ok(())
}

fn did_not_stop(target: &Target, tid: u32, limit: Duration) -> io::Error {
    let why = match target.thread_state(tid) {
        Some('D') => "sleeps where no signal wakes it",
        Some('R') => "got no processor",
        _ => "did not stop",
    };
    let found = format!("thread {tid} {why} for {} ms while the others waited", limit.as_millis());
    io::Error::new(io::ErrorKind::TimedOut, found)
}

/// Starts to trace the threads that are not yet traced, and says which those are.
fn seize_new(target: &Target, seized: &mut HashMap<u32, Tracee>) -> io::Result<HashMap<u32, Tracee>> {
    let mut fresh = HashMap::new();
    for tid in target.threads()? {
        if seized.contains_key(&tid) {
            continue;
        }
        if let Some(tracee) = seize(target, tid)? {
            fresh.insert(tid, tracee);
        }
    }
    seized.extend(&fresh);
    Ok(fresh)
}

/// Starts to trace a thread; none if it has ended.
fn seize(target: &Target, tid: u32) -> io::Result<Option<Tracee>> {
    match Tracee::seize(tid) {
        Ok(tracee) => Ok(Some(tracee)),
        Err(error) if is_gone(&error) || target.is_ended(tid) => Ok(None),
        Err(error) => Err(match target.tracer(tid) {
            Some(tracer) => io::Error::new(error.kind(), format!("process {tracer} traces it")),
            None => error,
        }),
    }
}
