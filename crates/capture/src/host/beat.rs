//! Everything at one moment, for a recording.
//!
//! Owns: what a beat consists of, what came and went since the beat before, and the budget of what costs the targets.
//! Must not know: how a beat is kept, or what follows from it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Beat, Event, Moment, ProcessKey, ProcessMetric, ProcessReading, Reading, Why};

use crate::clock;

use super::details;
use super::kernel_log::KernelLog;
use super::system::{Counted, Due, SystemSampler};
use super::{Filter, HostError, HostLosses, HostSampler};

/// What one GiB of small pages costs the target when its PSS is read, measured; huge pages cost a hundredth of it.
const PSS_PER_GIB: Duration = Duration::from_millis(10);
/// What it costs at least.
const PSS_LEAST: Duration = Duration::from_micros(50);
/// The wall clock must jump by so much against the boot clock to be worth an event: less is the work of ntpd.
const JUMP_MIN_NS: u64 = 1_000_000_000;

/// The machine's figures take at most this part of the time where groups make them long: of 4,000 groups, 60 ms.
const GROUPS_SHARE: u32 = 200;

/// What is read how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeatOptions {
    /// Which processes; the machine is read whole in any case.
    pub filter: Filter,
    /// How often the dear sources of the machine are read: slabs, free blocks, shared memory, vmstat.
    pub slow_every: Duration,
    /// How often the control groups are read, seldomer where it takes long: they may be near their limit within seconds.
    pub groups_every: Duration,
    /// Time of the *targets* that one beat may cost for PSS and USS; zero for none. The processes take turns, and one that
    /// alone would cost more is left out.
    pub pss_budget: Duration,
    /// Which messages of the kernel from before the start are told.
    pub early: Early,
}

/// Messages of the kernel from before the sampler's start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Early {
    /// None: they are of no concern.
    #[default]
    Left,
    /// All that are still known of this boot, with their time, unless it is the boot that was recorded last: those were told.
    Told {
        /// Id of that boot, where there is one.
        recorded: Option<Arc<str>>,
    },
}

/// Samples the processes and the machine, and notices what happens between two samples.
#[derive(Debug)]
pub struct BeatSampler {
    host: HostSampler,
    system: SystemSampler,
    log: Option<KernelLog>,
    options: BeatOptions,
    boot_id: Arc<str>,
    /// Processes of the beat before; none before the first.
    before: Option<HashMap<ProcessKey, u64>>,
    beats: u64,
    vanished: u64,
    suspended: Duration,
    /// Wall clock less boot clock, at the beat before.
    offset_ns: Option<i128>,
    last_slow: Option<Duration>,
    /// Time since boot at which the groups are due again.
    next_groups: Duration,
    /// The process after which the next turn of PSS begins.
    turn: u32,
}

impl Default for BeatOptions {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            slow_every: Duration::from_secs(60),
            groups_every: Duration::from_secs(10),
            pss_budget: Duration::ZERO,
            early: Early::Left,
        }
    }
}

impl BeatSampler {
    /// A sampler that has seen nothing yet. A filter that can match nothing is an error.
    pub fn new(options: BeatOptions) -> Result<Self, HostError> {
        let host = HostSampler::new(options.filter.clone())?;
        let system = SystemSampler::new(Path::new("/sys/fs/cgroup"), Path::new("/dev/shm"));
        let mut sampler = Self::of(host, system, None, options);
        let early = match &sampler.options.early {
            Early::Left => false,
            Early::Told { recorded } => recorded.as_ref() != Some(&sampler.boot_id),
        };
        let since_boot = sampler.host.clock.since_boot();
        sampler.log = KernelLog::open(Path::new("/"), &sampler.boot_id, early, since_boot);
        Ok(sampler)
    }

    /// Reads all that is due. Processes that end meanwhile are counted, not an error.
    pub fn beat(&mut self) -> Result<Beat, HostError> {
        self.beats += 1;
        let since_boot = self.host.clock.since_boot();
        let vanished = self.host.losses.vanished;
        let beat = self.beats;
        let mut processes = self.host.each(|proc, process, seen| {
            let figures = details::figures(proc, process, seen, beat);
            ProcessReading { identity: process.identity.clone(), figures }
        })?;
        self.vanished = self.host.losses.vanished - vanished;
        self.read_shares(&mut processes);
        let at = self.moment(since_boot);
        let events = self.events(&at, &processes);
        let slow = self.last_slow.is_none_or(|last| since_boot.saturating_sub(last) >= self.options.slow_every);
        if slow {
            self.last_slow = Some(since_boot);
        }
        let counted = Counted { vanished: self.vanished, zombies: self.host.zombies };
        let groups = since_boot >= self.next_groups;
        let begun = Instant::now();
        let system = self.system.sample(&mut self.host.proc, counted, Due { slow, groups });
        if groups {
            self.next_groups = since_boot + self.options.groups_every.max(begun.elapsed() * GROUPS_SHARE);
        }
        Ok(Beat { at, processes, system, events })
    }

    /// What could not be read, since the start.
    pub const fn losses(&self) -> HostLosses {
        self.host.losses
    }

    /// Figures of the machine and messages of the kernel that were left out since the start, because there were too many.
    pub fn left_out(&self) -> u64 {
        self.system.left_out() + self.log.as_ref().map_or(0, KernelLog::lost)
    }

    /// Whether messages of the kernel can be read.
    pub fn hears_kernel(&self) -> Reading<()> {
        let needs = "root, kernel.dmesg_restrict=0 or the group systemd-journal";
        Reading::from_option(self.log.as_ref().map(|_| ()), Why::NotPermitted { needs })
    }

    fn of(mut host: HostSampler, system: SystemSampler, log: Option<KernelLog>, options: BeatOptions) -> Self {
        host.by_stat = true;
        let boot_id = fs::read(host.proc.path("sys/kernel/random/boot_id")).unwrap_or_default();
        let boot_id = model::escaped(boot_id.trim_ascii()).into();
        Self {
            host,
            system,
            log,
            options,
            boot_id,
            before: None,
            beats: 0,
            vanished: 0,
            suspended: Duration::ZERO,
            offset_ns: None,
            last_slow: None,
            next_groups: Duration::ZERO,
            turn: 0,
        }
    }

    fn moment(&self, since_boot: Duration) -> Moment {
        let boot_ns = u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX);
        Moment { wall_ns: clock::wall_ns(), boot_ns, boot_id: self.boot_id.clone() }
    }

    fn events(&mut self, at: &Moment, processes: &[ProcessReading]) -> Vec<Event> {
        let mut events = self.clocks(at);
        self.born_and_died(processes, &mut events);
        let zombies = self.host.new_zombies.drain(..);
        events.extend(zombies.map(|zombie| Event::Zombie {
            process: zombie.key,
            command: zombie.command,
            parent: zombie.parent,
        }));
        events.extend(self.log.as_mut().map(KernelLog::events).unwrap_or_default());
        events
    }

    /// Suspends and jumps of the wall clock since the beat before.
    fn clocks(&mut self, at: &Moment) -> Vec<Event> {
        let mut events = Vec::new();
        let suspended = self.host.clock.suspended();
        let length = suspended.saturating_sub(self.suspended);
        self.suspended = suspended;
        if !length.is_zero() {
            let length_ns = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
            events.push(Event::Gap { length_ns, reason: "the machine was suspended".to_owned() });
        }
        let offset = i128::from(at.wall_ns) - i128::from(at.boot_ns);
        let by = self.offset_ns.replace(offset).map_or(0, |before| offset - before);
        if by.unsigned_abs() >= u128::from(JUMP_MIN_NS) {
            let limit = if by < 0 { i64::MIN } else { i64::MAX };
            events.push(Event::ClockJumped { by_ns: i64::try_from(by).unwrap_or(limit) });
        }
        events
    }

    /// Compared by what is sampled: a process that is not asked for is neither born nor dies.
    fn born_and_died(&mut self, processes: &[ProcessReading], events: &mut Vec<Event>) {
        let beat = self.beats;
        let first = self.before.is_none();
        let before = self.before.get_or_insert_default();
        for process in processes {
            if before.insert(process.identity.key, beat).is_none() && !first {
                events.push(Event::ProcessBorn { process: process.identity.key });
            }
        }
        let mut died: Vec<ProcessKey> = before.iter().filter(|(_, seen)| **seen != beat).map(|(key, _)| *key).collect();
        died.sort_unstable();
        for process in died {
            before.remove(&process);
            events.push(Event::ProcessDied { process, exit: Reading::Missing(Why::NotOffered) });
        }
        debug_assert_eq!(before.len(), processes.len(), "each process is known once");
    }

    /// PSS and USS of as many processes as the budget allows, beginning after those that had their turn.
    fn read_shares(&mut self, processes: &mut [ProcessReading]) {
        let mut left = self.options.pss_budget;
        if left.is_zero() || processes.is_empty() {
            return;
        }
        let start = processes.partition_point(|process| process.identity.key.pid.0 <= self.turn);
        processes.rotate_left(start);
        for process in processes.iter_mut() {
            let cost = pss_cost(process);
            if cost > self.options.pss_budget {
                continue;
            }
            if cost > left {
                break;
            }
            let pid = process.identity.key.pid.0;
            let begun = Instant::now();
            let (pss, uss) = details::shares(&mut self.host.proc, pid);
            // The estimate is of small pages; the truth may be less or more, and both count.
            left = left.saturating_sub(cost.max(begun.elapsed()));
            process.figures.set(ProcessMetric::Pss, pss.map(|bytes| bytes.0));
            process.figures.set(ProcessMetric::Uss, uss.map(|bytes| bytes.0));
            self.turn = pid;
        }
        processes.rotate_right(start);
    }
}

/// What reading the PSS of a process costs it, at most.
pub(super) fn pss_cost(process: &ProcessReading) -> Duration {
    let resident = process.figures.memory().rss().known().map_or(u64::MAX, |bytes| bytes.0);
    let share = resident as f64 / (1u64 << 30) as f64;
    PSS_LEAST + PSS_PER_GIB.mul_f64(share.min(1e6))
}

#[cfg(test)]
mod tests;
