//! What one look at a process or a machine shows, in full.
//!
//! Owns: mappings, descriptors, threads and limits as plain data. Must not know: where they are read, or how they are shown.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::{Address, Beat, Bytes, Identity, Pid, ProcessFigures, ProcessKey, Reading};

/// What a mapping is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MappingKind {
    /// `[heap]`, and the arenas of glibc.
    Heap,
    /// Other private memory that belongs to no file.
    Anonymous,
    /// The stack of the first thread.
    Stack,
    /// The stack of another thread: its stack pointer is in it, or a guard lies below it.
    ThreadStack,
    /// A file, mapped privately: code and data of programs and libraries.
    File,
    /// Memory or a file that others may have mapped too.
    Shared,
    /// What the kernel itself maps: `[vdso]`, `[vvar]`, ….
    Kernel,
    /// Addresses that are reserved and cannot be touched.
    Reserved,
}

/// What a mapping, or several, take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingUsage {
    /// Addresses covered.
    pub size: Bytes,
    /// Pages in RAM.
    pub rss: Reading<Bytes>,
    /// Pages in RAM, shared ones divided by the number of those who share them.
    pub pss: Reading<Bytes>,
    /// Pages in RAM that nobody else has.
    pub uss: Reading<Bytes>,
    /// Pages in RAM that were written and not saved since.
    pub dirty: Reading<Bytes>,
    /// Pages in swap.
    pub swap: Reading<Bytes>,
    /// Pages in RAM that are huge.
    pub huge: Reading<Bytes>,
}

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingInspection {
    /// From the first address to one past the last.
    pub addresses: Range<Address>,
    /// As the kernel writes it: `rw-p`.
    pub permissions: String,
    /// What it is used for.
    pub kind: MappingKind,
    /// Number of the file; of a segment of System V its id. 0 for anonymous memory.
    pub inode: u64,
    /// File or name, control characters escaped; empty for anonymous memory.
    pub name: String,
    /// What it takes.
    pub usage: MappingUsage,
}

/// What a descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DescriptorKind {
    /// A file or folder with a path, also one that was deleted since.
    File,
    /// A connection over TCP, or a socket that listens for some.
    Tcp,
    /// A socket for UDP.
    Udp,
    /// A socket of the local machine.
    Unix,
    /// A socket to the kernel.
    Netlink,
    /// Any other socket, or one whose protocol is not known.
    Socket,
    /// `pipe:[…]`.
    Pipe,
    /// `/memfd:…`, or a file below `/dev/shm`.
    Memory,
    /// `anon_inode:…`: epoll, eventfd, timers and the like.
    Anonymous,
    /// A device below `/dev`.
    Device,
}

/// One open descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptorInspection {
    /// Its number.
    pub number: u32,
    /// What it refers to.
    pub kind: DescriptorKind,
    /// The target, control characters escaped; missing where it went away meanwhile.
    pub target: Reading<String>,
    /// What a socket is for; none for what is no socket, missing where its network cannot be seen.
    pub socket: Option<Reading<SocketInspection>>,
}

/// A socket as its network namespace lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketInspection {
    /// What it does: `listening`, `established`, `close wait` …
    pub state: &'static str,
    /// This end: address and port, or a name with control characters escaped; empty for none.
    pub local: String,
    /// The other end: address and port; empty for none.
    pub remote: String,
}

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadInspection {
    /// Its number.
    pub id: Pid,
    /// Its name, control characters escaped.
    pub name: String,
    /// The letter of its state.
    pub state: Reading<char>,
    /// Its stack; missing for a thread that ran while it was looked at, and where stacks are parts of a heap.
    pub stack: Reading<StackInspection>,
}

/// The stack of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackInspection {
    /// Addresses that are set apart for it.
    pub size: Bytes,
    /// What of them is in RAM.
    pub rss: Reading<Bytes>,
}

/// One limit of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitInspection {
    /// Its name as the kernel writes it: `Max open files`.
    pub name: String,
    /// In force; none for no limit.
    pub soft: Option<u64>,
    /// What it may be raised to; none for no end.
    pub hard: Option<u64>,
}

/// The control group of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupInspection {
    /// Its path.
    pub path: String,
    /// Memory that it uses.
    pub usage: Reading<Bytes>,
    /// Its own limit; none for no limit.
    pub limit: Reading<Option<Bytes>>,
    /// What it may still take until it, or a group above it, is at its limit.
    pub room: Reading<Bytes>,
    /// Share of the last minute in which some task of it waited for memory, in hundredths of a percent.
    pub pressure: Reading<u64>,
}

/// One look at a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInspection {
    /// Which process.
    pub identity: Arc<Identity>,
    /// All figures, PSS and USS among them.
    pub figures: ProcessFigures,
    /// Its mappings in the order of their addresses.
    pub mappings: Reading<Vec<MappingInspection>>,
    /// Its descriptors in the order of their numbers.
    pub descriptors: Reading<Vec<DescriptorInspection>>,
    /// Its threads in the order of their numbers.
    pub threads: Reading<Vec<ThreadInspection>>,
    /// Its limits.
    pub limits: Reading<Vec<LimitInspection>>,
    /// Its control group.
    pub cgroup: Reading<CgroupInspection>,
    /// Mappings, descriptors and threads beyond the bound, which are not listed.
    pub left_out: u64,
    /// Time since boot at which the mappings were read.
    pub at: Duration,
    /// How long that took: for so long the process could not map, unmap or fault in memory.
    pub cost: Duration,
}

/// A process that ended and is not waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZombieInspection {
    /// Which process.
    pub process: ProcessKey,
    /// Its name.
    pub command: String,
    /// Its parent.
    pub parent: Reading<Pid>,
    /// Name of the parent.
    pub parent_command: Reading<String>,
}

/// How broken up the free memory of a zone is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneInspection {
    /// `NODE/ZONE`.
    pub zone: String,
    /// Free memory.
    pub free: Bytes,
    /// Share of it, in thousandths, of which no huge page could be made without moving others.
    pub unusable_thousandths: Reading<u64>,
}

/// One look at a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineInspection {
    /// All processes with their figures, and the machine's.
    pub beat: Beat,
    /// Processes that ended and are not waited for.
    pub zombies: Vec<ZombieInspection>,
    /// The zones of its memory.
    pub zones: Reading<Vec<ZoneInspection>>,
    /// How long the processes together were kept from mapping memory while their PSS was read.
    pub cost: Duration,
    /// Processes whose PSS was not read, since that would have cost them more than the budget.
    pub over_budget: u64,
}

impl MappingKind {
    /// All kinds, in order.
    pub const ALL: [Self; 8] = [
        Self::Heap,
        Self::Anonymous,
        Self::Stack,
        Self::ThreadStack,
        Self::File,
        Self::Shared,
        Self::Kernel,
        Self::Reserved,
    ];

    /// The word for it, in text and JSON.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Heap => "heap",
            Self::Anonymous => "anonymous",
            Self::Stack => "stack",
            Self::ThreadStack => "thread stack",
            Self::File => "file",
            Self::Shared => "shared",
            Self::Kernel => "kernel",
            Self::Reserved => "reserved",
        }
    }
}

const _: () = {
    let mut index = 0;
    while index < MappingKind::ALL.len() {
        assert!(MappingKind::ALL[index] as usize == index, "all kinds, in order");
        index += 1;
    }
};

impl DescriptorKind {
    /// The word for it, in text and JSON.
    pub const fn key(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Unix => "unix socket",
            Self::Netlink => "netlink",
            Self::Socket => "socket",
            Self::Pipe => "pipe",
            Self::Memory => "memory",
            Self::Anonymous => "anonymous",
            Self::Device => "device",
        }
    }
}

impl MappingUsage {
    /// Memory that is taken, in RAM or in swap: what growth is told from.
    pub fn taken(&self) -> Reading<Bytes> {
        sum(self.rss, self.swap)
    }

    /// Nothing at all.
    pub const NONE: Self = {
        let none = Reading::Known(Bytes(0));
        Self { size: Bytes(0), rss: none, pss: none, uss: none, dirty: none, swap: none, huge: none }
    };

    /// Both together; missing where either is.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            size: self.size.plus(other.size),
            rss: sum(self.rss, other.rss),
            pss: sum(self.pss, other.pss),
            uss: sum(self.uss, other.uss),
            dirty: sum(self.dirty, other.dirty),
            swap: sum(self.swap, other.swap),
            huge: sum(self.huge, other.huge),
        }
    }
}

impl ProcessInspection {
    /// What all listed mappings take together, and how many they are.
    pub fn all_mappings(&self) -> Reading<(MappingUsage, usize)> {
        self.summed(|_| true)
    }

    /// What all mappings of one kind take, and how many they are.
    pub fn of_kind(&self, kind: MappingKind) -> Reading<(MappingUsage, usize)> {
        self.summed(|found| found == kind)
    }

    fn summed(&self, is_asked: impl Fn(MappingKind) -> bool) -> Reading<(MappingUsage, usize)> {
        match &self.mappings {
            Reading::Missing(why) => Reading::Missing(*why),
            Reading::Known(mappings) => {
                let alike = mappings.iter().filter(|mapping| is_asked(mapping.kind));
                Reading::Known(
                    alike.fold((MappingUsage::NONE, 0), |(usage, count), mapping| {
                        (usage.plus(mapping.usage), count + 1)
                    }),
                )
            }
        }
    }
}

fn sum(one: Reading<Bytes>, other: Reading<Bytes>) -> Reading<Bytes> {
    one.with(other, Bytes::plus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Why;

    #[test]
    fn a_sum_with_a_missing_part_is_missing() {
        let known = |bytes| Reading::Known(Bytes(bytes));
        let one = MappingUsage { size: Bytes(8), rss: known(4), pss: known(2), ..MappingUsage::NONE };
        let other = MappingUsage { pss: Reading::Missing(Why::NotOffered), ..one };
        let both = one.plus(other);
        assert_eq!((both.size, both.rss, both.pss), (Bytes(16), known(8), Reading::Missing(Why::NotOffered)));
        assert_eq!(MappingUsage::NONE.plus(one), one);
    }

    #[test]
    fn kinds_have_words_of_their_own() {
        let mut words: Vec<_> = MappingKind::ALL.iter().map(|kind| kind.key()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), MappingKind::ALL.len());
    }
}
