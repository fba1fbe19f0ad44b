//! Real modules for the tests of this crate: sources compiled by the compilers of this machine, and what binutils say.
//!
//! Owns: running compilers and binutils, and the temporary files of that. Must not know: what is tested.
#![expect(clippy::disallowed_methods, reason = "tests compare with compilers and binutils, which are other programs")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A file that goes away with its folder when the test ends.
#[derive(Debug)]
pub(crate) struct Built {
    folder: PathBuf,
    pub(crate) path: PathBuf,
}

impl Built {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }

    pub(crate) fn text_path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        // A folder that stays behind in the temporary folder does not make a test wrong.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Compiles `source`, whose language is that of `name`'s extension, with `flags`.
#[track_caller]
pub(crate) fn compile(name: &str, source: &str, flags: &str) -> Built {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("leakline-stacks-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("module");
    std::fs::write(folder.join(name), source).unwrap();
    let compiler = match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("c" | "s") => "gcc",
        Some("cpp") => "g++",
        Some("rs") => "rustc",
        other => panic!("no compiler for {other:?}"),
    };
    let mut command = Command::new(compiler);
    command.current_dir(&folder).arg(name).args(flags.split_whitespace()).arg("-o").arg(&path);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Built { folder, path }
}

/// What a program prints.
#[track_caller]
pub(crate) fn output(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program).args(arguments).output().unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// The C library of this machine.
pub(crate) fn libc() -> PathBuf {
    PathBuf::from(output("gcc", &["-print-file-name=libc.so.6"]).trim()).canonicalize().unwrap()
}
