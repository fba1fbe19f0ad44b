//! Which file the code at an address came from.
//!
//! Owns: the list of code mappings of one target, with those that are gone again. Must not know: what is in the files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::limits::{MODULES_GONE_MAX, MODULES_MAX};

/// The code mappings of a target at one moment, and those that it had before: a library that was closed keeps its names.
#[derive(Clone, Debug, Default)]
pub struct ModuleMap {
    /// In order of their addresses.
    current: Vec<Arc<Placed>>,
    /// Latest first.
    gone: Vec<Arc<Placed>>,
}

/// One executable mapping of a file.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Placed {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) file_offset: u64,
    pub(super) device: (u32, u32),
    pub(super) inode: u64,
    pub(super) path: PathBuf,
    /// Whether the file had no name any more when the list was read.
    pub(super) deleted: bool,
    /// Where the beginning of the same file is mapped, with its ELF header.
    pub(super) header_at: Option<u64>,
}

impl ModuleMap {
    /// From the text of `/proc/PID/maps`.
    pub fn parse(maps: &[u8]) -> Self {
        let mut current: Vec<Arc<Placed>> = Vec::new();
        let mut first: Option<((u32, u32), u64, u64)> = None;
        for mapping in formats::maps::parse(maps) {
            let kernel = mapping.name == b"[vdso]";
            if mapping.name.first() != Some(&b'/') && !kernel {
                continue;
            }
            if mapping.offset == 0 {
                first = Some((mapping.device, mapping.inode, mapping.addresses.start));
            }
            if !mapping.permissions.execute || current.len() >= MODULES_MAX {
                continue;
            }
            let path = mapping.path().unwrap_or(mapping.name.into());
            let same_file = |(device, inode, _): &(_, _, _)| (*device, *inode) == (mapping.device, mapping.inode);
            current.push(Arc::new(Placed {
                start: mapping.addresses.start,
                end: mapping.addresses.end,
                file_offset: mapping.offset,
                device: mapping.device,
                inode: mapping.inode,
                path: Path::new(OsStr::from_bytes(&path)).to_owned(),
                deleted: mapping.deleted,
                header_at: first.filter(same_file).map(|(_, _, start)| start),
            }));
        }
        current.sort_by_key(|placed| placed.start);
        Self { current, gone: Vec::new() }
    }

    /// The map after the target changed; what is gone is remembered.
    #[must_use]
    pub fn advance(&self, maps: &[u8]) -> Self {
        let mut next = Self::parse(maps);
        let vanished = self.current.iter().filter(|old| !next.current.iter().any(|new| new.is_same_place(old)));
        next.gone = vanished.chain(&self.gone).take(MODULES_GONE_MAX).cloned().collect();
        // What stayed keeps its entry, so that names that were found for it are found again.
        for new in &mut next.current {
            if let Some(old) = self.current.iter().find(|old| old.is_same_place(new)) {
                *new = Arc::clone(old);
            }
        }
        next
    }

    /// The module that holds, or last held, an address.
    pub(super) fn find(&self, address: u64) -> Option<&Arc<Placed>> {
        let holds = |placed: &&Arc<Placed>| (placed.start..placed.end).contains(&address);
        let after = self.current.partition_point(|placed| placed.start <= address);
        let current = after.checked_sub(1).and_then(|at| self.current.get(at)).filter(holds);
        current.or_else(|| self.gone.iter().find(holds))
    }
}

impl Placed {
    fn is_same_place(&self, other: &Self) -> bool {
        let key = |placed: &Self| (placed.start, placed.end, placed.file_offset, placed.device, placed.inode);
        key(self) == key(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "\
        1000-2000 r--p 00000000 08:01 7 /usr/bin/prog\n\
        2000-4000 r-xp 00001000 08:01 7 /usr/bin/prog\n\
        5000-6000 rwxp 00000000 00:00 0 \n\
        7000-8000 r-xp 00000000 08:01 9 /tmp/one lib.so (deleted)\n\
        9000-a000 r-xp 00000000 00:00 0 [vdso]\n\
        b000-c000 rw-p 00000000 00:00 0 [heap]\n";
    const AFTER: &str = "\
        1000-2000 r--p 00000000 08:01 7 /usr/bin/prog\n\
        2000-4000 r-xp 00001000 08:01 7 /usr/bin/prog\n\
        7800-8000 r-xp 00000000 08:01 11 /tmp/two.so\n";

    #[track_caller]
    fn check(map: &ModuleMap, address: u64, expected: &str) {
        let text = map.find(address).map_or("-".to_owned(), |placed| {
            let deleted = if placed.deleted { " deleted" } else { "" };
            let header = placed.header_at.map_or(String::new(), |at| format!(" header {at:x}"));
            format!("{}+{:x}{deleted}{header}", placed.path.display(), placed.file_offset)
        });
        assert_eq!(text, expected, "{address:#x}");
    }

    #[test]
    fn addresses_lead_to_the_files_of_their_code() {
        let map = ModuleMap::parse(BEFORE.as_bytes());
        check(&map, 0x1800, "-");
        check(&map, 0x2000, "/usr/bin/prog+1000 header 1000");
        check(&map, 0x3fff, "/usr/bin/prog+1000 header 1000");
        check(&map, 0x4000, "-");
        check(&map, 0x5800, "-");
        check(&map, 0x7abc, "/tmp/one lib.so+0 deleted header 7000");
        check(&map, 0x9000, "[vdso]+0 header 9000");
        check(&map, 0xb000, "-");
    }

    #[test]
    fn libraries_that_were_closed_keep_their_place_unless_it_is_taken() {
        let map = ModuleMap::parse(BEFORE.as_bytes()).advance(AFTER.as_bytes());
        check(&map, 0x7000, "/tmp/one lib.so+0 deleted header 7000");
        check(&map, 0x7800, "/tmp/two.so+0 header 7800");
        check(&map, 0x2000, "/usr/bin/prog+1000 header 1000");
        let later = map.advance(b"");
        check(&later, 0x7800, "/tmp/two.so+0 header 7800");
        check(&later, 0x7000, "/tmp/one lib.so+0 deleted header 7000");
        check(&later.advance(BEFORE.as_bytes()), 0x7fff, "/tmp/one lib.so+0 deleted header 7000");
    }

    #[test]
    fn what_is_gone_is_bounded() {
        let mut map = ModuleMap::default();
        for round in 0..MODULES_GONE_MAX as u64 + 100 {
            let start = 0x10_0000 + round * 0x1000;
            map = map
                .advance(format!("{start:x}-{:x} r-xp 00000000 08:01 {round} /lib/x.so\n", start + 0x1000).as_bytes());
        }
        assert_eq!(map.gone.len(), MODULES_GONE_MAX);
        check(&map, 0x10_0000, "-");
    }

    #[test]
    fn the_header_of_a_file_is_that_of_the_same_file() {
        let map = |device: &str, inode: u64, offset: u64| {
            let first = "1000-2000 r--p 00000000 08:01 7 /a.so\n";
            ModuleMap::parse(format!("{first}2000-3000 r-xp {offset:x} {device} {inode} /a.so\n").as_bytes())
        };
        check(&map("08:01", 7, 0x1000), 0x2000, "/a.so+1000 header 1000");
        check(&map("08:01", 8, 0x1000), 0x2000, "/a.so+1000");
        check(&map("08:02", 7, 0x1000), 0x2000, "/a.so+1000");
        check(&map("08:02", 7, 0), 0x2000, "/a.so+0 header 2000");
    }

    #[test]
    fn a_place_is_the_same_only_with_the_same_file_at_the_same_offset() {
        let line =
            |start: u64, offset: u64, inode: u64| format!("{start:x}-8000 r-xp {offset:x} 08:01 {inode} /lib/x.so\n");
        let before = ModuleMap::parse(line(0x7000, 0x1000, 7).as_bytes());
        let gone = |after: &str| before.advance(after.as_bytes()).gone.len();
        assert_eq!(gone(&line(0x7000, 0x1000, 7)), 0);
        assert_eq!(gone(&line(0x6000, 0x1000, 7)), 1);
        assert_eq!(gone(&line(0x7000, 0x2000, 7)), 1);
        assert_eq!(gone(&line(0x7000, 0x1000, 8)), 1);
        assert_eq!(gone(""), 1);
    }
}
