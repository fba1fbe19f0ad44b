//! Journal files of systemd: what the kernel said, as journald kept it.
//!
//! Owns: the layout of the files, as far as entries of the kernel need it. Must not know: where files are or when they change.
//!
//! The format is described at <https://systemd.io/JOURNAL_FILE_FORMAT/>. A field has the list of its values, a value the list
//! of the entries that have it: the entries of the kernel are found without looking at any other. Texts of more than 512
//! bytes are mostly compressed.

mod compression;

/// Fills the buffer with the bytes at an offset, or gives false.
pub type Read<'a> = &'a mut dyn FnMut(u64, &mut [u8]) -> bool;

/// A file whose head has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Offsets of 32 bits instead of 64, since systemd 252.
    compact: bool,
    fields_offset: u64,
    fields: u64,
}

/// One entry of the kernel; its text is in the buffer that it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Id of the boot.
    pub boot: [u8; 16],
    /// Microseconds since boot.
    pub at_us: u64,
    /// 0 (emergency) to 7 (debug).
    pub level: u8,
    /// Whether the kernel itself wrote it, and not somebody into its log.
    pub from_kernel: bool,
    /// Whether its text could be read; it is damaged or longer than any line of the kernel where not.
    pub has_text: bool,
}

const SIGNATURE: &[u8] = b"LPKSHHRH";
/// What we can cope with: three compressions, keyed hashes (which we do not use), compact offsets.
const KNOWN: u32 = 0b1_1111;
const COMPACT: u32 = 0b1_0000;
/// Bytes of the head that are read; later versions have more.
const HEAD: usize = 144;
/// Flags of a value, one for each compression.
const COMPRESSED: u8 = 0b111;
const DATA: u8 = 1;
const FIELD: u8 = 2;
const ENTRY: u8 = 3;
const ENTRY_ARRAY: u8 = 6;
/// Steps of one chain: 333 fields are usual, arrays double in size. A cycle must end.
const STEPS_MAX: usize = 4096;
/// Values of one entry; the kernel's have about twenty.
const ITEMS_MAX: u64 = 256;
/// Bytes of one value that are read, and that a compressed one may become: the kernel's own lines have at most 8 KiB.
const VALUE_MAX: usize = 16 * 1024;

impl Journal {
    /// Reads the head; none where it is no journal, or one that asks for more than we know.
    pub fn open(read: Read<'_>) -> Option<Self> {
        let mut head = [0; HEAD];
        if !read(0, &mut head) || head.get(..8)? != SIGNATURE {
            return None;
        }
        let needed = u32::from_le_bytes(head.get(12..16)?.try_into().ok()?);
        (needed & !KNOWN == 0).then_some(Self {
            compact: needed & COMPACT != 0,
            fields_offset: word(&head, 120)?,
            fields: word(&head, 128)? / 16,
        })
    }

    /// Where the value is that all entries of the kernel have; none where there is no such entry yet.
    pub fn kernel(&self, read: Read<'_>) -> Option<u64> {
        let mut steps = 0..STEPS_MAX;
        for bucket in 0..self.fields.min(STEPS_MAX as u64) {
            let mut slot = [0; 8];
            if !read(self.fields_offset.checked_add(bucket * 16)?, &mut slot) {
                return None;
            }
            let mut at = u64::from_le_bytes(slot);
            // One count over all chains: a file whose every chain is a cycle ends after as many steps as one with a single cycle.
            while at != 0 {
                steps.next()?;
                let mut object = [0; 50];
                let is_field = read(at, &mut object) && object[0] == FIELD && word(&object, 8)? == 50;
                if is_field && object.get(40..)? == b"_TRANSPORT" {
                    return self.value(read, word(&object, 32)?);
                }
                at = word(&object, 24)?;
            }
        }
        None
    }

    /// The value `_TRANSPORT=kernel` in the list of values of that field.
    fn value(&self, read: Read<'_>, first: u64) -> Option<u64> {
        let mut at = first;
        for _ in 0..STEPS_MAX {
            let (head, content) = self.data(read, at)?;
            if content.as_deref() == Some(b"_TRANSPORT=kernel") {
                return Some(at);
            }
            at = head.next;
        }
        None
    }

    /// How many entries have this value.
    pub fn count(&self, read: Read<'_>, value: u64) -> Option<u64> {
        Some(Self::head(read, value)?.entries)
    }

    /// An entry that has this value, by its place in time; its text is put into the buffer.
    pub fn entry(&self, read: Read<'_>, value: u64, place: u64, text: &mut Vec<u8>) -> Option<Entry> {
        let head = Self::head(read, value)?;
        let at = match place.checked_sub(1) {
            None => head.first,
            Some(place) => self.item(read, head.array, place)?,
        };
        let mut object = [0; 64];
        if !read(at, &mut object) || object[0] != ENTRY {
            return None;
        }
        let mut entry = Entry {
            boot: object.get(40..56)?.try_into().ok()?,
            at_us: word(&object, 32)?,
            level: 6,
            from_kernel: true,
            has_text: false,
        };
        let width = if self.compact { 4 } else { 16 };
        let items = word(&object, 8)?.saturating_sub(64) / width;
        for item in 0..items.min(ITEMS_MAX) {
            let value = self.offset(read, at.checked_add(64 + item * width)?)?;
            self.take(read, value, &mut entry, text)?;
        }
        Some(entry)
    }

    /// One value of an entry.
    fn take(&self, read: Read<'_>, value: u64, entry: &mut Entry, text: &mut Vec<u8>) -> Option<()> {
        let Some(content) = self.data(read, value)?.1 else { return Some(()) };
        let number = |digits: &[u8]| crate::scan::decimal(digits);
        if let Some(message) = content.strip_prefix(b"MESSAGE=") {
            text.clear();
            text.extend_from_slice(message);
            entry.has_text = true;
        } else if let Some(level) = content.strip_prefix(b"PRIORITY=") {
            entry.level = number(level).map_or(entry.level, |level| (level & 7) as u8);
        } else if let Some(facility) = content.strip_prefix(b"SYSLOG_FACILITY=") {
            entry.from_kernel = number(facility) == Some(0);
        }
        Some(())
    }

    /// The head of a value, and its content; none of it where that is damaged or longer than what we read.
    fn data(&self, read: Read<'_>, at: u64) -> Option<(DataHead, Option<Vec<u8>>)> {
        let head = Self::head(read, at)?;
        let start = if self.compact { 72 } else { 64 };
        let length = usize::try_from(head.length.checked_sub(start)?).ok()?;
        if length > VALUE_MAX {
            return Some((head, None));
        }
        let mut content = vec![0; length];
        if length > 0 && !read(at.checked_add(start)?, &mut content) {
            return None;
        }
        let content = match head.flags & COMPRESSED {
            0 => Some(content),
            method => compression::unpacked(method, &content, VALUE_MAX),
        };
        Some((head, content))
    }

    fn head(read: Read<'_>, at: u64) -> Option<DataHead> {
        let mut head = [0; 64];
        if at == 0 || !read(at, &mut head) || head[0] != DATA {
            return None;
        }
        Some(DataHead {
            flags: head[1],
            length: word(&head, 8)?,
            next: word(&head, 32)?,
            first: word(&head, 40)?,
            array: word(&head, 48)?,
            entries: word(&head, 56)?,
        })
    }

    /// The offset at this place of a chain of arrays.
    fn item(&self, read: Read<'_>, first: u64, place: u64) -> Option<u64> {
        let (mut at, mut place) = (first, place);
        let width = if self.compact { 4 } else { 8 };
        for _ in 0..STEPS_MAX {
            let mut head = [0; 24];
            if at == 0 || !read(at, &mut head) || head[0] != ENTRY_ARRAY {
                return None;
            }
            let items = word(&head, 8)?.checked_sub(24)? / width;
            // No overflow below: the items fit into the size that the head tells, which is a number of 64 bits.
            if place < items {
                return self.offset(read, at.checked_add(24 + place * width)?);
            }
            (at, place) = (word(&head, 16)?, place - items);
        }
        None
    }

    fn offset(&self, read: Read<'_>, at: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        let (part, _) = bytes.split_at_mut(if self.compact { 4 } else { 8 });
        read(at, part).then(|| u64::from_le_bytes(bytes))
    }
}

/// What stands before the content of a value.
struct DataHead {
    /// How it is compressed.
    flags: u8,
    /// Length of all of it, the head included.
    length: u64,
    /// The next value of the same field.
    next: u64,
    first: u64,
    array: u64,
    entries: u64,
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
pub(crate) mod synth;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan;

    fn reader(bytes: &[u8]) -> impl FnMut(u64, &mut [u8]) -> bool {
        move |at, buffer: &mut [u8]| {
            let range = usize::try_from(at).ok().and_then(|at| Some(at..at.checked_add(buffer.len())?));
            range.and_then(|range| bytes.get(range)).map(|part| buffer.copy_from_slice(part)).is_some()
        }
    }

    /// All entries of the kernel as `level text`, `!` before those that others wrote, `?` for text that cannot be read.
    fn written(bytes: &[u8]) -> String {
        let mut read = reader(bytes);
        let Some(journal) = Journal::open(&mut read) else { return "no journal".to_owned() };
        let Some(value) = journal.kernel(&mut read) else { return "no kernel".to_owned() };
        let count = journal.count(&mut read, value).expect("the value is there");
        let mut text = Vec::new();
        let mut one = |place| {
            let entry = journal.entry(&mut read, value, place, &mut text).expect("the entry is there");
            let text = if entry.has_text { String::from_utf8_lossy(&text).into_owned() } else { "?".to_owned() };
            format!("{}{} {text}", if entry.from_kernel { "" } else { "!" }, entry.level)
        };
        (0..count).map(&mut one).collect::<Vec<_>>().join("; ")
    }

    #[track_caller]
    fn check(lines: &[(u8, u8, &str)], expected: &str) {
        for compact in [false, true] {
            assert_eq!(written(&synth::file(compact, lines)), expected, "compact: {compact}");
        }
    }

    #[test]
    fn the_lines_of_the_kernel_are_found_among_others() {
        check(&[], "no kernel");
        check(&[(6, 3, "a service")], "no kernel");
        check(
            &[(3, 0, "one"), (6, 3, "a service"), (4, 0, "two"), (6, 3, "b"), (6, 0, "three")],
            "3 one; 4 two; 6 three",
        );
    }

    #[test]
    fn arrays_of_entries_are_chained() {
        let lines: Vec<(u8, u8, &str)> = (0..40).map(|_| (6, 0, "again")).collect();
        check(&lines, &["6 again"; 40].join("; "));
    }

    #[test]
    fn what_somebody_wrote_into_the_log_is_marked_and_what_is_damaged_has_no_text() {
        check(&[(3, 1, "Killed process 1"), (3, 0, synth::DAMAGED)], "!3 Killed process 1; 3 ?");
        let endless = "x".repeat(VALUE_MAX);
        check(&[(3, 0, &endless), (3, 0, "short")], "3 ?; 3 short");
    }

    #[test]
    fn what_is_compressed_is_read() {
        let line = format!("{}{}", synth::LINE, "oom_score_adj:0 ".repeat(40));
        for method in synth::METHODS {
            check(&[(6, 0, "a"), (3, 0, method), (6, 0, "b")], &format!("6 a; 3 {line}; 6 b"));
        }
    }

    #[test]
    fn what_is_newer_or_something_else_is_refused() {
        let mut file = synth::file(true, &[(3, 0, "x")]);
        file[12] |= 32;
        assert_eq!(written(&file), "no journal");
        assert_eq!(written(b"LPKSHHRH"), "no journal");
        assert_eq!(written(&[0; 4096]), "no journal");
    }

    #[test]
    fn damage_and_cycles_come_to_an_end() {
        let sound = synth::file(true, &[(3, 0, "one"), (6, 3, "b"), (3, 0, "two"), (3, 0, "three")]);
        for seed in 0..3000_u64 {
            let mut file = sound.clone();
            let noise = scan::noise(seed, b"\x00\x01\x02\x03\x06\x40\xff");
            for (index, byte) in noise.iter().enumerate() {
                let at = (seed as usize * 31 + index * 17) % file.len();
                file[at] = *byte;
            }
            let mut read = reader(&file);
            let Some(journal) = Journal::open(&mut read) else { continue };
            let Some(value) = journal.kernel(&mut read) else { continue };
            let count = journal.count(&mut read, value).unwrap_or(0).min(8);
            for place in 0..count {
                let _ = journal.entry(&mut read, value, place, &mut Vec::new());
            }
        }
    }
}
