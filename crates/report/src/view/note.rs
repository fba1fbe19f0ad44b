//! Events of a recording in words.
//!
//! Owns: one sentence for each event, and whether it deserves attention. Must not know: where events are listed.

use std::time::Duration;

use model::{Event, Moment, ProcessKey, Reading, Severity, escaped};

use super::NoteView;
use crate::text::phrase::counted;
use crate::{Span, WallTime};

impl NoteView {
    /// One event; `name_of` gives the name of a process, where it is known.
    pub fn new(at: &Moment, event: &Event, name_of: impl Fn(ProcessKey) -> Option<String>) -> Self {
        let process = |key: &ProcessKey| match name_of(*key) {
            Some(name) => format!("{} ({name})", key.pid),
            None => key.pid.to_string(),
        };
        let (kind, severe, text) = match event {
            Event::ProcessBorn { process: key } => ("born", false, format!("process {} is there", process(key))),
            Event::ProcessDied { process: key, exit } => ("died", false, died(&process(key), *exit)),
            Event::Zombie { process: key, command, parent } => {
                let parent = match parent {
                    Reading::Known(pid) => format!("its parent {pid}"),
                    Reading::Missing(why) => format!("its parent (unknown: {why})"),
                };
                ("zombie", true, format!("process {} ({command}) is a zombie: {parent} has not waited for it", key.pid))
            }
            Event::OomKill { victim, command, cgroup, .. } => {
                let place = cgroup.as_ref().map_or_else(|| "the machine".to_owned(), |group| format!("group {group}"));
                ("oom_kill", true, format!("out of memory in {place}: the kernel killed process {victim} ({command})"))
            }
            // Up to `KERN_WARNING`; what is below it (notices, debugging) is written at any time.
            Event::KernelMessage { level, message } => ("kernel", *level <= 4, format!("kernel: {message}")),
            Event::RecorderStarted { host, kernel, version, every_ms } => {
                let every = Span(Duration::from_millis(*every_ms));
                ("started", false, format!("leakline {version} starts to record {host} (Linux {kernel}) every {every}"))
            }
            Event::RecorderStopped { reason } => ("stopped", false, format!("recording stopped: {reason}")),
            Event::Gap { length_ns, reason } => {
                ("gap", true, format!("nothing recorded for {}: {reason}", Span(Duration::from_nanos(*length_ns))))
            }
            Event::BeatNotKept { wanted_ms, kept_ms } => ("beat_not_kept", true, beat(*wanted_ms, *kept_ms)),
            Event::NotRecorded { beats, reason } => {
                ("not_recorded", true, format!("{} could not be recorded: {reason}", counted(*beats, "sample")))
            }
            Event::AlertRaised { rule, process: key, severity, text } => {
                let about = key.as_ref().map_or_else(String::new, |key| format!(" about process {}", process(key)));
                ("alert", *severity > Severity::Notice, format!("alert {rule}{about}: {text}"))
            }
            Event::AlertCleared { rule, process: key } => {
                let about = key.as_ref().map_or_else(String::new, |key| format!(" about process {}", process(key)));
                ("alert_cleared", false, format!("alert {rule}{about} is over"))
            }
            Event::ClockJumped { by_ns } => ("clock", true, jumped(*by_ns)),
        };
        debug_assert!(!text.is_empty(), "an event without words");
        // Reasons and names come from recordings, which may be forged: the recorder's own escaping is not relied on.
        Self { at: WallTime::from(at), kind, severe, text: escaped(text.as_bytes()) }
    }
}

fn died(process: &str, exit: Reading<model::Exit>) -> String {
    match exit {
        Reading::Known(model::Exit::Status(status)) => format!("process {process} ended with status {status}"),
        Reading::Known(model::Exit::Signal(signal)) => format!("process {process} was ended by signal {signal}"),
        // It is the usual case that the status is not known, so that no reason is given.
        Reading::Missing(_) => format!("process {process} is gone"),
    }
}

fn beat(wanted_ms: u64, kept_ms: u64) -> String {
    let span = |milliseconds| Span(Duration::from_millis(milliseconds));
    format!("a sample every {} was wanted, but one every {} was possible", span(wanted_ms), span(kept_ms))
}

/// A jump is told because every moment before it is wrong by as much: curves and reports are drawn by the wall clock.
fn jumped(by_ns: i64) -> String {
    let direction = if by_ns < 0 { "back" } else { "forward" };
    format!("the wall clock jumped {direction} by {}", Span(Duration::from_nanos(by_ns.unsigned_abs())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Exit, Pid, Why};

    const KEY: ProcessKey = ProcessKey { pid: Pid(7), started: 1 };

    #[track_caller]
    fn check(event: &Event, severe: bool, text: &str) {
        let at = Moment { wall_ns: 5, boot_ns: 1, boot_id: "b".into() };
        let note = NoteView::new(&at, event, |key| (key == KEY).then(|| "cron".to_owned()));
        assert_eq!((note.text.as_str(), note.severe, note.at), (text, severe, WallTime(5)));
    }

    #[test]
    fn processes_are_named_where_their_name_is_known() {
        check(&Event::ProcessBorn { process: KEY }, false, "process 7 (cron) is there");
        let other = ProcessKey { started: 2, ..KEY };
        check(&Event::ProcessBorn { process: other }, false, "process 7 is there");
        let exit = Reading::Known(Exit::Signal(9));
        check(&Event::ProcessDied { process: KEY, exit }, false, "process 7 (cron) was ended by signal 9");
        let exit = Reading::Missing(Why::NotOffered);
        check(&Event::ProcessDied { process: KEY, exit }, false, "process 7 (cron) is gone");
    }

    #[test]
    fn what_matters_is_marked() {
        let oom = |cgroup| Event::OomKill { victim: Pid(9), command: "db".into(), cgroup, message: String::new() };
        check(&oom(None), true, "out of memory in the machine: the kernel killed process 9 (db)");
        check(&oom(Some("/a".into())), true, "out of memory in group /a: the kernel killed process 9 (db)");
        check(&Event::KernelMessage { level: 6, message: "x".into() }, false, "kernel: x");
        check(&Event::KernelMessage { level: 4, message: "x\x1b".into() }, true, "kernel: x\\x1b");
        let parent = Reading::Missing(Why::ProcessGone);
        let zombie = Event::Zombie { process: KEY, command: "sh".into(), parent };
        let expected = "process 7 (sh) is a zombie: its parent (unknown: the process is gone) has not waited for it";
        check(&zombie, true, expected);
    }

    #[test]
    fn what_the_recorder_could_not_do_is_said() {
        let gap = Event::Gap { length_ns: 90_000_000_000, reason: "suspended".into() };
        check(&gap, true, "nothing recorded for 1 min 30 s: suspended");
        let expected = "a sample every 1.00 s was wanted, but one every 2.50 s was possible";
        check(&Event::BeatNotKept { wanted_ms: 1000, kept_ms: 2500 }, true, expected);
        let lost = Event::NotRecorded { beats: 3, reason: "no space left on device".into() };
        check(&lost, true, "3 samples could not be recorded: no space left on device");
        check(&Event::ClockJumped { by_ns: -3_600_000_000_000 }, true, "the wall clock jumped back by 1 h 00 min");
        check(&Event::RecorderStopped { reason: "--for is over".into() }, false, "recording stopped: --for is over");
    }

    #[test]
    fn alerts_say_their_rule() {
        let raised = |severity| Event::AlertRaised {
            rule: "swap".into(),
            process: None,
            severity,
            text: "1 GiB in swap".into(),
        };
        check(&raised(Severity::Notice), false, "alert swap: 1 GiB in swap");
        check(&raised(Severity::Critical), true, "alert swap: 1 GiB in swap");
        let cleared = Event::AlertCleared { rule: "growth".into(), process: Some(KEY) };
        check(&cleared, false, "alert growth about process 7 (cron) is over");
    }
}
