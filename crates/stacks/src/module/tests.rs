//! Layout and symbols of real modules against what `readelf` says, and the arithmetic of load biases.

use super::*;
use crate::compiled::{self, output};

const PROGRAM: &str = "
int counter;
static int resolved(void) { return 7; }
static void *resolver(void) { return (void *)resolved; }
int chosen(void) __attribute__((ifunc(\"resolver\")));
__attribute__((weak)) int replaceable(void) { return counter; }
int main(void) { return chosen() + replaceable(); }
";

/// `name version vaddr size flags` of every match, as one line each.
fn listing(elf: &[u8], names: &[&str]) -> Vec<String> {
    let found = symbols(elf, names).unwrap();
    let line = |symbol: &FunctionSymbol| {
        let default = if symbol.default_version { "@@" } else { "@" };
        let version = symbol.version.as_ref().map_or(String::new(), |text| format!("{default}{text}"));
        let mut flags = String::new();
        for (set, letter) in [(symbol.ifunc, 'i'), (symbol.exported, 'x'), (symbol.weak, 'w')] {
            flags.extend(set.then_some(letter));
        }
        format!("{}{version} {:016x} {} {flags}", symbol.name, symbol.vaddr, symbol.size)
    };
    found.iter().map(line).collect()
}

/// Which of these names, separated by spaces, this symbol has.
#[track_caller]
fn check_wanted(names: &str, symbol: &[u8], found: Option<&str>) {
    let names: Vec<&str> = names.split(' ').collect();
    let names = Names::new(&names);
    assert_eq!(wanted(symbol, &names).map(|(name, _)| name), found);
    // What stands behind a name in a table of strings belongs to the next one.
    let rest = [symbol, b"\0another"].concat();
    assert!(found.is_none() || names.may_start(&rest), "the first bytes of what is asked for pass");
}

#[test]
fn a_name_is_found_whole_and_without_its_version() {
    check_wanted("malloc free", b"malloc", Some("malloc"));
    check_wanted("malloc free", b"free@@GLIBC_2.2.5", Some("free"));
    check_wanted("malloc free", b"malloc_", None);
    check_wanted("malloc free", b"fret", None);
    check_wanted("malloc free", b"", None);
    check_wanted("malloc free", b"fr\xffe", None);
    let (long, longer) = ("a".repeat(127), "a".repeat(300));
    check_wanted(&format!("{long} {longer}"), longer.as_bytes(), Some(&longer));
    check_wanted(&long, longer.as_bytes(), None);
    check_wanted("dup f", b"dup", Some("dup"));
    check_wanted("dup f", b"f@V1", Some("f"));
}

#[test]
fn the_first_bytes_tell_nearly_all_names_from_those_asked_for() {
    let names = Names::new(&["malloc", "free", "_ZnwmSt11align_val_t", "mi_malloc"]);
    let others: Vec<String> = (0..10_000_u32).map(|number| format!("{}_of_others", number.pow(2))).collect();
    let passed = others.iter().filter(|other| names.may_start(other.as_bytes())).count();
    assert!(passed < others.len() / 100, "{passed} passed");
    assert!(!names.may_start(b"_ZN2v88internal7FactoryE\0") && !names.may_start(b""));
}

#[test]
fn a_name_without_an_end_is_read_up_to_its_bound() {
    let long = "a".repeat(NAME_BYTES_MAX + 10);
    let source = format!(".text\n.globl {long}\n.type {long}, @function\n{long}: ret\n");
    let bytes = compiled::compile("a.s", &source, "-shared -nostdlib").bytes();
    let sections = sections(&bytes).unwrap();
    let table = sections.symbols(ENDIAN, &bytes, elf::SHT_SYMTAB).unwrap();
    let strings = Strings::of(&sections, &table, &bytes);
    let lengths: Vec<usize> = table.iter().filter_map(|symbol| strings.name(symbol)).map(<[u8]>::len).collect();
    assert_eq!(lengths.iter().max(), Some(&NAME_BYTES_MAX));
    let cut = Strings(b"abc");
    assert!(table.iter().all(|symbol| cut.name(symbol).is_none()), "what has no end was cut and is another name");
}

#[test]
fn functions_of_the_c_library_are_where_readelf_says() {
    let path = compiled::libc();
    let ours = listing(&std::fs::read(&path).unwrap(), &["malloc", "free", "memalign", "strlen", "pthread_cond_wait"]);
    let told = output("readelf", &["-W", "--dyn-syms", path.to_str().unwrap()]);
    for line in &ours {
        let words: Vec<&str> = line.split(' ').collect();
        let matches = |told: &&str| told.contains(words[1]) && told.split_whitespace().any(|word| word == words[0]);
        let row = told.lines().find(matches).unwrap_or_else(|| panic!("readelf does not know {line}"));
        let fields: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(fields[2], words[2], "size in {row}");
        assert_eq!(fields[3] == "IFUNC", words[3].contains('i'), "{row}");
        assert_eq!(fields[4] == "WEAK", words[3].contains('w'), "{row}");
    }
    for start in ["malloc@@GLIBC_2.2.5 ", "free@@GLIBC_2.2.5 ", "memalign@@GLIBC_2.2.5 ", "strlen@@GLIBC_2.2.5 "] {
        assert!(ours.iter().any(|line| line.starts_with(start)), "{start}: {ours:?}");
    }
    let old = ours.iter().filter(|line| line.starts_with("pthread_cond_wait@GLIBC_2.2.5 "));
    assert_eq!(old.count(), 1, "the old version is marked as not the default: {ours:?}");
}

#[test]
fn functions_that_only_the_full_table_has_are_found() {
    let built = compiled::compile("main.c", PROGRAM, "-O0 -static");
    let ours = listing(&built.bytes(), &["chosen", "replaceable", "resolved", "counter", "malloc", "nobody"]);
    let names: Vec<(&str, &str)> =
        ours.iter().filter_map(|line| Some((line.split(' ').next()?, line.rsplit(' ').next()?))).collect();
    for expected in [("chosen", "i"), ("replaceable", "w"), ("resolved", "")] {
        assert!(names.contains(&expected), "{expected:?} in {ours:?}");
    }
    assert!(ours.iter().any(|line| line.starts_with("malloc ")), "{ours:?}");
    assert!(!names.iter().any(|(name, _)| ["counter", "nobody"].contains(name)), "{ours:?}");
}

#[test]
fn a_stripped_file_still_has_what_it_exports() {
    let built = compiled::compile("lib.c", PROGRAM, "-O0 -shared -fPIC -s");
    assert_eq!(listing(&built.bytes(), &["resolved"]), Vec::<String>::new());
    assert_eq!(listing(&built.bytes(), &["replaceable"]).len(), 1);
}

/// Linkage in words, compared with what the flags of the linker ask for.
#[track_caller]
fn check_linkage(flags: &str, interpreter: bool, dynamic: bool, fixed: bool) {
    let built = compiled::compile("main.c", PROGRAM, flags);
    let layout = module_layout(&built.bytes()).unwrap();
    let ours = (layout.interpreter.is_some(), layout.dynamic, layout.fixed_address);
    assert_eq!(ours, (interpreter, dynamic, fixed), "{flags}");
    let told = output("readelf", &["-Wln", built.text_path()]);
    assert_eq!(layout.loads.len(), told.lines().filter(|line| line.trim().starts_with("LOAD ")).count());
    let build_id = told.lines().find_map(|line| Some(line.split_once("Build ID: ")?.1));
    assert_eq!(layout.build_id.as_deref(), build_id);
    for load in &layout.loads {
        let row = format!("LOAD           {:#08x} {:#018x}", load.file_offset, load.vaddr);
        assert!(told.contains(&row), "{row} is not in\n{told}");
    }
}

#[test]
fn linkage_segments_and_build_id_are_read() {
    check_linkage("-Wl,--build-id", true, true, false);
    check_linkage("-no-pie -Wl,--build-id=md5", true, true, true);
    check_linkage("-static -Wl,--build-id=none", false, false, true);
    check_linkage("-static-pie", false, true, false);
    check_linkage("-shared -fPIC -Wl,--build-id", false, true, false);
}

/// A mapping as `/proc/PID/maps` shows it (start, file offset, executable) and the bias that follows from it.
#[track_caller]
fn check_bias(layout: &ModuleLayout, (start, offset, executable): (u64, u64, bool), bias: Option<u64>) {
    assert_eq!(load_bias(layout, start, offset, executable), bias, "{start:#x} {offset:#x}");
}

#[test]
fn a_bias_is_found_from_any_mapping_of_the_file() {
    let load = |vaddr, file_offset, file_size, executable| LoadSegment {
        vaddr,
        file_offset,
        file_size,
        memory_size: file_size,
        executable,
        writable: false,
    };
    let layout = ModuleLayout {
        build_id: None,
        loads: vec![
            load(0, 0, 0x25f00, false),
            load(0x27000, 0x26000, 0x0015_5000, true),
            load(0x001d_3750, 0x001d_2750, 0x5000, false),
        ],
        interpreter: None,
        dynamic: true,
        fixed_address: false,
    };
    let bias = 0x7f00_1234_5000;
    check_bias(&layout, (bias, 0, false), Some(bias));
    check_bias(&layout, (bias + 0x27000, 0x26000, true), Some(bias));
    // A mapping that mprotect split begins inside of its segment.
    check_bias(&layout, (bias + 0x30000, 0x2f000, true), Some(bias));
    check_bias(&layout, (bias + 0x001d_3000, 0x001d_2000, false), Some(bias));
    check_bias(&layout, (bias, 0x40_0000, true), None);
    let fixed = ModuleLayout { fixed_address: true, ..layout };
    check_bias(&fixed, (0x40_1000, 0x1000, true), Some(0));
}

#[test]
fn mappings_of_this_very_program_agree_on_one_bias() {
    let path = std::env::current_exe().unwrap();
    let layout = module_layout(&std::fs::read(&path).unwrap()).unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut biases: Vec<u64> = maps
        .lines()
        // A panic elsewhere maps the file once more as data, to print its backtrace.
        .filter(|line| line.ends_with(path.to_str().unwrap()) && !line.contains(" 00000000 "))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
            load_bias(&layout, number(words[0].split_once('-').unwrap().0), number(words[2]), words[1].contains('x'))
                .unwrap()
        })
        .collect();
    assert!(biases.len() >= 2, "{maps}");
    biases.dedup();
    assert_eq!(biases.len(), 1, "{biases:x?}");
}
