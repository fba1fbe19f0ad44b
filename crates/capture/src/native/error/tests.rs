//! Tests of what a refused attach says, and of what it proposes.

use super::*;

const TARGET: Pid = Pid(42);

/// The fact, then the hint.
#[track_caller]
fn check(error: &AttachError, fact: &str, hint: &str) {
    assert_eq!(error.to_string(), fact);
    assert_eq!(error.hint().as_deref(), Some(hint), "{fact}");
}

#[test]
fn a_process_that_is_not_there_is_looked_up_in_the_list() {
    let list = "list processes with `leakline watch --plain`";
    check(&AttachError::NoSuchProcess(TARGET), "there is no process 42", list);
    check(&AttachError::Vanished(TARGET), "process 42 ended or became another program during the attach", list);
}

#[test]
fn processes_that_cannot_be_attached_to_for_what_they_are() {
    check(&AttachError::Itself(TARGET), "process 42 is leakline itself", "name another process");
    check(
        &AttachError::KernelThread(TARGET),
        "process 42 is a thread of the kernel",
        "kernel memory shows in /proc/slabinfo: no allocator can be hooked there",
    );
    check(
        &AttachError::Zombie(TARGET),
        "process 42 is a zombie: it has ended and has no memory",
        "look at its parent, which has not collected it",
    );
    check(
        &AttachError::ForeignArchitecture { pid: TARGET, found: "a 32-bit program".into() },
        "process 42 runs a 32-bit program, not an x86-64 program",
        "leakline attaches to x86-64 programs; `leakline hunt` still measures growth",
    );
}

#[test]
fn processes_that_somebody_else_holds() {
    check(
        &AttachError::Traced { pid: TARGET, tracer: Pid(7) },
        "process 42 is already traced by process 7",
        "detach the other tracer first (process 7: `ps -fp 7`)",
    );
    check(
        &AttachError::Watched { pid: TARGET, by: Some(Pid(7)) },
        "another leakline (process 7) is attached to process 42",
        "end the other leakline first: `kill -INT 7` lets it detach",
    );
    check(
        &AttachError::Watched { pid: TARGET, by: None },
        "another leakline is attached to process 42",
        "end the other leakline first; it is about to attach, runs in another pid namespace or belongs to another user",
    );
}

#[test]
fn a_step_and_an_allocator_lead_to_the_doctor() {
    check(
        &AttachError::Step { pid: TARGET, step: "map the agent", found: "out of memory".into() },
        "cannot map the agent in process 42: out of memory",
        "`leakline doctor 42` shows what the machine and the target allow",
    );
    check(
        &AttachError::NoAllocator { pid: TARGET, found: "libc.so: no malloc".into(), remedy: None },
        "no allocator to hook in process 42: libc.so: no malloc",
        "install its debug symbols, or put an unstripped copy of it where its debug file belongs; `leakline doctor 42` shows what was looked at",
    );
    let remedy = Some("remove the breakpoint first".into());
    check(
        &AttachError::NoAllocator { pid: TARGET, found: "cannot hook malloc: a breakpoint".into(), remedy },
        "no allocator to hook in process 42: cannot hook malloc: a breakpoint",
        "remove the breakpoint first",
    );
}

#[test]
fn a_function_that_is_not_understood_is_answered_with_the_form() {
    check(
        &AttachError::Functions("expected size=arg1".into()),
        "a function is not described as needed: expected size=arg1",
        "`--alloc fn=NAME,size=argN` and `--free fn=NAME,ptr=argN`",
    );
}

#[test]
fn a_function_that_is_not_there_is_answered_with_names_like_it() {
    let fact = "no symbol table of process 42 names a function `pool_allot`";
    let error = |nearest: &[&str]| AttachError::NoSuchFunction {
        pid: TARGET,
        function: "pool_allot".into(),
        nearest: nearest.iter().map(|name| (*name).to_owned()).collect(),
    };
    check(&error(&["`pool_alloc`", "`pool_allow`"]), fact, "did you mean `pool_alloc` or `pool_allow`?");
    let names = "give the name as `nm` prints it; of a stripped program only exported names are left";
    check(&error(&[]), fact, names);
}

#[test]
fn a_refusal_of_the_kernel_names_its_reason_and_what_lifts_it() {
    let (reason, remedy) = ("kernel.yama.ptrace_scope is 1".to_owned(), "sudo leakline attach 42".to_owned());
    let fact = "the kernel forbids tracing process 42: kernel.yama.ptrace_scope is 1";
    check(&AttachError::Forbidden { pid: TARGET, reason, remedy }, fact, "sudo leakline attach 42");
    let fact = "process 42 cannot be looked up: /proc is not mounted";
    check(&AttachError::NoProc(TARGET), fact, "`mount -t proc proc /proc`");
}

#[test]
fn a_session_that_cannot_be_read_says_why() {
    let error = SessionError::Unreadable("file too short".into());
    assert_eq!(error.to_string(), "the memory shared with the target cannot be read: file too short");
}
