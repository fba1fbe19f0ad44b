//! Named functions that are asleep: their frames lie on a stack where no thread stands, and will be returned into some day.
//!
//! Owns: finding such frames in the memory of a program. Must not know: what is done with the answer, or what guards say.
//!
//! A function that the user named may go on to another stack from within (`swapcontext`, a library of coroutines) and be resumed minutes later,
//! by any thread. Neither the frames of a thread show that nor its guard, which the next call from the thread's own stack takes over. What
//! remains is what its hook has put on the stack. When a call is over it is marked there. One that was left by `longjmp` on a stack of
//! the program's own looks alive until something is written over it: the agent then stays mapped without need, which does no harm.

use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use formats::maps::{self, Mapping};
use wire::NamedCall;

use super::arch;
use super::heap::Heap;
use super::own_stack::{self, Stands};
use super::target::Target;
use super::threads::{LOOK_LIMIT, Resting, look_at_each, tracing};

/// Whether there is one that will return into this code. `is_outside` tells of a thread whose frames are all known that none is there.
pub(crate) fn is_any(
    target: &Target,
    code: &[Range<u64>],
    is_outside: impl Fn(&Resting, &dyn Fn(u64) -> bool) -> bool + Sync,
) -> io::Result<bool> {
    let text = target.maps().map_err(|error| io::Error::other(error.to_string()))?;
    let mappings: Vec<Mapping<'_>> = maps::parse(&text).collect();
    let within = |at: u64| code.iter().any(|code| code.contains(&at));
    let known = Mutex::new(Vec::new());
    let look = |thread: &Resting| {
        let own = own_stack(&mappings, thread, target.pid().0);
        if let Some(own) = own.filter(|_| is_outside(thread, &within)) {
            known.lock().unwrap_or_else(PoisonError::into_inner).push(own);
        }
        false
    };
    tracing(|| look_at_each(target, &target.threads()?, LOOK_LIMIT, look))?;
    let known = known.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut memory = Heap::new(target, &mappings, searched(&mappings, &known), Vec::new());
    let mut search = Search::default();
    memory.roots(&mut |word| search.next(word, within(word)));
    Ok(search.is_found)
}

/// The stack that a thread was started with, if it stands there.
fn own_stack(mappings: &[Mapping<'_>], thread: &Resting, process: u32) -> Option<Range<u64>> {
    let (stack, pointer) = (arch::stack_pointer(&thread.registers), arch::thread_pointer(&thread.registers));
    let is_main = thread.tid() == process;
    if !own_stack::holds(mappings, Stands { is_main, stack, thread: pointer }, &(stack..stack)) {
        return None;
    }
    let mapping = mappings.iter().find(|mapping| mapping.addresses.contains(&stack))?;
    let end = if is_main { mapping.addresses.end } else { pointer.min(mapping.addresses.end) };
    Some(mapping.addresses.start..end)
}

/// All memory that may hold a stack, without those whose frames are known.
fn searched(mappings: &[Mapping<'_>], known: &[Range<u64>]) -> Vec<Range<u64>> {
    let may_hold =
        |mapping: &&Mapping<'_>| mapping.permissions.read && mapping.permissions.write && !mapping.permissions.shared;
    let begin = |mapping: &Mapping<'_>| {
        let start = mapping.addresses.start;
        known.iter().filter(|known| known.start == start).map(|known| known.end).max().unwrap_or(start)
    };
    mappings.iter().filter(may_hold).map(|mapping| begin(mapping)..mapping.addresses.end).collect()
}

/// Reads the words of memory one after the other. A stack that was copied elsewhere, as some libraries do with those of
/// coroutines, is found as well: what counts are distances.
#[derive(Debug, Default)]
struct Search {
    number: usize,
    /// The words that led into our code lately.
    recent: Vec<usize>,
    /// The word before may have been the function of a call.
    is_function: bool,
    is_found: bool,
}

impl Search {
    fn next(&mut self, word: u64, is_within: bool) {
        const _: () = assert!(NamedCall::STACK == NamedCall::FUNCTION + 1, "one is looked for right behind the other");
        self.number += 1;
        self.is_found |= self.is_function && word != 0 && word.is_multiple_of(8);
        self.is_function = false;
        if is_within {
            let number = self.number;
            self.recent.retain(|recent| number - recent <= NamedCall::FUNCTION);
            self.is_function = self.recent.iter().any(|recent| number - recent == NamedCall::FUNCTION);
            self.recent.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of memory, of which 1 leads into our code.
    #[track_caller]
    fn check(words: &[u64], expected: bool) {
        let mut search = Search::default();
        for word in words {
            search.next(*word, *word == 1);
        }
        assert_eq!(search.is_found, expected, "{words:?}");
    }

    #[test]
    fn a_call_is_known_by_what_its_hook_keeps_until_it_is_over() {
        let call = |between: &[u64], stack: u64| [&[7, 1], between, &[1, stack, 7]].concat();
        check(&call(&[0; NamedCall::FUNCTION - 1], 0x7000), true);
        // Its arguments may lead anywhere.
        check(&call(&[1; NamedCall::FUNCTION - 1], 0x7000), true);
        check(&call(&[0; NamedCall::FUNCTION - 1], 0), false);
        check(&call(&[0; NamedCall::FUNCTION - 1], 0x7001), false);
        check(&call(&[0; NamedCall::FUNCTION - 2], 0x7000), false);
        check(&call(&[0; NamedCall::FUNCTION], 0x7000), false);
        check(&[1], false);
    }

    #[test]
    fn what_lies_on_known_stacks_is_not_searched() {
        let text = "1000-2000 r-xp 00000000 08:01 7 /bin/program\n2000-3000 rw-p 00001000 08:01 7 /bin/program\n\
            3000-4000 ---p 00000000 00:00 0 \n4000-8000 rw-p 00000000 00:00 0 \n9000-a000 rw-s 00000000 00:01 9 /memfd:x\n\
            b000-c000 rw-p 00000000 00:00 0 [stack]\n";
        let mappings: Vec<_> = maps::parse(text.as_bytes()).collect();
        assert_eq!(searched(&mappings, &[]), [0x2000..0x3000, 0x4000..0x8000, 0xb000..0xc000]);
        let of_thread = 0x4000..0x7000;
        let rest = [0x2000..0x3000, 0x7000..0x8000, 0xb000..0xc000];
        assert_eq!(searched(&mappings, std::slice::from_ref(&of_thread)), rest);
        let all = [0x4000..0x8000, 0xb000..0xc000];
        assert_eq!(searched(&mappings, &all), [0x2000..0x3000, 0x8000..0x8000, 0xc000..0xc000]);
    }
}
