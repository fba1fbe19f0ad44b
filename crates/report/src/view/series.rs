//! Series made from recorded figures.
//!
//! Owns: which figures are shown over time, and the units they are shown in. Must not know: how recordings are read or
//! thinned.

use std::sync::Arc;

use model::{Identity, ProcessFigures, ProcessMetric, Reading, Source, SystemSample};

use super::{Point, ProcessSeries, Series};
use crate::WallTime;
use crate::metrics::{self, Metric, Unit};

/// How a figure of the machine is found in its sample.
type Find = fn(&SystemSample) -> Reading<u64>;

/// The figures of the machine that are shown over time.
const SYSTEM: [(&Metric, &str, Find); 12] = [
    (&metrics::MEMORY_USED, "", |sample| used(sample, "MemTotal", "MemAvailable")),
    (&metrics::MEMORY_AVAILABLE, "", |sample| meminfo(sample, "MemAvailable")),
    (&metrics::MEMORY_FREE, "", |sample| meminfo(sample, "MemFree")),
    (&metrics::BUFFERS, "", |sample| meminfo(sample, "Buffers")),
    (&metrics::CACHED, "", |sample| meminfo(sample, "Cached")),
    (&metrics::SHARED, "", |sample| meminfo(sample, "Shmem")),
    (&metrics::SLAB, "", |sample| meminfo(sample, "Slab")),
    (&metrics::SWAP_USED, "", |sample| used(sample, "SwapTotal", "SwapFree")),
    (&metrics::PRESSURE, "memory some", |sample| sample.get(Source::Pressure, "memory", "some.avg10")),
    (&metrics::PRESSURE, "memory full", |sample| sample.get(Source::Pressure, "memory", "full.avg10")),
    (&metrics::PRESSURE, "cpu some", |sample| sample.get(Source::Pressure, "cpu", "some.avg10")),
    (&metrics::PRESSURE, "io some", |sample| sample.get(Source::Pressure, "io", "some.avg10")),
];

/// The figures of a process that are shown over time, besides the two that are sums. State and parent are recorded too, but a letter
/// and a number that names something have no curve.
const SHOWN: [ProcessMetric; 15] = [
    ProcessMetric::RssAnon,
    ProcessMetric::RssFile,
    ProcessMetric::RssShmem,
    ProcessMetric::Swap,
    ProcessMetric::VirtualSize,
    ProcessMetric::PageTables,
    ProcessMetric::Pss,
    ProcessMetric::Uss,
    ProcessMetric::Threads,
    ProcessMetric::Descriptors,
    ProcessMetric::DescriptorLimit,
    ProcessMetric::OomScore,
    ProcessMetric::MinorFaults,
    ProcessMetric::MajorFaults,
    ProcessMetric::CpuTime,
];

impl Series {
    /// The figures of the machine over time; those that are nowhere known are left out.
    pub fn of_system(rows: &[(WallTime, SystemSample)]) -> Vec<Self> {
        let series = SYSTEM.iter().map(|(metric, subject, find)| {
            // The kernel's pressure files have hundredths of a percent, see `model::Source::Pressure`.
            let scale = if metric.unit == Unit::Share { 1e-4 } else { 1.0 };
            let point = |(at, sample): &(WallTime, SystemSample)| Point {
                at: *at,
                value: find(sample).map(|value| value as f64 * scale),
            };
            Self { metric, subject: (*subject).to_owned(), points: rows.iter().map(point).collect() }
        });
        series.filter(|series| series.last().is_some()).collect()
    }

    /// One recorded figure of a process over time.
    pub fn of_process(figure: ProcessMetric, points: impl IntoIterator<Item = (WallTime, Reading<u64>)>) -> Self {
        // The recording counts milliseconds; what is shown are seconds.
        let scale = if figure == ProcessMetric::CpuTime { 1e-3 } else { 1.0 };
        let point =
            |(at, value): (WallTime, Reading<u64>)| Point { at, value: value.map(|value| value as f64 * scale) };
        Self { metric: of(figure), subject: String::new(), points: points.into_iter().map(point).collect() }
    }
}

impl ProcessSeries {
    /// A process from its figures at some moments, oldest first. What is nowhere known is left out, but for its private
    /// memory, which every report is about.
    pub fn new(identity: Arc<Identity>, rows: &[(WallTime, ProcessFigures)]) -> Self {
        debug_assert!(rows.is_sorted_by_key(|(at, _)| *at), "moments go forward");
        let sum = |metric, of: fn(&model::MemorySample) -> Reading<model::Bytes>| Series {
            metric,
            subject: String::new(),
            points: rows
                .iter()
                .map(|(at, figures)| Point { at: *at, value: of(&figures.memory()).map(|bytes| bytes.0 as f64) })
                .collect(),
        };
        let mut series =
            vec![sum(&metrics::PRIVATE, model::MemorySample::private), sum(&metrics::RSS, model::MemorySample::rss)];
        let column = |figure| rows.iter().map(move |(at, figures)| (*at, figures.get(figure)));
        series.extend(SHOWN.map(|figure| Series::of_process(figure, column(figure))));
        series.retain(|series| series.metric.key == metrics::PRIVATE.key || series.last().is_some());
        let moment = |row: Option<&(WallTime, ProcessFigures)>| row.map_or(WallTime(0), |(at, _)| *at);
        Self { identity, first: moment(rows.first()), last: moment(rows.last()), series }
    }
}

/// The metric that a recorded figure is shown as.
pub(crate) const fn of(figure: ProcessMetric) -> &'static Metric {
    match figure {
        ProcessMetric::RssAnon => &metrics::ANON,
        ProcessMetric::RssFile => &metrics::FILE,
        ProcessMetric::RssShmem => &metrics::SHMEM,
        ProcessMetric::Swap => &metrics::SWAP,
        ProcessMetric::VirtualSize => &metrics::VIRTUAL_SIZE,
        ProcessMetric::PageTables => &metrics::PAGE_TABLES,
        ProcessMetric::Threads => &metrics::THREADS,
        ProcessMetric::Descriptors => &metrics::DESCRIPTORS,
        ProcessMetric::DescriptorLimit => &metrics::DESCRIPTOR_LIMIT,
        ProcessMetric::MinorFaults => &metrics::MINOR_FAULTS,
        ProcessMetric::MajorFaults => &metrics::MAJOR_FAULTS,
        ProcessMetric::State => &metrics::PROCESS_STATE,
        ProcessMetric::OomScore => &metrics::OOM_SCORE,
        ProcessMetric::CpuTime => &metrics::CPU_TIME,
        ProcessMetric::Parent => &metrics::PARENT,
        ProcessMetric::Pss => &metrics::PSS,
        ProcessMetric::Uss => &metrics::USS,
    }
}

fn meminfo(sample: &SystemSample, name: &str) -> Reading<u64> {
    sample.meminfo(name).map(|bytes| bytes.0)
}

/// What is used of a whole; the kernel reads both at slightly different times, so the rest may be the greater.
pub(crate) fn used(sample: &SystemSample, whole: &str, rest: &str) -> Reading<u64> {
    meminfo(sample, whole).with(meminfo(sample, rest), u64::saturating_sub)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Figure, FigureKey, SourceSample, Why};

    fn system(figures: &[(Source, &str, &str, u64)]) -> SystemSample {
        let mut sample = SystemSample::default();
        for (source, subject, name, value) in figures {
            let key = FigureKey { subject: (*subject).into(), name: (*name).into() };
            let figure = Figure { key, value: Reading::Known(*value) };
            match sample.sources.iter_mut().find(|sample| sample.source == *source) {
                Some(SourceSample { figures: Reading::Known(figures), .. }) => figures.push(figure),
                _ => sample.sources.push(SourceSample { source: *source, figures: Reading::Known(vec![figure]) }),
            }
        }
        sample
    }

    #[track_caller]
    fn check(figures: &[(Source, &str, &str, u64)], expected: &[(&str, f64)]) {
        let series = Series::of_system(&[(WallTime(1), system(figures))]);
        let found: Vec<(&str, f64)> = series.iter().map(|series| (series.metric.key, series.last().unwrap())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn only_what_is_known_of_the_machine_is_shown() {
        check(&[], &[]);
        check(&[(Source::Meminfo, "", "MemFree", 7)], &[("memory_free_bytes", 7.0)]);
        check(
            &[(Source::Meminfo, "", "MemTotal", 10), (Source::Meminfo, "", "MemAvailable", 4)],
            &[("memory_used_bytes", 6.0), ("memory_available_bytes", 4.0)],
        );
        check(&[(Source::Pressure, "io", "some.avg10", 1250)], &[("pressure", 0.125)]);
    }

    #[test]
    fn what_is_used_is_never_below_zero() {
        let sample = system(&[(Source::Meminfo, "", "SwapTotal", 1), (Source::Meminfo, "", "SwapFree", 2)]);
        assert_eq!(used(&sample, "SwapTotal", "SwapFree"), Reading::Known(0));
        assert_eq!(used(&sample, "SwapTotal", "Nothing"), Reading::Missing(Why::NotOffered));
    }

    #[test]
    fn a_process_always_has_its_private_memory() {
        let identity = crate::samples::leaking().identity;
        let mut figures = ProcessFigures::default();
        let empty = ProcessSeries::new(Arc::clone(&identity), &[(WallTime(1), figures.clone())]);
        assert_eq!(empty.series.len(), 1);
        assert_eq!(empty.series[0].points[0].value, Reading::Missing(Why::NotRecorded));
        figures.set(ProcessMetric::RssAnon, Reading::Known(4));
        figures.set(ProcessMetric::Swap, Reading::Known(2));
        figures.set(ProcessMetric::CpuTime, Reading::Known(1500));
        let series = ProcessSeries::new(identity, &[(WallTime(1), figures)]);
        let value = |metric| series.series(metric).and_then(Series::last);
        assert_eq!(value(&metrics::PRIVATE), Some(6.0));
        assert_eq!(value(&metrics::CPU_TIME), Some(1.5));
        assert_eq!(value(&metrics::RSS), None, "a sum with a missing part is missing");
    }
}
