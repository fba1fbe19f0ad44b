//! Large programs: one of 300 MB, 50 MB of it debug information, generated and compiled once; and `node`, where it is installed.
//!
//! Owns: its generated source. Must not know: what is measured with it.
//!
//! Thousands of structures with long names and a small function for each: types, strings and line tables grow as in large
//! C++ programs, and compiling stays short. Its main leaks a little, and stops with its stdin.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::targets::{Target, built, compile};

const UNITS: usize = 20;
const STRUCTURES: usize = 1500;
const MEMBERS: usize = 12;
const BYTES_MIN: u64 = 300_000_000;
const NODE: &str = "/usr/bin/node";

/// `node` with a script that allocates; none where it is not installed.
pub(crate) fn start_node() -> Option<Target> {
    let script =
        "setInterval(()=>Buffer.alloc(20000),1);process.stdin.on('end',()=>process.exit());process.stdin.resume()";
    let start = || Target::start_program(Path::new(NODE), &format!("-e console.log('ready');{script}"));
    Path::new(NODE).exists().then(start)
}

pub(crate) fn start() -> Target {
    let program = built().join("big");
    if !program.exists() {
        build(&program);
    }
    let size = std::fs::metadata(&program).expect("the program").len();
    assert!(size >= BYTES_MIN, "{size} bytes are too few to show anything");
    Target::start_program(&program, "")
}

fn build(program: &Path) {
    let folder = built().join("bigdebug-sources");
    std::fs::create_dir_all(&folder).expect("a folder for sources");
    let mut words: Vec<OsString> = ["g++", "-O0", "-g"].map(OsString::from).to_vec();
    for unit in 0..UNITS {
        words.push(write(&folder, &format!("unit_{unit}.cpp"), &source(unit)).into());
    }
    words.push(write(&folder, "main.cpp", MAIN).into());
    compile(&words, program);
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a source file");
    path
}

fn source(unit: usize) -> String {
    let mut text = String::new();
    for number in 0..STRUCTURES {
        let _ = writeln!(text, "struct structure_{number}_of_unit_{unit} {{");
        for member in 0..MEMBERS {
            let _ = writeln!(text, "long member_{member}_of_structure_{number}_of_unit_{unit};");
            let _ = writeln!(text, "struct inner_{member} {{ int a; double b; inner_{member} *link; }} part_{member};");
        }
        let _ =
            writeln!(text, "}};\nlong sum_{unit}_{number}(structure_{number}_of_unit_{unit} *from) {{ long sum = 0;");
        for member in 0..MEMBERS {
            let _ = writeln!(text, "sum += from->member_{member}_of_structure_{number}_of_unit_{unit} * {member};");
        }
        let _ = writeln!(text, "return sum; }}");
    }
    text
}

const MAIN: &str = r#"
#include <cstdio>
#include <cstdlib>
#include <poll.h>
#include <unistd.h>
/* Large tables, as programs carry them; most of such a file is never touched. */
asm(".section .rodata\n.fill 270000000, 1, 7\n.text");
static void leak_here() { void *volatile block = malloc(100); (void)block; }
int main() {
    setvbuf(stdout, nullptr, _IOLBF, 1024);
    puts("ready");
    struct pollfd input = { 0, POLLIN, 0 };
    for (char text[64]; poll(&input, 1, 1) == 0 || read(0, text, sizeof text) > 0;) leak_here();
}
"#;
