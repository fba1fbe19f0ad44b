//! `/proc/PID/net/{tcp,tcp6,udp,udp6,unix,netlink}`: the sockets of a network namespace.
//!
//! Owns: the lines of these tables and the words for their states. Must not know: which process has a socket open; the inode tells.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::scan;

/// `__SO_ACCEPTCON` of the kernel's `include/linux/net.h`: a socket of the local machine that listens.
const LISTENS: u64 = 0x1_0000;

/// One line of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket<'a> {
    /// What `/proc/PID/fd` names it by; 0 for one that no process has any more.
    pub inode: u64,
    /// What it does.
    pub state: &'static str,
    /// This end.
    pub local: End<'a>,
    /// The other end.
    pub remote: End<'a>,
}

/// One end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// Address and port.
    Internet(SocketAddr),
    /// Name of a socket of the local machine, as its owner chose it; `@` first where it is no file.
    Name(&'a [u8]),
    /// Number of a family of netlink.
    Netlink(u64),
    /// None, or not told.
    None,
}

/// Lines of `tcp` and `tcp6`.
pub fn tcp(text: &[u8]) -> impl Iterator<Item = Socket<'_>> {
    scan::lines(text).filter_map(|line| internet(line, tcp_state))
}

/// Lines of `udp`, `udp6` and their like.
pub fn udp(text: &[u8]) -> impl Iterator<Item = Socket<'_>> {
    scan::lines(text).filter_map(|line| internet(line, |state| if state == 1 { "connected" } else { "unconnected" }))
}

/// Lines of `unix`.
pub fn unix(text: &[u8]) -> impl Iterator<Item = Socket<'_>> {
    scan::lines(text).filter_map(|line| {
        let mut fields = scan::fields(line);
        let flags = scan::hexadecimal(fields.nth(3)?)?;
        let state = scan::hexadecimal(fields.nth(1)?)?;
        let inode = scan::decimal(fields.next()?)?;
        // The name is what follows one blank, whatever it has in it.
        let name = fields.next().map_or(End::None, |first| {
            let start = first.as_ptr() as usize - line.as_ptr() as usize;
            End::Name(line.get(start..).unwrap_or(first))
        });
        let state = match state {
            1 if flags & LISTENS != 0 => "listening",
            1 => "unconnected",
            2 => "connecting",
            3 => "connected",
            _ => "closing",
        };
        Some(Socket { inode, state, local: name, remote: End::None })
    })
}

/// Lines of `netlink`.
pub fn netlink(text: &[u8]) -> impl Iterator<Item = Socket<'_>> {
    scan::lines(text).filter_map(|line| {
        let mut fields = scan::fields(line);
        let family = scan::decimal(fields.nth(1)?)?;
        let inode = scan::decimal(fields.nth(7)?)?;
        Some(Socket { inode, state: "open", local: End::Netlink(family), remote: End::None })
    })
}

fn internet(line: &[u8], word: impl Fn(u64) -> &'static str) -> Option<Socket<'_>> {
    let mut fields = scan::fields(line);
    let local = address(fields.nth(1)?)?;
    let remote = address(fields.next()?)?;
    let state = word(scan::hexadecimal(fields.next()?)?);
    let inode = scan::decimal(fields.nth(5)?)?;
    let remote = if remote.port() == 0 { End::None } else { End::Internet(remote) };
    Some(Socket { inode, state, local: End::Internet(local), remote })
}

/// The kernel's `include/net/tcp_states.h`.
const fn tcp_state(number: u64) -> &'static str {
    match number {
        1 => "established",
        2 => "syn sent",
        3 | 12 => "syn received",
        4 => "fin wait 1",
        5 => "fin wait 2",
        6 => "time wait",
        7 => "closed",
        8 => "close wait",
        9 => "last ack",
        10 => "listening",
        11 => "closing",
        _ => "other",
    }
}

/// `0100007F:1F90`: words of the address as this machine's memory has them, and the port.
fn address(field: &[u8]) -> Option<SocketAddr> {
    let (digits, port) = scan::split_at_byte(field, b':')?;
    let port = u16::try_from(scan::hexadecimal(port)?).ok()?;
    let word = |digits: &[u8]| u32::try_from(scan::hexadecimal(digits)?).ok().map(u32::to_ne_bytes);
    let address: IpAddr = match digits.len() {
        8 => Ipv4Addr::from(word(digits)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (part, digits) in bytes.chunks_exact_mut(4).zip(digits.chunks_exact(8)) {
                part.copy_from_slice(&word(digits)?);
            }
            // A socket for both versions shows partners of version 4 as `::ffff:192.0.2.1`.
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written<'a>(sockets: impl Iterator<Item = Socket<'a>>) -> String {
        let end = |end: End<'_>| match end {
            End::Internet(address) => address.to_string(),
            End::Name(name) => String::from_utf8_lossy(name).into_owned(),
            End::Netlink(family) => format!("family {family}"),
            End::None => "-".to_owned(),
        };
        let line = |socket: Socket<'_>| {
            format!("{} {} {} {}", socket.inode, socket.state, end(socket.local), end(socket.remote))
        };
        sockets.map(line).collect::<Vec<_>>().join("; ")
    }

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    #[test]
    fn connections_of_both_versions() {
        let text = format!(
            "{HEAD}   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0\n   \
             1: 0100007F:1F90 0200000A:D431 08 00000000:00000001 00:00000000 00000000  1000        0 12 1 0 20 4 1 10 -1\n"
        );
        assert_eq!(
            written(tcp(text.as_bytes())),
            "11 listening 0.0.0.0:22 -; 12 close wait 127.0.0.1:8080 10.0.0.2:54321"
        );
        let text = format!(
            "{HEAD}   0: B80D01200000000000000000010000000:0 x 01\n   \
             1: B80D0120000000000000000001000000:01BB 0000000000000000FFFF00000200000A:0050 01 0:0 00:0 0 0 0 13 1\n"
        );
        assert_eq!(written(tcp(text.as_bytes())), "13 established [2001:db8::1]:443 10.0.0.2:80");
    }

    #[test]
    fn datagrams() {
        let text = format!(
            "{HEAD}  5: 0100007F:0035 00000000:0000 07 0:0 00:0 0 101 0 21 2 0 0\n  6: 0100007F:8000 0100007F:0035 01 0:0 00:0 0 0 0 22 2 0 0\n"
        );
        assert_eq!(
            written(udp(text.as_bytes())),
            "21 unconnected 127.0.0.1:53 -; 22 connected 127.0.0.1:32768 127.0.0.1:53"
        );
    }

    #[test]
    fn sockets_of_the_local_machine() {
        let text = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                    0000000000000000: 00000002 00000000 00010000 0001 01 31 /run/a b\n\
                    0000000000000000: 00000003 00000000 00000000 0001 03 32\n\
                    0000000000000000: 00000002 00000000 00000000 0002 01 33 @abstract\n";
        assert_eq!(
            written(unix(text.as_bytes())),
            "31 listening /run/a b -; 32 connected - -; 33 unconnected @abstract -"
        );
    }

    #[test]
    fn netlink_has_families() {
        let text = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
                    0000000000000000 15  4711       00000001 0        0        0     2        0        41\n";
        assert_eq!(written(netlink(text.as_bytes())), "41 open family 15 -");
    }

    #[test]
    fn arbitrary_bytes_do_no_harm() {
        for seed in 0..20_000 {
            let text = scan::noise(seed, b"0123456789ABCDEF: \n/@");
            let all = tcp(&text).chain(udp(&text)).chain(unix(&text)).chain(netlink(&text));
            assert!(all.count() <= 4 * text.len());
        }
    }
}
