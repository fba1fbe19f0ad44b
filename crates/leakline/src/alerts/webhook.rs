//! One HTTP request with a JSON body, and nothing more of HTTP.
//!
//! Owns: the address, the request, what an answer means. Must not know: what is sent, or how often it is tried.
//!
//! Only `http://`; for `https://` there is `curl`.

use std::fmt;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::sinks::Undelivered;
use crate::limits::WEBHOOK_PATIENCE;

/// Where to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    is_secure: bool,
    /// Host and port as they stand in the address.
    authority: String,
    path: String,
}

impl Url {
    /// Whether it asks for TLS.
    pub(super) const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Host and port, which is what may be said of it: the rest is often a secret.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

/// Reads an address.
pub(crate) fn url(text: &str) -> Result<Url, String> {
    let needed = || "needed: an address such as https://alerts.example/leakline".to_owned();
    let (is_secure, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return Err(needed()),
    };
    // A blank or a line end would end the line of the request, and the rest would be taken for a header.
    let is_plain = rest.bytes().all(|byte| byte.is_ascii_graphic()) && !rest.contains(['@', '#']);
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !is_plain || authority.is_empty() || authority.starts_with(':') {
        return Err(needed());
    }
    let path = if path.is_empty() { "/" } else { path };
    Ok(Url { is_secure, authority: authority.to_owned(), path: path.to_owned() })
}

/// Sends once.
pub(super) fn post(url: &Url, body: &str) -> Result<(), Undelivered> {
    let for_now =
        |what: &str, error: &dyn std::fmt::Display| Undelivered::ForNow(format!("{}: {what}: {error}", url.authority));
    let has_port = url.authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { url.authority.clone() } else { format!("{}:80", url.authority) };
    let addresses = address.to_socket_addrs().map_err(|error| for_now("no such host", &error))?;
    let mut last = Undelivered::ForNow(format!("{}: no such host", url.authority));
    for address in addresses {
        match TcpStream::connect_timeout(&address, WEBHOOK_PATIENCE) {
            Ok(stream) => return exchange(url, stream, body, WEBHOOK_PATIENCE),
            Err(error) => last = for_now("cannot connect", &error),
        }
    }
    Err(last)
}

fn exchange(url: &Url, mut stream: TcpStream, body: &str, patience: Duration) -> Result<(), Undelivered> {
    let for_now = |error: std::io::Error| Undelivered::ForNow(format!("{}: {error}", url.authority));
    stream.set_read_timeout(Some(patience)).map_err(for_now)?;
    stream.set_write_timeout(Some(patience)).map_err(for_now)?;
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: leakline/{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        url.path,
        url.authority,
        env!("CARGO_PKG_VERSION"),
        body.len(),
    );
    stream.write_all(request.as_bytes()).map_err(for_now)?;
    let mut start = [0; 64];
    let mut length = 0;
    // The first line says it all; what follows is not read.
    while length < start.len() && !start[..length].contains(&b'\n') {
        match stream.read(&mut start[length..]).map_err(for_now)? {
            0 => break,
            more => length += more,
        }
    }
    judge(url, &start[..length])
}

/// What the first line of an answer means.
fn judge(url: &Url, start: &[u8]) -> Result<(), Undelivered> {
    let line = String::from_utf8_lossy(start);
    let code: Option<u16> = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.trim().parse().ok());
    match code {
        None => Err(Undelivered::ForNow(format!("{} does not answer as a web server does", url.authority))),
        code => judge_code(url, code),
    }
}

/// What the code of an answer means.
pub(super) fn judge_code(url: &Url, code: Option<u16>) -> Result<(), Undelivered> {
    match code {
        Some(200..=299) => Ok(()),
        // Too slow, too many, or a fault of the server: later it may do.
        Some(code @ (408 | 425 | 429 | 500..=599)) => {
            Err(Undelivered::ForNow(format!("{} answered {code}", url.authority)))
        }
        Some(code) => Err(Undelivered::ForGood(format!("{} answered {code}", url.authority))),
        None => Err(Undelivered::ForNow(format!("{} gave no answer that can be read", url.authority))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_url(text: &str, wanted: &str) {
        let found = url(text).map_or_else(|error| error, |url| url.to_string());
        assert!(found.starts_with(wanted), "{text}: {found}");
    }

    #[test]
    fn addresses_are_of_web_servers() {
        check_url("http://h:8080/a/b?c=d", "http://h:8080/a/b?c=d");
        check_url("http://h", "http://h/");
        check_url("http://[::1]:80/x", "http://[::1]:80/x");
        check_url("https://h/x", "https://h/x");
        for bad in [
            "",
            "h",
            "ftp://h",
            "http://",
            "http:///x",
            "https://",
            "http://:80",
            "http://u:p@h/",
            "http://h/a b",
            "http://h/\r\nX: y",
        ] {
            check_url(bad, "needed: an address");
        }
    }

    #[track_caller]
    fn check_answer(answer: &str, wanted: &str) {
        let url = url("http://h/").expect("it is sound");
        assert_eq!(format!("{:?}", judge(&url, answer.as_bytes())), wanted);
    }

    #[test]
    fn an_answer_says_whether_to_try_again() {
        check_answer("HTTP/1.1 204 No Content\r\n", "Ok(())");
        check_answer("HTTP/1.0 200\r\n", "Ok(())");
        check_answer("HTTP/1.1 503 x", r#"Err(ForNow("h answered 503"))"#);
        check_answer("HTTP/1.1 429 x", r#"Err(ForNow("h answered 429"))"#);
        check_answer("HTTP/1.1 404 x", r#"Err(ForGood("h answered 404"))"#);
        check_answer("HTTP/1.1 302 x", r#"Err(ForGood("h answered 302"))"#);
        check_answer("SSH-2.0-x\r\n", r#"Err(ForNow("h does not answer as a web server does"))"#);
        check_answer("", r#"Err(ForNow("h does not answer as a web server does"))"#);
    }
}
