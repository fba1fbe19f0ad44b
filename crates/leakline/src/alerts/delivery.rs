//! Alerts on their way out: to the journal, a file, a command, a web server.
//!
//! Owns: the queue, the tries, and the count of what was given up. Must not know: what an alert says.
//!
//! All of it happens on a thread of its own: a web server that does not answer must not cost a sample.
#![expect(clippy::disallowed_methods, reason = "runs the command that the user names for alerts")]

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use report::{AlertView, Document, Text};

use super::webhook::{self, Undelivered, Url};
use crate::failure::Failure;
use crate::flags::AlertSinks;
use crate::limits::{
    ALERTS_WAITING_MAX, COMMAND_PATIENCE, DELIVERY_PAUSE_MAX, DELIVERY_TRIES, END_PATIENCE, STOP_SLICE,
};
use crate::session::patiently;

/// Where the daemon of syslog or the journal listens.
const JOURNAL: &str = "/dev/log";

/// The way out.
#[derive(Debug)]
pub(super) struct Deliveries {
    queue: Option<SyncSender<Message>>,
    troubles: Receiver<String>,
    worker: Option<JoinHandle<()>>,
    /// Alerts for which the queue had no room.
    dropped: u64,
}

/// One alert in the forms that sinks take.
#[derive(Clone, Debug)]
struct Message {
    json: String,
    line: String,
    /// Priority of syslog.
    priority: u8,
    rule: String,
    raised: bool,
}

/// What the thread knows.
#[derive(Debug)]
struct Worker {
    sinks: AlertSinks,
    troubles: Sender<String>,
    /// Pauses between tries; none in a test.
    pause: Duration,
}

impl Deliveries {
    /// Starts a thread where there is anything to deliver to. A file that cannot be written is said at once.
    pub(super) fn start(sinks: &AlertSinks) -> Result<Self, Failure> {
        if let Some(file) = &sinks.alert_file {
            append(file, "")
                .map_err(|error| Failure::with_hint(format!("{} cannot be written: {error}", file.display()), None))?;
        }
        let (told, troubles) = channel();
        let is_any = sinks.alert_journal
            || sinks.alert_file.is_some()
            || sinks.alert_command.is_some()
            || sinks.alert_webhook.is_some();
        if !is_any {
            return Ok(Self { queue: None, troubles, worker: None, dropped: 0 });
        }
        let (queue, messages) = sync_channel(ALERTS_WAITING_MAX);
        let worker = Worker { sinks: sinks.clone(), troubles: told, pause: Duration::from_secs(1) };
        let worker = std::thread::spawn(move || worker.work(&messages));
        Ok(Self { queue: Some(queue), troubles, worker: Some(worker), dropped: 0 })
    }

    /// Queues an alert; one for which there is no room is counted.
    pub(super) fn send(&mut self, view: &AlertView) {
        let Some(queue) = &self.queue else { return };
        if queue.try_send(Message::new(view)).is_err() {
            self.dropped += 1;
        }
    }

    /// What went wrong since the last call, one line each.
    pub(super) fn troubles(&mut self) -> Vec<String> {
        let mut troubles: Vec<String> = self.troubles.try_iter().collect();
        if let dropped @ 1.. = std::mem::take(&mut self.dropped) {
            troubles.push(format!("{dropped} alerts were not delivered, since too many are waiting"));
        }
        troubles
    }

    /// Waits for what is under way, but not for ever.
    pub(super) fn end(mut self) -> Vec<String> {
        self.queue = None;
        let worker = self.worker.take();
        let is_done = || worker.as_ref().is_none_or(JoinHandle::is_finished);
        let mut troubles = if patiently(END_PATIENCE, STOP_SLICE, is_done) {
            Vec::new()
        } else {
            vec!["alerts that were still under way are given up".to_owned()]
        };
        troubles.extend(self.troubles());
        troubles
    }
}

impl Message {
    fn new(view: &AlertView) -> Self {
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

impl Worker {
    fn work(self, messages: &Receiver<Message>) {
        for message in messages {
            let sinks = &self.sinks;
            let file = sinks
                .alert_file
                .as_deref()
                .map(|file| append(file, &message.json).map_err(|error| format!("{}: {error}", file.display())));
            let journal = sinks.alert_journal.then(|| log(Path::new(JOURNAL), &message));
            let command = sinks.alert_command.as_deref().map(|command| run(command, &message));
            let webhook = sinks.alert_webhook.as_ref().map(|url| self.post(url, &message));
            for failed in [file, journal, command, webhook].into_iter().flatten().filter_map(Result::err) {
                // Nobody listens any more: the recorder has ended.
                let _ = self.troubles.send(format!("the alert {} was not delivered: {failed}", message.rule));
            }
        }
    }

    fn post(&self, url: &Url, message: &Message) -> Result<(), String> {
        let mut pause = self.pause;
        for _ in 1..DELIVERY_TRIES {
            match webhook::post(url, &message.json) {
                Ok(()) => return Ok(()),
                Err(Undelivered::ForGood(why)) => return Err(why),
                Err(Undelivered::ForNow(_)) => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(DELIVERY_PAUSE_MAX);
        }
        webhook::post(url, &message.json).map_err(|(Undelivered::ForNow(why) | Undelivered::ForGood(why))| {
            format!("{why}, after {DELIVERY_TRIES} tries")
        })
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
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::net::TcpListener;
    use std::path::PathBuf;

    use model::Severity;
    use report::WallTime;

    use super::*;

    fn alert(rule: &str) -> AlertView {
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

    fn place(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("leakline-alert-{name}-{}", std::process::id()))
    }

    /// Answers one request after the other, with these lines; gives the bodies that came.
    fn server(answers: &'static [&'static str]) -> (u16, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let bodies = std::thread::spawn(move || {
            let mut bodies = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("somebody comes");
                let mut reader = BufReader::new(stream.try_clone().expect("it can be shared"));
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).expect("a line");
                    if let Some(found) = line.strip_prefix("Content-Length: ") {
                        length = found.trim().parse().expect("a number");
                    }
                    if line == "\r\n" {
                        break;
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("a body");
                bodies.push(String::from_utf8(body).expect("text"));
                stream.write_all(answer.as_bytes()).expect("it listens");
            }
            bodies
        });
        (port, bodies)
    }

    #[track_caller]
    fn check_webhook(answers: &'static [&'static str], wanted: &str) {
        let (port, bodies) = server(answers);
        let sinks = AlertSinks {
            alert_webhook: webhook::url(&format!("http://127.0.0.1:{port}/x")).ok(),
            ..AlertSinks::default()
        };
        let (troubles, _) = channel();
        let worker = Worker { sinks: sinks.clone(), troubles, pause: Duration::from_millis(1) };
        let message = Message::new(&alert("memory-used"));
        let url = sinks.alert_webhook.as_ref().expect("it is sound");
        let found = format!("{:?}", worker.post(url, &message)).replace(&port.to_string(), "PORT");
        assert!(found.starts_with(wanted), "{found}");
        let bodies = bodies.join().expect("it ends");
        assert_eq!(bodies.len(), answers.len());
        assert!(bodies.iter().all(|body| body.contains(r#""rule":"memory-used""#)), "{bodies:?}");
    }

    #[test]
    fn a_web_server_gets_it_and_a_busy_one_gets_it_later() {
        check_webhook(&["HTTP/1.1 200 OK\r\n\r\n"], "Ok(())");
        check_webhook(&["HTTP/1.1 503 x\r\n\r\n", "", "HTTP/1.1 200 OK\r\n\r\n"], "Ok(())");
        check_webhook(&["HTTP/1.1 404 x\r\n\r\n"], r#"Err("127.0.0.1:PORT answered 404")"#);
    }

    #[test]
    fn a_file_a_command_and_the_journal_get_it() {
        let (file, copy, socket) = (place("file"), place("copy"), place("socket"));
        let journal = UnixDatagram::bind(&socket).expect("a socket");
        let command =
            format!("cat > {}; echo $LEAKLINE_ALERT_RULE $LEAKLINE_ALERT_STATE >> {}", copy.display(), copy.display());
        let sinks =
            AlertSinks { alert_file: Some(file.clone()), alert_command: Some(command), ..AlertSinks::default() };
        let mut deliveries = Deliveries::start(&sinks).expect("the file can be written");
        deliveries.send(&alert("swap-used"));
        deliveries.send(&alert("zombies"));
        assert_eq!(deliveries.end(), Vec::<String>::new());
        let lines = std::fs::read_to_string(&file).expect("it is there");
        assert_eq!(lines.lines().count(), 2);
        assert!(lines.contains(r#""rule":"swap-used""#) && lines.contains(r#""rule":"zombies""#), "{lines}");
        let copied = std::fs::read_to_string(&copy).expect("it is there");
        assert!(copied.contains(r#""rule":"zombies""#) && copied.ends_with("zombies raised\n"), "{copied}");
        log(&socket, &Message::new(&alert("oom-kill"))).expect("somebody listens");
        let mut text = [0; 500];
        let length = journal.recv(&mut text).expect("it was sent");
        let text = String::from_utf8_lossy(&text[..length]).into_owned();
        assert!(text.starts_with("<26>leakline: ") && text.contains("95 % in use"), "{text}");
        for path in [file, copy, socket] {
            std::fs::remove_file(path).expect("it is ours");
        }
    }

    #[test]
    fn what_cannot_be_delivered_is_said() {
        let sinks = AlertSinks { alert_command: Some("exit 3".to_owned()), ..AlertSinks::default() };
        let mut deliveries = Deliveries::start(&sinks).expect("nothing to refuse");
        deliveries.send(&alert("growth"));
        let troubles = deliveries.end();
        assert!(troubles[0].contains("the alert growth was not delivered: exit 3: exit status: 3"), "{troubles:?}");
        let nowhere = AlertSinks { alert_file: Some("/proc/none/x".into()), ..AlertSinks::default() };
        assert!(Deliveries::start(&nowhere).is_err());
        assert!(log(Path::new("/no/such/socket"), &Message::new(&alert("x"))).is_err());
    }
}
