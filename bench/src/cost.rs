//! What an attach adds to each malloc+free pair, beside the bare program and heaptrack.
//!
//! Owns: the alternation and the table. Must not know: how a tool is attached.
//!
//! A round is: bare, then leakline attached to the same process, recording every block, then a sample, then killed, so that its
//! hooks stay in place and nobody listens; then heaptrack attached to a fresh one, since its detach does not give the
//! speed back. The target leaves out the time that it waited for a cpu.

use std::fmt::Write;
use std::thread::sleep;
use std::time::Duration;

use crate::targets::Target;
use crate::tool::{Attached, heaptrack};
use crate::{Effort, median};

/// Time for heaptrack to come in, and for caches to warm up behind new hooks.
const SETTLE: Duration = Duration::from_millis(1500);

/// Nanoseconds a pair, one figure a round.
#[derive(Default)]
struct Figures {
    bare: Vec<f64>,
    exact: Vec<f64>,
    sampled: Vec<f64>,
    dormant: Vec<f64>,
    heaptrack: Vec<f64>,
}

pub(crate) fn measure(effort: Effort) -> String {
    let mut table = String::from("Added ns per malloc+free pair, 64 stacks, by live blocks a thread (medians)\n");
    let _ = writeln!(
        table,
        "{:>8} {:>6} {:>8} {:>9} {:>8} {:>9} {:>9} {:>12} {:>8}",
        "threads", "depth", "live", "bare", "+exact", "+sampled", "+dormant", "+heaptrack", "ratio"
    );
    for (threads, depth, live) in [(1, 5, 1_000), (1, 30, 1_000), (2, 5, 1_000), (2, 30, 1_000), (1, 5, 100_000)] {
        let figures = alternate(threads, depth, live, effort);
        let bare = median(figures.bare);
        let added = |figures: Vec<f64>| median(figures) - bare;
        let [exact, sampled, dormant] = [figures.exact, figures.sampled, figures.dormant].map(added);
        let theirs = added(figures.heaptrack);
        let ratio = theirs / exact;
        let _ = writeln!(
            table,
            "{threads:>8} {depth:>6} {live:>8} {bare:>9.1} {exact:>8.1} {sampled:>9.1} {dormant:>9.1} {theirs:>12.1} {ratio:>8.1}"
        );
    }
    table
}

fn alternate(threads: u32, depth: u32, live: u32, effort: Effort) -> Figures {
    let start = || Target::start("c/churn.c", &format!("--threads {threads} --depth {depth} --window {live} --quiet"));
    let mut figures = Figures::default();
    let mut target = start();
    for _ in 0..effort.rounds {
        figures.bare.push(rate(&mut target, effort));
        let session = Attached::to(target.pid());
        sleep(Duration::from_millis(300));
        figures.exact.push(rate(&mut target, effort));
        session.detach();
        let session = Attached::in_mode(target.pid(), "sampled");
        sleep(Duration::from_millis(300));
        figures.sampled.push(rate(&mut target, effort));
        drop(session);
        sleep(Duration::from_millis(300));
        figures.dormant.push(rate(&mut target, effort));
        // The next attach takes the remains out.
        Attached::to(target.pid()).detach();
        figures.heaptrack.extend(with_heaptrack(start(), effort));
    }
    target.stop().assert_unharmed();
    figures
}

fn with_heaptrack(mut target: Target, effort: Effort) -> Option<f64> {
    let mut tool = heaptrack(target.pid())?;
    sleep(SETTLE);
    let figure = rate(&mut target, effort);
    // The target goes first: heaptrack's own detach can end it.
    drop(target);
    let _ = tool.kill();
    let _ = tool.wait();
    Some(figure)
}

/// Nanoseconds a pair over one window.
#[track_caller]
pub(crate) fn rate(target: &mut Target, effort: Effort) -> f64 {
    target.ask("rate", "rate");
    sleep(Duration::from_millis(effort.window_ms));
    let answer = target.ask("rate", "rate");
    answer.split(' ').nth(3).and_then(|figure| figure.parse().ok()).unwrap_or(f64::NAN)
}
