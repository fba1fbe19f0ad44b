//! Beats of synthetic machines and of this one.

use std::path::PathBuf;

use model::{Bytes, Pid, Source};

use super::*;
use crate::host::fixture;
use crate::host::limits::STATUS_BEATS;

fn sampler(root: &Path, options: BeatOptions) -> BeatSampler {
    let passwd = root.join("passwd");
    fs::write(&passwd, "").unwrap();
    let mut host = HostSampler::at(root, &passwd, options.filter.clone()).unwrap();
    host.files_max = 0; // files on a disk stay readable after their end, those of procfs do not
    let system = SystemSampler::new(&root.join("cgroup"), &root.join("shm"));
    BeatSampler::of(host, system, None, options)
}

fn machine(name: &str) -> PathBuf {
    let root = fixture::root(&format!("beat-{name}"));
    fixture::kernel_thread(&root, 2, "kthreadd");
    for pid in [10, 11, 12] {
        fixture::process(&root, pid, u64::from(pid) * 10, "server", 1000);
        fs::write(root.join(format!("{pid}/oom_score")), "66\n").unwrap();
        fs::write(root.join(format!("{pid}/limits")), "Limit\nMax open files            1024     4096    files\n")
            .unwrap();
        fs::create_dir_all(root.join(format!("{pid}/fd"))).unwrap();
        fs::write(root.join(format!("{pid}/smaps_rollup")), "Rss: 8 kB\nPss: 5 kB\nPrivate_Dirty: 3 kB\n").unwrap();
    }
    fs::write(root.join("meminfo"), "MemTotal: 100 kB\n").unwrap();
    root
}

/// Events in words.
#[expect(clippy::wildcard_enum_match_arm, reason = "a sampler makes no others")]
fn words(events: &[Event]) -> String {
    let one = |event: &Event| match event {
        Event::ProcessBorn { process } => format!("born {}@{}", process.pid, process.started),
        Event::ProcessDied { process, .. } => format!("died {}@{}", process.pid, process.started),
        Event::Zombie { process, command, parent } => {
            format!("zombie {} {command} of {}", process.pid, parent.known().map_or(0, |pid| pid.0))
        }
        Event::Gap { length_ns, .. } => format!("gap {length_ns}"),
        Event::ClockJumped { by_ns } => format!("jumped {by_ns}"),
        other => format!("{other:?}"),
    };
    events.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(sampler: &mut BeatSampler, expected: &str) {
    assert_eq!(words(&sampler.beat().unwrap().events), expected);
}

#[test]
fn all_figures_of_a_process() {
    let root = machine("figures");
    let beat = sampler(&root, BeatOptions::default()).beat().unwrap();
    assert_eq!(beat.processes.len(), 3);
    let figures = &beat.processes[0].figures;
    let get = |metric| figures.get(metric).known();
    assert_eq!(get(ProcessMetric::RssAnon), Some(1000 * 1024));
    assert_eq!(get(ProcessMetric::OomScore), Some(66));
    assert_eq!(get(ProcessMetric::DescriptorLimit), Some(1024));
    assert_eq!(get(ProcessMetric::MinorFaults), Some(0));
    assert_eq!(figures.state(), Reading::Known('S'));
    assert_eq!(get(ProcessMetric::Pss), None, "never unless asked for");
    assert_eq!(beat.system.meminfo("MemTotal"), Reading::Known(Bytes(100 * 1024)));
}

#[test]
fn a_process_that_did_nothing_keeps_its_sizes_until_they_are_due() {
    let root = machine("quiet");
    let mut sampler = sampler(&root, BeatOptions::default());
    let mut anon = || {
        let beat = sampler.beat().unwrap();
        let of = |process: &ProcessReading| process.figures.get(ProcessMetric::RssAnon).known().unwrap() / 1024;
        beat.processes.iter().map(of).collect::<Vec<_>>()
    };
    for _ in 0..3 {
        anon(); // it is looked at twice, since it may have been in the middle of an exec
    }
    let status = |pid: u32, kib: u32| {
        let path = root.join(format!("{pid}/status"));
        let text = fs::read_to_string(&path).unwrap();
        let line = text.lines().find(|line| line.starts_with("RssAnon")).unwrap();
        fs::write(&path, text.replace(line, &format!("RssAnon:\t{kib} kB"))).unwrap();
    };
    status(10, 2000);
    status(11, 3000);
    let stat = fs::read_to_string(root.join("11/stat")).unwrap();
    fs::write(root.join("11/stat"), stat.replacen(" 0 0 ", " 0 7 ", 1)).unwrap();
    assert_eq!(anon(), [1000, 3000, 1000], "11 did something");
    let later: Vec<Vec<u64>> = (0..STATUS_BEATS).map(|_| anon()).collect();
    assert_eq!(later.last().unwrap(), &[2000, 3000, 1000], "all are looked at in time: {later:?}");
    fs::write(
        root.join("12/stat"),
        stat.replace("11 (", "12 (").replace(" 110 ", " 120 ").replacen(" 0 0 ", " 9 0 ", 1),
    )
    .unwrap();
    status(12, 1);
    assert_eq!(anon(), [2000, 3000, 1]);
}

#[test]
fn births_deaths_and_numbers_given_again() {
    let root = machine("births");
    let mut sampler = sampler(&root, BeatOptions::default());
    check(&mut sampler, ""); // those that were there are not born
    check(&mut sampler, "");
    fs::remove_dir_all(root.join("11")).unwrap();
    fixture::process(&root, 13, 130, "new", 5);
    check(&mut sampler, "born 13@130, died 11@110");
    fixture::process(&root, 12, 777, "server", 5);
    check(&mut sampler, "born 12@777, died 12@120");
    check(&mut sampler, "");
}

#[test]
fn a_zombie_is_told_once_and_counted_as_long_as_it_is_there() {
    let root = machine("zombie");
    let mut sampler = sampler(&root, BeatOptions::default());
    check(&mut sampler, "");
    let status = "Name:\tserver\nState:\tZ (zombie)\nTgid:\t12\nPPid:\t10\nUid:\t7\t7\t7\t7\nThreads:\t1\n";
    fs::write(root.join("12/status"), status).unwrap();
    check(&mut sampler, "died 12@120, zombie 12 server of 10");
    for _ in 0..40 {
        let beat = sampler.beat().unwrap();
        assert_eq!(words(&beat.events), "");
        assert_eq!(beat.system.get(Source::Machine, "", "processes.zombies"), Reading::Known(1));
    }
    fs::remove_dir_all(root.join("12")).unwrap();
    let beat = sampler.beat().unwrap();
    assert_eq!(beat.system.get(Source::Machine, "", "processes.zombies"), Reading::Known(0));
}

#[test]
fn a_suspend_is_told_as_a_gap() {
    let root = machine("suspend");
    let mut sampler = sampler(&root, BeatOptions::default());
    check(&mut sampler, "");
    sampler.host.clock.sleep(Duration::from_secs(60));
    let text = words(&sampler.beat().unwrap().events);
    assert!(text.starts_with("gap 6") || text.starts_with("gap 59"), "{text}");
    check(&mut sampler, "");
}

#[test]
fn a_clock_that_jumps_is_told() {
    let root = machine("jump");
    let mut sampler = sampler(&root, BeatOptions::default());
    check(&mut sampler, "");
    *sampler.offset_ns.as_mut().unwrap() += 3_600 * 1_000_000_000; // as if the clock had been an hour ahead
    let text = words(&sampler.beat().unwrap().events);
    assert!(text.starts_with("jumped -35") || text.starts_with("jumped -36"), "{text}");
    check(&mut sampler, "");
}

#[test]
fn the_budget_of_pss_is_kept_and_processes_take_turns() {
    let root = machine("pss");
    // Each of the three costs 50 microseconds and a little more: one a beat.
    let options = BeatOptions { pss_budget: Duration::from_micros(70), ..BeatOptions::default() };
    let mut sampler = sampler(&root, options);
    let mut read = || -> Vec<u32> {
        let processes = sampler.beat().unwrap().processes;
        assert!(processes.is_sorted_by_key(|process| process.identity.key.pid), "the order stays");
        let known = |process: &&ProcessReading| process.figures.get(ProcessMetric::Pss) == Reading::Known(5 * 1024);
        processes.iter().filter(known).map(|process| process.identity.key.pid.0).collect()
    };
    assert_eq!([read(), read(), read(), read()], [[10], [11], [12], [10]]);
    fixture::process(&root, 11, 110, "server", 8 << 20); // 8 GiB: 80 ms
    assert_eq!([read(), read(), read()], [[12], [10], [12]]);
}

#[test]
fn dear_sources_have_a_beat_of_their_own() {
    let root = machine("slow");
    let hour = Duration::from_secs(3600);
    let seldom = BeatOptions { slow_every: hour, groups_every: hour, ..BeatOptions::default() };
    let mut sampler = sampler(&root, seldom);
    let mut sources = || sampler.beat().unwrap().system.sources.len();
    assert_eq!(sources(), Source::ALL.len());
    let quick = sources();
    assert!(quick < Source::ALL.len());
    sampler.options.groups_every = Duration::ZERO;
    sampler.next_groups = Duration::ZERO;
    assert_eq!(sampler.beat().unwrap().system.sources.len(), quick + 1, "groups are due on their own");
}

#[test]
fn what_may_not_be_read_is_missing_with_the_reason() {
    let root = machine("missing");
    fs::remove_file(root.join("10/oom_score")).unwrap();
    fs::remove_dir_all(root.join("10/fd")).unwrap();
    fs::write(root.join("10/limits"), "").unwrap();
    let mut sampler = sampler(&root, BeatOptions::default());
    let beat = sampler.beat().unwrap();
    let get = |metric| beat.processes[0].figures.get(metric);
    assert_eq!(get(ProcessMetric::OomScore), Reading::Missing(Why::ProcessGone));
    assert_eq!(get(ProcessMetric::Descriptors), Reading::Missing(Why::ProcessGone));
    assert_eq!(get(ProcessMetric::DescriptorLimit), Reading::Missing(Why::Malformed));
    assert!(matches!(sampler.hears_kernel(), Reading::Missing(Why::NotPermitted { .. })));
    assert_eq!(sampler.left_out(), 0);
}

#[test]
fn this_machine_has_beats() {
    let mut sampler = BeatSampler::new(BeatOptions::default()).unwrap();
    let (first, second) = (sampler.beat().unwrap(), sampler.beat().unwrap());
    assert!(second.at.boot_ns >= first.at.boot_ns && first.at.boot_id == second.at.boot_id);
    assert!(first.at.boot_id.len() > 30, "{:?}", first.at.boot_id);
    let total = second.system.meminfo("MemTotal").known().unwrap();
    assert!(total > second.system.meminfo("MemFree").known().unwrap());
    let own = second.system.get(Source::Machine, "", "recorder.rss");
    assert!(own.known().is_some_and(|bytes| bytes > 100 * 1024));
    assert!(second.processes.iter().all(|process| process.identity.key.pid != Pid(std::process::id())));
}
