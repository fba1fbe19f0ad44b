//! One unwind rule, and how a row of the DWARF virtual machine becomes one.
//!
//! Owns: which forms of rules are supported. Must not know: tables, modules, addresses.

use gimli::{CfaRule, EndianSlice, LittleEndian, Reader, RegisterRule, UnwindSection, UnwindTableRow, X86_64};

pub(super) type Bytes<'data> = EndianSlice<'data, LittleEndian>;

/// How to get from a frame to its caller. The return address is at CFA − 8 in all but the last three.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Rule {
    /// CFA = `rsp + cfa`.
    FromStackPointer {
        /// Distance from `rsp`.
        cfa: u32,
        /// Where the caller's `rbp` is.
        saved_rbp: SavedRbp,
    },
    /// CFA = `rbp + cfa`.
    FromFramePointer {
        /// Distance from `rbp`.
        cfa: u32,
        /// Where the caller's `rbp` is.
        saved_rbp: SavedRbp,
    },
    /// CFA = `*(rbp + at)`, the caller's `rbp` = `*(rbp + saved_rbp_at)`: a function that realigned its stack
    /// (gcc's DRAP, as `main` with over-aligned variables).
    FromFramePointerDeref {
        /// Distance from `rbp` to the word that holds the CFA.
        at: i32,
        /// Distance from `rbp` to the caller's `rbp`.
        saved_rbp_at: i32,
    },
    /// A stub of the procedure linkage table: CFA = `rsp + 8 + (((rip & 15) >= 11) << 3)`, `rbp` is unchanged.
    Plt,
    /// A signal trampoline: all registers are in the `ucontext` at `rsp` (`__restore_rt`).
    Signal,
    /// The outermost frame: the return address is undefined (`_start`, `clone`).
    End,
    /// Covered by no table, or by a rule of a form that is not supported.
    Unknown,
}

/// Where the caller's `rbp` is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum SavedRbp {
    /// Still in `rbp`.
    Same,
    /// In memory, this far below the CFA.
    AtCfaMinus(u32),
}

const _: () = assert!(size_of::<Rule>() <= 16, "rows are many");

/// `DW_OP_breg7 8; breg16 0; lit15; and; lit11; ge; lit3; shl; plus`, as `ld` writes it for every lazy PLT.
const PLT_EXPRESSION: [u8; 11] = [0x77, 0x08, 0x80, 0x00, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];

const DW_OP_BREG6: u8 = 0x76;
const DW_OP_DEREF: u8 = 0x06;

impl Rule {
    /// What is kept of a row; `signal` says whether its function is marked as a signal trampoline.
    pub(super) fn from_row<'data, S>(row: &UnwindTableRow<usize>, section: &S, signal: bool) -> Self
    where
        S: UnwindSection<Bytes<'data>>,
    {
        match row.register(X86_64::RA) {
            Some(RegisterRule::Undefined) => return Self::End,
            // Where `call` puts it. Any other place would need a field in every row, for functions that no compiler makes.
            Some(RegisterRule::Offset(-8)) => {}
            // glibc describes every register of `__restore_rt` by an expression over `rsp`.
            Some(RegisterRule::Expression(_)) if signal => return Self::Signal,
            _ => return Self::Unknown,
        }
        match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => Self::from_register(*register, *offset, row),
            CfaRule::Expression(expression) => match expression.get(section) {
                Ok(code) => Self::from_expression(code.0, row, section),
                Err(_) => Self::Unknown,
            },
        }
    }

    fn from_register(register: gimli::Register, offset: i64, row: &UnwindTableRow<usize>) -> Self {
        let (Some(saved_rbp), Ok(cfa)) = (SavedRbp::from_row(row), u32::try_from(offset)) else {
            return Self::Unknown;
        };
        match register {
            X86_64::RSP => Self::FromStackPointer { cfa, saved_rbp },
            X86_64::RBP => Self::FromFramePointer { cfa, saved_rbp },
            _ => Self::Unknown,
        }
    }

    fn from_expression<'data, S>(code: Bytes<'data>, row: &UnwindTableRow<usize>, section: &S) -> Self
    where
        S: UnwindSection<Bytes<'data>>,
    {
        if code.slice() == PLT_EXPRESSION {
            return Self::Plt;
        }
        let saved = match row.register(X86_64::RBP) {
            Some(RegisterRule::Expression(expression)) => {
                expression.get(section).ok().and_then(|code| rbp_relative(code.0, &[]))
            }
            _ => None,
        };
        match (rbp_relative(code, &[DW_OP_DEREF]), saved) {
            (Some(at), Some(saved_rbp_at)) => Self::FromFramePointerDeref { at, saved_rbp_at },
            _ => Self::Unknown,
        }
    }
}

impl SavedRbp {
    fn from_row(row: &UnwindTableRow<usize>) -> Option<Self> {
        match row.register(X86_64::RBP) {
            // "Undefined" says that nobody may ask for it any more, so that keeping it does no harm. Without a rule a register that the callee must preserve is unchanged.
            None | Some(RegisterRule::SameValue | RegisterRule::Undefined) => Some(Self::Same),
            Some(RegisterRule::Offset(offset)) => u32::try_from(offset.checked_neg()?).ok().map(Self::AtCfaMinus),
            Some(_) => None,
        }
    }
}

/// The distance of `DW_OP_breg6 distance` followed by exactly `rest`.
fn rbp_relative(mut code: Bytes<'_>, rest: &[u8]) -> Option<i32> {
    if code.read_u8().ok()? != DW_OP_BREG6 {
        return None;
    }
    let distance = code.read_sleb128().ok()?;
    if code.slice() != rest {
        return None;
    }
    i32::try_from(distance).ok()
}
