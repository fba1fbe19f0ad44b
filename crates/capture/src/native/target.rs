//! The process to attach to, as it is before anything is changed.
//!
//! Owns: its identity, its memory through `/proc/PID/mem`, and the reasons to leave it alone.
//! Must not know: hooks, the agent.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use model::{Bytes, Pid, ProcessKey};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::AttachError;
use crate::sys::ptrace::is_refused;

const ELF_HEADER: usize = 20;
const ELF_64: u8 = 2;
const MACHINE_X86_64: u16 = 62;

/// An x86-64 process that can be attached to.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) key: ProcessKey,
    /// A signal such as SIGSTOP had stopped it before we came: a thread of it that was let go of seems to run for an instant.
    pub(crate) halted: bool,
    /// `/proc/PID/mem`, which stays with the program that ran when it was opened: after `exec` it reads nothing.
    memory: File,
}

/// How long to wait for another leakline that is about to attach, and how often to ask.
const CLAIM_WAIT: Duration = Duration::from_secs(5);
const CLAIM_PAUSE: Duration = Duration::from_millis(5);

/// While this lives, no other leakline changes the target. The kernel ends it with leakline.
#[derive(Debug)]
pub(crate) struct Claim(File);

impl Drop for Claim {
    fn drop(&mut self) {
        // Held on as long as the target's memory stays open, it would keep `leakline detach` away.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Target {
    /// Opens a process, or says why it cannot be attached to.
    pub(crate) fn open(pid: Pid) -> Result<Self, AttachError> {
        if pid.0 == std::process::id() {
            return Err(AttachError::Itself(pid));
        }
        if started(pid).is_some() {
            refuse_state(pid)?;
        }
        Self::open_held(pid)
    }

    /// Opens a process that one of our threads traces.
    pub(crate) fn open_held(pid: Pid) -> Result<Self, AttachError> {
        let started = started(pid).ok_or_else(|| not_seen(pid))?;
        refuse_architecture(pid)?;
        let memory = OpenOptions::new().read(true).write(true).open(path(pid, "mem"));
        let memory = memory.map_err(|error| forbidden_or_gone(pid, &error))?;
        Ok(Self { key: ProcessKey { pid, started }, halted: state(pid) == Some('T'), memory })
    }

    /// The right to change the process, which only one leakline has at a time: between its first mapping and the moment in which it
    /// listens, another one would take what it finds for remains. Waits a little for one that is about to attach.
    pub(crate) fn claim(&self) -> Result<Claim, AttachError> {
        let until = Instant::now() + CLAIM_WAIT;
        let file = self.memory.try_clone().map_err(|error| self.failed("open its memory once more", &error))?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if Instant::now() < until => sleep(CLAIM_PAUSE),
                Err(Errno::WOULDBLOCK) => return Err(AttachError::Watched { pid: self.pid(), by: None }),
                // A kernel that has no such locks for these files lets both in.
                Ok(()) | Err(_) => return Ok(Claim(file)),
            }
        }
    }

    /// The same process, for another thread.
    pub(crate) fn again(&self) -> io::Result<Self> {
        Ok(Self { key: self.key, halted: self.halted, memory: self.memory.try_clone()? })
    }

    pub(crate) fn pid(&self) -> Pid {
        self.key.pid
    }

    /// Its process number as it sees it itself, in the innermost namespace.
    pub(crate) fn process_inside(&self) -> u32 {
        let status = fs::read_to_string(self.path("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        line.and_then(|line| line.split_whitespace().next_back()?.parse().ok()).unwrap_or(self.key.pid.0)
    }

    /// Field 47: where the break began; zero, and so none, where that may not be read.
    pub(crate) fn break_start(&self) -> Option<u64> {
        stat(self.pid())?.get(44)?.parse().ok().filter(|start| *start != 0)
    }

    /// A file of the process below `/proc`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        path(self.key.pid, name)
    }

    /// The text of `/proc/PID/maps`.
    pub(crate) fn maps(&self) -> Result<Vec<u8>, AttachError> {
        fs::read(self.path("maps")).map_err(|error| forbidden_or_gone(self.pid(), &error))
    }

    /// The numbers of its threads.
    pub(crate) fn threads(&self) -> io::Result<Vec<u32>> {
        let mut threads = Vec::new();
        for entry in fs::read_dir(self.path("task"))? {
            threads.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(threads)
    }

    /// Whether a thread has ended and is only kept for its parent or its group.
    pub(crate) fn is_ended(&self, tid: u32) -> bool {
        matches!(self.thread_state(tid), None | Some('Z' | 'X'))
    }

    /// The letter of the state of a thread; none where there is no such thread.
    pub(crate) fn thread_state(&self, tid: u32) -> Option<char> {
        let stat = fs::read(self.path(&format!("task/{tid}/stat"))).ok()?;
        let behind = stat.iter().rposition(|byte| *byte == b')')?;
        stat.get(behind + 2).map(|letter| char::from(*letter))
    }

    /// Who else traces a thread.
    pub(crate) fn tracer(&self, tid: u32) -> Option<Pid> {
        tracer(&self.path(&format!("task/{tid}/status")))
    }

    /// Reads memory; fewer bytes than asked for where a mapping ends.
    pub(crate) fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.memory.read_at(buffer, at)
    }

    /// Reads exactly `len` bytes.
    pub(crate) fn read_exactly(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.memory.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Writes memory, whatever its protection. Callers keep what stood there and can put it back.
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.write_all_at(bytes, at)
    }

    /// Private memory, in RAM and in swap; none where the kernel does not say.
    pub(crate) fn private_memory(&self) -> Option<Bytes> {
        let text = fs::read(self.path("status")).ok()?;
        let memory = formats::status::parse(&text).memory;
        memory.private().known()
    }

    /// Why a plan could not be made: of a process that ended meanwhile nothing can be said, except that.
    pub(crate) fn or_vanished(&self, error: AttachError) -> AttachError {
        let is_gone = matches!(self.failed("look", &io::ErrorKind::Other.into()), AttachError::Vanished(_));
        if is_gone { AttachError::Vanished(self.pid()) } else { error }
    }

    /// The error of a step that failed: where the process ended or became another program, that is why.
    pub(crate) fn failed(&self, step: &'static str, error: &io::Error) -> AttachError {
        // No program maps address zero: reading there fails, unless there is no memory at all any more.
        let has_memory = self.read(0, &mut [0]).is_err();
        let is_there = has_memory && self.is_alive() && error.raw_os_error() != Some(libc::ESRCH);
        if is_there && matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) && is_refused() {
            let (reason, remedy) = crate::doctor::why_filtered();
            AttachError::Forbidden { pid: self.pid(), reason, remedy }
        } else if is_there {
            AttachError::Step { pid: self.pid(), step, found: error.to_string() }
        } else {
            AttachError::Vanished(self.pid())
        }
    }

    /// Whether the process still is the one that was opened (it may run another program).
    pub(crate) fn is_alive(&self) -> bool {
        started(self.pid()) == Some(self.key.started)
            && state(self.pid()).is_some_and(|state| state != 'Z' && state != 'X')
    }
}

fn path(pid: Pid, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// The fields of `/proc/PID/stat` behind the command's name, which may itself hold spaces and parentheses.
fn stat(pid: Pid) -> Option<Vec<String>> {
    let text = fs::read(path(pid, "stat")).ok()?;
    let behind = text.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = String::from_utf8_lossy(text.get(behind..)?);
    Some(fields.split_ascii_whitespace().map(str::to_owned).collect())
}

/// Field 22: start time in clock ticks since boot.
fn started(pid: Pid) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

fn state(pid: Pid) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

/// Field 9: `PF_KTHREAD` marks threads of the kernel.
fn is_kernel_thread(pid: Pid) -> bool {
    const KERNEL_THREAD: u64 = 0x0020_0000;
    let flags = stat(pid).and_then(|fields| fields.get(6)?.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & KERNEL_THREAD != 0)
}

fn refuse_state(pid: Pid) -> Result<(), AttachError> {
    if is_kernel_thread(pid) {
        return Err(AttachError::KernelThread(pid));
    }
    match (state(pid), tracer(&path(pid, "status"))) {
        (None, _) => Err(AttachError::NoSuchProcess(pid)),
        (Some('Z' | 'X'), _) => Err(AttachError::Zombie(pid)),
        (_, Some(tracer)) => Err(AttachError::Traced { pid, tracer }),
        _ => Ok(()),
    }
}

/// Who traces the process or thread of this `status`.
fn tracer(status: &Path) -> Option<Pid> {
    let status = fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    line.trim().parse().ok().filter(|tracer| *tracer != 0).map(Pid)
}

fn refuse_architecture(pid: Pid) -> Result<(), AttachError> {
    let mut header = Vec::new();
    let file = File::open(path(pid, "exe")).map_err(|error| forbidden_or_gone(pid, &error))?;
    file.take(ELF_HEADER as u64).read_to_end(&mut header).map_err(|error| forbidden_or_gone(pid, &error))?;
    match architecture(&header) {
        None => Ok(()),
        Some(found) => Err(AttachError::ForeignArchitecture { pid, found }),
    }
}

/// What a program file is, unless it is a 64-bit x86 one.
fn architecture(header: &[u8]) -> Option<String> {
    let (Some(magic), Some(class), Some(machine)) = (header.get(..4), header.get(4), header.get(18..20)) else {
        return Some("a file that is no program".into());
    };
    let machine = u16::from_le_bytes([machine[0], machine[1]]);
    match (magic, *class, machine) {
        (b"\x7fELF", ELF_64, MACHINE_X86_64) => None,
        (b"\x7fELF", 1, machine) => Some(format!("a 32-bit program (ELF machine {machine})")),
        (b"\x7fELF", _, machine) => Some(format!("a program for another processor (ELF machine {machine})")),
        _ => Some("a file that is no program".into()),
    }
}

/// The error of a failed look at `/proc/PID`.
fn forbidden_or_gone(pid: Pid, error: &io::Error) -> AttachError {
    if started(pid).is_none() {
        AttachError::NoSuchProcess(pid)
    } else if state(pid).is_none_or(|state| state == 'Z') {
        AttachError::Zombie(pid)
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        forbidden(pid)
    } else {
        AttachError::Step { pid, step: "read /proc/PID", found: error.to_string() }
    }
}

fn forbidden(pid: Pid) -> AttachError {
    let (reason, remedy) = crate::doctor::why_forbidden(pid);
    AttachError::Forbidden { pid, reason, remedy }
}

/// A process that is not in `/proc`: gone, hidden, or nothing is there at all.
fn not_seen(pid: Pid) -> AttachError {
    if !Path::new("/proc/self/stat").exists() {
        return AttachError::NoProc(pid);
    }
    let number = i32::try_from(pid.0).ok().and_then(rustix::process::Pid::from_raw);
    // Signal 0 asks whether there is such a process, whatever /proc shows of it.
    let is_there = number.map(rustix::process::test_kill_process);
    let is_hidden = matches!(is_there, Some(Ok(()) | Err(rustix::io::Errno::PERM)));
    // It may also have ended or begun just now.
    if is_hidden && started(pid).is_none() { forbidden(pid) } else { AttachError::NoSuchProcess(pid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_files_are_told_apart() {
        let header = |class: u8, machine: u16| {
            let mut header = b"\x7fELF\0\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\0\0".to_vec();
            header[4] = class;
            header[18..20].copy_from_slice(&machine.to_le_bytes());
            header
        };
        assert_eq!(architecture(&header(2, 62)), None);
        assert_eq!(architecture(&header(1, 3)), Some("a 32-bit program (ELF machine 3)".into()));
        assert_eq!(architecture(&header(2, 183)), Some("a program for another processor (ELF machine 183)".into()));
        assert_eq!(architecture(b"#!/bin/sh\nexec something\n"), Some("a file that is no program".into()));
        assert_eq!(architecture(b""), Some("a file that is no program".into()));
    }

    #[test]
    fn processes_that_cannot_be_attached_to_are_named() {
        assert!(matches!(Target::open(Pid(std::process::id())), Err(AttachError::Itself(_))));
        assert!(matches!(Target::open(Pid(0x7fff_fff0)), Err(AttachError::NoSuchProcess(_))));
        // Process 2 is kthreadd, except in a pid namespace of its own.
        if is_kernel_thread(Pid(2)) {
            assert!(matches!(Target::open(Pid(2)), Err(AttachError::KernelThread(_))));
        }
    }
}
