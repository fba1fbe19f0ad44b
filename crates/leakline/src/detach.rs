//! `leakline detach`: takes out by hand what a killed leakline left in a process.
//!
//! Owns: what is said of each process, and the exit code: 0 where nothing is left, else 2.
//! Must not know: how remains are found or removed.

use capture::{AttachError, Carriers, Removed, find_remains, remove_remains};
use model::{Bytes, Pid};
use report::{Document, Outcome, RemovalView, SheetView};

use crate::failure::Failure;
use crate::flags::Detach;
use crate::machine::command_of;
use crate::output::{Form, Output};

/// One process, its name, and what became of what was in it.
type Attempt = (Pid, String, Result<Removed, AttachError>);

/// Removes what is there, and says what it was.
pub(crate) fn run(flags: &Detach) -> Result<Outcome, Failure> {
    let mut output = Output::new(flags.json);
    let attempt = |pid: Pid| -> Attempt { (pid, command_of(pid), remove_remains(pid)) };
    let (title, attempts, notes) = if let Some(pid) = flags.pid {
        let attempt = attempt(pid);
        if let (_, _, Err(error)) = attempt {
            let hint = error.hint();
            return Err(Failure::with_hint(error, hint));
        }
        (title_of_one(&attempt), vec![attempt], Vec::new())
    } else {
        let carriers = find_remains();
        let attempts: Vec<_> = carriers.pids.iter().copied().map(attempt).collect();
        (title_of_all(&carriers, &attempts), attempts, notes(&carriers))
    };
    let removals: Vec<_> = attempts.iter().filter_map(removal).collect();
    let view = SheetView::removals(title, &removals, notes);
    match output.form() {
        Form::Text => output.write(|text, out| text.sheet(&view, out))?,
        Form::Json => output.document(&Document::Sheet(&view))?,
    }
    let refused = attempts.iter().any(|(_, _, result)| result.is_err());
    Ok(if refused { Outcome::CouldNotJudge } else { Outcome::NothingFound })
}

fn title_of_one((pid, command, result): &Attempt) -> String {
    if result.as_ref().is_ok_and(|removed| *removed != Removed::default()) {
        format!("What an earlier leakline left in process {pid} ({command}) is removed")
    } else {
        format!("There is nothing of leakline's in process {pid} ({command})")
    }
}

fn title_of_all(carriers: &Carriers, attempts: &[Attempt]) -> String {
    let count = |wanted: bool| attempts.iter().filter(|(_, _, result)| result.is_ok() == wanted).count();
    match (count(true), count(false)) {
        (0, 0) => format!("There is nothing of leakline's in any of {} processes", carriers.looked_at),
        (removed, 0) => format!("What an earlier leakline left is removed from {}", processes(removed)),
        (0, left) => format!("Nothing was removed: {} could not be freed of it", processes(left)),
        (removed, left) => format!("Removed from {}; {} could not be freed of it", processes(removed), processes(left)),
    }
}

fn processes(count: usize) -> String {
    if count == 1 { "1 process".to_owned() } else { format!("{count} processes") }
}

/// What was not looked at may carry something.
fn notes(carriers: &Carriers) -> Vec<String> {
    let which = processes(carriers.unreadable as usize);
    let note =
        |remedy| format!("{which} of other users or with more rights could not be looked at; to do so: {remedy}");
    carriers.remedy.as_ref().map(note).into_iter().collect()
}

/// One process as it is shown; nothing where there was nothing.
fn removal((pid, command, result): &Attempt) -> Option<RemovalView> {
    let (removed, left) = match result {
        Ok(removed) if *removed == Removed::default() => return None,
        Ok(removed) => (*removed, "nothing".to_owned()),
        Err(error) => (Removed::default(), error.hint().map_or(error.to_string(), |hint| format!("{error}: {hint}"))),
    };
    let (code, shared) = (Bytes(removed.code), Bytes(removed.shared));
    let (hooks, files) = (removed.hooks, removed.files);
    Some(RemovalView { pid: *pid, command: command.clone(), hooks, code, shared, files, left })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes in words: `7:9` had nine hooks, `8:0` nothing, `9:!` was refused.
    fn attempts(words: &str) -> Vec<Attempt> {
        let attempt = |word: &str| {
            let (pid, what) = word.split_once(':').expect("pid:what");
            let pid = Pid(pid.parse().expect("a number"));
            let result = match what.parse() {
                Ok(hooks) => Ok(Removed { hooks, ..Removed::default() }),
                Err(_) => Err(AttachError::Watched { pid, by: Some(Pid(1)) }),
            };
            (pid, "p".to_owned(), result)
        };
        words.split_whitespace().map(attempt).collect()
    }

    #[track_caller]
    fn check(words: &str, title: &str, rows: usize) {
        let attempts = attempts(words);
        let carriers = Carriers { looked_at: 30, ..Carriers::default() };
        assert_eq!(title_of_all(&carriers, &attempts), title);
        assert_eq!(attempts.iter().filter_map(removal).count(), rows);
    }

    #[test]
    fn all_processes_are_summed_up() {
        check("", "There is nothing of leakline's in any of 30 processes", 0);
        check("7:9", "What an earlier leakline left is removed from 1 process", 1);
        check("7:9 8:!", "Removed from 1 process; 1 process could not be freed of it", 2);
        check("7:! 8:!", "Nothing was removed: 2 processes could not be freed of it", 2);
    }

    #[test]
    fn one_process_is_named() {
        let title = |words: &str| title_of_one(&attempts(words)[0]);
        assert_eq!(title("7:9"), "What an earlier leakline left in process 7 (p) is removed");
        assert_eq!(title("7:0"), "There is nothing of leakline's in process 7 (p)");
    }

    #[test]
    fn who_refuses_is_named_in_its_row() {
        let last = removal(&attempts("7:!")[0]).map(|removal| removal.left);
        let wanted = "another leakline (process 1) is attached to process 7: end the other leakline first: `kill -INT 1` lets it detach";
        assert_eq!(last.as_deref(), Some(wanted));
        let carriers = Carriers { unreadable: 2, remedy: Some("sudo x".to_owned()), ..Carriers::default() };
        let wanted = "2 processes of other users or with more rights could not be looked at; to do so: sudo x";
        assert_eq!(notes(&carriers), [wanted]);
    }
}
