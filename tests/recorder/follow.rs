//! One process in real time, and the service that records from boot on.
//!
//! Owns: what is shown where there is no terminal. Must not know: the screen and the page, which have tests of their own.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Folder;
use crate::command::{leakline, program};
use crate::process::cannot_run;
use crate::targets::Target;

#[test]
fn a_process_is_followed_until_it_ends() {
    let leaky = Target::start("c/leaky.c", "--rate 1000");
    let pid = leaky.pid();
    let run = leakline(&format!("plot --follow {pid} --every 0.2 --for 1"));
    // A second is too short to judge.
    run.assert_code(2);
    assert!(run.lines.len() >= 4 && run.lines.iter().all(|line| line.contains(&pid.to_string())), "{}", run.describe());
    leaky.stop().assert_unharmed();
    leakline(&format!("plot --follow {pid} --for 1")).assert_refused(&[&pid.to_string()]);
}

/// The first line of the answer to a request for this path.
fn ask(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it listens");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn the_page_is_for_who_has_its_token() {
    let mut child = Command::new(program())
        .args(["plot", "--follow", "1", "--web", "--for", "5"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("leakline runs");
    let mut errors = child.stderr.take().expect("it is a pipe");
    let mut said = Vec::new();
    let mut byte = [0];
    while said.last() != Some(&b'\n') && errors.read(&mut byte).is_ok_and(|count| count == 1) {
        said.push(byte[0]);
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    let url = said.split_whitespace().find_map(|word| word.strip_prefix("http://")).expect("an address is said");
    let (address, path) = url.split_at(url.find('/').expect("a path"));
    assert!(address.starts_with("127.0.0.1:"), "it listens on the loopback alone: {said}");
    assert_eq!(ask(address, path), "HTTP/1.1 200 OK");
    assert!(ask(address, "/").contains("403"));
    assert!(ask(address, "/?token=0123456789abcdef0123456789abcdef").contains("403"));
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn a_service_is_installed_into_an_image_and_its_unit_is_sound() {
    let folder = Folder::new("boot");
    let root = folder.place("image");
    leakline(&format!("boot install --root {root}")).assert_code(0);
    let unit = folder.path().join("image/etc/systemd/system/leakline-boot.service");
    let text = fs::read_to_string(&unit).expect("it is written");
    assert!(text.contains(&format!("ExecStart=\"{}\" boot run", program().display())), "{text}");
    match Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&unit).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => cannot_run("the unit is verified", "there is no systemd-analyze"),
    }
    // How much the service could do if somebody took it over: 0 is nothing, 10 is everything; above 5 is called medium.
    let security =
        Command::new("systemd-analyze").args(["security", "--offline=yes", "--threshold=40"]).arg(&unit).output();
    match security {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(_) => cannot_run("the unit exposes little", "there is no systemd-analyze"),
    }
    leakline(&format!("boot uninstall --root {root}")).assert_code(0);
    assert!(!unit.exists());
    leakline(&format!("boot uninstall --root {root}")).assert_refused(&["not installed"]);
}

#[test]
fn without_systemd_it_says_what_to_run() {
    if Path::new("/run/systemd/system").is_dir() {
        cannot_run("a machine without systemd", "systemd is at work here, and the case must not install anything");
        return;
    }
    leakline("boot install").assert_refused(&["systemd is not at work", "record --background"]);
}

#[test]
fn what_the_service_runs_is_a_recorder_whose_boots_are_compared() {
    let folder = Folder::new("boot-run");
    let place = folder.place("r");
    leakline(&format!("boot run -o {place} --every 0.2 --for 1")).assert_code(0);
    let run = leakline(&format!("boot status {place} --baseline 0.5"));
    run.assert_code(2);
    assert!(run.lines.iter().any(|line| line.starts_with("recorder   not at work")), "{}", run.describe());
    for word in ["boot  ", "  used", "  slab", "  tables", "  stacks"] {
        assert!(run.lines.iter().any(|line| line.starts_with(word)), "{word}: {:#?}", run.lines);
    }
}
