//! Which old blocks of a running program are lost, and which it still holds, by two looks at its memory.
//!
//! Owns: what two looks together say. Must not know: how a look is taken, or what a site is.
//!
//! A program that runs moves its pointers while they are looked for, so that one look may miss any of them. What is lost stays
//! lost: only a block to which nothing led at either look counts as that.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use model::{Address, AgedBlock, LiveBlock, StackId, Tally};

use super::{HeapMemory, Reach, reach};

/// The old blocks of one stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Nothing leads to them, or only blocks that are lost themselves.
    pub lost: Tally,
    /// The program can still reach them.
    pub held: Tally,
    /// Only pointers into their middle lead to them, which may be chance.
    pub unclear: Tally,
}

/// Two looks at one program.
#[derive(Debug, Default)]
pub struct Survey {
    /// Blocks that the first look found nothing to lead to, also young ones: they may be old at the second.
    suspects: HashSet<(Address, u64)>,
}

impl Survey {
    /// The first look. `blocks` are sorted by address.
    pub fn first(blocks: &[AgedBlock], memory: &mut dyn HeapMemory) -> Self {
        let kinds = kinds(blocks, memory);
        let suspects = blocks.iter().zip(kinds).filter(|(_, kind)| is_lost(*kind));
        Self { suspects: suspects.map(|(block, _)| (block.block.at, block.born)).collect() }
    }

    /// Whether a second look can find anything lost.
    pub fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// The second look, and what both say of each stack about its blocks of at least this age: that of expiry, and no less than
    /// the time since the first look.
    pub fn second(
        &self,
        blocks: &[AgedBlock],
        age: Duration,
        memory: &mut dyn HeapMemory,
    ) -> BTreeMap<StackId, Holding> {
        let mut holdings: BTreeMap<StackId, Holding> = BTreeMap::new();
        for (block, kind) in blocks.iter().zip(kinds(blocks, memory)).filter(|(block, _)| block.age >= age) {
            let holding = holdings.entry(block.block.stack).or_default();
            let part = match kind {
                _ if is_lost(kind) && self.suspects.contains(&(block.block.at, block.born)) => &mut holding.lost,
                Reach::PossiblyLost => &mut holding.unclear,
                // The first look found a pointer that the second one missed.
                Reach::StillReachable | Reach::DefinitelyLost | Reach::IndirectlyLost => &mut holding.held,
            };
            *part = part.plus(block.stands_for);
        }
        holdings
    }
}

fn kinds(blocks: &[AgedBlock], memory: &mut dyn HeapMemory) -> Vec<Reach> {
    let blocks: Vec<LiveBlock> = blocks.iter().map(|block| block.block).collect();
    reach(&blocks, memory)
}

const fn is_lost(kind: Reach) -> bool {
    matches!(kind, Reach::DefinitelyLost | Reach::IndirectlyLost)
}

#[cfg(test)]
mod tests {
    use model::Bytes;

    use super::*;

    const EXPIRE: Duration = Duration::from_secs(10);

    /// Only roots: pointers to the blocks of letters, `a'` into their middle.
    struct Roots(Vec<u64>);

    impl HeapMemory for Roots {
        fn roots(&mut self, each: &mut dyn FnMut(u64)) {
            self.0.iter().copied().for_each(each);
        }

        fn block(&mut self, _: &LiveBlock, _: &mut dyn FnMut(u64)) {}

        fn word(&mut self, _: u64) -> Option<u64> {
            None
        }

        fn is_of_module(&self, _: u64) -> bool {
            false
        }

        fn is_code(&self, _: u64) -> bool {
            false
        }
    }

    fn at(text: &str) -> u64 {
        let letter = text.bytes().next().expect("a letter");
        0x100 * u64::from(letter) + if text.ends_with('\'') { 16 } else { 0 }
    }

    /// One block a word: its letter, its stack, its age in seconds, and its birth where that is not 1: `a3:20@5`.
    fn blocks(text: &str) -> Vec<AgedBlock> {
        let block = |word: &str| {
            let (name, rest) = word.split_at(1);
            let (stack, rest) = rest.split_once(':').expect("letter, stack, colon, age");
            let (age, born) = rest.split_once('@').unwrap_or((rest, "1"));
            let number = |text: &str| text.parse().expect("a number");
            let block = LiveBlock { at: Address(at(name)), size: Bytes(32), stack: StackId(number(stack)) };
            let stands_for = Tally::exact(1, block.size);
            AgedBlock {
                stands_for,
                block,
                born: u64::from(number(born)),
                age: Duration::from_secs(u64::from(number(age))),
            }
        };
        text.split_whitespace().map(block).collect()
    }

    /// Blocks and roots at the first look and at the second; then lost, held and unclear of each stack.
    #[track_caller]
    fn check(first: (&str, &str), second: (&str, &str), expected: &str) {
        let roots = |text: &str| Roots(text.split_whitespace().map(at).collect());
        let survey = Survey::first(&blocks(first.0), &mut roots(first.1));
        let found = survey.second(&blocks(second.0), EXPIRE, &mut roots(second.1));
        let shown = |(stack, holding): (&StackId, &Holding)| {
            let [lost, held, unclear] = [holding.lost, holding.held, holding.unclear].map(|tally| tally.count);
            format!("{}: {lost} {held} {unclear}", stack.0)
        };
        assert_eq!(found.iter().map(shown).collect::<Vec<_>>().join(", "), expected);
        assert_eq!(survey.has_suspects(), !survey.suspects.is_empty());
    }

    #[test]
    fn only_what_neither_look_finds_a_pointer_to_is_lost() {
        let four = "a1:20 b1:20 c1:20 d2:20";
        check((four, ""), (four, ""), "1: 3 0 0, 2: 1 0 0");
        check((four, "a b"), (four, "a c"), "1: 0 3 0, 2: 1 0 0");
        check((four, "a b c d"), (four, ""), "1: 0 3 0, 2: 0 1 0");
        check((four, ""), (four, "a' d"), "1: 2 0 1, 2: 0 1 0");
    }

    #[test]
    fn young_blocks_are_not_judged() {
        check(("a1:20 b1:5", ""), ("a1:25 b1:9", ""), "1: 1 0 0");
        check(("a1:5", ""), ("a1:12", ""), "1: 1 0 0");
        check(("a1:5", "a"), ("a1:12", ""), "1: 0 1 0");
        check(("", ""), ("", ""), "");
    }

    #[test]
    fn another_block_at_the_same_address_is_not_the_one_that_was_looked_at() {
        check(("a1:20@3", ""), ("a1:20@4", ""), "1: 0 1 0");
        check(("a1:20@3", ""), ("a1:21@3", ""), "1: 1 0 0");
    }
}
