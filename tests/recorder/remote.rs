//! Another machine: a real sshd on the loopback, with keys made for this case.
//!
//! Owns: the server and its folders. Must not know: how leakline calls ssh.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use super::Folder;
use crate::command::{Run, leakline};
use crate::process::{cannot_run, holds_soon};

const SSHD: &str = "/usr/sbin/sshd";

/// A server for one case, ended with it.
struct Server {
    child: Child,
    folder: Folder,
}

impl Server {
    /// None where there is no sshd on this machine.
    fn start(case: &str) -> Option<Self> {
        if !fs::exists(SSHD).unwrap_or(false) {
            cannot_run(case, "there is no sshd (apt-get install openssh-server)");
            return None;
        }
        let folder = Folder::new(case);
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        // sshd looks for it and makes it nowhere.
        let _ = fs::create_dir_all("/run/sshd");
        for key in ["host", "user", "stranger"] {
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &folder.place(key)]).status();
            assert!(made.is_ok_and(|status| status.success()), "a key can be made");
        }
        let server = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nPidFile none\nPermitRootLogin yes\n",
            folder.place("host"),
            folder.place("user.pub"),
        );
        let host = |name: &str, port: u16, key: &str| {
            format!(
                "Host {name}\n HostName 127.0.0.1\n Port {port}\n IdentityFile {}\n UserKnownHostsFile {}\n \
                 StrictHostKeyChecking accept-new\n IdentitiesOnly yes\n",
                folder.place(key),
                folder.place("known"),
            )
        };
        let client = [host("far", port, "user"), host("locked", port, "stranger"), host("dead", 1, "user")].concat();
        fs::write(folder.path().join("sshd_config"), server).expect("it has room");
        fs::write(folder.path().join("ssh_config"), client).expect("it has room");
        let child = Command::new(SSHD)
            .args(["-D", "-f", &folder.place("sshd_config"), "-E", &folder.place("log")])
            .stdin(Stdio::null())
            .spawn()
            .expect("sshd starts");
        let server = Self { child, folder };
        let log = || fs::read_to_string(server.folder.path().join("log")).unwrap_or_default();
        assert!(holds_soon(|| log().contains("listening")), "sshd does not listen: {}", log());
        Some(server)
    }

    fn remote(&self, arguments: &str) -> Run {
        let (config, there, here) =
            (self.folder.place("ssh_config"), self.folder.place("there"), self.folder.place("here"));
        leakline(&format!("remote --ssh-config {config} --remote-dir {there} --data-dir {here} {arguments}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.remote("far clean");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_host_is_recorded_looked_at_fetched_and_cleaned() {
    let Some(server) = Server::start("remote") else { return };
    server.remote("far start --every 0.2").assert_code(0);
    assert!(
        holds_soon(|| server.remote("far peek").lines.iter().any(|line| line.contains("at work as process"))),
        "it records"
    );
    let here = server.folder.place("here");
    assert!(holds_soon(|| server.remote("far download").code == Some(0)
        && leakline(&format!("status --json far --data-dir {here}"))
            .lines
            .iter()
            .any(|line| !line.contains(r#""samples":0,"#))));
    let report = leakline(&format!("report far --data-dir {here}"));
    assert!(matches!(report.code, Some(0 | 1)), "{}", report.describe());
    server.remote("far stop").assert_code(0);
    server.remote("far download").assert_code(0);
    let again = server.remote("far download");
    assert!(
        again.lines.iter().any(|line| line.starts_with("0 files")),
        "only what is new is fetched: {}",
        again.describe()
    );
    server.remote("far clean").assert_code(0);
    assert!(!server.folder.path().join("there").exists(), "nothing of leakline is left");
    server.remote("far peek").assert_refused(&["far", "is not there", "start"]);
}

#[test]
fn a_process_there_is_attached_to_from_here() {
    let Some(server) = Server::start("remote-hunt") else { return };
    let run = server.remote("far hunt --for 1 --every 0.5 --attach never --json --pid 1");
    assert_eq!(run.summary()["document"], "hunt", "{}", run.describe());
    assert_eq!(run.code, Some(2), "one second is too short to judge, and the code is that of the other end");
    server.remote("far attach 4194303").assert_code(2);
    server.remote("far locked hunt").assert_refused(&["one screen shows one host"]);
}

#[test]
fn hosts_that_cannot_be_reached_are_named() {
    let Some(server) = Server::start("remote-dead") else { return };
    server.remote("dead peek").assert_refused(&["dead", "refused"]);
    server.remote("locked start").assert_refused(&["permission denied", "ssh-copy-id locked"]);
    let run = server.remote("far dead locked stop");
    run.assert_code(2);
    for host in ["dead", "locked", "far"] {
        assert!(run.errors.contains(host), "{host} is not named: {}", run.describe());
    }
    server.remote("start").assert_refused(&["no host is named"]);
    server.remote("--hosts-file /no/such start").assert_refused(&["/no/such"]);
}
