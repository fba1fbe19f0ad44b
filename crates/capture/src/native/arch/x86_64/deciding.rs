//! Stubs that look for themselves whether a call is an ordinary one.
//!
//! Owns: their bytes. Must not know: displaced instructions, or how they are moved.
//!
//! Most calls are: nobody listens, or their block is not sampled, or it is to be recorded and nothing else is to be done. What stands
//! here for them is what the agent's hooks do (see `hooks.rs` and `turn.rs` there) in a fourth of the instructions. All else is left to
//! the hook, and uncounted: a thread without a record, a call inside another hooked one, a turn that the thread has not taken over, calls
//! that were counted down.
//!
//! There is one way through a stub for each mode, and the word by which it finds the shared memory tells which to take. It may be of
//! the mode before for a moment; what either does of a call is right in both modes. A free of the sampled mode does not even look for its
//! thread: where no mark says that a recorded block may begin, there is nothing to do and nothing is counted.
//!
//! A stub may change what a call may change, apart from the first three arguments and r10, which some languages pass a context
//! in. Once nobody listens and that was noticed it changes r11 only, which no call hands over.

use std::mem::offset_of;

use wire::{
    ADDRESS_BITS, AREA_SHIFT, Control, Link, MARK_SHIFT, PLACE_FACTOR, PLACE_SHIFT, THREAD_SLOTS, ThreadFigures,
    regions,
};

/// What a stub decides, with the function of the agent that it jumps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decides {
    /// Whether a block is recorded; where it is, the agent's function does that after the call. `nests` says whether the function may
    /// call other hooked ones that allocate: a block that is not recorded needs no guard where it does not, and so the function need not
    /// return here.
    Allocation { size: Size, nests: bool, counts: u64 },
    /// Whether a block may have been: what is done where every block is, and where blocks are sampled.
    Free { frees: u64, looks: u64 },
}

/// Where a function has the size of its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    First,
    /// The product of the first two arguments.
    FirstTwo,
}

/// Conditions of jumps.
const IF_CARRY: u8 = 0x2;
const IF_NOT_EQUAL: u8 = 0x5;
const IF_NEGATIVE: u8 = 0x8;

/// Binary logarithm of the bytes of a record.
const RECORD_SHIFT: u32 = regions::RECORD_BYTES.trailing_zeros();
/// The bits of the place of a record, where they are those of its offset.
const RECORD_MASK: u32 = (THREAD_SLOTS as u32 - 1) << RECORD_SHIFT;

/// Offsets in the first line of a record, as one byte.
const GUARD: u8 = offset_of!(ThreadFigures, guard) as u8;
const SEEN: u8 = offset_of!(ThreadFigures, seen) as u8;
const COUNTDOWN: u8 = offset_of!(ThreadFigures, countdown) as u8;
const ALLOCATIONS_LEFT: u8 = offset_of!(ThreadFigures, allocations_left) as u8;
const FREES_LEFT: u8 = offset_of!(ThreadFigures, frees_left) as u8;
const PASSED_SP: u8 = offset_of!(ThreadFigures, passed_sp) as u8;
const PASSED_PC: u8 = offset_of!(ThreadFigures, passed_pc) as u8;
const SIZE: u8 = offset_of!(ThreadFigures, size) as u8;

/// Code that is put together from its beginning to its end.
#[derive(Debug)]
struct Code {
    at: u64,
    bytes: Vec<u8>,
}

impl Code {
    fn at(at: u64) -> Self {
        Self { at, bytes: Vec::new() }
    }

    fn here(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// An instruction that ends in 32 bits.
    fn add_word(&mut self, bytes: &[u8], word: u32) {
        self.add(bytes);
        self.add(&word.to_le_bytes());
    }

    /// An instruction that ends in 64 bits.
    fn add_long(&mut self, bytes: &[u8], word: u64) {
        self.add(bytes);
        self.add(&word.to_le_bytes());
    }

    /// An instruction that ends in the distance from behind itself to a place, which is in reach.
    fn add_distance(&mut self, bytes: &[u8], to: u64) {
        let next = self.here() + bytes.len() as u64 + 4;
        self.add_word(bytes, to.wrapping_sub(next) as u32);
    }

    /// Jumps within the site: back in as few bytes as the distance allows, forward over any distance.
    fn jump_if(&mut self, condition: u8, to: u64) {
        let distance = to.wrapping_sub(self.here() + 2).cast_signed();
        match i8::try_from(distance).ok().filter(|distance| *distance < 0) {
            Some(distance) => self.add(&[0x70 | condition, distance.cast_unsigned()]),
            None => self.add_distance(&[0x0f, 0x80 | condition], to),
        }
    }

    /// Jumps to anywhere.
    fn jump(&mut self, to: u64) {
        if is_reached(to, self.here() + 5) {
            self.add_distance(&[0xe9], to);
        } else {
            self.add_word(&[0xff, 0x25], 0); // jmp *(%rip)
            self.add(&to.to_le_bytes());
        }
    }
}

fn is_reached(to: u64, next: u64) -> bool {
    i32::try_from(to.wrapping_sub(next).cast_signed()).is_ok()
}

/// How long the first part of a site is, behind which the displaced instructions stand.
pub(super) fn head_len(link: u64, site_at: u64) -> usize {
    head(link, site_at, Ways { exact: site_at, sampled: site_at }).len()
}

/// Where a stub goes on if somebody listens.
#[derive(Clone, Copy, Debug)]
struct Ways {
    exact: u64,
    sampled: u64,
}

/// A whole site: the head, the displaced instructions, and what is done where somebody listens. Those instructions stand there
/// once more where that saves a jump; `again` makes them for another place.
pub(super) fn site_of<E>(
    (link, decides): (u64, Decides),
    site_at: u64,
    hook: u64,
    copy: &[u8],
    again: impl Fn(u64) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let displaced = site_at + head_len(link, site_at) as u64;
    let mut code = Code::at(displaced + copy.len() as u64);
    let left = match decides {
        Decides::Allocation { .. } => ALLOCATIONS_LEFT,
        Decides::Free { .. } => FREES_LEFT,
    };
    let counted = code.here();
    code.add(&[0x48, 0x83, 0x41, left, 1]); // addq $1, left(%rcx)
    let asks = ask(&mut code, displaced, hook);
    let ways = match decides {
        Decides::Allocation { size, nests, counts } => {
            let exact = record_allocation(&mut code, size, displaced, [asks, counted], counts);
            let sampled = pass_allocation(&mut code, size, [asks, counted]);
            if nests {
                call_inside(&mut code, displaced);
            } else {
                note_passing(&mut code);
                let bytes = again(code.here())?;
                code.add(&bytes);
            }
            Ways { exact, sampled }
        }
        Decides::Free { frees, looks } => {
            let exact = code.here();
            count(&mut code, FREES_LEFT, [asks, counted]);
            leave(&mut code, displaced, frees);
            let looks = ask(&mut code, displaced, looks);
            let sampled = pass_free(&mut code, looks);
            let bytes = again(code.here())?;
            code.add(&bytes);
            Ways { exact, sampled }
        }
    };
    let mut site = head(link, site_at, ways);
    site.extend_from_slice(copy);
    site.extend_from_slice(&code.bytes);
    Ok(site)
}

/// Goes on into the displaced instructions where nobody listens, or in a forked child; else with the shared memory in r11.
fn head(link: u64, site_at: u64, ways: Ways) -> Vec<u8> {
    const LOAD_BYTES: u64 = 7;
    let active = link + offset_of!(Link, active) as u64;
    let mut code = Code::at(site_at);
    if is_reached(active, site_at + LOAD_BYTES) {
        code.add_distance(&[0x4c, 0x8b, 0x1d], active); // mov active(%rip), %r11
    } else {
        code.add_long(&[0x49, 0xbb], active); // movabs $active, %r11
        code.add(&[0x4d, 0x8b, 0x1b]); // mov (%r11), %r11
    }
    code.add(&[0x4d, 0x01, 0xdb]); // add %r11, %r11: see `Link::activity`
    code.add_distance(&[0x0f, 0x80 | IF_CARRY], ways.exact);
    code.add_distance(&[0x0f, 0x80 | IF_NOT_EQUAL], ways.sampled);
    code.bytes
}

/// Leaves a call to a hook.
fn ask(code: &mut Code, displaced: u64, hook: u64) -> u64 {
    let begin = code.here();
    code.add(&[0x48, 0x89, 0xe1]); // mov %rsp, %rcx
    code.add(&[0x49, 0x89, 0xe8]); // mov %rbp, %r8
    leave(code, displaced, hook);
    begin
}

/// Jumps to a function of the agent with the address of the displaced instructions as the last argument.
fn leave(code: &mut Code, displaced: u64, to: u64) {
    code.add_distance(&[0x4c, 0x8d, 0x0d], displaced); // lea displaced(%rip), %r9
    code.jump(to);
}

/// Finds the thread's record for rcx and counts the call; to `asks` where it is no ordinary one. r11 is the shared memory.
fn count(code: &mut Code, left: u8, [asks, counted]: [u64; 2]) {
    code.add(&[0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0]); // mov %fs:0, %rax
    code.add_word(&[0x48, 0x69, 0xc8], PLACE_FACTOR); // imul $…, %rax, %rcx
    code.add(&[0x48, 0xc1, 0xe9, (PLACE_SHIFT - RECORD_SHIFT) as u8]); // shr $…, %rcx
    code.add_word(&[0x81, 0xe1], RECORD_MASK); // and $…, %ecx
    code.add_word(&[0x49, 0x8d, 0x8c, 0x0b], regions::RECORDS.at as u32); // lea records(%r11,%rcx), %rcx
    code.add(&[0x48, 0x39, 0x01]); // cmp %rax, pointer(%rcx)
    code.jump_if(IF_NOT_EQUAL, asks);
    code.add(&[0x49, 0x8b, 0x43, offset_of!(Control, state) as u8]); // mov state(%r11), %rax
    code.add(&[0x48, 0x3b, 0x41, SEEN]); // cmp seen(%rcx), %rax
    code.jump_if(IF_NOT_EQUAL, asks);
    code.add(&[0x48, 0x83, 0x79, GUARD, 0]); // cmpq $0, guard(%rcx)
    code.jump_if(IF_NOT_EQUAL, asks);
    code.add(&[0x48, 0x83, 0x69, left, 1]); // subq $1, left(%rcx)
    code.jump_if(IF_NEGATIVE, counted);
}

/// From here on what a signal handler allocates is nested.
fn guard(code: &mut Code) {
    code.add(&[0x48, 0x89, 0x61, GUARD]); // mov %rsp, guard(%rcx)
}

/// Calls the function inside the guard, so that what it maps is the allocator's, and keeps the record.
fn call(code: &mut Code, displaced: u64) {
    code.add(&[0x51]); // push %rcx: the stack is aligned for a call then
    code.add_distance(&[0xe8], displaced); // call displaced
}

/// The size of the block as an operand that an instruction names in three bits. Takes r8 for a product.
fn size_of(code: &mut Code, size: Size) -> u8 {
    if size == Size::FirstTwo {
        code.add(&[0x49, 0x89, 0xf8]); // mov %rdi, %r8
        code.add(&[0x4c, 0x0f, 0xaf, 0xc6]); // imul %rsi, %r8
    }
    if size == Size::First { 0x48 } else { 0x4c }
}

/// The block is recorded by the agent's function once it is there.
fn record_allocation(code: &mut Code, size: Size, displaced: u64, exits: [u64; 2], counts: u64) -> u64 {
    let begin = code.here();
    count(code, ALLOCATIONS_LEFT, exits);
    guard(code);
    let prefix = size_of(code, size);
    code.add(&[prefix, 0x89, if size == Size::First { 0x79 } else { 0x41 }, SIZE]); // mov %rdi or %r8, size(%rcx)
    call(code, displaced);
    code.add(&[0x5a]); // pop %rdx
    code.add(&[0x48, 0x89, 0xc7]); // mov %rax, %rdi
    code.add(&[0x48, 0x89, 0xee]); // mov %rbp, %rsi
    code.jump(counts);
    begin
}

/// A block that is not sampled is counted; what comes then makes it. Nothing is left of the countdown where every block is to be recorded.
fn pass_allocation(code: &mut Code, size: Size, [asks, counted]: [u64; 2]) -> u64 {
    let modrm = if size == Size::First { 0x79 } else { 0x41 };
    let recorded = code.here();
    code.add(&[0xf9]); // stc
    code.add(&[if size == Size::First { 0x48 } else { 0x4c }, 0x11, modrm, COUNTDOWN]); // adc %rdi or %r8, countdown(%rcx)
    code.jump(counted);
    let begin = code.here();
    count(code, ALLOCATIONS_LEFT, [asks, counted]);
    let prefix = size_of(code, size);
    code.add(&[0xf9]); // stc
    code.add(&[prefix, 0x19, modrm, COUNTDOWN]); // sbb %rdi or %r8, countdown(%rcx)
    code.jump_if(IF_CARRY, recorded);
    begin
}

/// Leaves word where this call came from, by which a mapping that it makes is known for the allocator's.
fn note_passing(code: &mut Code) {
    code.add(&[0x48, 0x8b, 0x04, 0x24]); // mov (%rsp), %rax
    code.add(&[0x48, 0x89, 0x61, PASSED_SP]); // mov %rsp, passed_sp(%rcx)
    code.add(&[0x48, 0x89, 0x41, PASSED_PC]); // mov %rax, passed_pc(%rcx)
}

/// Calls the function and returns. What it calls itself is the allocator's.
fn call_inside(code: &mut Code, displaced: u64) {
    guard(code);
    call(code, displaced);
    code.add(&[0x59]); // pop %rcx
    code.add_word(&[0x48, 0xc7, 0x41, GUARD], 0); // movq $0, guard(%rcx)
    code.add(&[0xc3]); // ret
}

/// Where no recorded block begins there is nothing to do. The displaced instructions follow.
fn pass_free(code: &mut Code, looks: u64) -> u64 {
    const ABOVE: u8 = (u64::BITS - ADDRESS_BITS) as u8;
    /// What lies below the byte that tells the place of a mark in its area; that is moved to where a byte can be had for itself.
    const BELOW: u8 = (MARK_SHIFT - u8::BITS) as u8;
    const { assert!(AREA_SHIFT - MARK_SHIFT == u8::BITS, "it is a byte") };
    let begin = code.here();
    code.add(&[0x48, 0x89, 0xf8]); // mov %rdi, %rax
    code.add(&[0x48, 0xc1, 0xe0, ABOVE]); // shl $…, %rax
    code.add(&[0x48, 0xc1, 0xe8, ABOVE + BELOW]); // shr $…, %rax
    code.add(&[0x0f, 0xb6, 0xcc]); // movzbl %ah, %ecx
    code.add(&[0x48, 0xc1, 0xe8, 2 * u8::BITS as u8]); // shr $…, %rax
    code.add_word(&[0x41, 0x03, 0x8c, 0x83], regions::AREAS.at as u32); // add areas(%r11,%rax,4), %ecx
    code.add_word(&[0x41, 0x80, 0xbc, 0x0b], regions::MARKS.at as u32); // cmpb $0, marks(%r11,%rcx)
    code.add(&[0]);
    code.jump_if(IF_NOT_EQUAL, looks);
    begin
}

const _: () = assert!(offset_of!(ThreadFigures, pointer) == 0, "a record is compared by its first word");
const _: () = assert!(regions::RECORDS.at < 1 << 31, "records are reached by an instruction's displacement");
const _: () = assert!(offset_of!(Control, state) < 128 && offset_of!(ThreadFigures, size) < 128, "one byte");
const _: () = assert!(1_u64 << RECORD_SHIFT == regions::RECORD_BYTES, "records are found by shifting");
const _: () =
    assert!(RECORD_SHIFT < PLACE_SHIFT && PLACE_FACTOR < 1 << 31, "a place is found by one shift and one factor");

#[cfg(test)]
mod tests;
