//! `leakline report`, `plot` and `export`: a recording as text, picture, page or table.
//!
//! Owns: which files are written, and that none is left half written. Must not know: how anything looks.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use model::Beat;
use recording::Recording;
use report::{Document, Html, Outcome, ProcessCsv, ProcessParquet, RecordingView, SheetView, SystemCsv};

use crate::failure::Failure;
use crate::flags::{Compare, Existing, Export, Looks, Part, Plot, Report, Tables};
use crate::follow;
use crate::limits::PLOT_LINES;
use crate::output::{Form, Output};
use crate::place;
use crate::record::refused;
use crate::replay;
use crate::values::When;

/// The findings and what they rest on. 1 where something leaks, else 0.
pub(crate) fn report(flags: &Report) -> Result<Outcome, Failure> {
    let mut output = Output::new(flags.json);
    let recording = open(&flags.recording)?;
    let view = view(&recording, &flags.part, &mut output)?;
    let mut written = 0;
    for (path, form) in [(&flags.html, "html"), (&flags.png, "png"), (&flags.svg, "svg")] {
        if let Some(path) = path {
            picture(path, form, &view, flags.looks)?;
            output.say(&format!("wrote {}", path.display()));
            written += 1;
        }
    }
    written += tables(&recording, &flags.part, &flags.tables, &mut output)?;
    match output.form() {
        Form::Json => output.document(&Document::Recording(&view))?,
        Form::Text if written == 0 => output.write(|text, out| text.recording(&view, out))?,
        Form::Text => {}
    }
    Ok(view.outcome)
}

/// The curves alone.
pub(crate) fn plot(flags: &Plot) -> Result<Outcome, Failure> {
    if let Some(pid) = flags.follow {
        return follow::run(flags, pid);
    }
    let mut output = Output::new(false);
    let view = view(&open(&flags.recording)?, &flags.part, &mut output)?;
    let Some(path) = &flags.output else {
        output.write(|text, out| text.plots(&view, PLOT_LINES, out))?;
        return Ok(view.outcome);
    };
    let form = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if !matches!(form, "svg" | "png" | "html") {
        let text = format!("{} does not say by its name which picture is wanted", path.display());
        return Err(Failure::with_hint(text, "name it FILE.svg, FILE.png or FILE.html".to_owned()));
    }
    picture(path, form, &view, flags.looks)?;
    output.say(&format!("wrote {}", path.display()));
    Ok(view.outcome)
}

/// Two moments side by side.
pub(crate) fn compare(flags: &Compare) -> Result<Outcome, Failure> {
    let mut output = Output::new(flags.json);
    let open = |path: &Path| open(&Existing { recording: Some(path.to_path_buf()), place: flags.place.clone() });
    let first = open(&flags.before)?;
    let other = flags.after.as_deref().map(open).transpose()?;
    let begin = if other.is_none() { first.info().from_ns.map(When::At) } else { None };
    let before = replay::moment(&first, flags.since.or(begin))?;
    let after = replay::moment(other.as_ref().unwrap_or(&first), flags.until)?;
    if other.is_none() && before.1.at.wall_ns >= after.1.at.wall_ns {
        let text = "both moments are the same sample, or the first is the later one";
        return Err(Failure::with_hint(text, "name an earlier --since or a later --until".to_owned()));
    }
    let view = SheetView::compare((&before.0, &before.1), (&after.0, &after.1));
    match output.form() {
        Form::Json => output.document(&Document::Sheet(&view))?,
        Form::Text => output.write(|text, out| text.sheet(&view, out))?,
    }
    Ok(Outcome::NothingFound)
}

/// Every sample.
pub(crate) fn export(flags: &Export) -> Result<Outcome, Failure> {
    let mut output = Output::new(false);
    let recording = open(&flags.recording)?;
    // What is not in the recording is said before any file is made.
    replay::window(&recording, &flags.part)?;
    let mut written = tables(&recording, &flags.part, &flags.tables, &mut output)?;
    if flags.json {
        lines(&recording, flags, &mut output)?;
        written += 1;
    }
    if written == 0 {
        let text = "nothing was asked for";
        return Err(Failure::with_hint(text, "add --json, --csv DIRECTORY or --parquet FILE".to_owned()));
    }
    Ok(Outcome::NothingFound)
}

/// The samples as lines of JSON; a reader that goes away ends it.
fn lines(recording: &Recording, flags: &Export, output: &mut Output) -> Result<(), Failure> {
    let Some(path) = &flags.output else {
        let mut out = BufWriter::new(io::stdout().lock());
        samples(recording, &flags.part, output, |_, beat| Document::Sample(beat).write(&mut out))?;
        return Ok(out.flush()?);
    };
    whole(path, |out| samples(recording, &flags.part, output, |_, beat| Document::Sample(beat).write(out)))?;
    output.say(&format!("wrote {}", path.display()));
    Ok(())
}

/// The recording that is asked for.
pub(crate) fn open(existing: &Existing) -> Result<Recording, Failure> {
    let directory = place::to_read(existing.recording.as_deref(), existing.place.data_dir.as_deref())?;
    Recording::open(&directory).map_err(refused)
}

fn view(recording: &Recording, part: &Part, output: &mut Output) -> Result<RecordingView, Failure> {
    let beats = recording.info().beats;
    output.progress(|_| format!("reading {beats} samples"));
    replay::view(recording, part)
}

fn picture(path: &Path, form: &str, view: &RecordingView, looks: Looks) -> Result<(), Failure> {
    let plot = report::Plot { dark: looks.dark, log: looks.log, ..report::Plot::default() };
    whole(path, |out| match form {
        "png" => plot.png(view, out),
        "svg" => plot.svg(view, out),
        _ => Html { view, live: None }.write(out),
    })
}

/// Writes the tables that are asked for; gives how many.
fn tables(recording: &Recording, part: &Part, tables: &Tables, output: &mut Output) -> Result<usize, Failure> {
    let mut written = 0;
    if let Some(directory) = &tables.csv {
        fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
        let (system, processes) = (directory.join("system.csv"), directory.join("processes.csv"));
        whole(&system, |system_out| {
            SystemCsv.head(system_out)?;
            let each = whole(&processes, |out| {
                ProcessCsv.head(out)?;
                samples(recording, part, output, |beat, narrowed| {
                    SystemCsv.beat(beat, system_out)?;
                    ProcessCsv.beat(narrowed, out)
                })
            });
            each.map_err(as_error)
        })?;
        output.say(&format!("wrote {} and {}", system.display(), processes.display()));
        written += 1;
    }
    if let Some(path) = &tables.parquet {
        whole(path, |out| {
            let mut table = ProcessParquet::new(out)?;
            samples(recording, part, output, |_, narrowed| table.beat(narrowed))?;
            table.finish()
        })?;
        output.say(&format!("wrote {}", path.display()));
        written += 1;
    }
    Ok(written)
}

/// Every sample of a part, as it was recorded and with only the processes that are asked for.
fn samples(
    recording: &Recording,
    part: &Part,
    output: &mut Output,
    mut take: impl FnMut(&Beat, &Beat) -> io::Result<()>,
) -> io::Result<()> {
    let window = replay::window(recording, part).map_err(as_error)?;
    let length = (window.end - window.start).max(1);
    for (number, beat) in recording.beats(window.clone()).enumerate() {
        if number % PROGRESS_EVERY == 0 {
            let done = beat.at.wall_ns.saturating_sub(window.start).saturating_mul(100) / length;
            output.progress(|_| format!("writing samples: {done} %"));
        }
        let mut narrowed = beat.clone();
        narrowed.processes.retain(|process| replay::is_wanted(part, &process.identity));
        take(&beat, &narrowed)?;
    }
    Ok(())
}

/// Samples between two looks at the progress line.
const PROGRESS_EVERY: usize = 500;

/// Writes a file whole or not at all: under another name first, so that a failure leaves what was there before.
pub(crate) fn whole(path: &Path, write: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>) -> Result<(), Failure> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    let written = File::create(new).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush()?;
        fs::rename(new, path)
    });
    written.map_err(|error| {
        // It may not even have been made.
        let _ = fs::remove_file(new);
        unwritable(path, &error)
    })
}

/// A failure inside of what writes a file, in its own words.
fn as_error(failure: Failure) -> io::Error {
    match failure {
        Failure::OutputClosed => io::Error::from(io::ErrorKind::BrokenPipe),
        Failure::Refused { text, .. } => io::Error::other(text),
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::with_hint(format!("{} cannot be written: {error}", path.display()), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_leaves_what_was_there() {
        let path = std::env::temp_dir().join(format!("leakline-whole-{}", std::process::id()));
        whole(&path, |out| out.write_all(b"first")).expect("it has room");
        let failed = whole(&path, |out| {
            out.write_all(b"second")?;
            Err(io::Error::other("no more"))
        });
        assert!(format!("{failed:?}").contains("cannot be written: no more"), "{failed:?}");
        assert_eq!(fs::read(&path).expect("it is there"), b"first");
        assert!(!path.with_extension("new").exists());
        fs::remove_file(&path).expect("it is ours");
        assert!(whole(Path::new("/proc/none/x"), |_| Ok(())).is_err());
    }
}
