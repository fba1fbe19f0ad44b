//! Which frame of a stack to look at first.
//!
//! Owns: what is a library's part of an allocation and what is the program's own. Must not know: how frames are named or shown.
//!
//! The innermost frames of nearly every C++ or Rust stack are the standard library's: `operator new`, allocators, the growing
//! of a vector. Nobody looks for the leak there. The first frame behind them is the line that a person can change.

use model::{Frame, Reading};

/// Folders of sources that come with a compiler or a system.
const LIBRARY_FOLDERS: [&str; 8] = [
    "/include/c++/",
    "/usr/include/",
    "/c++/v1/",
    "/libstdc++-v3/",
    "/libcxx/",
    "/rustc/",
    "/rust/deps/",
    "/rustlib/src/",
];
/// How functions of standard libraries begin, in the order in which a demangled name may.
const LIBRARY_NAMES: [&str; 10] =
    ["std::", "__gnu_cxx::", "alloc::", "core::", "<alloc::", "<core::", "<std::", "__rust_", "__rdl_", "__rg_"];
/// How names of allocators, and of what programs wrap them in, end: `malloc`, `xmalloc`, `zmalloc_usable`, `ngx_memalign`, `palloc0`,
/// `PyObject_Malloc`. In whatever file they stand, their caller is meant.
const ALLOCATORS: [&str; 9] =
    ["malloc", "calloc", "realloc", "zalloc", "palloc", "_alloc", "memalign", "strdup", "strndup"];
/// What may stand behind that, in the order in which it is taken off.
const VARIANTS: [&str; 10] =
    ["_usable", "_num", "_internal", "_extended", "_aligned", "_array", "array", "_raw", "_n", "0"];
/// Words of whole names that end like none of them.
const ALLOCATORS_OTHERWISE: [&str; 3] = ["aligned_alloc", "MemoryContextAlloc", "MemoryContextAllocExtended"];
/// Frames by which a name may be nearer than a line in the same file before it says more than the line.
const LINE_BEHIND_MAX: usize = 6;
/// How the files of allocators and standard libraries begin.
const LIBRARY_MODULES: [&str; 11] = [
    "libc.so",
    "libc-",
    "libstdc++",
    "libc++",
    "libgcc_s",
    "ld-",
    "libjemalloc",
    "libtcmalloc",
    "libmimalloc",
    "libglib-",
    "libasan",
];

/// Index of the frame of the program's own code that asked for the memory: the innermost with a known line that is not a
/// library's, else one without a line; where all is a library's, the innermost of which most is known. None without frames.
pub fn origin(frames: &[Frame]) -> Option<usize> {
    let own_line = |frame: &Frame| has_line(frame) && !is_library(frame);
    let own_name = |frame: &Frame| has_name(frame) && !is_library(frame);
    // A line beats a name that is nearer: a library without debug information stands between the program and its own line often,
    // and only the line can be opened in an editor. Far behind in the same file it is another part's: node has lines for its event
    // loop alone, through which all goes.
    let line = frames.iter().position(own_line);
    let name = frames.iter().position(own_name);
    if let (Some(line), Some(name)) = (line, name)
        && line > name + LINE_BEHIND_MAX
        && module(&frames[line]) == module(&frames[name])
    {
        return Some(name);
    }
    let wishes: [&dyn Fn(&Frame) -> bool; 3] = [&has_line, &has_name, &|_| true];
    line.or(name).or_else(|| wishes.into_iter().find_map(|wish| frames.iter().position(wish)))
}

fn module(frame: &Frame) -> Option<&str> {
    frame.module.as_known().map(|module| &*module.path)
}

fn has_line(frame: &Frame) -> bool {
    frame.line.as_known().is_some()
}

fn has_name(frame: &Frame) -> bool {
    frame.function.as_known().is_some()
}

fn is_library(frame: &Frame) -> bool {
    if let Reading::Known(function) = &frame.function
        && is_allocator(&function.name)
    {
        return true;
    }
    if let Reading::Known(module) = &frame.module
        && LIBRARY_MODULES.iter().any(|start| file_name(&module.path).starts_with(start))
    {
        return true;
    }
    match (&frame.line, &frame.function) {
        // A function of the program may be called `std::hash<Mine>::operator()`: where it stands says more than its name.
        (Reading::Known(line), _) => LIBRARY_FOLDERS.iter().any(|folder| line.file.contains(folder)),
        (Reading::Missing(_), Reading::Known(function)) => is_of_library(&function.name),
        (Reading::Missing(_), Reading::Missing(_)) => false,
    }
}

fn is_allocator(name: &str) -> bool {
    if name.starts_with("operator new") || ALLOCATORS_OTHERWISE.contains(&name) {
        return true;
    }
    // Arguments and classes are of C++, where such a name is rarely a wrapper and often the one that is looked for.
    let plain = VARIANTS.iter().fold(name, |name, variant| name.strip_suffix(variant).unwrap_or(name)).to_lowercase();
    ALLOCATORS.iter().any(|end| plain.ends_with(end))
}

/// Only the one result that functions of libraries commonly have: a program's own template that returns a `std::string` must not
/// be taken for a library's. Templates are named with their result first: `void std::vector<int>::push_back(int)`.
fn is_of_library(name: &str) -> bool {
    let begins = |name: &str| LIBRARY_NAMES.iter().any(|start| name.starts_with(start));
    begins(name) || name.strip_prefix("void ").is_some_and(begins)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use model::{Address, FrameTrust, Function, ModuleName, SourceLine, Why};

    use super::*;

    /// A frame of `function | file | module`, where `?` is missing.
    fn frame(text: &str) -> Frame {
        let parts: Vec<&str> = text.split(" | ").collect();
        let known =
            |index: usize| Reading::from_option((parts[index] != "?").then_some(parts[index]), Why::NotRecorded);
        Frame {
            address: Address(1),
            module: known(2).map(|path| ModuleName { path: path.into(), build_id: None }),
            function: known(0).map(|name| Function { name: name.into(), offset: 0 }),
            line: known(1).map(|file| SourceLine { file: file.into(), line: 7, column: None }),
            inlined: false,
            trust: FrameTrust::UnwindTable,
        }
    }

    #[track_caller]
    fn check(frames: &[&str], expected: Option<usize>) {
        let frames: Vec<Frame> = frames.iter().map(|text| frame(text)).collect();
        assert_eq!(origin(&frames), expected);
    }

    #[test]
    fn what_the_library_of_cxx_does_on_the_way_is_passed_over() {
        check(
            &[
                "operator new(unsigned long) | ? | /usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30",
                "std::__new_allocator<int>::allocate(unsigned long, void const*) | /usr/include/c++/12/bits/new_allocator.h | /srv/app",
                "std::vector<int>::vector(unsigned long) | /usr/include/c++/12/bits/stl_vector.h | /srv/app",
                "open_session(int) | /src/session.cpp | /srv/app",
                "main | /src/main.cpp | /srv/app",
            ],
            Some(3),
        );
        check(&["void std::vector<int>::push_back(int) | ? | /srv/app", "serve() | ? | /srv/app"], Some(1));
        check(
            &["std::hash<Mine>::operator()(Mine const&) | /src/mine.h | /srv/app", "main | /src/a.cpp | /srv/app"],
            Some(0),
        );
        check(&["operator new(unsigned long) | /src/own_new.cpp | /srv/app", "main | /src/a.cpp | /srv/app"], Some(1));
    }

    #[test]
    fn what_the_library_of_rust_does_on_the_way_is_passed_over() {
        check(
            &[
                "alloc::alloc::alloc | /rustc/59807616e/library/alloc/src/alloc.rs | /srv/app",
                "<alloc::vec::Vec<T> as core::clone::Clone>::clone | /rustc/59807616e/library/alloc/src/vec/mod.rs | /srv/app",
                "app::cache::fill | src/cache.rs | /srv/app",
            ],
            Some(2),
        );
        check(
            &["__rust_alloc | ? | /srv/app", "alloc::vec::Vec::push | ? | /srv/app", "app::fill | ? | /srv/app"],
            Some(2),
        );
    }

    #[test]
    fn a_checked_malloc_is_not_who_wanted_the_memory() {
        check(&["xmalloc | /src/util.c | /srv/app", "open_file | /src/file.c | /srv/app"], Some(1));
        check(&["malloc_session | /src/util.c | /srv/app", "open_file | /src/file.c | /srv/app"], Some(0));
        for wrapper in [
            "zmalloc_usable",
            "zcalloc_num",
            "ngx_memalign",
            "palloc0",
            "_PyObject_Malloc",
            "CRYPTO_zalloc",
            "reallocarray",
        ] {
            check(&[&format!("{wrapper} | ? | /srv/app"), "open_file | ? | /srv/app"], Some(1));
        }
        check(&["zmalloc | ? | /srv/app"], Some(0));
        check(&["Pool::malloc() | /src/pool.cc | /srv/app", "open_file | /src/file.cc | /srv/app"], Some(0));
        check(&["strdup | ./string/strdup.c | /lib/libc.so.6", "open_file | /src/file.c | /srv/app"], Some(1));
    }

    #[test]
    fn a_known_line_comes_before_a_nearer_name() {
        check(&["foo_new | ? | /lib/libfoo.so.1", "main | /src/main.c | /srv/app"], Some(1));
        check(&["? | ? | /lib/libfoo.so.1", "foo_new | ? | /lib/libfoo.so.1"], Some(1));
    }

    #[test]
    fn a_line_far_behind_in_the_same_file_says_less_than_a_name() {
        let stack = |names: usize, module: &str| {
            let mut frames: Vec<String> = (0..names).map(|index| format!("v8_{index} | ? | {module}")).collect();
            frames.push("uv_run | /deps/uv/src/unix/core.c | /usr/bin/node".to_owned());
            frames
        };
        let check =
            |frames: Vec<String>, expected| check(&frames.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        check(stack(LINE_BEHIND_MAX, "/usr/bin/node"), Some(LINE_BEHIND_MAX));
        check(stack(LINE_BEHIND_MAX + 1, "/usr/bin/node"), Some(0));
        check(stack(LINE_BEHIND_MAX + 1, "/lib/libfoo.so"), Some(LINE_BEHIND_MAX + 1));
    }

    #[test]
    fn where_all_is_a_librarys_the_most_telling_is_taken() {
        check(&["? | ? | /lib/libc.so.6", "fopen | ./libio/iofopen.c | /lib/libc.so.6"], Some(1));
        check(&["? | ? | ?", "malloc | ? | /lib/libc.so.6"], Some(1));
        check(&["? | ? | ?"], Some(0));
        check(&[], None);
    }
}
