//! `/etc/passwd`: names of users.
//!
//! Owns: its lines. Must not know: other sources of users (LDAP and the like reach nobody who does not run libc's
//! resolver; their users have a number and no name here).

use crate::scan;

/// Name and number of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The number.
    pub uid: u32,
}

/// The users in the order in which they stand; the first of two entries with one number or name counts, as for libc.
pub fn parse(bytes: &[u8]) -> impl Iterator<Item = User<'_>> {
    scan::lines(bytes).filter_map(user)
}

fn user(line: &[u8]) -> Option<User<'_>> {
    let mut fields = line.split(|byte| *byte == b':');
    let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with(b"#"))?;
    let uid = fields.nth(1).and_then(scan::decimal)?;
    // A line that ends with its number may have been cut in the middle of it.
    fields.next()?;
    // `+` and `-` are instructions of the old NIS scheme, not users.
    let ordinary = !matches!(name.first(), Some(b'+' | b'-'));
    ordinary.then_some(User { name, uid: u32::try_from(uid).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found: Vec<String> =
            parse(text.as_bytes()).map(|user| format!("{}={}", String::from_utf8_lossy(user.name), user.uid)).collect();
        assert_eq!(found.join(" "), expected, "{text:?}");
    }

    #[test]
    fn users_have_a_name_and_a_number() {
        check("root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false", "root=0 nobody=65534");
        check("a b:x:7:7:::\n", "a b=7");
    }

    #[test]
    fn what_is_no_user_is_left_out() {
        check("", "");
        check("# root:x:0:0:\n\n:x:1:1:\n+::::::\n+nis:x:3:3::\n-bad:x:3:3::", "");
        check("a:x\nb:x:\nc:x:12\nd:x:-1:0\ne:x:4294967296:0\nf:x:4294967295:0", "f=4294967295");
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        for seed in 0..10_000 {
            for user in parse(&scan::noise(seed, b"ab:01\n+-#")) {
                assert!(!user.name.contains(&b':'));
            }
        }
    }
}
