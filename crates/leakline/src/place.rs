//! Where recordings are.
//!
//! Owns: the default directories, and how the name of a recording is understood. Must not know: what is in a recording.
//!
//! `/tmp` is never used: it is what a machine that crashed for lack of memory clears first.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::failure::Failure;

/// Where recordings are kept unless somebody names a place, one directory per machine.
pub(crate) fn data_dir(asked: Option<&Path>) -> Result<PathBuf, Failure> {
    choose(asked, rustix::process::geteuid().is_root(), &|name| std::env::var_os(name))
}

fn choose(
    asked: Option<&Path>,
    root: bool,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, Failure> {
    if let Some(asked) = asked {
        return Ok(asked.to_path_buf());
    }
    if root {
        return Ok(PathBuf::from("/var/lib/leakline"));
    }
    // The XDG base directory specification says that a relative path is to be ignored.
    let absolute = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".local/state"));
    absolute("XDG_STATE_HOME").or_else(home).map(|state| state.join("leakline")).ok_or_else(|| {
        let text = "there is no place for recordings: neither XDG_STATE_HOME nor HOME is an absolute path";
        Failure::with_hint(text, "name one with --data-dir DIR or -o DIR".to_owned())
    })
}

/// The directory that this machine is recorded into, as an absolute path: what was named, or the machine's own.
pub(crate) fn to_record(named: Option<&Path>, asked: Option<&Path>) -> Result<PathBuf, Failure> {
    let place = match named {
        Some(named) => named.to_path_buf(),
        None => data_dir(asked)?.join(host()),
    };
    absolute(&place)
}

/// The directory of a recording that is to be read: a path, or the name of a machine under the data directory; without
/// either, this machine's own.
pub(crate) fn to_read(named: Option<&Path>, asked: Option<&Path>) -> Result<PathBuf, Failure> {
    let Some(named) = named else { return to_record(None, asked) };
    if !named.exists() && is_name(named) {
        let inside = data_dir(asked)?.join(named);
        if inside.is_dir() {
            return absolute(&inside);
        }
    }
    absolute(named)
}

/// The name of this machine, safe as the name of a directory.
pub(crate) fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    host_directory(&name)
}

/// The name of a machine, safe as the name of a directory: it may come from another machine, which may lie.
pub(crate) fn host_directory(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@') { c } else { '_' };
    let name: String = name.chars().take(NAME_MAX).map(safe).collect();
    let name = name.trim_start_matches('.');
    debug_assert!(!name.contains('/'), "it stays within its parent");
    if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() }
}

/// What file systems allow for one name is 255; a suffix must still fit.
const NAME_MAX: usize = 200;

fn is_name(path: &Path) -> bool {
    let mut parts = path.components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

/// The path from the root, so that it stays right when the current directory changes.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::with_hint(format!("{} is no usable path: {error}", path.display()), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(asked: Option<&str>, root: bool, variables: &[(&str, &str)], wanted: &str) {
        let environment = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        let found = choose(asked.map(Path::new), root, &environment);
        let found = found.map_or_else(|failure| format!("{failure:?}"), |path| path.display().to_string());
        assert!(found.contains(wanted), "{found}");
    }

    #[test]
    fn the_place_is_the_one_asked_for_or_where_state_belongs() {
        check(Some("/data"), true, &[], "/data");
        check(None, true, &[("XDG_STATE_HOME", "/x")], "/var/lib/leakline");
        check(None, false, &[("XDG_STATE_HOME", "/x"), ("HOME", "/h")], "/x/leakline");
        check(None, false, &[("XDG_STATE_HOME", "x"), ("HOME", "/h")], "/h/.local/state/leakline");
        check(None, false, &[("HOME", "")], "there is no place for recordings");
    }

    #[test]
    fn a_recording_is_a_path_or_the_name_of_a_machine() {
        let data = std::env::temp_dir().join(format!("leakline-place-{}", std::process::id()));
        std::fs::create_dir_all(data.join("web1")).expect("it can be made");
        let found = |named: &str| to_read(Some(Path::new(named)), Some(&data)).expect("it is a path");
        assert_eq!(found("web1"), data.join("web1"));
        assert_eq!(found("/etc"), PathBuf::from("/etc"));
        assert!(found("web2").is_absolute() && !found("web2").starts_with(&data), "no such machine: a path");
        assert_eq!(to_read(None, Some(&data)).expect("it is a path"), data.join(host()));
        assert_eq!(to_record(Some(Path::new("/o")), Some(&data)).expect("it is a path"), PathBuf::from("/o"));
        std::fs::remove_dir_all(&data).expect("it is ours");
    }

    #[test]
    fn a_machine_cannot_choose_another_place_by_its_name() {
        for (name, wanted) in [
            ("web-1.example", "web-1.example"),
            ("../../etc", "_.._etc"),
            ("a/b", "a_b"),
            ("..", "unnamed"),
            ("", "unnamed"),
            ("a\x1b[31m", "a__31m"),
        ] {
            assert_eq!(host_directory(name), wanted, "{name}");
        }
    }
}
