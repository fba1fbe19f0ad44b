//! What a client asks for.
//!
//! Owns: the first line and the host of an HTTP request. Must not know: sockets, or what is answered.

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// The page.
    Page,
    /// Newer data for it.
    Data,
}

/// Why nothing is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is no request that we understand.
    Malformed,
    /// Only reading is possible.
    Method,
    /// It was meant for another host: the trick of a foreign page.
    Host,
    /// The token is missing or wrong.
    Token,
    /// There is no such thing.
    Path,
}

impl Refusal {
    /// The status line of the answer.
    pub(crate) const fn status(self) -> &'static str {
        match self {
            Self::Malformed => "400 Bad Request",
            Self::Method => "405 Method Not Allowed",
            Self::Host | Self::Token => "403 Forbidden",
            Self::Path => "404 Not Found",
        }
    }
}

/// Reads the head of a request. `port` is ours: only addresses of loopback with this port are meant for us.
pub(crate) fn parse(head: &[u8], port: u16, token: &str) -> Result<Request, Refusal> {
    let head = std::str::from_utf8(head).map_err(|_| Refusal::Malformed)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::Malformed);
    };
    if !version.starts_with("HTTP/1.") {
        return Err(Refusal::Malformed);
    }
    if method != "GET" {
        return Err(Refusal::Method);
    }
    // Exactly one: of two a proxy and we might each take another one.
    let hosts: Vec<&str> = lines.filter_map(host).collect();
    if !matches!(hosts[..], [host] if is_ours(host, port)) {
        return Err(Refusal::Host);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    // In the address and not in a header, since it is opened by a click; answers ask not to be stored or sent on as a referrer.
    let given = query.split('&').find_map(|part| part.strip_prefix("token=")).unwrap_or_default();
    // The token is asked for before the path, so that nobody learns without it what there is.
    if !is_equal(given.as_bytes(), token.as_bytes()) {
        return Err(Refusal::Token);
    }
    match path {
        "/" => Ok(Request::Page),
        "/data" => Ok(Request::Data),
        _ => Err(Refusal::Path),
    }
}

/// The value of a line that names the host.
fn host(line: &str) -> Option<&str> {
    let (name, value) = line.split_once(':')?;
    name.eq_ignore_ascii_case("host").then(|| value.trim())
}

fn is_ours(host: &str, port: u16) -> bool {
    ["127.0.0.1", "localhost"].iter().any(|name| host == format!("{name}:{port}"))
}

/// Compares without ending at the first difference, so that its time does not tell how much of a guess is right.
fn is_equal(given: &[u8], token: &[u8]) -> bool {
    debug_assert!(!token.is_empty(), "without a token everybody would be let in");
    let differences = given.iter().zip(token).fold(0, |differences, (a, b)| differences | (a ^ b));
    given.len() == token.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[track_caller]
    fn check(first: &str, headers: &str, expected: Result<Request, Refusal>) {
        let head = format!("{first}\r\n{headers}\r\n\r\n").replace("TOKEN", TOKEN);
        assert_eq!(parse(head.as_bytes(), 80, TOKEN), expected, "{head}");
    }

    const OURS: &str = "Host: 127.0.0.1:80";

    #[test]
    fn the_page_and_its_data_are_given_for_the_token() {
        check("GET /?token=TOKEN HTTP/1.1", OURS, Ok(Request::Page));
        check("GET /data?a=b&token=TOKEN HTTP/1.1", "User-Agent: x\r\nhost:  localhost:80 ", Ok(Request::Data));
    }

    #[test]
    fn without_the_token_nothing_is_given() {
        check("GET / HTTP/1.1", OURS, Err(Refusal::Token));
        check("GET /?token= HTTP/1.1", OURS, Err(Refusal::Token));
        check("GET /?token=TOKEN0 HTTP/1.1", OURS, Err(Refusal::Token));
        check("GET /?token=0123456789abcdef0123456789abcdee HTTP/1.1", OURS, Err(Refusal::Token));
        check("GET /other HTTP/1.1", OURS, Err(Refusal::Token));
        check("GET /other?token=TOKEN HTTP/1.1", OURS, Err(Refusal::Path));
    }

    #[test]
    fn a_foreign_page_cannot_reach_us_by_another_name() {
        check("GET /?token=TOKEN HTTP/1.1", "Host: evil.example:80", Err(Refusal::Host));
        check("GET /?token=TOKEN HTTP/1.1", "Host: 127.0.0.1:81", Err(Refusal::Host));
        check("GET /?token=TOKEN HTTP/1.1", "Accept: */*", Err(Refusal::Host));
        check("GET /?token=TOKEN HTTP/1.1", "Host: 127.0.0.1:80\r\nHost: 127.0.0.1:80", Err(Refusal::Host));
    }

    #[test]
    fn what_is_no_reading_request_is_refused() {
        check("POST /?token=TOKEN HTTP/1.1", OURS, Err(Refusal::Method));
        check("GET /?token=TOKEN HTTP/2", OURS, Err(Refusal::Malformed));
        check("GET  /?token=TOKEN HTTP/1.1", OURS, Err(Refusal::Malformed));
        check("", "", Err(Refusal::Malformed));
        assert_eq!(parse(b"GET /\xff HTTP/1.1\r\n\r\n", 80, TOKEN), Err(Refusal::Malformed));
    }
}
