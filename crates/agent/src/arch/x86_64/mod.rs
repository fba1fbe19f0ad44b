//! x86-64: the clock, the thread pointer, reading memory that may not be there, and the layout of signal frames.
//!
//! Owns: every instruction that Rust has no word for. Must not know: what the values are used for.

use core::arch::asm;

/// Offset of the saved rbp, rsp and rip in the `ucontext` that rsp points to in a signal trampoline.
pub(crate) const SIGNAL_RBP: u64 = 120;
pub(crate) const SIGNAL_RSP: u64 = 160;
pub(crate) const SIGNAL_RIP: u64 = 168;

const SYS_RT_SIGPROCMASK: u64 = 14;
const SYS_GETPID: u64 = 39;
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

/// Number of the calling process.
#[cold]
pub(crate) fn process_number() -> u32 {
    let result: u64;
    // SAFETY: the call has no arguments and changes nothing; the clobbered registers are declared.
    unsafe {
        asm!("syscall", inlateout("rax") SYS_GETPID => result, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result as u32
}

/// Ends the process: reached only if an impossible state was reached.
#[cfg(leakline_image)]
pub(crate) fn trap() -> ! {
    // SAFETY: the instruction has no operand and does not return.
    unsafe { asm!("ud2", options(noreturn)) }
}
