//! Exports and pictures, read back by readers that know nothing of ours.
//!
//! Owns: what must hold of each format. Must not know: how it is written.
//!
//! The readers are Python's own `csv` and `xml`, which every Python has, and `pyarrow` and `pandas` from the package index, which are
//! not everywhere: where a reader is missing its test says so by name, and the test suite lists it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use report::{Html, Plot, ProcessCsv, RecordingView, SystemCsv};

use super::{golden, samples};

fn written(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out).expect("a vector takes everything");
    out
}

fn text(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
    String::from_utf8(written(write)).expect("it is UTF-8")
}

/// A file for another program; each test has its own.
fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("leakline-report-{}-{name}", std::process::id()));
    std::fs::write(&path, content).expect("the folder for temporary files can be written to");
    path
}

/// What a Python program prints about a file; nothing where the reader `module` is not installed.
#[expect(clippy::disallowed_methods, reason = "an independent reader is another program")]
fn read_by_python(module: &str, program: &str, name: &str, content: &[u8]) -> Option<String> {
    // A virtual environment with pyarrow may be named; a plain Python serves for the rest.
    let python = std::env::var_os("LEAKLINE_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let probe = Command::new(&python).args(["-c", &format!("import {module}")]).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("not read back: {name}: {} has no module {module}", python.to_string_lossy());
        return None;
    }
    let path = file(name, content);
    let output = Command::new(&python).arg("-c").arg(program).arg(&path).output().expect("python runs");
    let _ = std::fs::remove_file(&path);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("python prints UTF-8"))
}

#[track_caller]
fn check_read(module: &str, program: &str, name: &str, content: &[u8], expected: &str) {
    if let Some(said) = read_by_python(module, program, name, content) {
        assert_eq!(said.trim_end(), expected);
    }
}

fn system_csv() -> Vec<u8> {
    written(|out| {
        SystemCsv.head(out)?;
        SystemCsv.beat(&samples::beat(0), out)?;
        SystemCsv.beat(&samples::beat(1), out)
    })
}

fn process_csv() -> Vec<u8> {
    written(|out| {
        ProcessCsv.head(out)?;
        ProcessCsv.beat(&samples::beat(0), out)?;
        ProcessCsv.beat(&samples::beat(1), out)
    })
}

#[test]
fn tables_have_exactly_the_documented_columns() {
    let system = String::from_utf8(system_csv()).expect("CSV is UTF-8");
    let documented = "Timestamp,Total_KB,Used_KB,Free_KB,Available_KB,Buffers_KB,Cached_KB,Usage_Percent,Top_Process,Top_Process_Mem";
    assert_eq!(system.lines().next(), Some(documented));
    golden::check(env!("CARGO_MANIFEST_DIR"), "system.csv", &system);
    let processes = String::from_utf8(process_csv()).expect("CSV is UTF-8");
    golden::check(env!("CARGO_MANIFEST_DIR"), "processes.csv", &processes);
}

#[test]
fn csv_is_read_back_by_python() {
    let program = "import csv, sys\n\
        rows = list(csv.DictReader(open(sys.argv[1], newline='', encoding='utf-8'), strict=True))\n\
        print(len(rows), set(len(r) for r in rows), rows[2]['Anon_KB'], rows[1]['Command'], rows[1]['PSS_KB'] == '')\n\
        print(any((v or '').lstrip()[:1] in tuple('=+-@') for r in rows for v in r.values() if v))";
    let expected = "4 {25} 2041856 '=cmd|'/c calc'!A1,\"x\" True\nFalse";
    check_read("csv", program, "processes.csv", &process_csv(), expected);
}

#[test]
fn csv_is_read_back_by_pandas() {
    let program = "import pandas, sys\n\
        t = pandas.read_csv(sys.argv[1], parse_dates=['Timestamp'])\n\
        print(len(t), t['Used_KB'].iloc[1] - t['Used_KB'].iloc[0], (t['Timestamp'].iloc[1] - t['Timestamp'].iloc[0]).seconds)";
    check_read("pandas", program, "system.csv", &system_csv(), "2 1048576 60");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_is_read_back_by_pyarrow() {
    let mut content = Vec::new();
    let mut export = report::ProcessParquet::new(&mut content).expect("a file can be started");
    for at in 0..2 {
        export.beat(&samples::beat(at)).expect("a vector takes everything");
    }
    export.finish().expect("a file can be ended");
    let program = "import pyarrow.parquet, sys\n\
        t = pyarrow.parquet.read_table(sys.argv[1])\n\
        print(t.num_rows, t.num_columns, t.schema.field('Timestamp').type, t.schema.field('Command').type)\n\
        print(t['Anon_KB'].to_pylist(), t['PSS_KB'].null_count, t['Command'][1], t['Timestamp'][2])";
    let expected = "4 25 timestamp[us, tz=UTC] string\n\
        [2031616, 10240, 2041856, 10240] 4 =cmd|'/c calc'!A1,\"x\" 2026-11-21 06:01:00+00:00";
    check_read("pyarrow.parquet", program, "processes.parquet", &content, expected);
}

/// A recording all of whose names are hostile.
fn hostile() -> RecordingView {
    const NAME: &str = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>\x1b[2J\n\u{202e}&lt;]]>";
    let mut view = samples::recording();
    NAME.clone_into(&mut view.host);
    let mut identity = (*view.processes[0].identity).clone();
    NAME.clone_into(&mut identity.command);
    NAME.clone_into(&mut identity.arguments);
    identity.container = Some(NAME.to_owned());
    identity.user = model::Reading::Known(NAME.to_owned());
    view.processes[0].identity = identity.into();
    view.findings[0].process.identity = std::sync::Arc::clone(&view.processes[0].identity);
    NAME.clone_into(&mut view.findings[0].process.verdict);
    NAME.clone_into(&mut view.findings[0].process.kind);
    view.findings[0].process.reasons = vec![NAME.to_owned()];
    NAME.clone_into(&mut view.events[0].text);
    NAME.clone_into(&mut view.gaps[0].reason);
    view.notes = vec![NAME.to_owned()];
    NAME.clone_into(&mut view.system[0].subject);
    view
}

#[test]
fn pictures_are_well_formed_whatever_the_names_are() {
    for view in [samples::recording(), hostile(), RecordingView::default()] {
        let picture = written(|out| Plot::default().svg(&view, out));
        let program = "import sys, xml.etree.ElementTree as e\n\
            root = e.parse(sys.argv[1]).getroot()\n\
            print(root.tag, root.get('width'), root.get('height'), len(set(x.tag for x in root.iter())) <= 4)";
        check_read("xml", program, "plot.svg", &picture, "{http://www.w3.org/2000/svg}svg 1400 1000 True");
    }
}

#[test]
fn pictures_stay_as_they_are() {
    let plot = Plot { width: 700, height: 500, dark: false, log: false };
    golden::check(env!("CARGO_MANIFEST_DIR"), "plot.svg", &text(|out| plot.svg(&samples::recording(), out)));
}

/// Width and height in the header of a PNG.
#[track_caller]
fn check_png(plot: Plot, size: (u32, u32)) {
    let picture = written(|out| plot.png(&samples::recording(), out));
    assert_eq!(&picture[..16], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    let number = |at: usize| u32::from_be_bytes([picture[at], picture[at + 1], picture[at + 2], picture[at + 3]]);
    assert_eq!((number(16), number(20)), size);
    assert!(picture.ends_with(b"IEND\xaeB`\x82"));
    assert!(picture.len() > 5_000, "{} bytes hold no curves", picture.len());
}

#[test]
fn pictures_have_the_wanted_size_within_bounds() {
    check_png(Plot { width: 640, height: 480, dark: true, log: true }, (640, 480));
    check_png(Plot { width: 0, height: 0, ..Plot::default() }, (320, 320));
    assert_eq!(Plot::default(), Plot { width: 1400, height: 1000, dark: false, log: false });
}

#[test]
fn a_page_holds_no_markup_of_a_name() {
    let view = hostile();
    let page = text(|out| Html { view: &view, live: None }.write(out));
    assert!(!page.contains("<script>alert") && !page.contains("<img"), "a name became markup");
    assert!(!page.contains('\x1b'), "a name kept its escape");
    // Ours: the data, uPlot and the script of the page.
    assert_eq!(page.matches("<script").count(), 3);
    assert_eq!(page.matches("</script").count(), 3);
    assert!(page.contains("&lt;script&gt;alert(1)"), "the name is shown as text");
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let page = text(|out| Html { view: &samples::recording(), live: None }.write(out));
    for loads in ["src=", "href=", "@import", "url("] {
        assert!(!page.contains(loads), "{loads}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(page.find("Findings") < page.find("id=\"charts\""), "findings first");
    assert!(page.contains("Copyright (c) 2022 Leon Sorokin"), "the licence of what is embedded stays with it");
}

#[test]
fn a_page_is_well_formed() {
    let page = text(|out| Html { view: &hostile(), live: Some("/data?token=a\"b<c") }.write(out));
    let program = "import sys, html.parser\n\
        class P(html.parser.HTMLParser):\n    open = []\n    bad = []\n\
        \x20   def handle_starttag(self, tag, attrs):\n        if tag not in ('meta', 'input', 'br'): self.open.append(tag)\n\
        \x20   def handle_endtag(self, tag):\n        if self.open.pop() != tag: self.bad.append(tag)\n\
        p = P(); p.feed(open(sys.argv[1], encoding='utf-8').read()); p.close(); print(p.open, p.bad)";
    check_read("html.parser", program, "page.html", page.as_bytes(), "[] []");
}

/// Writes everything to the folder that `LEAKLINE_PICTURES` names, to be looked at by people, and checks that a large
/// recording does not make a large page: twenty processes with a thousand points each.
#[test]
fn a_week_of_twenty_processes_is_a_page_of_a_few_megabytes() {
    let mut view = samples::recording();
    let process = view.processes[0].clone();
    view.processes = vec![process; 20];
    for series in view.processes.iter_mut().flat_map(|process| &mut process.series) {
        let last = series.points[0];
        series.points = (0..1000).map(|at| report::Point { at: samples::minute(at * 10), ..last }).collect();
    }
    view.to = samples::minute(10_000);
    let page = text(|out| Html { view: &view, live: None }.write(out));
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    let Some(folder) = std::env::var_os("LEAKLINE_PICTURES").map(PathBuf::from) else { return };
    let view = samples::recording();
    let write = |name: &str, content: &[u8]| std::fs::write(folder.join(name), content).expect("the folder is there");
    write("large.html", page.as_bytes());
    write("page.html", text(|out| Html { view: &view, live: None }.write(out)).as_bytes());
    for (name, dark) in [("light", false), ("dark", true)] {
        let plot = Plot { dark, ..Plot::default() };
        write(&format!("{name}.svg"), text(|out| plot.svg(&view, out)).as_bytes());
        write(&format!("{name}.png"), &written(|out| plot.png(&view, out)));
    }
}
