//! What leakline costs its target and its machine, measured beside heaptrack in one run.
//!
//! Owns: the options and the order of the measurements. Must not know: any crate of ours; it runs the built program.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench starts programs, prints figures, and ends where an assumption of it is broken"
)]

mod big;
mod cost;
mod machine;
mod start;
mod tool;

#[path = "../../tests/suite/targets.rs"]
#[allow(dead_code, reason = "the suite uses more of it")]
mod targets;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask bench [--smoke] [--write]

  --smoke   one short round of each measurement: that they work, not what they say
  --write   also append the tables to bench/results/latest.txt

Two cores and other work on the machine make single figures noisy: all are medians of alternated rounds.";

/// How long and how often to measure.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) window_ms: u64,
    pub(crate) processes: usize,
    pub(crate) big: bool,
}

const FULL: Effort = Effort { rounds: 5, window_ms: 1000, processes: 300, big: true };
const SMOKE: Effort = Effort { rounds: 1, window_ms: 200, processes: 30, big: false };

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word != "--smoke" && word != "--write") {
        println!("{USAGE}");
        return ExitCode::from(2);
    }
    let effort = if words.iter().any(|word| word == "--smoke") { SMOKE } else { FULL };
    tool::build_leakline();
    let mut report = String::new();
    for part in [cost::measure, start::measure, machine::measure] {
        let table = part(effort);
        println!("{table}");
        report.push_str(&table);
        report.push('\n');
    }
    if words.iter().any(|word| word == "--write") {
        write(&report);
    }
    ExitCode::SUCCESS
}

fn write(report: &str) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    std::fs::create_dir_all(&folder).expect("a folder for results");
    std::fs::write(folder.join("latest.txt"), report).expect("results can be written");
}

/// The middle of the figures; NaN where there are none, which prints as such.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => figures[length / 2],
        length => f64::midpoint(figures[length / 2 - 1], figures[length / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }
}
