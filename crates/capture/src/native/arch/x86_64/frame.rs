//! A signal frame that brings a thread back to where it was.
//!
//! Owns: the layout of the kernel's `rt_sigframe`. Must not know: where it is put.
//!
//! While we make system calls in a thread, this frame lies on its stack, and each call returns into `rt_sigreturn` on it. In
//! the normal course that never runs, since the registers are set back from outside. If leakline dies in between, the
//! kernel lets the thread go on: it finishes the one call and then restores itself.

use crate::sys::ptrace::Registers;

/// Room for a frame, without the processor state.
pub(crate) const FRAME_BYTES_FIXED: usize = FIXED_BYTES.next_multiple_of(64) + 64;

const UC_FLAGS: u64 = 0b111; // extended state present, SS present, restore SS strictly
const CONTEXT_AT: usize = 8;
const REGISTERS_AT: usize = CONTEXT_AT + 40;
const STATE_POINTER_AT: usize = REGISTERS_AT + 184;
const MASK_AT: usize = CONTEXT_AT + 296;
const FIXED_BYTES: usize = MASK_AT + 8 + 128; // with the (unused) siginfo

/// In the bytes that `FXSAVE` leaves to software: how much state follows, between two magic words.
const SOFTWARE_AT: usize = 464;
const MAGIC_BEFORE: u32 = 0x4650_5853;
const MAGIC_AFTER: u32 = 0x4650_5845;
const HEADER_AT: usize = 512;
/// State up to and including the protection keys: all that a thread has which uses no matrix tiles.
const WITHOUT_TILES: usize = 2696;
const TILES: u64 = 1 << 18;

/// A frame to be written at `at` (aligned to 64): first the address that the gadget returns to, then the context.
///
/// A system call that was interrupted is entered again, as its restart would: sleeping calls then start their time anew.
pub(crate) fn signal_frame(at: u64, restorer: u64, registers: &Registers, mask: u64, state: &[u8]) -> Vec<u8> {
    debug_assert!(at.is_multiple_of(64), "the processor state has to be aligned");
    let state = used(state);
    let state_at = FIXED_BYTES.next_multiple_of(64);
    let mut frame = vec![0_u8; state_at];
    put(&mut frame, 0, restorer);
    put(&mut frame, CONTEXT_AT, UC_FLAGS);
    // An alternate stack with flags that do not exist is refused, which leaves the thread's own as it is.
    put(&mut frame, CONTEXT_AT + 24, 7);
    for (i, value) in ordered(&restarted(registers)).into_iter().enumerate() {
        put(&mut frame, REGISTERS_AT + 8 * i, value);
    }
    put(&mut frame, STATE_POINTER_AT, if state.is_empty() { 0 } else { at + state_at as u64 });
    put(&mut frame, MASK_AT, mask);
    frame.extend_from_slice(&sealed(state));
    frame
}

fn put(frame: &mut [u8], at: usize, value: u64) {
    if let Some(place) = frame.get_mut(at..at + 8) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

/// In the order of `struct sigcontext`, up to the word of segment selectors.
fn ordered(r: &Registers) -> [u64; 19] {
    let selectors = (r.cs & 0xffff) | (r.gs & 0xffff) << 16 | (r.fs & 0xffff) << 32 | (r.ss & 0xffff) << 48;
    [
        r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx, r.rdx, r.rax, r.rcx, r.rsp,
        r.rip, r.eflags, selectors,
    ]
}

/// Does what the kernel does for an interrupted call, since `rt_sigreturn` no longer knows of it.
fn restarted(registers: &Registers) -> Registers {
    const RESTART_FIRST: i64 = -516; // ERESTART_RESTARTBLOCK
    const RESTART_LAST: i64 = -512; // ERESTARTSYS
    const SYSCALL_BYTES: u64 = 2;
    let mut registers = *registers;
    let interrupted =
        (registers.orig_rax as i64) >= 0 && (RESTART_FIRST..=RESTART_LAST).contains(&(registers.rax as i64));
    if interrupted {
        registers.rax = registers.orig_rax;
        registers.rip = registers.rip.wrapping_sub(SYSCALL_BYTES);
    }
    registers
}

/// The part of the state that the kernel takes back; empty where there is none to speak of.
fn used(state: &[u8]) -> &[u8] {
    let Some(present) = state.get(HEADER_AT..HEADER_AT + 8).and_then(|b| <[u8; 8]>::try_from(b).ok()) else {
        return &[];
    };
    let len = if u64::from_le_bytes(present) & TILES == 0 { state.len().min(WITHOUT_TILES) } else { state.len() };
    state.get(..len).unwrap_or(&[])
}

/// The state with the magic words and sizes by which the kernel recognises it.
fn sealed(state: &[u8]) -> Vec<u8> {
    let mut sealed = state.to_vec();
    // The kernel puts the mask of enabled components where ours begin; it is what we have to hand back.
    let Some(components) = state.get(SOFTWARE_AT..SOFTWARE_AT + 8).map(<[u8]>::to_vec) else { return sealed };
    let mut software = Vec::with_capacity(48);
    software.extend_from_slice(&MAGIC_BEFORE.to_le_bytes());
    software.extend_from_slice(&(state.len() as u32 + 4).to_le_bytes());
    software.extend_from_slice(&components);
    software.extend_from_slice(&(state.len() as u32).to_le_bytes());
    software.resize(48, 0);
    if let Some(place) = sealed.get_mut(SOFTWARE_AT..SOFTWARE_AT + 48) {
        place.copy_from_slice(&software);
    }
    sealed.extend_from_slice(&MAGIC_AFTER.to_le_bytes());
    sealed
}

#[cfg(test)]
mod tests;
