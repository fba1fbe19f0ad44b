//! Where a function is about to return what it has.
//!
//! Owns: finding those places in its code. Must not know: what is put there.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::patch::BITS;

/// Bytes of the jump that is to stand there.
const JUMP_BYTES: usize = 5;

/// The offset of a place before each return of a function at which the result is in its register, and all that is left to run is
/// its end. Empty where it has none, uses vector registers, or may leave in another way: then some results would go unseen.
pub(crate) fn before_returns(code: &[u8], at: u64) -> Vec<usize> {
    let instructions: Vec<Instruction> = Decoder::with_ip(BITS, code, at, DecoderOptions::NONE).iter().collect();
    if !instructions.iter().all(|instruction| stays_inside(instruction, at..at + code.len() as u64)) {
        return Vec::new();
    }
    let returns = instructions.iter().enumerate().filter(|(_, one)| one.mnemonic() == Mnemonic::Ret);
    let places = returns.map(|(nth, _)| place(&instructions, nth).map(|place| (place - at) as usize));
    places.collect::<Option<Vec<usize>>>().unwrap_or_default()
}

/// The stub that stands at such a place saves no vector registers. What follows a function, padding or the next one, may be decoded as
/// anything.
fn stays_inside(instruction: &Instruction, function: std::ops::Range<u64>) -> bool {
    let has_vectors = (0..instruction.op_count()).any(|i| instruction.op_register(i).is_vector_register());
    let is_near = instruction.op0_kind() == OpKind::NearBranch64;
    !has_vectors
        && match instruction.flow_control() {
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                is_near && function.contains(&instruction.near_branch_target())
            }
            FlowControl::IndirectBranch => false,
            FlowControl::Next
            | FlowControl::Return
            | FlowControl::Call
            | FlowControl::IndirectCall
            | FlowControl::Interrupt
            | FlowControl::XbeginXabortXend
            | FlowControl::Exception => true,
        }
}

/// The last address before a return from which a jump has room, with the padding behind the return.
fn place(instructions: &[Instruction], nth: usize) -> Option<u64> {
    let end = instructions.iter().skip(nth + 1).find(|one| one.mnemonic() != Mnemonic::Nop);
    let last = instructions.last().map(Instruction::next_ip);
    let room_ends = end.map(Instruction::ip).or(last)?;
    let start = instructions.get(..=nth)?.iter().rev().enumerate().find_map(|(back, one)| {
        if back > 0 && !keeps_result(one) {
            return Some(None);
        }
        (room_ends - one.ip() >= JUMP_BYTES as u64).then_some(Some(one.ip()))
    })??;
    // Nobody may come from elsewhere into the middle of the jump.
    let inside = start + 1..start + JUMP_BYTES as u64;
    let is_entered =
        |one: &Instruction| one.op0_kind() == OpKind::NearBranch64 && inside.contains(&one.near_branch_target());
    (!instructions.iter().any(is_entered)).then_some(start)
}

/// Whether an instruction belongs to the end of a function and leaves the result alone.
fn keeps_result(instruction: &Instruction) -> bool {
    let is_end = matches!(instruction.mnemonic(), Mnemonic::Add | Mnemonic::Lea | Mnemonic::Mov | Mnemonic::Pop);
    is_end && instruction.op0_kind() == OpKind::Register && instruction.op0_register().full_register() != Register::RAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[usize]) {
        let code: Vec<u8> = text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        assert_eq!(before_returns(&code, 0x7f00_0010_0000), expected, "{text}");
    }

    #[test]
    fn a_return_with_padding_behind_it_has_room() {
        // glibc 2.36: `accept` of a program with one thread (syscall; cmp; ja error; ret; nop), and its error.
        check("0f 05 48 3d 00 f0 ff ff 77 08 c3 0f 1f 80 00 00 00 00 b8 ff ff ff ff c3 66 0f 1f 44 00 00", &[10, 23]);
    }

    #[test]
    fn without_padding_the_end_of_the_function_makes_room() {
        // mov 12(%rsp),%eax; add $40,%rsp; ret; a nop of three bytes; ud2.
        check("8b 44 24 0c 48 83 c4 28 c3 0f 1f 00 0f 0b", &[4]);
        // add $104,%rsp; pop %rbx; pop %rbp; ret
        check("48 83 c4 68 5b 5d c3", &[0]);
    }

    #[test]
    fn the_result_has_to_be_there() {
        // mov 12(%rsp),%eax; pop %rbx; ret: the jump would displace what makes the result.
        check("8b 44 24 0c 5b c3", &[]);
        check("5b 5d 58 41 5c c3", &[]);
        check("0f 05 c3", &[]);
    }

    #[test]
    fn a_function_that_may_leave_otherwise_is_none() {
        check("74 10 c3 0f 1f 44 00 00", &[]);
        check("ff e0 c3 0f 1f 44 00 00", &[]);
        check("0f 28 c1 c3 0f 1f 44 00 00", &[]);
        check("0f 05 e9 00 10 00 00", &[]);
        check("", &[]);
    }

    #[test]
    fn nobody_may_come_into_the_middle_of_the_jump() {
        // je to the ret, which lies behind the start of the jump.
        check("74 04 48 83 c4 68 c3", &[]);
        check("74 00 48 83 c4 68 c3", &[2]);
    }
}
