//! The `leakline` program under test: started, watched for its lines, and never waited for without end.
//!
//! Owns: how the program is run and what it answered. Must not know: what the answers should be.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// No run in this suite takes longer, unless it hangs.
const RUN_MAX: Duration = Duration::from_secs(90);

/// A running `leakline`. It is killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    errors: Option<JoinHandle<String>>,
    arguments: String,
}

/// How a run ended.
pub(crate) struct Run {
    /// None where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<String>,
    pub(crate) errors: String,
    arguments: String,
}

/// The path of the program.
pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_leakline"))
}

/// Runs `leakline` with these arguments to its end.
#[track_caller]
pub(crate) fn leakline(arguments: &str) -> Run {
    Running::start(arguments).wait()
}

/// Attaches, records for so many seconds, and returns the summary.
#[track_caller]
pub(crate) fn attach(pid: u32, options: &str) -> Run {
    leakline(&format!("attach {pid} --json {options}"))
}

impl Running {
    #[track_caller]
    pub(crate) fn start(arguments: &str) -> Self {
        let mut command = Command::new(program());
        command.args(arguments.split_whitespace());
        Self::start_command(command, arguments)
    }

    /// Starts `leakline` by way of another program, for example with other rights.
    #[track_caller]
    pub(crate) fn start_command(mut command: Command, arguments: &str) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("NO_COLOR", "1");
        // Most tests compare what was counted, block by block; those of the modes name one on the command line.
        command.env("LEAKLINE_ATTACH_MODE", "exact");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = child.stdout.take().expect("stdout is a pipe");
        let mut errors = child.stderr.take().expect("stderr is a pipe");
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = errors.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self { child, lines, seen: Vec::new(), errors: Some(errors), arguments: arguments.to_owned() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says that the hooks are in (needs `--json`).
    #[track_caller]
    pub(crate) fn wait_attached(&mut self) {
        if !self.wait_line(|line| line.contains(r#""event":"attached""#)) {
            let run = self.finish();
            panic!("leakline {} never attached: {}", run.arguments, run.describe());
        }
    }

    /// Waits for a line of stdout; false when it ended without one.
    pub(crate) fn wait_line(&mut self, wanted: impl Fn(&str) -> bool) -> bool {
        let until = Instant::now() + RUN_MAX;
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            let found = wanted(&line);
            self.seen.push(line);
            if found {
                return true;
            }
        }
        false
    }

    /// Kills it without any chance to clean up.
    pub(crate) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end; a run that hangs is killed and fails the test.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Run {
        self.finish()
    }

    #[track_caller]
    fn finish(&mut self) -> Run {
        let until = Instant::now() + RUN_MAX;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    panic!("leakline {} hangs; it had said {:?}", self.arguments, self.seen);
                }
            }
        }
        let status = self.child.wait().expect("a child can be waited for");
        let errors = self.errors.take().map(|errors| errors.join().unwrap_or_default()).unwrap_or_default();
        let run = Run {
            code: status.code(),
            lines: std::mem::take(&mut self.seen),
            errors,
            arguments: self.arguments.clone(),
        };
        assert!(run.code.is_some(), "leakline {} was ended by {status}: {}", run.arguments, run.errors);
        assert!(!run.errors.contains("panicked"), "leakline {} panicked: {}", run.arguments, run.errors);
        run
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Run {
    /// The last JSON document: the summary.
    #[track_caller]
    pub(crate) fn summary(&self) -> Value {
        let last = self.lines.last().unwrap_or_else(|| panic!("no summary: {}", self.describe()));
        let value: Value =
            serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in {last}: {}", self.describe()));
        assert_eq!(value["schema"], 1, "{}", self.describe());
        value
    }

    /// The events of this name.
    pub(crate) fn events(&self, name: &str) -> usize {
        let mark = format!(r#""event":"{name}""#);
        self.lines.iter().filter(|line| line.contains(&mark)).count()
    }

    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{}", self.describe());
    }

    /// It refused: exit code 2, and a message that contains all of these words and no backtrace.
    #[track_caller]
    pub(crate) fn assert_refused(&self, words: &[&str]) {
        self.assert_code(2);
        let errors = self.errors.to_lowercase();
        for word in words {
            assert!(errors.contains(word), "the message lacks {word:?}: {}", self.describe());
        }
    }

    pub(crate) fn describe(&self) -> String {
        let tail = &self.lines[self.lines.len().saturating_sub(3)..];
        format!("leakline {} → {:?}; stderr: {}; end of stdout: {tail:#?}", self.arguments, self.code, self.errors)
    }
}

/// The site that ranks at this place, from 1.
#[track_caller]
pub(crate) fn site(summary: &Value, rank: usize) -> &Value {
    let sites = summary["sites"].as_array().expect("a list of sites");
    sites.get(rank - 1).unwrap_or_else(|| panic!("there are only {} sites: {summary:#}", sites.len()))
}

/// All sites one of whose frames has this function.
pub(crate) fn sites_through<'a>(summary: &'a Value, function: &str) -> Vec<&'a Value> {
    let sites = summary["sites"].as_array().map(Vec::as_slice).unwrap_or_default();
    let through = |site: &&Value| frames(site).iter().any(|frame| frame["function"] == function);
    sites.iter().filter(through).collect()
}

/// The frames of a site, innermost first.
pub(crate) fn frames(site: &Value) -> &[Value] {
    site["frames"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Blocks and bytes under one key of a site.
#[track_caller]
pub(crate) fn tally(site: &Value, key: &str) -> (u64, u64) {
    let figure = |part: &str| site[key][part].as_u64().unwrap_or_else(|| panic!("{key} has no {part}: {site:#}"));
    (figure("blocks"), figure("bytes"))
}

/// Fails unless a frame with this function lies at this line of this file; function names may carry their namespace.
#[track_caller]
pub(crate) fn assert_frame(site: &Value, function: &str, file: &str, line: u64) -> usize {
    let matches = |frame: &Value| {
        frame["function"].as_str().is_some_and(|name| name.contains(function))
            && frame["source"]["file"].as_str().is_some_and(|path| path.ends_with(file))
            && frame["source"]["line"] == line
    };
    let at = frames(site).iter().position(matches);
    at.unwrap_or_else(|| panic!("no frame is {function} at {file}:{line}: {site:#}"))
}
