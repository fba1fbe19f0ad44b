//! Machine code: the jump at a hooked function, the stub that it leads to, and the displaced instructions.
//!
//! Owns: every byte of code that is written into a target, apart from the agent. Must not know: how it is written.

use std::fmt;
use std::mem::offset_of;

use iced_x86::{
    BlockEncoder, BlockEncoderOptions, Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionBlock,
    MemoryOperand, Mnemonic, OpKind, Register,
};

use wire::{Control, STATE_TID_MASK};

use super::deciding::{self, Decides};
use super::wide::{self, Caller};

/// Room for one site's stub and displaced instructions.
pub(crate) const SITE_BYTES: usize = 320;
const HOOK_POINTER_AT: usize = 24;
const DISPLACED_AT: usize = 32;
const JUMP_BYTES: usize = 5;

/// The stub of a function that throws: its pointers stand at the end of the site, so that the stub can run on into the
/// displaced instructions.
mod throwing {
    pub(super) const DISPLACED_AT: usize = 40;
    pub(super) const QUIET_POINTER_AT: usize = super::SITE_BYTES - 16;
    pub(super) const HOOK_POINTER_AT: usize = super::SITE_BYTES - 8;
}

/// How a site calls its hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stub {
    /// The hook calls the displaced function, and is called whether anybody listens or not.
    Plain,
    /// As the one before, but the hook is only called where somebody listens: the shared memory, whose address stands at this one,
    /// says so. There is none in a forked child.
    Asking(u64),
    /// As the one before, with the link at this address; and of ordinary calls the stub does itself what the hook would.
    Deciding(u64, Decides),
    /// The hook calls another function, at this address, which does not throw. If that returns null, the displaced function
    /// runs with the first arguments, and with no frame of ours below it: it may throw.
    Throwing(u64),
    /// The hook gets all six arguments as an array, and either calls the displaced function itself or lets it run with no frame of
    /// ours below it.
    Whole,
    /// The hook keeps all registers itself, calls the displaced function with every parameter that it may have, or lets it run with no
    /// frame of ours below it.
    Named,
    /// The place is inside a function, behind a system call: the hook is told the result, and everything else stays as it is.
    Behind(Caller),
}

impl Stub {
    /// Where in a site the displaced instructions stand.
    fn displaced_at(self, site_at: u64) -> usize {
        match self {
            Self::Deciding(link, _) => deciding::head_len(link, site_at),
            Self::Plain | Self::Asking(_) | Self::Named => DISPLACED_AT,
            Self::Throwing(_) => throwing::DISPLACED_AT,
            Self::Whole => wide::WHOLE_DISPLACED_AT,
            Self::Behind(_) => wide::BEHIND_DISPLACED_AT,
        }
    }
}
pub(super) const BITS: u32 = 64;

/// Why a function cannot be hooked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PatchError {
    /// Its first instructions are not decodable, or too few before it ends.
    TooShort,
    /// A debugger or a probe has put a breakpoint there: what the instruction was is not to be seen.
    Breakpoint,
    /// It jumps back into the bytes that would be replaced, from this address.
    BranchIntoPrologue(u64),
    /// It calls another function in its first bytes.
    CallInPrologue,
    /// The displaced instructions cannot be encoded elsewhere.
    NotRelocatable(String),
    /// The stub is out of reach of a near jump.
    OutOfReach,
}

impl fmt::Display for PatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => write!(f, "its code is shorter than a jump"),
            Self::Breakpoint => write!(f, "a breakpoint of a debugger or a probe stands in its first bytes"),
            Self::BranchIntoPrologue(from) => write!(f, "it jumps back into its first bytes (from {from:#x})"),
            Self::CallInPrologue => write!(f, "it calls a function in its first bytes"),
            Self::NotRelocatable(why) => write!(f, "its first instructions cannot be moved: {why}"),
            Self::OutOfReach => write!(f, "no free memory within 2 GiB of it"),
        }
    }
}

/// All that is needed to hook one function and to undo it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relocation {
    /// Where the jump goes: the entry, or behind its `endbr64`.
    pub(crate) at: u64,
    /// Bytes that stood there.
    pub(crate) before: Vec<u8>,
    /// The jump. What is left of the last displaced instruction stays behind it, and is never run.
    pub(crate) after: Vec<u8>,
    /// Stub, pointer to the hook, displaced instructions and the jump back, for the site's place.
    pub(crate) site: Vec<u8>,
    /// The site's place.
    pub(crate) site_at: u64,
    /// For every displaced instruction where it was and where its copy is.
    moved: Vec<(u64, u64)>,
}

impl Relocation {
    /// Where the function can be called without its hook.
    pub(crate) fn unhooked(&self) -> u64 {
        self.moved.first().map_or(self.at, |(_, copy)| *copy)
    }

    /// Where a thread goes on that stands inside the bytes to be replaced.
    pub(crate) fn to_copy(&self, at: u64) -> Option<u64> {
        self.moved.iter().find(|(old, _)| *old == at).map(|(_, new)| *new)
    }

    /// Whether an address lies behind the first of the bytes to be replaced.
    pub(crate) fn is_inside(&self, at: u64) -> bool {
        self.at < at && at < self.at + self.before.len() as u64
    }
}

/// Prepares hooking the function whose code is `code` and lies at `entry`: its calls go to `hook` by way of `site_at`.
pub(crate) fn relocate(code: &[u8], entry: u64, site_at: u64, hook: u64, stub: Stub) -> Result<Relocation, PatchError> {
    const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
    let skip = if code.starts_with(&ENDBR64) { ENDBR64.len() } else { 0 };
    let at = entry + skip as u64;
    let code = code.get(skip..).unwrap_or(&[]);
    let displaced = displaced(code, at, stub)?;
    let len = displaced.iter().map(Instruction::len).sum::<usize>();
    refuse_branches(code, at, len)?;
    let (copy_at, back) = (site_at + stub.displaced_at(site_at) as u64, at + len as u64);
    let (copy, offsets) = copy_of(&displaced, back, copy_at)?;
    let site = match stub {
        Stub::Plain => site_of(&copy, site_at, hook),
        Stub::Asking(link) => asking_site_of(&copy, link, hook),
        Stub::Deciding(link, decides) => {
            let again = |at| copy_of(&displaced, back, at).map(|(bytes, _)| bytes);
            deciding::site_of((link, decides), site_at, hook, &copy, again)?
        }
        Stub::Named => named_site_of(&copy, hook),
        Stub::Throwing(quiet) => throwing_site_of(&copy, hook, quiet),
        Stub::Whole => wide::whole_site_of(&copy, hook),
        Stub::Behind(caller) => wide::behind_site_of(caller, &copy, hook),
    };
    if site.len() > SITE_BYTES {
        return Err(PatchError::NotRelocatable("their copy is too long".into()));
    }
    let mut after = vec![0xe9];
    let distance = i32::try_from(site_at.wrapping_sub(at + JUMP_BYTES as u64).cast_signed());
    after.extend_from_slice(&distance.map_err(|_| PatchError::OutOfReach)?.to_le_bytes());
    let copies = offsets.iter().map(|offset| copy_at + u64::from(*offset));
    let moved = displaced.iter().map(Instruction::ip).zip(copies).collect();
    let before = code.get(..len).map(<[u8]>::to_vec).ok_or(PatchError::TooShort)?;
    assert!(after.len() == JUMP_BYTES && len >= JUMP_BYTES, "a jump displaces whole instructions");
    Ok(Relocation { at, before, after, site, site_at, moved })
}

/// The first instructions that together are as long as a jump.
fn displaced(code: &[u8], at: u64, stub: Stub) -> Result<Vec<Instruction>, PatchError> {
    let mut decoder = Decoder::with_ip(BITS, code, at, DecoderOptions::NONE);
    let mut displaced = Vec::new();
    let mut len = 0;
    while len < JUMP_BYTES {
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            return Err(PatchError::TooShort);
        }
        len += instruction.len();
        displaced.push(instruction);
        match instruction.flow_control() {
            FlowControl::Next | FlowControl::ConditionalBranch => {}
            FlowControl::UnconditionalBranch if len >= JUMP_BYTES => {}
            // It returns behind the replaced bytes: see `returning_behind`.
            FlowControl::Call if len >= JUMP_BYTES && !matches!(stub, Stub::Throwing(_) | Stub::Behind(_)) => {}
            // It returns into the copy: safe where no exception passes, and for whoever is inside now.
            FlowControl::IndirectCall
                if len >= JUMP_BYTES && !matches!(stub, Stub::Throwing(_) | Stub::Behind(_) | Stub::Named) => {}
            FlowControl::Call | FlowControl::IndirectCall => return Err(PatchError::CallInPrologue),
            FlowControl::Return | FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => {
                take_padding(&mut decoder, &mut displaced, &mut len)?;
            }
            FlowControl::Interrupt if instruction.mnemonic() == Mnemonic::Int3 => return Err(PatchError::Breakpoint),
            FlowControl::Interrupt | FlowControl::XbeginXabortXend | FlowControl::Exception => {
                return Err(PatchError::TooShort);
            }
        }
    }
    Ok(displaced)
}

/// Behind a function that ended already only padding may be replaced.
fn take_padding(
    decoder: &mut Decoder<'_>,
    displaced: &mut Vec<Instruction>,
    len: &mut usize,
) -> Result<(), PatchError> {
    while *len < JUMP_BYTES {
        let instruction = decoder.decode();
        if instruction.is_invalid() || !matches!(instruction.mnemonic(), Mnemonic::Nop | Mnemonic::Int3) {
            return Err(PatchError::TooShort);
        }
        *len += instruction.len();
        displaced.push(instruction);
    }
    Ok(())
}

/// Whether this code calls or jumps to that function.
pub(crate) fn calls(code: &[u8], at: u64, function: u64) -> bool {
    let mut decoder = Decoder::with_ip(BITS, code, at, DecoderOptions::NONE);
    decoder.iter().any(|i| i.op0_kind() == OpKind::NearBranch64 && i.near_branch_target() == function)
}

/// Refuses a function that branches into its own first bytes, apart from its very first: there the jump stands.
fn refuse_branches(code: &[u8], at: u64, len: usize) -> Result<(), PatchError> {
    for instruction in &mut Decoder::with_ip(BITS, code, at, DecoderOptions::NONE) {
        let near = matches!(instruction.op0_kind(), OpKind::NearBranch64 | OpKind::NearBranch32 | OpKind::NearBranch16);
        let target = instruction.near_branch_target();
        if near && at < target && target < at + len as u64 {
            return Err(PatchError::BranchIntoPrologue(instruction.ip()));
        }
    }
    Ok(())
}

/// The displaced instructions for their new place, followed by a jump back, and where each of them starts.
fn copy_of(displaced: &[Instruction], back: u64, to: u64) -> Result<(Vec<u8>, Vec<u32>), PatchError> {
    let not_relocatable = |error: iced_x86::IcedError| PatchError::NotRelocatable(error.to_string());
    let mut instructions = returning_behind(displaced, back).map_err(not_relocatable)?;
    instructions.push(Instruction::with_branch(Code::Jmp_rel32_64, back).map_err(not_relocatable)?);
    // Branches keep their form: a longer one would move what follows, and the jump back has to be the last five bytes.
    let options = BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
    let block = InstructionBlock::new(&instructions, to);
    let encoded = BlockEncoder::encode(BITS, block, options).map_err(not_relocatable)?;
    let offsets = encoded.new_instruction_offsets.get(..displaced.len()).map(<[u32]>::to_vec);
    match (offsets, encoded.new_instruction_offsets.get(instructions.len() - 1)) {
        (Some(offsets), Some(last))
            if !offsets.contains(&u32::MAX) && *last as usize + JUMP_BYTES == encoded.code_buffer.len() =>
        {
            Ok((encoded.code_buffer, offsets))
        }
        _ => Err(PatchError::NotRelocatable("their branches reach too far".into())),
    }
}

/// The same instructions; but where the last one is a call, it returns to the function itself rather than into its copy, for which
/// the target's unwinder has no table.
fn returning_behind(displaced: &[Instruction], back: u64) -> Result<Vec<Instruction>, iced_x86::IcedError> {
    let mut instructions = displaced.to_vec();
    let Some(call) = instructions.pop_if(|last| last.flow_control() == FlowControl::Call) else {
        return Ok(instructions);
    };
    let upper_half = MemoryOperand::with_base_displ(Register::RSP, 4);
    instructions.push(Instruction::with1(Code::Pushq_imm32, back as i32)?);
    instructions.push(Instruction::with2(Code::Mov_rm32_imm32, upper_half, (back >> 32) as u32)?);
    instructions.push(Instruction::with_branch(Code::Jmp_rel32_64, call.near_branch_target())?);
    Ok(instructions)
}

/// The site of a function that the user named: passes the displaced function in r11 and changes no other register.
fn named_site_of(copy: &[u8], hook: u64) -> Vec<u8> {
    let mut site = vec![0x4c, 0x8d, 0x1d]; // lea displaced(%rip), %r11
    site.extend_from_slice(&((DISPLACED_AT - 7) as u32).to_le_bytes());
    site.extend_from_slice(&[0xff, 0x25]); // jmp *hook(%rip)
    site.extend_from_slice(&((HOOK_POINTER_AT - 13) as u32).to_le_bytes());
    site.resize(HOOK_POINTER_AT, 0xcc);
    site.extend_from_slice(&hook.to_le_bytes());
    site.extend_from_slice(copy);
    site
}

fn site_of(copy: &[u8], site_at: u64, hook: u64) -> Vec<u8> {
    let mut site = vec![0x48, 0x89, 0xe1]; // mov %rsp, %rcx
    site.extend_from_slice(&[0x49, 0x89, 0xe8]); // mov %rbp, %r8
    site.extend_from_slice(&[0x4c, 0x8d, 0x0d]); // lea displaced(%rip), %r9
    site.extend_from_slice(&((DISPLACED_AT - 13) as u32).to_le_bytes());
    site.extend_from_slice(&[0xff, 0x25]); // jmp *hook(%rip)
    site.extend_from_slice(&((HOOK_POINTER_AT - 19) as u32).to_le_bytes());
    debug_assert!(site.len() == 19 && site_at.is_multiple_of(8), "the pointer is aligned and behind the stub");
    site.resize(HOOK_POINTER_AT, 0xcc);
    site.extend_from_slice(&hook.to_le_bytes());
    site.extend_from_slice(copy);
    site
}

/// As [`site_of`], but runs on into the displaced instructions where nobody listens. Until that is known it changes r11 only, which no
/// call hands over.
fn asking_site_of(copy: &[u8], link: u64, hook: u64) -> Vec<u8> {
    const POINTER_AT: usize = SITE_BYTES - 8;
    let mut site = vec![0x49, 0xbb]; // movabs $link, %r11
    site.extend_from_slice(&link.to_le_bytes());
    site.extend_from_slice(&[0x4d, 0x8b, 0x1b]); // mov (%r11), %r11
    site.extend_from_slice(&[0x4d, 0x85, 0xdb]); // test %r11, %r11
    site.extend_from_slice(&[0x74, (DISPLACED_AT - 18) as u8]); // je displaced
    site.extend_from_slice(&[0x41, 0xf7, 0x43, offset_of!(Control, state) as u8]); // testl $…, state(%r11)
    site.extend_from_slice(&STATE_TID_MASK.to_le_bytes());
    site.extend_from_slice(&[0x0f, 0x85]); // jne behind the copy
    site.extend_from_slice(&(copy.len() as u32).to_le_bytes());
    debug_assert!(site.len() == DISPLACED_AT, "the displaced instructions follow");
    site.extend_from_slice(copy);
    site.extend_from_slice(&[0x48, 0x89, 0xe1]); // mov %rsp, %rcx
    site.extend_from_slice(&[0x49, 0x89, 0xe8]); // mov %rbp, %r8
    let displaced = DISPLACED_AT as i32 - (site.len() as i32 + 7);
    site.extend_from_slice(&[0x4c, 0x8d, 0x0d]); // lea displaced(%rip), %r9
    site.extend_from_slice(&displaced.to_le_bytes());
    let pointer = POINTER_AT.saturating_sub(site.len() + 6) as u32;
    site.extend_from_slice(&[0xff, 0x25]); // jmp *hook(%rip)
    site.extend_from_slice(&pointer.to_le_bytes());
    if site.len() <= POINTER_AT {
        site.resize(POINTER_AT, 0xcc);
    }
    site.extend_from_slice(&hook.to_le_bytes());
    site
}

const _: () = assert!(offset_of!(Control, state) < 128, "the state is reached by one byte");

/// As [`site_of`], for a function that throws. Too long where the copy leaves no room for the pointers.
fn throwing_site_of(copy: &[u8], hook: u64, quiet: u64) -> Vec<u8> {
    let distance = |pointer_at: usize, next: usize| ((pointer_at - next) as u32).to_le_bytes();
    let mut site = vec![0x57, 0x56, 0x52]; // push %rdi, %rsi, %rdx: the stack is aligned for a call then
    site.extend_from_slice(&[0x48, 0x8d, 0x4c, 0x24, 0x18]); // lea 24(%rsp), %rcx
    site.extend_from_slice(&[0x49, 0x89, 0xe8]); // mov %rbp, %r8
    site.extend_from_slice(&[0x4c, 0x8b, 0x0d]); // mov quiet(%rip), %r9
    site.extend_from_slice(&distance(throwing::QUIET_POINTER_AT, 18));
    site.extend_from_slice(&[0xff, 0x15]); // call *hook(%rip)
    site.extend_from_slice(&distance(throwing::HOOK_POINTER_AT, 24));
    site.extend_from_slice(&[0x48, 0x85, 0xc0]); // test %rax, %rax
    site.extend_from_slice(&[0x74, 0x05]); // je behind the return
    site.extend_from_slice(&[0x48, 0x83, 0xc4, 0x18, 0xc3]); // add $24, %rsp; ret
    site.extend_from_slice(&[0x5a, 0x5e, 0x5f]); // pop %rdx, %rsi, %rdi
    site.resize(throwing::DISPLACED_AT, 0x90);
    site.extend_from_slice(copy);
    if site.len() <= throwing::QUIET_POINTER_AT {
        site.resize(throwing::QUIET_POINTER_AT, 0xcc);
    }
    site.extend_from_slice(&quiet.to_le_bytes());
    site.extend_from_slice(&hook.to_le_bytes());
    site
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: u64 = 0x7f00_0010_0000;
    const SITE: u64 = 0x7f00_0000_0000;

    fn bytes(text: &str) -> Vec<u8> {
        text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    /// Hooks the code and says where the jump stands, how long it is, and what the copy does.
    #[track_caller]
    fn check(code: &str, expected: &str) {
        let found = match relocate(&bytes(code), ENTRY, SITE, 0x1234, Stub::Plain) {
            Err(error) => format!("{error}"),
            Ok(relocation) => {
                let copy = &relocation.site[DISPLACED_AT..];
                let mut decoder = Decoder::with_ip(BITS, copy, SITE + DISPLACED_AT as u64, DecoderOptions::NONE);
                let text: Vec<String> = decoder.iter().map(|i| format!("{:?}", i.code())).collect();
                format!("{}+{}: {}", relocation.at - ENTRY, relocation.before.len(), text.join(" "))
            }
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn prologues_are_moved() {
        // glibc 2.36: malloc (push r12; push rbp; push rbx; sub rsp,16) and free (test rdi,rdi; je +x).
        check("41 54 55 53 48 83 ec 10 c3", "0+8: Push_r64 Push_r64 Push_r64 Sub_rm64_imm8 Jmp_rel32_64");
        check("48 85 ff 0f 84 b7 00 00 00 c3", "0+9: Test_rm64_r64 Je_rel32_64 Jmp_rel32_64");
        check("48 85 ff 74 20 c3", "0+5: Test_rm64_r64 Je_rel32_64 Jmp_rel32_64");
        check("f3 0f 1e fa 48 8b 05 00 10 00 00 c3", "4+7: Mov_r64_rm64 Jmp_rel32_64");
        check("e9 00 10 00 00", "0+5: Jmp_rel32_64 Jmp_rel32_64");
        check("c3 66 0f 1f 44 00 00 55", "0+7: Retnq Nop_rm16 Jmp_rel32_64");
        check("eb 10 cc cc cc 55", "0+5: Jmp_rel32_64 Int3 Int3 Int3 Jmp_rel32_64");
        let call = "0+9: Sub_rm64_imm8 Pushq_imm32 Mov_rm32_imm32 Jmp_rel32_64 Jmp_rel32_64";
        check("48 83 ec 08 e8 00 00 00 00 c3", call);
    }

    /// No return address leads into the copy, for which the target has no unwind table.
    #[test]
    fn a_call_that_is_moved_returns_to_where_it_was() {
        let relocation = relocate(&bytes("48 83 ec 08 e8 00 10 00 00 c3"), ENTRY, SITE, 0x1234, Stub::Named).unwrap();
        let copy = &relocation.site[DISPLACED_AT..];
        let mut decoder = Decoder::with_ip(BITS, copy, SITE + DISPLACED_AT as u64, DecoderOptions::NONE);
        let [_, push, upper, jump, _] = [(); 5].map(|()| decoder.decode());
        let (low, high) = (push.immediate32to64() as u32, upper.immediate32());
        assert_eq!(u64::from(high) << 32 | u64::from(low), ENTRY + 9, "behind the call");
        assert_eq!((upper.memory_base(), upper.memory_displacement64()), (Register::RSP, 4));
        assert_eq!(jump.near_branch_target(), ENTRY + 9 + 0x1000);
        assert_eq!(relocation.to_copy(ENTRY + 4), Some(push.ip()));
        // Nobody is lost who waits in what a register names.
        let indirect = relocate(&bytes("90 90 90 ff d0 c3"), ENTRY, SITE, 0x1234, Stub::Named);
        assert_eq!(indirect, Err(PatchError::CallInPrologue));
    }

    /// Every register but r11 may be a parameter.
    #[test]
    fn the_stub_of_a_named_function_changes_one_register() {
        let relocation = relocate(&bytes("48 85 ff 74 20 c3"), ENTRY, SITE, 0x1234, Stub::Named).unwrap();
        let mut decoder = Decoder::with_ip(BITS, &relocation.site, SITE, DecoderOptions::NONE);
        let (load, jump) = (decoder.decode(), decoder.decode());
        assert_eq!((load.mnemonic(), load.op0_register()), (Mnemonic::Lea, Register::R11));
        assert_eq!(load.memory_displacement64(), relocation.unhooked());
        assert_eq!((jump.mnemonic(), jump.memory_displacement64()), (Mnemonic::Jmp, SITE + HOOK_POINTER_AT as u64));
    }

    #[test]
    fn what_code_calls_is_seen() {
        let to = ENTRY + 9 + 0x1000;
        assert!(calls(&bytes("48 83 ec 08 e8 00 10 00 00 c3"), ENTRY, to), "a call");
        assert!(calls(&bytes("90 90 90 90 e9 00 10 00 00"), ENTRY, to), "a jump at the end");
        assert!(!calls(&bytes("48 83 ec 08 e8 04 10 00 00 c3"), ENTRY, to), "another function");
        assert!(!calls(&[], ENTRY, to));
    }

    /// Who listens is asked before anything but r11 is changed; without an answer the function runs.
    #[test]
    fn the_stub_that_asks_runs_on_into_the_copy() {
        let link = 0x7f00_1234_5678;
        let relocation =
            relocate(&bytes("41 54 55 53 48 83 ec 10 c3"), ENTRY, SITE, 0x1234, Stub::Asking(link)).unwrap();
        assert_eq!((relocation.site.len(), relocation.unhooked()), (SITE_BYTES, SITE + DISPLACED_AT as u64));
        let mut decoder = Decoder::with_ip(BITS, &relocation.site, SITE, DecoderOptions::NONE);
        let all: Vec<Instruction> = decoder.iter().take(15).collect();
        let text: Vec<String> = all.iter().map(|i| format!("{:?}", i.mnemonic()).to_lowercase()).collect();
        assert_eq!(text.join(" "), "mov mov test je test jne push push push sub jmp mov mov lea jmp");
        assert_eq!(all[0].immediate64(), link);
        assert_eq!(all[4].memory_displacement64(), offset_of!(Control, state) as u64);
        assert_eq!(all[4].immediate32(), STATE_TID_MASK);
        assert_eq!((all[3].near_branch_target(), all[5].near_branch_target()), (all[6].ip(), all[11].ip()));
        assert_eq!(all[10].near_branch_target(), ENTRY + 8, "back behind what was displaced");
        assert_eq!(all[13].memory_displacement64(), relocation.unhooked());
        assert_eq!(all[14].memory_displacement64(), SITE + SITE_BYTES as u64 - 8);
        assert_eq!(relocation.site[SITE_BYTES - 8..], 0x1234_u64.to_le_bytes());
    }

    #[test]
    fn what_cannot_be_moved_is_refused() {
        check("c3 90 90 90", "its code is shorter than a jump");
        check("c3 48 85 ff 55 53", "its code is shorter than a jump");
        check("90 90 c3", "its code is shorter than a jump");
        check("cc 54 55 53 48 83 ec 10 c3", "a breakpoint of a debugger or a probe stands in its first bytes");
        check("41 54 cc 53 48 83 ec 10 c3", "a breakpoint of a debugger or a probe stands in its first bytes");
        check("ff d0 90 90 90 90 c3", "it calls a function in its first bytes");
        check("90 90 90 90 90 eb fa", "it jumps back into its first bytes (from 0x7f0000100005)");
        check("", "its code is shorter than a jump");
    }

    #[test]
    fn a_branch_back_to_the_very_first_byte_is_fine() {
        check("90 90 90 90 90 eb f9", "0+5: Nopd Nopd Nopd Nopd Nopd Jmp_rel32_64");
    }

    #[test]
    fn threads_are_led_into_the_copy() {
        let relocation = relocate(&bytes("41 54 55 53 48 83 ec 10 c3"), ENTRY, SITE, 0x1234, Stub::Plain).unwrap();
        for offset in [0, 2, 3, 4] {
            let copy = relocation.to_copy(ENTRY + offset).unwrap();
            assert_eq!(copy, SITE + DISPLACED_AT as u64 + offset);
            assert_eq!(relocation.is_inside(ENTRY + offset), offset != 0);
        }
        assert_eq!(relocation.to_copy(ENTRY + 1), None);
        assert!(!relocation.is_inside(ENTRY + 8));
    }

    #[test]
    fn a_site_out_of_reach_is_refused() {
        let far = relocate(&bytes("90 90 90 90 90"), ENTRY, ENTRY - (3 << 30), 0x1234, Stub::Plain);
        assert!(matches!(far, Err(PatchError::OutOfReach | PatchError::NotRelocatable(_))), "{far:?}");
    }

    #[test]
    fn a_throwing_function_runs_on_without_a_frame_of_ours() {
        let relocation =
            relocate(&bytes("48 81 ff 00 10 00 00 c3"), ENTRY, SITE, 0x1234, Stub::Throwing(0x5678)).unwrap();
        assert_eq!(relocation.site.len(), SITE_BYTES);
        assert_eq!(relocation.unhooked(), SITE + throwing::DISPLACED_AT as u64);
        let word = |at: usize| u64::from_le_bytes(relocation.site[at..at + 8].try_into().unwrap());
        assert_eq!((word(throwing::QUIET_POINTER_AT), word(throwing::HOOK_POINTER_AT)), (0x5678, 0x1234));
        let mut decoder = Decoder::with_ip(BITS, &relocation.site, SITE, DecoderOptions::NONE);
        let stub: Vec<Instruction> = decoder.iter().take_while(|i| i.ip() < relocation.unhooked()).collect();
        let text: Vec<String> = stub.iter().map(|i| format!("{:?}", i.mnemonic()).to_lowercase()).collect();
        assert_eq!(text.join(" "), "push push push lea mov mov call test je add ret pop pop pop nop nop nop");
        let pointers: Vec<u64> =
            stub.iter().filter(|i| i.is_ip_rel_memory_operand()).map(|i| i.memory_displacement64() - SITE).collect();
        assert_eq!(pointers, [throwing::QUIET_POINTER_AT as u64, throwing::HOOK_POINTER_AT as u64]);
        let failed = stub.iter().find(|i| i.op0_kind() == OpKind::NearBranch64).unwrap().near_branch_target();
        assert_eq!(stub.iter().position(|i| i.ip() == failed), Some(11), "a null leads to the pops");
    }

    #[test]
    fn a_throwing_function_that_calls_is_refused() {
        let found = relocate(&bytes("48 83 ec 08 e8 00 00 00 00 c3"), ENTRY, SITE, 0x1234, Stub::Throwing(0x5678));
        assert_eq!(found, Err(PatchError::CallInPrologue));
    }

    #[test]
    fn the_longest_instructions_are_moved_whole() {
        // Four bytes and then one instruction of 15.
        let long = "48 85 ff 90 2e 2e 2e 48 81 84 80 00 00 00 00 00 00 00 00 c3 c3";
        check(long, "0+19: Test_rm64_r64 Nopd Add_rm64_imm32 Jmp_rel32_64");
    }
}
