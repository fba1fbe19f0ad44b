//! One attached process: its session, the judgement of its sites, and the names of its stacks.
//!
//! Owns: the life of an attach from the command's side, and the view of it. Must not know: how the view is shown, or what
//! ends it. Dropping it detaches; it stays on the thread that made it.

mod ending;
mod survey;

use std::sync::Arc;
use std::time::Duration;

use analysis::{SiteEvent, SiteOptions, SiteWatch};
use capture::{AttachOptions, Facts, ModeChoice, SourceFiles, TargetState};
use model::{Bytes, Losses, Pid, Reading, Snapshot, StackId, Why};
use report::{EventView, Outcome, SitesView, TargetView};

use crate::excerpts;
use crate::failure::{Failure, both};
use crate::flags::{Functions, Sites};
use crate::limits::{ATTACH_BEAT, ATTACH_BEAT_MIN};
use crate::machine::command_of;
use crate::names::Names;
use crate::pending::Frames;
use crate::session::{Events, Watched};

pub(crate) use self::ending::{Found, Shown};

/// What is wanted of an attach.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Age from which a live block counts as expired.
    pub(crate) expire: Duration,
    /// How sites are recorded and shown.
    pub(crate) sites: Sites,
    /// So many expired blocks at one site end the session.
    pub(crate) stop_after: Option<u64>,
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A signal, or the user's key.
    Asked,
    /// The window was over.
    TimeUp,
    /// The target ended or executed another program.
    Gone(TargetState),
    /// One site reached `--stop-after`.
    StopReached,
    /// What is shared with the target cannot be read any more.
    Unreadable(String),
}

/// An attached process.
#[derive(Debug)]
pub(crate) struct Attached {
    session: capture::Session,
    names: Names,
    watch: SiteWatch,
    wanted: Wanted,
    target: TargetView,
    last: Snapshot,
    sources: SourceFiles,
    /// What the reader must know besides.
    remarks: Vec<String>,
}

impl Wanted {
    /// What is wanted for a window, which the default threshold depends on.
    pub(crate) fn new(sites: &Sites, window: Option<Duration>, stop_after: Option<u64>) -> Self {
        Self { expire: sites.expire_within(window), sites: sites.clone(), stop_after }
    }

    /// How often the session is read, so that an expiry is noticed within a fraction of the threshold.
    pub(crate) fn beat(&self) -> Duration {
        (self.expire / 2).clamp(ATTACH_BEAT_MIN, ATTACH_BEAT)
    }
}

impl End {
    /// Why, in a few words.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Asked => "asked to end".to_owned(),
            Self::TimeUp => "the window is over".to_owned(),
            Self::Gone(TargetState::Executed) => "the process executed another program".to_owned(),
            Self::Gone(TargetState::Exited | TargetState::Running) => "the process ended".to_owned(),
            Self::StopReached => "a site reached --stop-after".to_owned(),
            Self::Unreadable(why) => format!("the session cannot be read any more: {why}"),
        }
    }

    /// The state of the target from then on, in a word or two.
    fn state(&self) -> &'static str {
        match self {
            Self::Gone(TargetState::Executed) => "executed another program",
            Self::Gone(TargetState::Exited | TargetState::Running) => "exited",
            Self::Asked | Self::TimeUp | Self::StopReached | Self::Unreadable(_) => "detached",
        }
    }
}

impl Watched for Attached {
    fn target(&mut self) -> TargetState {
        self.session.target()
    }

    fn names_arrived(&mut self) -> bool {
        self.names.take()
    }
}

impl Attached {
    /// Hooks the allocator of a process.
    pub(crate) fn start(pid: Pid, wanted: Wanted) -> Result<Self, Failure> {
        let Sites { depth, max_sites, kinds, .. } = wanted.sites;
        let Functions { alloc, free } = wanted.sites.functions.clone();
        let modes = wanted.sites.budget.modes();
        let memory_max = wanted.sites.budget.max_memory;
        let options = AttachOptions {
            expire: wanted.expire,
            depth,
            stacks_max: max_sites,
            kinds,
            alloc,
            free,
            modes,
            memory_max,
        };
        let session = capture::attach(pid, &options).map_err(|error| {
            let hint = error.hint();
            Failure::with_hint(error, hint)
        })?;
        let mut watch = SiteWatch::new(SiteOptions { expire: wanted.expire, stop_after: wanted.stop_after });
        watch.begin(session.facts().mode);
        let target = target_view(session.facts(), &wanted);
        let names = Names::start(pid, &wanted.sites);
        let sources = SourceFiles::of(pid);
        let (last, remarks) = (Snapshot::default(), Vec::new());
        Ok(Self { session, names, watch, wanted, target, last, sources, remarks })
    }

    /// The process and the attach.
    pub(crate) const fn target_view(&self) -> &TargetView {
        &self.target
    }

    /// How often it is to be read.
    pub(crate) fn beat_length(&self) -> Duration {
        self.wanted.beat()
    }

    /// Time of the last snapshot.
    pub(crate) const fn elapsed(&self) -> Duration {
        self.last.at
    }

    /// Reads the session; what happened since the last time, or why it must end.
    pub(crate) fn beat(&mut self) -> Result<Vec<SiteEvent>, End> {
        let snapshot = self.session.snapshot().map_err(|error| End::Unreadable(error.to_string()))?;
        let events = self.watch.add(&snapshot);
        self.last = snapshot;
        for stack in events.iter().filter_map(stack_of) {
            self.names.ask(&mut self.session, stack);
        }
        Ok(events)
    }

    /// Whether one of these events ends the session.
    pub(crate) fn is_last(events: &[SiteEvent]) -> bool {
        events.iter().any(|event| matches!(event, SiteEvent::StopReached { .. }))
    }

    /// The frames of a stack, as far as they are known now.
    pub(crate) fn frames(&self, stack: StackId) -> Frames {
        self.names.frames(stack)
    }

    /// What was lost until the last snapshot.
    pub(crate) const fn losses(&self) -> Losses {
        self.last.losses
    }

    /// The facts of it now, without any site.
    pub(crate) fn glance(&self) -> SitesView {
        SitesView::new(self.target.clone(), &self.last, &self.watch, (0, Bytes(0)), |_| Arc::from([]))
    }

    /// All that is shown of it now; asks for the names that are missing.
    pub(crate) fn view(&mut self) -> SitesView {
        let Self { session, names, watch, wanted, target, last, sources, remarks: _ } = self;
        let bounds = (wanted.sites.top, wanted.sites.min_bytes);
        let mut view = SitesView::new(target.clone(), last, watch, bounds, |stack| {
            names.ask(session, stack);
            names.frames(stack).any()
        });
        view.notes.extend(session.remarks());
        excerpts::add(&mut view, sources);
        view
    }

    /// Detaches, waits for names that are still being looked up (until the next signal), and gives the summary.
    pub(crate) fn end(mut self, end: &End, events: &mut Events, patience: Duration) -> Result<SitesView, Failure> {
        // The last figures before the detach bring stacks that only a living session can still read.
        let mut notes: Vec<String> = self.beat().err().iter().map(End::reason).collect();
        drop(self.view());
        let Self { session, mut names, mut watch, wanted, mut target, last, mut sources, remarks } = self;
        notes.extend(remarks);
        notes.extend(session.remarks());
        notes.extend(session.facts().unhooked.iter().map(|what| format!("not hooked: {what}")));
        notes.extend(session.facts().halted.then(|| halted(session.facts().key.pid)));
        let detached = session.detach();
        // Of a target that vanished there may be no later figures than those that we have.
        let last = if detached.snapshot.at >= last.at { detached.snapshot } else { last };
        watch.add(&last);
        end.state().clone_into(&mut target.state);
        target.detach_stop = Reading::from_option(detached.longest_stop, Why::ProcessGone);
        notes.extend(detached.left.iter().map(|what| format!("stays in the target: {what}")));
        if !events.wait_until(patience, || names.take_all())? {
            notes.push("some names were not waited for".to_owned());
        }
        notes.extend(names.remarks());
        let bounds = (wanted.sites.top, wanted.sites.min_bytes);
        let mut view = SitesView::new(target, &last, &watch, bounds, |stack| names.frames(stack).any());
        if matches!(end, End::Unreadable(_)) {
            view.outcome = both(view.outcome, Outcome::CouldNotJudge);
        }
        view.notes.extend(notes);
        excerpts::add(&mut view, &mut sources);
        Ok(view)
    }
}

/// The process and the attach, while it is attached.
fn target_view(facts: &Facts, wanted: &Wanted) -> TargetView {
    let modes = wanted.sites.budget.modes();
    let is_auto = modes.choice == ModeChoice::Auto;
    TargetView {
        pid: facts.key.pid,
        command: command_of(facts.key.pid),
        state: if facts.halted { "attached, stopped by a signal" } else { "attached" }.to_owned(),
        allocator: facts.allocator.clone(),
        functions: facts.functions.clone(),
        mode: facts.mode,
        mode_asked: wanted.sites.budget.mode.key().to_owned(),
        max_overhead: Reading::from_option(is_auto.then_some(modes.max_overhead), Why::NotRecorded),
        memory_max: facts.memory_max,
        threads: facts.threads,
        expire: wanted.expire,
        active_after: facts.active_after,
        attach_stop: facts.longest_stop,
        detach_stop: Reading::Missing(Why::NotRecorded),
    }
}

/// Why nothing may have been counted.
fn halted(pid: Pid) -> String {
    format!(
        "a signal had stopped the process before the attach; it allocates again when it goes on (`kill -CONT {pid}`)"
    )
}

/// The event that ends the list of events.
pub(crate) fn ended(at: Duration, end: &End) -> EventView {
    EventView::Ended { at, why: end.reason() }
}

const fn stack_of(event: &SiteEvent) -> Option<StackId> {
    match event {
        SiteEvent::ModeChanged { .. } => None,
        SiteEvent::FirstExpiry { stack, .. }
        | SiteEvent::Again { stack, .. }
        | SiteEvent::FreedLate { stack, .. }
        | SiteEvent::Demoted { stack, .. }
        | SiteEvent::StopReached { stack, .. } => Some(*stack),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::flags::{Command, Flags};

    #[test]
    fn a_short_threshold_is_read_more_often() {
        let beat = |line: &str| {
            let flags = Flags::try_parse_from(line.split(' ')).expect("good usage");
            let Command::Attach(attach) = flags.command else { panic!("{line}") };
            Wanted::new(&attach.sites, attach.window, None).beat().as_millis()
        };
        assert_eq!(beat("leakline attach 1"), 500);
        assert_eq!(beat("leakline attach 1 -e 0.4"), 200);
        assert_eq!(beat("leakline attach 1 -e 0.001"), 50);
        assert_eq!(beat("leakline attach 1 --for 3"), 500);
        assert_eq!(beat("leakline attach 1 --for 1.5"), 250);
    }

    #[test]
    fn every_end_has_its_words() {
        for (end, state, reason) in [
            (End::Asked, "detached", "asked to end"),
            (End::Gone(TargetState::Exited), "exited", "the process ended"),
            (End::Gone(TargetState::Executed), "executed another program", "the process executed another program"),
            (End::Unreadable("x".to_owned()), "detached", "the session cannot be read any more: x"),
        ] {
            assert_eq!((end.state(), end.reason().as_str()), (state, reason));
        }
    }
}
