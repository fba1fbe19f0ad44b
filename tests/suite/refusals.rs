//! Bad input: each has a clear message and exit code 2, and leaves the target as it was.
//!
//! Owns: one case for each item of the list of bad input. Must not know: what works.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use crate::command::{Running, attach, leakline, program};
use crate::process::{appearance, assert_unchanged, cannot_run, holds_soon, signal, state, status_line};
use crate::reach::build_as;
use crate::targets::{Target, build, built};

/// Any attach that is allowed ends by itself, so that a missing refusal fails instead of hanging.
const SHORT: &str = "--expire 0.1 --for 0.5";

#[track_caller]
fn check(arguments: &str, words: &[&str]) {
    leakline(arguments).assert_refused(words);
}

#[test]
fn a_number_that_is_no_number() {
    for bad in ["attach 12x", "attach 0", "attach --for", "attach 99999999999999999999"] {
        check(bad, &["error"]);
    }
    check("attach 1 --for soon", &["soon", "--for"]);
    check("attach 1 --expire=-1", &["expire"]);
    check("attach 1 --depth 0", &["depth"]);
    check("hunt --for 10 --every 0", &["every"]);
    check("hunt --attach some", &["--attach"]);
    check("hunt --for 1e309", &["--for"]);
    check("watch --every NaN", &["every"]);
}

#[test]
fn a_filter_on_leakline_itself() {
    let target = Target::start("c/leaky.c", "");
    for command in [format!("attach {} {SHORT}", target.pid()), "run -- /bin/true".to_owned()] {
        let mut filtered = Command::new(build("c/filtered.c"));
        filtered.arg(program()).args(command.split(' '));
        let run = Running::start_command(filtered, &command).wait();
        run.assert_refused(&["a seccomp filter on leakline refuses ptrace", "unconfined"]);
    }
    target.stop().assert_unharmed();
}

#[test]
fn a_pid_that_does_not_exist() {
    let mut child = Command::new("true").spawn().expect("true runs");
    child.wait().expect("it ends");
    check(&format!("attach {} {SHORT}", child.id()), &["no process", &child.id().to_string()]);
}

#[test]
fn a_process_that_exits_during_the_attach() {
    for milliseconds in (1..60).step_by(3) {
        let target = Target::start("c/leaky.c", &format!("--milliseconds {milliseconds}"));
        let run = attach(target.pid(), SHORT);
        assert!(matches!(run.code, Some(0..=2)), "{milliseconds} ms: {}", run.describe());
        // Either it came too late and says so, or it was attached and has a summary.
        if run.lines.is_empty() {
            run.assert_refused(&[&target.pid().to_string()]);
        } else {
            run.summary();
        }
        target.stop_quietly();
    }
}

#[test]
fn a_zombie() {
    // A child that nobody waits for.
    let mut child = Command::new("true").spawn().expect("true runs");
    assert!(holds_soon(|| state(child.id()) == 'Z'));
    check(&format!("attach {} {SHORT}", child.id()), &["zombie"]);
    child.wait().expect("it can still be waited for");
}

#[test]
fn a_kernel_thread() {
    if !fs::read_to_string("/proc/2/comm").is_ok_and(|name| name.trim() == "kthreadd") {
        return cannot_run("a kernel thread", "none is visible in this pid namespace");
    }
    check(&format!("attach 2 {SHORT}"), &["thread of the kernel"]);
}

#[test]
fn a_process_that_is_traced_already() {
    let mut target = Target::start("c/leaky.c", "");
    let mut tracer = Target::start("c/tracer.c", &format!("--pid {}", target.pid()));
    let traced_by = status_line(target.pid(), "TracerPid:");
    assert_eq!(traced_by, tracer.pid().to_string());
    attach(target.pid(), SHORT).assert_refused(&["traced", &traced_by]);
    assert_eq!(status_line(target.pid(), "TracerPid:"), traced_by);
    target.ask("mark", "marked");
    tracer.tell("stop");
    target.stop().assert_unharmed();
}

#[test]
fn a_process_that_is_stopped_while_it_is_recorded() {
    let mut target = Target::start("c/leaky.c", "--rate 4096");
    let before = appearance(target.pid());
    let mut session = Running::start(&format!("attach {} --expire 0.2 --for 2 --json", target.pid()));
    session.wait_attached();
    signal(target.pid(), Signal::STOP);
    let run = session.wait();
    assert!(matches!(run.code, Some(0..=2)), "{}", run.describe());
    // Let go of, it has to run as far as to its stop again; one that was woken would run on.
    assert!(holds_soon(|| state(target.pid()) == 'T'), "the detach has woken it");
    signal(target.pid(), Signal::CONT);
    target.ask("mark", "marked");
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

#[test]
fn a_process_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        return check(&format!("attach 1 {SHORT}"), &["forbids"]);
    }
    let target = Target::start("c/leaky.c", "");
    let before = appearance(target.pid());
    // The build folder may be closed to others.
    let copy = PathBuf::from(format!("/tmp/leakline-suite-{}", std::process::id()));
    fs::copy(program(), &copy).expect("a copy of the program");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("others may run it");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
    command.arg("attach").arg(target.pid().to_string()).args(SHORT.split(' '));
    let run = Running::start_command(command, "attach as another user").wait();
    fs::remove_file(&copy).expect("the copy goes away");
    run.assert_refused(&["forbids"]);
    assert!(run.errors.contains("root") || run.errors.contains("CAP_SYS_PTRACE"), "no advice: {}", run.describe());
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

/// As in a container without `--cap-add=SYS_PTRACE`: even root does not have what the bounding set lacks.
#[test]
fn root_without_the_capability_is_told_how_a_container_gets_it() {
    let target = Target::start("c/leaky.c", "");
    let before = appearance(target.pid());
    let lacking = |words: &str| {
        let mut command = Command::new("setpriv");
        let without = "-sys_ptrace,-sys_admin,-checkpoint_restore";
        command.args([format!("--bounding-set={without}"), format!("--inh-caps={without}")]).arg(program());
        command.args(words.split(' '));
        Running::start_command(command, words).wait()
    };
    let run = lacking(&format!("attach {} {SHORT}", target.pid()));
    if run.errors.contains("setpriv") {
        return cannot_run("root without a capability", "setpriv may not drop it here");
    }
    // In the initial user namespace root is refused; the advice names the tools, whichever runtime this is.
    run.assert_refused(&["forbids tracing", "cap_sys_ptrace", "sys_ptrace"]);
    assert!(
        ["docker run", "podman run", "kubectl debug"].iter().any(|tool| run.errors.contains(tool)),
        "{}",
        run.describe()
    );
    let doctor = lacking(&format!("doctor {} --json", target.pid()));
    doctor.assert_code(2);
    let remedies: Vec<String> = doctor.summary()["checks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|check| check["remedy"].as_str().map(str::to_owned))
        .collect();
    for name in ["SYS_PTRACE", "CHECKPOINT_RESTORE"] {
        assert!(remedies.iter().any(|remedy| remedy.contains(name)), "{name}: {remedies:?}");
    }
    assert!(!remedies.iter().any(|remedy| remedy.starts_with("sudo leakline")), "root has no more: {remedies:?}");
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

#[test]
fn a_machine_without_proc_is_named_as_such() {
    let script = "umount -l /proc && exec \"$0\" attach 1 --for 1";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(program());
    let run = Running::start_command(command, "attach without /proc").wait();
    if run.errors.contains("unshare") || run.errors.contains("umount") {
        return cannot_run("a machine without /proc", "it cannot be unmounted here");
    }
    run.assert_refused(&["/proc is not mounted", "mount -t proc"]);
}

#[test]
fn a_32_bit_process() {
    let mut target = Target::start("c/thirty_two.c", "");
    attach(target.pid(), SHORT).assert_refused(&["32-bit"]);
    target.ask("ping", "alive");
}

#[test]
fn leakline_itself() {
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(format!("exec '{}' attach $$ {SHORT}", program().display()));
    Running::start_command(shell, "attach itself").wait().assert_refused(&["itself"]);
}

#[test]
fn a_program_whose_file_was_replaced() {
    let copy = built().join(format!("replaced-{}", std::process::id()));
    fs::copy(build("c/leaky.c"), &copy).expect("a copy of the target");
    let target = Target::start_program(&copy, "--rate 4096");
    fs::remove_file(&copy).expect("unlinked while it runs");
    fs::write(&copy, b"\x7fELF\x02\x01\x01 and then no program at all").expect("another file of its name");
    let run = attach(target.pid(), "--expire 0.3 --for 2");
    fs::remove_file(&copy).expect("the garbage goes away");
    assert!(matches!(run.code, Some(0..=2)), "{}", run.describe());
    assert!(
        run.summary()["coverage"]["allocations"].as_u64() > Some(0),
        "the running program is intact: {}",
        run.describe()
    );
    target.stop().assert_unharmed();
}

#[test]
fn debug_information_that_is_cut_or_garbage() {
    let stripped = built().join(format!("stripped-{}", std::process::id()));
    let debug = stripped.with_extension("debug");
    run_tool("objcopy", &["--only-keep-debug", path(&build("c/leaky.c")), path(&debug)]);
    run_tool("strip", &["-o", path(&stripped), path(&build("c/leaky.c"))]);
    let whole = fs::read(&debug).expect("debug information");
    let target = Target::start_program(&stripped, "--rate 4096");
    for length in [0, 3, 64, 65, 200, whole.len() / 4, whole.len() / 2, whole.len() - 1] {
        fs::write(&debug, &whole[..length]).expect("a cut file");
        let run = attach(target.pid(), &format!("--expire 0.1 --for 0.5 --debug-file {}", debug.display()));
        assert!(matches!(run.code, Some(0..=2)), "{length} bytes: {}", run.describe());
        run.summary();
    }
    let mut garbage = whole;
    for byte in garbage.iter_mut().skip(64).step_by(7) {
        *byte ^= 0xa5;
    }
    fs::write(&debug, &garbage).expect("a damaged file");
    let run = attach(target.pid(), &format!("--expire 0.1 --for 0.5 --debug-file {}", debug.display()));
    assert!(matches!(run.code, Some(0..=2)), "garbage: {}", run.describe());
    fs::remove_file(&debug).expect("clean up");
    fs::remove_file(&stripped).expect("clean up");
    target.stop().assert_unharmed();
}

#[test]
fn debug_information_from_elsewhere_gives_the_line() {
    let stripped = built().join(format!("elsewhere-{}", std::process::id()));
    let debug = stripped.with_extension("debug");
    run_tool("objcopy", &["--only-keep-debug", path(&build("c/leaky.c")), path(&debug)]);
    run_tool("strip", &["-o", path(&stripped), path(&build("c/leaky.c"))]);
    let target = Target::start_program(&stripped, "--rate 4096");
    let run = attach(target.pid(), &format!("--expire 0.3 --for 2 --debug-file {}", debug.display()));
    let summary = run.summary();
    let line = crate::targets::line_of("c/leaky.c", "LEAK-LINE");
    crate::command::assert_frame(crate::command::site(&summary, 1), "leak_here", "leaky.c", line);
    fs::remove_file(&debug).expect("clean up");
    fs::remove_file(&stripped).expect("clean up");
    target.stop().assert_unharmed();
}

#[test]
fn a_program_that_calls_exec_under_the_hooks() {
    let mut child = shell_that_execs();
    let run = attach(child.id(), "--expire 0.2 --for 8");
    assert!(matches!(run.code, Some(0..=2)), "{}", run.describe());
    let state = run.summary()["target"]["state"].as_str().unwrap_or_default().to_owned();
    assert!(state.contains("exec"), "the summary says {state:?}: {}", run.describe());
    assert!(child.wait().expect("it ends").success(), "the new program was harmed");
}

/// A shell that works for a second and then becomes another program.
fn shell_that_execs() -> Child {
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do sleep 0.1; done; exec sleep 3";
    let child = Command::new("bash").args(["-c", script]).stdout(Stdio::null()).spawn().expect("bash runs");
    sleep(Duration::from_millis(100));
    child
}

fn path(path: &std::path::Path) -> &str {
    path.to_str().expect("build folders have plain names")
}

#[track_caller]
fn run_tool(tool: &str, arguments: &[&str]) {
    let output = Command::new(tool).args(arguments).output().unwrap_or_else(|error| panic!("{tool}: {error}"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_program_without_any_malloc_is_told_why() {
    for (flags, words) in [
        ("", ["static", "none of its functions is called malloc"]),
        ("-DGO ", ["the go heap", "go tool pprof"]),
        ("-s ", ["static and stripped", "no debug file"]),
    ] {
        let name = format!("own-heap{}", flags.trim());
        let words_of_compiler = format!("gcc -O2 {flags}-static -nostdlib -Wl,--build-id SOURCE");
        let target = Target::start_program(&build_as(&name, "reach/own_heap.c", &words_of_compiler), "");
        let before = appearance(target.pid());
        attach(target.pid(), SHORT).assert_refused(&words);
        assert_unchanged(&before, &appearance(target.pid()));
        target.stop_quietly();
    }
}
