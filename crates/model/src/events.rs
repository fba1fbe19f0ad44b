//! What happened between two samples, and the beat that carries both.
//!
//! Owns: events of processes, the kernel and the recorder; the moment of a beat; the beat itself.
//! Must not know: who noticed an event, where a beat is kept, or what follows from it.

use std::sync::Arc;

use crate::{Pid, ProcessKey, ProcessReading, Reading, SystemSample};

/// A moment on both clocks. The wall clock may jump; the boot clock never does, but starts anew with each boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since 1970-01-01 00:00 UTC.
    pub wall_ns: u64,
    /// Nanoseconds since boot on `CLOCK_BOOTTIME`, which goes on during suspend.
    pub boot_ns: u64,
    /// The kernel's boot id; boot times of two boots must not be compared.
    pub boot_id: Arc<str>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Status(u8),
    /// By this signal.
    Signal(u8),
}

/// How much an alert matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// Worth acting on.
    Warning,
    /// Memory runs out, or has run out.
    Critical,
}

/// Something that happened, other than that a figure changed. Texts have their control characters escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A process is there that was not there at the beat before.
    ProcessBorn {
        /// Which process.
        process: ProcessKey,
    },
    /// A process is gone that was there at the beat before.
    ProcessDied {
        /// Which process.
        process: ProcessKey,
        /// How it ended; mostly not to be learnt from outside.
        exit: Reading<Exit>,
    },
    /// A process ended and its parent has not waited for it.
    Zombie {
        /// Which process.
        process: ProcessKey,
        /// Its name, since a zombie has no sample of its own.
        command: String,
        /// Its parent.
        parent: Reading<Pid>,
    },
    /// The kernel killed a process for lack of memory.
    OomKill {
        /// The process, as the kernel names it: its pid alone.
        victim: Pid,
        /// Its name.
        command: String,
        /// The control group whose limit was hit; none where the machine ran out.
        cgroup: Option<String>,
        /// The line of the kernel.
        message: String,
    },
    /// Another message of the kernel about memory.
    KernelMessage {
        /// The kernel's level, 0 (emergency) to 7 (debug).
        level: u8,
        /// The line of the kernel.
        message: String,
    },
    /// A recorder starts to record here; whatever stood before was recorded by another run.
    RecorderStarted {
        /// Name of the machine.
        host: String,
        /// Release of its kernel.
        kernel: String,
        /// Version of the recorder.
        version: String,
        /// The beat that is wanted, in milliseconds.
        every_ms: u64,
    },
    /// The recorder ended in order.
    RecorderStopped {
        /// Why, in words: `stopped by the user`, `--for is over`.
        reason: String,
    },
    /// No samples were taken for a while: the machine was suspended, or the recorder was stopped or killed.
    Gap {
        /// Its length in nanoseconds.
        length_ns: u64,
        /// Why, as far as it can be told.
        reason: String,
    },
    /// Sampling could not keep its beat.
    BeatNotKept {
        /// The beat that is wanted, in milliseconds.
        wanted_ms: u64,
        /// The beat that was kept, in milliseconds.
        kept_ms: u64,
    },
    /// Beats or parts of them could not be recorded.
    NotRecorded {
        /// How many beats.
        beats: u64,
        /// Why, in words: `no space left on device`.
        reason: String,
    },
    /// An alert is on from now.
    AlertRaised {
        /// Which rule, by its key in the configuration.
        rule: String,
        /// The process, where it is about one.
        process: Option<ProcessKey>,
        /// How much it matters.
        severity: Severity,
        /// The evidence.
        text: String,
    },
    /// An alert is off from now.
    AlertCleared {
        /// Which rule.
        rule: String,
        /// The process, where it is about one.
        process: Option<ProcessKey>,
    },
    /// The wall clock jumped against the boot clock; positive is forwards.
    ClockJumped {
        /// By how many nanoseconds.
        by_ns: i64,
    },
}

/// All that was sampled and noticed at one moment: what a recorder keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// When.
    pub at: Moment,
    /// All processes that are sampled; one that is absent is not there or is not sampled any more.
    pub processes: Vec<ProcessReading>,
    /// The machine.
    pub system: SystemSample,
    /// What happened since the beat before.
    pub events: Vec<Event>,
}
