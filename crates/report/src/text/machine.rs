//! The ranking of processes as text.
//!
//! Owns: its columns and wording. Must not know: how growth is judged.

use std::io::{self, Write};

use super::spark::spark;
use super::table::{self, Column, safe};
use super::{Paint, Text, phrase};
use crate::{HuntView, Outcome, ProcessView, Severity, Span, metrics};

/// The history column has this many characters.
const SPARK_WIDTH: usize = 16;

// The columns. A figure that stands out at 80 columns is never dispensable; the rest goes in the order of its figure:
// first the place (long, and often the same for all), last the verdict.

/// The pid and the name stay at any width: without them a row is about nothing.
const PID: Column<ProcessView> =
    Column { metric: &metrics::PID, least: None, dispensable: 0, cell: |row| row.identity.key.pid.to_string() };
const COMMAND: Column<ProcessView> =
    Column { metric: &metrics::COMMAND, least: Some(8), dispensable: 0, cell: |row| row.identity.command.clone() };
const USER: Column<ProcessView> = Column {
    metric: &metrics::USER,
    least: Some(6),
    dispensable: 4,
    cell: |row| phrase::cell(row.identity.user.clone()),
};
/// Where it runs; the widest column, so it goes first.
const PLACE: Column<ProcessView> = Column { metric: &metrics::PLACE, least: Some(8), dispensable: 9, cell: place };
/// How large it is now, which says how urgent its growth is.
const RSS: Column<ProcessView> =
    Column { metric: &metrics::RSS, least: None, dispensable: 0, cell: |row| phrase::cell(row.memory.rss()) };
/// What a leak of the heap makes grow.
const ANON: Column<ProcessView> =
    Column { metric: &metrics::ANON, least: None, dispensable: 6, cell: |row| phrase::cell(row.memory.anon) };
/// What the kernel moved out; a leak goes on here while RSS stays as it is.
const SWAP: Column<ProcessView> =
    Column { metric: &metrics::SWAP, least: None, dispensable: 7, cell: |row| phrase::cell(row.memory.swap) };
/// How fast it grows over the window: the figure that the ranking of `hunt` is about.
const GROWTH: Column<ProcessView> = Column {
    metric: &metrics::GROWTH,
    least: None,
    dispensable: 0,
    cell: |row| phrase::cell(row.growth.map(|rate| phrase::per_hour(rate.per_hour))),
};
/// How fast it grows now: the figure of the live ranking, which has no end of a window to wait for.
const RECENT: Column<ProcessView> = Column {
    metric: &metrics::RECENT,
    least: None,
    dispensable: 0,
    cell: |row| phrase::cell(row.recent.map(phrase::per_hour)),
};
/// Both ends of the growth; wide, so it goes soon, and the details still have it.
const INTERVAL: Column<ProcessView> = Column {
    metric: &metrics::INTERVAL,
    least: None,
    dispensable: 8,
    cell: |row| phrase::cell(row.growth.map(|rate| phrase::interval(&rate))),
};
/// What grows, which says where to look.
const KIND: Column<ProcessView> =
    Column { metric: &metrics::KIND, least: None, dispensable: 3, cell: |row| row.kind.clone() };
/// How certain the growth is.
const CONFIDENCE: Column<ProcessView> = Column {
    metric: &metrics::CONFIDENCE,
    least: None,
    dispensable: 5,
    cell: |row| phrase::cell(row.confidence.map(phrase::percent)),
};
/// How much time is left.
const EXHAUSTION: Column<ProcessView> = Column {
    metric: &metrics::EXHAUSTION,
    least: None,
    dispensable: 2,
    cell: |row| phrase::cell(row.exhaustion.map(|exhaustion| Span(exhaustion.after))),
};
/// The judgement; the last to go.
const VERDICT: Column<ProcessView> =
    Column { metric: &metrics::VERDICT, least: Some(8), dispensable: 1, cell: |row| row.verdict.clone() };
/// The curve in one line: the eye tells a step from a slope sooner than any figure.
const HISTORY: Column<ProcessView> =
    Column { metric: &metrics::HISTORY, least: None, dispensable: 3, cell: |row| spark(&row.history, SPARK_WIDTH) };

/// The columns of `hunt`.
pub(super) const RANKING: &[Column<ProcessView>] =
    &[PID, COMMAND, USER, PLACE, RSS, GROWTH, INTERVAL, KIND, CONFIDENCE, EXHAUSTION, VERDICT];

/// The columns of `watch` on a terminal.
pub(super) const LIVE: &[Column<ProcessView>] =
    &[PID, COMMAND, USER, PLACE, RSS, ANON, SWAP, RECENT, KIND, HISTORY, VERDICT];

/// The columns of `watch --plain`.
const PLAIN: &[Column<ProcessView>] = &[PID, COMMAND, USER, PLACE, RSS, ANON, SWAP, RECENT, KIND, VERDICT];

/// One line that says how far the hunt is, so that a minute of waiting is not silence.
pub(super) fn progress(text: Text, view: &HuntView) -> String {
    let machine = &view.machine;
    let of = machine.planned.map_or_else(String::new, |planned| format!(" of {}", Span(planned)));
    let growing = view.processes.iter().filter(|row| is_remarkable(row)).count() as u64;
    let line = format!(
        "watching {}: {}{of}, {}, {} so far",
        phrase::counted(machine.processes, "process"),
        Span(machine.window),
        phrase::counted(machine.beats, "sample"),
        if growing == 0 { "none grows".to_owned() } else { format!("{} to look at", phrase::count(growing)) },
    );
    table::cut(&line, text.width)
}

/// Only what grows is listed: three hundred quiet processes would bury the one that matters. The first line says how many
/// were watched.
pub(super) fn hunt(text: Text, view: &HuntView, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", watched(view))?;
    let rows: Vec<&ProcessView> = view.processes.iter().filter(|row| is_remarkable(row)).collect();
    if !rows.is_empty() {
        writeln!(out)?;
        write_table(text, RANKING, &rows, out)?;
        write_reasons(&rows, out)?;
    }
    writeln!(out)?;
    for note in &view.notes {
        writeln!(out, "Note: {}", safe(note))?;
    }
    let paint = if view.outcome == Outcome::LeakFound { Paint::Bad } else { Paint::Plain };
    writeln!(out, "{}", text.painted(paint, conclusion(view.outcome)))
}

/// One table, as `watch ps` would print it; the empty line after it tells the beats apart in a file.
pub(super) fn beat(text: Text, view: &HuntView, rows: usize, out: &mut dyn Write) -> io::Result<()> {
    let shown: Vec<&ProcessView> = view.processes.iter().take(rows).collect();
    writeln!(out, "{}", watched(view))?;
    write_table(text, PLAIN, &shown, out)?;
    let left_out = view.processes.len() - shown.len();
    if left_out > 0 {
        writeln!(out, "and {} more", phrase::count(left_out as u64))?;
    }
    for note in &view.notes {
        writeln!(out, "Note: {}", safe(note))?;
    }
    writeln!(out)
}

/// Everything known of one process. Here a missing figure gives its reason, for which a table has no space.
pub(super) fn process_facts(view: &ProcessView) -> Vec<String> {
    let (identity, memory) = (&view.identity, &view.memory);
    let container = identity.container.as_deref().map_or_else(String::new, |id| format!(", container {id}"));
    let mut facts = vec![
        format!("{} ({})  user {}", identity.key.pid, identity.command, phrase::detail(&identity.user)),
        format!("arguments  {}", identity.arguments),
        format!("cgroup     {}{container}", phrase::detail(&identity.cgroup)),
        format!("rss        {:>10}", phrase::detail(&memory.rss())),
        format!("  anon     {:>10}", phrase::detail(&memory.anon)),
        format!("  file     {:>10}", phrase::detail(&memory.file)),
        format!("  shmem    {:>10}", phrase::detail(&memory.shmem)),
        format!("swap       {:>10}", phrase::detail(&memory.swap)),
        format!("tables     {:>10}", phrase::detail(&memory.page_tables)),
        format!("threads    {:>10}", phrase::detail(&memory.threads)),
        format!("growth     {}", phrase::rate(&view.growth)),
        format!("now        {}", phrase::detail(&view.recent.map(|rate| phrase::per_hour(rate) + " per hour"))),
        format!("full       {}", phrase::exhaustion(&view.exhaustion)),
        format!("verdict    {}", view.verdict),
    ];
    facts.extend(view.reasons.iter().map(|reason| format!("           {reason}")));
    facts.iter().map(|fact| safe(fact)).collect()
}

/// The container, or the last part of the cgroup, which is the name of the service.
fn place(row: &ProcessView) -> String {
    if let Some(container) = &row.identity.container {
        return container.clone();
    }
    let last = |path: String| path.rsplit('/').find(|part| !part.is_empty()).unwrap_or("/").to_owned();
    phrase::cell(row.identity.cgroup.clone().map(last))
}

/// Worth a row in the ranking of `hunt`.
fn is_remarkable(row: &ProcessView) -> bool {
    matches!(row.severity, Severity::Leak | Severity::Suspect)
}

/// How much was looked at. It stands first, since a verdict is worth no more than what it rests on.
fn watched(view: &HuntView) -> String {
    let machine = &view.machine;
    let vanished = match machine.vanished {
        0 => String::new(),
        vanished => format!("; {} vanished meanwhile", phrase::count(vanished)),
    };
    format!(
        "Watched {} for {} ({}){vanished}. Memory available: {} of {}.",
        phrase::counted(machine.processes, "process"),
        Span(machine.window),
        phrase::counted(machine.beats, "sample"),
        phrase::detail(&machine.memory_available),
        phrase::detail(&machine.memory_total),
    )
}

/// The whole row takes the colour of its verdict, so that it is found at a glance.
pub(super) fn write_table(
    text: Text,
    columns: &[Column<ProcessView>],
    rows: &[&ProcessView],
    out: &mut dyn Write,
) -> io::Result<()> {
    let lines = table::lay_out(columns, rows, text.width);
    let paints = std::iter::once(Paint::Title).chain(rows.iter().map(|row| Paint::from(row.severity)));
    for (line, paint) in lines.iter().zip(paints) {
        writeln!(out, "{}", text.painted(paint, line))?;
    }
    Ok(())
}

/// Why each row is where it is: a number without a reason cannot be argued with.
pub(super) fn write_reasons(rows: &[&ProcessView], out: &mut dyn Write) -> io::Result<()> {
    for row in rows.iter().filter(|row| !row.reasons.is_empty()) {
        writeln!(out)?;
        writeln!(out, "{} ({}): {}", row.identity.key.pid, safe(&row.identity.command), safe(&row.verdict))?;
        for reason in &row.reasons {
            writeln!(out, "  - {}", safe(reason))?;
        }
    }
    Ok(())
}

/// The last line. Each outcome has a sentence of its own, so that "blind" can never be read as "no leak".
pub(crate) const fn conclusion(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NothingFound => "Nothing found: no process grows as a leak does.",
        Outcome::LeakFound => "Leak found.",
        Outcome::CouldNotJudge => {
            "Could not judge: what was seen is not enough to say that something leaks or that nothing does."
        }
        Outcome::Blind => "Blind: the hooks did not see what grows, so nothing can be said about leaks.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use model::{Reading, Why};
    use std::sync::Arc;

    /// Changes the first sample and reads one fact of it.
    #[track_caller]
    fn check_fact(change: impl FnOnce(&mut ProcessView), name: &str, expected: &str) {
        let mut view = samples::leaking();
        change(&mut view);
        let facts = process_facts(&view);
        let fact = facts.iter().find_map(|fact| fact.trim_start().strip_prefix(name));
        assert_eq!(fact.map(str::trim), Some(expected), "{facts:#?}");
    }

    #[test]
    fn facts_give_the_reason_of_what_is_missing() {
        check_fact(|_| (), "rss", "220.0 MiB");
        check_fact(
            |view| view.memory.file = Reading::Missing(Why::Malformed),
            "rss",
            "unknown: not in the documented form",
        );
        check_fact(|view| view.memory.swap = Reading::Missing(Why::NotOffered), "rss", "220.0 MiB");
        check_fact(|_| (), "now", "+1.00 GiB per hour");
        check_fact(|view| view.recent = Reading::Missing(Why::TooShort), "now", "unknown: too short to tell");
        check_fact(|_| (), "full", "in 12 h 48 min (between 12 h 25 min and 13 h 10 min)");
        check_fact(|view| view.exhaustion = endless(), "full", "in 1 h 00 min (between 30 min 00 s and never)");
    }

    fn endless() -> Reading<crate::Exhaustion> {
        let (after, soonest) = (samples::seconds(3600.0), samples::seconds(1800.0));
        Reading::Known(crate::Exhaustion { after, soonest, latest: None })
    }

    #[test]
    fn facts_escape_what_others_chose() {
        let mut view = samples::leaking();
        let mut identity = (*view.identity).clone();
        identity.arguments = "a\x1b]0;title\x07b".to_owned();
        identity.container = Some("c\n2".to_owned());
        view.identity = Arc::new(identity);
        view.reasons = vec!["r\r".to_owned()];
        assert!(process_facts(&view).iter().all(|fact| !fact.contains(char::is_control)));
    }

    #[track_caller]
    fn check_place(cgroup: Reading<&str>, container: Option<&str>, expected: &str) {
        let mut view = samples::leaking();
        let mut identity = (*view.identity).clone();
        identity.cgroup = cgroup.map(str::to_owned);
        identity.container = container.map(str::to_owned);
        view.identity = Arc::new(identity);
        assert_eq!(place(&view), expected);
    }

    #[test]
    fn the_place_is_the_container_or_the_service() {
        check_place(Reading::Known("/system.slice/cron.service"), None, "cron.service");
        check_place(Reading::Known("/docker/0123"), Some("0123"), "0123");
        check_place(Reading::Known("/user.slice/"), None, "user.slice");
        check_place(Reading::Known("/"), None, "/");
        check_place(Reading::Known(""), None, "/");
        check_place(Reading::Missing(Why::ProcessGone), None, "?");
        check_place(Reading::Missing(Why::ProcessGone), Some("0123"), "0123");
    }

    #[test]
    fn progress_says_what_there_is_to_say() {
        let wide = Text { width: 200, colour: false };
        let mut view = samples::hunt();
        view.processes.clear();
        view.machine.planned = None;
        view.machine.beats = 1;
        view.machine.window = samples::seconds(0.0);
        assert_eq!(progress(wide, &view), "watching 312 processes: 0 s, 1 sample, none grows so far");
    }

    #[test]
    fn what_was_watched_is_always_said() {
        let mut view = samples::hunt();
        view.machine.vanished = 0;
        view.machine.memory_available = Reading::Missing(Why::NotOffered);
        let expected = "Watched 312 processes for 1 min 00 s (61 samples). \
                        Memory available: unknown: not offered by this kernel of 16.0 GiB.";
        assert_eq!(watched(&view), expected);
    }

    #[test]
    fn every_outcome_has_a_sentence_of_its_own() {
        let outcomes = [Outcome::NothingFound, Outcome::LeakFound, Outcome::CouldNotJudge, Outcome::Blind];
        let sentences: std::collections::BTreeSet<_> = outcomes.into_iter().map(conclusion).collect();
        assert_eq!(sentences.len(), outcomes.len());
        assert!(!conclusion(Outcome::Blind).contains("no leak"));
    }

    #[test]
    fn only_what_grows_is_listed_by_hunt() {
        for (severity, listed) in
            [(Severity::Leak, true), (Severity::Suspect, true), (Severity::Unclear, false), (Severity::Fine, false)]
        {
            let view = ProcessView { severity, ..samples::leaking() };
            assert_eq!(is_remarkable(&view), listed, "{severity:?}");
        }
    }
}
