//! One look at a process or the machine, in full and at once.
//!
//! Owns: reading all that a process shows of itself. Must not know: how it is shown, or what is too much.
//!
//! Unlike sampling this may cost the target: `smaps` holds the lock of its mappings for 10 ms per GiB of small pages. It is
//! done once, because somebody asked for it.

mod mappings;
mod sockets;

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use formats::{buddyinfo, memory, pressure, process_limits};
use model::inspection::{
    CgroupInspection, DescriptorInspection, DescriptorKind, LimitInspection, MachineInspection, MappingUsage,
    ProcessInspection, ThreadInspection, ZombieInspection, ZoneInspection,
};
use model::{Bytes, Event, Identity, Pid, ProcessMetric, ProcessReading, Reading, Why, escaped};

use crate::clock::Clock;

use super::beat::{BeatOptions, BeatSampler, pss_cost};
use super::details::{self, missing};
use super::limits::{LISTED_MAX, SMAPS_MAX};
use super::proc::{Failure, Proc, failure};
use super::process::{self, Found};
use super::users::Users;
use super::{HostError, examine, room};

/// Order of a huge page of 2 MiB.
const HUGE_ORDER: usize = 9;
/// Bytes of a page on x86-64.
const PAGE: u64 = 4096;

/// Looks at one process.
pub fn inspect_process(pid: Pid) -> Result<ProcessInspection, HostError> {
    let users = fs::read("/etc/passwd").map(|text| Users::from_passwd(&text)).unwrap_or_default();
    at(&mut Proc::new(Path::new("/proc")), Path::new("/sys/fs/cgroup"), &users, pid)
}

/// Looks at the machine: all processes, with PSS and USS as far as the budget of the targets' time goes.
pub fn inspect_machine(pss_budget: Duration) -> Result<MachineInspection, HostError> {
    let mut sampler = BeatSampler::new(BeatOptions::default())?;
    machine(&mut sampler, &mut Proc::new(Path::new("/proc")), pss_budget)
}

fn machine(sampler: &mut BeatSampler, proc: &mut Proc, budget: Duration) -> Result<MachineInspection, HostError> {
    let mut beat = sampler.beat()?;
    let (cost, over_budget) = read_shares(&mut beat.processes, proc, budget);
    let name = |pid: Pid| {
        let found = beat.processes.iter().find(|process| process.identity.key.pid == pid);
        Reading::from_option(found.map(|process| process.identity.command.clone()), Why::NotRecorded)
    };
    let zombies = beat.events.iter().filter_map(|event| {
        let Event::Zombie { process, command, parent } = event else { return None };
        let parent_command = parent.known().map_or(Reading::Missing(Why::NotRecorded), name);
        Some(ZombieInspection { process: *process, command: command.clone(), parent: *parent, parent_command })
    });
    let zombies = zombies.collect();
    let zones = proc.machine("buddyinfo").map_or_else(
        |_| Reading::Missing(Why::NotOffered),
        |text| Reading::Known(buddyinfo::parse(text).map(|zone| self::zone(&zone)).collect()),
    );
    Ok(MachineInspection { beat, zombies, zones, cost, over_budget })
}

/// PSS and USS as far as the budget goes, the largest processes first, since they are what somebody looks for. Gives the
/// time that the processes lost, and how many of them were left out.
fn read_shares(processes: &mut [ProcessReading], proc: &mut Proc, budget: Duration) -> (Duration, u64) {
    let mut order: Vec<&mut ProcessReading> =
        processes.iter_mut().filter(|process| !process.identity.kernel_thread).collect();
    order.sort_by_key(|process| Reverse(process.figures.memory().rss().known()));
    let (mut spent, mut left_out) = (Duration::ZERO, 0);
    for process in order {
        let fits = pss_cost(process) <= budget.saturating_sub(spent);
        let absent = Reading::Missing(Why::OverBudget);
        let begun = Instant::now();
        let (pss, uss) = if fits { details::shares(proc, process.identity.key.pid.0) } else { (absent, absent) };
        if fits {
            spent += begun.elapsed();
        } else {
            left_out += 1;
        }
        process.figures.set(ProcessMetric::Pss, pss.map(|bytes| bytes.0));
        process.figures.set(ProcessMetric::Uss, uss.map(|bytes| bytes.0));
    }
    (spent, left_out)
}

fn zone(zone: &buddyinfo::Zone<'_>) -> ZoneInspection {
    let blocks = zone.free.iter().enumerate().take(zone.orders);
    let pages = blocks.fold(0u64, |sum, (order, blocks)| sum.saturating_add(blocks.saturating_mul(1 << order)));
    ZoneInspection {
        zone: format!("{}/{}", zone.node, escaped(zone.name)),
        free: Bytes(pages.saturating_mul(PAGE)),
        unusable_thousandths: Reading::from_option(zone.unusable_thousandths(HUGE_ORDER), Why::NotOffered),
    }
}

fn at(proc: &mut Proc, groups: &Path, users: &Users, pid: Pid) -> Result<ProcessInspection, HostError> {
    examine(proc, pid, std::process::id())?;
    let found = process::find(proc, users, pid.0);
    let (mut process, seen) = match found {
        Ok(Found::Process(process, seen)) => (process, seen),
        Ok(Found::KernelThread) => return Err(HostError::KernelThread { pid }),
        Ok(Found::Zombie(_)) => return Err(HostError::Zombie { pid }),
        Err(Failure::Forbidden) => return Err(HostError::Forbidden { pid }),
        Err(_) => return Err(HostError::NoSuchProcess { pid }),
    };
    let figures = details::figures(proc, &mut process, &seen, 0);
    let identity = process.identity.clone();
    let mut left_out = 0;
    let (mut threads, pointers) = threads(proc, pid.0, &mut left_out);
    let (at, begun) = (Clock::start().since_boot(), Instant::now());
    let text = whole(proc, pid.0, "smaps");
    let cost = begun.elapsed();
    let mappings =
        text.map_or_else(missing, |text| Reading::Known(mappings::inspected(&text, &pointers, &mut left_out)));
    mappings::add_stacks(&mut threads, &pointers, &mappings);
    let descriptors = descriptors(proc, pid.0, &mut left_out);
    let limits = proc.read_named(pid.0, "limits").map_or_else(missing, |text| Reading::Known(limits(text)));
    // That it is still the same process makes all between belong to it.
    if proc.read_named(pid.0, "stat").ok().and_then(formats::stat::parse).map(|stat| stat.started)
        != Some(identity.key.started)
    {
        return Err(HostError::NoSuchProcess { pid });
    }
    let cgroup = group(groups, &identity);
    let mut found =
        ProcessInspection { identity, figures, mappings, descriptors, threads, limits, cgroup, left_out, at, cost };
    // The sum over the mappings: `smaps_rollup` would make the kernel walk them once more.
    let all = |part: fn(&MappingUsage) -> Reading<Bytes>| match found.all_mappings() {
        Reading::Known((usage, _)) => part(&usage).map(|bytes| bytes.0),
        Reading::Missing(why) => Reading::Missing(why),
    };
    let (pss, uss) = (all(|usage| usage.pss), all(|usage| usage.uss));
    found.figures.set(ProcessMetric::Pss, pss);
    found.figures.set(ProcessMetric::Uss, uss);
    Ok(found)
}

/// A file that may be longer than what sampling reads.
fn whole(proc: &Proc, pid: u32, name: &str) -> Result<Vec<u8>, Failure> {
    let file: File = proc.open(pid, name)?;
    let mut text = Vec::new();
    file.take(SMAPS_MAX).read_to_end(&mut text).map_err(|error| failure(&error))?;
    Ok(text)
}

/// The numbers in a folder of a process, rising; more than the bound are counted.
fn numbers(proc: &Proc, pid: u32, name: &str, left_out: &mut u64) -> Result<Vec<u32>, Failure> {
    let entries = fs::read_dir(proc.path(&format!("{pid}/{name}"))).map_err(|error| failure(&error))?;
    let mut found = Vec::new();
    for number in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        if found.len() < LISTED_MAX {
            found.push(number);
        } else {
            *left_out += 1;
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The threads, and the stack pointer of each that waits in the kernel.
fn threads(proc: &mut Proc, pid: u32, left_out: &mut u64) -> (Reading<Vec<ThreadInspection>>, Vec<Option<u64>>) {
    let ids = match numbers(proc, pid, "task", left_out) {
        Ok(ids) => ids,
        Err(failure) => return (missing(failure), Vec::new()),
    };
    let (mut threads, mut pointers) = (Vec::new(), Vec::new());
    for id in ids {
        let text = proc.read_named(pid, &format!("task/{id}/stat"));
        let Some(stat) = text.ok().and_then(formats::stat::parse) else { continue };
        let (name, state) = (escaped(stat.command), Reading::Known(char::from(stat.state)));
        let text = proc.read_named(pid, &format!("task/{id}/syscall"));
        let pointer = text.map(mappings::stack_pointer);
        let stack = pointer.map_or_else(missing, |_| Reading::Missing(Why::NotRecorded));
        threads.push(ThreadInspection { id: Pid(id), name, state, stack });
        pointers.push(pointer.ok().flatten());
    }
    (Reading::Known(threads), pointers)
}

fn descriptors(proc: &Proc, pid: u32, left_out: &mut u64) -> Reading<Vec<DescriptorInspection>> {
    let numbers = match numbers(proc, pid, "fd", left_out) {
        Ok(numbers) => numbers,
        Err(failure) => return missing(failure),
    };
    let one = |number: u32| {
        use std::os::unix::ffi::OsStrExt as _;
        let target = fs::read_link(proc.path(&format!("{pid}/fd/{number}")));
        let kind = target.as_ref().map_or(DescriptorKind::File, |target| kind(target.as_os_str().as_bytes()));
        let target = target.map_or(Reading::Missing(Why::ProcessGone), |target| {
            Reading::Known(escaped(target.as_os_str().as_bytes()))
        });
        DescriptorInspection { number, kind, target, socket: None }
    };
    let mut found: Vec<_> = numbers.into_iter().map(one).collect();
    sockets::tell_apart(proc, pid, &mut found);
    Reading::Known(found)
}

fn kind(target: &[u8]) -> DescriptorKind {
    match target {
        [b'/', b'm', b'e', b'm', b'f', b'd', b':', ..] => DescriptorKind::Memory,
        _ if target.starts_with(b"/dev/shm/") => DescriptorKind::Memory,
        _ if target.starts_with(b"/dev/") => DescriptorKind::Device,
        [b'/', ..] => DescriptorKind::File,
        _ if target.starts_with(b"socket:") => DescriptorKind::Socket,
        _ if target.starts_with(b"pipe:") => DescriptorKind::Pipe,
        _ => DescriptorKind::Anonymous,
    }
}

fn limits(text: &[u8]) -> Vec<LimitInspection> {
    let limits = process_limits::parse(text);
    limits.map(|limit| LimitInspection { name: escaped(limit.name), soft: limit.soft, hard: limit.hard }).collect()
}

fn group(root: &Path, identity: &Identity) -> Reading<CgroupInspection> {
    let path = match &identity.cgroup {
        Reading::Known(path) => path.clone(),
        Reading::Missing(why) => return Reading::Missing(*why),
    };
    let Some(folder) = room::folder(root, &path) else { return Reading::Missing(Why::NotOffered) };
    let read = |names: [&str; 2]| names.iter().find_map(|name| fs::read(folder.join(name)).ok());
    let absent = Reading::Missing(Why::NotOffered);
    let usage = read(["memory.current", "memory.usage_in_bytes"]).map_or(absent, |text| memory::usage(&text));
    let limit = read(["memory.max", "memory.limit_in_bytes"])
        .map_or(Reading::Missing(Why::NotOffered), |text| memory::limit(&text));
    let waiting = fs::read(folder.join("memory.pressure")).map(|text| pressure::parse(&text));
    // The second figure is `some.avg60`.
    let pressure = waiting.map_or(Reading::Missing(Why::NotOffered), |found| found.figures[1]);
    Reading::Known(CgroupInspection { room: room::room(root, &path), path, usage, limit, pressure })
}

#[cfg(test)]
mod tests;
