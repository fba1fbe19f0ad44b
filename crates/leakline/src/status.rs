//! `leakline status`: whether a recorder is at work, what it has recorded, and what it costs.
//!
//! Owns: which facts these are, and the exit code: 0 while a recorder is at work, else 2.
//! Must not know: how a recording is read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Bytes;
use recording::{Info, Recording, recorder_at_work};
use report::{Outcome, Span, WallTime};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::flags::{Existing, Status};
use crate::output::{Form, Output};
use crate::place;
use crate::record::refused;
use crate::state::State;

/// Looks, and says what is there.
pub(crate) fn run(flags: &Status) -> Result<Outcome, Failure> {
    let mut output = Output::new(flags.json);
    let Existing { recording, place } = &flags.recording;
    let found = Found::look(&place::to_read(recording.as_deref(), place.data_dir.as_deref())?)?;
    let text = match output.form() {
        Form::Text => found.text(),
        Form::Json => format!("{}\n", found.json()),
    };
    output.write_bytes(text.as_bytes())?;
    Ok(if found.recorder.is_some() { Outcome::NothingFound } else { Outcome::CouldNotJudge })
}

/// A recording and its recorder, as they are now.
#[derive(Debug)]
pub(crate) struct Found {
    directory: PathBuf,
    pub(crate) recorder: Option<u32>,
    info: Info,
    /// What the recorder, or the last one, said about itself.
    state: Option<State>,
}

impl Found {
    /// Looks into a directory.
    pub(crate) fn look(directory: &Path) -> Result<Self, Failure> {
        let info = Recording::open(directory).map_err(refused)?.info();
        let state = State::read(directory);
        Ok(Self { directory: directory.to_path_buf(), recorder: recorder_at_work(directory), info, state })
    }

    fn text(&self) -> String {
        let mut lines = vec![format!("recording  {}", model::escaped(self.directory.display().to_string().as_bytes()))];
        lines.push(match (self.recorder, &self.state) {
            (Some(pid), _) => format!("recorder   at work as process {pid}"),
            (None, Some(state)) if !state.ended.is_empty() => format!("recorder   not at work: {}", state.ended),
            (None, Some(_)) => "recorder   not at work: it was killed, or the machine went down".to_owned(),
            (None, None) => "recorder   not at work".to_owned(),
        });
        let info = &self.info;
        lines.push(match (info.from_ns, info.to_ns) {
            (Some(from), Some(to)) => format!("samples    {} from {} to {}", info.beats, at(from), at(to)),
            _ => "samples    none yet".to_owned(),
        });
        lines.push(format!("on disk    {} in {} segments", Bytes(info.bytes), info.segments));
        lines.extend(self.state.iter().flat_map(lines_of_state));
        if !info.damage.is_none() {
            let damage = &info.damage;
            lines.push(format!(
                "damaged    {} blocks ({}), {} files",
                damage.blocks,
                Bytes(damage.bytes),
                damage.files
            ));
        }
        lines.join("\n") + "\n"
    }

    fn json(&self) -> Value {
        let info = &self.info;
        let time = |at_ns: Option<u64>| at_ns.map(|at_ns| WallTime(at_ns).rfc3339());
        json!({
            "schema": 1,
            "recording": self.directory.display().to_string(),
            "recorder_pid": self.recorder,
            "samples": info.beats,
            "from": time(info.from_ns),
            "to": time(info.to_ns),
            "bytes": info.bytes,
            "segments": info.segments,
            "hosts": info.hosts,
            "boots": info.boots.len(),
            "format_version": info.version,
            "damaged_blocks": info.damage.blocks,
            "damaged_files": info.damage.files,
            "last_run": self.state.as_ref().map(json_of_state),
        })
    }
}

fn lines_of_state(state: &State) -> Vec<String> {
    let span = |ms| Span(Duration::from_millis(ms));
    let kept = if state.kept_ms > state.every_ms {
        format!("{} was wanted, {} is kept", span(state.every_ms), span(state.kept_ms))
    } else {
        format!("{}, kept", span(state.every_ms))
    };
    let mut lines = vec![format!("beat       {kept}; {} processes", state.processes)];
    let share = share_of_core(state).map(|share| format!("{:.2} % of one core", share * 100.0));
    let rss = state.rss.map(|rss| format!("{} resident", Bytes(rss)));
    let cost: Vec<String> = share.into_iter().chain(rss).collect();
    if !cost.is_empty() {
        lines.push(format!("own cost   {}", cost.join(", ")));
    }
    if state.not_recorded > 0 {
        lines.push(format!("lost       {} samples; last: {}", state.not_recorded, state.trouble));
    }
    lines
}

fn json_of_state(state: &State) -> Value {
    json!({
        "pid": state.pid,
        "every_seconds": state.every_ms as f64 / 1e3,
        "kept_seconds": state.kept_ms as f64 / 1e3,
        "samples": state.beats,
        "samples_lost": state.not_recorded,
        "processes": state.processes,
        "cpu_seconds": state.cpu_ms.map(|ms| ms as f64 / 1e3),
        "share_of_core": share_of_core(state),
        "rss_bytes": state.rss,
        "trouble": state.trouble,
        "ended": state.ended,
    })
}

/// Its CPU time as a share of the time in which it recorded; a second or two say nothing.
fn share_of_core(state: &State) -> Option<f64> {
    let span = Duration::from_nanos(state.last_ns.saturating_sub(state.first_ns));
    let cpu = Duration::from_millis(state.cpu_ms?);
    (span > Duration::from_secs(10)).then(|| cpu.as_secs_f64() / span.as_secs_f64())
}

fn at(wall_ns: u64) -> String {
    WallTime(wall_ns).rfc3339()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(every_ms: u64, kept_ms: u64, cpu_ms: Option<u64>) -> State {
        let last_ns = 100_000_000_000;
        State { every_ms, kept_ms, cpu_ms, last_ns, first_ns: 1, rss: Some(8 << 20), processes: 3, ..State::default() }
    }

    #[track_caller]
    fn check(state: &State, wanted: &str) {
        assert_eq!(lines_of_state(state).join("|"), wanted);
    }

    #[test]
    fn the_recorder_says_what_it_costs_and_what_it_lost() {
        check(
            &state(5000, 5000, Some(250)),
            "beat       5.00 s, kept; 3 processes|own cost   0.25 % of one core, 8.00 MiB resident",
        );
        let overloaded = State { rss: None, not_recorded: 2, trouble: "full".to_owned(), ..state(1000, 2500, None) };
        check(
            &overloaded,
            "beat       1.00 s was wanted, 2.50 s is kept; 3 processes|lost       2 samples; last: full",
        );
        assert_eq!(share_of_core(&State { last_ns: 5, ..state(1, 1, Some(1)) }), None, "too short to tell");
    }
}
