//! The order and the filter of the live ranking.
//!
//! Owns: which processes are listed and in which order. Must not know: how they are drawn.

use std::cmp::{Ordering, Reverse};

use model::{ProcessKey, Reading};
use report::{HuntView, ProcessView, metrics};

use super::Selection;
use crate::limits::FILTER_MAX;

/// What the ranking is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// As it was judged: the worst first.
    #[default]
    Judged,
    Growth,
    Rss,
    Anon,
    Swap,
    Pid,
    Name,
}

/// The state of the live ranking.
#[derive(Debug, Default)]
pub(crate) struct Ranking {
    pub(crate) order: Order,
    pub(crate) reversed: bool,
    pub(crate) filter: String,
    /// Whether characters go to the filter.
    pub(crate) typing: bool,
    pub(crate) selection: Selection<ProcessKey>,
}

impl Order {
    const ALL: [Self; 7] = [Self::Judged, Self::Growth, Self::Rss, Self::Anon, Self::Swap, Self::Pid, Self::Name];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Judged => metrics::VERDICT.title,
            Self::Growth => metrics::RECENT.title,
            Self::Rss => metrics::RSS.title,
            Self::Anon => metrics::ANON.title,
            Self::Swap => metrics::SWAP.title,
            Self::Pid => metrics::PID.title,
            Self::Name => metrics::COMMAND.title,
        }
    }

    /// The letter that chooses it.
    pub(crate) const fn letter(self) -> char {
        match self {
            Self::Judged => 'V',
            Self::Growth => 'G',
            Self::Rss => 'R',
            Self::Anon => 'A',
            Self::Swap => 'W',
            Self::Pid => 'P',
            Self::Name => 'N',
        }
    }

    /// The next one, and after the last the first.
    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|order| *order == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }

    /// Numbers with the greatest first, names and pids as one reads them.
    fn compare(self, left: &ProcessView, right: &ProcessView) -> Ordering {
        match self {
            // The rows come in this order already, and the sort is stable.
            Self::Judged => Ordering::Equal,
            Self::Growth => descending(left.recent, right.recent),
            Self::Rss => descending(left.memory.rss(), right.memory.rss()),
            Self::Anon => descending(left.memory.anon, right.memory.anon),
            Self::Swap => descending(left.memory.swap, right.memory.swap),
            Self::Pid => left.identity.key.cmp(&right.identity.key),
            Self::Name => left.identity.command.cmp(&right.identity.command),
        }
    }
}

impl Ranking {
    /// The rows to show, in order.
    pub(crate) fn rows<'a>(&self, view: &'a HuntView) -> Vec<&'a ProcessView> {
        let filter = self.filter.to_lowercase();
        let mut rows: Vec<_> = view.processes.iter().filter(|row| passes(row, &filter)).collect();
        // Stable, so that equal rows do not change places at each beat.
        rows.sort_by(|left, right| self.order.compare(left, right));
        // Afterwards, and not in the comparison: equal rows change places as well, so that it is the same list read upwards.
        if self.reversed {
            rows.reverse();
        }
        debug_assert!(rows.len() <= view.processes.len(), "a filter only leaves out");
        rows
    }

    /// The selected process.
    pub(crate) fn selected<'a>(&self, view: &'a HuntView) -> Option<&'a ProcessView> {
        let rows = self.rows(view);
        self.selection.index(&keys(&rows)).map(|index| rows[index])
    }

    /// Moves the selection.
    pub(crate) fn shift(&mut self, view: &HuntView, by: isize) {
        let keys = keys(&self.rows(view));
        self.selection.shift(&keys, by);
    }

    /// Sorts by the next order.
    pub(crate) fn sort_next(&mut self) {
        self.order = self.order.next();
    }

    /// Sorts by the order that has this letter; the same letter again reverses it.
    pub(crate) fn sort_by_letter(&mut self, letter: char) {
        let Some(order) = Order::ALL.into_iter().find(|order| order.letter() == letter) else { return };
        // As in other programs of this kind.
        self.reversed = self.order == order && !self.reversed;
        self.order = order;
    }

    /// Adds to the filter. What is not shown (control characters) is not taken.
    pub(crate) fn type_character(&mut self, character: char) {
        if self.filter.chars().count() < FILTER_MAX && !character.is_control() {
            self.filter.push(character);
        }
    }
}

/// The identities of the rows.
pub(crate) fn keys(rows: &[&ProcessView]) -> Vec<ProcessKey> {
    rows.iter().map(|row| row.identity.key).collect()
}

/// The greatest first, and what is missing last.
fn descending<T: Ord>(left: Reading<T>, right: Reading<T>) -> Ordering {
    // `None` is less than everything, so the greater option first puts it last.
    Reverse(left.known()).cmp(&Reverse(right.known()))
}

/// Whether a row is listed. A pid must be given whole: parts of numbers match everything.
fn passes(row: &ProcessView, filter: &str) -> bool {
    let identity = &row.identity;
    let known = |reading: &Reading<String>| reading.as_known().is_some_and(|text| contains(text, filter));
    filter.is_empty()
        || contains(&identity.command, filter)
        || contains(&identity.arguments, filter)
        || known(&identity.user)
        || known(&identity.cgroup)
        || identity.key.pid.to_string() == filter
}

/// Upper and lower case are the same.
fn contains(text: &str, filter: &str) -> bool {
    text.to_lowercase().contains(filter)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use model::{Bytes, Identity, MemorySample, Pid, Why};
    use report::{MachineView, Outcome, Severity};

    /// Rows are `name pid rss growth`; `?` is missing. The letters are typed, then the names are read.
    #[track_caller]
    fn check(letters: &str, filter: &str, expected: &str) {
        let rows = ["web 10 300 5", "db 9 100 ?", "Cache 30 ? -2", "api 4 200 9"];
        let view = view(rows.map(row).to_vec());
        let mut ranking = Ranking { filter: filter.to_owned(), ..Ranking::default() };
        letters.chars().for_each(|letter| ranking.sort_by_letter(letter));
        let names: Vec<_> = ranking.rows(&view).iter().map(|row| row.identity.command.clone()).collect();
        assert_eq!(names.join(" "), expected);
    }

    fn row(text: &str) -> ProcessView {
        let parts: Vec<&str> = text.split(' ').collect();
        let read = |text: &str| Reading::from_option(text.parse::<i64>().ok(), Why::ProcessGone);
        let bytes = read(parts[2]).map(|bytes| Bytes(bytes as u64));
        let none = Reading::Known(Bytes(0));
        ProcessView {
            identity: Arc::new(Identity {
                key: ProcessKey { pid: Pid(parts[1].parse().unwrap()), started: 1 },
                command: parts[0].to_owned(),
                arguments: "--port 80".to_owned(),
                uid: Reading::Known(0),
                user: Reading::Known("alice".to_owned()),
                cgroup: Reading::Missing(Why::ProcessGone),
                container: None,
                kernel_thread: false,
            }),
            memory: MemorySample {
                anon: bytes,
                file: none,
                shmem: none,
                swap: none,
                page_tables: none,
                threads: Reading::Known(1),
            },
            growth: Reading::Missing(Why::TooShort),
            recent: read(parts[3]),
            kind: String::new(),
            confidence: Reading::Missing(Why::TooShort),
            exhaustion: Reading::Missing(Why::TooShort),
            verdict: String::new(),
            severity: Severity::Unclear,
            reasons: Vec::new(),
            history: Vec::new(),
        }
    }

    fn view(processes: Vec<ProcessView>) -> HuntView {
        let machine = MachineView {
            window: Duration::ZERO,
            planned: None,
            beats: 1,
            processes: 4,
            vanished: 0,
            memory_total: Reading::Missing(Why::NotOffered),
            memory_available: Reading::Missing(Why::NotOffered),
        };
        HuntView { machine, processes, outcome: Outcome::CouldNotJudge, notes: Vec::new() }
    }

    #[test]
    fn each_letter_has_its_order() {
        check("", "", "web db Cache api");
        check("G", "", "api web Cache db");
        check("R", "", "web api db Cache");
        check("A", "", "web api db Cache");
        check("P", "", "api db web Cache");
        check("N", "", "Cache api db web");
        check("NV", "", "web db Cache api");
    }

    #[test]
    fn the_same_letter_again_reverses() {
        check("PP", "", "Cache web db api");
        check("PPP", "", "api db web Cache");
        check("PPR", "", "web api db Cache");
    }

    #[test]
    fn a_filter_looks_at_names_users_and_whole_pids() {
        check("", "CACHE", "Cache");
        check("", "b", "web db");
        check("", "alice", "web db Cache api");
        check("", "port", "web db Cache api");
        check("", "30", "Cache");
        check("", "3", "");
    }

    #[test]
    fn a_filter_has_an_end() {
        let mut ranking = Ranking::default();
        (0..1000).for_each(|_| ranking.type_character('x'));
        ranking.type_character('\x1b');
        assert_eq!(ranking.filter.len(), FILTER_MAX);
    }

    #[test]
    fn tab_goes_through_all_orders() {
        let mut ranking = Ranking::default();
        for order in Order::ALL {
            assert_eq!(ranking.order, order);
            ranking.sort_next();
        }
        assert_eq!(ranking.order, Order::Judged);
    }
}
