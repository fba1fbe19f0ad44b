//! Alerts: judged beat by beat, told to whoever is to hear of them.
//!
//! Owns: which thresholds the configuration sets, how often growth is judged, which alerts are on, and to whom an alert goes.
//! Must not know: when a rule is broken (`analysis` does), how a delivery is made, or where its user shows them.

mod curl;
mod delivery;
mod options;
mod sinks;
mod webhook;

use std::time::Duration;

use analysis::{AlertWatch, Growth};
use model::{Beat, Event};
use report::{AlertView, WallTime};

use self::delivery::Deliveries;
pub(crate) use self::options::{is_known, options};
pub(crate) use self::webhook::{Url, url};
use crate::failure::Failure;
use crate::flags::AlertSinks;
use crate::limits::JUDGE_EVERY;
use crate::settings::Settings;

/// What watches the beats of a recorder, or of a live ranking.
#[derive(Debug)]
pub(crate) struct Alerts {
    watch: AlertWatch,
    judged_at: Option<Duration>,
    deliveries: Deliveries,
    host: String,
    suppressed: u64,
    /// Those that were raised and are not over, oldest first.
    on: Vec<AlertView>,
}

/// What one beat comes to.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// What was raised or is over from now.
    pub(crate) alerts: Vec<AlertView>,
    /// What a recording is to keep of it.
    pub(crate) events: Vec<Event>,
    /// What could not be told, one sentence each.
    pub(crate) troubles: Vec<String>,
}

impl Alerts {
    /// Watches with the thresholds of the configuration.
    pub(crate) fn new(sinks: &AlertSinks, settings: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            watch: AlertWatch::new(options(settings)?),
            judged_at: None,
            deliveries: Deliveries::start(sinks)?,
            host: host_name(),
            suppressed: 0,
            on: Vec::new(),
        })
    }

    /// Takes a beat; `ranking` judges the growth of all processes, and is asked seldom.
    pub(crate) fn beat(&mut self, beat: &Beat, ranking: impl FnOnce() -> Vec<Growth>) -> Told {
        let at = Duration::from_nanos(beat.at.boot_ns);
        // Judging all processes costs as much as some beats, and no trend changes from one beat to the next.
        let is_due = self.judged_at.is_none_or(|last| at.saturating_sub(last) >= JUDGE_EVERY || at < last);
        let growth = if is_due { ranking() } else { Vec::new() };
        if is_due {
            self.judged_at = Some(at);
        }
        let found = self.watch.add(beat, &growth);
        let view = |alert| AlertView::new(WallTime::from(&beat.at), &self.host, alert);
        let alerts: Vec<AlertView> = found.iter().map(view).collect();
        for alert in &alerts {
            self.deliveries.send(alert);
            self.on.retain(|other| (&other.rule, &other.subject) != (&alert.rule, &alert.subject));
            if alert.raised {
                self.on.push(alert.clone());
            }
        }
        let mut troubles = self.deliveries.troubles();
        let suppressed = self.watch.suppressed();
        if suppressed > std::mem::replace(&mut self.suppressed, suppressed) {
            troubles.push(format!("{suppressed} alerts were not told by now, since there were too many"));
        }
        Told { alerts, events: found.iter().map(analysis::Alert::event).collect(), troubles }
    }

    /// The alerts that are on, oldest first.
    pub(crate) fn on(&self) -> &[AlertView] {
        &self.on
    }

    /// Waits a little for deliveries that are under way; gives what could not be delivered.
    pub(crate) fn end(self) -> Vec<String> {
        self.deliveries.end()
    }
}

/// The name of this machine as it is shown.
pub(crate) fn host_name() -> String {
    model::escaped(rustix::system::uname().nodename().to_bytes())
}

#[cfg(test)]
mod tests {
    use model::{FigureKey, Moment, Reading, Source, SourceSample, SystemSample};

    use super::*;

    /// A beat at this second, with so much of 100 bytes of memory in use.
    fn beat(second: u64, used: u64) -> Beat {
        let ns = second * 1_000_000_000;
        let figure = |(name, value): (&str, u64)| model::Figure {
            key: FigureKey { subject: "".into(), name: name.into() },
            value: Reading::Known(value),
        };
        let figures = [("MemTotal", 100), ("MemAvailable", 100 - used)].map(figure).to_vec();
        let system =
            SystemSample { sources: vec![SourceSample { source: Source::Meminfo, figures: Reading::Known(figures) }] };
        let at = Moment { wall_ns: ns, boot_ns: ns, boot_id: "boot".into() };
        Beat { at, processes: Vec::new(), system, events: Vec::new() }
    }

    #[test]
    fn an_alert_is_on_from_its_raise_to_its_end() {
        let mut alerts = Alerts::new(&AlertSinks::default(), &Settings::default()).expect("nothing to refuse");
        let mut course = String::new();
        for (second, used) in [(0, 90), (10, 90), (40, 90), (50, 90), (60, 10), (100, 10), (110, 10)] {
            let told = alerts.beat(&beat(second, used), Vec::new);
            assert_eq!(told.alerts.len(), told.events.len(), "what is told is kept");
            course.push_str(match (told.alerts.first().map(|alert| alert.raised), alerts.on().len()) {
                (None, 0) => "-",
                (None, 1) => "=",
                (Some(true), 1) => "+",
                (Some(false), 0) => "/",
                _ => "?",
            });
        }
        assert_eq!(course, "--+==/-");
    }

    #[test]
    fn growth_is_judged_once_a_minute() {
        let mut alerts = Alerts::new(&AlertSinks::default(), &Settings::default()).expect("nothing to refuse");
        let mut judged = Vec::new();
        for second in (0..=150).step_by(10) {
            alerts.beat(&beat(second, 10), || {
                judged.push(second);
                Vec::new()
            });
        }
        assert_eq!(judged, [0, 60, 120]);
    }
}
