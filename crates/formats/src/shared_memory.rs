//! `/proc/sysvipc/shm`: segments of System V shared memory.
//!
//! Owns: its lines. Must not know: which processes have a segment mapped.

use model::{Bytes, Reading, Why};

use crate::scan;

/// One segment. It outlives its processes until it is removed: one that nobody has attached is a classic leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its key as the kernel writes it, signed.
    pub key: i64,
    /// Its number.
    pub id: u32,
    /// Its size.
    pub size: Bytes,
    /// The process that made it.
    pub creator: u32,
    /// How often it is attached now.
    pub attaches: u64,
    /// Its owner.
    pub uid: u32,
    /// What of it is in RAM.
    pub resident: Reading<Bytes>,
    /// What of it is in swap.
    pub swapped: Reading<Bytes>,
}

/// The segments in the order in which they stand, without the heading.
pub fn parse(bytes: &[u8]) -> impl Iterator<Item = Segment> {
    scan::lines(bytes).skip(1).filter_map(segment)
}

/// `key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap`
fn segment(line: &[u8]) -> Option<Segment> {
    let mut fields = scan::fields(line);
    let key = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let mut number = |skipped| scan::decimal(fields.nth(skipped)?);
    let id = number(0)?;
    let size = number(1)?;
    let creator = number(0)?;
    let attaches = number(1)?;
    let uid = number(0)?;
    let amount = |value: Option<u64>| Reading::from_option(value.map(Bytes), Why::NotOffered);
    let resident = amount(number(6));
    let swapped = amount(number(0));
    let small = |value| u32::try_from(value).ok();
    Some(Segment {
        key,
        id: small(id)?,
        size: Bytes(size),
        creator: small(creator)?,
        attaches,
        uid: small(uid)?,
        resident,
        swapped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n";

    /// Segments as `key#id size creator attaches uid rss/swap`.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let one = |segment: Segment| {
            let amount = |reading: Reading<Bytes>| reading.known().map_or("-".to_owned(), |bytes| bytes.0.to_string());
            let Segment { key, id, creator, attaches, uid, .. } = segment;
            let (resident, swapped) = (amount(segment.resident), amount(segment.swapped));
            format!("{key}#{id} {} {creator} {attaches} {uid} {resident}/{swapped}", segment.size.0)
        };
        let text = format!("{HEADING}{text}");
        assert_eq!(parse(text.as_bytes()).map(one).collect::<Vec<_>>().join("; "), expected);
    }

    #[test]
    fn every_column_has_its_place() {
        check(
            "         0          5  1600              1048576   815   816      2  1000  1001  1002  1003 1700000000 1700000001 1700000002                 4096                  8192\n",
            "0#5 1048576 815 2 1000 4096/8192",
        );
        check("-12 7 666 64 1 2 0 0 0 0 0 0 0 0", "-12#7 64 1 0 0 -/-");
    }

    #[test]
    fn what_is_no_segment_is_left_out() {
        check("", "");
        check("x 7 666 64 1 2 0 0\n1 2 3\n1 99999999999 666 64 1 2 0 0 0\n", "");
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        let segments = |seed| parse(&[HEADING.as_bytes(), &scan::noise(seed, b"0123 -\n")].concat()).count();
        assert!((0..10_000).all(|seed| segments(seed) < 100));
    }
}
