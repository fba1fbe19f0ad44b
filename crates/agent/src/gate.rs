//! What a thread does that is about to take the program's memory away, or that has loaded code: it waits until leakline has looked.
//!
//! Owns: the hooks of `_exit`, `execve` and the dynamic linker, and the waits. Must not know: what leakline looks at.
//!
//! A thread waits only while somebody listens, which ends when leakline dies, and in any case for a bounded time: a leakline
//! that is stopped must not keep the program from ending, nor from loading its libraries.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use wire::{GATE_EXECUTE, GATE_EXIT, GATE_KIND_BITS};

use crate::arch;
use crate::hooks::function;
use crate::shared::Shared;

/// Tenths of a second that a thread waits at most.
const WAITS_MAX: u32 = 1200;
/// The same for one that has loaded libraries.
const LOAD_WAITS_MAX: u32 = 2;

/// `_exit(status)`, which `exit` calls last.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_exit(a: usize, b: usize, c: usize, _sp: usize, _bp: usize, real: usize) -> usize {
    wait(GATE_EXIT);
    function(real)(a, b, c)
}

/// `execve(path, arguments, environment)`; returns only if it fails.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_execute(a: usize, b: usize, c: usize, _sp: usize, _bp: usize, real: usize) -> usize {
    wait(GATE_EXECUTE);
    function(real)(a, b, c)
}

/// Waits at the gate, if it is open for this process.
pub(crate) fn wait(kind: u32) {
    let Some(shared) = Shared::listening() else { return };
    let gate = &shared.control().gate;
    if gate.open.load(Acquire) == 0 || gate.process.load(Acquire) != arch::process_number() {
        return;
    }
    let request = arch::thread_number() << GATE_KIND_BITS | kind;
    let mut asked = false;
    for _ in 0..WAITS_MAX {
        if !asked {
            asked = gate.request.compare_exchange(0, request, AcqRel, Acquire).is_ok();
            if asked {
                arch::wake(&gate.request);
            }
        }
        // Either this thread's request, or that of another one which was here first.
        let now = gate.request.load(Acquire);
        if asked && now != request {
            return;
        }
        if now != 0 {
            arch::sleep_while(&gate.request, now);
        }
        if Shared::listening().is_none() {
            return;
        }
    }
    if asked {
        let _ = gate.request.compare_exchange(request, 0, AcqRel, Acquire);
    }
}

/// The empty function that dynamic linkers call for debuggers, before and after they map libraries and before any code of those runs.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_loads(a: usize, b: usize, c: usize, _sp: usize, _bp: usize, real: usize) -> usize {
    if let Some(shared) = Shared::listening() {
        wait_for_answer(shared);
    }
    function(real)(a, b, c)
}

/// Asks leakline to look at what is mapped now; the number of the request.
#[cold]
pub(crate) fn ask(shared: Shared) -> u32 {
    let loads = &shared.control().loads;
    let request = loads.asked.fetch_add(1, AcqRel).wrapping_add(1);
    arch::wake(&loads.asked);
    request
}

/// Asks, and waits for the answer. Where that was in vain once, nobody waits again before leakline has answered: a leakline that is
/// stopped costs a program one wait, not one for each library.
fn wait_for_answer(shared: Shared) {
    let loads = &shared.control().loads;
    let request = ask(shared);
    for _ in 0..LOAD_WAITS_MAX {
        let answered = loads.answered.load(Acquire);
        if is_answered(answered, request) || loads.neglected.load(Acquire) != 0 {
            return;
        }
        arch::sleep_while(&loads.answered, answered);
        if Shared::listening().is_none() {
            return;
        }
    }
    if !is_answered(loads.answered.load(Acquire), request) {
        loads.neglected.store(1, Release);
    }
}

/// Whether an answer is to this request or to a later one; the numbers wrap around.
fn is_answered(answered: u32, request: u32) -> bool {
    answered.wrapping_sub(request).cast_signed() >= 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_for_all_requests_before_it() {
        let check = |answered: u32, request: u32, expected: bool| {
            assert_eq!(is_answered(answered, request), expected, "{answered} to {request}");
        };
        check(0, 1, false);
        check(1, 1, true);
        check(7, 1, true);
        check(u32::MAX, 0, false);
        check(0, u32::MAX, true);
        check(3, u32::MAX, true);
    }
}
