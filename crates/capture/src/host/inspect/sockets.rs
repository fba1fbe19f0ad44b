//! Sockets told apart: by protocol, state and ends.
//!
//! Owns: where the kernel says what a socket is. Must not know: why somebody asks.
//!
//! `/proc/PID/fd` gives a number only. The protocol is an attribute of the socket; state and ends are in the tables of the network
//! namespace of the process. A socket that a process brought along from another namespace is in none of them.

use std::collections::HashMap;

use formats::sockets::{self, End, Socket};
use model::inspection::{DescriptorInspection, DescriptorKind, SocketInspection};
use model::{Reading, Why, escaped};

use super::whole;
use crate::host::proc::Proc;

/// A table and who reads it.
struct Table {
    name: &'static str,
    kind: DescriptorKind,
    add: fn(&[u8], &mut Wanted),
}

/// The sockets of a process by inode.
type Wanted = HashMap<u64, Option<SocketInspection>>;

const TABLES: [Table; 6] = [
    Table { name: "net/tcp", kind: DescriptorKind::Tcp, add: |text, wanted| add(sockets::tcp(text), wanted) },
    Table { name: "net/tcp6", kind: DescriptorKind::Tcp, add: |text, wanted| add(sockets::tcp(text), wanted) },
    Table { name: "net/udp", kind: DescriptorKind::Udp, add: |text, wanted| add(sockets::udp(text), wanted) },
    Table { name: "net/udp6", kind: DescriptorKind::Udp, add: |text, wanted| add(sockets::udp(text), wanted) },
    Table { name: "net/unix", kind: DescriptorKind::Unix, add: |text, wanted| add(sockets::unix(text), wanted) },
    Table {
        name: "net/netlink",
        kind: DescriptorKind::Netlink,
        add: |text, wanted| add(sockets::netlink(text), wanted),
    },
];

/// Names of the families of netlink that programs open.
const FAMILIES: [(u64, &str); 7] =
    [(0, "route"), (4, "sock_diag"), (6, "xfrm"), (9, "audit"), (12, "netfilter"), (15, "uevent"), (16, "generic")];

/// Gives each socket among the descriptors its kind, state and ends, as far as they can be seen.
pub(super) fn tell_apart(proc: &Proc, pid: u32, descriptors: &mut [DescriptorInspection]) {
    let mut wanted = Wanted::new();
    for descriptor in descriptors.iter_mut().filter(|descriptor| descriptor.kind == DescriptorKind::Socket) {
        let path = proc.path(&format!("{pid}/fd/{}", descriptor.number));
        let mut name = [0; 32];
        let length = rustix::fs::getxattr(&path, "system.sockprotoname", &mut name).unwrap_or(0);
        descriptor.kind = kind(name.get(..length).unwrap_or_default());
        descriptor.socket = Some(Reading::Missing(Why::NotOffered));
        wanted.extend(inode(descriptor).map(|inode| (inode, None)));
    }
    for table in TABLES {
        if !descriptors.iter().any(|descriptor| descriptor.kind == table.kind) {
            continue;
        }
        if let Ok(text) = whole(proc, pid, table.name) {
            (table.add)(&text, &mut wanted);
        }
    }
    for descriptor in descriptors {
        let found = inode(descriptor).and_then(|inode| wanted.get(&inode)?.clone());
        if let (Some(socket), Some(found)) = (&mut descriptor.socket, found) {
            *socket = Reading::Known(found);
        }
    }
}

/// What the kernel calls the protocol: `TCP`, `TCPv6`, `UNIX-STREAM` …
fn kind(name: &[u8]) -> DescriptorKind {
    match name.trim_ascii_end() {
        name if name.starts_with(b"TCP") || name.starts_with(b"MPTCP") => DescriptorKind::Tcp,
        name if name.starts_with(b"UDP") => DescriptorKind::Udp,
        name if name.starts_with(b"UNIX") => DescriptorKind::Unix,
        name if name.starts_with(b"NETLINK") => DescriptorKind::Netlink,
        _ => DescriptorKind::Socket,
    }
}

fn inode(descriptor: &DescriptorInspection) -> Option<u64> {
    descriptor.target.as_known()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn add<'a>(sockets: impl Iterator<Item = Socket<'a>>, wanted: &mut Wanted) {
    for socket in sockets {
        if let Some(place) = wanted.get_mut(&socket.inode) {
            let (local, remote) = (end(socket.local), end(socket.remote));
            *place = Some(SocketInspection { state: socket.state, local, remote });
        }
    }
}

fn end(end: End<'_>) -> String {
    match end {
        End::Internet(address) => address.to_string(),
        End::Name(name) => escaped(name),
        End::Netlink(family) => {
            let known = FAMILIES.iter().find(|(number, _)| *number == family);
            known.map_or_else(|| format!("family {family}"), |(_, name)| (*name).to_owned())
        }
        End::None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_have_kinds() {
        let check = |name: &[u8], expected| assert_eq!(kind(name), expected, "{}", String::from_utf8_lossy(name));
        for name in [&b"TCP"[..], b"TCPv6", b"MPTCP\0"] {
            check(name, DescriptorKind::Tcp);
        }
        check(b"UDPLITEv6", DescriptorKind::Udp);
        check(b"UNIX-STREAM", DescriptorKind::Unix);
        check(b"NETLINK", DescriptorKind::Netlink);
        check(b"PACKET", DescriptorKind::Socket);
        check(b"", DescriptorKind::Socket);
    }

    #[test]
    fn ends_are_words() {
        assert_eq!(end(End::Netlink(15)), "uevent");
        assert_eq!(end(End::Netlink(77)), "family 77");
        assert_eq!(end(End::Name(b"@a\x1b[2J")), "@a\\x1b[2J");
        assert_eq!(end(End::None), "");
    }
}
