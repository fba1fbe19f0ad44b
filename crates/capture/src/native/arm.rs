//! Putting the jumps in and taking them out, while no thread runs.
//!
//! Owns: every change to the target's own code. Must not know: what the hooks do.

use std::io;
use std::ops::Range;
use std::thread::sleep;
use std::time::Duration;

use super::arch::{self, Relocation};
use super::target::Target;
use super::threads::{AllStopped, Resting, tracing};
use crate::fault;

/// How often all threads are stopped until none stands where it must not.
const TRIES: u32 = 40;
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// Pauses between tries to take something out where threads do not stop in time: on an overloaded machine a thread may not get a
/// processor for longer than anybody would let the others wait.
const LATE_PAUSES: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1)];
/// Bytes of each stack that are searched for addresses: signal handlers keep where they interrupted.
const STACK_BYTES: usize = 16 * 1024;

/// A place whose bytes were replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) at: u64,
    pub(crate) before: Vec<u8>,
    pub(crate) after: Vec<u8>,
}

/// The bytes behind the first of each jump, sorted. Every word of every stack is looked up while all threads are stopped: with
/// 200 threads that is half a million.
#[derive(Debug, Default)]
struct Places {
    ranges: Vec<Range<u64>>,
    low: u64,
    high: u64,
}

impl Places {
    fn of(relocations: &[Relocation]) -> Self {
        let inside = |relocation: &Relocation| relocation.at + 1..relocation.at + relocation.before.len() as u64;
        Self::sorted(relocations.iter().map(inside).collect())
    }

    fn sorted(mut ranges: Vec<Range<u64>>) -> Self {
        ranges.sort_unstable_by_key(|range| range.start);
        let low = ranges.first().map_or(0, |range| range.start);
        let high = ranges.last().map_or(0, |range| range.end);
        Self { ranges, low, high }
    }

    /// Most words are no addresses of code at all.
    fn hold(&self, at: u64) -> bool {
        if at < self.low || at >= self.high {
            return false;
        }
        let above = self.ranges.partition_point(|range| range.start <= at);
        above.checked_sub(1).and_then(|last| self.ranges.get(last)).is_some_and(|range| range.contains(&at))
    }
}

/// Writes all jumps, or none. `ready` runs once they are in place, before any thread goes on.
pub(crate) fn arm(target: &Target, relocations: &[Relocation], ready: impl Fn() + Sync) -> io::Result<Duration> {
    tracing(|| {
        let places = Places::of(relocations);
        let inside = |at: u64| places.hold(at);
        let mut longest = Duration::ZERO;
        for pause in pauses() {
            let mut all = AllStopped::stop(target)?;
            refuse_other_code(target, relocations)?;
            // A thread that stands in the bytes goes on in their copy; one that a signal handler interrupted there cannot be moved.
            let free = !all.threads().iter().any(|thread| stack_mentions(target, thread, &inside));
            if free {
                fault::point("all-stopped");
                let copy = |at| relocations.iter().filter(|r| r.is_inside(at)).find_map(|r| r.to_copy(at));
                let written = all.move_threads(copy).and_then(|()| {
                    fault::point("threads-moved");
                    write_all(target, relocations)
                });
                if written.is_err() {
                    all.move_back();
                } else {
                    fault::point("jumps-written");
                    ready();
                    fault::point("listening");
                }
                longest = longest.max(all.resume());
                return written.map(|()| longest);
            }
            longest = longest.max(all.resume());
            sleep(pause);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "a signal handler stays on top of an allocator function"))
    })
}

/// Puts back what stood at every place that still holds what was written there. Needs no look at where threads are: nobody
/// ever stands behind the first byte of a jump.
pub(crate) fn disarm(target: &Target, changed: &[Changed]) -> io::Result<Duration> {
    patiently(|| disarm_once(target, changed))
}

fn disarm_once(target: &Target, changed: &[Changed]) -> io::Result<Duration> {
    tracing(|| {
        let all = AllStopped::stop(target)?;
        let mut result = Ok(());
        for change in changed {
            let now = target.read_exactly(change.at, change.after.len());
            if now.is_ok_and(|now| now == change.after)
                && let Err(error) = target.write(change.at, &change.before)
            {
                result = Err(error);
            }
        }
        fault::point("bytes-restored");
        let stopped = all.resume();
        result.map(|()| stopped)
    })
}

/// Waits until no thread can return into `code`; `look` runs while all are at rest and it is certain. False if some thread
/// stays there, for example inside an allocator that waits for a lock. `is_busy` tells of threads inside hooks.
pub(crate) fn drained(
    target: &Target,
    code: &[Range<u64>],
    is_busy: impl Fn() -> bool + Sync,
) -> io::Result<(bool, Duration)> {
    patiently(|| drained_once(target, code, &is_busy))
}

/// Tries again what failed because a thread did not stop in time. Each try needs a tracing thread of its own: the end of the one
/// before lets all threads go.
fn patiently<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for pause in LATE_PAUSES {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => sleep(pause),
            done => return done,
        }
    }
    work()
}

fn drained_once(
    target: &Target,
    code: &[Range<u64>],
    is_busy: &(impl Fn() -> bool + Sync),
) -> io::Result<(bool, Duration)> {
    tracing(|| {
        let mut longest = Duration::ZERO;
        for pause in pauses() {
            if !is_busy() {
                let all = AllStopped::stop(target)?;
                let within = |at: u64| code.iter().any(|code| code.contains(&at));
                let stands = |thread: &Resting| {
                    within(arch::instruction(&thread.registers)) || stack_mentions(target, thread, &within)
                };
                let free = !is_busy() && !all.threads().iter().any(stands);
                longest = longest.max(all.resume());
                if free {
                    fault::point("agent-drained");
                    return Ok((true, longest));
                }
            }
            sleep(pause);
        }
        Ok((false, longest))
    })
}

/// The plan was made while the target ran: it may have become another program since, or somebody else may have changed its code
/// (a debugger its breakpoints). Neither its threads nor its code are ours to change then.
fn refuse_other_code(target: &Target, relocations: &[Relocation]) -> io::Result<()> {
    for relocation in relocations {
        if target.read_exactly(relocation.at, relocation.before.len())? != relocation.before {
            return Err(io::Error::other("its allocator's code changed meanwhile"));
        }
    }
    Ok(())
}

fn pauses() -> impl Iterator<Item = Duration> {
    (0..TRIES).map(|round| Duration::from_micros(500 << round.min(6)).min(PAUSE_MAX))
}

fn write_all(target: &Target, relocations: &[Relocation]) -> io::Result<()> {
    for (done, relocation) in relocations.iter().enumerate() {
        if let Err(error) = target.write(relocation.at, &relocation.after) {
            for relocation in relocations.iter().take(done) {
                // It could be written an instant ago, and nothing ran since.
                let _ = target.write(relocation.at, &relocation.before);
            }
            return Err(error);
        }
        fault::point("first-jump");
    }
    Ok(())
}

/// Whether the innermost part of a thread's stack holds an address that `wanted` accepts.
fn stack_mentions(target: &Target, thread: &Resting, wanted: &impl Fn(u64) -> bool) -> bool {
    let mut bytes = [0; STACK_BYTES];
    let read = target.read(arch::stack_pointer(&thread.registers) & !7, &mut bytes).unwrap_or(0);
    let words = bytes.get(..read).unwrap_or(&[]).chunks_exact(8);
    words.filter_map(|word| word.try_into().ok()).map(u64::from_le_bytes).any(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds of error of the tries in turn, then success; how many tries there were, and what came out.
    #[track_caller]
    fn check(errors: &[io::ErrorKind], tries: usize, expected: Result<(), io::ErrorKind>) {
        let mut calls = 0;
        let result = patiently(|| {
            calls += 1;
            errors.get(calls - 1).map_or(Ok(()), |kind| Err((*kind).into()))
        });
        assert_eq!((calls, result.map_err(|error| error.kind())), (tries, expected), "{errors:?}");
    }

    #[test]
    fn threads_that_do_not_stop_in_time_are_tried_again() {
        use io::ErrorKind::{NotFound, TimedOut};
        check(&[], 1, Ok(()));
        check(&[TimedOut, TimedOut], 3, Ok(()));
        check(&[TimedOut, NotFound, TimedOut], 2, Err(NotFound));
        check(&[TimedOut; 9], LATE_PAUSES.len() + 1, Err(TimedOut));
    }

    #[test]
    fn an_address_behind_the_first_byte_of_a_jump_is_found() {
        let places = Places::sorted(vec![0x2001..0x2005, 0x1001..0x1008, 0x9001..0x9005]);
        let found: Vec<u64> = (0..0xa000).filter(|at| places.hold(*at)).collect();
        let expected: Vec<u64> = (0x1001..0x1008).chain(0x2001..0x2005).chain(0x9001..0x9005).collect();
        assert_eq!(found, expected);
        assert!(!Places::sorted(Vec::new()).hold(0) && !places.hold(u64::MAX));
    }
}
