//! One look at a real process and at this machine, compared with what the program says of itself, with `/proc` and with other tools.
//!
//! Owns: what a look must find. Must not know: how it looks.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::command::{Running, leakline, program};
use crate::process::{cannot_run, holds_soon};
use crate::targets::Target;

const MIB: u64 = 1 << 20;

/// The rows of a table whose column has this text.
fn rows<'a>(document: &'a Value, table: &str, column: &str, text: &str) -> Vec<&'a Value> {
    let rows = document[table].as_array().unwrap_or_else(|| panic!("{table} is no list: {:#}", document[table]));
    rows.iter().filter(|row| row[column].as_str().is_some_and(|found| found.contains(text))).collect()
}

#[track_caller]
fn figure(row: &Value, key: &str) -> u64 {
    row[key].as_u64().unwrap_or_else(|| panic!("{key} is no number in {row:#}"))
}

/// The one row of this text.
#[track_caller]
fn row<'a>(document: &'a Value, table: &str, column: &str, text: &str) -> &'a Value {
    let found = rows(document, table, column, text);
    assert_eq!(found.len(), 1, "{text} in {table}: {found:#?}");
    found[0]
}

/// The target, once all its threads have done what they do at their start and sleep: a page of a stack that is touched between
/// two looks would be a difference.
fn inspected() -> Target {
    let target = Target::start("c/inspected.c", "");
    let asleep = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", target.pid())).expect("the target is there");
        let states = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
        let (mut named, mut all) = (0, true);
        for stat in states {
            named += usize::from(stat.contains("red)"));
            all &= stat.contains(") S ");
        }
        all && named == 5
    };
    assert!(holds_soon(asleep), "its threads never came to rest");
    target
}

#[test]
fn a_process_is_what_it_says() {
    let target = inspected();
    let found = leakline(&format!("inspect {} --json", target.pid()));
    found.assert_code(0);
    let found = found.summary();
    let kind = |name| row(&found, "kinds", "mapping_kind", name);
    assert!((5_000_000..8 * MIB).contains(&figure(kind("heap"), "rss_bytes")), "{:#}", kind("heap"));
    assert!((3 * MIB..5 * MIB).contains(&figure(kind("anonymous"), "rss_bytes")), "{:#}", kind("anonymous"));
    assert!(figure(kind("anonymous"), "size_bytes") >= 10 * MIB, "{:#}", kind("anonymous"));
    assert_eq!(figure(kind("shared"), "rss_bytes"), 3 * MIB);
    assert_eq!(figure(kind("thread stack"), "number"), 5);
    // What the test harness has open is inherited.
    assert!(figure(row(&found, "descriptors", "descriptor_kind", "file"), "number") >= 20);
    assert_eq!(figure(row(&found, "targets", "target", "/etc/hosts"), "number"), 20);
    assert_eq!(row(&found, "threads", "name", "red")["name"], "\\x1b[31mred", "an escape is written out");
    assert_eq!(figure(row(&found, "threads", "name", "red"), "number"), 5);
    let stacks = figure(row(&found, "threads", "name", "red"), "stack_bytes");
    assert!(stacks.is_multiple_of(5) && stacks / 5 >= 64 * 1024, "five stacks of one size: {stacks}");
    assert!((5 * 4096..=stacks).contains(&figure(row(&found, "threads", "name", "red"), "stack_rss_bytes")));
    let segment = row(&found, "shared", "path", "SYSV");
    assert_eq!(segment["segment"].to_string(), target.wait_for("segment "));
    assert_eq!(figure(segment, "rss_bytes"), MIB);
    let limit = row(&found, "limits", "name", "Max open files");
    assert_eq!(limit["soft_limit"], found["process"]["descriptor_limit"]);
    let text = leakline(&format!("inspect {}", target.pid()));
    text.assert_code(0);
    assert!(text.lines.iter().all(|line| !line.contains('\x1b')), "no name reaches the terminal: {:#?}", text.lines);
    target.stop().assert_unharmed();
}

/// Numbers of KiB of the lines of a text that begin with a name, by name.
fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}

#[test]
fn the_figures_are_those_of_the_kernel_and_of_other_tools() {
    let target = inspected();
    let pid = target.pid();
    let found = leakline(&format!("inspect {pid} --json")).summary();
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the target is there");
    let process = &found["process"];
    // Other programs come and go, and with them who shares the pages of a library.
    let near = |ours: u64, theirs_kib: u64| ours.abs_diff(theirs_kib * 1024) <= 512 << 10;
    for (key, theirs) in [
        ("rss_bytes", kib(&rollup, "Rss:")),
        ("pss_bytes", kib(&rollup, "Pss:")),
        ("uss_bytes", kib(&rollup, "Private_Clean:") + kib(&rollup, "Private_Dirty:")),
        ("swap_bytes", kib(&rollup, "Swap:")),
    ] {
        assert!(near(figure(process, key), theirs), "{key}: {} and {theirs} KiB", figure(process, key));
    }
    compare_with_pmap(&found, pid);
    compare_with_smem(process, pid);
    target.stop().assert_unharmed();
}

/// Each mapping of `pmap -x` is one of ours, with the same sizes; both are of a process that stands still.
fn compare_with_pmap(found: &Value, pid: u32) {
    let Ok(output) = Command::new("pmap").args(["-x", &pid.to_string()]).output() else {
        return cannot_run("mappings are compared with pmap -x", "pmap is not installed (apt: procps)");
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let mut compared = 0;
    for words in lines.iter().filter(|words| words.len() >= 5 && u64::from_str_radix(words[0], 16).is_ok()) {
        let address = format!("{:#x}", u64::from_str_radix(words[0], 16).expect("it was one"));
        let alike: Vec<&Value> = rows(found, "mappings", "address", &address);
        let Some(ours) = alike.iter().find(|row| row["address"] == *address) else { continue };
        let kib = |word: &str| word.parse::<u64>().map(|kib| kib * 1024).expect("a number");
        assert_eq!(
            (figure(ours, "size_bytes"), figure(ours, "dirty_bytes")),
            (kib(words[1]), kib(words[3])),
            "{words:?}"
        );
        assert!(figure(ours, "rss_bytes").abs_diff(kib(words[2])) <= 256 << 10, "{words:?} {ours:#}");
        compared += 1;
    }
    let all = found["mappings"].as_array().map_or(0, Vec::len);
    assert!(compared >= 20 && compared + 2 >= all, "only {compared} of {all} mappings are those of pmap:\n{text}");
}

fn compare_with_smem(process: &Value, pid: u32) {
    let Ok(output) = Command::new("smem").args(["-H", "-c", "pid uss pss rss"]).output() else {
        return cannot_run("PSS and USS are compared with smem", "smem is not installed (apt: smem)");
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut rows = text.lines().map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect());
    let theirs: Vec<u64> = rows.find(|row: &Vec<u64>| row.first() == Some(&u64::from(pid))).expect("smem lists it");
    for (key, kib) in ["uss_bytes", "pss_bytes", "rss_bytes"].iter().zip(&theirs[1..]) {
        assert!(figure(process, key).abs_diff(kib * 1024) <= 512 << 10, "{key}: {process:#} and {theirs:?}");
    }
}

#[test]
fn growth_is_told_by_kind_mapping_and_descriptor() {
    let mut target = inspected();
    let looking = Running::start(&format!("inspect {} --growth 4s --json", target.pid()));
    // The first look is over before the first of its samples, of which there is one each 100 ms.
    std::thread::sleep(std::time::Duration::from_secs(2));
    target.ask("grow", "grown");
    let run = looking.wait();
    let found = run.summary();
    // Clocks are adjusted while they run: the period may be a hair under what was asked for.
    assert!(found["growth"]["period_seconds"].as_f64() >= Some(3.9), "{:#}", found["growth"]);
    let grown: i64 = ["kind_growth", "mapping_growth"]
        .map(|table| {
            found[table].as_array().expect("a list").iter().filter_map(|row| row["change_bytes"].as_i64()).sum()
        })
        .iter()
        .copied()
        .min()
        .expect("two");
    assert!(grown >= 4 << 20, "64 blocks of 64 KiB: {:#} {:#}", found["kind_growth"], found["mapping_growth"]);
    let files = row(&found, "descriptor_growth", "descriptor_kind", "file");
    assert!(figure(files, "number_before") >= 20, "{files:#}");
    assert_eq!(figure(files, "number_after") - figure(files, "number_before"), 10);
    assert!((500..9500).contains(&figure(files, "number_per_hour")), "10 in about four seconds or more: {files:#}");
    target.stop().assert_unharmed();
}

#[test]
fn a_process_that_ends_meanwhile_leaves_its_first_look() {
    let target = inspected();
    let looking = Running::start(&format!("inspect {} --growth 3s --json", target.pid()));
    std::thread::sleep(std::time::Duration::from_secs(1));
    target.stop().assert_unharmed();
    let run = looking.wait();
    run.assert_code(2);
    let found = run.summary();
    assert!(found["notes"].to_string().contains("ended before the second look"), "{:#}", found["notes"]);
    assert!(figure(&found["process"], "rss_bytes") > MIB && found["kind_growth"].is_null(), "{found:#}");
}

#[test]
fn the_machine_is_looked_at_with_a_budget_and_into_a_file() {
    let target = inspected();
    let file = crate::targets::built().join(format!("inspected-{}.json", std::process::id()));
    let run = leakline(&format!("inspect --json -o {}", file.display()));
    run.assert_code(0);
    assert!(run.lines.is_empty() && run.errors.contains("wrote "), "{}", run.describe());
    let text = fs::read_to_string(&file).expect("it was written");
    let found: Value = serde_json::from_str(&text).expect("one document");
    fs::remove_file(&file).expect("it is there");
    let process = |found: &Value| {
        let rows = found["processes"].as_array().expect("a list").clone();
        rows.into_iter().find(|row| row["pid"] == target.pid()).expect("the target is listed")
    };
    assert!(figure(&process(&found), "pss_bytes") > 8 * MIB, "{:#}", process(&found));
    assert!(figure(&found["machine"], "memory_total_bytes") > MIB && !found["balance"].is_null());
    let descriptors = found["descriptors"].as_array().expect("a list");
    let of_target = descriptors.iter().find(|row| row["pid"] == target.pid()).expect("the target is listed");
    assert!(figure(of_target, "descriptors") >= 20, "{of_target:#}");
    let frugal = leakline("inspect --json --pss-budget 0").summary();
    let pss = process(&frugal)["pss_bytes"].to_string();
    assert!(pss.contains("more than the budget"), "{pss}");
    let short = leakline("inspect --top 1");
    short.assert_code(0);
    assert!(short.lines.iter().any(|line| line.starts_with("and ") && line.ends_with(" more")), "{:#?}", short.lines);
    target.stop().assert_unharmed();
}

#[test]
fn without_rights_what_cannot_be_seen_is_missing_for_a_reason() {
    let target = inspected();
    let arguments = format!("inspect {} --json", target.pid());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--clear-groups"]).arg(program()).args(arguments.split(' '));
    let run = Running::start_command(command, &arguments).wait();
    if run.errors.contains("setpriv") || run.errors.contains("ermission denied") {
        return cannot_run(
            "an inspection without rights",
            "the test does not run as root, or the program lies out of reach",
        );
    }
    run.assert_code(0);
    let found = run.summary();
    for table in ["kinds", "mappings", "descriptors", "shared"] {
        assert!(found[table]["missing"].to_string().contains("CAP_SYS_PTRACE"), "{table}: {:#}", found[table]);
    }
    assert!(found["process"]["pss_bytes"]["missing"].is_string(), "{:#}", found["process"]);
    assert!(figure(&found["process"], "rss_bytes") > 8 * MIB, "what can be seen is: {:#}", found["process"]);
    target.stop().assert_unharmed();
}

#[test]
fn bad_input_is_refused() {
    for (arguments, words) in [
        ("inspect 4194303", ["4194303", "ps -e"]),
        ("inspect 0", ["needed: a process number", ""]),
        ("inspect --growth 0", ["--growth", "greater than zero"]),
        ("inspect --growth -1", ["--growth", "positive"]),
        ("inspect --pss-budget x", ["--pss-budget", "needed"]),
        ("inspect 1 -o /no/such/folder/x", ["cannot be written", "/no/such/folder"]),
    ] {
        leakline(arguments).assert_refused(&words);
    }
}

#[test]
fn sockets_are_told_apart_by_what_they_do() {
    let target = Target::start("c/sockets.c", "");
    let port = target.wait_for("port ");
    let found = leakline(&format!("inspect {} --json", target.pid())).summary();
    let sockets = found["sockets"].as_array().expect("a list");
    let count = |kind: &str, state: &str| -> u64 {
        let of = sockets.iter().filter(|row| row["descriptor_kind"] == kind && row["socket_state"] == state);
        of.map(|row| figure(row, "number")).sum()
    };
    assert_eq!(count("tcp", "listening"), 1, "{sockets:#?}");
    assert_eq!(count("tcp", "close wait"), 3, "the other end gave them up: {sockets:#?}");
    let given_up = row(&found, "sockets", "socket_state", "close wait");
    assert_eq!((&given_up["partner"], &given_up["local"]), (&"127.0.0.1".into(), &format!("127.0.0.1:{port}").into()));
    assert!(count("udp", "unconnected") >= 1, "{sockets:#?}");
    assert!(count("unix socket", "connected") >= 2, "{sockets:#?}");
    let named = sockets.iter().find(|row| row["local"].as_str().is_some_and(|name| name.starts_with("@leakline ")));
    assert_eq!(named.expect("it has a name")["socket_state"], "listening");
    assert_eq!(row(&found, "sockets", "descriptor_kind", "netlink")["local"], "route");
    target.stop().assert_unharmed();
}
