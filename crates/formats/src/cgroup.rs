//! `/proc/PID/cgroup`: in which group a process counts its memory, and which container that is.
//!
//! Owns: the lines of both versions, and how container engines name their groups. Must not know: where the hierarchies
//! are mounted, or names of containers (only the engine knows them).

use std::borrow::Cow;

use model::{Reading, Why};

use crate::scan;

/// Hexadecimal digits of a container's id that people are shown; engines print as many.
const SHORT: usize = 12;
/// Digits of a full id, as docker, podman, containerd and CRI-O make them.
const FULL: usize = 64;
/// Ends of the names of systemd units, which engines wrap around an id.
const UNIT_ENDS: [&[u8]; 3] = [b".scope", b".service", b".slice"];
/// What engines put before an id, when they run under systemd. The longer come first.
const ENGINES: [&[u8]; 8] = [
    b"cri-containerd-",
    b"libpod-payload-",
    b"containerd-",
    b"libpod-",
    b"docker-",
    b"crio-",
    b"nerdctl-",
    b"buildkit-",
];
/// Groups that a container manager makes for its own process beside each container, which hold none of its programs.
const MONITORS: [&[u8]; 2] = [b"crio-conmon-", b"libpod-conmon-"];

/// The group that a process counts its memory in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// Its path from the root of its hierarchy, as the kernel wrote it.
    pub path: &'a [u8],
    /// Whether it belongs to version 2 (unified), otherwise to the memory controller of version 1.
    pub unified: bool,
}

/// The group: that of the memory controller of version 1 where there is one, otherwise that of version 2. On a
/// machine with both, memory is counted by version 1 whenever its memory controller is mounted.
pub fn parse(bytes: &[u8]) -> Reading<Group<'_>> {
    let mut unified = Reading::Missing(if bytes.is_empty() { Why::NotOffered } else { Why::NotRecorded });
    for line in scan::lines(bytes) {
        let Some((controllers, path)) = controllers_and_path(line) else {
            return Reading::Missing(Why::Malformed);
        };
        if controllers.is_empty() {
            unified = Reading::Known(Group { path, unified: true });
        } else if controllers.split(|byte| *byte == b',').any(|name| name == b"memory") {
            return Reading::Known(Group { path, unified: false });
        }
    }
    unified
}

/// The id of the container that a path names: 12 hexadecimal digits for docker, podman, containerd, CRI-O and
/// Kubernetes, the name for LXC and systemd-nspawn; none for anything else. The innermost wins (docker in docker).
pub fn container(path: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut found = None;
    let mut before: &[u8] = b"";
    for segment in path.split(|byte| *byte == b'/') {
        if let Some(id) = container_of_segment(before, segment) {
            found = Some(id);
        }
        before = segment;
    }
    found.map(unescaped)
}

/// systemd writes a character that a name of a unit must not have as `\x2d`; `machinectl` shows `a-b` for
/// `machine-a\x2db.scope`.
fn unescaped(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'\\') {
        return Cow::Borrowed(name);
    }
    let mut text = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        let escape = rest.strip_prefix(b"\\x").and_then(|digits| digits.split_first_chunk::<2>());
        let byte = escape.and_then(|(digits, after)| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok().map(|byte| (byte, after))
        });
        let (byte, after) = byte.unwrap_or((*first, after));
        text.push(byte);
        rest = after;
    }
    Cow::Owned(text)
}

fn controllers_and_path(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (hierarchy, rest) = scan::split_at_byte(line, b':')?;
    scan::decimal(hierarchy)?;
    // Only the first two colons separate: a path may have any number of them.
    let (controllers, path) = scan::split_at_byte(rest, b':')?;
    path.starts_with(b"/").then_some((controllers, path))
}

fn container_of_segment<'a>(before: &[u8], segment: &'a [u8]) -> Option<&'a [u8]> {
    if MONITORS.iter().any(|monitor| segment.starts_with(monitor)) {
        return None;
    }
    let name = UNIT_ENDS.iter().find_map(|end| segment.strip_suffix(*end)).unwrap_or(segment);
    // containerd with systemd's driver writes `system.slice:cri-containerd:ID`; the id is the last part.
    let name = name.rsplit(|byte| *byte == b':').next().unwrap_or(name);
    let bare = ENGINES.iter().find_map(|engine| name.strip_prefix(*engine)).unwrap_or(name);
    debug_assert!(bare.len() <= segment.len(), "what is wrapped around an id is only ever taken off");
    if bare.len() == FULL && bare.iter().all(u8::is_ascii_hexdigit) {
        return bare.get(..SHORT);
    }
    of_fargate(before, bare).or_else(|| named(before, segment))
}

/// ECS on Fargate: `ecs/TASK/TASK-NUMBER`, where the task has 32 hexadecimal digits; elsewhere ECS writes the full id of docker.
fn of_fargate<'a>(task: &[u8], segment: &'a [u8]) -> Option<&'a [u8]> {
    let number = segment.strip_prefix(task)?.strip_prefix(b"-")?;
    let is_task = task.len() == FULL / 2 && task.iter().all(u8::is_ascii_hexdigit);
    (is_task && !number.is_empty() && number.iter().all(u8::is_ascii_digit)).then_some(segment)
}

/// LXC: `lxc/NAME`, `lxc.payload/NAME`, `lxc.payload.NAME`. systemd-nspawn: `machine.slice/machine-NAME.scope` or
/// `machine.slice/systemd-nspawn@NAME.service`.
fn named<'a>(before: &[u8], segment: &'a [u8]) -> Option<&'a [u8]> {
    let name = match before {
        b"lxc" | b"lxc.payload" => Some(segment),
        b"machine.slice" => segment
            .strip_prefix(b"machine-")
            .and_then(|rest| rest.strip_suffix(b".scope"))
            .or_else(|| segment.strip_prefix(b"systemd-nspawn@")?.strip_suffix(b".service")),
        _ => segment.strip_prefix(b"lxc.payload."),
    };
    name.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match parse(text.as_bytes()) {
            Reading::Known(group) => {
                format!("v{} {}", if group.unified { 2 } else { 1 }, String::from_utf8_lossy(group.path))
            }
            Reading::Missing(why) => why.to_string(),
        };
        assert_eq!(found, expected, "{text:?}");
    }

    /// `ID` in the path stands for a full id.
    #[track_caller]
    fn check_container(path: &str, expected: Option<&str>) {
        let path = path.replace("ID", ID);
        let found = container(path.as_bytes()).map(|name| String::from_utf8_lossy(&name).into_owned());
        assert_eq!(found.as_deref(), expected, "{path}");
    }

    #[test]
    fn the_memory_controller_of_version_1_goes_before_version_2() {
        check("0::/user.slice/a.scope\n", "v2 /user.slice/a.scope");
        check("9:name=systemd:/\n4:memory:/g/1\n1:cpu:/\n0::/x\n", "v1 /g/1");
        check("0::/x\n5:cpuset,memory:/y", "v1 /y");
        check("0::/x\n5:memory_recursiveprot:/y", "v2 /x");
        check("0::/a:b\n", "v2 /a:b");
    }

    #[test]
    fn without_a_group_the_reason_is_said() {
        check("", "not offered by this kernel");
        check("9:name=systemd:/\n", "not recorded");
        check("garbage\n", "not in the documented form");
        check("0::x\n", "not in the documented form");
    }

    #[test]
    fn engines_name_their_containers() {
        for path in [
            "/docker/ID",
            "/system.slice/docker-ID.scope",
            "/machine.slice/libpod-ID.scope/container",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            "/kubepods/burstable/pod3f1d2c1e-0000-4000-8000-000000000000/ID",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-ID.scope",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1_2.slice/crio-ID.scope",
            "/system.slice/containerd.service/kubepods-burstable-pod1_2.slice:cri-containerd:ID",
            // podman with cgroupfs, nerdctl, ECS on its own machines, docker compose under another parent.
            "/libpod_parent/libpod-ID",
            "/system.slice/nerdctl-ID.scope",
            "/default/ID",
            "/ecs/0410eff2f15c456d9e95b8a4e1a9c6b2/ID",
            "/ecs/my-task/0410eff2-f15c-456d-9e95-b8a4e1a9c6b2/ID",
            "/web.slice/docker-ID.scope/system.slice/nginx.service",
            // Kubernetes: with cgroupfs and with systemd, of kind and k3s (in a container of docker), behind the root of a namespace.
            "/kubepods/besteffort/pod3f1d2c1e-0000-4000-8000-000000000000/ID",
            "/kubepods/pod3f1d2c1e-0000-4000-8000-000000000000/ID",
            "/kubepods.slice/kubepods-pod3f1d2c1e_0000_4000_8000_000000000000.slice/docker-ID.scope",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/crio-ID.scope/container",
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1_2.slice/cri-containerd-ID.scope",
            "/docker/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/kubelet/kubepods/besteffort/pod1/ID",
            "/k8s.io/ID",
            "/../../pod3f1d2c1e-0000-4000-8000-000000000000/ID",
            "/../cri-containerd-ID.scope",
            "/docker/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/docker/ID",
        ] {
            check_container(path, Some("0123456789ab"));
        }
    }

    #[test]
    fn a_task_of_fargate_is_named_whole() {
        let task = "0410eff2f15c456d9e95b8a4e1a9c6b2";
        let name = format!("{task}-3705346413");
        check_container(&format!("/ecs/{task}/{name}"), Some(&name));
        check_container(&format!("/ecs/{task}"), None);
        check_container(&format!("/ecs/{task}/{task}-"), None);
        check_container("/ecs/a/a-1", None);
    }

    /// As the kernel writes them, of machines with both versions and with one.
    #[test]
    fn whole_files_of_containers_are_understood() {
        let full = |text: &str| text.replace("ID", ID);
        for text in [
            "12:pids:/docker/ID\n11:hugetlb:/docker/ID\n5:memory:/docker/ID\n1:name=systemd:/docker/ID\n0::/\n",
            "9:memory:/kubepods/burstable/pod1/ID\n3:cpu,cpuacct:/kubepods/burstable/pod1/ID\n0::/system.slice/kubelet.service\n",
            "0::/system.slice/docker-ID.scope\n",
            "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/cri-containerd-ID.scope\n",
        ] {
            let text = full(text);
            let group = parse(text.as_bytes()).known().expect("there is a group");
            assert_eq!(container(group.path).as_deref(), Some(&b"0123456789ab"[..]), "{text}");
        }
    }

    #[test]
    fn lxc_and_nspawn_name_theirs() {
        check_container("/lxc/web", Some("web"));
        check_container("/lxc.payload/web/init.scope", Some("web"));
        check_container("/lxc.payload.web/system.slice/x.service", Some("web"));
        check_container("/machine.slice/machine-web.scope/payload", Some("web"));
        check_container("/machine.slice/systemd-nspawn@web.service", Some("web"));
    }

    #[test]
    fn what_systemd_escaped_is_as_its_owner_named_it() {
        check_container("/machine.slice/machine-web\\x2dserver\\x2d1.scope", Some("web-server-1"));
        check_container("/machine.slice/systemd-nspawn@a\\x20b.service", Some("a b"));
        check_container("/machine.slice/machine-a\\x2.scope", Some("a\\x2"));
        check_container("/machine.slice/machine-a\\xzz\\.scope", Some("a\\xzz\\"));
        check_container("/lxc/\\x41\\x", Some("A\\x"));
    }

    #[test]
    fn anything_else_is_no_container() {
        for path in [
            "/",
            "",
            "/user.slice/user-1000.slice/session-2.scope",
            "/system.slice/docker.service",
            "/machine.slice/libpod-conmon-ID.scope",
            "/process_api/a5c9f9a1c47a992531e3b915f1b46e77",
            "/docker/0123456789abcdef",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/crio-conmon-ID.scope",
            "/lxc.monitor.web",
            "/kubepods/burstable/pod3f1d2c1e-0000-4000-8000-000000000000",
            "/lxc/",
        ] {
            check_container(path, None);
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        for seed in 0..20_000 {
            let bytes = scan::noise(seed, b"0:memory,/lxc/docker-.scope\n");
            if let Reading::Known(group) = parse(&bytes) {
                assert!(group.path.starts_with(b"/"));
            }
            assert!(container(&bytes).is_none_or(|name| !name.is_empty()));
        }
    }
}
