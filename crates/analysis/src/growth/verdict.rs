//! The words for what a history of memory looks like.
//!
//! Owns: the verdicts and the kinds of memory. Must not know: how a verdict is reached.

/// What the history of a process looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrowthVerdict {
    /// It grows, materially and significantly, and has not slowed down.
    Growing,
    /// Too few samples, or too short a window, to tell.
    TooShort,
    /// It grew, but growth slowed down or ended: a warm-up or a cache that filled.
    Plateaued,
    /// Most of the growth came in one step.
    Stepped,
    /// It rises and falls, and the troughs do not rise: garbage collection or a pool.
    Sawtooth,
    /// It shrinks.
    Shrinking,
    /// No material trend.
    Steady,
}

/// A kind of memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryKind {
    /// Private memory in RAM.
    Anon,
    /// Private memory in swap.
    Swap,
    /// Shared memory and tmpfs pages.
    Shmem,
    /// Mapped files.
    File,
}

impl GrowthVerdict {
    /// The word for it, in text and JSON.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Growing => "growing",
            Self::TooShort => "too short to tell",
            Self::Plateaued => "plateaued",
            Self::Stepped => "stepped",
            Self::Sawtooth => "sawtooth",
            Self::Shrinking => "shrinking",
            Self::Steady => "steady",
        }
    }
}

impl MemoryKind {
    /// The word for it, in text and JSON.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Anon => "anon",
            Self::Swap => "swap",
            Self::Shmem => "shmem",
            Self::File => "file",
        }
    }
}
