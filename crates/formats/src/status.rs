//! `/proc/PID/status`: memory by kind, and what matters to an attach.
//!
//! Owns: the lines that the project uses. Must not know: whose lines they are.
//!
//! A thread of the kernel, a zombie and a process that is just exiting have no `Rss…` lines at all: absent is not zero.
//! `Name` is escaped by the kernel (a newline stands as `\n`), so that a process cannot forge a line.

use model::{Bytes, MemorySample, Reading, Why};

use crate::scan;

/// What the lines say; each missing for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status<'a> {
    /// `Name`, up to 15 bytes (up to 63 for threads of the kernel), with the kernel's escapes.
    pub name: Reading<&'a [u8]>,
    /// `State`, its letter.
    pub state: Reading<u8>,
    /// `Tgid`: the process that it belongs to; another number than its own for a thread.
    pub process: Reading<u32>,
    /// `TracerPid`; zero where nobody traces it.
    pub tracer: Reading<u32>,
    /// `Uid`, the second of its four: the effective one.
    pub uid: Reading<u32>,
    /// `NSpid`, the last of them: the number that the process itself sees.
    pub pid_inside: Reading<u32>,
    /// `NSpid`, how many there are: 1 where the process shares the namespace of the reader.
    pub pid_namespaces: Reading<u32>,
    /// `Kthread`, from kernel 6.8 on.
    pub kernel_thread: Reading<bool>,
    /// `RssAnon`, `RssFile`, `RssShmem`, `VmSwap`, `VmPTE` and `Threads`.
    pub memory: MemorySample,
    /// `VmSize`: all that is mapped.
    pub virtual_size: Reading<Bytes>,
    /// `PPid`: the parent.
    pub parent: Reading<u32>,
    /// `VmLck`: what must not leave RAM.
    pub locked: Reading<Bytes>,
    /// `NoNewPrivs`.
    pub no_new_privileges: Reading<bool>,
    /// `Seccomp`: 0 off, 1 strict, 2 filter.
    pub seccomp: Reading<u32>,
    /// `CapEff`: the effective capabilities, one bit each.
    pub capabilities: Reading<u64>,
}

/// Reads the file. A line that occurs twice counts as it stands first; lines in another form are `Malformed`.
pub fn parse(bytes: &[u8]) -> Status<'_> {
    let mut status = absent();
    for line in scan::lines(bytes) {
        if let Some((name, value)) = scan::split_at_byte(line, b':') {
            status.take(name, value.trim_ascii());
        }
    }
    status
}

impl<'a> Status<'a> {
    fn take(&mut self, name: &[u8], value: &'a [u8]) {
        let memory = &mut self.memory;
        match name {
            b"Name" => first(&mut self.name, || Reading::Known(value)),
            b"State" => first(&mut self.state, || Reading::from_option(value.first().copied(), Why::Malformed)),
            b"Tgid" => first(&mut self.process, || small(value)),
            b"TracerPid" => first(&mut self.tracer, || small(value)),
            b"Uid" => first(&mut self.uid, || nth(value, 1)),
            b"NSpid" => {
                first(&mut self.pid_namespaces, || Reading::Known(scan::fields(value).count() as u32));
                first(&mut self.pid_inside, || last(value));
            }
            b"Kthread" => first(&mut self.kernel_thread, || flag(value)),
            b"RssAnon" => first(&mut memory.anon, || scan::kibibytes(value)),
            b"RssFile" => first(&mut memory.file, || scan::kibibytes(value)),
            b"RssShmem" => first(&mut memory.shmem, || scan::kibibytes(value)),
            b"VmSwap" => first(&mut memory.swap, || scan::kibibytes(value)),
            b"VmPTE" => first(&mut memory.page_tables, || scan::kibibytes(value)),
            b"Threads" => first(&mut memory.threads, || small(value)),
            b"VmSize" => first(&mut self.virtual_size, || scan::kibibytes(value)),
            b"PPid" => first(&mut self.parent, || small(value)),
            b"VmLck" => first(&mut self.locked, || scan::kibibytes(value)),
            b"NoNewPrivs" => first(&mut self.no_new_privileges, || flag(value)),
            b"Seccomp" => first(&mut self.seccomp, || small(value)),
            b"CapEff" => {
                first(&mut self.capabilities, || Reading::from_option(scan::hexadecimal(value), Why::Malformed));
            }
            _ => {}
        }
    }
}

const fn absent<'a>() -> Status<'a> {
    let figure = Reading::Missing(Why::NotOffered);
    Status {
        name: Reading::Missing(Why::NotOffered),
        state: Reading::Missing(Why::NotOffered),
        process: Reading::Missing(Why::NotOffered),
        tracer: Reading::Missing(Why::NotOffered),
        uid: Reading::Missing(Why::NotOffered),
        pid_inside: Reading::Missing(Why::NotOffered),
        pid_namespaces: Reading::Missing(Why::NotOffered),
        kernel_thread: Reading::Missing(Why::NotOffered),
        memory: MemorySample {
            anon: figure,
            file: figure,
            shmem: figure,
            swap: figure,
            page_tables: figure,
            threads: Reading::Missing(Why::NotOffered),
        },
        virtual_size: figure,
        parent: Reading::Missing(Why::NotOffered),
        locked: figure,
        no_new_privileges: Reading::Missing(Why::NotOffered),
        seccomp: Reading::Missing(Why::NotOffered),
        capabilities: Reading::Missing(Why::NotOffered),
    }
}

fn first<T>(slot: &mut Reading<T>, read: impl FnOnce() -> Reading<T>) {
    if matches!(slot, Reading::Missing(Why::NotOffered)) {
        *slot = read();
    }
}

fn small(field: &[u8]) -> Reading<u32> {
    Reading::from_option(scan::decimal(field).and_then(|number| u32::try_from(number).ok()), Why::Malformed)
}

fn nth(value: &[u8], index: usize) -> Reading<u32> {
    scan::fields(value).nth(index).map_or(Reading::Missing(Why::Malformed), small)
}

fn last(value: &[u8]) -> Reading<u32> {
    scan::fields(value).last().map_or(Reading::Missing(Why::Malformed), small)
}

fn flag(value: &[u8]) -> Reading<bool> {
    match value {
        b"0" => Reading::Known(false),
        b"1" => Reading::Known(true),
        _ => Reading::Missing(Why::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "Name:\tweird\\nname\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t42\nPid:\t42\nPPid:\t1\nTracerPid:\t7\n\
        Uid:\t1000\t1001\t1002\t1003\nNSpid:\t4242\t42\nKthread:\t0\nVmPeak:\t    3060 kB\nVmSize:\t    2048 kB\nVmLck:\t     8 kB\nVmRSS:\t    1620 kB\n\
        RssAnon:\t     116 kB\nRssFile:\t    1504 kB\nRssShmem:\t       0 kB\nVmPTE:\t      44 kB\nVmSwap:\t      12 kB\n\
        Threads:\t3\nCapEff:\t000001fffeffffff\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";

    /// One line of all figures, in the order of the type; missing ones as `-` (absent) or `!` (malformed).
    fn written(status: &Status<'_>) -> String {
        fn one<T: ToString>(reading: Reading<T>) -> String {
            match reading {
                Reading::Known(value) => value.to_string(),
                Reading::Missing(Why::NotOffered) => "-".to_owned(),
                Reading::Missing(_) => "!".to_owned(),
            }
        }
        let kib = |reading: Reading<Bytes>| one(reading.map(|bytes| bytes.0 / 1024));
        let memory = status.memory;
        [
            one(status.name.map(|name| String::from_utf8_lossy(name).into_owned())),
            one(status.state.map(char::from)),
            one(status.process),
            one(status.tracer),
            one(status.uid),
            one(status.pid_inside),
            one(status.pid_namespaces),
            one(status.kernel_thread),
            kib(memory.anon),
            kib(memory.file),
            kib(memory.shmem),
            kib(memory.swap),
            kib(memory.page_tables),
            one(memory.threads),
            kib(status.virtual_size),
            one(status.parent),
            kib(status.locked),
            one(status.no_new_privileges),
            one(status.seccomp),
            one(status.capabilities),
        ]
        .join(" ")
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(written(&parse(text.as_bytes())), expected);
    }

    #[test]
    fn every_line_has_its_place() {
        check(WHOLE, "weird\\nname S 42 7 1001 42 2 false 116 1504 0 12 44 3 2048 1 8 true 2 2199006478335");
    }

    #[test]
    fn what_is_absent_is_missing_and_never_zero() {
        check("", "- - - - - - - - - - - - - - - - - - - -");
        check("Name:\tkthreadd\nThreads:\t1\n", "kthreadd - - - - - - - - - - - - 1 - - - - - -");
    }

    #[test]
    fn what_is_malformed_is_missing() {
        check("RssAnon:\t12 MB\nThreads:\tx\nUid:\t1\nNSpid:\t\n", "- - - - ! ! 0 - ! - - - - ! - - - - - -");
        check("RssAnon:\t99999999999999999999 kB\nKthread: 2\nState:\n", "- ! - - - - - ! ! - - - - - - - - - - -");
    }

    #[test]
    fn the_first_of_two_lines_counts() {
        check("RssAnon: 1 kB\nRssAnon: 2 kB\nThreads: x\nThreads: 2\n", "- - - - - - - - 1 - - - - ! - - - - - -");
    }

    #[test]
    fn a_cut_changes_no_figure_but_the_last() {
        let whole = parse(WHOLE.as_bytes());
        for cut in 0..WHOLE.len() {
            let memory = parse(&WHOLE.as_bytes()[..cut]).memory;
            assert!(memory.anon == whole.memory.anon || memory.anon.known().is_none(), "cut at byte {cut}");
            assert!(memory.swap == whole.memory.swap || memory.swap.known().is_none(), "cut at byte {cut}");
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        for seed in 0..10_000 {
            let bytes = scan::noise(seed, b"Uid:\t 0123\nRssAnon:kB");
            assert!(parse(&bytes).memory.rss().known().is_none(), "noise has no three figures");
        }
    }
}
