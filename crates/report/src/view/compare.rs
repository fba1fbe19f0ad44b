//! Two moments side by side: who grew, what is new, what is gone, how the machine changed.
//!
//! Owns: which processes of two moments are the same. Must not know: whether they are of one recording or of two.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Beat, Bytes, Identity, ProcessKey, Reading};

use super::{Cell, SheetView, TableView};
use crate::WallTime;
use crate::metrics;

/// Rows in each table.
const ROWS_MAX: usize = 50;

/// Figures of the machine that are compared.
const MEMINFO: [(&str, &str); 8] = [
    ("available", "MemAvailable"),
    ("free", "MemFree"),
    ("cached", "Cached"),
    ("anonymous", "AnonPages"),
    ("shared", "Shmem"),
    ("slab", "Slab"),
    ("page tables", "PageTables"),
    ("swap free", "SwapFree"),
];

/// What makes two processes the same. Pids mean something only within one boot of one machine; between machines it is
/// the name, the user and the place that are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Same {
    Process(ProcessKey),
    Name(String, Option<String>, Option<String>),
}

/// All processes that count as one. Between boots that may be many: forty workers of one name are compared with forty others, since
/// nobody could say which was which.
struct Group {
    identity: Arc<Identity>,
    count: u64,
    private: Reading<Bytes>,
}

impl SheetView {
    /// Compares two moments; each comes with the name of its machine.
    pub fn compare(before: (&str, &Beat), after: (&str, &Beat)) -> Self {
        let one_boot = before.0 == after.0 && before.1.at.boot_id == after.1.at.boot_id;
        let (old, new) = (groups(before.1, one_boot), groups(after.1, one_boot));
        let moment = |(host, beat): (&str, &Beat)| format!("{host} at {} UTC", WallTime::from(&beat.at));
        let mut sheet = Self {
            document: "compare",
            title: format!("{} compared with {}", moment(before), moment(after)),
            tables: vec![grown(&old, &new), machine(before.1, after.1)],
            notes: Vec::new(),
        };
        sheet.tables.push(only_in("new", "New processes", &new, &old));
        sheet.tables.push(only_in("gone", "Gone processes", &old, &new));
        if !one_boot {
            sheet.notes.push(
                "These are two boots or two machines: processes are compared by name, user and container".to_owned(),
            );
        }
        sheet
    }
}

fn groups(beat: &Beat, one_boot: bool) -> BTreeMap<Same, Group> {
    let mut groups = BTreeMap::new();
    for process in beat.processes.iter().filter(|process| !process.identity.kernel_thread) {
        let identity = &process.identity;
        let same = if one_boot {
            Same::Process(identity.key)
        } else {
            Same::Name(identity.command.clone(), identity.user.as_known().cloned(), identity.container.clone())
        };
        let private = process.figures.memory().private();
        // Zero is right here and no stand-in: the sum of no processes, to which this one is added below.
        let empty = Group { identity: Arc::clone(identity), count: 0, private: Reading::Known(Bytes(0)) };
        let group = groups.entry(same).or_insert(empty);
        group.count += 1;
        group.private = group.private.with(private, Bytes::plus);
    }
    groups
}

/// The difference of two sizes.
pub(super) fn change(before: Reading<Bytes>, after: Reading<Bytes>) -> Reading<i64> {
    before.with(after, |before, after| {
        let difference = i128::from(after.0) - i128::from(before.0);
        difference.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    })
}

/// What is in both, what grew most first: a tool for two recordings of one load, before and after a change.
fn grown(old: &BTreeMap<Same, Group>, new: &BTreeMap<Same, Group>) -> TableView {
    let both = new.iter().filter_map(|(same, after)| old.get(same).map(|before| (before, after)));
    let mut rows: Vec<_> = both.map(|(before, after)| (change(before.private, after.private), before, after)).collect();
    // What is unknown goes last: it is neither growth nor none.
    rows.sort_by_key(|(change, _, after)| (std::cmp::Reverse(change.known()), after.identity.key));
    let columns = [
        &metrics::PID,
        &metrics::COMMAND,
        &metrics::USER,
        &metrics::NUMBER,
        &metrics::BEFORE,
        &metrics::AFTER,
        &metrics::CHANGE,
    ];
    let mut table = TableView::new("grown", "Private memory of processes that are in both", &columns);
    // What did not change is counted, not listed: on most machines that is nearly all of them.
    let all = rows.len();
    rows.retain(|(change, ..)| *change != Reading::Known(0));
    table.left_out = (all - rows.len()) as u64;
    for (change, before, after) in rows {
        let mut cells = named(&after.identity);
        cells.extend([
            Cell::count(after.count),
            Cell::Bytes(before.private),
            Cell::Bytes(after.private),
            Cell::Change(change),
        ]);
        table.row(cells);
    }
    table.truncate(ROWS_MAX);
    table
}

fn only_in(key: &'static str, title: &str, these: &BTreeMap<Same, Group>, others: &BTreeMap<Same, Group>) -> TableView {
    let mut rows: Vec<&Group> =
        these.iter().filter(|(same, _)| !others.contains_key(same)).map(|(_, group)| group).collect();
    rows.sort_by_key(|group| (std::cmp::Reverse(group.private.known()), group.identity.key));
    let columns = [&metrics::PID, &metrics::COMMAND, &metrics::USER, &metrics::NUMBER, &metrics::PRIVATE];
    let mut table = TableView::new(key, title, &columns);
    for group in rows {
        let mut cells = named(&group.identity);
        cells.extend([Cell::count(group.count), Cell::Bytes(group.private)]);
        table.row(cells);
    }
    table.truncate(ROWS_MAX);
    table
}

fn named(identity: &Identity) -> Vec<Cell> {
    vec![
        Cell::count(u64::from(identity.key.pid.0)),
        Cell::text(identity.command.clone()),
        Cell::Text(identity.user.clone()),
    ]
}

pub(super) fn machine(before: &Beat, after: &Beat) -> TableView {
    let columns = [&metrics::FIGURE, &metrics::BEFORE, &metrics::AFTER, &metrics::CHANGE];
    let mut table = TableView::new("machine", "Memory of the machine", &columns);
    for (title, name) in MEMINFO {
        let (before, after) = (before.system.meminfo(name), after.system.meminfo(name));
        let change = change(before, after);
        table.row(vec![Cell::text(title), Cell::Bytes(before), Cell::Bytes(after), Cell::Change(change)]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    /// Rows of one table as `name change` or `name count`.
    fn rows(sheet: &SheetView, key: &str, column: usize) -> Vec<String> {
        let table = sheet.tables.iter().find(|table| table.key == key).expect("the table is there");
        let word = |cell: &Cell| match cell {
            Cell::Text(Reading::Known(text)) => text.clone(),
            Cell::Change(Reading::Known(change)) => (change >> 20).to_string(),
            Cell::Count(Reading::Known(count)) => count.to_string(),
            Cell::Text(_)
            | Cell::Bytes(_)
            | Cell::Change(_)
            | Cell::Count(_)
            | Cell::CountChange(_)
            | Cell::Share(_)
            | Cell::Span(_) => "?".to_owned(),
        };
        table.rows.iter().map(|row| format!("{} {}", word(&row[1]), word(&row[column]))).collect()
    }

    #[test]
    fn who_grew_is_first_and_by_how_much() {
        let (before, after) = (samples::beat(0), samples::beat(3));
        let sheet = SheetView::compare(("a", &before), ("a", &after));
        assert_eq!(sheet.tables[0].rows[0][6], Cell::Change(Reading::Known(30 << 20)));
        assert_eq!(rows(&sheet, "grown", 6)[0], "java 30");
        assert!(matches!(sheet.tables[0].rows[1][6], Cell::Change(Reading::Missing(_))), "its swap is not known");
        assert!(sheet.notes.is_empty());
    }

    #[test]
    fn a_pid_of_another_start_is_another_process() {
        let (before, mut after) = (samples::beat(0), samples::beat(1));
        let mut identity = (*after.processes[0].identity).clone();
        identity.key.started += 1;
        after.processes[0].identity = identity.into();
        let sheet = SheetView::compare(("a", &before), ("a", &after));
        assert_eq!(rows(&sheet, "new", 3), ["java 1"]);
        assert_eq!(rows(&sheet, "gone", 3), ["java 1"]);
    }

    #[test]
    fn between_machines_names_are_compared() {
        let (mut before, after) = (samples::beat(0), samples::beat(1));
        let second = before.processes[0].clone();
        before.processes.push(second);
        let sheet = SheetView::compare(("a", &before), ("b", &after));
        assert!(rows(&sheet, "grown", 6).contains(&"java -1975".to_owned()), "{:?}", rows(&sheet, "grown", 6));
        assert!(rows(&sheet, "new", 3).is_empty() && rows(&sheet, "gone", 3).is_empty());
        assert_eq!(sheet.notes.len(), 1);
    }

    #[test]
    fn the_machine_is_compared_as_far_as_it_is_known() {
        let sheet = SheetView::compare(("a", &samples::beat(0)), ("a", &samples::beat(2)));
        let table = sheet.tables.iter().find(|table| table.key == "machine").expect("the table is there");
        assert_eq!(table.rows[0][3], Cell::Change(Reading::Known(-(2 << 30))));
        assert!(matches!(table.rows[3][3], Cell::Change(Reading::Missing(_))), "AnonPages are not in the sample");
    }
}
