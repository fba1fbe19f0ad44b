//! Hooks of the functions that open and close descriptors.
//!
//! Owns: where each function has its descriptors. Must not know: what a descriptor leads to.
//!
//! A close is told before it happens, an open after it succeeded: whoever gets the same number next is told later. A call from
//! inside another hooked function is the allocator's own and passes untold.

use core::sync::atomic::Ordering::Relaxed;

use wire::Call;

use crate::calls::{Answer, Hooked, tell};
use crate::record::Thread;

const DUPLICATE: usize = 0;
const DUPLICATE_CLOSING_ON_EXEC: usize = 1030;
const CLOSE_ON_EXEC: usize = 4;
/// Where musl's `FILE` and `DIR` keep their descriptor.
const MUSL_FILE_AT: usize = 120;
const MUSL_DIRECTORY_AT: usize = 8;

/// A function that returns a descriptor and does not sleep: `socket`, `dup`, `epoll_create`, …
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_opens(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let result = hooked.call();
    opened(&hooked, result);
    Answer::of(result)
}

/// Inside a function that may sleep (`open`, `accept`), just behind its system call: `result` is what the kernel returned.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_opened(result: usize, sp: usize, bp: usize) {
    opened(&Hooked::behind(sp, bp), result);
}

/// `dup2(old, new)`, `dup3(old, new, flags)`: a descriptor onto itself stays what it is.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_duplicates(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let [old, new, ..] = hooked.arguments;
    if old as u32 == new as u32 {
        return Answer::GO_ON;
    }
    let result = hooked.call();
    opened(&hooked, result);
    Answer::of(result)
}

/// `fcntl(descriptor, command, …)`: only what duplicates is called from here, since the rest may sleep.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_controls(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    match hooked.arguments[1] as u32 as usize {
        DUPLICATE | DUPLICATE_CLOSING_ON_EXEC => {}
        _ => return Answer::GO_ON,
    }
    let result = hooked.call();
    opened(&hooked, result);
    Answer::of(result)
}

/// `signalfd(descriptor, …)` makes one only where it is given none.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_opens_signals(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    if hooked.arguments[0] as u32 != u32::MAX {
        return Answer::GO_ON;
    }
    let result = hooked.call();
    opened(&hooked, result);
    Answer::of(result)
}

/// `pipe(two)`, `pipe2(two, flags)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_opens_two(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    two(&hooked, hooked.arguments[0])
}

/// `socketpair(domain, type, protocol, two)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_opens_two_fourth(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    two(&hooked, hooked.arguments[3])
}

/// musl's `fopen`, `tmpfile`, `popen`: returns a `FILE`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_opens_file(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    opens_object(&hooked, MUSL_FILE_AT)
}

/// musl's `opendir`: returns a `DIR`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_opens_directory(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    opens_object(&hooked, MUSL_DIRECTORY_AT)
}

/// `close(descriptor)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_closes(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    closes(&hooked, hooked.arguments[0] as u32);
    Answer::GO_ON
}

/// musl's `fclose(file)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_closes_file(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    if hooked.arguments[0] != 0 {
        closes(&hooked, half(hooked.arguments[0] + MUSL_FILE_AT));
    }
    Answer::GO_ON
}

/// musl's `closedir(directory)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_closes_directory(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    if hooked.arguments[0] != 0 {
        closes(&hooked, half(hooked.arguments[0] + MUSL_DIRECTORY_AT));
    }
    Answer::GO_ON
}

/// `close_range(first, last, flags)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_closes_range(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let [first, last, flags, ..] = hooked.arguments;
    if flags & CLOSE_ON_EXEC == 0
        && let Some(thread) = hooked.own()
    {
        tell(thread, false, Call::CloseRange, 0, [u64::from(first as u32), u64::from(last as u32), 0, 0]);
    }
    Answer::GO_ON
}

/// `closefrom(first)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_closes_from(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    if let Some(thread) = hooked.own() {
        // A negative number means all.
        let first = (hooked.arguments[0] as u32).cast_signed().max(0);
        tell(thread, false, Call::CloseRange, 0, [u64::from(first.unsigned_abs()), u64::from(u32::MAX), 0, 0]);
    }
    Answer::GO_ON
}

/// `vfork()`: from here on this thread's calls may be its child's.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_vforks(_arguments: usize, _sp: usize, _bp: usize, _real: usize) -> Answer {
    if let Some(thread) = Thread::calling() {
        thread.record.vforked.store(1, Relaxed);
        count_child(thread);
    }
    Answer::GO_ON
}

/// `fork()`: nothing of ours is in the child, which is only counted. That it will be made is all but certain.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_forks(_arguments: usize, _sp: usize, _bp: usize, _real: usize) -> Answer {
    if let Some(thread) = Thread::calling() {
        count_child(thread);
    }
    Answer::GO_ON
}

/// `posix_spawn(…)`: its child shares the memory too, and all that it does until `exec` happens inside this call.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_spawns(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let Some(thread) = Thread::current(hooked.sp) else { return Answer::GO_ON };
    thread.enter(hooked.sp);
    let result = hooked.call();
    if result as u32 == 0 {
        count_child(thread);
    }
    thread.leave();
    Answer::of(result)
}

fn count_child(thread: Thread) {
    thread.shared.control().gate.children.fetch_add(1, Relaxed);
}

fn two(hooked: &Hooked, at: usize) -> Answer {
    let result = hooked.call();
    if result as u32 == 0 {
        opened(hooked, half(at) as usize);
        opened(hooked, half(at + 4) as usize);
    }
    Answer::of(result)
}

/// The function returns an object with its descriptor in this place.
fn opens_object(hooked: &Hooked, descriptor_at: usize) -> Answer {
    let result = hooked.call();
    if result != 0 {
        opened(hooked, half(result + descriptor_at) as usize);
    }
    Answer::of(result)
}

/// Tells a descriptor, unless the number says that there is none.
fn opened(hooked: &Hooked, result: usize) {
    let number = (result as u32).cast_signed();
    if number >= 0
        && let Some(thread) = hooked.own()
    {
        hooked.tell_with_stack(thread, false, Call::Open, [u64::from(number.unsigned_abs()), 0, 0, 0]);
    }
}

fn closes(hooked: &Hooked, number: u32) {
    if let Some(thread) = hooked.own() {
        tell(thread, false, Call::Close, 0, [u64::from(number), 0, 0, 0]);
    }
}

/// Half a word of an argument that the function has written or is about to read.
fn half(at: usize) -> u32 {
    // SAFETY: callers pass the address of a descriptor in an object that the function was given or has made.
    unsafe { core::ptr::with_exposed_provenance::<u32>(at).read_unaligned() }
}
