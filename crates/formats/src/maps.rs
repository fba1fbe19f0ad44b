//! `/proc/PID/maps`: what is mapped where in a process.
//!
//! Owns: one line and the names in it. Must not know: whose lines they are, or what is done with a mapping.
//!
//! The name of a file is chosen by whoever mapped it, so that a line is only trusted up to its inode: a file called
//! `a\n7f00-7f01 rwxp` cannot forge a mapping, since the kernel writes `\n` as `\012` and nothing else needs escaping
//! to keep lines apart.

use std::borrow::Cow;
use std::ops::Range;

use crate::scan;

/// What the kernel appends to the name of a file that has no name any more.
const DELETED: &[u8] = b" (deleted)";

/// What a mapping allows.
#[expect(clippy::struct_excessive_bools, reason = "the kernel writes four independent letters")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// It may be read.
    pub read: bool,
    /// It may be written.
    pub write: bool,
    /// Code in it may run.
    pub execute: bool,
    /// Writes are seen by others (`s`); otherwise they are private (`p`).
    pub shared: bool,
}

/// One mapping of an address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// Addresses from the first to one past the last; never empty.
    pub addresses: Range<u64>,
    /// What it allows.
    pub permissions: Permissions,
    /// Where in the file it begins.
    pub offset: u64,
    /// Major and minor number of the device that holds the file; zero where there is none.
    pub device: (u32, u32),
    /// Inode of the file; zero where there is none.
    pub inode: u64,
    /// The name as the kernel wrote it, with its escapes and without ` (deleted)`; empty for anonymous memory.
    pub name: &'a [u8],
    /// Whether the kernel says that the file has no name any more.
    pub deleted: bool,
}

/// The mappings in the order in which they stand. A line that is cut or not in the documented form is left out.
pub fn parse(bytes: &[u8]) -> impl Iterator<Item = Mapping<'_>> {
    scan::lines(bytes).filter_map(mapping)
}

/// Lines that [`parse`] leaves out: zero on a healthy kernel, more where the text was cut.
pub fn malformed(bytes: &[u8]) -> usize {
    scan::lines(bytes).filter(|line| mapping(line).is_none()).count()
}

impl<'a> Mapping<'a> {
    /// Bytes that it covers.
    pub const fn size(&self) -> u64 {
        debug_assert!(self.addresses.start < self.addresses.end, "no mapping is empty");
        self.addresses.end - self.addresses.start
    }

    /// The path of the file as the target sees it, escapes undone; none for anonymous and special memory such as
    /// `[heap]`. A file with an inode of its own may be called `[heap]` too, hence the question for the slash.
    pub fn path(&self) -> Option<Cow<'a, [u8]>> {
        (self.name.first() == Some(&b'/')).then(|| unescaped(self.name))
    }
}

fn mapping(line: &[u8]) -> Option<Mapping<'_>> {
    let (start, rest) = scan::split_at_byte(line, b'-')?;
    let (end, rest) = scan::split_at_byte(rest, b' ')?;
    let (permissions, rest) = scan::split_at_byte(rest, b' ')?;
    let (offset, rest) = scan::split_at_byte(rest, b' ')?;
    let (device, rest) = scan::split_at_byte(rest, b' ')?;
    let (inode, name) = scan::split_at_byte(rest, b' ').unwrap_or((rest, &[]));
    let addresses = scan::hexadecimal(start)?..scan::hexadecimal(end)?;
    if addresses.is_empty() {
        return None;
    }
    let name = name.trim_ascii_start();
    let (name, deleted) = name.strip_suffix(DELETED).map_or((name, false), |name| (name, true));
    Some(Mapping {
        addresses,
        permissions: self::permissions(permissions)?,
        offset: scan::hexadecimal(offset)?,
        device: self::device(device)?,
        inode: scan::decimal(inode)?,
        name,
        deleted,
    })
}

fn permissions(field: &[u8]) -> Option<Permissions> {
    let [read @ (b'r' | b'-'), write @ (b'w' | b'-'), execute @ (b'x' | b'-'), shared @ (b's' | b'p')] = field else {
        return None;
    };
    Some(Permissions { read: *read == b'r', write: *write == b'w', execute: *execute == b'x', shared: *shared == b's' })
}

fn device(field: &[u8]) -> Option<(u32, u32)> {
    let (major, minor) = scan::split_at_byte(field, b':')?;
    let part = |field| u32::try_from(scan::hexadecimal(field)?).ok();
    Some((part(major)?, part(minor)?))
}

/// The kernel escapes newline (and, in some versions, backslash) as a backslash and three octal digits; anything else stands for itself.
fn unescaped(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'\\') {
        return Cow::Borrowed(name);
    }
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = octal_escape(rest).unwrap_or((first, after));
        plain.push(byte);
        rest = after;
    }
    debug_assert!(plain.len() <= name.len(), "escapes only ever get shorter");
    Cow::Owned(plain)
}

fn octal_escape(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = bytes.strip_prefix(b"\\")?.split_at_checked(3)?;
    let value = digits.iter().try_fold(0u16, |sum, digit| match digit {
        b'0'..=b'7' => Some(sum * 8 + u16::from(digit - b'0')),
        _ => None,
    })?;
    Some((u8::try_from(value).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a line as the kernel does (`show_map_vma`): fields, then blanks up to column 73, then the name.
    fn synthetic(addresses: Range<u64>, permissions: &str, inode: u64, name: &str) -> String {
        let fields = format!("{:08x}-{:08x} {permissions} 00001000 08:1f {inode} ", addresses.start, addresses.end);
        if name.is_empty() { format!("{fields}\n") } else { format!("{fields:<73}{}\n", name.replace('\n', "\\012")) }
    }

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let found: Vec<String> = parse(line.as_bytes())
            .map(|mapping| {
                let permissions = mapping.permissions;
                let flag = |set: bool, letter| if set { letter } else { '-' };
                format!(
                    "{:x}+{:x} {}{}{}{} @{:x} {:x}:{:x} #{} {:?}{}",
                    mapping.addresses.start,
                    mapping.size(),
                    flag(permissions.read, 'r'),
                    flag(permissions.write, 'w'),
                    flag(permissions.execute, 'x'),
                    if permissions.shared { 's' } else { 'p' },
                    mapping.offset,
                    mapping.device.0,
                    mapping.device.1,
                    mapping.inode,
                    mapping.path().map(|path| String::from_utf8_lossy(&path).into_owned()),
                    if mapping.deleted { " deleted" } else { "" },
                )
            })
            .collect();
        assert_eq!(found.join("; "), expected);
    }

    #[test]
    fn lines_of_a_real_process() {
        check(
            "55d2b4c00000-55d2b4c02000 r--p 00000000 fe:01 2097223                    /usr/bin/cat\n",
            "55d2b4c00000+2000 r--p @0 fe:1 #2097223 Some(\"/usr/bin/cat\")",
        );
        check(
            "7ffc1a5e9000-7ffc1a60a000 rw-p 00000000 00:00 0          [stack]\n",
            "7ffc1a5e9000+21000 rw-p @0 0:0 #0 None",
        );
        check("7f0000000000-7f0000021000 rw-p 00000000 00:00 0 \n", "7f0000000000+21000 rw-p @0 0:0 #0 None");
        check(
            "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]",
            "ffffffffff600000+1000 --xp @0 0:0 #0 None",
        );
    }

    #[test]
    fn names_keep_their_blanks_and_lose_their_escapes() {
        check(&synthetic(4096..8192, "r-xp", 7, "/a b  c"), "1000+1000 r-xp @1000 8:1f #7 Some(\"/a b  c\")");
        check(&synthetic(4096..8192, "r-xp", 7, "/a\nb"), "1000+1000 r-xp @1000 8:1f #7 Some(\"/a\\nb\")");
        check("1000-2000 r-xp 0 0:0 7 /a\\777\\01", "1000+1000 r-xp @0 0:0 #7 Some(\"/a\\\\777\\\\01\")");
        check(
            &synthetic(4096..8192, "rw-s", 7, "/memfd:x (deleted)"),
            "1000+1000 rw-s @1000 8:1f #7 Some(\"/memfd:x\") deleted",
        );
    }

    #[test]
    fn a_forged_line_in_a_name_stays_a_name() {
        let line = synthetic(4096..8192, "r-xp", 7, "/x\n7f00-7f01 rwxp 0 0:0 1 /y");
        assert_eq!(parse(line.as_bytes()).count(), 1);
    }

    #[test]
    fn what_is_not_in_the_documented_form_is_left_out_and_counted() {
        for line in [
            "1000-1000 r-xp 0 0:0 7",       // empty
            "2000-1000 r-xp 0 0:0 7",       // backwards
            "1000-2000 rwx 0 0:0 7",        // no fourth flag
            "1000-2000 r?xp 0 0:0 7",       // no such flag
            "1000-2000 r-xp 0 0 7",         // no minor number
            "1000-2000 r-xp 0 0:0 x",       // no inode
            "1000-2000 r-xp 0 0:100000000", // cut, and too large
            "1000",
            "-",
        ] {
            check(line, "");
            assert_eq!(malformed(line.as_bytes()), 1, "{line}");
        }
        assert_eq!(malformed(synthetic(1..2, "r-xp", 7, "").as_bytes()), 0);
    }

    #[test]
    fn a_text_that_was_cut_gives_the_lines_before_the_cut() {
        let text: String = (1..50u64).map(|page| synthetic(page * 4096..(page + 1) * 4096, "rw-p", 0, "")).collect();
        for cut in 0..text.len() {
            let whole = text[..cut].matches('\n').count();
            let found = parse(&text.as_bytes()[..cut]).count();
            assert!((whole..=whole + 1).contains(&found), "{found} mappings before byte {cut}");
        }
    }

    #[test]
    fn arbitrary_bytes_give_sane_mappings_or_none() {
        for seed in 0..20_000 {
            let bytes = scan::noise(seed, b"0123456789abcdef-- rwxp:\n/\\");
            for mapping in parse(&bytes) {
                assert!(mapping.size() > 0);
                let _ = mapping.path();
            }
        }
    }
}
