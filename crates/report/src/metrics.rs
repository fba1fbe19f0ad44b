//! Every figure that is shown: its name, unit, origin and meaning, said once.
//!
//! Owns: column titles, JSON keys and the texts of the manual page. Must not know: any value.

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes; the JSON key ends in `_bytes`.
    Bytes,
    /// Bytes per hour; the JSON key ends in `_per_hour_bytes`.
    BytesPerHour,
    /// A number of things per hour; the JSON key ends in `per_hour`.
    CountPerHour,
    /// Seconds with a fraction; the JSON key ends in `_seconds`.
    Seconds,
    /// A number of things.
    Count,
    /// Blocks and the bytes in them: `{"blocks": …, "bytes": …}`; estimates also have `blocks_error` and `bytes_error`, half of
    /// their 95 % interval.
    Blocks,
    /// A number between 0 and 1.
    Share,
    /// A number that names something and cannot be added up.
    Identifier,
    /// Words.
    Text,
}

/// One figure or word that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in JSON.
    pub key: &'static str,
    /// Its name above a column.
    pub title: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// Where it comes from.
    pub from: &'static str,
    /// What it means.
    pub means: &'static str,
}

/// Defines the metrics and the list of them, so that none can be left out of the list.
macro_rules! metrics {
    ($($name:ident = $key:literal, $title:literal, $unit:ident, $from:literal, $means:literal;)*) => {
        $(
            #[doc = $means]
            pub const $name: Metric =
                Metric { key: $key, title: $title, unit: Unit::$unit, from: $from, means: $means };
        )*
        /// All of them, in the order of the manual page.
        pub const ALL: &[Metric] = &[$($name),*];
    };
}

// The machine and its processes.
metrics! {
    // Which process a row is about.
    RANK = "rank", "#", Identifier, "leakline", "Place in the ranking, from 1, the worst first.";
    PID = "pid", "PID", Identifier, "/proc", "Process number.";
    STARTED = "started_ticks", "STARTED", Identifier, "/proc/PID/stat, field 22",
        "When the process started, in clock ticks since boot; with the pid it names one process for good.";
    COMMAND = "command", "COMMAND", Text, "/proc/PID/stat, field 2",
        "Name of the process as the kernel keeps it.";
    ARGUMENTS = "arguments", "ARGUMENTS", Text, "/proc/PID/cmdline",
        "Arguments of the process, joined by spaces.";
    UID = "uid", "UID", Identifier, "/proc/PID/status Uid", "Effective user number.";
    USER = "user", "USER", Text, "the user database", "Name of the effective user.";
    CGROUP = "cgroup", "CGROUP", Text, "/proc/PID/cgroup", "Control group that the memory is charged to.";
    CONTAINER = "container", "CONTAINER", Text, "/proc/PID/cgroup",
        "Short id of the container, where the group names one.";
    PLACE = "place", "WHERE", Text, "/proc/PID/cgroup", "The container, or the last part of the control group.";
    // What its memory consists of. RSS alone would call a process smaller that was swapped out, and larger that has read
    // a file; therefore the kinds are shown apart and growth is judged by PRIVATE.
    RSS = "rss_bytes", "RSS", Bytes, "/proc/PID/status RssAnon + RssFile + RssShmem",
        "Memory of the process that is in RAM.";
    ANON = "anon_bytes", "ANON", Bytes, "/proc/PID/status RssAnon",
        "Private memory that was touched and is in RAM.";
    FILE = "file_bytes", "FILE", Bytes, "/proc/PID/status RssFile", "Mapped files in RAM.";
    SHMEM = "shmem_bytes", "SHMEM", Bytes, "/proc/PID/status RssShmem", "Shared memory and tmpfs pages in RAM.";
    SWAP = "swap_bytes", "SWAP", Bytes, "/proc/PID/status VmSwap", "Private memory in swap.";
    PRIVATE = "private_bytes", "PRIVATE", Bytes, "/proc/PID/status RssAnon + VmSwap",
        "Private memory whether in RAM or in swap: what a leak makes grow.";
    PAGE_TABLES = "page_tables_bytes", "TABLES", Bytes, "/proc/PID/status VmPTE", "Page tables of the process.";
    THREADS = "threads", "THREADS", Count, "/proc/PID/status Threads", "Threads of the process.";
    // What a recording keeps of each process besides.
    VIRTUAL_SIZE = "virtual_bytes", "VSZ", Bytes, "/proc/PID/status VmSize", "Address space that is mapped, touched or not.";
    DESCRIPTORS = "descriptors", "DESCRIPTORS", Count, "/proc/PID/fd", "Open descriptors.";
    DESCRIPTOR_LIMIT = "descriptor_limit", "FD LIMIT", Count, "/proc/PID/limits", "Soft limit of open descriptors.";
    MINOR_FAULTS = "minor_faults", "MINFLT", Count, "/proc/PID/stat, field 10",
        "Page faults that needed no disk, since the process started.";
    MAJOR_FAULTS = "major_faults", "MAJFLT", Count, "/proc/PID/stat, field 12",
        "Page faults that needed the disk, since the process started.";
    PROCESS_STATE = "process_state", "STATE", Text, "/proc/PID/stat, field 3",
        "State of the process: R runs, S sleeps, D waits for the disk, Z is a zombie.";
    OOM_SCORE = "oom_score", "OOM", Count, "/proc/PID/oom_score", "How soon the kernel would kill it for lack of memory.";
    CPU_TIME = "cpu_seconds", "CPU", Seconds, "/proc/PID/stat, fields 14 and 15", "Time on a processor since it started.";
    PARENT = "parent", "PARENT", Identifier, "/proc/PID/stat, field 4", "Process number of the parent.";
    PSS = "pss_bytes", "PSS", Bytes, "/proc/PID/smaps_rollup", "Memory in RAM, shared pages divided by their users.";
    USS = "uss_bytes", "USS", Bytes, "/proc/PID/smaps_rollup", "Memory in RAM that no other process shares.";
    // How it grows. An estimate is never shown without the interval that it lies in.
    GROWTH = "per_hour_bytes", "GROWTH/H", BytesPerHour, "Theil–Sen slope over the window",
        "Growth per hour; negative where it shrinks.";
    GROWTH_LOW = "low_per_hour_bytes", "LOW", BytesPerHour, "Theil–Sen slope over the window",
        "Lower end of the interval of the growth.";
    GROWTH_HIGH = "high_per_hour_bytes", "HIGH", BytesPerHour, "Theil–Sen slope over the window",
        "Upper end of the interval of the growth.";
    RECENT = "recent_per_hour_bytes", "NOW/H", BytesPerHour, "the last few samples",
        "Growth of private memory per hour over the last few samples.";
    INTERVAL = "interval", "INTERVAL", Text, "Theil–Sen slope over the window",
        "Interval in which the growth per hour lies.";
    KIND = "kind", "KIND", Text, "/proc/PID/status", "Which memory grows most: anon, file, shmem or swap.";
    CONFIDENCE = "confidence", "CONF", Share, "Mann–Kendall test over the window",
        "How certain the judgement is.";
    EXHAUSTION = "after_seconds", "FULL IN", Seconds, "growth and MemAvailable",
        "Time until memory runs out if it goes on like this.";
    EXHAUSTION_SOONEST = "soonest_seconds", "SOONEST", Seconds, "growth and MemAvailable",
        "The soonest time until memory runs out.";
    EXHAUSTION_LATEST = "latest_seconds", "LATEST", Seconds, "growth and MemAvailable",
        "The latest time until memory runs out.";
    VERDICT = "verdict", "VERDICT", Text, "leakline", "What the figures come to.";
    HISTORY = "history", "HISTORY", Text, "/proc/PID/status RssAnon + VmSwap", "Private memory over time.";
    // How much was looked at: what a verdict rests on.
    AT = "at_seconds", "AT", Seconds, "a clock that does not jump",
        "Time since the sampler started, or since the hooks became active.";
    WINDOW = "window_seconds", "WINDOW", Seconds, "a clock that does not jump",
        "How long the machine was watched.";
    BEATS = "beats", "BEATS", Count, "leakline", "Samples taken.";
    PROCESSES = "processes_watched", "PROCESSES", Count, "/proc", "Processes watched.";
    VANISHED = "processes_vanished", "VANISHED", Count, "/proc",
        "Processes that vanished while they were read.";
    MEMORY_TOTAL = "memory_total_bytes", "TOTAL", Bytes, "/proc/meminfo MemTotal", "Memory of the machine.";
    MEMORY_AVAILABLE = "memory_available_bytes", "AVAILABLE", Bytes, "/proc/meminfo MemAvailable",
        "Memory that programs can still get.";
    MEMORY_USED = "memory_used_bytes", "USED", Bytes, "/proc/meminfo MemTotal − MemAvailable",
        "Memory that programs can no longer get.";
    MEMORY_FREE = "memory_free_bytes", "FREE", Bytes, "/proc/meminfo MemFree", "Memory that is used for nothing at all.";
    BUFFERS = "buffers_bytes", "BUFFERS", Bytes, "/proc/meminfo Buffers", "Cached blocks of devices.";
    CACHED = "cached_bytes", "CACHED", Bytes, "/proc/meminfo Cached", "Cached files, shared memory among them.";
    SHARED = "shared_bytes", "SHARED", Bytes, "/proc/meminfo Shmem", "Shared memory and tmpfs.";
    SLAB = "slab_bytes", "SLAB", Bytes, "/proc/meminfo Slab", "Structures of the kernel.";
    SWAP_USED = "swap_used_bytes", "SWAP", Bytes, "/proc/meminfo SwapTotal − SwapFree", "Memory moved out to swap.";
    PRESSURE = "pressure", "PRESSURE", Share, "/proc/pressure avg10",
        "Share of the last 10 s in which some or all tasks waited for this.";
    // A recording.
    FIGURE = "figure", "FIGURE", Text, "leakline", "What a row is about.";
    FIRST = "first_value", "FIRST", Count, "the recording", "The first value that is known.";
    LAST = "last_value", "LAST", Count, "the recording", "The last value that is known.";
    LEAST = "least_value", "LEAST", Count, "the recording", "The least value.";
    GREATEST = "greatest_value", "GREATEST", Count, "the recording", "The greatest value.";
    CURVE = "curve", "CURVE", Text, "the recording", "The values over time.";
    UNIX = "unix_seconds", "AT", Seconds, "the wall clock", "Seconds since 1970-01-01 00:00 UTC.";
    SINCE_BOOT = "since_boot_seconds", "SINCE BOOT", Seconds, "a clock that does not jump",
        "Seconds since the machine was booted, suspends counted.";
    BALANCE_PART = "used_bytes", "USED FOR", Bytes, "/proc/meminfo and the processes",
        "Memory that is used for this.";
    UNEXPLAINED = "unexplained_bytes", "UNEXPLAINED", Bytes, "MemTotal − everything that is known",
        "Memory that nothing explains; negative where parts overlap.";
    // Comparisons, and what is read once of a process or of the machine.
    NUMBER = "number", "COUNT", Count, "leakline", "How many there are.";
    BEFORE = "before_bytes", "BEFORE", Bytes, "the first recording or look", "Its size at the first moment.";
    AFTER = "after_bytes", "AFTER", Bytes, "the second recording or look", "Its size at the second moment.";
    CHANGE = "change_bytes", "CHANGE", Bytes, "both recordings or looks", "By how much it changed; negative where it shrank.";
    NAME = "name", "NAME", Text, "the kernel", "What it is called.";
    ADDRESS = "address", "ADDRESS", Text, "/proc/PID/smaps", "Where the mapping begins.";
    SIZE = "size_bytes", "SIZE", Bytes, "the kernel", "Its size, touched or not.";
    HUGE = "huge_bytes", "HUGE", Bytes, "/proc/PID/smaps AnonHugePages, …PmdMapped, …Hugetlb", "Memory in huge pages.";
    DIRTY = "dirty_bytes", "DIRTY", Bytes, "/proc/PID/smaps Private_Dirty + Shared_Dirty",
        "Memory that was written and is in RAM.";
    PERMISSIONS = "permissions", "MODE", Text, "/proc/PID/smaps", "Whether it may be read, written, executed, is shared.";
    MAPPING_KIND = "mapping_kind", "KIND", Text, "/proc/PID/smaps",
        "What the mapping is: heap, stack, anonymous, file, shared.";
    PATH = "path", "MAPPING", Text, "/proc/PID/smaps", "The file that is mapped, or the kernel's name for the mapping.";
    DESCRIPTOR_KIND = "descriptor_kind", "TYPE", Text, "/proc/PID/fd", "What the descriptors are open on.";
    EXAMPLE = "example", "EXAMPLE", Text, "/proc/PID/fd", "One of them.";
    SOCKET_STATE = "socket_state", "STATE", Text, "/proc/PID/net", "What the sockets do.";
    PARTNER = "partner", "PARTNER", Text, "/proc/PID/net", "The machine at the other end.";
    SOCKET_LOCAL = "local", "LOCAL END", Text, "/proc/PID/net", "This end of one of them.";
    SOCKET_REMOTE = "remote", "OTHER END", Text, "/proc/PID/net", "The other end of one of them.";
    STACK_SIZE = "stack_bytes", "STACKS", Bytes, "/proc/PID/task/ID/syscall, /proc/PID/smaps",
        "Addresses that are set apart for the stacks of these threads; not known of a thread that ran meanwhile.";
    STACK_RSS = "stack_rss_bytes", "IN RAM", Bytes, "/proc/PID/task/ID/syscall, /proc/PID/smaps",
        "What of these stacks is in RAM.";
    SOFT_LIMIT = "soft_limit", "SOFT", Count, "/proc/PID/limits", "The limit that holds now.";
    HARD_LIMIT = "hard_limit", "HARD", Count, "/proc/PID/limits", "The limit up to which the soft one may be raised.";
    OWNER = "owner", "OWNER", Text, "the kernel", "User that it belongs to.";
    ATTACHES = "attaches", "ATTACHES", Count, "/proc/sysvipc/shm", "How many processes have it mapped.";
    SEGMENT = "segment", "SEGMENT", Identifier, "the kernel", "Number of the file, or id of the segment of System V.";
    THREAD = "thread", "THREAD", Identifier, "/proc/PID/task", "Number of one thread of this name and state.";
    PARENT_COMMAND = "parent_command", "PARENT'S NAME", Text, "/proc/PID/stat, field 2", "Name of the parent.";
    TARGET = "target", "OPEN ON", Text, "/proc/PID/fd", "What a descriptor is open on.";
    USED_SHARE = "used_share", "USED", Share, "the kernel", "Which part of the limit is used.";
    CREATOR = "creator", "CREATOR", Identifier, "/proc/sysvipc/shm", "Process that made it.";
    OBJECTS = "objects", "OBJECTS", Count, "/proc/slabinfo", "Objects that there is room for.";
    OBJECTS_ACTIVE = "objects_active", "ACTIVE", Count, "/proc/slabinfo", "Objects in use.";
    ZONE = "zone", "ZONE", Text, "/proc/buddyinfo", "Node and zone of the memory.";
    UNUSABLE = "unusable_share", "NO HUGE PAGE", Share, "/proc/buddyinfo",
        "Part of the free memory of which no huge page can be made without moving others.";
    OPEN_FILES = "open_files", "OPEN FILES", Count, "/proc/sys/fs/file-nr", "Open files of all processes together.";
    OPEN_FILES_LIMIT = "open_files_limit", "FILE LIMIT", Count, "/proc/sys/fs/file-nr", "How many the kernel allows.";
    ZOMBIES = "zombies", "ZOMBIES", Count, "/proc/PID/stat, field 3",
        "Processes that ended and that their parent has not waited for.";
    UPTIME = "uptime_seconds", "UPTIME", Seconds, "/proc/uptime", "Time since boot.";
    LOAD = "load", "LOAD", Text, "/proc/loadavg", "Tasks that ran or waited, over 1, 5 and 15 minutes.";
    PRESSURE_SOME = "pressure_some", "SOME WAIT", Share, "/proc/pressure/memory some avg60",
        "Part of the last minute in which some task waited for memory.";
    PRESSURE_FULL = "pressure_full", "ALL WAIT", Share, "/proc/pressure/memory full avg60",
        "Part of the last minute in which all tasks waited for memory.";
    GROUP_PRESSURE = "group_pressure", "GROUP WAITS", Share, "memory.pressure some avg60",
        "Part of the last minute in which some task of the control group waited for memory.";
    GROUP_USAGE = "group_usage_bytes", "GROUP USES", Bytes, "memory.current", "Memory that is charged to the control group.";
    GROUP_LIMIT = "group_limit_bytes", "GROUP LIMIT", Bytes, "memory.max", "Memory that the control group may have.";
    GROUP_ROOM = "group_room_bytes", "GROUP ROOM", Bytes, "memory.max of the group and those above",
        "What the control group may still take, its cache given up.";
    GROUP_KERNEL = "group_kernel_bytes", "KERNEL", Bytes, "memory.stat kernel", "Memory of the kernel that is charged to it.";
    OOM_KILLS = "oom_kills", "OOM KILLS", Count, "memory.events oom_kill", "Processes of it that were killed for lack of memory.";
    // Growth between two looks.
    NUMBER_BEFORE = "number_before", "BEFORE", Count, "the first look", "How many there were.";
    NUMBER_AFTER = "number_after", "AFTER", Count, "the second look", "How many there are.";
    NUMBER_CHANGE = "number_change", "CHANGE", Count, "both looks", "How many there are more; negative where there are fewer.";
    NUMBER_PER_HOUR = "number_per_hour", "GROWTH/H", Count, "both looks", "How many there are more per hour at this pace.";
    PERIOD = "period_seconds", "PERIOD", Seconds, "a clock that does not jump", "Time between the two looks.";
    CHANGE_PER_HOUR = "change_per_hour_bytes", "GROWTH/H", BytesPerHour, "both looks", "Growth per hour at this pace.";
    ROWS_LEFT_OUT = "rows_left_out", "LEFT OUT", Count, "leakline", "Rows that exist but are not listed.";
    // What `detach` took out of a process.
    HOOKS_REMOVED = "hooks_removed", "HOOKS", Count, "the target", "Jumps that were put back to the code that was there.";
    CODE_REMOVED = "code_removed_bytes", "CODE", Bytes, "/proc/PID/maps", "Code of the agent that was unmapped.";
    SHARED_REMOVED = "shared_removed_bytes", "SHARED", Bytes, "/proc/PID/maps",
        "Address space of the shared memory that was unmapped; little of it was ever memory.";
    FILES_CLOSED = "files_closed", "FILES", Count, "/proc/PID/fd", "Descriptors of the shared memory that were closed.";
    LEFT_BECAUSE = "left_because", "LEFT", Text, "leakline", "What is left in the process, and why.";
    // A recorder.
    RECORDING = "recording", "RECORDING", Text, "the command line", "Where the recording is.";
    FROM = "from", "FROM", Text, "the recording", "When its first sample was taken.";
    TO = "to", "TO", Text, "the recording", "When its last sample was taken.";
    HOSTS = "hosts", "HOSTS", Text, "the recording", "Machines that were recorded.";
    SAMPLES = "samples", "SAMPLES", Count, "the recording", "Samples that it has.";
    BOOTS = "boots", "BOOTS", Count, "the recording", "Boots that it covers.";
    SEGMENTS = "segments", "SEGMENTS", Count, "the recording", "Files that the samples are in.";
    FORMAT = "format_version", "FORMAT", Identifier, "the recording", "Newest version of the format in it.";
    DAMAGED_BLOCKS = "damaged_blocks", "BAD BLOCKS", Count, "the recording", "Blocks that are not what was written.";
    DAMAGED = "damaged_bytes", "BAD BYTES", Bytes, "the recording", "What is in blocks that are not what was written.";
    DAMAGED_FILES = "damaged_files", "BAD FILES", Count, "the recording", "Files that cannot be read at all.";
    RECORDER_PID = "recorder_pid", "RECORDER", Identifier, "the lock of the recording", "Process that records now.";
    ENDED = "ended", "ENDED", Text, "the recorder", "How the last recorder ended.";
    TROUBLE = "trouble", "TROUBLE", Text, "the recorder", "Why a sample could not be kept, the last time.";
    GAPS = "gaps", "GAPS", Count, "the recording", "Stretches without samples.";
    LOST = "samples_lost", "LOST", Count, "the recorder", "Samples that could not be kept.";
    EVERY = "every_seconds", "EVERY", Seconds, "--every", "Time between two samples that is wanted.";
    KEPT = "kept_seconds", "KEPT", Seconds, "a clock that does not jump", "Time between two samples that is kept.";
    CPU_SHARE = "cpu_share", "CPU", Share, "/proc/PID/stat", "Share of one processor that it takes.";
    // An attached process and its sites.
    ALLOCATOR = "allocator", "ALLOCATOR", Text, "the symbols of the target", "Which allocator the target uses.";
    MODE = "mode", "MODE", Text, "leakline", "Which blocks are recorded: exact means all of them, sampled a part.";
    RATE = "rate_bytes", "RATE", Bytes, "--rate", "Mean distance in bytes between two sampled blocks.";
    OVERHEAD = "overhead", "COST", Share, "the hooks, by the time stamp counter",
        "Share of the target's processor time that the hooks take now.";
    OVERHEAD_EXACT = "overhead_exact", "COST IF EXACT", Share, "the hooks, by the time stamp counter",
        "The same if every block is recorded: measured in exact mode, else estimated from it.";
    OVERHEAD_OF_PROCESSOR = "overhead_of_processor", "COST OF A PROCESSOR", Share, "the hooks, by the time stamp counter",
        "Share of one processor that the hooks take now.";
    MAX_OVERHEAD = "max_overhead", "LIMIT", Share, "--max-overhead", "Greatest cost at which auto mode records every block.";
    MODE_CHANGES_FORGOTTEN = "mode_changes_forgotten", "EARLIER", Count, "leakline",
        "Changes of the mode before those that are listed.";
    BLOCKS_SAMPLED = "blocks_sampled", "SAMPLED", Count, "the hooks", "Blocks that were sampled.";
    STATE = "state", "STATE", Text, "leakline", "What became of the target.";
    EXPIRE = "expire_seconds", "EXPIRE", Seconds, "--expire", "Age from which a live block counts as expired.";
    ACTIVE_AFTER = "active_after_seconds", "ACTIVE AFTER", Seconds, "a clock that does not jump",
        "From the command until the hooks were active.";
    ATTACH_STOP = "attach_stop_seconds", "ATTACH STOP", Seconds, "a clock that does not jump",
        "Longest stop of any thread of the target at the attach.";
    DETACH_STOP = "detach_stop_seconds", "DETACH STOP", Seconds, "a clock that does not jump",
        "Longest stop of any thread of the target at the detach.";
    ELAPSED = "elapsed_seconds", "ELAPSED", Seconds, "a clock that does not jump",
        "Time since the hooks became active.";
    // What the hooks saw. Without these two "no leak" may not be said.
    ALLOCATIONS = "allocations", "ALLOCATIONS", Count, "the hooks", "Calls that allocated since the attach.";
    FREES = "frees", "FREES", Count, "the hooks", "Calls that freed since the attach; unknown once blocks were sampled.";
    FREES_OF_OLDER = "frees_of_older", "OF OLDER", Count, "the hooks",
        "Frees of blocks without a record, which are older than the attach.";
    CALLING_THREADS = "calling_threads", "THREADS", Count, "the hooks", "Threads that called the allocator.";
    PRIVATE_GROWTH = "private_growth_bytes", "PRIVATE GROWTH", Bytes, "/proc/PID/status RssAnon + VmSwap",
        "Growth of the target's private memory since the attach: the witness for what the hooks see.";
    // What was not recorded, by cause. These are written even when they are zero.
    BLOCKS_UNRECORDED = "blocks_unrecorded", "UNRECORDED", Count, "the hooks",
        "Blocks not recorded, since a table was full.";
    STACKS_CUT = "stacks_cut", "CUT", Count, "the hooks", "Stacks cut at the greatest depth.";
    STACKS_BROKEN = "stacks_broken", "BROKEN", Count, "the hooks",
        "Stacks that ended early for want of unwind information.";
    ENTRIES_CORRUPT = "entries_corrupt", "CORRUPT", Count, "the reader",
        "Entries of the shared memory that made no sense.";
    MEMORY_IN_TARGET = "memory_in_target_bytes", "IN TARGET", Bytes, "the mappings of the session",
        "Memory of the target that the session occupies.";
    MEMORY_MAX = "memory_max_bytes", "CAP", Bytes, "--max-memory", "How much memory the records may take in the target.";
    SITES_LEFT_OUT = "sites_left_out", "LEFT OUT", Count, "--top, --min-bytes",
        "Sites that exist but are not listed.";
    SITES = "sites_seen", "SITES", Count, "the hooks", "Sites that ever allocated.";
    SITES_LEAKING = "sites_leaking", "LEAKING", Count, "leakline", "Sites judged to leak.";
    HISTORIES_DROPPED = "site_histories_dropped", "DROPPED", Count, "leakline",
        "Sites judged by their counts alone, since too many histories would have to be kept.";
    LEAKING = "may_leak_at_leaking_sites", "MAY LEAK", Blocks, "the hooks",
        "Expired and live at the sites that are judged to leak.";
    // One site. All of it only covers blocks that were allocated after the attach.
    STACK = "stack", "STACK", Identifier, "leakline", "Names one stack within one session.";
    MAY_LEAK = "may_leak", "MAY LEAK", Blocks, "the hooks",
        "Blocks that are live and older than the threshold.";
    MAY_LEAK_BLOCKS = "may_leak_blocks", "BLOCKS", Count, "the hooks", "How many blocks may leak.";
    MAY_LEAK_BYTES = "may_leak_bytes", "MAY LEAK", Bytes, "the hooks", "How many bytes may leak.";
    LOST_BLOCKS = "lost", "LOST", Blocks, "the target's memory",
        "Expired blocks that nothing led to at two looks.";
    HELD = "held", "HELD", Blocks, "the target's memory",
        "Expired blocks that the program still has pointers to.";
    REACHED_INSIDE = "reached_inside", "INSIDE", Blocks, "the target's memory",
        "Expired blocks to which only pointers into their middle lead, which may be chance.";
    EVER_EXPIRED = "expired", "EXPIRED", Blocks, "the hooks",
        "Blocks that ever expired, whether they were freed afterwards or not.";
    FREED_LATE = "freed_after_expiry", "FREED LATE", Blocks, "the hooks",
        "Blocks that were freed after they had expired.";
    FREED_LATE_LONGEST = "freed_after_expiry_longest_seconds", "LONGEST", Seconds, "the hooks",
        "How long the late-freed block that lived longest had lived.";
    ALLOCATED = "allocated", "ALLOCATED", Blocks, "the hooks", "Blocks allocated since the attach.";
    FREED = "freed", "FREED", Blocks, "the hooks", "Blocks allocated since the attach and freed.";
    LIVE = "live", "LIVE", Blocks, "the hooks", "Blocks allocated since the attach and not freed.";
    LIFETIME_MIN = "lifetime_min_seconds", "MIN", Seconds, "the hooks", "Shortest lifetime of a freed block.";
    LIFETIME_MEAN = "lifetime_mean_seconds", "MEAN", Seconds, "the hooks", "Mean lifetime of the freed blocks.";
    LIFETIME_MAX = "lifetime_max_seconds", "MAX", Seconds, "the hooks", "Longest lifetime of a freed block.";
    OLDEST_LIVE = "oldest_live_seconds", "OLDEST", Seconds, "the hooks",
        "Greatest age of a block that is not freed.";
    SITE_KIND = "holds", "KIND", Text, "the hooks",
        "What a site holds: heap, mappings of several kinds, thread stacks, the break, descriptors.";
    CONTENT = "leads_to", "LEADS TO", Text, "/proc/PID/fd, /proc/PID/maps",
        "What descriptors or mappings of a site lead to.";
    CONTENT_COUNT = "live_of_it", "LIVE", Count, "the hooks", "How many of the site's live ones lead there.";
    GROWTH_COUNT = "per_hour", "GROWTH/H", CountPerHour, "Theil–Sen slope over the session",
        "Growth per hour of what has no size, as a number.";
    GROWTH_COUNT_LOW = "low_per_hour", "LOW", CountPerHour, "Theil–Sen slope over the session",
        "Lower end of the interval of that growth.";
    GROWTH_COUNT_HIGH = "high_per_hour", "HIGH", CountPerHour, "Theil–Sen slope over the session",
        "Upper end of the interval of that growth.";
    MAPS = "maps", "MAPPED", Count, "the hooks", "Calls of the program that mapped memory.";
    UNMAPS = "unmaps", "UNMAPPED", Count, "the hooks", "Calls of the program that unmapped memory.";
    THREADS_MADE = "threads_made", "THREADS MADE", Count, "the hooks", "Calls that made a thread.";
    OPENS = "descriptors_opened", "OPENED", Count, "the hooks", "Calls that opened a descriptor.";
    CLOSES = "descriptors_closed", "CLOSED", Count, "the hooks", "Calls that closed a descriptor.";
    EVENTS_MISSED = "calls_missed", "MISSED", Count, "the hooks",
        "Calls for mappings or descriptors that were overwritten before they were read.";
    REGIONS_UNRECORDED = "regions_unrecorded", "NOT RECORDED", Count, "the hooks",
        "Mappings and descriptors that were not recorded because a table was full.";
    DESCRIPTORS_UNSEEN = "descriptors_unseen", "UNSEEN", Count, "/proc/PID/fd",
        "Open descriptors that no call was seen for.";
    SITE = "site", "ALLOCATED BY", Text, "debug information", "The innermost frame of the program's own code: behind allocators and standard libraries.";
    // What a program had not freed when it ended.
    NOT_FREED = "not_freed", "NOT FREED", Blocks, "the hooks", "Blocks that were live at the end.";
    DEFINITELY_LOST = "definitely_lost", "DEFINITELY LOST", Blocks, "the memory of the program at its end",
        "Blocks to which no pointer was left anywhere.";
    INDIRECTLY_LOST = "indirectly_lost", "INDIRECTLY LOST", Blocks, "the memory of the program at its end",
        "Blocks to which only lost blocks point.";
    POSSIBLY_LOST = "possibly_lost", "POSSIBLY LOST", Blocks, "the memory of the program at its end",
        "Blocks that only pointers into their middle lead to.";
    STILL_REACHABLE = "still_reachable", "STILL REACHABLE", Blocks, "the memory of the program at its end",
        "Blocks that the program could still have freed.";
    SUPPRESSED = "suppressed", "SUPPRESSED", Blocks, "--suppressions", "Blocks that a suppression matches.";
    LOOK_STOP = "look_stop_seconds", "LOOK STOP", Seconds, "a clock that does not jump",
        "How long the program stood still at its end, while its memory was looked at.";
    // Events and frames.
    MORE = "more", "MORE", Count, "the hooks", "Blocks since the last event of this stack.";
    OFFSET = "offset_bytes", "OFFSET", Bytes, "the symbols of the target",
        "Distance from the start of the function.";
    LINE = "line", "LINE", Identifier, "debug information", "Line of the call, from 1.";
    COLUMN = "column", "COLUMN", Identifier, "debug information", "Column of the call, from 1.";
    EXIT_CODE = "exit_code", "EXIT", Identifier, "leakline",
        "0 nothing found, 1 leak found, 2 could not judge.";
    SCHEMA = "schema", "SCHEMA", Identifier, "leakline",
        "Version of the JSON; it changes when a key changes its meaning or goes away.";
}

impl Metric {
    /// The ending that its unit asks of its key.
    const fn ending(&self) -> &'static str {
        match self.unit {
            Unit::Bytes => "_bytes",
            Unit::BytesPerHour => "per_hour_bytes",
            Unit::CountPerHour => "per_hour",
            Unit::Seconds => "_seconds",
            Unit::Count | Unit::Blocks | Unit::Share | Unit::Identifier | Unit::Text => "",
        }
    }

    /// Whether its column is aligned to the right. Each table asks, which is where a key is looked at that does not name its unit.
    pub(crate) fn is_number(&self) -> bool {
        debug_assert!(self.key.ends_with(self.ending()), "{} does not name its unit", self.key);
        self.unit != Unit::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_metrics_share_a_key() {
        let keys: BTreeSet<_> = ALL.iter().map(|metric| metric.key).collect();
        assert_eq!(keys.len(), ALL.len());
    }

    #[test]
    fn keys_end_in_their_unit() {
        for metric in ALL {
            assert!(metric.key.ends_with(metric.ending()), "{}", metric.key);
            let of_another = metric.ending().is_empty() && metric.key.ends_with("_seconds");
            assert!(!of_another, "{} ends in a unit that it does not have", metric.key);
        }
    }

    #[test]
    fn every_metric_says_what_it_is_in_whole_sentences() {
        for metric in ALL {
            assert!(metric.means.ends_with('.') && metric.means.len() > 10, "{}", metric.key);
            assert!(!metric.from.is_empty() && !metric.title.is_empty(), "{}", metric.key);
            assert!(metric.key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", metric.key);
        }
    }
}
