//! The ledger of what an attached process holds besides blocks: regions of memory, thread stacks, descriptors.
//!
//! Owns: what comes of each event, in the order in which they were told. Must not know: the ring, files, clocks: events and
//! lists of what is there are handed in.

mod descriptors;
mod regions;
mod sums;
mod threads;

use std::collections::HashMap;
use std::ops::Range;

use formats::maps::Mapping;
use model::{Kind, SiteCounts, StackId};
use wire::Call;

use self::descriptors::Descriptors;
use self::regions::Regions;
use self::sums::{Origin, Sums};
use self::threads::Threads;
use super::ticks::Ticks;

const MAP_TYPE: u64 = 0xf;
const MAP_PRIVATE: u64 = 0x2;
const MAP_ANONYMOUS: u64 = 0x20;
const FAILED: u64 = u64::MAX;
const ADDRESS_MAX: u64 = 1 << 47;

/// One event, as it was told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// Its number, from 0.
    pub(crate) number: u64,
    pub(crate) call: Call,
    /// It came from inside an allocator function.
    pub(crate) nested: bool,
    /// Number of the thread's record.
    pub(crate) thread: u32,
    /// Time in ticks.
    pub(crate) at: u64,
    pub(crate) stack: u32,
    pub(crate) words: [u64; 4],
}

/// Where the ledger looks up what an event does not say.
pub(crate) trait Surroundings {
    /// The mapping that holds an address.
    fn mapping_at(&mut self, address: u64) -> Option<Range<u64>>;
}

/// How many calls of each kind were told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallCounts {
    pub(crate) mapped: u64,
    pub(crate) unmapped: u64,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) threads: u64,
}

/// Everything that is held, and sums of what was.
#[derive(Debug)]
pub(crate) struct Ledger {
    sums: Sums,
    regions: Regions,
    descriptors: Descriptors,
    threads: Threads,
    /// Where the break began.
    break_start: u64,
    /// The break, once it is known.
    break_at: Option<u64>,
    pub(crate) calls: CallCounts,
}

impl Ledger {
    /// A ledger that begins with this break, which began there, and these descriptors.
    pub(crate) fn new(break_start: Option<u64>, break_at: Option<u64>, open: impl IntoIterator<Item = u32>) -> Self {
        Self {
            sums: Sums::default(),
            regions: Regions::default(),
            descriptors: Descriptors::new(open),
            threads: Threads::default(),
            break_start: break_start.unwrap_or(1),
            break_at,
            calls: CallCounts::default(),
        }
    }

    /// From this age in ticks on what is freed counts as freed late.
    pub(crate) fn set_expiry(&mut self, ticks: u64) {
        self.sums.expire = ticks;
    }

    /// Takes the next event.
    pub(crate) fn tell(&mut self, told: &Told, surroundings: &mut dyn Surroundings) {
        let [a, b, c, _] = told.words;
        self.count(told);
        match told.call {
            Call::Map => self.map(told),
            Call::Unmap => self.regions.unmap(pages(a, b), told.at, &mut self.sums),
            Call::MoveBegin => self.regions.move_begin(told.thread, pages(a, b), c),
            Call::MoveEnd => self.move_end(told),
            Call::Break => self.set_break(told),
            Call::SegmentAttach => {
                if let Some(range) = surroundings.mapping_at(a) {
                    let origin = Some(Origin::new(Kind::Shared, told));
                    self.regions.map(a..range.end.max(a), told.at, origin, &mut self.sums);
                }
            }
            Call::SegmentDetach => {
                if let Some(range) = self.regions.whole(a) {
                    self.regions.unmap(range, told.at, &mut self.sums);
                }
            }
            Call::Open => self.descriptors.open(a as u32, Origin::new(Kind::Descriptor, told), &mut self.sums),
            Call::Close => self.descriptors.close(a as u32..=a as u32, told.at, &mut self.sums),
            Call::CloseRange => self.descriptors.close(a as u32..=b as u32, told.at, &mut self.sums),
            Call::ThreadBegin => self.threads.begin(told.thread),
            Call::ThreadEnd => self.thread_end(told, surroundings),
            Call::ThreadJoin | Call::ThreadDetach => self.threads.release(a, told.at, &mut self.sums),
        }
    }

    /// Compares with what is mapped. `before` is the number of the first event that was told after the list was made.
    pub(crate) fn compare_mappings(&mut self, mappings: &[Mapping<'_>], before: u64, now: u64) {
        self.regions.compare(mappings, before, now, &mut self.sums);
    }

    /// Compares with the descriptors that are open, each with what it leads to.
    pub(crate) fn compare_descriptors(&mut self, open: &HashMap<u32, String>, before: u64, now: u64) {
        self.descriptors.compare(open, before, now, &mut self.sums);
    }

    /// Looks which threads have ended; `thread_number` reads the kernel's number of a thread by its handle.
    pub(crate) fn compare_threads(&mut self, thread_number: impl Fn(u64) -> Option<u32>) {
        self.threads.compare(thread_number);
    }

    /// Descriptors that were opened by calls that were not seen.
    pub(crate) fn descriptors_unseen(&self) -> u64 {
        self.descriptors.unseen()
    }

    /// What found no room in the ledger.
    pub(crate) fn refused(&self) -> u64 {
        self.regions.refused + self.descriptors.refused + self.threads.refused + self.sums.without_stack()
    }

    /// The stack of a site of this ledger.
    pub(crate) fn stack_of(&self, site: StackId) -> Option<StackId> {
        self.sums.stack_of(site).map(StackId)
    }

    /// The counts of every site.
    pub(crate) fn sites(&self, now: u64, ticks: &Ticks) -> Vec<SiteCounts> {
        let mut held = sums::Held::new(now, self.sums.expire);
        self.regions.add_to(&mut held);
        self.descriptors.add_to(&mut held);
        self.threads.add_to(&mut held);
        self.sums.sites(&held, ticks)
    }

    fn count(&mut self, told: &Told) {
        let calls = &mut self.calls;
        let count = match told.call {
            Call::Map | Call::MoveEnd | Call::Break | Call::SegmentAttach => &mut calls.mapped,
            Call::Unmap | Call::SegmentDetach => &mut calls.unmapped,
            Call::Open => &mut calls.opened,
            Call::Close | Call::CloseRange => &mut calls.closed,
            Call::ThreadEnd => &mut calls.threads,
            Call::MoveBegin | Call::ThreadBegin | Call::ThreadJoin | Call::ThreadDetach => return,
        };
        *count += u64::from(!told.nested);
    }

    fn map(&mut self, told: &Told) {
        let [address, len, flags, _] = told.words;
        let range = pages(address, len);
        if self.threads.is_making(told.thread) {
            self.threads.mapped(told.thread, range.clone());
            self.regions.map(range, told.at, None, &mut self.sums);
            return;
        }
        let origin = (!told.nested).then(|| Origin::new(kind_of(flags), told));
        self.regions.map(range, told.at, origin, &mut self.sums);
    }

    fn move_end(&mut self, told: &Told) {
        let [new, new_len, old, old_len] = told.words;
        let new = if new == FAILED { None } else { Some(pages(new, new_len)) };
        let growth = (!told.nested).then(|| Origin::new(Kind::Anonymous, told));
        self.regions.move_end(told.thread, pages(old, old_len), new, told.at, growth, &mut self.sums);
    }

    fn set_break(&mut self, told: &Told) {
        let new = told.words[0];
        // The kernel answers a request below its beginning by where the break is, which the C library takes for success.
        if new < self.break_start || new > ADDRESS_MAX {
            return;
        }
        match self.break_at.replace(new) {
            Some(old) if new > old => {
                let origin = (!told.nested).then(|| Origin::new(Kind::Break, told));
                self.regions.map(old..new, told.at, origin, &mut self.sums);
            }
            Some(old) => self.regions.unmap(new..old, told.at, &mut self.sums),
            None => {}
        }
    }

    fn thread_end(&mut self, told: &Told, surroundings: &mut dyn Surroundings) {
        let [handle, detached_glibc, detached_musl, _] = told.words;
        let made = self.threads.end(told.thread);
        let detached = if self.threads.is_musl { detached_musl } else { detached_glibc };
        if handle == 0 || detached != 0 || told.nested {
            self.threads.release(handle, told.at, &mut self.sums);
            return;
        }
        let holds = |range: &Range<u64>| range.start <= handle && handle <= range.end;
        let size = |range: Range<u64>| range.end - range.start;
        // A stack that is used again has the size that it had; one from before the attach, that of its mapping.
        let known = made.filter(holds).map(size).or_else(|| self.threads.size_of(handle));
        let bytes = known.or_else(|| surroundings.mapping_at(handle).map(size));
        self.threads.add(handle, bytes, Origin::new(Kind::ThreadStack, told), &mut self.sums);
    }

    /// Says that the C library is musl, whose threads look otherwise.
    pub(crate) fn with_musl(mut self, is_musl: bool) -> Self {
        self.threads.is_musl = is_musl;
        self
    }
}

fn kind_of(flags: u64) -> Kind {
    match flags & MAP_TYPE {
        MAP_PRIVATE if flags & MAP_ANONYMOUS != 0 => Kind::Anonymous,
        MAP_PRIVATE => Kind::File,
        _ => Kind::Shared,
    }
}

/// A range in whole pages; empty where it makes no sense.
fn pages(address: u64, len: u64) -> Range<u64> {
    const PAGE: u64 = 4096;
    let end = address.checked_add(len).filter(|end| *end <= ADDRESS_MAX);
    end.map_or(0..0, |end| address..end.next_multiple_of(PAGE))
}

#[cfg(test)]
mod tests;
