//! The sum by which a remembered stack is proven, in as few instructions as can be: it is most of what a call with a deep stack costs.
//!
//! Owns: the instructions. Must not know: which words are summed, or why.

use core::arch::asm;

use crate::record::Group;

/// What the first and the last two words of a group are multiplied by.
pub(crate) type Factors = [u64; 2];

/// Of each group of words above `sp`: the first plus the second with its halves exchanged, times a factor, and the same of the last two.
///
/// # Safety
///
/// Every word that a group names can be read; there is at least one group, and no fewer factors than groups.
#[expect(clippy::inline_always, reason = "part of each hook, which is one straight run of code")]
#[inline(always)]
pub(crate) unsafe fn sum(groups: &[Group], factors: &[Factors], sp: u64) -> u64 {
    debug_assert!(!groups.is_empty() && groups.len() <= factors.len(), "{} groups", groups.len());
    let (len, mut sum) = (size_of_val(groups), 0_u64);
    // SAFETY: the caller vouches for what is read. Other threads may write those words at any time: here the compiler sees no access
    // that they could race with.
    unsafe {
        asm!(
            "2:",
            "movzx {first:e}, word ptr [{groups} + {at}]",
            "movzx {second:e}, word ptr [{groups} + {at} + 2]",
            "mov {second}, [{sp} + {second} * 8]",
            "rol {second}, 32",
            "add {second}, [{sp} + {first} * 8]",
            "imul {second}, [{factors} + {at} * 2]",
            "add {sum}, {second}",
            "movzx {first:e}, word ptr [{groups} + {at} + 4]",
            "movzx {second:e}, word ptr [{groups} + {at} + 6]",
            "mov {second}, [{sp} + {second} * 8]",
            "rol {second}, 32",
            "add {second}, [{sp} + {first} * 8]",
            "imul {second}, [{factors} + {at} * 2 + 8]",
            "add {sum}, {second}",
            "add {at}, 8",
            "jne 2b",
            groups = in(reg) groups.as_ptr_range().end,
            factors = in(reg) factors.as_ptr().wrapping_byte_add(2 * len),
            sp = in(reg) sp,
            at = inout(reg) len.wrapping_neg() => _,
            first = out(reg) _,
            second = out(reg) _,
            sum = inout(reg) sum,
            options(readonly, pure, nostack),
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
        // SAFETY: every number is one of those words.
        let [one, both] =
            [1, 2].map(|len| unsafe { sum(&groups[..len], &factors, words.as_ptr().expose_provenance() as u64) });
        let first = (7 + swapped(1)).wrapping_mul(2).wrapping_add((10 + swapped(100)).wrapping_mul(3));
        assert_eq!(one, first);
        let second = (10_000 + swapped(1000)).wrapping_mul(5).wrapping_add((3 + swapped(5)).wrapping_mul(7));
        assert_eq!(both, first.wrapping_add(second));
    }
}
