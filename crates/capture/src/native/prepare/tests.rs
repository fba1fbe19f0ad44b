//! Tests of the parts of a plan that need no target.

use super::*;

const AREAS: [Area; 4] = [
    Area { at: 0x10_0000, len: 0x4000 },
    Area { at: 0x20_0000, len: 0x1000 },
    Area { at: 0x30_0000, len: 0x2000 },
    Area { at: 0x40_0000, len: 0x3000 },
];

/// The places of the first so many areas, as `at+len`.
#[track_caller]
fn check_wanted(areas: usize, code: &str, more: &str) {
    let wanted = wanted(&AREAS[..areas], 0x3000, 0x7000_0000, 0x9000);
    let written = |at: u64, len: u64| format!("{at:x}+{len:x}");
    let found: Vec<String> = wanted.more_code.iter().map(|area| written(area.at, area.len)).collect();
    assert_eq!((written(wanted.code_at, wanted.code_len).as_str(), found.join(" ").as_str()), (code, more));
    assert_eq!((wanted.link_page, wanted.shared_at, wanted.shared_len), (0x3000, 0x7000_0000, 0x9000));
}

#[test]
fn the_agent_has_the_first_area_and_the_others_follow() {
    check_wanted(0, "0+0", "0+0 0+0 0+0");
    check_wanted(1, "100000+4000", "0+0 0+0 0+0");
    check_wanted(2, "100000+4000", "200000+1000 0+0 0+0");
    check_wanted(4, "100000+4000", "200000+1000 300000+2000 400000+3000");
}

/// A function of plain instructions, hooked or refused.
fn hooked(relocated: bool, unhooked: &[(Hook, &str)]) -> Hooked {
    let code = [0x41, 0x54, 0x55, 0x53, 0x48, 0x83, 0xec, 0x10, 0xc3];
    let relocation = || arch::relocate(&code, 0x40_1000, 0x50_0000, 0x60_0000, Stub::Plain).unwrap();
    Hooked {
        relocations: relocated.then(relocation).into_iter().collect(),
        unhooked: unhooked.iter().map(|(hook, reason)| (*hook, (*reason).to_owned())).collect(),
        ..Hooked::default()
    }
}

#[track_caller]
fn check_lacking(relocated: bool, unhooked: &[(Hook, &str)], expected: Option<&str>) {
    let found = lacking(&hooked(relocated, unhooked)).map(|(found, _)| found);
    assert_eq!(found.as_deref(), expected, "{unhooked:?}");
}

#[test]
fn a_function_that_only_allocates_may_stay_unhooked() {
    check_lacking(true, &[], None);
    for hook in [Hook::Malloc, Hook::Calloc, Hook::Memalign, Hook::PosixMemalign, Hook::Valloc, Hook::NewAligned] {
        check_lacking(true, &[(hook, "f: too short")], None);
    }
}

#[test]
fn a_function_that_releases_must_be_hooked() {
    let releasing = [Hook::Free, Hook::Delete, Hook::NamedFreesSecond, Hook::NamedResizes];
    for hook in releasing.into_iter().chain([Hook::Realloc, Hook::Reallocarray, Hook::ReallocSecond]) {
        check_lacking(true, &[(Hook::Malloc, "malloc: no"), (hook, "f: too short")], Some("cannot hook f: too short"));
    }
}

/// Also on a function that only allocates: without the breakpoint it would be hooked.
#[test]
fn a_breakpoint_is_refused_with_the_way_to_be_rid_of_it() {
    let (found, remedy) = lacking(&Hooked { breakpoints: vec!["malloc".into()], ..hooked(true, &[]) }).unwrap();
    assert_eq!(found, "cannot hook malloc: a breakpoint of a debugger or a probe stands in its first bytes");
    assert!(remedy.is_some_and(|remedy| remedy.contains("take it away and attach again")));
}

#[test]
fn of_a_function_that_was_found_no_symbols_are_asked_for() {
    let (_, remedy) = lacking(&hooked(true, &[(Hook::NamedFreesSecond, "pool_free: too short")])).unwrap();
    assert!(remedy.is_some_and(|remedy| remedy.contains("`-fpatchable-function-entry=8`")));
}

#[test]
fn an_exception_must_find_its_way() {
    check_lacking(true, &[(Hook::FindsTable, "_Unwind_Find_FDE: no")], Some("cannot hook _Unwind_Find_FDE: no"));
}

#[test]
fn where_nothing_is_hooked_all_reasons_are_given() {
    let both = [(Hook::Malloc, "malloc: too short"), (Hook::Calloc, "calloc: a jump leads into it")];
    check_lacking(false, &both, Some("cannot hook malloc: too short; calloc: a jump leads into it"));
    check_lacking(false, &[], Some("cannot hook "));
}

#[track_caller]
fn check_main_stack(maps: &str, expected: (u64, u64)) {
    let mappings: Vec<_> = maps::parse(maps.as_bytes()).collect();
    assert_eq!(main_stack(&mappings), expected);
}

#[test]
fn the_main_stack_is_known_by_its_name() {
    let heap = "00900000-00a00000 rw-p 00000000 00:00 0 [heap]\n";
    let stack = "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]\n";
    check_main_stack(&format!("{heap}{stack}"), (0x7ffc_0000_0000, 0x7ffc_0002_1000));
    // A file may be called so as well, yet has a folder before its name.
    check_main_stack(&format!("1000-2000 rw-p 0 08:01 5 /tmp/[stack]\n{heap}"), (0, 0));
    check_main_stack("", (0, 0));
}
