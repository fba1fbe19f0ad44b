//! The conditions that this machine and our own privileges meet or not.
//!
//! Owns: the judgement of [`Machine`]. Must not know: where its facts come from, so that every case is tested as text.

use model::{Bytes, Reading};

use super::Condition;
use super::facts::Machine;
use super::remedies::{Capability, as_root, how_to_get, how_to_lift_filter};

/// Oldest kernel with everything that an attach uses: `MADV_WIPEONFORK` came with 4.14, the rest is older.
const KERNEL_NEEDED: (u32, u32) = (4, 14);
/// Below this much free memory the tables of a session could be what brings the machine down.
const HEADROOM: Bytes = Bytes(256 << 20);

/// All conditions of the machine, in the order in which they matter.
pub(super) fn judge(machine: &Machine) -> Vec<Condition> {
    let mut conditions = vec![
        architecture(std::env::consts::ARCH),
        kernel(machine.kernel.as_deref()),
        ptrace_scope(machine),
        ptrace_capability(machine),
        seccomp_of_ours(machine),
        memfd(machine),
        visibility(machine),
        names_of_deleted_files(machine),
        headroom(machine.memory_available),
    ];
    conditions.extend(selinux(machine));
    conditions.extend(machine.container.as_deref().map(|kind| Condition::met("container", format!("inside {kind}"))));
    conditions
}

fn architecture(ours: &str) -> Condition {
    if ours == "x86_64" {
        Condition::met("architecture", ours)
    } else {
        Condition::unmet("architecture", ours, "x86_64: hooks are not written for other processors yet")
    }
}

fn kernel(release: Option<&str>) -> Condition {
    let Some(release) = release else {
        return Condition::unknown("kernel", "/proc/sys/kernel/osrelease cannot be read", "Linux 4.14 or later");
    };
    let mut numbers = release.split(['.', '-', '+']).map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= KERNEL_NEEDED => Condition::met("kernel", release),
        (Some(_), Some(_)) => {
            Condition::unmet("kernel", release, "Linux 4.14 or later (for memory that a fork does not inherit)")
        }
        _ => Condition::unknown("kernel", release, "a version such as 6.1"),
    }
}

/// Yama's setting; it only matters without `CAP_SYS_PTRACE`, apart from 3, which nothing lifts.
fn ptrace_scope(machine: &Machine) -> Condition {
    const NAME: &str = "ptrace_scope";
    let capable = machine.capable(Capability::PTRACE) == Some(true);
    match machine.ptrace_scope {
        None => Condition::met(NAME, "not set by this kernel: unrestricted"),
        Some(0) => Condition::met(NAME, "0: own processes may be attached to"),
        Some(3) => Condition::unmet(NAME, "3: nobody may attach to any process", "another setting")
            .remedied("kernel.yama.ptrace_scope cannot be lowered from 3: change it in /etc/sysctl.d and reboot"),
        Some(scope) if capable => Condition::met(NAME, format!("{scope}, which CAP_SYS_PTRACE lifts")),
        Some(1) => Condition::limited(NAME, "1: only descendants may be attached to", "0, or CAP_SYS_PTRACE")
            .remedied(as_root(machine, Capability::ADMIN, "sysctl kernel.yama.ptrace_scope=0")),
        Some(scope) => Condition::unmet(NAME, scope.to_string(), "CAP_SYS_PTRACE").remedied(how_to_get(
            machine,
            Capability::PTRACE,
            "leakline hunt",
        )),
    }
}

fn ptrace_capability(machine: &Machine) -> Condition {
    const NAME: &str = "CAP_SYS_PTRACE";
    match machine.capable(Capability::PTRACE) {
        Some(true) if machine.initial_user_namespace == Some(false) => {
            Condition::met(NAME, "present, for the processes of this user namespace")
        }
        Some(true) => Condition::met(NAME, "present"),
        Some(false) => Condition::limited(NAME, "absent", "present, to attach to processes of other users")
            .remedied(how_to_get(machine, Capability::PTRACE, "leakline hunt")),
        None => Condition::unknown(NAME, "/proc/self/status shows no capabilities", "CapEff"),
    }
}

/// A filter on ourselves is usual in containers and lets ptrace pass since Docker 19.03 on kernels from 4.8; which calls
/// it refuses cannot be seen from here.
fn seccomp_of_ours(machine: &Machine) -> Condition {
    const NAME: &str = "seccomp (leakline)";
    match machine.seccomp {
        Some(0) => Condition::met(NAME, "no filter"),
        Some(_) => Condition::unknown(NAME, "leakline runs under a filter", "a filter that lets ptrace pass")
            .remedied(format!("if an attach is refused: {}", how_to_lift_filter(machine))),
        None => Condition::unknown(NAME, "/proc/self/status does not say", "Seccomp"),
    }
}

/// Values of `vm.memfd_noexec` since Linux 6.3: 0 and 1 let `MFD_EXEC` pass, 2 does not.
fn memfd(machine: &Machine) -> Condition {
    const NAME: &str = "memfd";
    match machine.memfd_noexec {
        None => Condition::met(NAME, "executable, no policy in this kernel"),
        Some(policy @ (0 | 1)) => Condition::met(NAME, format!("executable (vm.memfd_noexec is {policy})")),
        Some(policy) => Condition::unmet(NAME, format!("vm.memfd_noexec is {policy}"), "0 or 1").remedied(as_root(
            machine,
            Capability::ADMIN,
            "sysctl vm.memfd_noexec=1",
        )),
    }
}

fn visibility(machine: &Machine) -> Condition {
    const NAME: &str = "/proc";
    if !machine.proc_mounted {
        let mount = as_root(machine, Capability::ADMIN, "mount -t proc proc /proc");
        return Condition::unmet(NAME, "not mounted", "/proc").remedied(mount);
    }
    match machine.hidepid.as_deref() {
        None | Some("0" | "off") => Condition::met(NAME, "shows all processes"),
        Some(_) if machine.capable(Capability::PTRACE) == Some(true) => {
            Condition::met(NAME, "hidepid, which we are exempt from")
        }
        Some(value) => Condition::limited(
            NAME,
            format!("mounted with hidepid={value}"),
            "the processes of other users, which are not shown",
        )
        .remedied(format!(
            "{}, or: {}",
            how_to_get(machine, Capability::PTRACE, "leakline hunt"),
            as_root(machine, Capability::ADMIN, "mount -o remount,hidepid=0 /proc")
        )),
    }
}

/// `/proc/PID/map_files` leads to files that were deleted or replaced; their names would be lost otherwise.
fn names_of_deleted_files(machine: &Machine) -> Condition {
    const NAME: &str = "replaced files";
    if machine.capable(Capability::ADMIN) == Some(true) || machine.capable(Capability::CHECKPOINT_RESTORE) == Some(true)
    {
        return Condition::met(NAME, "modules that were replaced on disk can still be read");
    }
    Condition::limited(
        NAME,
        "neither CAP_CHECKPOINT_RESTORE nor CAP_SYS_ADMIN",
        "one of them, to name functions of modules that were deleted or replaced since they were loaded",
    )
    .remedied(how_to_get(machine, Capability::CHECKPOINT_RESTORE, "leakline hunt"))
}

fn headroom(available: Reading<Bytes>) -> Condition {
    const NAME: &str = "memory";
    match available {
        Reading::Known(bytes) if bytes >= HEADROOM => Condition::met(NAME, format!("{bytes} available")),
        Reading::Known(bytes) => Condition::limited(
            NAME,
            format!("{bytes} available"),
            format!("{HEADROOM}, since the tables in the target take about half as much again as its small blocks"),
        )
        .remedied("leakline attach --max-sites 1024 --depth 16 PID needs less"),
        Reading::Missing(why) => Condition::unknown(NAME, format!("MemAvailable: {why}"), "MemAvailable"),
    }
}

/// A boolean that some distributions set and that forbids ptrace whatever the capabilities are.
fn selinux(machine: &Machine) -> Option<Condition> {
    machine.selinux_deny_ptrace.then(|| {
        Condition::unmet("SELinux", "the boolean deny_ptrace is on", "off").remedied("sudo setsebool deny_ptrace off")
    })
}

#[cfg(test)]
mod tests {
    use super::super::ConditionState;
    use super::*;

    /// The state of one condition of a machine, then what is found or the remedy.
    #[track_caller]
    fn check(machine: &Machine, name: &str, wanted: &str) {
        let conditions = judge(machine);
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

    #[test]
    fn ptrace_scope_matters_without_the_capability() {
        let with = |machine: Machine, scope| Machine { ptrace_scope: scope, ..machine };
        check(&with(user(), None), "ptrace_scope", "Met: not set");
        check(&with(user(), Some(0)), "ptrace_scope", "Met: 0");
        check(&with(user(), Some(1)), "ptrace_scope", "Limited: 1: only descendants");
        check(&with(user(), Some(1)), "ptrace_scope", "| sudo sysctl kernel.yama.ptrace_scope=0");
        check(&with(root(), Some(1)), "ptrace_scope", "Met: 1, which CAP_SYS_PTRACE lifts");
        check(&with(user(), Some(2)), "ptrace_scope", "Unmet: 2 | sudo leakline hunt");
        check(&with(root(), Some(3)), "ptrace_scope", "Unmet: 3");
    }

    #[test]
    fn the_remedy_fits_the_container() {
        let lacking = Some(!(1 << 19));
        let inside = |kind: &str| Machine { container: Some(kind.to_owned()), bounding: lacking, ..user() };
        check(&user(), "CAP_SYS_PTRACE", "Limited: absent | sudo leakline hunt");
        check(&inside("docker"), "CAP_SYS_PTRACE", "Limited: absent | docker run --cap-add=SYS_PTRACE …");
        check(&inside("podman"), "CAP_SYS_PTRACE", "Limited: absent | podman run --cap-add=SYS_PTRACE …");
        let kubernetes = "Limited: absent | kubectl debug -it POD --profile=sysadmin --target=CONTAINER";
        check(&inside("kubernetes"), "CAP_SYS_PTRACE", kubernetes);
        check(&inside("kubernetes"), "CAP_SYS_PTRACE", "securityContext: { capabilities: { add: [\"SYS_PTRACE\"] } }");
        let bounded = Machine { bounding: lacking, ..user() };
        let may_be_root = Machine { bounding: Some(u64::MAX), ..inside("podman") };
        check(
            &may_be_root,
            "CAP_SYS_PTRACE",
            "Limited: absent | enter the container as root: podman exec -u 0 CONTAINER",
        );
        check(&bounded, "CAP_SYS_PTRACE", "Limited: absent | sudo does not help, since the bounding set");
        check(&inside("docker"), "container", "Met: inside docker");
        let filtered = |kind: &str| Machine { seccomp: Some(2), ..inside(kind) };
        let refused = "Unknown: leakline runs under a filter | if an attach is refused: ";
        for (kind, remedy) in [
            ("docker", "docker run --security-opt seccomp=unconfined"),
            ("podman", "podman run --security-opt seccomp=unconfined"),
            ("kubernetes", "kubectl debug -it POD --profile=sysadmin"),
            ("lxc", "run leakline on the host"),
        ] {
            check(&filtered(kind), "seccomp (leakline)", &format!("{refused}{remedy}"));
        }
    }

    #[test]
    fn kernels_are_compared_by_number_not_by_text() {
        let with = |release: &str| Machine { kernel: Some(release.to_owned()), ..root() };
        check(&with("6.1.0-18-amd64"), "kernel", "Met: 6.1");
        check(&with("4.14.336"), "kernel", "Met");
        check(&with("4.9.0"), "kernel", "Unmet: 4.9.0");
        check(&with("10.0-rc1"), "kernel", "Met: 10.0");
        check(&with("mainline"), "kernel", "Unknown: mainline");
        check(&root(), "kernel", "Unknown");
    }

    #[test]
    fn an_executable_memfd_may_be_forbidden() {
        for (policy, wanted) in [(None, "Met"), (Some(0), "Met"), (Some(1), "Met"), (Some(2), "Unmet")] {
            check(&Machine { memfd_noexec: policy, ..root() }, "memfd", wanted);
        }
    }

    #[test]
    fn what_we_may_not_see_is_said() {
        let hidden = |machine| Machine { hidepid: Some("invisible".to_owned()), ..machine };
        check(&hidden(user()), "/proc", "Limited: mounted with hidepid=invisible");
        check(&hidden(root()), "/proc", "Met");
        let nowhere = Machine { proc_mounted: false, ..root() };
        check(&nowhere, "/proc", "Unmet: not mounted | sudo mount -t proc proc /proc");
        check(&user(), "replaced files", "Limited: neither");
        check(&root(), "replaced files", "Met");
        check(&Machine { seccomp: Some(2), ..root() }, "seccomp (leakline)", "Unknown: leakline runs under a filter");
        check(&Machine { selinux_deny_ptrace: true, ..root() }, "SELinux", "| sudo setsebool deny_ptrace off");
    }

    #[test]
    fn little_memory_is_a_limit_not_a_refusal() {
        let with = |bytes| Machine { memory_available: Reading::Known(Bytes(bytes)), ..root() };
        check(&with(1 << 30), "memory", "Met: 1.00 GiB available");
        check(&with(1 << 20), "memory", "Limited: 1.00 MiB available");
        check(&root(), "memory", "Unknown: MemAvailable: not recorded");
    }

    #[test]
    fn all_is_met_for_root_on_an_open_machine() {
        let machine = Machine {
            kernel: Some("6.1".to_owned()),
            memory_available: Reading::Known(Bytes(1 << 34)),
            ptrace_scope: Some(1),
            ..root()
        };
        let unmet: Vec<_> = judge(&machine).into_iter().filter(|each| each.state != ConditionState::Met).collect();
        assert!(unmet.is_empty(), "{unmet:?}");
    }

    #[test]
    fn limits_of_the_machine_are_compared_exactly() {
        let kernel = |release: &str| Machine { kernel: Some(release.to_owned()), ..root() };
        check(&kernel("4.14"), "kernel", "Met: 4.14");
        check(&kernel("4.13.16"), "kernel", "Unmet: 4.13.16");
        check(&kernel("5.0"), "kernel", "Met: 5.0");
        check(&kernel("6"), "kernel", "Unknown: 6");
        check(&kernel("6.x"), "kernel", "Unknown: 6.x");
        check(&kernel("99999999999.1"), "kernel", "Unknown: 99999999999.1");
        let memory = |bytes| Machine { memory_available: Reading::Known(Bytes(bytes)), ..root() };
        check(&memory(256 << 20), "memory", "Met: 256.0 MiB available");
        check(&memory((256 << 20) - 1), "memory", "Limited");
    }

    #[test]
    fn each_capability_is_its_own_bit() {
        let only = |bit: u32| Machine { capabilities: Some(1 << bit), ..user() };
        let all_but = |bit: u32| Machine { capabilities: Some(!(1 << bit)), ..user() };
        check(&only(19), "CAP_SYS_PTRACE", "Met: present | -");
        let inside = Machine { initial_user_namespace: Some(false), ..only(19) };
        check(&inside, "CAP_SYS_PTRACE", "Met: present, for the processes of this user namespace");
        check(&all_but(19), "CAP_SYS_PTRACE", "Limited: absent");
        check(&Machine { capabilities: None, ..user() }, "CAP_SYS_PTRACE", "Unknown");
        check(&only(21), "replaced files", "Met");
        check(&only(40), "replaced files", "Met");
        check(&only(19), "replaced files", "Limited: neither");
    }

    #[test]
    fn other_processors_are_refused() {
        assert_eq!(architecture("x86_64").state, ConditionState::Met);
        assert_eq!(architecture("aarch64").state, ConditionState::Unmet);
    }

    #[test]
    fn hidden_processes_matter_to_those_who_are_not_exempt() {
        let hidden = |value: &str| Machine { hidepid: Some(value.to_owned()), ..user() };
        check(&hidden("0"), "/proc", "Met: shows all processes");
        check(&hidden("off"), "/proc", "Met: shows all processes");
        check(&hidden("2"), "/proc", "Limited: mounted with hidepid=2 | sudo leakline hunt");
        check(&Machine { seccomp: None, ..user() }, "seccomp (leakline)", "Unknown: /proc/self/status does not say");
        check(&user(), "seccomp (leakline)", "Met: no filter");
    }
}
