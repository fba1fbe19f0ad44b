//! The contract with the target: whatever happens to leakline, the target goes on, and afterwards it is as it was.
//!
//! Owns: rounds of attaches, kills at random instants, children, interrupted calls. Must not know: what is reported.

use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::command::{Running, attach};
use crate::process::{appearance, assert_unchanged, holds_soon, signal, status_line};
use crate::targets::Target;

/// Attaches and detaches, one after the other; `cargo xtask soak` does more.
const ROUNDS: u32 = 100;
/// Kills at random instants; those at named places are in `faults.rs`.
const KILLS: u32 = 300;
/// Pairs of leaklines that start together.
const PAIRS: u32 = 20;
/// A round takes so long here: within it leakline attaches, records, and most times has begun to detach.
const ROUND_MICROSECONDS: u64 = 160_000;

/// How often something is done: as often as `cargo xtask soak` says, or as in every run.
fn how_often(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).ok().and_then(|count| count.parse().ok()).unwrap_or(otherwise)
}

/// The target still does its work; nanoseconds a pair.
#[track_caller]
fn assert_works(target: &mut Target) {
    target.ask("rate", "rate");
    // Other tests run on the same processors: a busy program may not get one for some milliseconds.
    let works = (0..50).any(|_| {
        sleep(Duration::from_millis(20));
        !target.ask("rate", "rate").starts_with("pairs 0 ")
    });
    assert!(works, "the target does nothing any more");
}

#[track_caller]
fn nanoseconds_a_pair(rate: &str) -> f64 {
    rate.split(' ').nth(3).and_then(|word| word.parse().ok()).expect("ns_per_pair")
}

/// Nothing is mapped but what was there; the heap may have grown.
#[track_caller]
fn assert_nothing_left(pid: u32, executable: &[String]) {
    let maps = maps(pid);
    assert!(!maps.contains("leakline"), "{maps}");
    assert_eq!(executables(&maps), executable);
}

fn maps(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("the target's mappings can be read")
}

fn executables(maps: &str) -> Vec<String> {
    maps.lines().filter(|line| line.contains(" r-xp ")).map(str::to_owned).collect()
}

/// Sixteen threads that would notice a changed `errno`, an interrupted call, a stray signal or a lost wake-up.
#[test]
fn a_hundred_rounds_leave_a_busy_program_as_it_was() {
    let mut target = Target::start("c/steady.c", "");
    let (before, executable) = (appearance(target.pid()), executables(&maps(target.pid())));
    let mut turns = 0;
    for round in 0..how_often("LEAKLINE_ROUNDS", ROUNDS) {
        // The search for pointers takes as long as all the rest of a round.
        let survey = if round % 4 == 0 { "end" } else { "never" };
        let run = attach(target.pid(), &format!("--survey {survey} --expire 0.02 --for 0.05"));
        assert!(
            matches!(run.code, Some(0..=2)) && run.summary()["coverage"]["allocations"].as_u64() > Some(0),
            "round {round}: {}",
            run.describe()
        );
        assert_unchanged(&before, &appearance(target.pid()));
        assert_nothing_left(target.pid(), &executable);
        let counts = target.ask("counts", "counts");
        let (changed, turned) = counts.rsplit_once(' ').expect("counts end with the turns");
        assert_eq!(changed, "errno 0 eintr 0 sigchld 0 lost 0 turns", "round {round}");
        let turned: u64 = turned.parse().expect("a number");
        assert!(turned > turns, "round {round}: nobody takes turns any more");
        turns = turned;
    }
    let ended = target.stop();
    ended.assert_unharmed();
    assert!(ended.lines.iter().any(|line| line == "hash ok"), "{:?}", ended.lines);
}

#[test]
fn killed_at_any_instant_the_target_finishes_its_work() {
    let mut random = Random::new();
    let mut target = Target::start("c/churn.c", "--threads 4 --depth 10 --leak 50 --check-full --quiet");
    let before = appearance(target.pid());
    for _ in 0..how_often("LEAKLINE_KILLS", KILLS) {
        let session = Running::start(&format!("attach {} --expire 0.02 --for 0.05 --json", target.pid()));
        sleep(Duration::from_micros(random.below(ROUND_MICROSECONDS)));
        session.kill();
        assert_works(&mut target);
    }
    // The next attach cleans up what the killed ones left, and takes its own hooks out again.
    let run = attach(target.pid(), "--expire 0.1 --for 0.5");
    assert!(run.summary()["coverage"]["allocations"].as_u64() > Some(0), "{}", run.describe());
    assert_unchanged(&before, &appearance(target.pid()));
    assert_works(&mut target);
    let ended = target.stop();
    ended.assert_unharmed();
    assert!(ended.lines.iter().any(|line| line == "hash ok"), "{:?}", ended.lines);
}

#[test]
fn ctrl_c_detaches_and_still_gives_the_summary() {
    let mut target = Target::start("c/churn.c", "--threads 2 --leak 10 --quiet");
    let before = appearance(target.pid());
    for with in [Signal::INT, Signal::TERM] {
        let mut session = Running::start(&format!("attach {} --expire 0.2 --json", target.pid()));
        session.wait_attached();
        sleep(Duration::from_millis(700));
        signal(session.pid(), with);
        let run = session.wait();
        assert_eq!(run.summary()["document"], "attach", "{}", run.describe());
        assert_unchanged(&before, &appearance(target.pid()));
    }
    assert_works(&mut target);
    target.stop().assert_unharmed();
}

#[test]
fn a_closed_output_detaches_quietly() {
    let mut target = Target::start("c/leaky.c", "--rate 8192");
    let before = appearance(target.pid());
    let program = crate::command::program().display().to_string();
    let line =
        format!("'{program}' attach {} --plain --expire 0.2 --for 20 | head -1; exit ${{PIPESTATUS[0]}}", target.pid());
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", &line]);
    let run = Running::start_command(shell, "attach | head -1").wait();
    run.assert_code(0);
    assert_eq!(run.lines.len(), 1, "{}", run.describe());
    assert_unchanged(&before, &appearance(target.pid()));
    target.ask("mark", "marked");
    target.stop().assert_unharmed();
}

#[test]
fn children_of_a_hooked_program_are_unharmed() {
    let target = Target::start("c/forker.c", "");
    let mut allocations = 0;
    for _ in 0..5 {
        let run = attach(target.pid(), "--expire 0.1 --for 0.5");
        allocations += run.summary()["coverage"]["allocations"].as_u64().unwrap_or(0);
    }
    assert!(allocations > 0, "the hooks saw nothing, so that nothing is tested");
    let ended = target.stop();
    ended.assert_unharmed();
    let counts = ended.numbers("children ");
    assert!(counts[0] > 0, "no children, so that nothing is tested");
    assert_eq!(counts[1], 0, "children went wrong: {:?}", ended.lines);
}

/// Attaches so often to a program whose threads sleep in system calls, and counts the interrupted ones.
#[track_caller]
fn assert_no_call_is_interrupted(arguments: &str, rounds: u32) {
    let target = Target::start("c/epoll.c", arguments);
    for _ in 0..rounds {
        attach(target.pid(), "--expire 0.05 --for 0.1").summary();
    }
    let ended = target.stop();
    ended.assert_unharmed();
    for line in ended.lines.iter().filter(|line| line.starts_with("eintr ")) {
        assert!(line.ends_with(" 0"), "{arguments}: a call was interrupted: {:?}", ended.lines);
    }
    assert!(ended.lines.iter().any(|line| line.starts_with("eintr epoll_wait")), "{:?}", ended.lines);
}

#[test]
fn no_system_call_of_the_target_is_interrupted() {
    for arguments in ["--long 0", "--long 1"] {
        assert_no_call_is_interrupted(arguments, 10);
    }
}

/// A thread that gets no processor does not stop in time. It is given up for that try, and yet its call must not end with `EINTR`.
#[test]
fn no_system_call_is_interrupted_where_processors_are_scarce() {
    let busy = Target::start("c/churn.c", "--threads 8 --quiet");
    assert_no_call_is_interrupted("--long 1", 3);
    busy.stop().assert_unharmed();
}

#[test]
fn threads_that_come_and_go_survive_attach_and_detach() {
    let target = Target::start("c/threads.c", "--alive 16");
    // With the first thread that it starts, the C library installs signal handlers of its own.
    assert!(holds_soon(|| status_line(target.pid(), "Threads:") != "1"), "it starts threads");
    sleep(Duration::from_millis(100));
    let before = appearance(target.pid());
    for _ in 0..20 {
        attach(target.pid(), "--expire 0.05 --for 0.1").summary();
    }
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
}

/// A cancelled thread is unwound from wherever it stands, by the program's own unwinder, which knows nothing of the agent.
#[test]
fn threads_that_are_cancelled_run_all_their_destructors() {
    let mut target = Target::start("cpp/cancelled.cpp", "");
    let before = appearance(target.pid());
    let mut session = Running::start(&format!("attach {} --kinds fd --expire 0.1 --for 60 --json", target.pid()));
    session.wait_attached();
    target.ask("mark", "marked");
    sleep(Duration::from_millis(1500));
    target.ask("rest", "resting");
    signal(session.pid(), Signal::INT);
    let summary = session.wait().summary();
    let said = [&summary["target"]["functions"], &summary["notes"]].map(ToString::to_string);
    assert!(said[0].contains("open") && !said[1].contains("stays in the target"), "{said:?}");
    // With its first thread the C library installs signal handlers of its own.
    assert_unchanged(&before.only_code(), &appearance(target.pid()).only_code());
    let ended = target.stop();
    ended.assert_unharmed();
    let [cancelled, unwound, lost] = ended.numbers("cancelled ")[..] else { panic!("{:?}", ended.lines) };
    assert!(cancelled > 0 && cancelled == unwound, "{:?}", ended.lines);
    // What the C library itself lost is not of any site: no call returned it.
    let unseen = summary["losses"]["descriptors_unseen"].as_u64();
    assert!(unseen <= Some(lost), "{unseen:?}: {:?}", ended.lines);
}

#[test]
fn two_sessions_at_once_do_not_mix() {
    let mut target = Target::start("c/churn.c", "--threads 2 --quiet");
    let before = appearance(target.pid());
    let mut first = Running::start(&format!("attach {} --expire 0.3 --for 3 --json", target.pid()));
    first.wait_attached();
    let second = attach(target.pid(), "--expire 0.1 --for 0.5");
    second.assert_refused(&["another leakline"]);
    first.wait().summary();
    assert_unchanged(&before, &appearance(target.pid()));
    assert_works(&mut target);
    target.stop().assert_unharmed();
}

/// Between the first mapping of one and the moment in which it listens, the other must not take it for what a dead one left.
#[test]
fn two_leaklines_that_start_at_the_same_instant_do_no_harm() {
    let mut target = Target::start("c/churn.c", "--threads 4 --depth 10 --leak 50 --check-full --quiet");
    let (before, executable) = (appearance(target.pid()), executables(&maps(target.pid())));
    let mut random = Random::new();
    let (mut refused, mut idle) = (0, Vec::new());
    for round in 0..how_often("LEAKLINE_PAIRS", PAIRS) {
        let line = format!("attach {} --expire 0.02 --for 0.2 --json", target.pid());
        let first = Running::start(&line);
        sleep(Duration::from_micros(random.below(3 * ROUND_MICROSECONDS / 16)));
        let both = [first, Running::start(&line)].map(Running::wait);
        let attached = both.iter().filter(|run| !run.lines.is_empty()).count();
        assert!(attached > 0, "round {round}: nobody attached: {} {}", both[0].describe(), both[1].describe());
        for run in both {
            if run.lines.is_empty() {
                run.assert_refused(&[&target.pid().to_string()]);
                refused += 1;
            } else {
                let recorded = run.summary()["coverage"]["allocations"].as_u64() > Some(0);
                idle.extend((!recorded).then(|| run.describe()));
            }
        }
        assert_unchanged(&before, &appearance(target.pid()));
        assert_nothing_left(target.pid(), &executable);
        assert_works(&mut target);
    }
    assert!(refused > 0, "they never met, so that nothing is tested");
    // On a machine with much else to do the target may once get no processor for so short a time: none of 100 at a load of 20.
    assert!(idle.len() <= 1, "sessions that recorded nothing: {idle:#?}");
    let ended = target.stop();
    ended.assert_unharmed();
    assert!(ended.lines.iter().any(|line| line == "hash ok"), "{:?}", ended.lines);
}

#[test]
fn what_stays_mapped_is_listed() {
    let target = Target::start("c/churn.c", "--threads 2 --quiet");
    let mappings = |pid| maps(pid).matches("leakline").count();
    assert_eq!(mappings(target.pid()), 0);
    let run = attach(target.pid(), "--expire 0.1 --for 0.5");
    let stays = mappings(target.pid());
    let listed = run.summary()["notes"].as_array().map_or(0, Vec::len);
    assert!(stays == 0 || listed > 0, "{stays} mappings stay and nothing says so: {}", run.describe());
    target.stop().assert_unharmed();
}

#[test]
fn a_killed_session_gives_the_target_its_speed_back() {
    let mut target = Target::start("c/churn.c", "--threads 1 --depth 30 --quiet");
    let speed = |target: &mut Target| {
        target.ask("rate", "rate");
        sleep(Duration::from_secs(1));
        nanoseconds_a_pair(&target.ask("rate", "rate"))
    };
    let bare = speed(&mut target);
    let mut session = Running::start(&format!("attach {} --expire 0.1 --json", target.pid()));
    session.wait_attached();
    session.kill();
    sleep(Duration::from_secs(1));
    // Twice is far from the cost of recording nothing; the bench gives the figure itself.
    let after = (0..5).map(|_| speed(&mut target)).fold(f64::INFINITY, f64::min);
    assert!(after <= bare * 2.0, "{bare} ns a pair before, {after} ns after the kill");
    target.stop().assert_unharmed();
}

/// Numbers for the instants of the kills; the seed is printed, and `LEAKLINE_SEED` repeats a run.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
        let seed = std::env::var("LEAKLINE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(now | 1);
        println!("LEAKLINE_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
