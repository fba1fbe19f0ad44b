//! Modules in the target that are damaged in every way: an attach reads them all and goes on.
//!
//! Owns: making such modules out of real ones. Must not know: which parser meets what.

use std::fs;

use crate::command::attach;
use crate::process::{appearance, assert_unchanged};
use crate::targets::{Target, build, built};

const COPIES: u64 = 24;

/// Changes some bytes of the header, of the section headers at the end, or anywhere; always the same ones.
fn damage(bytes: &mut [u8], seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound.max(1) as u64) as usize
    };
    for _ in 0..=below(12) {
        let length = bytes.len();
        let at = match below(4) {
            // The first bytes say that it is a module of this machine: without them nothing more is read.
            0 => 24 + below(500),
            1 => length - 1 - below(2048.min(length - 1)),
            _ => below(length),
        };
        for byte in bytes.iter_mut().skip(at).take(1 + below(8)) {
            *byte = [0, 0xff, 0x7f, 0x80, below(256) as u8][below(5)];
        }
    }
}

#[test]
fn damaged_modules_in_the_target_do_no_harm() {
    let folder = built().join(format!("damaged-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let real = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libgcc_s.so.1", "/usr/bin/true"];
    let real: Vec<Vec<u8>> = real
        .iter()
        .filter_map(|path| fs::read(path).ok())
        .chain([fs::read(build("c/leaky.c")).expect("it is built")])
        .collect();
    for (index, sound) in real.iter().enumerate() {
        for copy in 0..COPIES {
            let mut bytes = sound.clone();
            damage(&mut bytes, copy + 1000 * index as u64);
            fs::write(folder.join(format!("{index}-{copy}.so")), bytes).expect("it has room");
        }
    }
    let arguments = format!("--folder {}", folder.display());
    let target = Target::start_program(&build("c/damaged.c"), &arguments);
    let before = appearance(target.pid());
    let run = attach(target.pid(), "--expire 0.2 --for 1");
    assert!(matches!(run.code, Some(0..=2)), "{}", run.describe());
    // A damaged C library may say of itself that it is an allocator which cannot be hooked: then the attach is refused in words.
    if run.lines.is_empty() {
        run.assert_refused(&[&target.pid().to_string()]);
    } else {
        assert!(run.summary()["coverage"]["allocations"].as_u64() > Some(0), "{}", run.describe());
    }
    assert_unchanged(&before, &appearance(target.pid()));
    target.stop().assert_unharmed();
    fs::remove_dir_all(&folder).expect("it is ours");
}
