//! Starting a child that the calling thread traces, and learning how it ended.
//!
//! Owns: what runs in the child before the program, and looking at its end. Must not know: why it is started.

#![expect(
    unsafe_code,
    reason = "code between fork and exec, and waits that leave the end of a child to be asked for again"
)]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use std::os::unix::process::ExitStatusExt as _;

/// Starts a program that stops before its first instruction and is traced by the calling thread.
pub(crate) fn traced(command: &mut Command) -> io::Result<Child> {
    let children_ignored = ignores_children()?;
    let prepare = move || {
        if children_ignored {
            set_children(libc::SIG_IGN)?;
        }
        super::signals::give_back()?;
        trace_me()
    };
    // SAFETY: between fork and exec the closure makes system calls only.
    unsafe { command.pre_exec(prepare) };
    if children_ignored {
        // Otherwise the kernel would forget how the child ended.
        set_children(libc::SIG_DFL)?;
    }
    command.spawn()
}

fn trace_me() -> io::Result<()> {
    // SAFETY: the request takes no arguments.
    let result = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How a child ended, if it has; it can be asked again and again.
pub(crate) fn ended(pid: u32) -> io::Result<Option<ExitStatus>> {
    // SAFETY: the structure consists of integers and pointers, for which zero is a value.
    let mut seen: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `seen` outlives the call.
    if unsafe { libc::waitid(libc::P_PID, pid, &raw mut seen, options) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: for these codes, and for none at all, the kernel has filled this part in or left it zero.
    let status = unsafe { seen.si_status() };
    Ok(match seen.si_code {
        libc::CLD_EXITED => Some(ExitStatus::from_raw((status & 0xff) << 8)),
        libc::CLD_KILLED => Some(ExitStatus::from_raw(status & 0x7f)),
        libc::CLD_DUMPED => Some(ExitStatus::from_raw(status & 0x7f | 0x80)),
        // Nothing yet, or a stop while one of our threads traces it.
        _ => None,
    })
}

/// Whether a file gives whoever executes it capabilities.
pub(crate) fn has_capabilities(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: both texts end in zero and outlive the call; with no buffer only the length is asked for.
    let len = unsafe { libc::getxattr(path.as_ptr(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0) };
    len > 0
}

/// The effective user.
pub(crate) fn user() -> u32 {
    // SAFETY: the call has no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

/// Whether a signal is ignored, as a shell that cannot control jobs asks of what it starts in the background.
pub(crate) fn ignores(signal: i32) -> bool {
    handler(signal).is_ok_and(|handler| handler == libc::SIG_IGN)
}

fn ignores_children() -> io::Result<bool> {
    Ok(handler(libc::SIGCHLD)? == libc::SIG_IGN)
}

fn handler(signal: i32) -> io::Result<usize> {
    // SAFETY: the structure consists of integers and pointers, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `action` outlives the call, which changes nothing.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    if result == 0 { Ok(action.sa_sigaction) } else { Err(io::Error::last_os_error()) }
}

fn set_children(handler: usize) -> io::Result<()> {
    // SAFETY: neither of the two handlers that are used here is code.
    let before = unsafe { libc::signal(libc::SIGCHLD, handler) };
    if before == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}
