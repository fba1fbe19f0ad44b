//! Alerts of a recorder: judged beat by beat, told to whoever is to hear of them.
//!
//! Owns: which thresholds the configuration sets, how often growth is judged, and to whom an alert goes.
//! Must not know: when a rule is broken (`analysis` does), or how a delivery is made.

mod delivery;
mod options;
mod webhook;

use std::time::Duration;

use analysis::{AlertWatch, GrowthOptions, GrowthTracker};
use model::{Beat, Event};
use report::{AlertView, WallTime};

use self::delivery::Deliveries;
pub(crate) use self::options::{is_known, options};
pub(crate) use self::webhook::{Url, url};
use crate::failure::Failure;
use crate::flags::AlertSinks;
use crate::limits::JUDGE_EVERY;
use crate::output::Output;
use crate::settings::Settings;

/// What watches the beats of a recorder.
#[derive(Debug)]
pub(crate) struct Alerts {
    watch: AlertWatch,
    tracker: GrowthTracker,
    judged_at: Option<Duration>,
    deliveries: Deliveries,
    host: String,
    suppressed: u64,
}

impl Alerts {
    /// Watches with the thresholds of the configuration.
    pub(crate) fn new(sinks: &AlertSinks, settings: &Settings, host: String) -> Result<Self, Failure> {
        Ok(Self {
            watch: AlertWatch::new(options(settings)?),
            tracker: GrowthTracker::new(GrowthOptions::default()),
            judged_at: None,
            deliveries: Deliveries::start(sinks)?,
            host,
            suppressed: 0,
        })
    }

    /// Takes a beat; gives what the recording is to keep of it.
    pub(crate) fn beat(&mut self, beat: &Beat, output: &mut Output) -> Vec<Event> {
        self.tracker.add_beat(beat);
        let at = Duration::from_nanos(beat.at.boot_ns);
        // Judging all processes costs as much as some beats, and no trend changes from one beat to the next.
        let is_due = self.judged_at.is_none_or(|last| at.saturating_sub(last) >= JUDGE_EVERY || at < last);
        let growth = if is_due { self.tracker.ranking() } else { Vec::new() };
        if is_due {
            self.judged_at = Some(at);
        }
        let alerts = self.watch.add(beat, &growth);
        for alert in &alerts {
            let view = AlertView::new(WallTime::from(&beat.at), &self.host, alert);
            output.say(&output.text().alert(&view));
            self.deliveries.send(&view);
        }
        for trouble in self.deliveries.troubles() {
            output.say(&trouble);
        }
        let suppressed = self.watch.suppressed();
        if suppressed > std::mem::replace(&mut self.suppressed, suppressed) {
            output.say(&format!("{suppressed} alerts were not told by now, since there were too many"));
        }
        alerts.iter().map(analysis::Alert::event).collect()
    }

    /// Waits a little for deliveries that are under way; says what could not be delivered.
    pub(crate) fn end(self, output: &mut Output) {
        for trouble in self.deliveries.end() {
            output.say(&trouble);
        }
    }
}
