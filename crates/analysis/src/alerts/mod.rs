//! Alerts: which rule is broken, for how long, and whether anybody needs to hear of it again.
//!
//! Owns: hysteresis, rate limits and the state of each alert. Must not know: where an alert goes, or any clock: time
//! arrives inside the beats.
//!
//! Nothing flaps: an alert is raised when its level was reached at two beats or more over the time that the level asks for,
//! and is cleared when a lower level was kept for as long. A figure that is missing changes nothing.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::{Beat, Event, Pid, ProcessKey, Reading, Severity};

use crate::Growth;
use crate::limits::{ALERTS_MAX, ZOMBIE_PARENTS_MAX};

use self::rules::Finding;

pub use self::rules::{Rule, Subject};

/// When an alert is raised and when it is cleared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Raised from here on. Percent, a count, or hours (below which [`Rule::Exhaustion`] is raised).
    pub raise: f64,
    /// Cleared on the other side of this.
    pub clear: f64,
    /// How long either must last.
    pub hold: Duration,
    /// Whether the rule is in force.
    pub enabled: bool,
}

/// The thresholds of all rules.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertOptions {
    /// One level per rule; set by [`Self::set_level`].
    levels: BTreeMap<Rule, Level>,
    /// The least confidence of a judgement that an alert may rest on, 0 to 1.
    pub confidence_min: f64,
    /// The same alert is not raised again before so long has passed since it was raised last.
    pub repeat_min: Duration,
    /// Alerts of one rule that are raised in one hour at most; more are counted.
    pub hourly_max: u32,
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertState {
    /// It is on from now.
    Raised,
    /// It is off from now.
    Cleared,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// By which rule.
    pub rule: Rule,
    /// What it is about.
    pub subject: Subject,
    /// How much it matters.
    pub severity: Severity,
    /// The figures, in words: those of the beat that raised or cleared it; where its subject is gone, the last that broke the rule.
    pub evidence: String,
    /// What to run next.
    pub next_command: String,
    /// Whether it is on or off from now.
    pub state: AlertState,
}

/// Watches the beats.
#[derive(Debug)]
pub struct AlertWatch {
    options: AlertOptions,
    watched: BTreeMap<(Rule, Subject), Watched>,
    /// Zombies that were told, by parent; only for the evidence.
    zombies: BTreeMap<Pid, u32>,
    boot_id: Option<Arc<str>>,
    beat: u64,
    /// When each rule raised an alert in the last hour.
    raised: BTreeMap<Rule, Vec<Duration>>,
    suppressed: u64,
}

/// The state of one rule and subject.
#[derive(Debug, Default)]
struct Watched {
    /// The beat at which it was last seen.
    seen: u64,
    on: bool,
    /// Since when, and over how many beats, the other state has been seen.
    turning: Option<(Duration, u32)>,
    /// When it was raised last.
    raised_at: Option<Duration>,
    /// Whether it was told that it is on.
    told: bool,
    /// What is said when it is cleared.
    last: Option<Alert>,
}

impl Default for AlertOptions {
    /// The thresholds that people use most: loud enough to be useful, quiet on a healthy machine.
    fn default() -> Self {
        let level =
            |raise: f64, clear: f64, seconds| Level { raise, clear, hold: Duration::from_secs(seconds), enabled: true };
        let levels = [
            (Rule::MemoryUsed, level(80.0, 75.0, 30)),
            (Rule::SwapUsed, level(5.0, 2.0, 60)),
            (Rule::PressureMemory, level(10.0, 5.0, 30)),
            (Rule::PressureIo, level(40.0, 25.0, 60)),
            (Rule::PressureCpu, level(80.0, 60.0, 120)),
            (Rule::Zombies, level(1.0, 1.0, 60)),
            (Rule::DescriptorsProcess, level(80.0, 70.0, 10)),
            (Rule::DescriptorsMachine, level(80.0, 70.0, 10)),
            (Rule::Growth, level(10.0, 5.0, 60)),
            (Rule::Exhaustion, level(6.0, 12.0, 60)),
            (Rule::OomKill, level(1.0, 1.0, 0)),
            (Rule::CgroupLimit, level(90.0, 80.0, 10)),
        ];
        Self {
            levels: levels.into_iter().collect(),
            confidence_min: 0.8,
            repeat_min: Duration::from_secs(600),
            hourly_max: 20,
        }
    }
}

impl AlertOptions {
    /// The level of a rule.
    pub fn level(&self, rule: Rule) -> Level {
        let off = Level { raise: f64::INFINITY, clear: f64::INFINITY, hold: Duration::ZERO, enabled: false };
        self.levels.get(&rule).copied().unwrap_or(off)
    }

    /// Sets the level of a rule. One that is cleared beyond where it is raised would flap: it is cleared where it is raised.
    pub fn set_level(&mut self, rule: Rule, level: Level) {
        let clear = if rule.is_downward() { level.clear.max(level.raise) } else { level.clear.min(level.raise) };
        self.levels.insert(rule, Level { clear, ..level });
    }
}

impl Alert {
    /// The event that a recording keeps of it.
    pub fn event(&self) -> Event {
        let process = if let Subject::Process { key, .. } = &self.subject { Some(*key) } else { None };
        let rule = self.rule.key().to_owned();
        match self.state {
            AlertState::Raised => {
                Event::AlertRaised { rule, process, severity: self.severity, text: self.evidence.clone() }
            }
            AlertState::Cleared => Event::AlertCleared { rule, process },
        }
    }
}

impl AlertWatch {
    /// A watch that has seen nothing yet.
    pub fn new(options: AlertOptions) -> Self {
        Self {
            options,
            watched: BTreeMap::new(),
            zombies: BTreeMap::new(),
            boot_id: None,
            beat: 0,
            raised: BTreeMap::new(),
            suppressed: 0,
        }
    }

    /// Takes a beat with the judgements at it (none where they were not made); returns what to tell.
    pub fn add(&mut self, beat: &Beat, growth: &[Growth]) -> Vec<Alert> {
        // Times since boot begin anew, and so do pids: nothing that is known belongs to this boot.
        if self.boot_id.as_ref().is_some_and(|boot_id| *boot_id != beat.at.boot_id) {
            *self = Self { suppressed: self.suppressed, ..Self::new(self.options.clone()) };
        }
        self.boot_id = Some(beat.at.boot_id.clone());
        self.beat += 1;
        self.remember_zombies(beat);
        let at = Duration::from_nanos(beat.at.boot_ns);
        let mut alerts = Vec::new();
        for finding in rules::findings(beat, growth, &self.options, &self.zombies, &self.watched_processes()) {
            if self.options.level(finding.rule).enabled {
                alerts.extend(self.take(at, &finding));
            }
        }
        let judged = !growth.is_empty();
        let groups = matches!(beat.system.figures(model::Source::Cgroup), Reading::Known(_));
        alerts.extend(self.missed(at, judged, groups));
        alerts
    }

    /// Alerts that were not told since there were too many of them.
    pub const fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// Processes whose descriptors are watched.
    fn watched_processes(&self) -> BTreeSet<ProcessKey> {
        let keys = self.watched.keys().filter(|(rule, _)| *rule == Rule::DescriptorsProcess);
        keys.filter_map(|(_, subject)| if let Subject::Process { key, .. } = subject { Some(*key) } else { None })
            .collect()
    }

    /// Counts zombies by parent. Nobody tells when one is waited for, so that the counts begin anew whenever none is left (or
    /// there are too many parents): they may be too high, never too low for long, and the evidence is cut to what there is.
    fn remember_zombies(&mut self, beat: &Beat) {
        let none = beat.system.get(model::Source::Machine, "", "processes.zombies") == Reading::Known(0);
        if none || self.zombies.len() >= ZOMBIE_PARENTS_MAX {
            self.zombies.clear();
        }
        for event in &beat.events {
            if let Event::Zombie { parent: Reading::Known(parent), .. } = event {
                *self.zombies.entry(*parent).or_default() += 1;
            }
        }
    }

    fn take(&mut self, at: Duration, finding: &Finding) -> Option<Alert> {
        let level = self.options.level(finding.rule);
        let id = (finding.rule, finding.subject.clone());
        let Some(value) = finding.value.known() else {
            // It is still there, which is all that is known: an alert about it is neither over nor more serious.
            self.watched.get_mut(&id).into_iter().for_each(|watched| watched.seen = self.beat);
            return None;
        };
        let broken = reached(finding.rule, value, level.raise);
        if !self.watched.contains_key(&id) {
            // A healthy subject needs no state, which is nearly all of them.
            if !broken {
                return None;
            }
            if self.watched.len() >= ALERTS_MAX {
                self.suppressed += 1;
                return None;
            }
        }
        let beat = self.beat;
        let watched = self.watched.entry(id).or_default();
        watched.seen = beat;
        let alert = alert(finding, AlertState::Raised);
        if broken {
            watched.last = Some(alert.clone());
        }
        let turns = if watched.on { !reached(finding.rule, value, level.clear) } else { broken };
        // What happened at once needs no second look.
        let beats_min = if finding.rule == Rule::OomKill { 1 } else { 2 };
        if !watched.turned(at, turns, level.hold, beats_min) {
            return None;
        }
        if watched.on {
            watched.on = false;
            return std::mem::take(&mut watched.told).then_some(Alert { state: AlertState::Cleared, ..alert });
        }
        watched.on = true;
        self.tell(at, alert)
    }

    /// Raises an alert, unless it or its rule was raised too often.
    fn tell(&mut self, at: Duration, alert: Alert) -> Option<Alert> {
        let watched = self.watched.get_mut(&(alert.rule, alert.subject.clone()))?;
        // Its own pause keeps one alert from being told again and again; the sum over the hour keeps a rule from flooding whoever is
        // told, when a thousand processes break it at once.
        let recently = watched.raised_at.is_some_and(|last| at.saturating_sub(last) < self.options.repeat_min);
        let raised = self.raised.entry(alert.rule).or_default();
        raised.retain(|raised| at.saturating_sub(*raised) < Duration::from_secs(3600));
        if recently || raised.len() >= self.options.hourly_max as usize {
            self.suppressed += 1;
            return None;
        }
        debug_assert!(raised.len() < self.options.hourly_max as usize, "an hour has its bound");
        raised.push(at);
        watched.raised_at = Some(at);
        watched.told = true;
        Some(alert)
    }

    /// What was not seen at this beat: it is gone, or well again. Growth and groups are not looked at in each beat.
    fn missed(&mut self, at: Duration, judged: bool, groups: bool) -> Vec<Alert> {
        let beat = self.beat;
        let repeat_min = self.options.repeat_min;
        let mut alerts = Vec::new();
        self.watched.retain(|(rule, subject), watched| {
            let recent = watched.raised_at.is_some_and(|last| at.saturating_sub(last) < repeat_min);
            if !watched.on && watched.turning.is_none() && !recent {
                return false;
            }
            let looked = match rule {
                Rule::Growth | Rule::Exhaustion => judged,
                Rule::CgroupLimit => groups,
                // A kill is over at once; its alert stays for as long as it is not repeated.
                Rule::OomKill => !recent,
                // The rules about the machine always see it; what they cannot read changes nothing.
                Rule::MemoryUsed
                | Rule::SwapUsed
                | Rule::PressureMemory
                | Rule::PressureIo
                | Rule::PressureCpu
                | Rule::Zombies
                | Rule::DescriptorsProcess
                | Rule::DescriptorsMachine => *subject != Subject::Machine,
            };
            if watched.seen == beat || !looked {
                return true;
            }
            if watched.on && watched.told {
                alerts.extend(watched.last.take().map(|last| Alert { state: AlertState::Cleared, ..last }));
            }
            false
        });
        alerts
    }
}

impl Watched {
    /// Whether the other state has lasted long enough; `turns` says whether it is seen now.
    fn turned(&mut self, at: Duration, turns: bool, hold: Duration, beats_min: u32) -> bool {
        if !turns {
            self.turning = None;
            return false;
        }
        let (since, beats) = self.turning.map_or((at, 1), |(since, beats)| (since, beats + 1));
        let done = beats >= beats_min && at.saturating_sub(since) >= hold;
        self.turning = if done { None } else { Some((since, beats)) };
        done
    }
}

/// Whether a value is on the bad side of a level.
fn reached(rule: Rule, value: f64, level: f64) -> bool {
    if rule.is_downward() { value <= level } else { value >= level }
}

fn alert(finding: &Finding, state: AlertState) -> Alert {
    Alert {
        rule: finding.rule,
        subject: finding.subject.clone(),
        severity: finding.severity,
        evidence: finding.evidence.clone(),
        next_command: finding.next_command.clone(),
        state,
    }
}

#[cfg(test)]
mod tests;
