//! Putting the jumps in and taking them out, while no thread runs.
//!
//! Owns: every change to the target's own code. Must not know: what the hooks do.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::arch::{self, Relocation};
use super::target::Target;
use super::threads::{AllStopped, Resting, look_at_each, tracing};
use crate::fault;

/// How often all threads are stopped until none stands where it must not.
const TRIES: u32 = 40;
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// How long all threads may stand while one of them does not stop, in the first try; each further one may take twice as long. On
/// an overloaded machine a thread may not get a processor for longer than anybody would let the others wait.
const FIRST_LIMIT: Duration = Duration::from_millis(30);
const LIMIT_MAX: Duration = Duration::from_millis(250);
/// For how long it is tried to put jumps in. Then the machine is too busy for an attach.
const ARM_PATIENCE: Duration = Duration::from_secs(10);
/// For how long it is tried to take jumps out: what stays would have to be removed by hand.
const DISARM_PATIENCE: Duration = Duration::from_secs(30);
/// How long a thread may sleep inside a hook until it counts as one that stays there, and how long one may take that could run.
const SLEEPING_MAX: Duration = Duration::from_secs(1);
const RUNNABLE_MAX: Duration = Duration::from_secs(30);
/// How long to wait for single threads to come by, while the others run.
const LOOK_LIMIT: Duration = Duration::from_millis(500);
/// Bytes of each stack that are searched for addresses: signal handlers keep where they interrupted.
const STACK_BYTES: usize = 16 * 1024;

/// Bytes of a jump. No more is written: what is left of the last instruction that it displaces is never run.
pub(crate) const JUMP_BYTES: usize = 5;
const PAGE: u64 = 4096;

/// A place whose bytes were replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) at: u64,
    pub(crate) before: [u8; JUMP_BYTES],
    pub(crate) after: [u8; JUMP_BYTES],
    /// An exception needs it as long as a frame of another hook is on a stack.
    pub(crate) is_last: bool,
    /// It is a function that the user named, which may do anything, such as to sleep on a stack of its own.
    pub(crate) is_named: bool,
}

impl Changed {
    pub(crate) fn of(relocation: &Relocation) -> Self {
        let first = |bytes: &[u8]| bytes.first_chunk().copied().unwrap_or_default();
        assert!(relocation.before.len() >= JUMP_BYTES, "a jump displaces at least its own length");
        let (before, after) = (first(&relocation.before), first(&relocation.after));
        Self { at: relocation.at, before, after, is_last: false, is_named: false }
    }
}

/// Whether a jump from here would lie on two pages. The kernel writes one after the other, and between them looks whether the
/// writer was killed: half a jump would be left behind, and the target's threads go on at that instant.
pub(crate) fn lies_on_two_pages(at: u64) -> bool {
    at % PAGE > PAGE - JUMP_BYTES as u64
}

/// What became of the jumps that were to be taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Disarmed {
    /// How long all threads were stopped.
    pub(crate) stopped: Duration,
    /// Places where neither a jump of ours nor what was there before stands: somebody else wrote there since.
    pub(crate) foreign: Vec<u64>,
    /// A thread stays where it will return into code of ours.
    pub(crate) is_busy: bool,
}

impl Disarmed {
    /// Why something of ours has to stay; none where nothing has to.
    pub(crate) fn why_kept(&self) -> Option<String> {
        let first = self.foreign.first()?;
        let more = match self.foreign.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!("somebody else, such as a debugger with a breakpoint, has written at {first:#x}{more}"))
    }
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

/// What tells whether a thread is inside a hook.
pub(crate) trait Inside {
    /// Whether some thread says that it is.
    fn is_guarded(&self) -> bool;

    /// Gets ready to be asked of threads; they run meanwhile. Late is when what could be asked at once did not settle it.
    fn prepare(&self, is_late: bool);

    /// Whether a thread will certainly not return into code that `within` accepts, whatever any guard says.
    fn is_outside(&self, thread: &Resting, within: &dyn Fn(u64) -> bool) -> bool;

    /// Whether something that will return into this code may lie on a stack where no thread stands. To be asked when no thread is inside.
    fn is_asleep(&self, code: &[Range<u64>]) -> io::Result<bool>;
}

/// Writes all jumps, or none. `ready` runs once they are in place, before any thread goes on.
pub(crate) fn arm(target: &Target, relocations: &[Relocation], ready: impl Fn() + Sync) -> io::Result<Duration> {
    let places = Places::of(relocations);
    patiently(ARM_PATIENCE, |limit| arm_once(target, relocations, &places, limit, &ready))
}

fn arm_once(
    target: &Target,
    relocations: &[Relocation],
    places: &Places,
    limit: Duration,
    ready: &(impl Fn() + Sync),
) -> io::Result<Duration> {
    tracing(|| {
        let inside = |at: u64| places.hold(at);
        let mut longest = Duration::ZERO;
        for pause in pauses() {
            let mut all = AllStopped::stop(target, limit)?;
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
        Err(io::Error::other("a signal handler stays on top of an allocator function"))
    })
}

/// Takes all jumps out and waits until nobody can return to what they led to. Those by which an exception passes frames of ours go when no
/// thread has such a frame any more: a function that throws in the meantime would end the program. (It did, in each of a hundred
/// detaches from three threads that throw all the time.) Where a thread stays, so do they.
pub(crate) fn take_out(
    target: &Target,
    changed: &[Changed],
    code: &[Range<u64>],
    inside: &(impl Inside + Sync),
) -> io::Result<Disarmed> {
    let (last, first): (Vec<Changed>, Vec<Changed>) = changed.iter().partition(|change| change.is_last);
    let mut all = disarm(target, &first)?;
    let drain = |all: &mut Disarmed| {
        let (free, stopped) = drained(target, code, inside)?;
        (all.stopped, all.is_busy) = (all.stopped.max(stopped), !free);
        Ok::<_, io::Error>(())
    };
    if all.foreign.is_empty() || !last.is_empty() {
        drain(&mut all)?;
    }
    if last.is_empty() || all.is_busy {
        return Ok(all);
    }
    let unwinder = disarm(target, &last)?;
    all.stopped = all.stopped.max(unwinder.stopped);
    all.foreign.extend(unwinder.foreign);
    drain(&mut all)?;
    Ok(all)
}

/// Puts back what stood at every place that still holds what was written there. Needs no look at where threads are: nobody
/// ever stands behind the first byte of a jump.
///
/// What somebody else wrote over a jump stays. Whoever did may put the jump back later, so that what it leads to has to stay too.
fn disarm(target: &Target, changed: &[Changed]) -> io::Result<Disarmed> {
    if changed.is_empty() {
        return Ok(Disarmed::default());
    }
    patiently(DISARM_PATIENCE, |limit| disarm_once(target, changed, limit))
}

fn disarm_once(target: &Target, changed: &[Changed], limit: Duration) -> io::Result<Disarmed> {
    tracing(|| {
        let all = AllStopped::stop(target, limit)?;
        let (mut result, mut foreign) = (Ok(()), Vec::new());
        for change in changed {
            // Where nothing is mapped any more, a library was unloaded, and its jump with it.
            let Ok(now) = target.read_exactly(change.at, JUMP_BYTES) else { continue };
            if now == change.after {
                result = target.write(change.at, &change.before).and(result);
            } else if now != change.before {
                foreign.push(change.at);
            }
        }
        fault::point("bytes-restored");
        let stopped = all.resume();
        result.map(|()| Disarmed { stopped, foreign, is_busy: false })
    })
}

/// Waits until no thread can return into `code`. False if some thread stays there, for example inside an allocator that waits
/// for a lock. Also says how long a thread stood still for it at most.
///
/// No jump leads there any more, so that a thread which was seen outside stays outside: each is looked at by itself, until all
/// have been seen there, and the others run on. Only a signal handler with deep frames could hide where a thread will return to; of
/// that thread a guard tells. An address of ours on a stack may be left from an earlier call, in memory that a frame has and never wrote to,
/// and so may a guard: a thread that sleeps there would never be seen outside, were its frames not walked.
fn drained(target: &Target, code: &[Range<u64>], inside: &(impl Inside + Sync)) -> io::Result<(bool, Duration)> {
    let within = |at: u64| code.iter().any(|code| code.contains(&at));
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    let mut outside: HashSet<u32> = HashSet::new();
    for round in 0_u32.. {
        let (guarded, waited) = (inside.is_guarded(), began.elapsed());
        if !guarded || waited > SLEEPING_MAX {
            inside.prepare(waited > SLEEPING_MAX);
            let left: Vec<u32> = target.threads()?.into_iter().filter(|tid| !outside.contains(tid)).collect();
            if left.is_empty() {
                break;
            }
            let stands = |thread: &Resting| {
                let may_stand = guarded || stack_mentions(target, thread, &within);
                within(arch::instruction(&thread.registers)) || (may_stand && !inside.is_outside(thread, &within))
            };
            let seen = tracing(|| look_at_each(target, &left, LOOK_LIMIT, stands))?;
            longest = longest.max(seen.longest);
            let may_go_on = |tid: &u32| matches!(target.thread_state(*tid), Some('R' | 'D'));
            let stays = !seen.wanted.iter().any(may_go_on) && seen.wanted.len() + seen.others.len() == left.len();
            if (waited > SLEEPING_MAX && stays && !seen.wanted.is_empty()) || waited > RUNNABLE_MAX {
                return Ok((false, longest));
            }
            // By a guard that was set meanwhile some thread may be inside below the frames of a signal handler.
            if guarded || !inside.is_guarded() {
                outside.extend(seen.others);
            }
        }
        sleep(pause(round));
    }
    if inside.is_asleep(code)? {
        return Ok((false, longest));
    }
    fault::point("agent-drained");
    Ok((true, longest))
}

/// Tries again what failed because a thread did not stop in time, with more time for each try, and lets the target run for as long
/// in between. Each try needs a tracing thread of its own: the end of the one before lets all threads go.
fn patiently<T>(patience: Duration, mut work: impl FnMut(Duration) -> io::Result<T>) -> io::Result<T> {
    let (mut limit, mut tries, mut waited) = (FIRST_LIMIT, 1, Duration::ZERO);
    loop {
        match work(limit) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut && waited < patience => sleep(limit),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(io::Error::new(error.kind(), format!("{error} (tries: {tries})")));
            }
            done => return done,
        }
        // As long stopped as running.
        waited += 2 * limit;
        tries += 1;
        limit = (2 * limit).min(LIMIT_MAX);
    }
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
    (0..TRIES).map(pause)
}

fn pause(round: u32) -> Duration {
    Duration::from_micros(500 << round.min(6)).min(PAUSE_MAX)
}

fn write_all(target: &Target, relocations: &[Relocation]) -> io::Result<()> {
    for (done, change) in relocations.iter().map(Changed::of).enumerate() {
        debug_assert!(!lies_on_two_pages(change.at), "such a place is refused when the attach is planned");
        if let Err(error) = target.write(change.at, &change.after) {
            for change in relocations.iter().take(done).map(Changed::of) {
                // It could be written an instant ago, and nothing ran since.
                let _ = target.write(change.at, &change.before);
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

    /// The kinds of error of the tries in turn, then success; the milliseconds that each try was given, and what came out.
    #[track_caller]
    fn check(errors: &[io::ErrorKind], limits: &[u64], expected: Result<(), io::ErrorKind>) {
        let mut given = Vec::new();
        let result = patiently(Duration::from_millis(400), |limit| {
            given.push(limit.as_millis() as u64);
            errors.get(given.len() - 1).map_or(Ok(()), |kind| Err((*kind).into()))
        });
        assert_eq!(result.map_err(|error| error.kind()), expected, "{errors:?}");
        assert_eq!(given, limits, "{errors:?}");
    }

    #[test]
    fn threads_that_do_not_stop_in_time_are_tried_again_with_more_time() {
        use io::ErrorKind::{NotFound, TimedOut};
        check(&[], &[30], Ok(()));
        check(&[TimedOut, TimedOut], &[30, 60, 120], Ok(()));
        check(&[TimedOut, NotFound, TimedOut], &[30, 60], Err(NotFound));
        check(&[TimedOut; 9], &[30, 60, 120, 240], Err(TimedOut));
    }

    #[test]
    fn what_did_not_stop_and_how_often_is_said() {
        let tried = patiently(Duration::ZERO, |_| Err::<(), _>(io::Error::new(io::ErrorKind::TimedOut, "thread 7")));
        assert_eq!(tried.map_err(|error| error.to_string()), Err("thread 7 (tries: 1)".to_owned()));
    }

    #[test]
    fn only_a_jump_that_is_cut_by_the_end_of_a_page_lies_on_two() {
        let found: Vec<u64> = (0x2000..0x4000).filter(|at| lies_on_two_pages(*at)).collect();
        assert_eq!(found, [0x2ffc, 0x2ffd, 0x2ffe, 0x2fff, 0x3ffc, 0x3ffd, 0x3ffe, 0x3fff]);
    }

    #[test]
    fn what_somebody_else_wrote_is_said() {
        let kept = |foreign: &[u64]| Disarmed { foreign: foreign.to_vec(), ..Disarmed::default() }.why_kept();
        assert_eq!(kept(&[]), None);
        assert!(kept(&[0x7f01]).is_some_and(|why| why.ends_with("has written at 0x7f01")));
        assert!(kept(&[0x7f01, 2, 3]).is_some_and(|why| why.ends_with("has written at 0x7f01 and 2 more")));
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
