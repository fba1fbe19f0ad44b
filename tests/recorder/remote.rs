//! Another machine: a real sshd on the loopback, with keys made for this case.
//!
//! Owns: the server and its folders. Must not know: how leakline calls ssh.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::Folder;
use crate::command::{Run, Running, leakline, program};
use crate::process::{cannot_run, holds_soon, signal};
use crate::targets::Target;

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
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPasswordAuthentication yes\n\
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
        let client = [
            host("far", port, "user"),
            host("locked", port, "stranger"),
            host("dead", 1, "user"),
            host("open-to-passwords", port, "stranger"),
        ]
        .concat();
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
        leakline(&self.line(arguments))
    }

    /// The arguments of `remote` for this server.
    fn line(&self, arguments: &str) -> String {
        let (config, there, here) =
            (self.folder.place("ssh_config"), self.folder.place("there"), self.folder.place("here"));
        format!("remote --ssh-config {config} --remote-dir {there} --data-dir {here} {arguments}")
    }

    /// The same on a terminal of 100 columns.
    fn on_a_terminal(&self, arguments: &str) -> Running {
        let line = format!("stty cols 100 rows 30; '{}' {}", program().display(), self.line(arguments));
        // Its keyboard is a pipe that never ends: the end of input would be a key, too.
        let mut script = Command::new("sh");
        script.args(["-c", r#"mkfifo "$KEYS"; exec script -qec "$LINE" /dev/null <>"$KEYS""#]);
        script.env("KEYS", self.folder.place(&format!("keys-{}", line.len()))).env("LINE", line).env("TERM", "xterm");
        Running::start_command(script, "remote on a terminal")
    }

    /// How many hunts the program that was copied there is at.
    fn hunts(&self) -> usize {
        let there = format!("{}/leakline\0hunt\0", self.folder.place("there"));
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let lines = processes.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
        lines.filter(|line| line.starts_with(&there)).count()
    }

    /// Ends all connections at once, as a host that dies does; gives their number.
    fn break_connections(&self) -> usize {
        let children = children_of(self.child.id());
        let sessions: Vec<u32> = children.iter().flat_map(|pid| children_of(*pid)).collect();
        // The program itself is a child of a session, and would not notice the end of its host.
        for pid in &children {
            signal(*pid, Signal::KILL);
        }
        for pid in sessions.iter().filter(|pid| command_of(**pid).starts_with("sshd")) {
            signal(*pid, Signal::KILL);
        }
        children.len()
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let tasks = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    tasks.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn command_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
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

#[test]
fn the_live_view_of_a_process_there_is_shown_here() {
    let Some(server) = Server::start("remote-live") else { return };
    let leaky = Target::start("c/leaky.c", "--rate 1000");
    let pid = leaky.pid();
    let run = server.on_a_terminal(&format!("far attach {pid} --expire 1 --for 6")).wait();
    // What some seconds of a busy machine are enough to judge differs; that it was looked at does not.
    assert!(matches!(run.code, Some(0..=2)), "the code is that of the other end: {}", run.describe());
    let text = run.lines.join("\n");
    assert!(text.contains("\x1b[?1049h"), "the screen is drawn here: {}", run.describe());
    assert!(text.contains(&pid.to_string()), "{}", run.describe());
    assert!(text.contains("leak_here"), "the site is named: {}", run.describe());
    let run = server.on_a_terminal(&format!("far hunt --for 8 --every 0.5 --attach never --pid {pid}")).wait();
    assert!(run.lines.iter().any(|line| line.contains("leaky")), "{}", run.describe());
    leaky.stop().assert_unharmed();
}

#[test]
fn a_connection_that_breaks_is_said_and_the_target_goes_on() {
    let Some(server) = Server::start("remote-broken") else { return };
    let leaky = Target::start("c/leaky.c", "--rate 1000");
    let mut running = Running::start(&server.line(&format!("far attach {} --json --expire 1 --for 60", leaky.pid())));
    running.wait_attached();
    assert!(server.break_connections() > 0, "there is a connection");
    let run = running.wait();
    run.assert_code(2);
    assert!(run.errors.contains("far"), "the host is named: {}", run.describe());
    leaky.stop().assert_unharmed();
    // A hunt says nothing before its end: that its reader is gone must be noticed without.
    let hunt = Running::start(&server.line("far hunt --for 3600 --attach never"));
    assert!(holds_soon(|| server.hunts() == 1), "it hunts there");
    assert!(server.break_connections() > 0, "there is a connection");
    hunt.wait().assert_code(2);
    assert!(holds_soon(|| server.hunts() == 0), "nothing goes on there for nobody");
    // The same in the middle of a recording: what is there goes on, and is fetched afterwards.
    server.remote("far start --every 0.2").assert_code(0);
    server.break_connections();
    assert!(holds_soon(|| server.remote("far download").code == Some(0)));
    let here = server.folder.place("here");
    assert!(holds_soon(|| {
        server.remote("far download");
        leakline(&format!("status --json far --data-dir {here}"))
            .lines
            .iter()
            .any(|line| !line.contains(r#""samples":0,"#))
    }));
}

#[test]
fn several_hosts_of_a_file_are_asked_at_once() {
    let Some(server) = Server::start("remote-several") else { return };
    let hosts = server.folder.place("hosts");
    fs::write(&hosts, "# ours\nfar  # the first\n\nfar\ndead\n").expect("it has room");
    let run = server.remote(&format!("--hosts-file {hosts} start --every 0.2"));
    run.assert_code(2);
    assert!(run.lines.iter().any(|line| line.starts_with("far: recording into")), "{}", run.describe());
    assert!(run.errors.contains("error: dead: "), "{}", run.describe());
    let run = server.remote(&format!("--hosts-file {hosts} peek"));
    assert!(run.lines.iter().any(|line| line.starts_with("far: ")), "each line is named: {}", run.describe());
    assert_eq!(run.errors.matches("dead").count(), 1, "{}", run.describe());
    fs::write(&hosts, "far\n-oProxyCommand=reboot\n").expect("it has room");
    server.remote(&format!("--hosts-file {hosts} peek")).assert_refused(&["line 2"]);
}

#[test]
fn a_full_disk_there_is_said_and_nothing_half_written_stays() {
    let Some(server) = Server::start("remote-full") else { return };
    let there = server.folder.place("there");
    fs::create_dir_all(&there).expect("it can be made");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs", &there]).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return cannot_run("a full disk at the far end", "a tmpfs cannot be mounted here (needs root)");
    }
    let run = server.remote("far start");
    let left = fs::read_dir(&there).expect("it is there").count();
    let _ = Command::new("umount").arg(&there).status();
    run.assert_refused(&["far: leakline cannot be copied there", "no space left", "needs room"]);
    assert_eq!(left, 0, "what was half copied is removed");
}

#[test]
fn a_host_that_asks_for_a_password_is_not_waited_for() {
    let Some(server) = Server::start("remote-password") else { return };
    // ssh asks where it may; the program that would be asked for the answer must never run.
    let asked = server.folder.place("asked");
    let helper = server.folder.place("askpass");
    fs::write(&helper, format!("#!/bin/sh\ntouch {asked}\necho secret\n")).expect("it has room");
    assert!(Command::new("chmod").args(["700", &helper]).status().is_ok_and(|status| status.success()));
    let mut command = Command::new(program());
    command.args(server.line("open-to-passwords start").split(' '));
    command.env("SSH_ASKPASS", &helper).env("SSH_ASKPASS_REQUIRE", "force").env("DISPLAY", ":0");
    let run = Running::start_command(command, "remote with a password").wait();
    run.assert_refused(&["permission denied", "password", "ssh-copy-id open-to-passwords"]);
    assert!(!server.folder.path().join("asked").exists(), "nobody was asked");
}
