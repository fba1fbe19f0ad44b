//! Names that somebody chose to do harm, and figures at their ends.
//!
//! Owns: a small generator of bad input. Must not know: what good output looks like in detail.

use std::sync::Arc;

use model::{Bytes, Pid, Reading, Tally, Why};
use report::{
    AlertView, Cell, ChildEvent, Document, EventView, Html, HuntView, Plot, ProcessView, Rate, RecordingView,
    SheetView, SiteView, SitesView, Text,
};
use serde_json::Value;

use super::samples;

/// Pieces of which the names are made: escapes, line ends, direction marks, wide, combining and broken characters.
const PIECES: [&str; 12] =
    ["a", " ", "\x1b[2J", "\x1b]0;x\x07", "\r", "\n", "\t", "\u{202e}", "\u{200d}", "日本", "e\u{301}", "\u{fffd}"];

/// A generator of numbers (xorshift), so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn name(&mut self) -> String {
        (0..self.below(12)).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }

    /// Figures near both ends and in the middle.
    fn figure(&mut self) -> u64 {
        [0, 1, self.next() >> 40, u64::MAX][self.below(4)]
    }

    fn bytes(&mut self) -> Reading<Bytes> {
        if self.below(4) == 0 { Reading::Missing(Why::ProcessGone) } else { Reading::Known(Bytes(self.figure())) }
    }

    fn process(&mut self) -> ProcessView {
        let mut view = [samples::leaking(), samples::suspect(), samples::unknown()][self.below(3)].clone();
        let mut identity = (*view.identity).clone();
        identity.command = self.name();
        identity.arguments = self.name();
        identity.user = Reading::Known(self.name());
        identity.cgroup = Reading::Known(self.name());
        identity.container = (self.below(2) == 0).then(|| self.name());
        view.identity = Arc::new(identity);
        (view.memory.anon, view.memory.swap) = (self.bytes(), self.bytes());
        let (low, high) = ([i64::MIN, 0, i64::MAX][self.below(3)], [i64::MIN, 0, i64::MAX][self.below(3)]);
        view.growth = Reading::Known(Rate { per_hour: low, low, high });
        view.recent = Reading::Known(high);
        view.history = (0..self.below(300)).map(|at| (samples::seconds(at as f64), Bytes(self.figure()))).collect();
        view.reasons = vec![self.name()];
        view
    }

    fn hunt(&mut self) -> HuntView {
        let mut view = samples::hunt();
        view.processes = (0..self.below(6)).map(|_| self.process()).collect();
        view.notes = vec![self.name()];
        view
    }

    fn site(&mut self) -> SiteView {
        let mut view = [samples::leaking_site(), samples::demoted_site()][self.below(2)].clone();
        view.counts.expired = Tally::exact(self.figure(), Bytes(self.figure()));
        view.ever_expired = view.counts.expired;
        view.verdict = self.name();
        let mut frames = view.frames.to_vec();
        for frame in &mut frames {
            let name = self.name().into();
            frame.function = Reading::Known(model::Function { name, offset: self.figure() });
            frame.address = model::Address(self.figure());
        }
        view.frames = frames.into();
        view
    }

    fn sites(&mut self) -> SitesView {
        let mut view = samples::sites();
        view.target.command = self.name();
        view.target.allocator = self.name();
        view.losses.stacks_cut = self.figure();
        view.coverage.allocations = self.figure();
        view.sites = (0..self.below(4)).map(|_| self.site()).collect();
        view
    }

    fn event(&mut self) -> EventView {
        let frames = self.site().frames;
        let expired = Tally::exact(self.figure(), Bytes(self.figure()));
        let (at, stack) = (samples::seconds(1.0), model::StackId(u32::MAX));
        match self.below(4) {
            0 => EventView::FirstExpiry { at, stack, expired, frames },
            1 => EventView::Again { at, stack, more: self.figure(), expired },
            2 => EventView::Child {
                at,
                pid: Pid(u32::MAX),
                command: self.name(),
                what: ChildEvent::Ended { why: self.name() },
            },
            _ => EventView::Ended { at, why: self.name() },
        }
    }
}

/// Only line ends may stand in a text: everything else that a terminal obeys must be escaped.
#[track_caller]
fn is_harmless(text: &str) {
    let obeyed = text.chars().find(|character| character.is_control() && *character != '\n');
    assert_eq!(obeyed, None, "{text:?}");
    assert!(!text.contains('\u{202e}') && !text.contains('\u{200d}'), "{text:?}");
}

#[track_caller]
fn is_one_line_of_json(document: Document<'_>) {
    let mut out = Vec::new();
    document.write(&mut out).expect("a vector takes everything");
    let text = String::from_utf8(out).expect("JSON is UTF-8");
    assert_eq!(text.matches('\n').count(), 1);
    let value: Value = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(value["schema"], 1);
}

#[test]
fn no_name_and_no_figure_does_harm_in_a_text() {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    for _ in 0..300 {
        let text = Text { width: numbers.below(200), colour: false };
        let mut out = Vec::new();
        let (hunt, sites, event) = (numbers.hunt(), numbers.sites(), numbers.event());
        text.hunt(&hunt, &mut out).expect("a vector takes everything");
        text.beat(&hunt, 3, &mut out).expect("a vector takes everything");
        text.sites(&sites, &mut out).expect("a vector takes everything");
        text.event(&event, &mut out).expect("a vector takes everything");
        is_harmless(&String::from_utf8(out).expect("the text is UTF-8"));
        is_harmless(&text.progress(&hunt));
    }
}

#[test]
fn no_name_and_no_figure_breaks_a_document() {
    let mut numbers = Numbers(0xD1B5_4A32_D192_ED03);
    for _ in 0..300 {
        let (hunt, sites, event) = (numbers.hunt(), numbers.sites(), numbers.event());
        is_one_line_of_json(Document::Beat(&hunt));
        is_one_line_of_json(Document::Hunt { view: &hunt, attached: &[sites] });
        is_one_line_of_json(Document::Event(&event));
    }
}

/// A recording, a sheet and an alert with names of every kind.
fn recorded(numbers: &mut Numbers) -> (RecordingView, SheetView, AlertView) {
    let mut view = samples::recording();
    view.host = numbers.name();
    for finding in &mut view.findings {
        finding.process = numbers.process();
    }
    for process in &mut view.processes {
        process.identity = numbers.process().identity;
        for point in process.series.iter_mut().flat_map(|series| &mut series.points) {
            let ends = [f64::MAX, -1.0, f64::NAN, f64::INFINITY, 0.0, 1e18];
            point.value = Reading::Known(ends[numbers.below(ends.len())]);
        }
    }
    view.events[0].text = numbers.name();
    view.gaps[0].reason = numbers.name();
    view.notes = vec![numbers.name()];
    let mut sheet = samples::sheet();
    sheet.title = numbers.name();
    for cell in sheet.tables.iter_mut().flat_map(|table| table.rows.iter_mut().flatten()) {
        match cell {
            Cell::Text(_) => *cell = Cell::text(numbers.name()),
            Cell::Bytes(_) => *cell = Cell::Bytes(numbers.bytes()),
            Cell::Change(_) | Cell::Count(_) | Cell::CountChange(_) | Cell::Share(_) | Cell::Span(_) => {}
        }
    }
    sheet.notes = vec![numbers.name()];
    let mut alert = samples::alert();
    (alert.subject, alert.evidence, alert.next_command) = (numbers.name(), numbers.name(), numbers.name());
    (view, sheet, alert)
}

#[test]
fn no_name_and_no_figure_does_harm_in_a_report() {
    let mut numbers = Numbers(0x2545_F491_4F6C_DD1D);
    for _ in 0..60 {
        let text = Text { width: numbers.below(200), colour: false };
        let (view, sheet, alert) = recorded(&mut numbers);
        let mut out = Vec::new();
        text.recording(&view, &mut out).expect("a vector takes everything");
        text.plots(&view, 3, &mut out).expect("a vector takes everything");
        text.sheet(&sheet, &mut out).expect("a vector takes everything");
        is_harmless(&String::from_utf8(out).expect("the text is UTF-8"));
        is_harmless(&text.alert(&alert));
        assert!(!text.alert(&alert).contains('\n'), "an alert is one line");
        for document in [Document::Recording(&view), Document::Sheet(&sheet), Document::Alert(&alert)] {
            is_one_line_of_json(document);
        }
        let plot = Plot { width: 400, height: 400, dark: false, log: numbers.below(2) == 0 };
        plot.svg(&view, &mut Vec::new()).expect("a vector takes everything");
        Html { view: &view, live: None }.write(&mut Vec::new()).expect("a vector takes everything");
    }
}

#[test]
fn a_table_has_one_line_for_each_row_and_keeps_its_width() {
    let mut numbers = Numbers(0xA076_1D64_78BD_642F);
    for _ in 0..300 {
        let hunt = numbers.hunt();
        let rows: Vec<_> = hunt.processes.iter().collect();
        // Columns that are never cut take at most this much, even with the greatest figures.
        let width = 60 + numbers.below(150);
        let lines = Text { width, colour: false }.process_table(&rows);
        assert_eq!(lines.len(), rows.len() + 1);
        for line in lines {
            assert!(unicode_width::UnicodeWidthStr::width(line.as_str()) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn a_name_in_a_document_is_the_name_itself() {
    let mut numbers = Numbers(0xE703_7ED1_A0B4_28DB);
    for _ in 0..100 {
        let mut view = samples::hunt();
        view.processes = vec![numbers.process()];
        let mut out = Vec::new();
        Document::Beat(&view).write(&mut out).expect("a vector takes everything");
        let value: Value = serde_json::from_slice(&out).expect("what was written can be read");
        assert_eq!(value["processes"][0]["command"], *view.processes[0].identity.command);
    }
}
