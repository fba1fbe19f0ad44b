//! What a recording holds between two moments, made small enough to be looked at.
//!
//! Owns: the facts of a report of a recording. Must not know: how recordings are stored, thinned or judged.

use std::sync::Arc;

use model::{Bytes, Identity, Reading};

use super::{Outcome, ProcessView};
use crate::WallTime;
use crate::metrics::Metric;

/// A recording, or a stretch of one.
#[derive(Clone, Debug, Default)]
pub struct RecordingView {
    /// Name of the machine.
    pub host: String,
    /// First moment.
    pub from: WallTime,
    /// Last moment.
    pub to: WallTime,
    /// Samples taken in between.
    pub beats: u64,
    /// Processes that ran in between, shown or not.
    pub processes_seen: u64,
    /// Stretches without samples, oldest first.
    pub gaps: Vec<GapView>,
    /// What it came to.
    pub outcome: Outcome,
    /// Who grows, worst first.
    pub findings: Vec<FindingView>,
    /// The processes that are shown, worst first.
    pub processes: Vec<ProcessSeries>,
    /// Figures of the machine over time.
    pub system: Vec<Series>,
    /// What the memory of the machine is used for at the last moment, where that is known.
    pub balance: Option<BalanceView>,
    /// What happened, oldest first.
    pub events: Vec<NoteView>,
    /// What was lost, left out or refused, one sentence each.
    pub notes: Vec<String>,
}

/// A stretch without samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapView {
    /// The last sample before it.
    pub from: WallTime,
    /// The first sample after it.
    pub to: WallTime,
    /// Why, as far as it can be told.
    pub reason: String,
}

/// One judgement of growth and the stretch that it holds for.
#[derive(Clone, Debug)]
pub struct FindingView {
    /// The process and how it grows.
    pub process: ProcessView,
    /// Since when it was watched, or has been growing.
    pub since: WallTime,
    /// Until when.
    pub until: WallTime,
}

/// One process over time.
#[derive(Clone, Debug)]
pub struct ProcessSeries {
    /// Which process.
    pub identity: Arc<Identity>,
    /// When it was first seen.
    pub first: WallTime,
    /// When it was last seen.
    pub last: WallTime,
    /// Its figures over time.
    pub series: Vec<Series>,
}

/// One figure over time.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is.
    pub metric: &'static Metric,
    /// What it is about, where the metric alone does not say it: a control group, `some`, a device.
    pub subject: String,
    /// Its values, oldest first. A point that is missing breaks the line.
    pub points: Vec<Point>,
}

/// One value at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When.
    pub at: WallTime,
    /// The value in the unit of its metric.
    pub value: Reading<f64>,
}

/// What all memory of the machine is used for. The parts and the rest come to the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalanceView {
    /// `MemTotal`.
    pub total: Reading<Bytes>,
    /// Each use with its name, largest first or in an order that explains.
    pub parts: Vec<(String, Reading<Bytes>)>,
    /// What no part explains, in bytes; negative where the parts overlap.
    pub unexplained: Reading<i64>,
}

/// Something that happened, as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteView {
    /// When.
    pub at: WallTime,
    /// Its kind as one word, for programs: `oom_kill`, `gap`, `alert`.
    pub kind: &'static str,
    /// Whether it deserves attention.
    pub severe: bool,
    /// What, in words.
    pub text: String,
}

impl Series {
    /// Least and greatest known value.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        let known = self.points.iter().filter_map(|point| point.value.known()).filter(|value| value.is_finite());
        known.fold(None, |range, value| {
            let (least, greatest) = range.unwrap_or((value, value));
            Some((least.min(value), greatest.max(value)))
        })
    }

    /// The last known value.
    pub(crate) fn last(&self) -> Option<f64> {
        self.points.iter().rev().find_map(|point| point.value.known())
    }
}

impl ProcessSeries {
    /// `name (pid)`, as it stands beside a line of a chart.
    pub(crate) fn label(&self) -> String {
        format!("{} ({})", self.identity.command, self.identity.key.pid)
    }

    /// One of its figures over time.
    pub(crate) fn series(&self, metric: &Metric) -> Option<&Series> {
        self.series.iter().find(|series| series.metric.key == metric.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;
    use model::Why;

    #[track_caller]
    fn check(values: &[Option<f64>], range: Option<(f64, f64)>, last: Option<f64>) {
        let point =
            |value: &Option<f64>| Point { at: WallTime(0), value: Reading::from_option(*value, Why::ProcessGone) };
        let series =
            Series { metric: &metrics::RSS, subject: String::new(), points: values.iter().map(point).collect() };
        assert_eq!((series.range(), series.last()), (range, last));
    }

    #[test]
    fn what_is_missing_is_no_value() {
        check(&[], None, None);
        check(&[None, None], None, None);
        check(&[Some(3.0), None, Some(1.0), None], Some((1.0, 3.0)), Some(1.0));
        check(&[Some(f64::INFINITY), Some(2.0)], Some((2.0, 2.0)), Some(2.0));
    }
}
