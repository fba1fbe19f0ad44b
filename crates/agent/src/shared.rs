//! The shared mapping as the agent sees it.
//!
//! Owns: turning offsets of the layout into references. Must not know: what is done with them.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use wire::{Control, Link, Mode, STATE_OWNER_DIED, STATE_TID_MASK, regions};

use crate::record::Record;

/// Where the mapping is. The loader fills it in; the kernel wipes it in a forked child. The only writable words of the image,
/// by which the loader finds them (a name would cost a relocation).
static LEAKLINE_LINK: Link = Link { base: AtomicU64::new(0), active: AtomicU64::new(0) };

/// The mapping. Only made where somebody listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared {
    base: u64,
}

impl Shared {
    /// The mapping, if there is one in this process and leakline listens.
    #[inline]
    pub(crate) fn listening() -> Option<Self> {
        let shared = Self::mapped()?;
        let state = shared.control().state.load(Relaxed);
        if state & STATE_TID_MASK == 0 {
            if state & STATE_OWNER_DIED != 0 {
                LEAKLINE_LINK.active.store(0, Relaxed);
            }
            return None;
        }
        Some(shared)
    }

    /// The mapping, if there is one in this process, whether anybody listens or not.
    #[inline]
    pub(crate) fn mapped() -> Option<Self> {
        let shared = Self::linked();
        (shared.base != 0).then_some(shared)
    }

    /// The mapping, inside a hook, which was only entered since there is one.
    #[inline]
    pub(crate) fn linked() -> Self {
        // SAFETY: the static is always there. Volatile, since the compiler sees nobody who could ever fill it in.
        Self { base: unsafe { LEAKLINE_LINK.base.as_ptr().read_volatile() } }
    }

    /// Lets the stubs take the way of a mode, unless it was noticed that leakline was killed.
    #[cold]
    pub(crate) fn take_over(self, mode: Mode) {
        let active = &LEAKLINE_LINK.active;
        let wanted = Link::activity(self.base, mode == Mode::EXACT);
        // SAFETY: as in `linked`.
        let known = unsafe { active.as_ptr().read_volatile() };
        if known != 0 && known != wanted {
            let _ = active.compare_exchange(known, wanted, Relaxed, Relaxed);
        }
    }

    /// The mapping whether anybody listens or not.
    #[cfg(test)]
    pub(crate) fn attach(base: u64) -> Self {
        LEAKLINE_LINK.base.store(base, Relaxed);
        Self { base }
    }

    /// A mapping that the hooks do not use.
    #[cfg(test)]
    pub(crate) fn apart(base: u64) -> Self {
        Self { base }
    }

    #[inline]
    pub(crate) fn control(self) -> &'static Control {
        self.at(regions::CONTROL.at)
    }

    /// What lies at an offset of the file. Only for types made of atomics, for which every content is a value.
    #[inline]
    pub(crate) fn at<T: Plain>(self, offset: u64) -> &'static T {
        let pointer = core::ptr::with_exposed_provenance::<T>((self.base + offset) as usize);
        // SAFETY: the loader mapped the whole file at `base` before it filled in the link; callers stay within regions.
        unsafe { &*pointer }
    }

    /// `len` entries from an offset of the file on.
    #[inline]
    pub(crate) fn slice<T: Plain>(self, offset: u64, len: usize) -> &'static [T] {
        let pointer = core::ptr::with_exposed_provenance::<T>((self.base + offset) as usize);
        // SAFETY: as in `at`; callers bound `len` by the region.
        unsafe { core::slice::from_raw_parts(pointer, len) }
    }
}

/// Types made of atomics only, for which every bit pattern is a value and other writers are expected.
pub(crate) trait Plain {}

impl Plain for AtomicU8 {}
impl Plain for AtomicU32 {}
impl Plain for AtomicU64 {}
impl Plain for Control {}
impl Plain for Record {}
impl Plain for wire::Event {}
impl Plain for crate::table::Line {}
impl Plain for wire::FurtherBucket {}
impl Plain for wire::SampledCounters {}
impl Plain for wire::SiteCounters {}
impl Plain for wire::StackRecord {}
impl Plain for ModuleCell {}

/// A [`wire::Module`] that leakline may rewrite while it is read.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct ModuleCell {
    pub(crate) start: AtomicU64,
    pub(crate) end: AtomicU64,
    pub(crate) base: AtomicU64,
    pub(crate) starts: AtomicU32,
    pub(crate) rows: AtomicU32,
}

const _: () = assert!(size_of::<ModuleCell>() == size_of::<wire::Module>(), "both sides read the same modules");

/// Adds to a figure that only this thread writes; gives the sum.
#[inline]
pub(crate) fn add(figure: &AtomicU64, amount: u64) -> u64 {
    let sum = figure.load(Relaxed).wrapping_add(amount);
    figure.store(sum, Relaxed);
    sum
}
