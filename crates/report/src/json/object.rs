//! Building one JSON object whose numbers all name their metric.
//!
//! Owns: how figures, missing figures and texts are put into JSON. Must not know: which views there are.

use std::time::Duration;

use model::{Bytes, Kind, Lifetimes, Reading, Tally};
use serde_json::{Map, Value};

use crate::Rate;
use crate::metrics::{self, Metric, Unit};

/// An object under construction; its keys keep the order in which they were added.
pub(super) struct Object(Map<String, Value>);

/// A value that a metric can have. That a number cannot be written without one is what makes every number in JSON traceable to its
/// origin (invariant 10 of ARCHITECTURE.md).
pub(super) trait Figure: Copy {
    /// The value in JSON.
    fn value(self) -> Value;

    /// Whether it is a quantity of this unit.
    fn fits(unit: Unit) -> bool;
}

impl Object {
    /// An object without members.
    pub(super) fn new() -> Self {
        Self(Map::new())
    }

    /// A number, under the key of its metric. There is no other way to write a number.
    pub(super) fn figure<F: Figure>(self, metric: &Metric, figure: F) -> Self {
        debug_assert!(F::fits(metric.unit), "{} has another unit", metric.key);
        self.part(metric.key, figure.value())
    }

    /// A text as it is: JSON escapes control characters by itself.
    pub(super) fn text(self, key: &str, text: &str) -> Self {
        self.part(key, Value::from(text))
    }

    /// A list of texts.
    pub(super) fn texts(self, key: &str, texts: &[String]) -> Self {
        self.part(key, texts.iter().map(String::as_str).map(Value::from).collect())
    }

    /// Yes or no.
    pub(super) fn truth(self, key: &str, truth: bool) -> Self {
        self.part(key, Value::from(truth))
    }

    /// A text, or why there is none.
    pub(super) fn reading(self, key: &str, reading: &Reading<String>) -> Self {
        match reading {
            Reading::Known(text) => self.text(key, text),
            Reading::Missing(why) => self.missing(key, &why.to_string()),
        }
    }

    /// Nothing, and why.
    pub(super) fn missing(self, key: &str, why: &str) -> Self {
        self.part(key, missing(why))
    }

    /// One value for each item.
    pub(super) fn list<T>(self, key: &str, items: &[T], value: impl FnMut(&T) -> Value) -> Self {
        self.part(key, items.iter().map(value).collect())
    }

    /// Any value; a key is written once, since readers of JSON differ in which of two they take.
    pub(super) fn part(mut self, key: &str, value: Value) -> Self {
        let before = self.0.insert(key.to_owned(), value);
        debug_assert!(before.is_none(), "{key} is written twice");
        self
    }

    /// The finished object.
    pub(super) fn value(self) -> Value {
        Value::Object(self.0)
    }
}

/// What stands in the place of a figure that is missing; never zero and never null.
pub(super) fn missing(why: &str) -> Value {
    Object::new().text("missing", why).value()
}

/// Why descriptors have no bytes.
const NO_SIZE: &str = "not applicable: descriptors have no size";

/// A growth with both ends of its interval, of what has a size or of what is only counted.
pub(super) fn growth(kind: Kind, rate: &Reading<Rate>) -> Value {
    match rate {
        Reading::Known(rate) if !kind.has_size() => Object::new()
            .figure(&metrics::GROWTH_COUNT, rate.per_hour)
            .figure(&metrics::GROWTH_COUNT_LOW, rate.low)
            .figure(&metrics::GROWTH_COUNT_HIGH, rate.high)
            .value(),
        Reading::Known(_) | Reading::Missing(_) => self::rate(rate),
    }
}

/// A growth with both ends of its interval.
pub(super) fn rate(rate: &Reading<Rate>) -> Value {
    match rate {
        Reading::Known(rate) => Object::new()
            .figure(&metrics::GROWTH, rate.per_hour)
            .figure(&metrics::GROWTH_LOW, rate.low)
            .figure(&metrics::GROWTH_HIGH, rate.high)
            .value(),
        Reading::Missing(why) => missing(&why.to_string()),
    }
}

/// How long freed blocks had lived; nothing was measured where nothing was freed.
pub(super) fn lifetimes(lifetimes: Option<Lifetimes>) -> Value {
    let Some(lifetimes) = lifetimes else { return missing("nothing was freed") };
    Object::new()
        .figure(&metrics::LIFETIME_MIN, lifetimes.min)
        .figure(&metrics::LIFETIME_MEAN, lifetimes.mean)
        .figure(&metrics::LIFETIME_MAX, lifetimes.max)
        .value()
}

/// A plain number: its type does not say what it counts.
macro_rules! plain {
    ($($number:ty: $($unit:ident)|+;)*) => {
        $(impl Figure for $number {
            fn value(self) -> Value {
                Value::from(self)
            }

            fn fits(unit: Unit) -> bool {
                matches!(unit, $(Unit::$unit)|+)
            }
        })*
    };
}

plain! {
    u32: Count | Identifier;
    u64: Count | Identifier | Bytes;
    i64: BytesPerHour | CountPerHour | Bytes | Count;
    f64: Share;
}

impl Figure for Bytes {
    fn value(self) -> Value {
        Value::from(self.0)
    }

    fn fits(unit: Unit) -> bool {
        unit == Unit::Bytes
    }
}

impl Figure for Duration {
    fn value(self) -> Value {
        Value::from(self.as_secs_f64())
    }

    fn fits(unit: Unit) -> bool {
        unit == Unit::Seconds
    }
}

impl Figure for Tally {
    fn value(self) -> Value {
        let bytes = if self.kind.has_size() { Value::from(self.bytes.0) } else { missing(NO_SIZE) };
        let object = Object::new().part("blocks", Value::from(self.count)).part("bytes", bytes);
        // An error of zero would say "measured without error"; a count has none, and then the keys are absent.
        if !self.is_estimate() {
            return object.value();
        }
        let (blocks, bytes) = (Value::from(self.count_error()), Value::from(self.bytes_error().0));
        object.part("blocks_error", blocks).part("bytes_error", bytes).value()
    }

    fn fits(unit: Unit) -> bool {
        unit == Unit::Blocks
    }
}

impl<F: Figure> Figure for Reading<F> {
    fn value(self) -> Value {
        match self {
            Self::Known(figure) => figure.value(),
            Self::Missing(why) => missing(&why.to_string()),
        }
    }

    fn fits(unit: Unit) -> bool {
        F::fits(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Variance, Why};

    #[track_caller]
    fn check(object: Object, expected: &str) {
        assert_eq!(object.value().to_string(), expected);
    }

    #[test]
    fn figures_stand_under_the_key_of_their_metric() {
        check(Object::new().figure(&metrics::RSS, Bytes(7)), r#"{"rss_bytes":7}"#);
        check(Object::new().figure(&metrics::WINDOW, Duration::from_millis(1500)), r#"{"window_seconds":1.5}"#);
        check(Object::new().figure(&metrics::BEATS, u64::MAX), r#"{"beats":18446744073709551615}"#);
        check(Object::new().figure(&metrics::CONFIDENCE, 0.5), r#"{"confidence":0.5}"#);
        let tally = Tally::exact(2, Bytes(10));
        check(Object::new().figure(&metrics::LIVE, tally), r#"{"live":{"blocks":2,"bytes":10}}"#);
        let none = Object::new().figure(&metrics::LIVE, Tally { count: 2, ..Tally::of(Kind::Descriptor) });
        let missing = r#"{"missing":"not applicable: descriptors have no size"}"#;
        check(none, &format!(r#"{{"live":{{"blocks":2,"bytes":{missing}}}}}"#));
        let estimate = Tally { variance: Variance { blocks: 1, bytes: 25 }, ..tally };
        let written = r#"{"live":{"blocks":2,"bytes":10,"blocks_error":4,"bytes_error":18}}"#;
        check(Object::new().figure(&metrics::LIVE, estimate), written);
    }

    #[test]
    fn missing_is_a_reason_and_not_null() {
        let missing = Reading::<Bytes>::Missing(Why::ProcessGone);
        check(Object::new().figure(&metrics::RSS, missing), r#"{"rss_bytes":{"missing":"the process is gone"}}"#);
        let user = Reading::Missing(Why::NotRecorded);
        check(Object::new().reading("user", &user), r#"{"user":{"missing":"not recorded"}}"#);
        assert_eq!(lifetimes(None).to_string(), r#"{"missing":"nothing was freed"}"#);
        assert_eq!(rate(&Reading::Missing(Why::TooShort)).to_string(), r#"{"missing":"too short to tell"}"#);
    }

    #[test]
    fn keys_keep_their_order_and_texts_are_escaped() {
        let object = Object::new().text("z", "a\n\x1b\"").truth("a", true).texts("list", &["x".to_owned()]);
        check(object, r#"{"z":"a\n\u001b\"","a":true,"list":["x"]}"#);
    }

    #[test]
    fn a_figure_fits_only_its_unit() {
        assert!(Bytes::fits(Unit::Bytes) && !Bytes::fits(Unit::Seconds));
        assert!(Duration::fits(Unit::Seconds) && !Duration::fits(Unit::Count));
        assert!(i64::fits(Unit::BytesPerHour) && !u64::fits(Unit::BytesPerHour));
        assert!(Reading::<Tally>::fits(Unit::Blocks) && !Reading::<Tally>::fits(Unit::Bytes));
    }

    #[test]
    #[should_panic(expected = "written twice")]
    fn a_key_cannot_be_written_twice() {
        drop(Object::new().text("key", "a").text("key", "b"));
    }

    #[test]
    #[should_panic(expected = "another unit")]
    fn a_figure_cannot_stand_under_a_key_of_another_unit() {
        drop(Object::new().figure(&metrics::WINDOW, Bytes(1)));
    }
}
