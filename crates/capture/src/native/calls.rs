//! The functions of the C library that map memory, make threads, and open and close descriptors.
//!
//! Owns: their names, what each does, and where it is hooked. Must not know: ELF, targets, what comes of the events.
//!
//! Nothing here is needed for the figures of the heap: a function that cannot be hooked is named in the report, and what it
//! makes is found by comparing with `/proc/PID/maps` and `/proc/PID/fd`.

use std::sync::Arc;

use memchr::memmem;
use model::Kinds;
use stacks::unwind::{Rule, SavedRbp, UnwindRows};

use super::arch::{self, Caller};
use super::families::{Form, MUSL};
use super::functions::{Named, Site};
use super::image::Hook;
use super::target::Target;

/// Stands for no module: nothing here is called in place of something that throws.
const NO_MODULE: usize = usize::MAX;
const SYSTEM_CALL: &[u8] = &[0x0f, 0x05];

/// Where a function is hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At its entry.
    Entry(Hook),
    /// Where it returns, since it may sleep and be cancelled before: no frame of ours may be below it then.
    Behind(Hook),
}

/// Which C libraries a function is hooked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Library {
    Any,
    Glibc,
    Musl,
}

/// A function by its name.
type Function = (&'static str, Library, Place);

const fn any(name: &'static str, hook: Hook) -> Function {
    (name, Library::Any, Place::Entry(hook))
}

const fn glibc(name: &'static str, hook: Hook) -> Function {
    (name, Library::Glibc, Place::Entry(hook))
}

const fn musl(name: &'static str, hook: Hook) -> Function {
    (name, Library::Musl, Place::Entry(hook))
}

const fn sleeping(name: &'static str) -> Function {
    (name, Library::Glibc, Place::Behind(Hook::Opened))
}

const MAPPINGS: [Function; 17] = [
    any("mmap", Hook::Maps),
    any("mmap64", Hook::Maps),
    any("munmap", Hook::Unmaps),
    any("mremap", Hook::Remaps),
    any("brk", Hook::Breaks),
    any("shmat", Hook::Attaches),
    any("shmdt", Hook::Detaches),
    any("pthread_create", Hook::CreatesThread),
    any("pthread_join", Hook::JoinsThread),
    any("pthread_timedjoin_np", Hook::JoinsThread),
    any("pthread_clockjoin_np", Hook::JoinsThread),
    any("thrd_join", Hook::JoinsThread),
    any("pthread_tryjoin_np", Hook::TriesToJoinThread),
    any("pthread_detach", Hook::DetachesThread),
    // Names of their own where the library is linked statically.
    glibc("__mmap", Hook::Maps),
    glibc("__munmap", Hook::Unmaps),
    glibc("__pthread_create_2_1", Hook::CreatesThread),
];

/// `open` and `accept` sleep until somebody comes; in glibc a thread that sleeps there can be cancelled, and its frames are unwound.
///
/// What in musl opens by another function of it is hooked as well, since stacks end in musl, which has no unwind tables: the one
/// that was entered last is told last, and so has the descriptor.
const DESCRIPTORS: [Function; 70] = [
    sleeping("open"),
    sleeping("open64"),
    sleeping("__open"),
    sleeping("__open64"),
    sleeping("openat"),
    sleeping("openat64"),
    sleeping("creat"),
    sleeping("creat64"),
    sleeping("accept"),
    sleeping("accept4"),
    sleeping("open_by_handle_at"),
    glibc("__open_nocancel", Hook::Opens),
    glibc("__open64_nocancel", Hook::Opens),
    glibc("__openat_nocancel", Hook::Opens),
    glibc("__openat64_nocancel", Hook::Opens),
    musl("open", Hook::Opens),
    musl("openat", Hook::Opens),
    musl("creat", Hook::Opens),
    musl("fopen", Hook::OpensFile),
    musl("tmpfile", Hook::OpensFile),
    musl("popen", Hook::OpensFile),
    musl("opendir", Hook::OpensDirectory),
    musl("mkstemp", Hook::Opens),
    musl("mkostemp", Hook::Opens),
    musl("mkstemps", Hook::Opens),
    musl("mkostemps", Hook::Opens),
    musl("shm_open", Hook::Opens),
    musl("posix_openpt", Hook::Opens),
    any("socket", Hook::Opens),
    any("socketpair", Hook::OpensTwoFourth),
    any("pipe", Hook::OpensTwo),
    any("pipe2", Hook::OpensTwo),
    any("dup", Hook::Opens),
    any("dup2", Hook::Duplicates),
    any("dup3", Hook::Duplicates),
    any("__dup2", Hook::Duplicates),
    any("fcntl", Hook::Controls),
    any("fcntl64", Hook::Controls),
    any("__fcntl", Hook::Controls),
    any("eventfd", Hook::Opens),
    any("epoll_create", Hook::Opens),
    any("epoll_create1", Hook::Opens),
    any("timerfd_create", Hook::Opens),
    any("signalfd", Hook::OpensSignals),
    any("inotify_init", Hook::Opens),
    any("inotify_init1", Hook::Opens),
    any("fanotify_init", Hook::Opens),
    any("memfd_create", Hook::Opens),
    any("memfd_secret", Hook::Opens),
    any("pidfd_open", Hook::Opens),
    any("pidfd_getfd", Hook::Opens),
    any("fsopen", Hook::Opens),
    any("fsmount", Hook::Opens),
    any("open_tree", Hook::Opens),
    any("perf_event_open", Hook::Opens),
    any("userfaultfd", Hook::Opens),
    any("close", Hook::Closes),
    glibc("__close", Hook::Closes),
    glibc("__close_nocancel", Hook::Closes),
    musl("fclose", Hook::ClosesFile),
    musl("closedir", Hook::ClosesDirectory),
    any("close_range", Hook::ClosesRange),
    any("closefrom", Hook::ClosesFrom),
    any("fork", Hook::Forks),
    any("vfork", Hook::Vforks),
    any("__vfork", Hook::Vforks),
    any("posix_spawn", Hook::Spawns),
    any("posix_spawnp", Hook::Spawns),
    glibc("__posix_spawn", Hook::Spawns),
    glibc("__socket", Hook::Opens),
];

/// The empty function that dynamic linkers call for debuggers, before and after they map libraries and before any code of those runs.
pub(crate) const LOADS: &str = "_dl_debug_state";

/// Every name that is looked for.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    MAPPINGS.iter().chain(&DESCRIPTORS).map(|(name, ..)| *name).chain([LOADS])
}

/// Where a function of a C library is hooked for these kinds; none where it is not.
pub(crate) fn place(name: &str, is_musl: bool, kinds: Kinds) -> Option<Place> {
    let fits = |library: Library| match library {
        Library::Any => true,
        Library::Glibc => !is_musl,
        Library::Musl => is_musl,
    };
    let find = |list: &[Function]| {
        let found = list.iter().find(|(known, library, _)| *known == name && fits(*library));
        found.map(|(.., place)| *place)
    };
    let mappings = if kinds.mappings { find(&MAPPINGS) } else { None };
    mappings.or_else(|| if kinds.descriptors { find(&DESCRIPTORS) } else { None })
}

/// What was found to hook, and what was not.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) sites: Vec<Site>,
    /// Functions that cannot be hooked, with the reason.
    pub(crate) unhooked: Vec<String>,
    /// Whether the C library is musl.
    pub(crate) is_musl: bool,
}

impl Calls {
    /// Adds the functions of one C library; `unwind_rows` gives its rules, which takes time and is done only if they are needed.
    pub(crate) fn add(
        &mut self,
        target: &Target,
        named: &Named,
        unwind_rows: impl Fn() -> Arc<UnwindRows>,
        (library, kinds): (&str, Kinds),
    ) {
        self.is_musl |= library == MUSL;
        let mut rows = None;
        for symbol in named.symbols.iter().filter(|symbol| symbol.exported || named.static_program) {
            let Some(place) = place(&symbol.name, library == MUSL, kinds) else { continue };
            let (Place::Entry(hook) | Place::Behind(hook)) = place;
            let Some(site) = named.site(target, symbol, Form::Whole(hook), NO_MODULE) else { continue };
            // A static program may have a function of its own by a common name, such as `close`.
            if named.static_program && library != MUSL && hook.is_system_call() && !makes_system_call(&site.code) {
                continue;
            }
            let known = self.sites.iter_mut().find(|known| known.entry == site.entry);
            if let Some(known) = known {
                known.names.push(symbol.name.clone());
                continue;
            }
            match place {
                Place::Entry(_) => self.sites.push(site),
                Place::Behind(_) => {
                    let rows = rows.get_or_insert_with(&unwind_rows);
                    let offset = symbol.vaddr.wrapping_sub(named.layout.base());
                    self.add_inside(&site, hook, offset, rows);
                }
            }
        }
    }

    /// Adds every place inside a function at which its result is known. Just behind the system call a thread of glibc before 2.41
    /// may still be cancelled at any instruction, and its stack unwound from the middle of ours; so that comes second.
    fn add_inside(&mut self, function: &Site, hook: Hook, offset: u64, rows: &UnwindRows) {
        let mut places = arch::before_returns(&function.code, function.at);
        if places.is_empty() {
            places = arch::behind_system_calls(&function.code, function.at);
        }
        let found = places.iter().map(|behind| Some((*behind, caller_at(rows, offset + *behind as u64)?)));
        match found.collect::<Option<Vec<_>>>() {
            Some(found) if !found.is_empty() => {
                for (behind, caller) in found {
                    let mut site = function.clone();
                    site.form = Form::Behind(hook, caller);
                    site.at += behind as u64;
                    site.code.drain(..behind);
                    self.sites.push(site);
                }
            }
            _ => self.unhooked.push(format!("{}: its result cannot be read safely", function.name())),
        }
    }
}

fn makes_system_call(code: &[u8]) -> bool {
    memmem::find(code, SYSTEM_CALL).is_some()
}

/// Where the caller's frame is, by the row that holds at this offset.
fn caller_at(rows: &UnwindRows, offset: u64) -> Option<Caller> {
    let row = rows.starts.partition_point(|start| u64::from(*start) <= offset).checked_sub(1)?;
    let Rule::FromStackPointer { cfa, saved_rbp } = rows.rules.get(row)? else { return None };
    let saved_rbp = match saved_rbp {
        SavedRbp::Same => None,
        // Below the stack pointer it was: at the end of a function it is back in its register.
        SavedRbp::AtCfaMinus(below) => cfa.checked_sub(*below),
    };
    Some(Caller { return_at: cfa.checked_sub(8)?, saved_rbp })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, is_musl: bool, words: &str, expected: &str) {
        let kinds = words.split(',').try_fold(Kinds::NONE, Kinds::with).unwrap();
        let found = place(name, is_musl, kinds).map_or("none".to_owned(), |place| format!("{place:?}"));
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn functions_are_hooked_where_their_library_allows_it() {
        check("mmap", false, "heap,mmap,fd", "Entry(Maps)");
        check("mmap", false, "heap,fd", "none");
        check("socket", true, "fd", "Entry(Opens)");
        check("socket", true, "heap,mmap", "none");
        check("accept", false, "fd", "Behind(Opened)");
        check("open", false, "all", "Behind(Opened)");
        check("open", true, "all", "Entry(Opens)");
        // A thread that sleeps in musl's `accept` would sleep below a frame of ours.
        check("accept", true, "all", "none");
        check("fclose", false, "all", "none");
        check("fclose", true, "all", "Entry(ClosesFile)");
        check("malloc", false, "all", "none");
    }

    #[track_caller]
    fn check_caller(offset: u64, expected: Option<(u32, Option<u32>)>) {
        let plain = |cfa, saved_rbp| Rule::FromStackPointer { cfa, saved_rbp };
        let popped = plain(8, SavedRbp::AtCfaMinus(16));
        let rules = vec![plain(8, SavedRbp::Same), plain(48, SavedRbp::AtCfaMinus(16)), Rule::Unknown, popped];
        let rows = UnwindRows { starts: vec![0x100, 0x140, 0x180, 0x1c0], rules, skipped: 0 };
        let found = caller_at(&rows, offset).map(|caller| (caller.return_at, caller.saved_rbp));
        assert_eq!(found, expected, "{offset:#x}");
    }

    #[test]
    fn the_callers_frame_is_found_by_its_row() {
        check_caller(0xff, None);
        check_caller(0x100, Some((0, None)));
        check_caller(0x13f, Some((0, None)));
        check_caller(0x140, Some((40, Some(32))));
        check_caller(0x180, None);
        check_caller(0x1c0, Some((0, None)));
    }

    #[test]
    fn a_name_stands_once_for_each_library() {
        for is_musl in [false, true] {
            for name in names() {
                let fits = |library: &Library| *library == Library::Any || (*library == Library::Musl) == is_musl;
                let all = MAPPINGS.iter().chain(&DESCRIPTORS);
                assert!(all.filter(|(known, library, _)| *known == name && fits(library)).count() <= 1, "{name}");
            }
        }
    }
}
