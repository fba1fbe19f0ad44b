//! The data of the charts, in the form that the script of the page reads.
//!
//! Owns: that nothing in it can end the element that it stands in. Must not know: how charts are drawn.

use serde_json::{Map, Value, json};

use super::chosen;
use crate::Text;
use crate::limits::WHOLE_MAX;
use crate::metrics::Unit;
use crate::plot::charts::{self, Chart, Line};
use crate::view::RecordingView;

/// The whole data as one line of JSON that is safe inside of a script element.
pub(super) fn json(view: &RecordingView) -> String {
    let gap = |gap: &crate::GapView| json!([gap.from.unix_seconds(), gap.to.unix_seconds(), Text::safe(&gap.reason)]);
    // The same events as in the list below the charts; gaps are drawn as stretches already.
    let marked = chosen(&view.events).into_iter().filter(|event| event.severe && event.kind != "gap");
    let event = |event: &crate::NoteView| json!([event.at.unix_seconds(), Text::safe(&event.text)]);
    let mut object = Map::new();
    let mut put = |key: &str, value| object.insert(key.to_owned(), value);
    put("from", json!(view.from.unix_seconds()));
    put("to", json!(view.to.unix_seconds()));
    put("gaps", view.gaps.iter().map(gap).collect());
    put("events", marked.map(event).collect());
    put("charts", charts::of(view).iter().map(chart).collect());
    harmless(&Value::Object(object).to_string())
}

/// One text as JSON that is safe inside of a script element.
pub(super) fn quoted(text: &str) -> String {
    harmless(&Value::from(text).to_string())
}

/// `<` only ever stands inside of a string of JSON, where it may be escaped; so may what old scripts take for a line end.
fn harmless(json: &str) -> String {
    let written = json
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    debug_assert!(!written.contains('<'), "nothing ends the element");
    written
}

fn chart(chart: &Chart<'_>) -> Value {
    json!({ "title": Text::safe(&chart.title), "unit": unit(chart.unit), "lines": chart.lines.iter().map(line).collect::<Value>() })
}

fn line(line: &Line<'_>) -> Value {
    // Milliseconds are more than a chart can show, and nanoseconds would double the size of the page.
    let times: Value =
        line.points.iter().map(|point| Value::from((point.at.unix_seconds() * 1e3).round() / 1e3)).collect();
    // The script breaks the line at a null; why it is missing stands in the JSON report.
    let values: Value = line.points.iter().map(|point| point.value.known().map_or(Value::Null, number)).collect();
    json!({ "name": Text::safe(&line.name), "severity": line.severity.key(), "t": times, "v": values })
}

/// Bytes are whole numbers, and `.0` behind each would make the page larger by a fifth.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < WHOLE_MAX { Value::from(value as i64) } else { Value::from(value) }
}

const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Bytes | Unit::BytesPerHour => "bytes",
        Unit::Share => "share",
        Unit::Seconds => "seconds",
        Unit::Count | Unit::CountPerHour | Unit::Blocks | Unit::Identifier | Unit::Text => "count",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn nothing_in_the_data_ends_its_element() {
        let mut view = samples::recording();
        view.events[2].text = "</script><script>alert(1)</script>\u{2028}<!--".to_owned();
        let text = json(&view);
        assert!(!text.contains(['<', '>', '&', '\u{2028}']), "{text}");
        let value: Value = serde_json::from_str(&text).expect("it is still JSON");
        assert_eq!(value["events"][0][1], "</script><script>alert(1)</script>\\u{2028}<!--");
    }

    #[track_caller]
    fn check(value: f64, expected: &str) {
        assert_eq!(number(value).to_string(), expected);
    }

    #[test]
    fn numbers_are_short_and_never_invalid() {
        check(5.0, "5");
        check(0.25, "0.25");
        check(1e16, "1e+16");
        check(f64::NAN, "null");
    }

    #[test]
    fn each_line_has_as_many_times_as_values() {
        let value: Value = serde_json::from_str(&json(&samples::recording())).expect("it is JSON");
        for line in
            value["charts"].as_array().into_iter().flatten().filter_map(|chart| chart["lines"].as_array()).flatten()
        {
            let length = |key: &str| line[key].as_array().map(Vec::len);
            assert!(length("t") == length("v") && length("t") > Some(0), "{line}");
        }
    }
}
