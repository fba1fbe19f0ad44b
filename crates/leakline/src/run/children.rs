//! Children of the program, watched as soon as they are seen.
//!
//! Owns: finding them and keeping them until they end. Must not know: what is reported of them.
//!
//! The kernel tells nobody untraced of a birth, so that the lists of children are read again and again. What a child allocates
//! before it is found is not seen, and one that lives shorter than a look is missed.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use capture::{Program, shares_memory};
use model::Pid;

use super::member::{Member, Turn};
use crate::attached::Found;
use crate::flags::Run;
use crate::limits::CHILDREN_MAX;

/// How often the lists are read.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A process below the program.
#[derive(Debug)]
struct Child {
    program: Program,
    member: Member,
}

/// All children, grandchildren and so on.
#[derive(Debug)]
pub(crate) struct Children {
    /// Processes whose children are looked for.
    parents: Vec<Pid>,
    met: HashSet<(Pid, u64)>,
    watched: Vec<Child>,
    /// What could not be watched, one sentence each.
    unwatched: Vec<String>,
    /// Those that ended before they could be hooked.
    short: u64,
    next_look: Instant,
}

/// A child of which one program is over.
#[derive(Debug)]
pub(crate) struct Over {
    pub(crate) member: Member,
    pub(crate) turn: Turn,
    pub(crate) found: Found,
}

impl Children {
    /// Nobody yet, below this process.
    pub(crate) fn of(pid: Pid) -> Self {
        let (met, watched) = (HashSet::new(), Vec::new());
        Self { parents: vec![pid], met, watched, unwatched: Vec::new(), short: 0, next_look: Instant::now() }
    }

    /// Looks for new ones and gives those of which a program is over.
    pub(crate) fn turn(&mut self, flags: &Run) -> Vec<Over> {
        if Instant::now() >= self.next_look {
            self.next_look = Instant::now() + LOOK_EVERY;
            self.look(flags);
        }
        let mut over = Vec::new();
        for mut child in std::mem::take(&mut self.watched) {
            match child.member.turn(&mut child.program, Duration::ZERO) {
                None => self.watched.push(child),
                Some((turn, found)) => {
                    over.push(Over { member: child.member, turn, found });
                    if matches!(over.last(), Some(Over { turn: Turn::Another, .. })) {
                        self.watch(child.program, flags);
                    }
                }
            }
        }
        over
    }

    /// Takes those that go on.
    pub(crate) fn leave(&mut self) -> Vec<Over> {
        let leave = |mut child: Child| {
            let (turn, found) = child.member.leave();
            Over { member: child.member, turn, found }
        };
        self.watched.drain(..).map(leave).collect()
    }

    /// How many ended before they could be hooked. Those that no look met are not known at all.
    pub(crate) const fn short(&self) -> u64 {
        self.short
    }

    /// What could not be watched, once each.
    pub(crate) fn take_unwatched(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unwatched)
    }

    fn look(&mut self, flags: &Run) {
        self.parents.retain(|parent| fs::exists(format!("/proc/{parent}/task")).unwrap_or(false));
        let below: Vec<(Pid, Pid)> = self
            .parents
            .iter()
            .flat_map(|parent| children(*parent).into_iter().map(|child| (*parent, child)))
            .collect();
        for (parent, pid) in below {
            let Some(started) = started(pid) else { continue };
            // Until it executes a program, a child of vfork is in its parent's memory, which is hooked already.
            if self.met.contains(&(pid, started)) || shares_memory(parent, pid) {
                continue;
            }
            self.met.insert((pid, started));
            self.parents.push(pid);
            if self.watched.len() >= CHILDREN_MAX {
                self.unwatched.push(format!("process {pid}: more than {CHILDREN_MAX} children at once"));
                continue;
            }
            self.watch(Program::adopt(pid), flags);
        }
    }

    fn watch(&mut self, mut program: Program, flags: &Run) {
        match Member::start(&mut program, flags) {
            Ok(member) => self.watched.push(Child { program, member }),
            Err(_) if has_ended(program.pid()) => self.short += 1,
            Err(crate::failure::Failure::Refused { text, .. }) => {
                self.unwatched.push(format!("process {}: {text}", program.pid()));
            }
            Err(crate::failure::Failure::OutputClosed) => {}
        }
    }
}

/// The children of all threads of a process.
fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    let lists: Vec<String> = threads.filter_map(Result::ok).map(of_thread).collect();
    lists.iter().flat_map(|list| list.split_whitespace()).filter_map(|word| word.parse().ok().map(Pid)).collect()
}

/// Whether a process is gone, or only waits for its parent.
fn has_ended(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with(['Z', 'X']))
}

/// Field 22 of `/proc/PID/stat`: with it a number that is used again is another process.
fn started(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_found_below_every_thread() {
        #[expect(clippy::disallowed_methods, reason = "a child to be found")]
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep is there");
        let this = Pid(std::process::id());
        let pid = Pid(child.id());
        assert!(children(this).contains(&pid), "{:?}", children(this));
        assert!(started(pid) >= started(this) && started(pid).is_some());
        child.kill().expect("it runs");
        child.wait().expect("it is ours");
        assert!(started(pid).is_none() && has_ended(pid) && !has_ended(this));
        assert_eq!(children(Pid(1 << 22)), []);
    }
}
