//! Alerts of a machine whose thresholds are low: shown by `watch`, sent to a real web server over http and https.
//!
//! Owns: the server (python's own) and its certificate. Must not know: how leakline sends.

use std::fs;
use std::process::{Child, Command, Stdio};

use super::Folder;
use crate::command::{Run, Running, leakline, program};
use crate::process::{cannot_run, holds_soon};

/// Raised by every machine after a second.
const LOW: &str = "[alerts]\nmemory-used = { raise = 0.001, clear = 0.0005, hold = 1 }\n";

/// Says its port, answers the first request with 503 and all others with 204, and appends what is sent to a file.
const SERVER: &str = r#"
import http.server, ssl, sys
out, certificate = sys.argv[1], sys.argv[2]
class Handler(http.server.BaseHTTPRequestHandler):
    busy = True
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503 if Handler.busy else 204)
        self.end_headers()
        with open(out, "ab") as file:
            file.write((b"busy " if Handler.busy else b"done ") + self.path.encode() + b" " + body.strip() + b"\n")
        Handler.busy = False
    def log_message(self, *words):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
if certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
with open(out + ".port", "w") as file:
    file.write(f"{server.server_port} ")
server.serve_forever()
"#;

/// A web server for one case, ended with it.
struct Server {
    child: Child,
    port: String,
    sent: std::path::PathBuf,
}

impl Server {
    fn start(folder: &Folder, certificate: &str) -> Option<Self> {
        let sent = folder.path().join("sent");
        let mut python = Command::new("python3");
        python.args(["-c", SERVER]).arg(&sent).arg(certificate).stdin(Stdio::null());
        let Ok(child) = python.spawn() else {
            cannot_run("a web server for alerts", "there is no python3");
            return None;
        };
        let mut server = Self { child, port: String::new(), sent };
        let port = || fs::read_to_string(server.sent.with_extension("port")).unwrap_or_default();
        assert!(holds_soon(|| port().ends_with(' ')), "the web server does not listen");
        port().trim().clone_into(&mut server.port);
        Some(server)
    }

    fn sent(&self) -> String {
        fs::read_to_string(&self.sent).unwrap_or_default()
    }

    /// A busy answer first, then the same alert again.
    #[track_caller]
    fn assert_told(&self, run: &Run) {
        let sent = self.sent();
        let lines: Vec<&str> = sent.lines().collect();
        assert!(lines.len() >= 2, "{sent}{}", run.describe());
        assert!(lines[0].starts_with("busy /hook?token=1 {") && lines[1].starts_with("done /hook?token=1 {"), "{sent}");
        assert_eq!(lines[0].split_once('{'), lines[1].split_once('{').map(|(_, body)| ("busy /hook?token=1 ", body)));
        let alert: serde_json::Value =
            serde_json::from_str(&lines[1][lines[1].find('{').expect("a body")..]).expect("JSON");
        assert_eq!((&alert["document"], &alert["rule"]), (&"alert".into(), &"memory-used".into()), "{alert:#}");
        assert_eq!(alert["next_command"], "leakline hunt", "{alert:#}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(folder: &Folder) -> String {
    fs::write(folder.path().join("leakline.toml"), LOW).expect("it has room");
    folder.place("leakline.toml")
}

#[test]
fn watch_shows_alerts_and_what_to_do_next() {
    let folder = Folder::new("watch-alerts");
    let settings = settings(&folder);
    let told = folder.place("alerts.jsonl");
    let run = leakline(&format!("watch --config {settings} --plain --every 0.2 --for 3 --pid 1 --alert-file {told}"));
    run.assert_code(0);
    let line =
        run.lines.iter().find(|line| line.contains("memory-used")).unwrap_or_else(|| panic!("{}", run.describe()));
    assert!(line.contains("warning") && line.ends_with("→ leakline hunt"), "{line}");
    assert_eq!(fs::read_to_string(&told).expect("it is written").lines().count(), 1);

    let run = leakline(&format!("watch --config {settings} --json --every 0.2 --for 3 --pid 1"));
    let documents: Vec<serde_json::Value> =
        run.lines.iter().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let alerts: Vec<_> = documents.iter().filter(|document| document["document"] == "alert").collect();
    assert_eq!(alerts.len(), 1, "raised once: {}", run.describe());
    assert_eq!((&alerts[0]["schema"], &alerts[0]["next_command"]), (&1.into(), &"leakline hunt".into()));

    let mut script = Command::new("script");
    let watch =
        format!("stty cols 100 rows 24; '{}' watch --config {settings} --every 0.2 --for 3", program().display());
    script.args(["-qec", &watch, "/dev/null"]).env("TERM", "xterm");
    let run = Running::start_command(script, "watch on a terminal").wait();
    run.assert_code(0);
    assert!(run.lines.iter().any(|line| line.contains("memory-used")), "the screen shows it: {}", run.describe());
}

#[test]
fn a_busy_web_server_gets_the_alert_at_the_second_try() {
    let folder = Folder::new("webhook");
    let settings = settings(&folder);
    let Some(server) = Server::start(&folder, "") else { return };
    let url = format!("http://127.0.0.1:{}/hook?token=1", server.port);
    let run = leakline(&format!(
        "record --config {settings} -o {} --every 0.2 --for 5 --alert-webhook {url}",
        folder.place("r")
    ));
    run.assert_code(0);
    server.assert_told(&run);
}

#[test]
fn a_web_server_over_https_is_told_if_its_authority_is_trusted() {
    let folder = Folder::new("webhook-https");
    let settings = settings(&folder);
    let (key, certificate) = (folder.place("both.pem"), folder.place("certificate.pem"));
    let made = Command::new("openssl")
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost".split(' '),
        )
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", &key, "-out", &certificate])
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return cannot_run("a webhook over https", "there is no openssl to make a certificate with");
    }
    let both = fs::read_to_string(&key).expect("a key") + &fs::read_to_string(&certificate).expect("a certificate");
    fs::write(&key, both).expect("it has room");
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        return cannot_run("a webhook over https", "there is no curl");
    }
    let Some(server) = Server::start(&folder, &key) else { return };
    let record = |name: &str, options: &str| {
        let url = format!("https://127.0.0.1:{}/hook?token=1", server.port);
        leakline(&format!(
            "record --config {settings} -o {} --every 0.2 --for 5 --alert-webhook {url} {options}",
            folder.place(name)
        ))
    };
    let run = record("a", "");
    run.assert_code(0);
    assert!(
        run.errors.contains("was not delivered") && run.errors.contains("--alert-webhook-ca"),
        "{}",
        run.describe()
    );
    assert!(!run.errors.contains("token"), "the path of a webhook is a secret: {}", run.describe());
    assert_eq!(server.sent(), "", "nothing is sent to who is not trusted");
    let run = record("b", &format!("--alert-webhook-ca {certificate}"));
    run.assert_code(0);
    server.assert_told(&run);
    record("c", &format!("--alert-webhook-ca {settings}")).assert_refused(&["has no certificate"]);
}

#[test]
fn https_without_curl_is_refused_at_once() {
    let folder = Folder::new("no-curl");
    let mut command = Command::new(program());
    command.args(["record", "--for", "6", "--alert-webhook", "https://h/", "-o", &folder.place("r")]);
    command.env("PATH", folder.path());
    Running::start_command(command, "record without curl").wait().assert_refused(&["needs curl", "install curl"]);
    assert!(!folder.path().join("r").exists(), "nothing was begun");
}
