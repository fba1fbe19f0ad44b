//! Inspections with one of everything that can be shown.
//!
//! Owns: two looks at a process and at a machine. Must not know: how they are written.

use std::sync::Arc;
use std::time::Duration;

use model::inspection::{
    CgroupInspection, DescriptorInspection, DescriptorKind, LimitInspection, MachineInspection, MappingInspection,
    MappingKind, MappingUsage, ProcessInspection, SocketInspection, StackInspection, ThreadInspection,
    ZombieInspection, ZoneInspection,
};
use model::{
    Address, Bytes, Figure, FigureKey, Pid, ProcessKey, ProcessMetric, ProcessReading, Reading, Source, SourceSample,
    Why,
};
use report::SheetView;

const MIB: u64 = 1 << 20;

/// Two looks at a process, ten seconds apart, with three rows of each table.
pub(crate) fn sheet() -> SheetView {
    let (before, after) = (process(0), process(10));
    let mut sheet = SheetView::process(&after, 3);
    sheet.add_process_growth(&before, &after, Some(&super::leaking()), 3);
    sheet
}

/// Two looks at a machine.
pub(crate) fn machine_sheet(orders: bool) -> SheetView {
    let (before, after) = (machine(0), machine(1));
    let mut sheet = SheetView::machine(&after, 2, orders);
    sheet.add_machine_growth(&before, &after, &super::hunt(), 2);
    sheet
}

/// A heap that has grown by 1 MiB for each second, upwards and downwards.
fn process(second: u64) -> ProcessInspection {
    let heap = 0x5000_0000..0x5000_0000 + (8 + second) * MIB;
    let anonymous = 0x7f00_0000_0000 - second * MIB..0x7f00_0000_0000 + MIB;
    let file = 0x7f10_0000_0000..0x7f10_0020_0000;
    let shared = 0x7f20_0000_0000..0x7f20_0010_0000;
    let mut figures = super::beat(0).processes[0].figures.clone();
    figures.set(ProcessMetric::Pss, Reading::Known(12 * MIB));
    figures.set(ProcessMetric::Uss, Reading::Missing(Why::NotOffered));
    ProcessInspection {
        identity: super::leaking().identity,
        figures,
        mappings: Reading::Known(vec![
            mapping(heap, MappingKind::Heap, 8 + second, "[heap]"),
            mapping(anonymous, MappingKind::Anonymous, 1 + second, ""),
            mapping(file, MappingKind::File, 1, "/usr/lib/\x1b[2Jlibc.so.6"),
            mapping(shared, MappingKind::Shared, 1, "/SYSV0000002a (deleted)"),
        ]),
        descriptors: Reading::Known((0..8 + second).map(|number| descriptor(number as u32)).collect()),
        threads: Reading::Known((0..3).map(|number| thread(1234 + number)).collect()),
        limits: Reading::Known(vec![
            limit("Max resident set", None, None),
            limit("Max open files", Some(1024), Some(4096)),
        ]),
        cgroup: Reading::Known(CgroupInspection {
            path: "/system.slice/billing.service".to_owned(),
            usage: Reading::Known(Bytes(300 * MIB)),
            limit: Reading::Known(Some(Bytes(512 * MIB))),
            room: Reading::Known(Bytes(212 * MIB)),
            pressure: Reading::Known(125),
        }),
        left_out: 4,
        at: Duration::from_secs(100 + second),
        cost: Duration::from_micros(740),
    }
}

fn mapping(addresses: std::ops::Range<u64>, kind: MappingKind, mib: u64, name: &str) -> MappingInspection {
    let bytes = |part: u64| Reading::Known(Bytes(part * MIB));
    let size = Bytes(addresses.end - addresses.start);
    let usage = MappingUsage {
        size,
        rss: bytes(mib),
        pss: bytes(mib),
        uss: bytes(mib),
        dirty: bytes(1),
        swap: bytes(0),
        huge: bytes(0),
    };
    MappingInspection {
        addresses: Address(addresses.start)..Address(addresses.end),
        permissions: "rw-p".to_owned(),
        kind,
        inode: if kind == MappingKind::Shared { 32_769 } else { 0 },
        name: name.to_owned(),
        usage,
    }
}

/// Two connections and a socket whose network cannot be seen, and one file again and again.
fn descriptor(number: u32) -> DescriptorInspection {
    let socket = |local: &str, remote: &str| {
        let (local, remote) = (local.to_owned(), remote.to_owned());
        Some(Reading::Known(SocketInspection { state: "close wait", local, remote }))
    };
    let (kind, socket) = match number {
        0 => (DescriptorKind::Tcp, socket("10.0.0.1:80", "[2001:db8::7]:50100")),
        1 => (DescriptorKind::Tcp, socket("10.0.0.1:80", "[2001:db8::7]:50112")),
        2 => (DescriptorKind::Udp, Some(Reading::Missing(Why::NotOffered))),
        _ => (DescriptorKind::File, None),
    };
    let target = if socket.is_some() { format!("socket:[{number}]") } else { "/var/log/app.log".to_owned() };
    DescriptorInspection { number, kind, target: Reading::Known(target), socket }
}

fn thread(id: u32) -> ThreadInspection {
    let name = if id == 1234 { "billing-server" } else { "worker" };
    let known = Reading::Known(StackInspection { size: Bytes(8 << 20), rss: Reading::Known(Bytes(12_288)) });
    let stack = if id == 1234 { Reading::Missing(Why::NotRecorded) } else { known };
    ThreadInspection { id: Pid(id), name: name.to_owned(), state: Reading::Known('S'), stack }
}

fn limit(name: &str, soft: Option<u64>, hard: Option<u64>) -> LimitInspection {
    LimitInspection { name: name.to_owned(), soft, hard }
}

/// The machine at a minute, with what changes from one to the next.
fn machine(minute: u64) -> MachineInspection {
    let mut beat = super::beat(minute);
    let mut contained = beat.processes[0].clone();
    contained.identity = Arc::clone(&super::suspect().identity);
    for metric in [ProcessMetric::Pss, ProcessMetric::Uss] {
        contained.figures.set(metric, Reading::Missing(Why::OverBudget));
        beat.processes[0].figures.set(metric, Reading::Known(1900 * MIB));
    }
    let process: &mut ProcessReading = &mut beat.processes[0];
    process.figures.set(ProcessMetric::Descriptors, Reading::Known(900 + minute * 60));
    process.figures.set(ProcessMetric::DescriptorLimit, Reading::Known(1024));
    beat.processes.push(contained);
    beat.system.sources.extend(sources(minute));
    MachineInspection {
        beat,
        zombies: vec![ZombieInspection {
            process: ProcessKey { pid: Pid(99), started: 7 },
            command: "defunct".to_owned(),
            parent: Reading::Known(Pid(1)),
            parent_command: Reading::Known("init".to_owned()),
        }],
        zones: Reading::Known(vec![ZoneInspection {
            zone: "0/Normal".to_owned(),
            free: Bytes(64 * MIB),
            unusable_thousandths: Reading::Known(510),
        }]),
        cost: Duration::from_millis(12),
        over_budget: 1,
    }
}

fn sources(minute: u64) -> Vec<SourceSample> {
    let known = |source, figures: &[(&str, &str, u64)]| {
        let figure = |(subject, name, value): &(&str, &str, u64)| Figure {
            key: FigureKey { subject: (*subject).into(), name: (*name).into() },
            value: Reading::Known(*value),
        };
        SourceSample { source, figures: Reading::Known(figures.iter().map(figure).collect()) }
    };
    let group = [("/a", "usage", 9 * MIB), ("/a", "limit", u64::MAX), ("/a", "anon", MIB), ("/b", "usage", MIB)];
    let segment = [
        ("5", "bytes", 8 * MIB),
        ("5", "rss", 4 * MIB),
        ("5", "swap", 0),
        ("5", "attaches", 0),
        ("5", "owner", 1000),
        ("5", "creator", 4711),
    ];
    let machine = [("", "uptime", 90_000), ("", "descriptors", 1342), ("", "descriptors.limit", u64::MAX >> 1)];
    let load = [("", "load1", 31), ("", "load5", 2), ("", "load15", 100)];
    let slab = [("dentry", "active", 1), ("dentry", "total", 2), ("dentry", "bytes", (40 + minute) * MIB)];
    vec![
        known(Source::Cgroup, &group),
        known(Source::SystemVShared, &segment),
        known(Source::PosixShared, &[("\x1b[2Jname", "bytes", MIB), ("\x1b[2Jname", "owner", 0)]),
        known(Source::Machine, &machine),
        known(Source::Load, &load),
        known(Source::Slabinfo, &slab),
    ]
}
