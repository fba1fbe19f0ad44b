//! Values of options: durations, sizes, counts, pids.
//!
//! Owns: what is accepted, and the message for what is not: what was found, what is needed.
//! Must not know: which option a value belongs to (clap adds its name to the message).

use std::str::FromStr;
use std::time::Duration;

use model::{Bytes, Kinds, Pid};

use crate::limits::{
    BEAT_MIN, DEPTH_MAX, DURATION_MAX, EXPIRE_MIN, PID_MAX, ROOM_MIN, ROWS_MAX, SITES_MAX, SUSPECTS_MAX,
};

/// How many suspects a hunt attaches to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttachChoice {
    /// The worst one, if it grows beyond doubt.
    Auto,
    /// None.
    Never,
    /// At most so many.
    Worst(usize),
}

/// A moment of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Nanoseconds since 1970.
    At(u64),
    /// So long before its end.
    Before(Duration),
}

/// `60`, `0.5`, `500ms`, `90s`, `5m`, `2h`, `1d`; plain numbers are seconds. Zero is refused.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let scale = match unit {
        "" | "s" | "sec" | "secs" => 1.0,
        "ms" => 0.001,
        "m" | "min" | "mins" => 60.0,
        "h" => 3600.0,
        "d" => 24.0 * 3600.0,
        _ => return Err(format!("the unit `{unit}` is unknown; needed: seconds, or a number with ms, s, m, h or d")),
    };
    let seconds = decimal(number).ok_or_else(|| {
        "needed: a positive number of seconds such as 60 or 0.5, or a number with its unit such as 90s, 5m or 2h"
            .to_owned()
    })? * scale;
    if seconds > DURATION_MAX.as_secs_f64() {
        return Err(format!("at most {} days are possible", DURATION_MAX.as_secs() / 86_400));
    }
    let duration = Duration::from_secs_f64(seconds);
    if duration.is_zero() {
        return Err("needed: a duration greater than zero".to_owned());
    }
    Ok(duration)
}

/// A duration that can be the time between two samples.
pub(crate) fn beat(text: &str) -> Result<Duration, String> {
    at_least(duration(text)?, BEAT_MIN)
}

/// A time that growth can be measured over: two samples at least.
pub(crate) fn growth(text: &str) -> Result<Duration, String> {
    at_least(duration(text)?, BEAT_MIN * 2)
}

/// A time that others may lose; none of it is a wish, too.
pub(crate) fn budget(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { duration(text) }
}

/// A duration that can be the age at which a block expires.
pub(crate) fn expiry(text: &str) -> Result<Duration, String> {
    at_least(duration(text)?, EXPIRE_MIN)
}

/// `4096`, `64k`, `1MiB`, `1.5G`; the units are binary, as everywhere in this program.
pub(crate) fn size(text: &str) -> Result<Bytes, String> {
    let (number, unit) = split(text);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(format!("the unit `{unit}` is unknown; needed: bytes, or a number with k, M, G or T")),
    };
    let bytes = decimal(number).ok_or_else(|| {
        "needed: a number of bytes such as 4096, or a number with its unit such as 64k or 1MiB".to_owned()
    })? * f64::from(1_u32 << shift.min(30))
        * if shift == 40 { 1024.0 } else { 1.0 };
    // 2^53 is where the decimal fraction stops being exact; no machine has so much memory.
    if bytes > 9.0e15 { Err("at most 8 PiB are possible".to_owned()) } else { Ok(Bytes(bytes as u64)) }
}

/// A size that a recording can have.
pub(crate) fn room(text: &str) -> Result<Bytes, String> {
    let bytes = size(text)?;
    if bytes.0 < ROOM_MIN { Err(format!("at least {} MiB are needed", ROOM_MIN >> 20)) } else { Ok(bytes) }
}

/// A host as ssh takes it; what looks like an option would be one.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let is_name = |c: char| c.is_alphanumeric() || "-_.@:%[]/".contains(c);
    if text.is_empty() || text.starts_with('-') || !text.chars().all(is_name) {
        return Err("needed: a host as ssh knows it, such as web1 or user@web1.example".to_owned());
    }
    Ok(text.to_owned())
}

/// A directory on another machine.
pub(crate) fn remote_directory(text: &str) -> Result<String, String> {
    let is_plain = |part: &str| !part.is_empty() && !part.starts_with(['-', '~']) && part != "." && part != "..";
    let parts = text.strip_prefix('/').unwrap_or(text);
    let is_safe = parts.split('/').all(is_plain) && !text.chars().any(char::is_control);
    if is_safe { Ok(text.to_owned()) } else { Err("needed: a directory of its own, without . and ..".to_owned()) }
}

/// A process number.
pub(crate) fn pid(text: &str) -> Result<Pid, String> {
    match text.parse::<u32>() {
        // What `pid_t` holds; the kernel hands out less, and says of the rest that there is no such process.
        Ok(number) if (1..=PID_MAX).contains(&number) => Ok(Pid(number)),
        _ => Err(format!("needed: a process number from 1 to {PID_MAX}; `leakline hunt` finds the process that grows")),
    }
}

/// The greatest number of frames of a stack.
pub(crate) fn depth(text: &str) -> Result<u16, String> {
    whole(text, DEPTH_MAX)
}

/// The greatest number of sites.
pub(crate) fn sites(text: &str) -> Result<u32, String> {
    whole(text, SITES_MAX)
}

/// When the memory of an attached process is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SurveyAt {
    /// Before the detach, and when a key asks for it.
    End,
    /// Only when a key asks for it.
    Never,
}

/// When to look for lost blocks.
pub(crate) fn survey(text: &str) -> Result<SurveyAt, String> {
    match text {
        "end" => Ok(SurveyAt::End),
        "never" => Ok(SurveyAt::Never),
        _ => Err("needed: end or never".to_owned()),
    }
}

/// What to watch: words joined by commas.
pub(crate) fn kinds(text: &str) -> Result<Kinds, String> {
    let words = text.split(',').map(str::trim);
    words.clone().try_fold(Kinds::NONE, Kinds::with).ok_or_else(|| {
        let found = words.clone().find(|word| Kinds::NONE.with(word).is_none()).unwrap_or_default();
        format!("`{found}` is not one of {}, all", Kinds::WORDS.join(", "))
    })
}

/// A number of rows.
pub(crate) fn rows(text: &str) -> Result<usize, String> {
    whole(text, ROWS_MAX)
}

/// A mean distance between samples.
pub(crate) fn rate(text: &str) -> Result<Bytes, String> {
    let (least, most) = capture::Modes::RATES;
    let rate = size(text)?;
    if (least..=most).contains(&rate) { Ok(rate) } else { Err(format!("needed: a size from {least} to {most}")) }
}

/// A limit in percent; none at all could never be kept.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let percent = decimal(text.strip_suffix('%').unwrap_or(text).trim_end());
    let percent = percent.filter(|percent| (0.1..=100.0).contains(percent));
    percent.ok_or_else(|| "needed: a percentage from 0.1 to 100, such as 5".to_owned())
}

/// A number of blocks.
pub(crate) fn blocks(text: &str) -> Result<u64, String> {
    whole(text, u64::MAX)
}

/// A moment of a recording: `2026-11-21`, `2026-11-21T07:30`, `2026-11-21 07:30:15Z` in UTC, or a duration before its end.
pub(crate) fn when(text: &str) -> Result<When, String> {
    if text.as_bytes().get(4) == Some(&b'-') {
        let needed =
            || "needed: a date in UTC such as 2026-11-21 or 2026-11-21T07:30:00, or a duration such as 2h".to_owned();
        return date(text).map(When::At).ok_or_else(needed);
    }
    duration(text).map(When::Before).map_err(|error| format!("{error}, or a date in UTC such as 2026-11-21T07:30"))
}

/// Nanoseconds since 1970 of a date in UTC.
fn date(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (day, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let number = |text: &str, least: u64, greatest: u64| {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| plain && (least..=greatest).contains(number))
    };
    let mut parts = day.splitn(3, '-');
    let (year, month) = (number(parts.next()?, 1970, 2500)?, number(parts.next()?, 1, 12)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (before, from) = lengths.split_at(usize::try_from(month - 1).ok()?);
    let day = number(parts.next()?, 1, *from.first()?)?;
    let mut clock = time.splitn(3, ':');
    let (hour, minute) = (number(clock.next()?, 0, 23)?, number(clock.next()?, 0, 59)?);
    let second = clock.next().map_or(Some(0), |text| number(text, 0, 59))?;
    let past = year - 1;
    // Days since the year 1, less those until 1970.
    let days = past * 365 + past / 4 - past / 100 + past / 400 + before.iter().sum::<u64>() + day - 1 - 719_162;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000)
}

/// `auto`, `never`, or how many.
pub(crate) fn attach_choice(text: &str) -> Result<AttachChoice, String> {
    match text {
        "auto" => Ok(AttachChoice::Auto),
        "never" | "0" => Ok(AttachChoice::Never),
        _ => whole(text, SUSPECTS_MAX).map(AttachChoice::Worst).map_err(|error| format!("{error}, or auto, or never")),
    }
}

/// Text that narrows a hunt; an empty one would match everything and is most likely an unset shell variable.
pub(crate) fn needle(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("needed: at least one character".to_owned()) } else { Ok(text.to_owned()) }
}

fn whole<T: FromStr + PartialOrd + Copy + std::fmt::Display + From<u8>>(text: &str, greatest: T) -> Result<T, String> {
    match text.parse::<T>() {
        Ok(number) if number >= T::from(1) && number <= greatest => Ok(number),
        _ => Err(format!("needed: a whole number from 1 to {greatest}")),
    }
}

fn at_least(duration: Duration, least: Duration) -> Result<Duration, String> {
    if duration < least { Err(format!("at least {} ms are needed", least.as_millis())) } else { Ok(duration) }
}

/// Splits a number from the letters behind it.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number.trim(), unit)
}

/// A plain decimal number: no sign, no exponent, no `inf`, all of which `f64::from_str` would take.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line a case: the option's value, then what becomes of it (`error` where it is refused).
    #[track_caller]
    fn check<T: std::fmt::Debug>(parse: impl Fn(&str) -> Result<T, String>, cases: &str) {
        for case in cases.lines().map(str::trim).filter(|case| !case.is_empty()) {
            let (text, wanted) = case.split_once(" -> ").expect("a case is `value -> result`");
            let found = match parse(text.trim_matches('\'')) {
                Ok(value) => format!("{value:?}"),
                Err(error) => format!("error: {error}"),
            };
            assert!(found.starts_with(wanted), "{text}: wanted {wanted}, found {found}");
        }
    }

    #[test]
    fn kinds_are_words_joined_by_commas() {
        check(
            kinds,
            "
            all -> Kinds { heap: true, mappings: true, descriptors: true }
            heap, fd -> Kinds { heap: true, mappings: false, descriptors: true }
            mmap -> Kinds { heap: false, mappings: true, descriptors: false }
            heap,files -> error: `files` is not one of heap, mmap, fd, all
            '' -> error: `` is not one of
            ",
        );
    }

    #[test]
    fn durations_are_seconds_or_have_a_unit() {
        check(
            duration,
            "60 -> 60s
             0.5 -> 500ms
             .25 -> 250ms
             90s -> 90s
             500ms -> 500ms
             5m -> 300s
             2h -> 7200s
             1d -> 86400s
             1.5h -> 5400s",
        );
    }

    #[test]
    fn what_is_no_duration_is_refused_with_what_is_needed() {
        check(
            duration,
            "'' -> error: needed: a positive number
             abc -> error: the unit `abc`
             -1 -> error: needed: a positive number
             1e9 -> error: the unit `e9`
             inf -> error: the unit
             nan -> error: the unit
             1.2.3 -> error: needed
             5x -> error: the unit `x` is unknown
             0 -> error: needed: a duration greater than zero
             0.0000000000001 -> error: needed: a duration greater than zero
             367d -> error: at most 366 days
             99999999999999999999999999 -> error: at most 366 days",
        );
    }

    #[test]
    fn beats_and_thresholds_have_a_least() {
        check(beat, "0.1 -> 100ms\n99ms -> error: at least 100 ms\n1 -> 1s");
        check(expiry, "1ms -> 1ms\n0.0005 -> error: at least 1 ms");
    }

    #[test]
    fn rates_have_bounds() {
        check(
            rate,
            "512k -> Bytes(524288)
             1k -> Bytes(1024)
             16M -> Bytes(16777216)
             1023 -> error: needed: a size from 1.00 KiB to 16.0 MiB
             17M -> error: needed: a size from
             0 -> error: needed: a size from
             x -> error: the unit `x`",
        );
    }

    #[test]
    fn percentages_have_bounds() {
        check(
            percent,
            "5 -> 5.0
             0.5% -> 0.5
             100 -> 100.0
             0 -> error: needed: a percentage
             101 -> error: needed: a percentage
             -1 -> error: needed: a percentage
             nan -> error: needed: a percentage
             x -> error: needed: a percentage",
        );
    }

    #[test]
    fn sizes_are_binary() {
        check(
            size,
            "0 -> Bytes(0)
             4096 -> Bytes(4096)
             64k -> Bytes(65536)
             64K -> Bytes(65536)
             64kB -> Bytes(65536)
             1MiB -> Bytes(1048576)
             1.5G -> Bytes(1610612736)
             2T -> Bytes(2199023255552)
             9000T -> error: at most 8 PiB
             -1 -> error: needed: a number of bytes
             12q -> error: the unit `q`
             k -> error: needed: a number of bytes",
        );
        check(room, "8M -> Bytes(8388608)\n1M -> error: at least 8 MiB");
    }

    #[test]
    fn pids_are_what_the_kernel_hands_out() {
        check(
            pid,
            "1 -> Pid(1)
             4194304 -> Pid(4194304)
             2147483647 -> Pid(2147483647)
             2147483648 -> error: needed: a process number
             0 -> error: needed
             -1 -> error: needed
             12x -> error: needed
             99999999999999999999 -> error: needed",
        );
    }

    #[test]
    fn moments_are_dates_in_utc_or_durations_before_the_end() {
        check(
            when,
            "1970-01-01 -> At(0)
             2026-11-21T07:31:02Z -> At(1795246262000000000)
             2024-02-29T00:01 -> At(1709164860000000000)
             2000-03-01 -> At(951868800000000000)
             2h -> Before(7200s)
             2023-02-29 -> error: needed: a date in UTC
             2026-13-01 -> error: needed: a date
             2026-11-21T24:00 -> error: needed: a date
             2026-11-21T07 -> error: needed: a date
             2026-11-21T+7:00 -> error: needed: a date
             -1h -> error: needed: a positive
             soon -> error: the unit `soon`",
        );
        let spaced = when("2026-11-21 07:31:02");
        assert_eq!(spaced, when("2026-11-21T07:31:02Z"));
    }

    #[test]
    fn hosts_and_their_directories_are_no_options_and_no_tricks() {
        check(host, "web1 -> \"web1\"\nuser@h.example -> \"user\n-oProxyCommand=x -> error\na;b -> error\n'' -> error");
        check(
            remote_directory,
            ".leakline -> \".leakline\"
             /var/tmp/l -> \"/var/tmp/l\"
             / -> error
             . -> error
             a/../b -> error
             ~/x -> error
             -x -> error",
        );
    }

    #[test]
    fn counts_have_bounds() {
        check(depth, "1 -> 1\n128 -> 128\n129 -> error: needed: a whole number from 1 to 128\n0 -> error\nx -> error");
        check(sites, "65536 -> 65536\n65537 -> error: needed: a whole number from 1 to 65536");
        check(rows, "5 -> 5\n0 -> error\n2.5 -> error");
        check(blocks, "1000000 -> 1000000\n0 -> error");
        check(needle, "nginx -> \"nginx\"\n'' -> error");
    }

    #[test]
    fn suspects_are_counted_or_left_to_the_program() {
        check(
            attach_choice,
            "auto -> Auto
             never -> Never
             0 -> Never
             3 -> Worst(3)
             17 -> error: needed: a whole number from 1 to 16, or auto, or never
             all -> error: needed",
        );
    }
}
