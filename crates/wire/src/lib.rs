//! The layout of the memory that the agent in the target and leakline share.
//!
//! Owns: where each table lies, what its entries look like, and the limits of each.
//! Must not know: Linux, std, who maps the memory, what the figures mean.
//!
//! Either side must treat what it reads as hostile: the other may be dead, stopped in the middle of a write, or overwritten
//! by a stray pointer of the target. Every index is checked against the limits here before it is used.
//!
//! The file is sparse: its size is address space, not memory. In order of offset:
//!
//! | region | who writes | what |
//! |---|---|---|
//! | control | both, see [`Control`] | state, settings, cursors, the gate |
//! | robust | leakline | the robust list by which the kernel tells the agent that leakline died |
//! | patches | leakline | which code was changed, for whoever has to clean up |
//! | modules | leakline | ranges of code, in four buffers used in turn |
//! | threads | agent | which records are used |
//! | records | agent | what one thread owns: guard, figures, caches |
//! | areas, marks | agent, leakline | which parts of the memory hold recorded blocks |
//! | rows | leakline | unwind rows: sorted starts, then packed rules |
//! | counters | agent | one [`SiteCounters`] per thread and stack |
//! | sampled | agent | one [`SampledCounters`] per thread and stack |
//! | stack index, stacks, frames | agent | every distinct stack once |
//! | events | agent | a ring of rare calls: mappings, descriptors, threads |
//! | directory, chains, large blocks, further buckets | agent | which lines hold the blocks of which span of addresses |
//! | lines | agent | live [`Block`]s, four to a cache line; small ones in [`Cell`]s |

#![no_std]

#[cfg(test)]
extern crate std;

mod block;
mod bucket;
mod call;
mod cell;
mod control;
mod event;
mod gate;
mod layout;
mod mark;
mod place;
mod rule;
mod sample;
mod tables;

pub use block::{
    BLOCK_SIZE_MAX, Block, LARGE_MIN, LARGE_SHIFT, Moment, SLOT_CLAIMED, SLOT_LEFT, SPAN_SHIFT, Slot, is_large,
};
pub use bucket::{Bucket, FurtherBucket, LINE_CELLS, LINE_SLOTS, LINES_MAX};
pub use call::NamedCall;
pub use cell::Cell;
pub use control::{
    BlockCursors, CODE_AREAS_MORE, Control, EventCursor, GRANULE_OF_MIXED_SIZES, GRANULE_UNKNOWN, MAGIC, Mode,
    STATE_OWNER_DIED, STATE_TID_MASK, StackCursors, ThreadCursors, VERSION,
};
pub use event::{Call, EVENTS, Event};
pub use gate::{GATE_EXECUTE, GATE_EXIT, GATE_KIND_BITS, GATE_KIND_MASK, Gate, LoadGate};
pub use layout::{
    ADDRESS_BITS, COUNTERS_BYTES, FILE_BYTES, FRAMES_MAX, FURTHER_BUCKETS_MAX, LINE_BYTES, Layout, MODULES_MAX,
    PATCHES_MAX, SAMPLED_BYTES, STACK_INDEX_SLOTS, STACKS_MAX, THREAD_SLOTS, THREADS_MAX, regions,
};
pub use mark::{
    AREA_EMPTY, AREA_FULL, AREA_LARGE, AREA_MARKS, AREA_OF_NOTHING, AREA_SHIFT, AREAS_MAX, FIRST_MARKS, MARK_COUNT_MAX,
    MARK_EXACT, MARK_LARGE, MARK_SHIFT, area_at, is_own_area, mark_at, own_area,
};
pub use place::{PLACE_FACTOR, PLACE_SHIFT, record_at, thread_place};
pub use rule::{PackedRule, RuleKind};
pub use sample::{BLOCK_PARTS, RATE_MAX, RATE_MIN, Weight, blocks_variance_parts, bytes_squared, distance, weigh};
pub use tables::{
    FRAME_ADDRESS_MASK, Link, Module, Robust, SampledCounters, SampledSum, SiteCounters, StackRecord, ThreadFigures,
    TimedCalls, calls_made,
};
