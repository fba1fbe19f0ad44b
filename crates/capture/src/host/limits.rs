//! The bounds of sampling the machine, each once.
//!
//! Owns: the numbers. Must not know: who crosses them; whoever does counts it in `HostLosses`.

/// Bytes of `/proc/PID/status` that are read at first: on most machines a whole file has 1.5 KB.
pub(super) const STATUS_BUFFER: usize = 4 * 1024;
/// Bytes of any file of procfs at most. `status` lists up to 65,536 supplementary groups before its end.
pub(super) const FILE_MAX: usize = 1024 * 1024;
/// Bytes of the arguments that are kept; the rest is cut. Java and browsers have command lines of 10 KB.
pub(super) const ARGUMENTS_MAX: usize = 1024;
/// Users that are kept; directories with more are not in `/etc/passwd`.
pub(super) const USERS_MAX: usize = 65_536;
/// Processes that are kept at once: the kernel's own limit on most machines is 32,768, at most 4,194,304.
pub(super) const PROCESSES_MAX: usize = 32_768;
/// Open files that are kept at most. Reading an open `status` again costs 6 microseconds instead of 16 for open, read, close.
pub(super) const FILES_KEPT_MAX: usize = 2_048;
/// The share of the allowed open files that may be kept: the attach and the views need the rest.
pub(super) const FILES_KEPT_SHARE: usize = 2;
/// Beats after which what was left out (threads of the kernel, processes that do not pass the filter) is looked at again,
/// since its number may have been given to another process, or it may have executed another program.
pub(super) const LOOK_AGAIN_BEATS: u64 = 8;
/// Beats after which arguments, user and group of a process are read again: a process may move between groups, or
/// execute a program of the same name.
pub(super) const REFRESH_BEATS: u64 = 32;
/// Beats after which a recorder reads `status` of a process again though its `stat` says that nothing happened: pages that the kernel
/// takes from it, and those that it gives back in less than 10 ms, change the sizes there by too little to be shown.
pub(super) const STATUS_BEATS: u64 = 8;
/// Descriptors of one process that are counted one by one, on kernels that do not tell their number.
pub(super) const DESCRIPTORS_MAX: usize = 1_048_576;
/// Beats after which a process's score and, on old kernels, its descriptors are read again; between them the figure of the
/// last look stands. They cost more than the rest together and change slowly.
pub(super) const DETAIL_BEATS: u64 = 4;
/// Zombies that are kept with their parent; their number is counted in any case.
pub(super) const ZOMBIES_MAX: usize = 1_024;
/// Figures of one source at most: a machine with 4,000 control groups has 44,000.
pub(super) const FIGURES_MAX: usize = 65_536;
/// Control groups that are read: each costs four files.
pub(super) const GROUPS_MAX: usize = 1_024;
/// Entries of `/dev/shm` that are looked at.
pub(super) const SHARED_MAX: usize = 4_096;
/// Records of the kernel's log that are read at one beat; the rest waits for the next.
pub(super) const RECORDS_MAX: usize = 1_024;
/// Bytes of one record; the kernel never writes more at once.
pub(super) const RECORD_MAX: usize = 8 * 1024;
/// Messages of the kernel that are kept of one beat; an error that repeats itself must not fill a recording.
pub(super) const MESSAGES_MAX: usize = 64;
/// Bytes of `smaps` that are read at once: 800 for each of the 65,530 mappings that the kernel allows.
pub(super) const SMAPS_MAX: u64 = 64 * 1024 * 1024;
/// Mappings, descriptors and threads that an inspection lists each; more are counted.
pub(super) const LISTED_MAX: usize = 65_536;
/// A gap without permissions below a stack is a guard up to this size; larger ones are reserved for something else.
pub(super) const GUARD_MAX: u64 = 1024 * 1024;
/// Groups above a group that are asked for their limit.
pub(super) const GROUP_DEPTH_MAX: usize = 64;

const _: () = assert!(
    LOOK_AGAIN_BEATS.is_power_of_two() && REFRESH_BEATS.is_power_of_two() && STATUS_BEATS <= REFRESH_BEATS,
    "beats are masked"
);
