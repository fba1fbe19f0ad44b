//! Which parts of the target's memory hold recorded blocks, so that the free of one that is not recorded finds that out by two readings.
//!
//! Owns: what a mark says, and where it lies. Must not know: who sets it.
//!
//! While blocks are sampled hardly any is recorded, but nearly every place in a heap was held by a sampled block at some time:
//! a mark therefore counts them. Another bit says that there are large ones, so that nobody looks for those where the others are found and makes
//! pages of the table by looking. A part where a block was recorded while every one was keeps a mark of its own, until leakline takes it
//! away.
//!
//! Even to read a mark that was never set would make a page of the file. So the marks of an *area*, which is larger, lie together, and a
//! word for each area tells where. Areas in which nothing was recorded share marks that say so, and those in which only large blocks
//! are recorded for themselves share others. An area gets marks of its own with the first block of which this is not enough, and keeps
//! them.

use crate::layout::{ADDRESS_BITS, regions};

/// Binary logarithm of the bytes that share a mark. At a rate of 512 KiB one part in 32 holds a sampled block, and so many frees look in vain; marks for
/// smaller parts would take more memory than all else that is kept of sampled large blocks.
pub const MARK_SHIFT: u32 = 14;
/// The bits of a mark that count the sampled blocks that begin in its part. A count that got so far stays there.
pub const MARK_COUNT_MAX: u8 = 0x3f;
/// There may be [large](crate::is_large) blocks that were recorded while every block was.
pub const MARK_LARGE: u8 = 0x40;
/// There may be others that were.
pub const MARK_EXACT: u8 = 0x80;

/// Binary logarithm of the bytes of an area.
pub const AREA_SHIFT: u32 = 22;
/// Marks of an area.
pub const AREA_MARKS: usize = 1 << (AREA_SHIFT - MARK_SHIFT);

/// Where the marks of an area lie in their region, if nothing was ever recorded there. Nobody sets any of them.
pub const AREA_EMPTY: u32 = 0;
/// The same if only large blocks may be recorded there, and for themselves. Nobody changes them.
pub const AREA_LARGE: u32 = AREA_MARKS as u32;
/// The same of areas for which there was no room, from here on those of areas that have marks of their own. They say that there may be
/// everything everywhere; what sets marks or counts in them changes nothing.
pub const AREA_FULL: u32 = 2 * AREA_MARKS as u32;
/// The same of the first area. Where nothing lies, the stubs find a mark: to free nothing is nothing to count.
pub const AREA_OF_NOTHING: u32 = 3 * AREA_MARKS as u32;
/// Areas beside these that can have marks of their own: 64 TiB.
pub const AREAS_MAX: u32 = (regions::MARKS_REACHED / AREA_MARKS as u64 - 4) as u32;

/// What the region of the marks begins with.
pub const FIRST_MARKS: [[u8; AREA_MARKS]; 4] = {
    let mut of_nothing = [0; AREA_MARKS];
    of_nothing[0] = MARK_EXACT;
    [[0; AREA_MARKS], [MARK_LARGE; AREA_MARKS], [u8::MAX; AREA_MARKS], of_nothing]
};

/// The offset in the file of the word of a block's area: where in their region its marks lie.
#[inline]
pub const fn area_at(address: u64) -> u64 {
    regions::AREAS.at + ((address & ((1 << ADDRESS_BITS) - 1)) >> AREA_SHIFT) * 4
}

/// The offset in the file of the mark of a block, by the word of its area. Whatever that is, it lies in the region.
#[inline]
pub const fn mark_at(area: u32, address: u64) -> u64 {
    let place = (address >> MARK_SHIFT) as u8;
    regions::MARKS.at + area.wrapping_add(place as u32) as u64
}

/// Where the marks of an area lie that is given the next ones, of those that are the area's own; `None` where there are no more.
#[inline]
pub const fn own_area(number: u32) -> Option<u32> {
    if number < AREAS_MAX { Some((4 + number) * AREA_MARKS as u32) } else { None }
}

/// Whether the marks that a word of an area leads to are the area's own.
#[inline]
pub const fn is_own_area(area: u32) -> bool {
    area > AREA_FULL && (area as usize).is_multiple_of(AREA_MARKS)
}

const _: () = assert!(regions::AREAS.at < 1 << 31 && regions::MARKS.at < 1 << 31, "one instruction reaches both");
const _: () = assert!(AREA_MARKS == 1 << u8::BITS, "a byte of an address tells which mark of its area is meant");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_area_has_its_mark() {
        let area = own_area(7).unwrap();
        let begin = 0x7f12_3440_0000;
        assert_eq!((begin % (1 << AREA_SHIFT), area_at(begin)), (0, regions::AREAS.at + (begin >> AREA_SHIFT) * 4));
        for (place, part) in (0..AREA_MARKS as u64).zip((begin..).step_by(1 << MARK_SHIFT)) {
            let mark = regions::MARKS.at + u64::from(area) + place;
            assert_eq!([part, part + (1 << MARK_SHIFT) - 1].map(|address| mark_at(area, address)), [mark; 2]);
            assert_eq!(area_at(part), area_at(begin));
        }
        assert_eq!([begin - 1, begin + (1 << AREA_SHIFT)].map(area_at), [area_at(begin) - 4, area_at(begin) + 4]);
    }

    #[test]
    fn what_areas_share_is_where_they_look_for_it() {
        for (i, area) in (0..).zip([AREA_EMPTY, AREA_LARGE, AREA_FULL, AREA_OF_NOTHING]) {
            assert_eq!(area, i * AREA_MARKS as u32);
        }
        assert_eq!(FIRST_MARKS.map(|marks| marks[0]), [0, MARK_LARGE, u8::MAX, MARK_EXACT]);
        assert_eq!(FIRST_MARKS.map(|marks| marks[255]), [0, MARK_LARGE, u8::MAX, 0]);
        assert_eq!(own_area(0), Some(AREA_OF_NOTHING + AREA_MARKS as u32));
        assert_eq!(own_area(AREAS_MAX - 1), Some(u32::MAX - 255));
        assert_eq!(own_area(AREAS_MAX), None);
        assert!([AREA_OF_NOTHING, u32::MAX - 255].into_iter().all(is_own_area));
        assert!(![AREA_EMPTY, AREA_LARGE, AREA_FULL, AREA_OF_NOTHING + 1].into_iter().any(is_own_area));
    }

    /// The words may be overwritten by the target: whatever stands there must not lead out of the region.
    #[test]
    fn no_word_leads_out_of_the_region() {
        for area in [0, 1, 0x8000_0000, u32::MAX - 255, u32::MAX] {
            for address in [0, 1, 0x1234_5678_9abc_def0, u64::MAX] {
                assert!((regions::MARKS.at..regions::MARKS.end()).contains(&mark_at(area, address)));
                assert!((regions::AREAS.at..regions::AREAS.end()).contains(&area_at(address)));
            }
        }
    }
}
