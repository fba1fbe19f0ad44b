//! The conditions that one process meets or not.
//!
//! Owns: the judgement of [`Target`]. Must not know: where its facts come from, so that every case is tested as text.

use model::{Bytes, Pid};

use super::Condition;
use super::binary::{Binary, Debugging};
use super::facts::{Access, Allocator, Machine, Target, Unhookable};
use super::remedies::{Capability, as_root, how_to_get, how_to_lift_filter};

/// Address space that the tables of a session reserve (275 GiB with glibc, of which little is touched), and some room.
const ADDRESS_SPACE_NEEDED: Bytes = Bytes(300 << 30);
/// From this share of its address space on, locked memory means `mlockall`: new mappings are locked and filled too.
const LOCKED_SHARE: u64 = 2;
/// Modules without debug information that are named before the rest is only counted.
const MODULES_NAMED: usize = 5;

/// The one condition of a process that is not there.
pub(super) fn absent(pid: Pid) -> Condition {
    Condition::unmet("process", format!("there is no process {pid}"), "a running process")
        .remedied("leakline hunt finds the process that grows")
}

/// All conditions of a process, in the order in which they matter.
pub(super) fn judge(machine: &Machine, target: &Target) -> Vec<Condition> {
    let mut conditions = vec![process(target), state(target), tracer(target), access(machine, target)];
    if target.kernel_thread {
        return conditions; // It has no program, so that nothing of what follows can be read.
    }
    conditions.push(dumpable(machine, target));
    conditions.push(seccomp(machine, target));
    conditions.push(namespaces(target));
    conditions.push(program(target));
    conditions.push(allocator(target));
    conditions.push(locked(target));
    conditions.push(address_space(machine, target));
    conditions.push(debug_information(target));
    conditions
}

fn process(target: &Target) -> Condition {
    const NAME: &str = "process";
    if target.ours {
        return Condition::unmet(NAME, "it is leakline itself", "another process");
    }
    if target.kernel_thread {
        return Condition::unmet(NAME, "it is a thread of the kernel", "a process with memory of its own");
    }
    let threads = match target.threads {
        Some(1) => "1 thread".to_owned(),
        Some(count) => format!("{count} threads"),
        None => "an unknown number of threads".to_owned(),
    };
    Condition::met(NAME, format!("{} ({threads})", target.command))
}

/// Letters as in proc(5).
fn state(target: &Target) -> Condition {
    const NAME: &str = "state";
    match target.state {
        Some('R' | 'S' | 'I') => Condition::met(NAME, "running or waiting"),
        Some('D') => {
            Condition::limited(NAME, "D: waits for a device", "a thread that answers; the attach waits a moment")
        }
        Some('T') => {
            Condition::limited(NAME, "T: stopped by a signal", "a process that runs: this one allocates nothing")
                .remedied(format!("kill -CONT {}", target.pid))
        }
        Some('t') => Condition::unmet(NAME, "t: stopped by a debugger", "a running process"),
        Some('Z') => Condition::unmet(NAME, "Z: it has ended and waits for its parent", "a running process"),
        Some('X' | 'x') => Condition::unmet(NAME, "X: it is ending", "a running process"),
        Some(letter) => Condition::unknown(NAME, letter.escape_default().to_string(), "a state that proc(5) describes"),
        None => Condition::unknown(NAME, "/proc/PID/status does not say", "State"),
    }
}

fn tracer(target: &Target) -> Condition {
    const NAME: &str = "tracer";
    match target.tracer {
        Some(0) => Condition::met(NAME, "none"),
        Some(tracer) => {
            Condition::unmet(NAME, format!("process {tracer} traces it"), "no tracer: there can be only one")
                .remedied(format!("detach the debugger or strace: ps -p {tracer}"))
        }
        None => Condition::unknown(NAME, "/proc/PID/status does not say", "TracerPid"),
    }
}

/// The kernel's own answer: opening `/proc/PID/mem` asks exactly the question that an attach will ask.
fn access(machine: &Machine, target: &Target) -> Condition {
    const NAME: &str = "permission";
    match &target.access {
        Access::Allowed => Condition::met(NAME, "the kernel lets us attach"),
        Access::Denied => {
            let (reason, remedy) = why_denied(machine, target);
            Condition::unmet(NAME, format!("the kernel refuses: {reason}"), "permission to attach").remedied(remedy)
        }
        // Threads of the kernel have no memory to open, and so have processes that are ending.
        Access::Failed(_) if target.kernel_thread => {
            Condition::unmet(NAME, "it has no memory", "a process with memory")
        }
        Access::Failed(error) => Condition::unknown(NAME, error.clone(), "an answer of the kernel"),
    }
}

/// Why a process that is there is not in `/proc`, and what lifts that.
pub(super) fn why_hidden(machine: &Machine, pid: Pid) -> (String, String) {
    let value = machine.hidepid.as_deref().unwrap_or("?");
    let remedy = how_to_get(machine, Capability::PTRACE, &format!("leakline attach {pid}"));
    (format!("/proc is mounted with hidepid={value}, which hides it"), remedy)
}

/// What a process that may be traced is kept from by a filter on leakline itself, and what lifts it.
pub(super) fn why_filtered(machine: &Machine) -> (String, String) {
    ("a seccomp filter on leakline refuses ptrace".to_owned(), how_to_lift_filter(machine))
}

/// The most likely reason of a refusal, and what lifts it.
pub(super) fn why_denied(machine: &Machine, target: &Target) -> (String, String) {
    let command = format!("leakline attach {}", target.pid);
    let with_it = how_to_get(machine, Capability::PTRACE, &command);
    if machine.capable(Capability::PTRACE) == Some(true) {
        // In a user namespace of our own the capability is no more than that; of the target's namespace we are often told nothing.
        let is_foreign = match target.same_user_namespace {
            Some(same) => !same,
            None => machine.initial_user_namespace == Some(false),
        };
        if is_foreign {
            return (
                "it lives outside of our user namespace, in which alone our CAP_SYS_PTRACE counts".to_owned(),
                "run leakline on the host, where processes may have other numbers: sudo leakline hunt".to_owned(),
            );
        }
        return (
            "in spite of CAP_SYS_PTRACE, so that a security module (AppArmor, SELinux, Yama) decides".to_owned(),
            "look for the refusal in: journalctl -k | grep -E 'apparmor|avc|ptrace'".to_owned(),
        );
    }
    if target.same_user == Some(false) {
        return ("it belongs to another user".to_owned(), with_it);
    }
    if target.dumpable == Some(false) {
        return ("it is not dumpable (it changed its user, or asked for it: PR_SET_DUMPABLE)".to_owned(), with_it);
    }
    match machine.ptrace_scope {
        Some(scope @ 1) => (
            format!("kernel.yama.ptrace_scope is {scope}"),
            format!("{}, or: {with_it}", as_root(machine, Capability::ADMIN, "sysctl kernel.yama.ptrace_scope=0")),
        ),
        Some(scope @ 2..) => (format!("kernel.yama.ptrace_scope is {scope}"), with_it),
        Some(0) | None => ("CAP_SYS_PTRACE is absent".to_owned(), with_it),
    }
}

fn dumpable(machine: &Machine, target: &Target) -> Condition {
    const NAME: &str = "dumpable";
    match target.dumpable {
        Some(true) => Condition::met(NAME, "yes"),
        Some(false) if machine.capable(Capability::PTRACE) == Some(true) => {
            Condition::met(NAME, "no, which CAP_SYS_PTRACE lifts")
        }
        Some(false) => Condition::unmet(NAME, "no: it changed its user or asked for it", "CAP_SYS_PTRACE")
            .remedied(how_to_get(machine, Capability::PTRACE, &format!("leakline attach {}", target.pid))),
        // For a process of root both answers look alike, and root needs no answer.
        None => Condition::met(NAME, "it runs as root, where it makes no difference"),
    }
}

fn seccomp(machine: &Machine, target: &Target) -> Condition {
    const NAME: &str = "seccomp";
    let lifted = machine.capable(Capability::ADMIN) == Some(true) && machine.seccomp == Some(0);
    match target.seccomp {
        Some(0) => Condition::met(NAME, "none"),
        Some(1) => Condition::unmet(NAME, "strict: it may only read, write and exit", "a process that may map memory"),
        Some(_) if lifted => Condition::met(NAME, "a filter, which CAP_SYS_ADMIN suspends during the attach"),
        Some(_) => Condition::limited(
            NAME,
            "a filter",
            "a filter that lets memfd_create, mmap, munmap and close pass, or CAP_SYS_ADMIN to suspend it",
        )
        .remedied(how_to_get(machine, Capability::ADMIN, &format!("leakline attach {}", target.pid))),
        None => Condition::unknown(NAME, "/proc/PID/status does not say", "Seccomp"),
    }
}

fn namespaces(target: &Target) -> Condition {
    const NAME: &str = "namespaces";
    match target.other_namespaces.as_deref() {
        Some([]) => Condition::met(NAME, "the same as ours"),
        Some(names) => Condition::met(
            NAME,
            format!("its own: {}; files are read through /proc/{}/root", names.join(", "), target.pid),
        ),
        None => Condition::unknown(NAME, "/proc/PID/ns cannot be read", "permission to attach"),
    }
}

fn program(target: &Target) -> Condition {
    const NAME: &str = "program";
    let binary = match &target.program {
        Ok(binary) => binary,
        Err(error) => return Condition::unknown(NAME, error.clone(), "a readable ELF file"),
    };
    match (binary.bits, binary.machine, binary.dynamic) {
        (64, Binary::X86_64, true) => Condition::met(NAME, "x86-64, dynamically linked"),
        (64, Binary::X86_64, false) => Condition::met(NAME, "x86-64, statically linked"),
        (32, ..) => Condition::unmet(NAME, "a 32-bit program", "a 64-bit program for x86-64"),
        (bits, machine, _) => Condition::unmet(
            NAME,
            format!("a {bits}-bit program for another processor (ELF machine {machine})"),
            "a 64-bit program for x86-64",
        ),
    }
}

fn allocator(target: &Target) -> Condition {
    const NAME: &str = "allocator";
    match (&target.allocator, &target.hooks) {
        (Some((Allocator::Sanitizer, path)), _) => Condition::unmet(
            NAME,
            format!("a sanitizer ({path})"),
            "a program without one: it replaces the allocator and finds leaks itself when the program ends",
        ),
        (_, Some(Ok(hooks))) => Condition::met(NAME, hooks.clone()),
        (_, Some(Err(Unhookable { found, remedy: Some(remedy) }))) => {
            Condition::unmet(NAME, found.clone(), "allocator functions that can be hooked").remedied(remedy.clone())
        }
        (_, Some(Err(Unhookable { found, remedy: None }))) => {
            Condition::unmet(NAME, found.clone(), "allocator functions whose names are known")
                .remedied("install the debug symbols of the program, or name its functions with --alloc and --free")
        }
        (Some((Allocator::Glibc, path)), None) => Condition::met(NAME, format!("glibc ({path})")),
        (Some((Allocator::Other, path)), None) => Condition::met(NAME, path.clone()),
        (None, None) => Condition::unknown(NAME, "the process cannot be looked into", "permission to attach"),
    }
}

fn locked(target: &Target) -> Condition {
    const NAME: &str = "mlockall";
    match (target.locked, target.size) {
        (Some(Bytes(locked)), Some(Bytes(size))) if locked > 0 && locked >= size / LOCKED_SHARE => Condition::limited(
            NAME,
            format!("{} of {} are locked", Bytes(locked), Bytes(size)),
            "no lock on future memory: a process that called mlockall(MCL_FUTURE) cannot be attached to",
        ),
        (Some(Bytes(0)), _) => Condition::met(NAME, "no memory is locked"),
        (Some(locked), _) => Condition::met(NAME, format!("{locked} are locked")),
        (None, _) => Condition::unknown(NAME, "/proc/PID/status does not say", "VmLck"),
    }
}

fn address_space(machine: &Machine, target: &Target) -> Condition {
    const NAME: &str = "address space";
    match target.address_space_limit {
        None => Condition::met(NAME, "unlimited"),
        Some(limit) if limit >= ADDRESS_SPACE_NEEDED => Condition::met(NAME, format!("limited to {limit}")),
        Some(limit) => Condition::unmet(
            NAME,
            format!("limited to {limit}"),
            format!("{ADDRESS_SPACE_NEEDED}, of which little is touched"),
        )
        .remedied(as_root(
            machine,
            Capability::RESOURCE,
            &format!("prlimit --pid {} --as=unlimited", target.pid),
        )),
    }
}

/// Which modules will be shown without lines; that costs names, never the attach.
fn debug_information(target: &Target) -> Condition {
    const NAME: &str = "debug information";
    let Some(modules) = &target.modules else {
        return Condition::unknown(NAME, "/proc/PID/maps cannot be read", "permission to attach");
    };
    if modules.is_empty() {
        return Condition::unknown(NAME, "none of its modules can be read", "readable ELF files");
    }
    let lacking: Vec<_> = modules.iter().filter(|module| module.debugging != Debugging::Lines).collect();
    if lacking.is_empty() {
        return Condition::met(NAME, format!("in all {} modules", modules.len()));
    }
    let mut names: Vec<_> = lacking
        .iter()
        .take(MODULES_NAMED)
        .map(|module| match module.debugging {
            Debugging::Symbols => format!("{} (function names only)", module.path),
            Debugging::Nothing | Debugging::Lines => format!("{} (stripped)", module.path),
        })
        .collect();
    if lacking.len() > MODULES_NAMED {
        names.push(format!("{} more", lacking.len() - MODULES_NAMED));
    }
    Condition::limited(NAME, format!("absent in {}", names.join(", ")), "line numbers in stacks through these modules")
        .remedied("install the -dbgsym or -debuginfo packages, or name their place with --debug-dir")
}

#[cfg(test)]
mod tests {
    use super::super::binary::Module;
    use super::*;

    /// The state of one condition of a process, then what is found, and the remedy.
    #[track_caller]
    fn check(machine: &Machine, target: &Target, name: &str, wanted: &str) {
        let conditions = judge(machine, target);
        let condition = conditions.iter().find(|condition| condition.name == name).expect("a condition of that name");
        let found =
            format!("{:?}: {} | {}", condition.state, condition.found, condition.remedy.as_deref().unwrap_or("-"));
        assert!(found.starts_with(wanted) || found.ends_with(wanted), "wanted {wanted}, found {found}");
    }

    fn root() -> Machine {
        Machine { capabilities: Some(u64::MAX), seccomp: Some(0), ..Machine::default() }
    }

    fn user() -> Machine {
        Machine { capabilities: Some(0), seccomp: Some(0), ..Machine::default() }
    }

    fn server() -> Target {
        Target { command: "server".to_owned(), ..Target::ordinary(Pid(42)) }
    }

    #[test]
    fn an_ordinary_process_meets_all() {
        let unmet: Vec<_> = judge(&root(), &server()).into_iter().filter(|each| !each.needed.is_empty()).collect();
        assert!(unmet.is_empty(), "{unmet:?}");
        check(&root(), &server(), "process", "Met: server (4 threads)");
    }

    #[test]
    fn states_are_told_apart() {
        let with = |letter| Target { state: Some(letter), ..server() };
        check(&root(), &with('S'), "state", "Met");
        check(&root(), &with('Z'), "state", "Unmet: Z: it has ended");
        check(&root(), &with('T'), "state", "Limited: T: stopped by a signal | kill -CONT 42");
        check(&root(), &with('t'), "state", "Unmet: t: stopped by a debugger");
        check(&root(), &with('D'), "state", "Limited");
        check(&root(), &with('\x1b'), "state", "Unknown: \\u{1b}");
    }

    #[test]
    fn only_one_tracer() {
        check(&root(), &Target { tracer: Some(7), ..server() }, "tracer", "Unmet: process 7 traces it");
        check(&root(), &Target { tracer: None, ..server() }, "tracer", "Unknown");
    }

    #[test]
    fn a_thread_of_the_kernel_has_nothing_to_attach_to() {
        let thread = Target { kernel_thread: true, access: Access::Failed("nothing".to_owned()), ..server() };
        check(&root(), &thread, "process", "Unmet: it is a thread of the kernel");
        check(&root(), &thread, "permission", "Unmet: it has no memory");
        assert!(judge(&root(), &thread).iter().all(|condition| condition.name != "program"));
    }

    #[test]
    fn a_refusal_names_its_reason_and_what_lifts_it() {
        let denied = || Target { access: Access::Denied, ..server() };
        let scope = |scope| Machine { ptrace_scope: Some(scope), ..user() };
        check(&user(), &Target { same_user: Some(false), ..denied() }, "permission", "| sudo leakline attach 42");
        check(
            &user(),
            &Target { dumpable: Some(false), ..denied() },
            "permission",
            "Unmet: the kernel refuses: it is not",
        );
        check(
            &scope(1),
            &denied(),
            "permission",
            "| sudo sysctl kernel.yama.ptrace_scope=0, or: sudo leakline attach 42",
        );
        check(
            &scope(2),
            &denied(),
            "permission",
            "Unmet: the kernel refuses: kernel.yama.ptrace_scope is 2 | sudo leakline",
        );
        check(&root(), &denied(), "permission", "Unmet: the kernel refuses: in spite of CAP_SYS_PTRACE");
        let hidden = Machine { hidepid: Some("2".to_owned()), ..user() };
        let (reason, remedy) = why_hidden(&hidden, Pid(42));
        assert_eq!(
            (reason.as_str(), remedy.as_str()),
            ("/proc is mounted with hidepid=2, which hides it", "sudo leakline attach 42")
        );
        let elsewhere = Target { same_user_namespace: Some(false), ..denied() };
        check(&root(), &elsewhere, "permission", "Unmet: the kernel refuses: it lives outside of our user namespace");
        check(&root(), &elsewhere, "permission", "where processes may have other numbers: sudo leakline hunt");
        let inside = Machine { initial_user_namespace: Some(false), ..root() };
        let unseen = Target { same_user_namespace: None, ..denied() };
        check(&inside, &unseen, "permission", "Unmet: the kernel refuses: it lives outside of our user namespace");
        check(&inside, &denied(), "permission", "Unmet: the kernel refuses: in spite of CAP_SYS_PTRACE");
        check(&root(), &unseen, "permission", "Unmet: the kernel refuses: in spite of CAP_SYS_PTRACE");
        let docker = Machine { container: Some("docker".to_owned()), bounding: Some(0), ..user() };
        check(&docker, &denied(), "permission", "or on its host: sudo leakline attach 42");
    }

    #[test]
    fn filters_of_system_calls() {
        let with = |mode| Target { seccomp: Some(mode), ..server() };
        check(&root(), &with(0), "seccomp", "Met: none");
        check(&root(), &with(1), "seccomp", "Unmet: strict");
        check(&root(), &with(2), "seccomp", "Met: a filter, which CAP_SYS_ADMIN suspends");
        check(&user(), &with(2), "seccomp", "Limited: a filter");
        check(&Machine { seccomp: Some(2), ..root() }, &with(2), "seccomp", "Limited: a filter");
    }

    #[test]
    fn programs_that_cannot_be_hooked() {
        let with = |bits, machine, dynamic| Target {
            program: Ok(Binary { bits, machine, dynamic, debugging: Debugging::Lines, build_id: None }),
            ..server()
        };
        check(&root(), &with(64, 62, true), "program", "Met");
        check(&root(), &with(64, 62, false), "program", "Met: x86-64, statically linked");
        check(&root(), &with(32, 3, true), "program", "Unmet: a 32-bit program");
        check(
            &root(),
            &with(64, 183, true),
            "program",
            "Unmet: a 64-bit program for another processor (ELF machine 183)",
        );
        check(&root(), &Target { program: Err("cut".to_owned()), ..server() }, "program", "Unknown: cut");
    }

    #[test]
    fn allocators_are_named() {
        let with = |allocator, hooks| Target { allocator, hooks, ..server() };
        let named = |kind, name: &str| Some((kind, name.to_owned()));
        let sanitizer = with(named(Allocator::Sanitizer, "libasan.so"), server().hooks);
        check(&root(), &sanitizer, "allocator", "Unmet: a sanitizer");
        check(&root(), &with(named(Allocator::Other, "jemalloc"), None), "allocator", "Met: jemalloc");
        check(&root(), &with(None, server().hooks), "allocator", "Met: glibc (/lib/libc.so.6); 9 functions");
        let refused = |found: &str, remedy: Option<&str>| {
            with(None, Some(Err(Unhookable { found: found.to_owned(), remedy: remedy.map(str::to_owned) })))
        };
        let stripped = refused("it is static and stripped", None);
        check(&root(), &stripped, "allocator", "Unmet: it is static and stripped | install the debug symbols");
        let go = refused("the Go heap", Some("go tool pprof"));
        check(&root(), &go, "allocator", "Unmet: the Go heap | go tool pprof");
        check(&root(), &with(None, None), "allocator", "Unknown");
    }

    #[test]
    fn limits_of_its_memory() {
        let with = |locked| Target { locked: Some(Bytes(locked)), size: Some(Bytes(1000)), ..server() };
        check(&root(), &with(0), "mlockall", "Met: no memory");
        check(&root(), &with(100), "mlockall", "Met: 100 B are locked");
        check(&root(), &with(900), "mlockall", "Limited: 900 B of 1000 B are locked");
        let limited = Target { address_space_limit: Some(Bytes(1 << 30)), ..server() };
        check(&root(), &limited, "address space", "Unmet: limited to 1.00 GiB | sudo prlimit --pid 42 --as=unlimited");
    }

    #[test]
    fn modules_without_lines_are_named_and_the_rest_is_counted() {
        let module = |index: usize, debugging| Module { path: format!("lib{index}.so"), debugging };
        let all =
            |debugging| Target { modules: Some((0..7).map(|index| module(index, debugging)).collect()), ..server() };
        check(&root(), &all(Debugging::Lines), "debug information", "Met: in all 7 modules");
        check(
            &root(),
            &all(Debugging::Symbols),
            "debug information",
            "Limited: absent in lib0.so (function names only), lib1",
        );
        let conditions = judge(&root(), &all(Debugging::Nothing));
        let found = &conditions.last().expect("it is the last").found;
        assert!(found.ends_with("lib4.so (stripped), 2 more"), "{found}");
    }

    #[test]
    fn other_namespaces_are_no_obstacle() {
        let container = Target { other_namespaces: Some(vec!["mnt", "pid"]), ..server() };
        check(&root(), &container, "namespaces", "Met: its own: mnt, pid; files are read through /proc/42/root");
    }

    #[test]
    fn limits_are_compared_to_the_byte() {
        let locked = |locked, size| Target { locked: Some(Bytes(locked)), size: Some(Bytes(size)), ..server() };
        let least = 1000_u64.div_ceil(LOCKED_SHARE);
        check(&root(), &locked(least, 1000), "mlockall", "Limited");
        check(&root(), &locked(1000 / LOCKED_SHARE - 1, 1000), "mlockall", "Met");
        check(&root(), &locked(0, 0), "mlockall", "Met: no memory is locked");
        check(&root(), &Target { locked: None, ..server() }, "mlockall", "Unknown: /proc/PID/status does not say");
        let limited = |limit| Target { address_space_limit: Some(Bytes(limit)), ..server() };
        check(&root(), &limited(ADDRESS_SPACE_NEEDED.0), "address space", "Met: limited to");
        check(&root(), &limited(ADDRESS_SPACE_NEEDED.0 - 1), "address space", "Unmet: limited to");
        check(&root(), &server(), "address space", "Met: unlimited");
    }

    #[test]
    fn a_process_that_is_not_dumpable_needs_the_capability() {
        let with = |dumpable| Target { dumpable, ..server() };
        check(&user(), &with(Some(true)), "dumpable", "Met: yes");
        check(
            &user(),
            &with(Some(false)),
            "dumpable",
            "Unmet: no: it changed its user or asked for it | sudo leakline",
        );
        check(&root(), &with(Some(false)), "dumpable", "Met: no, which CAP_SYS_PTRACE lifts");
        check(&user(), &with(None), "dumpable", "Met: it runs as root");
    }

    #[test]
    fn the_filter_is_only_suspended_by_one_who_has_none() {
        let filtered = Target { seccomp: Some(2), ..server() };
        let only = |bit: u32| Machine { capabilities: Some(1 << bit), ..user() };
        check(&only(21), &filtered, "seccomp", "Met: a filter, which CAP_SYS_ADMIN suspends");
        check(&only(19), &filtered, "seccomp", "Limited: a filter | sudo leakline attach 42");
        check(&Machine { seccomp: None, ..root() }, &filtered, "seccomp", "Limited");
        check(&Machine { capabilities: None, ..root() }, &filtered, "seccomp", "Limited");
        check(&root(), &Target { seccomp: None, ..server() }, "seccomp", "Unknown: /proc/PID/status does not say");
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_not_met() {
        let blind = Target { other_namespaces: None, modules: None, allocator: None, hooks: None, ..server() };
        for name in ["namespaces", "debug information", "allocator"] {
            check(&root(), &blind, name, "Unknown");
        }
        check(&root(), &server(), "namespaces", "Met: the same as ours");
        check(&root(), &server(), "allocator", "Met: glibc (/lib/libc.so.6)");
        check(&root(), &server(), "tracer", "Met");
    }

    #[test]
    fn five_modules_are_named_before_the_rest_is_counted() {
        let module = |index: usize| Module { path: format!("m{index}"), debugging: Debugging::Nothing };
        let with = |count: usize| Target { modules: Some((0..count).map(module).collect()), ..server() };
        let start = "Limited: absent in m0 (stripped), m1 (stripped), m2 (stripped), m3 (stripped), m4 (stripped)";
        check(&root(), &with(1), "debug information", "Limited: absent in m0 (stripped) | install the -dbgsym");
        check(&root(), &with(5), "debug information", &format!("{start} | install"));
        check(&root(), &with(6), "debug information", &format!("{start}, 1 more | install"));
    }
}
