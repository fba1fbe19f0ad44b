//! The names of allocator functions, by family.
//!
//! Owns: which names there are, what each does, and how an allocator is recognised. Must not know: ELF, targets.
//!
//! Allocators export the functions of the C library under their own prefix as well, and programs that carry an allocator
//! inside (Rust's `tikv-jemallocator`, `mimalloc`) have it under the prefix only. So one list of functions serves all.

use super::arch::Caller;
use super::image::Hook;

/// How a hook is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The hook calls the function.
    Plain(Hook),
    /// The function may throw, and no unwinder could pass a frame of ours. So the hook calls another function, the first of
    /// these that there is, which does not throw; where that fails, the function itself runs without any frame of ours.
    Throwing {
        /// The hook.
        hook: Hook,
        /// Names of what it may call instead.
        quiet: &'static [&'static str],
    },
    /// The user named the function: nothing is known of its parameters and results, and it may throw.
    Named(Hook),
    /// The hook gets all arguments and decides who makes the call.
    Whole(Hook),
    /// A place inside a function, behind its system call.
    Behind(Hook, Caller),
}

/// A name that is hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) family: Family,
    pub(crate) form: Form,
}

/// What a name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// `malloc` and its like: whoever defines them replaces the C library's.
    Standard,
    /// An allocator's own names, by their prefix. Nobody defines them by accident.
    Prefixed(&'static str),
    /// C++ `operator new` and `operator delete`.
    Operator,
    /// What takes all memory with it; only the C library defines these.
    Ending,
    /// What the unwinder of exceptions asks for tables; libgcc defines it.
    Unwinder,
}

const PREFIXES: [&str; 7] = ["_rjem_", "je_", "tc_", "mi_", "scalable_", "rp", "dl"];

/// The functions that each family may have, without prefix.
const STANDARD: [(&str, Hook); 13] = [
    ("malloc", Hook::Malloc),
    ("free", Hook::Free),
    ("cfree", Hook::Free),
    ("free_sized", Hook::Delete),
    ("free_aligned_sized", Hook::Delete),
    ("calloc", Hook::Calloc),
    ("realloc", Hook::Realloc),
    ("reallocarray", Hook::Reallocarray),
    ("memalign", Hook::Memalign),
    ("aligned_alloc", Hook::Memalign),
    ("posix_memalign", Hook::PosixMemalign),
    ("valloc", Hook::Valloc),
    ("pvalloc", Hook::Valloc),
];

/// jemalloc's second interface.
const JEMALLOC: [(&str, Hook); 5] = [
    ("mallocx", Hook::Malloc),
    ("rallocx", Hook::Realloc),
    ("xallocx", Hook::WideInPlace),
    ("dallocx", Hook::Delete),
    ("sdallocx", Hook::Delete),
];

/// What mimalloc has beyond the standard, without prefix.
const MIMALLOC: [(&str, Hook); 47] = [
    ("malloc_small", Hook::Malloc),
    ("zalloc", Hook::Malloc),
    ("zalloc_small", Hook::Malloc),
    ("malloc_aligned", Hook::Malloc),
    ("zalloc_aligned", Hook::Malloc),
    ("malloc_aligned_at", Hook::Malloc),
    ("zalloc_aligned_at", Hook::Malloc),
    ("new_nothrow", Hook::Malloc),
    ("new_aligned_nothrow", Hook::Malloc),
    ("mallocn", Hook::Calloc),
    ("calloc_aligned", Hook::Calloc),
    ("realloc_aligned", Hook::Realloc),
    ("rezalloc", Hook::Realloc),
    ("rezalloc_aligned", Hook::Realloc),
    ("reallocf", Hook::Realloc),
    ("reallocn", Hook::Reallocarray),
    ("recalloc", Hook::Reallocarray),
    ("free_size", Hook::Delete),
    ("free_size_aligned", Hook::Delete),
    ("free_aligned", Hook::Delete),
    ("heap_malloc", Hook::Memalign),
    ("heap_malloc_small", Hook::Memalign),
    ("heap_zalloc", Hook::Memalign),
    ("heap_malloc_aligned", Hook::Memalign),
    ("heap_zalloc_aligned", Hook::Memalign),
    ("heap_mallocn", Hook::ProductOfLast),
    ("heap_calloc", Hook::ProductOfLast),
    ("heap_realloc", Hook::ReallocSecond),
    ("heap_rezalloc", Hook::ReallocSecond),
    ("heap_reallocf", Hook::ReallocSecond),
    ("calloc_aligned_at", Hook::WideProduct),
    ("realloc_aligned_at", Hook::WideResize),
    ("rezalloc_aligned_at", Hook::WideResize),
    ("recalloc_aligned", Hook::WideResizeProduct),
    ("recalloc_aligned_at", Hook::WideResizeProduct),
    ("heap_malloc_aligned_at", Hook::WideSizeSecond),
    ("heap_zalloc_aligned_at", Hook::WideSizeSecond),
    ("heap_calloc_aligned", Hook::WideProductSecond),
    ("heap_calloc_aligned_at", Hook::WideProductSecond),
    ("heap_realloc_aligned", Hook::WideResizeSecond),
    ("heap_realloc_aligned_at", Hook::WideResizeSecond),
    ("heap_rezalloc_aligned", Hook::WideResizeSecond),
    ("heap_rezalloc_aligned_at", Hook::WideResizeSecond),
    ("heap_reallocn", Hook::WideResizeProductSecond),
    ("heap_recalloc", Hook::WideResizeProductSecond),
    ("heap_recalloc_aligned", Hook::WideResizeProductSecond),
    ("heap_recalloc_aligned_at", Hook::WideResizeProductSecond),
];

/// tcmalloc's names for the operators that do not throw.
const TCMALLOC: [(&str, Hook); 17] = [
    ("malloc_skip_new_handler", Hook::Malloc),
    ("new_nothrow", Hook::Malloc),
    ("newarray_nothrow", Hook::Malloc),
    ("new_aligned_nothrow", Hook::Malloc),
    ("newarray_aligned_nothrow", Hook::Malloc),
    ("delete", Hook::Delete),
    ("delete_sized", Hook::Delete),
    ("delete_nothrow", Hook::Delete),
    ("delete_aligned", Hook::Delete),
    ("delete_sized_aligned", Hook::Delete),
    ("delete_aligned_nothrow", Hook::Delete),
    ("deletearray", Hook::Delete),
    ("deletearray_sized", Hook::Delete),
    ("deletearray_nothrow", Hook::Delete),
    ("deletearray_aligned", Hook::Delete),
    ("deletearray_sized_aligned", Hook::Delete),
    ("deletearray_aligned_nothrow", Hook::Delete),
];

/// The kinds of functions that throw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Throws {
    New,
    NewArray,
    NewAligned,
    NewArrayAligned,
    NewCount,
    HeapNew,
    HeapNewCount,
    Renew,
    RenewCount,
}

/// Functions that throw, by full name.
const THROWING: [(&str, Throws); 15] = [
    ("_Znwm", Throws::New),
    ("_Znam", Throws::NewArray),
    ("_ZnwmSt11align_val_t", Throws::NewAligned),
    ("_ZnamSt11align_val_t", Throws::NewArrayAligned),
    ("tc_new", Throws::New),
    ("tc_newarray", Throws::NewArray),
    ("tc_new_aligned", Throws::NewAligned),
    ("tc_newarray_aligned", Throws::NewArrayAligned),
    ("mi_new", Throws::New),
    ("mi_new_aligned", Throws::NewAligned),
    ("mi_new_n", Throws::NewCount),
    ("mi_heap_alloc_new", Throws::HeapNew),
    ("mi_heap_alloc_new_n", Throws::HeapNewCount),
    ("mi_new_realloc", Throws::Renew),
    ("mi_new_reallocn", Throws::RenewCount),
];

/// What does not throw, for each kind. `malloc` and its like do not run the program's `new_handler` either.
const MALLOC: &[&str] = &["malloc", "je_malloc", "mi_malloc"];
const MEMALIGN: &[&str] = &["aligned_alloc", "memalign", "je_aligned_alloc", "mi_aligned_alloc", "mi_memalign"];
const CALLOC: &[&str] = &["calloc", "mi_calloc", "mi_mallocn"];

/// tcmalloc's debugging variant wants blocks back by the counterpart of what made them.
const NEW_QUIET: &[&str] = &["_ZnwmRKSt9nothrow_t", "tc_new_nothrow"];
const NEW_ARRAY_QUIET: &[&str] = &["_ZnamRKSt9nothrow_t", "tc_newarray_nothrow"];
const NEW_ALIGNED_QUIET: &[&str] = &["_ZnwmSt11align_val_tRKSt9nothrow_t", "tc_new_aligned_nothrow"];
const NEW_ARRAY_ALIGNED_QUIET: &[&str] = &["_ZnamSt11align_val_tRKSt9nothrow_t", "tc_newarray_aligned_nothrow"];

impl Throws {
    fn form(self, allocator: Option<&str>) -> Form {
        let (hook, quiet): (Hook, &'static [&'static str]) = match (self, allocator) {
            (Self::New, Some(TCMALLOC_NAME)) => (Hook::Malloc, NEW_QUIET),
            (Self::NewArray, Some(TCMALLOC_NAME)) => (Hook::Malloc, NEW_ARRAY_QUIET),
            (Self::NewAligned, Some(TCMALLOC_NAME)) => (Hook::Malloc, NEW_ALIGNED_QUIET),
            (Self::NewArrayAligned, Some(TCMALLOC_NAME)) => (Hook::Malloc, NEW_ARRAY_ALIGNED_QUIET),
            (Self::New | Self::NewArray, _) => (Hook::Malloc, MALLOC),
            (Self::NewAligned | Self::NewArrayAligned, _) => (Hook::NewAligned, MEMALIGN),
            (Self::NewCount, _) => (Hook::Calloc, CALLOC),
            (Self::HeapNew, _) => (Hook::Memalign, &["mi_heap_malloc"]),
            (Self::HeapNewCount, _) => (Hook::ProductOfLast, &["mi_heap_mallocn"]),
            (Self::Renew, _) => (Hook::Realloc, &["mi_realloc"]),
            (Self::RenewCount, _) => (Hook::Reallocarray, &["mi_reallocn"]),
        };
        Form::Throwing { hook, quiet }
    }
}

/// The operators that do not throw.
const OPERATORS: [(&str, Hook); 16] = [
    ("_ZnwmRKSt9nothrow_t", Hook::Malloc),
    ("_ZnamRKSt9nothrow_t", Hook::Malloc),
    ("_ZnwmSt11align_val_tRKSt9nothrow_t", Hook::Malloc),
    ("_ZnamSt11align_val_tRKSt9nothrow_t", Hook::Malloc),
    ("_ZdlPv", Hook::Delete),
    ("_ZdaPv", Hook::Delete),
    ("_ZdlPvm", Hook::Delete),
    ("_ZdaPvm", Hook::Delete),
    ("_ZdlPvRKSt9nothrow_t", Hook::Delete),
    ("_ZdaPvRKSt9nothrow_t", Hook::Delete),
    ("_ZdlPvSt11align_val_t", Hook::Delete),
    ("_ZdaPvSt11align_val_t", Hook::Delete),
    ("_ZdlPvmSt11align_val_t", Hook::Delete),
    ("_ZdaPvmSt11align_val_t", Hook::Delete),
    ("_ZdlPvSt11align_val_tRKSt9nothrow_t", Hook::Delete),
    ("_ZdaPvSt11align_val_tRKSt9nothrow_t", Hook::Delete),
];

/// By which a process ends or becomes another program.
const ENDING: [(&str, Hook); 3] = [("_exit", Hook::Exit), ("_Exit", Hook::Exit), ("execve", Hook::Execute)];

/// By which an exception finds its way past the frames of hooks.
const UNWINDER: [(&str, Hook); 1] = [(FINDS_TABLE, Hook::FindsTable)];
pub(crate) const FINDS_TABLE: &str = "_Unwind_Find_FDE";
/// What every unwinder has.
pub(crate) const RAISES: &str = "_Unwind_RaiseException";
/// What only LLVM's has, which does not ask for tables by that function.
pub(crate) const OTHER_UNWINDER: &str = "__unw_step";
/// The operators that a program replaces at least, if it replaces any.
pub(crate) const NEW: &str = "_Znwm";
pub(crate) const DELETE: &str = "_ZdlPv";
/// What a C++ library has beside them.
pub(crate) const CPP_LIBRARY: &str = "_ZSt15get_new_handlerv";

/// Names that tell allocators apart, the surest first.
const MARKS: [(&str, &str); 15] = [
    ("mallctl", "jemalloc"),
    ("je_mallctl", "jemalloc"),
    ("_rjem_mallctl", "jemalloc"),
    ("_rjem_mallocx", "jemalloc"),
    ("_rjem_sdallocx", "jemalloc"),
    ("tc_malloc", TCMALLOC_NAME),
    ("mi_malloc", "mimalloc"),
    ("mi_free", "mimalloc"),
    ("scalable_malloc", "TBB malloc"),
    ("rpmalloc", "rpmalloc"),
    ("gnu_get_libc_version", GLIBC),
    // The ends of their static variants, which have lost much else.
    ("_int_malloc", GLIBC),
    ("__malloc_hugepage_config", GLIBC),
    ("__libc_malloc_impl", MUSL),
    ("__dls3", MUSL),
];
/// Functions that allocate and call no other one of these lists that does: they have been looked at. mimalloc's jump to one another, musl's
/// `calloc` calls its `malloc`, and the operators of all call a `malloc`.
const CALLING_NOBODY: [(&str, &[&str]); 2] = [
    (GLIBC, &["malloc", "calloc"]),
    (
        "jemalloc",
        &[
            "malloc",
            "calloc",
            "mallocx",
            "je_malloc",
            "je_calloc",
            "je_mallocx",
            "_rjem_malloc",
            "_rjem_calloc",
            "_rjem_mallocx",
        ],
    ),
];
const TCMALLOC_NAME: &str = "tcmalloc";
/// What glibc is called.
pub(crate) const GLIBC: &str = "glibc";
/// What musl is called.
pub(crate) const MUSL: &str = "musl";

/// Every name that is looked for.
pub(crate) fn names() -> Vec<String> {
    let plain = STANDARD
        .iter()
        .chain(&JEMALLOC)
        .chain(&OPERATORS)
        .chain(&ENDING)
        .chain(&UNWINDER)
        .map(|(name, _)| (*name).to_owned());
    let prefixed = PREFIXES.iter().flat_map(|prefix| {
        let of = family_of(prefix).iter().flat_map(|list| list.iter());
        of.map(move |(name, _)| format!("{prefix}{name}"))
    });
    let throwing = THROWING.iter().map(|(name, _)| (*name).to_owned());
    let marks = MARKS.iter().map(|(name, _)| *name).chain([RAISES, OTHER_UNWINDER, CPP_LIBRARY]).map(str::to_owned);
    let mut all: Vec<String> = plain.chain(prefixed).chain(throwing).chain(marks).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// What a name does in a module with this allocator; none for names that only mark one.
pub(crate) fn known(name: &str, allocator: Option<&str>) -> Option<Known> {
    let look_up = |list: &[(&str, Hook)], name: &str| list.iter().find(|(known, _)| *known == name).map(|(_, h)| *h);
    if let Some((name, throws)) = THROWING.iter().find(|(known, _)| *known == name) {
        let prefix = PREFIXES.iter().find(|prefix| name.starts_with(*prefix));
        let family = prefix.map_or(Family::Operator, |prefix| Family::Prefixed(prefix));
        return Some(Known { family, form: throws.form(allocator) });
    }
    if let Some(hook) = look_up(&OPERATORS, name) {
        return Some(Known { family: Family::Operator, form: Form::Plain(hook) });
    }
    if let Some(hook) = look_up(&ENDING, name) {
        return Some(Known { family: Family::Ending, form: Form::Plain(hook) });
    }
    if let Some(hook) = look_up(&UNWINDER, name) {
        return Some(Known { family: Family::Unwinder, form: Form::Plain(hook) });
    }
    if let Some(hook) = look_up(&STANDARD, name).or_else(|| look_up(&JEMALLOC, name)) {
        return Some(Known { family: Family::Standard, form: form_of(hook) });
    }
    PREFIXES.iter().find_map(|prefix| {
        let rest = name.strip_prefix(prefix)?;
        let hook = family_of(prefix).iter().find_map(|list| look_up(list, rest))?;
        Some(Known { family: Family::Prefixed(prefix), form: form_of(hook) })
    })
}

/// Whether a function with all these names, in a module with this allocator, calls no other hooked one that allocates. A name that is not
/// the allocator's own says that the module has another one besides.
pub(crate) fn calls_nobody(allocator: Option<&str>, names: &[String]) -> bool {
    let listed = CALLING_NOBODY.iter().find(|(of, _)| allocator == Some(of)).map_or(&[][..], |(_, listed)| listed);
    names.iter().all(|name| listed.contains(&name.as_str()))
}

fn form_of(hook: Hook) -> Form {
    if hook.is_wide() { Form::Whole(hook) } else { Form::Plain(hook) }
}

/// The allocator that has these names.
pub(crate) fn allocator_of(names: &[&str]) -> Option<&'static str> {
    MARKS.iter().find(|(mark, _)| names.contains(mark)).map(|(_, allocator)| *allocator)
}

/// The C library that has these names, whatever other allocator is linked into the same file.
pub(crate) fn c_library_of(names: &[&str]) -> Option<&'static str> {
    let is_c_library = |allocator: &str| matches!(allocator, GLIBC | MUSL);
    let found = MARKS.iter().find(|(mark, allocator)| is_c_library(allocator) && names.contains(mark));
    found.map(|(_, allocator)| *allocator)
}

/// The lists of one prefix.
fn family_of(prefix: &str) -> &'static [&'static [(&'static str, Hook)]] {
    match prefix {
        "_rjem_" | "je_" => &[&STANDARD, &JEMALLOC],
        "mi_" => &[&STANDARD, &MIMALLOC],
        "tc_" => &[&STANDARD, &TCMALLOC],
        _ => &[&STANDARD],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        check_in(None, name, expected);
    }

    #[track_caller]
    fn check_in(allocator: Option<&str>, name: &str, expected: &str) {
        let found = known(name, allocator).map_or("none".into(), |known| match known.form {
            Form::Plain(hook) => format!("{:?} {hook:?}", known.family),
            Form::Throwing { hook, quiet } => format!("{:?} {hook:?} by {}", known.family, quiet[0]),
            Form::Whole(hook) => format!("{:?} whole {hook:?}", known.family),
            Form::Named(hook) | Form::Behind(hook, _) => panic!("{hook:?} is no allocator function"),
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn an_unwinder_is_known_by_what_finds_tables() {
        check("_Unwind_Find_FDE", "Unwinder FindsTable");
        check("_Unwind_RaiseException", "none");
    }

    #[test]
    fn names_mean_what_they_do() {
        check("malloc", "Standard Malloc");
        check("mallocx", "Standard Malloc");
        check("_rjem_sdallocx", "Prefixed(\"_rjem_\") Delete");
        check("je_calloc", "Prefixed(\"je_\") Calloc");
        check("mi_malloc_aligned", "Prefixed(\"mi_\") Malloc");
        check("mi_aligned_alloc", "Prefixed(\"mi_\") Memalign");
        check("mi_heap_calloc", "Prefixed(\"mi_\") ProductOfLast");
        check("mi_realloc_aligned_at", "Prefixed(\"mi_\") whole WideResize");
        check("xallocx", "Standard whole WideInPlace");
        check("tc_delete_sized", "Prefixed(\"tc_\") Delete");
        check("_Znwm", "Operator Malloc by malloc");
        check("mi_new_aligned", "Prefixed(\"mi_\") NewAligned by aligned_alloc");
        check("mi_heap_alloc_new_n", "Prefixed(\"mi_\") ProductOfLast by mi_heap_mallocn");
        check("mi_new_reallocn", "Prefixed(\"mi_\") Reallocarray by mi_reallocn");
        check("_ZdaPvm", "Operator Delete");
        check("_exit", "Ending Exit");
        check("execve", "Ending Execute");
        check("gnu_get_libc_version", "none");
        check("je_mallctl", "none");
        check("mi_free_everything", "none");
        check("", "none");
    }

    #[test]
    fn what_may_throw_is_replaced_by_its_counterpart_that_does_not() {
        check_in(Some("tcmalloc"), "_Znam", "Operator Malloc by _ZnamRKSt9nothrow_t");
        check_in(Some("tcmalloc"), "tc_new_aligned", "Prefixed(\"tc_\") Malloc by _ZnwmSt11align_val_tRKSt9nothrow_t");
        check_in(Some("jemalloc"), "_ZnwmSt11align_val_t", "Operator NewAligned by aligned_alloc");
        let names = names();
        for (name, throws) in THROWING {
            for allocator in [None, Some("tcmalloc")] {
                let Form::Throwing { quiet, .. } = throws.form(allocator) else { panic!("{name}") };
                assert!(quiet.iter().all(|quiet| names.iter().any(|known| known == quiet)), "{name}: {quiet:?}");
                assert!(!quiet.contains(&name));
            }
        }
    }

    #[test]
    fn every_name_is_looked_for_once_and_known_or_a_mark() {
        let names = names();
        for name in &names {
            let marks = MARKS.iter().filter(|(mark, _)| mark == name).count();
            let marks = marks + [RAISES, OTHER_UNWINDER, CPP_LIBRARY].iter().filter(|mark| *mark == name).count();
            assert!(known(name, None).is_some() || marks == 1, "{name}");
        }
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]));
        for name in ["malloc", "mi_heap_realloc", "tc_new", "_rjem_rallocx", "__libc_malloc_impl"] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
    }

    #[test]
    fn what_calls_nobody_is_known_by_all_of_its_names() {
        let calls_nobody =
            |allocator, names: &str| calls_nobody(allocator, &names.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(calls_nobody(Some(GLIBC), "malloc") && calls_nobody(Some("jemalloc"), "calloc"));
        assert!(calls_nobody(Some("jemalloc"), "_rjem_malloc") && calls_nobody(Some("jemalloc"), "malloc je_malloc"));
        assert!(!calls_nobody(Some("jemalloc"), "malloc mi_malloc"), "another allocator beside it");
        assert!(!calls_nobody(Some("jemalloc"), "_ZnwmRKSt9nothrow_t"), "it calls malloc");
        assert!(!calls_nobody(Some("mimalloc"), "malloc mi_malloc") && !calls_nobody(Some(MUSL), "calloc"));
        assert!(!calls_nobody(None, "malloc"));
    }

    #[test]
    fn the_allocator_is_told_by_its_marks() {
        assert_eq!(allocator_of(&["malloc", "free", "gnu_get_libc_version"]), Some("glibc"));
        assert_eq!(allocator_of(&["malloc", "mallctl"]), Some("jemalloc"));
        assert_eq!(allocator_of(&["malloc", "gnu_get_libc_version", "mi_malloc"]), Some("mimalloc"));
        assert_eq!(allocator_of(&["malloc", "free"]), None);
        assert_eq!(c_library_of(&["malloc", "gnu_get_libc_version", "mi_malloc"]), Some("glibc"));
        assert_eq!(c_library_of(&["malloc", "mi_malloc"]), None);
    }
}
