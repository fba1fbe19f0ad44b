//! What the writers make of the views, compared with the files in `tests/data`.
//!
//! `UPDATE_GOLDEN=1 cargo test` writes the files anew; read the difference before it is committed.

#![expect(clippy::expect_used, clippy::panic, reason = "a helper of a test stops it where it cannot go on")]
#![expect(clippy::print_stderr, reason = "a reader that is not installed is named")]

#[path = "views/exports.rs"]
mod exports;
#[path = "views/golden.rs"]
mod golden;
#[path = "views/hostile.rs"]
mod hostile;
#[path = "views/json.rs"]
mod json;
#[path = "views/samples.rs"]
mod samples;
#[path = "views/text.rs"]
mod text;
