//! All processes of the machine and their memory, beat by beat.
//!
//! Owns: the list of known processes, and what reading it costs. Must not know: who grows, or who asks.
//!
//! Reads `/proc` directly: one read of an open `status` per process and beat, and the rest (name, arguments, user, group)
//! once per process and again when something changed. Threads of the kernel are read once and then left alone.

mod beat;
mod details;
mod error;
mod filter;
#[cfg(test)]
mod fixture;
mod groups;
mod inspect;
mod journal;
mod kernel_log;
mod keys;
mod limits;
mod proc;
mod process;
mod room;
mod shared;
mod system;
mod users;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use formats::{meminfo, status};
use model::{Bytes, Identity, MachineSample, Pid, ProcessKey, ProcessSample, Reading, Why};

use crate::clock::Clock;

use self::limits::{
    FILES_KEPT_MAX, FILES_KEPT_SHARE, LOOK_AGAIN_BEATS, PROCESSES_MAX, REFRESH_BEATS, STATUS_BEATS, ZOMBIES_MAX,
};
use self::proc::{Failure, Proc};
use self::process::{Found, Process, Seen, Zombie};
use self::users::Users;

pub use self::beat::{BeatOptions, BeatSampler, Early};
pub use self::error::HostError;
pub use self::filter::Filter;
pub use self::inspect::{inspect_machine, inspect_process};
pub(crate) use self::room::group_room;

/// What could not be read, since the start. All zero on a healthy machine, but for `vanished`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostLosses {
    /// Processes that ended while they were read.
    pub vanished: u64,
    /// Reads that the kernel refused.
    pub forbidden: u64,
    /// Reads that failed since no file could be opened any more.
    pub files_exhausted: u64,
    /// Reads whose text was not in the documented form.
    pub malformed: u64,
    /// Processes that were left out since there are more than the sampler keeps.
    pub processes_untracked: u64,
}

/// Samples the processes of this machine.
#[derive(Debug)]
pub struct HostSampler {
    proc: Proc,
    users: Users,
    filter: Filter,
    /// The user that the filter asks for, as a number.
    uid: Option<u32>,
    own: u32,
    clock: Clock,
    beat: u64,
    known: HashMap<u32, Known>,
    pids: Vec<u32>,
    files_kept: usize,
    files_max: usize,
    /// Whether `stat` is read first, and `status` where that says something new.
    by_stat: bool,
    losses: HostLosses,
    zombies: u64,
    new_zombies: Vec<Zombie>,
}

#[derive(Debug)]
struct Known {
    /// The last beat at which its number was listed.
    seen: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Watched(Box<Process>),
    /// A thread of the kernel, or one that does not pass the filter.
    LeftOut,
    /// A process that has ended and is not waited for; boxed since there are few.
    Ended(Box<Zombie>),
}

impl HostSampler {
    /// A sampler for the processes that pass the filter. A filter that can match nothing is an error.
    pub fn new(filter: Filter) -> Result<Self, HostError> {
        // An empty folder would pass for a machine without processes.
        fs::metadata("/proc/self/stat").map_err(|cause| HostError::NoProcessList { cause })?;
        Self::at(Path::new("/proc"), Path::new("/etc/passwd"), filter)
    }

    /// Reads the memory of all processes that are asked for. Processes that end meanwhile are counted, not an error.
    pub fn sample(&mut self) -> Result<MachineSample, HostError> {
        let at = self.clock.elapsed();
        let vanished = self.losses.vanished;
        let processes = self.each(|_, process, seen| {
            let identity = process.identity.clone();
            ProcessSample { identity, memory: seen.memory }
        })?;
        let (memory_total, memory_available) = self.machine();
        let vanished = u32::try_from(self.losses.vanished - vanished).unwrap_or(u32::MAX);
        Ok(MachineSample { at, processes, memory_total, memory_available, vanished })
    }

    /// Visits all processes that are asked for, once, and takes what is wanted of each.
    fn each<T>(&mut self, take: impl Fn(&mut Proc, &mut Process, &Seen) -> T) -> Result<Vec<T>, HostError> {
        self.list()?;
        self.beat += 1;
        self.new_zombies.clear();
        let pids = std::mem::take(&mut self.pids);
        let mut taken = Vec::with_capacity(self.known.len().min(pids.len()));
        taken.extend(pids.iter().filter_map(|pid| self.visit(*pid, &take)));
        self.pids = pids;
        self.forget();
        Ok(taken)
    }

    /// How much memory the control group of a process may still take; missing where no limit is set or none can be seen.
    /// Reads some files, so that it is asked for suspects only.
    pub fn room(identity: &Identity) -> Reading<Bytes> {
        match &identity.cgroup {
            Reading::Known(group) => room::room(Path::new("/sys/fs/cgroup"), group),
            Reading::Missing(why) => Reading::Missing(*why),
        }
    }

    /// What could not be read, since the start.
    pub const fn losses(&self) -> HostLosses {
        self.losses
    }

    fn at(root: &Path, passwd: &Path, filter: Filter) -> Result<Self, HostError> {
        let users = fs::read(passwd).map(|text| Users::from_passwd(&text)).unwrap_or_default();
        let uid = match &filter.user {
            None => None,
            Some(user) => Some(users.number(user).ok_or_else(|| HostError::UnknownUser { name: user.clone() })?),
        };
        let mut proc = Proc::new(root);
        let own = std::process::id();
        for pid in &filter.pid {
            examine(&mut proc, *pid, own)?;
        }
        let files_max = files_allowed(&proc.read_named(own, "limits").map(<[u8]>::to_vec).unwrap_or_default());
        Ok(Self {
            proc,
            users,
            filter,
            uid,
            own,
            clock: Clock::start(),
            beat: 0,
            known: HashMap::new(),
            pids: Vec::new(),
            files_kept: 0,
            files_max,
            by_stat: false,
            losses: HostLosses::default(),
            zombies: 0,
            new_zombies: Vec::new(),
        })
    }

    fn list(&mut self) -> Result<(), HostError> {
        if self.filter.pid.is_empty() {
            self.proc.list(&mut self.pids).map_err(|cause| HostError::NoProcessList { cause })?;
        } else {
            self.pids = self.filter.pid.iter().map(|pid| pid.0).collect();
            self.pids.sort_unstable();
            self.pids.dedup();
        }
        Ok(())
    }

    fn visit<T>(&mut self, pid: u32, take: &impl Fn(&mut Proc, &mut Process, &Seen) -> T) -> Option<T> {
        if pid == self.own {
            return None;
        }
        match self.known.remove(&pid).map(|known| known.state) {
            Some(state @ (State::LeftOut | State::Ended(_))) if !self.due(pid, LOOK_AGAIN_BEATS) => {
                self.keep(pid, state);
                None
            }
            Some(State::Ended(zombie)) => self.discover(pid, Some(zombie.key), take),
            Some(State::LeftOut) | None => self.discover(pid, None, take),
            Some(State::Watched(process)) => self.follow(pid, process, take),
        }
    }

    /// Spreads what need not be done at each beat over the beats.
    const fn due(&self, pid: u32, beats: u64) -> bool {
        (self.beat + pid as u64).is_multiple_of(beats)
    }

    fn follow<T>(
        &mut self,
        pid: u32,
        mut process: Box<Process>,
        take: &impl Fn(&mut Proc, &mut Process, &Seen) -> T,
    ) -> Option<T> {
        let (refresh, due) = (self.due(pid, REFRESH_BEATS), self.due(pid, STATUS_BEATS));
        let kept = process.keeps_file();
        let read = if self.by_stat {
            process.read_if_moved(&mut self.proc, &self.users, refresh, due)
        } else {
            process.read(&mut self.proc, &self.users, refresh)
        };
        match read {
            Ok(seen) if self.filter.passes(&process.identity, self.uid) => Some(self.watch(pid, process, &seen, take)),
            Ok(_) => {
                self.files_kept -= usize::from(kept);
                self.keep(pid, State::LeftOut);
                None
            }
            Err(failure) => {
                self.files_kept -= usize::from(kept);
                drop(process);
                self.count(failure);
                // Its number may already belong to another process, which is to be in this sample.
                if failure == Failure::Gone { self.discover(pid, None, take) } else { None }
            }
        }
    }

    /// `ended` is the zombie that had this number at the last look.
    fn discover<T>(
        &mut self,
        pid: u32,
        ended: Option<ProcessKey>,
        take: &impl Fn(&mut Proc, &mut Process, &Seen) -> T,
    ) -> Option<T> {
        if self.known.len() >= PROCESSES_MAX {
            self.losses.processes_untracked += 1;
            return None;
        }
        let mut found = process::find(&mut self.proc, &self.users, pid);
        if matches!(found, Err(Failure::NoFileFree)) {
            self.let_go();
            found = process::find(&mut self.proc, &self.users, pid);
        }
        match found {
            Ok(Found::Process(mut process, seen)) if self.filter.passes(&process.identity, self.uid) => {
                if self.files_kept < self.files_max {
                    self.files_kept += 1;
                } else {
                    process.let_go();
                }
                if self.by_stat {
                    process.let_status_go();
                }
                Some(self.watch(pid, Box::new(process), &seen, take))
            }
            Ok(Found::Zombie(zombie)) => {
                if ended != Some(zombie.key) && self.new_zombies.len() < ZOMBIES_MAX {
                    self.new_zombies.push(zombie.clone());
                }
                self.keep(pid, State::Ended(Box::new(zombie)));
                None
            }
            Ok(_) => {
                self.keep(pid, State::LeftOut);
                None
            }
            Err(failure) => {
                self.count(failure);
                None
            }
        }
    }

    fn watch<T>(
        &mut self,
        pid: u32,
        mut process: Box<Process>,
        seen: &Seen,
        take: &impl Fn(&mut Proc, &mut Process, &Seen) -> T,
    ) -> T {
        let taken = take(&mut self.proc, &mut process, seen);
        self.keep(pid, State::Watched(process));
        taken
    }

    fn keep(&mut self, pid: u32, state: State) {
        self.known.insert(pid, Known { seen: self.beat, state });
    }

    fn count(&mut self, failure: Failure) {
        let counter = match failure {
            Failure::Gone => &mut self.losses.vanished,
            Failure::Forbidden => &mut self.losses.forbidden,
            Failure::NoFileFree => &mut self.losses.files_exhausted,
            Failure::Malformed => &mut self.losses.malformed,
        };
        *counter += 1;
    }

    /// Forgets the processes that were not listed any more.
    fn forget(&mut self) {
        let beat = self.beat;
        let mut closed = 0;
        let mut zombies = 0;
        self.known.retain(|_, known| {
            let listed = known.seen == beat;
            zombies += u64::from(listed && matches!(known.state, State::Ended(_)));
            closed += usize::from(!listed && matches!(&known.state, State::Watched(process) if process.keeps_file()));
            listed
        });
        debug_assert!(closed <= self.files_kept, "every kept file was counted");
        self.files_kept -= closed;
        self.zombies = zombies;
    }

    /// Closes all kept files and keeps half as many from now on: somebody else needs them.
    fn let_go(&mut self) {
        self.losses.files_exhausted += 1;
        self.files_max = self.files_kept / 2;
        self.files_kept = 0;
        for known in self.known.values_mut() {
            if let State::Watched(process) = &mut known.state {
                process.let_go();
            }
        }
    }

    fn machine(&mut self) -> (Reading<Bytes>, Reading<Bytes>) {
        match self.proc.machine("meminfo").map(meminfo::parse) {
            Ok(found) => (found.total, found.available),
            Err(_) => (Reading::Missing(Why::NotOffered), Reading::Missing(Why::NotOffered)),
        }
    }
}

/// Says of a process that was asked for by its number why it cannot be sampled.
fn examine(proc: &mut Proc, pid: Pid, own: u32) -> Result<(), HostError> {
    if pid.0 == own {
        return Err(HostError::Itself { pid });
    }
    let text = match proc.read_named(pid.0, "status") {
        Ok(text) => text,
        Err(Failure::Forbidden) => return Err(HostError::Forbidden { pid }),
        Err(_) => return Err(HostError::NoSuchProcess { pid }),
    };
    let status = status::parse(text);
    if let Reading::Known(process) = status.process
        && process != pid.0
    {
        return Err(HostError::Thread { pid, process: Pid(process) });
    }
    if matches!(status.state, Reading::Known(b'Z' | b'X'))
        && status.memory.threads.known().is_none_or(|count| count <= 1)
    {
        return Err(HostError::Zombie { pid });
    }
    let kernel_thread = proc.read_named(pid.0, "stat").ok().and_then(formats::stat::parse);
    if kernel_thread.is_some_and(|stat| stat.kernel_thread) {
        return Err(HostError::KernelThread { pid });
    }
    Ok(())
}

/// How many files may be kept open, from `/proc/PID/limits`; none where it cannot be read.
fn files_allowed(limits: &[u8]) -> usize {
    let text = String::from_utf8_lossy(limits);
    let soft = text.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    match soft {
        Some("unlimited") => FILES_KEPT_MAX,
        Some(number) => number.parse().map_or(0, |soft: usize| (soft / FILES_KEPT_SHARE).min(FILES_KEPT_MAX)),
        None => 0,
    }
}

#[cfg(test)]
mod tests;
