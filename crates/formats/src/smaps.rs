//! `/proc/PID/smaps` and `smaps_rollup`: what each mapping really takes.
//!
//! Owns: the figures that follow a mapping's line. Must not know: what a mapping is used for.
//!
//! Reading either makes the kernel walk all page tables of the target while it holds the lock of its mappings (10 ms per
//! GiB of small pages), which is why it is done on demand only.

use model::{Bytes, Reading, Why};

use crate::maps::{self, Mapping};
use crate::scan;

/// What one mapping, or all of them, take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// `Rss`: pages in RAM.
    pub rss: Reading<Bytes>,
    /// `Pss`: pages in RAM, shared ones divided by the number of those who share them.
    pub pss: Reading<Bytes>,
    /// `Private_Clean`, `Private_Dirty` and `Private_Hugetlb`: pages that nobody else has.
    pub uss: Reading<Bytes>,
    /// `Shared_Dirty` and `Private_Dirty`: pages in RAM that were written and not saved since.
    pub dirty: Reading<Bytes>,
    /// `Anonymous`: pages that belong to no file.
    pub anonymous: Reading<Bytes>,
    /// `Swap`.
    pub swap: Reading<Bytes>,
    /// `SwapPss`.
    pub swap_pss: Reading<Bytes>,
    /// `AnonHugePages`, `ShmemPmdMapped`, `FilePmdMapped` and both kinds of `Hugetlb`: pages that are huge.
    pub huge: Reading<Bytes>,
    /// `Locked`.
    pub locked: Reading<Bytes>,
}

impl Usage {
    const NONE: Self = {
        let absent = Reading::Missing(Why::NotOffered);
        Self {
            rss: absent,
            pss: absent,
            uss: absent,
            dirty: absent,
            anonymous: absent,
            swap: absent,
            swap_pss: absent,
            huge: absent,
            locked: absent,
        }
    };

    fn take(&mut self, name: &[u8], value: &[u8]) {
        let slot = match name {
            b"Rss" => &mut self.rss,
            b"Pss" => &mut self.pss,
            b"Anonymous" => &mut self.anonymous,
            b"Swap" => &mut self.swap,
            b"SwapPss" => &mut self.swap_pss,
            b"Locked" => &mut self.locked,
            b"Private_Clean" => return add(&mut self.uss, value),
            b"Shared_Dirty" => return add(&mut self.dirty, value),
            b"Private_Dirty" => {
                add(&mut self.uss, value);
                return add(&mut self.dirty, value);
            }
            b"Private_Hugetlb" => {
                add(&mut self.uss, value);
                return add(&mut self.huge, value);
            }
            b"AnonHugePages" | b"ShmemPmdMapped" | b"FilePmdMapped" | b"Shared_Hugetlb" => {
                return add(&mut self.huge, value);
            }
            _ => return,
        };
        *slot = scan::kibibytes(value);
    }
}

/// The mappings with what they take, in the order in which they stand.
pub fn parse(bytes: &[u8]) -> impl Iterator<Item = (Mapping<'_>, Usage)> {
    let mut lines = scan::lines(bytes).peekable();
    std::iter::from_fn(move || {
        // Figures that stand before the first mapping belong to nobody: the text was cut at its start.
        let mapping = lines.by_ref().find_map(mapping)?;
        let mut usage = Usage::NONE;
        while let Some((name, value)) = lines.next_if(|line| self::mapping(line).is_none()).map(field) {
            usage.take(name, value);
        }
        Some((mapping, usage))
    })
}

/// The sum over all mappings, from `smaps_rollup`.
pub fn rollup(bytes: &[u8]) -> Usage {
    let mut usage = Usage::NONE;
    for (name, value) in scan::lines(bytes).map(field) {
        usage.take(name, value);
    }
    usage
}

/// A line of figures is no mapping: it has no range of addresses.
fn mapping(line: &[u8]) -> Option<Mapping<'_>> {
    // Names of figures begin with a capital letter, addresses never do: most lines are told apart by one byte.
    if line.first().is_some_and(u8::is_ascii_uppercase) {
        return None;
    }
    maps::parse(line).next()
}

fn field(line: &[u8]) -> (&[u8], &[u8]) {
    scan::split_at_byte(line, b':').unwrap_or((line, &[]))
}

fn add(slot: &mut Reading<Bytes>, value: &[u8]) {
    let part = scan::kibibytes(value);
    // Nothing was there yet: the first part begins the sum. What is malformed stays so, or the rest would pass for the whole.
    *slot = if *slot == Reading::Missing(Why::NotOffered) { part } else { slot.with(part, Bytes::plus) };
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "55f2-55f5 r--p 00000000 fe:00 7 /bin/a\nSize: 12 kB\nRss: 8 kB\nPss: 4 kB\nShared_Clean: 8 kB\nShared_Dirty: 7 kB\nPrivate_Clean: 1 kB\n\
        Private_Dirty: 2 kB\nAnonymous: 3 kB\nAnonHugePages: 4 kB\nFilePmdMapped: 5 kB\nShared_Hugetlb: 0 kB\nPrivate_Hugetlb: 6 kB\nSwap: 9 kB\n\
        SwapPss: 10 kB\nLocked: 11 kB\nTHPeligible:           0\nVmFlags: rd mr mw me \nabc0-abd0 rw-p 00000000 00:00 0 \nRss: 1 kB\n";

    /// RSS, PSS, USS, dirty, anonymous, swap, its PSS, huge, locked in KiB; `-` absent, `!` malformed.
    fn written(usage: &Usage) -> String {
        let all = [
            usage.rss,
            usage.pss,
            usage.uss,
            usage.dirty,
            usage.anonymous,
            usage.swap,
            usage.swap_pss,
            usage.huge,
            usage.locked,
        ];
        let one = |reading: &Reading<Bytes>| match reading {
            Reading::Known(bytes) => (bytes.0 / 1024).to_string(),
            Reading::Missing(Why::NotOffered) => "-".to_owned(),
            Reading::Missing(_) => "!".to_owned(),
        };
        all.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let one = |(mapping, usage): (Mapping<'_>, Usage)| format!("{:x} {}", mapping.addresses.start, written(&usage));
        assert_eq!(parse(text.as_bytes()).map(one).collect::<Vec<_>>().join("; "), expected);
    }

    #[test]
    fn figures_follow_their_mapping() {
        check(TWO, "55f2 8 4 9 9 3 9 10 15 11; abc0 1 - - - - - - - -");
        check("", "");
    }

    #[test]
    fn what_is_malformed_is_missing() {
        check(
            "1-2 r--p 0 0:0 0\nRss: x kB\nPrivate_Clean: 1 kB\nPrivate_Dirty: y\nPrivate_Hugetlb: 1 kB\n",
            "1 ! - ! ! - - - 1 -",
        );
        check("garbage\nRss: 1 kB\n", "");
    }

    #[test]
    fn the_sum_stands_alone() {
        let text =
            b"55f2-7fff ---p 00000000 00:00 0    [rollup]\nRss: 8 kB\nPss: 5 kB\nPss_Anon: 4 kB\nPrivate_Dirty: 3 kB\n";
        assert_eq!(written(&rollup(text)), "8 5 3 3 - - - - -");
    }

    #[test]
    fn a_name_cannot_forge_a_figure() {
        check("1-2 r--p 0 0:0 5 /a Rss: 7 kB\nRss: 1 kB\n", "1 1 - - - - - - - -");
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        for seed in 0..10_000 {
            let bytes = scan::noise(seed, b"1-2 rwxp 00:0 Rss: kB\n");
            assert!(parse(&bytes).all(|(mapping, _)| mapping.size() > 0));
            let _ = rollup(&bytes);
        }
    }
}
