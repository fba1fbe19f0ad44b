//! Four words looked at together, by the vector instructions that every x86-64 has.
//!
//! Owns: the instructions. Must not know: what the words are.

use core::arch::asm;
use core::arch::x86_64::__m128;
use core::sync::atomic::AtomicU64;

/// The lower halves of four words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Four(__m128);

impl Four {
    /// Reads four words that lie on a multiple of 16. Others may write them: each lower half is read at once.
    #[inline]
    pub(crate) fn read(words: &[AtomicU64; 4]) -> Self {
        let halves: __m128;
        // SAFETY: the words are there, and aligned as `shufps` wants them: those of a line are. The compiler sees no access that others
        // could race with.
        unsafe {
            asm!("movaps {halves}, [{words}]", "shufps {halves}, [{words} + 16], 0x88", halves = out(xmm_reg) halves,
                words = in(reg) words, options(pure, readonly, nostack, preserves_flags));
        }
        Self(halves)
    }

    /// A bit for each word that is odd.
    #[inline]
    pub(crate) fn odd(self) -> u32 {
        let odd: u32;
        // SAFETY: registers only; the instructions are part of every x86-64.
        unsafe {
            asm!("movaps {lowest}, {halves}", "pslld {lowest}, 31", "movmskps {odd:e}, {lowest}", halves = in(xmm_reg) self.0,
                lowest = out(xmm_reg) _, odd = out(reg) odd, options(pure, nomem, nostack, preserves_flags));
        }
        odd
    }

    /// A bit for each word whose lowest sixteen bits are these.
    #[inline]
    pub(crate) fn with_key(self, key: u16) -> u32 {
        let same: u32;
        // SAFETY: as above.
        unsafe {
            asm!("movd {keys}, {key:e}", "pshufd {keys}, {keys}, 0", "movaps {words}, {halves}", "pslld {words}, 16",
                "pcmpeqd {keys}, {words}", "movmskps {same:e}, {keys}", halves = in(xmm_reg) self.0, key = in(reg) u32::from(key) << 16,
                keys = out(xmm_reg) _, words = out(xmm_reg) _, same = out(reg) same,
                options(pure, nomem, nostack, preserves_flags));
        }
        same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(64))]
    struct Line([AtomicU64; 4]);

    #[test]
    fn each_word_is_seen_in_its_place() {
        let four = |words: [u64; 4]| Four::read(&Line(words.map(AtomicU64::new)).0);
        let words = [0x1_0001, 0xffff_0000_0000_0003, 0x8000_0002, 0xffff_ffff_ffff_ffff];
        assert_eq!(four(words).odd(), 0b1011);
        assert_eq!([1, 3, 2, 0xffff, 0].map(|key| four(words).with_key(key)), [1, 2, 4, 8, 0]);
        assert_eq!((four([0; 4]).odd(), four([7; 4]).with_key(7)), (0, 15));
    }
}
