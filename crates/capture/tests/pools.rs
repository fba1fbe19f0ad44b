//! Allocator functions that the user names, in a real program with pools of its own.
//!
//! Owns: comparing the program's account with the snapshot. Must not know: how functions are found.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the test builds and starts a program, and a broken assumption of its helpers fails it"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use capture::{AttachError, AttachOptions, Modes, attach};
use model::{Kinds, Pid};

const ALLOC: [&str; 3] =
    ["fn=pool_alloc,size=arg2", "fn=object_new,size=arg1*arg2", "fn=object_grow,ptr=arg1,size=arg2"];
const FREE: [&str; 2] = ["fn=pool_free,ptr=arg2", "fn=object_delete"];

/// The program; killed when dropped.
struct Pools {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Drop for Pools {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pools {
    fn start(name: &str, options: &[&str]) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/targets/reach/pools.c");
        let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let status = Command::new("gcc").args(["-O2", "-g"]).args(options).arg(source).arg("-o").arg(&program).status();
        assert!(status.unwrap().success());
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut pools = Self { child, lines };
        assert_eq!(pools.line(), "ready");
        pools
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Lets it work once and returns what it says of each site.
    fn go(&mut self) -> Vec<[u64; 4]> {
        self.child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        let mut claims = Vec::new();
        loop {
            let line = self.line();
            if line == "done" {
                return claims;
            }
            let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
            claims.push(numbers.try_into().unwrap_or_else(|_| panic!("{line}")));
        }
    }
}

fn options(alloc: &[&str], free: &[&str]) -> AttachOptions {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let expire = Duration::from_secs(1);
    AttachOptions {
        expire,
        depth: 32,
        stacks_max: 1000,
        kinds: Kinds::ALL,
        alloc: owned(alloc),
        free: owned(free),
        memory_max: None,
        modes: Modes::EXACT,
    }
}

#[test]
fn pools_of_a_program_are_counted_to_the_byte() {
    let mut pools = Pools::start("pools", &[]);
    let session = attach(Pid(pools.child.id()), &options(&ALLOC, &FREE)).unwrap();
    assert!(session.facts().functions.iter().any(|name| name == "pool_alloc"), "{:?}", session.facts());
    let mut claims = pools.go();
    let detached = session.detach();
    assert_eq!(detached.left, [""; 0]);
    let tally = |tally: model::Tally| [tally.count, tally.bytes.0];
    let mut counted: Vec<[u64; 4]> = Vec::new();
    for site in &detached.snapshot.sites {
        let ([a, b], [c, d]) = (tally(site.allocated), tally(site.live));
        counted.push([a, b, c, d]);
    }
    // What `malloc` did inside of these functions is theirs, not a site of its own.
    claims.sort_unstable();
    counted.sort_unstable();
    assert_eq!(counted, claims);
    // The pools are as they were, and the program goes on.
    assert_eq!(pools.go().len(), 3);
}

#[track_caller]
fn refused(pools: &Pools, alloc: &[&str], free: &[&str]) -> AttachError {
    match attach(Pid(pools.child.id()), &options(alloc, free)) {
        Ok(session) => panic!("attached: {:?}", session.facts()),
        Err(error) => error,
    }
}

#[test]
fn functions_that_are_not_there_or_not_understood_are_refused() {
    let mut pools = Pools::start("pools-refused", &[]);
    let error = refused(&pools, &["fn=pool_allot,size=arg2"], &[]);
    assert!(error.to_string().contains("`pool_allot`") && error.hint().unwrap().contains("`pool_alloc`"), "{error}");
    let error = refused(&pools, &["fn=pool_alloc"], &[]);
    assert!(matches!(error, AttachError::Functions(_)) && error.hint().unwrap().contains("--alloc"), "{error}");
    pools.go();
    let stripped = Pools::start("pools-stripped", &["-s"]);
    let error = refused(&stripped, &ALLOC, &FREE);
    assert!(
        matches!(error, AttachError::NoSuchFunction { .. }) && error.hint().unwrap().contains("stripped"),
        "{error}"
    );
}
