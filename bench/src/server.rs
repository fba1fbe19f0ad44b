//! What an attach costs a server under load: redis-server under redis-benchmark, where they are installed.
//!
//! Owns: the load, the alternation and the table. Must not know: how a tool is attached.
//!
//! Requests a second of the same program differ by a tenth from one second to the next on a shared machine. So the server and its
//! load get a processor each, a round with hooks is compared with the bare ones just before and after it, the median of many such
//! ratios counts, and beside the requests a second stands what does not depend on the client: the server's own processor time
//! for each request. How far the middle half of the ratios spreads says what the medians can tell apart.

use std::fmt::Write;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::tool::Attached;
use crate::{Effort, median};

const PORT: &str = "7399";
const SERVER_PROCESSOR: &str = "0";
const LOAD_PROCESSOR: &str = "1";
/// Without and with pipelining: in batches the server hardly waits for its client, and all of its time is its own work.
const LOADS: [(&str, u64, &str); 2] = [("single", 1, "1"), ("batches of 16", 5, "16")];
/// Each of the two kinds of requests is sent so often for each millisecond of the window.
const REQUESTS_PER_MS: u64 = 25;

/// A server that ends with the measurement.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What one round came to.
#[derive(Clone, Copy, Debug)]
struct Round {
    requests_a_second: f64,
    processor_ns: f64,
}

/// Ratios of rounds with hooks to bare ones.
#[derive(Debug, Default)]
struct Ratios {
    requests_a_second: Vec<f64>,
    processor: Vec<f64>,
}

pub(crate) fn measure(effort: Effort) -> String {
    let mut table = String::from(
        "redis-server under redis-benchmark (set and get), of the bare rounds around each: requests a second, and the server's
processor time for each request; median (and width of the middle half)\n",
    );
    let Some(server) = start() else {
        table.push_str("NOT MEASURED: redis-server is not installed (apt-get install redis-server)\n");
        return table;
    };
    let _ = writeln!(table, "{:>14} {:>9} {:>10} {:>20} {:>20}", "requests", "mode", "bare ns", "rate", "processor");
    for (name, factor, batch) in LOADS {
        let load = Load { requests: effort.window_ms * REQUESTS_PER_MS * factor, batch };
        // The first fills the store.
        if load.run(&server).is_none() {
            table.push_str("NOT MEASURED: redis-benchmark gave no figures\n");
            return table;
        }
        for mode in ["sampled", "auto", "exact"] {
            let (bare_ns, ratios) = alternate(&server, &load, mode, if effort.big { 3 * effort.rounds } else { 1 });
            let rate = spread(ratios.requests_a_second);
            let _ = writeln!(table, "{name:>14} {mode:>9} {bare_ns:>10.0} {rate:>20} {:>20}", spread(ratios.processor));
        }
    }
    table
}

/// Processor time for a bare request, and the ratios of this mode.
fn alternate(server: &Server, load: &Load, mode: &str, rounds: usize) -> (f64, Ratios) {
    let (mut bare, mut ratios) = (Vec::new(), Ratios::default());
    let mut before = load.run(server);
    for _ in 0..rounds {
        let session = Attached::in_mode(server.0.id(), mode);
        sleep(Duration::from_millis(200));
        let hooked = load.run(server);
        session.detach();
        let after = load.run(server);
        if let (Some(before), Some(hooked), Some(after)) = (before, hooked, after) {
            ratios.add([before, hooked, after]);
            bare.push(before.processor_ns);
        }
        before = after;
    }
    (median(bare), ratios)
}

impl Ratios {
    fn add(&mut self, [before, hooked, after]: [Round; 3]) {
        let of = |figure: fn(&Round) -> f64| figure(&hooked) / f64::midpoint(figure(&before), figure(&after));
        self.requests_a_second.push(of(|round| round.requests_a_second));
        self.processor.push(of(|round| round.processor_ns));
    }
}

/// The median and how far the middle half lies apart.
fn spread(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    let at = |part: usize| ratios.get(ratios.len() * part / 4).copied().unwrap_or(f64::NAN);
    let width = at(3) - at(1);
    format!("{:.3} ({width:.3})", median(ratios))
}

fn start() -> Option<Server> {
    let mut command = pinned(SERVER_PROCESSOR, "redis-server");
    command.args(["--port", PORT, "--save", "", "--appendonly", "no"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    let mut server = Server(child);
    sleep(Duration::from_millis(500));
    matches!(server.0.try_wait(), Ok(None)).then_some(server)
}

/// A program on a processor of its own, where there are two.
fn pinned(processor: &str, program: &str) -> Command {
    let is_possible = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
    if !is_possible || !std::path::Path::new("/usr/bin/taskset").exists() {
        return Command::new(program);
    }
    let mut command = Command::new("/usr/bin/taskset");
    command.args(["-c", processor, program]);
    command
}

/// Requests of both kinds.
struct Load {
    requests: u64,
    batch: &'static str,
}

impl Load {
    fn run(&self, server: &Server) -> Option<Round> {
        let requests = self.requests.to_string();
        let mut command = pinned(LOAD_PROCESSOR, "redis-benchmark");
        command.args(["-p", PORT, "-t", "set,get", "-n", &requests, "-P", self.batch]);
        command.args(["-c", "20", "-d", "100", "-r", "20000", "--csv"]);
        let before = processor_ns(server.0.id());
        let output = command.stderr(Stdio::null()).output().ok()?;
        let used = processor_ns(server.0.id()) - before;
        let requests_a_second = requests_a_second(&String::from_utf8_lossy(&output.stdout))?;
        Some(Round { requests_a_second, processor_ns: used / (2 * self.requests) as f64 })
    }
}

/// Processor time of all threads, apart from those that end meanwhile; NaN where there are none.
fn processor_ns(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let used = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    used.reduce(|sum, figure| sum + figure).unwrap_or(f64::NAN)
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

    #[test]
    fn a_round_is_compared_with_those_around_it() {
        let round = |requests_a_second, processor_ns| Round { requests_a_second, processor_ns };
        let mut ratios = Ratios::default();
        // The machine becomes slower all the time.
        ratios.add([round(120.0, 8.0), round(99.0, 11.0), round(80.0, 12.0)]);
        assert!((ratios.requests_a_second[0] - 0.99).abs() < 1e-9 && (ratios.processor[0] - 1.1).abs() < 1e-9);
    }

    #[test]
    fn the_middle_half_has_a_width() {
        assert_eq!(spread(vec![1.0, 0.9, 1.1, 0.8, 1.2]), "1.000 (0.200)");
        assert_eq!(spread(Vec::new()), "NaN (NaN)");
    }

    #[test]
    fn this_process_has_used_a_processor() {
        assert!(processor_ns(std::process::id()) > 0.0 && processor_ns(u32::MAX).is_nan());
    }
}
