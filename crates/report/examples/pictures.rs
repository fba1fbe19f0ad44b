//! The sample recording in every format, to be looked at: `cargo run -p leakline-report --example pictures DIR`.
//!
//! Owns: nothing. Must not know: how recordings are read.

#[path = "../tests/views/samples.rs"]
mod samples;

use std::fs::File;
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    let view = samples::recording();
    for (name, dark) in [("light", false), ("dark", true)] {
        let plot = report::Plot { dark, ..report::Plot::default() };
        plot.svg(&view, &mut File::create(folder.join(format!("{name}.svg")))?)?;
        plot.png(&view, &mut File::create(folder.join(format!("{name}.png")))?)?;
    }
    report::Html { view: &view, live: None }.write(&mut File::create(folder.join("page.html"))?)
}
