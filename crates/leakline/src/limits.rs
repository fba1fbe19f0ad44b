//! The bounds of the command's own options and loops, each once.
//!
//! Owns: the numbers. Must not know: who crosses them; an option beyond its bound is refused by `flags`, with the bound named.

use std::time::Duration;

/// No window, threshold or beat is longer: a typing error such as `--for 99999999999` must not become a silent "for ever".
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Below this the sampler would measure mostly itself.
pub(crate) const BEAT_MIN: Duration = Duration::from_millis(100);
/// A threshold below a millisecond would call every block expired, since blocks are scanned at a beat.
pub(crate) const EXPIRE_MIN: Duration = Duration::from_millis(1);
/// Frames of one stack; the tables in the target have room for no more.
pub(crate) const DEPTH_MAX: u16 = 128;
/// Sites of one session; the tables in the target have room for no more.
pub(crate) const SITES_MAX: u32 = 65_536;
/// The greatest number that the kernel's type for processes holds.
pub(crate) const PID_MAX: u32 = i32::MAX as u32;
/// Rows of a ranking; a table that is longer helps nobody and a screen holds fewer.
pub(crate) const ROWS_MAX: usize = 10_000;
/// Rows of each table of an inspection, where nobody asks for more.
pub(crate) const ROWS_SHOWN: usize = 10;
/// Samples over which growth is judged between two looks, unless they would come too thick or too thin.
pub(crate) const GROWTH_BEATS: u32 = 120;
pub(crate) const GROWTH_BEAT_MAX: Duration = Duration::from_secs(5);
/// Suspects that one hunt attaches to, so that its length stays foreseeable.
pub(crate) const SUSPECTS_MAX: usize = 16;
/// Processes that `--attach auto` attaches to.
pub(crate) const SUSPECTS_AUTO: usize = 1;
/// How often the screen and the keys are looked at while a terminal program runs: fast enough to feel immediate, and
/// so slow that it costs less than 0.1 % of a core.
pub(crate) const KEY_SLICE: Duration = Duration::from_millis(100);
/// How often an attached target is read; expiry is noticed at most this much late.
pub(crate) const ATTACH_BEAT: Duration = Duration::from_millis(500);
/// How often it is read where the threshold is shorter than a beat, and whether the target still lives is asked.
pub(crate) const ATTACH_BEAT_MIN: Duration = Duration::from_millis(50);
/// How long the summary waits for names that are still being looked up.
pub(crate) const NAMES_PATIENCE: Duration = Duration::from_secs(20);
/// The same while a screen is shown, which stands still meanwhile.
pub(crate) const NAMES_PATIENCE_LIVE: Duration = Duration::from_secs(1);
/// How long one look at the memory of a running process may take; at the rate at which it is read that is 10 GiB.
pub(crate) const SURVEY_MAX: Duration = Duration::from_secs(20);
/// How long after the first look the second one comes: pointers that were on their way have arrived.
pub(crate) const SURVEY_GAP: Duration = Duration::from_millis(500);
/// After so long it is said how far the look has come, and how often.
pub(crate) const SURVEY_PROGRESS: Duration = Duration::from_secs(1);
/// How often `run` looks after its program while nothing happens.
pub(crate) const RUN_SLICE: Duration = Duration::from_millis(20);
/// How long a child may take until it can be attached to: right after `exec` its libraries are not there yet.
pub(crate) const JOIN_PATIENCE: Duration = Duration::from_secs(3);
/// Children that are watched at once: each costs a session of its own.
pub(crate) const CHILDREN_MAX: usize = 256;
/// A file of suppressions is a page long; one of this size is another file.
pub(crate) const SUPPRESSIONS_BYTES: u64 = 1 << 20;
/// Width of tables where the output is not a terminal and `COLUMNS` says nothing.
pub(crate) const WIDTH_PIPED: usize = 160;
/// A table in fewer columns than this would show nothing but cut-off titles.
pub(crate) const COLUMNS_MIN: usize = 40;
/// `COLUMNS` beyond this is a mistake, and each line would be padded to it.
pub(crate) const COLUMNS_MAX: usize = 1000;
/// How long an event waits for the names of its stack before it is printed with addresses alone.
pub(crate) const EVENT_PATIENCE: Duration = Duration::from_secs(3);
/// Events that wait for names at one moment; beyond it the oldest is printed without names.
pub(crate) const EVENTS_WAITING_MAX: usize = 1024;

const _: () = assert!(SUSPECTS_AUTO <= SUSPECTS_MAX, "auto must not attach to more than a user may ask for");
const _: () = assert!(ATTACH_BEAT_MIN.as_millis() <= ATTACH_BEAT.as_millis(), "the shortest beat is the shortest");
/// A configuration file is a page long; one of this size is another file.
pub(crate) const SETTINGS_BYTES: u64 = 256 << 10;
/// Beats over which it is judged whether sampling keeps its pace: one minute at the usual beat.
pub(crate) const PACE_BEATS: usize = 12;
/// The log of a recorder in the background is begun anew beyond this size; the one before is kept.
pub(crate) const LOG_BYTES: u64 = 1 << 20;
/// What is read of a state file or of the words of a process that we started.
pub(crate) const WORDS_BYTES: u64 = 64 << 10;
/// How long `stop` waits for a recorder to seal its recording.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// How often it looks.
pub(crate) const STOP_SLICE: Duration = Duration::from_millis(20);
/// A recording that may have less could not hold two segments.
pub(crate) const ROOM_MIN: u64 = 8 << 20;
/// Points of one curve: more than a screen has columns, and each costs memory for every process of a recording.
pub(crate) const POINTS_MAX: usize = 720;
/// Points of all processes that are judged at once: 110 MB of memory, and a week of 300 processes and 10,000 short ones.
pub(crate) const POINTS_AT_ONCE: usize = 300_000;
/// Events that a report is made from; its views show the severe ones and as many others as fit.
pub(crate) const EVENTS_MAX: usize = 100_000;
/// A process with fewer samples is not judged: no trend could be told, and thousands of them come and go.
pub(crate) const JUDGED_BEATS_MIN: u64 = 4;
/// Curves in one plot on a terminal.
pub(crate) const PLOT_LINES: usize = 5;
/// What is kept of the words of a command on another machine.
pub(crate) const REMOTE_BYTES: u64 = 4 << 20;
/// Hosts that are asked at once.
pub(crate) const HOSTS_AT_ONCE: usize = 16;
/// Hosts of one command.
pub(crate) const HOSTS_MAX: usize = 1024;
/// Files of one recording that are fetched, and the length of one: what `recording` opens at most.
pub(crate) const SHIPPED_FILES: u64 = 100_000;
pub(crate) const SHIPPED_BYTES: u64 = 512 << 20;
/// How often a recorder judges growth for its alerts.
pub(crate) const JUDGE_EVERY: Duration = Duration::from_secs(60);
/// Alerts that wait for their delivery; more are counted.
pub(crate) const ALERTS_WAITING_MAX: usize = 256;
/// How often a delivery is tried, and the longest pause between two tries.
pub(crate) const DELIVERY_TRIES: u32 = 8;
pub(crate) const DELIVERY_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long a web server may take to accept and to answer.
pub(crate) const WEBHOOK_PATIENCE: Duration = Duration::from_secs(10);
/// How long a command for alerts may take.
pub(crate) const COMMAND_PATIENCE: Duration = Duration::from_secs(30);
/// How long the end of a recorder waits for deliveries.
pub(crate) const END_PATIENCE: Duration = Duration::from_secs(5);
/// Samples that are kept of a process that is followed: an hour at the usual beat.
pub(crate) const FOLLOWED_MAX: usize = 3600;
/// Open files of a recorder: it keeps at most half of what it may have, and 2,048.
pub(crate) const FILES_WANTED: u64 = 4096;
