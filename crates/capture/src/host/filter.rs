//! Which processes are asked for.
//!
//! Owns: the filter. Must not know: where processes are found.

use model::{Identity, Pid, Reading};

/// Which processes are asked for; parts that are not given let all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these processes.
    pub pid: Vec<Pid>,
    /// Only processes whose name or arguments contain this text.
    pub name: Option<String>,
    /// Only processes of this user, by name or number.
    pub user: Option<String>,
    /// Only processes whose control group, or the id of their container, contains this text.
    pub cgroup: Option<String>,
}

impl Filter {
    /// Whether a process passes; `uid` is the number of the user that is asked for. What could not be read does not pass:
    /// a process of an unknown user is not known to be of the user that was asked for.
    pub(super) fn passes(&self, identity: &Identity, uid: Option<u32>) -> bool {
        let contains =
            |text: &str, part: &Option<String>| part.as_ref().is_none_or(|part| text.contains(part.as_str()));
        let pid = self.pid.is_empty() || self.pid.contains(&identity.key.pid);
        let name = contains(&identity.command, &self.name) || contains(&identity.arguments, &self.name);
        let user = uid.is_none_or(|uid| identity.uid == Reading::Known(uid));
        let group = contains(identity.cgroup.as_known().map_or("", String::as_str), &self.cgroup)
            || contains(identity.container.as_deref().unwrap_or(""), &self.cgroup);
        pid && name && user && group
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{ProcessKey, Why};

    /// The filter as `key=value` words, against one process; `?` in front says that it must not pass.
    #[track_caller]
    fn check(words: &str) {
        let identity = Identity {
            key: ProcessKey { pid: Pid(42), started: 1 },
            command: "server".to_owned(),
            arguments: "/usr/bin/server --port 80".to_owned(),
            uid: Reading::Known(1000),
            user: Reading::Missing(Why::NotRecorded),
            cgroup: Reading::Known("/system.slice/web.service".to_owned()),
            container: Some("0123456789ab".to_owned()),
            kernel_thread: false,
        };
        let (words, expected) = words.strip_prefix('?').map_or((words, true), |words| (words, false));
        let (mut filter, mut uid) = (Filter::default(), None);
        for word in words.split(';').filter(|word| !word.is_empty()) {
            match word.split_once('=').unwrap() {
                ("pid", pid) => filter.pid.push(Pid(pid.parse().unwrap())),
                ("name", name) => filter.name = Some(name.to_owned()),
                ("uid", number) => uid = Some(number.parse().unwrap()),
                ("cgroup", part) => filter.cgroup = Some(part.to_owned()),
                other => panic!("no such word: {other:?}"),
            }
        }
        assert_eq!(filter.passes(&identity, uid), expected, "{words}");
    }

    #[test]
    fn each_part_narrows() {
        check("");
        check("pid=41;pid=42");
        check("?pid=41");
        check("name=serv");
        check("name=--port 80");
        check("?name=Server");
        check("uid=1000");
        check("?uid=0");
        check("cgroup=web.service");
        check("cgroup=0123");
        check("?cgroup=db.service");
        check("pid=42;name=server;uid=1000;cgroup=slice");
        check("?pid=42;name=server;uid=1;cgroup=slice");
    }
}
