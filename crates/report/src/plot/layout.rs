//! A recording laid out as a picture: head, charts one above the other, legends beside them.
//!
//! Owns: where everything stands. Must not know: file formats.

use model::Reading;

use super::Plot;
use super::charts::{self, Chart, Line};
use super::font::Font;
use super::scale::{self, Scale};
use super::scene::{Anchor, Colour, LINES, Palette, Scene, Shape};
use crate::limits::{CHARTS_MAX, HEADLINES_MAX, LINES_MAX};
use crate::text::phrase;
use crate::view::{FindingView, Point, RecordingView, Severity};
use crate::{Span, WallTime};

const MARGIN: f64 = 18.0;
const LABEL: f64 = 11.0;
const TITLE: f64 = 14.0;
const HEAD: f64 = 18.0;
/// Space for the labels of the vertical axis.
const AXIS: f64 = 66.0;
/// Space between the lines of a legend.
const LEADING: f64 = 17.0;
/// A chart that is lower than this shows no slope; then there are fewer charts.
const CHART_HEIGHT_MIN: f64 = 120.0;
/// Space below a field for its ticks and their labels.
const BELOW: f64 = 34.0;

/// What every part needs while it is laid out.
struct Sheet<'a> {
    font: Font,
    palette: &'a Palette,
    shapes: Vec<Shape>,
}

/// A rectangle on the picture.
#[derive(Clone, Copy)]
struct Area {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// The picture of a recording; none if the embedded font is broken.
pub(super) fn scene(plot: Plot, view: &RecordingView) -> Option<Scene> {
    let mut sheet = Sheet { font: Font::embedded()?, palette: plot.palette(), shapes: Vec::new() };
    let (width, height) = (f64::from(plot.width()), f64::from(plot.height()));
    sheet.rectangle(Area { x: 0.0, y: 0.0, width, height }, sheet.palette.ground);
    let top = sheet.head(view, width);
    let charts = charts::of(view);
    let fitting = ((height - top) / CHART_HEIGHT_MIN).max(1.0) as usize;
    let (shown, left_out) = charts.split_at(charts.len().min(CHARTS_MAX).min(fitting));
    debug_assert!(shown.len() <= CHARTS_MAX, "a picture stays readable");
    let each = (height - top - MARGIN) / shown.len().max(1) as f64;
    for (index, chart) in shown.iter().enumerate() {
        let y = top + index as f64 * each;
        sheet.chart(view, chart, Area { x: MARGIN, y, width: width - 2.0 * MARGIN, height: each }, plot.log);
    }
    if !left_out.is_empty() {
        let titles: Vec<&str> = left_out.iter().map(|chart| chart.title.as_str()).collect();
        let line = format!("Not drawn: {} (a page, FILE.html, has all)", titles.join("; "));
        // In the margin, so that it takes no space from those that are drawn.
        let at = (MARGIN, height - MARGIN / 3.0);
        sheet.text(at, LABEL, Anchor::Start, sheet.palette.faint, &line, width - 2.0 * MARGIN);
    }
    if shown.is_empty() {
        let colour = sheet.palette.faint;
        sheet.text((MARGIN, top + HEAD), TITLE, Anchor::Start, colour, "Nothing was recorded in this time.", width);
    }
    Some(Scene { width: plot.width(), height: plot.height(), shapes: sheet.shapes })
}

/// One finding as a line: who, how fast, and how certain that is.
fn headline(finding: &FindingView) -> String {
    let process = &finding.process;
    let certain =
        process.confidence.known().map_or_else(String::new, |share| format!(", {} certain", phrase::percent(share)));
    let growth = match process.growth {
        Reading::Known(rate) => format!("{} per hour", phrase::per_hour(rate.per_hour)),
        Reading::Missing(why) => format!("growth unknown: {why}"),
    };
    let (command, pid) = (&process.identity.command, process.identity.key.pid);
    format!("{command} ({pid}): {}, {growth} {}{certain}", process.verdict, process.kind)
}

impl Sheet<'_> {
    fn rectangle(&mut self, area: Area, colour: Colour) {
        let Area { x, y, width, height } = area;
        self.shapes.push(Shape::Rectangle { x, y, width, height, colour });
    }

    fn line(&mut self, points: Vec<(f64, f64)>, colour: Colour, width: f64) {
        self.shapes.push(Shape::Line { points, colour, width });
    }

    /// A text no wider than `room`.
    fn text(&mut self, (x, y): (f64, f64), size: f64, anchor: Anchor, colour: Colour, text: &str, room: f64) {
        let text = self.font.fitted(&crate::Text::safe(text), size, room);
        self.shapes.push(Shape::Text { x, y, size, anchor, colour, text });
    }

    /// Host, time and the worst findings; gives where the charts begin. A picture is passed on without its report, so that it must say
    /// by itself what it is of and what was found.
    fn head(&mut self, view: &RecordingView, width: f64) -> f64 {
        let room = width - 2.0 * MARGIN;
        let mut y = MARGIN + HEAD;
        self.text((MARGIN, y), HEAD, Anchor::Start, self.palette.text, &view.host, room);
        y += LEADING + 3.0;
        let time = format!(
            "{} to {} UTC ({}), {}, {}",
            view.from,
            view.to,
            Span(view.to.since(view.from)),
            phrase::counted(view.beats, "sample"),
            phrase::counted(view.gaps.len() as u64, "gap"),
        );
        self.text((MARGIN, y), LABEL, Anchor::Start, self.palette.faint, &time, room);
        for finding in view.findings.iter().take(HEADLINES_MAX) {
            y += LEADING;
            let colour = self.of_severity(finding.process.severity).unwrap_or(self.palette.text);
            self.text((MARGIN, y), LABEL + 1.0, Anchor::Start, colour, &headline(finding), room);
        }
        y + LEADING
    }

    fn of_severity(&self, severity: Severity) -> Option<Colour> {
        match severity {
            Severity::Leak => Some(self.palette.bad),
            Severity::Suspect => Some(self.palette.doubtful),
            Severity::Unclear | Severity::Fine => None,
        }
    }

    fn chart(&mut self, view: &RecordingView, chart: &Chart<'_>, area: Area, log: bool) {
        let title_at = (area.x, area.y + TITLE);
        self.text(title_at, TITLE, Anchor::Start, self.palette.text, &chart.title, area.width);
        // A quarter for the legend: names are cut to it, while a narrower field would cut the curves, which are what is looked at.
        let beside = (area.width * 0.26).clamp(90.0, 300.0);
        let field = Area {
            x: area.x + AXIS,
            y: area.y + TITLE + 10.0,
            width: (area.width - AXIS - beside - 14.0).max(40.0),
            height: (area.height - TITLE - 10.0 - BELOW).max(20.0),
        };
        debug_assert!(field.width > 0.0 && field.height > 0.0, "the least picture has space for a field");
        let shown = &chart.lines[..chart.lines.len().min(LINES_MAX)];
        let time = Scale::of_time(view.from, view.to);
        let values = Scale::of_values(range(shown), chart.unit, log);
        // Later shapes cover earlier ones: the gaps lie below the grid, the grid below the curves.
        self.gaps(view, time, field);
        self.axes(chart, time, values, field);
        // The worst is drawn last, above all others.
        for (index, line) in shown.iter().enumerate().rev() {
            let colour = LINES[index % LINES.len()];
            let width = if line.severity == Severity::Leak { 2.4 } else { 1.5 };
            for points in pieces(line.points, view) {
                self.curve(&points, (time, values), field, colour, width);
            }
        }
        let legend = Area { x: field.x + field.width + 14.0, y: field.y, width: beside, height: field.height };
        self.legend(chart, shown, legend);
    }

    fn gaps(&mut self, view: &RecordingView, time: Scale, field: Area) {
        for gap in &view.gaps {
            let place = |at: WallTime| field.x + time.place(at.unix_seconds()).clamp(0.0, 1.0) * field.width;
            let (from, to) = (place(gap.from), place(gap.to));
            // A short gap in a long recording is still a gap.
            let area = Area { x: from, width: (to - from).max(1.5), ..field };
            self.rectangle(area, self.palette.gap);
        }
    }

    fn axes(&mut self, chart: &Chart<'_>, time: Scale, values: Scale, field: Area) {
        let (grid, faint) = (self.palette.grid, self.palette.faint);
        for tick in values.ticks(chart.unit, (field.height / 32.0).clamp(2.0, 8.0) as usize) {
            let y = field.y + field.height * (1.0 - tick.place);
            self.line(vec![(field.x, y), (field.x + field.width, y)], grid, 1.0);
            self.text((field.x - 7.0, y + 4.0), LABEL, Anchor::End, faint, &tick.label, AXIS - 8.0);
        }
        let bottom = field.y + field.height;
        for tick in time.time_ticks((field.width / 80.0).clamp(2.0, 12.0) as usize) {
            let x = field.x + field.width * tick.place;
            self.line(vec![(x, bottom), (x, bottom + 4.0)], faint, 1.0);
            self.text((x, bottom + 17.0), LABEL, Anchor::Middle, faint, &tick.label, 80.0);
        }
        self.line(vec![(field.x, bottom), (field.x + field.width, bottom)], faint, 1.0);
    }

    fn curve(
        &mut self,
        points: &[(f64, f64)],
        (time, values): (Scale, Scale),
        field: Area,
        colour: Colour,
        width: f64,
    ) {
        let place = |(at, value): &(f64, f64)| {
            let x = field.x + time.place(*at).clamp(0.0, 1.0) * field.width;
            (x, field.y + field.height * (1.0 - values.place(*value).clamp(0.0, 1.0)))
        };
        let mut placed: Vec<(f64, f64)> = points.iter().map(place).collect();
        // A single point would be a line without length, which nobody sees.
        if let [(x, y)] = placed[..] {
            placed = vec![(x - 1.0, y), (x + 1.0, y)];
        }
        self.line(placed, colour, width);
    }

    /// A line for each curve with its last value, as many as there is space for.
    fn legend(&mut self, chart: &Chart<'_>, shown: &[Line<'_>], area: Area) {
        // The last line is given up for the number of those that have none.
        let space = (area.height / LEADING).max(1.0) as usize;
        let listed = if shown.len() <= space { shown.len() } else { space - 1 };
        let mut y = area.y + LABEL - 2.0;
        for (line, colour) in shown[..listed].iter().zip(LINES.into_iter().cycle()) {
            self.rectangle(Area { x: area.x, y: y - 6.0, width: 14.0, height: 3.0 }, colour);
            let last = line.points.iter().rev().find_map(|point| point.value.known());
            let value = last.map_or_else(|| "?".to_owned(), |last| scale::label(last, chart.unit));
            let value_width = self.font.width(&value, LABEL) + 8.0;
            let text = self.of_severity(line.severity).unwrap_or(self.palette.text);
            let room = (area.width - 20.0 - value_width).max(20.0);
            self.text((area.x + 20.0, y), LABEL, Anchor::Start, text, &line.name, room);
            self.text((area.x + area.width, y), LABEL, Anchor::End, self.palette.faint, &value, area.width);
            y += LEADING;
        }
        let left_out = chart.lines.len() - listed;
        if left_out > 0 {
            let rest = format!("and {left_out} more");
            self.text((area.x + 20.0, y), LABEL, Anchor::Start, self.palette.faint, &rest, area.width);
        }
    }
}

/// Least and greatest value of all lines.
fn range(lines: &[Line<'_>]) -> (f64, f64) {
    let values = lines.iter().flat_map(|line| line.points).filter_map(|point| point.value.known());
    let finite = values.filter(|value| value.is_finite());
    let range = finite
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), value| (least.min(value), greatest.max(value)));
    if range.0 > range.1 { (0.0, 1.0) } else { range }
}

/// The stretches of a line in which every point is known and no gap lies, as seconds and values.
pub(crate) fn pieces(points: &[Point], view: &RecordingView) -> Vec<Vec<(f64, f64)>> {
    // The value before a gap and the one after it stand in different pieces even where neither is missing.
    let mut pieces = vec![Vec::new()];
    let mut before: Option<WallTime> = None;
    for point in points {
        let crosses = before.is_some_and(|before| view.gaps.iter().any(|gap| gap.from >= before && gap.to <= point.at));
        if crosses {
            pieces.push(Vec::new());
        }
        match point.value {
            Reading::Known(value) if value.is_finite() => {
                pieces.last_mut().into_iter().for_each(|piece| piece.push((point.at.unix_seconds(), value)));
            }
            Reading::Known(_) | Reading::Missing(_) => pieces.push(Vec::new()),
        }
        before = Some(point.at);
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GapView;
    use model::Why;

    /// Values at the seconds 0, 1, 2 …; `?` is missing, `|` is a gap before the next.
    #[track_caller]
    fn check(values: &str, expected: &str) {
        let mut view = RecordingView::default();
        let mut points = Vec::new();
        let at = |second: usize| WallTime(second as u64 * 1_000_000_000);
        for word in values.split(' ') {
            let now = points.len();
            match word {
                "|" => view.gaps.push(GapView { from: at(now - 1), to: at(now), reason: String::new() }),
                "?" => points.push(Point { at: at(now), value: Reading::Missing(Why::NotOffered) }),
                value => points.push(Point { at: at(now), value: Reading::Known(value.parse().unwrap()) }),
            }
        }
        let written: Vec<String> = pieces(&points, &view)
            .iter()
            .map(|piece| piece.iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(written.join(" / "), expected);
    }

    #[test]
    fn a_line_is_broken_where_nothing_is_known() {
        check("1 2 3", "1 2 3");
        check("1 ? 3", "1 / 3");
        check("? 1 ?", "1");
        check("1 2 | 3 4", "1 2 / 3 4");
        check("1 | 2 | 3", "1 / 2 / 3");
        check("inf 1 NaN 2", "1 / 2");
        check("? ?", "");
    }

    /// The texts of a picture.
    fn texts(plot: Plot, view: &RecordingView) -> Vec<String> {
        let scene = scene(plot, view).expect("the asset is a font");
        let text = |shape: &Shape| match shape {
            Shape::Text { text, .. } => Some(text.clone()),
            Shape::Rectangle { .. } | Shape::Line { .. } => None,
        };
        scene.shapes.iter().filter_map(text).collect()
    }

    /// Everything lies on the picture, whatever its size.
    #[track_caller]
    fn check_inside(plot: Plot, view: &RecordingView) {
        let scene = scene(plot, view).expect("the asset is a font");
        let (width, height) = (f64::from(scene.width), f64::from(scene.height));
        let inside = |x: f64, y: f64| (-1.0..=width + 1.0).contains(&x) && (-1.0..=height + 1.0).contains(&y);
        for shape in &scene.shapes {
            let fits = match shape {
                Shape::Rectangle { x, y, .. } | Shape::Text { x, y, .. } => inside(*x, *y),
                Shape::Line { points, .. } => points.iter().all(|(x, y)| inside(*x, *y)),
            };
            assert!(fits, "{}×{}: {shape:?}", scene.width, scene.height);
        }
    }

    #[test]
    fn nothing_is_drawn_outside_of_the_picture() {
        let mut view = crate::samples::recording();
        for (width, height) in [(320, 320), (640, 480), (1400, 1000), (8192, 320)] {
            for log in [false, true] {
                check_inside(Plot { width, height, dark: false, log }, &view);
            }
        }
        // Points and gaps from before and after the stretch that is shown.
        view.from = crate::samples::minute(30);
        view.to = crate::samples::minute(45);
        check_inside(Plot::default(), &view);
        check_inside(Plot::default(), &RecordingView::default());
    }

    #[test]
    fn a_picture_says_what_it_shows() {
        let view = crate::samples::recording();
        let texts = texts(Plot::default(), &view);
        for expected in [
            "db-7",
            "2026-11-21 06:00:00 to 2026-11-21 08:00:00 UTC (2 h 00 min), 1,441 samples, 1 gap",
            "billing-server (1234): growing, +720.0 MiB per hour anon, 99 % certain",
            "Memory of the machine",
            "264 MiB",
        ] {
            assert!(texts.iter().any(|text| text == expected), "{expected}: {texts:#?}");
        }
    }

    #[test]
    fn lines_that_are_left_out_are_counted() {
        let mut view = crate::samples::recording();
        let one = view.processes[0].clone();
        view.processes = vec![one; 40];
        assert!(texts(Plot::default(), &view).iter().any(|text| text.starts_with("and ")));
        view.processes.truncate(3);
        assert!(!texts(Plot::default(), &view).iter().any(|text| text.starts_with("and ")));
    }

    #[test]
    fn charts_that_are_left_out_are_named() {
        let view = crate::samples::recording();
        let named = |height| {
            let texts = texts(Plot { height, ..Plot::default() }, &view);
            let titles = charts::of(&view).into_iter().filter(|chart| texts.contains(&chart.title)).count();
            (titles, texts.into_iter().find(|text| text.starts_with("Not drawn: ")))
        };
        assert_eq!(charts::of(&view).len(), 5, "one more than a picture has");
        let (drawn, rest) = named(1000);
        assert_eq!(
            (drawn, rest.as_deref().map(|rest| rest.contains("Open descriptors of processes"))),
            (4, Some(true))
        );
        let (drawn, rest) = named(320);
        assert!(drawn >= 1 && rest.is_some_and(|rest| rest.contains("; ")), "{drawn} are drawn");
        let mut few = view.clone();
        few.system.clear();
        let texts = texts(Plot { height: 4000, ..Plot::default() }, &few);
        assert!(!texts.iter().any(|text| text.starts_with("Not drawn")), "{texts:?}");
    }

    #[test]
    fn an_empty_picture_says_so() {
        let texts = texts(Plot::default(), &RecordingView::default());
        assert!(texts.contains(&"Nothing was recorded in this time.".to_owned()), "{texts:?}");
    }
}
