//! Who can hear of an alert: a file, the journal, a command, a web server.
//!
//! Owns: one delivery to each. Must not know: queues, tries or threads.
#![expect(clippy::disallowed_methods, reason = "runs the command that the user names for alerts")]

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use report::{AlertView, Document, Text};

use super::curl;
use super::webhook::{self, Url};
use crate::failure::Failure;
use crate::flags::AlertSinks;
use crate::limits::{COMMAND_PATIENCE, STOP_SLICE};
use crate::session::patiently;

/// Where the daemon of syslog or the journal listens.
const JOURNAL: &str = "/dev/log";

/// One who hears of alerts.
#[derive(Clone, Debug)]
pub(super) enum Sink {
    File(PathBuf),
    Journal,
    Command(String),
    Webhook(Url),
    /// Over TLS, with the file of the authority that is trusted where one is named.
    SecureWebhook(Url, Option<PathBuf>),
}

/// Why it was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Undelivered {
    /// It may work later.
    ForNow(String),
    /// It will not.
    ForGood(String),
}

/// One alert in the forms that sinks take.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) json: String,
    line: String,
    /// Priority of syslog.
    priority: u8,
    pub(super) rule: String,
    raised: bool,
}

impl Sink {
    /// Those that the options name. What can never work is refused at once.
    pub(super) fn all(options: &AlertSinks) -> Result<Vec<Self>, Failure> {
        let mut sinks = Vec::new();
        if let Some(file) = &options.alert_file {
            append(file, "")
                .map_err(|error| Failure::with_hint(format!("{} cannot be written: {error}", file.display()), None))?;
            sinks.push(Self::File(file.clone()));
        }
        sinks.extend(options.alert_journal.then_some(Self::Journal));
        sinks.extend(options.alert_command.clone().map(Self::Command));
        let authority = options.alert_webhook_ca.as_deref();
        match &options.alert_webhook {
            Some(url) if url.is_secure() => {
                curl::check(authority)?;
                sinks.push(Self::SecureWebhook(url.clone(), authority.map(Path::to_path_buf)));
            }
            _ if authority.is_some() => {
                let hint = "--alert-webhook https://…".to_owned();
                return Err(Failure::with_hint("--alert-webhook-ca is of no use without a webhook over https", hint));
            }
            url => sinks.extend(url.clone().map(Self::Webhook)),
        }
        Ok(sinks)
    }

    /// Delivers once.
    pub(super) fn deliver(&self, message: &Message) -> Result<(), Undelivered> {
        match self {
            Self::File(file) => append(file, &message.json)
                .map_err(|error| Undelivered::ForGood(format!("{}: {error}", file.display()))),
            Self::Journal => log(Path::new(JOURNAL), message).map_err(Undelivered::ForGood),
            // What a command has done already is not known, so that it is not run twice.
            Self::Command(command) => run(command, message).map_err(Undelivered::ForGood),
            Self::Webhook(url) => webhook::post(url, &message.json),
            Self::SecureWebhook(url, authority) => curl::post(url, authority.as_deref(), &message.json),
        }
    }
}

impl Message {
    pub(super) fn new(view: &AlertView) -> Self {
        let mut json = Vec::new();
        // Writing into memory cannot fail.
        let _ = Document::Alert(view).write(&mut json);
        Self {
            json: String::from_utf8_lossy(&json).into_owned(),
            line: Text { width: 1000, colour: false }.alert(view),
            // Facility daemon (3); warning, error or critical.
            priority: 3 * 8
                + match (view.raised, view.severity) {
                    (false, _) => 6,
                    (true, model::Severity::Notice) => 5,
                    (true, model::Severity::Warning) => 4,
                    (true, model::Severity::Critical) => 2,
                },
            rule: view.rule.clone(),
            raised: view.raised,
        }
    }
}

/// One line of JSON; the file may be taken away and made anew by whoever rotates it.
fn append(file: &Path, line: &str) -> std::io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(file)?.write_all(line.as_bytes())
}

fn log(socket: &Path, message: &Message) -> Result<(), String> {
    let text = format!("<{}>leakline: {}", message.priority, message.line);
    let sent = UnixDatagram::unbound().and_then(|log| {
        log.set_nonblocking(true)?;
        log.send_to(text.as_bytes(), socket)
    });
    sent.map(|_| ()).map_err(|error| format!("{}: {error}", socket.display()))
}

/// Runs the command with the alert as its input; one that takes too long is ended.
fn run(command: &str, message: &Message) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{command}: {error}");
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .env("LEAKLINE_ALERT_RULE", &message.rule)
        .env("LEAKLINE_ALERT_STATE", if message.raised { "raised" } else { "cleared" })
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read what it is given is no failure; an alert fits into the pipe.
        let _ = stdin.write_all(message.json.as_bytes());
    }
    if !patiently(COMMAND_PATIENCE, STOP_SLICE, || !matches!(child.try_wait(), Ok(None))) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("{command}: ended since it took more than {} s", COMMAND_PATIENCE.as_secs()));
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command}: {status}")),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use model::Severity;
    use report::WallTime;

    use super::*;

    /// An alert of this rule.
    pub(in crate::alerts) fn alert(rule: &str) -> AlertView {
        AlertView {
            at: WallTime(1_700_000_000_000_000_000),
            host: "web1".to_owned(),
            rule: rule.to_owned(),
            severity: Severity::Critical,
            subject: "the machine".to_owned(),
            evidence: "95 % in use".to_owned(),
            next_command: "leakline hunt".to_owned(),
            raised: true,
        }
    }

    #[test]
    fn the_journal_gets_a_line_with_its_priority() {
        let socket = std::env::temp_dir().join(format!("leakline-alert-socket-{}", std::process::id()));
        let journal = UnixDatagram::bind(&socket).expect("a socket");
        log(&socket, &Message::new(&alert("oom-kill"))).expect("somebody listens");
        let mut text = [0; 500];
        let length = journal.recv(&mut text).expect("it was sent");
        let text = String::from_utf8_lossy(&text[..length]).into_owned();
        assert!(text.starts_with("<26>leakline: ") && text.contains("95 % in use"), "{text}");
        std::fs::remove_file(socket).expect("it is ours");
        assert!(log(Path::new("/no/such/socket"), &Message::new(&alert("x"))).is_err());
    }

    #[track_caller]
    fn check_refused(options: &AlertSinks, words: &str) {
        let refused = format!("{:?}", Sink::all(options).expect_err("it must be refused"));
        assert!(refused.contains(words), "{refused}");
    }

    #[test]
    fn what_can_never_work_is_refused_at_once() {
        let file = Some("/proc/none/x".into());
        check_refused(&AlertSinks { alert_file: file, ..AlertSinks::default() }, "/proc/none/x cannot be written");
        let authority = Some("/etc/hostname".into());
        check_refused(
            &AlertSinks { alert_webhook_ca: authority.clone(), ..AlertSinks::default() },
            "of no use without a webhook over https",
        );
        let plain = webhook::url("http://h/").ok();
        check_refused(
            &AlertSinks { alert_webhook_ca: authority, alert_webhook: plain, ..AlertSinks::default() },
            "of no use without a webhook over https",
        );
    }
}
