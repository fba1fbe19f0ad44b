//! Events that wait for the names of their stack.
//!
//! Owns: the queue, which keeps the order of events, and how long one may wait.
//! Must not know: where names come from. Time is that of the events themselves.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use analysis::SiteEvent;
use model::{Frame, StackId};
use report::EventView;

use crate::limits::{EVENT_PATIENCE, EVENTS_WAITING_MAX};

/// Frames of one stack, and whether they are all that will ever be known of it.
#[derive(Clone, Debug)]
pub(crate) enum Frames {
    /// With the names that could be found.
    Named(Arc<[Frame]>),
    /// Addresses, while the names are being looked up.
    Bare(Arc<[Frame]>),
}

/// Events in the order in which they happened; one that shows a stack holds up those behind it until its names are
/// there, so that "again" never comes before the stack that it speaks of.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    waiting: VecDeque<SiteEvent>,
}

impl Frames {
    /// The frames, named or not.
    pub(crate) fn any(self) -> Arc<[Frame]> {
        match self {
            Self::Named(frames) | Self::Bare(frames) => frames,
        }
    }
}

impl Pending {
    /// Queues what happened.
    pub(crate) fn push(&mut self, events: Vec<SiteEvent>) {
        self.waiting.extend(events);
    }

    /// The events that can be shown at `now`: their names are there, or their patience is at an end.
    pub(crate) fn ready(&mut self, now: Duration, frames: impl Fn(StackId) -> Frames) -> Vec<EventView> {
        let mut ready = Vec::new();
        while let Some(&event) = self.waiting.front() {
            let view = match stack_shown(event) {
                None => EventView::new(event, |_| Arc::new([])),
                Some((at, stack)) => {
                    let impatient = self.waiting.len() > EVENTS_WAITING_MAX || now.saturating_sub(at) >= EVENT_PATIENCE;
                    match frames(stack) {
                        Frames::Bare(_) if !impatient => break,
                        found @ (Frames::Named(_) | Frames::Bare(_)) => EventView::new(event, |_| found.any()),
                    }
                }
            };
            ready.push(view);
            self.waiting.pop_front();
        }
        debug_assert!(self.waiting.len() <= EVENTS_WAITING_MAX, "what is beyond the bound goes out without names");
        ready
    }

    /// All that is left, with what is known of it.
    pub(crate) fn rest(&mut self, frames: impl Fn(StackId) -> Frames) -> Vec<EventView> {
        self.ready(Duration::MAX, frames)
    }
}

/// When and of which stack, for events that print one.
const fn stack_shown(event: SiteEvent) -> Option<(Duration, StackId)> {
    match event {
        SiteEvent::FirstExpiry { at, stack, .. } => Some((at, stack)),
        SiteEvent::Again { .. }
        | SiteEvent::FreedLate { .. }
        | SiteEvent::Demoted { .. }
        | SiteEvent::ModeChanged { .. }
        | SiteEvent::StopReached { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use model::Tally;

    use super::*;

    /// Events as words: `first:STACK@SECOND` or `again:STACK@SECOND`.
    fn events(text: &str) -> Vec<SiteEvent> {
        let event = |word: &str| {
            let (kind, rest) = word.split_once(':').expect("kind:stack@second");
            let (stack, second) = rest.split_once('@').expect("stack@second");
            let (stack, at) =
                (StackId(stack.parse().expect("a number")), Duration::from_secs(second.parse().expect("a number")));
            match kind {
                "first" => SiteEvent::FirstExpiry { at, stack, expired: Tally::default() },
                _ => SiteEvent::Again { at, stack, more: 1, expired: Tally::default() },
            }
        };
        text.split_whitespace().map(event).collect()
    }

    /// What is shown at `second` while the stacks in `named` have names, as words.
    fn shown(pending: &mut Pending, second: u64, named: &[u32]) -> String {
        let frames = |stack: StackId| {
            let none: Arc<[Frame]> = Arc::new([]);
            if named.contains(&stack.0) { Frames::Named(none) } else { Frames::Bare(none) }
        };
        let word = |event: &EventView| match event {
            EventView::FirstExpiry { stack, .. } => format!("first:{}", stack.0),
            EventView::Again { stack, .. } => format!("again:{}", stack.0),
            EventView::Attached(_)
            | EventView::FreedLate { .. }
            | EventView::Demoted { .. }
            | EventView::ModeChanged { .. }
            | EventView::StopReached { .. }
            | EventView::Child { .. }
            | EventView::Ended { .. } => format!("{event:?}"),
        };
        pending.ready(Duration::from_secs(second), frames).iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_event_waits_for_its_names_and_holds_up_what_follows() {
        let mut pending = Pending::default();
        pending.push(events("first:1@1 again:1@1 first:2@2"));
        assert_eq!(shown(&mut pending, 2, &[2]), "", "the first has no names yet");
        assert_eq!(shown(&mut pending, 2, &[1]), "first:1 again:1");
        assert_eq!(shown(&mut pending, 3, &[1, 2]), "first:2");
        assert_eq!(shown(&mut pending, 3, &[1, 2]), "", "nothing is shown twice");
    }

    #[test]
    fn patience_ends() {
        let mut pending = Pending::default();
        pending.push(events("first:1@1 first:2@3"));
        assert_eq!(shown(&mut pending, 3, &[]), "");
        assert_eq!(shown(&mut pending, 1 + EVENT_PATIENCE.as_secs(), &[]), "first:1");
        let rest = pending.rest(|_| Frames::Bare(Arc::new([])));
        assert_eq!(rest.len(), 1, "at the end all goes out");
    }

    #[test]
    fn a_flood_goes_out_without_names_rather_than_into_memory() {
        let mut pending = Pending::default();
        let flood: Vec<_> = (0..EVENTS_WAITING_MAX + 5).map(|stack| format!("first:{stack}@1")).collect();
        pending.push(events(&flood.join(" ")));
        assert_eq!(shown(&mut pending, 1, &[]), "first:0 first:1 first:2 first:3 first:4");
    }
}
