//! Descriptors: which are open, and who opened them.
//!
//! Owns: the table of numbers. Must not know: how the open ones are listed.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use super::sums::{Held, Origin, Sums};

/// Descriptors that are kept track of; few programs may have more than a million.
const DESCRIPTORS_MAX: usize = 1 << 20;

#[derive(Debug)]
struct Descriptor {
    origin: Origin,
    /// What it leads to, once it was looked at.
    link: Option<String>,
}

/// All descriptors.
#[derive(Debug)]
pub(super) struct Descriptors {
    open: HashMap<u32, Descriptor>,
    /// Those that were open before the attach.
    older: HashSet<u32>,
    /// Those that nobody told of, and what they lead to; true once they were found twice.
    unseen: HashMap<u32, (String, bool)>,
    /// Descriptors for which there was no room.
    pub(super) refused: u64,
}

impl Descriptors {
    pub(super) fn new(older: impl IntoIterator<Item = u32>) -> Self {
        Self { open: HashMap::new(), older: older.into_iter().collect(), unseen: HashMap::new(), refused: 0 }
    }

    /// A descriptor was opened. One that was open under the same number was closed unseen, or replaced by `dup2`.
    pub(super) fn open(&mut self, number: u32, origin: Origin, sums: &mut Sums) {
        self.older.remove(&number);
        self.unseen.remove(&number);
        if self.open.len() >= DESCRIPTORS_MAX {
            self.refused += 1;
            return;
        }
        if let Some(replaced) = self.open.insert(number, Descriptor { origin, link: None }) {
            sums.end(replaced.origin, 0, true, origin.birth);
        }
        sums.make(origin.key, 0);
    }

    /// Descriptors are closed.
    pub(super) fn close(&mut self, numbers: RangeInclusive<u32>, at: u64, sums: &mut Sums) {
        if numbers.start() == numbers.end() {
            self.close_one(*numbers.start(), at, sums);
            return;
        }
        self.older.retain(|number| !numbers.contains(number));
        let closed: Vec<u32> = self.open.keys().copied().filter(|number| numbers.contains(number)).collect();
        for number in closed {
            self.close_one(number, at, sums);
        }
    }

    /// Compares with what is open: a close that was not told, or an open.
    pub(super) fn compare(&mut self, open: &HashMap<u32, String>, before: u64, now: u64, sums: &mut Sums) {
        let mut gone = Vec::new();
        for (number, known) in self.open.iter_mut().filter(|(_, known)| known.origin.number < before) {
            match open.get(number) {
                Some(link) if known.link.as_ref().is_none_or(|known| is_same(known, link)) => {
                    known.link = Some(link.clone());
                }
                _ => gone.push(*number),
            }
        }
        for number in gone {
            self.close_one(number, now, sums);
        }
        self.older.retain(|number| open.contains_key(number));
        self.unseen.retain(|number, _| open.contains_key(number));
        for (number, link) in open {
            if self.open.contains_key(number) || self.older.contains(number) {
                continue;
            }
            // An open that just happened is told in a moment: only what is found again was not seen.
            let again = self.unseen.get(number).is_some_and(|(before, _)| before == link);
            self.unseen.insert(*number, (link.clone(), again));
        }
    }

    /// Open descriptors that nobody told of.
    pub(super) fn unseen(&self) -> u64 {
        self.unseen.values().filter(|(_, again)| *again).count() as u64
    }

    /// What is open.
    pub(super) fn add_to(&self, held: &mut Held) {
        for descriptor in self.open.values() {
            let name = descriptor.link.as_deref().map(name_of);
            held.add(descriptor.origin, 0, name, true);
        }
    }

    fn close_one(&mut self, number: u32, at: u64, sums: &mut Sums) {
        self.older.remove(&number);
        self.unseen.remove(&number);
        if let Some(closed) = self.open.remove(&number) {
            sums.end(closed.origin, 0, true, at);
        }
    }
}

/// Whether two links of one number can be the same descriptor: a file may be renamed or deleted while it is open; sockets and
/// pipes have numbers of their own.
fn is_same(before: &str, now: &str) -> bool {
    before == now || (before.starts_with('/') && now.starts_with('/'))
}

/// What people call it: `socket:[4711]` and `anon_inode:[eventpoll]` without what only the kernel needs.
fn name_of(link: &str) -> &str {
    match link.split_once(':') {
        Some(("anon_inode", what)) => what.trim_start_matches('[').trim_end_matches(']'),
        Some((what, number)) if number.starts_with('[') && !what.starts_with('/') => what,
        _ => link.strip_suffix(" (deleted)").unwrap_or(link),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_become_names() {
        for (link, name) in [
            ("socket:[4711]", "socket"),
            ("pipe:[12]", "pipe"),
            ("anon_inode:[eventpoll]", "eventpoll"),
            ("anon_inode:inotify", "inotify"),
            ("/var/log/a:[b] (deleted)", "/var/log/a:[b]"),
            ("/memfd:cache (deleted)", "/memfd:cache"),
            ("", ""),
        ] {
            assert_eq!(name_of(link), name);
        }
    }

    #[test]
    fn a_renamed_file_is_the_same_and_another_socket_is_not() {
        assert!(is_same("/a", "/b (deleted)") && is_same("socket:[1]", "socket:[1]"));
        assert!(!is_same("socket:[1]", "socket:[2]") && !is_same("/a", "socket:[1]"));
    }
}
