//! One look at a process or the machine, and what changed between two, as tables.
//!
//! Owns: what several of these tables share. Must not know: how anything is read, or how tables are written.

mod growth;
mod machine;
mod process;

use model::{Bytes, Identity, ProcessMetric, ProcessReading, Reading};

use super::Cell;

/// A share that is given in hundredths of a percent.
fn hundredths(value: Reading<u64>) -> Cell {
    Cell::Share(value.map(|hundredths| hundredths as f64 / 10_000.0))
}

/// What part of a limit is used; nothing where there is no limit.
fn share(used: Reading<u64>, limit: Reading<u64>) -> Option<f64> {
    let limit = limit.known().filter(|limit| !matches!(*limit, 0 | u64::MAX))?;
    Some(used.known()? as f64 / limit as f64)
}

/// The user by name, or by number where no name is known.
fn user(identity: &Identity) -> Cell {
    Cell::Text(match (&identity.user, identity.uid) {
        (Reading::Missing(_), Reading::Known(uid)) => Reading::Known(uid.to_string()),
        (user, _) => user.clone(),
    })
}

/// The container, or the last part of the control group.
fn place(identity: &Identity) -> Cell {
    let part = |path: &String| path.rsplit('/').find(|part| !part.is_empty()).unwrap_or("/").to_owned();
    Cell::Text(match &identity.container {
        Some(container) => Reading::Known(container.clone()),
        None => identity.cgroup.as_known().map_or_else(|| identity.cgroup.clone(), |path| Reading::Known(part(path))),
    })
}

/// A number that names something.
const fn number(value: u32) -> Cell {
    Cell::count(value as u64)
}

fn bytes(process: &ProcessReading, metric: ProcessMetric) -> Cell {
    Cell::Bytes(process.figures.bytes(metric))
}

/// The greatest first, and what is not known last: it is neither large nor small.
fn descending<T>(rows: &mut [T], size: impl Fn(&T) -> Reading<u64>) {
    rows.sort_by_key(|row| std::cmp::Reverse(size(row).known()));
}

/// So much in this time, as a rate per hour.
fn per_hour(change: Reading<i64>, period: std::time::Duration) -> Reading<i64> {
    let seconds = period.as_secs_f64();
    match change {
        Reading::Known(_) if seconds <= 0.0 => Reading::Missing(model::Why::TooShort),
        // The cast saturates, which is as good as any number at that size.
        Reading::Known(change) => Reading::Known((change as f64 / seconds * 3600.0).round() as i64),
        Reading::Missing(why) => Reading::Missing(why),
    }
}

/// The sum of what is known; missing where nothing is. Only for figures whose absence means that there is none: a zombie, or a process
/// that ended meanwhile, has no memory.
fn sum(readings: impl IntoIterator<Item = Reading<Bytes>>) -> Reading<Bytes> {
    let add = |sum: Reading<Bytes>, more: Reading<Bytes>| match (sum, more) {
        (Reading::Known(sum), Reading::Known(more)) => Reading::Known(sum.plus(more)),
        (Reading::Known(sum), Reading::Missing(_)) => Reading::Known(sum),
        (Reading::Missing(_), more) => more,
    };
    readings.into_iter().fold(Reading::Missing(model::Why::NotRecorded), add)
}

#[cfg(test)]
mod tests;
