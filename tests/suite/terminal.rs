//! The screens in a real terminal: what is left in a target when the terminal goes away.
//!
//! Owns: keys, sizes, hanging up. Must not know: what is on a screen.

use std::process::Command;

use rustix::process::Signal;

use crate::command::{Running, program};
use crate::process::{appearance, assert_unchanged, cannot_run, holds_soon, signal, state};
use crate::shell::Shell;
use crate::targets::Target;

/// The process that attaches to a target with a screen, once its hooks are in; none while there is none.
fn attacher_of(target: u32) -> Option<u32> {
    let words = format!("attach\0{target}\0");
    let entries = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(|pid: &u32| {
        let of = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        String::from_utf8_lossy(&of("cmdline")).contains(&words) && of("comm").starts_with(b"leakline")
    })
}

fn is_hooked(target: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{target}/maps")).is_ok_and(|maps| maps.contains("memfd:leakline"))
}

/// Attaches with a screen in a terminal of its own, and takes the terminal away.
fn hang_up(case: &str, by: &str) {
    if !std::path::Path::new("/usr/bin/script").exists() {
        return cannot_run(case, "script(1) is not installed");
    }
    let target = Target::start("c/leaky.c", "");
    let before = appearance(target.pid());
    let attach = format!("stty cols 100 rows 30; {by} '{}' attach {}", program().display(), target.pid());
    let mut script = Command::new("script");
    script.args(["-qec", &attach, "/dev/null"]);
    let terminal = Running::start_command(script, case);
    assert!(holds_soon(|| is_hooked(target.pid()) && attacher_of(target.pid()).is_some()), "{case}: it never attached");
    let attacher = attacher_of(target.pid()).expect("it was there");
    signal(terminal.pid(), Signal::KILL);
    assert!(holds_soon(|| matches!(state(attacher), '?' | 'Z')), "{case}: it goes on without a terminal");
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

#[test]
fn an_attach_whose_terminal_is_closed_takes_its_hooks_out() {
    hang_up("a terminal that is closed", "exec");
}

#[test]
fn it_does_so_without_the_signal_as_well() {
    hang_up("a terminal that is closed, with no signal", "setsid -w");
}

#[test]
fn keys_at_once_and_new_sizes_leave_the_next_key_its_meaning() {
    let Some(mut shell) = Shell::start() else { return };
    let target = Target::start("c/leaky.c", "");
    shell.resize(100, 30);
    shell.type_line(&format!("{} attach {}", program().display(), target.pid()));
    shell.wait_for("Allocator");
    for (columns, rows) in [(80, 24), (120, 40), (90, 30)] {
        // Two keys in one piece are read as one and told as two.
        shell.press("jk");
        shell.resize(columns, rows);
    }
    shell.press("?");
    shell.wait_for("any key closes");
    shell.press("xq");
    shell.wait_for("Result");
    shell.wait_for("PROMPT> ");
    target.stop().assert_unharmed();
}

#[test]
fn the_key_of_the_survey_tells_lost_from_held_on_the_screen() {
    let Some(mut shell) = Shell::start() else { return };
    let target = Target::start("c/fates.c", "");
    let attach = |expire: &str| format!("{} attach {} -e {expire} --survey never", program().display(), target.pid());
    shell.resize(160, 50);
    shell.type_line(&attach("600"));
    shell.wait_for("Allocator");
    shell.press("l");
    shell.wait_for_screen("nothing to look for");
    shell.press("q");
    shell.wait_for("PROMPT> ");
    shell.type_line(&attach("0.3"));
    shell.wait_for("Allocator");
    shell.wait_for_screen("leak found so far");
    shell.press("l");
    shell.wait_for_screen("of memory, twice: ");
    shell.press("q");
    let summary = shell.wait_for("PROMPT> ");
    // A stale word may keep one of the lost ones, which makes them "partly lost".
    assert!(summary.contains("lost: fates.c") && summary.contains("leaking, held: fates.c"), "{summary}");
    target.stop().assert_unharmed();
}
