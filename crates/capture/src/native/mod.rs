//! Attaching to a running native process: its allocator is hooked, and every block is counted by the stack that made it.
//!
//! Owns: the order of steps of an attach and a detach, and what is left if one of them fails.
//! Must not know: who asked for the attach, or what the counts mean.
//!
//! Everything slow happens while the target runs: reading modules, compiling unwind rows, filling tables. One thread is
//! stopped to make the mappings; all are stopped for the moment in which the jumps are written.

mod arch;
mod arm;
mod asleep;
mod calls;
mod cap;
mod code;
mod collector;
mod cost;
mod custom;
mod error;
mod families;
mod file;
mod functions;
mod gate;
mod governor;
mod heap;
mod image;
mod inside;
mod launch;
mod ledger;
mod load;
mod marks;
mod modules;
mod note;
mod own_stack;
mod place;
mod prepare;
mod read;
mod remains;
mod remote;
mod roots;
mod runtimes;
mod session;
mod settings;
mod survey;
mod target;
mod threads;
mod ticks;
mod walk;
mod weights;

use std::time::Duration;

use model::{Bytes, Kinds, Mode, Pid, ProcessKey, Snapshot};

pub use error::{AttachError, LaunchError, SessionError};
pub use gate::{Ending, Execution};
pub use heap::Heap;
pub use launch::Program;
pub use remains::{Carriers, Removed};
pub use session::{Session, attach};

/// Which blocks are to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeChoice {
    /// All of them, whatever it costs.
    Exact,
    /// A sample.
    Sampled,
    /// All of them while that costs less than the limit, else a sample.
    Auto,
}

/// How much an attach may cost the target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Modes {
    /// Which blocks are recorded.
    pub choice: ModeChoice,
    /// Mean distance between two samples; the nearest power of two is used.
    pub rate: Bytes,
    /// The limit: a share of the target's processor time, between 0 and 1.
    pub max_overhead: f64,
}

impl Modes {
    /// Every block, whatever it costs.
    pub const EXACT: Self = Self { choice: ModeChoice::Exact, rate: Bytes(512 << 10), max_overhead: 1.0 };

    /// The smallest and the greatest rate.
    pub const RATES: (Bytes, Bytes) = (Bytes(1 << wire::RATE_MIN), Bytes(1 << wire::RATE_MAX));

    /// Which blocks are recorded at first.
    fn first(&self) -> Mode {
        match self.choice {
            ModeChoice::Exact | ModeChoice::Auto => Mode::Exact,
            ModeChoice::Sampled => Mode::Sampled { rate: Bytes(1 << self.rate_shift()) },
        }
    }

    /// The binary logarithm of the rate that is used.
    fn rate_shift(&self) -> u32 {
        // The powers' geometric mean lies between them: 1.5 is close enough to it.
        let shift = self.rate.0.max(1).ilog2();
        let shift = if self.rate.0 >> shift.saturating_sub(1) == 3 { shift + 1 } else { shift };
        shift.clamp(wire::RATE_MIN, wire::RATE_MAX)
    }
}

/// What to record and how much of it.
#[derive(Clone, Debug)]
pub struct AttachOptions {
    /// Age from which a live block counts as expired.
    pub expire: Duration,
    /// Greatest number of frames kept of a stack.
    pub depth: u16,
    /// Greatest number of distinct stacks; blocks of further ones are counted as unrecorded.
    pub stacks_max: u32,
    /// What is watched.
    pub kinds: Kinds,
    /// Allocator functions of the program's own, for example `fn=pool_alloc,size=arg2`.
    pub alloc: Vec<String>,
    /// Functions that free what those allocated, for example `fn=pool_free,ptr=arg2`.
    pub free: Vec<String>,
    /// How much it may cost.
    pub modes: Modes,
    /// How much memory the records may take; none for a part of what there is.
    pub memory_max: Option<Bytes>,
}

/// Whether the target is still the program that was attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// It runs and the hooks are in it.
    Running,
    /// It ended.
    Exited,
    /// It called `exec`: the hooks went with the old program.
    Executed,
}

/// What is known of an attach once it is done.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The target.
    pub key: ProcessKey,
    /// Which allocator was found, for people, for example `glibc (/usr/lib/x86_64-linux-gnu/libc.so.6)`.
    pub allocator: String,
    /// Names of the functions that were hooked.
    pub functions: Vec<String>,
    /// Functions of the allocator that could not be hooked, with the reason.
    pub unhooked: Vec<String>,
    /// Longest time that any thread of the target was stopped by us during the attach.
    pub longest_stop: Duration,
    /// From the call of [`attach`] until the hooks were active.
    pub active_after: Duration,
    /// Threads of the target at the attach.
    pub threads: u32,
    /// A signal such as SIGSTOP had stopped the target at the attach, and it stayed so.
    pub halted: bool,
    /// Which blocks are recorded at first.
    pub mode: Mode,
    /// How much memory the records may take.
    pub memory_max: Bytes,
}

/// What a detach did.
#[derive(Clone, Debug)]
pub struct Detached {
    /// The last figures; exact if nothing is left.
    pub snapshot: Snapshot,
    /// Longest time that any thread was stopped during the detach; none where the target was gone.
    pub longest_stop: Option<Duration>,
    /// What stays in the target, one line each; empty when nothing does.
    pub left: Vec<String>,
}

/// Takes out what an earlier leakline left in a process when it was killed; nothing to do is no error.
pub fn remove_remains(pid: Pid) -> Result<Removed, AttachError> {
    let target = target::Target::open(pid)?;
    let _claim = target.claim()?;
    remains::remove(&target)
}

/// Looks for processes in which there is something to take out, or a leakline at work.
pub fn find_remains() -> Carriers {
    remains::carriers()
}

/// The allocator that an attach would hook and how many functions of it, or why it would hook nothing. Only looks.
pub(crate) fn preview(pid: Pid) -> Result<(String, usize), AttachError> {
    let target = target::Target::open(pid)?;
    let heap = Kinds { heap: true, ..Kinds::NONE };
    let plan = prepare::Plan::make(&target, &target.maps()?, &[], heap)?;
    Ok((plan.allocator, plan.functions.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_nearest_power_of_two_within_bounds() {
        let shift = |rate| Modes { choice: ModeChoice::Sampled, rate: Bytes(rate), max_overhead: 0.05 }.rate_shift();
        assert_eq!([0, 1, 1024, 1500, 1536, 2048].map(shift), [10, 10, 10, 10, 11, 11]);
        assert_eq!([512 << 10, 700 << 10, 800 << 10, 16 << 20, 1 << 40].map(shift), [19, 19, 20, 24, 24]);
    }
}
