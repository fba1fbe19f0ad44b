//! What each mapping of a process is used for.
//!
//! Owns: telling heap, stacks and files apart. Must not know: whose mappings they are.

use formats::maps::Mapping;
use formats::smaps::{self, Usage};
use model::inspection::{MappingInspection, MappingKind, MappingUsage, StackInspection, ThreadInspection};
use model::{Address, Bytes, Reading, escaped};

use crate::host::limits::{GUARD_MAX, LISTED_MAX};

/// Size and alignment of a heap of glibc that belongs to another arena than the main one (`HEAP_MAX_SIZE`).
const ARENA: u64 = 64 * 1024 * 1024;

/// The mappings, with kinds; `pointers` are stack pointers of threads.
pub(super) fn inspected(text: &[u8], pointers: &[Option<u64>], left_out: &mut u64) -> Vec<MappingInspection> {
    let mut listed = Vec::new();
    let mut before: Option<Mapping<'_>> = None;
    let mut rest = smaps::parse(text).peekable();
    while let Some((mapping, usage)) = rest.next() {
        if listed.len() >= LISTED_MAX {
            *left_out += 1;
            continue;
        }
        let after = rest.peek().map(|(after, _)| after);
        let kind = kind(&mapping, before.as_ref(), after, pointers);
        listed.push(MappingInspection {
            addresses: Address(mapping.addresses.start)..Address(mapping.addresses.end),
            permissions: letters(&mapping),
            kind,
            inode: mapping.inode,
            name: escaped(mapping.name),
            usage: self::usage(&mapping, &usage),
        });
        before = Some(mapping);
    }
    listed
}

/// Gives each thread whose stack pointer is known the mapping that it points into, if that is a stack and nothing else.
pub(super) fn add_stacks(
    threads: &mut Reading<Vec<ThreadInspection>>,
    pointers: &[Option<u64>],
    mappings: &Reading<Vec<MappingInspection>>,
) {
    let Reading::Known(threads) = threads else { return };
    debug_assert_eq!(threads.len(), pointers.len(), "one for each thread");
    let mappings = match mappings {
        Reading::Known(mappings) => mappings.as_slice(),
        Reading::Missing(why) => return threads.iter_mut().for_each(|thread| thread.stack = Reading::Missing(*why)),
    };
    for (thread, pointer) in threads.iter_mut().zip(pointers) {
        let found = pointer.and_then(|pointer| {
            let after = mappings.partition_point(|mapping| mapping.addresses.end.0 <= pointer);
            mappings.get(after).filter(|mapping| mapping.addresses.start.0 <= pointer)
        });
        let is_stack =
            |mapping: &&MappingInspection| matches!(mapping.kind, MappingKind::Stack | MappingKind::ThreadStack);
        if let Some(mapping) = found.filter(is_stack) {
            thread.stack = Reading::Known(StackInspection { size: mapping.usage.size, rss: mapping.usage.rss });
        }
    }
}

/// The stack pointer of a thread that waits in the kernel, from `/proc/PID/task/ID/syscall`: the last but one of its
/// numbers. A thread that runs has none (`running`).
pub(super) fn stack_pointer(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let pointer = text.split_whitespace().rev().nth(1)?;
    u64::from_str_radix(pointer.strip_prefix("0x")?, 16).ok().filter(|pointer| *pointer != 0)
}

fn kind(
    mapping: &Mapping<'_>,
    before: Option<&Mapping<'_>>,
    after: Option<&Mapping<'_>>,
    pointers: &[Option<u64>],
) -> MappingKind {
    match mapping.name {
        // Only names of no file: a file of that name has an inode and a path.
        b"[heap]" => return MappingKind::Heap,
        b"[stack]" => return MappingKind::Stack,
        b"[vdso]" | b"[vvar]" | b"[vsyscall]" | b"[vvar_vclock]" | b"[uprobes]" => return MappingKind::Kernel,
        _ => {}
    }
    let file = mapping.inode != 0 || mapping.name.first() == Some(&b'/');
    if mapping.permissions.shared {
        return MappingKind::Shared;
    }
    if file {
        return MappingKind::File;
    }
    if is_closed(mapping) {
        return MappingKind::Reserved;
    }
    let is_guard = |guard: &Mapping<'_>| {
        is_closed(guard)
            && guard.inode == 0
            && guard.addresses.end == mapping.addresses.start
            && guard.size() <= GUARD_MAX
    };
    if is_arena(mapping, after) {
        return MappingKind::Heap;
    }
    // Where several threads have theirs, a runtime keeps stacks on its heap, as Go does.
    let stacks = pointers.iter().flatten().filter(|pointer| mapping.addresses.contains(*pointer)).count();
    if stacks == 1 || stacks == 0 && before.is_some_and(is_guard) {
        return MappingKind::ThreadStack;
    }
    MappingKind::Anonymous
}

/// A heap of glibc begins at a multiple of its size, and what is not used of it yet is reserved behind it.
fn is_arena(mapping: &Mapping<'_>, after: Option<&Mapping<'_>>) -> bool {
    let start = mapping.addresses.start;
    let reserved = after.is_some_and(|after| {
        is_closed(after)
            && after.addresses.start == mapping.addresses.end
            && after.addresses.end >= start.saturating_add(ARENA)
    });
    start.is_multiple_of(ARENA)
        && mapping.permissions.write
        && mapping.size() <= ARENA
        && (reserved || mapping.size() == ARENA)
}

const fn is_closed(mapping: &Mapping<'_>) -> bool {
    let permissions = &mapping.permissions;
    !permissions.read && !permissions.write && !permissions.execute
}

fn letters(mapping: &Mapping<'_>) -> String {
    let permissions = &mapping.permissions;
    let letter = |set, letter| if set { letter } else { '-' };
    [
        letter(permissions.read, 'r'),
        letter(permissions.write, 'w'),
        letter(permissions.execute, 'x'),
        if permissions.shared { 's' } else { 'p' },
    ]
    .iter()
    .collect()
}

const fn usage(mapping: &Mapping<'_>, usage: &Usage) -> MappingUsage {
    let &Usage { rss, pss, uss, dirty, swap, huge, .. } = usage;
    MappingUsage { size: Bytes(mapping.size()), rss, pss, uss, dirty, swap, huge }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kinds of mappings that are written as lines of `maps`, in order.
    #[track_caller]
    fn check(lines: &[&str], pointers: &[u64], expected: &str) {
        let text: String = lines.iter().flat_map(|line| [*line, "\nRss: 4 kB\n"]).collect();
        let pointers: Vec<Option<u64>> = pointers.iter().copied().map(Some).collect();
        let kinds: Vec<&str> =
            inspected(text.as_bytes(), &pointers, &mut 0).iter().map(|mapping| mapping.kind.key()).collect();
        assert_eq!(kinds.join(", "), expected);
    }

    #[test]
    fn names_and_files() {
        check(
            &[
                "1000-2000 r-xp 0 fe:00 7 /bin/a",
                "3000-4000 rw-p 0 00:00 0 [heap]",
                "5000-6000 rw-s 0 00:01 9 /dev/shm/x (deleted)",
                "6000-7000 rw-p 0 00:00 0 ",
                "7000-8000 ---p 0 00:00 0 ",
                "8000-9000 rw-p 0 00:00 0 [stack]",
                "9000-a000 r-xp 0 00:00 0 [vdso]",
            ],
            &[],
            "file, heap, shared, anonymous, reserved, stack, kernel",
        );
    }

    #[test]
    fn stacks_of_threads() {
        let guarded = ["10000-11000 ---p 0 00:00 0", "11000-20000 rw-p 0 00:00 0"];
        check(&guarded, &[], "reserved, thread stack");
        check(&["11000-20000 rw-p 0 00:00 0"], &[0x12000], "thread stack");
        check(&["11000-20000 rw-p 0 00:00 0"], &[0x20000], "anonymous");
        check(&["10000-11000 ---p 0 00:00 0", "12000-20000 rw-p 0 00:00 0"], &[], "reserved, anonymous");
        check(&["c0000000-c0400000 rw-p 0 00:00 0"], &[0xc000_1000, 0xc000_8000], "anonymous");
    }

    #[test]
    fn each_thread_has_the_stack_that_it_points_into() {
        let text = "10000-11000 ---p 0 00:00 0\n11000-20000 rw-p 0 00:00 0\nRss: 8 kB\n\
                    30000-40000 rw-p 0 00:00 0\nRss: 4 kB\n50000-60000 rw-p 0 00:00 0 [stack]\nRss: 12 kB\n";
        let pointers = [Some(0x5_8000), Some(0x1_2000), None, Some(0x3_1000), Some(0x3_2000), Some(0x7_0000)];
        let mappings = Reading::Known(inspected(text.as_bytes(), &pointers, &mut 0));
        let unknown = Reading::Missing(model::Why::NotRecorded);
        let thread = |id| ThreadInspection {
            id: model::Pid(id),
            name: String::new(),
            state: Reading::Known('S'),
            stack: unknown,
        };
        let mut threads = Reading::Known((1..=6).map(thread).collect());
        add_stacks(&mut threads, &pointers, &mappings);
        let size = |thread: &ThreadInspection| match thread.stack {
            Reading::Known(StackInspection { size, rss }) => format!("{}/{}", size.0, rss.known().unwrap().0),
            Reading::Missing(why) => why.to_string(),
        };
        let sizes: Vec<String> = threads.as_known().unwrap().iter().map(size).collect();
        let none = "not recorded";
        assert_eq!(sizes, ["65536/12288", "61440/8192", none, none, none, none]);
        let gone = Reading::Missing(model::Why::ProcessGone);
        add_stacks(&mut threads, &pointers, &gone);
        assert!(
            threads.as_known().unwrap().iter().all(|thread| thread.stack == Reading::Missing(model::Why::ProcessGone))
        );
    }

    #[test]
    fn arenas_of_glibc_are_heap() {
        check(
            &["7f0004000000-7f0004021000 rw-p 0 00:00 0", "7f0004021000-7f0008000000 ---p 0 00:00 0"],
            &[],
            "heap, reserved",
        );
        check(&["7f0004000000-7f0008000000 rw-p 0 00:00 0"], &[], "heap");
        check(
            &["7f0004001000-7f0004021000 rw-p 0 00:00 0", "7f0004021000-7f0008000000 ---p 0 00:00 0"],
            &[],
            "anonymous, reserved",
        );
    }

    #[test]
    fn stack_pointers_of_waiting_threads() {
        assert_eq!(stack_pointer(b"202 0x1 0x2 0x3 0x0 0x0 0x0 0x7ffd10 0x7f00\n"), Some(0x7f_fd10));
        assert_eq!(stack_pointer(b"-1 0x7ffd10 0x7f00\n"), Some(0x7f_fd10));
        for text in ["running\n", "", "0 0 0\n", "1 0x0 0x1"] {
            assert_eq!(stack_pointer(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_hostile_name_is_escaped_and_forges_nothing() {
        let text = "1000-2000 rw-p 0 fe:00 7 /tmp/\x1b[2J[heap]\nRss: 4 kB\n";
        let listed = inspected(text.as_bytes(), &[], &mut 0);
        assert_eq!((listed[0].kind, listed[0].name.as_str()), (MappingKind::File, "/tmp/\\x1b[2J[heap]"));
        assert_eq!((listed[0].permissions.as_str(), listed[0].usage.rss.known()), ("rw-p", Some(Bytes(4096))));
    }
}
