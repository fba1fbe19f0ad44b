//! Parsers of foreign formats.
//!
//! Owns: the meaning of bytes that others wrote, as far as a leak hunt needs it. Must not know: where the bytes came
//! from; nothing here opens a file. Every parser takes arbitrary bytes, never panics, and allocates nothing
//! (but for the rare name that has escapes to be undone, and values that were compressed, up to a bound).

pub mod buddyinfo;
pub mod cgroup;
pub mod entries;
pub mod journal;
pub mod kernel_log;
pub mod load;
pub mod maps;
pub mod meminfo;
pub mod memory;
pub mod passwd;
pub mod pressure;
pub mod process_limits;
pub mod shared_memory;
pub mod slabinfo;
pub mod smaps;
pub mod sockets;
pub mod stat;
pub mod status;
pub mod swaps;

mod scan;
