//! Calls from inside a hook, and those after a hook was left by `longjmp`.
//!
//! Owns: made-up stacks between a call and a guard. Must not know: what hooks record.

use super::{Frames, in_function, own_code, shared, thread};
use crate::nested::is_left;
use crate::record::Thread;

const PAGE: u64 = 4096;

#[test]
fn a_call_inside_a_hook_is_nested_until_the_stack_shows_that_it_was_left() {
    let mut frames = Frames::new(&[in_function(2), 0, 0, own_code()[0], in_function(2)]);
    let outer = thread(&frames);
    assert!(outer.record.anchor(outer.shared, frames.sp()).is_some());
    let is_nested = |at: u64| Thread::current(at).is_none();
    outer.enter(frames.at(4));
    assert!(is_nested(frames.sp()), "deeper on the same stack, and something returns into the hook");
    assert!(!is_nested(frames.at(5)), "the frame of the hook is gone: somebody jumped out of it");
    assert!(!is_nested(frames.at(4)), "a hook never calls from where it was called");
    frames.words[3] = own_code()[0] - 1;
    assert!(!is_nested(frames.sp()), "somebody jumped out of it, and others have written over its frame");
    frames.words[1] = own_code()[1] - 1;
    assert!(is_nested(frames.sp()), "a signal handler below the hook");
    frames.words[1] = own_code()[1];
    assert!(!is_nested(frames.sp()));
    frames.words[0] = own_code()[0];
    assert!(is_nested(frames.sp()), "the real function has jumped to another one that is hooked");
    outer.leave();
    assert!(!is_nested(frames.sp()));
}

/// Three pages of memory that are mapped one by one.
struct Pages(u64);

impl Pages {
    fn new() -> Self {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), 3 * PAGE as usize, protection, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        Self(base.expose_provenance() as u64)
    }

    fn forbid(&self, page: u64) {
        let at = std::ptr::with_exposed_provenance_mut((self.0 + page * PAGE) as usize);
        // SAFETY: a page of ours to which nothing leads.
        assert_eq!(unsafe { libc::mprotect(at, PAGE as usize, libc::PROT_NONE) }, 0);
    }
}

/// Whatever a program wrote over a guard, nothing is read that is not there.
#[test]
fn a_guard_on_another_stack_or_on_none_is_believed() {
    let pages = Pages::new();
    let sp = pages.0 + 64;
    assert!(is_left(shared(), pages.0 + 2 * PAGE + 8, sp), "nothing on these pages leads into the hooks");
    assert!(!is_left(shared(), sp - 8, sp), "not below the guard");
    for far in [sp + (1 << 40), sp + (2 << 20), u64::MAX] {
        assert!(!is_left(shared(), far, sp), "{far:#x}");
    }
    pages.forbid(1);
    for guard in [pages.0 + 2 * PAGE + 8, pages.0 + PAGE + 8] {
        assert!(!is_left(shared(), guard, sp), "{guard:#x} is on another stack");
    }
    assert!(is_left(shared(), pages.0 + PAGE, sp));
}
