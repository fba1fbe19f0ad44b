//! Names and lines of real programs against what `addr2line -i -f -C` says, for every call in them.

use std::fmt::Write;

use super::*;
use crate::compiled::{self, Built, output};
use crate::limits::INLINED_FRAMES_MAX;

const CPP: &str = r#"
#include <stdexcept>
#include <string>
#include <vector>
namespace shop {
struct Cart {
    std::vector<std::string> items;
    __attribute__((always_inline)) void add(const char *name) { items.emplace_back(name); }
};
template <class T> __attribute__((noinline)) T *fill(int count) {
    Cart cart;
    for (int i = 0; i < count; i++)
        cart.add("a name that is too long to be kept inside of the string");
    if (count > 90) throw std::runtime_error("too many");
    return new T(cart.items.size());
}
}
int main(int argc, char **argv) {
    try { return *shop::fill<long>(argc) == *shop::fill<short>(argc + 1); }
    catch (const std::exception &error) { return error.what()[0]; }
}
"#;

const C: &str = "
#include <stdlib.h>
static inline __attribute__((always_inline)) void *inner(int n) { return malloc(n + 1); }
__attribute__((noinline)) void *outer(int n) { void *p = inner(n);
    if (!p) abort();
    return p; }
int main(int argc, char **argv) { free(outer(argc)); return outer(2) == 0; }
";

const RUST: &str = "
use std::collections::BTreeMap;
#[inline(always)]
fn count(all: &mut BTreeMap<String, Vec<u8>>, word: String) { all.entry(word).or_default().push(7); }
#[inline(never)]
fn collect() -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for word in std::env::args() { count(&mut all, word); }
    all
}
fn main() { std::process::exit(collect().len() as i32); }
";

/// Return addresses of all calls in the text of a program.
fn calls(path: &str, most: usize) -> Vec<u64> {
    let listing = output("objdump", &["-d", "-j", ".text", "--no-show-raw-insn", path]);
    let address = |line: &str| u64::from_str_radix(line.trim().split(':').next()?, 16).ok();
    let lines: Vec<&str> = listing.lines().collect();
    let after_calls = lines.windows(2).filter(|pair| pair[0].contains("\tcall")).filter_map(|pair| address(pair[1]));
    after_calls.take(most).collect()
}

/// Demanglers differ in spaces, and in the parameters of constructors of templates; names are compared without both.
/// The unlikely part of a function is the same function to us.
fn plain_name(text: &str) -> String {
    text.split('(').next().unwrap().replace([' ', '\t'], "").replace(".cold", "")
}

/// A line of 0 is how compilers say that no line is to blame; what addr2line then prints is the file alone.
fn plain_place(text: &str) -> &str {
    let text = text.split(" (discriminator").next().unwrap();
    if text.ends_with(":?") || text.ends_with(":0") { "??:0" } else { text }
}

/// One line a function: `name file:line`, `?` where nothing is known, as addr2line gives it too.
fn told_by_addr2line(path: &str, addresses: &[u64]) -> Vec<String> {
    let mut arguments: Vec<String> = ["-a", "-i", "-f", "-C", "-e", path].map(str::to_owned).to_vec();
    arguments.extend(addresses.iter().map(|address| format!("{:#x}", address - 1)));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut all: Vec<String> = Vec::new();
    let listing = output("addr2line", &arguments);
    let mut lines = listing.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("0x") {
            all.push(String::new());
            continue;
        }
        let place = plain_place(lines.next().unwrap());
        writeln!(all.last_mut().unwrap(), "{} {place}", plain_name(line)).unwrap();
    }
    all
}

fn told_by_us(symbols: &ModuleSymbols<'_>, address: u64) -> String {
    let mut text = String::new();
    let frames = symbols.frames(address, |_| None);
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!(frame.inlined, index + 1 < frames.len(), "only the last is not inlined");
        let name = frame.function.as_known().map_or("??".to_owned(), |function| plain_name(&function.name));
        let place = frame.line.as_known().map_or("??:0".to_owned(), |line| format!("{}:{}", line.file, line.line));
        writeln!(text, "{name} {place}").unwrap();
    }
    text
}

/// Compares every call of a program. `agree` is the least share of calls, in percent, whose whole listing is equal.
#[track_caller]
fn check(built: &Built, agree: usize) {
    let (bytes, pool) = (built.bytes(), Pool::new(64));
    let symbols = ModuleSymbols::new(Sources { module: &bytes, ..Sources::default() }, &pool);
    let addresses = calls(built.text_path(), 2_000);
    let told = told_by_addr2line(built.text_path(), &addresses);
    assert!(told.len() > 4 && told.len() == addresses.len(), "{} of {}", told.len(), addresses.len());
    let differ: Vec<String> = addresses
        .iter()
        .zip(&told)
        .map(|(&address, told)| (address, told, told_by_us(&symbols, address)))
        .filter(|(_, told, ours)| *told != ours)
        .map(|(address, told, ours)| format!("{address:#x}\n  told:\n{told}  ours:\n{ours}"))
        .collect();
    let equal = (told.len() - differ.len()) * 100 / told.len();
    assert!(equal >= agree, "{equal} % of {}:\n{}", told.len(), differ.join("\n"));
}

#[test]
fn c_programs_agree_with_addr2line() {
    for flags in ["-g -O0", "-g -O2", "-gdwarf-4 -O2", "-gdwarf-5 -O2 -gz=zlib"] {
        check(&compiled::compile("main.c", C, flags), 100);
    }
}

#[test]
fn cpp_programs_agree_with_addr2line() {
    for flags in ["-g -O0", "-g -O2", "-gdwarf-4 -O1"] {
        // cpp_demangle gives destructors of classes in template functions a return type.
        check(&compiled::compile("main.cpp", CPP, flags), 99);
    }
}

#[test]
fn rust_programs_agree_with_addr2line() {
    for flags in ["-g -O", "-g -Csymbol-mangling-version=v0"] {
        check(&compiled::compile("main.rs", RUST, flags), 100);
    }
}

/// The outermost function of every call of `outer` in [`C`], as `name+offset file:line`.
#[track_caller]
fn check_outer(sources: Sources<'_>, expected: &str) {
    let pool = Pool::new(64);
    let symbols = ModuleSymbols::new(sources, &pool);
    check_outer_of(&symbols, sources.module, expected, |_| None);
}

#[track_caller]
fn check_outer_of<'data>(
    symbols: &ModuleSymbols<'data>,
    module: &[u8],
    expected: &str,
    provide: impl FnMut(&[u8]) -> Option<&'data [u8]>,
) {
    let outer = crate::module::symbols(module, &["outer"]).unwrap().first().map_or(OUTER, |symbol| symbol.vaddr);
    let frames = symbols.frames(outer + OFFSET, provide);
    let frame = frames.last().unwrap();
    let function = frame.function.as_known().map_or("?".to_owned(), |found| format!("{}+{}", found.name, found.offset));
    let line = frame.line.as_known().map_or("?".to_owned(), |line| {
        let name = line.file.rsplit('/').next().unwrap();
        format!("{name}:{}", line.line)
    });
    assert_eq!(format!("{function} {line}"), expected);
}

/// Where the linker script of [`FIXED`] puts `outer`, which stripped files cannot tell.
const OUTER: u64 = 0x40_1000;
/// An address within the first statement of `outer`, after its prologue.
const OFFSET: u64 = 12;
/// A program whose only code is `outer` at a known address.
const FIXED: &str = "-g -O0 -nostdlib -no-pie -Wl,-Ttext=0x401000,-e,outer,--build-id";
const FIXED_SOURCE: &str = "int kept; int outer(int n) {\n  kept = n + 3;\n  return kept * n; }\n";

/// A program and what `objcopy` makes of it.
fn fixed(steps: &[&str]) -> Built {
    let built = compiled::compile("main.c", FIXED_SOURCE, FIXED);
    let path = built.text_path().to_owned();
    for step in steps {
        let step = step.replace('%', &path);
        let words: Vec<&str> = step.split(' ').collect();
        output(words[0], &words[1..]);
    }
    built
}

fn sibling(built: &Built, ending: &str) -> Vec<u8> {
    std::fs::read(format!("{}{ending}", built.text_path())).unwrap()
}

#[test]
fn each_source_of_names_serves_where_the_better_ones_are_missing() {
    let whole = fixed(&[]);
    check_outer(Sources { module: &whole.bytes(), ..Sources::default() }, "outer+12 main.c:2");
    let stripped = fixed(&["objcopy --only-keep-debug % %.debug", "strip %"]);
    check_outer(Sources { module: &stripped.bytes(), ..Sources::default() }, "? ?");
    let debug = sibling(&stripped, ".debug");
    check_outer(Sources { module: &stripped.bytes(), debug: Some(&debug), ..Sources::default() }, "outer+12 main.c:2");
    let table_only = fixed(&["strip -g %"]);
    check_outer(Sources { module: &table_only.bytes(), ..Sources::default() }, "outer+12 ?");
    let lines_only = fixed(&["objcopy --strip-symbol=outer %"]);
    check_outer(Sources { module: &lines_only.bytes(), ..Sources::default() }, "outer+12 main.c:2");
}

#[test]
fn the_exported_name_of_a_function_is_preferred_to_the_librarys_own() {
    let source = FIXED_SOURCE.replace("outer", "__GI_outer");
    let alias = "int outer(int) __attribute__((alias(\"__GI_outer\")));";
    let built = compiled::compile("main.c", &format!("{source}{alias}"), FIXED);
    check_outer(Sources { module: &built.bytes(), ..Sources::default() }, "outer+12 main.c:2");
}

#[test]
fn mini_debug_info_names_functions_of_stripped_files() {
    let built = fixed(&[
        "objcopy --strip-debug % %.mini",
        "xz %.mini",
        "objcopy --strip-all --add-section .gnu_debugdata=%.mini.xz %",
    ]);
    check_outer(Sources { module: &built.bytes(), ..Sources::default() }, "outer+12 ?");
}

#[test]
fn mini_debug_info_that_unpacks_to_too_much_counts_as_absent() {
    let built = fixed(&[
        "truncate -s 100M %.mini",
        "xz %.mini",
        "objcopy --strip-all --add-section .gnu_debugdata=%.mini.xz %",
    ]);
    assert!(built.bytes().len() < 100_000, "a small file says it all");
    check_outer(Sources { module: &built.bytes(), ..Sources::default() }, "? ?");
}

#[test]
fn sections_that_would_unpack_to_too_much_together_count_as_absent() {
    let built = compiled::compile("main.c", C, "-g -O0 -gz=zlib");
    let bytes = built.bytes();
    let named_and_with_line = |pool: &Pool<Vec<u8>>| {
        let symbols = ModuleSymbols::new(Sources { module: &bytes, ..Sources::default() }, pool);
        let frames = calls(built.text_path(), 2_000).into_iter().flat_map(|address| symbols.frames(address, |_| None));
        frames.fold((0, 0), |(named, lines), frame| {
            (
                named + usize::from(frame.function.as_known().is_some()),
                lines + usize::from(frame.line.as_known().is_some()),
            )
        })
    };
    let (named, lines) = named_and_with_line(&Pool::new(64));
    assert!(named > 0 && lines > 0, "{named} {lines}");
    let (named, lines) = named_and_with_line(&Pool::bounded(64, 100));
    assert!(named > 0 && lines == 0, "names of the symbol table stay: {named} {lines}");
}

#[test]
fn of_too_many_inlined_functions_the_outermost_stays() {
    let mut source = String::from("#include <stdlib.h>\n#define IN static inline __attribute__((always_inline)) int\n");
    source.push_str("IN f0(int n) { return rand() + n; }\n");
    for level in 1..=INLINED_FRAMES_MAX {
        writeln!(source, "IN f{level}(int n) {{ return f{}(n + 1); }}", level - 1).unwrap();
    }
    writeln!(source, "int main(int argc, char **argv) {{ return f{INLINED_FRAMES_MAX}(argc) != 7; }}").unwrap();
    let built = compiled::compile("main.c", &source, "-g -O1");
    let (bytes, pool) = (built.bytes(), Pool::new(64));
    let symbols = ModuleSymbols::new(Sources { module: &bytes, ..Sources::default() }, &pool);
    let stacks = calls(built.text_path(), 2_000).into_iter().map(|address| symbols.frames(address, |_| None));
    let deepest = stacks.max_by_key(Vec::len).unwrap();
    let name = |frame: &NamedFrame| frame.function.as_known().map(|function| function.name.to_string());
    let ends = [deepest.first(), deepest.last()].map(|frame| frame.and_then(name));
    assert_eq!((deepest.len(), ends), (INLINED_FRAMES_MAX, [Some("f0".to_owned()), Some("main".to_owned())]));
}

#[test]
fn split_units_are_asked_for_by_their_path() {
    let built = compiled::compile("main.c", FIXED_SOURCE, &format!("{FIXED} -gsplit-dwarf"));
    let (bytes, pool, files) = (built.bytes(), Pool::new(64), Pool::new(4));
    let symbols = ModuleSymbols::new(Sources { module: &bytes, ..Sources::default() }, &pool);
    let mut asked = Vec::new();
    check_outer_of(&symbols, &bytes, "outer+12 main.c:2", |path| {
        let path = String::from_utf8(path.to_vec()).unwrap();
        asked.push(path.clone());
        files.keep(std::fs::read(path).ok()?).map(Vec::as_slice)
    });
    assert!(asked.len() == 1 && asked[0].contains(".dwo"), "{asked:?}");
}

#[test]
fn references_to_debug_files_are_read_and_proved() {
    let built = fixed(&["objcopy --only-keep-debug % %.debug", "strip %", "objcopy --add-gnu-debuglink=%.debug %"]);
    let (module, debug) = (built.bytes(), sibling(&built, ".debug"));
    let references = DebugReferences::of(&module);
    let (name, crc) = references.link.clone().unwrap();
    assert_eq!((name.to_str().unwrap(), references.has_lines), ("module.debug", false));
    assert!(Proof::Crc(crc).holds(&debug) && !Proof::Crc(crc).holds(&module));
    let build_id = references.build_id.unwrap();
    assert!(DebugReferences::of(&debug).has_lines);
    assert!(Proof::BuildId(build_id.clone()).holds(&debug) && !Proof::BuildId(build_id[2..].into()).holds(&debug));
}

#[test]
fn damaged_debug_information_does_no_harm() {
    let bytes = fixed(&[]).bytes();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..600 {
        let mut damaged = bytes.clone();
        for _ in 0..6 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = (state >> 8) as usize % damaged.len();
            damaged[at] = (state >> 48) as u8;
        }
        damaged.truncate(if round % 3 == 0 { (state >> 20) as usize % damaged.len() } else { damaged.len() });
        let pool = Pool::new(64);
        let symbols = ModuleSymbols::new(Sources { module: &damaged, ..Sources::default() }, &pool);
        for vaddr in [0, 1, OUTER, OUTER + OFFSET, u64::MAX] {
            assert!(!symbols.frames(vaddr, |_| None).is_empty());
        }
        DebugReferences::of(&damaged);
    }
}
