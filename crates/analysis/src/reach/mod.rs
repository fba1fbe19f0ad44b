//! Which blocks a program can still reach, by the pointers in its memory.
//!
//! Owns: the walk and the four kinds that it ends in. Must not know: where memory is read from, or who allocated a block.
//!
//! Conservative, as every such walk without types: any word that has the value of an address is taken for a pointer. The
//! kinds are those of valgrind's memcheck, so that both tools can be compared.

mod interior;
mod survey;

use std::collections::BTreeMap;

use model::{Address, LiveBlock, StackId, Tally};

pub use survey::{Holding, Survey};

use crate::limits::{INSIDE_MAX, NESTED_MAX};

/// What a block is, seen from the roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// No pointer to it is left anywhere: nobody can ever free it.
    DefinitelyLost,
    /// Only lost blocks point to it: it is lost with them.
    IndirectlyLost,
    /// It is reached only through pointers into its middle, which may be chance.
    PossiblyLost,
    /// A chain of pointers to the starts of blocks, or to where programs keep a block by its middle, leads to it: it is kept, not lost.
    StillReachable,
}

impl Reach {
    /// All of them, worst first.
    pub const ALL: [Self; 4] = [Self::DefinitelyLost, Self::IndirectlyLost, Self::PossiblyLost, Self::StillReachable];
}

const _: () = {
    let mut index = 0;
    while index < Reach::ALL.len() {
        assert!(Reach::ALL[index] as usize == index, "leaks are sorted by kind, the worst first");
        index += 1;
    }
};

/// What one stack allocated and nobody freed, of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leak {
    /// The kind.
    pub kind: Reach,
    /// The stack.
    pub stack: StackId,
    /// Its blocks of this kind.
    pub blocks: Tally,
}

/// The memory of a program at one moment. Words that cannot be read are left out.
pub trait HeapMemory {
    /// Gives every word of the roots: registers, stacks, static data.
    fn roots(&mut self, each: &mut dyn FnMut(u64));
    /// Gives every aligned word of a block.
    fn block(&mut self, block: &LiveBlock, each: &mut dyn FnMut(u64));
    /// The word at an aligned address.
    fn word(&mut self, at: u64) -> Option<u64>;
    /// Whether an address lies in what is mapped from the program's file or a library's.
    fn is_of_module(&self, at: u64) -> bool;
    /// Whether an address lies in code.
    fn is_code(&self, at: u64) -> bool;
}

/// All live blocks by kind and stack: the worst kind first, within a kind the most bytes first.
pub fn leaks(blocks: &[LiveBlock], memory: &mut dyn HeapMemory) -> Vec<Leak> {
    let mut tallies: BTreeMap<(Reach, StackId), Tally> = BTreeMap::new();
    // A tree and not a hash: the same memory must give the same list, also where two stacks leak alike.
    for (block, kind) in blocks.iter().zip(reach(blocks, memory)) {
        let tally = tallies.entry((kind, block.stack)).or_default();
        *tally = tally.plus(Tally::exact(1, block.size));
    }
    let mut leaks: Vec<Leak> =
        tallies.into_iter().map(|((kind, stack), blocks)| Leak { kind, stack, blocks }).collect();
    leaks.sort_by_key(|leak| (leak.kind, std::cmp::Reverse(leak.blocks.bytes), leak.stack));
    leaks
}

/// The kind of each block. `blocks` are sorted by address; one may lie inside another (a pool and what it hands out).
fn reach(blocks: &[LiveBlock], memory: &mut dyn HeapMemory) -> Vec<Reach> {
    assert!(blocks.is_sorted_by_key(|block| block.at), "blocks are found by halving");
    let mut walk = Walk::new(blocks);
    let index = walk.index.clone();
    let mut found = Vec::new();
    // Many words lead to the same few blocks; one to the start says all.
    let mut kept = vec![0; blocks.len()];
    memory.roots(&mut |word| {
        index.each(word, |hit| {
            let start = blocks.get(hit.block).is_some_and(|block| block.at.0 == hit.pointer);
            if let Some(kept) = kept.get_mut(hit.block)
                && (*kept < INSIDE_MAX || (start && *kept == INSIDE_MAX))
            {
                *kept = if start { INSIDE_MAX + 1 } else { *kept + 1 };
                found.push(hit);
            }
        });
    });
    walk.follow_roots(&found, memory);
    walk.follow_lost(memory);
    walk.states.into_iter().map(State::kind).collect()
}

/// What is known of a block during the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing led to it yet. Those that stay so are definitely lost.
    Unreached,
    Indirect,
    Possible,
    Reachable,
}

impl State {
    const fn kind(self) -> Reach {
        match self {
            Self::Unreached => Reach::DefinitelyLost,
            Self::Indirect => Reach::IndirectlyLost,
            Self::Possible => Reach::PossiblyLost,
            Self::Reachable => Reach::StillReachable,
        }
    }
}

/// A pointer that leads to a block.
#[derive(Clone, Copy, Debug)]
struct Hit {
    block: usize,
    /// The block's own address, or one inside.
    pointer: u64,
}

/// Finds blocks by address.
#[derive(Clone, Debug)]
struct Index<'a> {
    blocks: &'a [LiveBlock],
    /// For each block the one that it lies in, if any.
    around: Vec<Option<u32>>,
    low: u64,
    high: u64,
}

impl<'a> Index<'a> {
    fn new(blocks: &'a [LiveBlock]) -> Self {
        let mut open: Vec<u32> = Vec::new();
        let mut around = Vec::with_capacity(blocks.len());
        for (number, block) in blocks.iter().enumerate() {
            while open.last().is_some_and(|last| end(&blocks[*last as usize]) <= block.at.0) {
                open.pop();
            }
            debug_assert!(open.len() <= number, "only blocks before this one can be around it");
            around.push(open.last().copied());
            open.push(number as u32);
        }
        let low = blocks.first().map_or(u64::MAX, |block| block.at.0);
        let high = blocks.iter().map(end).max().unwrap_or(0);
        Self { blocks, around, low, high }
    }

    /// Calls `each` with the innermost block that a word points to, and with those around it.
    fn each(&self, word: u64, mut each: impl FnMut(Hit)) {
        // Most words are no addresses of the heap at all.
        if word < self.low || word >= self.high {
            return;
        }
        let behind = self.blocks.partition_point(|block| block.at <= Address(word));
        let mut next = behind.checked_sub(1);
        for _ in 0..NESTED_MAX {
            let Some((number, block)) = next.and_then(|number| Some((number, self.blocks.get(number)?))) else {
                return;
            };
            if word < end(block) {
                each(Hit { block: number, pointer: word });
            }
            next = self.around.get(number).copied().flatten().map(|around| around as usize);
        }
    }
}

/// The address behind a block; a block of no bytes still has its own address.
fn end(block: &LiveBlock) -> u64 {
    block.at.0.saturating_add(block.size.0.max(1))
}

#[derive(Debug)]
struct Walk<'a> {
    index: Index<'a>,
    states: Vec<State>,
    /// Blocks whose words are still to be looked at.
    waiting: Vec<usize>,
}

impl<'a> Walk<'a> {
    fn new(blocks: &'a [LiveBlock]) -> Self {
        assert!(u32::try_from(blocks.len()).is_ok(), "blocks are numbered in 32 bits");
        let states = vec![State::Unreached; blocks.len()];
        Self { index: Index::new(blocks), states, waiting: Vec::new() }
    }

    /// Everything that the roots lead to.
    fn follow_roots(&mut self, found: &[Hit], memory: &mut dyn HeapMemory) {
        for hit in found {
            self.reached(*hit, true, memory);
        }
        while !self.waiting.is_empty() {
            // In order of address, since reading a page for the sake of one block costs more than following it.
            let mut round = std::mem::take(&mut self.waiting);
            round.sort_unstable();
            for number in round {
                let certain = self.states[number] == State::Reachable;
                for hit in self.hits(number, memory) {
                    self.reached(hit, certain, memory);
                }
            }
        }
    }

    /// Notes a pointer from a root or from a block that is itself reached for `certain` or only possibly.
    fn reached(&mut self, hit: Hit, certain: bool, memory: &mut dyn HeapMemory) {
        let known = self.states[hit.block];
        if known == State::Reachable {
            return;
        }
        let state = if certain && self.keeps(hit, memory) { State::Reachable } else { State::Possible };
        // What was only possible before may be certain now, and what it points to as well.
        if known == State::Unreached || (known == State::Possible && state == State::Reachable) {
            self.states[hit.block] = state;
            self.waiting.push(hit.block);
        }
    }

    /// Whether this pointer is one by which the program has the block.
    fn keeps(&self, hit: Hit, memory: &mut dyn HeapMemory) -> bool {
        let block = self.index.blocks.get(hit.block);
        block.is_some_and(|block| block.at.0 == hit.pointer || interior::keeps(block, hit.pointer, memory))
    }

    /// Of what is left, that to which other lost blocks lead is lost indirectly. Of blocks that lead to each other the one with
    /// the lowest address is the head, unless yet another leads to them all.
    fn follow_lost(&mut self, memory: &mut dyn HeapMemory) {
        // Whatever leads to a block and is not led to by it is finished after it: the order of Kosaraju's search for cycles. Without it
        // the head of a list would only be found by chance, and each of its blocks might be called definitely lost.
        let order = self.finished(memory);
        debug_assert!(order.len() <= self.states.len(), "each block is finished once");
        let mut heads = vec![false; self.states.len()];
        for head in order.into_iter().rev() {
            if self.states[head] != State::Unreached || heads[head] {
                continue;
            }
            heads[head] = true;
            self.waiting.push(head);
            while let Some(number) = self.waiting.pop() {
                for hit in self.hits(number, memory) {
                    if !heads[hit.block] && self.states[hit.block] == State::Unreached {
                        self.states[hit.block] = State::Indirect;
                        self.waiting.push(hit.block);
                    }
                }
            }
        }
    }

    /// The lost blocks in the order in which a walk into the depth is done with them.
    fn finished(&self, memory: &mut dyn HeapMemory) -> Vec<usize> {
        let mut order = Vec::new();
        let mut entered: Vec<bool> = self.states.iter().map(|state| *state != State::Unreached).collect();
        for first in 0..self.states.len() {
            if std::mem::replace(&mut entered[first], true) {
                continue;
            }
            // A path of our own instead of recursion: a lost list of a million blocks is that deep.
            let mut path = vec![(first, self.hits(first, memory))];
            while let Some((number, hits)) = path.last_mut() {
                match hits.pop() {
                    Some(hit) if !entered[hit.block] => {
                        entered[hit.block] = true;
                        let next = (hit.block, self.hits(hit.block, memory));
                        path.push(next);
                    }
                    Some(_) => {}
                    None => {
                        order.push(*number);
                        path.pop();
                    }
                }
            }
        }
        order
    }

    fn hits(&self, number: usize, memory: &mut dyn HeapMemory) -> Vec<Hit> {
        let mut hits = Vec::new();
        if let Some(block) = self.index.blocks.get(number) {
            memory.block(block, &mut |word| self.index.each(word, |hit| hits.push(hit)));
        }
        hits
    }
}

#[cfg(test)]
mod tests;
