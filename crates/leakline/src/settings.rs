//! Where options come from when they are not on the command line: the environment, then the configuration file.
//!
//! Owns: the names of variables and keys, which files are looked at, and what is wrong with one.
//! Must not know: what an option means; `flags` checks the values as if they had been typed.
//!
//! The order, strongest first: command line, `LEAKLINE_RECORD_EVERY`, `LEAKLINE_EVERY`, `every` under `[record]`, `every` at
//! the top of the file, the default. The file is never looked for in the current directory: it may name a command to run,
//! and root must not run what somebody left in a folder.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::failure::Failure;
use crate::limits::SETTINGS_BYTES;

/// Looks a variable of the environment up.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The configuration file as it was read, and where from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    table: Table,
    file: Option<PathBuf>,
}

/// The value of one option that was not on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its values as they would stand on the command line; several where the option may be given several times.
    pub(crate) values: Vec<OsString>,
    /// Who says so: `LEAKLINE_EVERY`, or the file and key.
    pub(crate) origin: String,
}

impl Settings {
    /// Reads the file that the user names, or the one that is in its usual place, or none.
    pub(crate) fn load(named: Option<&Path>, environment: Environment<'_>) -> Result<Self, Failure> {
        let set = |name| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(file) = named.map(Path::to_path_buf).or_else(|| set("LEAKLINE_CONFIG")) {
            let text = read(&file).map_err(|reason| unreadable(&file, &reason))?;
            return Self::parse(&text, file);
        }
        let home = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
        let usual = home.map(|home| home.join("leakline/leakline.toml"));
        for file in usual.into_iter().chain([PathBuf::from("/etc/leakline/leakline.toml")]) {
            match read(&file) {
                Ok(text) => return Self::parse(&text, file),
                // A file in its usual place that somebody else may read and we may not is none of ours.
                Err(_) if !file.is_file() => {}
                Err(reason) => return Err(unreadable(&file, &reason)),
            }
        }
        Ok(Self::default())
    }

    /// Settings from the text of a file.
    pub(crate) fn parse(text: &str, file: PathBuf) -> Result<Self, Failure> {
        match text.parse::<Table>() {
            Ok(table) => Ok(Self { table, file: Some(file) }),
            Err(error) => {
                let line =
                    error.span().map_or(1, |span| 1 + text.get(..span.start).unwrap_or("").matches('\n').count());
                let text = format!("{}:{line}: {}", file.display(), error.message().trim());
                Err(Failure::with_hint(text, "see the example in docs/recorder.md".to_owned()))
            }
        }
    }

    /// The value of an option of a command.
    pub(crate) fn find(&self, command: &str, option: &str, environment: Environment<'_>) -> Option<Found> {
        let word = |text: &str| text.to_uppercase().replace('-', "_");
        for name in [format!("LEAKLINE_{}_{}", word(command), word(option)), format!("LEAKLINE_{}", word(option))] {
            if let Some(value) = environment(&name).filter(|value| !value.is_empty()) {
                return Some(Found { values: vec![value], origin: name });
            }
        }
        let section = self.table.get(command).and_then(Value::as_table);
        let (value, key) = match section.and_then(|section| section.get(option)) {
            Some(value) => (value, format!("{command}.{option}")),
            None => (self.table.get(option)?, option.to_owned()),
        };
        let values = words(value)?;
        Some(Found { values, origin: format!("{} (key {key})", self.file_name()) })
    }

    /// One of the tables that are no options of a command, for example `[alerts]`.
    pub(crate) fn section(&self, name: &str) -> Option<&Table> {
        self.table.get(name).and_then(Value::as_table)
    }

    /// The first key that nobody knows: a typing error must not silently change nothing. `known` says of a section (empty
    /// for the top of the file) and a key whether there is such an option, and of a section alone whether there is one.
    pub(crate) fn check(&self, known: impl Fn(&str, Option<&str>) -> bool) -> Result<(), Failure> {
        for (key, value) in &self.table {
            match value.as_table() {
                Some(section) if known(key, None) => {
                    if let Some(name) = section.keys().find(|name| !known(key, Some(name))) {
                        return Err(self.unknown(&format!("{key}.{name}")));
                    }
                    if let Some((name, _)) =
                        section.iter().find(|(_, value)| words(value).is_none() && !value.is_table())
                    {
                        return Err(self.refused(&format!(
                            "the value of {key}.{name} is neither text, number, boolean nor a list"
                        )));
                    }
                }
                None if known("", Some(key)) && words(value).is_some() => {}
                Some(_) | None => return Err(self.unknown(key)),
            }
        }
        Ok(())
    }

    /// A failure that names the file.
    pub(crate) fn refused(&self, text: &str) -> Failure {
        Failure::with_hint(format!("{}: {text}", self.file_name()), None)
    }

    fn unknown(&self, key: &str) -> Failure {
        let hint =
            "keys are the long options without their dashes, under the name of their command; see docs/recorder.md";
        Failure::with_hint(format!("{}: the key {key} is unknown", self.file_name()), hint.to_owned())
    }

    fn file_name(&self) -> String {
        self.file.as_deref().unwrap_or_else(|| Path::new("leakline.toml")).display().to_string()
    }
}

/// The file that the command line names, found before anything else is understood of it.
pub(crate) fn named_on(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter().map(OsString::as_os_str).take_while(|word| *word != OsStr::new("--"));
    while let Some(word) = arguments.next() {
        if word == "--config" {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(file) = word.to_str().and_then(|word| word.strip_prefix("--config=")) {
            return Some(PathBuf::from(file));
        }
    }
    None
}

/// A value as it would be typed; none for what no option can be.
fn words(value: &Value) -> Option<Vec<OsString>> {
    match value {
        Value::String(text) => Some(vec![text.into()]),
        Value::Integer(number) => Some(vec![number.to_string().into()]),
        Value::Float(number) => Some(vec![number.to_string().into()]),
        Value::Boolean(flag) => Some(vec![flag.to_string().into()]),
        Value::Array(list) => {
            let each: Option<Vec<Vec<OsString>>> = list.iter().map(words).collect();
            each.map(|each| each.into_iter().flatten().collect())
        }
        Value::Datetime(_) | Value::Table(_) => None,
    }
}

fn read(file: &Path) -> Result<String, String> {
    let length = fs::metadata(file).map_err(|error| error.to_string())?.len();
    if length > SETTINGS_BYTES {
        return Err(format!("it has {length} bytes, at most {SETTINGS_BYTES} are read"));
    }
    fs::read_to_string(file).map_err(|error| error.to_string())
}

fn unreadable(file: &Path, reason: &str) -> Failure {
    Failure::with_hint(format!("the configuration file {} cannot be read: {reason}", file.display()), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "data-dir = '/top'\npid = [1, 2]\n[record]\nevery = '7s'\nbackground = true\n[alerts]\nx = 1.5\n";

    /// Looks `command.option` up with these variables set; `origin: values`.
    #[track_caller]
    fn check(variables: &[(&str, &str)], command: &str, option: &str, wanted: Option<&str>) {
        let settings = Settings::parse(FILE, "/c".into()).expect("it is sound");
        let environment = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        let found = settings.find(command, option, &environment);
        let shown = found.map(|found| format!("{}: {:?}", found.origin, found.values));
        assert_eq!(shown.as_deref(), wanted);
    }

    /// Every byte of a file in turn cut off or replaced: it is understood or refused by name.
    #[test]
    fn a_damaged_file_is_understood_or_refused() {
        let file = FILE.as_bytes();
        let (mut refused, mut understood) = (0, 0);
        for at in 0..file.len() {
            let cut = file[..at].to_vec();
            let replaced = b"\0\xff\n[]='\"#9".iter().map(|byte| {
                let mut bytes = file.to_vec();
                bytes[at] = *byte;
                bytes
            });
            for bytes in replaced.chain([cut]) {
                let text = String::from_utf8_lossy(&bytes);
                match Settings::parse(&text, PathBuf::from("damaged.toml")) {
                    Ok(settings) => {
                        let _ = settings.check(|section, _| section != "y");
                        settings.find("record", "every", &|_| None);
                        understood += 1;
                    }
                    Err(failure) => {
                        assert!(format!("{failure:?}").contains("damaged.toml:"), "{failure:?}");
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused > 100 && understood > 100, "{refused} refused, {understood} understood");
    }

    #[test]
    fn the_nearer_word_counts() {
        check(&[], "record", "every", Some("/c (key record.every): [\"7s\"]"));
        check(&[], "watch", "every", None);
        check(&[], "record", "data-dir", Some("/c (key data-dir): [\"/top\"]"));
        check(&[("LEAKLINE_EVERY", "3")], "record", "every", Some("LEAKLINE_EVERY: [\"3\"]"));
        let both = [("LEAKLINE_EVERY", "3"), ("LEAKLINE_RECORD_EVERY", "4")];
        check(&both, "record", "every", Some("LEAKLINE_RECORD_EVERY: [\"4\"]"));
        check(&both, "watch", "every", Some("LEAKLINE_EVERY: [\"3\"]"));
        check(&[("LEAKLINE_DATA_DIR", "/e")], "record", "data-dir", Some("LEAKLINE_DATA_DIR: [\"/e\"]"));
        check(&[("LEAKLINE_DATA_DIR", "")], "record", "data-dir", Some("/c (key data-dir): [\"/top\"]"));
        check(&[], "hunt", "pid", Some("/c (key pid): [\"1\", \"2\"]"));
        check(&[], "record", "background", Some("/c (key record.background): [\"true\"]"));
    }

    #[track_caller]
    fn check_refused(text: &str, words: &str) {
        let known = |section: &str, key: Option<&str>| match (section, key) {
            ("record", None) => true,
            ("record" | "", Some(key)) => key == "every",
            _ => false,
        };
        let checked = Settings::parse(text, "/c".into()).and_then(|settings| settings.check(known));
        let found = format!("{checked:?}");
        assert!(found.contains(words), "{text}: {found}");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        check_refused("every = 1\n[record]\nevery = 2", "Ok");
        check_refused("evry = 1", "/c: the key evry is unknown");
        check_refused("[record]\nevry = 1", "/c: the key record.evry is unknown");
        check_refused("[recrod]\nevery = 1", "/c: the key recrod is unknown");
        check_refused("record = 1", "/c: the key record is unknown");
        check_refused("[record]\nevery = 1979-05-27", "/c: the value of record.every is neither");
        check_refused("every = 1\n\n[record", "/c:3: ");
        check_refused("every = ", "/c:1: ");
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let refused = Settings::load(Some(Path::new("/no/such.toml")), &|_| None).expect_err("there is none");
        assert!(format!("{refused:?}").contains("/no/such.toml"), "{refused:?}");
        assert!(Settings::load(Some(Path::new("/proc")), &|_| None).is_err(), "a directory is no file");
        let nowhere = Settings::load(None, &|name| (name == "HOME").then(|| "/no/such".into())).expect("none is fine");
        assert!(nowhere.file.is_none());
    }

    #[test]
    fn the_file_is_found_on_the_command_line() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (line, wanted) in [
            ("leakline record --config /a", Some("/a")),
            ("leakline --config=/b record", Some("/b")),
            ("leakline record -- --config /a", None),
            ("leakline record --config", None),
            ("leakline record", None),
        ] {
            assert_eq!(named_on(&words(line)), wanted.map(PathBuf::from), "{line}");
        }
    }
}
