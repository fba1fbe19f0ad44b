//! The children of an attached process, each attached to as soon as it is seen.
//!
//! Owns: finding them, reading them, and noticing their ends. Must not know: what is shown of them.
//!
//! They are looked for whenever the loop looks at the target: ten times a second. What a child does before it is attached to is not
//! seen. A child that executes another program begins anew as that.

use std::time::{Duration, Instant};

use analysis::SiteEvent;
use capture::TargetState;
use model::Pid;
use report::{ChildEvent, EventView, Outcome, SitesView, Text};

use crate::attach::write_summary;
use crate::attached::{Attached, End, Wanted};
use crate::births::{Births, has_ended};
use crate::failure::{Failure, both};
use crate::limits::{CHILDREN_MAX, JOIN_PATIENCE, NAMES_PATIENCE_LIVE};
use crate::output::{Form, Output};
use crate::session::{Events, Watched};

/// Refusals that are told in full.
const REMARKS_MAX: usize = 16;
/// Children of which a screen has a line each; more are counted.
const GLANCES_MAX: usize = 4;

/// One child.
#[derive(Debug)]
struct Member {
    attached: Attached,
    /// Losses of it that were told.
    told: u64,
}

/// All below one process.
#[derive(Debug)]
pub(crate) struct Family {
    wanted: Wanted,
    births: Births,
    members: Vec<Member>,
    /// Those that cannot be attached to yet, and until when that is tried.
    waiting: Vec<(Pid, Instant)>,
    next_beat: Instant,
    began: Instant,
    /// What happened to them and was not told yet.
    happened: Vec<EventView>,
    /// How many are over, and how many of those leaked.
    ended: (u64, u64),
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
            began: Instant::now(),
            happened: Vec::new(),
            ended: (0, 0),
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
            let _ = member.attached.names_arrived();
            let end = match member.attached.target() {
                TargetState::Running if is_due => self.beat(&mut member),
                TargetState::Running => None,
                gone @ (TargetState::Exited | TargetState::Executed) => Some(End::Gone(gone)),
            };
            let Some(end) = end else {
                self.members.push(member);
                continue;
            };
            if end == End::Gone(TargetState::Executed) {
                self.waiting.push((member.attached.target_view().pid, Instant::now() + JOIN_PATIENCE));
            }
            self.tell(&member, ChildEvent::Ended { why: end.reason() });
            self.over.push((member.attached, end));
        }
    }

    /// Reads a child, and tells what is not about one of its sites; why it must end, if it must.
    fn beat(&mut self, member: &mut Member) -> Option<End> {
        let happened = match member.attached.beat() {
            Ok(happened) => happened,
            Err(end) => return Some(end),
        };
        for event in happened {
            if let SiteEvent::ModeChanged(change) = event {
                self.tell(member, ChildEvent::ModeChanged(change));
            }
        }
        // Each time that it is twice as much: what goes on all the time must not be a line a beat.
        let losses = member.attached.losses();
        if losses.total() > member.told.saturating_mul(2) {
            member.told = losses.total();
            self.tell(member, ChildEvent::Lost(losses));
        }
        None
    }

    fn tell(&mut self, member: &Member, what: ChildEvent) {
        let target = member.attached.target_view();
        let (at, pid, command) = (self.began.elapsed(), target.pid, target.command.clone());
        self.happened.push(EventView::Child { at, pid, command, what });
    }

    fn join(&mut self, pid: Pid, until: Instant) {
        let failure = if self.members.len() >= CHILDREN_MAX {
            format!("more than {CHILDREN_MAX} children at once")
        } else {
            match Attached::start(pid, self.wanted.clone()) {
                Ok(attached) => {
                    self.happened.push(EventView::Attached(attached.target_view().clone()));
                    self.members.push(Member { attached, told: 0 });
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

    /// What happened since the last call: who was attached to, what changed, who is over.
    pub(crate) fn take_events(&mut self) -> Vec<EventView> {
        std::mem::take(&mut self.happened)
    }

    /// A line for each child, for a screen, which has space for a few.
    pub(crate) fn glances(&self) -> Vec<String> {
        let shown = self.members.iter().take(GLANCES_MAX);
        let mut lines: Vec<String> =
            shown.map(|member| format!("child {}", Text::target_in_short(&member.attached.glance()))).collect();
        if self.members.len() > GLANCES_MAX {
            lines.push(format!("{} more children are attached to", self.members.len() - GLANCES_MAX));
        }
        if let (ended @ 1.., leaked) = self.ended {
            lines.push(format!(
                "children that are over: {ended}, of which {leaked} leaked; their summaries follow at the end"
            ));
        }
        lines
    }

    /// The summaries of those that are over, since the last call.
    pub(crate) fn take_over(&mut self, events: &mut Events) -> Result<Vec<SitesView>, Failure> {
        let mut views = Vec::new();
        for (member, end) in std::mem::take(&mut self.over) {
            let view = member.end(&end, events, NAMES_PATIENCE_LIVE)?;
            self.ended.0 += 1;
            self.ended.1 += u64::from(view.outcome == Outcome::LeakFound);
            views.push(view);
        }
        Ok(views)
    }

    /// The summaries of all that are left, and what must be said of the others.
    pub(crate) fn leave(
        mut self,
        end: &End,
        events: &mut Events,
        patience: Duration,
    ) -> Result<(Vec<SitesView>, Vec<String>), Failure> {
        let mut views = self.take_over(events)?;
        for Member { attached: mut member, .. } in self.members {
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
    let line = format!("child {}", Text::target_in_short(view));
    output.write(|_, out| writeln!(out, "{line}"))
}

/// What a child adds to the outcome: a leak always, what is unclear only where it was watched to the end of the session.
pub(crate) fn with_child(outcome: Outcome, view: &SitesView) -> Outcome {
    let counts = view.outcome == Outcome::LeakFound || view.target.state == "detached";
    if counts { both(outcome, view.outcome) } else { outcome }
}
