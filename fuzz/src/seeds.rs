//! Sound inputs from which damaged ones are made.
//!
//! Owns: programs of this machine, small ones that its compiler makes, and files of the checkout. Must not know: how they are
//! damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A larger file is slow to copy, and damage to it mostly hits what nobody looks at.
const SEED_BYTES_MAX: u64 = 300 << 10;

/// Programs and libraries that nearly every machine has, each with tables of its own kind.
const OF_THE_MACHINE: [&str; 6] = [
    "/usr/bin/true",
    "/usr/bin/gzip",
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/x86_64-linux-gnu/libgcc_s.so.1",
    "/lib/x86_64-linux-gnu/libz.so.1",
    "/lib/x86_64-linux-gnu/libdl.so.2",
];

const C: &str = "#include <stdlib.h>\nstatic inline __attribute__((always_inline)) void *inner(int n) { return malloc(n); }\n\
    __attribute__((noinline)) void *outer(int n) { char *p = inner(n + 1); if (!p) abort(); return p; }\n\
    int main(int c, char **v) { (void)v; for (int i = 0; i < c; i++) free(outer(i)); return 0; }\n";

const CPP: &str = "#include <new>\nnamespace pool { template <class T> struct of { T *take(int n) { return new T[n]; } }; }\n\
    struct big { long a[9]; ~big() {} };\n\
    int main(int c, char **) { try { delete[] pool::of<big>().take(c); } catch (std::bad_alloc &) { return 1; } return 0; }\n";

/// Name, language, options.
const COMPILED: [(&str, &str, &str); 8] = [
    ("plain", "c", "-O2 -g"),
    ("dwarf4", "c", "-O2 -gdwarf-4"),
    ("dwarf3", "c", "-O1 -gdwarf-3 -gstrict-dwarf"),
    ("compressed", "c", "-O2 -g -gz"),
    ("split", "c", "-O2 -g -gsplit-dwarf"),
    ("debug-frame", "c", "-O0 -g -fno-asynchronous-unwind-tables -fno-exceptions"),
    ("cpp", "c++", "-O1 -g"),
    ("static-pie-less", "c", "-O2 -no-pie -fno-omit-frame-pointer"),
];

/// Calls of [`elf_files`]: two at once must not build into each other's programs.
static CALLS: AtomicU32 = AtomicU32::new(0);

/// ELF files; programs that could not be made are named.
pub(crate) fn elf_files() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = OF_THE_MACHINE.iter().filter_map(|path| small(Path::new(path))).collect();
    let call = CALLS.fetch_add(1, Relaxed);
    let folder = std::env::temp_dir().join(format!("leakline-fuzz-{}-{call}", std::process::id()));
    if let Err(error) = fs::create_dir_all(&folder) {
        println!("NOT RUN: seeds by the compiler: {}: {error}", folder.display());
        return seeds;
    }
    for (name, language, options) in COMPILED {
        match compiled(&folder, name, language, options) {
            Some(program) => seeds.extend(small(&program)),
            None => println!("NOT RUN: the seed {name}: gcc cannot make it here"),
        }
    }
    match with_mini_debug_info(&folder) {
        Some(program) => seeds.extend(small(&program)),
        None => println!("NOT RUN: the seed with MiniDebugInfo: objcopy or xz is missing"),
    }
    // What could not be removed is in the folder for temporary files.
    let _ = fs::remove_dir_all(&folder);
    assert!(!seeds.is_empty(), "there is no program on this machine");
    seeds
}

/// Files of `/proc` as they are now, and some with more in them.
pub(crate) fn texts() -> Vec<Vec<u8>> {
    const OF_PROC: [&str; 19] = [
        "self/maps",
        "self/smaps",
        "self/smaps_rollup",
        "self/stat",
        "self/status",
        "self/limits",
        "self/cgroup",
        "self/mountinfo",
        "meminfo",
        "vmstat",
        "buddyinfo",
        "swaps",
        "loadavg",
        "uptime",
        "sysvipc/shm",
        "slabinfo",
        "pressure/memory",
        "sys/fs/file-nr",
        "stat",
    ];
    let mut seeds: Vec<Vec<u8>> = OF_PROC.iter().filter_map(|name| fs::read(format!("/proc/{name}")).ok()).collect();
    seeds.extend(fs::read("/etc/passwd").ok());
    seeds.push(
        b"6,339,5140900,-;Out of memory: Killed process 9 (a b) total-vm:1kB, anon-rss:2kB\n SUBSYSTEM=x\n".to_vec(),
    );
    seeds.push(
        b"7f00-7f10 r-xp 00001000 08:01 42 /tmp/a\\012b (deleted)\n7f10-7f20 rw-s 0 00:05 9 /memfd:leakline (deleted)\n"
            .to_vec(),
    );
    seeds.push(
        b"cache: 1\nslabinfo - version: 2.1\nkmalloc-8 512 512 8 512 1 : tunables 0 0 0 : slabdata 1 1 0\n".to_vec(),
    );
    seeds
}

/// Both kinds of segments of a recording.
pub(crate) fn segments() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/recording/tests/data");
    let versions = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = versions.filter_map(|version| fs::read_dir(version.path()).ok()).flatten().flatten();
    let is_segment =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log" || extension == "segment");
    let mut paths: Vec<PathBuf> = files.map(|file| file.path()).filter(is_segment).collect();
    paths.sort();
    let seeds: Vec<_> = paths.iter().filter_map(|path| small(path)).collect();
    assert!(!seeds.is_empty(), "the checkout has a recording of each version");
    seeds
}

fn small(path: &Path) -> Option<Vec<u8>> {
    let length = fs::metadata(path).ok()?.len();
    (length <= SEED_BYTES_MAX).then(|| fs::read(path).ok())?
}

fn compiled(folder: &Path, name: &str, language: &str, options: &str) -> Option<PathBuf> {
    let (source, program) = (folder.join(format!("{name}.source")), folder.join(name));
    fs::write(&source, if language == "c" { C } else { CPP }).ok()?;
    let mut gcc = Command::new("gcc");
    gcc.current_dir(folder).args(options.split(' ')).args(["-x", language]).arg(&source);
    gcc.args(["-x", "none", "-lstdc++"]).arg("-o").arg(&program);
    done(&mut gcc).then_some(program)
}

/// As Fedora has it: a stripped program, and its symbols as an ELF file in a section, packed by xz.
fn with_mini_debug_info(folder: &Path) -> Option<PathBuf> {
    let (whole, program, symbols) = (folder.join("plain"), folder.join("mini"), folder.join("mini.symbols"));
    let kept = done(Command::new("objcopy").args(["-S", "--keep-symbol=outer"]).arg(&whole).arg(&symbols));
    if !kept || !done(Command::new("xz").arg("-f").arg(&symbols)) {
        return None;
    }
    let section = format!(".gnu_debugdata={}.xz", symbols.display());
    let mut objcopy = Command::new("objcopy");
    objcopy.args(["--strip-all", "--add-section", &section]).arg(&whole).arg(&program);
    done(&mut objcopy).then_some(program)
}

fn done(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_seeds_of_every_form() {
        assert!(elf_files().iter().all(|seed| seed.starts_with(b"\x7fELF")));
        assert!(texts().len() > 5 && !segments().is_empty());
        assert!(segments().iter().all(|seed| seed.starts_with(b"LEAKLINE")));
    }
}
