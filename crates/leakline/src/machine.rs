//! The machine under watch: samples in, a judged ranking out.
//!
//! Owns: the pair of sampler and tracker, and the figures about the watching itself. Must not know: who looks at it.

use std::time::Duration;

use analysis::{GrowthOptions, GrowthTracker};
use capture::{BeatOptions, BeatSampler, HostError, HostSampler};
use model::{Beat, MachineSample, Pid, ProcessSample, Reading, Why};
use report::{AlertView, HuntView, MachineView};

use crate::alerts::{Alerts, Told};
use crate::failure::Failure;
use crate::flags::Filter;

/// The machine under watch: its processes alone.
#[derive(Debug)]
pub(crate) struct Machine {
    sampler: HostSampler,
    judged: Judged,
}

/// The machine under watch with all that alerts look at, which costs a fifth more a beat (300 processes: 1.2 % of a core instead of 1.0 %).
#[derive(Debug)]
pub(crate) struct AlertedMachine {
    sampler: BeatSampler,
    judged: Judged,
    /// Time since boot at the first beat.
    start_ns: Option<u64>,
    alerts: Alerts,
}

/// What the samples come to.
#[derive(Debug)]
struct Judged {
    tracker: GrowthTracker,
    figures: MachineView,
}

impl Machine {
    /// Watches the processes that a filter lets pass, for so long if there is an end.
    pub(crate) fn new(filter: &Filter, planned: Option<Duration>) -> Result<Self, Failure> {
        let sampler = HostSampler::new(of_capture(filter)).map_err(refused)?;
        Ok(Self { sampler, judged: Judged::new(planned) })
    }

    /// Takes one sample.
    pub(crate) fn beat(&mut self) -> Result<(), Failure> {
        let sample = self.sampler.sample().map_err(refused)?;
        self.judged.add(&sample);
        Ok(())
    }

    /// Everything, judged and ranked.
    pub(crate) fn view(&self) -> HuntView {
        self.judged.view()
    }
}

impl AlertedMachine {
    /// Watches the processes that a filter lets pass, and raises alerts about them and about the whole machine.
    pub(crate) fn new(filter: &Filter, planned: Option<Duration>, alerts: Alerts) -> Result<Self, Failure> {
        let options = BeatOptions { filter: of_capture(filter), ..BeatOptions::default() };
        let sampler = BeatSampler::new(options).map_err(refused)?;
        Ok(Self { sampler, judged: Judged::new(planned), start_ns: None, alerts })
    }

    /// Takes one sample; gives what is to be told of it.
    pub(crate) fn beat(&mut self) -> Result<Told, Failure> {
        let beat = self.sampler.beat().map_err(refused)?;
        let start_ns = *self.start_ns.get_or_insert(beat.at.boot_ns);
        let vanished = self.sampler.losses().vanished - self.judged.figures.vanished;
        self.judged.add(&sample_of(&beat, start_ns, vanished));
        Ok(self.alerts.beat(&beat, || self.judged.tracker.ranking()))
    }

    /// Everything, judged and ranked.
    pub(crate) fn view(&self) -> HuntView {
        self.judged.view()
    }

    /// The alerts that are on.
    pub(crate) fn alerts(&self) -> &[AlertView] {
        self.alerts.on()
    }

    /// Waits a little for deliveries of alerts; gives what could not be delivered.
    pub(crate) fn end(self) -> Vec<String> {
        self.alerts.end()
    }
}

impl Judged {
    fn new(planned: Option<Duration>) -> Self {
        Self { tracker: GrowthTracker::new(GrowthOptions::default()), figures: nothing_yet(planned) }
    }

    fn add(&mut self, sample: &MachineSample) {
        let vanished = self.figures.vanished + u64::from(sample.vanished);
        debug_assert!(sample.at >= self.figures.window, "time does not go back");
        self.figures = MachineView::new(sample, self.figures.planned, self.figures.beats + 1, vanished);
        self.tracker.add(sample);
    }

    fn view(&self) -> HuntView {
        HuntView::new(self.figures, &self.tracker)
    }
}

/// What of a beat concerns growth.
fn sample_of(beat: &Beat, start_ns: u64, vanished: u64) -> MachineSample {
    let process = |process: &model::ProcessReading| ProcessSample {
        identity: process.identity.clone(),
        memory: process.figures.memory(),
    };
    MachineSample {
        at: Duration::from_nanos(beat.at.boot_ns.saturating_sub(start_ns)),
        processes: beat.processes.iter().map(process).collect(),
        memory_total: beat.system.meminfo("MemTotal"),
        memory_available: beat.system.meminfo("MemAvailable"),
        vanished: u32::try_from(vanished).unwrap_or(u32::MAX),
    }
}

fn of_capture(filter: &Filter) -> capture::Filter {
    capture::Filter {
        pid: filter.pid.clone(),
        name: filter.name.clone(),
        user: filter.user.clone(),
        cgroup: filter.cgroup.clone(),
    }
}

fn refused(error: HostError) -> Failure {
    let hint = error.hint();
    Failure::with_hint(error, hint)
}

/// The name of a process, where it still is there to be asked.
pub(crate) fn command_of(pid: Pid) -> String {
    let filter = capture::Filter { pid: vec![pid], ..capture::Filter::default() };
    let sample = HostSampler::new(filter).and_then(|mut sampler| sampler.sample());
    let identity = sample.ok().and_then(|sample| Some(sample.processes.first()?.identity.clone()));
    identity.map_or_else(|| "?".to_owned(), |identity| identity.command.clone())
}

const fn nothing_yet(planned: Option<Duration>) -> MachineView {
    MachineView {
        window: Duration::ZERO,
        planned,
        beats: 0,
        processes: 0,
        vanished: 0,
        memory_total: Reading::Missing(Why::NotRecorded),
        memory_available: Reading::Missing(Why::NotRecorded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::AlertSinks;
    use crate::settings::Settings;

    fn first() -> Filter {
        Filter { pid: vec![Pid(1)], ..Filter::default() }
    }

    #[test]
    fn beats_are_counted_and_the_figures_are_of_the_last() {
        let mut machine = Machine::new(&first(), Some(Duration::from_secs(9))).expect("process 1 is always there");
        assert_eq!(machine.view().machine.beats, 0);
        for _ in 0..2 {
            machine.beat().expect("/proc can be read");
        }
        let figures = machine.view().machine;
        assert_eq!((figures.beats, figures.processes, figures.planned), (2, 1, Some(Duration::from_secs(9))));
        assert!(figures.memory_total.as_known().is_some_and(|total| total.0 > 0), "{figures:?}");
    }

    #[test]
    fn with_alerts_the_figures_are_the_same() {
        let alerts = || {
            let settings = Settings::parse("[alerts]\nmemory-used = { raise = 0, hold = 1 }", "/c".into());
            Alerts::new(&AlertSinks::default(), &settings.expect("it is sound")).expect("nothing to refuse")
        };
        let mut plain = Machine::new(&first(), None).expect("process 1 is always there");
        let mut alerted = AlertedMachine::new(&first(), None, alerts()).expect("process 1 is always there");
        plain.beat().expect("/proc can be read");
        let told = alerted.beat().expect("/proc can be read");
        let (plain, alerted_view) = (plain.view(), alerted.view());
        assert_eq!(alerted_view.machine.memory_total, plain.machine.memory_total);
        assert_eq!((alerted_view.machine.beats, alerted_view.machine.processes), (1, 1));
        assert_eq!(alerted_view.processes[0].identity, plain.processes[0].identity);
        assert!(told.alerts.is_empty() && alerted.alerts().is_empty(), "one look raises nothing");
        std::thread::sleep(Duration::from_millis(1100));
        let told = alerted.beat().expect("/proc can be read");
        assert_eq!((told.alerts.len(), alerted.alerts().len()), (1, 1));
        assert!(alerted.end().is_empty());
    }

    #[test]
    fn a_filter_that_can_match_nothing_is_refused() {
        let filter = Filter { user: Some("nobody has this name".to_owned()), ..Filter::default() };
        let refused = Machine::new(&filter, None).expect_err("there is no such user");
        assert!(matches!(refused, Failure::Refused { .. }), "{refused:?}");
    }

    #[test]
    fn a_process_that_is_gone_has_no_name() {
        assert_eq!(command_of(Pid(1 << 22)), "?");
        assert_ne!(command_of(Pid(1)), "?");
    }
}
