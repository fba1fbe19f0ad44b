//! What an attach may take of the target's memory: the cap, and control groups with a limit.
//!
//! Owns: real groups, and the promise that a target never suffers from the records of its blocks. Must not know: how a cap is kept.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::command::{Run, Running, leakline};
use crate::process::{cannot_run, signal};
use crate::targets::{Target, build_plain};

use rustix::process::Signal;

const MIB: u64 = 1 << 20;

/// A target that makes so many small blocks that any small cap is soon reached.
fn busy() -> Target {
    Target::start("c/leaky.c", "--rate 16384 --block 16")
}

/// Records until the cap must have been reached, and ends as a user does.
#[track_caller]
fn record(target: &Target, options: &str) -> Run {
    let mut leakline = Running::start(&format!("attach {} --json -e 0.5 --survey never {options}", target.pid()));
    leakline.wait_attached();
    std::thread::sleep(std::time::Duration::from_secs(4));
    signal(leakline.pid(), Signal::INT);
    leakline.wait()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn at_the_cap_what_finds_no_room_is_counted_and_said() {
    let target = busy();
    let summary = record(&target, "--mode exact --max-memory 12M").summary();
    assert_eq!(summary["losses"]["memory_cap_reached"], true, "{summary:#}");
    assert!(number(&summary["losses"]["blocks_unrecorded"]) > 0, "{summary:#}");
    assert_eq!(number(&summary["target"]["memory_max_bytes"]), 12 * MIB);
    assert!(number(&summary["memory_in_target_bytes"]) <= 12 * MIB, "{summary:#}");
    target.stop().assert_unharmed();
}

#[test]
fn in_auto_mode_a_sample_is_recorded_before_the_cap_is_reached() {
    let target = busy();
    let summary = record(&target, "--mode auto --max-overhead 100 --max-memory 12M").summary();
    assert_eq!(summary["target"]["mode"], "sampled", "{summary:#}");
    assert!(summary["notes"].to_string().contains("--max-memory"), "{summary:#}");
    assert!(number(&summary["memory_in_target_bytes"]) <= 12 * MIB, "{summary:#}");
    target.stop().assert_unharmed();
}

#[test]
fn a_cap_below_what_the_tables_take_is_refused_by_name() {
    let target = Target::start("c/steady.c", "");
    let run = leakline(&format!("attach {} --json --max-memory 1M", target.pid()));
    assert_eq!(run.code, Some(2), "{}", run.describe());
    assert!(run.errors.contains("of the 1.00 MiB that records may take; needed: "), "{}", run.describe());
    target.stop().assert_unharmed();
}

/// Unwind tables are records too: a library that is loaded later and is too large for what is left goes without.
#[test]
fn a_large_library_that_is_loaded_later_takes_no_more_than_there_is_room_for() {
    let plugin = build_plain("reach/large_plugin.c", "gcc -O2 -shared -fPIC");
    let loader = build_plain("reach/loader.c", "gcc -O2 -pthread");
    let mut target = Target::start_program(&loader, &plugin.display().to_string());
    for (cap, is_too_little) in [("8M", true), ("64M", false)] {
        let options = format!("attach {} --json -e 60 --max-memory {cap}", target.pid());
        let mut leakline = Running::start(&options);
        leakline.wait_attached();
        // Only the first session sees it come; of the second it is a part from the beginning.
        assert_eq!(target.ask("load", "loaded"), "");
        // What allocates in unknown code makes leakline look what was loaded, at its next reading, which is at the end at the latest.
        target.ask("go", "done");
        signal(leakline.pid(), Signal::INT);
        let summary = leakline.wait().summary();
        let is_told = summary["notes"].to_string().contains("found no room for their unwind tables");
        assert_eq!(is_told, is_too_little, "{cap}: {summary:#}");
        assert!(
            number(&summary["memory_in_target_bytes"]) <= if is_too_little { 8 * MIB } else { 64 * MIB },
            "{summary:#}"
        );
    }
    target.stop().assert_unharmed();
}

/// A control group of version 1 or 2 with a limit; it goes when this is dropped.
struct Group {
    folder: PathBuf,
    limit: &'static str,
    usage: &'static str,
}

impl Group {
    /// None where none can be made here.
    fn make(name: &str) -> Option<Self> {
        let name = format!("leakline-test-{name}-{}", std::process::id());
        let candidates = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
            ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ];
        candidates.into_iter().find_map(|(root, limit, usage)| {
            let folder = PathBuf::from(root).join(&name);
            fs::create_dir(&folder).ok()?;
            let group = Self { folder, limit, usage };
            group.folder.join(limit).exists().then_some(group)
        })
    }

    #[track_caller]
    fn limit(&self, bytes: u64) {
        fs::write(self.folder.join(self.limit), bytes.to_string()).expect("a limit can be set");
    }

    #[track_caller]
    fn usage(&self) -> u64 {
        let text = fs::read_to_string(self.folder.join(self.usage)).expect("usage can be read");
        text.trim().parse().expect("a number")
    }

    #[track_caller]
    fn take(&self, pid: u32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).expect("a process can be moved");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group can only go when nobody is in it any more.
        let _ = crate::process::holds_soon(|| fs::remove_dir(&self.folder).is_ok());
    }
}

#[test]
fn a_target_in_a_limited_group_is_given_a_part_of_what_is_left_or_refused() {
    let Some(group) = Group::make("limited") else {
        let why = "no control group for memory can be made (root, and /sys/fs/cgroup writable)";
        cannot_run("a_target_in_a_limited_group_is_given_a_part_of_what_is_left_or_refused", why);
        return;
    };
    let target = Target::start("c/leaky.c", "--rate 2048 --block 16");
    group.limit(256 * MIB);
    group.take(target.pid());
    let summary = record(&target, "--mode exact").summary();
    let cap = number(&summary["target"]["memory_max_bytes"]);
    assert!((8 * MIB..=64 * MIB).contains(&cap), "a quarter of what is left: {summary:#}");
    assert!(summary["notes"].to_string().contains("its control group may take only"), "{summary:#}");
    assert!(number(&summary["memory_in_target_bytes"]) <= cap, "{summary:#}");
    target.stop().assert_unharmed();

    let target = Target::start("c/steady.c", "");
    group.take(target.pid());
    group.limit(group.usage() + 6 * MIB);
    let run = leakline(&format!("attach {} --json", target.pid()));
    assert_eq!(run.code, Some(2), "{}", run.describe());
    let said = "its control group may take only";
    assert!(run.errors.contains(said) && run.errors.contains("memory.max"), "{}", run.describe());
    target.stop().assert_unharmed();
}
