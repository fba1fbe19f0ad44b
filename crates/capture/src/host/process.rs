//! One process as it is read from procfs.
//!
//! Owns: its identity, its memory, and the open file that is kept of it. Must not know: which other processes there are.

use std::fs::File;
use std::sync::Arc;

use formats::stat::{self, Stat};
use formats::{cgroup, status};
use model::{Bytes, Identity, MemorySample, Pid, ProcessKey, Reading, Why, escaped};

use super::details::Details;
use super::proc::{Failure, Proc};
use super::users::Users;

/// A process that is watched.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) identity: Arc<Identity>,
    /// What is read of it besides `status`, where that is asked for.
    pub(super) details: Details,
    /// The name as `status` writes it; a change of it is the sign of an `exec`.
    name: Vec<u8>,
    /// `status`, kept open. It belongs to this very process: once it is gone a read fails, even when another process
    /// has got its number, so that no start time needs to be compared.
    status: Option<File>,
    /// Whether it was seen in the middle of an `exec`, which sets the name before the arguments: it is looked at once more.
    unsettled: bool,
    /// Whether a file of it may be kept open.
    keeps: bool,
    /// What its lines said last.
    last: Seen,
}

/// What a process is, before anything is known of it.
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is returned to")]
#[derive(Debug)]
pub(super) enum Found {
    /// A process with memory.
    Process(Process, Seen),
    /// A thread of the kernel.
    KernelThread,
    /// A process that has ended and is not waited for yet.
    Zombie(Zombie),
}

/// A process that has ended and whose parent has not waited for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Zombie {
    pub(super) key: ProcessKey,
    pub(super) command: String,
    pub(super) parent: Reading<Pid>,
}

/// What the lines of `status` say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) memory: MemorySample,
    pub(super) virtual_size: Reading<Bytes>,
    pub(super) state: Reading<u8>,
    pub(super) parent: Reading<u32>,
}

/// What they say about a process that is watched already.
struct Beat {
    seen: Seen,
    /// Name or user are others than before.
    changed: bool,
    ended: bool,
}

/// Reads all about a process that was not known before.
pub(super) fn find(proc: &mut Proc, users: &Users, pid: u32) -> Result<Found, Failure> {
    // Opened first and read last: that it can still be read then proves that all between was read of the same process.
    let file = proc.open(pid, "status")?;
    if read_stat(proc, pid, |stat| stat.kernel_thread)? {
        return Ok(Found::KernelThread);
    }
    let identity = identity(proc, users, pid, &file)?;
    let status = status::parse(proc.read(&file)?);
    if ended(&status) {
        let parent = status.parent.map(Pid);
        return Ok(Found::Zombie(Zombie { key: identity.key, command: identity.command, parent }));
    }
    let seen = seen(&status);
    let name = name(&status).to_vec();
    let details = Details::default();
    Ok(Found::Process(
        Process {
            identity: Arc::new(identity),
            details,
            name,
            status: Some(file),
            unsettled: true,
            keeps: true,
            last: seen,
        },
        seen,
    ))
}

impl Process {
    /// Reads its memory again; `refresh` asks to look at its identity even where nothing seems to have changed.
    /// [`Failure::Gone`] also means that its number belongs to another process now.
    pub(super) fn read(&mut self, proc: &mut Proc, users: &Users, refresh: bool) -> Result<Seen, Failure> {
        let file = match self.status.take() {
            Some(file) => file,
            None => self.open(proc, self.identity.key.pid.0)?,
        };
        let seen = self.take(proc, users, &file, refresh)?;
        if self.keeps {
            self.status = Some(file);
        }
        Ok(seen)
    }

    /// The same for a recorder, which wants the counters of `stat` in any case. Where that says word for word what it said before, the
    /// process has not run for 10 ms, faulted in no page and neither grew nor shrank: what `status` said stands until it is
    /// `due`, at twice the price. Most processes of a machine are of this sort.
    pub(super) fn read_if_moved(
        &mut self,
        proc: &mut Proc,
        users: &Users,
        refresh: bool,
        due: bool,
    ) -> Result<Seen, Failure> {
        let key = self.identity.key;
        let moved = self.details.step(proc, key.pid.0, key.started, self.keeps)?;
        if !(moved || refresh || due || self.unsettled) {
            return Ok(self.last);
        }
        // Numbers are given in a circle: the one that was this process's a moment ago is not another's already.
        let file = proc.open(key.pid.0, "status")?;
        self.take(proc, users, &file, refresh)
    }

    fn take(&mut self, proc: &mut Proc, users: &Users, file: &File, refresh: bool) -> Result<Seen, Failure> {
        let beat = self.beat(proc.read(file)?);
        if beat.ended {
            return Err(Failure::Gone);
        }
        if beat.changed || refresh || self.unsettled {
            self.unsettled = beat.changed;
            let identity = identity(proc, users, self.identity.key.pid.0, file)?;
            let name = name(&status::parse(proc.read(file)?)).to_vec();
            self.replace(identity, name);
        }
        self.last = beat.seen;
        Ok(beat.seen)
    }

    /// Whether a file of it is kept open.
    pub(super) const fn keeps_file(&self) -> bool {
        self.keeps
    }

    /// Closes `status` for good: a recorder keeps `stat` instead.
    pub(super) fn let_status_go(&mut self) {
        self.status = None;
    }

    /// Closes the file that is kept; the next read opens it again.
    pub(super) fn let_go(&mut self) {
        self.keeps = false;
        self.status = None;
        self.details.let_go();
    }

    /// Without a kept file the number alone proves nothing: the start time must be the same.
    fn open(&self, proc: &mut Proc, pid: u32) -> Result<File, Failure> {
        let file = proc.open(pid, "status")?;
        let started = read_stat(proc, pid, |stat| stat.started)?;
        if started == self.identity.key.started { Ok(file) } else { Err(Failure::Gone) }
    }

    fn beat(&self, text: &[u8]) -> Beat {
        let status = status::parse(text);
        Beat {
            seen: seen(&status),
            changed: name(&status) != self.name || status.uid != self.identity.uid,
            ended: ended(&status),
        }
    }

    fn replace(&mut self, identity: Identity, name: Vec<u8>) {
        debug_assert_eq!(identity.key.pid, self.identity.key.pid, "a process keeps its number");
        // Most looks find nothing new; whoever holds the old identity then need not compare it.
        if *self.identity != identity {
            self.identity = Arc::new(identity);
        }
        self.name = name;
    }
}

fn identity(proc: &mut Proc, users: &Users, pid: u32, status: &File) -> Result<Identity, Failure> {
    let (command, started) = read_stat(proc, pid, |stat| (escaped(stat.command), stat.started))?;
    let arguments = proc.arguments(pid).map(arguments).unwrap_or_default();
    let (cgroup, container) = group(proc.read_named(pid, "cgroup"));
    let uid = status::parse(proc.read(status)?).uid;
    Ok(Identity {
        key: ProcessKey { pid: Pid(pid), started },
        command,
        arguments,
        uid,
        user: users.name(uid),
        cgroup,
        container,
        kernel_thread: false,
    })
}

fn read_stat<T>(proc: &mut Proc, pid: u32, take: impl FnOnce(&Stat<'_>) -> T) -> Result<T, Failure> {
    let text = proc.read_named(pid, "stat")?;
    let stat = stat::parse(text).ok_or(Failure::Malformed)?;
    // A procfs of another pid namespace would name other processes than those that an attach could reach.
    if stat.pid == pid { Ok(take(&stat)) } else { Err(Failure::Malformed) }
}

/// The arguments end with a zero byte each; a process that writes its title over them may leave any number of them.
fn arguments(text: &[u8]) -> String {
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let spaced: Vec<u8> = text.iter().take(end).map(|byte| if *byte == 0 { b' ' } else { *byte }).collect();
    escaped(&spaced)
}

fn group(text: Result<&[u8], Failure>) -> (Reading<String>, Option<String>) {
    let missing = |why| (Reading::Missing(why), None);
    match text.map(cgroup::parse) {
        Ok(Reading::Known(group)) => {
            (Reading::Known(escaped(group.path)), cgroup::container(group.path).map(|name| escaped(&name)))
        }
        Ok(Reading::Missing(why)) => missing(why),
        Err(Failure::Forbidden) => missing(Why::NotPermitted { needs: "CAP_SYS_PTRACE" }),
        Err(Failure::Gone) => missing(Why::NotOffered),
        Err(Failure::NoFileFree | Failure::Malformed) => missing(Why::NotRecorded),
    }
}

const fn seen(status: &status::Status<'_>) -> Seen {
    let &status::Status { memory, virtual_size, state, parent, .. } = status;
    Seen { memory, virtual_size, state, parent }
}

fn name<'a>(status: &status::Status<'a>) -> &'a [u8] {
    status.name.known().unwrap_or_default()
}

/// A process whose first thread called `pthread_exit` is a zombie to `status`, but its other threads still run.
fn ended(status: &status::Status<'_>) -> bool {
    let alone = status.memory.threads.known().is_none_or(|threads| threads <= 1);
    matches!(status.state, Reading::Known(b'Z' | b'X')) && alone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(arguments(text.as_bytes()), expected);
    }

    #[test]
    fn arguments_are_joined_and_escaped() {
        check("", "");
        check("\0\0", "");
        check("a\0b c\0", "a b c");
        check("a\0\0b\0\0\0", "a  b");
        check("nginx: master process\0\0\0\0", "nginx: master process");
        check("a\x1b[2J\0\nb\0", "a\\x1b[2J \\nb");
    }

    #[test]
    fn a_group_that_is_not_there_is_missing_for_its_reason() {
        assert_eq!(group(Ok(b"0::/a\n")), (Reading::Known("/a".to_owned()), None));
        assert_eq!(group(Err(Failure::Gone)), (Reading::Missing(Why::NotOffered), None));
        assert_eq!(group(Ok(b"0::/lxc/w\n")), (Reading::Known("/lxc/w".to_owned()), Some("w".to_owned())));
        assert!(matches!(group(Err(Failure::Forbidden)).0, Reading::Missing(Why::NotPermitted { .. })));
    }

    #[test]
    fn a_zombie_with_threads_still_runs() {
        let zombie = |text: &str| ended(&status::parse(text.as_bytes()));
        assert!(zombie("State:\tZ (zombie)\nThreads:\t1\n"));
        assert!(!zombie("State:\tZ (zombie)\nThreads:\t4\n"));
        assert!(!zombie("State:\tS (sleeping)\nThreads:\t1\n"));
        assert!(zombie("State:\tX (dead)\n"));
    }
}
