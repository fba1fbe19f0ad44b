//! A witness that does not depend on the hooks: the private memory that the kernel counts for the process.
//!
//! Owns: how far it grew, and whether the hooks can have seen what made it grow. Must not know: sites, verdicts.
//!
//! Memory that grows by far more than the hooked functions ever handed out comes from elsewhere: from an allocator that is not
//! hooked, from system calls, or from blocks that are older than the attach and only touched now. Whichever it is, "no leak" would
//! be a guess.

use model::{Bytes, Reading, Why};

use crate::limits::{UNSEEN_MIN, UNSEEN_TIMES};

/// Growth that the hooks did not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// By how much private memory grew since the attach.
    pub grew: Bytes,
    /// All that the hooked functions handed out meanwhile, freed or not.
    pub handed_out: Bytes,
}

/// Private memory at the attach and now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Witness {
    first: Option<Bytes>,
    last: Option<Bytes>,
}

impl Witness {
    /// Takes what the kernel says now; none where it says nothing, as of a process that ended.
    pub(super) fn add(&mut self, private: Option<Bytes>) {
        self.first = self.first.or(private);
        self.last = private.or(self.last);
    }

    /// Growth since the attach; none where it shrank.
    pub(super) fn grown(&self) -> Reading<Bytes> {
        let grown = self.first.zip(self.last).map(|(first, last)| Bytes(last.0.saturating_sub(first.0)));
        Reading::from_option(grown, Why::NotRecorded)
    }

    /// What grew unseen, if that is far more than the hooks can explain.
    pub(super) fn unseen(&self, handed_out: Bytes) -> Option<Unseen> {
        let grew = self.grown().known()?;
        let is_far_more = grew.0 >= UNSEEN_MIN && grew.0 >= handed_out.0.saturating_mul(UNSEEN_TIMES);
        is_far_more.then_some(Unseen { grew, handed_out })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Private memory in MiB over time, `-` where the kernel said nothing; and what was handed out, in MiB.
    #[track_caller]
    fn check(private: &str, handed_out: u64, expected: Option<u64>) {
        let mut witness = Witness::default();
        for word in private.split(' ') {
            witness.add(word.parse().ok().map(|number: u64| Bytes(number * MIB)));
        }
        let unseen = witness.unseen(Bytes(handed_out * MIB));
        assert_eq!(unseen.map(|unseen| unseen.grew.0 / MIB), expected, "{private}, {handed_out}");
    }

    #[test]
    fn growth_that_was_handed_out_is_seen() {
        check("10 20 74", 64, None);
        check("10 20 74", 33, None);
        // Much is handed out and freed again, little stays.
        check("10 74 12", 640, None);
    }

    #[test]
    fn growth_beyond_what_was_handed_out_is_not() {
        check("10 20 74", 32, Some(64));
        check("10 20 74", 0, Some(64));
        check("10 18", 0, Some(8));
        check("10 17", 0, None);
    }

    #[test]
    fn a_witness_that_says_nothing_accuses_nobody() {
        check("-", 0, None);
        check("- 10 74 -", 0, Some(64));
        check("74 10", 0, None);
        assert!(Witness::default().grown().known().is_none(), "what was never read is missing and not zero");
    }
}
