//! Hooks of the functions that map memory and make threads.
//!
//! Owns: what is told of each, and when: the end of a region before it ends, its beginning after it began, so that whoever
//! gets the same address next is told later. Must not know: how regions are kept apart.

use wire::Call;

use crate::calls::{Answer, Hooked, tell};

const FAILED: usize = usize::MAX;

/// Where `pthread_attr_t` says that a thread is made detached: in glibc (bit 0 of this word), in musl (not zero).
const DETACHED_GLIBC_AT: usize = 8;
const DETACHED_MUSL_AT: usize = 24;

/// `mmap(address, length, protection, flags, descriptor, offset)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_maps(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let result = hooked.call();
    if result != FAILED
        && let Some((thread, nested)) = hooked.anywhere()
    {
        let [_, len, _, flags, ..] = hooked.arguments;
        hooked.tell_with_stack(thread, nested, Call::Map, [result as u64, len as u64, u64::from(flags as u32), 0]);
    }
    Answer::of(result)
}

/// `munmap(address, length)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_unmaps(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    if let Some((thread, nested)) = hooked.anywhere() {
        let [address, len, ..] = hooked.arguments;
        tell(thread, nested, Call::Unmap, 0, [address as u64, len as u64, 0, 0]);
    }
    Answer::GO_ON
}

/// `mremap(address, old length, new length, flags, …)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_remaps(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let Some((thread, nested)) = hooked.anywhere() else { return Answer::GO_ON };
    let [old, old_len, len, flags, ..] = hooked.arguments;
    tell(thread, nested, Call::MoveBegin, 0, [old as u64, old_len as u64, u64::from(flags as u32), 0]);
    let result = hooked.call();
    let words = [result as u64, len as u64, old as u64, old_len as u64];
    hooked.tell_with_stack(thread, nested, Call::MoveEnd, words);
    Answer::of(result)
}

/// `brk(address)`; `sbrk` ends here too.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_breaks(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let result = hooked.call();
    if result as u32 == 0
        && let Some((thread, nested)) = hooked.anywhere()
    {
        hooked.tell_with_stack(thread, nested, Call::Break, [hooked.arguments[0] as u64, 0, 0, 0]);
    }
    Answer::of(result)
}

/// `shmat(segment, address, flags)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_attaches(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let result = hooked.call();
    if result != FAILED
        && let Some((thread, nested)) = hooked.anywhere()
    {
        hooked.tell_with_stack(thread, nested, Call::SegmentAttach, [result as u64, 0, 0, 0]);
    }
    Answer::of(result)
}

/// `shmdt(address)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_detaches(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    note(Call::SegmentDetach, &Hooked::new(arguments, sp, bp, real))
}

/// `pthread_create(handle, attributes, start, argument)`. What the C library maps and allocates meanwhile belongs to the thread,
/// which is told as one: hence the guard. An unwinder could not pass our frame from there anyway.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_creates_thread(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let Some((thread, nested)) = hooked.anywhere() else { return Answer::GO_ON };
    tell(thread, nested, Call::ThreadBegin, 0, [0; 4]);
    if !nested {
        thread.enter(hooked.sp);
    }
    let result = hooked.call();
    let [handle_at, attributes, ..] = hooked.arguments;
    let handle = if result as u32 == 0 { word(handle_at) as u64 } else { 0 };
    // C11's `thrd_create` passes a pointer that leads nowhere.
    let has_none = attributes == 0 || attributes == usize::MAX;
    let half = |at: usize| if has_none { 0 } else { u64::from(word(attributes + at) as u32) };
    let words = [handle, half(DETACHED_GLIBC_AT) & 1, u64::from(half(DETACHED_MUSL_AT) != 0), 0];
    hooked.tell_with_stack(thread, nested, Call::ThreadEnd, words);
    Answer::of(result)
}

/// `pthread_join(handle, …)`, which may sleep for long: only its beginning is told.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_joins_thread(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    note(Call::ThreadJoin, &Hooked::new(arguments, sp, bp, real))
}

/// `pthread_tryjoin_np(handle, …)`, which never sleeps and mostly fails.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_tries_to_join_thread(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    let hooked = Hooked::new(arguments, sp, bp, real);
    let result = hooked.call();
    if result as u32 == 0 {
        note(Call::ThreadJoin, &hooked);
    }
    Answer::of(result)
}

/// `pthread_detach(handle)`.
#[cfg_attr(leakline_image, unsafe(no_mangle))]
pub extern "C" fn leakline_detaches_thread(arguments: usize, sp: usize, bp: usize, real: usize) -> Answer {
    note(Call::ThreadDetach, &Hooked::new(arguments, sp, bp, real))
}

/// Tells the first argument, and lets the function run.
fn note(call: Call, hooked: &Hooked) -> Answer {
    if let Some((thread, nested)) = hooked.anywhere() {
        tell(thread, nested, call, 0, [hooked.arguments[0] as u64, 0, 0, 0]);
    }
    Answer::GO_ON
}

/// A word of an argument that the function has read or written.
fn word(at: usize) -> usize {
    // SAFETY: the real function succeeded with this pointer, so there is an object of its type.
    unsafe { core::ptr::with_exposed_provenance::<usize>(at).read_unaligned() }
}
