//! x86-64: how a function is hooked about whose parameters and results nothing is known but which of them is the size.
//!
//! Owns: keeping every register and the words on the stack that may be a parameter or a result. Must not know: what hooks do.
//!
//! The stub passes the function in r11, which no call uses, and changes nothing else. All frames here have unwind tables, since
//! the function may throw; the unwinder tells the outermost that it is left.

use core::arch::naked_asm;
use core::mem::offset_of;

use wire::NamedCall;

/// Registers of a call, in the order in which the code below stores them.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(crate) struct Registers {
    /// rdi, rsi, rdx, rcx, r8, r9.
    pub(crate) arguments: [usize; 6],
    /// rax: before the call the number of vector registers of a variadic one, behind it the result.
    rax: usize,
    /// r10 before the call, behind it rdx: the second half of a result.
    second: usize,
    vectors: [[u64; 2]; 8],
    real: usize,
    /// Zero from when the call is over. Together with `real` it tells leakline, which searches the program's memory for them, of calls that
    /// are under way on stacks where no thread stands.
    sp: usize,
    bp: usize,
}

const _: () = assert!(
    offset_of!(Registers, real) + 8 == NamedCall::FUNCTION * 8 && offset_of!(Registers, sp) + 8 == NamedCall::STACK * 8,
    "leakline looks for both; the return address of the hook lies right below"
);
const BYTES: u64 = 224;
const _: () = assert!(size_of::<Registers>() == BYTES as usize, "the entries make room for so much");

impl Registers {
    /// Where the return address stands.
    pub(crate) fn sp(&self) -> u64 {
        self.sp as u64
    }

    /// Ends the call that was entered at this stack pointer and has not returned. False where nothing like it is there: the guard by
    /// which it is looked for may be that of a call which was left by `longjmp`.
    pub(crate) fn end_call_at(sp: u64) -> bool {
        let Some(at) = sp.checked_sub(8 + BYTES).map(|at| (at & !15) + offset_of!(Self, sp) as u64) else {
            return false;
        };
        if !super::readable(at) {
            return false;
        }
        let pointer = core::ptr::with_exposed_provenance_mut::<u64>(at as usize);
        // SAFETY: the word can be read, and a number may have any value.
        let is_there = unsafe { pointer.read_volatile() } == sp;
        if is_there {
            // SAFETY: what holds its own place is that call's, on the stack of the thread that asks.
            unsafe { pointer.write_volatile(0) };
        }
        is_there
    }

    /// rbp at the call.
    pub(crate) fn bp(&self) -> u64 {
        self.bp as u64
    }

    /// Calls the function with all of its parameters, and those words on the stack; what it returned.
    pub(crate) fn call(&mut self, stack: &[u64]) -> usize {
        let even = stack.len() & !1;
        // SAFETY: the registers are those that the stub was entered with, so the function gets what its caller gave it.
        unsafe { call_as_it_was(self, stack.as_ptr(), even) };
        self.rax
    }
}

/// Loads the registers, copies so many words (an even number) to where parameters on the stack are, calls, and keeps the results.
#[unsafe(naked)]
unsafe extern "C" fn call_as_it_was(registers: *mut Registers, from: *const u64, count: usize) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        ".cfi_offset rbx, -24",
        "push rbx",
        "mov rbx, rdi",
        "lea rax, [rdx * 8]",
        "sub rsp, rax",
        "mov rdi, rsp",
        "mov rcx, rdx",
        "rep movsq",
        "movups xmm0, [rbx + 64]",
        "movups xmm1, [rbx + 80]",
        "movups xmm2, [rbx + 96]",
        "movups xmm3, [rbx + 112]",
        "movups xmm4, [rbx + 128]",
        "movups xmm5, [rbx + 144]",
        "movups xmm6, [rbx + 160]",
        "movups xmm7, [rbx + 176]",
        "mov rdi, [rbx]",
        "mov rsi, [rbx + 8]",
        "mov rdx, [rbx + 16]",
        "mov rcx, [rbx + 24]",
        "mov r8, [rbx + 32]",
        "mov r9, [rbx + 40]",
        "mov rax, [rbx + 48]",
        "mov r10, [rbx + 56]",
        "call [rbx + 192]",
        "mov [rbx + 48], rax",
        "mov [rbx + 56], rdx",
        "movups [rbx + 64], xmm0",
        "movups [rbx + 80], xmm1",
        "mov rbx, [rbp - 8]",
        "leave",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}

/// Defines the entry of a hook: keeps all registers, asks the hook, and returns what the call returned or lets the function run as
/// if there were no hook.
macro_rules! entries {
    ($($entry:ident => $hook:path;)*) => {
        $(
            #[doc = concat!("Where the stub jumps to, see [`", stringify!($hook), "`].")]
            ///
            /// # Safety
            ///
            /// For stubs only: the function is expected in r11.
            #[cfg_attr(leakline_image, unsafe(no_mangle))]
            #[unsafe(naked)]
            pub unsafe extern "C" fn $entry() {
                core::arch::naked_asm!(
                    ".cfi_startproc",
                    // As a distance from here, four bytes.
                    ".cfi_personality 0x1b, {leaves}",
                    "push rbp",
                    ".cfi_def_cfa_offset 16",
                    ".cfi_offset rbp, -16",
                    "mov rbp, rsp",
                    ".cfi_def_cfa_register rbp",
                    "sub rsp, 224",
                    "and rsp, -16",
                    "mov [rsp], rdi",
                    "mov [rsp + 8], rsi",
                    "mov [rsp + 16], rdx",
                    "mov [rsp + 24], rcx",
                    "mov [rsp + 32], r8",
                    "mov [rsp + 40], r9",
                    "mov [rsp + 48], rax",
                    "mov [rsp + 56], r10",
                    "movups [rsp + 64], xmm0",
                    "movups [rsp + 80], xmm1",
                    "movups [rsp + 96], xmm2",
                    "movups [rsp + 112], xmm3",
                    "movups [rsp + 128], xmm4",
                    "movups [rsp + 144], xmm5",
                    "movups [rsp + 160], xmm6",
                    "movups [rsp + 176], xmm7",
                    "mov [rsp + 192], r11",
                    "lea rax, [rbp + 8]",
                    "mov [rsp + 200], rax",
                    "mov rax, [rbp]",
                    "mov [rsp + 208], rax",
                    "mov rdi, rsp",
                    "call {hook}",
                    "mov qword ptr [rsp + 200], 0",
                    "movups xmm0, [rsp + 64]",
                    "movups xmm1, [rsp + 80]",
                    "test al, al",
                    "je 2f",
                    "mov rax, [rsp + 48]",
                    "mov rdx, [rsp + 56]",
                    ".cfi_remember_state",
                    "leave",
                    ".cfi_def_cfa rsp, 8",
                    ".cfi_restore rbp",
                    "ret",
                    ".cfi_restore_state",
                    "2:",
                    "movups xmm2, [rsp + 96]",
                    "movups xmm3, [rsp + 112]",
                    "movups xmm4, [rsp + 128]",
                    "movups xmm5, [rsp + 144]",
                    "movups xmm6, [rsp + 160]",
                    "movups xmm7, [rsp + 176]",
                    "mov rdi, [rsp]",
                    "mov rsi, [rsp + 8]",
                    "mov rdx, [rsp + 16]",
                    "mov rcx, [rsp + 24]",
                    "mov r8, [rsp + 32]",
                    "mov r9, [rsp + 40]",
                    "mov rax, [rsp + 48]",
                    "mov r10, [rsp + 56]",
                    "mov r11, [rsp + 192]",
                    "leave",
                    ".cfi_def_cfa rsp, 8",
                    ".cfi_restore rbp",
                    "jmp r11",
                    ".cfi_endproc",
                    hook = sym $hook,
                    leaves = sym $crate::exceptions::leaves,
                )
            }
        )*
    };
}
pub(crate) use entries;
