//! Alerts on their way out.
//!
//! Owns: the queues, the tries, and the count of what was given up. Must not know: what an alert says, or how one is delivered.
//!
//! Each sink has a thread and a bounded queue of its own: a web server that does not answer costs no sample, and keeps no line
//! from the file either.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use report::AlertView;

use super::sinks::{Message, Sink, Undelivered};
use crate::failure::Failure;
use crate::flags::AlertSinks;
use crate::limits::{ALERTS_WAITING_MAX, DELIVERY_PAUSE_MAX, DELIVERY_TRIES, END_PATIENCE, STOP_SLICE};
use crate::session::patiently;

/// The pause after the first try; it doubles with each.
const PAUSE: Duration = Duration::from_secs(1);

/// The way out.
#[derive(Debug)]
pub(super) struct Deliveries {
    lanes: Vec<Lane>,
    troubles: Receiver<String>,
    /// What the lanes look at while they wait.
    progress: Arc<Progress>,
    /// Alerts for which a queue had no room.
    dropped: u64,
}

/// The way to one sink.
#[derive(Debug)]
struct Lane {
    queue: SyncSender<Arc<Message>>,
    worker: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Progress {
    /// Deliveries that are not done.
    under_way: AtomicUsize,
    /// Whether whoever sends wants to end: no try is waited for any more.
    is_ending: AtomicBool,
}

/// What the thread of a lane knows.
#[derive(Debug)]
struct Worker {
    sink: Sink,
    troubles: Sender<String>,
    progress: Arc<Progress>,
    /// The pause after the first try; short in a test.
    pause: Duration,
}

impl Deliveries {
    /// Starts a thread for each sink that the options name.
    pub(super) fn start(options: &AlertSinks) -> Result<Self, Failure> {
        let (told, troubles) = channel();
        let progress = Arc::new(Progress::default());
        let lane = |sink| {
            let (queue, messages) = sync_channel(ALERTS_WAITING_MAX);
            let worker = Worker { sink, troubles: told.clone(), progress: progress.clone(), pause: PAUSE };
            Lane { queue, worker: std::thread::spawn(move || worker.work(&messages)) }
        };
        let lanes = Sink::all(options)?.into_iter().map(lane).collect();
        Ok(Self { lanes, troubles, progress, dropped: 0 })
    }

    /// Queues an alert; one for which there is no room is counted.
    pub(super) fn send(&mut self, view: &AlertView) {
        if self.lanes.is_empty() {
            return;
        }
        let message = Arc::new(Message::new(view));
        for lane in &self.lanes {
            self.progress.under_way.fetch_add(1, Ordering::Relaxed);
            if lane.queue.try_send(message.clone()).is_err() {
                self.progress.under_way.fetch_sub(1, Ordering::Relaxed);
                self.dropped += 1;
            }
        }
    }

    /// What went wrong since the last call, one line each.
    pub(super) fn troubles(&mut self) -> Vec<String> {
        let mut troubles: Vec<String> = self.troubles.try_iter().collect();
        if let dropped @ 1.. = std::mem::take(&mut self.dropped) {
            troubles.push(format!("{dropped} deliveries of alerts were left out, since too many are waiting"));
        }
        troubles
    }

    /// Waits for what is under way, but not for ever.
    pub(super) fn end(mut self) -> Vec<String> {
        self.progress.is_ending.store(true, Ordering::Relaxed);
        // Without their senders the queues end.
        let workers: Vec<JoinHandle<()>> = self.lanes.drain(..).map(|lane| lane.worker).collect();
        let all_done = patiently(END_PATIENCE, STOP_SLICE, || workers.iter().all(JoinHandle::is_finished));
        let mut troubles = self.troubles();
        if !all_done {
            let left = self.progress.under_way.load(Ordering::Relaxed);
            troubles.push(format!("{left} deliveries of alerts that were still under way are given up"));
        }
        troubles
    }
}

impl Worker {
    fn work(self, messages: &Receiver<Arc<Message>>) {
        for message in messages {
            if let Err(why) = self.deliver(&message) {
                // Nobody listens any more: the recorder has ended.
                let _ = self.troubles.send(format!("the alert {} was not delivered: {why}", message.rule));
            }
            self.progress.under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Tries again and again, with growing pauses, where it may work later. At the end each message has one more try.
    fn deliver(&self, message: &Message) -> Result<(), String> {
        let mut pause = self.pause;
        let mut tries = 1;
        loop {
            let why = match self.sink.deliver(message) {
                Ok(()) => return Ok(()),
                Err(Undelivered::ForGood(why)) => return Err(why),
                Err(Undelivered::ForNow(why)) => why,
            };
            let is_ending = self.progress.is_ending.load(Ordering::Relaxed);
            if tries == DELIVERY_TRIES || is_ending {
                return Err(format!("{why}, after {tries} {}", if tries == 1 { "try" } else { "tries" }));
            }
            patiently(pause, STOP_SLICE.min(pause), || self.progress.is_ending.load(Ordering::Relaxed));
            pause = (pause * 2).min(DELIVERY_PAUSE_MAX);
            tries += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::path::PathBuf;
    use std::time::Instant;

    use super::super::sinks::tests::alert;
    use super::super::webhook;
    use super::*;

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

    /// A worker that sends to this port, and tries again at once.
    fn worker(port: u16) -> Worker {
        let sink = Sink::Webhook(webhook::url(&format!("http://127.0.0.1:{port}/x")).expect("it is sound"));
        Worker { sink, troubles: channel().0, progress: Arc::default(), pause: Duration::from_millis(1) }
    }

    #[track_caller]
    fn check_webhook(answers: &'static [&'static str], wanted: &str) {
        let (port, bodies) = server(answers);
        let delivered = worker(port).deliver(&Message::new(&alert("memory-used")));
        assert_eq!(format!("{delivered:?}").replace(&port.to_string(), "PORT"), wanted);
        let bodies = bodies.join().expect("it ends");
        assert_eq!(bodies.len(), answers.len());
        assert!(bodies.iter().all(|body| body.contains(r#""rule":"memory-used""#)), "{bodies:?}");
    }

    #[test]
    fn a_web_server_gets_it_and_a_busy_one_gets_it_later() {
        check_webhook(&["HTTP/1.1 200 OK\r\n\r\n"], "Ok(())");
        check_webhook(&["HTTP/1.1 503 x\r\n\r\n", "", "HTTP/1.1 200 OK\r\n\r\n"], "Ok(())");
        check_webhook(&["HTTP/1.1 404 x\r\n\r\n"], r#"Err("127.0.0.1:PORT answered 404")"#);
        check_webhook(
            &["HTTP/1.1 503 x\r\n\r\n"; DELIVERY_TRIES as usize],
            r#"Err("127.0.0.1:PORT answered 503, after 8 tries")"#,
        );
    }

    #[test]
    fn at_the_end_no_further_try_is_waited_for() {
        let (port, bodies) = server(&["HTTP/1.1 503 x\r\n\r\n"]);
        let worker = Worker { pause: Duration::from_secs(3600), ..worker(port) };
        worker.progress.is_ending.store(true, Ordering::Relaxed);
        let refused = worker.deliver(&Message::new(&alert("x"))).expect_err("it is busy");
        assert!(refused.ends_with("after 1 try"), "{refused}");
        bodies.join().expect("it ends");
    }

    #[test]
    fn a_server_that_hangs_keeps_no_line_from_the_file() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let file = place("beside");
        let options = AlertSinks {
            alert_file: Some(file.clone()),
            alert_webhook: webhook::url(&format!("http://127.0.0.1:{port}/")).ok(),
            ..AlertSinks::default()
        };
        let mut deliveries = Deliveries::start(&options).expect("the file can be written");
        for rule in ["swap-used", "zombies"] {
            deliveries.send(&alert(rule));
        }
        let lines = || std::fs::read_to_string(&file).unwrap_or_default().lines().count();
        assert!(patiently(Duration::from_secs(10), STOP_SLICE, || lines() == 2), "{} lines", lines());
        let started = Instant::now();
        let troubles = deliveries.end();
        assert!(started.elapsed() < END_PATIENCE * 4, "the end is not kept waiting");
        assert!(troubles.iter().any(|text| text.starts_with("2 deliveries")), "{troubles:?}");
        std::fs::remove_file(file).expect("it is ours");
    }

    #[test]
    fn a_file_and_a_command_get_it() {
        let (file, copy) = (place("file"), place("copy"));
        let command =
            format!("cat > {}; echo $LEAKLINE_ALERT_RULE $LEAKLINE_ALERT_STATE >> {}", copy.display(), copy.display());
        let options =
            AlertSinks { alert_file: Some(file.clone()), alert_command: Some(command), ..AlertSinks::default() };
        let mut deliveries = Deliveries::start(&options).expect("the file can be written");
        deliveries.send(&alert("swap-used"));
        deliveries.send(&alert("zombies"));
        assert_eq!(deliveries.end(), Vec::<String>::new());
        let lines = std::fs::read_to_string(&file).expect("it is there");
        assert_eq!(lines.lines().count(), 2);
        assert!(lines.contains(r#""rule":"swap-used""#) && lines.contains(r#""rule":"zombies""#), "{lines}");
        let copied = std::fs::read_to_string(&copy).expect("it is there");
        assert!(copied.contains(r#""rule":"zombies""#) && copied.ends_with("zombies raised\n"), "{copied}");
        for path in [file, copy] {
            std::fs::remove_file(path).expect("it is ours");
        }
    }

    #[test]
    fn what_cannot_be_delivered_is_said() {
        let options = AlertSinks { alert_command: Some("exit 3".to_owned()), ..AlertSinks::default() };
        let mut deliveries = Deliveries::start(&options).expect("nothing to refuse");
        deliveries.send(&alert("growth"));
        let troubles = deliveries.end();
        assert!(troubles[0].contains("the alert growth was not delivered: exit 3: exit status: 3"), "{troubles:?}");
    }

    #[test]
    fn a_full_queue_is_counted() {
        let options = AlertSinks { alert_command: Some("sleep 20".to_owned()), ..AlertSinks::default() };
        let mut deliveries = Deliveries::start(&options).expect("nothing to refuse");
        for _ in 0..ALERTS_WAITING_MAX + 5 {
            deliveries.send(&alert("growth"));
        }
        let troubles = deliveries.troubles();
        // The worker may have taken one out of the queue meanwhile.
        assert!(troubles.iter().any(|text| text.starts_with("5 deliv") || text.starts_with("4 deliv")), "{troubles:?}");
    }
}
