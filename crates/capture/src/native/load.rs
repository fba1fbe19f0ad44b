//! Bringing the agent into the target: memory for it, the shared file, and its bytes.
//!
//! Owns: every mapping that is made in the target, and taking them away again. Must not know: which functions are hooked.

use std::fs::{File, OpenOptions};
use std::io;
use std::time::Duration;

use formats::maps::Mapping;

use super::arch;
use super::remote::{Gadgets, Remote};
use super::target::Target;

/// Name of the shared memory, as `/proc/PID/maps` shows it.
pub(crate) const FILE_NAME: &[u8] = b"leakline\0";
/// The same, as it stands in maps.
pub(crate) const MAPPED_NAME: &[u8] = b"/memfd:leakline";

const PAGE: u64 = 4096;
const READ_EXECUTE: u64 = (libc::PROT_READ | libc::PROT_EXEC) as u64;
const READ_WRITE: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
const PRIVATE: u64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
const NO_FILE: u64 = u64::MAX;

/// What to make room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Where the code goes; the range is free.
    pub(crate) code_at: u64,
    pub(crate) code_len: u64,
    /// Offset of the page that is private to the process and wiped in its children.
    pub(crate) link_page: u64,
    /// Length of the shared file.
    pub(crate) shared_len: u64,
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
    let (mut syscall_return, mut restorer) = (None, None);
    let code = mappings.iter().filter(|mapping| mapping.permissions.execute && mapping.addresses.end < 1 << 47);
    // The C library comes late among the mappings, and has both.
    for mapping in code.collect::<Vec<_>>().into_iter().rev() {
        let mut bytes = vec![0; mapping.size().min(CODE_MAX) as usize];
        let Ok(read) = target.read(mapping.addresses.start, &mut bytes) else { continue };
        let find = |pattern: &[u8]| {
            let at = bytes.get(..read)?.windows(pattern.len()).position(|window| window == pattern)?;
            Some(mapping.addresses.start + at as u64)
        };
        syscall_return = syscall_return.or_else(|| find(arch::SYSCALL_RETURN));
        restorer = restorer.or_else(|| find(arch::RESTORER));
        if let (Some(syscall_return), Some(restorer)) = (syscall_return, restorer) {
            return Some(Gadgets { syscall_return, restorer });
        }
    }
    None
}

/// Stops one thread, the first that can be used, to make calls in.
pub(crate) fn some_thread<'a>(
    target: &'a Target,
    gadgets: Gadgets,
    mappings: &[Mapping<'_>],
) -> io::Result<Remote<'a>> {
    let is_stack = |from: u64, to: u64| {
        let holds = |mapping: &&Mapping<'_>| mapping.addresses.start <= from && to <= mapping.addresses.end;
        mappings.iter().find(holds).is_some_and(|mapping| mapping.permissions.write && !mapping.permissions.shared)
    };
    let mut error = io::Error::new(io::ErrorKind::NotFound, "it has no threads");
    for tid in target.threads()? {
        match Remote::start(target, tid, gadgets, is_stack) {
            Ok(remote) => return Ok(remote),
            Err(other) => error = other,
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

/// Takes mappings away, given as address and length.
pub(crate) fn unload(mut remote: Remote<'_>, mappings: &[(u64, u64)]) -> io::Result<Duration> {
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
        let Wanted { code_at, code_len, link_page, shared_len } = wanted;
        let locked = locked_memory(remote.target());
        let flags = PRIVATE | libc::MAP_FIXED_NOREPLACE as u64;
        self.map(remote, [code_at, code_len, READ_EXECUTE, flags, NO_FILE, 0])?;
        if locked_memory(remote.target()) > locked {
            // Sparse memory that is locked would be filled: hundreds of GiB.
            return Err(io::Error::new(io::ErrorKind::Unsupported, "it locks all its future memory (mlockall)"));
        }
        let flags = PRIVATE | libc::MAP_FIXED as u64;
        remote.call(libc::SYS_mmap, [code_at + link_page, PAGE, READ_WRITE, flags, NO_FILE, 0])?;
        advise(remote, code_at + link_page, PAGE, libc::MADV_WIPEONFORK)?;
        refuse_disabled_clock(remote, code_at + link_page)?;
        let file = self.file(remote, code_at + link_page)?;
        file.set_len(shared_len)?;
        let descriptor = self.file.unwrap_or(NO_FILE);
        let flags = (libc::MAP_SHARED | libc::MAP_NORESERVE) as u64;
        let shared_at = self.map(remote, [0, shared_len, READ_WRITE, flags, descriptor, 0])?;
        advise(remote, shared_at, shared_len, libc::MADV_DONTFORK)?;
        advise(remote, shared_at, shared_len, libc::MADV_DONTDUMP)?;
        remote.call(libc::SYS_close, [descriptor, 0, 0, 0, 0, 0])?;
        self.file = None;
        Ok((shared_at, file))
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

    /// Makes the shared memory in the target and opens it here; `scratch` is memory of the target that may be written.
    fn file(&mut self, remote: &mut Remote<'_>, scratch: u64) -> io::Result<File> {
        remote.target().write(scratch, FILE_NAME)?;
        let flags = u64::from(libc::MFD_CLOEXEC);
        let descriptor = remote.call(libc::SYS_memfd_create, [scratch, flags, 0, 0, 0, 0])?;
        self.file = Some(descriptor);
        remote.target().write(scratch, &[0; FILE_NAME.len()])?;
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

/// A program may forbid itself to read the time stamp counter (`PR_SET_TSC`); the agent would then end it.
fn refuse_disabled_clock(remote: &mut Remote<'_>, scratch: u64) -> io::Result<()> {
    remote.call(libc::SYS_prctl, [libc::PR_GET_TSC as u64, scratch, 0, 0, 0, 0])?;
    let mode = remote.target().read_exactly(scratch, 4)?;
    remote.target().write(scratch, &[0; 4])?;
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
