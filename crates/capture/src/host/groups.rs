//! Memory of control groups, as figures.
//!
//! Owns: walking the tree of either version, and where each figure stands. Must not know: who is in a group.

use std::fs;
use std::path::Path;

use formats::{entries, memory};
use model::{Reading, Why};

use super::details::missing;
use super::keys::Filling;
use super::limits::{GROUP_DEPTH_MAX, GROUPS_MAX};
use super::proc::{Failure, failure};

/// Where the figures of one version stand.
struct Version {
    /// Below the mount point of all hierarchies.
    mount: &'static str,
    number: u64,
    usage: &'static str,
    limit: &'static str,
    /// Names in `memory.stat`. Those of version 1 with `total_` count the groups below too, as the usage does.
    anon: &'static str,
    file: &'static str,
    shmem: &'static str,
    kernel: Kernel,
    events: [(&'static str, &'static str, &'static str); 4],
}

/// Where the kernel's own memory stands.
enum Kernel {
    Stat(&'static str),
    File(&'static str),
}

/// Version 1 goes first: where its memory controller is mounted, version 2 has none.
const VERSIONS: [Version; 3] = [
    Version {
        mount: "memory",
        number: 1,
        usage: "memory.usage_in_bytes",
        limit: "memory.limit_in_bytes",
        anon: "total_rss",
        file: "total_cache",
        shmem: "total_shmem",
        kernel: Kernel::File("memory.kmem.usage_in_bytes"),
        events: [
            ("events.oom", "", ""),
            ("events.oom_kill", "memory.oom_control", "oom_kill"),
            ("events.max", "memory.failcnt", ""),
            ("events.high", "", ""),
        ],
    },
    UNIFIED,
    Version { mount: "unified", ..UNIFIED },
];

const UNIFIED: Version = Version {
    mount: "",
    number: 2,
    usage: "memory.current",
    limit: "memory.max",
    anon: "anon",
    file: "file",
    shmem: "shmem",
    kernel: Kernel::Stat("kernel"),
    events: [
        ("events.oom", "memory.events", "oom"),
        ("events.oom_kill", "memory.events", "oom_kill"),
        ("events.max", "memory.events", "max"),
        ("events.high", "memory.events", "high"),
    ],
};

/// Adds the figures of all groups below `root`, the mount point of the hierarchies, parents before their children.
pub(super) fn fill(root: &Path, filling: &mut Filling<'_>) -> Result<(), Failure> {
    for version in &VERSIONS {
        let mount = root.join(version.mount);
        // The root group of version 2 has no usage of its own, only a tree with memory below it.
        let groups = walk(&mount, version);
        if groups.is_empty() {
            continue;
        }
        for path in groups {
            group(version, &mount, &path, filling);
        }
        return Ok(());
    }
    Err(Failure::Gone)
}

/// Paths of the groups that count memory, relative to the mount, in a stable order; the nearest to the root first.
fn walk(mount: &Path, version: &Version) -> Vec<String> {
    let mut found = Vec::new();
    let mut level = vec![String::new()];
    for _ in 0..GROUP_DEPTH_MAX {
        let mut next = Vec::new();
        for path in level {
            let folder = mount.join(&path);
            if folder.join(version.usage).exists() {
                found.push(path.clone());
            }
            next.extend(
                below(&folder).into_iter().map(|name| if path.is_empty() { name } else { format!("{path}/{name}") }),
            );
            if found.len() >= GROUPS_MAX || next.len() >= GROUPS_MAX {
                break;
            }
        }
        if next.is_empty() || found.len() >= GROUPS_MAX {
            break;
        }
        level = next;
    }
    found.truncate(GROUPS_MAX);
    found
}

/// Names of the folders in a folder; names that are no text are left out, no container manager makes any.
fn below(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut names: Vec<String> =
        folders.filter_map(|entry| entry.file_name().into_string().ok()).take(GROUPS_MAX).collect();
    names.sort_unstable();
    names
}

fn group(version: &Version, mount: &Path, path: &str, filling: &mut Filling<'_>) {
    let folder = mount.join(path);
    let read = |name: &str| fs::read(folder.join(name)).map_err(|error| failure(&error));
    let subject = format!("/{path}");
    let mut push = |name: &str, value: Reading<u64>| filling.push(subject.as_bytes(), name.as_bytes(), value);
    push("version", Reading::Known(version.number));
    push("usage", number(read(version.usage)));
    push("limit", limit(read(version.limit)));
    let stat = read("memory.stat");
    let named = |name: &str| match &stat {
        Ok(text) => entries::find(text, name),
        Err(failure) => missing(*failure),
    };
    push("anon", named(version.anon));
    push("file", named(version.file));
    push(
        "kernel",
        match version.kernel {
            Kernel::Stat(name) => named(name),
            Kernel::File(name) => number(read(name)),
        },
    );
    push("shmem", named(version.shmem));
    for (name, file, entry) in version.events {
        push(
            name,
            match (file, entry) {
                ("", _) => Reading::Missing(Why::NotOffered),
                (file, "") => number(read(file)),
                (file, entry) => read(file).map_or_else(missing, |text| entries::find(&text, entry)),
            },
        );
    }
}

fn number(text: Result<Vec<u8>, Failure>) -> Reading<u64> {
    text.map_or_else(missing, |text| memory::usage(&text).map(|bytes| bytes.0))
}

fn limit(text: Result<Vec<u8>, Failure>) -> Reading<u64> {
    text.map_or_else(missing, |text| memory::limit(&text).map(|limit| limit.map_or(u64::MAX, |bytes| bytes.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    use crate::host::fixture;
    use crate::host::keys::Keys;

    /// The figures of all groups, one line each: `path name=value …`, `max` for no limit.
    fn written(root: &Path) -> String {
        let mut outcome = Ok(());
        let (figures, _) = Keys::default().fill(|filling| outcome = fill(root, filling));
        let mut text = String::new();
        let mut subject = String::new();
        for figure in figures {
            if *figure.key.subject != *subject {
                subject = figure.key.subject.to_string();
                let _ = write!(text, "\n{subject}");
            }
            let value = figure
                .value
                .known()
                .map_or("-".to_owned(), |value| if value == u64::MAX { "max".into() } else { value.to_string() });
            let _ = write!(text, " {}={value}", figure.key.name);
        }
        if outcome.is_err() { "none".to_owned() } else { text.trim_start().to_owned() }
    }

    fn write(root: &Path, path: &str, files: &[(&str, &str)]) {
        let folder = root.join(path);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn a_tree_of_version_2() {
        let root = fixture::root("groups-2");
        let stat = "anon 30\nfile 20\nkernel 6\nshmem 5\ninactive_file 1\n";
        let events = "low 0\nhigh 4\nmax 3\noom 2\noom_kill 1\n";
        let files =
            [("memory.current", "56\n"), ("memory.max", "max\n"), ("memory.stat", stat), ("memory.events", events)];
        write(&root, "system.slice/b.service", &files);
        write(&root, "system.slice", &files);
        write(&root, "a", &[("memory.current", "7\n"), ("memory.max", "100\n")]);
        assert_eq!(
            written(&root),
            "/a version=2 usage=7 limit=100 anon=- file=- kernel=- shmem=- events.oom=- events.oom_kill=- events.max=- events.high=-\n\
             /system.slice version=2 usage=56 limit=max anon=30 file=20 kernel=6 shmem=5 events.oom=2 events.oom_kill=1 events.max=3 events.high=4\n\
             /system.slice/b.service version=2 usage=56 limit=max anon=30 file=20 kernel=6 shmem=5 events.oom=2 events.oom_kill=1 events.max=3 events.high=4"
        );
    }

    #[test]
    fn version_1_goes_first_and_has_its_own_names() {
        let root = fixture::root("groups-1");
        write(&root, "unified/x", &[("memory.current", "1\n")]);
        let stat = "cache 1\nrss 2\ntotal_cache 20\ntotal_rss 30\ntotal_shmem 5\n";
        let control = "oom_kill_disable 0\nunder_oom 0\noom_kill 9\n";
        let files = [
            ("memory.usage_in_bytes", "60\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.stat", stat),
            ("memory.oom_control", control),
            ("memory.kmem.usage_in_bytes", "8\n"),
            ("memory.failcnt", "4\n"),
        ];
        write(&root, "memory", &files);
        assert_eq!(
            written(&root),
            "/ version=1 usage=60 limit=max anon=30 file=20 kernel=8 shmem=5 events.oom=- events.oom_kill=9 events.max=4 events.high=-"
        );
    }

    #[test]
    fn without_groups_the_source_is_missing() {
        assert_eq!(written(&fixture::root("groups-0")), "none");
        assert_eq!(written(Path::new("/nonexistent")), "none");
    }

    #[test]
    fn their_number_is_bounded() {
        let root = fixture::root("groups-many");
        for index in 0..GROUPS_MAX + 20 {
            write(&root, &format!("{index}"), &[("memory.current", "1\n")]);
        }
        assert!(walk(&root, &UNIFIED).len() <= GROUPS_MAX);
    }
}
