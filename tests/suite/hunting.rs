//! From a machine to the process that grows: `hunt`, `watch` and `doctor` on real processes.
//!
//! Owns: who is accused and who is not, and the screens outside a terminal. Must not know: how growth is judged.

use std::process::Command;

use serde_json::Value;

use crate::command::{Run, Running, assert_frame, leakline, program, site};
use crate::process::cannot_run;
use crate::targets::{Target, line_of};

/// The row of a process.
#[track_caller]
fn row(summary: &Value, pid: u32) -> &Value {
    let rows = summary["processes"].as_array().expect("a list of processes");
    rows.iter().find(|row| row["pid"] == pid).unwrap_or_else(|| panic!("process {pid} is not listed: {summary:#}"))
}

#[test]
fn the_growing_process_is_found_and_its_line_named() {
    let leaky = Target::start("c/leaky.c", "--rate 8192");
    let cache = Target::start("c/cache.c", "--mb 32 --rate 8192");
    let large = Target::start("c/large_idle.c", "--mb 512");
    let pids = format!("--pid {} --pid {} --pid {}", cache.pid(), large.pid(), leaky.pid());
    let run = leakline(&format!("hunt --for 10 --every 0.5 --attach-for 4 --expire 0.5 --json {pids}"));
    run.assert_code(1);
    let summary = run.summary();
    assert_eq!(summary["processes"][0]["pid"], leaky.pid(), "{summary:#}");
    assert_eq!(row(&summary, leaky.pid())["severity"], "leak", "{summary:#}");
    for innocent in [&cache, &large] {
        let severity = &row(&summary, innocent.pid())["severity"];
        assert!(severity != "leak" && severity != "suspect", "an innocent process is accused: {summary:#}");
    }
    let attached = summary["attached"].as_array().expect("the attached processes");
    assert_eq!(attached.len(), 1, "{summary:#}");
    assert_frame(site(&attached[0], 1), "leak_here", "leaky.c", line_of("c/leaky.c", "LEAK-LINE"));
    for target in [leaky, cache, large] {
        target.stop().assert_unharmed();
    }
}

#[test]
fn to_be_large_is_not_to_grow() {
    let large = Target::start("c/large_idle.c", "--mb 1024");
    let run = leakline(&format!("hunt --for 10 --every 0.5 --json --pid {}", large.pid()));
    run.assert_code(0);
    let summary = run.summary();
    assert_eq!(summary["outcome"], "nothing_found", "{summary:#}");
    assert_eq!(summary["attached"].as_array().map(Vec::len), Some(0), "{summary:#}");
    assert!(row(&summary, large.pid())["memory"]["anon_bytes"].as_u64() > Some(1 << 30), "{summary:#}");
}

#[test]
fn a_short_look_does_not_judge() {
    let leaky = Target::start("c/leaky.c", "--rate 8192");
    let run = leakline(&format!("hunt --for 1 --every 0.5 --expire 0.2 --attach never --json --pid {}", leaky.pid()));
    run.assert_code(2);
    assert_eq!(run.summary()["outcome"], "could_not_judge", "{}", run.describe());
}

#[test]
fn the_whole_machine_is_watched_without_itself_or_kernel_threads() {
    let run = leakline("hunt --for 2 --every 0.5 --expire 0.5 --attach never --json");
    let summary = run.summary();
    let rows = summary["processes"].as_array().expect("a list of processes");
    assert!(!rows.is_empty(), "{summary:#}");
    for row in rows {
        assert!(
            !row["arguments"].as_str().unwrap_or("").contains("hunt --for 2 --every 0.5"),
            "it lists itself: {row:#}"
        );
        assert!(row["command"] != "kthreadd" && row["memory"]["rss_bytes"] != 0, "a kernel thread: {row:#}");
    }
}

#[test]
fn a_hunt_reads_as_text_too() {
    let leaky = Target::start("c/leaky.c", "--rate 8192");
    let run = leakline(&format!("hunt --for 10 --every 0.5 --attach-for 3 --expire 0.5 --pid {}", leaky.pid()));
    run.assert_code(1);
    let text = run.lines.join("\n");
    let wanted = format!("leaky.c:{}", line_of("c/leaky.c", "LEAK-LINE"));
    assert!(text.contains(&wanted) && text.contains("leak_here"), "{wanted} is not in {text}");
    assert!(text.contains(&leaky.pid().to_string()), "{text}");
}

#[test]
fn watch_prints_a_table_per_beat() {
    let leaky = Target::start("c/leaky.c", "--rate 4096");
    let run = leakline(&format!("watch --plain --every 0.5 --for 2 --pid {}", leaky.pid()));
    let tables = run.lines.iter().filter(|line| line.contains("PID")).count();
    let rows =
        run.lines.iter().filter(|line| line.split_whitespace().any(|word| word == leaky.pid().to_string())).count();
    assert!(tables >= 3 && rows >= 3, "{:#?}", run.lines);
    let json = leakline(&format!("watch --json --every 0.5 --for 2 --pid {}", leaky.pid()));
    assert_eq!(json.summary()["document"], "beat", "{}", json.describe());
    assert!(json.lines.len() >= 3, "{}", json.describe());
}

#[test]
fn watch_into_a_closed_pipe_ends_quietly() {
    let line =
        format!("'{}' watch --plain --every 0.2 --for 20 | head -1; exit ${{PIPESTATUS[0]}}", program().display());
    let mut shell = Command::new("bash");
    shell.args(["-c", &line]);
    let run = Running::start_command(shell, "watch | head -1").wait();
    run.assert_code(0);
    assert_eq!(run.lines.len(), 1, "{}", run.describe());
    assert!(run.errors.is_empty(), "{}", run.describe());
}

#[test]
fn a_terminal_that_is_too_small_is_told_so() {
    if !std::path::Path::new("/usr/bin/script").exists() {
        return cannot_run("a terminal that is too small", "script(1) is not installed");
    }
    for (columns, rows) in [(20, 4), (1, 1), (80, 24)] {
        let watch = format!("stty cols {columns} rows {rows}; '{}' watch --every 0.2 --for 1", program().display());
        let mut script = Command::new("script");
        script.args(["-qec", &watch, "/dev/null"]);
        let run = Running::start_command(script, "watch in a small terminal").wait();
        assert!(matches!(run.code, Some(0 | 2)), "{columns}×{rows}: {}", run.describe());
        let text = run.lines.join("\n");
        assert!(!text.contains("panicked"), "{columns}×{rows}: {text}");
        assert!(columns != 20 || text.to_lowercase().contains("small"), "{columns}×{rows}: {text}");
    }
}

#[test]
fn doctor_says_what_works() {
    let leaky = Target::start("c/leaky.c", "");
    let verdict = |run: &Run| run.summary()["attach_possible"].as_bool();
    let run = leakline(&format!("doctor {} --json", leaky.pid()));
    assert_eq!(verdict(&run), Some(true), "{}", run.describe());
    assert!(run.lines.join("").contains("functions can be hooked"), "{}", run.describe());
    let machine = leakline("doctor");
    assert!(machine.lines.join("\n").contains("ptrace"), "{}", machine.describe());
    let foreign = Target::start("c/thirty_two.c", "");
    let run = leakline(&format!("doctor {} --json", foreign.pid()));
    assert_eq!(verdict(&run), Some(false), "{}", run.describe());
    assert!(run.lines.join("\n").contains("32"), "{}", run.describe());
}

#[test]
fn manual_and_completions_are_made_from_the_options() {
    for (arguments, wanted) in
        [("man", ".TH"), ("man attach", "expire"), ("completions bash", "complete"), ("--help", "hunt")]
    {
        let run = leakline(arguments);
        run.assert_code(0);
        assert!(run.lines.join("\n").contains(wanted), "{}", run.describe());
    }
}
