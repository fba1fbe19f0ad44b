//! `leakline hunt`: who grows, and where it comes from.
//!
//! Owns: the order of steps and the choice of suspects. Must not know: how growth or sites are judged.

use std::time::Duration;

use model::Pid;
use report::{Document, HuntView, Outcome, ProcessView, Severity, SitesView};

use crate::attach::write_summary;
use crate::attached::{Attached, End, Wanted};
use crate::failure::{Failure, both};
use crate::family::{Family, Followed, with_child, write_child};
use crate::flags::Hunt;
use crate::limits::{NAMES_PATIENCE, SUSPECTS_AUTO};
use crate::machine::Machine;
use crate::output::{Form, Output};
use crate::session::{Event, Events, Nothing, Schedule};
use crate::values::AttachChoice;

/// Watches the machine, ranks what grows, attaches to the worst, and tells what leaks.
pub(crate) fn run(flags: &Hunt) -> Result<Outcome, Failure> {
    let mut output = Output::new(flags.json);
    let mut machine = Machine::new(&flags.filter, Some(flags.window))?;
    let mut events = Events::new(Schedule::new(flags.every, Some(flags.window)))?.while_read();
    let interrupted = watch(&mut machine, &mut events, &mut output)?;
    let mut view = machine.view();
    let suspects = if interrupted { Vec::new() } else { suspects(&view.processes, flags.attach) };
    if interrupted {
        view.notes.push("interrupted: the window was not watched to its end, and nothing was attached to".to_owned());
    }
    if output.form() == Form::Text {
        output.write(|text, out| text.hunt(&view, out))?;
    }
    let attached = attach_to_each(flags, &suspects, &mut view, &mut events, &mut output)?;
    if output.form() == Form::Json {
        output.document(&Document::Hunt { view: &view, attached: &attached })?;
    }
    Ok(view.outcome)
}

/// Takes samples until the window is over; whether a signal ended it before.
fn watch(machine: &mut Machine, events: &mut Events, output: &mut Output) -> Result<bool, Failure> {
    loop {
        match events.next(None, &mut Nothing)? {
            Event::Signal => return Ok(true),
            Event::TimeUp => return Ok(false),
            Event::Beat => {
                machine.beat()?;
                output.progress(|text| text.progress(&machine.view()));
            }
            Event::Key(_) | Event::TargetGone(_) | Event::NamesArrived => {}
        }
    }
}

/// The worst processes that qualify. What is judged to shrink or to be steady never does.
fn suspects(ranking: &[ProcessView], choice: AttachChoice) -> Vec<Pid> {
    let growing = |process: &&ProcessView| matches!(process.severity, Severity::Leak | Severity::Suspect);
    // Who asks for a number also wants those that are not judged yet, as long as they grow at all.
    let rising =
        |process: &&ProcessView| growing(process) || process.growth.as_known().is_some_and(|rate| rate.per_hour > 0);
    let pid = |process: &ProcessView| process.identity.key.pid;
    match choice {
        AttachChoice::Never => Vec::new(),
        AttachChoice::Auto => ranking.iter().filter(growing).take(SUSPECTS_AUTO).map(pid).collect(),
        AttachChoice::Worst(count) => ranking.iter().filter(rising).take(count).map(pid).collect(),
    }
}

/// Attaches to one suspect after the other; a refusal is a note, not the end of the hunt.
fn attach_to_each(
    flags: &Hunt,
    suspects: &[Pid],
    view: &mut HuntView,
    events: &mut Events,
    output: &mut Output,
) -> Result<Vec<SitesView>, Failure> {
    let window = flags.attach_for.unwrap_or(flags.window);
    let mut summaries = Vec::new();
    for &pid in suspects {
        let wanted = Wanted::new(&flags.sites, Some(window), None);
        let attached = match Attached::start(pid, wanted.clone()) {
            Ok(attached) => attached,
            Err(Failure::Refused { text, hint }) => {
                refused(pid, &text, hint.as_deref(), view, output);
                continue;
            }
            Err(closed @ Failure::OutputClosed) => return Err(closed),
        };
        let family = flags.follow.then(|| Family::below(pid, wanted));
        let (summary, children, end) = watch_sites(attached, family, window, events, output)?;
        view.outcome = children.iter().fold(both(view.outcome, summary.outcome), with_child);
        if output.form() == Form::Text {
            children.iter().try_for_each(|child| write_child(output, child))?;
        }
        summaries.extend(children);
        if output.form() == Form::Text {
            output.write(|_, out| writeln!(out))?;
            write_summary(output, &summary)?;
        }
        summaries.push(summary);
        if end == End::Asked {
            break;
        }
    }
    Ok(summaries)
}

/// Growth alone may have been enough for a judgement; if it was not, the refusal leaves the question open.
fn refused(pid: Pid, text: &str, hint: Option<&str>, view: &mut HuntView, output: &mut Output) {
    view.outcome = both(view.outcome, Outcome::CouldNotJudge);
    output.say(&format!("process {pid} was not attached to: {text}"));
    if let Some(hint) = hint {
        output.say(&format!("hint: {hint}"));
    }
    let hint = hint.map_or_else(String::new, |hint| format!(" (hint: {hint})"));
    view.notes.push(format!("process {pid} was not attached to: {text}{hint}"));
}

/// Watches one attached process for its window.
fn watch_sites(
    mut attached: Attached,
    mut family: Option<Family>,
    window: Duration,
    events: &mut Events,
    output: &mut Output,
) -> Result<(SitesView, Vec<SitesView>, End), Failure> {
    events.reschedule(Schedule::new(attached.beat_length(), Some(window)));
    let target = attached.target_view();
    let who = format!("attached to {} ({})", target.pid, target.command);
    let mut children = Vec::new();
    let end = loop {
        let mut followed = Followed { attached: &mut attached, family: family.as_mut() };
        match events.next(None, &mut followed)? {
            Event::Signal | Event::Key(_) => break End::Asked,
            Event::TimeUp => break End::TimeUp,
            Event::TargetGone(state) => break End::Gone(state),
            Event::NamesArrived => {}
            Event::Beat => {
                if let Err(end) = attached.beat() {
                    break end;
                }
                if let Some(family) = &mut family {
                    // A hunt prints what it came to, not what happened on the way.
                    drop(family.take_events());
                    children.extend(family.take_over(events)?);
                }
                let (now, whole) = (attached.elapsed().as_secs(), window.as_secs());
                output.progress(|_| format!("{who}: {now} s of {whole} s"));
            }
        }
    };
    attached.survey_at_end(&end, events, |line| output.progress(|_| line))?;
    let mut summary = attached.end(&end, events, NAMES_PATIENCE)?;
    if let Some(family) = family {
        let (left, notes) = family.leave(&end, events, NAMES_PATIENCE)?;
        children.extend(left);
        summary.notes.extend(notes);
    }
    Ok((summary, children, end))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use analysis::{Growth, GrowthVerdict, MemoryKind};
    use model::{Identity, MemorySample, ProcessKey, Reading, Why};

    use super::*;

    /// A process of which nothing is known but its verdict.
    fn growth(pid: u32, verdict: GrowthVerdict, confidence: f64) -> Growth {
        let missing = || Reading::Missing(Why::NotRecorded);
        Growth {
            identity: Arc::new(Identity {
                key: ProcessKey { pid: Pid(pid), started: 1 },
                command: format!("p{pid}"),
                arguments: String::new(),
                uid: Reading::Missing(Why::NotRecorded),
                user: Reading::Missing(Why::NotRecorded),
                cgroup: Reading::Missing(Why::NotRecorded),
                container: None,
                kernel_thread: false,
            }),
            memory: MemorySample {
                anon: missing(),
                file: missing(),
                shmem: missing(),
                swap: missing(),
                page_tables: missing(),
                threads: Reading::Missing(Why::NotRecorded),
            },
            verdict,
            kind: Some(MemoryKind::Anon),
            per_hour: Reading::Known(analysis::Rate { per_hour: 2, low: 1, high: 3 }),
            recent_per_hour: Reading::Missing(Why::TooShort),
            confidence: Reading::Known(confidence),
            exhaustion: Reading::Missing(Why::TooShort),
            reasons: Vec::new(),
            history: Vec::new(),
        }
    }

    /// Processes in the order of the ranking, then the choice, then the pids that are attached to.
    #[track_caller]
    fn check(ranking: &[(u32, GrowthVerdict, f64)], choice: AttachChoice, wanted: &[u32]) {
        let views: Vec<_> = ranking
            .iter()
            .map(|&(pid, verdict, confidence)| ProcessView::from(growth(pid, verdict, confidence)))
            .collect();
        let found: Vec<_> = suspects(&views, choice).iter().map(|pid| pid.0).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn only_what_grows_is_attached_to() {
        use GrowthVerdict::{Growing, Steady};
        let machine = [(5, Growing, 0.99), (6, Growing, 0.5), (7, Steady, 0.99)];
        check(&machine, AttachChoice::Auto, &[5]);
        check(&machine, AttachChoice::Never, &[]);
        check(&machine, AttachChoice::Worst(2), &[5, 6]);
        check(&machine[2..], AttachChoice::Auto, &[]);
        check(&[], AttachChoice::Worst(3), &[]);
    }

    #[test]
    fn who_asks_for_a_number_also_gets_what_is_not_judged_yet() {
        // The figures of the test growth rise by 2 bytes an hour.
        check(&[(8, GrowthVerdict::TooShort, 0.0)], AttachChoice::Auto, &[]);
        check(&[(8, GrowthVerdict::TooShort, 0.0)], AttachChoice::Worst(1), &[8]);
    }

    fn machine() -> Machine {
        let filter = crate::flags::Filter { pid: vec![Pid(1)], ..crate::flags::Filter::default() };
        Machine::new(&filter, None).expect("process 1 is always there")
    }

    #[test]
    fn a_signal_ends_the_watching_early_and_says_so() {
        let second = Duration::from_secs(1);
        let (signals, mut written) = UnixStream::pair().expect("a stream");
        let mut events = Events::fed_by(signals, Schedule::new(second, Some(second * 60)));
        written.write_all(&[1]).expect("it has room");
        let mut output = Output::new(true);
        assert!(watch(&mut machine(), &mut events, &mut output).expect("nothing fails"));
        events.reschedule(Schedule::new(second, Some(second / 100)));
        let mut machine = machine();
        assert!(!watch(&mut machine, &mut events, &mut output).expect("nothing fails"), "the window ended by itself");
        assert_eq!(machine.view().machine.beats, 1, "the first sample is taken at once");
    }

    #[test]
    fn a_refused_attach_leaves_the_question_open_unless_growth_has_answered_it() {
        for (before, after) in
            [(Outcome::NothingFound, Outcome::CouldNotJudge), (Outcome::LeakFound, Outcome::LeakFound)]
        {
            let mut view = machine().view();
            view.outcome = before;
            refused(Pid(7), "it is stopped", Some("kill -CONT 7"), &mut view, &mut Output::new(true));
            assert_eq!(view.outcome, after);
            assert_eq!(view.notes, ["process 7 was not attached to: it is stopped (hint: kill -CONT 7)"]);
        }
    }
}
