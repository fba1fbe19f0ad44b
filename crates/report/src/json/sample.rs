//! One sample of a recording, whole.
//!
//! Owns: the keys of its sources. Must not know: how recordings are stored.
//!
//! Figures of processes stand under their metrics. Those of the machine keep the names that the kernel gives them, some
//! hundreds, which `docs/recording-format.md` lists by source; a table of metrics for them would only repeat the kernel's.

use std::time::Duration;

use model::{Beat, Event, Figure, ProcessKey, ProcessMetric, ProcessReading, Reading, Source, SystemSample};
use serde_json::{Map, Value};

use super::identity;
use super::object::{self, Object};
use crate::view::{NoteView, metric_of};
use crate::{WallTime, metrics};

/// All that was sampled and noticed at one moment.
pub(super) fn sample(object: Object, beat: &Beat) -> Object {
    let at = WallTime::from(&beat.at);
    object
        .text("at", &at.rfc3339())
        .figure(&metrics::UNIX, Duration::from_nanos(beat.at.wall_ns))
        .figure(&metrics::SINCE_BOOT, Duration::from_nanos(beat.at.boot_ns))
        .text("boot_id", &beat.at.boot_id)
        .list("processes", &beat.processes, process)
        .part("system", system(&beat.system))
        .list("events", &beat.events, |event| self::event(beat, event))
}

fn process(process: &ProcessReading) -> Value {
    let object = identity(Object::new(), &process.identity);
    let object = object.figure(&metrics::RSS, process.figures.memory().rss());
    ProcessMetric::ALL.iter().fold(object, |object, metric| figure(object, process, *metric)).value()
}

fn figure(object: Object, process: &ProcessReading, figure: ProcessMetric) -> Object {
    let (value, metric) = (process.figures.get(figure), metric_of(figure));
    match (figure, value) {
        (ProcessMetric::State, _) => object.reading(metric.key, &process.figures.state().map(String::from)),
        (ProcessMetric::CpuTime, _) => object.figure(metric, value.map(Duration::from_millis)),
        // A number that large would be taken for a limit by whoever computes with it.
        (ProcessMetric::DescriptorLimit, Reading::Known(u64::MAX)) => object.missing(metric.key, "unlimited"),
        _ => object.figure(metric, value),
    }
}

/// Each source that was read at this beat: its figures by name, or by subject and name where it is about several things.
fn system(sample: &SystemSample) -> Value {
    let sources = sample.sources.iter();
    let with = |object: Object, (source, value): (Source, Value)| object.part(key(source), value);
    let value = |figures: &Reading<Vec<Figure>>, source| match figures {
        Reading::Known(figures) => content(source, figures),
        Reading::Missing(why) => object::missing(&why.to_string()),
    };
    sources.map(|sample| (sample.source, value(&sample.figures, sample.source))).fold(Object::new(), with).value()
}

fn content(source: Source, figures: &[Figure]) -> Value {
    // Not [`Object`]: names come from the kernel (or from a forged recording) and may stand twice; the last one wins.
    let mut whole = Map::new();
    for figure in figures {
        let value = match figure.value {
            Reading::Known(u64::MAX) => object::missing("unlimited"),
            Reading::Known(value) => Value::from(value),
            Reading::Missing(why) => object::missing(&why.to_string()),
        };
        let name = figure.key.name.to_string();
        if has_subjects(source) {
            let subject = whole.entry(figure.key.subject.to_string()).or_insert_with(|| Value::Object(Map::new()));
            subject.as_object_mut().map(|figures| figures.insert(name, value));
        } else {
            whole.insert(name, value);
        }
    }
    Value::Object(whole)
}

const fn has_subjects(source: Source) -> bool {
    !matches!(source, Source::Meminfo | Source::Vmstat | Source::Load | Source::Machine)
}

const fn key(source: Source) -> &'static str {
    match source {
        Source::Meminfo => "meminfo",
        Source::Vmstat => "vmstat",
        Source::Pressure => "pressure",
        Source::Buddyinfo => "buddyinfo",
        Source::Slabinfo => "slabinfo",
        Source::Swap => "swap",
        Source::Cgroup => "cgroup",
        Source::SystemVShared => "system_v_shared",
        Source::PosixShared => "posix_shared",
        Source::Load => "load",
        Source::Machine => "machine",
    }
}

/// An event in words, with what a program would have to take out of the words.
fn event(beat: &Beat, event: &Event) -> Value {
    // By the whole key: a pid may have been given anew between the event and the sample.
    let name = |key: ProcessKey| {
        let found = beat.processes.iter().find(|process| process.identity.key == key);
        found.map(|process| process.identity.command.clone())
    };
    let note = NoteView::new(&beat.at, event, name);
    let object = Object::new().text("kind", note.kind).truth("severe", note.severe).text("text", &note.text);
    let of = |object: Object, key: &ProcessKey| {
        object.figure(&metrics::PID, key.pid.0).figure(&metrics::STARTED, key.started)
    };
    let about = |object: Object, key: &Option<ProcessKey>| match key {
        Some(key) => of(object, key),
        None => object,
    };
    match event {
        Event::ProcessBorn { process } | Event::ProcessDied { process, .. } => of(object, process),
        Event::Zombie { process, command, parent } => {
            of(object, process).text(metrics::COMMAND.key, command).figure(&metrics::PARENT, parent.map(|pid| pid.0))
        }
        Event::OomKill { victim, command, cgroup, message } => {
            let object = object.figure(&metrics::PID, victim.0).text(metrics::COMMAND.key, command);
            let object = object.text("message", message);
            match cgroup {
                Some(group) => object.text(metrics::CGROUP.key, group),
                None => object.missing(metrics::CGROUP.key, "the machine ran out"),
            }
        }
        Event::AlertRaised { rule, process, .. } | Event::AlertCleared { rule, process } => {
            about(object.text("rule", rule), process)
        }
        Event::KernelMessage { .. }
        | Event::RecorderStarted { .. }
        | Event::RecorderStopped { .. }
        | Event::Gap { .. }
        | Event::BeatNotKept { .. }
        | Event::NotRecorded { .. }
        | Event::ClockJumped { .. } => object,
    }
    .value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use model::{FigureKey, Pid, Why};

    #[test]
    fn a_sample_has_all_figures_of_all_processes() {
        let value = sample(Object::new(), &samples::beat(0)).value();
        assert_eq!((&value["at"], &value["unix_seconds"]), (&"2026-11-21T06:00:00Z".into(), &1_795_240_800.0.into()));
        let java = &value["processes"][0];
        assert_eq!(
            (&java["command"], &java["anon_bytes"], &java["cpu_seconds"]),
            (&"java".into(), &(1984_u64 << 20).into(), &1.5.into())
        );
        assert_eq!((&java["process_state"], &java["descriptor_limit"]["missing"]), (&"S".into(), &"unlimited".into()));
        let keys = ProcessMetric::ALL.map(|metric| java[metric_of(metric).key].is_null());
        assert_eq!(keys, [false; ProcessMetric::COUNT], "each metric is there, if only with why it is missing");
        assert_eq!(value["system"]["meminfo"]["MemTotal"], 16_u64 << 30);
    }

    #[track_caller]
    fn check(source: Source, subject: &str, value: Reading<u64>, expected: &str) {
        let key = FigureKey { subject: subject.into(), name: "n".into() };
        assert_eq!(content(source, &[Figure { key, value }]).to_string(), expected);
    }

    #[test]
    fn figures_of_the_machine_stand_by_subject_and_name() {
        check(Source::Vmstat, "", Reading::Known(3), r#"{"n":3}"#);
        check(Source::Cgroup, "/a\"\x1b", Reading::Known(3), r#"{"/a\"\u001b":{"n":3}}"#);
        check(Source::Cgroup, "/a", Reading::Known(u64::MAX), r#"{"/a":{"n":{"missing":"unlimited"}}}"#);
        check(Source::Load, "", Reading::Missing(Why::NotOffered), r#"{"n":{"missing":"not offered by this kernel"}}"#);
    }

    #[test]
    fn an_event_has_what_it_is_about() {
        let beat = samples::beat(0);
        let kill = Event::OomKill { victim: Pid(7), command: "a".to_owned(), cgroup: None, message: "m".to_owned() };
        let value = event(&beat, &kill);
        assert_eq!((&value["kind"], &value["pid"], &value["message"]), (&"oom_kill".into(), &7.into(), &"m".into()));
        let born = Event::ProcessBorn { process: beat.processes[0].identity.key };
        let value = event(&beat, &born);
        assert_eq!((&value["pid"], &value["text"]), (&100.into(), &"process 100 (java) is there".into()));
    }
}
