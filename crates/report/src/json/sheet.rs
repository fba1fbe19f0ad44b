//! The documents of sheets and alerts.
//!
//! Owns: their keys. Must not know: what the columns mean.

use model::{Bytes, Reading};
use serde_json::Value;

use super::object::{self, Object};
use crate::metrics::{self, Metric};
use crate::view::{AlertView, Cell, SheetView, TableView};

/// All tables of a sheet, each a list of objects.
pub(super) fn sheet(object: Object, view: &SheetView) -> Object {
    let object = object.text("title", &view.title);
    let with = |object: Object, table: &TableView| object.part(table.key, content(table));
    let left_out =
        |table: &TableView| Object::new().text("table", table.key).figure(&metrics::ROWS_LEFT_OUT, table.left_out);
    let cut: Vec<Value> =
        view.tables.iter().filter(|table| table.left_out > 0).map(|table| left_out(table).value()).collect();
    let object = view.tables.iter().fold(object, with);
    object.part("left_out", Value::Array(cut)).texts("notes", &view.notes)
}

/// One alert.
pub(super) fn alert(object: Object, view: &AlertView) -> Object {
    let object = object
        .text("at", &view.at.rfc3339())
        .text("host", &view.host)
        .text("state", if view.raised { "raised" } else { "cleared" })
        .text("rule", &view.rule)
        .text("severity", view.weight())
        .text("subject", &view.subject)
        .text("evidence", &view.evidence);
    if view.next_command.is_empty() {
        return object.missing("next_command", "no command helps");
    }
    object.text("next_command", &view.next_command)
}

/// A list of objects, one object where the table is about one thing, or why there is neither.
fn content(table: &TableView) -> Value {
    match (table.missing, table.facts) {
        (Some(why), _) => object::missing(&why.to_string()),
        (None, true) => rows(table).first().cloned().unwrap_or_else(|| object::missing("nothing is known of it")),
        (None, false) => Value::Array(rows(table)),
    }
}

fn rows(table: &TableView) -> Vec<Value> {
    let row = |row: &Vec<Cell>| {
        let cells = table.columns.iter().zip(row);
        cells.fold(Object::new(), |object, (metric, cell)| with(object, metric, cell)).value()
    };
    table.rows.iter().map(row).collect()
}

fn with(object: Object, metric: &Metric, cell: &Cell) -> Object {
    match cell {
        Cell::Text(reading) => object.reading(metric.key, reading),
        Cell::Count(Reading::Known(u64::MAX)) | Cell::Bytes(Reading::Known(Bytes(u64::MAX))) => {
            object.missing(metric.key, "unlimited")
        }
        Cell::Bytes(reading) => object.figure(metric, *reading),
        Cell::Change(reading) | Cell::CountChange(reading) => object.figure(metric, *reading),
        Cell::Count(reading) => object.figure(metric, *reading),
        Cell::Share(Reading::Known(share)) if !share.is_finite() => {
            object.part(metric.key, object::missing("no number"))
        }
        Cell::Share(reading) => object.figure(metric, *reading),
        Cell::Span(reading) => object.figure(metric, *reading),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use model::Why;

    #[track_caller]
    fn check(metric: &Metric, cell: &Cell, expected: &str) {
        assert_eq!(with(Object::new(), metric, cell).value().to_string(), expected);
    }

    #[test]
    fn cells_stand_under_their_metric() {
        check(&metrics::RSS, &Cell::Bytes(Reading::Known(Bytes(7))), r#"{"rss_bytes":7}"#);
        check(&metrics::CHANGE, &Cell::Change(Reading::Known(-7)), r#"{"change_bytes":-7}"#);
        check(&metrics::PATH, &Cell::text("a\"b\x1b"), r#"{"path":"a\"b\u001b"}"#);
        check(&metrics::SOFT_LIMIT, &Cell::count(u64::MAX), r#"{"soft_limit":{"missing":"unlimited"}}"#);
        let gone = Cell::Bytes(Reading::Missing(Why::ProcessGone));
        check(&metrics::RSS, &gone, r#"{"rss_bytes":{"missing":"the process is gone"}}"#);
    }

    #[test]
    fn facts_are_an_object_and_what_is_missing_a_reason() {
        let size = Cell::Bytes(Reading::Known(Bytes(7)));
        let facts = TableView::facts("whole", "Whole", [(&metrics::SIZE, size)]);
        assert_eq!(content(&facts).to_string(), r#"{"size_bytes":7}"#);
        let empty = TableView::new("t", "T", &[&metrics::SIZE]);
        assert_eq!(content(&empty).to_string(), "[]");
        let missing = empty.with_rows::<()>(Reading::<Vec<()>>::Missing(Why::NotOffered), |()| Vec::new());
        assert_eq!(content(&missing).to_string(), r#"{"missing":"not offered by this kernel"}"#);
        check(
            &metrics::SIZE,
            &Cell::Bytes(Reading::Known(Bytes(u64::MAX))),
            r#"{"size_bytes":{"missing":"unlimited"}}"#,
        );
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let mut view = samples::sheet();
        let table = view.tables.iter_mut().find(|table| table.key == "mappings").expect("it is there");
        let rows = table.rows.len() as u64 + table.left_out;
        table.truncate(0);
        let value = sheet(Object::new(), &view).value();
        assert_eq!(value["left_out"][0]["table"], "mappings");
        assert_eq!(value["left_out"][0]["rows_left_out"], rows);
        assert_eq!(value["mappings"].as_array().map(Vec::len), Some(0));
    }
}
