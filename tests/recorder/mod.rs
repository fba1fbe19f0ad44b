//! Recorders: kept, stopped, killed, read, fetched from another machine.
//!
//! Owns: the folders of these cases, and waiting for samples. Must not know: any crate of ours.

mod alerts;
mod follow;
mod lifecycle;
mod refusals;
mod remote;
mod reports;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command::leakline;
use crate::process::holds_soon;

/// A folder of one case, removed at its end together with the recorder that may be at work in it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = crate::targets::built().join(format!("recorder-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A place in it, as an argument.
    pub(crate) fn place(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = leakline(&format!("stop {}", self.place("r")));
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What `status` says of a recording, with what the recorder said of itself as `last_run`; what is missing is null.
#[track_caller]
pub(crate) fn status(recording: &str) -> Value {
    facts(leakline(&format!("status --json {recording}")).summary())
}

fn facts(mut document: Value) -> Value {
    let (mut found, mut run) = (document["recording"].take(), document["recorder"].take());
    for value in [&mut found, &mut run].into_iter().filter_map(Value::as_object_mut).flat_map(|it| it.values_mut()) {
        if value.get("missing").is_some() {
            value.take();
        }
    }
    found["recorder_pid"] = run["recorder_pid"].clone();
    found["last_run"] = run;
    found
}

/// Waits until a recording has so many samples.
#[track_caller]
pub(crate) fn wait_samples(recording: &str, wanted: u64) {
    let has = || {
        let run = leakline(&format!("status --json {recording}"));
        run.lines
            .last()
            .and_then(|line| serde_json::from_str::<Value>(line).ok())
            .is_some_and(|it| facts(it)["samples"].as_u64() >= Some(wanted))
    };
    assert!(
        holds_soon(has),
        "{recording} does not get {wanted} samples: {}",
        leakline(&format!("status {recording}")).describe()
    );
}
