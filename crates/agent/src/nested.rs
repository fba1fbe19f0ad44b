//! Whether the call that set a guard is still under way.
//!
//! Owns: telling that from the words on the stack. Must not know: who set the guard, or what for.
//!
//! A hook that was left by `longjmp` never cleared its guard, and calls from deeper look as if they came from inside it. While a hook is
//! under way they do, and then some word between their stack pointer and the guard leads into code of ours: what the real function returns
//! to, or where a signal handler has interrupted us. A word that is left from an earlier call may look the same: such a call counts as one
//! from inside, as long as nothing has been written there.

use core::sync::atomic::Ordering::Relaxed;

use wire::CODE_AREAS_MORE;

use crate::arch;
use crate::shared::Shared;
use crate::unwind::word_on_own_stack;

/// Further below its guard no call is looked for.
const DISTANCE_MAX: u64 = 1 << 20;
const PAGE: u64 = 4096;
const WORD: u64 = 8;

/// Whether the call that set a guard has certainly been left, by a call at `sp` below it.
pub(crate) fn is_left(shared: Shared, guard: u64, sp: u64) -> bool {
    let page_of = |at: u64| at & !(PAGE - 1);
    if sp >= guard || guard - sp > DISTANCE_MAX {
        return false;
    }
    let code = Code::of(shared);
    let mut at = guard & !(WORD - 1);
    // Of the page of the stack pointer it is certain that it is there.
    let mut page = page_of(sp);
    // From the guard downwards: of a call that is under way the word is near to it.
    // The last is what the call itself returns to: an allocator's function may jump to another one that is hooked.
    while at > sp {
        at -= WORD;
        if page_of(at) != page {
            page = page_of(at);
            // Where a hole is between the two they are not on one stack, and nothing is known. The guard may be a stray write of the program.
            if page != page_of(sp) && !arch::readable(at) {
                return false;
            }
        }
        if code.holds(word_on_own_stack(at)) {
            return false;
        }
    }
    true
}

/// Where our code is.
struct Code {
    areas: [[u64; 2]; 1 + CODE_AREAS_MORE],
}

impl Code {
    fn of(shared: Shared) -> Self {
        let control = shared.control();
        let mut areas = [[0; 2]; 1 + CODE_AREAS_MORE];
        let known = core::iter::once([&control.code_at, &control.code_len])
            .chain(control.more_code.iter().map(|[at, len]| [at, len]));
        for (area, words) in areas.iter_mut().zip(known) {
            *area = words.map(|word| word.load(Relaxed));
        }
        Self { areas }
    }

    fn holds(&self, word: u64) -> bool {
        self.areas.iter().any(|[at, len]| word.wrapping_sub(*at) < *len)
    }
}
