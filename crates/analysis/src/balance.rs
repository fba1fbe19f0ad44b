//! The closing balance: where all the memory of the machine is, and what nobody explains.
//!
//! Owns: which figures add up and which are contained in others. Must not know: how a balance is shown.
//!
//! What would be counted twice, and how it is not:
//! - `Cached` contains `Shmem`; `Mapped`, `Dirty`, `Active…`, `Inactive…`, `Unevictable` and `Mlocked` only cut the same pages
//!   another way; `AnonHugePages`, `ShmemHugePages` and `FileHugePages` are in `AnonPages`, `Shmem` and `Cached`.
//! - Two processes after a fork share pages that the `RssAnon` of both counts, so that a sum over processes may exceed
//!   what there is. `AnonPages` counts each once: it is the part, the sum is only told beside it.
//! - `SwapCached` pages that are mapped are in `AnonPages` or `Shmem` too. What is not is a remainder of no known
//!   size, and stays in the unexplained.
//! - Kernel stacks are mapped by vmalloc on this architecture, so that `VmallocUsed` contains `KernelStack`.
//! - `KReclaimable` contains `SReclaimable`.
//! - `HugePages_*` are reserved whether used or not, and neither in `AnonPages` nor in any process's RSS.

use model::{Bytes, MemorySample, Reading, SystemSample, Why};

/// One part of the balance; each byte of the machine belongs to at most one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BalancePart {
    /// Private memory of processes: `AnonPages`.
    Processes,
    /// Files in RAM, which the kernel drops when it needs room: `Cached` without `Shmem`, and `Buffers`.
    PageCache,
    /// Shared memory and the contents of tmpfs: `Shmem`.
    SharedMemory,
    /// Objects of the kernel that it can drop: `SReclaimable`.
    SlabReclaimable,
    /// Objects of the kernel that it cannot drop: `SUnreclaim`.
    SlabUnreclaimable,
    /// Other kernel memory that can be dropped: `KReclaimable` without `SReclaimable`.
    KernelReclaimable,
    /// `PageTables` and `SecPageTables`.
    PageTables,
    /// `KernelStack`.
    KernelStacks,
    /// `VmallocUsed` without the kernel stacks.
    Vmalloc,
    /// `Percpu`.
    PerCpu,
    /// Reserved huge pages: `Hugetlb`, or where that is missing `HugePages_Total` times `Hugepagesize`.
    HugePages,
    /// Swapped pages that are kept compressed in RAM: `Zswap`.
    CompressedSwap,
    /// `Bounce`, `NFS_Unstable` and `WritebackTmp`.
    Buffers,
    /// `MemFree`.
    Free,
}

/// Where the memory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// `MemTotal`.
    pub total: Reading<Bytes>,
    /// Each part once, in the order of the type. One that the kernel does not count is missing, and its memory is unexplained.
    pub parts: Vec<(BalancePart, Reading<Bytes>)>,
    /// The total less all parts that are known. Drivers, zram, firmware and leaks of the kernel show here. Negative where the
    /// kernel counts something twice, or its figures are of different moments: its counters are summed up lazily.
    pub unexplained: Reading<i64>,
    /// Private memory in RAM summed over the processes that could be read: more than its part where forks share pages, less
    /// where processes could not be read.
    pub processes_anon: Bytes,
    /// Private memory in swap, summed likewise.
    pub processes_swap: Bytes,
    /// Processes in these sums.
    pub processes_counted: u32,
    /// Processes whose memory could not be read.
    pub processes_unreadable: u32,
}

impl BalancePart {
    /// All parts, in order.
    pub const ALL: [Self; 14] = [
        Self::Processes,
        Self::PageCache,
        Self::SharedMemory,
        Self::SlabReclaimable,
        Self::SlabUnreclaimable,
        Self::KernelReclaimable,
        Self::PageTables,
        Self::KernelStacks,
        Self::Vmalloc,
        Self::PerCpu,
        Self::HugePages,
        Self::CompressedSwap,
        Self::Buffers,
        Self::Free,
    ];

    /// The word for it, in text and JSON.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::PageCache => "page cache",
            Self::SharedMemory => "shared memory",
            Self::SlabReclaimable => "slab, reclaimable",
            Self::SlabUnreclaimable => "slab, unreclaimable",
            Self::KernelReclaimable => "kernel, reclaimable",
            Self::PageTables => "page tables",
            Self::KernelStacks => "kernel stacks",
            Self::Vmalloc => "vmalloc",
            Self::PerCpu => "per cpu",
            Self::HugePages => "huge pages",
            Self::CompressedSwap => "compressed swap",
            Self::Buffers => "transfer buffers",
            Self::Free => "free",
        }
    }

    /// Without these no balance can be drawn up: every kernel has them, and they are most of the memory.
    const fn is_essential(self) -> bool {
        matches!(self, Self::Processes | Self::PageCache | Self::Free | Self::SlabReclaimable | Self::SlabUnreclaimable)
    }

    fn read(self, system: &SystemSample) -> Reading<Bytes> {
        let get = |name| system.meminfo(name);
        match self {
            Self::Processes => get("AnonPages"),
            Self::PageCache => plus(less(get("Cached"), get("Shmem")), get("Buffers")),
            Self::SharedMemory => get("Shmem"),
            Self::SlabReclaimable => get("SReclaimable"),
            Self::SlabUnreclaimable => get("SUnreclaim"),
            Self::KernelReclaimable => less(get("KReclaimable"), get("SReclaimable")),
            Self::PageTables => plus(get("PageTables"), get("SecPageTables")),
            Self::KernelStacks => get("KernelStack"),
            Self::Vmalloc => less(get("VmallocUsed"), get("KernelStack")),
            Self::PerCpu => get("Percpu"),
            Self::HugePages => huge_pages(system),
            Self::CompressedSwap => get("Zswap"),
            Self::Buffers => plus(plus(get("Bounce"), get("NFS_Unstable")), get("WritebackTmp")),
            Self::Free => get("MemFree"),
        }
    }
}

/// Draws up the balance from one sample of the machine and the memory of its processes at the same moment.
pub fn balance(system: &SystemSample, processes: impl IntoIterator<Item = MemorySample>) -> Balance {
    let total = system.meminfo("MemTotal");
    let parts: Vec<_> = BalancePart::ALL.into_iter().map(|part| (part, part.read(system))).collect();
    let unexplained = match total {
        Reading::Known(total) => unexplained(total, &parts),
        Reading::Missing(why) => Reading::Missing(why),
    };
    let (processes_anon, processes_swap) = (Bytes(0), Bytes(0));
    let mut balance = Balance {
        total,
        parts,
        unexplained,
        processes_anon,
        processes_swap,
        processes_counted: 0,
        processes_unreadable: 0,
    };
    for memory in processes {
        balance.count(&memory);
    }
    balance
}

const _: () = {
    let mut index = 0;
    while index < BalancePart::ALL.len() {
        assert!(BalancePart::ALL[index] as usize == index, "all parts, each once, in order");
        index += 1;
    }
};

impl Balance {
    fn count(&mut self, memory: &MemorySample) {
        // Both or none: a process of which only one is known would make the two sums be about different processes.
        if let (Reading::Known(anon), Reading::Known(swap)) = (memory.anon, memory.swap) {
            self.processes_anon = self.processes_anon.plus(anon);
            self.processes_swap = self.processes_swap.plus(swap);
            self.processes_counted += 1;
        } else {
            self.processes_unreadable += 1;
        }
    }
}

fn unexplained(total: Bytes, parts: &[(BalancePart, Reading<Bytes>)]) -> Reading<i64> {
    // 128 bits: fourteen figures of a forged recording may each be the greatest number.
    let mut explained = 0i128;
    for (part, bytes) in parts {
        match bytes {
            Reading::Known(bytes) => explained += i128::from(bytes.0),
            Reading::Missing(why) if part.is_essential() => return Reading::Missing(*why),
            Reading::Missing(_) => {}
        }
    }
    debug_assert!(explained >= 0, "no part is negative");
    Reading::from_option(i64::try_from(i128::from(total.0) - explained).ok(), Why::Malformed)
}

/// What remains without a part that is contained; the part may be newer by some pages. Without the part, the whole.
fn less(whole: Reading<Bytes>, part: Reading<Bytes>) -> Reading<Bytes> {
    whole.map(|whole| Bytes(whole.0.saturating_sub(part.known().unwrap_or_default().0)))
}

/// Both, or the one that the kernel has.
fn plus(one: Reading<Bytes>, other: Reading<Bytes>) -> Reading<Bytes> {
    match (one, other) {
        (Reading::Known(one), Reading::Known(other)) => Reading::Known(one.plus(other)),
        (Reading::Missing(_), Reading::Known(_)) => other,
        (one, Reading::Missing(_)) => one,
    }
}

fn huge_pages(system: &SystemSample) -> Reading<Bytes> {
    let all_sizes = system.meminfo("Hugetlb");
    if all_sizes.as_known().is_some() {
        return all_sizes;
    }
    // Before 4.20 only the default size is told.
    let (count, size) = (system.meminfo("HugePages_Total"), system.meminfo("Hugepagesize"));
    count.with(size, |count, size| Bytes(count.0.saturating_mul(size.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Figure, FigureKey, Source, SourceSample};

    fn system(words: &str) -> SystemSample {
        let one = |word: &str| {
            let (name, value) = word.split_once('=').unwrap();
            let key = FigureKey { subject: "".into(), name: name.into() };
            Figure { key, value: Reading::Known(value.parse().unwrap()) }
        };
        let figures = Reading::Known(words.split_whitespace().map(one).collect());
        SystemSample { sources: vec![SourceSample { source: Source::Meminfo, figures }] }
    }

    /// Known parts that are not zero, and what is unexplained.
    #[track_caller]
    fn check(words: &str, expected: &str) {
        let found = balance(&system(words), []);
        let mut text: Vec<String> = Vec::new();
        for (part, bytes) in &found.parts {
            text.extend(bytes.known().filter(|bytes| bytes.0 > 0).map(|bytes| format!("{}={}", part.key(), bytes.0)));
        }
        text.push(match found.unexplained {
            Reading::Known(bytes) => format!("unexplained={bytes}"),
            Reading::Missing(why) => why.to_string(),
        });
        assert_eq!(text.join(" "), expected);
    }

    const SMALL: &str =
        "MemTotal=1000 MemFree=300 AnonPages=200 Cached=150 Shmem=50 Buffers=20 SReclaimable=60 SUnreclaim=40 ";

    #[test]
    fn each_byte_belongs_to_one_part() {
        check(
            SMALL,
            "processes=200 page cache=120 shared memory=50 slab, reclaimable=60 slab, unreclaimable=40 free=300 unexplained=230",
        );
        check(
            &format!(
                "{SMALL} KReclaimable=65 PageTables=7 SecPageTables=3 KernelStack=8 VmallocUsed=28 Percpu=2 Hugetlb=100 Zswap=4 Bounce=1"
            ),
            "processes=200 page cache=120 shared memory=50 slab, reclaimable=60 slab, unreclaimable=40 kernel, reclaimable=5 \
             page tables=10 kernel stacks=8 vmalloc=20 per cpu=2 huge pages=100 compressed swap=4 transfer buffers=1 free=300 unexplained=80",
        );
    }

    #[test]
    fn what_is_contained_in_a_part_changes_nothing() {
        let more = "Mapped=99 Dirty=9 Active=300 Inactive=77 Mlocked=5 AnonHugePages=100 SwapCached=9 Slab=100 KReclaimable=60 MemAvailable=500";
        check(
            &format!("{SMALL} {more}"),
            "processes=200 page cache=120 shared memory=50 slab, reclaimable=60 slab, unreclaimable=40 free=300 unexplained=230",
        );
    }

    #[test]
    fn the_unexplained_may_be_negative_and_is_never_guessed() {
        check(
            &SMALL.replace("AnonPages=200", "AnonPages=500"),
            "processes=500 page cache=120 shared memory=50 slab, reclaimable=60 slab, unreclaimable=40 free=300 unexplained=-70",
        );
        check("MemTotal=5 MemFree=1", "free=1 not offered by this kernel");
        check("MemFree=1", "free=1 not offered by this kernel");
    }

    #[test]
    fn huge_pages_of_an_old_kernel() {
        check(
            &format!("{SMALL} HugePages_Total=3 Hugepagesize=10"),
            "processes=200 page cache=120 shared memory=50 slab, reclaimable=60 slab, unreclaimable=40 huge pages=30 free=300 unexplained=200",
        );
    }

    #[test]
    fn processes_are_told_beside_it_and_never_added() {
        let known = |bytes| Reading::Known(Bytes(bytes));
        let gone = Reading::Missing(Why::ProcessGone);
        let one = |anon, swap| MemorySample {
            anon,
            swap,
            file: gone,
            shmem: gone,
            page_tables: gone,
            threads: Reading::Known(1),
        };
        let processes = [one(known(150), known(5)), one(known(150), known(0)), one(gone, known(3))];
        let found = balance(&system(SMALL), processes);
        assert_eq!((found.processes_anon, found.processes_swap), (Bytes(300), Bytes(5)));
        assert_eq!((found.processes_counted, found.processes_unreadable), (2, 1));
        assert_eq!(found.unexplained, Reading::Known(230));
    }

    /// Whatever the figures: parts and unexplained add up to the total.
    #[test]
    fn it_always_closes() {
        for seed in 0..500u64 {
            let figure = |name: &str, factor: u64| format!("{name}={}", seed.wrapping_mul(factor) % 1009);
            let names = [
                "MemFree",
                "AnonPages",
                "Cached",
                "Shmem",
                "Buffers",
                "SReclaimable",
                "SUnreclaim",
                "KernelStack",
                "VmallocUsed",
            ];
            let words: Vec<String> = names
                .iter()
                .zip([7, 11, 13, 17, 19, 23, 29, 31, 37])
                .map(|(name, factor)| figure(name, factor))
                .collect();
            let found = balance(&system(&format!("MemTotal=5000 {}", words.join(" "))), []);
            let sum: u64 = found.parts.iter().filter_map(|(_, bytes)| bytes.known()).map(|bytes| bytes.0).sum();
            assert_eq!(found.unexplained.known().unwrap() + sum as i64, 5000);
        }
    }
}
