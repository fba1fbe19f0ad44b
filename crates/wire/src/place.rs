//! Where a thread's record is looked for first.
//!
//! Owns: the way from a thread pointer to a place among the records. Must not know: who looks. Both the agent and the stubs before
//! it do, the latter in machine code, which is made of the numbers here.

use crate::layout::{THREAD_SLOTS, regions};

/// A thread pointer is multiplied by this: 2^31 by the golden ratio, so that it fits an instruction.
pub const PLACE_FACTOR: u32 = 0x4f1b_bcdd;
/// The place is in the product from this bit on: the bits below it depend on a part of the pointer only, those above get less and
/// less of its lower bits, by which neighbours differ.
pub const PLACE_SHIFT: u32 = 34;

/// The place of the thread with this pointer, unless another one has taken it.
#[inline]
pub const fn thread_place(pointer: u64) -> usize {
    (pointer.wrapping_mul(PLACE_FACTOR as u64) >> PLACE_SHIFT) as usize & (THREAD_SLOTS - 1)
}

/// The offset of the record at a place.
#[inline]
pub const fn record_at(place: usize) -> u64 {
    regions::RECORDS.at + (place & (THREAD_SLOTS - 1)) as u64 * regions::RECORD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_lie_side_by_side_have_places_of_their_own() {
        for distance in [0x10, 0x1000, 0x5000, 0x80_1000, 0x20_0000] {
            let mut places: std::vec::Vec<usize> =
                (0..64).map(|thread| thread_place(0x7f12_3456_7740 + thread * distance)).collect();
            assert!(places.iter().all(|place| *place < THREAD_SLOTS));
            places.sort_unstable();
            places.dedup();
            assert!(places.len() > 48, "{distance:#x}: {} places", places.len());
        }
    }
}
