//! Records of `/dev/kmsg`: what the kernel says about memory.
//!
//! Owns: the form of a record, and which lines are about memory. Must not know: how the records are read.
//!
//! Root may write to the log too, and so may whoever root lets; the kernel marks such lines with another facility than its
//! own. Only its own are believed, else a service could forge the end of another.

use model::Pid;

use crate::scan;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// 0 (emergency) to 7 (debug).
    pub level: u8,
    /// Whether the kernel itself wrote it.
    pub from_kernel: bool,
    /// Microseconds since boot.
    pub at_us: u64,
    /// The first line of it; further ones only name the device.
    pub text: &'a [u8],
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Which process is to be killed, and for which group: stands before [`Message::Killed`].
    Chosen {
        /// The process.
        pid: Pid,
        /// The group whose limit was hit; none where the machine ran out.
        cgroup: Option<&'a [u8]>,
    },
    /// A process was killed for lack of memory.
    Killed {
        /// The process.
        pid: Pid,
        /// Its name.
        command: &'a [u8],
    },
    /// Something else about memory.
    Memory,
}

/// Words that only lines about memory have.
const MEMORY_WORDS: [&[u8]; 9] = [
    b"invoked oom-killer",
    b"Out of memory",
    b"out of memory",
    b"page allocation failure",
    b"page allocation stalls",
    b"Unable to allocate memory",
    b"oom_reaper",
    b"Memory failure",
    b"vmalloc error",
];

/// Reads one record, as one read of `/dev/kmsg` returns it: `level,sequence,microseconds,flags;text`.
pub fn parse(record: &[u8]) -> Option<Record<'_>> {
    let (head, text) = scan::split_at_byte(record, b';')?;
    let mut head = head.split(|byte| *byte == b',');
    let priority = scan::decimal(head.next()?)?;
    let at_us = scan::decimal(head.nth(1)?)?;
    let text = text.split(|byte| *byte == b'\n').next()?;
    // The sequence number is passed over: gaps in it are for the reader of the file, who is told of them by the kernel (`EPIPE`).
    // As in syslog(2): the lowest three bits are the level, the others the facility, which is 0 for the kernel.
    Some(Record { level: (priority & 7) as u8, from_kernel: priority >> 3 == 0, at_us, text })
}

impl<'a> Record<'a> {
    /// What the line is about; none where it is not the kernel's or not about memory.
    pub fn message(&self) -> Option<Message<'a>> {
        if !self.from_kernel {
            return None;
        }
        if let Some(rest) = self.text.strip_prefix(b"oom-kill:") {
            return chosen(rest);
        }
        if let Some((pid, command)) = killed(self.text) {
            return Some(Message::Killed { pid, command });
        }
        MEMORY_WORDS.iter().any(|word| find(self.text, word).is_some()).then_some(Message::Memory)
    }
}

/// `constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/g,task_memcg=/g,task=NAME,pid=7,uid=0`.
/// Names may hold commas, so that the pid is looked for from the end.
fn chosen(text: &[u8]) -> Option<Message<'_>> {
    let pid = find_last(text, b",pid=").and_then(|at| number(text.get(at + 5..)?))?;
    let group = find(text, b",oom_memcg=").and_then(|at| {
        let rest = text.get(at + 11..)?;
        rest.get(..find(rest, b",task_memcg=")?)
    });
    Some(Message::Chosen { pid, cgroup: group })
}

/// `Out of memory: Killed process 7 (name) total-vm:…`, before 4.19 `Kill process`, before 5.0 `Killed process 7, UID 0, (name)`.
fn killed(text: &[u8]) -> Option<(Pid, &[u8])> {
    let rest = text.get(find(text, b"Killed process ")? + 15..)?;
    let pid = number(rest)?;
    let start = find(rest, b"(")? + 1;
    // The name may hold parentheses itself: it ends with the last one before the figures.
    let figures = find_last(rest, b" total-vm:").unwrap_or(rest.len());
    let before = rest.get(start..figures)?;
    let end = before.iter().rposition(|byte| *byte == b')')?;
    Some((pid, before.get(..end)?))
}

fn number(text: &[u8]) -> Option<Pid> {
    let digits = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    u32::try_from(scan::decimal(text.get(..digits)?)?).ok().map(Pid)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn find_last(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).rposition(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message of a record in words.
    #[track_caller]
    fn check(record: &str, expected: &str) {
        let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let found = match parse(record.as_bytes()).map(|record| record.message()) {
            None => "no record".to_owned(),
            Some(None) => "-".to_owned(),
            Some(Some(Message::Chosen { pid, cgroup })) => {
                format!("chosen {pid} {}", cgroup.map_or("-".to_owned(), words))
            }
            Some(Some(Message::Killed { pid, command })) => format!("killed {pid} {}", words(command)),
            Some(Some(Message::Memory)) => "memory".to_owned(),
        };
        assert_eq!(found, expected, "{record:?}");
    }

    #[test]
    fn a_record_has_level_and_time() {
        let record = parse(b"4,1234,567890,-;first line\n SUBSYSTEM=memory\n").unwrap();
        assert_eq!(record, Record { level: 4, from_kernel: true, at_us: 567_890, text: b"first line" });
        assert_eq!(parse(b"30,1,2,c;x").map(|record| (record.level, record.from_kernel)), Some((6, false)));
    }

    #[test]
    fn a_kill_names_its_victim_and_its_group() {
        check(
            "6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,b,task_memcg=/a,b/c,task=x,pid=1,pid=77,uid=0\n",
            "chosen 77 /a,b",
        );
        check(
            "6,1,2,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),global_oom,task_memcg=/g,task=x,pid=7,uid=0",
            "chosen 7 -",
        );
        check(
            "3,1,2,-;Memory cgroup out of memory: Killed process 77 (a (b) c) total-vm:8kB, anon-rss:4kB, UID:0 pgtables:4kB oom_score_adj:0",
            "killed 77 a (b) c",
        );
        check("3,1,2,-;Out of memory: Killed process 7 (x) total-vm:9) total-vm:8kB", "killed 7 x) total-vm:9");
        check("3,1,2,-;Killed process 815, UID 1000, (old) total-vm:8kB", "killed 815 old");
    }

    #[test]
    fn other_lines_about_memory() {
        check("4,1,2,-;stress invoked oom-killer: gfp_mask=0xcc0", "memory");
        check("4,1,2,-;kworker: page allocation failure: order:4", "memory");
        check("6,1,2,-;eth0: link up", "-");
    }

    #[test]
    fn what_users_write_into_the_log_is_not_believed() {
        check("11,1,2,-;Out of memory: Killed process 1 (init) total-vm:8kB", "-");
        check("14,1,2,-;oom-kill:task=x,pid=1,uid=0", "-");
    }

    #[test]
    fn what_is_malformed_is_no_record() {
        for record in ["", "x", "6,1;a", "6,1,x,-;a", "x,1,2,-;a"] {
            check(record, "no record");
        }
        check("6,1,2,-;Killed process x (a)", "-");
        check("6,1,2,-;Killed process 99999999999 (a)", "-");
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        for seed in 0..10_000 {
            for start in [&b"6,1,2,-;Killed process 7 "[..], b"6,1,2,-;oom-kill:"] {
                let text = [start, &scan::noise(seed, b"() total-vm:,pid=7,oom_memcg=/,task_memcg=")].concat();
                assert!(parse(&text).is_some_and(|record| record.from_kernel));
                let _ = parse(&text).and_then(|record| record.message());
            }
        }
    }
}
