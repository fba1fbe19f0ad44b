//! `/proc/PID/limits`: what a process may use at most.
//!
//! Owns: its lines. Must not know: whose limits they are.

use crate::scan;

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit<'a> {
    /// Its name as the kernel writes it, such as `Max open files`.
    pub name: &'a [u8],
    /// The limit that is in force; none where there is none.
    pub soft: Option<u64>,
    /// What the process may raise it to; none where there is no end.
    pub hard: Option<u64>,
}

/// The limits in the order in which they stand, without the heading.
pub fn parse(bytes: &[u8]) -> impl Iterator<Item = Limit<'_>> {
    scan::lines(bytes).skip(1).filter_map(limit)
}

/// One limit by its name; none where the file does not have it.
pub fn find<'a>(bytes: &'a [u8], name: &str) -> Option<Limit<'a>> {
    parse(bytes).find(|limit| limit.name == name.as_bytes())
}

/// The name is padded to 25 columns, and the two limits follow in columns of 20.
fn limit(line: &[u8]) -> Option<Limit<'_>> {
    // By columns and not by fields, since names have one to three words.
    let (name, rest) = line.split_at_checked(25)?;
    debug_assert_eq!(name.len() + rest.len(), line.len(), "a line has a name and limits, and nothing else");
    let mut fields = scan::fields(rest);
    let mut amount = || match fields.next()? {
        b"unlimited" => Some(None),
        number => scan::decimal(number).map(Some),
    };
    Some(Limit { name: name.trim_ascii(), soft: amount()?, hard: amount()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
        Max cpu time              unlimited            unlimited            seconds   \n\
        Max open files            1024                 1048576              files     \n\
        Max realtime timeout      unlimited            unlimited            us        \n";

    #[track_caller]
    fn check(text: &str, name: &str, expected: Option<(Option<u64>, Option<u64>)>) {
        assert_eq!(find(text.as_bytes(), name).map(|limit| (limit.soft, limit.hard)), expected, "{name}");
    }

    #[test]
    fn limits_are_found_by_name() {
        check(WHOLE, "Max open files", Some((Some(1024), Some(1_048_576))));
        check(WHOLE, "Max cpu time", Some((None, None)));
        check(WHOLE, "Max open", None);
        assert_eq!(parse(WHOLE.as_bytes()).count(), 3);
    }

    #[test]
    fn what_is_malformed_is_left_out() {
        check("", "Max open files", None);
        check("Limit\nMax open files            x    1\n", "Max open files", None);
        check("Limit\nMax open files            1\n", "Max open files", None);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        for seed in 0..10_000 {
            assert!(parse(&scan::noise(seed, b"Max unlimited 0123\n")).all(|limit| limit.name.len() <= 25));
        }
    }

    #[test]
    fn columns_decide_where_a_name_ends() {
        let line = |name: &str, limits: &str| format!("Limit\n{name:<25} {limits}\n");
        check(&line("Max stack size", "8388608 unlimited bytes"), "Max stack size", Some((Some(8_388_608), None)));
        check(&line("Max nice priority", "0 0"), "Max nice priority", Some((Some(0), Some(0))));
        check(&line("Max open files", "18446744073709551615 18446744073709551616"), "Max open files", None);
        check(&line("Max open files", "Unlimited 5"), "Max open files", None);
        check("Max open files            1024  2048\n", "Max open files", None);
    }
}
