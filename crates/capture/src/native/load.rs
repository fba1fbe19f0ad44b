//! Bringing the agent into the target: memory for it, the shared file, and its bytes.
//!
//! Owns: every mapping that is made in the target, and taking them away again. Must not know: which functions are hooked.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use formats::maps::{self, Mapping};
use wire::{CODE_AREAS_MORE, Control, MAGIC, VERSION};

use super::arch;
use super::own_stack::{self, Stands};
use super::place::Area;
use super::remote::{ELSEWHERE, Gadgets, Remote, Restorer};
use super::target::Target;
use crate::sys::ptrace::Registers;

/// Name of the shared memory, as `/proc/PID/maps` shows it.
pub(crate) const FILE_NAME: &[u8] = b"leakline\0";
/// The same, as it stands in maps.
pub(crate) const MAPPED_NAME: &[u8] = b"/memfd:leakline";

const PAGE: u64 = 4096;
const READ_EXECUTE: u64 = (libc::PROT_READ | libc::PROT_EXEC) as u64;
const READ_WRITE: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
const PRIVATE: u64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
const NO_FILE: u64 = u64::MAX;
/// How long to wait for a thread that stands on its own stack, and how often to look.
const OWN_STACK_WAIT: Duration = Duration::from_secs(1);
const OWN_STACK_PAUSE: Duration = Duration::from_millis(3);

/// What to make room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Where the code goes; the range is free.
    pub(crate) code_at: u64,
    pub(crate) code_len: u64,
    /// Further ranges for code, near functions that the first does not reach; those of length zero are not there.
    pub(crate) more_code: [Area; CODE_AREAS_MORE],
    /// Offset of the page that is private to the process and wiped in its children.
    pub(crate) link_page: u64,
    /// Where the shared file is mapped; the range is free.
    pub(crate) shared_at: u64,
    /// Length of the shared file.
    pub(crate) shared_len: u64,
}

impl Wanted {
    /// Every range of code.
    pub(crate) fn code(&self) -> Vec<Range<u64>> {
        let first = Area { at: self.code_at, len: self.code_len };
        let areas = std::iter::once(first).chain(self.more_code);
        areas.filter(|area| area.len > 0).map(|area| area.at..area.at + area.len).collect()
    }
}

/// What was mapped.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) shared_at: u64,
    pub(crate) file: File,
    /// How long the thread that made the calls was stopped.
    pub(crate) stopped: Duration,
}

/// Finds the instructions that remote calls need in the target's own code.
pub(crate) fn gadgets(target: &Target, mappings: &[Mapping<'_>]) -> Option<Gadgets> {
    /// Code that is searched per mapping; the C library's is smaller.
    const CODE_MAX: u64 = 4 << 20;
    let (mut syscall_return, mut restorer, mut pop) = (None, None, None);
    let code = mappings.iter().filter(|mapping| mapping.permissions.execute && mapping.addresses.end < 1 << 47);
    // The C library comes late among the mappings, and has both.
    for mapping in code.collect::<Vec<_>>().into_iter().rev() {
        let mut bytes = vec![0; mapping.size().min(CODE_MAX) as usize];
        let Ok(read) = target.read(mapping.addresses.start, &mut bytes) else { continue };
        let find = |pattern: &[u8]| {
            let at = memchr::memmem::find(bytes.get(..read)?, pattern)?;
            Some(mapping.addresses.start + at as u64)
        };
        syscall_return = syscall_return.or_else(|| find(arch::SYSCALL_RETURN));
        restorer = restorer.or_else(|| arch::RESTORERS.iter().find_map(|pattern| find(pattern)));
        pop = pop.or_else(|| find(arch::POP_NUMBER));
        if let (Some(syscall_return), Some(restorer)) = (syscall_return, restorer) {
            return Some(Gadgets { syscall_return, restorer: Restorer::Whole(restorer) });
        }
    }
    Some(Gadgets { syscall_return: syscall_return?, restorer: Restorer::Popped(pop?) })
}

/// Stops one thread, the first that can be used, to make calls in. Threads that stand on stacks of coroutines are waited for.
pub(crate) fn some_thread(target: &Target, gadgets: Gadgets) -> io::Result<Remote<'_>> {
    let until = Instant::now() + OWN_STACK_WAIT;
    loop {
        match try_threads(target, gadgets) {
            Err(error) if error.kind() == ELSEWHERE && Instant::now() < until => std::thread::sleep(OWN_STACK_PAUSE),
            other => return other,
        }
    }
}

fn try_threads(target: &Target, gadgets: Gadgets) -> io::Result<Remote<'_>> {
    let text = target.maps().map_err(|error| io::Error::other(error.to_string()))?;
    let mappings: Vec<_> = maps::parse(&text).collect();
    let mut error = io::Error::new(io::ErrorKind::NotFound, "it has no threads");
    for tid in target.threads()? {
        let is_main = tid == target.pid().0;
        let is_own = |registers: &Registers, room: &Range<u64>| {
            let (stack, thread) = (arch::stack_pointer(registers), arch::thread_pointer(registers));
            own_stack::holds(&mappings, Stands { is_main, stack, thread }, room)
        };
        match Remote::start(target, tid, gadgets, is_own) {
            Ok(remote) => return Ok(remote),
            // That a thread may yet come back to its own stack is worth more than why another one cannot be used.
            Err(other) if error.kind() != ELSEWHERE => error = other,
            Err(_) => {}
        }
    }
    Err(error)
}

/// Makes the mappings. After an error everything is as it was.
pub(crate) fn load(mut remote: Remote<'_>, wanted: Wanted) -> io::Result<Loaded> {
    let mut made = Made::default();
    match made.make(&mut remote, wanted) {
        Ok((shared_at, file)) => Ok(Loaded { shared_at, file, stopped: remote.finish() }),
        Err(error) => {
            made.undo(&mut remote);
            Err(error)
        }
    }
}

/// Takes mappings away, given as address and length, and closes descriptors.
pub(crate) fn unload(mut remote: Remote<'_>, mappings: &[(u64, u64)], files: &[u64]) -> io::Result<Duration> {
    for descriptor in files {
        remote.call(libc::SYS_close, [*descriptor, 0, 0, 0, 0, 0])?;
    }
    for (at, len) in mappings {
        remote.call(libc::SYS_munmap, [*at, *len, 0, 0, 0, 0])?;
    }
    Ok(remote.finish())
}

/// What has to be undone if a later step fails.
#[derive(Debug, Default)]
struct Made {
    mappings: Vec<(u64, u64)>,
    file: Option<u64>,
}

impl Made {
    fn make(&mut self, remote: &mut Remote<'_>, wanted: Wanted) -> io::Result<(u64, File)> {
        let Wanted { code_at, link_page, shared_at, shared_len, .. } = wanted;
        refuse_disabled_clock(remote)?;
        let locked = locked_memory(remote.target());
        let file = self.file(remote)?;
        let descriptor = self.file.unwrap_or(NO_FILE);
        // Mapped short at first: sparse memory that turns out to be locked would be filled, hundreds of GiB of it.
        let flags = (libc::MAP_SHARED | libc::MAP_NORESERVE) as u64;
        file.set_len(PAGE)?;
        self.map(remote, [0, PAGE, READ_WRITE, flags, descriptor, 0])?;
        if locked_memory(remote.target()) > locked {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "it locks all its future memory (mlockall)"));
        }
        self.unmap_last(remote)?;
        file.set_len(shared_len)?;
        let fixed = flags | libc::MAP_FIXED_NOREPLACE as u64;
        let shared_at = self.map(remote, [shared_at, shared_len, READ_WRITE, fixed, descriptor, 0])?;
        advise(remote, shared_at, shared_len, libc::MADV_DONTFORK)?;
        advise(remote, shared_at, shared_len, libc::MADV_DONTDUMP)?;
        // From here on a later leakline finds this mapping, and by it the code, should we be killed.
        note_code(&file, wanted)?;
        remote.call(libc::SYS_close, [descriptor, 0, 0, 0, 0, 0])?;
        self.file = None;
        let flags = PRIVATE | libc::MAP_FIXED_NOREPLACE as u64;
        for code in wanted.code() {
            self.map(remote, [code.start, code.end - code.start, READ_EXECUTE, flags, NO_FILE, 0])?;
        }
        let flags = PRIVATE | libc::MAP_FIXED as u64;
        remote.call(libc::SYS_mmap, [code_at + link_page, PAGE, READ_WRITE, flags, NO_FILE, 0])?;
        advise(remote, code_at + link_page, PAGE, libc::MADV_WIPEONFORK)?;
        Ok((shared_at, file))
    }

    fn unmap_last(&mut self, remote: &mut Remote<'_>) -> io::Result<()> {
        if let Some((at, len)) = self.mappings.pop() {
            remote.call(libc::SYS_munmap, [at, len, 0, 0, 0, 0])?;
        }
        Ok(())
    }

    fn map(&mut self, remote: &mut Remote<'_>, arguments: [u64; 6]) -> io::Result<u64> {
        let [wanted, len, ..] = arguments;
        let at = remote.call(libc::SYS_mmap, arguments)?;
        self.mappings.push((at, len));
        if wanted != 0 && at != wanted {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "the address that was free is no longer"));
        }
        Ok(at)
    }

    /// Makes the shared memory in the target and opens it here.
    fn file(&mut self, remote: &mut Remote<'_>) -> io::Result<File> {
        remote.target().write(remote.scratch(), FILE_NAME)?;
        let arguments = [remote.scratch(), u64::from(libc::MFD_CLOEXEC), 0, 0, 0, 0];
        let descriptor = remote.call(libc::SYS_memfd_create, arguments)?;
        self.file = Some(descriptor);
        OpenOptions::new().read(true).write(true).open(remote.target().path(&format!("fd/{descriptor}")))
    }

    fn undo(&mut self, remote: &mut Remote<'_>) {
        if let Some(descriptor) = self.file.take() {
            let _ = remote.call(libc::SYS_close, [descriptor, 0, 0, 0, 0, 0]);
        }
        for (at, len) in self.mappings.drain(..) {
            let _ = remote.call(libc::SYS_munmap, [at, len, 0, 0, 0, 0]);
        }
    }
}

fn advise(remote: &mut Remote<'_>, at: u64, len: u64, advice: i32) -> io::Result<()> {
    remote.call(libc::SYS_madvise, [at, len, advice as u64, 0, 0, 0]).map(drop)
}

/// Says in the shared file where the code will be.
fn note_code(file: &File, wanted: Wanted) -> io::Result<()> {
    use std::mem::offset_of;
    use std::os::unix::fs::FileExt as _;
    file.write_all_at(&wanted.code_at.to_le_bytes(), offset_of!(Control, code_at) as u64)?;
    file.write_all_at(&wanted.code_len.to_le_bytes(), offset_of!(Control, code_len) as u64)?;
    let more: Vec<u8> =
        wanted.more_code.iter().flat_map(|area| [area.at, area.len]).flat_map(u64::to_le_bytes).collect();
    file.write_all_at(&more, offset_of!(Control, more_code) as u64)?;
    file.write_all_at(&VERSION.to_le_bytes(), offset_of!(Control, version) as u64)?;
    file.write_all_at(&MAGIC.to_le_bytes(), offset_of!(Control, magic) as u64)
}

/// A program may forbid itself to read the time stamp counter (`PR_SET_TSC`); the agent would then end it.
fn refuse_disabled_clock(remote: &mut Remote<'_>) -> io::Result<()> {
    remote.call(libc::SYS_prctl, [libc::PR_GET_TSC as u64, remote.scratch(), 0, 0, 0, 0])?;
    let mode = remote.target().read_exactly(remote.scratch(), 4)?;
    if mode == (libc::PR_TSC_ENABLE as u32).to_le_bytes() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::Unsupported, "it forbids itself to read the time stamp counter (PR_SET_TSC)"))
    }
}

/// `VmLck` in KiB.
fn locked_memory(target: &Target) -> u64 {
    let status = std::fs::read_to_string(target.path("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
}
