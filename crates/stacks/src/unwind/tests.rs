//! Unwind rows against `readelf --debug-dump=frames-interp`, row by row, and against damaged input.

use std::collections::HashMap;

use super::*;
use crate::compiled::{self, output};
use crate::module::ModuleLayout;

/// One row as readelf prints it, in our words; `None` where the form is printed as `exp` and cannot be compared.
struct Told {
    start: u64,
    end: u64,
    rule: Option<Rule>,
}

/// Parses the listing: a line per entry with its addresses, a line of column titles, a line per row. An entry that
/// adds nothing to its common entry has no rows of its own and is given that one's.
fn told(listing: &str) -> Vec<Told> {
    let mut rows: Vec<Told> = Vec::new();
    let mut common: HashMap<&str, Option<Rule>> = HashMap::new();
    // A register that is kept in another one is printed with a space inside.
    let listing = listing.replace(" (", "(");
    for entry in listing.split("\n\n").map(str::trim) {
        let mut lines = entry.lines().map(|line| line.split_whitespace().collect::<Vec<&str>>());
        let Some(title) = lines.next() else { continue };
        let columns = lines.next().unwrap_or_default();
        let mut own: Vec<(u64, Option<Rule>)> = lines
            .filter(|words| words.len() == columns.len())
            .map(|words| {
                let field = |name: &str| columns.iter().position(|column| *column == name).map(|at| words[at]);
                let start = u64::from_str_radix(words[0], 16).unwrap();
                (start, rule(field("CFA").unwrap(), field("rbp"), field("ra").unwrap()))
            })
            .collect();
        if title.contains(&"CIE") {
            common.insert(title[0], own.first().and_then(|row| row.1));
        }
        let after = |prefix: &str| title.iter().find_map(|word| word.strip_prefix(prefix));
        let (Some(range), Some(cie)) = (after("pc="), after("cie=")) else { continue };
        let (first, last) = range.split_once("..").unwrap();
        if own.is_empty() {
            own.push((u64::from_str_radix(first, 16).unwrap(), common[cie]));
        }
        own.push((u64::from_str_radix(last, 16).unwrap(), None));
        rows.extend(own.windows(2).map(|pair| Told { start: pair[0].0, end: pair[1].0, rule: pair[0].1 }));
    }
    rows.retain(|row| row.start < row.end);
    rows
}

fn rule(cfa: &str, rbp: Option<&str>, ra: &str) -> Option<Rule> {
    if ra == "u" {
        return Some(Rule::End);
    }
    if ra == "exp" || cfa == "exp" {
        return None;
    }
    if ra != "c-8" {
        return Some(Rule::Unknown);
    }
    let saved_rbp = match rbp {
        None | Some("u" | "s") => SavedRbp::Same,
        Some(text) => match text.strip_prefix("c-") {
            Some(distance) => SavedRbp::AtCfaMinus(distance.parse().unwrap()),
            None => return Some(Rule::Unknown),
        },
    };
    let (register, distance) = cfa.split_once('+')?;
    let cfa = distance.parse().unwrap();
    Some(match register {
        "rsp" => Rule::FromStackPointer { cfa, saved_rbp },
        "rbp" => Rule::FromFramePointer { cfa, saved_rbp },
        _ => Rule::Unknown,
    })
}

/// Compares every row of a module and the gaps between them; returns how many could not be compared.
#[track_caller]
fn check_against_readelf(path: &str) -> Vec<Rule> {
    let bytes = std::fs::read(path).unwrap();
    let (layout, rows) = (module_layout(&bytes).unwrap(), compile(&bytes).unwrap());
    let mut told = told(&output("readelf", &["-wNF", path]));
    assert!(told.len() > 20, "{} rows are too few for a comparison", told.len());
    told.sort_by_key(|row| row.start);
    let mut not_compared = Vec::new();
    let mut covered = layout.base();
    for row in told {
        let ours = |address: u64| rows.rule_at((address - layout.base()) as u32);
        if row.start > covered {
            assert_eq!(ours(covered), Rule::Unknown, "{covered:#x} is in no entry");
            assert_eq!(ours(row.start - 1), Rule::Unknown, "{:#x} is in no entry", row.start - 1);
        }
        match row.rule {
            Some(rule) => {
                assert_eq!(ours(row.start), rule, "at {:#x}", row.start);
                assert_eq!(ours(row.end - 1), rule, "at {:#x}", row.end - 1);
            }
            None => not_compared.push(ours(row.start)),
        }
        covered = covered.max(row.end);
    }
    assert_eq!(rows.rule_at((covered - layout.base()) as u32), Rule::Unknown, "after the last entry");
    assert_eq!(rows.skipped, 0);
    not_compared
}

const C_REALIGNED: &str = "
#include <stdlib.h>
#include <string.h>
struct wide { char bytes[64]; } __attribute__((aligned(64)));
__attribute__((noipa)) void *take(struct wide *w, int n) { void *p = malloc(n); memset(w, n, sizeof *w); return p; }
__attribute__((noipa)) void *realigned(int n, int a, int b, int c, int d, int e, int on_stack) {
    struct wide w; char *more = __builtin_alloca(n + on_stack); more[0] = 1; return take(&w, n + more[0] + a + b + c + d + e);
}
__attribute__((noipa)) int plain(int n) { return n ? plain(n - 1) + 1 : 0; }
int main(int argc, char **argv) { return realigned(argc, 1, 2, 3, 4, 5, 6) == 0 || plain(argc) == 7; }
";

const CPP: &str = r#"
#include <map>
#include <string>
#include <stdexcept>
struct Guard { std::string text; ~Guard() { if (text.size() > 90) throw 1; } };
int main(int argc, char **argv) {
    std::map<std::string, std::string> all;
    try { Guard g{argv[0]}; all[g.text] = std::to_string(argc); if (argc > 3) throw std::runtime_error("x"); }
    catch (const std::exception &e) { all[e.what()] = "y"; }
    return all.size() == 9;
}
"#;

const RUST: &str = "
use std::collections::BTreeMap;
fn main() {
    let mut all: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for word in std::env::args() { all.entry(word.clone()).or_default().extend(word.bytes()); }
    println!(\"{:?}\", all.into_iter().map(|(k, v)| (v.len(), k)).max());
}
";

#[test]
fn the_c_library_agrees_with_readelf() {
    let expressions = check_against_readelf(compiled::libc().to_str().unwrap());
    assert!(expressions.contains(&Rule::Signal), "__restore_rt is a signal trampoline");
}

#[test]
fn programs_of_each_language_agree_with_readelf() {
    for (name, source, flags) in [
        ("main.c", C_REALIGNED, "-O2 -Wl,-z,lazy"),
        ("main.c", C_REALIGNED, "-O0 -static"),
        ("main.cpp", CPP, "-O2"),
        ("main.rs", RUST, "-O"),
    ] {
        check_against_readelf(compiled::compile(name, source, flags).text_path());
    }
}

#[test]
fn a_realigned_stack_is_followed_through_its_frame_pointer() {
    let built = compiled::compile("main.c", C_REALIGNED, "-O2 -mstackrealign -mforce-drap");
    let rows = compile(&built.bytes()).unwrap();
    let found = rows.rules.iter().find(|rule| matches!(rule, Rule::FromFramePointerDeref { .. }));
    assert!(found.is_some(), "{:?}", rows.rules);
}

#[test]
fn a_lazy_linkage_table_has_its_own_rule() {
    let built = compiled::compile("main.c", C_REALIGNED, "-O2 -Wl,-z,lazy -fcf-protection=none");
    let rules = compile(&built.bytes()).unwrap().rules;
    assert!(rules.contains(&Rule::Plt), "{rules:?}");
}

#[test]
fn the_first_function_of_a_program_ends_the_stack() {
    let built = compiled::compile("main.c", C_REALIGNED, "-O2");
    let bytes = built.bytes();
    let entry = u64::from_le_bytes(bytes[24..32].try_into().unwrap());
    let base = module_layout(&bytes).unwrap().base();
    assert_eq!(compile(&bytes).unwrap().rule_at((entry - base) as u32), Rule::End);
}

/// Overwrites `e_shoff`, `e_shnum` and `e_shstrndx`, as `sstrip` does.
fn without_sections(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[40..48].fill(0);
    bytes[60..64].fill(0);
    bytes
}

#[test]
fn program_headers_alone_lead_to_the_same_rows() {
    for path in [compiled::libc(), std::env::current_exe().unwrap()] {
        let bytes = std::fs::read(path).unwrap();
        let whole = compile(&bytes).unwrap();
        assert_eq!(compile(&without_sections(bytes)).unwrap(), whole);
    }
}

#[test]
fn debug_frame_serves_where_there_is_no_eh_frame() {
    let flags = "-O2 -g -fno-asynchronous-unwind-tables -fno-exceptions -nostdlib -shared -fPIC";
    let source = "long grow(long *p) { char b[200]; for (int i = 0; i < 200; i++) b[i] = p[i]; p[0] = b[p[7] & 127]; return p[1]; }";
    for extra in ["", " -gz=zlib"] {
        let built = compiled::compile("main.c", source, &format!("{flags}{extra}"));
        let rows = compile(&built.bytes()).unwrap();
        let steady = rows.rules.iter().any(|rule| matches!(rule, Rule::FromStackPointer { cfa, .. } if *cfa >= 80));
        assert!(steady, "{extra}: {rows:?}");
    }
}

/// The rows of ranges given as start, end and distance; each is a function of its own, or all are one.
fn rows_of_ranges(ranges: &[(u32, u32, u32)], is_one_function: bool) -> String {
    let mut all = Ranges::default();
    for (number, &(start, end, cfa)) in ranges.iter().enumerate() {
        if number == 0 || !is_one_function {
            all.begin_function();
        }
        all.push(Range { start, end, rule: Rule::FromStackPointer { cfa, saved_rbp: SavedRbp::Same } });
    }
    let rows = all.into_rows();
    let distance = |rule: &Rule| {
        if let Rule::FromStackPointer { cfa, .. } = rule { cfa.to_string() } else { "-".to_owned() }
    };
    let text = rows.starts.iter().zip(&rows.rules).map(|(start, rule)| format!("{start}:{}", distance(rule)));
    text.collect::<Vec<_>>().join(" ")
}

#[test]
fn overlapping_ranges_give_the_first_one() {
    #[track_caller]
    fn check(ranges: &[(u32, u32, u32)], expected: &str) {
        assert_eq!(rows_of_ranges(ranges, false), expected);
        assert_eq!(rows_of_ranges(ranges, true), expected, "it does not matter how they are put together");
    }
    check(&[], "0:-");
    check(&[(0, 10, 8)], "0:8 10:-");
    check(&[(5, 10, 8), (10, 20, 8)], "0:- 5:8 20:-");
    check(&[(5, 10, 8), (7, 20, 16)], "0:- 5:8 10:16 20:-");
    check(&[(7, 20, 16), (5, 10, 8)], "0:- 5:8 10:16 20:-");
    check(&[(5, 30, 8), (7, 20, 16), (40, 41, 8)], "0:- 5:8 30:- 40:8 41:-");
    check(&[(5, 10, 8), (5, 12, 16)], "0:- 5:8 10:16 12:-");
    check(&[(30, 40, 8), (20, 30, 16), (0, 10, 24)], "0:24 10:- 20:16 30:8 40:-");
    check(&[(50, 60, 8), (20, 30, 16), (40, 50, 8)], "0:- 20:16 30:- 40:8 60:-");
}

/// A function whose common entry says so many times where the return address is; padding would be dropped by the linker.
const COMMON_ENTRY: &str = r#"
.text
f: ret
.section .eh_frame,"a",@progbits
c: .long common_end - common
common: .long 0
.byte 1
.asciz "zR"
.uleb128 1
.sleb128 -8
.uleb128 16
.uleb128 1
.byte 0x1b
.byte 0x0c, 7, 8, 0x90, 1
.fill FILL, 2, 0x0190
.balign 8
common_end:
.long entry_end - entry
entry: .long entry - c
.long f - .
.long 1
.uleb128 0
.balign 8
entry_end:
"#;

#[test]
fn a_common_entry_of_absurd_length_is_left_out_and_counted() {
    let rows = |fill: &str| {
        let built = compiled::compile("a.s", &COMMON_ENTRY.replace("FILL", fill), "-shared -nostdlib");
        compile(&built.bytes()).unwrap()
    };
    let usual = rows("8");
    let rule = Rule::FromStackPointer { cfa: 8, saved_rbp: SavedRbp::Same };
    assert!(usual.skipped == 0 && usual.rules.contains(&rule), "{usual:?}");
    let absurd = rows("5000");
    assert!(absurd.skipped == 1 && !absurd.rules.contains(&rule), "{absurd:?}");
}

/// Any bytes must give an answer; the loops of this test end only if every bound holds.
#[track_caller]
fn check_survives(bytes: &[u8]) {
    if let Ok(rows) = compile(bytes) {
        assert!(rows.starts.is_sorted_by(|a, b| a < b));
        assert_eq!(rows.starts.len(), rows.rules.len());
    }
    let _ = module_layout(bytes).map(|layout: ModuleLayout| layout.base());
}

#[test]
fn cut_files_are_refused_or_give_fewer_rows() {
    let bytes = compiled::compile("main.c", C_REALIGNED, "-O1 -g").bytes();
    let whole = compile(&bytes).unwrap().rules.len();
    for length in (0..bytes.len()).step_by(61) {
        check_survives(&bytes[..length]);
        assert!(compile(&bytes[..length]).map_or(0, |rows| rows.rules.len()) <= whole);
    }
}

#[test]
fn damaged_bytes_do_no_harm() {
    let bytes = compiled::compile("main.c", C_REALIGNED, "-O1").bytes();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..2_000 {
        let mut damaged = bytes.clone();
        for _ in 0..8 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Headers matter most: half of the damage is done there.
            let reach = if state & 1 == 0 { 1024 } else { damaged.len() };
            let at = (state >> 8) as usize % reach;
            damaged[at] = (state >> 48) as u8;
        }
        check_survives(&damaged);
    }
}

#[test]
fn what_is_no_module_is_named() {
    #[track_caller]
    fn check(bytes: &[u8], message: &str) {
        assert_eq!(compile(bytes).unwrap_err().to_string(), message);
    }
    let mut header = compiled::compile("main.c", C_REALIGNED, "").bytes();
    check(b"", "not an ELF file");
    check(b"#!/bin/sh\n", "not an ELF file");
    check(&header[..10], "malformed ELF file: shorter than its header");
    header[18] = 183;
    check(&header, "a 64-bit ELF file of machine 183, not of x86-64");
    header[4] = 1;
    check(&header, "a 32-bit ELF file of machine 183, not of x86-64");
}
