//! Source text beside the frames: as it stands in the file, or not at all.
//!
//! Owns: those cases. Must not know: which sites leak.

use serde_json::Value;

use crate::command::{attach, frames, leakline, site};
use crate::targets::{Target, compile, line_of, sources};

/// The text beside the frame of `leak_here` in the first site.
fn text(summary: &Value) -> Value {
    let frames = frames(site(summary, 1));
    let frame = frames.iter().find(|frame| frame["function"] == "leak_here").expect("the function that leaks");
    frame["source"]["text"].clone()
}

#[test]
fn the_leaking_line_is_shown_with_those_around_it() {
    let line = line_of("c/leaky.c", "LEAK-LINE");
    let source = std::fs::read_to_string(sources().join("c/leaky.c")).expect("a target's source");
    let expected: Vec<&str> = source.lines().skip(line as usize - 3).take(5).collect();
    let target = Target::start("c/leaky.c", "--rate 4096");
    let run = attach(target.pid(), "--expire 0.3 --for 2");
    let text = text(&run.summary());
    assert_eq!(text["line"], line - 2, "{}", run.describe());
    let lines: Vec<&str> = text["lines"].as_array().expect("lines").iter().filter_map(Value::as_str).collect();
    assert_eq!(lines, expected);
    let run = leakline(&format!("attach {} --plain --expire 0.3 --for 2", target.pid()));
    let marked = format!("> {line:>5} │ {}", expected[2]);
    assert!(run.lines.iter().any(|line| line.ends_with(&marked)), "no {marked:?}: {:#?}", run.lines);
    target.stop().assert_unharmed();
}

#[test]
fn a_source_that_changed_is_marked_and_one_that_is_gone_is_left_out() {
    let folder = crate::targets::built().join(format!("excerpts-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("c")).expect("a folder");
    for file in ["leaky.c", "target.h"] {
        std::fs::copy(sources().join("c").join(file), folder.join("c").join(file)).expect("a copy");
    }
    let (source, program) = (folder.join("c/leaky.c"), folder.join("leaky"));
    compile(&["gcc".into(), "-O2".into(), "-g".into(), "-pthread".into(), source.clone().into()], &program);
    let target = Target::start_program(&program, "--rate 4096");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    let file = std::fs::File::options().append(true).open(&source).expect("the copy");
    file.set_modified(later).expect("it is ours");
    let run = attach(target.pid(), "--expire 0.3 --for 2");
    assert_eq!(text(&run.summary())["newer_than_program"], true, "{}", run.describe());
    std::fs::remove_file(&source).expect("it is ours");
    let run = attach(target.pid(), "--expire 0.3 --for 2");
    assert_eq!(text(&run.summary()), Value::Null, "{}", run.describe());
    target.stop().assert_unharmed();
    std::fs::remove_dir_all(&folder).expect("it is ours");
}
