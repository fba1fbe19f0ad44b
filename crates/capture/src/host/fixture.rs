//! A synthetic procfs on disk, for tests.
//!
//! Owns: directories that look like `/proc`. Must not know: who reads them.

use std::fs;
use std::path::{Path, PathBuf};

/// An empty directory of this name, below the directory for temporary files.
pub(super) fn root(name: &str) -> PathBuf {
    let root = std::env::temp_dir().join(format!("leakline-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&root).unwrap();
    root
}

/// Writes a process that sleeps: its `stat`, `status`, `cmdline` and `cgroup`.
pub(super) fn process(root: &Path, pid: u32, started: u64, command: &str, anon_kib: u64) {
    let folder = root.join(pid.to_string());
    fs::create_dir_all(&folder).unwrap();
    let fields: Vec<String> =
        (5..=52).map(|field| if field == 22 { started.to_string() } else { "0".to_owned() }).collect();
    fs::write(folder.join("stat"), format!("{pid} ({command}) S 1 {}\n", fields.join(" "))).unwrap();
    fs::write(folder.join("status"), status(pid, command, anon_kib)).unwrap();
    fs::write(folder.join("cmdline"), format!("/bin/{command}\0--flag\0")).unwrap();
    fs::write(folder.join("cgroup"), format!("0::/{command}.service\n")).unwrap();
}

/// Makes a process a thread of the kernel.
pub(super) fn kernel_thread(root: &Path, pid: u32, command: &str) {
    process(root, pid, 1, command, 0);
    let fields: Vec<String> =
        (5..=52).map(|field| if field == 9 { "2129984".to_owned() } else { "0".to_owned() }).collect();
    fs::write(root.join(format!("{pid}/stat")), format!("{pid} ({command}) S 2 {}\n", fields.join(" "))).unwrap();
    fs::write(
        root.join(format!("{pid}/status")),
        format!("Name:\t{command}\nState:\tI (idle)\nTgid:\t{pid}\nThreads:\t1\n"),
    )
    .unwrap();
}

fn status(pid: u32, command: &str, anon_kib: u64) -> String {
    format!(
        "Name:\t{command}\nState:\tS (sleeping)\nTgid:\t{pid}\nUid:\t7\t7\t7\t7\nRssAnon:\t{anon_kib} kB\n\
         RssFile:\t8 kB\nRssShmem:\t0 kB\nVmPTE:\t4 kB\nVmSwap:\t0 kB\nThreads:\t1\n"
    )
}
