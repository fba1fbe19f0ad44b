//! `/proc/swaps`: where memory is swapped to.
//!
//! Owns: its lines. Must not know: how much swap is too much.

use model::{Bytes, Reading, Why};

use crate::scan;

/// One device or file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area<'a> {
    /// Its path, with the kernel's escapes (a blank stands as `\040`).
    pub path: &'a [u8],
    /// Its size.
    pub size: Bytes,
    /// What of it is in use.
    pub used: Bytes,
    /// Its priority; the higher is used first.
    pub priority: Reading<i32>,
}

/// The areas in the order in which they stand, without the heading.
pub fn parse(bytes: &[u8]) -> impl Iterator<Item = Area<'_>> {
    scan::lines(bytes).skip(1).filter_map(area)
}

/// `/dev/sda2  partition  2097148  0  -2`
fn area(line: &[u8]) -> Option<Area<'_>> {
    let mut fields = scan::fields(line);
    let path = fields.next()?;
    let size = scan::decimal(fields.nth(1)?)?;
    let used = scan::decimal(fields.next()?)?;
    let priority = fields.next().and_then(|field| std::str::from_utf8(field).ok()?.parse().ok());
    let priority = Reading::from_option(priority, Why::Malformed);
    Some(Area { path, size: Bytes::from_kib(size), used: Bytes::from_kib(used), priority })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

    /// Areas as `path used/size priority` in KiB.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let one = |area: Area<'_>| {
            let priority = area.priority.known().map_or("!".to_owned(), |priority| priority.to_string());
            format!("{} {}/{} {priority}", String::from_utf8_lossy(area.path), area.used.0 / 1024, area.size.0 / 1024)
        };
        let text = format!("{HEADING}{text}");
        assert_eq!(parse(text.as_bytes()).map(one).collect::<Vec<_>>().join("; "), expected, "{text:?}");
    }

    #[test]
    fn areas_have_size_and_use() {
        check("", "");
        check(
            "/dev/sda2                               partition\t2097148\t\t1024\t\t-2\n/a\\040b\tfile\t\t4\t0\t32767\n",
            "/dev/sda2 1024/2097148 -2; /a\\040b 0/4 32767",
        );
    }

    #[test]
    fn what_is_malformed_is_left_out_or_missing() {
        check("/dev/sda2 partition x 1 2\n/dev/sdb2 partition 5\n/c file 5 1\n", "/c 1/5 !");
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        for seed in 0..10_000 {
            let text = [HEADING.as_bytes(), &scan::noise(seed, b"/a 0123-\n")].concat();
            assert!(parse(&text).all(|area| !area.path.is_empty()));
        }
    }
}
