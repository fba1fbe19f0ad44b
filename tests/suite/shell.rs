//! An interactive shell in a terminal of its own.
//!
//! Owns: the terminal, its keys and its size. Must not know: what is run in it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::process::{cannot_run, holds_soon, state};

/// Longer than anything takes here, also on a machine that is busy with other tests.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// A shell with job control, as a user has it.
pub(crate) struct Shell {
    child: Child,
    keys: File,
    output: Receiver<Vec<u8>>,
    /// What was written and not yet waited for.
    seen: String,
}

impl Shell {
    /// None where the tools are missing.
    pub(crate) fn start() -> Option<Self> {
        if !Path::new("/usr/bin/setsid").exists() || !Path::new("/bin/bash").exists() {
            cannot_run("run::terminal", "there is no setsid or no bash (`apt install util-linux bash`)");
            return None;
        }
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&keys).and_then(|()| unlockpt(&keys)).expect("it is ours");
        let name = ptsname(&keys, Vec::new()).expect("it has a name");
        let open = || {
            let file =
                File::options().read(true).write(true).open(Path::new(std::ffi::OsStr::from_bytes(name.as_bytes())));
            Stdio::from(file.expect("its other end"))
        };
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", "bash", "--norc", "--noprofile", "-i"]);
        command.env("PS1", "PROMPT> ").env("TERM", "dumb").stdin(open()).stdout(open()).stderr(open());
        let child = command.spawn().expect("setsid starts");
        let keys = File::from(keys);
        let mut screen = keys.try_clone().expect("it can be read");
        let (send, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = screen.read(&mut bytes) {
                if count == 0 || send.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut shell = Self { child, keys, output, seen: String::new() };
        shell.wait_for("PROMPT> ");
        Some(shell)
    }

    /// Makes the terminal another size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.keys, size).expect("it is a terminal");
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("somebody reads the keys");
    }

    /// Waits for a text behind all that was waited for before.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let until = Instant::now() + ANSWER_MAX;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            match self.output.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes).replace('\r', "")),
                Err(error) => panic!("{text:?} never came ({error}): {:?}", self.seen),
            }
        }
    }

    /// Waits until a text stands on the screen of a program. A screen writes only what has changed, so it is given another size again and
    /// again, upon which it writes all; places and spaces are left out on both sides.
    #[track_caller]
    pub(crate) fn wait_for_screen(&mut self, text: &str) {
        let (columns, rows) = (160, 50);
        let wanted: String = text.split_whitespace().collect();
        let until = Instant::now() + ANSWER_MAX;
        let mut shown = String::new();
        for turn in 0.. {
            self.seen.clear();
            self.resize(columns + turn % 2, rows);
            let drawn = Instant::now() + Duration::from_millis(400);
            while let Ok(bytes) = self.output.recv_timeout(drawn.saturating_duration_since(Instant::now())) {
                self.seen.push_str(&String::from_utf8_lossy(&bytes));
            }
            shown = without_places(&self.seen);
            if shown.contains(&wanted) || Instant::now() > until {
                break;
            }
        }
        assert!(shown.contains(&wanted), "{text:?} never stood on the screen: {shown}");
    }

    /// Types a line; what it prints is told from its echo by the quotes in it.
    pub(crate) fn type_line(&mut self, line: &str) {
        self.press(&format!("{line}\n"));
        self.wait_for("\n");
    }

    /// Waits for the prompt and asks for the status of what ended.
    #[track_caller]
    pub(crate) fn assert_status(&mut self, wanted: &str) {
        self.wait_for("PROMPT> ");
        self.type_line("echo \"co\"\"de=$?.\"");
        self.wait_for(&format!("code={wanted}."));
        self.wait_for("PROMPT> ");
    }
}

/// The characters of what a terminal is sent, without spaces and without the sequences that move its cursor.
fn without_places(text: &str) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => drop(characters.by_ref().skip_while(|next| *next == '[').find(char::is_ascii_alphabetic)),
            _ if character.is_whitespace() => (),
            _ => plain.push(character),
        }
    }
    plain
}

#[test]
fn what_stands_on_a_screen_is_read_without_its_places() {
    assert_eq!(without_places("\x1b[?25l\x1b[1;1H\x1b[1mone \x1b[2;12Htwo\r\nthree\x1b[0m"), "onetwothree");
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The shell ends its jobs when its terminal goes, and with it setsid; after a failure it must not be waited for.
        let _ = self.keys.write_all(b"\x03\x04exit\nexit\n");
        if !holds_soon(|| state(self.child.id()) == 'Z') {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
