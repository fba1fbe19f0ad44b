//! Builds the agent as a freestanding image that `src/native/image.rs` embeds.
//!
//! Owns: the compiler's options for it. It must come out without relocations and imports, since it is loaded by leakline and
//! not by the target's dynamic linker; `src/native/image.rs` tests that.

#![expect(clippy::disallowed_methods, reason = "a build script that runs the compiler")]

use std::env::var;
use std::path::{Path, PathBuf};
use std::process::Command;

const OPTIONS: &[&str] = &[
    "--edition=2024",
    "--cap-lints=allow",
    "--cfg=leakline_image",
    "-Copt-level=3",
    "-Cpanic=abort",
    "-Ccodegen-units=1",
    "-Cdebug-assertions=off",
    "-Coverflow-checks=off",
    // The agent runs on whatever machine the target runs on.
    "-Ctarget-cpu=x86-64",
    "-Crelocation-model=pic",
];

const LINK: &[&str] = &[
    "-Clto=fat",
    "-Cstrip=debuginfo",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-Wl,-Bsymbolic,--gc-sections,--no-undefined,--build-id=none,--hash-style=sysv,-z,noseparate-code,-z,norelro",
];

fn main() -> Result<(), String> {
    println!("cargo::rerun-if-changed=../agent/src");
    println!("cargo::rerun-if-changed=../wire/src");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(var("OUT_DIR").map_err(|error| error.to_string())?).join("image");
    std::fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    compile("../wire/src/lib.rs", "wire", &["--crate-type=rlib", "-Cembed-bitcode=yes"], &out)?;
    let wire = format!("--extern=wire={}", out.join("libwire.rlib").display());
    let options: Vec<&str> = ["--crate-type=cdylib", &wire].into_iter().chain(LINK.iter().copied()).collect();
    compile("../agent/src/lib.rs", "agent", &options, &out)
}

fn compile(source: &str, name: &str, options: &[&str], out: &Path) -> Result<(), String> {
    let compiler = var("RUSTC").unwrap_or_else(|_| "rustc".into());
    // Options that cargo passes for the host's own code, such as instrumentation, must not get into the agent.
    let status = Command::new(&compiler)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .args(OPTIONS)
        .arg(format!("--crate-name={name}"))
        .args(options)
        .arg("--out-dir")
        .arg(out)
        .arg(source)
        .status()
        .map_err(|error| format!("{compiler}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{compiler} could not build the agent ({source}): {status}")) }
}
