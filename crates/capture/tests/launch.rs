//! Programs that are started, hooked before their first instruction, and looked at when they end.
//!
//! Owns: that whole way on real programs. Must not know: what the kinds of leaks are.

#![expect(clippy::expect_used, clippy::panic, reason = "a broken assumption of a helper fails the test that made it")]

use std::ffi::OsString;
use std::time::{Duration, Instant};

use capture::{AttachOptions, Ending, Execution, Heap, Program, Session, attach};
use model::Kinds;

const PATIENCE: Duration = Duration::from_secs(60);

fn options() -> AttachOptions {
    let (expire, alloc, free) = (Duration::from_secs(10), Vec::new(), Vec::new());
    AttachOptions {
        expire,
        depth: 32,
        stacks_max: 1000,
        kinds: Kinds::ALL,
        alloc,
        free,
        modes: capture::Modes::EXACT,
        memory_max: None,
    }
}

#[track_caller]
fn start(words: &[&str]) -> Program {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    let program = Program::start(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    assert!(program.is_waiting() && program.ended().is_none(), "{words:?}");
    program
}

#[track_caller]
fn hooked(program: &mut Program) -> Session {
    let session = attach(program.pid(), &options()).expect("it can be attached to");
    session.open_gate();
    program.release();
    session
}

#[track_caller]
fn ending(session: &Session) -> Ending {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(ending) = session.ending(Duration::from_millis(100)) {
            return ending;
        }
    }
    panic!("it never came to its end")
}

#[track_caller]
fn code(program: &Program) -> Option<i32> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(status) = program.ended() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("it never ended")
}

#[test]
fn every_call_from_the_first_on_is_seen_and_the_memory_is_there_at_the_end() {
    let mut program = start(&["/bin/sh", "-c", "x=1; exit 7"]);
    let mut session = hooked(&mut program);
    assert_eq!(ending(&session), Ending::Exit);
    let snapshot = session.snapshot().expect("readable");
    assert!(snapshot.coverage.allocations > 0 && snapshot.coverage.frees_of_older == 0, "{:?}", snapshot.coverage);
    let live: u64 = snapshot.sites.iter().map(|site| site.live.count).sum();
    let look = |heap: &mut Heap<'_>| (heap.take_blocks(), heap.unreadable());
    let ((blocks, unreadable), _) = session.look(look).expect("it waits");
    assert_eq!(unreadable, 0);
    assert_eq!(blocks.len() as u64, live, "the blocks are those that were counted");
    assert!(blocks.iter().all(|block| block.at.0 % 16 == 0), "{blocks:?}");
    assert_eq!(program.ended(), None, "it waits until it is let through");
    session.pass();
    assert_eq!(code(&program), Some(7));
}

#[test]
fn another_program_in_its_place_waits_as_well_and_a_failed_exec_changes_nothing() {
    let mut program = start(&["/bin/sh", "-c", "exec /bin/sh -c 'exit 3'"]);
    let session = hooked(&mut program);
    assert_eq!(ending(&session), Ending::Execute);
    assert_eq!(session.follow(&mut program).expect("it is followed"), Execution::Waits);
    drop(session);
    let session = hooked(&mut program);
    assert_eq!(ending(&session), Ending::Exit);
    session.pass();
    assert_eq!(code(&program), Some(3));

    let mut program = start(&["/bin/sh", "-c", "exec /no/such/program"]);
    let session = hooked(&mut program);
    match ending(&session) {
        // Some shells look whether the file is there, others try.
        Ending::Execute => {
            assert_eq!(session.follow(&mut program).expect("it is followed"), Execution::Failed);
            assert_eq!(ending(&session), Ending::Exit);
        }
        Ending::Exit => {}
    }
    session.pass();
    assert_eq!(code(&program), Some(127));
}

#[test]
fn a_program_that_is_not_wanted_after_all_is_ended_before_it_began() {
    let mut program = start(&["/bin/sh", "-c", "exit 0"]);
    program.cancel();
    assert_eq!(code(&program), None, "it was killed");
}
