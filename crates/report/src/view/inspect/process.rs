//! One look at a process as tables.
//!
//! Owns: which facts of it are shown, in which order. Must not know: how they were read.

use std::collections::BTreeMap;

use model::inspection::{
    CgroupInspection, DescriptorInspection, DescriptorKind, MappingInspection, MappingKind, MappingUsage,
    ProcessInspection, SocketInspection, StackInspection, ThreadInspection,
};
use model::{Bytes, Pid, ProcessMetric, Reading, Why};

use super::{descending, hundredths, number, user};
use crate::Span;
use crate::metrics::{self, Metric};
use crate::view::{Cell, SheetView, TableView};

/// What a mapping, or several, take: the columns of `pmap -x` and of `smem`.
const USAGE: [&Metric; 7] =
    [&metrics::SIZE, &metrics::RSS, &metrics::PSS, &metrics::USS, &metrics::DIRTY, &metrics::SWAP, &metrics::HUGE];

impl SheetView {
    /// All that one look at a process shows, at most `rows` of each table.
    pub fn process(found: &ProcessInspection, rows: usize) -> Self {
        let identity = &found.identity;
        let mut notes = Vec::new();
        // The kernel holds the lock of the address space while it walks the page tables for `smaps`: a price that the process pays,
        // and that whoever looks again and again must know.
        if found.mappings.as_known().is_some() {
            notes.push(format!(
                "Reading the mappings took {}; for so long the process could not map, unmap or fault in memory",
                Span(found.cost)
            ));
        }
        if found.left_out > 0 {
            notes.push(format!("{} mappings, descriptors or threads are too many to list", found.left_out));
        }
        Self {
            document: "inspect",
            title: format!("Process {} ({})", identity.key.pid, identity.command),
            tables: vec![
                whole(found),
                kinds(found),
                mappings(found).first(rows),
                descriptors(&found.descriptors),
                targets(&found.descriptors).first(rows),
                sockets(&found.descriptors).first(rows),
                shared(&found.mappings).first(rows),
                threads(&found.threads).first(rows),
                limits(found),
                cgroup(&found.cgroup),
            ],
            notes,
        }
    }
}

/// Everything that is one figure. PSS and USS stand beside RSS, since only all three tell a large process from one that shares much.
fn whole(found: &ProcessInspection) -> TableView {
    use ProcessMetric as Of;
    let (identity, figures) = (&found.identity, &found.figures);
    let bytes = |metric| Cell::Bytes(figures.bytes(metric));
    let count = |metric| Cell::Count(figures.get(metric));
    let cpu = figures.get(Of::CpuTime).map(std::time::Duration::from_millis);
    TableView::facts(
        "process",
        "At a glance",
        [
            (&metrics::PID, number(identity.key.pid.0)),
            (&metrics::STARTED, Cell::count(identity.key.started)),
            (&metrics::COMMAND, Cell::text(&identity.command)),
            (&metrics::USER, user(identity)),
            (&metrics::PARENT, count(Of::Parent)),
            (&metrics::PROCESS_STATE, Cell::Text(figures.state().map(String::from))),
            (&metrics::CPU_TIME, Cell::Span(cpu)),
            (&metrics::RSS, Cell::Bytes(figures.memory().rss())),
            (&metrics::PSS, bytes(Of::Pss)),
            (&metrics::USS, bytes(Of::Uss)),
            (&metrics::PRIVATE, Cell::Bytes(figures.memory().private())),
            (&metrics::SWAP, bytes(Of::Swap)),
            (&metrics::VIRTUAL_SIZE, bytes(Of::VirtualSize)),
            (&metrics::PAGE_TABLES, bytes(Of::PageTables)),
            (&metrics::THREADS, count(Of::Threads)),
            (&metrics::DESCRIPTORS, count(Of::Descriptors)),
            (&metrics::DESCRIPTOR_LIMIT, count(Of::DescriptorLimit)),
            (&metrics::MINOR_FAULTS, count(Of::MinorFaults)),
            (&metrics::MAJOR_FAULTS, count(Of::MajorFaults)),
            (&metrics::OOM_SCORE, count(Of::OomScore)),
            (&metrics::ARGUMENTS, Cell::text(&identity.arguments)),
        ],
    )
}

/// The cells below [`USAGE`]. Taken apart by name, so that a figure that is added cannot be forgotten here.
fn usage(usage: &MappingUsage) -> [Cell; USAGE.len()] {
    let &MappingUsage { size, rss, pss, uss, dirty, swap, huge } = usage;
    [Reading::Known(size), rss, pss, uss, dirty, swap, huge].map(Cell::Bytes)
}

/// Each kind that is there, the largest first, and all together.
fn kinds(found: &ProcessInspection) -> TableView {
    let columns = [&metrics::MAPPING_KIND, &metrics::NUMBER].into_iter().chain(USAGE).collect::<Vec<_>>();
    let table = TableView::new("kinds", "Memory by kind", &columns);
    let all = match found.all_mappings() {
        Reading::Known(all) => all,
        Reading::Missing(why) => return table.with_rows::<()>(Reading::<Vec<()>>::Missing(why), |()| Vec::new()),
    };
    let each = MappingKind::ALL.iter().filter_map(|kind| Some((kind.key(), found.of_kind(*kind).known()?)));
    let mut rows: Vec<_> = each.filter(|(_, (_, count))| *count > 0).collect();
    descending(&mut rows, |(_, (usage, _))| usage.taken().map(|bytes| bytes.0));
    debug_assert!(rows.iter().map(|(_, (_, count))| count).sum::<usize>() == all.1, "each mapping is of one kind");
    // Last, as a sum stands; not a kind of its own, which is why it is never sorted with them.
    rows.push(("all", all));
    table.with_rows(Reading::Known(rows), |(kind, (sum, count))| {
        [Cell::text(kind), Cell::count(count as u64)].into_iter().chain(usage(&sum)).collect()
    })
}

/// The mappings that take most first.
fn mappings(found: &ProcessInspection) -> TableView {
    let columns = [&metrics::ADDRESS, &metrics::MAPPING_KIND].into_iter().chain(USAGE);
    let columns = columns.chain([&metrics::PERMISSIONS, &metrics::PATH]).collect::<Vec<_>>();
    let mut rows: Reading<Vec<&MappingInspection>> = by_reference(&found.mappings);
    if let Reading::Known(rows) = &mut rows {
        descending(rows, |mapping| mapping.usage.taken().map(|bytes| bytes.0));
    }
    TableView::new("mappings", "Mappings", &columns).with_rows(rows, |mapping| {
        let named = [Cell::text(mapping.addresses.start.to_string()), Cell::text(mapping.kind.key())];
        let rest = [Cell::text(&mapping.permissions), Cell::text(&mapping.name)];
        named.into_iter().chain(usage(&mapping.usage)).chain(rest).collect()
    })
}

/// The same list, so that it can be sorted without being copied: a process may have 65,530 mappings.
fn by_reference<T>(list: &Reading<Vec<T>>) -> Reading<Vec<&T>> {
    match list {
        Reading::Known(list) => Reading::Known(list.iter().collect()),
        Reading::Missing(why) => Reading::Missing(*why),
    }
}

/// Descriptors by what they are open on. The example is the target that is open most often, since the same file a
/// hundred times is what a leak looks like.
fn descriptors(list: &Reading<Vec<DescriptorInspection>>) -> TableView {
    let mut kinds: BTreeMap<_, (u64, BTreeMap<&str, u64>)> = BTreeMap::new();
    for descriptor in list.as_known().into_iter().flatten() {
        let (count, targets) = kinds.entry(descriptor.kind).or_default();
        *count += 1;
        // A target that went away while it was read still counts as one that is open.
        *targets.entry(descriptor.target.as_known().map_or("", String::as_str)).or_default() += 1;
    }
    let mut rows: Vec<_> = kinds.into_iter().collect();
    descending(&mut rows, |(_, (count, _))| Reading::Known(*count));
    let columns = [&metrics::DESCRIPTOR_KIND, &metrics::NUMBER, &metrics::EXAMPLE];
    let rows = by_reference(list).map(|_| rows);
    TableView::new("descriptors", "Descriptors by type", &columns).with_rows(rows, |(kind, (count, targets))| {
        let example = targets.iter().max_by_key(|(_, count)| **count).map_or("", |(target, _)| target);
        vec![Cell::text(kind.key()), Cell::count(count), Cell::text(example)]
    })
}

/// What is open more than once. Sockets never are, since each has its own number: they have a table by what they lead to.
fn targets(list: &Reading<Vec<DescriptorInspection>>) -> TableView {
    let mut targets: BTreeMap<&str, u64> = BTreeMap::new();
    for target in list.as_known().into_iter().flatten().filter_map(|descriptor| descriptor.target.as_known()) {
        *targets.entry(target).or_default() += 1;
    }
    let mut rows: Vec<_> = targets.into_iter().filter(|(_, count)| *count > 1).collect();
    descending(&mut rows, |(_, count)| Reading::Known(*count));
    let rows = by_reference(list).map(|_| rows);
    let table = TableView::new("targets", "What is open more than once", &[&metrics::NUMBER, &metrics::TARGET]);
    table.with_rows(rows, |(target, count)| vec![Cell::count(count), Cell::text(target)])
}

/// Sockets of one type that do the same for the same partner are one row: a hundred in `close wait` are connections that the other
/// end gave up and this one never closed.
fn sockets(list: &Reading<Vec<DescriptorInspection>>) -> TableView {
    type Row<'a> = (DescriptorKind, Reading<&'a str>, &'a str);
    let mut groups: BTreeMap<Row<'_>, (u64, Option<&SocketInspection>)> = BTreeMap::new();
    for descriptor in list.as_known().into_iter().flatten() {
        let Some(socket) = &descriptor.socket else { continue };
        let (state, socket) = match socket {
            Reading::Known(socket) => (Reading::Known(socket.state), Some(socket)),
            Reading::Missing(why) => (Reading::Missing(*why), None),
        };
        let group = groups.entry((descriptor.kind, state, socket.map_or("", partner)));
        group.or_insert((0, socket)).0 += 1;
    }
    let mut rows: Vec<_> = groups.into_iter().collect();
    descending(&mut rows, |(_, (count, _))| Reading::Known(*count));
    let columns = [
        &metrics::DESCRIPTOR_KIND,
        &metrics::SOCKET_STATE,
        &metrics::PARTNER,
        &metrics::NUMBER,
        &metrics::SOCKET_LOCAL,
        &metrics::SOCKET_REMOTE,
    ];
    let rows = by_reference(list).map(|_| rows);
    let table = TableView::new("sockets", "Sockets by what they do", &columns);
    table.with_rows(rows, |((kind, state, partner), (count, one))| {
        let end = |of: fn(&SocketInspection) -> &String| Cell::text(one.map_or("", |socket| of(socket)));
        let named =
            [Cell::text(kind.key()), Cell::Text(state.map(String::from)), Cell::text(partner), Cell::count(count)];
        named.into_iter().chain([end(|socket| &socket.local), end(|socket| &socket.remote)]).collect()
    })
}

/// The other machine, without its port: that of a client is another each time.
fn partner(socket: &SocketInspection) -> &str {
    socket.remote.rsplit_once(':').map_or("", |(address, _)| address)
}

/// Segments and files that others may share, each once however often it is mapped.
fn shared(list: &Reading<Vec<MappingInspection>>) -> TableView {
    let mut segments: BTreeMap<(u64, &str), (MappingUsage, u64)> = BTreeMap::new();
    let shared = list.as_known().into_iter().flatten().filter(|mapping| mapping.kind == MappingKind::Shared);
    for mapping in shared {
        let (sum, count) = segments.entry((mapping.inode, &mapping.name)).or_insert((MappingUsage::NONE, 0));
        *sum = sum.plus(mapping.usage);
        *count += 1;
    }
    let mut rows: Vec<_> = segments.into_iter().collect();
    descending(&mut rows, |(_, (usage, _))| usage.taken().map(|bytes| bytes.0));
    let columns = [
        &metrics::SEGMENT,
        &metrics::NUMBER,
        &metrics::SIZE,
        &metrics::RSS,
        &metrics::PSS,
        &metrics::SWAP,
        &metrics::PATH,
    ];
    let rows = by_reference(list).map(|_| rows);
    TableView::new("shared", "Shared segments and files", &columns).with_rows(
        rows,
        |((inode, name), (usage, count))| {
            let sizes = [Reading::Known(usage.size), usage.rss, usage.pss, usage.swap].map(Cell::Bytes);
            let named = [Cell::count(inode), Cell::count(count)];
            named.into_iter().chain(sizes).chain([Cell::text(name)]).collect()
        },
    )
}

/// Threads of the same name in the same state are one row, with the sum of their stacks.
fn threads(list: &Reading<Vec<ThreadInspection>>) -> TableView {
    type Stacks = Reading<StackInspection>;
    let mut groups: BTreeMap<(&str, Reading<char>), (u64, Pid, Stacks)> = BTreeMap::new();
    let none = Reading::Known(StackInspection { size: Bytes(0), rss: Reading::Known(Bytes(0)) });
    for thread in list.as_known().into_iter().flatten() {
        let (count, _, stacks) = groups.entry((&thread.name, thread.state)).or_insert((0, thread.id, none));
        *count += 1;
        *stacks = stacks.with(thread.stack, |sum, one| StackInspection {
            size: sum.size.plus(one.size),
            rss: sum.rss.with(one.rss, Bytes::plus),
        });
    }
    let mut rows: Vec<_> = groups.into_iter().collect();
    descending(&mut rows, |(_, (count, ..))| Reading::Known(*count));
    let columns = [
        &metrics::NAME,
        &metrics::PROCESS_STATE,
        &metrics::NUMBER,
        &metrics::THREAD,
        &metrics::STACK_SIZE,
        &metrics::STACK_RSS,
    ];
    let rows = by_reference(list).map(|_| rows);
    TableView::new("threads", "Threads by name", &columns).with_rows(rows, |((name, state), (count, id, stacks))| {
        let rss = match stacks {
            Reading::Known(stacks) => stacks.rss,
            Reading::Missing(why) => Reading::Missing(why),
        };
        let sizes = [stacks.map(|stacks| stacks.size), rss].map(Cell::Bytes);
        let named = [Cell::text(name), Cell::Text(state.map(String::from)), Cell::count(count), number(id.0)];
        named.into_iter().chain(sizes).collect()
    })
}

/// Those that limit something first.
fn limits(found: &ProcessInspection) -> TableView {
    let columns = [&metrics::NAME, &metrics::SOFT_LIMIT, &metrics::HARD_LIMIT];
    let mut rows = by_reference(&found.limits);
    // Stable, so that the order of the kernel stays among them.
    if let Reading::Known(rows) = &mut rows {
        rows.sort_by_key(|limit| limit.soft.is_none());
    }
    TableView::new("limits", "Limits", &columns).with_rows(rows, |limit| {
        let value = |limit: Option<u64>| Cell::count(limit.unwrap_or(u64::MAX));
        vec![Cell::text(&limit.name), value(limit.soft), value(limit.hard)]
    })
}

/// Where nothing limits the group, there is no end to its room; what is missing for another reason stays missing.
fn room(group: &CgroupInspection) -> Reading<Bytes> {
    match (group.room, group.limit) {
        (Reading::Missing(Why::NotRecorded), Reading::Known(None)) => Reading::Known(Bytes(u64::MAX)),
        (room, _) => room,
    }
}

fn cgroup(group: &Reading<CgroupInspection>) -> TableView {
    let (key, title) = ("cgroup", "Control group");
    match group {
        Reading::Known(group) => TableView::facts(
            key,
            title,
            [
                (&metrics::CGROUP, Cell::text(&group.path)),
                (&metrics::GROUP_USAGE, Cell::Bytes(group.usage)),
                (&metrics::GROUP_LIMIT, Cell::Bytes(group.limit.map(|limit| limit.unwrap_or(Bytes(u64::MAX))))),
                (&metrics::GROUP_ROOM, Cell::Bytes(room(group))),
                (&metrics::GROUP_PRESSURE, hundredths(group.pressure)),
            ],
        ),
        Reading::Missing(why) => TableView { missing: Some(*why), ..TableView::new(key, title, &[&metrics::CGROUP]) },
    }
}
