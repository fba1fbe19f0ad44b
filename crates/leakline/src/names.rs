//! The names of the stacks of one session: asked for once each, looked up in the background, kept.
//!
//! Owns: which stacks were asked for, and what is shown until an answer comes. Must not know: how names are found.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use capture::{ModuleMap, NameOptions, Namer, Session};
use model::{Address, Frame, FrameTrust, Pid, Reading, StackId, Why};

use crate::flags::Sites;
use crate::pending::Frames;

/// The names of one session.
#[derive(Debug)]
pub(crate) struct Names {
    namer: Namer,
    /// The map of modules, and the text that it was made from: it is made anew only when that changed.
    modules: Option<(Arc<[u8]>, Arc<ModuleMap>)>,
    answers: Answers,
}

/// What is known of each stack.
#[derive(Debug, Default)]
struct Answers {
    known: HashMap<StackId, Frames>,
    /// Asked for and not answered yet.
    outstanding: HashSet<StackId>,
}

impl Names {
    /// Starts looking up names for the modules of a process.
    pub(crate) fn start(pid: Pid, sites: &Sites) -> Self {
        let options = NameOptions { pid, debug_dirs: sites.debug_dir.clone(), debug_files: sites.debug_file.clone() };
        Self { namer: Namer::start(options), modules: None, answers: Answers::default() }
    }

    /// Asks for the names of a stack, unless that was done already. Where too many are waiting it is asked for again with
    /// the next call, and its addresses are shown meanwhile.
    pub(crate) fn ask(&mut self, session: &mut Session, stack: StackId) {
        if !self.answers.needs(stack) {
            return;
        }
        let Some(addresses) = session.stack(stack) else {
            return;
        };
        self.answers.read(stack, &addresses);
        let modules = self.modules(session.maps());
        if self.namer.request(stack, addresses, modules) {
            self.answers.asked(stack);
        }
    }

    /// Whether the names of a stack were asked for, or it cannot be read.
    pub(crate) fn is_asked(&self, stack: StackId) -> bool {
        !self.answers.known.contains_key(&stack) || !self.answers.needs(stack)
    }

    /// Takes the names that have arrived; whether there were any.
    pub(crate) fn take(&mut self) -> bool {
        let arrived = self.namer.take();
        let any = !arrived.is_empty();
        for (stack, frames) in arrived {
            self.answers.arrived(stack, frames);
        }
        any
    }

    /// Takes the names that have arrived; whether none is outstanding any more.
    pub(crate) fn take_all(&mut self) -> bool {
        self.take();
        self.answers.outstanding.is_empty()
    }

    /// The frames of a stack as far as they are known; none at all for one that was never read.
    pub(crate) fn frames(&self, stack: StackId) -> Frames {
        self.answers.known.get(&stack).cloned().unwrap_or_else(|| Frames::Bare(Arc::new([])))
    }

    /// What the user should know about debug files, once each.
    pub(crate) fn remarks(&self) -> Vec<String> {
        self.namer.remarks()
    }

    fn modules(&mut self, maps: Arc<[u8]>) -> Arc<ModuleMap> {
        let map = match &self.modules {
            Some((text, map)) if Arc::ptr_eq(text, &maps) => Arc::clone(map),
            // A library that was unloaded keeps its names: the map remembers what is gone.
            Some((_, map)) => Arc::new(map.advance(&maps)),
            None => Arc::new(ModuleMap::parse(&maps)),
        };
        self.modules = Some((maps, Arc::clone(&map)));
        map
    }
}

impl Answers {
    /// Whether a stack is neither named nor asked for.
    fn needs(&self, stack: StackId) -> bool {
        !self.outstanding.contains(&stack) && !matches!(self.known.get(&stack), Some(Frames::Named(_)))
    }

    fn read(&mut self, stack: StackId, addresses: &[(Address, FrameTrust)]) {
        self.known.insert(stack, Frames::Bare(bare(addresses)));
    }

    fn asked(&mut self, stack: StackId) {
        self.outstanding.insert(stack);
    }

    fn arrived(&mut self, stack: StackId, frames: Arc<[Frame]>) {
        debug_assert!(self.known.contains_key(&stack), "only what was read is asked for");
        self.outstanding.remove(&stack);
        self.known.insert(stack, Frames::Named(frames));
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

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: StackId = StackId(7);

    #[test]
    fn a_stack_is_asked_for_once_and_again_only_if_it_was_refused() {
        let mut answers = Answers::default();
        assert!(answers.needs(STACK));
        answers.read(STACK, &[(Address(16), FrameTrust::Caller)]);
        assert!(answers.needs(STACK), "the request was refused: it is asked for again");
        answers.asked(STACK);
        assert!(!answers.needs(STACK) && !answers.outstanding.is_empty());
        answers.arrived(STACK, Arc::new([]));
        assert!(!answers.needs(STACK) && answers.outstanding.is_empty());
    }

    #[test]
    fn addresses_are_shown_until_names_come() {
        let mut answers = Answers::default();
        answers.read(STACK, &[(Address(16), FrameTrust::Caller), (Address(32), FrameTrust::UnwindTable)]);
        let Some(Frames::Bare(frames)) = answers.known.get(&STACK) else { panic!("{answers:?}") };
        assert_eq!(frames.iter().map(|frame| frame.address.0).collect::<Vec<_>>(), [16, 32]);
        assert!(frames.iter().all(|frame| frame.function == Reading::Missing(Why::NotRecorded)));
    }
}
