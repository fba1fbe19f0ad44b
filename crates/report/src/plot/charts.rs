//! Which charts a recording is shown as, on paper, in a page and in a terminal alike.
//!
//! Owns: what stands together in one chart, in which order and under which name. Must not know: how a chart is drawn.

use crate::metrics::{self, Metric, Unit};
use crate::view::{Point, ProcessSeries, RecordingView, Series, Severity};

/// Several lines over one time, with one unit.
pub(crate) struct Chart<'a> {
    pub(crate) title: String,
    pub(crate) unit: Unit,
    pub(crate) lines: Vec<Line<'a>>,
}

/// One line and what is said of it.
pub(crate) struct Line<'a> {
    pub(crate) name: String,
    pub(crate) severity: Severity,
    pub(crate) points: &'a [Point],
}

/// Each process is a line in the chart of each of these.
const PER_PROCESS: [(&Metric, &str); 6] = [
    (&metrics::PRIVATE, "Private memory of processes (anon + swap)"),
    (&metrics::RSS, "RSS of processes"),
    (&metrics::SHMEM, "Shared memory of processes"),
    (&metrics::DESCRIPTORS, "Open descriptors of processes"),
    (&metrics::THREADS, "Threads of processes"),
    (&metrics::PAGE_TABLES, "Page tables of processes"),
];

/// The kinds of memory that stand together when there is one process only.
const OF_ONE: [&Metric; 7] =
    [&metrics::PRIVATE, &metrics::RSS, &metrics::FILE, &metrics::SHMEM, &metrics::SWAP, &metrics::PSS, &metrics::USS];

/// All charts that have at least one value, the most telling first.
pub(crate) fn of(view: &RecordingView) -> Vec<Chart<'_>> {
    // Of one process its kinds of memory are compared with each other, of many the processes are.
    let mut charts = match &view.processes[..] {
        [one] => of_one(one, severity_of(view, one)),
        all => of_many(view, all),
    };
    // The machine stands beside the first chart: whether a process matters depends on what is left.
    let system = of_system(&view.system, "Memory of the machine", Unit::Bytes);
    let pressure = of_system(&view.system, "Pressure: share of time in which tasks waited", Unit::Share);
    debug_assert!(!charts.is_empty(), "there is a first chart to stand beside");
    charts.splice(1..1, [system, pressure]);
    charts.retain(|chart| !chart.lines.is_empty());
    charts
}

/// What was found about a process. By its key: a pid that was used twice in a week is two processes.
pub(crate) fn severity_of(view: &RecordingView, process: &ProcessSeries) -> Severity {
    let key = process.identity.key;
    let finding = view.findings.iter().find(|finding| finding.process.identity.key == key);
    finding.map_or(Severity::Fine, |finding| finding.process.severity)
}

fn of_many<'a>(view: &RecordingView, all: &'a [ProcessSeries]) -> Vec<Chart<'a>> {
    let chart = |(metric, title): &(&'static Metric, &str)| {
        let line = |process: &'a ProcessSeries| {
            let series = process.series(metric).filter(|series| series.last().is_some())?;
            Some(Line { name: process.label(), severity: severity_of(view, process), points: &series.points })
        };
        Chart { title: (*title).to_owned(), unit: metric.unit, lines: all.iter().filter_map(line).collect() }
    };
    PER_PROCESS.iter().map(chart).collect()
}

/// One process: its kinds of memory stand together, since their sum and their shares are what matters.
fn of_one(process: &ProcessSeries, severity: Severity) -> Vec<Chart<'_>> {
    let line = |metric: &&'static Metric| {
        let series = process.series(metric).filter(|series| series.last().is_some())?;
        // Only private memory is judged.
        let severity = if metric.key == metrics::PRIVATE.key { severity } else { Severity::Fine };
        Some(Line { name: metric.title.to_lowercase(), severity, points: &series.points })
    };
    let chart = |what: &str, unit, metrics: &[&'static Metric]| Chart {
        title: format!("{what} of {}", process.label()),
        unit,
        lines: metrics.iter().filter_map(line).collect(),
    };
    vec![
        chart("Memory", Unit::Bytes, &OF_ONE),
        chart("Open descriptors", Unit::Count, &[&metrics::DESCRIPTORS]),
        chart("Threads", Unit::Count, &[&metrics::THREADS]),
    ]
}

fn of_system<'a>(system: &'a [Series], title: &str, unit: Unit) -> Chart<'a> {
    let of_unit = system.iter().filter(|series| series.metric.unit == unit && series.last().is_some());
    let line = |series: &'a Series| Line {
        name: if series.subject.is_empty() { series.metric.title.to_lowercase() } else { series.subject.clone() },
        severity: Severity::Fine,
        points: &series.points,
    };
    Chart { title: title.to_owned(), unit, lines: of_unit.map(line).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[track_caller]
    fn check(view: &RecordingView, expected: &[&str]) {
        let charts = of(view);
        let described: Vec<String> = charts
            .iter()
            .map(|chart| {
                let names: Vec<&str> = chart.lines.iter().map(|line| line.name.as_str()).collect();
                format!("{}: {}", chart.title, names.join(" "))
            })
            .collect();
        assert_eq!(described, expected);
    }

    #[test]
    fn many_processes_are_lines_of_one_chart() {
        check(
            &samples::recording(),
            &[
                "Private memory of processes (anon + swap): billing-server (1234) 日本\x1b[31m-cache (77001)",
                "Memory of the machine: used available cached",
                "Pressure: share of time in which tasks waited: memory some",
                "RSS of processes: billing-server (1234) 日本\x1b[31m-cache (77001)",
                "Open descriptors of processes: billing-server (1234) 日本\x1b[31m-cache (77001)",
            ],
        );
    }

    #[test]
    fn one_process_has_its_kinds_of_memory_in_one_chart() {
        let mut view = samples::recording();
        view.processes.truncate(1);
        view.system.clear();
        check(
            &view,
            &["Memory of billing-server (1234): private rss", "Open descriptors of billing-server (1234): descriptors"],
        );
        assert_eq!(of(&view)[0].lines[0].severity, Severity::Leak);
        assert_eq!(of(&view)[0].lines[1].severity, Severity::Fine);
    }

    #[test]
    fn an_empty_recording_has_no_charts() {
        check(&RecordingView::default(), &[]);
    }
}
