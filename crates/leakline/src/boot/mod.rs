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
        BootAction::Run(flags) => return record::run(flags, settings),
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
    let mut before: Option<Session> = None;
    for window in sessions(&recording) {
        let session = Session::read(&recording, window, flags.baseline);
        text.push_str(&session.text(before.as_ref()));
        before = Some(session);
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

/// One boot.
#[derive(Clone, Debug)]
struct Session {
    window: Range<u64>,
    /// Memory in use and memory of the kernel's own objects.
    used: Option<Course>,
    slab: Option<Course>,
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
        let used = figures("MemTotal").zip(figures("MemAvailable")).map(|(total, available)| {
            let both = total.iter().zip(&available);
            both.map(|((at_ns, total), (_, available))| (*at_ns, total.saturating_sub(*available))).collect::<Vec<_>>()
        });
        let count = |is: fn(&Event) -> bool| recording.events(window.clone()).filter(|(_, event)| is(event)).count();
        Self {
            used: used.and_then(|points| Course::of(&points, baseline)),
            slab: figures("Slab").and_then(|points| Course::of(&points, baseline)),
            alerts: count(|event| matches!(event, Event::AlertRaised { .. })),
            oom_kills: count(|event| matches!(event, Event::OomKill { .. })),
            window,
        }
    }

    fn text(&self, before: Option<&Self>) -> String {
        let length = Span(Duration::from_nanos(self.window.end - self.window.start));
        let at = WallTime(self.window.start).rfc3339();
        let mut text =
            format!("boot       {at}, recorded for {length}, {} alerts, {} OOM kills\n", self.alerts, self.oom_kills);
        let earlier = |course: fn(&Self) -> Option<Course>| before.and_then(course);
        for (name, course, before) in
            [("used", self.used, earlier(|it| it.used)), ("slab", self.slab, earlier(|it| it.slab))]
        {
            if let Some(course) = course {
                let _ = writeln!(text, "  {name:<9}{}", course.text(before));
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

    fn text(self, before: Option<Self>) -> String {
        let rate = self
            .per_hour()
            .map_or_else(|| "too short to tell its growth".to_owned(), |rate| format!("{} an hour", signed(rate)));
        let compared = before.map(|before| {
            let difference =
                i64::try_from(self.baseline).unwrap_or(i64::MAX) - i64::try_from(before.baseline).unwrap_or(i64::MAX);
            format!("; baseline {} against the boot before", signed(difference))
        });
        let [first, baseline, last] = [self.first, self.baseline, self.last].map(Bytes);
        format!("{first} at first, {baseline} at the baseline, {last} at last; {rate}{}", compared.unwrap_or_default())
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
    fn check(values: &[u64], before: Option<&[u64]>, wanted: &str) {
        let course = |values: &[u64]| {
            let points: Vec<_> = (1..).zip(values).map(|(minute, value)| (minute * MINUTE, value << 20)).collect();
            Course::of(&points, Duration::from_secs(120)).expect("there is a value")
        };
        assert_eq!(course(values).text(before.map(course)), wanted);
    }

    #[test]
    fn growth_counts_from_the_baseline() {
        check(
            &[100, 300, 500, 510, 520, 530, 540, 550, 560, 570],
            None,
            "100.0 MiB at first, 500.0 MiB at the baseline, 570.0 MiB at last; +600.0 MiB an hour",
        );
        check(
            &[100, 300, 500, 400, 400, 400, 400, 400, 400],
            Some(&[1, 1, 600]),
            "100.0 MiB at first, 500.0 MiB at the baseline, 400.0 MiB at last; -1000.0 MiB an hour; baseline -100.0 MiB against the boot before",
        );
    }

    #[test]
    fn a_short_boot_has_no_growth() {
        check(
            &[100],
            None,
            "100.0 MiB at first, 100.0 MiB at the baseline, 100.0 MiB at last; too short to tell its growth",
        );
        assert_eq!(Course::of(&[], Duration::ZERO), None);
    }
}
