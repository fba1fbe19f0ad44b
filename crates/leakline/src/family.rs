//! The children of an attached process, each attached to as soon as it is seen.
//!
//! Owns: finding them, reading them, and noticing their ends. Must not know: what is shown of them.
//!
//! They are looked for whenever the loop looks at the target: ten times a second. What a child does before it is attached to is not
//! seen. A child that executes another program begins anew as that.

use std::time::{Duration, Instant};

use capture::TargetState;
use model::Pid;
use report::{Outcome, SitesView, TargetView, Text};

use crate::attach::write_summary;
use crate::attached::{Attached, End, Wanted};
use crate::births::{Births, has_ended};
use crate::failure::{Failure, both};
use crate::limits::{CHILDREN_MAX, JOIN_PATIENCE, NAMES_PATIENCE_LIVE};
use crate::output::{Form, Output};
use crate::session::{Events, Watched};

/// Refusals that are told in full.
const REMARKS_MAX: usize = 16;

/// All below one process.
#[derive(Debug)]
pub(crate) struct Family {
    wanted: Wanted,
    births: Births,
    members: Vec<Attached>,
    /// Those that cannot be attached to yet, and until when that is tried.
    waiting: Vec<(Pid, Instant)>,
    next_beat: Instant,
    joined: Vec<TargetView>,
    over: Vec<(Attached, End)>,
    remarks: Vec<String>,
    /// Those that ended before they could be attached to.
    short: u64,
    unfollowed: u64,
}

/// A target together with its family, if that is followed.
#[derive(Debug)]
pub(crate) struct Followed<'a> {
    pub(crate) attached: &'a mut Attached,
    pub(crate) family: Option<&'a mut Family>,
}

impl Watched for Followed<'_> {
    fn target(&mut self) -> TargetState {
        if let Some(family) = &mut self.family {
            family.turn();
        }
        self.attached.target()
    }

    fn names_arrived(&mut self) -> bool {
        self.attached.names_arrived()
    }
}

impl Family {
    /// Nobody yet, below this process.
    pub(crate) fn below(pid: Pid, wanted: Wanted) -> Self {
        Self {
            wanted,
            births: Births::below(pid),
            members: Vec::new(),
            waiting: Vec::new(),
            next_beat: Instant::now(),
            joined: Vec::new(),
            over: Vec::new(),
            remarks: Vec::new(),
            short: 0,
            unfollowed: 0,
        }
    }

    /// Looks for births, reads those that are due, and sets those aside that are over.
    fn turn(&mut self) {
        let born = self.births.look();
        let until = Instant::now() + JOIN_PATIENCE;
        self.waiting.extend(born.into_iter().map(|pid| (pid, until)));
        for (pid, until) in std::mem::take(&mut self.waiting) {
            self.join(pid, until);
        }
        let is_due = Instant::now() >= self.next_beat;
        if is_due {
            self.next_beat = Instant::now() + self.wanted.beat();
        }
        for mut member in std::mem::take(&mut self.members) {
            let _ = member.names_arrived();
            let end = match member.target() {
                TargetState::Running if is_due => member.beat().err(),
                TargetState::Running => None,
                gone @ (TargetState::Exited | TargetState::Executed) => Some(End::Gone(gone)),
            };
            let Some(end) = end else {
                self.members.push(member);
                continue;
            };
            if end == End::Gone(TargetState::Executed) {
                self.waiting.push((member.target_view().pid, Instant::now() + JOIN_PATIENCE));
            }
            self.over.push((member, end));
        }
    }

    fn join(&mut self, pid: Pid, until: Instant) {
        let failure = if self.members.len() >= CHILDREN_MAX {
            format!("more than {CHILDREN_MAX} children at once")
        } else {
            match Attached::start(pid, self.wanted.clone()) {
                Ok(attached) => {
                    self.joined.push(attached.target_view().clone());
                    self.members.push(attached);
                    return;
                }
                Err(_) if has_ended(pid) => {
                    self.short += 1;
                    return;
                }
                Err(_) if Instant::now() < until => {
                    self.waiting.push((pid, until));
                    return;
                }
                Err(Failure::Refused { text, .. }) => text,
                Err(Failure::OutputClosed) => return,
            }
        };
        self.unfollowed += 1;
        if self.remarks.len() < REMARKS_MAX {
            self.remarks.push(format!("process {pid} was not followed: {failure}"));
        }
    }

    /// Those that were attached to since the last call.
    pub(crate) fn take_joined(&mut self) -> Vec<TargetView> {
        std::mem::take(&mut self.joined)
    }

    /// The summaries of those that are over, since the last call.
    pub(crate) fn take_over(&mut self, events: &mut Events) -> Result<Vec<SitesView>, Failure> {
        let over = std::mem::take(&mut self.over);
        over.into_iter().map(|(member, end)| member.end(&end, events, NAMES_PATIENCE_LIVE)).collect()
    }

    /// The summaries of all that are left, and what must be said of the others.
    pub(crate) fn leave(
        mut self,
        end: &End,
        events: &mut Events,
        patience: Duration,
    ) -> Result<(Vec<SitesView>, Vec<String>), Failure> {
        let mut views = self.take_over(events)?;
        for mut member in self.members {
            // Of its own, whatever ended the target: it goes on.
            let end = if let End::Gone(_) | End::Unreadable(_) = end { &End::Asked } else { end };
            member.survey_at_end(end, events, |_| {})?;
            views.push(member.end(end, events, patience)?);
        }
        let mut notes = self.remarks;
        if self.unfollowed > notes.len() as u64 {
            notes.push(format!("{} children were not followed in all", self.unfollowed));
        }
        if self.short > 0 {
            notes.push(format!("{} children ended before they could be attached to", self.short));
        }
        Ok((views, notes))
    }
}

/// Writes the summary of a child: whole as JSON or where it leaks, else as a line.
pub(crate) fn write_child(output: &mut Output, view: &SitesView) -> Result<(), Failure> {
    if output.form() == Form::Json || view.outcome == Outcome::LeakFound {
        if output.form() == Form::Text {
            output.write(|_, out| writeln!(out))?;
        }
        return write_summary(output, view);
    }
    let facts = output.text().target_facts(view);
    let result = facts.last().and_then(|fact| fact.strip_prefix("Result")).unwrap_or_default().trim();
    let target = &view.target;
    let line = Text::safe(&format!("child {} ({}): {}; {result}", target.pid, target.command, target.state));
    output.write(|_, out| writeln!(out, "{line}"))
}

/// What a child adds to the outcome: a leak always, what is unclear only where it was watched to the end of the session.
pub(crate) fn with_child(outcome: Outcome, view: &SitesView) -> Outcome {
    let counts = view.outcome == Outcome::LeakFound || view.target.state == "detached";
    if counts { both(outcome, view.outcome) } else { outcome }
}
