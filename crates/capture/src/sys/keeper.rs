//! The thread by which the kernel tells the agent that leakline died, and which keeps its clock.
//!
//! Owns: the mapped control page, and the robust list that names its state word.
//! Must not know: what the agent does when the word changes.
//!
//! When a thread ends, however it ends, the kernel walks its robust list and clears the thread number from every futex in
//! it (`set_robust_list(2)`). The state word of the shared file is such a futex: after SIGKILL of leakline the hooks see it
//! change without anybody's help. The list itself also lies in the shared file, since the out-of-memory killer empties
//! private memory before threads end.

#![expect(unsafe_code, reason = "maps the control page and hands the kernel addresses in it")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use wire::{Control, Robust, regions};

/// How often the agent's clock is set: the greatest error of an age. A thousandth of a core.
const CLOCK_EVERY: Duration = model::Lifetimes::RESOLUTION;
const MAPPED: usize = regions::ROBUST.end() as usize;

/// The first pages of the shared file, mapped here too.
#[derive(Debug)]
pub(crate) struct ControlPage {
    address: NonNull<u8>,
}

// SAFETY: the pages hold atomics only, and stay mapped until the last user dropped the value.
unsafe impl Send for ControlPage {}
// SAFETY: as above.
unsafe impl Sync for ControlPage {}

impl ControlPage {
    /// Maps the first pages of the file.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that is there.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), MAPPED, protection, flags, file.as_raw_fd(), 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(address.cast()).map(|address| Self { address }).ok_or_else(|| io::ErrorKind::Other.into())
    }

    pub(crate) fn control(&self) -> &Control {
        // SAFETY: the page is mapped as long as `self` lives and holds atomics, for which every content is a value.
        unsafe { self.address.cast::<Control>().as_ref() }
    }

    fn robust(&self) -> &Robust {
        // SAFETY: the region lies within what was mapped.
        let at = unsafe { self.address.add(regions::ROBUST.at as usize) };
        // SAFETY: as for `control`; regions start on page boundaries.
        unsafe { at.cast::<Robust>().as_ref() }
    }
}

impl Drop for ControlPage {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `map` and nobody refers to it any more.
        unsafe { libc::munmap(self.address.as_ptr().cast(), MAPPED) };
    }
}

/// While it lives, hooks record; when it or this process ends, they pass calls through.
#[derive(Debug)]
pub(crate) struct Keeper {
    page: std::sync::Arc<ControlPage>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    tid: u32,
}

impl Keeper {
    /// Starts the thread; the hooks stay dormant until [`Self::listen`].
    pub(crate) fn start(page: std::sync::Arc<ControlPage>) -> io::Result<Self> {
        let (ready, started) = channel();
        let (stop, stopped) = channel::<()>();
        let kept = page.clone();
        let thread = std::thread::Builder::new().name("keeper".into()).stack_size(64 * 1024).spawn(move || {
            let _ = ready.send(register(&kept));
            keep_clock(&kept, &stopped);
            kept.control().state.store(0, Release);
            // Before the page is unmapped, the kernel must forget the list in it.
            let _ = set_robust_list(0);
        })?;
        let tid = started.recv().map_err(|_| io::Error::from(io::ErrorKind::Other))??;
        Ok(Self { page, stop: Some(stop), thread: Some(thread), tid })
    }

    /// Hooks record from here on.
    pub(crate) fn listen(&self) {
        assert!(self.tid & !wire::STATE_TID_MASK == 0, "thread numbers have 30 bits at most");
        self.page.control().state.store(self.tid, Release);
    }

    /// Hooks pass calls through from here on.
    pub(crate) fn silence(&self) {
        self.page.control().state.store(0, Release);
    }

    /// Whether the hooks record.
    pub(crate) fn is_listening(&self) -> bool {
        self.page.control().state.load(Acquire) == self.tid
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Keeps the agent's clock until the keeper is dropped.
fn keep_clock(page: &ControlPage, stopped: &Receiver<()>) {
    // The sender never sends: it is dropped.
    while stopped.recv_timeout(CLOCK_EVERY) == Err(RecvTimeoutError::Timeout) {
        page.control().next_turn();
    }
}

/// Writes the list into the page and names it to the kernel; gives the calling thread's number.
fn register(page: &ControlPage) -> io::Result<u32> {
    let robust = page.robust();
    let state = std::ptr::from_ref(&page.control().state) as u64;
    let head = std::ptr::from_ref(robust) as u64;
    let entry = std::ptr::from_ref(&robust.entry) as u64;
    robust.entry.store(head, Relaxed);
    robust.futex_offset.store(state.wrapping_sub(entry), Relaxed);
    robust.pending.store(0, Relaxed);
    robust.head.store(entry, Relaxed);
    set_robust_list(head as usize)?;
    // SAFETY: the call has no arguments and cannot fail.
    Ok(unsafe { libc::gettid() } as u32)
}

fn set_robust_list(head: usize) -> io::Result<()> {
    /// `sizeof(struct robust_list_head)`; the kernel takes no other.
    const HEAD_BYTES: usize = 24;
    // SAFETY: the kernel only reads the list, when this thread ends; until then it is mapped or was replaced by null.
    let result = unsafe { libc::syscall(libc::SYS_set_robust_list, head, HEAD_BYTES) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
