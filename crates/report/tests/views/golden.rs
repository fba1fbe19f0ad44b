//! Comparing with a file that holds what is expected.
//!
//! Owns: where the files are and how they are renewed. Must not know: what is in them.

use std::fs;
use std::path::Path;

/// Compares with the file `name` in the folder `tests/data` of the crate at `root`.
#[track_caller]
pub(crate) fn check(root: &str, name: &str, actual: &str) {
    let path = Path::new(root).join("tests/data").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, actual).expect("the folder tests/data can be written to");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{} has\n{expected}\nbut it is now\n{actual}", path.display());
}
