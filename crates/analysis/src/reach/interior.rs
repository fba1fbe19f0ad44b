//! Pointers into a block that are as good as one to its start.
//!
//! Owns: the four forms that memcheck knows by its heuristics of the same names. Must not know: the walk.
//!
//! C++ and some libraries keep no pointer to the start of a block but only one behind a head of their own. Without these forms
//! all such blocks would be possibly lost. That chance looks like one of them is unlikely, since the head must fit the block.

use model::LiveBlock;

use super::HeapMemory;

const WORD: u64 = 8;
/// Where the characters of a text begin.
const TEXT_AT: u64 = 3 * WORD;
/// Words of a table that are looked at, and pointers to code that there must be: empty places are allowed between them.
const TABLE_WORDS_MAX: u64 = 20;
const FUNCTIONS_MIN: u32 = 2;
/// Small numbers are no addresses.
const LOWEST_TABLE: u64 = 4096;

/// Whether a pointer into a block is the one by which its program keeps it.
pub(super) fn keeps(block: &LiveBlock, pointer: u64, memory: &mut dyn HeapMemory) -> bool {
    let Some(offset) = pointer.checked_sub(block.at.0).filter(|offset| offset.is_multiple_of(WORD)) else {
        return false;
    };
    debug_assert!(offset > 0, "this is about pointers that are not to the start");
    match offset {
        WORD if is_array(block, memory) => true,
        TEXT_AT if is_string(block, memory) => true,
        _ => is_base_class(block, pointer, memory),
    }
}

/// `newarray`: before the elements stands their number, since their destructors must be called; and `length64`: before the contents
/// stands their length, which is an array of so many bytes.
fn is_array(block: &LiveBlock, memory: &mut dyn HeapMemory) -> bool {
    let Some(elements) = memory.word(block.at.0) else { return false };
    let bytes = block.size.0.saturating_sub(WORD);
    bytes > 0 && elements > 0 && bytes.is_multiple_of(elements)
}

/// `stdstring`: before the characters stand length, capacity and a count of users (libstdc++ before GCC 5).
fn is_string(block: &LiveBlock, memory: &mut dyn HeapMemory) -> bool {
    let (Some(length), Some(capacity)) = (memory.word(block.at.0), memory.word(block.at.0 + WORD)) else {
        return false;
    };
    length <= capacity && block.size.0.checked_sub(TEXT_AT + 1) == Some(capacity)
}

/// `multipleinheritance`: the pointer is to an object's second base class; each begins with a pointer to its table of virtual functions.
fn is_base_class(block: &LiveBlock, pointer: u64, memory: &mut dyn HeapMemory) -> bool {
    let (Some(inner), Some(first)) = (memory.word(pointer), memory.word(block.at.0)) else { return false };
    is_table(inner, memory) && is_table(first, memory)
}

fn is_table(at: u64, memory: &mut dyn HeapMemory) -> bool {
    if at < LOWEST_TABLE || !at.is_multiple_of(WORD) || !memory.is_of_module(at) {
        return false;
    }
    let mut functions = 0;
    for place in (0..TABLE_WORDS_MAX).map(|number| at + WORD * number) {
        match memory.word(place).filter(|_| memory.is_of_module(place)) {
            Some(0) => {}
            Some(word) if memory.is_code(word) => functions += 1,
            _ => return false,
        }
        if functions == FUNCTIONS_MIN {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Range;

    use model::{Address, Bytes, StackId};

    use super::*;

    const MODULE: Range<u64> = 0x40_0000..0x50_0000;
    const CODE: Range<u64> = 0x40_0000..0x41_0000;

    /// Words by address; a block at 0x1000.
    struct Words(BTreeMap<u64, u64>);

    impl HeapMemory for Words {
        fn roots(&mut self, _: &mut dyn FnMut(u64)) {}

        fn block(&mut self, _: &LiveBlock, _: &mut dyn FnMut(u64)) {}

        fn word(&mut self, at: u64) -> Option<u64> {
            self.0.get(&at).copied()
        }

        fn is_of_module(&self, at: u64) -> bool {
            MODULE.contains(&at)
        }

        fn is_code(&self, at: u64) -> bool {
            CODE.contains(&at)
        }
    }

    /// A block of so many bytes, `offset=word` of memory from its start on, the pointer's offset.
    #[track_caller]
    fn check(size: u64, words: &str, offset: u64, expected: bool) {
        let number = |text: &str| u64::from_str_radix(text, 16).expect("a hexadecimal number");
        let word = |text: &str| {
            let (at, word) = text.split_once('=').expect("offset=word");
            (if at.len() > 4 { number(at) } else { 0x1000 + number(at) }, number(word))
        };
        let mut memory = Words(words.split_whitespace().map(word).collect());
        let block = LiveBlock { at: Address(0x1000), size: Bytes(size), stack: StackId(1) };
        assert_eq!(keeps(&block, 0x1000 + offset, &mut memory), expected, "{size} bytes, {words}, +{offset}");
    }

    #[test]
    fn an_array_has_its_number_of_elements_before_it() {
        check(8 + 5 * 24, "0=5", 8, true);
        check(8 + 5 * 24 + 1, "0=5", 8, false);
        check(8 + 5 * 24, "0=5", 16, false);
        check(8 + 5 * 24, "0=0", 8, false);
        check(8, "0=1", 8, false);
        check(8 + 24, "", 8, false);
        check(8 + 100, "0=64", 8, true);
    }

    #[test]
    fn a_text_has_its_length_and_capacity_before_it() {
        check(24 + 31, "0=5 8=1e", 24, true);
        check(24 + 31, "0=1f 8=1e", 24, false);
        check(24 + 32, "0=5 8=1e", 24, false);
        check(24 + 31, "0=5 8=1e", 25, false);
        check(24 + 31, "0=5", 24, false);
        check(16, "0=0 8=0", 24, false);
    }

    #[test]
    fn a_second_base_class_begins_with_a_table_as_the_first_does() {
        let tables = "450000=400010 450008=400020 450100=0 450108=400030 450110=400040";
        check(64, &format!("0=450000 10=450100 {tables}"), 16, true);
        check(64, &format!("0=450000 10=450100 {tables}"), 32, false);
        check(64, &format!("0=450000 10=450008 {tables}"), 16, false);
        check(64, &format!("0=1000 10=450100 {tables}"), 16, false);
        check(64, &format!("0=450000 10=450004 {tables}"), 16, false);
        check(64, &format!("0=450000 10=10 {tables}"), 16, false);
    }

    #[test]
    fn a_table_ends_with_its_module() {
        check(64, "0=4ffff8 10=4ffff8 4ffff8=400010 500000=400020", 16, false);
        let empty: Vec<String> = (0..19).map(|number| format!("{:x}=0", 0x45_0000 + 8 * number)).collect();
        let empty = empty.join(" ");
        check(64, &format!("0=450000 10=450000 {empty} 450098=400010 4500a0=400010"), 16, false);
    }
}
