//! One process under `run`, from one of its programs to the next.
//!
//! Owns: what is done when it ends or executes another program. Must not know: what else is watched.

use std::time::{Duration, Instant};

use capture::{Ending, Execution, Program, TargetState};
use model::{Reading, Why};

use crate::attached::{Attached, Found, Wanted};
use crate::failure::Failure;
use crate::flags::Run;
use crate::limits::ATTACH_BEAT;
use crate::session::Watched as _;

/// A process whose present program is hooked.
#[derive(Debug)]
pub(crate) struct Member {
    attached: Attached,
    beat: Instant,
}

/// Why one program of a process is over.
#[derive(Debug)]
pub(crate) enum Turn {
    /// It ended.
    Ended,
    /// It goes on, but whoever watched it does not.
    Left,
    /// The process goes on with another program, which waits to be hooked or already runs.
    Another,
    /// The same, and the other one cannot be hooked.
    Unfollowed(String),
}

impl Member {
    /// Hooks the program that a process is now, and lets it go on.
    pub(crate) fn start(program: &mut Program, flags: &Run) -> Result<Self, Failure> {
        let mut sites = flags.sites.clone();
        // What is lost at the end is found block by block.
        sites.budget.prefer_exact();
        // Without blocks there would be nothing to tell apart at the end.
        sites.kinds.heap = true;
        let attached = Attached::start(program.pid(), Wanted::new(&sites, None, None))?;
        attached.open_gate();
        program.release();
        Ok(Self { attached, beat: Instant::now() + ATTACH_BEAT })
    }

    /// Waits so long for its end; then why, and what it had not freed.
    pub(crate) fn turn(&mut self, program: &mut Program, patience: Duration) -> Option<(Turn, Found)> {
        match self.attached.ending(patience) {
            Some(Ending::Exit) => {
                let found = self.attached.look();
                self.attached.pass();
                return Some((Turn::Ended, found));
            }
            Some(Ending::Execute) => {
                let found = self.attached.look();
                if let Some(turn) = self.execute(program) {
                    return Some((turn, found));
                }
            }
            None => {}
        }
        let gone = match self.attached.target() {
            TargetState::Exited => Some(Turn::Ended),
            TargetState::Executed => Some(Turn::Another),
            TargetState::Running => None,
        };
        if let Some(turn) = gone {
            // Its memory is gone, but what was counted since the last beat is still there to be read.
            let _ = self.attached.beat();
            return Some((turn, Reading::Missing(Why::ProcessGone)));
        }
        if Instant::now() >= self.beat {
            self.beat += ATTACH_BEAT;
            // What cannot be read now is said at the end.
            let _ = self.attached.beat();
        }
        None
    }

    /// Looks at it while it goes on, since nobody will watch it any more.
    pub(crate) fn leave(&mut self) -> (Turn, Found) {
        (Turn::Left, self.attached.look())
    }

    /// Lets it through where it waits once more, on its way to the end.
    pub(crate) fn see_off(&self, patience: Duration) {
        if self.attached.ending(patience).is_some() {
            self.attached.pass();
        }
    }

    /// How many children it has made.
    pub(crate) fn children_made(&self) -> u64 {
        self.attached.children_made()
    }

    /// What is left of it when it is over.
    pub(crate) fn into_attached(self) -> Attached {
        self.attached
    }

    /// Goes along with the process into another program; none if it stays what it is.
    fn execute(&mut self, program: &mut Program) -> Option<Turn> {
        match self.attached.follow(program) {
            Ok(Execution::Failed) => None,
            Ok(Execution::Waits) => Some(Turn::Another),
            Ok(Execution::Ended) => Some(Turn::Ended),
            Ok(Execution::Privileged) => {
                Some(Turn::Unfollowed("the program that it executes has other rights, which tracing takes away".into()))
            }
            Err(error) => {
                self.attached.pass();
                Some(Turn::Unfollowed(format!("it executes another program, and could not be followed: {error}")))
            }
        }
    }
}
