//! Histories as text, and what they must come to.

use super::*;

/// A small generator with a fixed start, so that noise is the same in each run.
fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// One value in MiB per second.
fn series(values: impl IntoIterator<Item = f64>) -> Vec<Point<u64>> {
    let bytes = |mebibytes: f64| (mebibytes * 1_048_576.0).max(0.0) as u64;
    (0..).zip(values).map(|(second, value)| Point { at: Duration::from_secs(second), value: bytes(value) }).collect()
}

/// Values in MiB, one a second, against a verdict.
#[track_caller]
fn check(values: &str, expected: &str) {
    let points = series(values.split_whitespace().map(|value| value.parse().unwrap()));
    let found = judge(&points);
    assert_eq!(found.verdict.key(), expected, "{values}: {:?}", found.reasons);
    assert!(!found.reasons.is_empty(), "a verdict has its reasons");
}

/// A function of time, one sample a second, against a verdict.
#[track_caller]
fn check_shape(seconds: u32, shape: impl FnMut(f64) -> f64, expected: &str) {
    let points = series((0..seconds).map(f64::from).map(shape));
    let found = judge(&points);
    assert_eq!(found.verdict.key(), expected, "{:?}", found.reasons);
}

#[test]
fn few_samples_are_too_short_to_tell() {
    check("", "too short to tell");
    check("10 20 30 40 50", "too short to tell");
}

#[test]
fn a_short_window_is_too_short_however_many_samples() {
    let mut points = series((0..40).map(f64::from));
    for (tenth, point) in (0..).zip(&mut points) {
        point.at = Duration::from_millis(tenth * 100);
    }
    assert_eq!(judge(&points).verdict, GrowthVerdict::TooShort);
}

#[test]
fn an_idle_or_a_merely_large_process_is_steady() {
    check("10 10 10 10 10 10 10 10", "steady");
    check("9000 9001 9000 9002 9001 9003 9002 9004 9003 9005", "steady");
    check_shape(60, |_| 64_000.0, "steady");
    let mut random = noise(1);
    check_shape(60, |_| 20_000.0 + 30.0 * random(), "steady");
}

#[test]
fn growth_below_what_counts_is_steady() {
    check("10 10.04 10.08 10.12 10.16 10.20 10.24 10.28 10.32 10.36", "steady");
}

#[test]
fn a_steady_leak_is_found_in_a_few_seconds() {
    check("5 5.2 5.4 5.6 5.8 6 6.2 6.4 6.6 6.8", "growing");
    check_shape(15, |t| 3.0 + 0.195 * t, "growing");
    check_shape(60, |t| 800.0 + 0.2 * t, "growing");
    check_shape(11, |t| 3.0 + 0.195 * t, "growing");
}

#[test]
fn a_leak_under_noise_is_found() {
    let mut random = noise(2);
    check_shape(60, |t| 50.0 + 0.3 * t + 3.0 * random(), "growing");
}

#[test]
fn stairs_are_growth_when_there_are_enough_of_them() {
    check_shape(60, |t| 10.0 + (t / 6.0).floor() * 2.0, "growing");
}

#[test]
fn one_step_is_a_step() {
    check("10 10 10 10 10 60 60 60 60 60 60 60", "stepped");
    check("10 10.1 10.2 10.3 60 60.1 60.2 60.3 60.4 60.5 60.6", "stepped");
    check("10 60 60 60 60 60 60 60 60 60 60", "stepped");
}

#[test]
fn a_warm_up_is_a_plateau() {
    check("10 30 50 70 80 85 87 88 88 88 88 88 88 88", "plateaued");
    check_shape(60, |t| 100.0 * (1.0 - (-t / 10.0).exp()), "plateaued");
    check_shape(60, |t| (10.0 + t * 4.0).min(110.0), "plateaued");
}

#[test]
fn a_sawtooth_is_not_a_leak() {
    check("100 140 101 139 100 141 101 140", "sawtooth");
    check_shape(60, |t| 100.0 + (t * 7.0) % 40.0, "sawtooth");
}

#[test]
fn rising_troughs_are() {
    check("100 140 110 150 121 160 133 171", "growing");
    check_shape(120, |t| 100.0 + 0.5 * t + (t * 4.0) % 60.0, "growing");
}

/// The first reason of a series is this.
#[track_caller]
fn check_reason(values: &str, expected: &str) {
    let found = judge(&series(values.split_whitespace().map(|value| value.parse().unwrap())));
    assert_eq!(found.reasons.first().map(String::as_str), Some(expected), "{}", found.verdict.key());
}

#[test]
fn a_peak_at_the_start_makes_no_nonsense_of_what_follows() {
    let rising: Vec<String> = (0..16).map(|step| (10 + 5 * step).to_string()).collect();
    check_reason(&format!("100 {}", rising.join(" ")), "grew by 80.0 MiB, but growth is ending");
}

#[test]
fn a_sawtooth_is_not_said_to_be_level_where_its_floor_rose() {
    check_reason("100 140 101 139 100 141 101 140", "rises and falls by up to 41.0 MiB, and its 3 troughs do not rise");
    check_reason(
        "100 140 110 150 121 160",
        "rises and falls by up to 60.0 MiB, and its 2 troughs are too few to tell whether they rise",
    );
    check_reason(
        "100 140 100 140 100.1 140 100.2 140",
        "rises and falls by up to 40.0 MiB, and its 3 troughs rose by 204.8 KiB, less than would count",
    );
    check_reason(
        "100 180 100 180 101 180 140 180",
        "rises and falls by up to 80.0 MiB, and its 3 troughs rose in one step",
    );
}

#[test]
fn what_shrinks_is_said_to_shrink() {
    check("90 80 70 60 50 40 30 20", "shrinking");
}

/// Families of healthy processes: at most a few in a hundred may be accused.
#[test]
fn healthy_processes_are_hardly_ever_accused() {
    let accused = |name: &str, most: usize, shape: &dyn Fn(u64) -> Vec<Point<u64>>| {
        let count = (0..200).filter(|seed| judge(&shape(*seed)).verdict == GrowthVerdict::Growing).count();
        assert!(count <= most, "{name}: {count} of 200 accused");
    };
    accused("white noise", 2, &|seed| {
        let mut random = noise(seed + 1);
        series((0..60).map(|_| 100.0 + 10.0 * random()))
    });
    accused("mean-reverting walk", 20, &|seed| {
        let (mut random, mut value) = (noise(seed + 1), 0.0);
        series((0..60).map(|_| {
            value = value * 0.8 + random() - 0.5;
            100.0 + 5.0 * value
        }))
    });
    accused("requests that come and go", 4, &|seed| {
        let mut random = noise(seed + 1);
        series((0..60).map(|_| if random() < 0.1 { 160.0 } else { 100.0 + random() }))
    });
    accused("cache that fills to its bound", 4, &|seed| {
        let mut random = noise(seed + 1);
        series((0..60).map(|t| 50.0 + 100.0 * (1.0 - (-f64::from(t) / 12.0).exp()) + random()))
    });
}

/// Families of leaks: at least so many of a hundred must be found.
#[test]
fn leaks_are_found() {
    let found = |name: &str, least: usize, shape: &dyn Fn(u64) -> Vec<Point<u64>>| {
        let count = (0..200).filter(|seed| judge(&shape(*seed)).verdict == GrowthVerdict::Growing).count();
        assert!(count >= least, "{name}: {count} of 200 found");
    };
    found("200 KiB a second for 15 s, irregular", 190, &|seed| {
        let (mut random, mut value) = (noise(seed + 1), 4.0);
        series((0..15).map(|_| {
            value += 0.39 * random();
            value
        }))
    });
    found("1 MiB a second for 60 s under noise", 190, &|seed| {
        let mut random = noise(seed + 1);
        series((0..60).map(|t| 500.0 + f64::from(t) + 8.0 * random()))
    });
}

#[test]
fn the_rate_lies_in_its_interval_and_near_the_truth() {
    let mut random = noise(7);
    let judged = judge(&series((0..60).map(|t| 100.0 + 0.5 * f64::from(t) + random())));
    let rate = judged.rate.known().unwrap();
    let truth = (0.5 * 1_048_576.0 * 3600.0) as i64;
    assert!(rate.low <= truth && truth <= rate.high, "{rate:?} against {truth}");
    assert!(rate.low <= rate.per_hour && rate.per_hour <= rate.high);
}

#[test]
fn more_evidence_is_more_confidence() {
    let confidence =
        |seconds: u32| judge(&series((0..seconds).map(|t| 5.0 + 0.2 * f64::from(t)))).confidence.known().unwrap();
    assert!(confidence(10) < confidence(20) && confidence(20) < confidence(60));
    assert!(confidence(60) > 0.97 && confidence(10) > 0.9 && confidence(10) < 0.95);
}
