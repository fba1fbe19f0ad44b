//! What a thread does that is about to take the program's memory away: it waits until leakline has looked.
//!
//! Owns: the hooks of `_exit` and `execve`, and the wait. Must not know: what leakline looks at.
//!
//! A thread waits only while somebody listens, which ends when leakline dies, and in any case for a bounded time: a leakline
//! that is stopped must not keep the program from ending.

use core::sync::atomic::Ordering::{AcqRel, Acquire};

use wire::{GATE_EXECUTE, GATE_EXIT, GATE_KIND_BITS};

use crate::arch;
use crate::hooks::function;
use crate::shared::Shared;

/// Tenths of a second that a thread waits at most.
const WAITS_MAX: u32 = 1200;

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
