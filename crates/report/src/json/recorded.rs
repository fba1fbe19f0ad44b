//! The documents about recordings.
//!
//! Owns: their keys. Must not know: where the documents go.

use model::Reading;
use serde_json::Value;

use super::object::{self, Object};
use super::{identity, ranked};
use crate::limits::WHOLE_MAX;
use crate::metrics;
use crate::view::{BalanceView, GapView, NoteView, ProcessSeries, RecordingView, Series};

/// All of a report: also the processes and figures that the text leaves out for want of space.
pub(super) fn recording(object: Object, view: &RecordingView) -> Object {
    let ranks = view.findings.iter().zip(1_u32..);
    let findings = ranks.map(|(finding, rank)| {
        let object = ranked(rank, &finding.process);
        object.text("since", &finding.since.rfc3339()).text("until", &finding.until.rfc3339()).value()
    });
    let object = object
        .text("outcome", view.outcome.key())
        .figure(&metrics::EXIT_CODE, u32::from(view.outcome.exit_code()))
        .text("host", &view.host)
        .text("from", &view.from.rfc3339())
        .text("to", &view.to.rfc3339())
        .figure(&metrics::BEATS, view.beats)
        .figure(&metrics::PROCESSES, view.processes_seen)
        .part("findings", findings.collect())
        .list("processes", &view.processes, process)
        .list("system", &view.system, series)
        .list("gaps", &view.gaps, gap);
    let object = match &view.balance {
        Some(sheet) => object.part("balance", balance(sheet)),
        // The key is there all the same, so that a reader need not tell an old document from one without a balance.
        None => object.missing("balance", "not recorded"),
    };
    object.list("events", &view.events, event).texts("notes", &view.notes)
}

fn process(process: &ProcessSeries) -> Value {
    identity(Object::new(), &process.identity)
        .text("first", &process.first.rfc3339())
        .text("last", &process.last.rfc3339())
        .list("series", &process.series, series)
        .value()
}

/// Two lists of one length, as in the history of a process; a value that is missing says why in its place.
fn series(series: &Series) -> Value {
    let times: Value = series.points.iter().map(|point| Value::from(point.at.unix_seconds())).collect();
    let value = |reading: Reading<f64>| match reading {
        Reading::Known(value) => number(value),
        Reading::Missing(why) => object::missing(&why.to_string()),
    };
    let values: Value = series.points.iter().map(|point| value(point.value)).collect();
    // The values stand under the key of their metric, whose ending says their unit.
    Object::new()
        .text("metric", series.metric.key)
        .text("subject", &series.subject)
        .part(metrics::UNIX.key, times)
        .part(series.metric.key, values)
        .value()
}

/// Whole numbers without a fraction, and what JSON cannot say as a reason.
fn number(value: f64) -> Value {
    match value {
        _ if !value.is_finite() => object::missing("no finite number"),
        _ if value.fract() == 0.0 && value.abs() < WHOLE_MAX => Value::from(value as i64),
        _ => Value::from(value),
    }
}

fn gap(gap: &GapView) -> Value {
    let object = Object::new().text("from", &gap.from.rfc3339()).text("to", &gap.to.rfc3339());
    object.text("reason", &gap.reason).value()
}

fn balance(balance: &BalanceView) -> Value {
    let part = |(name, bytes): &(String, Reading<model::Bytes>)| {
        Object::new().text("name", name).figure(&metrics::BALANCE_PART, *bytes).value()
    };
    Object::new()
        .figure(&metrics::MEMORY_TOTAL, balance.total)
        .list("parts", &balance.parts, part)
        .figure(&metrics::UNEXPLAINED, balance.unexplained)
        .value()
}

fn event(event: &NoteView) -> Value {
    let object = Object::new().text("at", &event.at.rfc3339()).text("kind", event.kind);
    object.truth("severe", event.severe).text("text", &event.text).value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Point, WallTime, samples};
    use model::Why;

    #[track_caller]
    fn check(value: Reading<f64>, expected: &str) {
        let points = vec![Point { at: WallTime(1_500_000_000), value }];
        let value = series(&Series { metric: &metrics::RSS, subject: String::new(), points });
        assert_eq!(value["rss_bytes"][0].to_string(), expected);
        assert_eq!(value["unix_seconds"][0], 1.5);
    }

    #[test]
    fn what_is_missing_says_why_in_its_place() {
        check(Reading::Known(5.0), "5");
        check(Reading::Known(0.5), "0.5");
        check(Reading::Known(f64::NAN), r#"{"missing":"no finite number"}"#);
        check(Reading::Missing(Why::ProcessGone), r#"{"missing":"the process is gone"}"#);
    }

    #[test]
    fn a_negative_rest_stays_negative() {
        let view = samples::recording();
        let value = view.balance.as_ref().map(balance).unwrap_or_default();
        assert_eq!(value["unexplained_bytes"], -(64_i64 << 20));
        assert_eq!(value["parts"][2]["used_bytes"]["missing"], "not permitted (needs CAP_SYS_ADMIN)");
    }
}
