//! One rare call, told to leakline as it happens: a mapping, a descriptor, a thread.
//!
//! Owns: the form of an event and what its four words mean. Must not know: how the ring is read, or what comes of it.
//!
//! Calls like these cost a system call each, so an event may cost some tens of nanoseconds; what becomes of regions and
//! descriptors is worked out by leakline, where partial unmaps and replaced descriptors need no room in the target.

use core::sync::atomic::AtomicU64;

/// Events that the ring holds; the oldest are overwritten, and the reader counts what it missed.
pub const EVENTS: usize = 65_536;

/// Which call it was. The words are those of the [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Call {
    /// Memory was mapped: address, length, flags of `mmap`.
    Map = 1,
    /// Memory is about to be unmapped: address, length.
    Unmap,
    /// Memory is about to be moved or resized: address, old length, flags of `mremap`.
    MoveBegin,
    /// It was moved, or not: new address (`u64::MAX` where it failed), new length, old address, old length.
    MoveEnd,
    /// The break was set to this address.
    Break,
    /// A System V segment was attached at this address.
    SegmentAttach,
    /// A System V segment is about to be detached from this address.
    SegmentDetach,
    /// A descriptor was opened: its number.
    Open,
    /// A descriptor is about to be closed: its number.
    Close,
    /// Descriptors are about to be closed: the first, the last.
    CloseRange,
    /// A thread is about to be made.
    ThreadBegin,
    /// It was made, or not: its handle (zero where it failed), and whether it was made detached.
    ThreadEnd,
    /// A thread is being joined: its handle.
    ThreadJoin,
    /// A thread is being detached: its handle.
    ThreadDetach,
}

impl Call {
    /// The call with this number.
    pub const fn of(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Map,
            2 => Self::Unmap,
            3 => Self::MoveBegin,
            4 => Self::MoveEnd,
            5 => Self::Break,
            6 => Self::SegmentAttach,
            7 => Self::SegmentDetach,
            8 => Self::Open,
            9 => Self::Close,
            10 => Self::CloseRange,
            11 => Self::ThreadBegin,
            12 => Self::ThreadEnd,
            13 => Self::ThreadJoin,
            14 => Self::ThreadDetach,
            _ => return None,
        })
    }
}

/// A place in the ring. It is written number last, so that a reader knows when it is whole.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Event {
    /// Number of the event plus one; zero while it is written.
    pub number: AtomicU64,
    /// Call (lowest byte), [`Event::NESTED`], number of the thread's record (high half).
    pub what: AtomicU64,
    /// Time stamp counter.
    pub time: AtomicU64,
    /// Stack of the caller; zero where nobody needs it.
    pub stack: AtomicU64,
    /// See [`Call`].
    pub words: [AtomicU64; 4],
}

impl Event {
    /// The call came from inside an allocator function: what it maps belongs to the allocator.
    pub const NESTED: u64 = 1 << 8;
}

const _: () = assert!(EVENTS.is_power_of_two(), "events are masked, not divided");
const _: () = assert!(size_of::<Event>() == 64, "an event is one cache line");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_its_number() {
        let calls: [Call; 14] = core::array::from_fn(|i| Call::of(i as u8 + 1).unwrap());
        for (number, call) in (1..).zip(calls) {
            assert_eq!(call as u8, number);
        }
        assert_eq!((Call::of(0), Call::of(15)), (None, None));
    }
}
