//! Graphs as text, and random ones against a brute-force definition.
//!
//! Owns: the cases. Must not know: the walk.

use super::*;
use model::{Bytes, StackId};

/// Where the block of a letter starts, and how long it is.
const STRIDE: u64 = 0x100;
const SIZE: u64 = 0x40;

/// A program: words of the roots, and of each block.
struct Program {
    roots: Vec<u64>,
    blocks: Vec<LiveBlock>,
    words: Vec<Vec<u64>>,
}

impl HeapMemory for Program {
    fn roots(&mut self, each: &mut dyn FnMut(u64)) {
        self.roots.iter().copied().for_each(each);
    }

    fn block(&mut self, block: &LiveBlock, each: &mut dyn FnMut(u64)) {
        let number = self.blocks.iter().position(|other| other == block).expect("a block of this program");
        self.words[number].iter().copied().for_each(each);
    }

    fn word(&mut self, at: u64) -> Option<u64> {
        let number = self.blocks.iter().position(|block| block.at.0 == at)?;
        self.words[number].first().copied()
    }

    fn is_of_module(&self, _: u64) -> bool {
        false
    }

    fn is_code(&self, _: u64) -> bool {
        false
    }
}

fn block(at: u64, size: u64) -> LiveBlock {
    LiveBlock { at: Address(at), size: Bytes(size), stack: StackId(1) }
}

/// A pointer: `a` to the start of the first block, `a'` into its middle.
fn word(text: &str) -> u64 {
    let letter = text.bytes().next().expect("a letter");
    STRIDE * u64::from(letter - b'a' + 1) + if text.ends_with('\'') { 8 } else { 0 }
}

/// `roots: a b'; a: c` are pointers; the answer has one letter a block: D, I, P or R.
#[track_caller]
fn check(text: &str, expected: &str) {
    let blocks: Vec<_> = (0..expected.len() as u64).map(|i| block(STRIDE * (i + 1), SIZE)).collect();
    let mut program = Program { roots: Vec::new(), words: vec![Vec::new(); blocks.len()], blocks };
    for line in text.split(';').filter(|line| !line.trim().is_empty()) {
        let (from, to) = line.trim().split_once(':').expect("from: to");
        let words = to.split_whitespace().map(word);
        match from {
            "roots" => program.roots.extend(words),
            from => program.words[(word(from) / STRIDE - 1) as usize].extend(words),
        }
    }
    let blocks = program.blocks.clone();
    assert_eq!(letters(&reach(&blocks, &mut program)), expected, "{text}");
}

fn letters(kinds: &[Reach]) -> String {
    let letter = |kind: &Reach| match kind {
        Reach::DefinitelyLost => 'D',
        Reach::IndirectlyLost => 'I',
        Reach::PossiblyLost => 'P',
        Reach::StillReachable => 'R',
    };
    kinds.iter().map(letter).collect()
}

/// The nine cases of memcheck's manual (section 4.2.8), with a as AAA and b as BBB.
#[test]
fn the_cases_of_memchecks_manual() {
    check("roots: b", "DR");
    check("roots: a; a: b", "RR");
    check("", "D");
    check("a: b", "DI");
    check("roots: a'", "P");
    check("roots: a; a: b'", "RP");
    check("a: b'", "DI");
    check("roots: a'; a: b", "PP");
    check("roots: a'; a: b'", "PP");
}

/// A word that is no pointer here: the number of elements of an array of bytes behind it.
#[test]
fn an_array_is_kept_by_its_first_element() {
    let array = [block(0x100, 8 + 0x38), block(0x200, 0x40)];
    for (number, expected) in [(0x38, "RR"), (0x7, "RR"), (0x5, "PP"), (0, "PP")] {
        let words = vec![vec![number, 0x200], Vec::new()];
        let mut program = Program { roots: vec![0x108], blocks: array.to_vec(), words };
        assert_eq!(letters(&reach(&array, &mut program)), expected, "{number:#x}");
    }
    let words = vec![vec![0x7, 0x200], Vec::new()];
    let mut program = Program { roots: Vec::new(), blocks: array.to_vec(), words };
    assert_eq!(letters(&reach(&array, &mut program)), "DI", "a form alone keeps nothing");
}

#[test]
fn a_better_path_wins_whenever_it_is_found() {
    check("roots: a' b; b: a; a: c", "RRR");
    check("roots: b a'; a: c'; b: c", "PRR");
}

#[test]
fn a_lost_ring_has_one_head_and_a_later_head_takes_an_earlier_one_over() {
    check("a: b; b: c; c: a", "DII");
    check("a: a", "D");
    check("b: a", "ID");
    check("a: b; c: a; d: c", "IIID");
}

#[test]
fn only_addresses_inside_a_block_lead_to_it() {
    let blocks = [block(0x100, 0), block(0x200, 16)];
    for (root, expected) in [(0x100, "RD"), (0x101, "DD"), (0x200, "DR"), (0x20f, "DP"), (0x210, "DD"), (0xff, "DD")] {
        let mut program = Program { roots: vec![root], blocks: blocks.to_vec(), words: vec![Vec::new(); 2] };
        assert_eq!(letters(&reach(&blocks, &mut program)), expected, "{root:#x}");
    }
    assert_eq!(reach(&[], &mut Program { roots: vec![0, u64::MAX], blocks: Vec::new(), words: Vec::new() }), []);
}

#[test]
fn a_block_inside_another_is_reached_for_itself_and_keeps_what_is_around_it_possible() {
    // A pool of 0x1000 bytes with two blocks in it: behind the second one is only the pool.
    let blocks = [block(0x1000, 0x1000), block(0x1100, 0x40), block(0x1200, 0x40)];
    for (root, expected) in [(0x1100, "PRD"), (0x1300, "PDD"), (0x1000, "RDD"), (0x2000, "DDD")] {
        let mut program = Program { roots: vec![root], blocks: blocks.to_vec(), words: vec![Vec::new(); 3] };
        assert_eq!(letters(&reach(&blocks, &mut program)), expected, "{root:#x}");
    }
}

#[test]
fn forged_sizes_do_not_make_the_walk_follow_each_word_to_every_block() {
    // Every block claims to reach to the end of them all, and every word of the roots leads into the last.
    let blocks: Vec<LiveBlock> = (0..20_000).map(|number| block(0x1000 + 16 * number, 1 << 30)).collect();
    let index = Index::new(&blocks);
    let mut hits = 0;
    (0..1000).for_each(|word| index.each((1 << 20) + word, |_| hits += 1));
    assert_eq!(hits, 1000 * NESTED_MAX);
    let roots = (0..5000).map(|word| (1 << 20) + 8 * word).collect();
    let words = vec![Vec::new(); blocks.len()];
    let kinds = reach(&blocks, &mut Program { roots, blocks: blocks.clone(), words });
    assert_eq!(kinds.iter().filter(|kind| **kind == Reach::PossiblyLost).count(), NESTED_MAX);
}

#[test]
fn a_pointer_to_the_start_counts_after_any_number_of_others() {
    let inside = (0..1000).map(|number| STRIDE + 1 + number % 8).chain([STRIDE]);
    let mut program = Program { roots: inside.collect(), blocks: vec![block(STRIDE, SIZE)], words: vec![Vec::new()] };
    assert_eq!(letters(&reach(&program.blocks.clone(), &mut program)), "R");
}

#[test]
fn leaks_are_summed_by_kind_and_stack_worst_first() {
    let of_stack = |at, size, stack| LiveBlock { stack: StackId(stack), ..block(at, size) };
    let blocks = [of_stack(0x100, 8, 1), of_stack(0x200, 64, 2), of_stack(0x300, 8, 1), of_stack(0x400, 16, 1)];
    let mut program = Program { roots: vec![0x400], blocks: blocks.to_vec(), words: vec![Vec::new(); 4] };
    let found: Vec<_> = leaks(&blocks, &mut program)
        .into_iter()
        .map(|leak| (letters(&[leak.kind]), leak.stack.0, leak.blocks.count, leak.blocks.bytes.0))
        .collect();
    assert_eq!(found, [("D".into(), 2, 1, 64), ("D".into(), 1, 2, 16), ("R".into(), 1, 1, 16)]);
}

/// A pointer to a block: to its start, or into it.
#[derive(Clone, Copy, Debug)]
struct Edge {
    block: usize,
    start: bool,
}

/// What the kinds mean, by closures over all pairs.
fn by_brute_force(count: usize, roots: &[Edge], edges: &[(usize, Edge)]) -> Vec<Reach> {
    let closure = |starts_only: bool, from: &dyn Fn(usize) -> bool| {
        let mut reached: Vec<bool> = (0..count).map(from).collect();
        for _ in 0..count {
            for (source, hit) in edges.iter().filter(|(_, hit)| hit.start || !starts_only) {
                reached[hit.block] |= reached[*source];
            }
        }
        reached
    };
    let certain = closure(true, &|i| roots.iter().any(|hit| hit.block == i && hit.start));
    let any = closure(false, &|i| roots.iter().any(|hit| hit.block == i));
    let from: Vec<Vec<bool>> = (0..count).map(|start| closure(false, &|i| i == start)).collect();
    let heads = |i: usize| (0..count).all(|other| any[other] || !from[other][i] || (from[i][other] && i <= other));
    let kind = |i: usize| match (certain[i], any[i]) {
        (true, _) => Reach::StillReachable,
        (_, true) => Reach::PossiblyLost,
        _ if heads(i) => Reach::DefinitelyLost,
        _ => Reach::IndirectlyLost,
    };
    (0..count).map(kind).collect()
}

#[test]
fn random_graphs_agree_with_the_brute_force_definition() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for round in 0..4000 {
        let count = 1 + random(9);
        let mut hit = || Edge { block: random(count) as usize, start: random(3) > 0 };
        let address = |hit: Edge| STRIDE * (hit.block as u64 + 1) + if hit.start { 0 } else { 16 };
        let roots: Vec<Edge> = (0..round % 3).map(|_| hit()).collect();
        let edges: Vec<(usize, Edge)> = (0..round % 13).map(|_| (hit().block, hit())).collect();
        let blocks: Vec<_> = (0..count).map(|i| block(STRIDE * (i + 1), SIZE)).collect();
        let mut words = vec![Vec::new(); count as usize];
        for (from, to) in &edges {
            words[*from].push(address(*to));
        }
        let mut program =
            Program { roots: roots.iter().copied().map(address).collect(), blocks: blocks.clone(), words };
        let expected = by_brute_force(count as usize, &roots, &edges);
        assert_eq!(letters(&reach(&blocks, &mut program)), letters(&expected), "{roots:?} {edges:?}");
    }
}
