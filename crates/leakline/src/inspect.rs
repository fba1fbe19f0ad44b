//! `leakline inspect`: one look at a process or the machine, or two and what grew in between.
//!
//! Owns: when the looks are taken, and where they are written. Must not know: what a look consists of, or how it is judged.

use std::path::Path;
use std::time::Duration;

use capture::{HostError, inspect_machine, inspect_process};
use model::Pid;
use report::{Document, HuntView, Outcome, SheetView, Text};

use crate::failure::Failure;
use crate::flags::{Filter, Inspect};
use crate::limits::{GROWTH_BEAT_MAX, GROWTH_BEATS, ROWS_SHOWN, WIDTH_PIPED};
use crate::machine::Machine;
use crate::output::{Form, Output};
use crate::reports::whole;
use crate::session::{Event, Events, Nothing, Schedule};

/// Looks, waits and looks again where growth is asked for, and writes what was seen. One look always succeeds; two are judged
/// as a hunt is.
pub(crate) fn run(flags: &Inspect) -> Result<Outcome, Failure> {
    let mut output = Output::new(flags.json);
    let rows = flags.top.unwrap_or(if flags.json { usize::MAX } else { ROWS_SHOWN });
    let (sheet, outcome) = match flags.pid {
        Some(pid) => process(pid, flags.growth, rows, &mut output)?,
        None => machine(flags, rows, &mut output)?,
    };
    write(flags.output.as_deref(), &sheet, &mut output)?;
    Ok(outcome)
}

fn process(
    pid: Pid,
    growth: Option<Duration>,
    rows: usize,
    output: &mut Output,
) -> Result<(SheetView, Outcome), Failure> {
    let before = inspect_process(pid).map_err(refused)?;
    let Some(period) = growth else { return Ok((SheetView::process(&before, rows), Outcome::NothingFound)) };
    let filter = Filter { pid: vec![pid], ..Filter::default() };
    let (judged, interrupted) = watch(&filter, period, output)?;
    let after = inspect_process(pid).ok().filter(|after| after.identity.key == before.identity.key);
    let mut sheet = SheetView::process(after.as_ref().unwrap_or(&before), rows);
    sheet.notes.extend(interrupted);
    let Some(after) = after else {
        sheet.notes.push("The process ended before the second look: this is the first one, and no growth".to_owned());
        return Ok((sheet, Outcome::CouldNotJudge));
    };
    sheet.add_process_growth(&before, &after, judged.processes.first(), rows);
    Ok((sheet, judged.outcome))
}

fn machine(flags: &Inspect, rows: usize, output: &mut Output) -> Result<(SheetView, Outcome), Failure> {
    let orders = !flags.json;
    let look = |budget| inspect_machine(budget).map_err(refused);
    let Some(period) = flags.growth else {
        return Ok((SheetView::machine(&look(flags.pss_budget)?, rows, orders), Outcome::NothingFound));
    };
    // PSS is shown of the second look alone.
    let before = look(Duration::ZERO)?;
    let (judged, interrupted) = watch(&Filter::default(), period, output)?;
    let after = look(flags.pss_budget)?;
    let mut sheet = SheetView::machine(&after, rows, orders);
    sheet.notes.extend(interrupted);
    sheet.add_machine_growth(&before, &after, &judged, rows);
    Ok((sheet, judged.outcome))
}

/// Samples for so long what costs nobody anything, so that growth can be judged and not only subtracted.
fn watch(filter: &Filter, period: Duration, output: &mut Output) -> Result<(HuntView, Option<String>), Failure> {
    let mut machine = Machine::new(filter, Some(period))?;
    let beat = (period / GROWTH_BEATS).clamp(crate::limits::BEAT_MIN, GROWTH_BEAT_MAX);
    let mut events = Events::new(Schedule::new(beat, Some(period)))?.while_read();
    loop {
        match events.next(None, &mut Nothing)? {
            Event::TimeUp => return Ok((machine.view(), None)),
            Event::Signal => {
                let view = machine.view();
                let after = report::Span(view.machine.window);
                return Ok((view, Some(format!("Interrupted: growth is that of {after}"))));
            }
            Event::Beat => {
                machine.beat()?;
                let window = machine.view().machine.window;
                output.progress(|text| text.bar("measuring growth", window, period));
            }
            Event::Key(_) | Event::TargetGone(_) | Event::NamesArrived => {}
        }
    }
}

fn write(path: Option<&Path>, sheet: &SheetView, output: &mut Output) -> Result<(), Failure> {
    let Some(path) = path else {
        return match output.form() {
            Form::Json => output.document(&Document::Sheet(sheet)),
            Form::Text => output.write(|text, out| text.sheet(sheet, out)),
        };
    };
    let plain = Text { width: WIDTH_PIPED, colour: false };
    whole(path, |out| match output.form() {
        Form::Json => Document::Sheet(sheet).write(out),
        Form::Text => plain.sheet(sheet, out),
    })?;
    output.say(&format!("wrote {}", path.display()));
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn refused(error: HostError) -> Failure {
    let hint = error.hint();
    Failure::with_hint(&error, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_is_at_another_process_and_no_verdict() {
        let mut output = Output::new(true);
        let own = process(Pid(std::process::id()), None, 10, &mut output).expect_err("it does not look at itself");
        assert!(format!("{own:?}").contains("leakline itself"), "{own:?}");
        let (sheet, outcome) = process(Pid(1), None, 3, &mut output).expect("process 1 is always there");
        assert_eq!(outcome, Outcome::NothingFound);
        let mappings = sheet.tables.iter().find(|table| table.key == "mappings").expect("it is there");
        assert!(mappings.rows.len() <= 3, "rows are bounded");
    }

    #[test]
    fn growth_is_watched_for_its_period_and_judged() {
        let filter = Filter { pid: vec![Pid(1)], ..Filter::default() };
        let (view, interrupted) =
            watch(&filter, Duration::from_millis(300), &mut Output::new(true)).expect("process 1 is always there");
        assert!(view.machine.beats >= 2 && interrupted.is_none(), "{:?}", view.machine);
        assert_eq!(view.outcome, Outcome::CouldNotJudge, "so short a look proves nothing");
    }

    #[test]
    fn what_is_written_into_a_file_is_text_without_colour() {
        let path = std::env::temp_dir().join(format!("leakline-inspect-{}", std::process::id()));
        let sheet = SheetView { title: "It".to_owned(), notes: vec!["so".to_owned()], ..SheetView::default() };
        write(Some(&path), &sheet, &mut Output::new(false)).expect("it has room");
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "It\n\nNote: so\n");
        std::fs::remove_file(&path).expect("it is ours");
        let refused = write(Some(Path::new("/no/such/x")), &sheet, &mut Output::new(false)).expect_err("no such place");
        assert!(format!("{refused:?}").contains("cannot be written"), "{refused:?}");
    }
}
