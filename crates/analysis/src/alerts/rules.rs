//! The rules: what each looks at, and how it is said.
//!
//! Owns: levels, subjects, evidence and the next command of each rule. Must not know: hysteresis, or who is told.

use std::collections::{BTreeMap, BTreeSet};

use model::{Beat, Bytes, Event, Pid, ProcessKey, ProcessMetric, ProcessReading, Reading, Severity, Source};

use super::AlertOptions;
use crate::growth::words::span;
use crate::{Growth, GrowthVerdict};

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Memory in use, as a share of all: `MemTotal` less `MemAvailable`.
    MemoryUsed,
    /// Swap in use, as a share of all.
    SwapUsed,
    /// Tasks that wait for memory.
    PressureMemory,
    /// Tasks that wait for input and output.
    PressureIo,
    /// Tasks that wait for a processor.
    PressureCpu,
    /// Processes that ended and are not waited for.
    Zombies,
    /// Descriptors of a process, as a share of its limit.
    DescriptorsProcess,
    /// Descriptors of the machine, as a share of the limit.
    DescriptorsMachine,
    /// Growth of a process in the window, as a share of its size, where it is judged to grow.
    Growth,
    /// Hours until memory runs out if a process goes on growing.
    Exhaustion,
    /// The kernel killed a process for lack of memory.
    OomKill,
    /// Memory of a control group that cannot be dropped, as a share of its limit.
    CgroupLimit,
}

/// What is concerned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The whole machine.
    Machine,
    /// One process.
    Process {
        /// Which.
        key: ProcessKey,
        /// Its name.
        command: String,
    },
    /// A process of which only the number is known, since the kernel named it.
    Pid {
        /// The number.
        pid: Pid,
        /// Its name.
        command: String,
    },
    /// A control group, by its path.
    Cgroup(String),
}

/// What a rule sees in one beat.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) rule: Rule,
    pub(super) subject: Subject,
    /// In the unit of the rule's level; more is worse, but for the hours of exhaustion.
    pub(super) value: Reading<f64>,
    pub(super) severity: Severity,
    pub(super) evidence: String,
    pub(super) next_command: String,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 12] = [
        Self::MemoryUsed,
        Self::SwapUsed,
        Self::PressureMemory,
        Self::PressureIo,
        Self::PressureCpu,
        Self::Zombies,
        Self::DescriptorsProcess,
        Self::DescriptorsMachine,
        Self::Growth,
        Self::Exhaustion,
        Self::OomKill,
        Self::CgroupLimit,
    ];

    /// Its key in the configuration, in JSON and in recordings.
    pub const fn key(self) -> &'static str {
        match self {
            Self::MemoryUsed => "memory-used",
            Self::SwapUsed => "swap-used",
            Self::PressureMemory => "pressure-memory",
            Self::PressureIo => "pressure-io",
            Self::PressureCpu => "pressure-cpu",
            Self::Zombies => "zombies",
            Self::DescriptorsProcess => "descriptors-process",
            Self::DescriptorsMachine => "descriptors-machine",
            Self::Growth => "growth",
            Self::Exhaustion => "exhaustion",
            Self::OomKill => "oom-kill",
            Self::CgroupLimit => "cgroup-limit",
        }
    }

    /// Whether less is worse. All comparisons of hysteresis turn around with it.
    pub(super) const fn is_downward(self) -> bool {
        matches!(self, Self::Exhaustion)
    }
}

const _: () = {
    let mut index = 0;
    while index < Rule::ALL.len() {
        assert!(
            Rule::ALL[index] as usize == index,
            "all rules, each once: one that is missing could not be configured"
        );
        index += 1;
    }
};

/// What all rules see in one beat; `zombies` are those that were told until now, for the evidence; `watched` are the processes
/// whose descriptors are watched already.
pub(super) fn findings(
    beat: &Beat,
    growth: &[Growth],
    options: &AlertOptions,
    zombies: &BTreeMap<Pid, u32>,
    watched: &BTreeSet<ProcessKey>,
) -> Vec<Finding> {
    let mut found = vec![memory(beat), swap(beat), self::zombies(beat, zombies), descriptors(beat)];
    found.extend(
        [("memory", Rule::PressureMemory), ("io", Rule::PressureIo), ("cpu", Rule::PressureCpu)]
            .map(|(subject, rule)| pressure(beat, subject, rule)),
    );
    let level = options.level(Rule::DescriptorsProcess);
    found.extend(
        beat.processes
            .iter()
            .filter_map(|process| own_descriptors(process, level.raise, watched.contains(&process.identity.key))),
    );
    found.extend(growth.iter().flat_map(|growth| [grows(growth, options), exhausts(growth, options)]));
    found.extend(beat.events.iter().filter_map(oom_kill));
    found.extend(groups(beat));
    found
}

fn memory(beat: &Beat) -> Finding {
    let (total, available) = (beat.system.meminfo("MemTotal"), beat.system.meminfo("MemAvailable"));
    let value = share(used(total, available), total);
    let evidence = match (value, available, total) {
        (Reading::Known(percent), Reading::Known(available), Reading::Known(total)) => {
            format!("{percent:.0} % of memory in use: {available} of {total} available")
        }
        _ => String::new(),
    };
    machine(Rule::MemoryUsed, value, Severity::Warning, evidence, "leakline hunt")
}

fn swap(beat: &Beat) -> Finding {
    let (total, free) = (beat.system.meminfo("SwapTotal"), beat.system.meminfo("SwapFree"));
    // Without any swap none is in use.
    let value = if total == Reading::Known(Bytes(0)) { Reading::Known(0.0) } else { share(used(total, free), total) };
    let evidence = match (value, used(total, free), total) {
        (Reading::Known(percent), Reading::Known(used), Reading::Known(total)) => {
            format!("{percent:.0} % of swap in use: {used} of {total}")
        }
        _ => String::new(),
    };
    machine(Rule::SwapUsed, value, Severity::Notice, evidence, "leakline inspect")
}

fn pressure(beat: &Beat, subject: &str, rule: Rule) -> Finding {
    let value = beat.system.get(Source::Pressure, subject, "some.avg60").map(|hundredths| hundredths as f64 / 100.0);
    let evidence = value.known().map_or(String::new(), |percent| {
        format!("some task waited for {subject} in {percent:.1} % of the last minute")
    });
    machine(rule, value, Severity::Warning, evidence, "leakline watch")
}

fn zombies(beat: &Beat, told: &BTreeMap<Pid, u32>) -> Finding {
    let value = beat.system.get(Source::Machine, "", "processes.zombies").map(|count| count as f64);
    let worst = told.iter().max_by_key(|(pid, count)| (**count, std::cmp::Reverse(**pid)));
    let evidence = value.known().map_or(String::new(), |count| {
        let things = if count < 1.5 { "zombie" } else { "zombies" };
        // Those that were waited for meanwhile are still in what was told.
        let parent = worst.map_or(String::new(), |(pid, told)| {
            format!("; the process {pid} did not wait for {:.0} of them", f64::from(*told).min(count))
        });
        format!("{count:.0} {things}{parent}")
    });
    let next = worst.map_or("leakline inspect".to_owned(), |(pid, _)| format!("leakline inspect {pid}"));
    machine(Rule::Zombies, value, Severity::Notice, evidence, &next)
}

fn descriptors(beat: &Beat) -> Finding {
    let get = |name| beat.system.get(Source::Machine, "", name).map(Bytes);
    let (used, limit) = (get("descriptors"), get("descriptors.limit"));
    let value = share(used, limit);
    let evidence = match (used, limit) {
        (Reading::Known(used), Reading::Known(limit)) => {
            format!("{} of {} descriptors of the machine in use", used.0, limit.0)
        }
        _ => String::new(),
    };
    machine(Rule::DescriptorsMachine, value, Severity::Warning, evidence, "leakline inspect")
}

/// Only what is at its level, or is watched since it was: a machine has thousands of processes, and most hold five descriptors.
/// What is watched is told even where its figure is missing, or it would seem to be gone.
fn own_descriptors(process: &ProcessReading, percent_min: f64, watched: bool) -> Option<Finding> {
    let get = |metric| process.figures.get(metric).map(Bytes);
    let (used, limit) = (get(ProcessMetric::Descriptors), get(ProcessMetric::DescriptorLimit));
    let value = share(used, limit);
    let evidence = match (used, limit) {
        (Reading::Known(used), Reading::Known(limit)) => {
            format!("{} of at most {} descriptors open", used.0, limit.0)
        }
        _ => String::new(),
    };
    let is_told = watched || value.known().is_some_and(|percent| percent >= percent_min);
    is_told.then(|| Finding {
        rule: Rule::DescriptorsProcess,
        subject: process_of(&process.identity),
        value,
        severity: Severity::Warning,
        evidence,
        next_command: format!("leakline inspect {}", process.identity.key.pid),
    })
}

fn grows(growth: &Growth, options: &AlertOptions) -> Finding {
    let judged = growth.verdict == GrowthVerdict::Growing
        && growth.confidence.known().is_some_and(|confidence| confidence >= options.confidence_min);
    let ends = growth.history.first().zip(growth.history.last());
    let value = ends.filter(|(first, _)| first.1.0 > 0).map(|(first, last)| {
        // A judgement that is no growth is a level of nothing, so that a raised alert is cleared.
        if judged { (last.1.0 as f64 - first.1.0 as f64) / first.1.0 as f64 * 100.0 } else { 0.0 }
    });
    let evidence = ends.map_or(String::new(), |(first, last)| {
        let certain = growth.confidence.known().filter(|_| judged);
        let certain = certain.map_or(String::new(), |share| format!(", {:.0} % certain", (share * 100.0).floor()));
        let window = span(last.0.saturating_sub(first.0));
        let went = if judged { "grew" } else { "went" };
        format!("private memory {went} from {} to {} in {window}{certain}", first.1, last.1)
    });
    let value = Reading::from_option(value, model::Why::TooShort);
    about(growth, Rule::Growth, value, Severity::Warning, evidence)
}

fn exhausts(growth: &Growth, options: &AlertOptions) -> Finding {
    let certain = growth.confidence.known().is_some_and(|confidence| confidence >= options.confidence_min);
    let after = growth.exhaustion.known().filter(|_| certain).map(|exhaustion| exhaustion.after);
    let hours = after.map_or(f64::INFINITY, |after| after.as_secs_f64() / 3600.0);
    let evidence = after.map_or("no end of memory in sight".to_owned(), |after| {
        format!("memory runs out in {} if it goes on growing as it does", span(after))
    });
    about(growth, Rule::Exhaustion, Reading::Known(hours), Severity::Critical, evidence)
}

fn oom_kill(event: &Event) -> Option<Finding> {
    let Event::OomKill { victim, command, cgroup, .. } = event else { return None };
    let place = cgroup
        .as_ref()
        .map_or("the machine ran out of memory".to_owned(), |group| format!("the group {group} was at its limit"));
    Some(Finding {
        rule: Rule::OomKill,
        subject: Subject::Pid { pid: *victim, command: command.clone() },
        value: Reading::Known(1.0),
        severity: Severity::Critical,
        evidence: format!("the kernel killed {command} ({victim}): {place}"),
        next_command: "leakline hunt".to_owned(),
    })
}

/// Memory that cannot be dropped: the usage without the page cache (which contains the shared memory, that stays).
fn groups(beat: &Beat) -> Vec<Finding> {
    let Reading::Known(figures) = beat.system.figures(Source::Cgroup) else { return Vec::new() };
    // Figures of one group stand together: the sampler writes group after group, and a recording keeps the order.
    let by_subject = figures.chunk_by(|one, other| one.key.subject == other.key.subject);
    by_subject
        .filter_map(|group| {
            let get = |name: &str| group.iter().find(|figure| *figure.key.name == *name)?.value.known();
            let (usage, limit) = (get("usage")?, get("limit").filter(|limit| *limit != u64::MAX)?);
            let cache = get("file").unwrap_or(0).saturating_sub(get("shmem").unwrap_or(0));
            let used = Bytes(usage.saturating_sub(cache));
            let path = group.first()?.key.subject.to_string();
            let evidence = format!("{used} of at most {} used, without what can be dropped", Bytes(limit));
            Some(Finding {
                rule: Rule::CgroupLimit,
                next_command: format!("leakline hunt --cgroup {}", word(&path)),
                subject: Subject::Cgroup(path),
                value: share(Reading::Known(used), Reading::Known(Bytes(limit))),
                severity: Severity::Critical,
                evidence,
            })
        })
        .collect()
}

/// A path as one word of a shell: whoever makes a group chooses its name, and `\x2d` is usual in those of systemd.
fn word(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:@".contains(&byte);
    if path.bytes().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

fn machine(rule: Rule, value: Reading<f64>, severity: Severity, evidence: String, next: &str) -> Finding {
    Finding { rule, subject: Subject::Machine, value, severity, evidence, next_command: next.to_owned() }
}

fn about(growth: &Growth, rule: Rule, value: Reading<f64>, severity: Severity, evidence: String) -> Finding {
    let next_command = format!("leakline attach {}", growth.identity.key.pid);
    Finding { rule, subject: process_of(&growth.identity), value, severity, evidence, next_command }
}

fn process_of(identity: &model::Identity) -> Subject {
    Subject::Process { key: identity.key, command: identity.command.clone() }
}

fn used(total: Reading<Bytes>, free: Reading<Bytes>) -> Reading<Bytes> {
    // The kernel sums both up at slightly different moments, so that the free may be the greater.
    total.with(free, |total, free| Bytes(total.0.saturating_sub(free.0)))
}

/// In percent; missing where the whole is nothing.
fn share(part: Reading<Bytes>, whole: Reading<Bytes>) -> Reading<f64> {
    match (part, whole) {
        (Reading::Known(_), Reading::Known(Bytes(0))) => Reading::Missing(model::Why::NotOffered),
        (Reading::Known(part), Reading::Known(whole)) => Reading::Known(part.0 as f64 / whole.0 as f64 * 100.0),
        (Reading::Missing(why), _) | (_, Reading::Missing(why)) => Reading::Missing(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_and_does_nothing() {
        let check = |path: &str, expected: &str| assert_eq!(word(path), expected);
        check("/system.slice/cron.service", "/system.slice/cron.service");
        check(r"/machine.slice/machine-a\x2db.scope", r"'/machine.slice/machine-a\x2db.scope'");
        check("/a; reboot", "'/a; reboot'");
        check("/it's $(x)", r"'/it'\''s $(x)'");
    }
}
