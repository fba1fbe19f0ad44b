//! Names of users.
//!
//! Owns: the table from number to name. Must not know: who asks.

use std::collections::HashMap;

use formats::passwd;
use model::{Reading, Why, escaped};

use super::limits::USERS_MAX;

/// The users that `/etc/passwd` names.
#[derive(Debug, Default)]
pub(super) struct Users {
    names: HashMap<u32, String>,
}

impl Users {
    pub(super) fn from_passwd(text: &[u8]) -> Self {
        let mut names = HashMap::new();
        for user in passwd::parse(text).take(USERS_MAX) {
            names.entry(user.uid).or_insert_with(|| escaped(user.name));
        }
        Self { names }
    }

    pub(super) fn name(&self, uid: Reading<u32>) -> Reading<String> {
        match uid {
            Reading::Known(uid) => Reading::from_option(self.names.get(&uid).cloned(), Why::NotRecorded),
            Reading::Missing(why) => Reading::Missing(why),
        }
    }

    /// The number of a user that was given by name or by number; a name goes before a number, as for `chown`.
    pub(super) fn number(&self, user: &str) -> Option<u32> {
        let named = self.names.iter().filter(|(_, name)| *name == user).map(|(uid, _)| *uid).min();
        named.or_else(|| user.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_both_ways() {
        let users = Users::from_passwd(b"root:x:0:0::/:\ntoor:x:0:0::/:\n7:x:8:8::/:\na\x1b:x:9:9::/:\n");
        assert_eq!(users.name(Reading::Known(0)), Reading::Known("root".to_owned()));
        assert_eq!(users.name(Reading::Known(9)), Reading::Known("a\\x1b".to_owned()));
        assert_eq!(users.name(Reading::Known(1)), Reading::Missing(Why::NotRecorded));
        assert_eq!(users.name(Reading::Missing(Why::Malformed)), Reading::Missing(Why::Malformed));
        assert_eq!(users.number("root"), Some(0));
        assert_eq!(users.number("7"), Some(8));
        assert_eq!(users.number("12"), Some(12));
        assert_eq!(users.number("nobody-at-all"), None);
        assert_eq!(users.number("-1"), None);
    }
}
