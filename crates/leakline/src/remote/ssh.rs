//! Programs on another machine, run by the system's own ssh, so that its keys, configuration and jump hosts count.
//!
//! Owns: how ssh is called and what its failures mean. Must not know: what is run.
#![expect(clippy::disallowed_methods, reason = "the one place where leakline starts ssh")]

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::failure::Failure;
use crate::limits::REMOTE_BYTES;

/// How ssh is called for one host.
#[derive(Clone, Debug)]
pub(crate) struct Ssh {
    pub(crate) host: String,
    pub(crate) config: Option<PathBuf>,
}

/// How a command ended there.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code.
    pub(crate) code: u8,
    /// What it wrote, both streams cut at a bound.
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Ssh {
    /// Runs a command of the shell there to its end, with these bytes as its input.
    pub(crate) fn run(&self, command: &str, input: &mut dyn Read) -> Result<Ended, Failure> {
        self.stream(command, input, |output| {
            let mut text = Vec::new();
            output.take(REMOTE_BYTES).read_to_end(&mut text)?;
            // What is more than that must not block the other end.
            io::copy(output, &mut io::sink())?;
            Ok(text)
        })
        .map(|(text, ended)| Ended { output: String::from_utf8_lossy(&text).into_owned(), ..ended })
    }

    /// The same with its output read while it comes.
    pub(crate) fn stream<T>(
        &self,
        command: &str,
        input: &mut dyn Read,
        read: impl FnOnce(&mut dyn Read) -> io::Result<T>,
    ) -> Result<(T, Ended), Failure> {
        let lost = |error: io::Error| self.failure(&format!("the connection broke: {error}"));
        let mut child = self
            .command(command, false)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| missing(&error))?;
        let errors = child.stderr.take();
        let errors = std::thread::spawn(move || text_of(errors));
        if let Some(mut stdin) = child.stdin.take() {
            // An end that closes early says why on its error stream.
            let _ = io::copy(input, &mut stdin);
        }
        let taken = child.stdout.take().map_or_else(|| Err(io::ErrorKind::BrokenPipe.into()), |mut out| read(&mut out));
        if taken.is_err() {
            let _ = child.kill();
        }
        let status = child.wait().map_err(lost)?;
        let errors = errors.join().unwrap_or_default();
        let code = self.code(status, &errors)?;
        Ok((taken.map_err(lost)?, Ended { code, output: String::new(), errors }))
    }

    /// Runs a command with this terminal as its own; gives its exit code.
    pub(crate) fn show(&self, command: &str, terminal: bool) -> Result<u8, Failure> {
        let mut child: Child = self.command(command, terminal).spawn().map_err(|error| missing(&error))?;
        let status = child.wait().map_err(|error| self.failure(&error.to_string()))?;
        self.code(status, "")
    }

    fn command(&self, command: &str, terminal: bool) -> Command {
        debug_assert!(!self.host.starts_with('-'), "a host is no option");
        let mut ssh = Command::new("ssh");
        // A host that dies in the middle is noticed within half a minute.
        ssh.args(["-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"]);
        if terminal {
            // That a connection ended is no news at the end of a live view.
            ssh.args(["-t", "-o", "LogLevel=ERROR"]);
        } else {
            // Nobody could answer a question for several hosts at once.
            ssh.args(["-T", "-o", "BatchMode=yes"]);
        }
        if let Some(config) = &self.config {
            ssh.arg("-F").arg(config);
        }
        ssh.arg("--").arg(&self.host).arg(command);
        ssh
    }

    /// What its end means: 255 is ssh's own failure, and 127 that the command is not there.
    fn code(&self, status: ExitStatus, errors: &str) -> Result<u8, Failure> {
        match status.code() {
            Some(255) | None => Err(self.unreachable(errors)),
            Some(code) => Ok(u8::try_from(code).unwrap_or(2)),
        }
    }

    fn unreachable(&self, errors: &str) -> Failure {
        let last = errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("ssh failed");
        let host = &self.host;
        let hint = if last.contains("ermission denied") {
            format!("ssh must not ask for a password here: `ssh-copy-id {host}` installs a key")
        } else if last.contains("ost key verification failed") {
            format!("look at the key of the host once, with `ssh {host}`")
        } else {
            format!("`ssh {host} true` must work first")
        };
        Failure::with_hint(format!("{host}: {}", last.trim()), hint)
    }

    /// A failure that names the host.
    pub(crate) fn failure(&self, text: &str) -> Failure {
        Failure::with_hint(format!("{}: {}", self.host, text.trim()), None)
    }
}

fn text_of(stream: Option<impl Read>) -> String {
    let mut text = Vec::new();
    if let Some(mut stream) = stream {
        let _ = stream.by_ref().take(REMOTE_BYTES).read_to_end(&mut text);
        let _ = io::copy(&mut stream, &mut io::sink());
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn missing(error: &io::Error) -> Failure {
    Failure::with_hint(format!("ssh cannot be started: {error}"), "install the ssh client".to_owned())
}

/// Words for the shell at the other end, each exactly itself.
pub(crate) fn quoted<'a>(words: impl IntoIterator<Item = &'a OsString>) -> String {
    let mut line = Vec::new();
    for word in words {
        let _ = line.write_all(b" '");
        for byte in word.as_bytes() {
            let _ = line.write_all(if *byte == b'\'' { br"'\''" } else { std::slice::from_ref(byte) });
        }
        let _ = line.write_all(b"'");
    }
    String::from_utf8_lossy(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_themselves_in_a_shell() {
        let words: Vec<OsString> =
            ["a b", "it's", "$(reboot)", "", "`x`;&|", "é\n"].iter().map(OsString::from).collect();
        let output =
            Command::new("sh").args(["-c", &format!("printf '%s|'{}", quoted(&words))]).output().expect("sh runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a b|it's|$(reboot)||`x`;&||é\n|");
    }

    #[track_caller]
    fn check(errors: &str, words: &str) {
        let ssh = Ssh { host: "web1".to_owned(), config: None };
        let failure = format!("{:?}", ssh.unreachable(errors));
        assert!(failure.contains(words), "{failure}");
    }

    #[test]
    fn failures_of_ssh_say_what_to_do() {
        check("x\nroot@web1: Permission denied (publickey,password).\n", "ssh-copy-id web1");
        check("Host key verification failed.", "look at the key");
        check("ssh: connect to host web1 port 22: Connection refused\n\n", "web1: ssh: connect to host web1 port 22");
        check("", "web1: ssh failed");
    }
}
