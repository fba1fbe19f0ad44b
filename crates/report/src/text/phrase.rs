//! Short phrases that several texts share.
//!
//! Owns: how counts, rates, tallies and readings read. Must not know: where they stand.

use std::fmt::Display;
use std::time::Duration;

use model::{Bytes, Kind, Reading, Tally};

use crate::{Exhaustion, FindingView, Rate, RecordingView, Span};

/// What stands in a table where a figure is missing. Its reason is in the details.
pub(crate) const MISSING: &str = "?";

/// What stands in a table where a figure makes no sense.
pub(crate) const INAPPLICABLE: &str = "-";

/// A number with its thousands set off: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut written = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    debug_assert_eq!(written.replace(',', ""), digits, "setting off changes no digit");
    written
}

/// `1 block`, `2,000 blocks`, `2 mappings or descriptors`.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    let things: Vec<String> =
        thing.split(" or ").map(|thing| if number == 1 { thing.into() } else { several(thing) }).collect();
    format!("{} {}", count(number), things.join(" or "))
}

fn several(thing: &str) -> String {
    match thing.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if thing.ends_with("ss") => format!("{thing}es"),
        None => format!("{thing}s"),
    }
}

/// `3 blocks (1.50 KiB)`, or `3 descriptors`, which have no size; an estimate with its 95 % interval:
/// `≈ 1,335 ± 80 blocks (5.21 MiB ± 320 KiB)`.
pub(crate) fn tally(tally: Tally) -> String {
    let kind = tally.kind;
    let number = if tally.count == 1 {
        format!("1 {}", kind.thing())
    } else {
        format!("{} {}", count(tally.count), kind.things())
    };
    if !kind.has_size() {
        return number;
    }
    if !tally.is_estimate() {
        return format!("{number} ({})", tally.bytes);
    }
    let (blocks, error) = (count(tally.count), count(tally.count_error()));
    format!("≈ {blocks} ± {error} blocks ({} ± {})", tally.bytes, tally.bytes_error())
}

/// How far off an estimate may be, for a cell of a table: ` ±6 %`; nothing for what was counted.
pub(crate) fn error_share(figure: u64, error: u64) -> String {
    match (figure, error) {
        (_, 0) => String::new(),
        (0, _) => " ±?".to_owned(),
        _ => format!(" ±{:.0} %", (error as f64 / figure as f64 * 100.0).ceil()),
    }
}

/// Bytes per hour with a sign: `+1.50 MiB`.
pub(crate) fn per_hour(bytes: i64) -> String {
    let sign = match bytes {
        0 => "",
        1.. => "+",
        ..0 => "-",
    };
    format!("{sign}{}", Bytes(bytes.unsigned_abs()))
}

/// The ends of the interval: `+1.20 MiB to +1.80 MiB`.
pub(crate) fn interval(rate: &Rate) -> String {
    format!("{} to {}", per_hour(rate.low), per_hour(rate.high))
}

/// What has no size grows by numbers: `+40`.
pub(crate) fn number_per_hour(number: i64) -> String {
    let sign = if number > 0 { "+" } else { "" };
    let minus = if number < 0 { "-" } else { "" };
    format!("{sign}{minus}{}", count(number.unsigned_abs()))
}

/// The growth of a site of this kind with its interval, as it reads in a sentence.
pub(crate) fn growth(kind: Kind, rate: &Reading<Rate>) -> String {
    match rate {
        Reading::Known(rate) if !kind.has_size() => format!(
            "{} {} per hour ({} to {})",
            number_per_hour(rate.per_hour),
            kind.things(),
            number_per_hour(rate.low),
            number_per_hour(rate.high)
        ),
        Reading::Known(_) | Reading::Missing(_) => self::rate(rate),
    }
}

/// A rate with its interval, as it reads in a sentence.
pub(crate) fn rate(rate: &Reading<Rate>) -> String {
    match rate {
        Reading::Known(rate) => format!("{} per hour ({})", per_hour(rate.per_hour), interval(rate)),
        Reading::Missing(why) => format!("unknown: {why}"),
    }
}

/// The time until memory runs out with its interval.
pub(crate) fn exhaustion(exhaustion: &Reading<Exhaustion>) -> String {
    let exhaustion = match exhaustion {
        Reading::Known(exhaustion) => exhaustion,
        Reading::Missing(why) => return format!("unknown: {why}"),
    };
    let latest = exhaustion.latest.map_or_else(|| "never".to_owned(), |latest| Span(latest).to_string());
    format!("in {} (between {} and {latest})", Span(exhaustion.after), Span(exhaustion.soonest))
}

/// What a recording covers, as one line.
pub(crate) fn recorded(view: &RecordingView) -> String {
    format!(
        "{}: {} to {} UTC ({}), {}, {} seen, {}",
        view.host,
        view.from,
        view.to,
        Span(view.to.since(view.from)),
        counted(view.beats, "sample"),
        counted(view.processes_seen, "process"),
        counted(view.gaps.len() as u64, "gap"),
    )
}

/// A finding in a sentence: what grows, how fast, since when, and how certain that is.
pub(crate) fn finding(finding: &FindingView) -> String {
    let process = &finding.process;
    let kind = if process.kind.is_empty() { "memory" } else { &process.kind };
    let certain = process.confidence.known().map_or_else(String::new, |share| format!(", {} certain", percent(share)));
    // An end that cannot be foretold is no news here; the table has its reason.
    let full = match process.exhaustion {
        Reading::Known(_) => format!("; memory is full {}", exhaustion(&process.exhaustion)),
        Reading::Missing(_) => String::new(),
    };
    format!("{kind} {} from {} to {} UTC{certain}{full}", rate(&process.growth), finding.since, finding.until)
}

/// Bytes with a sign, where a negative number means something: `-64.0 MiB`.
pub(crate) fn signed(bytes: i64) -> String {
    format!("{}{}", if bytes < 0 { "-" } else { "" }, Bytes(bytes.unsigned_abs()))
}

/// `measuring  [#####-----]  50 %, 2.50 s of 5.00 s`.
pub(crate) fn bar(what: &str, done: Duration, whole: Duration, width: usize) -> String {
    let share = if whole.is_zero() { 1.0 } else { (done.as_secs_f64() / whole.as_secs_f64()).min(1.0) };
    let rest = format!("{:>3.0} %, {} of {}", (share * 100.0).floor(), Span(done.min(whole)), Span(whole));
    let length = width.saturating_sub(what.len() + rest.len() + 6).min(40);
    let full = (share * length as f64) as usize;
    let line = format!("{what}  [{}{}]  {rest}", "#".repeat(full), "-".repeat(length - full));
    super::table::cut(&line, width)
}

/// A figure in a table.
pub(crate) fn cell<T: Display>(reading: Reading<T>) -> String {
    reading.known().map_or_else(|| MISSING.to_owned(), |value| value.to_string())
}

/// A figure in the details.
pub(crate) fn detail<T: Display>(reading: &Reading<T>) -> String {
    match reading {
        Reading::Known(value) => value.to_string(),
        Reading::Missing(why) => format!("unknown: {why}"),
    }
}

/// A share as a percentage, never rounded up to certainty.
pub(crate) fn percent(share: f64) -> String {
    debug_assert!((0.0..=1.0).contains(&share), "{share} is no share");
    format!("{:.0} %", (share * 100.0).clamp(0.0, 100.0).floor())
}

/// A small share as a percentage, with one place: `1.8 %`.
pub(crate) fn share(share: f64) -> String {
    debug_assert!((0.0..=1.0).contains(&share), "{share} is no share");
    if share > 0.0 && share < 0.001 { "under 0.1 %".to_owned() } else { format!("{:.1} %", share * 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Variance, Why};

    #[track_caller]
    fn check(written: impl AsRef<str>, expected: &str) {
        assert_eq!(written.as_ref(), expected);
    }

    #[test]
    fn counts_are_set_off_in_thousands() {
        check(count(0), "0");
        check(count(999), "999");
        check(count(1000), "1,000");
        check(count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn a_bar_fits_and_is_full_at_the_end() {
        let second = Duration::from_secs(1);
        check(bar("x", second, second * 4, 40), "x  [##--------]   25 %, 1.00 s of 4.00 s");
        check(bar("x", second * 9, second, 38), "x  [########]  100 %, 1.00 s of 1.00 s");
        check(bar("what takes long", second, Duration::ZERO, 20), "what takes long  []…");
    }

    #[test]
    fn one_thing_is_singular() {
        check(counted(1, "block"), "1 block");
        check(counted(0, "block"), "0 blocks");
        check(counted(2, "process"), "2 processes");
        check(counted(2, "entry"), "2 entries");
        check(counted(2, "mapping or descriptor"), "2 mappings or descriptors");
        check(counted(1, "mapping or descriptor"), "1 mapping or descriptor");
        check(tally(Tally::exact(1, Bytes(1536))), "1 block (1.50 KiB)");
        check(tally(Tally { count: 1200, ..Tally::of(Kind::Descriptor) }), "1,200 descriptors");
        check(tally(Tally { kind: Kind::Shared, ..Tally::exact(1, Bytes(4096)) }), "1 shared mapping (4.00 KiB)");
    }

    #[test]
    fn an_estimate_shows_its_error() {
        let variance = Variance { blocks: 40 * 40, bytes: 4096 * 4096 };
        let estimate = Tally { variance, ..Tally::exact(1335, Bytes(5_467_136)) };
        check(tally(estimate), "≈ 1,335 ± 79 blocks (5.21 MiB ± 7.85 KiB)");
        check(error_share(1335, 78), " ±6 %");
        check(error_share(1335, 0), "");
        check(error_share(0, 3), " ±?");
        check(error_share(100, 196), " ±196 %");
    }

    #[test]
    fn rates_have_a_sign() {
        check(per_hour(0), "0 B");
        check(per_hour(-2048), "-2.00 KiB");
        check(per_hour(i64::MIN), "-8.00 EiB");
        check(
            rate(&Reading::Known(Rate { per_hour: 2048, low: -10, high: 4096 })),
            "+2.00 KiB per hour (-10 B to +4.00 KiB)",
        );
    }

    #[test]
    fn what_is_missing_says_why() {
        check(cell(Reading::<Bytes>::Missing(Why::ProcessGone)), "?");
        check(detail(&Reading::<Bytes>::Missing(Why::ProcessGone)), "unknown: the process is gone");
        check(rate(&Reading::Missing(Why::TooShort)), "unknown: too short to tell");
        check(exhaustion(&Reading::Missing(Why::NotRecorded)), "unknown: not recorded");
    }

    #[test]
    fn certainty_is_not_rounded_up() {
        check(percent(0.999), "99 %");
        check(percent(1.0), "100 %");
        check(percent(0.0), "0 %");
    }

    #[test]
    fn small_shares_have_a_place() {
        check(share(0.0182), "1.8 %");
        check(share(0.000_01), "under 0.1 %");
        check(share(0.0), "0.0 %");
    }

    #[test]
    fn signs_are_set_before_the_figure() {
        check(signed(0), "0 B");
        check(signed(-1), "-1 B");
        check(signed(1024), "1.00 KiB");
        check(signed(i64::MIN), "-8.00 EiB");
        check(per_hour(1), "+1 B");
        check(interval(&Rate { per_hour: 0, low: -1, high: 0 }), "-1 B to 0 B");
        check(cell(Reading::Known(7)), "7");
        check(detail(&Reading::Known(Bytes(1024))), "1.00 KiB");
    }
}
