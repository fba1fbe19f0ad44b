//! One unwind rule in 32 bits.
//!
//! Owns: the packing. Must not know: ELF, DWARF, or how rules are applied.

/// How the frame of the caller is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// There is no rule: the frame pointer may help.
    Unknown,
    /// CFA = rsp + offset.
    StackPointer,
    /// CFA = rbp + offset.
    FramePointer,
    /// CFA = `*(rbp - offset)`: the function realigned its stack.
    FramePointerDeref,
    /// CFA = rsp + 8, or + 16 in the second half of a PLT stub.
    Plt,
    /// The registers are in the signal frame at rsp.
    Signal,
    /// The outermost frame.
    End,
}

/// A rule: kind (3 bits), offset in words (16 bits), where the caller's rbp was saved (13 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PackedRule(pub u32);

impl PackedRule {
    /// rbp is what it was: the function did not touch it.
    pub const RBP_SAME: u32 = 0;
    /// rbp was saved at `[rbp]`, as functions that realign their stack do.
    pub const RBP_AT_RBP: u32 = (1 << 13) - 1;
    /// No rule.
    pub const UNKNOWN: Self = Self(0);

    /// Packs a rule; none where a field does not fit. `rbp` is a number of words below the CFA, or one of the constants.
    pub const fn new(kind: RuleKind, offset_words: u32, rbp: u32) -> Option<Self> {
        if offset_words > 0xffff || rbp > Self::RBP_AT_RBP {
            return None;
        }
        Some(Self(kind as u32 | offset_words << 3 | rbp << 19))
    }

    /// What to do.
    #[inline]
    pub const fn kind(self) -> RuleKind {
        match self.0 & 0b111 {
            1 => RuleKind::StackPointer,
            2 => RuleKind::FramePointer,
            3 => RuleKind::FramePointerDeref,
            4 => RuleKind::Plt,
            5 => RuleKind::Signal,
            6 => RuleKind::End,
            _ => RuleKind::Unknown,
        }
    }

    /// The offset, in bytes.
    #[inline]
    pub const fn offset(self) -> u64 {
        ((self.0 >> 3 & 0xffff) * 8) as u64
    }

    /// Words below the CFA where rbp was saved, or one of the constants.
    #[inline]
    pub const fn rbp(self) -> u32 {
        self.0 >> 19
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        use RuleKind::{End, FramePointer, FramePointerDeref, Plt, Signal, StackPointer, Unknown};
        for kind in [Unknown, StackPointer, FramePointer, FramePointerDeref, Plt, Signal, End] {
            for (offset, rbp) in [(0, 0), (1, 2), (0xffff, PackedRule::RBP_AT_RBP)] {
                let rule = PackedRule::new(kind, offset, rbp).unwrap();
                assert_eq!((rule.kind(), rule.offset(), rule.rbp()), (kind, u64::from(offset) * 8, rbp));
            }
        }
        assert_eq!(PackedRule::new(StackPointer, 0x1_0000, 0), None);
        assert_eq!(PackedRule::new(StackPointer, 1, 1 << 13), None);
        assert_eq!(PackedRule::UNKNOWN.kind(), Unknown);
    }
}
