//! Finding the children of processes that are watched.
//!
//! Owns: reading the lists of children, and which of them were met before. Must not know: what is done with a child.
//!
//! The kernel tells nobody untraced of a birth, so that the lists are read again and again. A child that lives shorter than the time
//! between two looks is missed.

use std::collections::HashSet;
use std::fs;

use capture::shares_memory;
use model::Pid;

/// Processes whose children are looked for, and the children that were found.
#[derive(Debug)]
pub(crate) struct Births {
    parents: Vec<Pid>,
    met: HashSet<(Pid, u64)>,
}

impl Births {
    /// Nobody met yet, below this process.
    pub(crate) fn below(pid: Pid) -> Self {
        Self { parents: vec![pid], met: HashSet::new() }
    }

    /// How many were met until now.
    pub(crate) fn met(&self) -> u64 {
        self.met.len() as u64
    }

    /// Children, grandchildren and so on that were not met before.
    pub(crate) fn look(&mut self) -> Vec<Pid> {
        self.parents.retain(|parent| fs::exists(format!("/proc/{parent}/task")).unwrap_or(false));
        let below: Vec<(Pid, Pid)> = self
            .parents
            .iter()
            .flat_map(|parent| children(*parent).into_iter().map(|child| (*parent, child)))
            .collect();
        let mut found = Vec::new();
        for (parent, pid) in below {
            let Some(started) = started(pid) else { continue };
            // Until it executes a program, a child of vfork is in its parent's memory, which is hooked already.
            if self.met.contains(&(pid, started)) || shares_memory(parent, pid) {
                continue;
            }
            self.met.insert((pid, started));
            self.parents.push(pid);
            found.push(pid);
        }
        found
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
pub(crate) fn has_ended(pid: Pid) -> bool {
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
    fn children_are_found_below_every_thread_and_met_once() {
        let mut births = Births::below(Pid(std::process::id()));
        #[expect(clippy::disallowed_methods, reason = "a child to be found")]
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep is there");
        let this = Pid(std::process::id());
        let pid = Pid(child.id());
        assert!(children(this).contains(&pid), "{:?}", children(this));
        assert!(started(pid) >= started(this) && started(pid).is_some());
        assert!(births.look().contains(&pid) && !births.look().contains(&pid));
        child.kill().expect("it runs");
        child.wait().expect("it is ours");
        assert!(started(pid).is_none() && has_ended(pid) && !has_ended(this));
        assert_eq!(children(Pid(1 << 22)), []);
    }
}
