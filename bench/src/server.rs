//! What an attach costs a server under load: redis-server under redis-benchmark, where they are installed.
//!
//! Owns: the load, the alternation and the table. Must not know: how a tool is attached.
//!
//! Every figure is compared with the bare one just before it, since other work on the machine moves them all.

use std::fmt::Write;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::tool::Attached;
use crate::{Effort, median};

const PORT: &str = "7399";

/// A server that ends with the measurement.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn measure(effort: Effort) -> String {
    let mut table = String::from("Requests a second of redis-server under redis-benchmark (set and get, medians)\n");
    let Some(server) = start() else {
        table.push_str("NOT MEASURED: redis-server is not installed (apt-get install redis-server)\n");
        return table;
    };
    let requests = effort.window_ms * 150;
    if load(requests).is_none() {
        table.push_str("NOT MEASURED: redis-benchmark gave no figures\n");
        return table;
    }
    let _ = writeln!(table, "{:>9} {:>12} {:>12} {:>8}", "mode", "bare", "attached", "ratio");
    for mode in ["exact", "sampled", "auto"] {
        let (mut bare, mut attached, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            let before = load(requests).unwrap_or(f64::NAN);
            let session = Attached::in_mode(server.0.id(), mode);
            sleep(Duration::from_millis(300));
            let with = load(requests).unwrap_or(f64::NAN);
            session.detach();
            bare.push(before);
            attached.push(with);
            ratios.push(with / before);
        }
        let (bare, attached, ratio) = (median(bare), median(attached), median(ratios));
        let _ = writeln!(table, "{mode:>9} {bare:>12.0} {attached:>12.0} {ratio:>8.3}");
    }
    table
}

fn start() -> Option<Server> {
    let mut command = Command::new("redis-server");
    command.args(["--port", PORT, "--save", "", "--appendonly", "no"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    let server = Server(child);
    sleep(Duration::from_millis(500));
    Some(server)
}

/// Requests a second, of both kinds together.
fn load(requests: u64) -> Option<f64> {
    let requests = requests.to_string();
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", PORT, "-t", "set,get", "-n", &requests, "-c", "20", "-d", "100", "-r", "20000", "--csv"]);
    let output = command.stderr(Stdio::null()).output().ok()?;
    requests_a_second(&String::from_utf8_lossy(&output.stdout))
}

/// The mean of the second column of every line with figures.
fn requests_a_second(csv: &str) -> Option<f64> {
    let figures = csv.lines().filter_map(|line| line.split(',').nth(1)?.trim_matches('"').parse::<f64>().ok());
    let (sum, count) = figures.fold((0.0, 0.0), |(sum, count), figure| (sum + figure, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_the_second_column() {
        let csv = "\"test\",\"rps\",\"avg\"\n\"SET\",\"100.5\",\"1\"\n\"GET\",\"99.5\",\"2\"\n";
        assert!(requests_a_second(csv).is_some_and(|figure| (figure - 100.0).abs() < 1e-9));
        assert_eq!(requests_a_second("Could not connect to Redis\n"), None);
    }
}
