//! Identities, figure keys and events as bytes.
//!
//! Owns: their fields and tags. Must not know: which block they stand in.

use std::sync::Arc;

use model::{Event, Exit, FigureKey, Identity, Pid, ProcessKey, Reading, Severity, Why};

use crate::cell::{code_of, why_of};
use crate::coding::{Malformed, Reader, put_number, put_text, unzigzag, zigzag};

/// Writes a reading: 0 and its value, or the code of its reason.
fn put_reading<T>(out: &mut Vec<u8>, reading: &Reading<T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    match reading {
        Reading::Known(value) => {
            out.push(0);
            put(out, value);
        }
        Reading::Missing(why) => out.push(code_of(*why)),
    }
}

fn reading<'a, T>(
    reader: &mut Reader<'a>,
    take: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Reading<T>, Malformed> {
    match reader.byte()? {
        0 => take(reader).map(Reading::Known),
        code => Ok(Reading::Missing(why_of(code))),
    }
}

/// An option travels as a reading; why it is none is not asked.
fn put_option<T>(out: &mut Vec<u8>, value: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    put_reading(out, &Reading::from_option(value, Why::NotRecorded), |out, value| put(out, value));
}

fn number_u32(reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    u32::try_from(reader.number()?).map_err(|_| Malformed)
}

pub(crate) fn put_process_key(out: &mut Vec<u8>, key: &ProcessKey) {
    put_number(out, u64::from(key.pid.0));
    put_number(out, key.started);
}

fn process_key(reader: &mut Reader<'_>) -> Result<ProcessKey, Malformed> {
    Ok(ProcessKey { pid: Pid(number_u32(reader)?), started: reader.number()? })
}

/// Writes an identity.
pub(crate) fn put_identity(out: &mut Vec<u8>, identity: &Identity) {
    put_process_key(out, &identity.key);
    put_text(out, &identity.command);
    put_text(out, &identity.arguments);
    put_reading(out, &identity.uid, |out, uid| put_number(out, u64::from(*uid)));
    put_reading(out, &identity.user, |out, user| put_text(out, user));
    put_reading(out, &identity.cgroup, |out, cgroup| put_text(out, cgroup));
    put_option(out, identity.container.as_ref(), |out, container| put_text(out, container));
    out.push(u8::from(identity.kernel_thread));
}

/// Reads an identity.
pub(crate) fn identity(reader: &mut Reader<'_>) -> Result<Identity, Malformed> {
    Ok(Identity {
        key: process_key(reader)?,
        command: reader.text()?,
        arguments: reader.text()?,
        uid: reading(reader, number_u32)?,
        user: reading(reader, Reader::text)?,
        cgroup: reading(reader, Reader::text)?,
        container: reading(reader, Reader::text)?.known(),
        kernel_thread: reader.byte()? != 0,
    })
}

/// Writes the key of a figure.
pub(crate) fn put_figure_key(out: &mut Vec<u8>, key: &FigureKey) {
    put_text(out, &key.subject);
    put_text(out, &key.name);
}

/// Reads the key of a figure.
pub(crate) fn figure_key(reader: &mut Reader<'_>) -> Result<FigureKey, Malformed> {
    Ok(FigureKey { subject: Arc::from(reader.text()?), name: Arc::from(reader.text()?) })
}

/// Writes an event with its length before it, so that a reader passes by one whose tag it does not know.
pub(crate) fn put_event(out: &mut Vec<u8>, event: &Event) {
    let mut body = Vec::new();
    put_body(&mut body, event);
    put_number(out, body.len() as u64);
    out.extend_from_slice(&body);
}

fn put_body(out: &mut Vec<u8>, event: &Event) {
    match event {
        Event::ProcessBorn { process } => {
            out.push(1);
            put_process_key(out, process);
        }
        Event::ProcessDied { process, exit } => {
            out.push(2);
            put_process_key(out, process);
            put_reading(out, exit, |out, exit| put_exit(out, *exit));
        }
        Event::Zombie { process, command, parent } => {
            out.push(3);
            put_process_key(out, process);
            put_text(out, command);
            put_reading(out, parent, |out, parent| put_number(out, u64::from(parent.0)));
        }
        Event::OomKill { victim, command, cgroup, message } => {
            out.push(4);
            put_number(out, u64::from(victim.0));
            put_text(out, command);
            put_option(out, cgroup.as_ref(), |out, cgroup| put_text(out, cgroup));
            put_text(out, message);
        }
        Event::KernelMessage { level, message } => {
            out.extend_from_slice(&[5, *level]);
            put_text(out, message);
        }
        Event::AlertRaised { rule, process, severity, text } => {
            out.extend_from_slice(&[10, *severity as u8]);
            put_text(out, rule);
            put_option(out, process.as_ref(), put_process_key);
            put_text(out, text);
        }
        Event::AlertCleared { rule, process } => {
            out.push(11);
            put_text(out, rule);
            put_option(out, process.as_ref(), put_process_key);
        }
        Event::RecorderStarted { .. }
        | Event::RecorderStopped { .. }
        | Event::Gap { .. }
        | Event::BeatNotKept { .. }
        | Event::NotRecorded { .. }
        | Event::ClockJumped { .. } => put_recorder_body(out, event),
    }
}

/// Events of the recorder itself: a tag, numbers, texts.
fn put_recorder_body(out: &mut Vec<u8>, event: &Event) {
    let (tag, numbers, texts): (u8, [Option<u64>; 2], [&str; 3]) = match event {
        Event::RecorderStarted { host, kernel, version, every_ms } => {
            (6, [Some(*every_ms), None], [host, kernel, version])
        }
        Event::RecorderStopped { reason } => (7, [None, None], [reason, "", ""]),
        Event::Gap { length_ns, reason } => (8, [Some(*length_ns), None], [reason, "", ""]),
        Event::BeatNotKept { wanted_ms, kept_ms } => (9, [Some(*wanted_ms), Some(*kept_ms)], [""; 3]),
        Event::NotRecorded { beats, reason } => (12, [Some(*beats), None], [reason, "", ""]),
        Event::ClockJumped { by_ns } => (13, [Some(zigzag(*by_ns)), None], [""; 3]),
        Event::ProcessBorn { .. }
        | Event::ProcessDied { .. }
        | Event::Zombie { .. }
        | Event::OomKill { .. }
        | Event::KernelMessage { .. }
        | Event::AlertRaised { .. }
        | Event::AlertCleared { .. } => return,
    };
    out.push(tag);
    for number in numbers.into_iter().flatten() {
        put_number(out, number);
    }
    // The reader knows how many texts its tag has; the empty ones after them cost a byte in a handful of events.
    for text in texts {
        put_text(out, text);
    }
}

fn put_exit(out: &mut Vec<u8>, exit: Exit) {
    match exit {
        Exit::Status(status) => out.extend_from_slice(&[0, status]),
        Exit::Signal(signal) => out.extend_from_slice(&[1, signal]),
    }
}

fn exit(reader: &mut Reader<'_>) -> Result<Exit, Malformed> {
    match (reader.byte()?, reader.byte()?) {
        (0, status) => Ok(Exit::Status(status)),
        (1, signal) => Ok(Exit::Signal(signal)),
        _ => Err(Malformed),
    }
}

fn severity(reader: &mut Reader<'_>) -> Result<Severity, Malformed> {
    let severities = [Severity::Notice, Severity::Warning, Severity::Critical];
    severities.get(usize::from(reader.byte()?)).copied().ok_or(Malformed)
}

/// Reads an event; none where it is of a kind that this program does not know.
pub(crate) fn event(reader: &mut Reader<'_>) -> Result<Option<Event>, Malformed> {
    let mut body = Reader::new(reader.sized()?);
    let tag = body.byte()?;
    event_body(tag, &mut body)
}

fn event_body(tag: u8, reader: &mut Reader<'_>) -> Result<Option<Event>, Malformed> {
    Ok(Some(match tag {
        1 => Event::ProcessBorn { process: process_key(reader)? },
        2 => Event::ProcessDied { process: process_key(reader)?, exit: reading(reader, exit)? },
        3 => Event::Zombie {
            process: process_key(reader)?,
            command: reader.text()?,
            parent: reading(reader, |reader| number_u32(reader).map(Pid))?,
        },
        4 => Event::OomKill {
            victim: Pid(number_u32(reader)?),
            command: reader.text()?,
            cgroup: reading(reader, Reader::text)?.known(),
            message: reader.text()?,
        },
        5 => Event::KernelMessage { level: reader.byte()?, message: reader.text()? },
        6 => {
            let every_ms = reader.number()?;
            Event::RecorderStarted { every_ms, host: reader.text()?, kernel: reader.text()?, version: reader.text()? }
        }
        7 => Event::RecorderStopped { reason: reader.text()? },
        8 => Event::Gap { length_ns: reader.number()?, reason: reader.text()? },
        9 => Event::BeatNotKept { wanted_ms: reader.number()?, kept_ms: reader.number()? },
        10 => {
            let severity = severity(reader)?;
            let (rule, process) = (reader.text()?, reading(reader, process_key)?.known());
            Event::AlertRaised { rule, process, severity, text: reader.text()? }
        }
        11 => Event::AlertCleared { rule: reader.text()?, process: reading(reader, process_key)?.known() },
        12 => Event::NotRecorded { beats: reader.number()?, reason: reader.text()? },
        13 => Event::ClockJumped { by_ns: unzigzag(reader.number()?) },
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn every_event_is_read_back() {
        let events = samples::events();
        let mut out = Vec::new();
        for event in &events {
            put_event(&mut out, event);
        }
        let mut reader = Reader::new(&out);
        for wanted in &events {
            assert_eq!(event(&mut reader), Ok(Some(wanted.clone())));
        }
        assert!(reader.is_empty());
    }

    #[test]
    fn an_event_of_tomorrow_is_passed_by() {
        let mut out = vec![3, 99, 1, 2];
        put_event(&mut out, &Event::RecorderStopped { reason: "over".to_owned() });
        let mut reader = Reader::new(&out);
        assert_eq!(event(&mut reader), Ok(None));
        assert!(matches!(event(&mut reader), Ok(Some(Event::RecorderStopped { .. }))));
    }

    #[test]
    fn identities_are_read_back_whole_or_not_at_all() {
        let identity_in = samples::identity(7, 70);
        let mut out = Vec::new();
        put_identity(&mut out, &identity_in);
        assert_eq!(identity(&mut Reader::new(&out)), Ok(identity_in));
        for length in 0..out.len() {
            assert_eq!(identity(&mut Reader::new(&out[..length])), Err(Malformed), "{length}");
        }
    }
}
