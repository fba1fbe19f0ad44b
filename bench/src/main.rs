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
mod kinds;
mod machine;
mod memory;
mod recorder;
mod server;
mod start;
mod tool;

#[path = "../../tests/suite/targets.rs"]
#[allow(dead_code, reason = "the suite uses more of it")]
mod targets;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask bench [--smoke] [--write] [PART…]

  --smoke   one short round of each measurement: that they work, not what they say
  PART      cost, kinds, server, start, machine, recorder, memory: only these
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

/// Measures something and gives its table.
type Part = fn(Effort) -> String;

/// What there is to measure, by name.
const PARTS: [(&str, Part); 7] = [
    ("cost", cost::measure),
    ("kinds", kinds::measure),
    ("server", server::measure),
    ("start", start::measure),
    ("machine", machine::measure),
    ("recorder", recorder::measure),
    ("memory", memory::measure),
];

fn is_part(word: &str) -> bool {
    PARTS.iter().any(|(name, _)| *name == word)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_known = |word: &String| ["--smoke", "--write"].contains(&word.as_str()) || is_part(word);
    if !words.iter().all(is_known) {
        println!("{USAGE}");
        return ExitCode::from(2);
    }
    let effort = if words.iter().any(|word| word == "--smoke") { SMOKE } else { FULL };
    tool::build_leakline();
    let mut report = String::new();
    let all = !words.iter().any(|word| is_part(word));
    for (name, part) in PARTS {
        if !all && !words.iter().any(|word| word == name) {
            continue;
        }
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
