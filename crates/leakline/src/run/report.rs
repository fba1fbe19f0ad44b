//! Where the report of `run` goes, and what it leaves out.
//!
//! Owns: the file or standard error, and the files of suppressions. Must not know: what is in a report.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use analysis::Suppressions;
use report::{Document, RunView, Text};

use crate::failure::Failure;
use crate::limits::{SUPPRESSIONS_BYTES, WIDTH_PIPED};
use crate::output::colour_wanted;

/// Where reports are written.
#[derive(Debug)]
pub(crate) struct Sink {
    file: Option<File>,
    json: bool,
}

impl Sink {
    /// Opens the file at once: that it cannot be written should be known before the program runs.
    pub(crate) fn open(file: Option<&Path>, json: bool) -> Result<Self, Failure> {
        let open = |path: &Path| {
            File::create(path)
                .map_err(|error| Failure::with_hint(format!("{} cannot be written: {error}", path.display()), None))
        };
        Ok(Self { file: file.map(open).transpose()?, json })
    }

    /// Writes one report, whole.
    pub(crate) fn write(&mut self, view: &RunView) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        if self.json {
            Document::Run(view).write(&mut bytes)?;
        } else {
            let colour = self.file.is_none() && io::stderr().is_terminal() && colour_wanted();
            Text { width: WIDTH_PIPED, colour }.run(view, &mut bytes)?;
        }
        match &mut self.file {
            Some(file) => file.write_all(&bytes)?,
            None => io::stderr().lock().write_all(&bytes)?,
        }
        Ok(())
    }

    /// Says something that is no report: on standard error, also where the report goes elsewhere.
    pub(crate) fn say(line: &str) {
        // Nobody reads what cannot be written.
        let _ = writeln!(io::stderr().lock(), "leakline: {}", Text::safe(line));
    }
}

/// The built-in suppressions and those of the files.
pub(crate) fn suppressions(files: &[PathBuf]) -> Result<Suppressions, Failure> {
    let mut suppressions = Suppressions::default();
    for file in files {
        let shown = file.display();
        let read = match fs::metadata(file) {
            Ok(data) if data.len() > SUPPRESSIONS_BYTES => {
                Err(io::Error::other(format!("{} bytes; needed: at most {SUPPRESSIONS_BYTES}", data.len())))
            }
            Ok(_) => fs::read_to_string(file),
            Err(error) => Err(error),
        };
        let text =
            read.map_err(|error| Failure::with_hint(format!("{shown}: suppressions cannot be read: {error}"), None))?;
        suppressions.add(&text).map_err(|error| {
            Failure::with_hint(format!("{shown}:{}: {}", error.line, error.text), "see docs/run.md".to_owned())
        })?;
    }
    Ok(suppressions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let path = std::env::temp_dir().join(format!("leakline-suppressions-{}-{}", std::process::id(), text.len()));
        fs::write(&path, text).expect("a temporary file");
        let found = match suppressions(std::slice::from_ref(&path)) {
            Ok(_) => "good".to_owned(),
            Err(Failure::Refused { text, .. }) => text.replace(&path.display().to_string(), "FILE"),
            Err(Failure::OutputClosed) => panic!("nothing is written"),
        };
        fs::remove_file(&path).expect("it was there");
        assert!(found.starts_with(expected), "{found}");
    }

    #[test]
    fn a_bad_file_of_suppressions_is_refused_with_its_line() {
        check("leak:a\n# known\n", "good");
        check("leak:a\nthread:b\n", "FILE:2: `thread:b` is no suppression; needed: leak:PATTERN");
        let missing = suppressions(&[PathBuf::from("/no/such/file")]).expect_err("it is missing");
        assert!(
            matches!(missing, Failure::Refused { text, .. } if text.starts_with("/no/such/file: suppressions cannot"))
        );
    }
}
