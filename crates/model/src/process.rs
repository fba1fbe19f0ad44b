//! Processes and what their memory consists of at one moment.
//!
//! Owns: the identity of a process and the samples of its memory.
//! Must not know: procfs, or what a sequence of samples means.

use std::sync::Arc;
use std::time::Duration;

use crate::{Bytes, Pid, Reading};

/// A process: its pid and when it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessKey {
    /// The process number.
    pub pid: Pid,
    /// Start time in clock ticks since boot.
    pub started: u64,
}

/// What does not change while a process runs (apart from `exec`, `setuid` and moves between cgroups, which are read anew).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Which process.
    pub key: ProcessKey,
    /// The name that the kernel keeps (`comm`, 15 bytes), control characters escaped.
    pub command: String,
    /// The arguments joined by spaces, cut at a documented length, control characters escaped; empty for kernel threads.
    pub arguments: String,
    /// Effective user id.
    pub uid: Reading<u32>,
    /// Name of the user, where the user database has one.
    pub user: Reading<String>,
    /// Path of the cgroup (version 2, or the memory controller of version 1).
    pub cgroup: Reading<String>,
    /// Short id of the container, where the cgroup names one.
    pub container: Option<String>,
    /// Whether it is a thread of the kernel: such a process has no memory of its own.
    pub kernel_thread: bool,
}

/// The memory of one process at one moment; all figures from `/proc/PID/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySample {
    /// `RssAnon`: private memory that was touched and is kept in RAM.
    pub anon: Reading<Bytes>,
    /// `RssFile`: mapped files in RAM.
    pub file: Reading<Bytes>,
    /// `RssShmem`: shared memory and tmpfs pages in RAM.
    pub shmem: Reading<Bytes>,
    /// `VmSwap`: private memory in swap.
    pub swap: Reading<Bytes>,
    /// `VmPTE`: page tables.
    pub page_tables: Reading<Bytes>,
    /// `Threads`.
    pub threads: Reading<u32>,
}

/// One process in one sample of the machine.
#[derive(Clone, Debug)]
pub struct ProcessSample {
    /// Which process; shared between samples, since it seldom changes.
    pub identity: Arc<Identity>,
    /// Its memory.
    pub memory: MemorySample,
}

/// All processes at one beat.
#[derive(Clone, Debug)]
pub struct MachineSample {
    /// Time since the sampler started, on a clock that does not jump (it goes on during suspend).
    pub at: Duration,
    /// All processes that were asked for, in order of their pid.
    pub processes: Vec<ProcessSample>,
    /// `MemTotal`.
    pub memory_total: Reading<Bytes>,
    /// `MemAvailable`.
    pub memory_available: Reading<Bytes>,
    /// Processes that vanished while they were read.
    pub vanished: u32,
}

impl MemorySample {
    /// RSS as the kernel defines it: anon + file + shmem (`get_mm_rss`). Summed here, so that it is missing
    /// where a part is, and the parts that are shown beside it always add up to it.
    pub fn rss(&self) -> Reading<Bytes> {
        sum([self.anon, self.file, self.shmem])
    }

    /// The leak signal: anon + swap, which swapping out does not change. Files and shared memory are left out: the kernel drops the first
    /// when it needs room, and the second counts for whoever touches it.
    pub fn private(&self) -> Reading<Bytes> {
        sum([self.anon, self.swap])
    }
}

fn sum<const N: usize>(parts: [Reading<Bytes>; N]) -> Reading<Bytes> {
    let mut total = Bytes(0);
    for part in parts {
        match part {
            Reading::Known(bytes) => total = total.plus(bytes),
            Reading::Missing(why) => return Reading::Missing(why),
        }
    }
    Reading::Known(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Why;

    #[test]
    fn a_sum_with_a_missing_part_is_missing() {
        let sample = MemorySample {
            anon: Reading::Known(Bytes(1)),
            file: Reading::Known(Bytes(2)),
            shmem: Reading::Known(Bytes(4)),
            swap: Reading::Missing(Why::ProcessGone),
            page_tables: Reading::Missing(Why::ProcessGone),
            threads: Reading::Known(1),
        };
        assert_eq!(sample.rss(), Reading::Known(Bytes(7)));
        assert_eq!(sample.private(), Reading::Missing(Why::ProcessGone));
    }
}
