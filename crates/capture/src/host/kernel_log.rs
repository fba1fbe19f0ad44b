//! What the kernel says about memory while we look.
//!
//! Owns: reading `/dev/kmsg` without waiting. Must not know: who is told.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use formats::kernel_log::{self, Message};
use model::{Event, Pid, escaped};

use super::limits::{MESSAGES_MAX, RECORD_MAX, RECORDS_MAX};

/// What a read says when the next record was overwritten before it could be read.
const EPIPE: i32 = 32;

/// The log, from now on.
#[derive(Debug)]
pub(super) struct KernelLog<F = File> {
    file: F,
    /// Groups of processes that the kernel is about to kill.
    chosen: HashMap<Pid, String>,
    lost: u64,
}

impl KernelLog {
    /// Opens the log at its end; none where it may not be read (`kernel.dmesg_restrict`) or is not there.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
        file.seek(SeekFrom::End(0)).ok()?;
        Some(Self::new(file))
    }
}

impl<F: Read> KernelLog<F> {
    fn new(file: F) -> Self {
        Self { file, chosen: HashMap::new(), lost: 0 }
    }

    /// Records that were overwritten before they were read, and messages beyond the bound of a beat.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// What was said about memory since the last look.
    pub(super) fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut record = vec![0; RECORD_MAX];
        for _ in 0..RECORDS_MAX {
            // One read gives one record.
            let length = match self.file.read(&mut record) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.raw_os_error() == Some(EPIPE) => {
                    self.lost += 1;
                    continue;
                }
                Err(_) => break,
            };
            let Some(event) = record.get(..length).and_then(|bytes| self.event(bytes)) else { continue };
            if events.len() < MESSAGES_MAX {
                events.push(event);
            } else {
                self.lost += 1;
            }
        }
        events
    }

    fn event(&mut self, bytes: &[u8]) -> Option<Event> {
        let record = kernel_log::parse(bytes)?;
        let message = escaped(record.text);
        match record.message()? {
            Message::Chosen { pid, cgroup } => {
                // The kill follows at once; what piles up here was never carried out.
                if self.chosen.len() >= MESSAGES_MAX {
                    self.chosen.clear();
                }
                self.chosen.extend(cgroup.map(|group| (pid, escaped(group))));
                None
            }
            Message::Killed { pid, command } => {
                let cgroup = self.chosen.remove(&pid);
                Some(Event::OomKill { victim: pid, command: escaped(command), cgroup, message })
            }
            Message::Memory => Some(Event::KernelMessage { level: record.level, message }),
        }
    }
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

    #[track_caller]
    #[expect(clippy::wildcard_enum_match_arm, reason = "the log makes no others")]
    fn check(records: &[&'static str], expected: &str) {
        let mut log = KernelLog::new(Records(records.to_vec()));
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
        let mut log = KernelLog::new(Records(vec!["4,1,2,-;Out of memory\n"; MESSAGES_MAX + 5]));
        assert_eq!((log.events().len(), log.lost()), (MESSAGES_MAX, 5));
        assert!(log.events().is_empty());
    }
}
