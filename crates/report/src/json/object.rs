//! Building one JSON object whose numbers all name their metric.
//!
//! Owns: how figures, missing figures and texts are put into JSON. Must not know: which views there are.

use std::time::Duration;

use model::{Bytes, Lifetimes, Reading, Tally};
use serde_json::{Map, Value};

use crate::Rate;
use crate::metrics::{self, Metric, Unit};

/// An object under construction; its keys keep the order in which they were added.
pub(super) struct Object(Map<String, Value>);

/// A value that a metric can have.
pub(super) trait Figure: Copy {
    /// The value in JSON.
    fn value(self) -> Value;

    /// Whether it is a quantity of this unit.
    fn fits(unit: Unit) -> bool;
}

impl Object {
    pub(super) fn new() -> Self {
        Self(Map::new())
    }

    /// A number, under the key of its metric. There is no other way to write a number.
    pub(super) fn figure<F: Figure>(self, metric: &Metric, figure: F) -> Self {
        debug_assert!(F::fits(metric.unit), "{} has another unit", metric.key);
        self.part(metric.key, figure.value())
    }

    pub(super) fn text(self, key: &str, text: &str) -> Self {
        self.part(key, Value::from(text))
    }

    pub(super) fn texts(self, key: &str, texts: &[String]) -> Self {
        self.part(key, texts.iter().map(String::as_str).map(Value::from).collect())
    }

    pub(super) fn truth(self, key: &str, truth: bool) -> Self {
        self.part(key, Value::from(truth))
    }

    pub(super) fn reading(self, key: &str, reading: &Reading<String>) -> Self {
        match reading {
            Reading::Known(text) => self.text(key, text),
            Reading::Missing(why) => self.missing(key, &why.to_string()),
        }
    }

    pub(super) fn missing(self, key: &str, why: &str) -> Self {
        self.part(key, missing(why))
    }

    pub(super) fn list<T>(self, key: &str, items: &[T], value: impl FnMut(&T) -> Value) -> Self {
        self.part(key, items.iter().map(value).collect())
    }

    pub(super) fn part(mut self, key: &str, value: Value) -> Self {
        let before = self.0.insert(key.to_owned(), value);
        debug_assert!(before.is_none(), "{key} is written twice");
        self
    }

    pub(super) fn value(self) -> Value {
        Value::Object(self.0)
    }
}

/// What stands in the place of a figure that is missing; never zero and never null.
pub(super) fn missing(why: &str) -> Value {
    Object::new().text("missing", why).value()
}

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
    i64: BytesPerHour;
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
        Object::new().part("blocks", Value::from(self.count)).part("bytes", Value::from(self.bytes.0)).value()
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
