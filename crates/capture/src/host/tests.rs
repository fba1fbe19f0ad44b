//! The sampler against synthetic and real processes.

use std::path::PathBuf;

use super::*;

const PASSWD: &str = "root:x:0:0::/:\nseven:x:7:7::/:\n";

fn sampler(root: &Path, filter: Filter) -> Result<HostSampler, HostError> {
    let passwd = root.join("passwd");
    fs::write(&passwd, PASSWD).unwrap();
    HostSampler::at(root, &passwd, filter)
}

/// A synthetic machine with a kernel thread, two servers and a shell.
fn machine(name: &str) -> PathBuf {
    let root = fixture::root(name);
    fixture::kernel_thread(&root, 2, "kthreadd");
    fixture::process(&root, 10, 100, "server", 1000);
    fixture::process(&root, 11, 110, "server", 2000);
    fixture::process(&root, 12, 120, "bash", 300);
    fs::write(root.join("meminfo"), "MemTotal: 100 kB\nMemAvailable: 60 kB\n").unwrap();
    root
}

/// Pid, start time, name and private KiB of each process of the sample.
fn written(sample: &MachineSample) -> String {
    let one = |process: &ProcessSample| {
        let identity = &process.identity;
        let private = process.memory.private().known().map_or(0, |bytes| bytes.0 / 1024);
        format!("{}@{} {} {private}", identity.key.pid, identity.key.started, identity.command)
    };
    sample.processes.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(sampler: &mut HostSampler, expected: &str) {
    assert_eq!(written(&sampler.sample().unwrap()), expected);
}

#[test]
fn all_processes_but_threads_of_the_kernel() {
    let root = machine("all");
    let mut sampler = sampler(&root, Filter::default()).unwrap();
    check(&mut sampler, "10@100 server 1000, 11@110 server 2000, 12@120 bash 300");
    let sample = sampler.sample().unwrap();
    assert_eq!(sample.memory_total, Reading::Known(Bytes::from_kib(100)));
    assert_eq!(sample.memory_available, Reading::Known(Bytes::from_kib(60)));
    let identity = &sample.processes[0].identity;
    assert_eq!(identity.arguments, "/bin/server --flag");
    assert_eq!(identity.user, Reading::Known("seven".to_owned()));
    assert_eq!(identity.cgroup, Reading::Known("/server.service".to_owned()));
    assert_eq!(sampler.losses(), HostLosses::default());
}

#[test]
fn the_filter_narrows_and_a_wrong_one_is_an_error() {
    let root = machine("filter");
    let with = |filter| sampler(&root, filter);
    check(&mut with(Filter { name: Some("bas".into()), ..Filter::default() }).unwrap(), "12@120 bash 300");
    check(&mut with(Filter { user: Some("root".into()), ..Filter::default() }).unwrap(), "");
    check(&mut with(Filter { cgroup: Some("bash.serv".into()), ..Filter::default() }).unwrap(), "12@120 bash 300");
    let pids = |pids: &[u32]| Filter { pid: pids.iter().copied().map(Pid).collect(), ..Filter::default() };
    check(&mut with(pids(&[12, 10, 12])).unwrap(), "10@100 server 1000, 12@120 bash 300");
    assert!(matches!(with(pids(&[10, 99])), Err(HostError::NoSuchProcess { pid: Pid(99) })));
    assert!(matches!(with(pids(&[2])), Err(HostError::KernelThread { pid: Pid(2) })));
    let own = std::process::id();
    assert!(matches!(with(pids(&[own])), Err(HostError::Itself { .. })));
    let nobody = Filter { user: Some("nobody-at-all".into()), ..Filter::default() };
    assert!(matches!(with(nobody), Err(HostError::UnknownUser { .. })));
}

#[test]
fn a_thread_and_a_zombie_are_refused_by_name() {
    let root = machine("refused");
    fs::write(root.join("11/status"), "Tgid:\t10\nState:\tS (sleeping)\n").unwrap();
    fs::write(root.join("12/status"), "Tgid:\t12\nState:\tZ (zombie)\nThreads:\t1\n").unwrap();
    let pid = |pid| Filter { pid: vec![Pid(pid)], ..Filter::default() };
    assert!(matches!(sampler(&root, pid(11)), Err(HostError::Thread { process: Pid(10), .. })));
    assert!(matches!(sampler(&root, pid(12)), Err(HostError::Zombie { .. })));
}

#[test]
fn memory_is_read_anew_at_each_beat() {
    let root = machine("anew");
    let mut sampler = sampler(&root, Filter { name: Some("bash".into()), ..Filter::default() }).unwrap();
    sampler.files_max = 8; // read through the kept file
    check(&mut sampler, "12@120 bash 300");
    fixture::process(&root, 12, 120, "bash", 400);
    check(&mut sampler, "12@120 bash 400");
}

#[test]
fn a_process_that_executes_another_program_gets_a_new_name() {
    let root = machine("exec");
    let mut sampler = sampler(&root, Filter::default()).unwrap();
    let before = sampler.sample().unwrap().processes[2].identity.clone();
    assert!(
        std::sync::Arc::ptr_eq(&before, &sampler.sample().unwrap().processes[2].identity),
        "shared while it is the same"
    );
    fixture::process(&root, 12, 120, "python", 900);
    check(&mut sampler, "10@100 server 1000, 11@110 server 2000, 12@120 python 900");
    assert_eq!(sampler.sample().unwrap().processes[2].identity.arguments, "/bin/python --flag");
}

#[test]
fn a_process_that_vanishes_is_counted_and_forgotten() {
    let root = machine("vanish");
    let mut sampler = sampler(&root, Filter::default()).unwrap();
    sampler.files_max = 0; // files on a disk stay readable after their end, those of procfs do not
    check(&mut sampler, "10@100 server 1000, 11@110 server 2000, 12@120 bash 300");
    fs::remove_file(root.join("10/status")).unwrap(); // listed, but gone when it is read
    fs::remove_dir_all(root.join("11")).unwrap(); // not listed any more
    let sample = sampler.sample().unwrap();
    assert_eq!(written(&sample), "12@120 bash 300");
    assert!(sample.vanished > 0);
    assert_eq!(sampler.known.len(), 2, "the shell and the thread of the kernel");
}

#[test]
fn a_number_that_was_given_again_is_another_process() {
    let root = machine("again");
    let mut sampler = sampler(&root, Filter { name: Some("server".into()), ..Filter::default() }).unwrap();
    sampler.files_max = 0;
    check(&mut sampler, "10@100 server 1000, 11@110 server 2000");
    fixture::process(&root, 10, 777, "server", 5);
    check(&mut sampler, "10@777 server 5, 11@110 server 2000");
}

#[test]
fn what_was_left_out_is_looked_at_again() {
    let root = machine("look-again");
    let mut sampler = sampler(&root, Filter { name: Some("server".into()), ..Filter::default() }).unwrap();
    check(&mut sampler, "10@100 server 1000, 11@110 server 2000");
    fixture::process(&root, 12, 120, "server", 1);
    fixture::process(&root, 2, 999, "server", 2);
    for _ in 1..LOOK_AGAIN_BEATS {
        sampler.sample().unwrap();
    }
    check(&mut sampler, "2@999 server 2, 10@100 server 1000, 11@110 server 2000, 12@120 server 1");
}

#[test]
fn a_text_that_makes_no_sense_is_counted() {
    let root = machine("malformed");
    fs::write(root.join("10/stat"), "10 (server S 1").unwrap();
    fs::write(root.join("11/stat"), "12 (server) S 1 1").unwrap();
    let mut sampler = sampler(&root, Filter::default()).unwrap();
    check(&mut sampler, "12@120 bash 300");
    assert_eq!(sampler.losses().malformed, 2);
}

#[test]
fn kept_files_are_bounded_and_given_back() {
    let root = machine("files");
    let mut sampler = sampler(&root, Filter::default()).unwrap();
    sampler.files_max = 2;
    check(&mut sampler, "10@100 server 1000, 11@110 server 2000, 12@120 bash 300");
    assert_eq!(sampler.files_kept, 2);
    sampler.let_go();
    assert_eq!((sampler.files_kept, sampler.files_max), (0, 1));
    check(&mut sampler, "10@100 server 1000, 11@110 server 2000, 12@120 bash 300");
    fs::remove_dir_all(root.join("11")).unwrap();
    check(&mut sampler, "10@100 server 1000, 12@120 bash 300");
}

#[test]
fn the_allowed_files_are_read_from_the_limits() {
    let check = |soft: &str, expected| {
        let text = format!("Limit                     Soft Limit\nMax open files            {soft}    4096    files\n");
        assert_eq!(files_allowed(text.as_bytes()), expected, "{soft}");
    };
    check("1024", 512);
    check("1048576", FILES_KEPT_MAX);
    check("unlimited", FILES_KEPT_MAX);
    check("x", 0);
    assert_eq!(files_allowed(b""), 0);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test needs a process to look at")]
fn a_real_process_is_found_and_its_end_is_noticed() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let filter = Filter { pid: vec![Pid(child.id())], ..Filter::default() };
    let mut sampler = HostSampler::new(filter).unwrap();
    // Between fork and exec the child is still a copy of this test.
    let mut identity = sampler.sample().unwrap().processes[0].identity.clone();
    for _ in 0..200 {
        if identity.arguments == "sleep 60" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        identity = sampler.sample().unwrap().processes[0].identity.clone();
    }
    assert_eq!((identity.command.as_str(), identity.arguments.as_str()), ("sleep", "sleep 60"));
    let memory = sampler.sample().unwrap().processes[0].memory;
    assert!(memory.rss().known().is_some_and(|bytes| bytes.0 > 0));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(sampler.sample().unwrap().processes.is_empty());
    assert!(sampler.losses().vanished > 0);
}

#[test]
fn this_machine_is_sampled_without_this_process() {
    let mut sampler = HostSampler::new(Filter::default()).unwrap();
    let sample = sampler.sample().unwrap();
    let pids: Vec<u32> = sample.processes.iter().map(|process| process.identity.key.pid.0).collect();
    assert!(pids.is_sorted() && !pids.contains(&std::process::id()));
    assert!(sample.memory_total.known() >= sample.memory_available.known());
    assert!(sampler.sample().unwrap().at >= sample.at);
}

#[test]
fn a_move_between_groups_and_a_new_user_are_noticed() {
    let root = machine("moved");
    let mut sampler = sampler(&root, Filter { name: Some("bash".into()), ..Filter::default() }).unwrap();
    let mut identity = |beats: u64| {
        let mut last = None;
        for _ in 0..beats {
            last = sampler.sample().unwrap().processes.pop();
        }
        last.unwrap().identity
    };
    assert_eq!(identity(1).container, None);
    fs::write(root.join("12/cgroup"), format!("0::/docker/{}\n", "ab".repeat(32))).unwrap();
    assert_eq!(identity(REFRESH_BEATS).container.as_deref(), Some("abababababab"));
    let status = fs::read_to_string(root.join("12/status")).unwrap();
    fs::write(root.join("12/status"), status.replace("Uid:\t7\t7", "Uid:\t7\t0")).unwrap();
    assert_eq!(identity(1).user, Reading::Known("root".to_owned()), "at once, since status says so");
}

#[test]
fn a_zombie_is_no_process_to_watch() {
    let root = machine("zombie");
    let mut sampler = sampler(&root, Filter::default()).unwrap();
    sampler.files_max = 8;
    check(&mut sampler, "10@100 server 1000, 11@110 server 2000, 12@120 bash 300");
    let status = "Name:\tbash\nState:\tZ (zombie)\nTgid:\t12\nUid:\t7\t7\t7\t7\nThreads:\t1\n";
    fs::write(root.join("12/status"), status).unwrap();
    check(&mut sampler, "10@100 server 1000, 11@110 server 2000");
    check(&mut sampler, "10@100 server 1000, 11@110 server 2000");
    assert_eq!(sampler.files_kept, 2, "its file was given back");
}

#[test]
fn names_cannot_control_a_terminal() {
    let root = machine("hostile");
    fixture::process(&root, 13, 130, "a\x1b[2Jb", 1);
    fs::write(root.join("13/cmdline"), "x\x1b]0;title\x07\0y\n").unwrap();
    fs::write(root.join("13/cgroup"), "0::/\u{202e}evil\n").unwrap();
    let sample = sampler(&root, Filter::default()).unwrap().sample().unwrap();
    let identity = &sample.processes[3].identity;
    assert_eq!(identity.command, "a\\x1b[2Jb");
    assert_eq!(identity.arguments, "x\\x1b]0;title\\x07 y\\n");
    assert_eq!(identity.cgroup, Reading::Known("/\\u{202e}evil".to_owned()));
}

#[test]
fn what_cannot_be_read_is_missing_and_never_zero() {
    let root = machine("missing");
    fs::remove_file(root.join("meminfo")).unwrap();
    fs::remove_file(root.join("10/cgroup")).unwrap();
    fs::write(root.join("11/status"), "Name:\tserver\nState:\tS\nRssAnon:\t5 kB\n").unwrap();
    let sample = sampler(&root, Filter::default()).unwrap().sample().unwrap();
    assert_eq!(sample.memory_available, Reading::Missing(Why::NotOffered));
    assert_eq!(sample.processes[0].identity.cgroup, Reading::Missing(Why::NotOffered));
    assert_eq!(HostSampler::room(&sample.processes[0].identity), Reading::Missing(Why::NotOffered));
    let memory = sample.processes[1].memory;
    assert_eq!((memory.anon, memory.swap), (Reading::Known(Bytes(5 * 1024)), Reading::Missing(Why::NotOffered)));
    assert_eq!(sample.processes[1].identity.uid, Reading::Missing(Why::NotOffered));
}
