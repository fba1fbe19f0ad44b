//! What the writers make of the views, compared with the files in `tests/data`.
//!
//! `UPDATE_GOLDEN=1 cargo test` writes the files anew; read the difference before it is committed.

#[path = "views/golden.rs"]
mod golden;
#[path = "views/json.rs"]
mod json;
#[path = "views/samples.rs"]
mod samples;
#[path = "views/text.rs"]
mod text;
