//! Tests of reading a shared file that was made up: what the agent would have written, and what a hostile target might.

use std::fs::File;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use model::Variance;
use wire::LINE_BYTES;

use super::*;

/// Blocks younger than this are not expired; seconds on any machine.
const EXPIRE: u64 = 1 << 32;

/// As many lines as the entries of most tests need.
const LINES: u32 = 4096;

const RATE: u32 = 19;
const HOW: How = How { expire: EXPIRE, rate: RATE, ended: None };
/// Where the records of the first threads are.
const PLACES: [u64; 4] = [4095, 7, 0, 1];
/// The word of which the upper half is the number.
const NUMBER_AT: usize = core::mem::offset_of!(ThreadFigures, mode);
/// The figures of a thread, in the order of an entry.
const FIGURES: [usize; 7] = [
    core::mem::offset_of!(ThreadFigures, allocations),
    core::mem::offset_of!(ThreadFigures, frees),
    core::mem::offset_of!(ThreadFigures, frees_of_older),
    core::mem::offset_of!(ThreadFigures, blocks_unrecorded),
    core::mem::offset_of!(ThreadFigures, stacks_cut),
    core::mem::offset_of!(ThreadFigures, stacks_broken),
    core::mem::offset_of!(ThreadFigures, guard),
];

/// A sparse file with the length of a real one, and the control words that go with it.
struct Shared {
    file: SharedFile,
    control: Control,
    now: u64,
}

impl Shared {
    /// Every line is an entry: `thread N FIGURE…` its figures as named below, `site THREAD STACK WORD…` its counters, `sampled
    /// THREAD STACK WORD…` those of samples, `block SLOT STACK SIZE AGE` a live block, `cell CELL STACK SIZE AGE` one in a cell,
    /// `sample SLOT STACK SIZE AGE` one of a
    /// sample, `raw SLOT WORD WORD` any slot, `stack ID FIRST LEN` a record, `frame AT WORD`.
    fn new(threads: u32, stacks: u32, lines: u32, entries: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("leakline-read-{}-{number}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(wire::FILE_BYTES).unwrap();
        let control = Control::default();
        control.threads.records.store(threads, Relaxed);
        control.stacks.ids.store(stacks, Relaxed);
        control.blocks.lines.store(lines, Relaxed);
        control.blocks.cells.store(lines, Relaxed);
        let shared = Self { file: SharedFile::new(file), control, now: Ticks::now() };
        // Four threads, the last of which comes first.
        shared
            .file
            .write_words(regions::THREADS.at, &[PLACES[0] | PLACES[1] << 32, PLACES[2] | PLACES[3] << 32])
            .unwrap();
        for (thread, place) in (0..).zip(PLACES) {
            shared.put_figure(place, NUMBER_AT, (thread + 1) << 32);
        }
        for entry in entries.lines().filter(|line| !line.trim().is_empty()) {
            shared.put(entry);
        }
        shared
    }

    fn put(&self, entry: &str) {
        let (kind, numbers) = entry.trim().split_once(' ').unwrap();
        let number = |text: &str| match text.strip_prefix('!') {
            Some(complement) => !complement.parse::<u64>().unwrap(),
            None => text.parse().unwrap(),
        };
        let numbers: Vec<u64> = numbers.split_whitespace().map(number).collect();
        let (at, words) = match (kind, numbers.as_slice()) {
            ("thread", [thread, figures @ ..]) => {
                for (name, figure) in FIGURES.into_iter().zip(figures) {
                    self.put_figure(PLACES[*thread as usize], name, *figure);
                }
                return;
            }
            ("sampled", [thread, stack, words @ ..]) => {
                let counters = regions::SAMPLED.at + thread * regions::SAMPLED_PER_THREAD;
                (counters + stack * SAMPLED_BYTES, words.to_vec())
            }
            ("sample", [slot, stack, size, age]) => {
                return self
                    .put_slot(*slot, Block::new(0, *size, *stack as u32, Moment::new(self.now - age), RATE).pack());
            }
            ("site", [thread, stack, words @ ..]) => {
                let counters = regions::COUNTERS.at + thread * regions::COUNTERS_PER_THREAD;
                (counters + stack * COUNTERS_BYTES, words.to_vec())
            }
            ("block", [slot, stack, size, age]) => {
                return self
                    .put_slot(*slot, Block::new(0, *size, *stack as u32, Moment::new(self.now - age), 0).pack());
            }
            ("cell", [cell, stack, size, age]) => {
                let word = Cell::new(0, *size, *stack as u32, Moment::new(self.now - age)).word();
                let first = regions::LINES.at + u64::from(wire::LINES_MAX) * LINE_BYTES;
                (first + cell * 8, vec![word])
            }
            ("raw", [slot, first, second]) => return self.put_slot(*slot, Slot { first: *first, second: *second }),
            ("stack", [id, first, len]) => (regions::STACKS.at + id * 16, vec![77, first | len << 32]),
            ("frame", [at, word]) => (regions::FRAMES.at + at * 8, vec![*word]),
            _ => panic!("what is {entry:?}?"),
        };
        self.file.write_words(at, &words).unwrap();
    }

    /// The first words of a line come before the second ones.
    fn put_slot(&self, slot: u64, Slot { first, second }: Slot) {
        let slots = LINE_SLOTS as u64;
        let at = regions::LINES.at + slot / slots * LINE_BYTES + slot % slots * 8;
        self.file.write_words(at, &[first]).unwrap();
        self.file.write_words(at + slots * 8, &[second]).unwrap();
    }

    fn put_figure(&self, place: u64, at: usize, figure: u64) {
        self.file.write_words(regions::RECORDS.at + place * regions::RECORD_BYTES + at as u64, &[figure]).unwrap();
    }

    fn snapshot(&self) -> Snapshot {
        snapshot(&self.file, &self.control, &Ticks::begin(), HOW).unwrap().0
    }
}

/// Count and bytes.
fn tally(tally: Tally) -> String {
    format!("{}/{}", tally.count, tally.bytes.0)
}

/// One site in a line, times apart.
fn text(site: &SiteCounts) -> String {
    let SiteCounts { stack, allocated, freed, live, expired, freed_late, .. } = site;
    format!(
        "{}: allocated {} freed {} late {} live {} expired {}",
        stack.0,
        tally(*allocated),
        tally(*freed),
        tally(*freed_late),
        tally(*live),
        tally(*expired)
    )
}

#[track_caller]
fn check_sites(shared: &Shared, expected: &[&str]) {
    let found: Vec<String> = shared.snapshot().sites.iter().map(text).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_counters_of_all_threads_are_summed_by_site() {
    let shared = Shared::new(
        3,
        4,
        LINES,
        "site 0 1 5 500 2 200
         site 1 1 1 10
         site 1 3 7 70 7 70
         site 2 1 0 0 3 300",
    );
    check_sites(
        &shared,
        &[
            "1: allocated 6/510 freed 5/500 late 0/0 live 0/0 expired 0/0",
            "3: allocated 7/70 freed 7/70 late 0/0 live 0/0 expired 0/0",
        ],
    );
}

#[test]
fn a_site_far_behind_a_hole_of_the_counters_keeps_its_number() {
    // Page 1 of the counters begins with site 32, page 1,024 with site 32,768.
    let shared = Shared::new(1, STACKS_MAX as u32, LINES, "site 0 33 1 11\nsite 0 32769 2 22\nsite 0 65535 3 33");
    check_sites(
        &shared,
        &[
            "33: allocated 1/11 freed 0/0 late 0/0 live 0/0 expired 0/0",
            "32769: allocated 2/22 freed 0/0 late 0/0 live 0/0 expired 0/0",
            "65535: allocated 3/33 freed 0/0 late 0/0 live 0/0 expired 0/0",
        ],
    );
}

#[test]
fn a_block_whose_free_went_unseen_counts_as_freed() {
    let shared = Shared::new(1, 2, LINES, "site 0 1 10 1000 4 400 0 0 0 3 2 200 300");
    check_sites(&shared, &["1: allocated 10/1000 freed 7/700 late 2/200 live 0/0 expired 0/0"]);
}

#[test]
fn only_threads_and_stacks_that_were_given_out_are_read() {
    let entries = "thread 0 1\nthread 1 10\nthread 2 100\nsite 0 1 1 1\nsite 1 1 1 1\nsite 2 1 1 1\nsite 0 2 9 9";
    let shared = Shared::new(2, 2, LINES, entries);
    check_sites(&shared, &["1: allocated 2/2 freed 0/0 late 0/0 live 0/0 expired 0/0"]);
    assert_eq!(shared.snapshot().coverage.allocations, 11);
    assert_eq!(shared.snapshot().coverage.threads, 2);
}

#[test]
fn numbers_beyond_the_tables_read_no_further_than_the_tables() {
    let shared = Shared::new(u32::MAX, u32::MAX, LINES, "site 0 1 1 1");
    assert_eq!(shared.snapshot().coverage.threads, THREADS_MAX as u32);
    check_sites(&shared, &["1: allocated 1/1 freed 0/0 late 0/0 live 0/0 expired 0/0"]);
}

#[test]
fn counters_beyond_what_any_thread_can_count_are_left_out_and_counted() {
    let (count, bytes) = (COUNT_MAX, BYTES_MAX);
    let most = format!("site 0 1 {} {} 1 1", count - 1, bytes - 1);
    let shared = Shared::new(2, 2, LINES, &format!("{most}\nsite 1 1 {count} 5\nthread 1 {count} 1"));
    let sums = format!("1: allocated {}/{} freed 1/1 late 0/0 live 0/0 expired 0/0", count - 1, bytes - 1);
    check_sites(&shared, &[&sums]);
    let Snapshot { coverage, losses, .. } = shared.snapshot();
    assert_eq!((losses.entries_corrupt, coverage.frees), (2, 0), "neither the counters nor the figures of thread 1");
    for word in ["5 5 0 0 0 0 0 0 {} 0", "5 5 {} 0", "5 {} 1 1"] {
        let word = word.replace("{}", &u64::MAX.to_string());
        assert_eq!(
            Shared::new(1, 2, LINES, &format!("site 0 1 {word}")).snapshot().losses.entries_corrupt,
            1,
            "{word}"
        );
    }
}

#[test]
fn figures_of_threads_go_where_they_belong() {
    let shared = Shared::new(2, 2, LINES, "thread 0 1 2 3 4 6 7\nthread 1 100 200 300 400 600 700");
    shared.control.threads.refused.store(10_000, Relaxed);
    // Calls of thread 1 that were counted in advance.
    shared.put_figure(PLACES[1], core::mem::offset_of!(ThreadFigures, allocations_left), 30);
    shared.put_figure(PLACES[1], core::mem::offset_of!(ThreadFigures, frees_left), 60);
    let Snapshot { coverage, losses, .. } = shared.snapshot();
    assert_eq!((coverage.allocations, coverage.frees, coverage.frees_of_older), (71, 142, 303));
    assert_eq!((losses.blocks_unrecorded, losses.stacks_cut, losses.stacks_broken), (10_404, 606, 707));
    assert_eq!(losses.entries_corrupt, 0);
}

#[test]
fn stack_zero_is_a_loss_and_no_site() {
    let shared = Shared::new(1, 2, LINES, "site 0 0 8 80\nsite 0 1 1 1\nthread 0 0 0 0 5");
    check_sites(&shared, &["1: allocated 1/1 freed 0/0 late 0/0 live 0/0 expired 0/0"]);
    assert_eq!(shared.snapshot().losses.blocks_unrecorded, 13);
}

#[test]
fn live_blocks_are_counted_and_old_ones_expire() {
    let old = EXPIRE * 2;
    let entries = format!(
        "site 0 1 3 60\nsite 0 2 1 5\nblock 0 1 10 {old}\nblock 1 1 20 0\nblock 9000 1 30 {old}\ncell 77 2 5 0"
    );
    let shared = Shared::new(1, 3, LINES, &entries);
    check_sites(
        &shared,
        &[
            "1: allocated 3/60 freed 0/0 late 0/0 live 3/60 expired 2/40",
            "2: allocated 1/5 freed 0/0 late 0/0 live 1/5 expired 0/0",
        ],
    );
    assert_eq!(shared.snapshot().losses.entries_corrupt, 0);
}

#[test]
fn no_block_grows_older_once_the_recording_has_ended() {
    let half = EXPIRE / 2;
    let shared = Shared::new(1, 2, LINES, &format!("site 0 1 2 20\nblock 0 1 10 {half}\nblock 1 1 10 0"));
    for (after, expired) in [(0, 0), (half / 2, 0), (half + half / 2, 1), (2 * EXPIRE, 2)] {
        let how = How { ended: Some(shared.now + after), ..HOW };
        let (found, _) = snapshot(&shared.file, &shared.control, &Ticks::begin(), how).unwrap();
        assert_eq!(found.sites[0].expired.count, expired, "{after} ticks later");
    }
}

#[test]
fn a_block_expires_at_the_very_tick() {
    let mut sum = Sum::default();
    let block = |birth| Block::new(0, 8, 1, Moment::new(birth), 0);
    for (birth, age) in [(70, 99), (50, 100), (60, 101)] {
        sum.add_live(block(birth), age, 100);
    }
    assert_eq!((sum.live.count, sum.expired.count, sum.oldest), (3, 2, Some(101)));
}

#[test]
fn entries_that_make_no_sense_are_counted_as_corrupt() {
    // Stacks that were never given out, a block without birth, and a word without the mark of a block.
    let block = |stack, birth| Block::new(0, 8, stack, Moment::new(birth), 0).pack();
    let (Slot { first: unknown, second: birth }, Slot { first: unborn, second: zero }) =
        (block(2, 1 << 20), block(1, 0));
    let entries =
        format!("site 0 1 1 8\nraw 0 {unknown} {birth}\nraw 1 {unborn} {zero}\nraw 2 8 8\nblock 3 1 8 0\ncell 9 2 1 0");
    let shared = Shared::new(1, 2, LINES, &entries);
    check_sites(&shared, &["1: allocated 1/8 freed 0/0 late 0/0 live 1/8 expired 0/0"]);
    assert_eq!(shared.snapshot().losses.entries_corrupt, 3);
}

#[test]
fn only_lines_that_were_given_out_are_scanned() {
    let live = |lines| {
        let entries = "site 0 1 4 4\nblock 3 1 1 0\nblock 7 1 1 0\nblock 4095 1 1 0\nblock 4096 1 1 0\n\
            cell 1 1 1 0\ncell 7 1 1 0\ncell 8191 1 1 0\ncell 8192 1 1 0";
        Shared::new(1, 2, lines, entries).snapshot().sites[0].live.count
    };
    assert_eq!([live(0), live(1), live(2), live(1023), live(1024), live(1025)], [0, 3, 4, 4, 6, 8]);
    // The cursor is in the target's hands; the length of the file is not.
    assert_eq!(live(u32::MAX), 8);
}

#[test]
fn lifetimes_are_the_extremes_of_all_threads_and_the_mean() {
    let second = Ticks::begin().ticks(Duration::from_secs(1));
    let ticks = |tenths: u64| second / 10 * tenths;
    let entries = format!(
        "site 0 1 3 3 2 2 {} !{} {}\nsite 1 1 3 3 2 2 {} !{} {}\nsite 0 2 1 1",
        ticks(60),
        ticks(20),
        ticks(20),
        ticks(100),
        ticks(10),
        ticks(80)
    );
    let snapshot = Shared::new(2, 3, LINES, &entries).snapshot();
    let tenths = |duration: Duration| (duration.as_secs_f64() * 10.0).round() as u64;
    let Lifetimes { min, mean, max } = snapshot.sites[0].lifetimes.unwrap();
    assert_eq!([tenths(min), tenths(mean), tenths(max)], [10, 40, 90]);
    assert!(snapshot.sites[0].freed_late_longest.is_none(), "nothing was freed late");
    assert!(snapshot.sites[1].lifetimes.is_none(), "nothing was freed there");
}

#[test]
fn the_oldest_live_block_tells_the_age_of_its_site() {
    let second = Ticks::begin().ticks(Duration::from_secs(1));
    let entries =
        format!("site 0 1 3 3\nblock 0 1 1 {}\nblock 1 1 1 {}\nblock 2 1 1 0\nsite 0 2 1 1", second, 3 * second);
    let snapshot = Shared::new(1, 3, LINES, &entries).snapshot();
    let oldest = snapshot.sites[0].oldest_live.unwrap().as_secs_f64();
    assert!((2.9..5.0).contains(&oldest), "{oldest} s");
    assert_eq!(snapshot.sites[1].oldest_live, None);
}

#[test]
fn memory_in_the_target_is_what_the_file_occupies_not_its_length() {
    let shared = Shared::new(1, 2, LINES, "site 0 1 1 1\nblock 0 1 1 0");
    let Bytes(bytes) = shared.snapshot().memory_in_target;
    assert!((8192..1 << 20).contains(&bytes), "{bytes} bytes");
}

#[test]
fn a_file_that_is_too_short_is_an_error_and_no_zero() {
    let shared = Shared::new(1, 2, LINES, "");
    shared.file.file().set_len(regions::RECORDS.at).unwrap();
    assert!(snapshot(&shared.file, &shared.control, &Ticks::begin(), HOW).is_err());
}

/// Whether any thread is inside a hook, by its guard.
#[track_caller]
fn check_busy(threads: u32, entries: &str, busy: bool) {
    let shared = Shared::new(threads, 2, LINES, entries);
    assert_eq!(!guards(&shared.file, &shared.control).is_empty(), busy, "{threads} threads, {entries:?}");
}

#[test]
fn a_thread_inside_a_hook_is_known_by_its_guard() {
    check_busy(2, "", false);
    check_busy(2, "thread 0 1 1 1 1 1 1", false);
    check_busy(2, "thread 0 0 0 0 0 0 0 1", true);
    check_busy(2, "thread 1 0 0 0 0 0 0 1", true);
    check_busy(1, "thread 1 0 0 0 0 0 0 1", false);
    check_busy(0, "thread 0 0 0 0 0 0 0 1", false);
}

/// The frames as `address trust`, of one stack among eight.
#[track_caller]
fn check_stack(id: u32, entries: &str, expected: Option<&str>) {
    let shared = Shared::new(1, 8, LINES, entries);
    let found = stack(&shared.file, &shared.control, StackId(id)).map(|frames| {
        let frames: Vec<String> = frames.iter().map(|(address, trust)| format!("{:x} {trust:?}", address.0)).collect();
        frames.join(", ")
    });
    assert_eq!(found.as_deref(), expected, "stack {id} of {entries:?}");
}

#[test]
fn a_stack_is_its_frames_with_how_they_were_found() {
    let (table, pointer) = (1_u64 << 62 | 0x2000, 2_u64 << 62 | 0x3000);
    let frames = format!("frame 5 4096\nframe 6 {table}\nframe 7 {pointer}");
    check_stack(3, &format!("stack 3 5 3\n{frames}"), Some("1000 Caller, 2000 UnwindTable, 3000 FramePointer"));
    check_stack(7, &format!("stack 7 6 1\n{frames}"), Some("2000 UnwindTable"));
}

#[test]
fn a_stack_that_does_not_exist_has_no_frames() {
    check_stack(0, "stack 0 0 1\nframe 0 1", None);
    check_stack(8, "stack 8 0 1\nframe 0 1", None);
    check_stack(3, "", None);
    check_stack(3, "stack 3 0 0\nframe 0 1", None);
}

#[test]
fn a_stack_out_of_bounds_has_no_frames() {
    let last = (STACKS_MAX * FRAMES_MAX - 1) as u64;
    check_stack(3, &format!("stack 3 {last} 1\nframe {last} 9"), Some("9 Caller"));
    check_stack(3, &format!("stack 3 {last} 2"), None);
    check_stack(3, &format!("stack 3 {} 1", u32::MAX), None);
    check_stack(3, &format!("stack 3 0 {}", FRAMES_MAX + 1), None);
    check_stack(3, &format!("stack 3 0 {}", u32::MAX), None);
}

/// A block whose free went unseen has no lifetime, and must not make those of the others look shorter.
#[test]
fn blocks_without_a_lifetime_do_not_shorten_the_mean() {
    let second = Ticks::begin().ticks(Duration::from_secs(1));
    let entries = format!("site 0 1 9 9 2 2 {} !{second} {} 7 0 0 7", 4 * second, 2 * second);
    let snapshot = Shared::new(1, 2, LINES, &entries).snapshot();
    let Lifetimes { min, mean, max } = snapshot.sites[0].lifetimes.unwrap();
    assert_eq!([min, mean, max].map(|life| life.as_secs_f64().round() as u64), [1, 2, 3]);
    assert_eq!(tally(snapshot.sites[0].freed), "9/9");
}

/// The words of the counters of one sampled block: allocated, freed and late ones by their number.
fn sampled(size: u64, numbers: [u64; 3]) -> String {
    let weight = wire::weigh(size, RATE);
    let one = [1, weight.blocks, weight.bytes, weight.blocks_variance, weight.bytes_variance];
    let words = numbers.into_iter().flat_map(|number| one.map(|word| (word * number).to_string()));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn counted_and_sampled_blocks_of_a_site_add_up() {
    let old = EXPIRE * 2;
    let entries = format!(
        "site 0 1 10 10230 4 4092\nsampled 0 1 {}\nsampled 1 1 {}\nblock 0 1 1023 0\nsample 1 1 1023 {old}",
        sampled(1023, [3, 1, 0]),
        sampled(1023, [1, 1, 1]),
    );
    let shared = Shared::new(2, 3, LINES, &entries);
    // A block of 1 KiB stands for 512.5 of them. Two of the four were freed, and one that is live is old.
    let expected = "1: allocated 2060/2107382 freed 1029/1052668 late 513/524288 live 514/525311 expired 513/524288";
    check_sites(&shared, &[expected]);
    let site = &shared.snapshot().sites[0];
    let errors = [site.allocated, site.freed, site.live, site.expired].map(|tally| tally.count_error());
    // 1.96 x 512 x the root of the number of samples and three more; slightly less where blocks were counted too.
    assert_eq!(errors, [2650, 2239, 2003, 2006]);
    assert!(!shared.snapshot().sites[0].live.variance.eq(&Variance::default()));
}

#[test]
fn a_site_that_was_only_sampled_is_a_site_with_lifetimes() {
    let second = Ticks::begin().ticks(Duration::from_secs(1));
    let entries = format!(
        "sampled 0 2 {} 0\nsite 0 2 0 0 0 0 {} !{} {}",
        sampled(100, [4, 2, 0]),
        4 * second,
        second,
        2 * second
    );
    let snapshot = Shared::new(1, 3, LINES, &entries).snapshot();
    assert_eq!(snapshot.sites.len(), 1);
    let Lifetimes { min, mean, max } = snapshot.sites[0].lifetimes.unwrap();
    assert_eq!([min, mean, max].map(|life| life.as_secs_f64().round() as u64), [1, 2, 3]);
}

#[test]
fn a_block_of_a_rate_that_was_never_used_is_corrupt() {
    let block = Block::new(0, 8, 1, Moment::new(1 << 20), RATE + 1).pack();
    let shared = Shared::new(1, 2, 1, &format!("site 0 1 1 8\nraw 3 {} {}", block.first, block.second));
    assert_eq!(shared.snapshot().losses.entries_corrupt, 1);
}

#[test]
fn a_record_with_the_number_of_another_thread_is_counted_once() {
    let shared = Shared::new(2, 2, LINES, "thread 0 5\nthread 1 7\nsite 0 1 1 1\nsite 1 1 1 1");
    shared.put_figure(PLACES[0], NUMBER_AT, 9 << 32);
    assert_eq!(shared.snapshot().coverage.allocations, 7);
    check_sites(&shared, &["1: allocated 2/2 freed 0/0 late 0/0 live 0/0 expired 0/0"]);
}
