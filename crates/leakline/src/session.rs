//! What can happen to a command while it waits, one closed list, and the waiting itself.
//!
//! Owns: the order of precedence, the beat, the signals, the only clock of this crate.
//! Must not know: what a command does about an event. Nothing else in this crate blocks.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use capture::TargetState;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tui::{Key, Terminal};

use crate::limits::KEY_SLICE;

/// Something that a command must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// SIGINT, SIGTERM or SIGHUP, or nobody is left who could read the answer: end in good order.
    Signal,
    /// A key was pressed.
    Key(Key),
    /// The attached process ended or executed another program.
    TargetGone(TargetState),
    /// Names of stacks can be fetched.
    NamesArrived,
    /// The window is over.
    TimeUp,
    /// Time for the next sample or snapshot.
    Beat,
}

/// What an attached process has to tell, asked at each turn of the loop.
pub(crate) trait Watched {
    /// Whether it still is the program that was attached to.
    fn target(&mut self) -> TargetState;
    /// Whether names have arrived since the last call.
    fn names_arrived(&mut self) -> bool;
}

/// For commands that are attached to nothing.
#[derive(Debug)]
pub(crate) struct Nothing;

impl Watched for Nothing {
    fn target(&mut self) -> TargetState {
        TargetState::Running
    }

    fn names_arrived(&mut self) -> bool {
        false
    }
}

/// Beats at even distances, and an end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    every: Duration,
    next: Instant,
    end: Option<Instant>,
    /// Beats that were missed.
    skipped: u64,
}

/// The source of all events.
#[derive(Debug)]
pub(crate) struct Events {
    signals: UnixStream,
    signalled: bool,
    schedule: Schedule,
    /// Whether to end when nobody reads standard output any more.
    while_read: bool,
}

impl Schedule {
    /// The first beat is due at once.
    pub(crate) fn new(every: Duration, window: Option<Duration>) -> Self {
        Self::from(Instant::now(), every, window)
    }

    fn from(now: Instant, every: Duration, window: Option<Duration>) -> Self {
        debug_assert!(!every.is_zero(), "a beat of no length would never let anything else happen");
        Self { every, next: now, end: window.and_then(|window| now.checked_add(window)), skipped: 0 }
    }

    /// What is due, if anything; a beat is due once, and beats that were missed are skipped rather than crowded.
    /// The end comes after a beat that is due at the same moment, so that a window of 10 s at 1 s has 11 samples.
    fn due(&mut self, now: Instant) -> Option<Event> {
        let over = self.end.is_some_and(|end| now >= end);
        if now >= self.next && self.end.is_none_or(|end| self.next <= end) {
            let missed = (now - self.next).as_nanos() / self.every.as_nanos().max(1);
            let steps = u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1);
            self.next += self.every.saturating_mul(steps);
            self.skipped += u64::from(steps - 1);
            return Some(Event::Beat);
        }
        over.then_some(Event::TimeUp)
    }

    /// How long nothing will be due.
    fn idle(&self, now: Instant) -> Duration {
        let next = self.end.map_or(self.next, |end| end.min(self.next));
        next.saturating_duration_since(now)
    }
}

impl Events {
    /// Takes the signals over; from here on they arrive as events instead of ending the process.
    pub(crate) fn new(schedule: Schedule) -> io::Result<Self> {
        let (signals, written) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::low_level::pipe::register(signal, written.try_clone()?)?;
        }
        Ok(Self::fed_by(signals, schedule))
    }

    /// Events whose signals are the bytes of a stream.
    pub(crate) const fn fed_by(signals: UnixStream, schedule: Schedule) -> Self {
        Self { signals, signalled: false, schedule, while_read: false }
    }

    /// Ends also when nobody can read standard output any more: the reader of a pipe has ended, or the connection over which
    /// somebody asked for this on another machine. Without a terminal there, no signal tells of it.
    pub(crate) fn while_read(self) -> Self {
        Self { while_read: true, ..self }
    }

    /// Begins a further window with a beat of its own; a signal that has arrived stays to be answered.
    pub(crate) fn reschedule(&mut self, schedule: Schedule) {
        self.schedule = schedule;
    }

    /// How many beats of this window came too late to be made.
    pub(crate) const fn skipped(&self) -> u64 {
        self.schedule.skipped
    }

    /// The next event. Keys are only looked for where a terminal is given.
    pub(crate) fn next(&mut self, mut terminal: Option<&mut Terminal>, watched: &mut dyn Watched) -> io::Result<Event> {
        loop {
            let is_unread = self.while_read && is_unread(&io::stdout());
            if is_unread || self.signalled || self.wait_for_signal(Duration::ZERO)? {
                self.signalled = false;
                return Ok(Event::Signal);
            }
            if watched.names_arrived() {
                return Ok(Event::NamesArrived);
            }
            match watched.target() {
                TargetState::Running => {}
                gone @ (TargetState::Exited | TargetState::Executed) => return Ok(Event::TargetGone(gone)),
            }
            let now = Instant::now();
            if let Some(event) = self.schedule.due(now) {
                return Ok(event);
            }
            let slice = self.schedule.idle(now).min(KEY_SLICE);
            match terminal.as_deref_mut() {
                Some(terminal) => {
                    if let Some(key) = terminal.poll_key(slice)? {
                        return Ok(Event::Key(key));
                    }
                }
                None => self.signalled = self.wait_for_signal(slice)?,
            }
        }
    }

    /// Whether a signal has arrived, which counts as answered.
    pub(crate) fn is_signalled(&mut self) -> io::Result<bool> {
        Ok(std::mem::take(&mut self.signalled) || self.wait_for_signal(Duration::ZERO)?)
    }

    /// Waits until `arrived` says so, a signal arrives (which counts as answered) or the patience is at an end.
    pub(crate) fn wait_until(&mut self, patience: Duration, mut arrived: impl FnMut() -> bool) -> io::Result<bool> {
        let end = Instant::now() + patience;
        while !arrived() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.wait_for_signal(left.min(KEY_SLICE / 4))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sleeps so long, or until a signal arrives; a byte is written into the stream for each.
    fn wait_for_signal(&mut self, patience: Duration) -> io::Result<bool> {
        let mut byte = [0; 16];
        if patience.is_zero() {
            self.signals.set_nonblocking(true)?;
        } else {
            self.signals.set_nonblocking(false)?;
            self.signals.set_read_timeout(Some(patience))?;
        }
        match self.signals.read(&mut byte) {
            Ok(count) => Ok(count > 0),
            // A timeout is reported as one or the other, depending on the system; a signal without a handler of ours
            // (SIGWINCH) interrupts, and is no reason to end.
            Err(error) if is_no_signal(error.kind()) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Looks again and again whether something has come to be, without events; false when the patience is at an end.
pub(crate) fn patiently(patience: Duration, slice: Duration, mut has_come: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    while !has_come() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(slice);
    }
    true
}

/// Whether the other end of a pipe, socket or terminal is gone; a file never is.
fn is_unread(output: &impl std::os::fd::AsFd) -> bool {
    let mut polled = [PollFd::new(output, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&at_once)).is_ok()
        && polled.iter().any(|end| end.revents().intersects(PollFlags::ERR | PollFlags::HUP))
}

fn is_no_signal(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What is due at these times (milliseconds since the start), one letter each: B beat, U time up, - nothing.
    #[track_caller]
    fn check(every_ms: u64, window_ms: Option<u64>, at: &[u64], wanted: &str) {
        let start = Instant::now();
        let mut schedule = Schedule::from(start, Duration::from_millis(every_ms), window_ms.map(Duration::from_millis));
        let found: String = at
            .iter()
            .map(|&at| match schedule.due(start + Duration::from_millis(at)) {
                Some(Event::Beat) => 'B',
                Some(Event::TimeUp) => 'U',
                Some(_) => '?',
                None => '-',
            })
            .collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn beats_are_even_and_the_first_is_at_once() {
        check(1000, None, &[0, 0, 999, 1000, 1001, 2000], "B--B-B");
    }

    #[test]
    fn a_beat_that_came_late_does_not_shift_the_next() {
        check(1000, None, &[0, 1900, 1999, 2000], "BB-B");
    }

    #[test]
    fn missed_beats_are_skipped_not_crowded() {
        check(1000, None, &[0, 5500, 5600, 5999, 6000], "BB--B");
        let start = Instant::now();
        let mut schedule = Schedule::from(start, SECOND, None);
        for at in [0, 1, 5, 6] {
            assert_eq!(schedule.due(start + SECOND * at + SECOND / 2), Some(Event::Beat));
        }
        assert_eq!(schedule.skipped, 3, "beats 2 to 4");
    }

    #[test]
    fn the_window_ends_behind_its_last_beat() {
        check(1000, Some(2000), &[0, 1000, 2000, 2000, 2001], "BBBUU");
        check(1000, Some(1500), &[0, 1000, 1499, 1500], "BB-U");
        check(1000, Some(1500), &[0, 7000, 7000], "BBU");
    }

    #[test]
    fn idle_time_reaches_to_what_is_due_first() {
        let start = Instant::now();
        let mut schedule = Schedule::from(start, SECOND, Some(SECOND / 2));
        assert_eq!(schedule.idle(start), Duration::ZERO, "the first beat is due");
        assert_eq!(schedule.due(start), Some(Event::Beat));
        assert_eq!(schedule.idle(start), SECOND / 2, "the end comes before the next beat");
        assert_eq!(schedule.idle(start + SECOND), Duration::ZERO);
    }

    struct Gone(u32);

    impl Watched for Gone {
        fn target(&mut self) -> TargetState {
            if self.0 == 0 { TargetState::Exited } else { TargetState::Running }
        }

        fn names_arrived(&mut self) -> bool {
            let arrived = self.0 == 2;
            self.0 = self.0.saturating_sub(1);
            arrived
        }
    }

    #[test]
    fn signals_come_first_then_names_then_the_end_of_the_target_then_the_clock() {
        let (signals, mut written) = UnixStream::pair().expect("a stream");
        let mut events = Events::fed_by(signals, Schedule::new(SECOND, Some(Duration::from_millis(20))));
        let mut target = Gone(2);
        written.write_all(&[1]).expect("it has room");
        let mut next = || events.next(None, &mut target).expect("nothing fails");
        assert_eq!(next(), Event::Signal);
        assert_eq!(next(), Event::NamesArrived);
        assert_eq!(next(), Event::TargetGone(TargetState::Exited));
        let mut next = || events.next(None, &mut Nothing).expect("nothing fails");
        assert_eq!(next(), Event::Beat);
        assert_eq!(next(), Event::TimeUp);
    }

    #[test]
    fn an_output_is_unread_once_its_reader_is_gone() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        assert!(!is_unread(&writer));
        drop(reader);
        assert!(is_unread(&writer));
        let (reader, writer) = UnixStream::pair().expect("a stream");
        assert!(!is_unread(&writer));
        drop(reader);
        assert!(is_unread(&writer), "sshd gives sockets to what it starts");
        assert!(!is_unread(&std::fs::File::open("/dev/null").expect("it is there")));
    }

    #[test]
    fn waiting_ends_when_it_arrives_or_with_the_patience() {
        let (signals, mut written) = UnixStream::pair().expect("a stream");
        let mut events = Events::fed_by(signals, Schedule::new(SECOND, None));
        let mut turns = 0;
        let mut third = || {
            turns += 1;
            turns == 3
        };
        assert!(events.wait_until(SECOND * 60, &mut third).expect("nothing fails"));
        assert!(!events.wait_until(Duration::from_millis(10), || false).expect("nothing fails"));
        written.write_all(&[1]).expect("it has room");
        assert!(!events.wait_until(SECOND * 60, || false).expect("nothing fails"), "a signal ends the patience");
    }
}
