//! The facts of a machine and of a process that decide whether an attach works.
//!
//! Owns: reading them, in the cheapest way and without changing anything. Must not know: what they mean for an attach.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use model::{Bytes, Pid, Reading, Why, escaped};

use super::binary::{Binary, Debugging, Module};
use super::remedies::Capability;
use crate::native::AttachError;

/// Bytes of one file of `/proc` that are looked at; the greatest is the list of mappings.
const PROC_FILE_MAX: u64 = 16 << 20;
/// Modules of one process that are examined for names.
const MODULES_MAX: usize = 256;
/// `PF_KTHREAD` of the kernel's `sched.h`, in field 9 of `/proc/PID/stat`.
const PF_KTHREAD: u64 = 0x0020_0000;

/// Facts of the machine and of ourselves. What is `None` could not be read or is not offered.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) kernel: Option<String>,
    pub(super) ptrace_scope: Option<u32>,
    pub(super) capabilities: Option<u64>,
    /// What even root can get here (`CapBnd`).
    pub(super) bounding: Option<u64>,
    /// Whether `/proc` is mounted.
    pub(super) proc_mounted: bool,
    /// The mode of our own filter.
    pub(super) seccomp: Option<u32>,
    pub(super) memfd_noexec: Option<u32>,
    /// The value of the mount option of `/proc`.
    pub(super) hidepid: Option<String>,
    pub(super) memory_available: Reading<Bytes>,
    pub(super) selinux_deny_ptrace: bool,
    /// What kind of container we run in.
    pub(super) container: Option<String>,
    /// Whether our capabilities count for every process, not only for those of a user namespace of our own.
    pub(super) initial_user_namespace: Option<bool>,
}

/// Facts of a process.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) pid: Pid,
    pub(super) command: String,
    /// Whether it is this very process.
    pub(super) ours: bool,
    pub(super) kernel_thread: bool,
    pub(super) state: Option<char>,
    pub(super) tracer: Option<u32>,
    pub(super) threads: Option<u32>,
    pub(super) seccomp: Option<u32>,
    pub(super) locked: Option<Bytes>,
    pub(super) size: Option<Bytes>,
    /// Whether its users are all ours.
    pub(super) same_user: Option<bool>,
    /// None where it cannot be told, since it runs as root.
    pub(super) dumpable: Option<bool>,
    pub(super) access: Access,
    pub(super) same_user_namespace: Option<bool>,
    /// Which other namespaces are not ours.
    pub(super) other_namespaces: Option<Vec<&'static str>>,
    /// None where there is no limit.
    pub(super) address_space_limit: Option<Bytes>,
    pub(super) program: Result<Binary, String>,
    pub(super) allocator: Option<(Allocator, String)>,
    /// What would be hooked, or why nothing can be; none where the process may not be looked into.
    pub(super) hooks: Option<Result<String, Unhookable>>,
    /// Its modules of code; none where its mappings cannot be read.
    pub(super) modules: Option<Vec<Module>>,
}

/// Why no function of an allocator can be hooked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unhookable {
    pub(super) found: String,
    /// What helps, where names of functions would not.
    pub(super) remedy: Option<String>,
}

/// Whether the kernel would let us attach.
#[derive(Clone, Debug)]
pub(super) enum Access {
    /// It would.
    Allowed,
    /// It would not.
    Denied,
    /// The question failed for another reason.
    Failed(String),
}

/// What kind of allocator a module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allocator {
    Glibc,
    Sanitizer,
    Other,
}

impl Machine {
    pub(super) fn gather() -> Self {
        let status = text("/proc/self/status").unwrap_or_default();
        Self {
            bounding: field(&status, "CapBnd").and_then(|mask| u64::from_str_radix(mask, 16).ok()),
            proc_mounted: !status.is_empty(),
            kernel: text("/proc/sys/kernel/osrelease").map(|release| escaped(release.trim().as_bytes())),
            ptrace_scope: number("/proc/sys/kernel/yama/ptrace_scope"),
            capabilities: field(&status, "CapEff").and_then(|mask| u64::from_str_radix(mask, 16).ok()),
            seccomp: field(&status, "Seccomp").and_then(|mode| mode.parse().ok()),
            memfd_noexec: number("/proc/sys/vm/memfd_noexec"),
            hidepid: text("/proc/self/mounts").and_then(|mounts| hidepid(&mounts)),
            memory_available: memory_available(),
            selinux_deny_ptrace: text("/sys/fs/selinux/booleans/deny_ptrace").is_some_and(|now| now.starts_with('1')),
            container: container(),
            initial_user_namespace: text("/proc/self/uid_map").map(|map| is_initial(&map)),
        }
    }

    /// Whether the effective capabilities have this one.
    pub(super) fn capable(&self, capability: Capability) -> Option<bool> {
        self.capabilities.map(|mask| capability.is_in(mask))
    }
}

impl Target {
    /// None where there is no such process.
    pub(super) fn gather(pid: Pid) -> Option<Self> {
        Some(Self { hooks: hooks(pid), ..Self::permission(pid)? })
    }

    /// All but what would be hooked, which is only known where an attach is allowed.
    pub(super) fn permission(pid: Pid) -> Option<Self> {
        let folder = format!("/proc/{pid}");
        let status = text(&format!("{folder}/status"))?;
        let own_user = text("/proc/self/status").and_then(|ours| users(&ours)).map(|ours| ours[1]);
        let users = users(&status);
        let maps = text(&format!("{folder}/maps")).filter(|maps| !maps.is_empty());
        let paths = maps.as_deref().map(code_paths);
        let other_namespaces = other_namespaces(&folder);
        Some(Self {
            pid,
            command: escaped(field(&status, "Name").unwrap_or("?").as_bytes()),
            ours: pid.0 == std::process::id(),
            kernel_thread: text(&format!("{folder}/stat")).is_some_and(|stat| is_kernel_thread(&stat)),
            state: field(&status, "State").and_then(|state| state.chars().next()),
            tracer: parsed(&status, "TracerPid"),
            threads: parsed(&status, "Threads"),
            seccomp: parsed(&status, "Seccomp"),
            locked: kib(&status, "VmLck"),
            size: kib(&status, "VmSize"),
            same_user: users.zip(own_user).map(|(theirs, ours)| theirs[..3].iter().all(|&user| user == ours)),
            dumpable: users.and_then(|users| dumpable(&folder, users[1])),
            access: access(&folder),
            same_user_namespace: other_namespaces.as_ref().map(|others| !others.contains(&"user")),
            other_namespaces,
            address_space_limit: text(&format!("{folder}/limits")).and_then(|limits| address_space_limit(&limits)),
            program: binary(Path::new(&format!("{folder}/exe"))),
            allocator: paths.as_deref().and_then(allocator),
            hooks: None,
            modules: paths.map(|paths| modules(&folder, &paths)),
        })
    }
}

/// Makes the plan of an attach, as an attach does, and goes no further.
fn hooks(pid: Pid) -> Option<Result<String, Unhookable>> {
    match crate::native::preview(pid) {
        Ok((allocator, count)) => Some(Ok(format!("{allocator}; {count} functions can be hooked"))),
        Err(AttachError::NoAllocator { found, remedy, .. }) => Some(Err(Unhookable { found, remedy })),
        Err(_) => None,
    }
}

/// The text of a small file; none where it cannot be read. What is no UTF-8 is replaced, since names may be anything.
fn text(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(PROC_FILE_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn number(path: &str) -> Option<u32> {
    text(path)?.trim().parse().ok()
}

/// The value of a line `Name:\tvalue` of `/proc/PID/status`; the kernel escapes line ends within names.
fn field<'text>(status: &'text str, name: &str) -> Option<&'text str> {
    let value = |line: &'text str| line.strip_prefix(name)?.strip_prefix(':').map(str::trim);
    status.lines().find_map(value)
}

fn parsed(status: &str, name: &str) -> Option<u32> {
    field(status, name)?.parse().ok()
}

fn kib(status: &str, name: &str) -> Option<Bytes> {
    field(status, name)?.strip_suffix("kB")?.trim().parse().ok().map(Bytes::from_kib)
}

/// Real, effective, saved and file system user.
fn users(status: &str) -> Option<[u32; 4]> {
    let mut users = field(status, "Uid")?.split_whitespace().map_while(|user| user.parse().ok());
    Some([users.next()?, users.next()?, users.next()?, users.next()?])
}

/// The kernel gives the files of a process that is not dumpable to root (proc(5)), whoever its user is; the folder itself it never does.
fn dumpable(folder: &str, effective_user: u32) -> Option<bool> {
    if effective_user == 0 {
        return None;
    }
    Some(fs::metadata(format!("{folder}/status")).ok()?.uid() == effective_user)
}

/// Opening `mem` makes the kernel check `PTRACE_MODE_ATTACH`, with Yama and the security modules, and changes nothing.
fn access(folder: &str) -> Access {
    match File::open(format!("{folder}/mem")) {
        Ok(_) => Access::Allowed,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Access::Denied,
        Err(error) => Access::Failed(error.to_string()),
    }
}

/// Field 9, counted behind the name, which may itself contain parentheses and spaces.
fn is_kernel_thread(stat: &str) -> bool {
    let flags = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & PF_KTHREAD != 0)
}

fn other_namespaces(folder: &str) -> Option<Vec<&'static str>> {
    let mut others = Vec::new();
    for name in ["mnt", "pid", "user"] {
        let theirs = fs::read_link(format!("{folder}/ns/{name}")).ok()?;
        if fs::read_link(format!("/proc/self/ns/{name}")).ok()? != theirs {
            others.push(name);
        }
    }
    Some(others)
}

/// The soft limit of the line `Max address space`.
fn address_space_limit(limits: &str) -> Option<Bytes> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok().map(Bytes)
}

/// `MemAvailable`: what programs may still take before the machine swaps.
pub(crate) fn memory_available() -> Reading<Bytes> {
    match text("/proc/meminfo") {
        Some(meminfo) => Reading::from_option(kib(&meminfo, "MemAvailable"), Why::NotOffered),
        None => Reading::Missing(Why::NotOffered),
    }
}

/// The option of the mount of `/proc` itself.
fn hidepid(mounts: &str) -> Option<String> {
    // One that was mounted over another is listed behind it.
    let line = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some("/proc"))?;
    let options = line.split(' ').nth(3)?;
    options.split(',').find_map(|option| option.strip_prefix("hidepid=")).map(|value| escaped(value.as_bytes()))
}

/// Only the first user namespace has all numbers of users as they are.
fn is_initial(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The marks that runtimes leave for exactly this purpose.
fn container() -> Option<String> {
    let marks = [
        ("/var/run/secrets/kubernetes.io", "kubernetes"),
        ("/.dockerenv", "docker"),
        ("/run/.containerenv", "podman"),
        ("/run/systemd/container", "a container"),
    ];
    let marked = marks.into_iter().find(|(mark, _)| Path::new(mark).exists()).map(|(_, kind)| kind);
    let group = || text("/proc/self/cgroup").as_deref().and_then(container_of_group);
    marked.or_else(group).map(str::to_owned)
}

/// The runtime that a control group is named after; inside of a namespace of control groups it is not.
fn container_of_group(groups: &str) -> Option<&'static str> {
    let names = [("kubepods", "kubernetes"), ("docker", "docker"), ("libpod", "podman"), ("lxc", "lxc")];
    names.into_iter().find(|(name, _)| groups.contains(name)).map(|(_, kind)| kind)
}

/// Paths of files that are mapped executable, each once; the executable comes first, since it lies lowest or is asked
/// for by `exe` anyway.
fn code_paths(maps: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let executable = fields.nth(1).is_some_and(|permissions| permissions.as_bytes().get(2) == Some(&b'x'));
        // The path is the rest of the line; it may contain spaces, and the kernel escapes line ends.
        let path = line.find('/').and_then(|at| line.get(at..)).filter(|_| executable);
        if let Some(path) = path.filter(|path| paths.iter().all(|known| known != path)) {
            paths.push(path.to_owned());
        }
        if paths.len() == MODULES_MAX {
            break;
        }
    }
    paths
}

/// The allocator that answers to `malloc`: one that was linked in before the C library wins.
fn allocator(paths: &[String]) -> Option<(Allocator, String)> {
    const NAMES: [(&str, Allocator); 9] = [
        ("libasan", Allocator::Sanitizer),
        ("liblsan", Allocator::Sanitizer),
        ("libtsan", Allocator::Sanitizer),
        ("libjemalloc", Allocator::Other),
        ("libtcmalloc", Allocator::Other),
        ("libmimalloc", Allocator::Other),
        ("ld-musl-", Allocator::Other),
        ("libc.so.6", Allocator::Glibc),
        ("libc-2.", Allocator::Glibc),
    ];
    let file_name = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
    NAMES.into_iter().find_map(|(name, kind)| {
        let path = paths.iter().find(|path| file_name(path).starts_with(name))?;
        Some((kind, escaped(path.as_bytes())))
    })
}

fn modules(folder: &str, paths: &[String]) -> Vec<Module> {
    let mut modules = Vec::new();
    for path in paths {
        // A deleted file is judged by nothing: what lies at its path now is another one.
        if let Ok(binary) = binary(Path::new(&format!("{folder}/root{path}"))) {
            let debugging =
                if has_debug_file(folder, binary.build_id.as_deref()) { Debugging::Lines } else { binary.debugging };
            modules.push(Module { path: escaped(path.as_bytes()), debugging });
        }
    }
    modules
}

/// Where distributions put debug information, as the process sees it or as we do.
fn has_debug_file(folder: &str, build_id: Option<&str>) -> bool {
    let Some((head, tail)) = build_id.and_then(|id| id.split_at_checked(2)) else {
        return false;
    };
    let path = format!("/usr/lib/debug/.build-id/{head}/{tail}.debug");
    Path::new(&path).exists() || Path::new(&format!("{folder}/root{path}")).exists()
}

fn binary(path: &Path) -> Result<Binary, String> {
    let unreadable = |error: io::Error| format!("the program file cannot be read: {error}");
    // Never a pipe or a device, which opening or reading could block on or change.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("the program is no regular file".to_owned());
    }
    let file = File::open(path).map_err(unreadable)?;
    Binary::read(&|at, buffer| file.read_exact_at(buffer, at))
}

/// What tests start from: nothing known of the machine, and a process without any obstacle.
#[cfg(test)]
mod blank {
    use super::{Access, Allocator, Binary, Bytes, Debugging, Machine, Module, Pid, Reading, Target, Why};

    impl Default for Machine {
        fn default() -> Self {
            Self {
                kernel: None,
                ptrace_scope: None,
                capabilities: None,
                bounding: Some(u64::MAX),
                proc_mounted: true,
                seccomp: None,
                memfd_noexec: None,
                hidepid: None,
                memory_available: Reading::Missing(Why::NotRecorded),
                selinux_deny_ptrace: false,
                container: None,
                initial_user_namespace: Some(true),
            }
        }
    }

    impl Target {
        pub(in super::super) fn ordinary(pid: Pid) -> Self {
            Self {
                pid,
                command: String::new(),
                ours: false,
                kernel_thread: false,
                state: Some('S'),
                tracer: Some(0),
                threads: Some(4),
                seccomp: Some(0),
                locked: Some(Bytes(0)),
                size: Some(Bytes(1 << 30)),
                same_user: Some(true),
                dumpable: Some(true),
                access: Access::Allowed,
                same_user_namespace: Some(true),
                other_namespaces: Some(Vec::new()),
                address_space_limit: None,
                program: Ok(Binary {
                    bits: 64,
                    machine: Binary::X86_64,
                    dynamic: true,
                    debugging: Debugging::Lines,
                    build_id: None,
                }),
                allocator: Some((Allocator::Glibc, "/lib/libc.so.6".to_owned())),
                hooks: Some(Ok("glibc (/lib/libc.so.6); 9 functions can be hooked".to_owned())),
                modules: Some(vec![Module { path: "/bin/server".to_owned(), debugging: Debugging::Lines }]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\ta Uid: 7\nUmask:\t0022\nState:\tS (sleeping)\nTracerPid:\t0\nUid:\t1000\t1001\t1002\t1003\n\
                          VmLck:\t     16 kB\nSeccomp:\t2\n";

    #[test]
    fn status_is_read_by_whole_names() {
        assert_eq!(field(STATUS, "Name"), Some("a Uid: 7"), "a name may look like a field");
        assert_eq!(users(STATUS), Some([1000, 1001, 1002, 1003]));
        assert_eq!(kib(STATUS, "VmLck"), Some(Bytes(16 * 1024)));
        assert_eq!(parsed(STATUS, "Seccomp"), Some(2));
        assert_eq!(field(STATUS, "VmSize"), None);
        assert_eq!(users("Uid:\t1000\t1000\n"), None, "a cut line is no reading");
    }

    #[test]
    fn kernel_threads_are_known_by_their_flag_not_by_their_name() {
        assert!(is_kernel_thread("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0"));
        assert!(!is_kernel_thread("77 (kthreadd) S 0 77 77 0 -1 4194560 0 0"));
        assert!(is_kernel_thread("9 (a) S 1 (b) S 0 0 0 0 -1 2129984 0 0"));
        assert!(!is_kernel_thread("9 (cut"));
    }

    #[test]
    fn limits_and_mounts() {
        let limits = |value: &str| {
            format!("Limit  Soft Limit  Hard Limit\nMax address space         {value}  unlimited bytes\n")
        };
        assert_eq!(address_space_limit(&limits("unlimited")), None);
        assert_eq!(address_space_limit(&limits("1073741824")), Some(Bytes(1 << 30)));
        assert_eq!(hidepid("proc /proc proc rw,nosuid,hidepid=2 0 0\n").as_deref(), Some("2"));
        assert_eq!(hidepid("proc /proc proc rw 0 0\nproc /x/proc proc rw,hidepid=2 0 0\n"), None);
        let over_another = "proc /proc proc rw 0 0\nproc /proc proc rw,hidepid=invisible 0 0\n";
        assert_eq!(hidepid(over_another).as_deref(), Some("invisible"));
    }

    #[test]
    fn the_first_user_namespace_maps_every_user_to_itself() {
        assert!(is_initial("         0          0 4294967295\n"));
        assert!(!is_initial("         0       1000          1\n"));
        assert!(!is_initial("         0     100000      65536\n"));
        assert!(!is_initial(""), "a namespace whose users are not mapped yet");
    }

    #[test]
    fn code_is_what_is_mapped_executable() {
        let maps = "5000-6000 r--p 0 fe:01 1   /bin/a b\n6000-7000 r-xp 0 fe:01 1   /bin/a b\n\
                    7000-8000 r-xp 0 fe:01 2   /lib/libc.so.6\n8000-9000 r-xp 0 fe:01 2   /lib/libc.so.6\n\
                    9000-a000 r-xp 0 00:00 0   [vdso]\n";
        let paths = code_paths(maps);
        assert_eq!(paths, ["/bin/a b", "/lib/libc.so.6"]);
        assert_eq!(allocator(&paths), Some((Allocator::Glibc, "/lib/libc.so.6".to_owned())));
    }

    #[test]
    fn an_allocator_that_was_put_before_the_c_library_answers() {
        let paths = ["/lib/libc.so.6", "/opt/libjemalloc.so.2"].map(str::to_owned);
        assert_eq!(allocator(&paths).map(|(kind, _)| kind), Some(Allocator::Other));
        let paths = ["/lib/libc.so.6", "/usr/lib/libasan.so.8"].map(str::to_owned);
        assert_eq!(allocator(&paths).map(|(kind, _)| kind), Some(Allocator::Sanitizer));
        assert_eq!(allocator(&["/lib/libcrypt.so.1".to_owned()]), None);
    }

    #[test]
    fn a_container_is_known_by_its_control_group_too() {
        assert_eq!(
            container_of_group("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-2.scope"),
            Some("kubernetes")
        );
        assert_eq!(container_of_group("0::/system.slice/docker-a61321fa.scope"), Some("docker"));
        assert_eq!(container_of_group("0::/machine.slice/libpod-9.scope/container"), Some("podman"));
        assert_eq!(container_of_group("0::/user.slice/user-1000.slice"), None);
    }

    #[test]
    fn this_process_is_found_as_it_is() {
        let own = Target::gather(Pid(std::process::id())).expect("we run");
        assert!(own.ours && !own.kernel_thread);
        assert!(matches!(own.access, Access::Allowed), "{:?}", own.access);
        let program = own.program.expect("we have a program");
        assert_eq!((program.bits, program.debugging), (64, Debugging::Lines));
        assert!(own.modules.is_some_and(|modules| !modules.is_empty()));
        assert_eq!(own.other_namespaces, Some(Vec::new()));
    }
}
