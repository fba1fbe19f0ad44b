//! Looks at this machine and at processes that tests start.

use model::inspection::MappingKind;

use super::*;

#[test]
#[expect(clippy::disallowed_methods, reason = "a test needs a process to look at")]
fn a_real_process_shows_all_of_itself() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let found = inspect_process(Pid(child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(found.identity.command, "sleep");
    let mappings = found.mappings.as_known().unwrap();
    let names = |kind| mappings.iter().filter(move |mapping| mapping.kind == kind);
    assert!(names(MappingKind::File).any(|mapping| mapping.name.contains("sleep") && mapping.permissions == "r-xp"));
    assert_eq!(names(MappingKind::Stack).count(), 1);
    let (heap, count) = found.of_kind(MappingKind::Heap).known().unwrap();
    assert!(count >= 1 && heap.size.0 > 0);
    let pss = found.figures.get(ProcessMetric::Pss).known().unwrap();
    let rss = found.figures.memory().rss().known().unwrap().0;
    assert!(pss > 0 && pss <= rss + (1 << 20), "PSS {pss} of RSS {rss}");
    let descriptors = found.descriptors.as_known().unwrap();
    assert!(descriptors.len() >= 3 && descriptors.is_sorted_by_key(|descriptor| descriptor.number));
    let threads = found.threads.as_known().unwrap();
    assert_eq!((threads.len(), threads[0].name.as_str()), (1, "sleep"));
    assert!(found.limits.as_known().unwrap().iter().any(|limit| limit.name == "Max open files"));
    assert_eq!(found.left_out, 0);
    assert!(!found.cost.is_zero() && !found.at.is_zero(), "it is said when it was read and how long that took");
    let (all, count) = found.all_mappings().known().unwrap();
    assert_eq!((count, all.pss.known().map(|bytes| bytes.0)), (mappings.len(), Some(pss)), "the sum of all mappings");
}

#[test]
fn what_cannot_be_looked_at_is_refused_by_name() {
    assert!(matches!(inspect_process(Pid(std::process::id())), Err(HostError::Itself { .. })));
    assert!(matches!(inspect_process(Pid(4_194_305)), Err(HostError::NoSuchProcess { .. })));
}

#[test]
fn this_machine_is_looked_at_whole() {
    let found = inspect_machine(Duration::from_millis(20)).unwrap();
    assert!(found.beat.system.sources.len() > 5);
    assert!(found.zombies.iter().all(|zombie| !zombie.command.is_empty()));
    let text = fs::read("/proc/buddyinfo").unwrap();
    assert_eq!(found.zones.as_known().map(Vec::len), Some(buddyinfo::parse(&text).count()));
}

#[test]
fn what_is_over_the_budget_is_left_out_and_counted() {
    let found = inspect_machine(Duration::ZERO).unwrap();
    let processes = found.beat.processes.iter().filter(|process| !process.identity.kernel_thread);
    let pss: Vec<_> = processes.map(|process| process.figures.get(ProcessMetric::Pss)).collect();
    assert_eq!((found.over_budget, found.cost), (pss.len() as u64, Duration::ZERO));
    assert!(!pss.is_empty() && pss.iter().all(|pss| *pss == Reading::Missing(Why::OverBudget)), "{pss:?}");
}

#[track_caller]
fn check(target: &str, expected: DescriptorKind) {
    assert_eq!(kind(target.as_bytes()), expected, "{target}");
}

#[test]
fn descriptors_are_told_apart_by_their_targets() {
    check("/etc/passwd", DescriptorKind::File);
    check("/dev/shm/x", DescriptorKind::Memory);
    check("/dev/null", DescriptorKind::Device);
    check("socket:[12]", DescriptorKind::Socket);
    check("pipe:[12]", DescriptorKind::Pipe);
    check("/memfd:x (deleted)", DescriptorKind::Memory);
    check("/tmp/gone (deleted)", DescriptorKind::File);
    check("anon_inode:[eventpoll]", DescriptorKind::Anonymous);
}

#[test]
fn a_zone_says_how_broken_up_it_is() {
    let text = "Node 0, zone Normal 512 0 0 0 0 0 0 0 0 1\n";
    let found = zone(&buddyinfo::parse(text.as_bytes()).next().unwrap());
    assert_eq!((found.zone.as_str(), found.free.0), ("0/Normal", 1024 * 4096));
    assert_eq!(found.unusable_thousandths, Reading::Known(500));
}

#[test]
fn a_group_of_version_2_has_limit_and_pressure() {
    let root = crate::host::fixture::root("inspect-group");
    let folder = root.join("g");
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in [
        ("memory.current", "40\n"),
        ("memory.max", "100\n"),
        ("memory.stat", "inactive_file 10\n"),
        ("memory.pressure", "some avg10=1.00 avg60=2.50 avg300=0.00 total=1\n"),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    crate::host::fixture::process(&root, 7, 1, "x", 4);
    fs::write(root.join("7/cgroup"), "0::/g\n").unwrap();
    let Ok(Found::Process(process, _)) = process::find(&mut Proc::new(&root), &Users::default(), 7) else {
        panic!("the process is there")
    };
    let found = group(&root, &process.identity).known().unwrap();
    assert_eq!((found.usage, found.limit), (Reading::Known(Bytes(40)), Reading::Known(Some(Bytes(100)))));
    assert_eq!((found.room, found.pressure), (Reading::Known(Bytes(70)), Reading::Known(250)));
}
