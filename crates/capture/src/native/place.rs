//! Where in the target's address space there is room near its code.
//!
//! Owns: the choice. Must not know: what is put there.

use formats::maps::Mapping;

/// A near jump reaches 2 GiB; some of it is left for the length of what is reached.
const REACH: u64 = (1 << 31) - (1 << 20);
/// Free memory that is left on both sides, so that neighbours can grow a little.
const MARGIN: u64 = 1 << 16;
const LOWEST: u64 = 1 << 20;
const PAGE: u64 = 4096;
/// Large mappings start at a multiple of this, so that they could have huge pages.
const CHUNK: u64 = 1 << 30;

/// An address from which `len` bytes are free and within reach of every address in `near`; the highest one, since low
/// gaps are where a heap grows. None where there is no such place.
pub(crate) fn near(mappings: &[Mapping<'_>], near: &[u64], len: u64) -> Option<u64> {
    let (low_site, high_site) = (*near.iter().min()?, *near.iter().max()?);
    let lowest = high_site.saturating_sub(REACH).max(LOWEST);
    let highest = low_site.saturating_add(REACH).min(1 << 47);
    let fits = |low: u64, high: u64| {
        let (low, high) = (low.saturating_add(MARGIN).max(lowest), high.saturating_sub(MARGIN).min(highest));
        let at = high.checked_sub(len)? & !(PAGE - 1);
        (at >= low).then_some(at)
    };
    let mut gaps = mappings.windows(2).rev().filter(|pair| !grows_down(&pair[1]));
    gaps.find_map(|pair| fits(pair[0].addresses.end, pair[1].addresses.start))
}

/// An address with room for `len` bytes that is in nobody's way: in the middle of the largest gap, which is the one between
/// a program's heap and its libraries. None where no gap is large enough.
pub(crate) fn far(mappings: &[Mapping<'_>], len: u64) -> Option<u64> {
    let gaps = mappings.windows(2).map(|pair| pair[0].addresses.end..pair[1].addresses.start);
    let user = gaps.filter(|gap| gap.end <= 1 << 47 && gap.start < gap.end);
    let largest = user.max_by_key(|gap| gap.end - gap.start)?;
    let spare = (largest.end - largest.start).checked_sub(len)?;
    let at = (largest.start + spare / 2).next_multiple_of(CHUNK);
    (at + len <= largest.end).then_some(at)
}

/// The main stack grows into the gap below it.
fn grows_down(mapping: &Mapping<'_>) -> bool {
    mapping.name == b"[stack]"
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"\
00400000-00500000 r-xp 00000000 08:01 1 /bin/program
00900000-00a00000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000200000 r-xp 00000000 08:01 2 /lib/libc.so
7f0000300000-7f0000400000 r-xp 00000000 08:01 3 /lib/ld.so
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]
";

    #[track_caller]
    fn check(addresses: &[u64], len: u64, expected: Option<u64>) {
        let mappings: Vec<_> = formats::maps::parse(MAPS).collect();
        assert_eq!(near(&mappings, addresses, len), expected, "{:x?}", near(&mappings, addresses, len));
    }

    #[test]
    fn the_highest_gap_within_reach_is_taken() {
        check(&[0x7f00_0010_0000], 0x4000, Some(0x7f00_002e_c000));
        // Too long for the gap between the libraries: below them.
        check(&[0x7f00_0010_0000], 0x10_0000, Some(0x7eff_ffef_0000));
    }

    #[test]
    fn large_memory_goes_where_nobody_grows() {
        let mappings: Vec<_> = formats::maps::parse(MAPS).collect();
        let at = far(&mappings, 1 << 38).unwrap();
        assert!(at > 1 << 45 && at + (1 << 38) < 0x7e00_0000_0000 && at.is_multiple_of(CHUNK), "{at:#x}");
        assert_eq!(far(&mappings, 1 << 47), None);
        assert_eq!(far(&[], 4096), None);
    }

    #[test]
    fn nothing_is_put_below_the_stack_or_out_of_reach() {
        check(&[0x7ffc_0001_0000], 0x4000, None);
        check(&[0x40_1000, 0x7f00_0010_0000], 0x4000, None);
    }

    #[test]
    fn a_fixed_program_finds_room_above_its_heap_within_reach() {
        let at = {
            let mappings: Vec<_> = formats::maps::parse(MAPS).collect();
            near(&mappings, &[0x40_1000], 0x4000).unwrap()
        };
        assert!(at > 0xa0_0000 && at < 0x40_1000 + REACH, "{at:#x}");
    }
}
