//! How much memory a control group may still take.
//!
//! Owns: finding the group below the mounts and the nearest limit above it. Must not know: who is in the group.

use std::fs;
use std::path::{Component, Path, PathBuf};

use formats::{cgroup, memory};
use model::{Bytes, Pid, Reading, Why};

use super::limits::GROUP_DEPTH_MAX;

/// The files of one version.
struct Version {
    /// Where it is usually mounted, below `/sys/fs/cgroup`.
    mount: &'static str,
    limit: &'static str,
    usage: &'static str,
    unified: bool,
}

/// Version 1 goes first: where its memory controller is mounted, version 2 has none.
const VERSIONS: [Version; 3] = [
    Version { mount: "memory", limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", unified: false },
    Version { mount: "", limit: "memory.max", usage: "memory.current", unified: true },
    Version { mount: "unified", limit: "memory.max", usage: "memory.current", unified: true },
];

/// What a group may still take until it or a group above it is at its limit. Missing where no limit is set, or where the
/// group cannot be seen from here (inside a container its path begins elsewhere).
pub(super) fn room(root: &Path, group: &str) -> Reading<Bytes> {
    if !is_plain(group) {
        return Reading::Missing(Why::NotRecorded);
    }
    let Some((version, folder)) = find(root, group) else { return Reading::Missing(Why::NotOffered) };
    nearest(version, &root.join(version.mount), &folder)
}

/// What the group of a process may still take.
pub(crate) fn group_room(pid: Pid) -> Reading<Bytes> {
    let text = fs::read(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    match cgroup::parse(&text) {
        Reading::Known(group) => room(Path::new("/sys/fs/cgroup"), &String::from_utf8_lossy(group.path)),
        Reading::Missing(why) => Reading::Missing(why),
    }
}

/// Where the files of a group are; none where it cannot be seen from here.
pub(super) fn folder(root: &Path, group: &str) -> Option<PathBuf> {
    is_plain(group).then(|| find(root, group).map(|(_, folder)| folder))?
}

/// `..` leads out of the hierarchy (a group of another namespace). A backslash may be an escape of ours, and then the folder has
/// another name; what systemd escapes, as `\x2d`, we would not.
fn is_plain(group: &str) -> bool {
    let upward = Path::new(group).components().any(|part| part == Component::ParentDir);
    let of_systemd = |rest: &str| {
        let code = rest.strip_prefix('x').and_then(|rest| u8::from_str_radix(rest.get(..2)?, 16).ok());
        code.is_some_and(|code| matches!(code, b' '..=b'~'))
    };
    group.starts_with('/') && group.split('\\').skip(1).all(of_systemd) && !upward
}

fn find(root: &Path, group: &str) -> Option<(&'static Version, PathBuf)> {
    VERSIONS.iter().find_map(|version| {
        let folder = root.join(version.mount).join(group.trim_start_matches('/'));
        folder.join(version.usage).exists().then_some((version, folder))
    })
}

fn nearest(version: &Version, mount: &Path, folder: &Path) -> Reading<Bytes> {
    let above = folder.ancestors().take_while(|folder| folder.starts_with(mount)).take(GROUP_DEPTH_MAX);
    let least = above.filter_map(|folder| free(version, folder)).min();
    Reading::from_option(least, Why::NotRecorded)
}

/// What one group may still take; none where it has no limit of its own.
fn free(version: &Version, folder: &Path) -> Option<Bytes> {
    let read = |name: &str| fs::read(folder.join(name)).ok();
    let limit = memory::limit(&read(version.limit)?).known()??;
    let usage = memory::usage(&read(version.usage)?).known()?;
    // Without the figure all usage counts: the estimate is then early rather than late.
    let dropped = read("memory.stat").and_then(|text| memory::reclaimable(&text, version.unified).known());
    let used = usage.0.saturating_sub(dropped.unwrap_or_default().0);
    Some(Bytes(limit.0.saturating_sub(used)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(root: &Path, path: &str, limit: &str, usage: &str) {
        let folder = root.join(path);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("memory.max"), limit).unwrap();
        fs::write(folder.join("memory.current"), usage).unwrap();
        fs::write(folder.join("memory.stat"), "anon 1\ninactive_file 10\n").unwrap();
    }

    #[test]
    fn the_nearest_limit_above_counts() {
        let root = crate::host::fixture::root("room");
        group(&root, "a", "100\n", "50\n");
        group(&root, "a/b", "max\n", "20\n");
        group(&root, "a/c", "30\n", "25\n");
        group(&root, "d", "max\n", "25\n");
        group(&root, "full", "30\n", "90\n");
        let check = |path: &str, expected: Reading<u64>| assert_eq!(room(&root, path), expected.map(Bytes), "{path}");
        check("/a/b", Reading::Known(60));
        check("/a/c", Reading::Known(15));
        check("/full", Reading::Known(0));
        check("/d", Reading::Missing(Why::NotRecorded));
        check("/absent", Reading::Missing(Why::NotOffered));
        check("/../a", Reading::Missing(Why::NotRecorded));
        check("/a\\x1b", Reading::Missing(Why::NotRecorded));
        check("a", Reading::Missing(Why::NotRecorded));
        group(&root, "machine-a\\x2db.scope", "30\n", "25\n");
        check("/machine-a\\x2db.scope", Reading::Known(15));
        check("/a\\x2", Reading::Missing(Why::NotRecorded));
        check("/a\\n", Reading::Missing(Why::NotRecorded));
    }

    #[test]
    fn version_1_has_its_own_names() {
        let root = crate::host::fixture::root("room-1");
        let folder = root.join("memory/x");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("memory.limit_in_bytes"), "100\n").unwrap();
        fs::write(folder.join("memory.usage_in_bytes"), "70\n").unwrap();
        fs::write(folder.join("memory.stat"), "inactive_file 1\ntotal_inactive_file 20\n").unwrap();
        assert_eq!(room(&root, "/x"), Reading::Known(Bytes(50)));
    }
}
