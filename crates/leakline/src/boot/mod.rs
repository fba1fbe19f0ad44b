//! `leakline boot`: a recorder that starts with the machine, and how one boot compares with those before.
//!
//! Owns: what is told of a boot. Must not know: how the service is written, or how a recorder records. Nothing of a boot is stored
//! beyond the recording: its summary is made when it is read, so that a machine that crashed has one too.

mod unit;

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use model::{Bytes, Event, Source};
use recording::{GapKind, Recording};
use report::{Outcome, Span, WallTime};

use crate::failure::Failure;
use crate::flags::{Boot, BootAction, BootStatus};
use crate::limits::POINTS_MAX;
use crate::output::Output;
use crate::settings::Settings;
use crate::status::Found;
use crate::{place, record};

/// Does it.
pub(crate) fn run(flags: &Boot, settings: &Settings) -> Result<Outcome, Failure> {
    let mut output = Output::new(false);
    match &flags.action {
        BootAction::Run(flags) => return record::from_boot(flags, settings),
        BootAction::Status(flags) => return status(flags, &mut output),
        BootAction::Install(flags) => {
            let path = unit::install(flags.root.as_deref())?;
            output.say(&format!("wrote {}; it records into /var/lib/leakline", path.display()));
            output.say("look with `leakline boot status` and `leakline report`");
        }
        BootAction::Uninstall(flags) => {
            let path = unit::uninstall(flags.root.as_deref())?;
            output.say(&format!("removed {}; the recording stays, `leakline clean` removes it", path.display()));
        }
    }
    Ok(Outcome::NothingFound)
}

/// 0 while the recorder is at work, else 2.
fn status(flags: &BootStatus, output: &mut Output) -> Result<Outcome, Failure> {
    let directory = place::to_read(flags.recording.recording.as_deref(), flags.recording.place.data_dir.as_deref())?;
    let recording = Recording::open(&directory).map_err(record::refused)?;
    let is_at_work = Found::look(&directory)?.recorder.is_some();
    let mut text = format!(
        "service    {}\nrecorder   {}\nrecording  {}\n",
        if unit::is_installed() { "installed" } else { "not installed; `leakline boot install` does" },
        if is_at_work { "at work" } else { "not at work" },
        model::escaped(directory.display().to_string().as_bytes()),
    );
    let mut before: Vec<Session> = Vec::new();
    for window in sessions(&recording) {
        let session = Session::read(&recording, window, flags.baseline);
        text.push_str(&session.text(&before));
        before.push(session);
    }
    output.write_bytes(text.as_bytes())?;
    Ok(if is_at_work { Outcome::NothingFound } else { Outcome::CouldNotJudge })
}

/// The stretches between two boots, in nanoseconds of wall time.
fn sessions(recording: &Recording) -> Vec<Range<u64>> {
    let info = recording.info();
    let (Some(mut start), Some(end)) = (info.from_ns, info.to_ns) else { return Vec::new() };
    let mut sessions = Vec::new();
    for gap in recording.gaps().into_iter().filter(|gap| gap.kind == GapKind::Reboot) {
        sessions.push(start..gap.from_ns.saturating_add(1));
        start = gap.to_ns;
    }
    sessions.push(start..end.saturating_add(1));
    sessions.retain(|window| window.start < window.end);
    sessions
}

/// What of the machine is told of a boot: memory in use, then what the kernel keeps for itself.
const FIGURES: [(&str, &str); 5] = [
    ("used", "MemTotal"),
    ("slab", "Slab"),
    ("tables", "PageTables"),
    ("stacks", "KernelStack"),
    ("vmalloc", "VmallocUsed"),
];

/// One boot.
#[derive(Clone, Debug)]
struct Session {
    window: Range<u64>,
    /// The course of each of [`FIGURES`]; none where it was not recorded.
    courses: Vec<Option<Course>>,
    alerts: usize,
    oom_kills: usize,
}

/// A figure in the course of a boot: at its first sample, when all had started, at its last sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Course {
    first: u64,
    baseline: u64,
    last: u64,
    /// From the baseline to the last sample.
    length: Duration,
}

impl Session {
    fn read(recording: &Recording, window: Range<u64>, baseline: Duration) -> Self {
        let figures = |name: &str| {
            let series = recording.figure_series(Source::Meminfo, window.clone(), POINTS_MAX);
            let found = series.into_iter().find(|series| *series.of.name == *name);
            found.map(|series| series.points.iter().map(|point| (point.to_ns, point.last)).collect::<Vec<_>>())
        };
        let used = |total: Vec<(u64, u64)>| {
            let both = total.into_iter().zip(figures("MemAvailable")?);
            Some(both.map(|((at_ns, total), (_, available))| (at_ns, total.saturating_sub(available))).collect())
        };
        let course = |(name, figure): &(&str, &str)| {
            let points = figures(figure);
            let points: Option<Vec<(u64, u64)>> = if *name == "used" { points.and_then(used) } else { points };
            points.and_then(|points| Course::of(&points, baseline))
        };
        let count = |is: fn(&Event) -> bool| recording.events(window.clone()).filter(|(_, event)| is(event)).count();
        Self {
            courses: FIGURES.iter().map(course).collect(),
            alerts: count(|event| matches!(event, Event::AlertRaised { .. })),
            oom_kills: count(|event| matches!(event, Event::OomKill { .. })),
            window,
        }
    }

    /// With what each figure was in the boots before.
    fn text(&self, before: &[Self]) -> String {
        let length = Span(Duration::from_nanos(self.window.end - self.window.start));
        let at = WallTime(self.window.start).rfc3339();
        let mut text =
            format!("boot       {at}, recorded for {length}, {} alerts, {} OOM kills\n", self.alerts, self.oom_kills);
        for (position, ((name, _), course)) in FIGURES.iter().zip(&self.courses).enumerate() {
            if let Some(course) = course {
                let earlier: Vec<u64> =
                    before.iter().filter_map(|boot| Some((*boot.courses.get(position)?)?.baseline)).collect();
                let _ = writeln!(text, "  {name:<9}{}", course.text(&earlier));
            }
        }
        text
    }
}

impl Course {
    fn of(points: &[(u64, u64)], baseline: Duration) -> Option<Self> {
        let ((from, first), (to, last)) = (*points.first()?, *points.last()?);
        let at = from.saturating_add(u64::try_from(baseline.as_nanos()).unwrap_or(u64::MAX));
        let (since, baseline) = *points.iter().find(|(at_ns, _)| *at_ns >= at).unwrap_or(points.last()?);
        Some(Self { first, baseline, last, length: Duration::from_nanos(to.saturating_sub(since)) })
    }

    /// Growth in an hour; some minutes say nothing of an hour.
    fn per_hour(self) -> Option<i64> {
        let hours = self.length.as_secs_f64() / 3600.0;
        (hours >= 0.1).then(|| ((self.last as f64 - self.baseline as f64) / hours) as i64)
    }

    /// `earlier` are the baselines of the boots before, oldest first.
    fn text(self, earlier: &[u64]) -> String {
        let rate = self
            .per_hour()
            .map_or_else(|| "too short to tell its growth".to_owned(), |rate| format!("{} an hour", signed(rate)));
        let [first, baseline, last] = [self.first, self.baseline, self.last].map(Bytes);
        let mut text = format!("{first} at first, {baseline} at the baseline, {last} at last; {rate}");
        let difference = |other: u64| {
            signed(i64::try_from(self.baseline).unwrap_or(i64::MAX) - i64::try_from(other).unwrap_or(i64::MAX))
        };
        if let Some(before) = earlier.last() {
            let _ = write!(text, "; baseline {} against the boot before", difference(*before));
        }
        if earlier.len() > 1 {
            let mut sorted = earlier.to_vec();
            sorted.sort_unstable();
            let median = sorted[sorted.len() / 2];
            let _ = write!(text, ", {} against the median of {} earlier boots", difference(median), sorted.len());
        }
        text
    }
}

fn signed(bytes: i64) -> String {
    format!("{}{}", if bytes < 0 { '-' } else { '+' }, Bytes(bytes.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    /// Values in MiB, one a minute, with a baseline after two minutes.
    #[track_caller]
    fn check(values: &[u64], earlier: &[u64], wanted: &str) {
        let course = |values: &[u64]| {
            let points: Vec<_> = (1..).zip(values).map(|(minute, value)| (minute * MINUTE, value << 20)).collect();
            Course::of(&points, Duration::from_secs(120)).expect("there is a value")
        };
        let earlier: Vec<u64> = earlier.iter().map(|baseline| baseline << 20).collect();
        assert_eq!(course(values).text(&earlier), wanted);
    }

    #[test]
    fn growth_counts_from_the_baseline() {
        check(
            &[100, 300, 500, 510, 520, 530, 540, 550, 560, 570],
            &[],
            "100.0 MiB at first, 500.0 MiB at the baseline, 570.0 MiB at last; +600.0 MiB an hour",
        );
        check(
            &[100, 300, 500, 400, 400, 400, 400, 400, 400],
            &[600],
            "100.0 MiB at first, 500.0 MiB at the baseline, 400.0 MiB at last; -1000.0 MiB an hour; baseline -100.0 MiB against the boot before",
        );
    }

    #[test]
    fn a_boot_is_compared_with_all_before_it() {
        check(
            &[500],
            &[300, 900, 400, 450],
            "500.0 MiB at first, 500.0 MiB at the baseline, 500.0 MiB at last; too short to tell its growth; \
             baseline +50.0 MiB against the boot before, +50.0 MiB against the median of 4 earlier boots",
        );
    }

    #[test]
    fn a_short_boot_has_no_growth() {
        check(
            &[100],
            &[],
            "100.0 MiB at first, 100.0 MiB at the baseline, 100.0 MiB at last; too short to tell its growth",
        );
        assert_eq!(Course::of(&[], Duration::ZERO), None);
    }
}
