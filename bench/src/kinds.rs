//! What an attach adds to calls for descriptors, mappings and threads, beside the bare calls.
//!
//! Owns: the alternation and the table. Must not know: how such calls are recorded.
//!
//! A round is: bare, then leakline attached to the same process. Of each round the two are divided, so that what slows the machine for
//! seconds slows both.

use std::fmt::Write;
use std::thread::sleep;
use std::time::Duration;

use crate::targets::Target;
use crate::tool::Attached;
use crate::{Effort, median};

/// What is taken and given back: the command of the target, and the calls.
const PAIRS: [(&str, &str); 3] =
    [("descriptors", "open + close"), ("mappings", "mmap + munmap"), ("threads", "pthread_create + join")];

/// For caches to warm up behind new hooks.
const SETTLE: Duration = Duration::from_millis(100);

pub(crate) fn measure(effort: Effort) -> String {
    let mut table = String::from("Processor time of calls that --kinds watches beside the heap, ns a pair (medians)\n");
    let _ = writeln!(table, "{:>22} {:>10} {:>10} {:>8}", "pair", "bare", "attached", "ratio");
    for (command, calls) in PAIRS {
        let mut target = Target::start("c/pairs.c", &format!("--milliseconds {}", effort.window_ms / 5));
        let [mut bare, mut attached, mut ratios] = [const { Vec::new() }; 3];
        for _ in 0..effort.rounds * 2 {
            let before = pair(&mut target, command);
            let session = Attached::to(target.pid());
            sleep(SETTLE);
            let with = pair(&mut target, command);
            session.detach();
            bare.push(before);
            attached.push(with);
            ratios.push(with / before);
        }
        target.stop().assert_unharmed();
        let [bare, attached, ratio] = [bare, attached, ratios].map(median);
        let _ = writeln!(table, "{calls:>22} {bare:>10.0} {attached:>10.0} {ratio:>8.2}");
    }
    table
}

/// Nanoseconds of one pair.
fn pair(target: &mut Target, command: &str) -> f64 {
    target.ask(command, "pair").parse().unwrap_or(f64::NAN)
}
