//! What the kernel says about memory while we look, and before where that is asked for.
//!
//! Owns: reading `/dev/kmsg` without waiting, or the journal where that may not be read. Must not know: who is told.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use formats::kernel_log::{self, Message, Record};
use model::{Event, Pid, escaped};

use super::journal::{Journal, Next};
use super::limits::{MESSAGES_MAX, RECORD_MAX, RECORDS_MAX};

/// What a read says when the next record was overwritten before it could be read.
const EPIPE: i32 = 32;

/// The log.
#[derive(Debug)]
pub(super) struct KernelLog<F = File> {
    source: Source<F>,
    /// Microseconds since boot: what was said before is told with its time, since it is not of the beat that tells it.
    since_us: u64,
    /// Groups of processes that the kernel is about to kill.
    chosen: HashMap<Pid, String>,
    lost: u64,
}

#[derive(Debug)]
enum Source<F> {
    /// `/dev/kmsg`: one read gives one record.
    Kernel(F),
    Journal(Journal),
}

impl KernelLog {
    /// Opens the log at its end, or at its begin where what was said before is wanted too; none where neither it
    /// (`kernel.dmesg_restrict`) nor the journal may be read. `since_boot` is the time now.
    pub(super) fn open(root: &Path, boot_id: &str, early: bool, since_boot: Duration) -> Option<Self> {
        let source = kernel(&root.join("dev/kmsg"), early).map(Source::Kernel);
        let source = source.or_else(|| Journal::open(root, boot_id, early).map(Source::Journal))?;
        let since_us = if early { u64::try_from(since_boot.as_micros()).unwrap_or(u64::MAX) } else { 0 };
        Some(Self { source, since_us, chosen: HashMap::new(), lost: 0 })
    }
}

fn kernel(path: &Path, early: bool) -> Option<File> {
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    // The kernel takes these two places only.
    file.seek(if early { SeekFrom::Start(0) } else { SeekFrom::End(0) }).ok()?;
    Some(file)
}

impl<F: Read> KernelLog<F> {
    /// Records that were overwritten before they were read, and messages beyond the bound of a beat.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// What was said about memory since the last look.
    pub(super) fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut buffer = vec![0; RECORD_MAX];
        for _ in 0..RECORDS_MAX {
            let record = match self.source.next(&mut buffer) {
                Taken::Record(record) => record,
                Taken::Nothing => continue,
                Taken::Lost => {
                    self.lost += 1;
                    continue;
                }
                Taken::End => break,
            };
            let Some(event) = self.event(record) else { continue };
            if events.len() < MESSAGES_MAX {
                events.push(event);
            } else {
                self.lost += 1;
            }
        }
        events
    }

    fn event(&mut self, record: Record<'_>) -> Option<Event> {
        let text = shown(record.text);
        let is_early = record.at_us < self.since_us;
        let message = if is_early { format!("{} s after boot: {text}", record.at_us / 1_000_000) } else { text };
        match record.message()? {
            Message::Chosen { pid, cgroup } => {
                // The kill follows at once; what piles up here was never carried out.
                if self.chosen.len() >= MESSAGES_MAX {
                    self.chosen.clear();
                }
                self.chosen.extend(cgroup.map(|group| (pid, shown(group))));
                None
            }
            Message::Killed { pid, command } => {
                let cgroup = self.chosen.remove(&pid);
                Some(Event::OomKill { victim: pid, command: shown(command), cgroup, message })
            }
            Message::Memory => Some(Event::KernelMessage { level: record.level, message }),
        }
    }
}

/// What one step through the log gives.
enum Taken<'a> {
    Record(Record<'a>),
    /// No record, but there may be more.
    Nothing,
    /// One that was overwritten or cannot be read.
    Lost,
    End,
}

impl<F: Read> Source<F> {
    fn next<'a>(&mut self, buffer: &'a mut Vec<u8>) -> Taken<'a> {
        match self {
            Self::Kernel(file) => {
                buffer.resize(RECORD_MAX, 0);
                match file.read(buffer) {
                    Ok(0) => Taken::End,
                    Ok(length) => {
                        buffer.get(..length).and_then(kernel_log::parse).map_or(Taken::Nothing, Taken::Record)
                    }
                    Err(error) if error.raw_os_error() == Some(EPIPE) => Taken::Lost,
                    Err(_) => Taken::End,
                }
            }
            Self::Journal(journal) => match journal.next(buffer) {
                Next::Line(entry) => Taken::Record(Record {
                    level: entry.level,
                    from_kernel: entry.from_kernel,
                    at_us: entry.at_us,
                    text: buffer,
                }),
                Next::Lost => Taken::Lost,
                Next::Passed => Taken::Nothing,
                Next::End => Taken::End,
            },
        }
    }
}

/// The kernel writes a backslash as `\x5c`, so that a group that systemd named `a\x2db` would be another one here than elsewhere.
fn shown(text: &[u8]) -> String {
    escaped(text).replace("\\x5c", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    /// A log that gives one record per read, `EPIPE` for `!`, and then would block.
    struct Records(Vec<&'static str>);

    impl Read for Records {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match (!self.0.is_empty()).then(|| self.0.remove(0)) {
                None => Err(io::Error::from(io::ErrorKind::WouldBlock)),
                Some("!") => Err(io::Error::from_raw_os_error(EPIPE)),
                Some(record) => {
                    buffer[..record.len()].copy_from_slice(record.as_bytes());
                    Ok(record.len())
                }
            }
        }
    }

    fn log(records: Vec<&'static str>, since_us: u64) -> KernelLog<Records> {
        KernelLog { source: Source::Kernel(Records(records)), since_us, chosen: HashMap::new(), lost: 0 }
    }

    #[test]
    fn what_was_said_before_has_its_time() {
        let mut log = log(vec!["4,1,7000000,-;Out of memory", "4,1,9000000,-;Out of memory"], 8_000_000);
        let texts: Vec<String> = log.events().iter().map(|event| format!("{event:?}")).collect();
        assert!(texts[0].contains("7 s after boot: Out of memory") && !texts[1].contains("after boot"), "{texts:?}");
    }

    #[track_caller]
    #[expect(clippy::wildcard_enum_match_arm, reason = "the log makes no others")]
    fn check(records: &[&'static str], expected: &str) {
        let mut log = log(records.to_vec(), 0);
        let one = |event: &Event| match event {
            Event::OomKill { victim, command, cgroup, .. } => {
                format!("kill {victim} {command} {}", cgroup.as_deref().unwrap_or("-"))
            }
            Event::KernelMessage { level, message } => format!("{level} {message}"),
            other => format!("{other:?}"),
        };
        let events = log.events().iter().map(one).collect::<Vec<_>>().join("; ");
        assert_eq!(format!("{events} lost {}", log.lost()), expected);
    }

    const CHOSEN: &str =
        "6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/g,task_memcg=/g/h,task=a,pid=7,uid=0\n";

    #[test]
    fn a_kill_has_its_group() {
        check(
            &[CHOSEN, "3,1,2,-;Memory cgroup out of memory: Killed process 7 (a\\x1b) total-vm:8kB\n"],
            "kill 7 a\\x1b /g lost 0",
        );
        let chosen = CHOSEN.replace("oom_memcg=/g", r"oom_memcg=/a\x5cx2db");
        let chosen: &'static str = chosen.leak();
        check(&[chosen, "3,1,2,-;Killed process 7 (a) total-vm:8kB\n"], r"kill 7 a /a\x2db lost 0");
        check(&["3,1,2,-;Out of memory: Killed process 7 (a) total-vm:8kB\n"], "kill 7 a - lost 0");
        check(&[CHOSEN, "3,1,2,-;Out of memory: Killed process 8 (b) total-vm:8kB\n"], "kill 8 b - lost 0");
    }

    #[test]
    fn what_was_overwritten_is_counted() {
        check(
            &["!", "4,1,2,-;x invoked oom-killer: \x1b[2J\n", "6,1,2,-;eth0 up\n", "!"],
            "4 x invoked oom-killer: \\x1b[2J lost 2",
        );
        check(&["garbage", "11,1,2,-;Killed process 1 (init) total-vm:1kB"], " lost 0");
    }

    #[test]
    fn messages_of_one_beat_are_bounded() {
        let mut log = log(vec!["4,1,2,-;Out of memory\n"; MESSAGES_MAX + 5], 0);
        assert_eq!((log.events().len(), log.lost()), (MESSAGES_MAX, 5));
        assert!(log.events().is_empty());
    }
}
