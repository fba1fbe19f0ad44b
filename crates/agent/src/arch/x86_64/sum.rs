//! The sum by which a remembered stack is proven, in as few instructions as can be: it is most of what a call with a deep stack costs.
//!
//! Owns: the instructions, of two kinds: those that every processor has, and those with `crc32`, which take two for each word instead of four.
//! Must not know: which words are summed, or why.

use core::arch::asm;

use crate::record::Group;

/// What the first and the last two words of a group are multiplied by.
pub(crate) type Factors = [u64; 2];

/// Of each group of words above `sp`: the first plus the second with its halves exchanged, times a factor, and the same of the last two. The
/// groups are `BEFORE` bytes behind `head`; so many bytes of them come before the last one, which has no fewer factors before its own.
///
/// # Safety
///
/// The groups are there, and every word that one of them names can be read.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) unsafe fn sum<const BEFORE: usize>(head: *const u8, last: usize, factors: &[Factors], sp: u64) -> u64 {
    debug_assert!(last.is_multiple_of(size_of::<Group>()) && last / size_of::<Group>() < factors.len(), "{last}");
    let mut sum = 0_u64;
    // SAFETY: the caller vouches for what is read. Other threads may write those words at any time: here the compiler sees no access
    // that they could race with.
    unsafe {
        asm!(
            "2:",
            "movzx {first:e}, word ptr [{head} + {at} + {before}]",
            "movzx {second:e}, word ptr [{head} + {at} + {before} + 2]",
            "mov {second}, [{sp} + {second} * 8]",
            "rol {second}, 32",
            "add {second}, [{sp} + {first} * 8]",
            "imul {second}, [{factors} + {at} * 2]",
            "add {sum}, {second}",
            "movzx {first:e}, word ptr [{head} + {at} + {before} + 4]",
            "movzx {second:e}, word ptr [{head} + {at} + {before} + 6]",
            "mov {second}, [{sp} + {second} * 8]",
            "rol {second}, 32",
            "add {second}, [{sp} + {first} * 8]",
            "imul {second}, [{factors} + {at} * 2 + 8]",
            "add {sum}, {second}",
            "sub {at}, 8",
            "jae 2b",
            head = in(reg) head,
            before = const BEFORE,
            factors = in(reg) factors.as_ptr(),
            sp = in(reg) sp,
            at = inout(reg) last => _,
            first = out(reg) _,
            second = out(reg) _,
            sum = inout(reg) sum,
            // Not said to change nothing: what was read before is read again where it is needed, instead of being kept in a register that
            // would have to be saved.
            options(nostack),
        );
    }
    sum
}

/// Of each group of words above `sp`, the last group first: the check sums (CRC-32C) of the words at even places, and of those at odd ones. What differs
/// in one word, within 32 bits, always shows in its sum. All else as in [`sum`].
///
/// # Safety
///
/// As for [`sum`]; the processor has the instruction (SSE 4.2).
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) unsafe fn check_sums<const BEFORE: usize>(head: *const u8, last: usize, sp: u64) -> u64 {
    debug_assert!(last.is_multiple_of(size_of::<Group>()), "{last}");
    let (mut even, mut odd) = (0_u64, 0_u64);
    // SAFETY: as in `sum`.
    unsafe {
        asm!(
            "2:",
            "movzx {first:e}, word ptr [{head} + {at} + {before}]",
            "movzx {second:e}, word ptr [{head} + {at} + {before} + 2]",
            "crc32 {even}, qword ptr [{sp} + {first} * 8]",
            "crc32 {odd}, qword ptr [{sp} + {second} * 8]",
            "movzx {first:e}, word ptr [{head} + {at} + {before} + 4]",
            "movzx {second:e}, word ptr [{head} + {at} + {before} + 6]",
            "crc32 {even}, qword ptr [{sp} + {first} * 8]",
            "crc32 {odd}, qword ptr [{sp} + {second} * 8]",
            "sub {at}, 8",
            "jae 2b",
            head = in(reg) head,
            before = const BEFORE,
            sp = in(reg) sp,
            at = inout(reg) last => _,
            first = out(reg) _,
            second = out(reg) _,
            even = inout(reg) even,
            odd = inout(reg) odd,
            // As in `sum`.
            options(nostack),
        );
    }
    even << 32 | odd
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    #[test]
    fn each_word_counts_with_its_factor() {
        let words: [u64; 8] = [1, 10, 100, 1000, 10_000, 3, 5, 7];
        let groups: [Group; 2] = [[7, 0, 1, 2], [4, 3, 5, 6]].map(|group: [u16; 4]| group.map(Cell::new));
        let factors = [[2, 3], [5, 7]];
        let swapped = |word: u64| word.rotate_left(32);
        let (head, sp) = (groups.as_ptr().cast::<u8>(), words.as_ptr().expose_provenance() as u64);
        // SAFETY: every number is one of those words.
        let [one, both] = [0, 8].map(|last| unsafe { sum::<8>(head.wrapping_sub(8), last, &factors, sp) });
        let first = (7 + swapped(1)).wrapping_mul(2).wrapping_add((10 + swapped(100)).wrapping_mul(3));
        assert_eq!(one, first);
        let second = (10_000 + swapped(1000)).wrapping_mul(5).wrapping_add((3 + swapped(5)).wrapping_mul(7));
        assert_eq!(both, first.wrapping_add(second));
    }

    #[test]
    fn no_word_can_change_or_move_unseen() {
        assert!(std::is_x86_feature_detected!("sse4.2"), "this machine cannot show it");
        let groups: [Group; 2] = [[0, 1, 2, 3], [4, 5, 6, 7]].map(|group: [u16; 4]| group.map(Cell::new));
        let head = groups.as_ptr().cast::<u8>();
        // SAFETY: every number is one of those words, and the processor was asked.
        let sums = |words: &[u64; 8], last| unsafe {
            check_sums::<8>(head.wrapping_sub(8), last, words.as_ptr().expose_provenance() as u64)
        };
        let words: [u64; 8] = core::array::from_fn(|i| 0x7f12_3456_0000 + 0x1111 * i as u64);
        let known = sums(&words, 8);
        for (i, bit) in (0..8).flat_map(|i| (0..64).map(move |bit| (i, bit))) {
            let mut other = words;
            other[i] ^= 1 << bit;
            assert_ne!(sums(&other, 8), known, "bit {bit} of word {i}");
        }
        for (i, j) in (0..8).flat_map(|i| (0..i).map(move |j| (i, j))) {
            let mut other = words;
            other.swap(i, j);
            assert_ne!(sums(&other, 8), known, "words {i} and {j} exchanged");
        }
        // CRC-32C of these sixteen bytes without the inversions before and behind; only the groups asked for count.
        let digits = [u64::from_le_bytes(*b"12345678"), 0, 0, 0, 1, 1, 1, 1];
        assert_eq!(sums(&digits, 0), 0xedba_d352 << 32);
    }
}
