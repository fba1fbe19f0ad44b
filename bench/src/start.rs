//! How long an attach takes, how long the target stands still for it, and what stays afterwards.
//!
//! Owns: stops as the target sees them, time to the first record, speed after a detach. Must not know: how hooks work.

use std::fmt::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::targets::Target;
use crate::tool::Attached;
use crate::{Effort, big, cost, median};

pub(crate) fn measure(effort: Effort) -> String {
    let mut table =
        String::from("Longest gap that a thread of the target noticed, it wakes each 50 us (median, worst), ms\n");
    let _ = writeln!(table, "{:>8} {:>16} {:>16} {:>16}", "threads", "bare", "attach", "detach");
    for threads in [2, 4, 50, 200] {
        let _ = writeln!(table, "{threads:>8}{}", stops(threads, effort));
    }
    table.push_str("\nFrom the command until the hooks are active (median, s), leakline's own memory (MiB), and the longest stop (ms)\n");
    for threads in [2, 200].into_iter().take(if effort.big { 2 } else { 1 }) {
        let target = Target::start("c/churn.c", &format!("--threads {threads} --quiet"));
        let _ = writeln!(table, "{:>16} {}", format!("{threads} busy threads"), activation(target, effort));
    }
    if effort.big {
        let _ = writeln!(table, "{:>16} {}", "300 MB program", activation(big::start(), effort));
        let node = big::start_node().map_or("      not installed".to_owned(), |node| activation(node, effort));
        let _ = writeln!(table, "{:>16} {node}", "node");
    }
    let _ =
        writeln!(table, "\nSpeed from 100 ms after a detach on, of the speed before (median): {:.3}", recovery(effort));
    table
}

/// Speed after a detach, as a share of the one before.
fn recovery(effort: Effort) -> f64 {
    let mut target = Target::start("c/churn.c", "--threads 2 --depth 30 --quiet");
    let mut shares = Vec::new();
    for _ in 0..effort.rounds * 2 {
        let before = cost::rate(&mut target, effort);
        let session = Attached::to(target.pid());
        sleep(Duration::from_millis(300));
        session.detach();
        sleep(Duration::from_millis(100));
        shares.push(before / cost::rate(&mut target, effort));
    }
    target.stop().assert_unharmed();
    median(shares)
}

fn stops(threads: u32, effort: Effort) -> String {
    let mut target = Target::start("c/churn.c", &format!("--threads {threads} --watch --quiet"));
    let mut gaps: [Vec<f64>; 3] = Default::default();
    for _ in 0..effort.rounds * 2 {
        gap(&mut target);
        sleep(Duration::from_millis(500));
        gaps[0].push(gap(&mut target));
        let session = Attached::to(target.pid());
        gaps[1].push(gap(&mut target));
        sleep(Duration::from_millis(100));
        gap(&mut target);
        session.detach();
        gaps[2].push(gap(&mut target));
    }
    target.stop().assert_unharmed();
    gaps.into_iter().fold(String::new(), |mut line, gaps| {
        let worst = gaps.iter().copied().fold(0.0, f64::max);
        let _ = write!(line, " {:>7.2} {worst:>8.2}", median(gaps));
        line
    })
}

/// Milliseconds of the longest gap since the last question.
fn gap(target: &mut Target) -> f64 {
    target.ask("gap", "gap_ns").parse::<f64>().map_or(f64::NAN, |gap| gap / 1e6)
}

fn activation(target: Target, effort: Effort) -> String {
    let (mut seconds, mut memory, mut stops) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let started = Instant::now();
        let session = Attached::to(target.pid());
        seconds.push(started.elapsed().as_secs_f64());
        sleep(Duration::from_millis(effort.window_ms * 2));
        memory.push(session.memory_kib() / 1024.0);
        let summary = session.detach();
        stops.extend(summary["target"]["attach_stop_seconds"].as_f64().map(|seconds| 1e3 * seconds));
    }
    target.stop_quietly();
    format!("{:>8.3} {:>8.1} {:>8.2}", median(seconds), median(memory), median(stops))
}
