//! Where in the target's address space there is room near its code.
//!
//! Owns: the choice. Must not know: what is put there.

use formats::maps::Mapping;

/// A near jump reaches 2 GiB; some of it is left for the length of what is reached.
const REACH: u64 = (1 << 31) - (1 << 20);
/// Free memory that is left on both sides, so that neighbours can grow a little.
const MARGIN: u64 = 1 << 16;
const LOWEST: u64 = 1 << 20;
/// Functions that lie further apart get areas of their own.
const GROUP: u64 = 1 << 30;
const PAGE: u64 = 4096;
/// Large mappings start at a multiple of this, so that they could have huge pages.
const CHUNK: u64 = 1 << 30;

/// An address from which `len` bytes are free and within reach of every address in `near`. None where there is none.
///
/// The kernel puts new mappings (stacks of threads, libraries, large blocks) at the top of the highest gap that is large
/// enough, and heaps grow into the bottom of theirs. So the middle of the largest range is taken, where nobody comes by.
pub(crate) fn near(mappings: &[Mapping<'_>], near: &[u64], len: u64) -> Option<u64> {
    let (low_site, high_site) = (*near.iter().min()?, *near.iter().max()?);
    let lowest = high_site.saturating_sub(REACH).max(LOWEST);
    let highest = low_site.saturating_add(REACH).min(1 << 47);
    let room = |from: u64, to: u64| {
        let low = from.saturating_add(MARGIN).max(lowest);
        let high = to.saturating_sub(MARGIN).min(highest);
        high.checked_sub(len).filter(|last| *last >= low).map(|last| (low, last))
    };
    let gaps = mappings.windows(2).filter(|pair| !grows_down(&pair[1]));
    let ranges = gaps.filter_map(|pair| room(pair[0].addresses.end, pair[1].addresses.start));
    let below = || room(0, top_program(mappings)?);
    let (low, last) = ranges.max_by_key(|(low, last)| last - low).or_else(below)?;
    Some((low + (last - low) / 2) & !(PAGE - 1)).filter(|at| *at >= low)
}

/// A range of free memory for the sites of functions that lie near one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) at: u64,
    pub(crate) len: u64,
}

/// Where everything goes.
#[derive(Debug)]
pub(crate) struct Areas {
    pub(crate) areas: Vec<Area>,
    /// For each function the number of its area and the address of its site.
    pub(crate) places: Vec<(usize, u64)>,
}

/// For each function an area that is within reach of it, and a place for its site there. A program and its libraries lie
/// too far apart for one area; the first one also has room for `extra` bytes before its sites. None where there is no room.
pub(crate) fn areas(mappings: &[Mapping<'_>], functions: &[u64], extra: u64, site: u64) -> Option<Areas> {
    let mut order: Vec<usize> = (0..functions.len()).collect();
    order.sort_by_key(|i| functions.get(*i).copied());
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let address = |i: usize| functions.get(i).copied().unwrap_or(0);
    for i in order {
        match groups.last_mut().filter(|group| group.first().is_some_and(|first| address(i) - address(*first) < GROUP))
        {
            Some(group) => group.push(i),
            None => groups.push(vec![i]),
        }
    }
    // The agent itself goes where the last group is: beside libraries there is more room than beside a program's heap.
    groups.reverse();
    let mut areas: Vec<Area> = Vec::new();
    let mut places = vec![(0, 0); functions.len()];
    for (number, group) in groups.iter().enumerate() {
        let before = if number == 0 { extra } else { 0 };
        let len = before + (group.len() as u64 * site).next_multiple_of(PAGE);
        let reached: Vec<u64> = group.iter().map(|i| address(*i)).collect();
        let at = near(&with(mappings, &areas), &reached, len)?;
        for (nth, i) in group.iter().enumerate() {
            if let Some(place) = places.get_mut(*i) {
                *place = (number, at + before + nth as u64 * site);
            }
        }
        areas.push(Area { at, len });
    }
    Some(Areas { areas, places })
}

/// The mappings as they will be when these areas are taken.
fn with<'text>(mappings: &[Mapping<'text>], areas: &[Area]) -> Vec<Mapping<'text>> {
    let mut all = mappings.to_vec();
    let Some(any) = mappings.first() else { return all };
    for area in areas {
        all.push(Mapping { addresses: area.at..area.at + area.len, name: b"", ..any.clone() });
    }
    all.sort_by_key(|mapping| mapping.addresses.start);
    all
}

/// An address with room for `len` bytes that is in nobody's way: in the middle of the largest gap, which is the one between
/// a program's heap and its libraries. None where no gap is large enough.
pub(crate) fn far(mappings: &[Mapping<'_>], len: u64) -> Option<u64> {
    let gaps = mappings.windows(2).map(|pair| pair[0].addresses.end..pair[1].addresses.start);
    let user = gaps.filter(|gap| gap.end <= 1 << 47 && gap.start < gap.end);
    let largest = user.max_by_key(|gap| gap.end - gap.start).filter(|gap| gap.end - gap.start >= len);
    let largest = largest.or_else(|| Some(LOWEST..top_program(mappings)?))?;
    let spare = (largest.end - largest.start).checked_sub(len)?;
    let at = (largest.start + spare / 2).next_multiple_of(CHUNK);
    (at + len <= largest.end).then_some(at)
}

/// Where a static program begins that the kernel has put at the top of the address space: there is no mapping below it.
fn top_program(mappings: &[Mapping<'_>]) -> Option<u64> {
    const TOP: u64 = 1 << 46;
    mappings.first().map(|mapping| mapping.addresses.start).filter(|start| *start >= TOP)
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
    fn the_middle_of_the_largest_range_within_reach_is_taken() {
        // From 2 GiB below the function to the libraries; the gap between the libraries is smaller.
        let (low, high) = (0x7f00_0010_0000 - REACH, 0x7f00_0000_0000 - MARGIN);
        check(&[0x7f00_0010_0000], 0x4000, Some((low + (high - 0x4000 - low) / 2) & !(PAGE - 1)));
    }

    #[test]
    fn below_a_program_at_the_top_there_is_room() {
        let maps = "7ffff7f00000-7ffff8000000 r-xp 00000000 08:01 1 /bin/static\n7ffffffde000-7ffffffff000 rw-p 0 00:00 0 [stack]\n";
        let mappings: Vec<_> = formats::maps::parse(maps.as_bytes()).collect();
        let site = 0x7fff_f7f0_1000;
        let at = near(&mappings, &[site], 0x8000).expect("there is room below");
        assert!(at < 0x7fff_f7f0_0000 && site - at < REACH, "{at:x}");
        let at = far(&mappings, 1 << 40).expect("and far away");
        assert!(at > LOWEST && at + (1 << 40) < 0x7fff_f7f0_0000, "{at:x}");
    }

    #[test]
    fn a_place_is_within_reach_and_free() {
        let mappings: Vec<_> = formats::maps::parse(MAPS).collect();
        for site in [0x40_1000, 0x4f_0000, 0x7f00_0000_1000, 0x7f00_003f_0000] {
            let at = near(&mappings, &[site], 0x8000).unwrap();
            assert!(at.abs_diff(site) < 1 << 31 && (at + 0x8000).abs_diff(site) < 1 << 31, "{at:#x}");
            assert!(mappings.iter().all(|m| at + 0x8000 <= m.addresses.start || m.addresses.end <= at), "{at:#x}");
        }
    }

    #[test]
    fn functions_that_lie_far_apart_have_areas_of_their_own() {
        let mappings: Vec<_> = formats::maps::parse(MAPS).collect();
        let functions = [0x7f00_0010_0000, 0x40_1000, 0x7f00_0010_0400];
        let Areas { areas, places } = areas(&mappings, &functions, 0x3000, 128).unwrap();
        assert_eq!(areas.len(), 2);
        assert_eq!((areas[0].len, areas[1].len), (0x4000, 0x1000));
        assert_eq!(places[0], (0, areas[0].at + 0x3000));
        assert_eq!(places[2], (0, areas[0].at + 0x3000 + 128));
        assert_eq!(places[1], (1, areas[1].at));
        for (function, (_, site)) in functions.iter().zip(places) {
            assert!(function.abs_diff(site) < REACH, "{function:#x} {site:#x}");
        }
    }

    #[test]
    fn areas_do_not_overlap() {
        let mappings: Vec<_> = formats::maps::parse(MAPS).collect();
        // Far apart for one area, yet the same gap is within reach of both.
        let Areas { areas, .. } = areas(&mappings, &[0x40_1000, 0x40_1000 + GROUP], 0, 128).unwrap();
        assert!(areas[0].at + areas[0].len <= areas[1].at || areas[1].at + areas[1].len <= areas[0].at, "{areas:x?}");
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

    /// Mappings as `start-end name` in hexadecimal; the place for so many bytes near so many addresses.
    #[track_caller]
    fn check_near(maps: &[(u64, u64, &str)], addresses: &[u64], len: u64, expected: Option<u64>) {
        let line = |(start, end, name): &(u64, u64, &str)| format!("{start:x}-{end:x} r-xp 0 08:01 1 {name}\n");
        let text: String = maps.iter().map(line).collect();
        let mappings: Vec<_> = formats::maps::parse(text.as_bytes()).collect();
        let found = near(&mappings, addresses, len);
        assert_eq!(found, expected, "{found:x?} near {addresses:x?}");
    }

    #[test]
    fn a_gap_has_to_hold_the_length_and_both_margins() {
        let maps = |gap: u64| [(0x1000_0000, 0x1001_0000, "/a"), (0x1001_0000 + gap, 0x2000_0000, "/b")];
        let at = 0x1001_0000 + MARGIN;
        check_near(&maps(2 * MARGIN + PAGE), &[0x1000_0000], PAGE, Some(at));
        check_near(&maps(2 * MARGIN + PAGE - 1), &[0x1000_0000], PAGE, None);
        check_near(&maps(2 * MARGIN + 3 * PAGE), &[0x1000_0000], PAGE, Some(at + PAGE));
    }

    #[test]
    fn nothing_is_put_where_the_main_stack_grows() {
        let maps = |above| [(0x1000_0000, 0x1001_0000, "/a"), (0x2000_0000, 0x2001_0000, above)];
        let middle = ((0x1001_0000 + 0x2000_0000 - PAGE) / 2) & !(PAGE - 1);
        check_near(&maps("/b"), &[0x1000_0000], PAGE, Some(middle));
        check_near(&maps("[stack]"), &[0x1000_0000], PAGE, None);
    }

    #[test]
    fn the_lowest_megabyte_stays_free() {
        let maps = |second| [(0x1000, 0x2000, "/a"), (second, second + PAGE, "/b")];
        check_near(&maps(LOWEST + MARGIN + PAGE), &[0x1000], PAGE, Some(LOWEST));
        check_near(&maps(LOWEST + MARGIN), &[0x1000], PAGE, None);
    }

    #[test]
    fn what_no_jump_reaches_is_no_place() {
        let maps = |at| [(0x1000_0000, 0x1001_0000, "/a"), (at, at + PAGE, "/b"), (at + (1 << 28), 1 << 46, "/c")];
        // The gap behind the first mapping is full in effect: only the one behind the second has room.
        let full = |at: u64| [(0x1000_0000, at, "/a"), (at + (1 << 28), 1 << 46, "/c")];
        check_near(&full(0x1000_0000 + REACH), &[0x1000_0000], PAGE, None);
        let just = 0x1000_0000 + REACH - MARGIN - PAGE;
        check_near(&full(just), &[0x1000_0000], PAGE, Some(just + MARGIN));
        // Two functions that lie further apart than twice the reach have no place in common.
        check_near(&maps(0x2000_0000), &[0x1000_0000, 0x1000_0000 + 2 * REACH + PAGE], PAGE, None);
        check_near(&maps(0x2000_0000), &[], PAGE, None);
    }

    /// Where large memory goes, in gaps of so many chunks between mappings of one chunk.
    #[track_caller]
    fn check_far(gaps: &[u64], chunks: u64, expected: Option<u64>) {
        let page = |at: u64| format!("{at:x}-{:x} r-xp 0 08:01 1 /a\n", at + CHUNK);
        let starts = gaps.iter().scan(0, |at, gap| {
            *at += (gap + 1) * CHUNK;
            Some(*at)
        });
        let text: String = std::iter::once(0).chain(starts).map(page).collect();
        let mappings: Vec<_> = formats::maps::parse(text.as_bytes()).collect();
        let found = far(&mappings, chunks * CHUNK);
        assert_eq!(found.map(|at| at / CHUNK), expected, "gaps {gaps:?}");
    }

    #[test]
    fn large_memory_takes_the_middle_of_the_largest_gap() {
        check_far(&[10], 2, Some(5));
        check_far(&[10, 20], 2, Some(21));
        check_far(&[20, 10], 2, Some(10));
        check_far(&[10], 10, Some(1));
        check_far(&[10], 11, None);
        check_far(&[10, 10], 11, None);
    }

    #[test]
    fn what_lies_beyond_the_addresses_of_programs_is_no_gap() {
        check_far(&[100, 1 << 17], 2, Some(50));
        check_far(&[1 << 17], 2, None);
    }
}
