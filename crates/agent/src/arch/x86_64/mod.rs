//! x86-64: the clock, the thread pointer, reading memory that may not be there, and the layout of signal frames.
//!
//! Owns: every instruction that Rust has no word for. Must not know: what the values are used for.

use core::arch::asm;
use core::sync::atomic::AtomicU32;

mod four;
mod named;
mod sum;

pub(crate) use four::Four;
pub(crate) use named::{Registers, entries};
pub(crate) use sum::{Factors, check_sums, sum};

/// Offset of the saved rbp, rsp and rip in the `ucontext` that rsp points to in a signal trampoline.
pub(crate) const SIGNAL_RBP: u64 = 120;
pub(crate) const SIGNAL_RSP: u64 = 160;
pub(crate) const SIGNAL_RIP: u64 = 168;

const SYS_RT_SIGPROCMASK: u64 = 14;
const SYS_GETPID: u64 = 39;
const SYS_GETTID: u64 = 186;
const SYS_FUTEX: u64 = 202;
const FUTEX_WAIT: u64 = 0;
const FUTEX_WAKE: u64 = 1;
const EFAULT: i64 = -14;

/// The time stamp counter.
#[inline]
pub(crate) fn ticks() -> u64 {
    // SAFETY: the instruction reads a counter; attach refuses targets in which it is disabled (PR_SET_TSC).
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The thread pointer: glibc and musl keep its own address in the first word that it points to.
#[inline]
pub(crate) fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: a program that calls malloc has set up its thread pointer, and the word there is never unmapped.
    unsafe { asm!("mov {}, fs:0", out(reg) pointer, options(nostack, readonly, preserves_flags)) };
    pointer
}

/// The same value. That it is the same is hidden from the compiler: where a function is known to return what it was given, its callers
/// keep the value over the call in a register that they have to save, instead of jumping there.
#[inline]
pub(crate) fn returned(mut value: usize) -> usize {
    // SAFETY: no instruction.
    unsafe { asm!("/* {} */", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
}

/// Whether the word at `at` can be read, asked of the kernel: a set of signals is copied from there before the request is
/// refused for its first argument.
#[cold]
pub(crate) fn readable(at: u64) -> bool {
    let result: i64;
    // SAFETY: rt_sigprocmask with an unknown `how` changes nothing; the clobbered registers are declared.
    unsafe {
        asm!("syscall", inlateout("rax") SYS_RT_SIGPROCMASK => result, in("rdi") u64::MAX, in("rsi") at, in("rdx") 0_u64,
            in("r10") 8_u64, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result != EFAULT
}

/// The number of the process as it knows itself.
#[cold]
pub(crate) fn process_number() -> u32 {
    // SAFETY: the call takes nothing and touches no memory.
    unsafe { call(SYS_GETPID, [0; 4]) as u32 }
}

/// The number of the calling thread as it knows itself.
#[cold]
pub(crate) fn thread_number() -> u32 {
    // SAFETY: the call takes nothing and touches no memory.
    unsafe { call(SYS_GETTID, [0; 4]) as u32 }
}

/// Sleeps while the word has this value, for a tenth of a second at most.
#[cold]
pub(crate) fn sleep_while(word: &AtomicU32, value: u32) {
    const TENTH_OF_SECOND: [u64; 2] = [0, 100_000_000];
    let timeout = TENTH_OF_SECOND.as_ptr().expose_provenance() as u64;
    let at = word.as_ptr().expose_provenance() as u64;
    // SAFETY: the kernel reads the word and the time, which both outlive the call.
    unsafe { call(SYS_FUTEX, [at, FUTEX_WAIT, u64::from(value), timeout]) };
}

/// Wakes all who sleep on the word.
#[cold]
pub(crate) fn wake(word: &AtomicU32) {
    let at = word.as_ptr().expose_provenance() as u64;
    // SAFETY: the kernel uses the address as a name only.
    unsafe { call(SYS_FUTEX, [at, FUTEX_WAKE, i32::MAX as u64, 0]) };
}

/// A system call that leaves `errno` alone.
///
/// # Safety
///
/// What the arguments point to must be what the call expects.
unsafe fn call(number: u64, arguments: [u64; 4]) -> i64 {
    let result: i64;
    let [a, b, c, d] = arguments;
    // SAFETY: the caller vouches for the arguments; the clobbered registers are declared.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// Where the image was put.
#[cfg(leakline_image)]
#[cold]
pub(crate) fn image_start() -> usize {
    let start: usize;
    // SAFETY: it computes an address. Of a `static` the compiler would read it from a table that only a linker fills in.
    unsafe {
        asm!(".hidden __ehdr_start", "lea {}, [rip + __ehdr_start]", out(reg) start, options(nomem, nostack, preserves_flags));
    }
    start
}

/// Ends the process: reached only if an impossible state was reached.
#[cfg(leakline_image)]
pub(crate) fn trap() -> ! {
    // SAFETY: the instruction has no operand and does not return.
    unsafe { asm!("ud2", options(noreturn)) }
}
