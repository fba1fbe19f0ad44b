//! `/proc/PID/stat`: the few fields that identify a process.
//!
//! Owns: one line. Must not know: whose line it is.
//!
//! The name (field 2) stands in parentheses and may hold blanks, parentheses and newlines, all chosen by the process:
//! `1 (x) R 1 (y) S 0 …` is one process called `x) R 1 (y`. Since no later field has a parenthesis, the *last* one ends
//! the name; whoever looks for the first can be made to see another parent and start time.

use crate::scan;

/// `PF_KTHREAD` of the kernel's `include/linux/sched.h`: set on threads of the kernel and cleared by nothing.
const FLAG_KERNEL_THREAD: u64 = 0x0020_0000;

/// What one line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat<'a> {
    /// Field 1, the process number as the reader's namespace sees it.
    pub pid: u32,
    /// Field 2, the name, as the process chose it.
    pub command: &'a [u8],
    /// Field 3, one letter: `R`, `S`, `D`, `T`, `t`, `Z`, `X`, `I`, …
    pub state: u8,
    /// Field 4, the parent.
    pub parent: u32,
    /// Whether field 9 says that this is a thread of the kernel.
    pub kernel_thread: bool,
    /// Field 10, minor faults since it started.
    pub minor_faults: u64,
    /// Field 12, major faults since it started.
    pub major_faults: u64,
    /// Fields 14 and 15, user and system time since it started, in clock ticks.
    pub cpu_ticks: u64,
    /// Field 22, when it started, in clock ticks since boot.
    pub started: u64,
}

/// Reads a line; none where it is cut or not in the documented form.
pub fn parse(bytes: &[u8]) -> Option<Stat<'_>> {
    let (pid, rest) = scan::split_at_byte(bytes, b' ')?;
    let name_end = rest.iter().rposition(|byte| *byte == b')')?;
    let command = rest.get(..name_end)?.strip_prefix(b"(")?;
    debug_assert!(command.len() + 2 <= rest.len(), "a name stands between its parentheses");
    let rest = rest.get(name_end + 1..)?.trim_ascii_end();
    // Counted as in proc(5), whose field 3 is the first after the name.
    let mut later = scan::fields(rest);
    let &[state] = later.next()? else { return None };
    let parent = later.next()?;
    let flags = later.nth(9 - 5).and_then(scan::decimal)?;
    let minor_faults = later.next().and_then(scan::decimal)?;
    let major_faults = later.nth(12 - 11).and_then(scan::decimal)?;
    let user = later.nth(14 - 13).and_then(scan::decimal)?;
    let system = later.next().and_then(scan::decimal)?;
    let started = later.nth(22 - 16).and_then(scan::decimal)?;
    // A start time that was cut in the middle is a wrong identity, so that at least one field must follow it.
    later.next()?;
    Some(Stat {
        pid: small(pid)?,
        command,
        state,
        parent: small(parent)?,
        kernel_thread: flags & FLAG_KERNEL_THREAD != 0,
        minor_faults,
        major_faults,
        cpu_ticks: user.saturating_add(system),
        started,
    })
}

fn small(field: &[u8]) -> Option<u32> {
    u32::try_from(scan::decimal(field)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a line as the kernel does (`do_task_stat`), with every other field holding its own number, so that a
    /// field that is taken for its neighbour shows.
    fn synthetic(command: &str, flags: u64, started: u64) -> String {
        let fields: Vec<String> = (5..=52u64)
            .map(|field| match field {
                9 => flags.to_string(),
                22 => started.to_string(),
                8 => "-1".to_owned(),
                _ => (field * 1000).to_string(),
            })
            .collect();
        format!("4711 ({command}) S 1 {}\n", fields.join(" "))
    }

    #[track_caller]
    fn check(command: &str) {
        let line = synthetic(command, 0x40_0000, 987_654);
        let expected = Stat {
            pid: 4711,
            command: command.as_bytes(),
            state: b'S',
            parent: 1,
            kernel_thread: false,
            minor_faults: 10_000,
            major_faults: 12_000,
            cpu_ticks: 14_000 + 15_000,
            started: 987_654,
        };
        assert_eq!(parse(line.as_bytes()), Some(expected), "{command:?}");
    }

    #[test]
    fn a_name_may_hold_anything() {
        check("cat");
        check("");
        check("tmux: server");
        check("(sd-pam)");
        check("x) R 1 (y");
        check("a\nb) S 7 7 7");
        check(")))((");
    }

    #[test]
    fn a_thread_of_the_kernel_is_known_by_its_flag() {
        let line = synthetic("kworker/0:1-events", 0x0420_8060, 30);
        assert_eq!(parse(line.as_bytes()).map(|stat| (stat.kernel_thread, stat.started)), Some((true, 30)));
    }

    #[test]
    fn a_line_of_a_real_process() {
        let line =
            b"9065 (cat) R 9055 9065 9055 34816 9065 4194304 96 0 0 0 0 0 0 0 20 0 1 0 812345 3133440 410 184467 1 1";
        let stat = parse(line).unwrap();
        assert_eq!((stat.pid, stat.parent, stat.started, stat.kernel_thread), (9065, 9055, 812_345, false));
    }

    #[test]
    fn a_line_that_is_cut_is_none_rather_than_wrong() {
        let line = synthetic("x) R (y", 0, 123_456);
        let whole = parse(line.as_bytes()).unwrap();
        for cut in 0..line.len() {
            if let Some(stat) = parse(&line.as_bytes()[..cut]) {
                assert_eq!(stat, whole, "cut at byte {cut}");
            }
        }
    }

    #[test]
    fn what_is_not_in_the_documented_form_is_none() {
        for line in ["", "1", "1 (a", "1 a) S 1", "x (a) S 1 2 3", "1 (a) SS 1 5 6 7 8 9", "1 (a) S -1"] {
            assert_eq!(parse(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        let parsed = (0..20_000).filter(|seed| parse(&scan::noise(*seed, b"0123456789  ()S\n-")).is_some()).count();
        assert!(parsed < 20_000, "noise is mostly no line");
    }
}
