//! One look at the machine as tables.
//!
//! Owns: which facts of it are shown, in which order. Must not know: how they were read.

use std::collections::BTreeMap;
use std::time::Duration;

use model::inspection::MachineInspection;
use model::{Bytes, Figure, ProcessMetric, ProcessReading, Reading, Source, SystemSample};

use super::{bytes, descending, hundredths, number, place, share, sum, user};
use crate::Span;
use crate::metrics::{self, Metric};
use crate::text::phrase::counted;
use crate::view::{BalanceView, Cell, SheetView, TableView, used};

impl SheetView {
    /// All that one look at the machine shows, at most `rows` of each table. `orders` asks for the processes once for each
    /// of PSS, USS and VSZ too: who reads a table cannot sort it, other than a program.
    pub fn machine(found: &MachineInspection, rows: usize, orders: bool) -> Self {
        let system = &found.beat.system;
        let mut tables = vec![whole(found), balance(system), processes(found, "processes", Order::Rss)];
        if orders {
            let orders = [Order::Pss, Order::Uss, Order::Vsz];
            tables.extend(["by_pss", "by_uss", "by_vsz"].iter().zip(orders).map(|(key, by)| processes(found, key, by)));
        }
        tables.extend([
            containers(found),
            groups(system),
            zombies(found),
            descriptors(found),
            segments(found),
            files(found),
            slab(system),
            zones(found),
        ]);
        // What is used for what is a sum, which needs all its parts.
        let cut = tables.into_iter().map(|table| if table.key == "balance" { table } else { table.first(rows) });
        Self { document: "inspect", title: "The machine".to_owned(), tables: cut.collect(), notes: notes(found) }
    }
}

fn notes(found: &MachineInspection) -> Vec<String> {
    let mut notes = vec![format!(
        "Reading PSS and USS took {} in all; for its share of that, each process could not map, unmap or fault in memory",
        Span(found.cost)
    )];
    if found.over_budget > 0 {
        notes.push(format!(
            "PSS and USS of {} were not read: that would take more than the budget (10 ms a GiB; --pss-budget raises it)",
            counted(found.over_budget, "process")
        ));
    }
    notes
}

/// Used is what programs can no longer get, not what is not free: the page cache of a healthy machine takes all that is left over.
fn whole(found: &MachineInspection) -> TableView {
    let system = &found.beat.system;
    let memory = |name| Cell::Bytes(system.meminfo(name));
    let difference = |whole, rest| Cell::Bytes(used(system, whole, rest).map(Bytes));
    let machine = |name| system.get(Source::Machine, "", name);
    let processes = found.beat.processes.iter().filter(|process| !process.identity.kernel_thread).count();
    let load = |name| system.get(Source::Load, "", name).known().map(|load| format!("{:.2}", load as f64 / 100.0));
    let load = ["load1", "load5", "load15"].map(load).into_iter().collect::<Option<Vec<_>>>();
    TableView::facts(
        "machine",
        "At a glance",
        [
            (&metrics::MEMORY_TOTAL, memory("MemTotal")),
            (&metrics::MEMORY_USED, difference("MemTotal", "MemAvailable")),
            (&metrics::MEMORY_AVAILABLE, memory("MemAvailable")),
            (&metrics::MEMORY_FREE, memory("MemFree")),
            (&metrics::CACHED, memory("Cached")),
            (&metrics::SHARED, memory("Shmem")),
            (&metrics::SLAB, memory("Slab")),
            (&metrics::SWAP_USED, difference("SwapTotal", "SwapFree")),
            (&metrics::PROCESSES, Cell::count(processes as u64)),
            (&metrics::ZOMBIES, Cell::Count(machine("processes.zombies"))),
            (&metrics::OPEN_FILES, Cell::Count(machine("descriptors"))),
            (&metrics::OPEN_FILES_LIMIT, Cell::Count(machine("descriptors.limit").map(unlimited))),
            (&metrics::PRESSURE_SOME, hundredths(system.get(Source::Pressure, "memory", "some.avg60"))),
            (&metrics::PRESSURE_FULL, hundredths(system.get(Source::Pressure, "memory", "full.avg60"))),
            (&metrics::UPTIME, Cell::Span(machine("uptime").map(Duration::from_millis))),
            (&metrics::LOAD, Cell::Text(Reading::from_option(load.map(|load| load.join(" ")), model::Why::NotOffered))),
        ],
    )
}

/// The kernel's word for "as many as you like" in `file-nr` is the greatest signed number; limits of processes have the greatest
/// unsigned one, which is what is shown as unlimited.
const fn unlimited(limit: u64) -> u64 {
    if limit >= i64::MAX as u64 { u64::MAX } else { limit }
}

fn balance(system: &SystemSample) -> TableView {
    // Sums over processes are not asked for: pages that two share would be in it twice, `AnonPages` has each once.
    let balance = BalanceView::from(&analysis::balance(system, []));
    let mut table = TableView::new("balance", "Where its memory is", &[&metrics::NAME, &metrics::BALANCE_PART]);
    for (name, part) in balance.parts {
        table.row(vec![Cell::text(name), Cell::Bytes(part)]);
    }
    table.row(vec![Cell::text("unexplained"), Cell::Change(balance.unexplained)]);
    table
}

/// What a table of processes is ordered by.
#[derive(Clone, Copy, Debug)]
enum Order {
    Rss,
    Pss,
    Uss,
    Vsz,
}

impl Order {
    const fn word(self) -> &'static str {
        match self {
            Self::Rss => "RSS",
            Self::Pss => "PSS",
            Self::Uss => "USS",
            Self::Vsz => "VSZ",
        }
    }

    fn of(self, process: &ProcessReading) -> Reading<u64> {
        match self {
            Self::Rss => process.figures.memory().rss().map(|bytes| bytes.0),
            Self::Pss => process.figures.get(ProcessMetric::Pss),
            Self::Uss => process.figures.get(ProcessMetric::Uss),
            Self::Vsz => process.figures.get(ProcessMetric::VirtualSize),
        }
    }
}

fn processes(found: &MachineInspection, key: &'static str, by: Order) -> TableView {
    let mut rows: Vec<_> = userland(found).collect();
    descending(&mut rows, |process| by.of(process));
    let all = rows.len();
    // Whoever was not read has no place in the order; where nobody was, the table says why.
    if rows.iter().any(|process| by.of(process).known().is_some()) {
        rows.retain(|process| by.of(process).known().is_some());
    }
    let part = if rows.len() < all { format!(", of {} that were read", rows.len()) } else { String::new() };
    let columns = [
        &metrics::PID,
        &metrics::COMMAND,
        &metrics::RSS,
        &metrics::PSS,
        &metrics::USS,
        &metrics::VIRTUAL_SIZE,
        &metrics::SWAP,
        &metrics::USER,
        &metrics::PLACE,
    ];
    TableView::new(key, format!("Top consumers by {}{part}", by.word()), &columns).with_rows(
        Reading::Known(rows),
        |process| {
            let mut cells = named(process);
            cells.extend([
                Cell::Bytes(process.figures.memory().rss()),
                bytes(process, ProcessMetric::Pss),
                bytes(process, ProcessMetric::Uss),
                bytes(process, ProcessMetric::VirtualSize),
                bytes(process, ProcessMetric::Swap),
                user(&process.identity),
                place(&process.identity),
            ]);
            cells
        },
    )
}

fn userland(found: &MachineInspection) -> impl Iterator<Item = &ProcessReading> {
    found.beat.processes.iter().filter(|process| !process.identity.kernel_thread)
}

fn named(process: &ProcessReading) -> Vec<Cell> {
    vec![number(process.identity.key.pid.0), Cell::text(&process.identity.command)]
}

/// Each container with what its processes take together. PSS counts a page once among all who share it, private memory is
/// theirs alone.
fn containers(found: &MachineInspection) -> TableView {
    let mut containers: BTreeMap<&str, Vec<&ProcessReading>> = BTreeMap::new();
    for process in userland(found) {
        containers.entry(process.identity.container.as_deref().unwrap_or_default()).or_default().push(process);
    }
    containers.remove("");
    let private = |of: &[&ProcessReading]| sum(of.iter().map(|process| process.figures.memory().private()));
    let mut rows: Vec<_> = containers.into_iter().collect();
    descending(&mut rows, |(_, of)| private(of).map(|bytes| bytes.0));
    let columns = [&metrics::CONTAINER, &metrics::NUMBER, &metrics::PRIVATE, &metrics::PSS, &metrics::COMMAND];
    TableView::new("containers", "Containers", &columns).with_rows(Reading::Known(rows), |(name, of)| {
        let pss = whole_sum(&of, ProcessMetric::Pss);
        let largest = of.iter().max_by_key(|process| process.figures.memory().rss().known());
        let largest = largest.map_or("", |process| process.identity.command.as_str());
        let sizes = [Cell::Bytes(private(&of)), Cell::Bytes(pss)];
        let named = [Cell::text(name), Cell::count(of.len() as u64)];
        named.into_iter().chain(sizes).chain([Cell::text(largest)]).collect()
    })
}

/// The sum over all processes that have memory (a zombie has none): a part of it would pass for the whole, and which processes are
/// too dear to read is no matter of their container.
fn whole_sum(of: &[&ProcessReading], metric: ProcessMetric) -> Reading<Bytes> {
    let with_memory = of.iter().filter(|process| process.figures.memory().private().known().is_some());
    let all = with_memory.map(|process| process.figures.bytes(metric)).reduce(|sum, more| sum.with(more, Bytes::plus));
    all.unwrap_or(Reading::Missing(model::Why::NotRecorded))
}

/// The figures of one subject.
type ByName<'a> = BTreeMap<&'a str, Reading<u64>>;

/// The subjects of a source, each with its figures.
fn subjects(system: &SystemSample, source: Source) -> Reading<Vec<(&str, ByName<'_>)>> {
    system.figures(source).map(|figures: &[Figure]| {
        let mut subjects: BTreeMap<&str, ByName<'_>> = BTreeMap::new();
        for figure in figures {
            subjects.entry(&figure.key.subject).or_default().insert(&figure.key.name, figure.value);
        }
        subjects.into_iter().collect()
    })
}

fn of(figures: &ByName<'_>, name: &str) -> Reading<u64> {
    figures.get(name).copied().unwrap_or(Reading::Missing(model::Why::NotOffered))
}

/// A table of the subjects of a source, the greatest by one figure first. The columns name the figures.
fn of_source(
    table: TableView,
    system: &SystemSample,
    (source, by): (Source, &str),
    row: impl Fn(&str, &ByName<'_>) -> Vec<Cell>,
) -> TableView {
    let mut rows = subjects(system, source);
    if let Reading::Known(rows) = &mut rows {
        descending(rows, |(_, figures)| of(figures, by));
    }
    table.with_rows(rows, |(subject, figures)| row(subject, &figures))
}

fn groups(system: &SystemSample) -> TableView {
    let columns = [
        &metrics::CGROUP,
        &metrics::GROUP_USAGE,
        &metrics::GROUP_LIMIT,
        &metrics::ANON,
        &metrics::FILE,
        &metrics::GROUP_KERNEL,
        &metrics::OOM_KILLS,
    ];
    let table = TableView::new("cgroups", "Control groups", &columns);
    of_source(table, system, (Source::Cgroup, "usage"), |path, figures| {
        let bytes = |name| Cell::Bytes(of(figures, name).map(Bytes));
        let mut cells = vec![Cell::text(path), bytes("usage"), bytes("limit")];
        cells.extend([bytes("anon"), bytes("file"), bytes("kernel"), Cell::Count(of(figures, "events.oom_kill"))]);
        cells
    })
}

/// With their parents, since these are what has to be mended: a zombie itself is only an entry of a table.
fn zombies(found: &MachineInspection) -> TableView {
    let columns = [&metrics::PID, &metrics::COMMAND, &metrics::PARENT, &metrics::PARENT_COMMAND];
    let table = TableView::new("zombies", "Zombies and the parents that do not wait for them", &columns);
    table.with_rows(Reading::Known(&found.zombies), |zombie| {
        let parent = zombie.parent.map(|pid| u64::from(pid.0));
        let (own, of_parent) = (Cell::text(&zombie.command), Cell::Text(zombie.parent_command.clone()));
        vec![number(zombie.process.pid.0), own, Cell::Count(parent), of_parent]
    })
}

/// Those that are nearest to their limit first.
fn descriptors(found: &MachineInspection) -> TableView {
    let used = |process: &ProcessReading| process.figures.get(ProcessMetric::Descriptors);
    let limit = |process: &ProcessReading| process.figures.get(ProcessMetric::DescriptorLimit);
    let part = |process: &ProcessReading| share(used(process), limit(process));
    let mut rows: Vec<_> = userland(found).collect();
    // What has no limit, or is unknown, sorts below every share.
    rows.sort_by(|one, other| part(other).unwrap_or(-1.0).total_cmp(&part(one).unwrap_or(-1.0)));
    let columns =
        [&metrics::PID, &metrics::COMMAND, &metrics::DESCRIPTORS, &metrics::DESCRIPTOR_LIMIT, &metrics::USED_SHARE];
    let table = TableView::new("descriptors", "Descriptors against their limits", &columns);
    table.with_rows(Reading::Known(rows), |process| {
        let mut cells = named(process);
        let part = match (part(process), used(process)) {
            (Some(part), _) => Reading::Known(part),
            (None, Reading::Missing(why)) => Reading::Missing(why),
            (None, Reading::Known(_)) => Reading::Missing(model::Why::NotOffered),
        };
        cells.extend([Cell::Count(used(process)), Cell::Count(limit(process)), Cell::Share(part)]);
        cells
    })
}

/// The user of a number, as far as a process of the same user tells the name.
fn owner(found: &MachineInspection, uid: Reading<u64>) -> Cell {
    let name = |uid: u64| {
        let alike = found.beat.processes.iter().map(|process| &process.identity);
        let mut alike = alike.filter(|identity| identity.uid.known().map(u64::from) == Some(uid));
        alike.find_map(|identity| identity.user.as_known().cloned()).unwrap_or_else(|| uid.to_string())
    };
    Cell::Text(uid.map(name))
}

/// Segments outlive their processes: one that nobody has attached is memory that only `ipcrm` or a reboot gives back.
fn segments(found: &MachineInspection) -> TableView {
    let columns: [&Metric; 7] = [
        &metrics::SEGMENT,
        &metrics::SIZE,
        &metrics::RSS,
        &metrics::SWAP,
        &metrics::ATTACHES,
        &metrics::CREATOR,
        &metrics::OWNER,
    ];
    let table = TableView::new("system_v_shared", "Shared memory of System V", &columns);
    of_source(table, &found.beat.system, (Source::SystemVShared, "bytes"), |id, figures| {
        let bytes = |name| Cell::Bytes(of(figures, name).map(Bytes));
        // The subject is written as a number.
        let id = Reading::from_option(id.parse().ok(), model::Why::Malformed);
        let mut cells = vec![Cell::Count(id), bytes("bytes"), bytes("rss"), bytes("swap")];
        cells.extend(["attaches", "creator"].map(|name| Cell::Count(of(figures, name))));
        cells.push(owner(found, of(figures, "owner")));
        cells
    })
}

/// The same of POSIX, which are files and stay until they are removed. How much of one is in RAM is not told by any file of the kernel.
fn files(found: &MachineInspection) -> TableView {
    let columns = [&metrics::NAME, &metrics::SIZE, &metrics::OWNER];
    let table = TableView::new("posix_shared", "Shared memory of POSIX (/dev/shm)", &columns);
    of_source(table, &found.beat.system, (Source::PosixShared, "bytes"), |name, figures| {
        let size = Cell::Bytes(of(figures, "bytes").map(Bytes));
        vec![Cell::text(name), size, owner(found, of(figures, "owner"))]
    })
}

/// A cache may hold objects of another name, since the kernel merges caches of alike objects.
fn slab(system: &SystemSample) -> TableView {
    let columns = [&metrics::NAME, &metrics::SIZE, &metrics::OBJECTS_ACTIVE, &metrics::OBJECTS];
    let table = TableView::new("slab", "Slab caches of the kernel", &columns);
    of_source(table, system, (Source::Slabinfo, "bytes"), |cache, figures| {
        let size = Cell::Bytes(of(figures, "bytes").map(Bytes));
        vec![Cell::text(cache), size, Cell::Count(of(figures, "active")), Cell::Count(of(figures, "total"))]
    })
}

/// Free memory in small pieces is why an allocation fails, or a huge page is missing, while a lot is free.
fn zones(found: &MachineInspection) -> TableView {
    let columns = [&metrics::ZONE, &metrics::MEMORY_FREE, &metrics::UNUSABLE];
    let zones = match &found.zones {
        Reading::Known(zones) => Reading::Known(zones),
        Reading::Missing(why) => Reading::Missing(*why),
    };
    TableView::new("zones", "Fragmentation of free memory", &columns).with_rows(zones, |zone| {
        let unusable = zone.unusable_thousandths.map(|thousandths| thousandths as f64 / 1000.0);
        vec![Cell::text(&zone.zone), Cell::Bytes(Reading::Known(zone.free)), Cell::Share(unusable)]
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::Why;

    use super::*;

    /// A process with so much PSS, without memory where there is nothing.
    fn process(pss: Option<Reading<u64>>) -> ProcessReading {
        let mut figures = model::ProcessFigures::default();
        if let Some(pss) = pss {
            figures.set(ProcessMetric::RssAnon, Reading::Known(1));
            figures.set(ProcessMetric::Swap, Reading::Known(0));
            figures.set(ProcessMetric::Pss, pss);
        }
        ProcessReading { identity: Arc::clone(&crate::samples::hunt().processes[0].identity), figures }
    }

    #[track_caller]
    fn check(processes: &[Option<Reading<u64>>], expected: Reading<u64>) {
        let processes: Vec<ProcessReading> = processes.iter().map(|pss| process(*pss)).collect();
        let sum = whole_sum(&processes.iter().collect::<Vec<_>>(), ProcessMetric::Pss);
        assert_eq!(sum.map(|bytes| bytes.0), expected);
    }

    #[test]
    fn a_part_of_a_container_does_not_pass_for_the_whole() {
        let unread = Reading::Missing(Why::OverBudget);
        check(&[Some(Reading::Known(5)), Some(Reading::Known(7))], Reading::Known(12));
        check(&[Some(Reading::Known(5)), Some(unread)], unread);
        check(&[Some(Reading::Known(5)), None], Reading::Known(5));
        check(&[None], Reading::Missing(Why::NotRecorded));
    }
}
