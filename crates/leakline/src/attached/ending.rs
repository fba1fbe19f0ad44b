//! An attached program at its end: held there, looked at, let through.
//!
//! Owns: bringing its memory together with the walk that judges it, and the view of it. Must not know: who started it.

use std::io;
use std::time::Duration;

use analysis::{HeapMemory, Leak, Suppressions};
use capture::{Ending, Execution, Heap, Program};
use model::{Bytes, LiveBlock, Reading, Why};
use report::{RunView, SitesView};

use super::Attached;

/// What is shown of a program that ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    /// What is hidden.
    pub(crate) suppressions: &'a Suppressions,
    /// Whether blocks that it could still reach are listed and counted.
    pub(crate) reachable: bool,
}

/// The blocks that were live at the end, by kind, and how long the program stood still.
pub(crate) type Found = Reading<(Vec<Leak>, Duration)>;

/// The memory as the walk wants it.
pub(super) struct Memory<'a, 'b>(pub(super) &'a mut Heap<'b>);

impl HeapMemory for Memory<'_, '_> {
    fn roots(&mut self, each: &mut dyn FnMut(u64)) {
        self.0.roots(each);
    }

    fn block(&mut self, block: &LiveBlock, each: &mut dyn FnMut(u64)) {
        self.0.block(block, each);
    }

    fn word(&mut self, at: u64) -> Option<u64> {
        self.0.word(at)
    }

    fn is_of_module(&self, at: u64) -> bool {
        self.0.is_of_module(at)
    }

    fn is_code(&self, at: u64) -> bool {
        self.0.is_code(at)
    }
}

impl Attached {
    /// How many children it has made until now, as far as that was seen.
    pub(crate) fn children_made(&self) -> u64 {
        self.session.children_made().into()
    }

    /// From here on the program waits for [`Self::pass`] before it ends.
    pub(crate) fn open_gate(&self) {
        self.session.open_gate();
    }

    /// Waits so long for its end.
    pub(crate) fn ending(&self, patience: Duration) -> Option<Ending> {
        self.session.ending(patience)
    }

    /// Lets it go to its end.
    pub(crate) fn pass(&self) {
        self.session.pass();
    }

    /// Goes along with it into another program.
    pub(crate) fn follow(&self, program: &mut Program) -> io::Result<Execution> {
        self.session.follow(program)
    }

    /// What is live now, by kind and stack; asks for the names of those stacks.
    pub(crate) fn look(&mut self) -> Found {
        let looked = self.session.look(|heap| {
            let blocks = heap.take_blocks();
            let leaks = analysis::leaks(&blocks, &mut Memory(heap));
            (leaks, heap.unreadable())
        });
        let _ = self.beat();
        let Ok(((leaks, unreadable), stopped)) = looked else { return Reading::Missing(Why::ProcessGone) };
        if unreadable > 0 {
            let bytes = Bytes(unreadable);
            self.remarks.push(format!("{bytes} of its memory could not be read: a pointer there may have been missed"));
        }
        self.ask(&leaks);
        Reading::Known((leaks, stopped))
    }

    /// The view of the program after its end; waits for names until `patient` says otherwise.
    pub(crate) fn end_of_program(
        mut self,
        end: String,
        found: Found,
        shown: Shown<'_>,
        mut patient: impl FnMut() -> bool,
    ) -> RunView {
        let mut complete = true;
        if let Some((leaks, _)) = found.as_known() {
            // Where too many stacks wait for their names, the rest is asked for now.
            while !(self.ask(leaks) && self.names.take_all()) {
                if !patient() {
                    complete = false;
                    break;
                }
            }
        }
        let Self { session, names, watch, wanted, mut target, last, remarks, sources: _ } = self;
        "ended".clone_into(&mut target.state);
        let mut process = SitesView::new(target, &last, &watch, (0, Bytes(0)), |stack| names.frames(stack).any());
        process.notes.extend(session.facts().unhooked.iter().map(|what| format!("not hooked: {what}")));
        process.notes.extend(remarks);
        process.notes.extend(session.remarks());
        process.notes.extend(names.remarks());
        if !complete {
            process.notes.push("some names were not waited for: suppressions may not have matched".to_owned());
        }
        let options = (shown.reachable, wanted.sites.top);
        RunView::new(process, end, found, shown.suppressions, options, |stack| names.frames(stack).any())
    }

    /// Asks for the names of the stacks of leaks; whether all were asked for.
    fn ask(&mut self, leaks: &[Leak]) -> bool {
        for leak in leaks {
            self.names.ask(&mut self.session, leak.stack);
        }
        leaks.iter().all(|leak| self.names.is_asked(leak.stack))
    }
}
