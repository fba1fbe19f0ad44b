//! Tables of looks that are made up, as text: the sheets as a whole are golden files.

use std::ops::Range;
use std::time::Duration;

use model::inspection::{MappingInspection, MappingKind, MappingUsage};
use model::{Address, Bytes, Reading, Why};

use super::{growth, per_hour, share, sum};

/// Mappings as `start-end:taken`, `start-end:taken:name`, by spaces.
fn mappings(text: &str) -> Vec<MappingInspection> {
    let one = |word: &str| {
        let mut parts = word.split([':', '-']);
        let mut number = || parts.next().and_then(|part| part.parse().ok()).expect("a number");
        let (start, end, taken) = (number(), number(), number());
        let rss = Reading::Known(Bytes(taken));
        MappingInspection {
            addresses: Range { start: Address(start), end: Address(end) },
            permissions: "rw-p".to_owned(),
            kind: MappingKind::Anonymous,
            inode: 0,
            name: parts.next().unwrap_or_default().to_owned(),
            usage: MappingUsage { size: Bytes(end - start), rss, ..MappingUsage::NONE },
        }
    };
    text.split_whitespace().map(one).collect()
}

#[track_caller]
fn check(before: &str, after: &str, expected: &str) {
    let (old, new) = (mappings(before), mappings(after));
    assert_eq!(growth::written(&old, &new), expected);
}

#[test]
fn a_mapping_is_found_again_wherever_it_has_grown() {
    check("10-20:5", "10-30:9", "10 5→9");
    check("10-20:5", "5-20:9", "5 5→9");
    check("10-20:5 30-40:1", "10-40:9", "10 6→9");
    check("10-40:9", "10-20:5 30-40:1", "30 0→1, 10 9→5");
    check("10-20:5", "10-20:5", "");
}

#[test]
fn what_is_new_or_gone_is_told_from_what_grew() {
    check("", "10-20:5", "10 0→5");
    check("10-20:5", "", "10 5→0");
    check("10-20:5:a", "10-20:7:b", "10 0→7, 10 5→0");
    check("10-20:5", "20-30:6", "20 0→6, 10 5→0");
}

#[test]
fn shares_rates_and_sums() {
    assert_eq!(share(Reading::Known(5), Reading::Known(10)), Some(0.5));
    assert_eq!(share(Reading::Known(5), Reading::Known(u64::MAX)), None);
    assert_eq!(share(Reading::Known(5), Reading::Known(0)), None);
    let known = Reading::<i64>::Known;
    assert_eq!(per_hour(known(-2), Duration::from_secs(2)), known(-3600));
    assert_eq!(per_hour(known(i64::MAX), Duration::from_millis(1)), known(i64::MAX));
    assert_eq!(per_hour(known(1), Duration::ZERO), Reading::Missing(Why::TooShort));
    let missing = Reading::Missing(Why::OverBudget);
    let bytes = |bytes| Reading::Known(Bytes(bytes));
    assert_eq!(sum([bytes(1), missing, bytes(2)]), bytes(3));
    assert_eq!(sum([missing]), missing);
}
