//! The first page: whether anybody listens, settings, and cursors of the tables.
//!
//! Owns: [`Control`]. Must not know: who maps it.

use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use crate::gate::{Gate, LoadGate};

/// First word of the file.
pub const MAGIC: u64 = 0x656e_696c_6b61_656c;

/// Grows whenever the layout changes; leakline only cleans up, never reads, a file of another version.
pub const VERSION: u32 = 10;

/// The bits of [`Control::state`] that hold a thread number. All zero: nobody listens and hooks pass calls through.
///
/// The state is a robust futex: its value is the thread number of leakline's keeper thread, and when that thread dies, by
/// whatever means, the kernel clears these bits. So the hooks go dormant without leakline's help.
pub const STATE_TID_MASK: u32 = 0x3fff_ffff;

/// The bit of [`Control::state`] that the kernel sets when it clears the others: leakline was killed.
pub const STATE_OWNER_DIED: u32 = 0x4000_0000;

/// Which blocks are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// Every block is recorded.
    pub const EXACT: Self = Self(0);
    /// What is left of a word for other things begins here.
    const BITS: u32 = 6;

    /// Blocks are sampled at a rate, see [`crate::weigh`].
    pub const fn sampled(rate: u32) -> Self {
        Self::of(rate)
    }

    /// The mode in the lowest bits of a word.
    #[inline]
    pub const fn of(word: u32) -> Self {
        Self(word & ((1 << Self::BITS) - 1))
    }

    /// The rate at which blocks are sampled; 0 where every block is recorded.
    #[inline]
    pub const fn rate(self) -> u32 {
        self.0
    }
}

const _: () = assert!(crate::RATE_MAX < 1 << Mode::BITS, "a rate fits its bits");

impl Control {
    /// Lets all threads look up at their next call.
    pub fn next_turn(&self) {
        self.turn.fetch_add(1 << Mode::BITS, Release);
    }

    /// Sets the mode. A thread takes it over with the turn, both at once: while one thread knows it, no other goes by the mode before.
    pub fn set_mode(&self, mode: Mode) {
        let next = |word: u32| {
            let turn = (word >> Mode::BITS).wrapping_add(1) << Mode::BITS;
            (Mode::of(word) != mode).then_some(turn | mode.rate())
        };
        let _ = self.turn.fetch_update(Release, Relaxed, next);
    }

    /// State and turn, as [`crate::ThreadFigures::seen`] has them.
    #[inline]
    pub fn state_and_turn(&self) -> u64 {
        let turn = self.turn.load(Acquire);
        u64::from(self.state.load(Relaxed)) | u64::from(turn) << 32
    }
}

/// Binary logarithm of the granule of glibc, whose blocks of all sizes lie side by side; allocators with smaller ones keep
/// sizes apart.
pub const GRANULE_OF_MIXED_SIZES: u32 = 5;

/// Granule of functions that the user named and of a program's own operators: their blocks may lie within blocks of another
/// allocator.
pub const GRANULE_UNKNOWN: u32 = 0;

/// Mappings of code beside the first: a program and its libraries lie further apart than a jump reaches.
pub const CODE_AREAS_MORE: usize = 3;

/// The control page. Fields that the agent writes have cache lines of their own.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Control {
    /// [`MAGIC`].
    pub magic: AtomicU64,
    /// [`VERSION`].
    pub version: AtomicU32,
    /// See [`STATE_TID_MASK`].
    pub state: AtomicU32,
    /// [`Mode`] in the lowest bits; the others are counted up every few milliseconds and whenever threads have to take something over:
    /// another mode, other modules. It stands behind the state so that a call asks by one reading whether all is as its thread last
    /// saw it. What a thread knows of the time is then no older than those milliseconds either: to read the time stamp counter in every
    /// call would cost as much as all the rest of a hook.
    pub turn: AtomicU32,
    /// Age in ticks of the time stamp counter from which a block has expired.
    pub expire_ticks: AtomicU64,
    /// Grows when the modules change: what was learnt of unwinding before is void.
    pub generation: AtomicU32,
    /// Greatest number of frames kept of a stack.
    pub depth: AtomicU32,
    /// Greatest number of stacks that get an id.
    pub stacks_max: AtomicU32,
    /// How many lines of blocks there may be.
    pub lines_max: AtomicU32,
    /// How many threads get a record.
    pub records_max: AtomicU32,
    /// Not zero where the processor has the instruction `crc32`, by which remembered stacks are then proven.
    pub has_crc32: AtomicU32,
    /// Lowest address of the main thread's stack at the attach.
    pub main_stack_low: AtomicU64,
    /// End of the main thread's stack.
    pub main_stack_high: AtomicU64,
    /// Binary logarithm of the granule: no two blocks of the target's allocator start within one. Or [`GRANULE_UNKNOWN`].
    pub granule_shift: AtomicU32,
    /// Where the agent's code was put, for whoever has to clean up.
    pub code_at: AtomicU64,
    /// Length of that mapping.
    pub code_len: AtomicU64,
    /// Where the file is mapped in the target.
    pub shared_at: AtomicU64,
    /// Length of that mapping.
    pub shared_len: AtomicU64,
    /// Which of the four buffers of modules is current (lowest two bits) and how many modules it has (the rest).
    pub modules: AtomicU32,
    /// Further mappings of code, each as start and length.
    pub more_code: [[AtomicU64; 2]; CODE_AREAS_MORE],
    /// The target's process number as the target itself sees it.
    pub process: AtomicU32,
    /// Where the table of live blocks has room.
    pub blocks: BlockCursors,
    /// Where the stacks have room.
    pub stacks: StackCursors,
    /// Where the threads have room.
    pub threads: ThreadCursors,
    /// Where the next event goes.
    pub events: EventCursor,
    /// Where the program waits before it ends.
    pub gate: Gate,
    /// Where it waits when it has loaded code.
    pub loads: LoadGate,
}

/// Next free places for live blocks; alone in their cache line, like the other cursors.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct BlockCursors {
    /// Next free line.
    pub lines: AtomicU32,
    /// Next free further bucket; number 0 is never used.
    pub further: AtomicU32,
    /// Lines that hold cells; they count for [`Control::lines_max`] too.
    pub cells: AtomicU32,
    /// Areas with [marks of their own](crate::own_area).
    pub areas: AtomicU32,
}

/// Next free places for stacks.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct StackCursors {
    /// Next free id; stack 0 stands for stacks beyond the limit.
    pub ids: AtomicU32,
    /// Next free word of the frames.
    pub frames: AtomicU32,
    /// Stacks that got no id.
    pub refused: AtomicU64,
}

/// Next free places for threads, and what threads tell leakline.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct ThreadCursors {
    /// Next free number.
    pub records: AtomicU32,
    /// Calls passed through because there was no record left for the thread.
    pub refused: AtomicU64,
    /// A code address that lay in no known module, or zero; leakline looks for new modules when there is one, and takes it away.
    pub unknown_code: AtomicU64,
}

/// Where the ring of events goes on.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct EventCursor {
    /// Events until now.
    pub next: AtomicU64,
}

const _: () = assert!(offset_of!(Control, turn) == offset_of!(Control, state) + 4, "both are read at once");
const _: () = assert!(size_of::<Control>() <= 4096, "the control page is one page");
