//! The documents of sheets and alerts.
//!
//! Owns: their keys. Must not know: what the columns mean.

use model::Reading;
use serde_json::Value;

use super::object::{self, Object};
use crate::metrics::{self, Metric};
use crate::view::{AlertView, Cell, SheetView, TableView};

/// All tables of a sheet, each a list of objects.
pub(super) fn sheet(object: Object, view: &SheetView) -> Object {
    let object = object.text("title", &view.title);
    let with = |object: Object, table: &TableView| object.part(table.key, rows(table));
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

fn rows(table: &TableView) -> Value {
    let row = |row: &Vec<Cell>| {
        let cells = table.columns.iter().zip(row);
        cells.fold(Object::new(), |object, (metric, cell)| with(object, metric, cell)).value()
    };
    table.rows.iter().map(row).collect()
}

fn with(object: Object, metric: &Metric, cell: &Cell) -> Object {
    match cell {
        Cell::Text(reading) => object.reading(metric.key, reading),
        Cell::Bytes(reading) => object.figure(metric, *reading),
        Cell::Change(reading) => object.figure(metric, *reading),
        Cell::Count(Reading::Known(u64::MAX)) => object.missing(metric.key, "unlimited"),
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
    use model::{Bytes, Why};

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
    fn what_is_left_out_is_counted() {
        let mut view = samples::sheet();
        view.tables[0].truncate(0);
        let value = sheet(Object::new(), &view).value();
        assert_eq!(value["left_out"][0]["table"], "mappings");
        assert_eq!(value["left_out"][0]["rows_left_out"], 1);
        assert_eq!(value["mappings"].as_array().map(Vec::len), Some(0));
    }
}
