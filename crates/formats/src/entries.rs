//! Files that hold a name and a number per line: `/proc/meminfo`, `/proc/vmstat`, `memory.stat`, `memory.events`.
//!
//! Owns: both ways to write such a line. Must not know: what any name means.

use model::{Bytes, Reading, Why};

use crate::scan;

/// Name and value of each line, as they stand; a figure in `kB` is given in bytes. A line without a name is left out.
pub fn parse(bytes: &[u8]) -> impl Iterator<Item = (&[u8], Reading<u64>)> {
    scan::lines(bytes).filter_map(entry)
}

/// The value of one name; the first counts where it stands twice.
pub fn find(bytes: &[u8], name: &str) -> Reading<u64> {
    let found = parse(bytes).find(|(found, _)| *found == name.as_bytes());
    found.map_or(Reading::Missing(Why::NotOffered), |(_, value)| value)
}

fn entry(line: &[u8]) -> Option<(&[u8], Reading<u64>)> {
    // `Active(anon):  12 kB` has the colon first, `nr_free_pages 12` the blank.
    let end = line.iter().position(|byte| matches!(byte, b':' | b' ' | b'\t'))?;
    let (name, rest) = line.split_at_checked(end)?;
    let value = rest.get(1..)?.trim_ascii();
    (!name.is_empty()).then(|| (name, self::value(value)))
}

fn value(field: &[u8]) -> Reading<u64> {
    match scan::decimal(field) {
        Some(number) => Reading::Known(number),
        None => scan::kibibytes(field).map(|Bytes(bytes)| bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All entries as `name=value`, `!` for a value that is not in the documented form.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let one = |(name, value): (&[u8], Reading<u64>)| {
            let value = value.known().map_or("!".to_owned(), |value| value.to_string());
            format!("{}={value}", String::from_utf8_lossy(name))
        };
        assert_eq!(parse(text.as_bytes()).map(one).collect::<Vec<_>>().join(" "), expected, "{text:?}");
    }

    #[test]
    fn both_ways_to_write_a_line() {
        check(
            "MemTotal:       4 kB\nActive(anon):  1 kB\nHugePages_Total:       7\n",
            "MemTotal=4096 Active(anon)=1024 HugePages_Total=7",
        );
        check("nr_free_pages 12\npgfault 0\n", "nr_free_pages=12 pgfault=0");
        check("low 0\noom_kill 3", "low=0 oom_kill=3");
    }

    #[test]
    fn what_is_malformed_is_missing_and_what_has_no_name_is_left_out() {
        check("", "");
        check("a: x kB\nb 12 MB\nc -1\nd: \n\n: 3\ne\n", "a=! b=! c=! d=!");
        check("a 18446744073709551616\n", "a=!");
    }

    #[test]
    fn one_name_is_found_whole() {
        let text = b"anon_thp 5\nanon 7\nanon 8\n";
        assert_eq!(find(text, "anon"), Reading::Known(7));
        assert_eq!(find(text, "ano"), Reading::Missing(Why::NotOffered));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        for seed in 0..10_000 {
            for (name, _) in parse(&scan::noise(seed, b"ab: 01\nkB")) {
                assert!(!name.is_empty() && !name.contains(&b'\n'));
            }
        }
    }
}
