//! Ledgers as text: one word and its arguments per event, and what is held afterwards.
//!
//! Addresses are pages in decimal, `10+4` is four pages from page 10 on, `s1` the stack of the caller. Each event happens one
//! tick after the one before; what has been there for ten ticks has expired.

use std::collections::HashMap;
use std::ops::Range;

use formats::maps;
use model::{Kind, SiteCounts};
use wire::{Call, Event};

use super::sums::{Held, Origin};
use super::*;
use crate::native::ticks::Ticks;

const PAGE: u64 = 4096;
const EXPIRE: u64 = 10;
const HANDLE: u64 = 17 * PAGE + 64;

/// Knows one mapping: pages 16 to 19.
struct Known;

impl Surroundings for Known {
    fn mapping_at(&mut self, address: u64) -> Option<Range<u64>> {
        (16 * PAGE..20 * PAGE).contains(&address).then_some(16 * PAGE..20 * PAGE)
    }
}

#[derive(Debug)]
struct Play {
    ledger: Ledger,
    told: u64,
}

fn range(text: &str) -> (u64, u64) {
    let (start, len) = text.split_once('+').unwrap();
    (start.parse::<u64>().unwrap() * PAGE, len.parse::<u64>().unwrap() * PAGE)
}

fn stack(words: &[&str]) -> u32 {
    words.iter().find_map(|word| word.strip_prefix('s')?.parse().ok()).unwrap_or(0)
}

impl Play {
    fn new() -> Self {
        let mut ledger = Ledger::new(Some(90 * PAGE), Some(100 * PAGE), [0, 1, 2]);
        ledger.set_expiry(EXPIRE);
        Self { ledger, told: 0 }
    }

    fn of(text: &str) -> Self {
        let mut play = Self::new();
        for line in text.split(';').map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            play.line(&words);
        }
        play
    }

    fn tell(&mut self, call: Call, nested: bool, stack: u32, words: [u64; 4]) {
        let told = Told { number: self.told, call, nested, thread: 0, at: self.told, stack, words };
        self.told += 1;
        self.ledger.tell(&told, &mut Known);
    }

    fn line(&mut self, words: &[&str]) {
        let stack = stack(words);
        let number = |i: usize| words[i].parse::<u64>().unwrap();
        let flags = |word: &str| match word {
            "anonymous" | "nested" => 0x22,
            "file" => 2,
            "shared" => 1,
            _ => panic!("{word}"),
        };
        match words[0] {
            kind @ ("anonymous" | "file" | "shared" | "nested") => {
                let (at, len) = range(words[1]);
                self.tell(Call::Map, kind == "nested", stack, [at, len, flags(kind), 0]);
            }
            "unmap" => {
                let (at, len) = range(words[1]);
                self.tell(Call::Unmap, false, 0, [at, len, 0, 0]);
            }
            "move" => {
                let ((old, old_len), (new, len)) = (range(words[1]), range(words[2]));
                let flags = if words.contains(&"keeping") { 4 } else { 0 };
                self.tell(Call::MoveBegin, false, 0, [old, old_len, flags, 0]);
                let new = if words.contains(&"failing") { FAILED } else { new };
                self.tell(Call::MoveEnd, false, stack, [new, len, old, old_len]);
            }
            "break" => self.tell(Call::Break, words.contains(&"nested"), stack, [number(1) * PAGE, 0, 0, 0]),
            "attach" => self.tell(Call::SegmentAttach, false, stack, [16 * PAGE, 0, 0, 0]),
            "detach" => self.tell(Call::SegmentDetach, false, 0, [16 * PAGE, 0, 0, 0]),
            "open" => self.tell(Call::Open, false, stack, [number(1), 0, 0, 0]),
            "close" => self.tell(Call::Close, false, 0, [number(1), 0, 0, 0]),
            "close_range" => self.tell(Call::CloseRange, false, 0, [number(1), number(2), 0, 0]),
            "thread" => {
                self.tell(Call::ThreadBegin, false, 0, [0; 4]);
                if words.contains(&"mapped") {
                    self.tell(Call::Map, false, 9, [16 * PAGE, 2 * PAGE, 0x2_0022, 0]);
                }
                let handle = if words.contains(&"failing") { 0 } else { HANDLE };
                self.tell(Call::ThreadEnd, false, stack, [handle, u64::from(words.contains(&"detached")), 0, 0]);
            }
            "join" => self.tell(Call::ThreadJoin, false, 0, [HANDLE, 0, 0, 0]),
            "ended" => self.ledger.compare_threads(|handle| (handle == HANDLE).then_some(0)),
            "running" => self.ledger.compare_threads(|_| Some(77)),
            "wait" => self.told += number(1),
            word => panic!("{word}"),
        }
    }

    fn sites(&self) -> Vec<SiteCounts> {
        self.ledger.sites(self.told, &Ticks::begin())
    }

    /// Every site as `stack kind made/ended/live/expired`, with pages behind a colon where it has a size.
    fn written(&self) -> String {
        let one = |site: &SiteCounts| {
            let tally = |tally: model::Tally| {
                if tally.kind.has_size() {
                    format!("{}:{}", tally.count, tally.bytes.0 / PAGE)
                } else {
                    format!("{}", tally.count)
                }
            };
            let stack = self.ledger.stack_of(site.stack).unwrap().0;
            let tallies = [site.allocated, site.freed, site.live, site.expired].map(tally);
            format!("s{stack} {} {}", site.kind(), tallies.join(" "))
        };
        self.sites().iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(Play::of(text).written(), expected, "{text}");
}

#[test]
fn a_mapping_lives_until_its_last_page_is_gone() {
    check("anonymous 10+4 s1", "s1 anonymous mapping 1:4 0:0 1:4 0:0");
    check("anonymous 10+4 s1; unmap 10+4", "s1 anonymous mapping 1:4 1:4 0:0 0:0");
    check("anonymous 10+4 s1; unmap 11+1", "s1 anonymous mapping 1:4 0:1 1:3 0:0");
    check("anonymous 10+4 s1; unmap 11+1; unmap 10+1; unmap 12+2", "s1 anonymous mapping 1:4 1:4 0:0 0:0");
    check("anonymous 10+4 s1; unmap 8+20; unmap 8+20", "s1 anonymous mapping 1:4 1:4 0:0 0:0");
    check("anonymous 10+4 s1; wait 9", "s1 anonymous mapping 1:4 0:0 1:4 1:4");
    check("unmap 10+4", "");
}

#[test]
fn kinds_are_told_apart() {
    check(
        "anonymous 10+1 s1; file 20+1 s1; shared 30+1 s1; shared 40+2 s2",
        "s1 anonymous mapping 1:1 0:0 1:1 0:0, s1 file mapping 1:1 0:0 1:1 0:0, s1 shared mapping 1:1 0:0 1:1 0:0, \
         s2 shared mapping 1:2 0:0 1:2 0:0",
    );
}

#[test]
fn a_mapping_takes_the_place_of_what_was_there() {
    let both = "s1 anonymous mapping 1:4 0:2 1:2 0:0, s2 anonymous mapping 1:2 0:0 1:2 0:0";
    check("anonymous 10+4 s1; anonymous 11+2 s2", both);
    // What an allocator maps is no site, and still replaces.
    check("anonymous 10+4 s1; nested 10+4", "s1 anonymous mapping 1:4 1:4 0:0 0:0");
    check("nested 10+4; unmap 10+4", "");
}

#[test]
fn what_mremap_adds_is_of_who_asked_for_it() {
    let grown = "s1 anonymous mapping 1:2 0:0 1:2 0:0, s2 anonymous mapping 1:3 0:0 1:3 0:0";
    check("anonymous 10+2 s1; move 10+2 10+5 s2", grown);
    check("anonymous 10+2 s1; move 10+2 50+5 s2", grown);
    check("file 10+2 s1; move 10+2 50+3 s2", "s1 file mapping 1:2 0:0 1:2 0:0, s2 file mapping 1:1 0:0 1:1 0:0");
    check("anonymous 10+4 s1; move 10+4 50+1 s2", "s1 anonymous mapping 1:4 0:3 1:1 0:0");
    check("anonymous 10+4 s1; move 10+4 50+1 s2; unmap 50+1", "s1 anonymous mapping 1:4 1:4 0:0 0:0");
    check("anonymous 10+2 s1; move 10+2 50+5 failing s2; unmap 10+2", "s1 anonymous mapping 1:2 1:2 0:0 0:0");
    // The old one stays where it was, with all its pages.
    let both = "s1 shared mapping 1:2 0:0 1:2 0:0, s2 anonymous mapping 1:2 0:0 1:2 0:0";
    check("shared 10+2 s1; move 10+0 50+2 s2", both);
    check("shared 10+2 s1; move 10+2 50+2 keeping s2", both);
    // Another thread got the old place before the end of the move was told: nothing of it may be lost.
    check(
        "anonymous 10+2 s1; move 10+2 50+2 s2; anonymous 10+2 s3",
        "s1 anonymous mapping 1:2 0:0 1:2 0:0, s3 anonymous mapping 1:2 0:0 1:2 0:0",
    );
}

#[test]
fn the_break_grows_and_shrinks() {
    check("break 103 s1; break 101 s1", "s1 break 1:3 0:2 1:1 0:0");
    check("break 110 nested; break 112 s1; break 100 nested", "s1 break 1:2 1:2 0:0 0:0");
    // `brk(0)` asks where it is.
    check("break 103 s1; break 0 s1; break 104 s1", "s1 break 2:4 0:0 2:4 0:0");
}

#[test]
fn a_segment_is_as_long_as_its_mapping() {
    check("attach s1", "s1 shared mapping 1:4 0:0 1:4 0:0");
    check("attach s1; detach", "s1 shared mapping 1:4 1:4 0:0 0:0");
    check("detach", "");
}

#[test]
fn descriptors_are_counted_and_have_no_size() {
    check("open 5 s1; open 6 s1; close 5; close 7", "s1 descriptor 2 1 1 0");
    check("open 5 s1; open 6 s2; open 7 s1; close_range 6 4294967295", "s1 descriptor 2 1 1 0, s2 descriptor 1 1 0 0");
    // `dup2` onto an open one, or a close that nobody told of.
    check("open 5 s1; open 5 s2", "s1 descriptor 1 1 0 0, s2 descriptor 1 0 1 0");
    check("open 5 s1; wait 20; open 6 s1; close 5", "s1 descriptor 2 1 1 0");
    assert_eq!(Play::of("open 5 s1; wait 20; close 5").sites()[0].freed_late.count, 1);
}

#[test]
fn a_thread_keeps_its_stack_until_it_is_joined() {
    check("thread mapped s1", "s1 thread stack 1:2 0:0 1:2 0:0");
    check("thread mapped s1; join", "s1 thread stack 1:2 1:2 0:0 0:0");
    // The C library kept a stack of an earlier thread: its size is that of the mapping.
    check("thread s1", "s1 thread stack 1:4 0:0 1:4 0:0");
    check("thread mapped detached s1", "");
    check("thread mapped failing s1", "");
    // A running thread uses its stack, however old it is.
    check("thread mapped s1; wait 20; running", "s1 thread stack 1:2 0:0 1:2 0:0");
    check("thread mapped s1; wait 20; running; ended", "s1 thread stack 1:2 0:0 1:2 1:2");
    // The handle is given out again: the first thread was joined by a call that was not seen.
    check("thread mapped s1; thread s2", "s1 thread stack 1:2 1:2 0:0 0:0, s2 thread stack 1:2 0:0 1:2 0:0");
}

#[test]
fn what_has_no_stack_is_counted_and_no_site() {
    let play = Play::of("open 5; open 6; anonymous 10+1");
    assert_eq!((play.written().as_str(), play.ledger.refused()), ("", 3));
}

/// Compares with these lines of `/proc/PID/maps`, given as ranges and names.
fn compared(events: &str, mappings: &str, before: u64) -> Play {
    let mut play = Play::of(events);
    let line = |text: &str| {
        let (pages, name) = text.split_once(' ').unwrap_or((text, ""));
        let (at, len) = range(pages);
        format!("{at:x}-{:x} rw-p 00000000 00:00 7 {name}\n", at + len)
    };
    let text: String = mappings.split(", ").filter(|text| !text.is_empty()).map(line).collect();
    let parsed: Vec<_> = maps::parse(text.as_bytes()).collect();
    play.ledger.compare_mappings(&parsed, before, play.told);
    play
}

#[test]
fn an_unmap_that_nobody_told_of_is_noticed() {
    let mapped = "anonymous 10+4 s1; anonymous 20+2 s2";
    let all = "s1 anonymous mapping 1:4 0:0 1:4 0:0, s2 anonymous mapping 1:2 0:0 1:2 0:0";
    assert_eq!(compared(mapped, "8+8, 16+8", 2).written(), all);
    let cut = "s1 anonymous mapping 1:4 0:2 1:2 0:0, s2 anonymous mapping 1:2 1:2 0:0 0:0";
    assert_eq!(compared(mapped, "10+1, 12+1", 2).written(), cut);
    // What was told after the list was made may not be on it yet.
    assert_eq!(compared(mapped, "10+4", 1).written(), all);
    let named = compared("file 10+4 s1; file 20+4 s1", "10+4 /lib/a.so, 20+4 /lib/a.so", 2);
    let contents: Vec<_> = named.sites()[0].contents.iter().map(|one| (one.name.clone(), one.count)).collect();
    assert_eq!(contents, [("/lib/a.so".to_owned(), 2)]);
}

fn links(text: &str) -> HashMap<u32, String> {
    let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(number, link)| (number.parse().unwrap(), link.to_owned())).collect()
}

#[test]
fn descriptors_that_nobody_told_of_are_noticed() {
    let mut play = Play::of("open 5 s1; open 6 s1; open 7 s1");
    let compare = |text: &str, play: &mut Play| play.ledger.compare_descriptors(&links(text), 3, play.told);
    compare("1=/dev/null 5=socket:[1] 6=/a 7=pipe:[3] 9=socket:[9]", &mut play);
    assert_eq!((play.written().as_str(), play.ledger.descriptors_unseen()), ("s1 descriptor 3 0 3 0", 0));
    // 5 was closed, 6 renamed, 7 replaced; 9 is still there, and 8 is new.
    compare("1=/dev/null 6=/b 7=pipe:[4] 8=/c 9=socket:[9]", &mut play);
    assert_eq!((play.written().as_str(), play.ledger.descriptors_unseen()), ("s1 descriptor 3 2 1 0", 1));
    compare("1=/dev/null 6=/b 9=socket:[9]", &mut play);
    // What replaced 7 is gone as well.
    assert_eq!(play.ledger.descriptors_unseen(), 1);
    assert_eq!(play.sites()[0].contents[0].name, "/b");
}

/// The page table by brute force: the stack of each page.
type Pages = HashMap<u64, u32>;

/// A random number below `bound`.
fn below(state: &mut u64, bound: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % bound
}

fn shifted(pages: &mut Pages, old: Range<u64>, new: Range<u64>, stack: u32) {
    let moved: Vec<(u64, Option<u32>)> = old.clone().map(|page| (page - old.start, pages.remove(&page))).collect();
    pages.retain(|page, _| !new.contains(page));
    for page in new.clone() {
        match moved.iter().find(|(distance, _)| *distance == page - new.start) {
            Some((_, owner)) => pages.extend(owner.map(|owner| (page, owner))),
            None => pages.extend([(page, stack)]),
        }
    }
}

#[test]
fn intervals_agree_with_single_pages() {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..200 {
        let (mut play, mut pages) = (Play::new(), Pages::new());
        for step in 0..120_u32 {
            let (at, len, stack) = (below(&mut state, 60), 1 + below(&mut state, 12), 1 + step % 7);
            let (to, to_len) = (100 + below(&mut state, 60), 1 + below(&mut state, 12));
            match below(&mut state, 8) {
                0..=3 => {
                    play.tell(Call::Map, false, stack, [at * PAGE, len * PAGE, 0x22, 0]);
                    pages.extend((at..at + len).map(|page| (page, stack)));
                }
                4 => {
                    play.tell(Call::Map, true, 0, [at * PAGE, len * PAGE, 0x22, 0]);
                    pages.retain(|page, _| !(at..at + len).contains(page));
                }
                5 => {
                    // Lengths need not be whole pages.
                    play.tell(Call::Unmap, false, 0, [at * PAGE, len * PAGE - 7, 0, 0]);
                    pages.retain(|page, _| !(at..at + len).contains(page));
                }
                _ => {
                    play.tell(Call::MoveBegin, false, 0, [at * PAGE, len * PAGE, 0, 0]);
                    play.tell(Call::MoveEnd, false, stack, [to * PAGE, to_len * PAGE, at * PAGE, len * PAGE]);
                    shifted(&mut pages, at..at + len, to..to + to_len, stack);
                }
            }
        }
        let found: Pages = play
            .ledger
            .regions
            .pieces()
            .flat_map(|(range, stack)| (range.start / PAGE..range.end / PAGE).map(move |page| (page, stack)))
            .collect();
        assert_eq!(found, pages);
        for site in play.sites() {
            let stack = play.ledger.stack_of(site.stack).unwrap().0;
            let live = pages.values().filter(|owner| **owner == stack).count() as u64;
            assert_eq!(site.live.bytes.0, live * PAGE, "what is live is what is mapped");
            assert_eq!(site.allocated.bytes.0 - site.freed.bytes.0, site.live.bytes.0);
            assert_eq!(site.allocated.count - site.freed.count, site.live.count);
        }
    }
}

#[test]
fn hostile_events_do_no_harm() {
    let mut state = 0x1234_5678_9abc_def1;
    let mut play = Play::new();
    for _ in 0..20_000 {
        let mut word = || match below(&mut state, 4) {
            0 => u64::MAX - below(&mut state, 3),
            1 => below(&mut state, 1 << 20),
            2 => (1 << 47) - below(&mut state, 1 << 14),
            _ => below(&mut state, u64::MAX),
        };
        let words = [word(), word(), word(), word()];
        let call = Call::of(1 + below(&mut state, 14) as u8).unwrap();
        let nested = below(&mut state, 2) * Event::NESTED != 0;
        play.tell(call, nested, below(&mut state, 5) as u32, words);
    }
    assert!(play.sites().iter().all(|site| site.allocated.count >= site.live.count));
}

#[test]
fn the_most_frequent_contents_are_named() {
    let mut held = Held::new(0, EXPIRE);
    let origin = Origin { key: (Kind::Descriptor, 1), birth: 0, number: 0 };
    for (name, count) in [("a", 1), ("b", 3), ("c", 2), ("d", 1), ("e", 1), ("f", 1), ("g", 1)] {
        (0..count).for_each(|_| held.add(origin, 0, Some(name), true));
    }
    let contents = held.of(origin.key).contents();
    let written: Vec<String> = contents.iter().map(|one| format!("{} {}", one.name, one.count)).collect();
    assert_eq!(written, ["b 3", "c 2", "a 1", "d 1", "e 1", "2 others 2"]);
}
