//! A recording as one page that needs nothing else: no network, no other file.
//!
//! Owns: the page and what is embedded in it. Must not know: where it is written to, or who serves it.
//!
//! Findings, tables and events are plain markup, so that they can be read, searched and printed without scripts; charts
//! are drawn by uPlot from data that stands in the page as JSON. Names are hostile: in markup they are escaped, in the
//! data no `<` is left that could end the element, and the script only ever sets texts, never markup.

mod data;

use std::io::{self, Write};

use crate::limits::EVENTS_MAX;
use crate::plot::escaped;
use crate::text::{conclusion, phrase};
use crate::view::{NoteView, ProcessSeries, RecordingView, Severity};
use crate::{Span, metrics};

const UPLOT_SCRIPT: &str = include_str!("../../assets/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../../assets/uPlot.min.css");
const UPLOT_LICENSE: &str = include_str!("../../assets/uPlot.LICENSE");
const SCRIPT: &str = include_str!("../../assets/page.js");
const STYLE: &str = include_str!("../../assets/page.css");

/// Nothing may be loaded from anywhere, whatever a name makes of the markup; a live page may ask its own server. `unsafe-inline` is
/// what a page in one file needs: its script has no address that could be allowed, and a hash would have to be computed anew for
/// each page. What guards against injected scripts is the escaping, of which this is the second line.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'";

/// The page of a recording.
#[derive(Clone, Copy, Debug)]
pub struct Html<'a> {
    /// What is shown.
    pub view: &'a RecordingView,
    /// Where the page asks for newer data once a second; none for a file.
    pub live: Option<&'a str>,
}

impl Html<'_> {
    /// Writes the page.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let view = self.view;
        let title = escaped(&format!("leakline: {}", view.host));
        writeln!(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")?;
        writeln!(out, "<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">")?;
        writeln!(out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
        writeln!(out, "<title>{title}</title>\n<style>\n{UPLOT_STYLE}\n{STYLE}</style>\n</head>\n<body>")?;
        head(view, out)?;
        // Nothing is judged while it is only looked at.
        if self.live.is_none() {
            findings(view, out)?;
        }
        writeln!(out, "<section id=\"charts\"><noscript>Charts need scripts; the tables do not.</noscript></section>")?;
        machine(view, out)?;
        processes(view, out)?;
        events(&view.events, out)?;
        notes(&view.notes, out)?;
        writeln!(out, "<footer>Times are in UTC. Charts by uPlot, MIT licence.</footer>")?;
        writeln!(out, "<script type=\"application/json\" id=\"data\">{}</script>", data::json(view))?;
        if let Some(live) = self.live {
            writeln!(out, "<script type=\"application/json\" id=\"live\">{}</script>", data::quoted(live))?;
        }
        debug_assert!(!UPLOT_SCRIPT.contains("</script") && !SCRIPT.contains("</script"), "a script would end itself");
        debug_assert!(!UPLOT_LICENSE.contains("--"), "a comment would end itself");
        // The licence asks to be in all copies; minified scripts lose it.
        writeln!(out, "<!--\nuPlot\n{UPLOT_LICENSE}\n-->\n<script>{UPLOT_SCRIPT}</script>")?;
        writeln!(out, "<script>\n{SCRIPT}</script>\n</body>\n</html>")
    }

    /// The data of the charts, as the page asks for it while it is live.
    pub fn data(view: &RecordingView) -> String {
        data::json(view)
    }
}

fn head(view: &RecordingView, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<header><h1>{}</h1>", escaped(&view.host))?;
    writeln!(
        out,
        "<p>{} to {} UTC ({}) · {} · {} seen · {}</p>",
        view.from,
        view.to,
        Span(view.to.since(view.from)),
        phrase::counted(view.beats, "sample"),
        phrase::counted(view.processes_seen, "process"),
        phrase::counted(view.gaps.len() as u64, "gap"),
    )?;
    writeln!(
        out,
        "<nav><label><input type=\"checkbox\" id=\"log\"> logarithmic</label> <button id=\"all\">all</button> \
         <button id=\"none\">none</button> <button id=\"reset\">reset zoom</button> \
         <button id=\"theme\">light / dark</button></nav></header>"
    )
}

/// The answer stands first: a reader who stops here has it.
fn findings(view: &RecordingView, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<section id=\"findings\"><h2>Findings</h2>")?;
    if view.findings.is_empty() {
        writeln!(out, "<p>No process was found to grow in this time.</p>")?;
    }
    // A recording that is too short to judge has no findings either.
    writeln!(out, "<p><strong>{}</strong></p>", escaped(conclusion(view.outcome)))?;
    for finding in &view.findings {
        let process = &finding.process;
        writeln!(
            out,
            "<article class=\"{}\"><h3>{} <small>pid {}</small> <em>{}</em></h3>",
            process.severity.key(),
            escaped(&process.identity.command),
            process.identity.key.pid,
            escaped(&process.verdict),
        )?;
        writeln!(out, "<p>{}</p><ul>", escaped(&phrase::finding(finding)))?;
        for reason in &process.reasons {
            writeln!(out, "<li>{}</li>", escaped(reason))?;
        }
        writeln!(out, "</ul></article>")?;
    }
    writeln!(out, "</section>")
}

/// What all memory is used for.
fn machine(view: &RecordingView, out: &mut dyn Write) -> io::Result<()> {
    let Some(balance) = &view.balance else { return Ok(()) };
    writeln!(out, "<section><h2>Closing balance</h2><table class=\"balance\"><tbody>")?;
    for (name, bytes) in &balance.parts {
        let cell = escaped(&phrase::detail(bytes));
        writeln!(out, "<tr><td>{}</td><td class=\"n\">{cell}</td></tr>", escaped(name))?;
    }
    let rest = escaped(&phrase::detail(&balance.unexplained.map(phrase::signed)));
    writeln!(out, "<tr class=\"rest\"><td>unexplained</td><td class=\"n\">{rest}</td></tr>")?;
    let total = escaped(&phrase::detail(&balance.total));
    writeln!(out, "<tr class=\"sum\"><td>MemTotal</td><td class=\"n\">{total}</td></tr></tbody></table></section>")
}

fn processes(view: &RecordingView, out: &mut dyn Write) -> io::Result<()> {
    if view.processes.is_empty() {
        return Ok(());
    }
    writeln!(out, "<section><h2>Processes</h2><div class=\"wide\"><table id=\"processes\"><thead><tr>")?;
    let titles = [&metrics::PID, &metrics::COMMAND, &metrics::USER, &metrics::CONTAINER];
    let figures = [&metrics::PRIVATE, &metrics::RSS, &metrics::SWAP, &metrics::THREADS, &metrics::DESCRIPTORS];
    for metric in titles.into_iter().chain(figures) {
        let class = if metric.is_number() { " class=\"n\"" } else { "" };
        writeln!(out, "<th{class} title=\"{}\">{}</th>", escaped(metric.means), escaped(metric.title))?;
    }
    writeln!(out, "<th>SEEN</th><th>ARGUMENTS</th></tr></thead><tbody>")?;
    for process in &view.processes {
        row(process, crate::plot::charts::severity_of(view, process), &figures, out)?;
    }
    writeln!(out, "</tbody></table></div></section>")
}

fn row(
    process: &ProcessSeries,
    severity: Severity,
    figures: &[&metrics::Metric],
    out: &mut dyn Write,
) -> io::Result<()> {
    let identity = &process.identity;
    let user = phrase::cell(identity.user.clone());
    let container = identity.container.clone().unwrap_or_default();
    write!(out, "<tr class=\"{}\"><td class=\"n\">{}</td>", severity.key(), identity.key.pid)?;
    for text in [&identity.command, &user, &container] {
        write!(out, "<td>{}</td>", escaped(text))?;
    }
    for metric in figures {
        let last = process.series(metric).and_then(crate::Series::last);
        let text = last.map_or_else(|| phrase::MISSING.to_owned(), |last| crate::plot::scale::label(last, metric.unit));
        write!(out, "<td class=\"n\">{}</td>", escaped(&text))?;
    }
    writeln!(
        out,
        "<td>{} – {}</td><td class=\"args\">{}</td></tr>",
        process.first,
        process.last,
        escaped(&identity.arguments)
    )
}

/// What deserves attention is never left out for what does not.
fn events(events: &[NoteView], out: &mut dyn Write) -> io::Result<()> {
    let shown = chosen(events);
    if shown.is_empty() {
        return Ok(());
    }
    writeln!(out, "<section><h2>Events</h2><table><tbody>")?;
    for event in &shown {
        let class = if event.severe { "severe" } else { "plain" };
        writeln!(out, "<tr class=\"{class}\"><td>{}</td><td>{}</td></tr>", event.at, escaped(&event.text))?;
    }
    writeln!(out, "</tbody></table>")?;
    if shown.len() < events.len() {
        writeln!(out, "<p>{} are not listed.</p>", phrase::counted((events.len() - shown.len()) as u64, "event"))?;
    }
    writeln!(out, "</section>")
}

/// At most as many events as a report lists, in their order.
pub(crate) fn chosen(events: &[NoteView]) -> Vec<&NoteView> {
    // In two passes, so that the order stays and nothing is copied: first how much room the severe ones leave, then who gets it.
    let severe = events.iter().filter(|event| event.severe).count();
    let mut room = EVENTS_MAX.saturating_sub(severe);
    let takes = |event: &&NoteView| {
        let taken = event.severe || room > 0;
        room -= usize::from(taken && !event.severe);
        taken
    };
    let mut chosen: Vec<&NoteView> = events.iter().filter(takes).collect();
    // Of too many severe ones the latest say most.
    chosen.drain(..chosen.len().saturating_sub(EVENTS_MAX));
    debug_assert!(chosen.len() <= EVENTS_MAX, "a report stays readable");
    chosen
}

fn notes(notes: &[String], out: &mut dyn Write) -> io::Result<()> {
    if notes.is_empty() {
        return Ok(());
    }
    writeln!(out, "<section><h2>What this report lacks</h2><ul>")?;
    for note in notes {
        writeln!(out, "<li>{}</li>", escaped(note))?;
    }
    writeln!(out, "</ul></section>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{WallTime, samples};

    /// Events by their weight, `s`evere or `p`lain: how many of each are listed, and which is the first.
    #[track_caller]
    fn check_events(weights: &str, listed: (usize, usize), first: usize) {
        let note = |(at, weight): (usize, char)| NoteView {
            at: WallTime(at as u64),
            kind: "gap",
            severe: weight == 's',
            text: "t".to_owned(),
        };
        let events: Vec<NoteView> = weights.chars().enumerate().map(note).collect();
        let chosen = chosen(&events);
        let severe = chosen.iter().filter(|event| event.severe).count();
        assert_eq!((severe, chosen.len() - severe), listed);
        assert!(chosen.is_sorted_by_key(|event| event.at), "their order stays");
        assert_eq!(chosen[0].at, WallTime(first as u64));
    }

    #[test]
    fn what_deserves_attention_is_never_left_out_for_what_does_not() {
        check_events("psp", (1, 2), 0);
        check_events(&format!("{}s", "p".repeat(500)), (1, EVENTS_MAX - 1), 0);
        check_events(&format!("p{}", "s".repeat(EVENTS_MAX)), (EVENTS_MAX, 0), 1);
        check_events(&"s".repeat(EVENTS_MAX + 7), (EVENTS_MAX, 0), 7);
        assert!(chosen(&[]).is_empty());
    }

    fn page(view: &RecordingView, live: Option<&str>) -> String {
        let mut out = Vec::new();
        Html { view, live }.write(&mut out).expect("a vector takes everything");
        String::from_utf8(out).expect("a page is UTF-8")
    }

    #[track_caller]
    fn check_page(change: impl FnOnce(&mut RecordingView), has: &str, lacks: &str) {
        let mut view = samples::recording();
        change(&mut view);
        let page = page(&view, None);
        assert!(page.contains(has), "{has} is not in the page");
        assert!(!page.contains(lacks), "{lacks} is in the page");
    }

    /// A page with many events, all of which deserve attention, marks the latest, which are also those that it lists.
    #[test]
    fn the_charts_mark_the_events_that_are_listed() {
        let mut view = samples::recording();
        let note = |second: usize| NoteView {
            at: WallTime(second as u64),
            kind: "oom_kill",
            severe: true,
            text: format!("event number {second}."),
        };
        view.events = (0..EVENTS_MAX + 5).map(note).collect();
        let data = Html::data(&view);
        assert!(!data.contains("event number 4.") && data.contains("event number 5.") && data.contains("number 204."));
    }

    #[test]
    fn sections_without_content_are_left_out() {
        check_page(|_| (), "<h2>Closing balance</h2>", "No process was found");
        check_page(|view| view.findings.clear(), "No process was found to grow", "<article");
        check_page(
            |view| view.outcome = crate::Outcome::CouldNotJudge,
            "Could not judge: what was seen",
            "Leak found.",
        );
        check_page(|view| view.balance = None, "<h2>Events</h2>", "Closing balance");
        check_page(|view| view.events.clear(), "<h2>Processes</h2>", "<h2>Events</h2>");
        check_page(|view| view.processes.clear(), "<h2>Events</h2>", "<h2>Processes</h2>");
        check_page(|view| view.notes.clear(), "<h2>Events</h2>", "What this report lacks");
        check_page(|view| view.gaps.clear(), "0 gaps", "1 gap<");
    }

    #[test]
    fn missing_figures_give_their_reason() {
        check_page(|_| (), "unknown: not permitted (needs CAP_SYS_ADMIN)", "NaN");
        check_page(|_| (), "<td class=\"n\">-64.0 MiB</td>", "-64.0 MiB per hour");
    }

    #[test]
    fn a_live_page_asks_and_does_not_judge() {
        let view = samples::recording();
        let live = page(&view, Some("/data?token=a&b"));
        assert!(live.contains(r#"id="live">"/data?token=a\u0026b"</script>"#));
        assert!(!live.contains("<h2>Findings</h2>"));
        assert!(!page(&view, None).contains("id=\"live\">"));
        assert!(Html::data(&view).starts_with('{'));
    }
}
