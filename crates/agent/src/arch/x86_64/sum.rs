//! The sum by which a remembered stack is proven, in as few instructions as can be: it is most of what a call with a deep stack costs.
//!
//! Owns: the instructions. Must not know: which words are summed, or why.

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
pub(crate) unsafe fn sum<const BEFORE: usize>(head: *const u64, last: usize, factors: &[Factors], sp: u64) -> u64 {
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
        let (head, sp) = (groups.as_ptr().cast::<u64>(), words.as_ptr().expose_provenance() as u64);
        // SAFETY: every number is one of those words.
        let [one, both] = [0, 8].map(|last| unsafe { sum::<8>(head.wrapping_sub(1), last, &factors, sp) });
        let first = (7 + swapped(1)).wrapping_mul(2).wrapping_add((10 + swapped(100)).wrapping_mul(3));
        assert_eq!(one, first);
        let second = (10_000 + swapped(1000)).wrapping_mul(5).wrapping_add((3 + swapped(5)).wrapping_mul(7));
        assert_eq!(both, first.wrapping_add(second));
    }
}
