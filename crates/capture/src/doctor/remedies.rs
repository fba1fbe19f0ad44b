//! How to get what is missing, which depends on where we run and on what even root can get there.
//!
//! Owns: the wording of those commands. Must not know: what is missing, or what for.

use super::facts::Machine;

/// A capability: its bit in `CapEff`, see capabilities(7), and its name without the prefix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capability {
    bit: u32,
    name: &'static str,
}

impl Capability {
    pub(super) const PTRACE: Self = Self { bit: 19, name: "SYS_PTRACE" };
    pub(super) const ADMIN: Self = Self { bit: 21, name: "SYS_ADMIN" };
    pub(super) const RESOURCE: Self = Self { bit: 24, name: "SYS_RESOURCE" };
    pub(super) const CHECKPOINT_RESTORE: Self = Self { bit: 40, name: "CHECKPOINT_RESTORE" };

    /// Whether a mask has it.
    pub(super) fn is_in(self, mask: u64) -> bool {
        mask >> self.bit & 1 == 1
    }
}

/// How to run a command with a capability.
pub(super) fn how_to_get(machine: &Machine, capability: Capability, command: &str) -> String {
    let name = capability.name;
    let kubernetes = format!(
        "kubectl debug -it POD --profile=sysadmin --target=CONTAINER --image=IMAGE, or in the container's spec: securityContext: \
         {{ capabilities: {{ add: [\"{name}\"] }} }}"
    );
    let start = |tool: &str| {
        format!(
            "{tool} run --cap-add={name} … (beside one that runs: {tool} run --pid=container:NAME --cap-add={name} …), \
             or on its host: sudo {command}"
        )
    };
    let can_root = machine.bounding.is_some_and(|mask| capability.is_in(mask));
    match machine.container.as_deref() {
        Some("kubernetes") if can_root => {
            format!("run as root (securityContext: {{ runAsUser: 0 }}), or: {kubernetes}")
        }
        Some(tool @ ("docker" | "podman")) if can_root => {
            format!("enter the container as root: {tool} exec -u 0 CONTAINER {command}, or: sudo {command}")
        }
        Some("kubernetes") => kubernetes,
        Some("podman") => start("podman"),
        Some(_) if !can_root => start("docker"),
        // Only whoever started this session can give what its bounding set lacks.
        None if machine.bounding.is_some() && !can_root => format!(
            "sudo does not help, since the bounding set of this session lacks CAP_{name}; where it is a container: {}; {kubernetes}",
            start("docker")
        ),
        Some(_) | None => format!("sudo {command}"),
    }
}

/// How to run a command so that all processes are open to it, where some are not now.
pub(super) fn how_to_see_all(machine: &Machine, command: &str) -> String {
    if machine.capable(Capability::PTRACE) == Some(true) {
        // They are of another user namespace, or a security module keeps them.
        return format!("on the host: sudo {command}");
    }
    how_to_get(machine, Capability::PTRACE, command)
}

/// A command of the machine's own that takes a capability: where even root cannot get that, it helps outside only.
pub(super) fn as_root(machine: &Machine, capability: Capability, command: &str) -> String {
    match machine.bounding {
        Some(mask) if !capability.is_in(mask) => format!("on the host: sudo {command}"),
        _ => format!("sudo {command}"),
    }
}

/// How to run without the seccomp filter that is on us.
pub(super) fn how_to_lift_filter(machine: &Machine) -> String {
    const KUBERNETES: &str = "kubectl debug -it POD --profile=sysadmin --target=CONTAINER --image=IMAGE, or in the container's \
                              spec: securityContext: { seccompProfile: { type: Unconfined } }";
    let start = |tool: &str| format!("{tool} run --security-opt seccomp=unconfined --cap-add=SYS_PTRACE …");
    match machine.container.as_deref() {
        Some("kubernetes") => KUBERNETES.to_owned(),
        Some("podman") => start("podman"),
        Some("docker") => start("docker"),
        Some(_) | None => format!(
            "run leakline on the host; in a container of docker: {}; of Kubernetes: {KUBERNETES}; in a service of systemd: \
             SystemCallFilter=@debug",
            start("docker")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where we run and whether root can get the capability there, if that is known; what is said.
    #[track_caller]
    fn check(container: Option<&str>, can_root: Option<bool>, capability: Capability, start: &str, end: &str) {
        let bounding = can_root.map(|can| if can { u64::MAX } else { !(1 << capability.bit) });
        let machine = Machine { container: container.map(str::to_owned), bounding, ..Machine::default() };
        let found = how_to_get(&machine, capability, "leakline hunt");
        assert!(found.starts_with(start) && found.ends_with(end), "{found}");
        let lacking = can_root == Some(false);
        assert_eq!(
            found == "sudo leakline hunt",
            as_root(&machine, capability, "x") == "sudo x" && start == "sudo leakline"
        );
        assert!(!lacking || as_root(&machine, capability, "x") == "on the host: sudo x");
    }

    #[test]
    fn what_root_cannot_get_is_named() {
        let (ptrace, admin) = (Capability::PTRACE, Capability::ADMIN);
        check(None, None, ptrace, "sudo leakline", "hunt");
        check(None, Some(true), ptrace, "sudo leakline", "hunt");
        check(
            None,
            Some(false),
            admin,
            "sudo does not help, since the bounding set of this session lacks CAP_SYS_ADMIN",
            "}",
        );
        check(
            Some("docker"),
            Some(false),
            admin,
            "docker run --cap-add=SYS_ADMIN …",
            "or on its host: sudo leakline hunt",
        );
        check(
            Some("lxc"),
            Some(false),
            ptrace,
            "docker run --cap-add=SYS_PTRACE …",
            "or on its host: sudo leakline hunt",
        );
        check(
            Some("podman"),
            Some(true),
            ptrace,
            "enter the container as root: podman exec -u 0",
            "sudo leakline hunt",
        );
        let add = "securityContext: { capabilities: { add: [\"CHECKPOINT_RESTORE\"] } }";
        check(Some("kubernetes"), Some(false), Capability::CHECKPOINT_RESTORE, "kubectl debug -it POD", add);
        let capable = Machine { capabilities: Some(u64::MAX), ..Machine::default() };
        assert_eq!(how_to_see_all(&capable, "x"), "on the host: sudo x");
        assert_eq!(how_to_see_all(&Machine { capabilities: Some(0), ..capable }, "x"), "sudo x");
        check(Some("kubernetes"), Some(true), Capability::CHECKPOINT_RESTORE, "run as root", add);
    }
}
