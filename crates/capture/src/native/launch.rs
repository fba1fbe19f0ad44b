//! Starting a program so that it is hooked before any of its own instructions runs.
//!
//! Owns: the way from `exec` to the place where everything is mapped and no constructor has run, and waiting there.
//! Must not know: what is done while the program waits.
//!
//! The allocator of a dynamic program is only there once the dynamic linker has mapped and relocated it. Linkers tell debuggers
//! by calling an empty function; a breakpoint there, and one at the program's own entry for linkers that run no constructors
//! before it (musl) and for static programs, stop it. So far, some milliseconds, the program is traced and dies with leakline.
//!
//! Then it is let go in a system call that waits for leakline to die, with a frame on its stack that brings it back: the ordinary
//! attach finds a thread that sleeps, and if leakline does die now, the program goes on by itself.

use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use formats::maps::{self, Mapping};
use model::Pid;
use stacks::module::{symbols, variable};

use super::arch::{self, Call};
use super::code::open_file;
use super::error::LaunchError;
use super::load::gadgets;
use super::remote::{Gadgets, put_frame};
use super::target::Target;
use super::threads::tracing;
use crate::fault;
use crate::sys::ptrace::{Registers, Stop, Tracee, is_refused};
use crate::sys::start;

/// How long the dynamic linker may take; programs with thousands of libraries on a busy network file system need seconds.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long a program sleeps that cannot see leakline (from another pid namespace, or with a kernel before 5.3).
const PARKED_SECONDS: u64 = 10;
/// `POLLIN` for a `struct pollfd`: its second half.
const READABLE: u64 = (libc::POLLIN as u64) << 32;
const FOR_EVER: u64 = u32::MAX as u64;
/// Below the frame, where the time to sleep is written.
const SCRATCH_BYTES: u64 = 256;
const AT_BASE: u64 = 7;
const AT_ENTRY: u64 = 9;
/// `r_state` in `struct r_debug`, and its value when all libraries are there.
const STATE_AT: u64 = 24;
const CONSISTENT: [u8; 4] = [0; 4];
/// Signals that would stop the program in the middle of its start; they are delivered at the end of it.
const STOPS: [i32; 4] = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// A program that was started.
#[derive(Debug)]
pub struct Program {
    pid: Pid,
    parked: Option<Parked>,
}

/// A thread that sleeps at the first instruction of its program.
#[derive(Debug)]
pub(crate) struct Parked {
    pid: Pid,
    registers: Registers,
    gadgets: Gadgets,
    /// Where calls return to.
    stack: u64,
    /// By which it would notice that leakline dies.
    descriptor: Option<u64>,
}

impl Program {
    /// Starts a program; it waits before its first own instruction until [`Self::release`].
    pub fn start(words: &[OsString]) -> Result<Self, LaunchError> {
        let (name, arguments) = words.split_first().ok_or(LaunchError::Empty)?;
        let file = find(name, std::env::var_os("PATH").as_deref())?;
        refuse_privileged(&file)?;
        #[expect(clippy::disallowed_methods, reason = "this is where children are started")]
        let mut command = Command::new(name);
        command.args(arguments);
        let failed = |error: io::Error| LaunchError::Failed { name: shown(name), found: error.to_string() };
        // The thread that starts the child is the one that traces it.
        let started = tracing(|| {
            let child = match start::traced(&mut command) {
                Ok(child) => child,
                Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) && is_refused() => {
                    let known = Some(crate::doctor::why_filtered());
                    return Ok(Err(LaunchError::Forbidden { name: shown(name), known }));
                }
                Err(error) => return Ok(Err(LaunchError::of(shown(name), &error))),
            };
            let tracee = Tracee::child(child.id());
            let parked = match tracee.wait(START_LIMIT)? {
                Stop::Gone => None,
                Stop::Interrupted | Stop::Halted | Stop::Syscall | Stop::Signal(_) | Stop::Event => {
                    tracee.hold().and_then(|()| park(Pid(child.id()), tracee))?
                }
            };
            Ok(Ok(Self { pid: Pid(child.id()), parked }))
        });
        started.map_err(failed)?
    }

    /// A process that somebody else started and that already runs: it can be gone along with when it executes another program.
    pub const fn adopt(pid: Pid) -> Self {
        Self { pid, parked: None }
    }

    /// Its process.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it waits for [`Self::release`]; otherwise it ended before its first own instruction.
    pub const fn is_waiting(&self) -> bool {
        self.parked.is_some()
    }

    /// Lets it go on.
    pub fn release(&mut self) {
        if let Some(parked) = self.parked.take() {
            // What fails here goes on by itself after some seconds.
            let _ = tracing(|| parked.release());
        }
    }

    /// Ends it before it has begun.
    pub fn cancel(&mut self) {
        self.parked = None;
        crate::sys::process::kill(self.pid.0);
    }

    /// How it ended, if it has; of a process that is no child of ours that is never known.
    pub fn ended(&self) -> Option<ExitStatus> {
        start::ended(self.pid.0).ok().flatten()
    }

    /// Takes the place of the program that it was: it executed another one, which now waits.
    pub(crate) fn becomes(&mut self, parked: Option<Parked>) {
        self.parked = parked;
    }
}

impl Drop for Program {
    /// Nobody wants to hook it any more: it must not wait for that.
    fn drop(&mut self) {
        self.release();
    }
}

impl Parked {
    fn release(&self) -> io::Result<()> {
        let tracee = Tracee::seize(self.pid.0)?;
        tracee.interrupt()?;
        loop {
            match tracee.wait(STOP_LIMIT)? {
                Stop::Interrupted | Stop::Halted => break,
                Stop::Signal(signal) => tracee.resume(signal)?,
                Stop::Syscall | Stop::Event => tracee.resume(0)?,
                Stop::Gone => return Ok(()),
            }
        }
        let now = arch::instruction(&tracee.registers()?);
        let gadget = self.gadgets.syscall_return;
        let mut held = 0;
        // Otherwise it has gone on by itself: it was stopped for too long.
        if (gadget..gadget + arch::SYSCALL_RETURN.len() as u64).contains(&now) {
            if let Some(descriptor) = self.descriptor {
                let arguments = [descriptor, 0, 0, 0, 0, 0];
                // What cannot be closed stays open, and is closed when it executes another program.
                let _ = self.call(tracee, Call { number: libc::SYS_close, arguments }, &mut held);
            }
            tracee.set_registers(&self.registers)?;
        }
        tracee.let_go(held)
    }

    /// Makes one system call in the stopped thread; keeps a signal that comes meanwhile.
    fn call(&self, tracee: Tracee, call: Call, held: &mut i32) -> io::Result<u64> {
        let mut registers = self.registers;
        arch::set_call(&mut registers, self.gadgets.syscall_return, self.stack, call);
        tracee.set_registers(&registers)?;
        let mut stops = 0;
        while stops < 2 {
            tracee.run_to_syscall(0)?;
            match tracee.wait(STOP_LIMIT)? {
                Stop::Syscall => stops += 1,
                Stop::Signal(signal) => *held = signal,
                Stop::Interrupted | Stop::Halted | Stop::Event => {}
                Stop::Gone => return Err(io::Error::from_raw_os_error(libc::ESRCH)),
            }
        }
        arch::result(&tracee.registers()?)
    }

    /// Lets the thread go into its sleep.
    fn sleep(&mut self, target: &Target, tracee: Tracee, scratch: u64, mut held: i32) -> io::Result<()> {
        let watch = Call { number: libc::SYS_pidfd_open, arguments: [u64::from(std::process::id()), 0, 0, 0, 0, 0] };
        self.descriptor = self.call(tracee, watch, &mut held).ok();
        let (words, call) = if let Some(descriptor) = self.descriptor {
            let arguments = [scratch, 1, FOR_EVER, 0, 0, 0];
            ([descriptor | READABLE, 0], Call { number: libc::SYS_poll, arguments })
        } else {
            let arguments = [libc::CLOCK_MONOTONIC as u64, 0, scratch, 0, 0, 0];
            ([PARKED_SECONDS, 0], Call { number: libc::SYS_clock_nanosleep, arguments })
        };
        target.write(scratch, &words.map(u64::to_le_bytes).concat())?;
        let mut sleeping = self.registers;
        arch::set_call(&mut sleeping, self.gadgets.syscall_return, self.stack, call);
        tracee.set_registers(&sleeping)?;
        tracee.let_go(held)
    }
}

/// Brings a program that has just been executed to its first own instruction and lets it go there, asleep. None if it ended.
pub(crate) fn park(pid: Pid, tracee: Tracee) -> io::Result<Option<Parked>> {
    let target = Target::open_held(pid).map_err(|error| io::Error::other(error.to_string()))?;
    let Some((registers, held)) = run_to_start(&target, tracee)? else { return Ok(None) };
    fault::point("program-held");
    let text = target.maps().map_err(|error| io::Error::other(error.to_string()))?;
    let mappings: Vec<Mapping<'_>> = maps::parse(&text).collect();
    let gadgets = gadgets(&target, &mappings)
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "its code has no instructions for system calls"))?;
    // A program begins on the stack that the kernel made for it.
    let is_stack = |_: &Registers, room: &Range<u64>| {
        let stack = mappings.iter().find(|mapping| mapping.name == b"[stack]");
        stack.is_some_and(|stack| stack.addresses.start <= room.start && room.end <= stack.addresses.end)
    };
    let (frame_at, _) = put_frame(&target, tracee, &registers, tracee.signal_mask()?, gadgets, is_stack)?;
    let stack = frame_at - gadgets.chain().1.len() as u64;
    let mut parked = Parked { pid, registers, gadgets, stack, descriptor: None };
    parked.sleep(&target, tracee, frame_at - SCRATCH_BYTES, held)?;
    fault::point("program-parked");
    Ok(Some(parked))
}

/// The registers at the place, and a signal that came on the way; none if the program ended before.
fn run_to_start(target: &Target, tracee: Tracee) -> io::Result<Option<(Registers, i32)>> {
    let places = Places::of(target)?;
    let breakpoints = Breakpoints::put(target, places.all())?;
    fault::point("breakpoints-put");
    let (mut held, mut signal) = (0, 0);
    loop {
        tracee.resume(signal)?;
        signal = 0;
        match tracee.wait(START_LIMIT)? {
            Stop::Gone => return Ok(None),
            Stop::Signal(libc::SIGTRAP) => {}
            Stop::Signal(other) if STOPS.contains(&other) => {
                held = other;
                continue;
            }
            Stop::Signal(other) => {
                signal = other;
                continue;
            }
            Stop::Interrupted | Stop::Halted | Stop::Syscall | Stop::Event => continue,
        }
        let mut registers = tracee.registers()?;
        let at = arch::instruction(&registers).wrapping_sub(1);
        if !breakpoints.contains(at) {
            signal = libc::SIGTRAP;
            continue;
        }
        arch::set_instruction(&mut registers, at);
        tracee.set_registers(&registers)?;
        if places.is_start(target, at)? {
            breakpoints.remove()?;
            return Ok(Some((registers, held)));
        }
        signal = breakpoints.pass(tracee, at)?;
    }
}

/// Where a program may be stopped.
#[derive(Debug)]
struct Places {
    entry: u64,
    /// The empty function that the dynamic linker calls, and the word that says why.
    linker: Option<(u64, u64)>,
}

impl Places {
    fn of(target: &Target) -> io::Result<Self> {
        let value = auxiliary(target)?;
        let entry = value(AT_ENTRY).ok_or_else(|| io::Error::other("the kernel does not tell where it begins"))?;
        let linker = value(AT_BASE).filter(|base| *base != 0).and_then(|base| linker(target, base));
        Ok(Self { entry, linker })
    }

    fn all(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.entry).chain(self.linker.map(|(function, _)| function))
    }

    fn is_start(&self, target: &Target, at: u64) -> io::Result<bool> {
        match self.linker {
            Some((function, state)) if at == function => Ok(target.read_exactly(state, 4)? == CONSISTENT),
            _ => Ok(true),
        }
    }
}

/// The word in which the dynamic linker says what it is about, where it has one.
pub(crate) fn linker_state(target: &Target) -> Option<u64> {
    let base = auxiliary(target).ok()?(AT_BASE).filter(|base| *base != 0)?;
    linker(target, base).map(|(_, state)| state)
}

/// Whether the linker is in the middle of mapping or unmapping something, by that word.
pub(crate) fn is_linking(target: &Target, state: u64) -> bool {
    target.read_exactly(state, CONSISTENT.len()).is_ok_and(|state| state != CONSISTENT)
}

/// What the kernel told the program at its start, by key.
fn auxiliary(target: &Target) -> io::Result<impl Fn(u64) -> Option<u64>> {
    let bytes = std::fs::read(target.path("auxv"))?;
    let words: Vec<u64> =
        bytes.chunks_exact(8).filter_map(|word| word.try_into().ok()).map(u64::from_le_bytes).collect();
    Ok(move |key: u64| words.chunks_exact(2).find(|pair| pair[0] == key).map(|pair| pair[1]))
}

/// The function and the word of a dynamic linker that is loaded at `base`, where it has both.
fn linker(target: &Target, base: u64) -> Option<(u64, u64)> {
    let text = target.maps().ok()?;
    let mapping = maps::parse(&text).find(|mapping| mapping.addresses.start == base)?;
    let file = open_file(target, &mapping).ok()?;
    let function = symbols(&file, &["_dl_debug_state"]).ok()?.first()?.vaddr;
    let state = variable(&file, "_r_debug")? + STATE_AT;
    Some((base.checked_add(function)?, base.checked_add(state)?))
}

/// Breakpoints in a program that is held.
#[derive(Debug)]
struct Breakpoints<'a> {
    target: &'a Target,
    before: Vec<(u64, Vec<u8>)>,
}

const BREAKPOINT: &[u8] = &[0xcc];

impl<'a> Breakpoints<'a> {
    fn put(target: &'a Target, places: impl Iterator<Item = u64>) -> io::Result<Self> {
        let mut breakpoints = Self { target, before: Vec::new() };
        for at in places {
            breakpoints.before.push((at, target.read_exactly(at, BREAKPOINT.len())?));
            target.write(at, BREAKPOINT)?;
        }
        Ok(breakpoints)
    }

    fn contains(&self, at: u64) -> bool {
        self.before.iter().any(|(place, _)| *place == at)
    }

    /// Executes the instruction that stood at a breakpoint. A signal that came instead is given back; the breakpoint is then met
    /// once more.
    fn pass(&self, tracee: Tracee, at: u64) -> io::Result<i32> {
        let Some((_, before)) = self.before.iter().find(|(place, _)| *place == at) else { return Ok(0) };
        self.target.write(at, before)?;
        tracee.step()?;
        let stop = tracee.wait(STOP_LIMIT)?;
        self.target.write(at, BREAKPOINT)?;
        Ok(match stop {
            Stop::Signal(libc::SIGTRAP)
            | Stop::Interrupted
            | Stop::Halted
            | Stop::Syscall
            | Stop::Event
            | Stop::Gone => 0,
            Stop::Signal(signal) => signal,
        })
    }

    fn remove(&self) -> io::Result<()> {
        self.before.iter().try_for_each(|(at, before)| self.target.write(*at, before))
    }
}

/// The file that a name means, as `execvp` finds it.
pub(crate) fn find(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, LaunchError> {
    let is_file = |file: &Path| file.metadata().is_ok_and(|data| data.is_file());
    let is_executable =
        |file: &Path| file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0);
    let candidates: Vec<PathBuf> = if name.as_encoded_bytes().contains(&b'/') {
        vec![PathBuf::from(name)]
    } else {
        let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
        std::env::split_paths(path).map(|folder| folder.join(name)).collect()
    };
    if let Some(file) = candidates.iter().find(|file| is_executable(file)) {
        return Ok(file.clone());
    }
    match candidates.iter().find(|file| is_file(file) || file.is_dir()) {
        Some(file) => Err(LaunchError::NotExecutable { name: shown(file.as_os_str()), folder: file.is_dir() }),
        None => Err(LaunchError::NotFound { name: shown(name) }),
    }
}

/// A traced program does not get the rights of its file, so that it would not do what it does otherwise.
fn refuse_privileged(file: &Path) -> Result<(), LaunchError> {
    if is_privileged(file) { Err(LaunchError::Privileged { name: shown(file.as_os_str()) }) } else { Ok(()) }
}

/// Whether executing a file changes the rights of the process, and tracing would prevent it.
pub(crate) fn is_privileged(file: &Path) -> bool {
    const SET_USER: u32 = 0o4000;
    const SET_GROUP: u32 = 0o2000;
    let user = start::user();
    let Ok(data) = file.metadata() else { return false };
    let changes = data.mode() & SET_USER != 0 && data.uid() != user || data.mode() & SET_GROUP != 0;
    user != 0 && (changes || start::has_capabilities(file))
}

fn shown(name: &OsStr) -> String {
    model::escaped(name.as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, path: Option<&str>, expected: &str) {
        let found = find(OsStr::new(name), path.map(OsStr::new));
        let text = match found {
            Ok(file) => file.display().to_string(),
            Err(error) => format!("{}: {error}", error.exit_code()),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn commands_are_found_as_a_shell_finds_them() {
        check("sh", Some("/nowhere:/bin"), "/bin/sh");
        check("sh", None, "/bin/sh");
        check("/bin/sh", Some(""), "/bin/sh");
        check("no-such-command", Some("/bin:/usr/bin"), "127: no-such-command: command not found");
        check("/no/such/file", None, "127: /no/such/file: command not found");
        check("/etc/passwd", None, "126: /etc/passwd cannot be executed");
        check("/etc", None, "126: /etc is a folder, not a program");
        check("passwd", Some("/etc"), "126: /etc/passwd cannot be executed");
        check("a\u{1b}[31m", None, "127: a\\x1b[31m: command not found");
    }

    #[test]
    fn what_a_failed_exec_means() {
        let of = |number| LaunchError::of("x".into(), &io::Error::from_raw_os_error(number)).exit_code();
        assert_eq!(
            [libc::ENOENT, libc::EACCES, libc::ENOEXEC, libc::EPERM, libc::ENOMEM].map(of),
            [127, 126, 126, 2, 2]
        );
        assert!(matches!(Program::start(&[]), Err(LaunchError::Empty)));
    }
}
