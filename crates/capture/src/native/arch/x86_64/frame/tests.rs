//! Tests of the signal frame against the C library's own description of `ucontext_t`.

use core::mem::offset_of;

use super::*;

/// The address that the gadget returns to stands before the context.
const CONTEXT: usize = 8;
const AT: u64 = 0x7ffc_0000_1000;
const RESTORER: u64 = 0x7f00_0000_4444;
const MASK: u64 = 0xfedc_ba98_7654_3210;

/// Every register has a value that no other has.
fn registers() -> Registers {
    Registers {
        r15: 0x115,
        r14: 0x114,
        r13: 0x113,
        r12: 0x112,
        rbp: 0xb9,
        rbx: 0xb3,
        r11: 0x111,
        r10: 0x110,
        r9: 0x109,
        r8: 0x108,
        rax: 0xa1,
        rcx: 0xc1,
        rdx: 0xd1,
        rsi: 0x51,
        rdi: 0xd7,
        orig_rax: u64::MAX,
        rip: 0x40_1000,
        cs: 0x33,
        eflags: 0x246,
        rsp: 0x7fff_0000_1008,
        ss: 0x2b,
        fs_base: 0xf5ba,
        gs_base: 0x65ba,
        ds: 0xd5,
        es: 0xe5,
        fs: 0xf5,
        gs: 0x65,
    }
}

/// Processor state of so many bytes, each with a value that tells its place, that says which components are present.
fn state(len: usize, present: u64) -> Vec<u8> {
    let mut state: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    if let Some(header) = state.get_mut(HEADER_AT..HEADER_AT + 8) {
        header.copy_from_slice(&present.to_le_bytes());
    }
    state
}

fn frame_of(registers: &Registers, state: &[u8]) -> Vec<u8> {
    signal_frame(AT, RESTORER, registers, MASK, state)
}

fn word(frame: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(frame[at..at + 8].try_into().expect("eight bytes"))
}

fn half(frame: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(frame[at..at + 4].try_into().expect("four bytes"))
}

/// Where `ucontext_t` has a general register.
fn register_at(index: libc::c_int) -> usize {
    CONTEXT + offset_of!(libc::ucontext_t, uc_mcontext) + 8 * index as usize
}

#[track_caller]
fn check_register(index: libc::c_int, expected: u64) {
    let frame = frame_of(&registers(), &[]);
    assert_eq!(word(&frame, register_at(index)), expected, "register {index}");
}

#[test]
fn every_register_stands_where_the_kernel_takes_it_from() {
    check_register(libc::REG_R8, 0x108);
    check_register(libc::REG_R9, 0x109);
    check_register(libc::REG_R10, 0x110);
    check_register(libc::REG_R11, 0x111);
    check_register(libc::REG_R12, 0x112);
    check_register(libc::REG_R13, 0x113);
    check_register(libc::REG_R14, 0x114);
    check_register(libc::REG_R15, 0x115);
    check_register(libc::REG_RDI, 0xd7);
    check_register(libc::REG_RSI, 0x51);
    check_register(libc::REG_RBP, 0xb9);
    check_register(libc::REG_RBX, 0xb3);
    check_register(libc::REG_RDX, 0xd1);
    check_register(libc::REG_RAX, 0xa1);
    check_register(libc::REG_RCX, 0xc1);
    check_register(libc::REG_RSP, 0x7fff_0000_1008);
    check_register(libc::REG_RIP, 0x40_1000);
    check_register(libc::REG_EFL, 0x246);
    // cs, gs, fs, ss: sixteen bits each, from the lowest on.
    check_register(libc::REG_CSGSFS, 0x002b_00f5_0065_0033);
    // What the processor reported of a fault is of no use to a return.
    check_register(libc::REG_ERR, 0);
    check_register(libc::REG_TRAPNO, 0);
    check_register(libc::REG_CR2, 0);
}

#[test]
fn what_surrounds_the_registers() {
    let frame = frame_of(&registers(), &state(2696, 7));
    assert_eq!(word(&frame, 0), RESTORER);
    assert_eq!(word(&frame, CONTEXT + offset_of!(libc::ucontext_t, uc_flags)), 0b111);
    assert_eq!(word(&frame, CONTEXT + offset_of!(libc::ucontext_t, uc_link)), 0);
    assert_eq!(word(&frame, CONTEXT + offset_of!(libc::ucontext_t, uc_stack)), 0, "no alternate stack");
    let flags = CONTEXT + offset_of!(libc::ucontext_t, uc_stack) + offset_of!(libc::stack_t, ss_flags);
    let known = [0, libc::SS_ONSTACK as u32, libc::SS_DISABLE as u32];
    assert!(!known.contains(&half(&frame, flags)), "the kernel would take the stack that is described here");
    assert_eq!(word(&frame, CONTEXT + offset_of!(libc::ucontext_t, uc_sigmask)), MASK);
}

/// Bytes of state in the frame, without the last magic word.
#[track_caller]
fn check_state(len: usize, present: u64, kept: usize) {
    let given = state(len, present);
    let frame = frame_of(&registers(), &given);
    let pointer = word(&frame, CONTEXT + offset_of!(libc::ucontext_t, uc_mcontext) + 8 * 23);
    if kept == 0 {
        assert_eq!((pointer, frame.len()), (0, 448), "{len} bytes of state");
        return;
    }
    let at = (pointer - AT) as usize;
    assert!(pointer.is_multiple_of(64), "{pointer:#x}");
    assert_eq!(frame.len(), at + kept + 4, "{len} bytes of state");
    assert!(at <= FRAME_BYTES_FIXED, "room was reserved for less");
    assert_eq!(half(&frame, at + 464), 0x4650_5853, "FP_XSTATE_MAGIC1");
    assert_eq!(half(&frame, at + 468) as usize, kept + 4, "extended_size counts the last magic word");
    assert_eq!(word(&frame, at + 472), word(&given, 464), "xfeatures are those that were enabled");
    assert_eq!(half(&frame, at + 480) as usize, kept, "xstate_size");
    assert!(frame[at + 484..at + 512].iter().all(|byte| *byte == 0), "the padding is empty");
    assert_eq!(half(&frame, at + kept), 0x4650_5845, "FP_XSTATE_MAGIC2");
    assert_eq!(frame[at..at + 464], given[..464], "what FXSAVE wrote");
    assert_eq!(frame[at + 512..at + kept], given[512..kept], "header and extended state");
}

#[test]
fn the_state_is_sealed_between_magic_words() {
    check_state(520, 0b11, 520);
    check_state(576, 0b11, 576);
    check_state(832, 0b111, 832);
    check_state(2696, 0x2e7, 2696);
}

/// Eight kilobytes of tiles on the stack of a thread that uses none could overflow it.
#[test]
fn tiles_are_kept_only_where_they_are_in_use() {
    check_state(2697, 0x2e7, 2696);
    check_state(11_008, 0x2e7, 2696);
    check_state(11_008, 0x2e7 | 1 << 17, 2696);
    check_state(11_008, 0x2e7 | 1 << 18, 11_008);
}

#[test]
fn a_state_without_its_header_is_none() {
    check_state(0, 0, 0);
    check_state(512, 0, 0);
    check_state(519, 0, 0);
}

/// The number of the call that the thread was in, its result, then `rax` and how far `rip` moves back.
#[track_caller]
fn check_restart(call: i64, result: i64, rax: i64, back: u64) {
    let stopped = Registers { orig_rax: call as u64, rax: result as u64, ..registers() };
    let frame = frame_of(&stopped, &[]);
    let found = (word(&frame, register_at(libc::REG_RAX)) as i64, 0x40_1000 - word(&frame, register_at(libc::REG_RIP)));
    assert_eq!(found, (rax, back), "call {call} with {result}");
}

#[test]
fn an_interrupted_call_is_entered_again() {
    check_restart(35, -512, 35, 2);
    check_restart(35, -513, 35, 2);
    check_restart(35, -514, 35, 2);
    check_restart(35, -516, 35, 2);
    check_restart(0, -512, 0, 2);
}

#[test]
fn a_finished_call_and_plain_code_are_left_alone() {
    check_restart(35, -511, -511, 0);
    check_restart(35, -517, -517, 0);
    check_restart(35, -4, -4, 0);
    check_restart(35, 0, 0, 0);
    // Not in a call: a value that looks like an error is the program's own.
    check_restart(-1, -512, -512, 0);
}
