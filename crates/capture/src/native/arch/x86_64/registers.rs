//! Registers of a stopped thread: making system calls with them, and leaving no trace of the stop.
//!
//! Owns: which register holds what. Must not know: how registers get to the thread.

use std::io;

use crate::sys::ptrace::Registers;

/// `syscall; ret`: executes one system call and returns to what lies on the stack.
pub(crate) const SYSCALL_RETURN: &[u8] = &[0x0f, 0x05, 0xc3];
/// `mov $15, %rax; syscall` or `mov $15, %eax; syscall`: `rt_sigreturn`, as glibc and as musl end signal handlers.
pub(crate) const RESTORERS: [&[u8]; 2] =
    [&[0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05], &[0xb8, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05]];

/// `pop %rax; ret`, also as the end of a longer instruction.
pub(crate) const POP_NUMBER: &[u8] = &[0x58, 0xc3];
/// `rt_sigreturn`.
pub(crate) const SIGNAL_RETURN_NUMBER: u64 = 15;

const RED_ZONE: u64 = 128;
const EINTR: i64 = -4;
/// Not an error of programs: the kernel restarts the call, or reports `EINTR` if a handler runs.
const ERESTARTNOHAND: i64 = -514;
/// Calls that a stop by a debugger interrupts with `EINTR` for good (`signal(7)`): `epoll_wait`, `epoll_pwait`,
/// `epoll_pwait2`, `semop`, `semtimedop`, `rt_sigtimedwait`, `io_getevents`, `io_pgetevents`.
const NOT_RESTARTED: [u64; 8] = [232, 281, 441, 65, 220, 128, 208, 333];

/// A system call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// Its number.
    pub(crate) number: i64,
    /// Its arguments; unused ones are zero.
    pub(crate) arguments: [u64; 6],
}

/// Where code goes on.
pub(crate) fn instruction(registers: &Registers) -> u64 {
    registers.rip
}

/// Where the stack ends.
pub(crate) fn stack_pointer(registers: &Registers) -> u64 {
    registers.rsp
}

/// What functions with a frame pointer have there.
pub(crate) fn frame_pointer(registers: &Registers) -> u64 {
    registers.rbp
}

/// What may hold pointers of the program.
pub(crate) fn general(registers: &Registers) -> [u64; 15] {
    let r = registers;
    [r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15]
}

/// What a thread finds its own memory by.
pub(crate) fn thread_pointer(registers: &Registers) -> u64 {
    registers.fs_base
}

/// Lets code go on elsewhere.
pub(crate) fn set_instruction(registers: &mut Registers, at: u64) {
    registers.rip = at;
}

/// Highest place for a frame of `len` bytes on the thread's stack: below the red zone, aligned as the processor state needs.
pub(crate) fn frame_place(registers: &Registers, len: usize) -> Option<u64> {
    let top = registers.rsp.checked_sub(RED_ZONE)?;
    Some(top.checked_sub(len as u64)? & !63)
}

/// Sets up a system call at `gadget` ([`SYSCALL_RETURN`]) that afterwards returns to what lies at `stack`.
pub(crate) fn set_call(registers: &mut Registers, gadget: u64, stack: u64, call: Call) {
    registers.rip = gadget;
    registers.rsp = stack;
    registers.rax = call.number as u64;
    // Not inside a system call: the kernel must not restart an earlier one with these registers.
    registers.orig_rax = u64::MAX;
    [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9] = call.arguments;
}

/// What a finished system call returned.
pub(crate) fn result(registers: &Registers) -> io::Result<u64> {
    let value = registers.rax as i64;
    if (-4095..0).contains(&value) { Err(io::Error::from_raw_os_error(-value as i32)) } else { Ok(value as u64) }
}

/// The registers with which a thread goes on as if it had never been interrupted: a call that the stop ended with `EINTR`
/// is restarted, unless a signal handler runs.
pub(crate) fn undisturbed(registers: &Registers) -> Registers {
    let mut registers = *registers;
    if NOT_RESTARTED.contains(&registers.orig_rax) && registers.rax as i64 == EINTR {
        registers.rax = ERESTARTNOHAND as u64;
    }
    registers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers() -> Registers {
        Registers {
            r15: 0,
            r14: 0,
            r13: 0,
            r12: 0,
            rbp: 0,
            rbx: 0,
            r11: 0,
            r10: 0,
            r9: 0,
            r8: 0,
            rax: 0,
            rcx: 0,
            rdx: 0,
            rsi: 0,
            rdi: 0,
            orig_rax: u64::MAX,
            rip: 0x40_1000,
            cs: 0x33,
            eflags: 0x246,
            rsp: 0x7fff_0000_1008,
            ss: 0x2b,
            fs_base: 0,
            gs_base: 0,
            ds: 0,
            es: 0,
            fs: 0,
            gs: 0,
        }
    }

    #[test]
    fn only_calls_that_the_kernel_does_not_restart_are_mended() {
        let in_call = |number: u64, result: i64| Registers { orig_rax: number, rax: result as u64, ..registers() };
        let after = |number, result| undisturbed(&in_call(number, result)).rax as i64;
        assert_eq!(after(232, EINTR), ERESTARTNOHAND);
        assert_eq!(after(232, 3), 3);
        assert_eq!(after(0, EINTR), EINTR);
        assert_eq!(after(202, -516), -516);
    }

    #[test]
    fn a_frame_lies_below_the_red_zone_and_is_aligned() {
        let at = frame_place(&registers(), 1000).unwrap();
        assert_eq!(at % 64, 0);
        assert!(at + 1000 + RED_ZONE <= registers().rsp);
        assert_eq!(frame_place(&Registers { rsp: 500, ..registers() }, 1000), None);
    }

    #[test]
    fn errors_are_the_last_page_of_numbers() {
        assert_eq!(result(&Registers { rax: 7, ..registers() }).unwrap(), 7);
        assert_eq!(result(&Registers { rax: -12_i64 as u64, ..registers() }).unwrap_err().raw_os_error(), Some(12));
        assert_eq!(result(&Registers { rax: 0x7f00_0000_0000, ..registers() }).unwrap(), 0x7f00_0000_0000);
    }
}
