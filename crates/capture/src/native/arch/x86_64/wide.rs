//! Stubs that keep more than a hook's own arguments: for functions with up to six of them, and for places inside a function.
//!
//! Owns: their bytes, and where inside a function they may stand. Must not know: displaced instructions, or how they are moved.

use iced_x86::{Decoder, DecoderOptions, Mnemonic, Register};

use super::patch::{BITS, SITE_BYTES};

/// Where the displaced instructions stand in a site for a whole function.
pub(super) const WHOLE_DISPLACED_AT: usize = 56;
/// Where they stand in a site behind a system call.
pub(super) const BEHIND_DISPLACED_AT: usize = 80;
const HOOK_POINTER_AT: usize = SITE_BYTES - 8;
/// What a function without calls may keep below its stack pointer.
const RED_ZONE: u32 = 128;
/// Words that the stub behind a system call pushes.
const PUSHED: u32 = 11;

/// Where the frame of a function's caller is, seen from a place inside the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Bytes from the stack pointer to the return address.
    pub(crate) return_at: u32,
    /// Bytes from the stack pointer to where the caller's rbp was saved; none where it is still in its register.
    pub(crate) saved_rbp: Option<u32>,
}

/// The site of a whole function.
pub(super) fn whole_site_of(copy: &[u8], hook: u64) -> Vec<u8> {
    with_pointer(whole_stub(), WHOLE_DISPLACED_AT, copy, hook)
}

/// The site of a place behind a system call.
pub(super) fn behind_site_of(caller: Caller, copy: &[u8], hook: u64) -> Vec<u8> {
    with_pointer(behind_stub(caller), BEHIND_DISPLACED_AT, copy, hook)
}

/// Saves all arguments, asks the hook, and returns or goes on as it says.
fn whole_stub() -> Vec<u8> {
    let mut stub = vec![0x41, 0x51, 0x41, 0x50, 0x51, 0x52, 0x56, 0x57]; // push %r9, %r8, %rcx, %rdx, %rsi, %rdi
    stub.push(0x50); // push %rax: the number of vector registers of a variadic call; the stack is aligned then
    stub.extend_from_slice(&[0x48, 0x8d, 0x7c, 0x24, 0x08]); // lea 8(%rsp), %rdi: the arguments
    stub.extend_from_slice(&[0x48, 0x8d, 0x74, 0x24, 0x38]); // lea 56(%rsp), %rsi: where the return address is
    stub.extend_from_slice(&[0x48, 0x89, 0xea]); // mov %rbp, %rdx
    stub.extend_from_slice(&[0x48, 0x8d, 0x0d]); // lea displaced(%rip), %rcx
    stub.extend_from_slice(&distance(WHOLE_DISPLACED_AT, stub.len()));
    stub.extend_from_slice(&[0xff, 0x15]); // call *hook(%rip)
    stub.extend_from_slice(&distance(HOOK_POINTER_AT, stub.len()));
    stub.extend_from_slice(&[0x48, 0x85, 0xd2]); // test %rdx, %rdx
    stub.extend_from_slice(&[0x74, 0x05]); // je behind the return
    stub.extend_from_slice(&[0x48, 0x83, 0xc4, 0x38, 0xc3]); // add $56, %rsp; ret
    stub.push(0x58); // pop %rax
    stub.extend_from_slice(&[0x5f, 0x5e, 0x5a, 0x59, 0x41, 0x58, 0x41, 0x59]); // pop %rdi, %rsi, %rdx, %rcx, %r8, %r9
    stub
}

/// Leaves every register, the flags and what lies below the stack pointer as they are.
fn behind_stub(caller: Caller) -> Vec<u8> {
    let saved = RED_ZONE + 8 * PUSHED;
    let mut stub = vec![0x48, 0x8d, 0x64, 0x24, 0x80]; // lea -128(%rsp), %rsp
    stub.extend_from_slice(&[0x9c, 0x50, 0x51, 0x52, 0x56, 0x57]); // pushf; push %rax, %rcx, %rdx, %rsi, %rdi
    stub.extend_from_slice(&[0x41, 0x50, 0x41, 0x51, 0x41, 0x52, 0x41, 0x53, 0x53]); // push %r8 to %r11, %rbx
    stub.extend_from_slice(&[0x48, 0x89, 0xe3]); // mov %rsp, %rbx
    stub.extend_from_slice(&[0x48, 0x89, 0xc7]); // mov %rax, %rdi: the result
    stub.extend_from_slice(&[0x48, 0x8d, 0xb4, 0x24]); // lea …(%rsp), %rsi: where the return address is
    stub.extend_from_slice(&(saved + caller.return_at).to_le_bytes());
    match caller.saved_rbp {
        None => stub.extend_from_slice(&[0x48, 0x89, 0xea]), // mov %rbp, %rdx
        Some(at) => {
            stub.extend_from_slice(&[0x48, 0x8b, 0x94, 0x24]); // mov …(%rsp), %rdx
            stub.extend_from_slice(&(saved + at).to_le_bytes());
        }
    }
    stub.extend_from_slice(&[0x48, 0x83, 0xe4, 0xf0]); // and $-16, %rsp
    stub.extend_from_slice(&[0xff, 0x15]); // call *hook(%rip)
    stub.extend_from_slice(&distance(HOOK_POINTER_AT, stub.len()));
    stub.extend_from_slice(&[0x48, 0x89, 0xdc, 0x5b]); // mov %rbx, %rsp; pop %rbx
    stub.extend_from_slice(&[0x41, 0x5b, 0x41, 0x5a, 0x41, 0x59, 0x41, 0x58]); // pop %r11 to %r8
    stub.extend_from_slice(&[0x5f, 0x5e, 0x5a, 0x59, 0x58, 0x9d]); // pop %rdi, %rsi, %rdx, %rcx, %rax; popf
    stub.extend_from_slice(&[0x48, 0x8d, 0xa4, 0x24]); // lea 128(%rsp), %rsp
    stub.extend_from_slice(&RED_ZONE.to_le_bytes());
    stub
}

/// From the end of an instruction's displacement, which begins at `at`, to a place in the site.
fn distance(to: usize, at: usize) -> [u8; 4] {
    ((to - at - 4) as u32).to_le_bytes()
}

/// A site whose pointer to the hook stands at its end. Too long where the copy leaves no room for it.
fn with_pointer(mut site: Vec<u8>, displaced_at: usize, copy: &[u8], hook: u64) -> Vec<u8> {
    assert!(site.len() <= displaced_at, "the stub ends before the displaced instructions");
    site.resize(displaced_at, 0x90);
    site.extend_from_slice(copy);
    if site.len() <= SITE_BYTES - 8 {
        site.resize(SITE_BYTES - 8, 0xcc);
    }
    site.extend_from_slice(&hook.to_le_bytes());
    site
}

/// Where a hook can be put behind what makes a function's result: the offsets behind its system calls, or, where it has the
/// system call made for it, behind its calls. None where that might disturb it.
pub(crate) fn behind_system_calls(code: &[u8], at: u64) -> Vec<usize> {
    let (mut behind, mut called) = (Vec::new(), Vec::new());
    for instruction in &mut Decoder::with_ip(BITS, code, at, DecoderOptions::NONE) {
        let registers = (0..instruction.op_count()).map(|i| instruction.op_register(i));
        // The stub saves no vector registers.
        if registers.into_iter().any(Register::is_vector_register) {
            return Vec::new();
        }
        let next = (instruction.next_ip() - at) as usize;
        if instruction.mnemonic() == Mnemonic::Syscall {
            behind.push(next);
        } else if instruction.mnemonic() == Mnemonic::Call {
            called.push(next);
        }
    }
    if behind.is_empty() { called } else { behind }
}

#[cfg(test)]
mod tests {
    use iced_x86::{Instruction, OpKind};

    use super::super::patch::{Stub, relocate};
    use super::*;

    const ENTRY: u64 = 0x7f00_0010_0000;
    const SITE: u64 = 0x7f00_0000_0000;

    fn bytes(text: &str) -> Vec<u8> {
        text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    fn mnemonics(site: &[u8], end: u64) -> (String, Vec<Instruction>) {
        let mut decoder = Decoder::with_ip(BITS, site, SITE, DecoderOptions::NONE);
        let stub: Vec<Instruction> = decoder.iter().take_while(|i| i.ip() < end).collect();
        let text: Vec<String> = stub.iter().map(|i| format!("{:?}", i.mnemonic()).to_lowercase()).collect();
        (text.join(" "), stub)
    }

    fn pointers(stub: &[Instruction]) -> Vec<u64> {
        stub.iter().filter(|i| i.is_ip_rel_memory_operand()).map(|i| i.memory_displacement64() - SITE).collect()
    }

    #[test]
    fn a_whole_call_is_done_or_goes_on_with_all_arguments() {
        let relocation = relocate(&bytes("b8 29 00 00 00 0f 05 c3"), ENTRY, SITE, 0x1234, Stub::Whole).unwrap();
        assert_eq!(relocation.site.len(), SITE_BYTES);
        assert_eq!(relocation.unhooked(), SITE + WHOLE_DISPLACED_AT as u64);
        let (text, stub) = mnemonics(&relocation.site, relocation.unhooked());
        let before = "push push push push push push push lea lea mov lea call test je add ret";
        assert_eq!(text, format!("{before} pop pop pop pop pop pop pop nop nop"));
        assert_eq!(pointers(&stub), [WHOLE_DISPLACED_AT as u64, HOOK_POINTER_AT as u64]);
        let failed = stub.iter().find(|i| i.op0_kind() == OpKind::NearBranch64).unwrap().near_branch_target();
        assert_eq!(stub.iter().position(|i| i.ip() == failed), Some(16), "what is not done leads to the pops");
        let pushed: Vec<_> = stub[..7].iter().map(Instruction::op0_register).collect();
        let popped: Vec<_> = stub[16..23].iter().rev().map(Instruction::op0_register).collect();
        assert_eq!(pushed, popped);
    }

    /// musl's `close` begins by a call that returns at once.
    #[test]
    fn a_whole_function_may_begin_by_a_call() {
        let relocation = relocate(&bytes("48 83 ec 18 e8 00 00 00 00 c3"), ENTRY, SITE, 0x1234, Stub::Whole).unwrap();
        assert_eq!((relocation.before.len(), relocation.site.len()), (9, SITE_BYTES));
        let inside = relocate(
            &bytes("e8 00 00 00 00 c3"),
            ENTRY,
            SITE,
            0x1234,
            Stub::Behind(Caller { return_at: 0, saved_rbp: None }),
        );
        assert!(inside.is_err(), "{inside:?}");
    }

    #[test]
    fn behind_a_system_call_everything_stays_as_it_is() {
        for saved_rbp in [None, Some(24)] {
            let stub = Stub::Behind(Caller { return_at: 40, saved_rbp });
            let relocation = relocate(&bytes("48 3d 00 f0 ff ff 77 38 c3"), ENTRY, SITE, 0x1234, stub).unwrap();
            assert_eq!((relocation.at, relocation.before.len(), relocation.site.len()), (ENTRY, 6, SITE_BYTES));
            let (text, stub) = mnemonics(&relocation.site, relocation.unhooked());
            let saves = "lea pushfq push push push push push push push push push push mov mov lea mov and call mov";
            let nops = if saved_rbp.is_some() { 2 } else { 7 };
            let restores = "pop pop pop pop pop pop pop pop pop pop popfq lea";
            assert_eq!(text, format!("{saves} {restores}{}", " nop".repeat(nops)));
            assert_eq!(pointers(&stub), [HOOK_POINTER_AT as u64]);
            let pushed: Vec<_> = stub[2..12].iter().map(Instruction::op0_register).collect();
            let popped: Vec<_> = stub[19..29].iter().rev().map(Instruction::op0_register).collect();
            assert_eq!(pushed, popped);
            assert_eq!(stub[14].memory_displacement64(), 128 + 88 + 40);
        }
    }

    /// Offsets at which the hook would go.
    #[track_caller]
    fn check_behind(code: &str, expected: &[usize]) {
        assert_eq!(behind_system_calls(&bytes(code), ENTRY), expected, "{code}");
    }

    #[test]
    fn the_places_behind_system_calls_are_found() {
        check_behind("b8 2b 00 00 00 0f 05 48 3d 00 f0 ff ff c3", &[7]);
        check_behind("0f 05 e8 00 00 00 00 0f 05 c3", &[2, 9]);
        // Newer C libraries have one function make all system calls that can be cancelled.
        check_behind("48 83 ec 10 e8 00 00 00 00 48 83 c4 18 c3", &[9]);
        check_behind("c3", &[]);
        // movaps %xmm0, (%rsp): a vector register might be in use across the call.
        check_behind("0f 29 04 24 0f 05 c3", &[]);
    }
}
