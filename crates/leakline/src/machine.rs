//! The machine under watch: samples in, a judged ranking out.
//!
//! Owns: the pair of sampler and tracker, and the figures about the watching itself. Must not know: who looks at it.

use std::time::Duration;

use analysis::{GrowthOptions, GrowthTracker};
use capture::HostSampler;
use model::{Pid, Reading, Why};
use report::{HuntView, MachineView};

use crate::failure::Failure;
use crate::flags::Filter;

/// The machine under watch.
#[derive(Debug)]
pub(crate) struct Machine {
    sampler: HostSampler,
    tracker: GrowthTracker,
    figures: MachineView,
}

impl Machine {
    /// Watches the processes that a filter lets pass, for so long if there is an end.
    pub(crate) fn new(filter: &Filter, planned: Option<Duration>) -> Result<Self, Failure> {
        let filter = capture::Filter {
            pid: filter.pid.clone(),
            name: filter.name.clone(),
            user: filter.user.clone(),
            cgroup: filter.cgroup.clone(),
        };
        let sampler = HostSampler::new(filter).map_err(|error| {
            let hint = error.hint();
            Failure::with_hint(error, hint)
        })?;
        Ok(Self { sampler, tracker: GrowthTracker::new(GrowthOptions::default()), figures: nothing_yet(planned) })
    }

    /// Takes one sample.
    pub(crate) fn beat(&mut self) -> Result<(), Failure> {
        let sample = self.sampler.sample().map_err(|error| {
            let hint = error.hint();
            Failure::with_hint(error, hint)
        })?;
        let vanished = self.figures.vanished + u64::from(sample.vanished);
        debug_assert!(sample.at >= self.figures.window, "time does not go back");
        self.figures = MachineView::new(&sample, self.figures.planned, self.figures.beats + 1, vanished);
        self.tracker.add(&sample);
        Ok(())
    }

    /// Everything, judged and ranked.
    pub(crate) fn view(&self) -> HuntView {
        HuntView::new(self.figures, &self.tracker)
    }
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
