//! Children of the program, watched as soon as they are seen.
//!
//! Owns: how often they are looked for, and keeping them until they end. Must not know: what is reported of them.
//!
//! What a child allocates before it is found is not seen, and one that lives shorter than a look is missed; its parent's hooks have counted it.

use std::time::{Duration, Instant};

use capture::Program;
use model::Pid;

use super::member::{Member, Turn};
use crate::attached::Found;
use crate::births::{Births, has_ended};
use crate::flags::Run;
use crate::limits::CHILDREN_MAX;

/// How often the lists are read.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A process below the program.
#[derive(Debug)]
struct Child {
    program: Program,
    member: Member,
}

/// All children, grandchildren and so on.
#[derive(Debug)]
pub(crate) struct Children {
    births: Births,
    watched: Vec<Child>,
    /// What could not be watched, one sentence each.
    unwatched: Vec<String>,
    /// Those that ended before they could be hooked.
    short: u64,
    next_look: Instant,
}

/// A child of which one program is over.
#[derive(Debug)]
pub(crate) struct Over {
    pub(crate) member: Member,
    pub(crate) turn: Turn,
    pub(crate) found: Found,
}

impl Children {
    /// Nobody yet, below this process.
    pub(crate) fn of(pid: Pid) -> Self {
        let births = Births::below(pid);
        Self { births, watched: Vec::new(), unwatched: Vec::new(), short: 0, next_look: Instant::now() }
    }

    /// Looks for new ones and gives those of which a program is over.
    pub(crate) fn turn(&mut self, flags: &Run) -> Vec<Over> {
        if Instant::now() >= self.next_look {
            self.next_look = Instant::now() + LOOK_EVERY;
            self.look(flags);
        }
        let mut over = Vec::new();
        for mut child in std::mem::take(&mut self.watched) {
            match child.member.turn(&mut child.program, Duration::ZERO) {
                None => self.watched.push(child),
                Some((turn, found)) => {
                    over.push(Over { member: child.member, turn, found });
                    if matches!(over.last(), Some(Over { turn: Turn::Another, .. })) {
                        self.watch(child.program, flags);
                    }
                }
            }
        }
        over
    }

    /// Takes those that go on.
    pub(crate) fn leave(&mut self) -> Vec<Over> {
        let leave = |mut child: Child| {
            let (turn, found) = child.member.leave();
            Over { member: child.member, turn, found }
        };
        self.watched.drain(..).map(leave).collect()
    }

    /// How many ended before they could be hooked, of so many that were made by programs that were.
    pub(crate) fn short(&self, made: u64) -> u64 {
        self.short + made.saturating_sub(self.births.met())
    }

    /// What could not be watched, once each.
    pub(crate) fn take_unwatched(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unwatched)
    }

    fn look(&mut self, flags: &Run) {
        for pid in self.births.look() {
            if self.watched.len() >= CHILDREN_MAX {
                self.unwatched.push(format!("process {pid}: more than {CHILDREN_MAX} children at once"));
                continue;
            }
            self.watch(Program::adopt(pid), flags);
        }
    }

    fn watch(&mut self, mut program: Program, flags: &Run) {
        match Member::start(&mut program, flags) {
            Ok(member) => self.watched.push(Child { program, member }),
            Err(_) if has_ended(program.pid()) => self.short += 1,
            Err(crate::failure::Failure::Refused { text, .. }) => {
                self.unwatched.push(format!("process {}: {text}", program.pid()));
            }
            Err(crate::failure::Failure::OutputClosed) => {}
        }
    }
}
