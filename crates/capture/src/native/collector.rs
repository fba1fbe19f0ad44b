//! Reads the ring of events while the target runs, and keeps the ledger.
//!
//! Owns: the thread that reads, how far it has read, and the comparisons with `/proc`. Must not know: what events mean.
//!
//! The ring has room for what the fastest program does in some tens of milliseconds. What was overwritten before it was read is
//! counted, and the comparisons find what came of it. Where there is less to do, what was read is given back: an allocator that maps
//! each large block for itself would leave an event in memory for each of them.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering::Acquire;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use formats::maps::{self, Mapping};
use model::{Kinds, Snapshot, StackId};
use wire::{Call, EVENTS, Event, STACKS_MAX, THREADS_MAX, regions};

use super::file::SharedFile;
use super::ledger::{Ledger, Surroundings, Told};
use super::target::Target;
use super::ticks::Ticks;
use crate::sys::keeper::ControlPage;

/// How often the ring is looked at: it holds what a program does in some 50 ms that makes a million such calls a second.
const EVERY: Duration = Duration::from_millis(20);
/// Events that are read at a time.
const PART: u64 = 1024;
/// Events of one page.
const PAGE_EVENTS: u64 = 4096 / EVENT_BYTES;
/// So many of them that were read are given back at once.
const RELEASED_MIN: u64 = 4 * PAGE_EVENTS;
/// If more came between two looks, the program is about to write there again.
const QUIET_MAX: u64 = 1024;
/// How long an event may be half written before it is given up: its thread was killed, or is stopped.
const UNFINISHED_MAX: Duration = Duration::from_millis(500);
/// How often the ledger is compared with `/proc` at most, and how much of the time that may take.
const COMPARED_EVERY: Duration = Duration::from_secs(1);
const COMPARED_SHARE: u32 = 20;
/// Descriptors that are looked at.
const DESCRIPTORS_MAX: usize = 1 << 16;
const EVENT_BYTES: u64 = size_of::<Event>() as u64;
const EVENT_WORDS: usize = size_of::<Event>() / 8;

/// Where the C libraries keep the kernel's number of a thread, counted from its handle.
const THREAD_NUMBER_GLIBC_AT: u64 = 720;
const THREAD_NUMBER_MUSL_AT: u64 = 48;
/// The kernel gives out no higher numbers.
const THREAD_NUMBER_MAX: u32 = 1 << 22;

/// Reads events until it is dropped.
#[derive(Debug)]
pub(crate) struct Collector {
    state: Arc<Mutex<State>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    page: Arc<ControlPage>,
    file: SharedFile,
    target: Target,
    kinds: Kinds,
    is_musl: bool,
    /// Number of the next event to read.
    next: u64,
    /// The first whose place was not given back.
    kept: u64,
    missed: u64,
    corrupt: u64,
    /// Since when the next event has been half written.
    unfinished: Option<Instant>,
    compare_at: Instant,
}

impl Collector {
    /// Notes what is there already, and begins to read.
    pub(crate) fn start(
        page: Arc<ControlPage>,
        file: &SharedFile,
        target: &Target,
        kinds: Kinds,
        is_musl: bool,
    ) -> io::Result<Self> {
        let target = target.again()?;
        let text = target.maps().unwrap_or_default();
        let heap = maps::parse(&text).find(|mapping| mapping.name == b"[heap]").map(|heap| heap.addresses.end);
        let start = target.break_start();
        let open = if kinds.descriptors { descriptors(&target) } else { HashMap::new() };
        let state = State {
            ledger: Ledger::new(start, heap.or(start), open.into_keys()).with_musl(is_musl),
            page,
            file: SharedFile::new(file.file().try_clone()?),
            target,
            kinds,
            is_musl,
            next: 0,
            kept: 0,
            missed: 0,
            corrupt: 0,
            unfinished: None,
            compare_at: Instant::now() + COMPARED_EVERY,
        };
        let state = Arc::new(Mutex::new(state));
        let (stop, stopped) = channel::<()>();
        let read = state.clone();
        let thread = std::thread::Builder::new().name("collector".into()).spawn(move || {
            // The sender never sends: it is dropped.
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                lock(&read).look();
            }
        })?;
        Ok(Self { state, stop: Some(stop), thread: Some(thread) })
    }

    /// How many events of the ring nobody wrote, since the attach or since they were given back.
    pub(crate) fn unwritten(&self) -> u64 {
        let state = lock(&self.state);
        let written = state.page.control().events.next.load(Acquire).saturating_sub(state.kept);
        (EVENTS as u64).saturating_sub(written)
    }

    /// The stack of a site, by the number that it has in snapshots.
    pub(crate) fn stack_of(&self, site: StackId) -> Option<StackId> {
        lock(&self.state).ledger.stack_of(site)
    }

    /// Adds what is held besides blocks to a snapshot; `ended` says when the recording did, in ticks.
    pub(crate) fn add_to(&self, snapshot: &mut Snapshot, ticks: &Ticks, expire: u64, ended: Option<u64>) {
        let mut state = lock(&self.state);
        state.ledger.set_expiry(expire);
        state.read();
        if ended.is_some() || Instant::now() >= state.compare_at {
            state.compare();
        }
        snapshot.sites.extend(state.ledger.sites(ended.unwrap_or_else(Ticks::now), ticks));
        let (calls, coverage) = (state.ledger.calls, &mut snapshot.coverage);
        coverage.maps = calls.mapped;
        coverage.unmaps = calls.unmapped;
        coverage.threads_made = calls.threads;
        coverage.opens = calls.opened;
        coverage.closes = calls.closed;
        snapshot.losses.events_missed = state.missed;
        snapshot.losses.entries_corrupt = snapshot.losses.entries_corrupt.saturating_add(state.corrupt);
        snapshot.losses.regions_unrecorded = state.ledger.refused();
        snapshot.losses.descriptors_unseen = state.ledger.descriptors_unseen();
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A reader that panicked leaves a ledger that is a little behind, which is no reason to lose all of it.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Reads everything that is complete, and gives back what was read if little came.
    fn look(&mut self) {
        let before = self.next;
        self.read();
        let end = self.page.control().events.next.load(Acquire);
        self.kept = kept(self.kept, self.next, end);
        if self.next.checked_sub(before).is_some_and(|came| came <= QUIET_MAX) {
            let next = self.next - self.next % PAGE_EVENTS;
            for (place, events) in places(self.kept..next) {
                // What is not given back is written again in the next round.
                let _ = self.file.release(regions::EVENT_RING.at + place * EVENT_BYTES, events * EVENT_BYTES);
                self.kept = next;
            }
        }
    }

    /// Reads everything that is complete.
    fn read(&mut self) {
        let end = self.page.control().events.next.load(Acquire);
        if let Some(next) = catch_up(self.next, end) {
            self.missed = self.missed.saturating_add(next - self.next);
            self.next = next;
        } else {
            self.corrupt += 1;
            self.next = end;
        }
        while self.next < end {
            let place = self.next % EVENTS as u64;
            let count = (end - self.next).min(PART).min(EVENTS as u64 - place);
            let Ok(words) = self.file.words(regions::EVENT_RING.at + place * EVENT_BYTES, count as usize * EVENT_WORDS)
            else {
                return;
            };
            for event in words.chunks_exact(EVENT_WORDS) {
                if !self.take(event) {
                    return;
                }
            }
        }
    }

    /// Takes the next event; false where it is not complete yet.
    fn take(&mut self, words: &[u64]) -> bool {
        let number = words.first().copied().unwrap_or(0);
        if number == self.next.wrapping_add(1) {
            match decoded(self.next, words) {
                Some(told) => self.ledger.tell(&told, &mut Look { target: &self.target, text: None }),
                None => self.corrupt += 1,
            }
        } else if number <= self.next {
            let since = *self.unfinished.get_or_insert_with(Instant::now);
            if since.elapsed() < UNFINISHED_MAX {
                return false;
            }
            self.missed += 1;
        } else {
            self.missed += 1;
        }
        self.unfinished = None;
        self.next = self.next.wrapping_add(1);
        true
    }

    /// Compares the ledger with what the kernel says.
    fn compare(&mut self) {
        let began = Instant::now();
        let before = self.page.control().events.next.load(Acquire);
        // The lists are made first and the ring is read afterwards: what ended before a list was made is known then.
        let text = if self.kinds.mappings { self.target.maps().ok() } else { None };
        let open = self.kinds.descriptors.then(|| descriptors(&self.target));
        if !self.target.is_alive() {
            return;
        }
        self.read();
        let now = Ticks::now();
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            let mappings: Vec<Mapping<'_>> = maps::parse(&text).collect();
            self.ledger.compare_mappings(&mappings, before, now);
            let (target, is_musl) = (&self.target, self.is_musl);
            self.ledger.compare_threads(|handle| thread_number(target, handle, is_musl));
        }
        if let Some(open) = open.filter(|open| !open.is_empty()) {
            self.ledger.compare_descriptors(&open, before, now);
        }
        self.compare_at = Instant::now() + COMPARED_EVERY.max(began.elapsed() * COMPARED_SHARE);
    }
}

/// Reads the mappings once, if at all.
struct Look<'a> {
    target: &'a Target,
    text: Option<Vec<u8>>,
}

impl Surroundings for Look<'_> {
    fn mapping_at(&mut self, address: u64) -> Option<Range<u64>> {
        let text = self.text.get_or_insert_with(|| self.target.maps().unwrap_or_default());
        maps::parse(text).map(|mapping| mapping.addresses).find(|range| range.contains(&address))
    }
}

/// The number of the next event that can still be read, when `end` have been told: what lies further back than the ring is long
/// was overwritten. None where the number makes no sense: something wrote over it.
fn catch_up(next: u64, end: u64) -> Option<u64> {
    /// Nobody makes so many calls between two looks.
    const MOST: u64 = 1 << 40;
    let told = end.checked_sub(next).filter(|told| *told < MOST)?;
    Some(next + told.saturating_sub(EVENTS as u64))
}

/// The first event whose place may be given back: not those that are written again soon, now that `end` have been told and `next` is read next.
fn kept(kept: u64, next: u64, end: u64) -> u64 {
    let safe = end.saturating_sub(EVENTS as u64 / 4 * 3).next_multiple_of(PAGE_EVENTS);
    // A number was overwritten.
    if kept > next { next - next % PAGE_EVENTS } else { kept.max(safe) }
}

/// Where in the ring events lie, each part with how many; none where it is not worth a call.
fn places(events: Range<u64>) -> impl Iterator<Item = (u64, u64)> {
    const RING: u64 = EVENTS as u64;
    let count = events.end.checked_sub(events.start).filter(|count| (RELEASED_MIN..=RING).contains(count)).unwrap_or(0);
    let place = events.start % RING;
    let first = count.min(RING - place);
    [(place, first), (0, count - first)].into_iter().filter(|(_, count)| *count > 0)
}

/// The memory was in the target's hands: what makes no sense is no event.
fn decoded(number: u64, words: &[u64]) -> Option<Told> {
    let [_, what, at, stack, a, b, c, d] = *words.first_chunk::<EVENT_WORDS>()?;
    let (call, thread) = (Call::of((what & 0xff) as u8)?, (what >> 32) as u32);
    if thread as usize >= THREADS_MAX || stack >= STACKS_MAX as u64 {
        return None;
    }
    let nested = what & Event::NESTED != 0;
    Some(Told { number, call, nested, thread, at, stack: stack as u32, words: [a, b, c, d] })
}

/// The open descriptors and what they lead to.
fn descriptors(target: &Target) -> HashMap<u32, String> {
    let folder = target.path("fd");
    let Ok(entries) = std::fs::read_dir(&folder) else { return HashMap::new() };
    let names = entries.flatten().take(DESCRIPTORS_MAX).filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        // It may be closed by now; then it is not there.
        let link = std::fs::read_link(entry.path()).ok()?;
        Some((number, link.to_string_lossy().into_owned()))
    });
    names.collect()
}

/// The kernel's number of a thread, zero once it has ended; none where what is read is no such number.
fn thread_number(target: &Target, handle: u64, is_musl: bool) -> Option<u32> {
    let at = handle + if is_musl { THREAD_NUMBER_MUSL_AT } else { THREAD_NUMBER_GLIBC_AT };
    let mut word = [0; 4];
    let read = target.read(at, &mut word).unwrap_or(0);
    let number = u32::from_le_bytes(word);
    (read == word.len() && number <= THREAD_NUMBER_MAX).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: [u64; 8], expected: Option<(Call, bool, u32, u32)>) {
        let told = decoded(7, &words).map(|told| (told.call, told.nested, told.thread, told.stack));
        assert_eq!(told, expected, "{words:?}");
    }

    #[test]
    fn what_was_overwritten_is_skipped_and_nonsense_noticed() {
        let ring = EVENTS as u64;
        assert_eq!(catch_up(5, 5), Some(5));
        assert_eq!(catch_up(5, 5 + ring), Some(5));
        assert_eq!(catch_up(5, 8 + ring), Some(8));
        assert_eq!(catch_up(5, 4), None);
        assert_eq!(catch_up(5, u64::MAX), None);
    }

    #[test]
    fn what_is_given_back_lies_where_nobody_writes_soon() {
        let ring = EVENTS as u64;
        assert_eq!(kept(64, 300, 300), 64);
        assert_eq!(kept(64, ring, ring + 1), ring / 4 + PAGE_EVENTS, "the next round has begun");
        assert_eq!(kept(64, u64::MAX, u64::MAX) % PAGE_EVENTS, 0);
        assert_eq!(kept(6400, 70, 300), 64, "a number was overwritten");
    }

    #[test]
    fn events_that_are_given_back_lie_in_one_part_of_the_ring_or_in_two() {
        let ring = EVENTS as u64;
        let places = |events| places(events).collect::<Vec<_>>();
        assert_eq!(places(0..RELEASED_MIN - PAGE_EVENTS), []);
        assert_eq!(places(64..640), [(64, 576)]);
        assert_eq!(places(2 * ring - 128..2 * ring + 192), [(ring - 128, 128), (0, 192)]);
        assert_eq!(places(2 * ring..2 * ring - 64), []);
        assert_eq!(places(0..2 * ring), []);
    }

    #[test]
    fn only_what_makes_sense_is_an_event() {
        let event = |what, stack| [8, what, 1, stack, 2, 3, 4, 5];
        check(event(1 | 3 << 32, 9), Some((Call::Map, false, 3, 9)));
        check(event(9 | Event::NESTED, 0), Some((Call::Close, true, 0, 0)));
        check(event(0, 0), None);
        check(event(200, 0), None);
        check(event(1 | (THREADS_MAX as u64) << 32, 0), None);
        check(event(1, STACKS_MAX as u64), None);
        assert!(decoded(0, &[1, 1]).is_none());
    }
}
