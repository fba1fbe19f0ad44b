//! The listening socket and the threads that answer.
//!
//! Owns: the latest page, the bounds of time and number. Must not know: how requests are read, or what a page shows.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use report::{Html, RecordingView};

use crate::limits::{CONNECTIONS_MAX, HEAD_MAX, PATIENCE, PAUSE, READS_MAX, TOKEN_MIN};
use crate::request::{self, Refusal, Request};

/// What is shown: the page as it is opened, and the data that it asks for afterwards.
#[derive(Clone, Debug, Default)]
struct Page {
    page: Arc<[u8]>,
    data: Arc<[u8]>,
}

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    listening: Option<JoinHandle<()>>,
}

/// What the threads share.
#[derive(Debug)]
struct Shared {
    token: String,
    port: u16,
    page: Mutex<Page>,
    ended: AtomicBool,
    connections: AtomicUsize,
    refused: AtomicU64,
}

impl Page {
    /// The page of a view; `token` is that of the server.
    fn new(view: &RecordingView, token: &str) -> io::Result<Self> {
        let live = format!("/data?token={token}");
        let mut page = Vec::new();
        Html { view, live: Some(&live) }.write(&mut page)?;
        Ok(Self { page: page.into(), data: Html::data(view).into_bytes().into() })
    }
}

impl Server {
    /// Listens on loopback; port 0 takes any that is free. The token is made by the caller, who knows where randomness
    /// comes from; one that could be guessed is refused.
    pub fn start(port: u16, token: String) -> io::Result<Self> {
        let is_long = token.len() >= TOKEN_MIN && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_long {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the token must have 32 letters or digits"));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        debug_assert!(address.ip().is_loopback(), "nobody outside of this machine is listened to");
        let shared = Arc::new(Shared {
            token,
            port: address.port(),
            page: Mutex::default(),
            ended: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        });
        let theirs = Arc::clone(&shared);
        let listening = thread::Builder::new().name("web".to_owned()).spawn(move || listen(&listener, &theirs))?;
        Ok(Self { shared, address, listening: Some(listening) })
    }

    /// The address to open in a browser.
    pub fn address(&self) -> String {
        format!("http://{}/?token={}", self.address, self.shared.token)
    }

    /// Shows a newer view from now on.
    pub fn show(&self, view: &RecordingView) -> io::Result<()> {
        let page = Page::new(view, &self.shared.token)?;
        *self.shared.page.lock().unwrap_or_else(PoisonError::into_inner) = page;
        Ok(())
    }

    /// Requests that were refused: too many at a time, without the token, or not understood.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        // The thread waits for a connection; this is one. If it fails there is nobody to wait for.
        let woken = TcpStream::connect_timeout(&self.address, PATIENCE).is_ok();
        if let Some(listening) = self.listening.take().filter(|_| woken) {
            let _ = listening.join();
        }
    }
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.ended.load(Ordering::Acquire) {
            return;
        }
        // One that failed before it was there is no concern of ours; but where descriptors have run out the next fails at once
        // too, and asking without a pause would take a whole processor.
        let Ok(client) = client else {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            thread::sleep(PAUSE);
            continue;
        };
        let busy = shared.connections.fetch_add(1, Ordering::AcqRel);
        let theirs = Arc::clone(shared);
        let serve = move || {
            if serve(client, &theirs).is_err() {
                theirs.refused.fetch_add(1, Ordering::Relaxed);
            }
            theirs.connections.fetch_sub(1, Ordering::AcqRel);
        };
        let started =
            busy < CONNECTIONS_MAX && thread::Builder::new().name("web-client".to_owned()).spawn(serve).is_ok();
        if !started {
            shared.connections.fetch_sub(1, Ordering::AcqRel);
            shared.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One request and its answer; the connection ends after it.
fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let head = head(&mut client)?;
    let page = shared.page.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match request::parse(&head, shared.port, &shared.token) {
        Ok(Request::Page) => answer(&mut client, "200 OK", "text/html; charset=utf-8", &page.page),
        Ok(Request::Data) => answer(&mut client, "200 OK", "application/json", &page.data),
        Err(refusal) => {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            // Counted already, whether or not anybody waits for the answer.
            let _ = refuse(&mut client, refusal);
            Ok(())
        }
    }
}

/// Reads until the empty line; what follows it is not wanted. A client that is slow in every byte is left after a while.
fn head(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    for _ in 0..READS_MAX {
        let read = client.read(&mut part)?;
        if read == 0 || head.len() + read > HEAD_MAX {
            break;
        }
        head.extend_from_slice(&part[..read]);
        if head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            return Ok(head);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "no head of a request"))
}

fn refuse(client: &mut TcpStream, refusal: Refusal) -> io::Result<()> {
    answer(client, refusal.status(), "text/plain; charset=utf-8", refusal.status().as_bytes())
}

fn answer(client: &mut TcpStream, status: &str, kind: &str, body: &[u8]) -> io::Result<()> {
    // The address has the token in it, so that it must not be sent on as a referrer.
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn server() -> Server {
        let server = Server::start(0, TOKEN.to_owned()).expect("loopback can be listened on");
        let view = RecordingView { host: "<db>".to_owned(), ..RecordingView::default() };
        server.show(&view).expect("a vector takes everything");
        server
    }

    /// The whole answer to these bytes.
    fn ask(server: &Server, request: &[u8]) -> String {
        let mut client = TcpStream::connect(server.address).expect("the server listens");
        client.write_all(request).expect("the server reads");
        let mut answer = String::new();
        // A refusal in the middle of a request may reset the connection.
        let _ = client.read_to_string(&mut answer);
        answer
    }

    #[track_caller]
    fn check(server: &Server, path: &str, status: &str, body: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
        let answer = ask(server, request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert!(answer.contains(body), "{body} is not in {answer}");
    }

    #[test]
    fn a_page_and_its_data_are_served_for_the_token() {
        let server = server();
        check(&server, &format!("/?token={TOKEN}"), "200 OK", "<h1>&lt;db&gt;</h1>");
        check(&server, &format!("/data?token={TOKEN}"), "200 OK", "\"charts\":[]");
        assert_eq!(server.refused(), 0);
        check(&server, "/", "403 Forbidden", "403");
        check(&server, &format!("/etc/passwd?token={TOKEN}"), "404 Not Found", "404");
        assert_eq!(server.refused(), 2);
    }

    #[test]
    fn a_newer_view_takes_the_place_of_the_older() {
        let server = server();
        let view = RecordingView { from: report::WallTime(5_000_000_000), ..RecordingView::default() };
        server.show(&view).expect("a vector takes everything");
        check(&server, &format!("/data?token={TOKEN}"), "200 OK", "\"from\":5.0");
    }

    #[test]
    fn the_address_is_on_loopback_and_has_the_token() {
        let address = server().address();
        assert!(
            address.starts_with("http://127.0.0.1:") && address.ends_with(&format!("/?token={TOKEN}")),
            "{address}"
        );
    }

    #[test]
    fn a_token_that_can_be_guessed_is_refused() {
        for token in ["", "short", "0123456789abcdef 0123456789abcdef"] {
            assert!(Server::start(0, token.to_owned()).is_err(), "{token}");
        }
    }

    #[test]
    fn hostile_requests_end_without_harm() {
        let server = server();
        assert_eq!(ask(&server, &vec![b'a'; HEAD_MAX + 1]), "");
        assert!(ask(&server, b"\r\n\r\n").starts_with("HTTP/1.1 400"));
        assert!(ask(&server, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").starts_with("HTTP/1.1 403"));
        drop(TcpStream::connect(server.address).expect("the server listens"));
        check(&server, &format!("/data?token={TOKEN}"), "200 OK", "charts");
    }

    #[test]
    fn clients_that_say_nothing_do_not_keep_others_out_for_long() {
        let server = server();
        let silent: Vec<_> = (0..CONNECTIONS_MAX).map(|_| TcpStream::connect(server.address)).collect();
        assert!(silent.iter().all(Result::is_ok));
        thread::sleep(PATIENCE * 2);
        check(&server, &format!("/data?token={TOKEN}"), "200 OK", "charts");
    }

    #[test]
    fn a_server_that_is_dropped_listens_no_more() {
        let server = server();
        let address = server.address;
        drop(server);
        assert!(TcpStream::connect(address).is_err());
    }
}
