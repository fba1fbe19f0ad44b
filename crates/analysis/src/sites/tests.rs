//! Sessions as text: one word per site and snapshot, and what they must come to.

use model::{Bytes, Coverage, Kind, Losses, Tally};

use super::*;

const EXPIRE: u64 = 2;

fn tally(count: u64) -> Tally {
    Tally::exact(count, Bytes(count * 100))
}

/// `allocated/freed/expired/late` counts of one site; blocks have 100 bytes, late-freed ones lived for 3 s at most.
fn site(stack: u32, word: &str) -> SiteCounts {
    let counts: Vec<u64> = word.split('/').map(|count| count.parse().unwrap()).collect();
    let [allocated, freed, expired, late] = counts[..] else { panic!("four counts, not {word}") };
    SiteCounts {
        stack: StackId(stack),
        allocated: tally(allocated),
        freed: tally(freed),
        live: tally(allocated - freed),
        expired: tally(expired),
        freed_late: tally(late),
        freed_late_longest: (late > 0).then(|| Duration::from_secs(3)),
        lifetimes: None,
        oldest_live: None,
        contents: Vec::new(),
    }
}

/// Sites 0, 1, … by their words; the program is active where their calls are.
fn snapshot(second: u64, words: &str) -> Snapshot {
    let sites: Vec<SiteCounts> = (0..).zip(words.split_whitespace()).map(|(stack, word)| site(stack, word)).collect();
    let coverage = Coverage {
        allocations: sites.iter().map(|site| site.allocated.count).sum(),
        frees: sites.iter().map(|site| site.freed.count).sum(),
        ..Coverage::default()
    };
    Snapshot { at: Duration::from_secs(second), sites, coverage, ..Snapshot::default() }
}

fn watch() -> SiteWatch {
    SiteWatch::new(SiteOptions { expire: Duration::from_secs(EXPIRE), stop_after: None })
}

fn watched(seconds: u64, words: impl Fn(u64) -> String) -> SiteWatch {
    let mut watch = watch();
    for second in 0..seconds {
        watch.add(&snapshot(second, &words(second)));
    }
    watch
}

fn word(verdict: SiteVerdict) -> &'static str {
    match verdict {
        SiteVerdict::Leaking => "leaking",
        SiteVerdict::TooYoung => "too young to tell",
        SiteVerdict::Bounded => "bounded",
        SiteVerdict::LateFreeing => "frees late",
        SiteVerdict::Healthy => "healthy",
    }
}

/// The ranking as `stack verdict`, a demoted site with a minus, and the outcome.
#[track_caller]
fn check(watch: &SiteWatch, expected: &str) {
    let one = |site: &Site| {
        let demoted = if site.demoted { "-" } else { "" };
        assert!(!site.reasons.is_empty(), "a verdict has its reasons");
        format!("{}{demoted} {}", site.counts.stack.0, word(site.verdict))
    };
    let found: Vec<String> = watch.ranking().iter().map(one).collect();
    assert_eq!(format!("{}: {:?}", found.join(", "), watch.outcome()), expected);
}

/// The events of each snapshot, snapshots after a bar.
#[track_caller]
fn check_events(mut watch: SiteWatch, session: &str, expected: &str) {
    let one = |event: &SiteEvent| match event {
        SiteEvent::FirstExpiry { stack, expired, .. } => format!("{} first {}", stack.0, expired.count),
        SiteEvent::Again { stack, more, expired, .. } => format!("{} again +{more} {}", stack.0, expired.count),
        SiteEvent::FreedLate { stack, count, longest, .. } => {
            let longest = longest.map(|longest| longest.as_secs()).known();
            format!("{} late {count} {longest:?}", stack.0)
        }
        SiteEvent::Demoted { stack, freed_late, ever_expired, .. } => {
            format!("{} demoted {}/{}", stack.0, freed_late.count, ever_expired.count)
        }
        SiteEvent::ModeChanged(change) => format!("{:?}", change.mode),
        SiteEvent::StopReached { stack, expired, .. } => format!("{} stop {}", stack.0, expired.count),
    };
    let mut found = Vec::new();
    for (second, words) in (0..).zip(session.split('|')) {
        let events: Vec<String> = watch.add(&snapshot(second, words)).iter().map(one).collect();
        found.push(events.join(", "));
    }
    assert_eq!(found.join("|"), expected);
}

/// What a survey found of a site that leaks, and the sentence that it adds.
#[test]
fn a_survey_adds_a_reason_and_never_changes_the_verdict() {
    use crate::sites::judge::surveyed;
    use SiteVerdict::{Bounded, Leaking};
    let tally = |count| Tally::exact(count, Bytes(64 * count));
    let check = |(lost, held, unclear), verdict, expected: &str| {
        let holding = crate::Holding { lost: tally(lost), held: tally(held), unclear: tally(unclear) };
        assert_eq!(surveyed(&holding, verdict).unwrap_or_default(), expected);
    };
    check((9, 0, 0), Leaking, "for: nothing points to any of its 9 expired blocks: they are lost");
    check((9, 0, 0), Bounded, "nothing points to any of its 9 expired blocks: they are lost");
    check((2, 6, 1), Leaking, "for: nothing points to 2 of its 9 expired blocks: those are lost");
    check((0, 8, 1), Leaking, "the program still has pointers to its 9 expired blocks: they are held, not lost");
    check((0, 0, 9), Leaking, "only pointers into the middle of its 9 expired blocks were found");
    check((0, 0, 0), Leaking, "");
}

#[test]
fn a_change_of_the_mode_before_the_first_snapshot_is_told() {
    let rate = Mode::Sampled { rate: Bytes(1 << 19) };
    for (begun, expected) in [(rate, "Exact|"), (Mode::Exact, "|")] {
        let mut watch = watch();
        watch.begin(begun);
        check_events(watch, "5/0/0/0|5/0/0/0", expected);
    }
}

#[test]
fn an_expiry_is_told_once_and_then_as_again() {
    check_events(watch(), "5/0/0/0|9/0/2/0|9/0/2/0|20/0/5/0", "|0 first 2||0 again +3 5");
    check_events(watch(), "1/0/1/0 4/0/0/0|1/0/1/0 4/0/4/0", "0 first 1|1 first 4");
}

#[test]
fn a_late_free_is_told_with_its_age() {
    check_events(
        watch(),
        "5/0/3/0|5/1/2/1|5/1/2/1|9/3/2/3",
        "0 first 3|0 late 1 Some(3)||0 again +2 2, 0 late 2 Some(3)",
    );
    check_events(watch(), "5/2/0/2", "0 first 0, 0 late 2 Some(3)");
}

#[test]
fn a_site_that_keeps_freeing_late_is_demoted_once_and_then_silent() {
    let expected = "0 first 4|0 again +8 4, 0 late 8 Some(3), 0 demoted 8/12||";
    check_events(watch(), "4/0/4/0|12/8/4/8|30/26/4/26|60/50/10/50", expected);
}

#[test]
fn the_stop_is_told_once_per_site() {
    let options = SiteOptions { expire: Duration::from_secs(EXPIRE), stop_after: Some(5) };
    check_events(SiteWatch::new(options), "4/0/4/0|5/0/5/0|9/0/9/0", "0 first 4|0 again +1 5, 0 stop 5|0 again +4 9");
}

#[test]
fn counts_that_go_back_do_no_harm() {
    check_events(watch(), "5/0/5/0|3/0/2/0|6/0/6/0", "0 first 5||0 again +1 6");
    let huge = u64::MAX / 100;
    check_events(
        watch(),
        &format!("{huge}/0/{huge}/{huge}"),
        &format!("0 first {huge}, 0 late {huge} Some(3), 0 demoted {huge}/{}", 2 * huge),
    );
}

#[test]
fn a_leak_of_one_in_ten_is_found_and_goes_first() {
    let session =
        |t: u64| format!("{}/{}/0/0 {}/{}/{}/0", 100 * t, 100 * t, 100 * t, 90 * t, 10 * t.saturating_sub(EXPIRE));
    check(&watched(5, session), "1 leaking, 0 healthy: Leak");
    check(&watched(60, session), "1 leaking, 0 healthy: Leak");
    let totals = watched(60, session).totals();
    let heap = totals.kind(Kind::Heap);
    assert_eq!((totals.sites, totals.leaking, heap.may_leak.count), (2, 1, 570));
    assert_eq!(heap.may_leak, heap.expired);
}

#[test]
fn a_growing_leak_has_the_rate_of_its_live_bytes() {
    let watch = watched(60, |t| format!("{}/0/{}/0", 10 * t, 10 * t.saturating_sub(EXPIRE)));
    let rate = watch.ranking()[0].growth.known().unwrap();
    assert_eq!(rate.per_hour, 1000 * 3600);
    assert!(watched(4, |t| format!("{t}/0/{t}/0")).ranking()[0].growth.known().is_none());
}

#[test]
fn larger_leaks_go_first() {
    check(
        &watched(9, |t| format!("{t}/0/{t}/0 {0}/0/{0}/0 1/0/1/0", 3 * t)),
        "1 leaking, 0 leaking, 2 too young to tell: Leak",
    );
}

#[test]
fn one_or_two_blocks_are_no_pattern() {
    check(&watched(9, |t| format!("{}/0/2/0", 2 + t)), "0 bounded: NothingFound");
    check(&watched(5, |t| format!("{}/0/2/0", 2 + t)), "0 too young to tell: CouldNotJudge");
}

#[test]
fn a_cache_that_levelled_off_is_bounded_while_it_works() {
    let cache = |t: u64| format!("{}/{}/{}/0", 20 * t, 20 * t - (20 * t).min(100), (20 * t).min(90));
    check(&watched(60, cache), "0 bounded: NothingFound");
    check(&watched(4, cache), "0 leaking: Leak");
}

#[test]
fn nothing_is_bounded_where_blocks_went_unrecorded() {
    let cache = |t: u64| format!("{}/{}/{}/0", 20 * t, 20 * t - (20 * t).min(100), (20 * t).min(90));
    let mut watch = watched(60, cache);
    let mut last = snapshot(60, &cache(60));
    last.losses.blocks_unrecorded = 1;
    watch.add(&last);
    check(&watch, "0 too young to tell: CouldNotJudge");
    let reasons = watch.ranking().remove(0).reasons;
    assert!(reasons.iter().any(|reason| reason.contains("1 blocks were not recorded")), "{reasons:?}");
}

#[test]
fn what_was_made_once_is_bounded_only_if_the_program_goes_on() {
    check(&watched(40, |t| format!("50/0/50/0 {t}/{t}/0/0")), "0 bounded, 1 healthy: NothingFound");
    check(&watched(40, |_| "50/0/50/0".to_owned()), "0 leaking: Leak");
    let reasons = watched(40, |_| "50/0/50/0".to_owned()).ranking().remove(0).reasons;
    assert!(reasons.iter().any(|reason| reason.contains("stood still")), "{reasons:?}");
}

/// 100 bytes a block; from half of the session on a sample is recorded, at a mean of so many bytes.
fn watched_to_sampled(seconds: u64, rate: u64, words: impl Fn(u64) -> String) -> SiteWatch {
    let mut watch = watch();
    for second in 0..seconds {
        let mode = if second < seconds / 2 { Mode::Exact } else { Mode::Sampled { rate: Bytes(rate) } };
        watch.add(&Snapshot { mode, ..snapshot(second, &words(second)) });
    }
    watch
}

/// What it allocated was counted one by one; what it allocates since, if it does, is less than a sample would show. Neither has it levelled
/// off nor does it leak.
#[test]
fn a_site_that_no_sample_meets_after_a_change_of_mode_is_not_judged() {
    let small = |t: u64| format!("{0}/0/{0}/0 {t}/{t}/0/0", 2 * t.min(7));
    check(&watched_to_sampled(16, 1 << 19, small), "0 too young to tell, 1 healthy: CouldNotJudge");
    check(
        &watched_to_sampled(60, 1 << 19, |t| format!("{0}/0/{0}/0 {t}/{t}/0/0", 2 * t.min(29))),
        "0 too young to tell, 1 healthy: CouldNotJudge",
    );
    // So much that samples would have shown it if it had gone on; then it is judged as ever.
    let large = |t: u64| format!("{0}/0/{0}/0 {t}/{t}/0/0", 100_000 * t.min(7));
    check(&watched_to_sampled(60, 1 << 10, large), "0 bounded, 1 healthy: NothingFound");
    let goes_on = |t: u64| format!("{0}/0/{0}/0", 100_000 * t);
    check(&watched_to_sampled(60, 1 << 19, goes_on), "0 leaking: Leak");
}

#[test]
fn late_frees_are_no_leak_and_go_behind() {
    let session = |t: u64| format!("{0}/{1}/30/{1} {t}/0/{t}/0", 10 * t + 30, 10 * t);
    check(&watched(30, session), "1 leaking, 0- frees late: Leak");
}

#[test]
fn a_full_cache_is_not_accused_by_one_look_at_many_old_blocks() {
    // 1,024 live blocks of one second each; the last look finds more of them past the threshold than any before.
    let session = |t: u64| {
        let (freed, old) = (1024 * t.saturating_sub(1), if t == 20 { 1000 } else { 700 + t % 3 });
        format!("{}/{freed}/{}/{freed}", 1024 * t, if t == 0 { 0 } else { old })
    };
    check(&watched(21, session), "0- frees late: NothingFound");
}

#[test]
fn late_frees_do_not_hide_a_leak_of_the_same_site() {
    let session = |t: u64| format!("{}/{}/{}/{}", 30 * t, 20 * t, 10 * t, 20 * t);
    check(&watched(30, session), "0- leaking: Leak");
}

#[test]
fn nothing_found_needs_proof() {
    check(&watched(1, |_| String::new()), ": Blind");
    check(&watched(3, |t| format!("{t}/{t}/0/0")), "0 healthy: CouldNotJudge");
    check(&watched(9, |t| format!("{t}/{t}/0/0")), "0 healthy: NothingFound");
    let mut lossy = snapshot(20, "50/50/0/0");
    lossy.losses = Losses { blocks_unrecorded: 10, ..Losses::default() };
    let mut watch = watch();
    watch.add(&lossy);
    check(&watch, "0 healthy: CouldNotJudge");
}

#[test]
fn sites_beyond_the_bound_are_judged_by_their_counts_and_counted() {
    let mut watch = watch();
    watch.pasts_max = 1;
    for second in 0..9 {
        watch.add(&snapshot(second, &format!("{0}/0/{0}/0 {0}/0/{0}/0", second + 1)));
    }
    check(&watch, "0 leaking, 1 leaking: Leak");
    assert_eq!(watch.totals().histories_dropped, 1);
}

/// The first site of a session says why; each text must be among its reasons.
#[track_caller]
fn check_reasons(watch: &SiteWatch, expected: &[&str]) {
    let reasons = watch.ranking().remove(0).reasons;
    for text in expected {
        assert!(reasons.iter().any(|reason| reason.contains(text)), "{text:?} is not in {reasons:?}");
    }
}

#[test]
fn reasons_speak_for_and_against() {
    let partly = watched(20, |t| format!("{}/{}/{}/0", 100 * t, 90 * t, 10 * t));
    check_reasons(&partly, &["for: 190 of its blocks (18.6 KiB)", "frees most of its blocks (1710)", "keep coming"]);
    check_reasons(&watched(20, |t| format!("{t}/0/{t}/0")), &["never freed a block"]);
    check_reasons(&watched(20, |t| format!("{}/{}/{}/1", 5 * t, t.min(1), 3 * t)), &["against: 1 expired blocks"]);
    check_reasons(&watched(20, |t| format!("{t}/{t}/0/0")), &["freed in time"]);
    check_reasons(&watched(20, |t| format!("{t}/0/0/0")), &["none of its 19 live blocks is older than 2.0 s"]);
    check_reasons(
        &watched(20, |t| format!("{0}/{1}/9/{1}", t + 30, t + 9)),
        &["28 of the 37 blocks", "longer threshold"],
    );
}
